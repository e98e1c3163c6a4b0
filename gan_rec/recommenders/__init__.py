"""Recommenders: the player that ranks items. Each answers user representations, item representations and a score."""

from gan_rec.recommenders.autoencoder import Autoencoder
from gan_rec.recommenders.matrix_factorization import MatrixFactorization

RECOMMENDERS = {"autoencoder": Autoencoder, "mf": MatrixFactorization}

__all__ = ["RECOMMENDERS", "Autoencoder", "MatrixFactorization"]
