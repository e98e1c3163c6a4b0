"""Damage to the ranking: what becomes of a trained model's metrics when its rows are moved."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from gan_rec.adversaries.ball import Ball
from gan_rec.data.sampling import Positives
from gan_rec.games.batches import Batch, draw_pairs
from gan_rec.games.rows import RowLoss
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.history import known_of

ROWS = ("both", "users", "items", "features")
GOALS = ("list", "loss")
_SHARPNESS = 3.0  # at which PGD did most to trained models and their twins, on validation
_MOST_PAIRS = 2**17  # that the attacked loss is over


class Moved(nnx.Module):
    """A recommender with rows of somebody else's making."""

    reads_history = False

    def __init__(self, recommender: nnx.Module, users: Float[Array, "U D"], items: Float[Array, "I D"]):
        self.inner, self.user_rows, self.item_rows = recommender, nnx.Param(users), nnx.Param(items)

    def users(self, ids: Int[Array, " B"], history=None, key=None) -> Float[Array, "B D"]:
        """User representations."""
        return self.user_rows[ids]

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item representations."""
        return self.item_rows[...] if ids is None else self.item_rows[ids]

    def score(self, users: Float[Array, "B D"], items: Float[Array, "*any D"]) -> Float[Array, "B _"]:
        """The recommender's own."""
        return self.inner.score(users, items)


class Attacked(NamedTuple):
    """S recommenders after an attack, with users as users, their rows before, and what it did to their loss."""

    clean_rows: tuple[Float[Array, "S U D"], Float[Array, "S I _"]]
    moved_rows: tuple[Float[Array, "S U D"], Float[Array, "S I _"]]  # of items the rows, or the features
    moved: Moved
    losses: Float[Array, " S"]  # of the moved rows


def move_rows(
    recommenders,
    adversaries,
    known: Positives,
    key,
    *,
    radius: float | Float[Array, " S"],
    loss: str,
    norm: str = "l2",
    side: str = "user",
    rows: str = "both",
    goal: str = "loss",
    k: int = 20,
    ranked: Bool[np.ndarray, " I"] | None = None,
) -> Attacked:
    """Let an adversary move rows by at most `radius` of their length.

    With the goal "loss" it raises the training loss on what is known (all users, or 131,072 pairs at the most), as in
    He et al., SIGIR 2018, table 1. With "list" it drives the K items that the model itself puts first out of each
    user's list: it raises the cross-entropy of these, weighted by 1 / log2(rank + 1) as in NDCG, under a softmax of the
    standardised scores of all unseen items.
    Both are open to whoever attacks a deployed model; neither sees what is held out. One perturbation of every user and
    item row serves all of the ranking.

    Args:
        recommenders: weights with a leading axis of S.
        adversaries: S of them, or an attack without parameters.
        known: pairs known before; histories, mask, and what the loss is over.
        key: for what the adversary draws.
        radius: of all rows; one, or one for each seed.
        loss: the recommender's loss, see `gan_rec.games.rows.LOSSES`.
        norm: "l2" or "linf".
        side: how the recommenders were trained, see `gan_rec.recommenders.flipped.flip`.
        rows: which may move, one of ROWS; "features": those of items, of a recommender that has some.
        goal: what the adversary raises, one of GOALS.
        k: of the goal "list".
        ranked: the items that lists are made of; None: those of `known`.
    """
    recommenders = jax.vmap(lambda r: on_graph(r, known))(recommenders)
    if side != "user":
        recommenders = jax.vmap(lambda r: flip(r, known, side))(recommenders)
    n_seeds = jax.tree.leaves(recommenders)[0].shape[0]
    radii = jnp.broadcast_to(jnp.asarray(radius, jnp.float32), (n_seeds,))
    how = {"loss": loss, "norm": norm, "rows": rows, "goal": goal, "k": k}
    how["ranked"] = known.candidates if ranked is None else jnp.asarray(ranked, jnp.float32)
    if not jax.tree.leaves(adversaries):  # without a leaf nothing carries the axis of seeds
        return _move_all(recommenders, None, known, key, radii, attack=_Frozen(adversaries), **how)
    return _move_all(recommenders, adversaries, known, key, radii, attack=None, **how)


class _Frozen:
    """An attack without parameters as a static argument: equal attacks compile once."""

    def __init__(self, attack: nnx.Module):
        self.attack = attack
        self._same = (type(attack), tuple(sorted((k, v) for k, v in vars(attack).items() if not k.startswith("_"))))

    def __eq__(self, other) -> bool:
        return isinstance(other, _Frozen) and self._same == other._same

    def __hash__(self) -> int:
        return hash(self._same)


