"""Recommenders: the player that ranks items (user representations, item representations, a score) or tells labels."""

from gan_rec.recommenders.autoencoder import Autoencoder
from gan_rec.recommenders.matrix_factorization import MatrixFactorization
from gan_rec.recommenders.text_classifier import TextClassifier, TunedTextClassifier

RECOMMENDERS = {
    "autoencoder": Autoencoder,
    "mf": MatrixFactorization,
    "text-classifier": TextClassifier,
    "tuned-text-classifier": TunedTextClassifier,
}

__all__ = ["RECOMMENDERS", "Autoencoder", "MatrixFactorization", "TextClassifier", "TunedTextClassifier"]
