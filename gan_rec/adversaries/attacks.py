"""Attacks without parameters. Called like any adversary: `attack(loss, users, items, key, radius)`."""

import jax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.adversaries.ball import direction, length


class Noise(nnx.Module):
    """Random directions of full length: what a perturbation of this size does when nobody chose it."""

    bounded = True  # every row ends on the sphere by construction

    def __call__(self, loss, users, items, key: PRNGKeyArray, radius):
        """Return rows moved by `radius * |row|`, each in a direction drawn uniformly from the sphere."""
        keys = jax.random.split(key)
        return tuple(
            rows + radius * length(rows) * direction(jax.random.normal(k, rows.shape))
            for rows, k in zip((users, items), keys, strict=True)
        )


class FGM(nnx.Module):
    """Fast gradient method: every row moves by `radius * |row|` along its own gradient of the loss.

    Source: Goodfellow et al., ICLR 2015, section 4, in the L2 form of Miyato et al., ICLR 2017, equation 5.
    """

    bounded = True  # every row ends on the sphere by construction

    def __call__(self, loss, users: Float[Array, "B D"], items: Float[Array, "*any D"], key, radius):
        """Return rows moved along the gradient; rows without gradient stay."""
        gradients = jax.grad(loss, argnums=(0, 1))(users, items)
        return tuple(
            rows + radius * length(rows) * direction(gradient)
            for rows, gradient in zip((users, items), gradients, strict=True)
        )
