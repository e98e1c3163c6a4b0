"""Factors found without gradients: by a singular value decomposition, and by alternating least squares."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8
from scipy.sparse.linalg import svds

from gan_rec.data.interactions import Interactions
from gan_rec.errors import UserError
from gan_rec.recommenders.baselines.tables import Factors, cells, matrix
from gan_rec.space import OneOf, Real, Space, Whole


@dataclass(frozen=True)
class PureSVD:
    """The best approximation of the 0/1 matrix of a rank (Cremonesi, Koren, Turrin, RecSys 2010, section 3.3).

    Args:
        dim: its rank.
    """

    dim: int = 16

    space: ClassVar[Space] = {"dim": Whole(4, 256, log=True)}

    def fit(self, train: Interactions, seed: int = 0) -> Factors:
        """The factors that training pairs lead to; the decomposition does not depend on the seed.

        Raises:
            UserError: the rank is not below the numbers of users and items.
        """
        most = min(train.n_users, train.n_items) - 1
        if not 1 <= self.dim <= most:
            raise UserError(f"dim of PureSVD must be 1 to {most} for these data, got {self.dim}")
        x = matrix(train)
        _, _, v = svds(x, k=self.dim, v0=np.ones(min(x.shape)))
        return Factors(x @ v.T, v.T)


@dataclass(frozen=True)
class IALS:
    """Alternating least squares over all pairs (Hu et al., ICDM 2008), with the ridge of Rendle et al. (RecSys 2022).

    min sum over pairs of (1 - u . v)^2 + alpha0 sum over all (u . v)^2
    + l2 sum over rows w of (their pairs + alpha0 of the other side)^nu |w|^2.

    Args:
        dim: D.
        alpha0: weight of pairs that are not there.
        l2: of the ridge.
        nu: how much the ridge of a row grows with the number of its pairs.
        epochs: rounds over users and items.
    """

    dim: int = 32
    alpha0: float = 0.3
    l2: float = 0.02
    nu: float = 1.0
    epochs: int = 16

    space: ClassVar[Space] = {
        "dim": OneOf((16, 32, 64)), "alpha0": Real(0.05, 1.0, log=True), "l2": Real(1e-3, 0.2, log=True),
        "nu": Real(0.5, 1.0),
    }  # fmt: skip
    random: ClassVar[bool] = True

    def fit(self, train: Interactions, seed: int = 0) -> Factors:
        """The factors that training pairs and the random begin lead to.

        Raises:
            UserError: there are too many users and items for a dense table.
        """
        cells("iALS", train)
        x = matrix(train)
        sides = tuple(_Side.of(each, self.alpha0, self.l2, self.nu) for each in (x, x.T.tocsr()))
        rng = np.random.default_rng(seed)
        items = jnp.asarray(rng.normal(0, 0.1 / self.dim**0.5, (train.n_items, self.dim)), jnp.float32)
        for _ in range(self.epochs):
            users = _solve(sides[0], items, self.alpha0)
            items = _solve(sides[1], users, self.alpha0)
        return Factors(np.asarray(users), np.asarray(items))


_CHUNK = 128  # rows whose systems are solved at a time


@partial(jax.tree_util.register_dataclass, data_fields=["pairs", "ridge"], meta_fields=["n"])
@dataclass(frozen=True)
class _Side:
    """The rows of one side: the others that each has, in chunks of dense rows, and their ridges."""

    pairs: Int8[Array, "chunks 128 m"]
    ridge: Float[Array, "chunks 128"]
    n: int

    @classmethod
    def of(cls, x, alpha0: float, l2: float, nu: float) -> "_Side":
        n, others = x.shape
        more = -n % _CHUNK
        counts = np.asarray(x.sum(axis=1))
        ridge = np.pad(l2 * (counts + alpha0 * others) ** nu, (0, more), constant_values=1.0)
        rows = np.pad(x.toarray(), ((0, more), (0, 0))).astype(np.int8)
        return cls(
            jnp.asarray(rows.reshape(-1, _CHUNK, others)), jnp.asarray(ridge.reshape(-1, _CHUNK), jnp.float32), n
        )


@jax.jit
def _solve(side: _Side, others: Float[Array, "m D"], alpha0: Float[Array, ""] | float) -> Float[Array, "n D"]:
    """The best rows of one side, given those of the other."""
    dim = others.shape[1]
    products = (others[:, :, None] * others[:, None]).reshape(len(others), -1)
    everywhere = alpha0 * others.T @ others

    def solve(chunk):
        pairs, ridge = chunk[0].astype(jnp.float32), chunk[1]
        systems = (pairs @ products).reshape(-1, dim, dim) + everywhere + ridge[:, None, None] * jnp.eye(dim)
        factors = jax.scipy.linalg.cho_factor(systems)
        return jax.scipy.linalg.cho_solve(factors, (pairs @ others)[..., None])[..., 0]

    return jax.lax.map(solve, (side.pairs, side.ridge)).reshape(-1, dim)[: side.n]
