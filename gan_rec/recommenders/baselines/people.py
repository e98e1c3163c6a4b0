"""Who is to know whom, by the acquaintances that two people have in common."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gan_rec.data.interactions import Interactions
from gan_rec.data.people import is_of_people
from gan_rec.errors import UserError
from gan_rec.recommenders.baselines.tables import ItemWeights, matrix, square
from gan_rec.space import Space


@dataclass(frozen=True)
class CommonNeighbours:
    """The number of people whom both know (Newman, Physical Review E 2001).

    Of links with a direction: whom the one follows and who follows the other.
    """

    space: ClassVar[Space] = {}

    def fit(self, train: Interactions, seed: int = 0) -> ItemWeights:
        """The links themselves as weights: a sum of them over a user's own links counts common neighbours.

        Raises:
            UserError: items are not users.
        """
        return ItemWeights(_links("CommonNeighbours", train))


@dataclass(frozen=True)
class AdamicAdar:
    """The same, where each of these people counts 1 / log of how many they know (Adamic and Adar, 2003, equation 1)."""

    space: ClassVar[Space] = {}

    def fit(self, train: Interactions, seed: int = 0) -> ItemWeights:
        """Links, weighed by whom they start from.

        Raises:
            UserError: items are not users.
        """
        links = _links("AdamicAdar", train)
        degree = links.sum(axis=1, keepdims=True)
        # Who knows one person alone brings no two together.
        return ItemWeights(np.where(degree > 1, links / np.log(np.maximum(degree, 2)), 0.0).astype(np.float32))


def _links(name: str, train: Interactions) -> np.ndarray:
    """`[U, U]`, without anybody's link to himself."""
    if not is_of_people(train):
        raise UserError(f"{name} needs items that are users (people=True, --people), and these are not")
    square(name, "users", train.n_users)
    links = matrix(train).toarray()
    np.fill_diagonal(links, 0.0)
    return links
