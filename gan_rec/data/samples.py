"""Labelled texts as vectors: on the host, and on the device where a game draws its batches from them."""

from dataclasses import dataclass, fields
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_STEP = 128


@dataclass(frozen=True)
class EncodedTexts:
    """N texts as a language model has read them.

    Args:
        vectors: sentence vectors.
        features: further columns as numbers.
        labels: 0 or 1.
        known: whether training may see the label.
    """

    vectors: Float[np.ndarray, "N D"]
    features: Float[np.ndarray, "N F"]
    labels: Int[np.ndarray, " N"]
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Int[np.ndarray, " n"]) -> "EncodedTexts":
        """Some of them."""
        return EncodedTexts(*(getattr(self, f.name)[rows] for f in fields(self)))

    def concat(self, other: "EncodedTexts") -> "EncodedTexts":
        """These, then the others."""
        return EncodedTexts(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["vectors", "features", "labels", "n", "labelled", "n_labelled"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Samples:
    """The same on the device, padded to a capacity: a bigger part (train + validation) runs in the same program."""

    vectors: Float[Array, "capacity D"]
    features: Float[Array, "capacity F"]
    labels: Float[Array, " capacity"]
    n: Int[Array, ""]
    labelled: Int[Array, " capacity"]  # rows whose label is known; those past n_labelled are padding
    n_labelled: Int[Array, ""]


def to_samples(texts: EncodedTexts, capacity: int | None = None) -> Samples:
    """Put texts on the device, padded to `capacity` rows (default: as many as there are) or some more."""
    # Rounded up, so that folds whose sizes differ by one share a program.
    capacity = -(-(len(texts) if capacity is None else capacity) // _STEP) * _STEP
    more = capacity - len(texts)
    rows = np.flatnonzero(texts.known)
    return Samples(
        jnp.asarray(np.pad(texts.vectors, ((0, more), (0, 0)))),
        jnp.asarray(np.pad(texts.features, ((0, more), (0, 0)))),
        jnp.asarray(np.pad(texts.labels, (0, more)), jnp.float32),
        jnp.asarray(len(texts), jnp.int32),
        jnp.asarray(np.pad(rows, (0, len(texts) + more - len(rows))), jnp.int32),
        jnp.asarray(len(rows), jnp.int32),
    )
