"""The loop around the compiled epoch: selection on validation, then a refit on train + validation."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gan_rec.errors import UserError
from gan_rec.train.balance import rebalance
from gan_rec.train.epoch import Schedule, State, init, with_memory
from gan_rec.train.looking import Between
from gan_rec.train.nans import first_nan
from gan_rec.train.pulse import listening
from gan_rec.train.seeds import epoch_of_seeds
from gan_rec.train.sharding import SizedStore
from gan_rec.train.stopping import stopping_late

_UNDEFINED = float(np.finfo(np.float32).min)  # the score of an epoch whose metric is not a number: the worst there is


class TrainingDivergedError(UserError):
    """A loss or a weight is no longer a finite number."""


@dataclass(frozen=True)
class Budget:
    """How long to train, and what chooses the epoch.

    Args:
        epochs: the most epochs of the selection phase.
        patience: a seed's selection ends after this many epochs without a better validation metric.
        evaluate_every: epochs between two evaluations on validation.
        select_on: the validation metric that chooses the epoch, for example "NDCG@20".
        refit: train anew on train + validation for the chosen number of epochs.
        checkpoint_every: epochs between two checkpoints.
        warm_up: epochs before the adversary joins: the recommender's pre-training.
        warm_up_learning_rate: of the recommender in these epochs; None: the schedule's.
        anneal: let the recommender's learning rate fall linearly to 0 over `epochs`.
        balance: who sets alpha: "fixed", or a rule of `gan_rec.train.balance.rebalance` after every epoch of the
            selection. The refit keeps each seed's alpha of the chosen epoch.
    """

    epochs: int = 120
    patience: int = 30
    evaluate_every: int = 5
    select_on: str = "NDCG@20"
    refit: bool = True
    checkpoint_every: int = 20
    warm_up: int = 0
    warm_up_learning_rate: float | None = None
    anneal: bool = False
    balance: str = "fixed"


class Kept(NamedTuple):
    """The players as they were at one epoch, which each of the S seeds has its own of."""

    recommender: Any
    adversary: Any
    alpha: Float[Array, " S"]  # weight of the data loss
    epoch: Int[Array, " S"]
    score: Float[Array, " S"]  # validation metric at that epoch; NaN where none was measured


class Progress(NamedTuple):
    """All that a phase needs to go on from where it stands."""

    state: State
    kept: Kept
    stopped: Bool[Array, " S"]
    sums: Any = None  # of an epoch that is played in parts, what those so far add to its metrics


class Observer(Protocol):
    """Is told how a training goes; one with a `pulse(epochs: float)` also within an epoch that lasts.

    One with a `see(phase: str, epoch: int, between: Between)` also sees the players wherever validation measures them,
    in a training on one device.
    """

    def begin(self, phase: str, epoch: int, epochs: int) -> None:
        """A phase begins (or goes on) after `epoch` epochs and lasts until `epochs` at the most."""

    def tell(self, rows: list[dict]) -> None:
        """An epoch has ended: `phase, epoch, seed, seconds`, losses and metrics, a row for each seed."""


class Store(Protocol):
    """Keeps progress and results under a name; see `gan_rec.train.checkpoints.Checkpoints`."""

    def save(self, name: str, step: int, tree: Any) -> None:
        """Keep `tree` as the latest under `name`."""

    def restore(self, name: str, like: Any) -> Any | None:
        """The latest tree under `name`, or None."""

    def discard(self, name: str) -> None:
        """Forget all trees under `name`."""


class Task(Protocol):
    """What is trained for: what a game draws from, and how a player is measured; see `gan_rec.train.tasks`.

    A part of the data (train, valid) has a length and `concat`.
    """

    def on_device(self, part: Any, capacity: int | None = None) -> Any:
        """A part of the data as the game takes it, padded to `capacity` rows."""

    def scorer(self, train: Any, valid: Any, capacity: int, metric: str) -> Callable[[Any], np.ndarray]:
        """Recommenders of S seeds -> the metric of each on `valid`, `[S]`."""


@dataclass(frozen=True)
class Fit:
    """What training gives: weights chosen on validation, and weights to use."""

    selected: Kept  # trained on train alone: what validation speaks of
    final: Kept  # refitted on train + validation; the same as `selected` without a refit


@dataclass(frozen=True)
class Training:
    """One model's training: both players, their game, and who is told.

    Args:
        game: see `gan_rec.games`.
        make_recommender, make_adversary: key -> module.
        schedule, budget: how the players move, and for how long.
        seeds: S seeds; each is a training of its own, in the same program.
        observers: told of every phase and epoch.
        store: where checkpoints go; None keeps none.
        task: what is trained for.
        prefix: of the phases' names, where the store and the observers serve several trainings.
        rounds: into how many parts an epoch is cut, each of which the state counts as one.
        debug_nans: of an epoch that diverges, find the operation that was the first to give NaN.
    """

    game: Any
    make_recommender: Callable
    make_adversary: Callable
    schedule: Schedule
    budget: Budget
    seeds: tuple[int, ...]
    task: Task
    observers: tuple[Observer, ...] = ()
    store: Store | None = None
    prefix: str = ""
    rounds: int = 1
    debug_nans: bool = False

    def debugged(self) -> "Training":
        """The same with `debug_nans`."""
        return replace(self, debug_nans=True)

    def fit(self, train: Any, valid: Any) -> Fit:
        """Choose the epoch of every seed on `valid`, then refit on both parts. No test part can be reached from here.

        Raises:
            TrainingDivergedError: naming epoch and seed. The last checkpoint before it is kept.
            KeyboardInterrupt: with a store, after a first Ctrl-C, at the end of the epoch, which is then kept.
            UserError: no epoch can be chosen, since the metric is nowhere defined.
        """
        capacity = len(train) + len(valid)
        positives = self._everywhere(self.task.on_device(train, capacity))
        # Of the capacity that the training pairs have, so that both fit into one program.
        held_out = None if self.budget.balance == "fixed" else self._everywhere(self.task.on_device(valid, capacity))
        review = self._select(self.task.scorer(train, valid, capacity, self.budget.select_on))
        selected = self._phase("selection", positives, review, self.budget.epochs, held_out=held_out)
        if (np.asarray(selected.score) == _UNDEFINED).any():
            raise UserError(
                f"{self.budget.select_on} is undefined on the validation part in every epoch, so it cannot choose one; "
                "select on another metric"
            )
        if not self.budget.refit:
            return Fit(*[self._gathered(selected)] * 2)
        chosen, positives = np.asarray(selected.epoch), self._everywhere(self.task.on_device(train.concat(valid)))
        final = self._phase("refit", positives, self._keep_at(chosen), int(chosen.max()), alpha=selected.alpha)
        return Fit(self._gathered(selected), self._gathered(final))

    def restore(self, train: Any, valid: Any) -> Fit:
        """What an earlier `fit` on these parts left in the store.

        Raises:
            UserError: it is not there or damaged.
        """
        like = jax.eval_shape(self._new, self._keys()[:, 0]).kept
        phases = ("selection", "refit") if self.budget.refit else ("selection", "selection")
        kept = [self._store.restore(f"{self.prefix}{phase}-result", like) for phase in phases]
        if None in kept:
            raise UserError("the checkpoints of the run are missing")
        return Fit(*kept)

    def _keys(self):
        """A key for the initial values and one for the game, `[S, 2]`."""
        return self._everywhere(jax.vmap(jax.random.split)(jnp.stack([jax.random.key(seed) for seed in self.seeds])))

    def _everywhere(self, tree: Any) -> Any:
        """Data, on every device."""
        return tree if self.schedule.layout is None else self.schedule.layout.everywhere(tree)

    def _gathered(self, tree: Any) -> Any:
        """What can be asked: of several processes, whole in each of them."""
        layout = self.schedule.layout
        return tree if layout is None or jax.process_count() == 1 else layout.collect(tree)

    def _phase(self, name: str, positives, review: Callable, epochs: int, *, held_out=None, alpha=None) -> Kept:
        name, keys = self.prefix + name, self._keys()
        progress = self._begin(keys[:, 0])
        if getattr(self.game, "accumulates", 0):
            state = with_memory(progress.state, positives, self.game, self.schedule)
            progress = progress._replace(state=state)
        if alpha is not None:
            progress = progress._replace(state=progress.state._replace(alpha=jnp.copy(alpha)))
        store = self._store
        if store is not None:
            done = store.restore(f"{name}-result", progress.kept)
            if done is not None:
                store.discard(name)  # a process that was killed may not have come to that
                return done
            progress = store.restore(name, progress) or progress
        first = self._position(progress) // self.rounds
        for observer in self.observers:
            observer.begin(name, first, epochs)
        saved = first
        with stopping_late(store is not None) as is_to_stop:
            for number in range(first + 1, epochs + 1):
                progress, rows = self._epoch(name, number, saved, progress, positives, keys[:, 1])
                progress = review(progress, number, rows)
                if held_out is not None:
                    progress = self._rebalance(progress, number, positives, held_out, keys[:, 1], rows)
                for observer in self.observers:
                    observer.tell(rows)
                if number % self.budget.evaluate_every == 0 or number == epochs:
                    self._show(name, number, Between(progress.state, positives, *self._at(number)))
                if np.all(progress.stopped):
                    break
                if store is not None and (number % self.budget.checkpoint_every == 0 or is_to_stop()):
                    store.save(name, self._position(progress), progress)
                    saved = number
                if is_to_stop():
                    raise KeyboardInterrupt
            if store is not None:
                store.save(f"{name}-result", epochs, progress.kept)
                store.discard(name)
            if is_to_stop():
                raise KeyboardInterrupt
        return progress.kept

    def _show(self, phase: str, number: int, between: Between) -> None:
        for observer in self.observers:
            if self.schedule.layout is None and hasattr(observer, "see"):
                observer.see(phase, number, between)

    @property
    def _store(self) -> Store | None:
        """The store, by way of which trees leave the mesh, if there is one."""
        layout = self.schedule.layout
        return self.store if self.store is None or layout is None else SizedStore(self.store, layout)

    def _begin(self, keys) -> Progress:
        layout = self.schedule.layout
        if layout is None:
            return self._new(keys)
        where = layout.shardings(jax.eval_shape(self._new, keys))
        return jax.jit(self._new, out_shardings=where)(keys)  # no device ever holds a whole table

    def _new(self, keys) -> Progress:
        state = init(self.make_recommender, self.make_adversary, self.schedule, keys, self.game.alpha)
        n_seeds = len(self.seeds)
        # Copies: the epoch takes the buffers of the state that it is given.
        kept = jax.tree.map(jnp.copy, (state.average, state.adversary, state.alpha))
        return Progress(
            state,
            Kept(*kept, epoch=jnp.zeros(n_seeds, jnp.int32), score=jnp.full(n_seeds, -jnp.inf)),
            stopped=jnp.zeros(n_seeds, bool),
        )

    def _at(self, number: int) -> tuple:
        """Game and schedule of an epoch: before the adversary joins the game is the twin's."""
        schedule = self.schedule
        if self.budget.anneal:
            schedule = replace(schedule, horizon=float(self.budget.epochs * self.rounds))
        if number > self.budget.warm_up:
            return self.game, schedule
        rate = self.budget.warm_up_learning_rate
        schedule = schedule if rate is None else replace(schedule, learning_rate=rate)
        return (replace(self.game, alpha=1.0) if self.budget.warm_up else self.game), schedule

    def _rebalance(self, progress: Progress, number: int, positives, held_out, keys, rows: list[dict]) -> Progress:
        state = progress.state
        for row, alpha in zip(rows, np.asarray(state.alpha), strict=True):
            row["alpha"] = float(alpha)
        if number <= self.budget.warm_up:
            return progress
        rule = {"rule": self.budget.balance}
        alpha = rebalance(state, positives, held_out, self.game, self.schedule, keys, **rule)
        return progress._replace(state=state._replace(alpha=alpha))

    @staticmethod
    def _position(progress: Progress) -> int:
        """How far a phase has come, in what the state counts as epochs."""
        return int(progress.state.epoch[0])

    def _play(self, phase: str, number: int, progress: Progress, positives, keys) -> tuple[Progress, dict]:
        """An epoch, and its metrics."""
        state, metrics = epoch_of_seeds(progress.state, positives, *self._at(number), keys)
        return progress._replace(state=state), metrics

    def _epoch(self, phase: str, number: int, saved: int, progress: Progress, positives, keys):
        before = jax.device_get(progress.state) if self.debug_nans else None
        start = time.perf_counter()
        with listening(self._beat(number)):
            progress, metrics = self._play(phase, number, progress, positives, keys)
            metrics = jax.device_get(metrics)
        seconds = time.perf_counter() - start
        finite = np.all([np.isfinite(values) for values in metrics.values()], axis=0) & metrics.pop("finite")
        if not finite.all():
            which = int(np.argmin(finite))
            rate = np.broadcast_to(self.schedule.learning_rate, len(self.seeds))[which]
            kept = f"the checkpoint of epoch {saved} is kept" if saved else "there was no checkpoint of this phase yet"
            found = "" if before is None else f"; {first_nan(before, positives, *self._at(number), keys, which)}"
            raise TrainingDivergedError(
                f"training diverged at epoch {number} of the {phase} phase for seed {self.seeds[which]}: a loss or "
                f"weight is NaN or infinite; lower the learning rate (given: {rate:g}) or epsilon"
                + ("" if self.store is None else f"; {kept}")
                + found
            )
        return progress, [
            {"phase": phase, "epoch": number, "seed": seed, "seconds": seconds / len(self.seeds)}
            | {name: float(values[i]) for name, values in metrics.items()}
            for i, seed in enumerate(self.seeds)
        ]

    def _beat(self, number: int) -> Callable[[int, int], None]:
        """A listener of the epoch's steps, which the seeds make one after the other."""
        begun = 0

        def hear(step: int, steps: int) -> None:
            nonlocal begun
            begun += step == 0
            for observer in self.observers:
                if hasattr(observer, "pulse"):
                    observer.pulse(number - 1 + (begun - 1 + step / steps) / len(self.seeds))

        return hear

    def _select(self, score_of: Callable) -> Callable:
        metric, every, patience = self.budget.select_on, self.budget.evaluate_every, self.budget.patience

        def review(progress: Progress, number: int, rows: list[dict]) -> Progress:
            if number % every and number != self.budget.epochs:
                return progress
            score = score_of(self._gathered(progress.state.average))
            score = score.astype(np.float32)  # as it is kept: else equal scores would seem to get better
            for row, value in zip(rows, score, strict=True):
                row[f"validation {metric}"] = float(value)
            # Of a model that is played against, what counts begins when the adversary joins.
            too_early = bool(np.any(self.game.plays)) and number <= self.budget.warm_up
            score = np.full_like(score, -np.inf) if too_early else np.nan_to_num(score, nan=_UNDEFINED)
            better = ~np.asarray(progress.stopped) & (score > np.asarray(progress.kept.score))
            kept = _keep(progress, jnp.asarray(better), number, jnp.asarray(score))
            return progress._replace(
                kept=kept, stopped=number - np.maximum(kept.epoch, self.budget.warm_up) >= patience
            )

        return review

    def _keep_at(self, chosen: np.ndarray) -> Callable:
        def review(progress: Progress, number: int, rows: list[dict]) -> Progress:
            score = jnp.full(len(self.seeds), jnp.nan)
            return progress._replace(kept=_keep(progress, jnp.asarray(chosen == number), number, score))

        return review


@jax.jit
def _keep(progress: Progress, where: Bool[Array, " S"], epoch: int, score: Float[Array, " S"]) -> Kept:
    """The seeds in `where` keep their present weights, the others what they had kept before."""

    def choose(new, old):
        return jnp.where(where.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    state = progress.state
    now = Kept(state.average, state.adversary, state.alpha, jnp.full(where.shape, epoch, jnp.int32), score)
    return jax.tree.map(choose, now, progress.kept)
