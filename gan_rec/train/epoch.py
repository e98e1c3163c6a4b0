"""The compiled epoch: both players, all batches, all seeds, in one program."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from gan_rec.train import sparse
from gan_rec.train.pulse import beat
from gan_rec.train.sharding import Layout


class State(NamedTuple):
    """Both players in the middle of a game; with S seeds every leaf has a leading axis of S."""

    recommender: Any
    adversary: Any
    recommender_opt: Any
    adversary_opt: Any
    average: Any  # moving average of the recommender's weights, which is what gets evaluated
    alpha: Float[Array, ""]  # weight of the data loss, which an automatic rule may change between epochs
    epoch: Int[Array, ""]  # epochs played
    memory: Any = None  # gradients that a game accumulates; None: it begins anew in every epoch


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["learning_rate", "weight_decay", "average", "adversary_learning_rate", "horizon"],
    meta_fields=[
        "batch_size",
        "adversary_steps",
        "recommender_steps",
        "moves",
        "clip",
        "ramp",
        "accumulate",
        "table_updates",
        "layout",
    ],
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
        adversary_steps: steps of the adversary on each batch, before those of the recommender.
        recommender_steps: steps of the recommender on each batch.
        moves: "alternating": the adversary first. "simultaneous": both at once, each against the other as it was; where
            a game knows both gradients from one backward pass, that saves the adversary's own.
        clip: largest norm of the recommender's gradient; 0 for no bound.
        ramp: steps over which the recommender's learning rate rises from 0.
        accumulate: batches whose mean gradient makes one step of the recommender.
        horizon: epochs over which the recommender's learning rate falls linearly to 0, a little with every step; 0 for
            a rate that stays.
        table_updates: "dense": a step moves all rows of embedding tables. "lazy-adam", "row-adagrad": only those that
            the batch names, see `gan_rec.train.sparse`.
        layout: how several devices share the work; None: there is one.
    """

    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1.0
    average: float = 0.95
    adversary_learning_rate: float = 1e-3
    adversary_steps: int = 1
    recommender_steps: int = 1
    moves: str = "alternating"
    clip: float = 0.0
    ramp: int = 0
    accumulate: int = 1
    horizon: float = 0.0
    table_updates: str = "dense"
    layout: Layout | None = None

    def recommender_optimizer(self) -> optax.GradientTransformation:
        """AdamW (Loshchilov and Hutter, ICLR 2019); of embedding tables also row-wise Adagrad."""
        rate = self.learning_rate
        if self.ramp:
            rate = self._ramped
        optimizer = sparse.optimizer(self.table_updates, rate, self.weight_decay)
        if self.clip:
            optimizer = optax.chain(optax.clip_by_global_norm(self.clip), optimizer)
        if self.accumulate > 1:
            optimizer = optax.MultiSteps(optimizer, self.accumulate).gradient_transformation()
        return optimizer

    def at(self, epochs) -> "Schedule":
        """The schedule after `epochs` of the training, of which parts count too."""
        left = jnp.where(self.horizon > 0, jnp.maximum(1 - epochs / jnp.maximum(self.horizon, 1e-6), 0.0), 1.0)
        return replace(self, learning_rate=self.learning_rate * left)

    def _ramped(self, count):
        return self.learning_rate * jnp.minimum(1.0, (count + 1) / self.ramp)

    def adversary_optimizer(self) -> optax.GradientTransformation:
        """Adam (Kingma and Ba, ICLR 2015)."""
        return optax.adam(self.adversary_learning_rate)


def _for_each_seed(function: Callable, common, *own):
    """`function(common, *own)` of S seeds: `own` have a leading axis of S; so may numbers in `common`, a pytree."""
    numbers, tree = jax.tree.flatten(common)
    axes = [0 if jnp.ndim(number) else None for number in numbers]

    def with_numbers(numbers, *own):
        return function(tree.unflatten(numbers), *own)

    if jax.tree.leaves(own)[0].shape[0] > 1:
        return jax.vmap(with_numbers, in_axes=(axes, *[0] * len(own)))(numbers, *own)
    # Not by vmap: XLA's CPU backend sums products with a leading axis of 1 ten times slower than without.
    numbers = [number if axis is None else number[0] for number, axis in zip(numbers, axes, strict=True)]
    return jax.tree.map(lambda x: x[None], with_numbers(numbers, *jax.tree.map(lambda x: x[0], own)))


