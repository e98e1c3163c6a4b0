"""Robustness: what attacks do to trained recommenders."""

from gan_rec.robustness.probe import ATTACKS, gradient_cosines, losses_under_attack, train_generator

__all__ = ["ATTACKS", "gradient_cosines", "losses_under_attack", "train_generator"]
