"""Full ranking: the best K items of the whole catalogue for every user, seen items left out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gan_rec.data.sampling import Positives
from gan_rec.evaluation.topk import top_k
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.history import known_of

MEMORY = 64  # MiB of scores at a time


def top_items(
    recommenders,
    seen: Positives,
    users: np.ndarray,
    k: int,
    *,
    side: str = "user",
    candidates: np.ndarray | None = None,
    memory: int = MEMORY,
) -> tuple[Int[np.ndarray, "S n K"], Float[np.ndarray, "S n K"]]:
    """Rank the catalogue for `users` with each of S recommenders.

    Args:
        recommenders: weights with a leading axis of S.
        seen: pairs that are left out of the ranking; they are also the histories, or the graph, that recommenders read.
        users: n user indices.
        k: how many items, at most I.
        side: how the recommenders were trained, see `gan_rec.recommenders.flipped.flip`.
        candidates: `[I]` bool, the items to be ranked; None: all.
        memory: MiB of scores at a time; of one user there are as many as items, however little this allows.

    Returns:
        Item indices, best first, and their scores. Ties go to the lowest index, or with `candidates` to an order that
        was drawn once: of new items whole models may say the same, and indices often follow popularity. Where a user
        has fewer than K unseen items the rest has score -inf.

    Raises:
        FloatingPointError: a score is not a number; `lax.top_k` would rank it first.
    """
    n_seeds = jax.tree.leaves(recommenders)[0].shape[0]
    chunk = max(1, min(len(users), memory * 2**20 // (4 * n_seeds * seen.n_items)))
    padded = np.pad(users, (0, -len(users) % chunk), mode="edge").reshape(-1, chunk)
    ranked = None if candidates is None else np.random.default_rng(0).permutation(np.flatnonzero(candidates))
    items, scores = _rank(recommenders, seen, ranked, jnp.asarray(padded), k, side)
    items, scores = (np.asarray(x).reshape(n_seeds, -1, k)[:, : len(users)] for x in (items, scores))
    if np.isnan(scores).any():
        raise FloatingPointError("a recommender scored an item with NaN")
    return items, scores


@partial(jax.jit, static_argnames=("k", "side"))
def _rank(recommenders, seen: Positives, ranked, chunks: Int[Array, "chunks n"], k: int, side: str):
    recommenders = jax.vmap(lambda recommender: on_graph(recommender, seen))(recommenders)

    def rank(recommender, users):
        recommender = flip(recommender, seen, side)
        history = known_of(recommender, seen, users)
        scores = recommender.score(recommender.users(users, history), recommender.items())
        scores = seen.known.hide(users, scores)
        if ranked is None:
            return top_k(scores, k)
        best, places = top_k(scores[:, ranked], k)
        return best, ranked[places]

    def rank_chunk(users):
        return jax.vmap(rank, in_axes=(0, None))(recommenders, users)

    scores, items = jax.lax.map(rank_chunk, chunks)  # [chunks, S, n, K]
    return jnp.moveaxis(items, 1, 0), jnp.moveaxis(scores, 1, 0)
