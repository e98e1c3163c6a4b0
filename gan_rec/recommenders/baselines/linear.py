"""Linear autoencoders over items: what a history says of each item by weights that no item has for itself."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gan_rec.data.interactions import Interactions
from gan_rec.recommenders.baselines.tables import ItemWeights, matrix, square
from gan_rec.space import Real, Space


@dataclass(frozen=True)
class EASE:
    """Ridge regression with a zero diagonal (Steck, WWW 2019, equation 8).

    Args:
        l2: ridge.
    """

    l2: float = 500.0

    space: ClassVar[Space] = {"l2": Real(10.0, 5000.0, log=True)}

    def fit(self, train: Interactions, seed: int = 0) -> ItemWeights:
        """The weights that training pairs lead to; nothing is random."""
        gram = gram_of("EASE", train)
        return ItemWeights(zero_diagonal_ridge(gram, np.full(len(gram), self.l2)))


@dataclass(frozen=True)
class EDLAE:
    """EASE whose ridge grows with popularity: a linear autoencoder under dropout (Steck, NeurIPS 2020, equation 10).

    Args:
        l2: ridge that all items have.
        dropout: p; the ridge of an item with n users grows by n p / (1 - p).
    """

    l2: float = 250.0
    dropout: float = 0.4

    space: ClassVar[Space] = {"l2": Real(10.0, 5000.0, log=True), "dropout": Real(0.0, 0.8)}

    def fit(self, train: Interactions, seed: int = 0) -> ItemWeights:
        """The weights that training pairs lead to; nothing is random."""
        gram = gram_of("EDLAE", train)
        return ItemWeights(zero_diagonal_ridge(gram, self.l2 + self.dropout / (1 - self.dropout) * np.diag(gram)))


@dataclass(frozen=True)
class SLIM:
    """Elastic net with weights >= 0 and a zero diagonal (Ning and Karypis, ICDM 2011, equation 3).

    For each item j: min 1/2 |x_j - X w|^2 + l2 / 2 |w|^2 + l1 |w|_1. All items at once, by accelerated proximal
    gradients for a strongly convex loss (Nesterov 2004, section 2.2; Beck and Teboulle, SIAM J. Imaging Sciences 2009).

    Args:
        l1: absolute.
        l2: squares.
        tolerance: largest change of a weight in the last step.
    """

    l1: float = 0.5
    l2: float = 450.0
    tolerance: float = 1e-5

    space: ClassVar[Space] = {"l1": Real(0.05, 10.0, log=True), "l2": Real(50.0, 5000.0, log=True)}

    def fit(self, train: Interactions, seed: int = 0) -> ItemWeights:
        """The weights that training pairs lead to; nothing is random."""
        gram = gram_of("SLIM", train)
        return ItemWeights(np.asarray(_elastic_net(jnp.asarray(gram), self.l1, self.l2, self.tolerance)))


def gram_of(name: str, train: Interactions) -> Float[np.ndarray, "I I"]:
    """How many users have both of two items.

    Raises:
        UserError: there are too many items for a dense table.
    """
    square(name, "items", train.n_items)
    x = matrix(train)
    return (x.T @ x).toarray()


def zero_diagonal_ridge(gram: Float[np.ndarray, "I I"], ridge: Float[np.ndarray, " I"]) -> Float[np.ndarray, "I I"]:
    """W that minimises |X - X W|^2 + sum_i ridge_i |w_i|^2 over W with a zero diagonal, given X'X."""
    inverse = np.linalg.inv(gram.astype(np.float64) + np.diag(ridge))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


@partial(jax.jit, static_argnames="most")
def _elastic_net(gram: Float[Array, "I I"], l1, l2, tolerance, most: int = 2000) -> Float[Array, "I I"]:
    n = len(gram)
    largest = _largest_eigenvalue(gram) + l2
    root = jnp.sqrt(l2 / largest)
    momentum = (1 - root) / (1 + root)
    off_diagonal = 1.0 - jnp.eye(n)

    def step(state):
        weights, ahead, _, i = state
        slope = gram @ ahead - gram + l2 * ahead
        after = jnp.maximum(ahead - (slope + l1) / largest, 0.0) * off_diagonal
        change = jnp.max(jnp.abs(after - weights))
        return after, after + momentum * (after - weights), change, i + 1

    zeros = jnp.zeros((n, n))
    state = zeros, zeros, jnp.asarray(jnp.inf), 0
    return jax.lax.while_loop(lambda s: (s[2] > tolerance) & (s[3] < most), step, state)[0]


def _largest_eigenvalue(gram: Float[Array, "I I"]) -> Float[Array, ""]:
    """An upper bound, by power iterations and some room."""
    vector = jnp.ones(len(gram))
    vector = jax.lax.fori_loop(0, 50, lambda i, v: gram @ v / jnp.linalg.norm(gram @ v), vector)
    return 1.02 * jnp.linalg.norm(gram @ vector)
