"""The joint loss: alpha times the data's, 1 - alpha times the adversary's."""

import jax
import jax.numpy as jnp

METRICS = ("data_loss", "adversarial_loss")


def weight(game):
    """Alpha as it stands: what an automatic rule has made of it (`game.weight`), or `game.alpha`."""
    return game.alpha if game.weight is None else game.weight


def joint(game, data, adversarial):
    """Joint loss and its parts.

    Args:
        game: has `plays`, `alpha` and `weight`.
        data: the data loss.
        adversarial: () -> the adversarial loss; not computed where the adversary does not play.
    """
    second = jax.lax.cond(game.plays, adversarial, lambda: jnp.zeros(()))
    alpha = weight(game)
    total = jnp.where(game.plays, alpha * data + (1 - alpha) * second, data)
    return total, {"data_loss": data, "adversarial_loss": second}
