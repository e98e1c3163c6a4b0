"""A policy over paths: the next k items of a user one after the other, each given those chosen before."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.recommenders.sequential import Sequential

_NEVER = -1e9


class Offer(NamedTuple):
    """What a policy can choose from for each of B users."""

    users: Float[Array, "B D"]  # the state before the first step
    items: Int[Array, "B C"]  # the C best items there
    rows: Float[Array, "B C D"]
    allowed: Float[Array, "B C"]  # 0 where an item is none, since fewer were allowed


class PathPolicy(nnx.Module):
    """Softmax over items at each step: inner products with a user's state that each choice moves.

    The state begins as the representation that a recommender of the next item gives the user. A small recurrent memory
    of the choices is added to it, by a layer that begins at zero: so the greedy path of an untrained policy is the top
    k of the recommender.

    Args:
        encoder: a recommender of the next item, which is trained on.
        hidden: units of the memory.
        candidates: C, how many items a path is made of: those that are best before the first step.
        rngs: source of the memory's initial values.
    """

    reads_history = False
    reads_order = True

    def __init__(self, encoder: Sequential, hidden: int = 64, candidates: int = 100, *, rngs: nnx.Rngs):
        dim = encoder.item_embedding.shape[1]
        self.encoder, self.candidates = encoder, candidates
        self.read = nnx.Linear(dim, hidden, rngs=rngs)
        self.keep = nnx.Linear(hidden, hidden, use_bias=False, rngs=rngs)
        self.leave = nnx.Linear(hidden, dim, use_bias=False, kernel_init=nnx.initializers.zeros, rngs=rngs)

    @property
    def length(self) -> int:
        """T, how many of a user's last items are read."""
        return self.encoder.length

    def states(
        self, history: Int[Array, "B T"], path: Int[Array, "B K"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "B K D"]:
        """The state before each step along a given path; its inner products with items are the scores there."""
        rows = self.encoder.items().at[path].get(mode="fill", fill_value=0.0)
        return self.encoder.users(None, history, key)[:, None] + self.leave(self._memories(rows))

    def offer(self, history: Int[Array, "B T"], allowed: Float[Array, "B I"]) -> Offer:
        """What there is to choose from: the best of the allowed items."""
        users, items = self.encoder.users(None, history), self.encoder.items()
        scores = jnp.where(allowed > 0, jax.lax.stop_gradient(self.encoder.score(users, items)), _NEVER)
        best, ids = jax.lax.top_k(scores, min(self.candidates, scores.shape[1]))
        return Offer(users, ids, items[ids], (best > _NEVER).astype(jnp.float32))

    def walk(self, offer: Offer, k: int, key: PRNGKeyArray | None = None) -> Int[Array, "B K"]:
        """A path of k different items, as places in the offer: the best at each step, or with a `key` a drawn one."""
        users = jnp.arange(offer.users.shape[0])

        def step(carry, key):
            memory, allowed = carry
            scores = jnp.where(allowed > 0, self._scores(offer, memory), _NEVER)
            if key is not None:
                scores = scores + jax.random.gumbel(key, scores.shape)
            places = jnp.argmax(scores, axis=1)
            memory = self._remember(memory, offer.rows[users, places])
            return (memory, allowed.at[users, places].set(0.0)), places

        begin = jnp.zeros((users.shape[0], self.keep.kernel.shape[0])), offer.allowed
        return jax.lax.scan(step, begin, None if key is None else jax.random.split(key, k), length=k)[1].T

    def log_chances(self, offer: Offer, places: Int[Array, "B K"]) -> Float[Array, "B K C"]:
        """Log-chances of all that is offered before each step of a path, without what was chosen before."""
        users, steps = jnp.arange(places.shape[0])[:, None, None], jnp.arange(places.shape[1])
        memories = self._memories(jnp.take_along_axis(offer.rows, places[:, :, None], axis=1))
        scores = jnp.einsum("bkd,bcd->bkc", offer.users[:, None] + self.leave(memories), offer.rows)
        scores = jnp.where(offer.allowed[:, None] > 0, scores, _NEVER)
        earlier = jnp.where(steps[:, None] > steps, places[:, None], offer.items.shape[1])
        return jax.nn.log_softmax(scores.at[users, steps[None, :, None], earlier].set(_NEVER, mode="drop"), axis=2)

    def _scores(self, offer: Offer, memory: Float[Array, "B H"]) -> Float[Array, "B C"]:
        return jnp.einsum("bd,bcd->bc", offer.users + self.leave(memory), offer.rows)

    def _remember(self, memory: Float[Array, "B H"], rows: Float[Array, "B D"]) -> Float[Array, "B H"]:
        return jnp.tanh(self.read(rows) + self.keep(memory))

    def _memories(self, rows: Float[Array, "B K D"]) -> Float[Array, "B K H"]:
        """The memory before each step of a path with these rows; it is zero before the first."""

        def step(memory, rows):
            return self._remember(memory, rows), memory

        begin = jnp.zeros((rows.shape[0], self.keep.kernel.shape[0]))
        return jnp.moveaxis(jax.lax.scan(step, begin, jnp.moveaxis(rows, 1, 0))[1], 0, 1)
