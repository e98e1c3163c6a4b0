"""Neighbourhoods: items like those of the history, users like this one, and short walks between them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from gan_rec.data.interactions import Interactions
from gan_rec.errors import UserError
from gan_rec.recommenders.baselines.tables import Factors, ItemWeights, cells, keep_largest, matrix, square
from gan_rec.space import OneOf, Real, Space, Whole

WEIGHTINGS = ("none", "idf", "bm25")
_SPACE: Space = {
    "k": Whole(10, 1000, log=True), "shrink": Real(1e-3, 100.0, log=True), "weighting": OneOf(WEIGHTINGS),
    "power": Real(0.2, 1.2), "neighbour_power": Real(0.2, 1.6), "amplify": Real(0.5, 4.0, log=True),
}  # fmt: skip


@dataclass(frozen=True)
class ItemKNN:
    """Cosine of items over users, of the nearest k (Sarwar et al., WWW 2001), with powers of its own for both lengths.

    Args:
        k: neighbours of an item.
        shrink: added to the product of the lengths, so that little evidence counts less.
        weighting: how much a user counts; see `weigh`.
        power: of the length of the item that is ranked; below 1 popular items win, 0 leaves their counts.
        neighbour_power: of the length of the neighbour; above 1 unpopular neighbours say more.
        amplify: power of each similarity; above 1 the nearest count more (Breese et al., UAI 1998, section 2.1.3).
    """

    k: int = 60
    shrink: float = 0.01
    weighting: str = "idf"
    power: float = 0.6
    neighbour_power: float = 1.4
    amplify: float = 1.5

    space: ClassVar[Space] = _SPACE

    def fit(self, train: Interactions, seed: int = 0) -> ItemWeights:
        """The weights that training pairs lead to; nothing is random."""
        square("ItemKNN", "items", train.n_items)
        x = weigh(matrix(train), self.weighting)
        return ItemWeights(_similar(x, self).T)


@dataclass(frozen=True)
class UserKNN:
    """What the k users of most like histories have (Resnick et al., CSCW 1994), weighed by cosine.

    Args:
        k: neighbours of a user.
        shrink: added to the product of the lengths, so that little evidence counts less.
        weighting: how much an item counts; see `weigh`.
        power: of the length of the user who is served; it matters only beside `shrink`.
        neighbour_power: of the length of the neighbour.
        amplify: power of each similarity, as in `ItemKNN`.
    """

    k: int = 230
    shrink: float = 0.03
    weighting: str = "bm25"
    power: float = 1.0
    neighbour_power: float = 0.35
    amplify: float = 2.7

    space: ClassVar[Space] = _SPACE

    def fit(self, train: Interactions, seed: int = 0) -> Factors:
        """The weights that training pairs lead to; nothing is random."""
        square("UserKNN", "users", train.n_users)
        cells("UserKNN", train)
        x = matrix(train)
        read = weigh(csr_array(x.T), self.weighting)
        return Factors(_similar(read, self), x.T.toarray())


@dataclass(frozen=True)
class RP3beta:
    """Walks of three steps, user to item to user to item, where popular ends count less (Paudel et al., TiiS 2017).

    Args:
        alpha: power of each step's chance.
        beta: power of the popularity by which a walk's end is divided.
        k: items that the walks from an item may end at.
    """

    alpha: float = 1.0
    beta: float = 0.6
    k: int = 200

    space: ClassVar[Space] = {
        "alpha": Real(0.3, 2.0), "beta": Real(0.0, 1.0), "k": Whole(20, 1000, log=True)
    }  # fmt: skip

    def fit(self, train: Interactions, seed: int = 0) -> ItemWeights:
        """The weights that training pairs lead to; nothing is random."""
        square("RP3beta", "items", train.n_items)
        x = matrix(train)
        of_user, of_item = (np.maximum(x.sum(axis=axis), 1.0) for axis in (1, 0))
        to_user = csr_array(x.multiply(1 / of_item[None])).T
        to_item = csr_array(x.multiply(1 / of_user[:, None]))
        walks = (to_user.power(self.alpha) @ to_item.power(self.alpha)).toarray()
        np.fill_diagonal(walks, 0.0)
        return ItemWeights(keep_largest(walks / of_item[None] ** self.beta, self.k))


def weigh(x: csr_array, how: str) -> csr_array:
    """A 0/1 matrix whose columns are compared, with its rows weighed by how few columns have them.

    * none: equally.
    * idf: log(1 + n / f), of n columns and f that have the row.
    * bm25: max(0, log(n / (1 + f))), and less in columns with many rows (Robertson et al., TREC-3 1994; k1 = 1.2,
      b = 0.75).

    Raises:
        UserError: there is no such weighting.
    """
    if how not in WEIGHTINGS:
        raise UserError(f"unknown weighting {how!r}; allowed: {', '.join(WEIGHTINGS)}")
    if how == "none":
        return x
    n, have = x.shape[1], np.maximum(x.sum(axis=1), 1.0)
    if how == "idf":
        return csr_array(x.multiply(np.log1p(n / have)[:, None]))
    sizes = x.sum(axis=0)
    of_column = 2.2 / (1.2 * (0.25 + 0.75 * sizes / sizes.mean()) + 1)
    of_row = np.maximum(np.log(n / (1 + have)), 0.0)
    return csr_array(x.multiply(of_row[:, None]).multiply(of_column[None]))


def _similar(x: csr_array, how: ItemKNN | UserKNN) -> Float[np.ndarray, "n n"]:
    """Of each column of x (rows of the result) the k most similar other columns, and how similar they are."""
    gram = (x.T @ x).toarray()
    lengths = np.sqrt(np.diag(gram))
    gram /= (lengths[:, None] ** how.power) * lengths[None] ** how.neighbour_power + how.shrink + 1e-6
    np.fill_diagonal(gram, 0.0)
    return keep_largest(gram, how.k) ** how.amplify
