"""The graph of users and items that known pairs make, and recommenders that read it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from gan_rec.data.sampling import Positives

_LARGEST = 2**24  # entries of a dense adjacency (64 MiB); beyond, sums over pairs
_SPARSEST = 30  # entries for each pair; beyond, sums over pairs take a CPU less time


def on_graph(recommender: nnx.Module, known: Positives | None) -> nnx.Module:
    """A recommender as it stands on the graph of the known pairs; one that reads no graph is returned as it is."""
    return recommender.on(known) if getattr(recommender, "reads_graph", False) else recommender


class Graph:
    """Known pairs as edges between users and items, with symmetric normalisation: D_U^-1/2 R D_I^-1/2.

    Args:
        known: the pairs, each of which stands in them once.
        dense: multiply with R as a matrix `[U, I]`, or sum over pairs; both give the same. None: by size and density.
        matrix: R, if it is another than that of the pairs; entries from 0 to 1 are how much of an edge is there.
    """

    def __init__(self, known: Positives, *, dense: bool | None = None, matrix: Float[Array, "U I"] | None = None):
        self.n_users, self.n_items = known.n_users, known.n_items
        if dense is None:
            dense = self.n_users * self.n_items <= min(_LARGEST, _SPARSEST * known.users.shape[0])
        if matrix is None and dense:
            matrix = known.history(jnp.arange(self.n_users))
        self.matrix = matrix
        # Out of bounds, the padding takes part in no sum.
        edge = jnp.arange(known.users.shape[0]) < known.n_pairs
        self.users = jnp.where(edge, known.users, self.n_users)
        self.items = jnp.where(edge, known.items, self.n_items)
        self.user_scale = self._scale(self.sum_to_users(jnp.ones((self.n_items, 1))))
        self.item_scale = self._scale(self.sum_to_items(jnp.ones((self.n_users, 1))))

    @staticmethod
    def _scale(degree: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
        return jax.lax.rsqrt(jnp.maximum(degree, 1.0))

    def sum_to_users(self, rows: Float[Array, "I D"]) -> Float[Array, "U D"]:
        """The sum of each user's items."""
        if self.matrix is not None:
            return self.matrix @ rows
        messages = rows.at[self.items].get(mode="fill", fill_value=0.0)
        return jax.ops.segment_sum(messages, self.users, self.n_users)

    def sum_to_items(self, rows: Float[Array, "U D"]) -> Float[Array, "I D"]:
        """The sum of each item's users."""
        if self.matrix is not None:
            return self.matrix.T @ rows
        messages = rows.at[self.users].get(mode="fill", fill_value=0.0)
        return jax.ops.segment_sum(messages, self.items, self.n_items)

    def step(
        self, users: Float[Array, "U D"], items: Float[Array, "I D"]
    ) -> tuple[Float[Array, "U D"], Float[Array, "I D"]]:
        """One layer of propagation: the normalised sums over neighbours, which are 0 where there is none."""
        to_users = self.user_scale * self.sum_to_users(self.item_scale * items)
        return to_users, self.item_scale * self.sum_to_items(self.user_scale * users)
