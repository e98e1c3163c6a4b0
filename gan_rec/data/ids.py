"""Original ids of data that come in parts, and the contiguous indices that stand for them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

LARGEST_LOOK_UP = 2**26  # above this id a table with a place for every number below would be too large
_PENDING = 2**22  # ids that are counted before they are merged


@dataclass(frozen=True, eq=False)
class Ids:
    """The n distinct ids of a column, ascending, and in how many rows each stands."""

    values: np.ndarray  # [n] int64, or text as objects
    counts: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.values)

    def indices(self, column: pa.Array) -> Int[np.ndarray, " rows"]:
        """The index of each id, int32; all of them are known ones."""
        if self._is_sparse:
            return self._index.get_indexer(column.to_pandas()).astype(np.int32)
        numbers = column.to_numpy(zero_copy_only=False)
        return numbers.astype(np.int32) if self.values[-1] == len(self) - 1 else self._places[numbers]

    @property
    def _is_sparse(self) -> bool:
        return self.values.dtype == object or self.values[0] < 0 or self.values[-1] >= LARGEST_LOOK_UP

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.values)

    @cached_property
    def _places(self) -> np.ndarray:
        """The index of every number up to the largest id."""
        table = np.zeros(self.values[-1] + 1, np.int32)
        table[self.values] = np.arange(len(self), dtype=np.int32)
        return table


class Tally:
    """Counts the ids of a column that comes in parts.

    Args:
        bounds: the least and the largest id where that is known and they are whole numbers.
    """

    def __init__(self, bounds: tuple[int, int] | None):
        dense = bounds is not None and bounds[0] >= 0 and bounds[1] < LARGEST_LOOK_UP
        self._dense = np.zeros(bounds[1] + 1, np.int64) if dense else None
        self._merged, self._parts, self._pending = None, [], 0

    def add(self, column: pa.Array) -> None:
        """A part of the column, without missing ids."""
        if self._dense is not None:
            self._dense += np.bincount(column.to_numpy(zero_copy_only=False), minlength=len(self._dense))
            return
        found = pc.value_counts(column)
        self._parts.append(pd.Series(found.field(1).to_numpy(), index=found.field(0).to_pandas()))
        self._pending += len(found)
        if self._pending > _PENDING:
            self._merge()

    def ids(self) -> Ids:
        """All ids so far."""
        if self._dense is not None:
            values = np.flatnonzero(self._dense)
            return Ids(values, self._dense[values])
        self._merge()
        values = self._merged.index.to_numpy()
        values = values.astype(np.int64 if values.dtype.kind in "iu" else object)
        return Ids(values, self._merged.to_numpy())

    def _merge(self) -> None:
        known = [] if self._merged is None else [self._merged]
        self._merged = pd.concat([*known, *self._parts]).groupby(level=0).sum()
        self._parts, self._pending = [], 0
