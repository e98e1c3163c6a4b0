"""The ball that no adversary leaves: its radius is relative to the length of the row under attack."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_TINY = 1e-12


def length(rows: Float[Array, "*any D"]) -> Float[Array, "*any 1"]:
    """Euclidean length of each row; its gradient is finite at 0, where that of a plain square root is not."""
    return jnp.sqrt(jnp.sum(rows**2, axis=-1, keepdims=True) + _TINY)


def direction(rows: Float[Array, "*any D"]) -> Float[Array, "*any D"]:
    """Each row scaled to length 1, however short; a row of zeros stays zero."""
    # By the largest entry first: gradients of 1e-7, as a divergence has near its minimum, would drown in _TINY.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=-1, keepdims=True))
    scaled = rows / jnp.where(largest > 0, largest, 1.0)
    return scaled / length(scaled)


@partial(jax.tree_util.register_dataclass, data_fields=["users", "items"], meta_fields=["norm"])
@dataclass(frozen=True)
class Ball:
    """How far an adversary may move each row.

    Args:
        users: radius of user rows, relative to their length: one number, or one for each row `[B]`.
        items: radius of item rows: one number, or one for each row (or list) of the batch `[B]`.
        norm: "l2": a row moves by at most `radius * |row|`. "linf": each of its D entries by at most
            `radius * |row| / sqrt(D)`, so that a step of all entries is as long as the longest in L2.
    """

    users: Float[Array, "*of_users"] | float
    items: Float[Array, "*of_items"] | float
    norm: str = "l2"

    def step(self, rows: tuple, ways: tuple) -> tuple:
        """User and item rows moved as far as the ball allows along `ways`, of which only the direction counts."""
        return self._each(self._step, rows, ways)

    def soft_step(self, rows: tuple, ways: tuple) -> tuple:
        """Like `step`, but with a gradient for the ways in L-infinity too: entries move by a tanh, not by a sign."""
        if self.norm == "l2":
            return self.step(rows, ways)
        return self._each(self._soft_step, rows, ways)

    def project(self, moved: tuple, rows: tuple) -> tuple:
        """The points nearest to `moved` that lie in the ball around `rows`."""
        return self._each(self._project, moved, rows)

    def shorten(self, moved: tuple, rows: tuple) -> tuple:
        """`moved`, drawn straight towards `rows` until it lies in the ball: what was a mixture with them stays one."""
        if self.norm == "l2":
            return self.project(moved, rows)
        return self._each(self._shorten, moved, rows)

    def _each(self, move, *pairs: tuple) -> tuple:
        """User and item rows of `move(..., radius)`."""
        return tuple(move(*each) for each in zip(*pairs, (self.users, self.items), strict=True))

    def _step(self, rows, way, radius):
        reach = self._reach(rows, radius)
        return rows + reach * (jnp.sign(way) if self.norm == "linf" else direction(way))

    def _soft_step(self, rows, way, radius):
        return rows + self._reach(rows, radius) * jnp.tanh(direction(way) * rows.shape[-1] ** 0.5)

    def _project(self, moved, rows, radius):
        reach, offset = self._reach(rows, radius), moved - rows
        if self.norm == "linf":
            return rows + jnp.clip(offset, -reach, reach)
        return rows + offset * jnp.minimum(1.0, reach / length(offset))

    def _shorten(self, moved, rows, radius):
        offset = moved - rows
        longest = jnp.max(jnp.abs(offset), axis=-1, keepdims=True) + _TINY
        return rows + offset * jnp.minimum(1.0, self._reach(rows, radius) / longest)

    def _reach(self, rows, radius):
        radius = jnp.asarray(radius)
        reach = radius.reshape(radius.shape + (1,) * (rows.ndim - radius.ndim)) * length(rows)
        return reach / rows.shape[-1] ** 0.5 if self.norm == "linf" else reach


def everywhere(radius: Float[Array, ""] | float, norm: str = "l2") -> Ball:
    """The ball of one radius for all rows."""
    return Ball(radius, radius, norm)
