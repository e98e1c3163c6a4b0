"""Search spaces: which values an option may take while a model is tuned. They stand beside the models themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Real:
    """A real number from `low` to `high`, spread evenly or, with `log`, evenly over its logarithm."""

    low: float
    high: float
    log: bool = False

    def nearest(self, value: float) -> float:
        """The value in the space that is nearest to this one."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included; `log` as in `Real`."""

    low: int
    high: int
    log: bool = False

    def nearest(self, value: int) -> int:
        """The value in the space that is nearest to this one."""
        return min(max(value, self.low), self.high)

    def at_most(self, most: int) -> "Whole":
        """The same with no value above `most`."""
        return replace(self, low=min(self.low, most), high=min(self.high, most))


@dataclass(frozen=True)
class OneOf:
    """One of some values, in no order."""

    values: tuple[Any, ...]

    def nearest(self, value: Any) -> Any:
        """The value itself, or the first of all where it is none of them."""
        return value if value in self.values else self.values[0]


Space = Mapping[str, Real | Whole | OneOf]
