"""Streamed pairs in the order in which a model is trained on them: row groups of all files, some shuffled together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gan_rec.data.streamed import Pairs, StreamedInteractions
from gan_rec.errors import UserError


@dataclass(frozen=True, eq=False)
class Buffers:
    """The buffers of each pass over streamed pairs, of which several processes each read their part.

    A pass takes all row groups in a new random order, G at a time. Its order depends on seed and number alone, so that
    a training may stop after any buffer and go on later.

    Args:
        pairs: streamed.
        seed: of the order.
        process, processes: which part of each buffer is read here, of how many.
    """

    pairs: StreamedInteractions
    seed: int = 0
    process: int = 0
    processes: int = 1

    @property
    def n(self) -> int:
        """Buffers of a pass."""
        return -(-self._places // self._groups)

    @property
    def capacity(self) -> int:
        """The most pairs that a buffer has."""
        return min(self._groups, self._places) * self.largest

    @property
    def largest(self) -> int:
        """The most pairs of a row group."""
        return self.pairs.dataset.folder.largest

    @property
    def _places(self) -> int:
        """Row groups, and empty ones so that each process reads equally many."""
        return -(-self.pairs.n_groups // self.processes) * self.processes

    @property
    def _groups(self) -> int:
        most = self.pairs.dataset.groups_in_buffer // self.processes * self.processes
        if not most:
            raise UserError(
                f"buffer {self.pairs.dataset.buffer} (MiB) holds {self.pairs.dataset.groups_in_buffer} row groups, and "
                f"{self.processes} processes need one each"
            )
        return most

    def of_pass(self, number: int, first: int = 0) -> Iterator[list[Pairs]]:
        """The row groups of each buffer of a pass (from 0) that are read here, from its buffer number `first` on.

        The next buffer is read while this one is in use.

        Raises:
            UserError: the package grain is not there, or a file is damaged.
        """
        grain = _grain()
        order = grain.MapDataset.source(_Groups(self.pairs, self._places)).shuffle(
            seed=int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        )
        own = order.slice(slice(self.process, None, self.processes))
        buffers = own.batch(self._groups // self.processes, batch_fn=list).slice(slice(first, None))
        return iter(buffers.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)))


@dataclass(frozen=True, eq=False)
class _Groups:
    """The row groups as grain's source of records; those past the last are empty."""

    pairs: StreamedInteractions
    places: int

    def __len__(self) -> int:
        return self.places

    def __getitem__(self, number: int) -> Pairs:
        if number >= self.pairs.n_groups:
            return np.zeros(0, np.int32), np.zeros(0, np.int32)
        return self.pairs.read(number)


def _grain():
    try:
        import grain
    except ImportError as error:
        how = 'pip install "gan_rec[stream]"'
        raise UserError(f"a folder of Parquet files is read by the package grain, which is not there: {how}") from error
    return grain
