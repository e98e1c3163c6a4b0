"""Adversaries: the player that plays against the recommender. Attacks have no parameters, generators and critics do."""

from gan_rec.adversaries.attacks import FGM, FGSM, PGD, VAT, Accumulated, ClippedNoise, Free, Noise
from gan_rec.adversaries.attention import Attention
from gan_rec.adversaries.ball import Ball, everywhere
from gan_rec.adversaries.critics import PairCritic, VectorCritic
from gan_rec.adversaries.generator import Generator, SentenceGenerator
from gan_rec.adversaries.hardness import Hardness, OwnScores
from gan_rec.adversaries.mixtures import Hull, Profile

# By what they make: adversarial rows for the embedding games, verdicts on items or vectors, weights of negatives.
ATTACKS = {
    "noise": Noise, "clipped-noise": ClippedNoise, "fgsm": FGSM, "fgm": FGM, "pgd": PGD, "vat": VAT, "free": Free,
    "accumulated": Accumulated,
}  # fmt: skip
GENERATORS = {"generator": Generator, "attention": Attention, "hull": Hull, "profile": Profile}
CRITICS = {"pair-critic": PairCritic, "vector-critic": VectorCritic}
SAMPLERS = {"own-scores": OwnScores, "hardness": Hardness}
ADVERSARIES = ATTACKS | GENERATORS | CRITICS | SAMPLERS

__all__ = [
    "ADVERSARIES", "ATTACKS", "CRITICS", "FGM", "FGSM", "GENERATORS", "PGD", "SAMPLERS", "VAT", "Accumulated",
    "Attention", "Ball", "ClippedNoise", "Free", "Generator", "Hardness", "Hull", "Noise", "OwnScores", "PairCritic",
    "Profile", "SentenceGenerator", "VectorCritic", "everywhere",
]  # fmt: skip
