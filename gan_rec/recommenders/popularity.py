"""The baseline below which nothing counts: the same list for everyone, most popular items first."""

import jax.numpy as jnp
from flax import nnx

from gan_rec.data.interactions import Interactions
from gan_rec.data.streamed import StreamedInteractions
from gan_rec.recommenders.score import dot


class Popularity(nnx.Module):
    """Scores an item by how many training interactions it has."""

    reads_history = False

    def __init__(self, train: Interactions | StreamedInteractions):
        self.counts = nnx.Param(jnp.asarray(train.item_counts()[:, None], jnp.float32))

    def users(self, ids, history=None, key=None):
        """The same representation `[B, 1]` for every user."""
        return jnp.ones((ids.shape[0], 1))

    def items(self, ids=None):
        """Counts as representations, `[I, 1]` or `[..., 1]`."""
        return self.counts[...] if ids is None else self.counts[ids]

    score = staticmethod(dot)
