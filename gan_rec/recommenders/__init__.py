"""Recommenders: the player that ranks items (user representations, item representations, a score) or tells labels."""

from gan_rec.recommenders.autoencoder import Autoencoder
from gan_rec.recommenders.cross_domain import CrossDomain
from gan_rec.recommenders.gru import GRU
from gan_rec.recommenders.lightgcn import LightGCN
from gan_rec.recommenders.matrix_factorization import MatrixFactorization
from gan_rec.recommenders.mix import Mix
from gan_rec.recommenders.mult_vae import MultVAE
from gan_rec.recommenders.multimodal import Multimodal
from gan_rec.recommenders.rating import RatingPredictor
from gan_rec.recommenders.sasrec import SASRec
from gan_rec.recommenders.social import SocialLightGCN
from gan_rec.recommenders.text_classifier import TextClassifier, TunedTextClassifier
from gan_rec.recommenders.two_tower import Hybrid, TwoTower

RECOMMENDERS = {
    "autoencoder": Autoencoder, "hybrid": Hybrid, "mf": MatrixFactorization, "mix": Mix, "two-tower": TwoTower,
    "text-classifier": TextClassifier, "tuned-text-classifier": TunedTextClassifier,
    "rating-predictor": RatingPredictor, "mult-vae": MultVAE, "lightgcn": LightGCN,
    "sasrec": SASRec, "gru": GRU, "social-lightgcn": SocialLightGCN, "multimodal": Multimodal,
    "cross-domain": CrossDomain,
}  # fmt: skip

__all__ = [
    "GRU", "RECOMMENDERS", "Autoencoder", "CrossDomain", "Hybrid", "LightGCN", "MatrixFactorization", "Mix", "MultVAE",
    "Multimodal", "RatingPredictor", "SASRec", "SocialLightGCN", "TextClassifier", "TunedTextClassifier", "TwoTower",
]  # fmt: skip
