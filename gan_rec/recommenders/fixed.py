"""Arrays that a recommender holds without learning them."""

import hashlib
from typing import Any

import numpy as np


class FixedArray:
    """An array that is hashable, and equal to another one that holds the same numbers.

    What is read of items or users is no weight: an optimiser must not move or decay it, S seeds must not hold S copies,
    checkpoints must not repeat it. As a leaf of the recommender it would be all of that. As an attribute without leaves
    it is part of its structure, like the sizes of its layers: compiled programs contain it as a constant, once for all
    seeds, and equal arrays compile nothing anew. The price is a limit on the size, of about 2 GB for a program.

    Args:
        values: of any shape.
        dtype: to keep them as.
    """

    def __init__(self, values: np.ndarray, dtype: Any = np.float32):
        self.values = np.array(values, dtype)
        self.values.setflags(write=False)
        self._digest = hashlib.sha256(str(self.values.shape).encode() + self.values.tobytes()).digest()

    def __eq__(self, other) -> bool:
        return isinstance(other, FixedArray) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.values.shape})"

    def __deepcopy__(self, memo) -> "FixedArray":
        return self