@partial(jax.jit, static_argnums=(0, 1))
def _init(make_recommender, make_adversary, schedule: Schedule, key, alpha) -> State:
    def begin(common, key):
        schedule, alpha = common
        recommender_key, adversary_key = jax.random.split(key)
        recommender, adversary = make_recommender(recommender_key), make_adversary(adversary_key)
        return State(
            recommender=recommender,
            adversary=adversary,
            recommender_opt=schedule.recommender_optimizer().init(recommender),
            adversary_opt=schedule.adversary_optimizer().init(adversary),
            average=jax.tree.map(jnp.copy, recommender),
            alpha=jnp.asarray(alpha, jnp.float32),
            epoch=jnp.zeros((), jnp.int32),
        )

    return _for_each_seed(begin, (schedule, alpha), key)


def init(make_recommender: Callable, make_adversary: Callable, schedule: Schedule, key, alpha: Any = 0.5) -> State:
    """State before the first epoch of S seeds.

    Args:
        make_recommender, make_adversary: key -> module. The two get separate keys, so that the recommender starts from
            the same values whatever plays against it.
        schedule: for the optimisers' states; its traced numbers are common to all seeds, or `[S]`.
        key: `[S]` keys.
        alpha: the game's weight of the data loss, or `[S]`.
    """
    return _init(make_recommender, make_adversary, schedule, key, alpha)


def play(state: State, positives, game, schedule: Schedule, key) -> tuple[State, dict]:
    """One epoch of one seed.

    Returns:
        The new state, and the mean of each of the game's metrics over the epoch, with "finite": whether every weight
        of both players is a finite number.
    """
    size = game.size(positives)[1]
    order_key, steps_key = jax.random.split(jax.random.fold_in(key, state.epoch))
    order = game.order(positives, schedule.batch_size, order_key)
    n_steps = -(-size // schedule.batch_size)
    if getattr(game, "alternates", False):  # as many adversarial turns as original ones; the twin has no turns
        n_steps = n_steps + jnp.where(game.plays, n_steps % 2, 0)
    game = replace(game, weight=state.alpha) if hasattr(game, "weight") else game

    def draw(number, key):
        # The last batch is filled up from the start of the order, so that every batch is full.
        rows = order[(number * schedule.batch_size + jnp.arange(schedule.batch_size)) % size]
        return game.draw(positives, rows, key)

    def step(i, carry):
        state, memory, sums = carry
        if getattr(positives, "of_tokens", False):  # a language model's steps are long
            beat(i, n_steps)
        number, batch_of = _turn(game, i)
        draw_key, *move_keys = jax.random.split(jax.random.fold_in(steps_key, number), 3)
        batch = batch_of(draw(number, draw_key), memory)
        if schedule.layout is not None:
            batch = schedule.layout.split(batch, schedule.batch_size)
        now = schedule.at(state.epoch + i / n_steps)
        state, parts, loss = _at_width(batch, lambda batch: _move_rows(state, game, now, batch, *move_keys))
        memory = parts.pop("offsets", memory)
        return state, memory, jax.tree.map(jnp.add, sums, parts | {"adversary_loss": loss})

    sums = {name: jnp.zeros(()) for name in (*game.metrics, "adversary_loss")}
    kept, state = state.memory, state._replace(memory=None)
    memory = _blank(state, game, draw) if kept is None else kept
    state, memory, sums = jax.lax.fori_loop(0, n_steps, step, (state, memory, sums))
    state = state._replace(memory=None if kept is None else memory)
    metrics = {name: total / _occurrences(name, game, n_steps) for name, total in sums.items()}
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((state.recommender, state.adversary))]
    return _average(state, schedule), metrics | {"finite": jnp.all(jnp.stack(finite))}


def _at_width(batch, move: Callable) -> tuple:
    """What `move` makes of a batch, whose texts, if it has any, are cut to what they need."""
    if not getattr(batch, "widths", ()):
        return move(batch)

    def move_cut(cut):
        state, parts, loss = move(cut)
        if "offsets" in parts:  # they are kept at full width
            parts["offsets"] = jax.tree.map(_widen, parts["offsets"], batch.offsets)
        return state, parts, loss

    return batch.at_width(move_cut)


def _widen(rows, like):
    return jnp.pad(rows, ((0, 0), (0, like.shape[1] - rows.shape[1])))


