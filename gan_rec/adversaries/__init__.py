"""Adversaries: the player that makes adversarial representations inside a ball around the real ones."""

from gan_rec.adversaries.attacks import FGM, Noise
from gan_rec.adversaries.generator import Generator

ADVERSARIES = {"generator": Generator}

__all__ = ["ADVERSARIES", "FGM", "Generator", "Noise"]
