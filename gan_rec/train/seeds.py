"""An epoch of several seeds: on a CPU each by the program of a single one, as many at a time as there are cores.

Elsewhere all of them are one program, as in `gan_rec.train.epoch.epoch`. On a CPU that costs more than it saves:
batched products of small matrices are slow there, and one seed rarely fills two cores.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gan_rec.train.epoch import Schedule, State, epoch

_played: set = set()  # programs that have been played, and so are compiled


def epoch_of_seeds(state: State, positives: Any, game: Any, schedule: Schedule, keys: Any) -> tuple[State, dict]:
    """`gan_rec.train.epoch.epoch` in the way that is fast on this device; `state` must not be used afterwards."""
    n = keys.shape[0]
    if n == 1 or not _each_alone(positives, schedule):
        return epoch(state, positives, game, schedule, keys)
    states, keys = _apart(state, n), _apart(keys, n)

    def play(number: int):
        return jax.block_until_ready(epoch(states[number], positives, *_one((game, schedule), number), keys[number]))

    program = _program((states[0], positives, game, schedule))
    # The first time alone, or every core would compile the same program.
    first = [] if program in _played else [play(0)]
    _played.add(program)
    with ThreadPoolExecutor(_cores()) as threads:
        rest = list(threads.map(play, range(len(first), n)))
    return _together(first + rest)


def _each_alone(positives: Any, schedule: Schedule) -> bool:
    """Whether seeds are played alone: not where tables are so large that a copy of each is too much."""
    on_cpu = jax.default_backend() == "cpu" and schedule.layout is None
    return on_cpu and schedule.table_updates == "dense" and not getattr(positives, "of_tokens", False)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _program(arguments: Any) -> Any:
    leaves, tree = jax.tree.flatten(arguments)
    return tree, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)


@partial(jax.jit, static_argnums=1)
def _apart(tree: Any, n: int) -> list:
    return [_one(tree, number) for number in range(n)]


def _one(tree: Any, number: int) -> Any:
    """Of what has an axis of seeds that of one of them, the axis kept."""
    return jax.tree.map(lambda x: x[number : number + 1] if jnp.ndim(x) else x, tree)


@jax.jit
def _together(each: list) -> Any:
    return jax.tree.map(lambda *xs: jnp.concatenate(xs), *each)
