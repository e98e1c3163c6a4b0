"""Recommenders: the player that ranks items. Each answers user representations, item representations and a score."""

from gan_rec.recommenders.autoencoder import Autoencoder
from gan_rec.recommenders.matrix_factorization import MatrixFactorization
from gan_rec.recommenders.two_tower import Hybrid, TwoTower

RECOMMENDERS = {"autoencoder": Autoencoder, "hybrid": Hybrid, "mf": MatrixFactorization, "two-tower": TwoTower}

__all__ = ["RECOMMENDERS", "Autoencoder", "Hybrid", "MatrixFactorization", "TwoTower"]