def _turn(game, i) -> tuple:
    """Which batch the i-th step is on, and a function that tells the batch so.

    Games that feed original and adversarial batches by turns play odd steps on adversarial rows; those that reuse a
    gradient play every batch twice, unless there is no adversary: the twin sees every batch once.
    """
    if getattr(game, "accumulates", False):
        return i, lambda batch, memory: batch._replace(offsets=memory)
    if not getattr(game, "alternates", False):
        return i, lambda batch, memory: batch
    number = jnp.where(game.plays, i // 2, i) if game.reuses else i
    return number, lambda batch, memory: batch._replace(turn=i % 2, offsets=memory)


def _attacks(game, batch):
    return game.plays & (batch.turn == 1) if getattr(game, "alternates", False) else game.plays


def _occurrences(name: str, game, n_steps):
    """In how many steps of the epoch a metric was measured; 0 elsewhere."""
    if not getattr(game, "alternates", False):
        return n_steps
    attacked = jnp.where(game.plays, n_steps // 2, 0)
    return jnp.maximum(n_steps - attacked if name == "data_loss" else attacked, 1)


def _blank(state: State, game, draw: Callable) -> Any:
    """What a game that reuses or accumulates gradients finds in its first turn."""
    if not (getattr(game, "reuses", False) or getattr(game, "accumulates", False)):
        return None
    key = jax.random.key(0)
    rows = jax.eval_shape(lambda: game.representations(state.recommender, draw(0, key), key))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tuple(rows))


@jax.jit
def with_memory(state: State, positives, game, schedule: Schedule) -> State:
    """The state of S seeds, ready to keep what the game accumulates from epoch to epoch."""

    def fill(state):
        rows = jnp.arange(schedule.batch_size)
        return state._replace(memory=_blank(state, game, lambda number, key: game.draw(positives, rows, key)))

    return jax.vmap(fill)(state)


def step_on(state: State, batch, game, schedule: Schedule, key) -> State:
    """The state of S seeds after both players' steps on one and the same batch."""

    def step(state):
        own = batch if schedule.layout is None else schedule.layout.split(batch, schedule.batch_size)
        return _move_rows(state, game, schedule, own, *jax.random.split(key))[0]

    state = jax.vmap(step)(state)
    return state if schedule.layout is None else schedule.layout.constrain(state)


def _move_rows(state: State, game, schedule: Schedule, batch, *keys) -> tuple[State, dict, Any]:
    """`_move`, on the rows of the batch alone if the schedule says so."""
    if schedule.table_updates == "dense":
        return _move(state, game, schedule, batch, *keys)
    whole = state.recommender, state.recommender_opt
    small, batch, rows = sparse.gather(whole, batch)
    # The average moves once an epoch; within a branch it would be copied in every step.
    own = state._replace(recommender=small[0], recommender_opt=small[1], average=None)
    own, parts, loss = _move(own, game, schedule, batch, *keys)
    recommender, opt = sparse.scatter(whole, (own.recommender, own.recommender_opt), rows)
    return own._replace(recommender=recommender, recommender_opt=opt, average=state.average), parts, loss


def _move(state: State, game, schedule: Schedule, batch, adversary_key, recommender_key) -> tuple[State, dict, Any]:
    """The state after both players' steps on a batch, the parts of the loss, and the adversary's loss."""
    if schedule.moves == "simultaneous":
        return _move_both(state, game, schedule, batch, recommender_key)
    state, loss = _move_adversary_if(_attacks(game, batch), state, game, schedule, batch, adversary_key)
    return *_move_recommender(state, game, schedule, batch, recommender_key), loss


def _move_adversary(state: State, game, schedule: Schedule, batch, key) -> tuple:
    """The adversary and its optimiser's state after its steps on a batch, and its loss before the last of them."""
    adversary, opt, loss = state.adversary, state.adversary_opt, jnp.zeros(())
    for step_key in jax.random.split(key, schedule.adversary_steps) if jax.tree.leaves(adversary) else ():
        loss, gradient = jax.value_and_grad(game.adversary_loss)(adversary, state.recommender, batch, step_key)
        updates, opt = schedule.adversary_optimizer().update(gradient, opt, adversary)
        adversary = optax.apply_updates(adversary, updates)
    return adversary, opt, loss


def _move_adversary_if(attacks, state: State, game, schedule: Schedule, batch, key) -> tuple[State, Any]:
    """The state after the adversary's steps, if it takes part in this batch, and its loss."""
    # Only what may change passes through the branch: what passes is copied.
    adversary, opt, loss = jax.lax.cond(
        attacks,
        lambda state: _move_adversary(state, game, schedule, batch, key),
        lambda state: (state.adversary, state.adversary_opt, jnp.zeros(())),
        state,
    )
    return state._replace(adversary=adversary, adversary_opt=opt), loss


def _move_both(state: State, game, schedule: Schedule, batch, key) -> tuple[State, dict, Any]:
    """The state after one step of each player against the other as it was, the parts, and the adversary's loss."""
    if not getattr(game, "gives_both_gradients", False):
        moved, loss = _move_adversary_if(_attacks(game, batch), state, game, schedule, batch, key)
        after, parts = _move_recommender(state, game, schedule, batch, key)
        return after._replace(adversary=moved.adversary, adversary_opt=moved.adversary_opt), parts, loss
    (gradient, own), parts = jax.grad(game.recommender_loss, argnums=(0, 1), has_aux=True)(
        state.recommender, state.adversary, batch, key
    )

    def move(players):
        updates, opt = schedule.adversary_optimizer().update(own, players[1], players[0])
        return optax.apply_updates(players[0], updates), opt

    adversary, adversary_opt = jax.lax.cond(
        _attacks(game, batch), move, lambda players: players, (state.adversary, state.adversary_opt)
    )
    updates, opt = schedule.recommender_optimizer().update(gradient, state.recommender_opt, state.recommender)
    state = state._replace(
        recommender=optax.apply_updates(state.recommender, updates), recommender_opt=opt,
        adversary=adversary, adversary_opt=adversary_opt,
    )  # fmt: skip
    return state, parts, -parts["adversarial_loss"]


def _move_recommender(state: State, game, schedule: Schedule, batch, key) -> tuple[State, dict]:
    """The state after the recommender's steps on a batch, and the parts of the last one's loss."""
    # One step takes the key as it is.
    keys = [key] if schedule.recommender_steps == 1 else jax.random.split(key, schedule.recommender_steps)
    for step_key in keys:
        gradient, parts = jax.grad(game.recommender_loss, has_aux=True)(
            state.recommender, state.adversary, batch, step_key
        )
        updates, opt = schedule.recommender_optimizer().update(gradient, state.recommender_opt, state.recommender)
        recommender = optax.apply_updates(state.recommender, updates)
        state = state._replace(recommender=recommender, recommender_opt=opt)
    return state, parts


def _average(state: State, schedule: Schedule) -> State:
    epoch = state.epoch + 1
    # Without the correction the average would start from the random initial weights and keep some of them for long.
    weight = (1 - schedule.average) / (1 - schedule.average**epoch)
    average = jax.tree.map(lambda a, w: a + weight * (w - a), state.average, state.recommender)
    return state._replace(average=average, epoch=epoch)


@partial(jax.jit, donate_argnums=0)
def epoch(state: State, positives, game, schedule: Schedule, keys) -> tuple[State, dict]:
    """One epoch of S seeds, in one program: state and keys have a leading axis of S, `state` is donated.

    Everything else is shared by the seeds, but for traced numbers of game and schedule that have an axis of S: of these
    each seed has its own, so that S trials of a search are one program too (not with texts cut to width). Weights,
    radius and learning rates are traced: changing them, or the number of pairs below the capacity of `positives`,
    compiles nothing.
    """
    if getattr(positives, "of_tokens", False):
        # Together, seeds would run their batches at every width and throw all but one of the results away.
        return jax.lax.map(lambda each: play(each[0], positives, game, schedule, each[1]), (state, keys))
    state, metrics = _for_each_seed(
        lambda common, state, key: play(state, positives, *common, key), (game, schedule), state, keys
    )
    # Else XLA might choose another place for what comes out, and the next epoch would be another program.
    return (state if schedule.layout is None else schedule.layout.constrain(state)), metrics


@partial(jax.jit, static_argnames="steps")
def adversary_epoch(state: State, positives, game, schedule: Schedule, keys, *, steps: int) -> State:
    """Only the adversary moves, for `steps` batches, against recommenders that stay as they are."""

    def play_alone(state, key):
        def step(state, key):
            row_key, draw_key, move_key = jax.random.split(key, 3)
            rows = game.some_rows(positives, schedule.batch_size, row_key)
            batch = game.draw(positives, rows, draw_key)
            adversary, opt, _ = _move_adversary(state, game, schedule, batch, move_key)
            return state._replace(adversary=adversary, adversary_opt=opt), None

        return jax.lax.scan(step, state, jax.random.split(key, steps))[0]

    return jax.vmap(play_alone)(state, keys)
