"""Ranking among sampled items, only to compare with papers that measured so."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import Positives
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.history import known_of

_USERS = 512  # at a time


def evaluate_sampled(
    recommenders, seen: Positives, truth: Interactions, ks: tuple[int, ...] = (5, 10), *, n: int = 99, seed: int = 0
) -> Evaluation:
    """Rank the one held-out item of each user among `n` items, drawn uniformly from those that the user never had.

    Where `truth` has candidates, only these are drawn.

    The numbers are far above those of the whole catalogue and may order models differently (Krichene and Rendle, KDD
    2020): nothing should be chosen by them. Metrics are named so, "sampled NDCG@10". Of equal scores the held-out item
    is the last.

    Args:
        recommenders: weights with a leading axis of S.
        seen: pairs known before.
        truth: held-out pairs, one for each user.
        ks: cut-offs.
        n: how many items are drawn; they are the same for all recommenders.
        seed: of the draw.

    Raises:
        UserError: a user has several held-out items, or a user has had all but fewer than `n` items.

    Source: the protocol of S3-Rec (Zhou et al., CIKM 2020, section 5.1.2).
    """
    users, counts = np.unique(truth.users, return_counts=True)
    if (counts > 1).any():
        raise UserError("sampled ranking is for one held-out item a user, as of a leave-one-out split")
    found = truth.items[np.argsort(truth.users, kind="stable")]
    listed = np.concatenate([found[:, None], _never_had(seen, truth, users, n, seed)], axis=1)
    n_seeds = jax.tree.leaves(recommenders)[0].shape[0]
    padded = [np.pad(x, [(0, -len(users) % _USERS), *[(0, 0)] * (x.ndim - 1)], mode="edge") for x in (users, listed)]
    chunks = tuple(jnp.asarray(x.reshape(-1, _USERS, *x.shape[1:])) for x in padded)
    ranks = np.asarray(_ranks(recommenders, seen, *chunks)).reshape(n_seeds, -1)[:, : len(users)]
    per_user = {}
    for k in ks:
        per_user[f"sampled HR@{k}"] = (ranks < k).astype(float)
        per_user[f"sampled NDCG@{k}"] = np.where(ranks < k, 1 / np.log2(ranks + 2), 0.0)
    per_user["sampled MRR"] = 1 / (ranks + 1.0)
    return Evaluation(users, per_user, {})


def _never_had(seen: Positives, truth: Interactions, users, n: int, seed: int) -> Int[np.ndarray, "m n"]:
    rng, size, known = np.random.default_rng(seed), np.int64(truth.n_items), int(seen.n_pairs)
    pairs = (np.asarray(column)[:known] for column in (seen.users, seen.items))
    had = np.unique(np.concatenate([u * size + i for u, i in (pairs, (truth.users, truth.items))]))
    if np.bincount(had // size, minlength=truth.n_users)[users].max() + n > (
        size if truth.candidates is None else truth.candidates.sum()
    ):
        raise UserError(f"there are not {n} items that each user never had")
    ranked = np.arange(size) if truth.candidates is None else np.flatnonzero(truth.candidates)
    drawn = ranked[rng.integers(0, len(ranked), (len(users), n))]
    while True:
        order = np.argsort(drawn, axis=1)
        ordered = np.take_along_axis(drawn, order, axis=1)
        twice = np.zeros(drawn.shape, bool)
        np.put_along_axis(twice, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        again = twice | np.isin(users[:, None] * size + drawn, had)
        if not again.any():
            return drawn.astype(np.int32)
        drawn[again] = ranked[rng.integers(0, len(ranked), int(again.sum()))]


@jax.jit
def _ranks(recommenders, seen: Positives, users: Int[Array, "chunks n"], listed: Int[Array, "chunks n list"]):
    def of_one(recommender):
        recommender = on_graph(recommender, seen)

        def of_some(chunk):
            users, listed = chunk
            rows = recommender.users(users, known_of(recommender, seen, users))
            scores = recommender.score(rows, recommender.items(listed))
            return jnp.sum(scores[:, 1:] >= scores[:, :1], axis=1)

        return jax.lax.map(of_some, (users, listed))

    return jax.vmap(of_one)(recommenders)
