"""Adversaries: the player that plays against the recommender. Attacks have no parameters, generators and critics do."""

from gan_rec.adversaries.attacks import FGM, FGSM, PGD, VAT, Accumulated, ClippedNoise, Free, Noise
from gan_rec.adversaries.attention import Attention
from gan_rec.adversaries.ball import Ball, everywhere
from gan_rec.adversaries.critics import DomainCritic, PairCritic, VectorCritic
from gan_rec.adversaries.generator import Generator, GradientGenerator, SentenceGenerator
from gan_rec.adversaries.hardness import Hardness, OwnScores
from gan_rec.adversaries.mixtures import Hull, Profile
from gan_rec.adversaries.weights import KLDRO

# By what they make: adversarial rows for the embedding games, verdicts on items or vectors, weights of negatives
# or of users.
ATTACKS = {
    "noise": Noise, "clipped-noise": ClippedNoise, "fgsm": FGSM, "fgm": FGM, "pgd": PGD, "vat": VAT, "free": Free,
    "accumulated": Accumulated,
}  # fmt: skip
GENERATORS = {
    "generator": Generator, "gradient-generator": GradientGenerator, "attention": Attention, "hull": Hull,
    "profile": Profile,
}  # fmt: skip
CRITICS = {"pair-critic": PairCritic, "vector-critic": VectorCritic, "domain-critic": DomainCritic}
SAMPLERS = {"own-scores": OwnScores, "hardness": Hardness}
WEIGHTS = {"kl-dro": KLDRO}
ADVERSARIES = ATTACKS | GENERATORS | CRITICS | SAMPLERS | WEIGHTS

__all__ = [
    "ADVERSARIES", "ATTACKS", "Accumulated", "Attention", "Ball", "CRITICS", "ClippedNoise", "DomainCritic", "FGM",
    "FGSM", "Free", "GENERATORS", "Generator", "GradientGenerator", "Hardness", "Hull", "KLDRO", "Noise", "OwnScores",
    "PGD", "PairCritic", "Profile", "SAMPLERS", "SentenceGenerator", "VAT", "VectorCritic", "WEIGHTS", "everywhere",
]  # fmt: skip
