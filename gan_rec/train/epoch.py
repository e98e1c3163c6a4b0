"""The compiled epoch: both players, all batches, all seeds, in one program."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from gan_rec.data.sampling import shuffle


class State(NamedTuple):
    """Both players in the middle of a game; with S seeds every leaf has a leading axis of S."""

    recommender: Any
    adversary: Any
    recommender_opt: Any
    adversary_opt: Any
    average: Any  # moving average of the recommender's weights, which is what gets evaluated
    epoch: Int[Array, ""]  # epochs played


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["learning_rate", "weight_decay", "average", "adversary_learning_rate"],
    meta_fields=["batch_size", "adversary_steps"],
)
@dataclass(frozen=True)
class Schedule:
    """How the players move.

    Args:
        batch_size: B.
        learning_rate: of the recommender (AdamW).
        weight_decay: decoupled, of the recommender; each step shrinks its weights by learning_rate * weight_decay.
        average: decay per epoch of the recommender's moving average; 0 evaluates the last weights.
        adversary_learning_rate: of the adversary (Adam).
        adversary_steps: steps of the adversary before each step of the recommender.
    """

    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1.0
    average: float = 0.95
    adversary_learning_rate: float = 1e-3
    adversary_steps: int = 1

    def recommender_optimizer(self) -> optax.GradientTransformation:
        """AdamW (Loshchilov and Hutter, ICLR 2019)."""
        return optax.adamw(self.learning_rate, weight_decay=self.weight_decay)

    def adversary_optimizer(self) -> optax.GradientTransformation:
        """Adam (Kingma and Ba, ICLR 2015)."""
        return optax.adam(self.adversary_learning_rate)


@partial(jax.jit, static_argnums=(0, 1))
@partial(jax.vmap, in_axes=(None, None, None, 0))
def init(make_recommender: Callable, make_adversary: Callable, schedule: Schedule, key) -> State:
    """State before the first epoch of S seeds.

    Args:
        make_recommender, make_adversary: key -> module. The two get separate keys, so that the recommender starts from
            the same values whatever plays against it.
        schedule: for the optimisers' states.
        key: `[S]` keys.
    """
    recommender_key, adversary_key = jax.random.split(key)
    recommender, adversary = make_recommender(recommender_key), make_adversary(adversary_key)
    return State(
        recommender=recommender,
        adversary=adversary,
        recommender_opt=schedule.recommender_optimizer().init(recommender),
        adversary_opt=schedule.adversary_optimizer().init(adversary),
        average=jax.tree.map(jnp.copy, recommender),
        epoch=jnp.zeros((), jnp.int32),
    )


def play(state: State, positives, game, schedule: Schedule, key) -> tuple[State, dict]:
    """One epoch of one seed.

    Returns:
        The new state, and the mean of each of the game's metrics over the epoch, with "finite": whether every weight
        of both players is a finite number.
    """
    capacity, size = game.size(positives)
    order_key, steps_key = jax.random.split(jax.random.fold_in(key, state.epoch))
    order = shuffle(order_key, capacity, size)
    n_steps = -(-size // schedule.batch_size)

    def step(i, carry):
        state, sums = carry
        draw_key, adversary_key, recommender_key = jax.random.split(jax.random.fold_in(steps_key, i), 3)
        # The last batch is filled up from the start of the order, so that every batch is full.
        rows = order[(i * schedule.batch_size + jnp.arange(schedule.batch_size)) % size]
        batch = game.draw(positives, rows, draw_key)
        # Only what may change passes through the branch: what passes is copied.
        adversary, opt = jax.lax.cond(
            game.plays,
            lambda state: _move_adversary(state, game, schedule, batch, adversary_key),
            lambda state: (state.adversary, state.adversary_opt),
            state,
        )
        state = state._replace(adversary=adversary, adversary_opt=opt)
        state, parts = _move_recommender(state, game, schedule, batch, recommender_key)
        return state, jax.tree.map(jnp.add, sums, parts)

    sums = {name: jnp.zeros(()) for name in game.metrics}
    state, sums = jax.lax.fori_loop(0, n_steps, step, (state, sums))
    metrics = {name: total / n_steps for name, total in sums.items()}
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((state.recommender, state.adversary))]
    return _average(state, schedule), metrics | {"finite": jnp.all(jnp.stack(finite))}


def _move_adversary(state: State, game, schedule: Schedule, batch, key) -> tuple:
    """The adversary and its optimiser's state after its steps on a batch."""
    adversary, opt = state.adversary, state.adversary_opt
    for step_key in jax.random.split(key, schedule.adversary_steps):
        gradient = jax.grad(game.adversary_loss)(adversary, state.recommender, batch, step_key)
        updates, opt = schedule.adversary_optimizer().update(gradient, opt, adversary)
        adversary = optax.apply_updates(adversary, updates)
    return adversary, opt


def _move_recommender(state: State, game, schedule: Schedule, batch, key) -> tuple[State, dict]:
    gradient, parts = jax.grad(game.recommender_loss, has_aux=True)(state.recommender, state.adversary, batch, key)
    updates, opt = schedule.recommender_optimizer().update(gradient, state.recommender_opt, state.recommender)
    return state._replace(recommender=optax.apply_updates(state.recommender, updates), recommender_opt=opt), parts


def _average(state: State, schedule: Schedule) -> State:
    epoch = state.epoch + 1
    # Without the correction the average would start from the random initial weights and keep some of them for long.
    weight = (1 - schedule.average) / (1 - schedule.average**epoch)
    average = jax.tree.map(lambda a, w: a + weight * (w - a), state.average, state.recommender)
    return state._replace(average=average, epoch=epoch)


@partial(jax.jit, donate_argnums=0)
def epoch(state: State, positives, game, schedule: Schedule, keys) -> tuple[State, dict]:
    """One epoch of S seeds, in one program: state and keys have a leading axis of S, `state` is donated.

    Everything else is shared by the seeds. Weights, radius and learning rates are traced: changing them, or the
    number of pairs below the capacity of `positives`, compiles nothing.
    """
    return jax.vmap(play, in_axes=(0, None, None, None, 0))(state, positives, game, schedule, keys)


@partial(jax.jit, static_argnames="steps")
def adversary_epoch(state: State, positives, game, schedule: Schedule, keys, *, steps: int) -> State:
    """Only the adversary moves, for `steps` batches, against recommenders that stay as they are."""

    def play_alone(state, key):
        def step(state, key):
            row_key, draw_key, move_key = jax.random.split(key, 3)
            rows = jax.random.randint(row_key, (schedule.batch_size,), 0, game.size(positives)[1])
            batch = game.draw(positives, rows, draw_key)
            adversary, opt = _move_adversary(state, game, schedule, batch, move_key)
            return state._replace(adversary=adversary, adversary_opt=opt), None

        return jax.lax.scan(step, state, jax.random.split(key, steps))[0]

    return jax.vmap(play_alone)(state, keys)
