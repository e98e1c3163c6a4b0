"""Training on interactions that outgrow memory: an epoch is a pass over their buffers, each played as one."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from gan_rec.data.buffers import Buffers
from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import Positives
from gan_rec.data.streamed import Pairs, StreamedInteractions
from gan_rec.train.fit import Progress, Training
from gan_rec.train.seeds import epoch_of_seeds
from gan_rec.train.tasks import Ranking


@dataclass(frozen=True)
class StreamedRanking(Ranking):
    """Ranking the catalogue, learned from streamed interactions.

    Args:
        seed: of the order of row groups.
    """

    seed: int = 0

    def on_device(self, part: StreamedInteractions, capacity: int | None = None) -> Buffers:
        """Where the buffers come from, of which one at a time is put on the device; `capacity` is theirs."""
        return Buffers(part, self.seed, jax.process_index(), jax.process_count())

    def scorer(self, train: StreamedInteractions, valid: Interactions, capacity: int, metric: str):
        """See `gan_rec.train.fit.Task`; for those users who have validation pairs."""
        return super().scorer(train, valid, len(train.at_hand) + len(valid), metric)


@dataclass(frozen=True)
class StreamedTraining(Training):
    """A training whose epochs are passes over buffers; the schedule's numbers are for a pass, as for an epoch.

    Args:
        save_after: seconds since the last checkpoint after which, within a pass, there is another.
    """

    save_after: float = 600.0

    def _everywhere(self, tree: Any) -> Any:
        return tree if isinstance(tree, Buffers) else super()._everywhere(tree)

    def _new(self, keys) -> Progress:
        return super()._new(keys)._replace(sums=self._no_sums())

    def _no_sums(self) -> dict:
        zeros = {name: jnp.zeros(len(self.seeds)) for name in (*self.game.metrics, "adversary_loss")}
        return zeros | {"finite": jnp.ones(len(self.seeds), bool)}

    def _play(self, phase: str, number: int, progress: Progress, buffers: Buffers, keys) -> tuple[Progress, dict]:
        (game, schedule), first = self._at(number), self._position(progress) % self.rounds
        total, known = len(buffers.pairs), self._everywhere(buffers.pairs.known)
        following = (self._buffer(buffers, groups, known) for groups in buffers.of_pass(number - 1, first))
        positives, saved = next(following), time.monotonic()
        for place in range(first + 1, self.rounds + 1):
            n_pairs = int(positives.n_pairs)
            if n_pairs:
                state, metrics = epoch_of_seeds(progress.state, positives, game, schedule, keys)
            else:  # perhaps no row of it is positive
                state, metrics = progress.state._replace(epoch=progress.state.epoch + 1), self._no_sums()
            positives = next(following, None)  # is read while the device plays
            sums = _added(progress.sums, jax.block_until_ready(metrics), n_pairs / total)
            progress = progress._replace(state=state, sums=sums)
            if place == self.rounds:
                break
            self._tell_pulse(number - 1 + place / self.rounds)
            if self._is_due(saved):
                self._store.save(phase, self._position(progress), progress)
                saved = time.monotonic()
        return progress._replace(sums=self._no_sums()), progress.sums

    def _tell_pulse(self, epochs: float) -> None:
        for observer in self.observers:
            if hasattr(observer, "pulse"):
                observer.pulse(epochs)

    def _is_due(self, saved: float) -> bool:
        """Whether there is to be a checkpoint, in all processes or in none."""
        due = self.store is not None and time.monotonic() - saved >= self.save_after
        return due if jax.process_count() == 1 else bool(multihost_utils.broadcast_one_to_all(np.asarray(due)))

    def _buffer(self, buffers: Buffers, groups: list[Pairs], known) -> Positives:
        """The pairs of a buffer on the device, of all processes in the order that one process would have."""
        groups = _of_all(groups, buffers) if buffers.processes > 1 else groups
        users, items = (np.concatenate(ids) for ids in zip(*groups, strict=True))
        padding = (0, buffers.capacity - len(users))
        n = np.asarray(len(users), np.int32)
        arrays = self._everywhere((np.pad(users, padding), np.pad(items, padding), n, np.zeros(1, np.int32)))
        users, items, n, nobody = jax.tree.map(jnp.asarray, arrays)
        return Positives(known, users, items, n_pairs=n, active=nobody, n_active=nobody[0])


def _added(sums: dict, metrics: dict, share: float) -> dict:
    """Means over the pairs of a pass, of which this buffer has a share; all of it must be finite."""
    added = {name: sums[name] + share * value for name, value in metrics.items() if name != "finite"}
    return added | {"finite": sums["finite"] & metrics["finite"]}


def _of_all(groups: list[Pairs], buffers: Buffers) -> list[Pairs]:
    """The row groups of all processes, who each read every so-manieth."""
    most, largest = buffers.capacity // buffers.largest // buffers.processes, buffers.largest
    own = np.zeros((most, 2, largest), np.int32)
    sizes = np.zeros(most, np.int32)
    for place, (users, items) in enumerate(groups):
        own[place, :, : len(users)], sizes[place] = (users, items), len(users)
    every, sizes = (np.asarray(multihost_utils.process_allgather(x)) for x in (own, sizes))
    return [
        tuple(every[process, place, :, : sizes[process, place]])
        for place in range(most)
        for process in range(buffers.processes)
    ]
