"""Neighbourhoods: items like those of the history, users like this one, and short walks between them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from gan_rec.data.interactions import Interactions
from gan_rec.recommenders.baselines.tables import Factors, ItemWeights, keep_largest, matrix, square


@dataclass(frozen=True)
class ItemKNN:
    """Cosine of items over users, of the nearest k (Sarwar et al., WWW 2001), shrunk where few users speak.

    Args:
        k: neighbours of an item.
        shrink: added to the product of the lengths.
        idf: whether users with long histories count less: rows of the matrix are weighed by log(I / n).
        power: of the length of the item that is ranked; below 1 popular items win, 0 leaves their counts.
    """

    k: int = 200
    shrink: float = 10.0
    idf: bool = True
    power: float = 0.5

    def fit(self, train: Interactions, seed: int = 0) -> ItemWeights:
        """The weights that training pairs lead to; nothing is random."""
        square("ItemKNN", "items", train.n_items)
        x = matrix(train)
        if self.idf:
            n = np.maximum(x.sum(axis=1), 1.0)
            x = csr_array(x.multiply(np.log1p(train.n_items / n)[:, None]))
        return ItemWeights(_similar(x, self.k, self.shrink, self.power).T)


@dataclass(frozen=True)
class UserKNN:
    """What the k users of most like histories have (Resnick et al., CSCW 1994), weighed by cosine.

    Args:
        k: neighbours of a user.
        shrink: added to the product of the lengths.
        idf: whether popular items count less: columns of the matrix are weighed by log(U / n).
    """

    k: int = 100
    shrink: float = 10.0
    idf: bool = True

    def fit(self, train: Interactions, seed: int = 0) -> Factors:
        """The weights that training pairs lead to; nothing is random."""
        square("UserKNN", "users", train.n_users)
        x = matrix(train)
        read = x
        if self.idf:
            n = np.maximum(x.sum(axis=0), 1.0)
            read = csr_array(x.multiply(np.log1p(train.n_users / n)[None]))
        return Factors(_similar(csr_array(read.T), self.k, self.shrink, 1.0), x.T.toarray())


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


def _similar(x: csr_array, k: int, shrink: float, power: float) -> Float[np.ndarray, "n n"]:
    """Of each column of x (rows of the result) the k most similar other columns, and how similar they are."""
    gram = (x.T @ x).toarray()
    lengths = np.sqrt(np.diag(gram))
    # The columns' own lengths are those of the neighbour to the power 1 and of the row itself to `power`.
    gram /= (lengths[:, None] ** power) * lengths[None] + shrink + 1e-6
    np.fill_diagonal(gram, 0.0)
    return keep_largest(gram, k)
