"""The generator: noise z and the rows under attack in, adversarial representations out."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.adversaries.attacks import gradient_at
from gan_rec.adversaries.ball import Ball, direction


@jax.custom_vjp
def _multiply(rows: Float[Array, "n D"], kernel: Float[Array, "D out"]) -> Float[Array, "n out"]:
    """`rows @ kernel`, with a faster gradient: XLA's CPU backend is slow where both factors' long axes are summed."""
    return rows @ kernel


def _forward(rows, kernel):
    return rows @ kernel, (rows, kernel)


def _backward(kept, gradient):
    rows, kernel = kept
    # The narrower factor is turned round first; without barriers XLA would undo that.
    whole = jax.lax.optimization_barrier
    if rows.shape[1] < gradient.shape[1]:
        return gradient @ kernel.T, whole(whole(rows.T) @ gradient)
    return gradient @ kernel.T, whole(whole(gradient.T) @ rows).T


_multiply.defvjp(_forward, _backward)


def _product(rows, kernel, *_, **__):
    """`_multiply` in the form that a layer asks for."""
    return _multiply(rows, kernel)


class Tower(nnx.Module):
    """A two-layer network from noise and a row to the direction, of size `out` (default: D), in which the row moves."""

    def __init__(self, dim: int, noise: int, hidden: int, rngs: nnx.Rngs, out: int | None = None):
        self.read_row = nnx.Linear(dim, hidden, rngs=rngs, dot_general=_product)
        self.read_noise = nnx.Linear(noise, hidden, use_bias=False, rngs=rngs)
        self.leave = nnx.Linear(hidden, dim if out is None else out, use_bias=False, rngs=rngs, dot_general=_product)

    def __call__(self, z: Float[Array, " Z"], rows: Float[Array, "*any D"]) -> Float[Array, "*any out"]:
        """Directions; every row sees the same z."""
        # Flat, because XLA's CPU backend contracts two batch axes at once (for the weights' gradient) ten times slower.
        flat = rows.reshape(-1, rows.shape[-1])
        scaled = direction(flat) * rows.shape[-1] ** 0.5
        made = self.leave(nnx.relu(self.read_row(scaled) + self.read_noise(z)))
        return made.reshape(*rows.shape[:-1], made.shape[-1])


def symmetric_noise(key: PRNGKeyArray, size: int) -> tuple[Float[Array, ""], Float[Array, " Z"]]:
    """A sign for all rows together, and z ~ N(0, 1).

    Without the sign a generator ends at one fixed shift (most of it along item popularity), the recommender learns to
    undo that shift, and a new generator then finds it more fragile than its twin. A symmetric adversary leaves nothing
    to undo: only a loss that is flat around the rows resists it.
    """
    sign_key, noise_key = jax.random.split(key)
    return jax.random.rademacher(sign_key, (), "float32"), jax.random.normal(noise_key, (size,))


class SentenceGenerator(nnx.Module):
    """Moves every sentence vector to the edge of the ball, along or against a direction that it learns.

    Where there is one row for each text, a generator needs one tower; else as `Generator`.
    """

    bounded = True  # every row ends in the ball by construction

    def __init__(self, dim: int, *, noise: int = 16, hidden: int = 32, rngs: nnx.Rngs):
        self.tower = Tower(dim, noise, hidden, rngs)
        self.noise = noise

    def __call__(self, loss, texts: Float[Array, "B D"], none: Float[Array, "0 D"], key: PRNGKeyArray, ball: Ball):
        """Return adversarial vectors, and no items."""
        sign, z = symmetric_noise(key, self.noise)
        return ball.soft_step((texts, none), (sign * self.tower(z, texts), none))


class Generator(nnx.Module):
    """Moves every user and item row to the edge of the ball, along or against a direction that it learns.

    Args:
        dim: D, the size of the rows.
        noise: Z, the size of z. One z and one sign make one adversarial version of all rows; every call draws anew.
        hidden: units of the hidden layer of each of the two towers (one for users, one for items).
        rngs: source of the initial values.

    In L-infinity a step by signs would pass no gradient back, so `Ball.soft_step` moves entries by a tanh instead.

    Source: `x_adv = G(z)` of the GAN (Goodfellow et al., NeurIPS 2014), conditional on the row that is attacked.
    """

    bounded = True  # every row ends in the ball by construction

    def __init__(self, dim: int, *, noise: int = 16, hidden: int = 32, rngs: nnx.Rngs):
        self.user_tower = Tower(dim, noise, hidden, rngs)
        self.item_tower = Tower(dim, noise, hidden, rngs)
        self.noise = noise

    def __call__(
        self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any D"], key: PRNGKeyArray, ball: Ball
    ) -> tuple[Float[Array, "*n D"], Float[Array, "*any D"]]:
        """Return adversarial rows of the same shapes. `loss` is not used: this generator sees no gradient."""
        sign, z = symmetric_noise(key, self.noise)
        ways = sign * self.user_tower(z, users), sign * self.item_tower(z, items)
        return ball.soft_step((users, items), ways)


class GradientGenerator(nnx.Module):
    """Moves every row to the edge of the ball in a direction that it learns from the row, its gradient and noise.

    The direction is the gradient's times a learned gain, plus what a network makes of all three: so it begins near the
    fast gradient method, and learns where to leave it. The sign that is drawn with the noise turns the network's
    reading of the gradient and what it makes of it: what follows the gradient keeps its way, anything else is as often
    turned round as not, as in `Generator`. How far it goes from the gradient says
    `gan_rec.robustness.gradient_cosines`.

    Args:
        dim: D, the size of the rows.
        noise: Z, the size of z ~ N(0, 1), one for all rows.
        hidden: units of the hidden layer of each of the two networks (one for users, one for items).
        rngs: source of the initial values.

    Source: the attacker that is given the gradient, "Grad L2L" of Jiang et al., AISTATS 2021, here with noise.
    """

    bounded = True  # every row ends in the ball by construction

    def __init__(self, dim: int, *, noise: int = 16, hidden: int = 32, rngs: nnx.Rngs):
        self.user_tower = Tower(2 * dim, noise, hidden, rngs, dim)
        self.item_tower = Tower(2 * dim, noise, hidden, rngs, dim)
        self.gains = nnx.Param(jnp.ones(2))  # of users' and of items' gradients
        self.noise = noise

    def __call__(
        self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any D"], key: PRNGKeyArray, ball: Ball
    ) -> tuple[Float[Array, "*n D"], Float[Array, "*any D"]]:
        """Return adversarial rows of the same shapes."""
        sign, z = symmetric_noise(key, self.noise)
        rows = (users, items)
        gradients = jax.tree.map(direction, tuple(jax.lax.stop_gradient(gradient_at(loss, *rows))))
        ways = tuple(
            unit * each.shape[-1] ** 0.5 * gain + sign * tower(z, jnp.concatenate([direction(each), sign * unit], -1))
            for each, unit, tower, gain in zip(
                rows, gradients, (self.user_tower, self.item_tower), self.gains[...], strict=True
            )
        )
        return ball.soft_step(rows, ways)
