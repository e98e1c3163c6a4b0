"""A generator that knows whom it attacks: it attends over the user's history."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.adversaries.ball import Ball, direction
from gan_rec.adversaries.generator import Tower, symmetric_noise


class Attention(nnx.Module):
    """Moves a user's row in a direction that depends on the items of the history, and item rows as `Generator` does.

    The user's row and z ask, the item rows of the history answer (one head of scaled dot-product attention), and a
    two-layer network turns answer, row and z into the direction.

    Args:
        dim: D, the size of the rows.
        noise: Z, the size of z.
        hidden: units of the attention and of the hidden layers.
        rngs: source of the initial values.

    Source: the conditional GAN (Mirza and Osindero, 2014) with the attention of Vaswani et al., NeurIPS 2017,
    equation 1.
    """

    bounded = True  # every row ends in the ball by construction
    reads_history = True

    def __init__(self, dim: int, *, noise: int = 16, hidden: int = 32, rngs: nnx.Rngs):
        self.user_tower = Tower(2 * dim, noise, hidden, rngs)
        self.item_tower = Tower(dim, noise, hidden, rngs)
        self.ask = nnx.Linear(dim + noise, hidden, use_bias=False, rngs=rngs)
        self.answer = nnx.Linear(dim, hidden, use_bias=False, rngs=rngs)
        self.leave = nnx.Linear(2 * dim, dim, use_bias=False, rngs=rngs)
        self.noise, self.hidden = noise, hidden

    def __call__(
        self, loss, users: Float[Array, "B D"], items: Float[Array, "*any D"], key: PRNGKeyArray, ball: Ball
    ) -> tuple[Float[Array, "B D"], Float[Array, "*any D"]]:
        """Return adversarial rows. `loss` must know `history` `[B, I]` and `catalogue` `[I, D]`."""
        sign, z = symmetric_noise(key, self.noise)
        unit = users.shape[-1] ** 0.5
        user_rows, item_rows = direction(users) * unit, direction(loss.catalogue) * unit
        question = self.ask(jnp.concatenate([user_rows, jnp.broadcast_to(z, (len(users), self.noise))], axis=1))
        agreement = question @ self.answer(item_rows).T / self.hidden**0.5
        # A user without history gets equal weights on the whole catalogue rather than 0 / 0.
        seen = loss.history + (jnp.sum(loss.history, axis=1, keepdims=True) == 0)
        weights = jax.nn.softmax(jnp.where(seen > 0, agreement, -jnp.inf), axis=1)
        read = jnp.concatenate([user_rows, weights @ item_rows], axis=1)
        ways = sign * self.leave(self.user_tower(z, read)), sign * self.item_tower(z, items)
        return ball.soft_step((users, items), ways)
