"""What follows what: chances of the next item given the last ones, counted."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int
from scipy.sparse import csr_array

from gan_rec.data.interactions import Interactions
from gan_rec.errors import UserError
from gan_rec.recommenders.baselines.tables import matrix, square
from gan_rec.space import Real, Space, Whole


@dataclass(frozen=True)
class Markov:
    """Transitions from item to item, with what the same users had as a back-off, and popularity where nothing is known.

    A user's last item ranks j by the chance that j followed it, divided by a power of how often j is had, plus
    `backoff` times the cosine of both items over users. With `reach`, `backward` and `fade` it is a memory of whole
    sequences: pairs count that stand further apart or in the other order, and earlier items of the history vote too.

    Args:
        reach: how many places apart a pair of items may stand.
        decay: what each further place between them makes of a pair's count.
        backward: weight of pairs in the other order.
        read: how many of a user's last items vote.
        fade: what each step back makes of a vote.
        power: of the number of users who have the item that is ranked.
        backoff: weight of the cosine.

    Source: first-order chains as in Rendle et al., WWW 2010, section 3; the longer reach is that of the sequential
    rules of Ludewig and Jannach, UMUAI 2018, section 3.1.
    """

    reach: int = 1
    decay: float = 0.5
    backward: float = 0.0
    read: int = 1
    fade: float = 0.5
    power: float = 0.0
    backoff: float = 0.1

    space: ClassVar[Space] = {
        "reach": Whole(1, 10), "decay": Real(0.2, 1.0), "backward": Real(0.0, 1.0), "read": Whole(1, 10),
        "fade": Real(0.2, 1.0), "power": Real(0.0, 1.0), "backoff": Real(0.01, 3.0, log=True),
    }  # fmt: skip

    def fit(self, train: Interactions, seed: int = 0) -> "Votes":
        """The weights that training pairs lead to; nothing is random.

        Raises:
            UserError: the pairs have no times, or there are too many items for a dense table.
        """
        if train.times is None:
            raise UserError("Markov counts what follows what, and the data have no times")
        square("Markov", "items", train.n_items)
        weights = self._transitions(train).toarray()
        counts = train.item_counts()
        weights /= np.maximum(counts, 1)[:, None]
        weights /= np.maximum(counts, 1.0)[None] ** self.power
        weights += self.backoff * _cosines(train)
        weights += 1e-6 * counts / max(counts.max(), 1)
        np.fill_diagonal(weights, 0.0)
        return Votes(weights, self.fade ** np.arange(self.read)[::-1])

    def _transitions(self, train: Interactions) -> csr_array:
        by_time = np.lexsort((train.times, train.users))
        users, items, n = train.users[by_time], train.items[by_time], train.n_items
        total = csr_array((n, n), dtype=np.float32)
        for apart in range(1, self.reach + 1):
            same = users[apart:] == users[:-apart]
            weight = np.full(int(same.sum()), self.decay ** (apart - 1), np.float32)
            total += csr_array((weight, (items[:-apart][same], items[apart:][same])), shape=(n, n))
        return total + self.backward * total.T


def _cosines(train: Interactions) -> Float[np.ndarray, "I I"]:
    x = matrix(train)
    lengths = np.sqrt(np.maximum(train.item_counts(), 1)).astype(np.float32)
    return (x.T @ x).toarray() / lengths[:, None] / lengths[None]


class Votes(nnx.Module):
    """Scores are sums of item-to-item weights over the last T items of a history.

    Args:
        weights: `[I, I]`, from items of the history (rows) to items that are ranked (columns).
        votes: what each of the last items weighs, the latest at the end, `[T]`.
    """

    reads_history = False
    reads_order = True

    def __init__(self, weights: Float[np.ndarray, "I I"], votes: Float[np.ndarray, " T"]):
        self.rows = nnx.Param(jnp.asarray(weights, jnp.float32))
        self.votes = nnx.Param(jnp.asarray(votes, jnp.float32))

    @property
    def length(self) -> int:
        """T."""
        return self.votes.shape[-1]

    def users(self, ids: Int[Array, " B"] | None, history: Int[Array, "B T"], key=None) -> Float[Array, "B I"]:
        """All scores of each user."""

        def add(total, one):
            items, vote = one
            return total + vote * self.rows.at[items].get(mode="fill", fill_value=0.0), None

        begin = jnp.zeros((history.shape[0], self.rows.shape[1]))
        return jax.lax.scan(add, begin, (history.T, self.votes[...]))[0]

    def items(self, ids: Int[Array, "*any"] | None = None) -> Int[Array, "*any"]:
        """Where each item's score stands."""
        return jnp.arange(self.rows.shape[1]) if ids is None else ids

    def score(self, users: Float[Array, "B I"], items: Int[Array, "*any"]) -> Float[Array, "B _"]:
        """Scores of a catalogue, `[I]`, or of a list each, `[B, K]`."""
        return users[:, items] if items.ndim == 1 else jnp.take_along_axis(users, items, axis=1)
