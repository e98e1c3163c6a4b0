"""Generators that never leave the manifold: what they make is mixed from real item rows."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.adversaries.ball import Ball, direction, length


def _draw_anchors(catalogue: Float[Array, "I D"], n: int, key: PRNGKeyArray) -> Float[Array, "M D"]:
    return catalogue[jax.random.randint(key, (n,), 0, catalogue.shape[0])]


class Hull(nnx.Module):
    """Turns every item row into a convex combination of real item rows; user rows stay.

    Every call draws M anchors from the catalogue, mixes them for each item by attention (the item's row and z ask,
    the anchors answer), and draws the mix towards the row until it lies in the ball, which keeps it in the convex hull.
    The mixture has no sign to turn round, and no parameter can take it off the manifold.

    Args:
        dim: D, the size of the rows.
        noise: Z, the size of z ~ N(0, 1), one for all rows.
        hidden: units of the attention.
        anchors: M, catalogue rows that a call mixes.
        rngs: source of the initial values.
    """

    bounded = True  # shortened into the ball by itself, since a projection could leave the hull

    def __init__(self, dim: int, *, noise: int = 16, hidden: int = 32, anchors: int = 64, rngs: nnx.Rngs):
        self.ask_row = nnx.Linear(dim, hidden, use_bias=False, rngs=rngs)
        self.ask_noise = nnx.Linear(noise, hidden, use_bias=False, rngs=rngs)
        self.answer = nnx.Linear(dim, hidden, use_bias=False, rngs=rngs)
        self.noise, self.hidden, self.anchors = noise, hidden, anchors

    def __call__(
        self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any D"], key: PRNGKeyArray, ball: Ball
    ) -> tuple[Float[Array, "*n D"], Float[Array, "*any D"]]:
        """Return the user rows as they are and the mixtures. `loss` must know `catalogue` `[I, D]`."""
        anchor_key, noise_key = jax.random.split(key)
        anchors = _draw_anchors(loss.catalogue, self.anchors, anchor_key)
        z = jax.random.normal(noise_key, (self.noise,))
        unit = items.shape[-1] ** 0.5
        flat = direction(items.reshape(-1, items.shape[-1])) * unit
        question = self.ask_row(flat) + self.ask_noise(z)
        agreement = question @ self.answer(direction(anchors) * unit).T / self.hidden**0.5
        mixed = (jax.nn.softmax(agreement, axis=1) @ anchors).reshape(items.shape)
        return ball.shorten((users, mixed), (users, items))


class Profile(nnx.Module):
    """Turns every user into one with a fake history: L made-up items, each a mixture of real item rows.

    A z of its own for every user and the user's row ask L times, anchors from the catalogue answer. The mean of the L
    mixtures is the fake history's embedding; scaled to the length of the user's row it stands in the user's place, as
    far as the ball lets it. Item rows stay.

    Args:
        dim: D, the size of the rows.
        noise: Z, the size of z ~ N(0, 1), one for each user.
        hidden: units of the attention.
        anchors: M, catalogue rows that a call mixes.
        profile_length: L, made-up items of a history.
        rngs: source of the initial values.
    """

    def __init__(
        self, dim: int, *, noise: int = 16, hidden: int = 32, anchors: int = 64, profile_length: int = 8, rngs: nnx.Rngs
    ):
        self.ask = nnx.Linear(dim + noise, profile_length * hidden, use_bias=False, rngs=rngs)
        self.answer = nnx.Linear(dim, hidden, use_bias=False, rngs=rngs)
        self.noise, self.hidden, self.anchors, self.profile_length = noise, hidden, anchors, profile_length

    def histories(
        self, catalogue: Float[Array, "I D"], users: Float[Array, "B D"], key: PRNGKeyArray
    ) -> Float[Array, "B L D"]:
        """Fake histories: L made-up items for each user."""
        anchor_key, noise_key = jax.random.split(key)
        anchors = _draw_anchors(catalogue, self.anchors, anchor_key)
        z = jax.random.normal(noise_key, (users.shape[0], self.noise))
        unit = users.shape[-1] ** 0.5
        question = self.ask(jnp.concatenate([direction(users) * unit, z], axis=1)).reshape(-1, self.hidden)
        agreement = question @ self.answer(direction(anchors) * unit).T / self.hidden**0.5
        return (jax.nn.softmax(agreement, axis=1) @ anchors).reshape(users.shape[0], self.profile_length, -1)

    def __call__(
        self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any D"], key: PRNGKeyArray, ball: Ball
    ) -> tuple[Float[Array, "*n D"], Float[Array, "*any D"]]:
        """Return fake users and the item rows as they are. `loss` must know `catalogue` `[I, D]`."""
        fake = jnp.mean(self.histories(loss.catalogue, users, key), axis=1)
        return direction(fake) * length(users), items
