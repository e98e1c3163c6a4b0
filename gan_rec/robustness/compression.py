"""Smaller models: whole numbers in place of real ones, fewer weights, fewer dimensions, or a student.

Every function takes S recommenders (a leading axis of S) and returns as many, with the bytes that one takes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from gan_rec import losses
from gan_rec.data.sampling import Positives
from gan_rec.evaluation.topk import top_k
from gan_rec.recommenders import Autoencoder
from gan_rec.recommenders.baselines.tables import Factors
from gan_rec.recommenders.whole_numbers import dequantise, quantise
from gan_rec.robustness.damage import Moved
from gan_rec.robustness.shifts import reading


class Compressed(NamedTuple):
    """S smaller recommenders."""

    recommenders: Any
    size: float  # bytes of the weights of one
    side: str = "user"  # how they are put the right way round, see `gan_rec.recommenders.flipped.flip`


def whole(recommenders, side: str = "user") -> Compressed:
    """The models as they are, with weights of 4 bytes."""
    return Compressed(recommenders, 4.0 * sum(leaf[0].size for leaf in jax.tree.leaves(recommenders)), side)


def int8(recommenders, side: str = "user") -> Compressed:
    """Every table as whole numbers of one byte, with a scale for each row and 64 columns.

    See `gan_rec.recommenders.whole_numbers`; vectors and single numbers stay as they are.
    """

    def make(table):
        numbers, scales = quantise(table)
        return dequantise(numbers, scales), numbers.nbytes + scales.nbytes

    return _by_table(recommenders, make, side)


def pruned(recommenders, share: float, side: str = "user") -> Compressed:
    """A share of every table's entries becomes 0: the smallest (Han et al., NeurIPS 2015, section 3).

    An entry that is left takes 8 bytes, with its column, and a row 4 more, unless the whole table takes less.
    """

    def make(table):
        gone = round(share * table.size)
        kept = table.copy()
        kept.flat[np.argsort(np.abs(table), axis=None, kind="stable")[:gone]] = 0
        sparse = 8 * np.count_nonzero(kept) + 4 * (len(kept) + 1)
        return kept, min(sparse, table.nbytes)

    return _by_table(recommenders, make, side)


def _by_table(recommenders, make: Callable, side: str) -> Compressed:
    size = 0.0

    def compress(leaf):
        nonlocal size
        if leaf.ndim != 3:
            size += 4 * leaf[0].size
            return leaf
        made = [make(np.asarray(table)) for table in leaf]
        size += float(np.mean([bytes_ for _, bytes_ in made]))
        return jnp.asarray(np.stack([table for table, _ in made]), leaf.dtype)

    return Compressed(jax.tree.map(compress, recommenders), size, side)


def low_rank(recommenders, known: Positives, rank: int, side: str = "user") -> Compressed:
    """Rows of `rank` columns whose inner products are nearest to the scores, in squares over all users and items.

    From each user's scores the mean is taken first, which moves no item in the ranking.
    """
    made = [_decompose(scores, rank) for scores in map(np.asarray, _scores(reading(recommenders, known, side)))]
    users, items = (np.stack(tables) for tables in zip(*made, strict=True))
    factors = jax.vmap(Factors)(jnp.asarray(users, jnp.float32), jnp.asarray(items, jnp.float32))
    return whole(factors)


def _decompose(scores: Float[np.ndarray, "U I"], rank: int) -> tuple[np.ndarray, np.ndarray]:
    left, values, right = np.linalg.svd(scores - scores.mean(axis=1, keepdims=True), full_matrices=False)
    root = np.sqrt(values[:rank])
    return left[:, :rank] * root, right[:rank].T * root


@jax.jit
def _scores(rows: Moved) -> Float[Array, "S U I"]:
    return jax.vmap(lambda one: one.score(one.user_rows[...], one.item_rows[...]))(rows)


def student(
    recommenders, known: Positives, dim: int, key, *, side: str = "user", top: int = 50, steps: int = 1000
) -> Compressed:
    """Autoencoders of `dim` units that learn the teachers' best `top` items for every user, without an adversary.

    An item's part in the softmax loss falls with its rank, as 1 / log2(1 + rank); items that a user has are no
    candidates. Ranking distillation is by Tang and Wang, KDD 2018; here a list's places are one distribution.

    Args:
        recommenders: the teachers.
        known: histories that both read.
        dim: units.
        key: of initial values and batches; the same for all S.
        side: of the teachers.
        top: length of the lists.
        steps: of Adam, on 128 users each.
    """
    teachers = reading(recommenders, known, side)
    top = min(top, known.n_items)
    make_key, train_key = jax.random.split(key)
    first = Autoencoder(known.n_users, known.n_items, dim, rngs=nnx.Rngs(make_key))
    return whole(_teach(teachers, known, first, train_key, top, steps))


@partial(jax.jit, static_argnames=("top", "steps"))
def _teach(teachers: Moved, known: Positives, first, key, top: int, steps: int):
    optimizer = optax.adamw(optax.cosine_decay_schedule(1e-2, steps), weight_decay=1e-2)
    weights = 1 / jnp.log2(2.0 + jnp.arange(top))

    def teach(teacher):
        def loss(student, users, key):
            history = known.history(users)
            scores = known.known.hide(users, teacher.score(teacher.users(users), teacher.items()))
            best, items = top_k(scores, top)
            shown = jnp.where(jnp.isfinite(best), weights, 0.0)
            targets = jnp.zeros_like(history).at[jnp.arange(len(users))[:, None], items].add(shown)
            found = student.score(student.users(users, history, key), student.items())
            return losses.softmax(found, targets, 1.0 - history)

        def step(carry, key):
            student, state = carry
            draw_key, drop_key = jax.random.split(key)
            users = known.active[jax.random.randint(draw_key, (128,), 0, known.n_active)]
            gradient = jax.grad(loss)(student, users, drop_key)
            updates, state = optimizer.update(gradient, state, student)
            return (optax.apply_updates(student, updates), state), None

        begin = (first, optimizer.init(first))
        return jax.lax.scan(step, begin, jax.random.split(key, steps))[0][0]

    return jax.vmap(teach)(teachers)
