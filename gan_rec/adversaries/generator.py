"""The generator: noise z and the rows under attack in, adversarial representations out."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.adversaries.ball import direction, length


class _Tower(nnx.Module):
    """A two-layer network from noise and a row to the direction in which the row moves."""

    def __init__(self, dim: int, noise: int, hidden: int, rngs: nnx.Rngs):
        self.read_row = nnx.Linear(dim, hidden, rngs=rngs)
        self.read_noise = nnx.Linear(noise, hidden, use_bias=False, rngs=rngs)
        self.leave = nnx.Linear(hidden, dim, use_bias=False, rngs=rngs)

    def __call__(self, z: Float[Array, " Z"], rows: Float[Array, "*any D"]) -> Float[Array, "*any D"]:
        # Flat, because XLA's CPU backend contracts two batch axes at once (for the weights' gradient) ten times slower.
        flat = rows.reshape(-1, rows.shape[-1])
        scaled = direction(flat) * rows.shape[-1] ** 0.5
        return direction(self.leave(nnx.relu(self.read_row(scaled) + self.read_noise(z)))).reshape(rows.shape)


class Generator(nnx.Module):
    """Moves every user and item row by `radius * |row|`, along or against a direction that it learns.

    Args:
        dim: D, the size of the rows.
        noise: Z, the size of z ~ N(0, 1). One z makes one adversarial version of all rows, and every call draws anew.
        hidden: units of the hidden layer of each of the two towers (one for users, one for items).
        rngs: source of the initial values.

    A sign, also part of the noise, turns all rows round together. Without it the generator ends at one fixed shift
    (most of it along item popularity), the recommender learns to undo that shift, and a new generator then finds it
    more fragile than its twin. A symmetric adversary leaves nothing to undo: only a loss that is flat around the rows
    resists it.

    Source: `x_adv = G(z)` of the GAN (Goodfellow et al., NeurIPS 2014), conditional on the row that is attacked.
    """

    bounded = True  # every row ends on the sphere by construction

    def __init__(self, dim: int, *, noise: int = 16, hidden: int = 32, rngs: nnx.Rngs):
        self.user_tower = _Tower(dim, noise, hidden, rngs)
        self.item_tower = _Tower(dim, noise, hidden, rngs)
        self.noise = noise

    def __call__(
        self, loss, users: Float[Array, "B D"], items: Float[Array, "*any D"], key: PRNGKeyArray, radius
    ) -> tuple[Float[Array, "B D"], Float[Array, "*any D"]]:
        """Return adversarial rows of the same shapes. `loss` is not used: this generator sees no gradient."""
        sign_key, noise_key = jax.random.split(key)
        signed_radius = radius * jax.random.rademacher(sign_key, (), jnp.float32)
        z = jax.random.normal(noise_key, (self.noise,))

        def move(tower, rows):
            return rows + signed_radius * length(rows) * tower(z, rows)

        return move(self.user_tower, users), move(self.item_tower, items)