@partial(jax.jit, static_argnames=("attack", "loss", "norm", "rows", "goal", "k"))
def _move_all(recommenders, adversaries, known: Positives, key, radii, *, attack, loss, norm, rows, goal, k, ranked):
    def move(recommender, adversary, radius):
        adversary = attack.attack if attack is not None else adversary
        draw_key, attack_key = jax.random.split(key)
        ids = jnp.arange(known.n_users)
        of_features = rows == "features"
        look_up = recommender.features if of_features else recommender.items
        clean = recommender.users(ids, known_of(recommender, known, ids)), look_up()
        ball = Ball(radius * (rows in ("both", "users")), radius * (rows != "users"), norm)
        profile = getattr(adversary, "reads_history", False)
        if goal == "list":
            scores = recommender.score(clean[0], recommender.items())
            own = replace(known, candidates=ranked)
            batch, name = _own_lists(scores, own, k, profile=profile), "softmax"
            scorer = _Standardised(recommender, scores)
        else:
            batch, name, scorer = _whole(known, loss, draw_key, profile=profile), loss, recommender
        attacked = RowLoss(scorer, batch, name, clean, shared=True, features=of_features)
        moved = ball.project(tuple(adversary(attacked, *clean, attack_key, ball)), clean)
        users, items = moved[0], recommender.read(moved[1]) if of_features else moved[1]
        return Attacked(clean, moved, Moved(recommender, users, items), attacked(*moved))

    return jax.vmap(move, in_axes=(0, None if adversaries is None else 0, 0))(recommenders, adversaries, radii)


class _Standardised:
    """Scores of whole tables in standard deviations of each user's clean ones, times a constant.

    Otherwise an attack on a softmax depends on the scale of the scores, which no ranking does: a model whose scores are
    small would have a soft softmax, whose gradient hardly knows the list, and would look robust for it.
    """

    def __init__(self, recommender: nnx.Module, clean: Float[Array, "U I"]):
        self.inner, self.scale = recommender, _SHARPNESS / jnp.maximum(jnp.std(clean, axis=1, keepdims=True), 1e-12)

    def read(self, features: Float[Array, "I F"], ids=None) -> Float[Array, "I D"]:
        return self.inner.read(features, ids)

    def score(self, users: Float[Array, "U D"], items: Float[Array, "I D"]) -> Float[Array, "U I"]:
        return self.scale * self.inner.score(users, items)


def _own_lists(scores: Float[Array, "U I"], known: Positives, k: int, *, profile: bool) -> Batch:
    """What a recommender puts first among unseen items as what is to be found, weighted as NDCG weighs places."""
    ids = jnp.arange(known.n_users)
    history = known.history(ids)
    unseen = (1 - history) * (1.0 if known.candidates is None else known.candidates)
    best, items = jax.lax.top_k(jnp.where(unseen > 0, scores, -jnp.inf), min(k, known.n_items))
    gains = jnp.where(jnp.isfinite(best), 1 / jnp.log2(jnp.arange(best.shape[1]) + 2.0), 0.0)
    listed = jnp.zeros_like(scores).at[ids[:, None], items].add(gains)
    seen = history if profile else None
    return Batch(ids, history, listed, None, profile=seen, candidates=known.candidates)


def _whole(known: Positives, loss: str, key, *, profile: bool) -> Batch:
    """All that is known as one batch, of users or of pairs."""
    ids = jnp.arange(known.n_users)
    history = known.history(ids) if profile or loss == "softmax" else None
    if loss == "softmax":
        return Batch(ids, None, history, None, profile=history, candidates=known.candidates)
    row_key, draw_key = jax.random.split(key)
    pairs = jax.random.randint(row_key, (min(known.users.shape[0], _MOST_PAIRS),), 0, known.n_pairs)
    batch = draw_pairs(known, pairs, draw_key, reads_history=False, negatives=1, profile=False)
    return batch._replace(profile=history)


def radius_of_loss(
    metric_at, clean: Float[np.ndarray, " S"], part: float, *, steps: int = 14, largest: float = 4.0
) -> Float[np.ndarray, " S"]:
    """The radius at which each seed's metric has lost `part` of its clean value, by bisection; at most the largest.

    Args:
        metric_at: radii `[S]` -> metric `[S]`.
        clean: the metric without an attack.
        part: in (0, 1).
        steps: bisections of the radii from 0 to the largest.
        largest: radius.
    """
    low, high = np.zeros_like(clean), np.full_like(clean, largest)
    for _ in range(steps):
        middle = (low + high) / 2
        lost = metric_at(middle) < (1 - part) * clean
        low, high = np.where(lost, low, middle), np.where(lost, middle, high)
    return high
