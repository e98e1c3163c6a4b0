"""Trainings that differ in traced numbers alone, as one program: the trials of a search side by side."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_rec.train.fit import Training


def shape(training: Any) -> Hashable:
    """What trainings must have in common to be one program: everything but the traced numbers of game and schedule.

    Of what is no plain `Training` it is like nothing else's: such a one stays alone.
    """
    if type(training) is not Training:
        return object()
    numbers = jax.tree.structure((training.game, training.schedule))
    return numbers, training.make_recommender, training.make_adversary, training.budget, training.task


def together(trainings: Sequence[Training], observers: tuple = ()) -> Training:
    """One training whose seeds are those of all, in their order, each with the numbers of its own.

    What it gives for a seed is what the training of that seed alone would give, up to rounding.

    Args:
        trainings: of one `shape`.
        observers: who is told of it.

    Raises:
        ValueError: they are of several shapes.
    """
    first = trainings[0]
    if any(shape(each) != shape(first) for each in trainings):
        raise ValueError("only trainings that differ in traced numbers alone can be one")
    counts = [len(each.seeds) for each in trainings]

    def stack(*values: Any) -> Any:
        if all(value is values[0] or np.array_equal(value, values[0]) for value in values):
            return values[0]  # what is common stays one number, and branches on it stay branches
        return jnp.repeat(jnp.asarray(values, jnp.float32), jnp.asarray(counts))

    return replace(
        first,
        game=jax.tree.map(stack, *(each.game for each in trainings)),
        schedule=jax.tree.map(stack, *(each.schedule for each in trainings)),
        seeds=tuple(seed for each in trainings for seed in each.seeds),
        observers=observers,
    )
