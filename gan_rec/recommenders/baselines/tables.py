"""What closed forms end as: recommenders without training, made of finished tables."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int
from scipy.sparse import csr_array

from gan_rec.data.interactions import Interactions
from gan_rec.errors import UserError
from gan_rec.recommenders.score import dot

ArrayLike = np.ndarray | Array
_LARGEST = 25_000  # items (or users): a dense square table of float32 is 2.5 GB then, and so is one of as many cells


class ItemWeights(nnx.Module):
    """Scores are sums of item-to-item weights over the history: x_u W.

    Args:
        weights: `[I, I]`, from items of the history (rows) to items that are ranked (columns).
    """

    reads_history = True

    def __init__(self, weights: Float[np.ndarray, "I I"]):
        self.columns = nnx.Param(jnp.asarray(weights.T, jnp.float32))

    def users(self, ids: Int[Array, " B"] | None, history: Float[Array, "B I"], key=None) -> Float[Array, "B I"]:
        """The histories themselves."""
        return history

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any I"]:
        """The weights that lead to each item."""
        return self.columns[...] if ids is None else self.columns[ids]

    score = staticmethod(dot)


class Factors(nnx.Module):
    """Scores are inner products of a row for each user and a row for each item.

    Args:
        users: `[U, D]`.
        items: `[I, D]`.
    """

    reads_history = False

    def __init__(self, users: Float[ArrayLike, "U D"], items: Float[ArrayLike, "I D"]):
        self.user_rows = nnx.Param(jnp.asarray(users, jnp.float32))
        self.item_rows = nnx.Param(jnp.asarray(items, jnp.float32))

    def users(self, ids: Int[Array, " B"] | None, history=None, key=None) -> Float[Array, "B D"]:
        """Rows of users, or of all of them."""
        return self.user_rows[...] if ids is None else self.user_rows[ids]

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Rows of items, or of the whole catalogue."""
        return self.item_rows[...] if ids is None else self.item_rows[ids]

    score = staticmethod(dot)


def matrix(train: Interactions) -> csr_array:
    """The pairs as a sparse 0/1 matrix, `[U, I]`, float32."""
    ones = np.ones(len(train), np.float32)
    found = csr_array((ones, (train.users, train.items)), shape=(train.n_users, train.n_items))
    found.data[:] = 1  # pairs that stand twice count once
    return found


def square(name: str, what: str, n: int) -> None:
    """Raise UserError if a dense table of n x n does not fit."""
    if n > _LARGEST:
        raise UserError(f"{name} keeps a dense table of {what} x {what}, and {n:,} of them are too many (most: 25,000)")


def cells(name: str, train: Interactions) -> None:
    """Raise UserError if a dense table of users x items does not fit."""
    if train.n_users * train.n_items > _LARGEST**2:
        raise UserError(
            f"{name} keeps a dense table of users x items, and {train.n_users:,} x {train.n_items:,} are too many "
            f"(most: {_LARGEST**2:,} cells)"
        )


def keep_largest(weights: Float[np.ndarray, "n m"], k: int) -> Float[np.ndarray, "n m"]:
    """Only the k largest entries of each row, the others 0."""
    if k >= weights.shape[1]:
        return weights
    rows = np.arange(len(weights))[:, None]
    best = np.argpartition(-weights, k - 1, axis=1)[:, :k]
    kept = np.zeros_like(weights)
    kept[rows, best] = weights[rows, best]
    return kept
