"""A linear autoencoder over items and people: whom a user is linked with is read like one more part of the history."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int
from scipy.sparse import csr_array, eye_array, hstack

from gan_rec.data.interactions import Interactions
from gan_rec.recommenders.baselines.linear import zero_diagonal_ridge
from gan_rec.recommenders.baselines.tables import matrix, square
from gan_rec.recommenders.fixed import FixedArray
from gan_rec.recommenders.score import dot
from gan_rec.space import Real, Space


class HistoryAndCircle(nnx.Module):
    """Scores are sums of weights over a user's history, and over the people of the user's circle.

    Args:
        weights: `[I + U, I]`, from items and people (rows) to items that are ranked (columns).
        circles: `[U, U]`, who counts for whom, and how much.
    """

    reads_history = True

    def __init__(self, weights: Float[np.ndarray, "n I"], circles: Float[np.ndarray, "U U"]):
        self.columns = nnx.Param(jnp.asarray(weights.T, jnp.float32))
        self.circles = nnx.Param(jnp.asarray(circles, jnp.float32))

    def users(self, ids: Int[Array, " B"] | None, history: Float[Array, "B I"], key=None) -> Float[Array, "B n"]:
        """Histories and circles, side by side."""
        circles = self.circles[...] if ids is None else self.circles[ids]
        return jnp.concatenate([history, circles], axis=1)

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any n"]:
        """The weights that lead to each item."""
        return self.columns[...] if ids is None else self.columns[ids]

    score = staticmethod(dot)


@dataclass(frozen=True)
class SocialEASE:
    """EASE over items and people; only the items are ranked.

    A user's circle is whoever is linked with the user, in either direction, and the user: so two who are linked have
    each other in common, and friends of one person that person. With weight 0 it is EASE.

    Args:
        links: `[L, 2]`, users with users; their direction does not count. By default nobody is linked.
        l2: ridge.
        link_weight: of each person, where an item is 1.

    Source: further columns for what is known of users as in the collective models of Jeunen et al., RecSys 2020.
    """

    links: FixedArray = FixedArray(np.zeros((0, 2)), np.int32)
    l2: float = 150.0
    link_weight: float = 1.0

    space: ClassVar[Space] = {"l2": Real(10.0, 5000.0, log=True), "link_weight": Real(0.1, 3.0, log=True)}
    reads_links: ClassVar[bool] = True

    def fit(self, train: Interactions, seed: int = 0) -> HistoryAndCircle:
        """The weights that training pairs and links lead to; nothing is random.

        Raises:
            UserError: there are too many items and users for a dense table.
        """
        n_users, n_items = train.n_users, train.n_items
        square("SocialEASE", "items and users", n_items + n_users)
        start, end = self.links.values.T
        linked = csr_array((np.ones(len(start), np.float32), (start, end)), shape=(n_users, n_users))
        circles = self.link_weight * ((linked + linked.T + eye_array(n_users)) > 0).astype(np.float32)
        both = hstack([matrix(train), circles]).tocsr()
        gram = (both.T @ both).toarray()
        weights = zero_diagonal_ridge(gram, np.full(len(gram), self.l2))
        return HistoryAndCircle(weights[:, :n_items], circles.toarray())
