"""Labelled texts as vectors: on the host, and on the device where a game draws its batches from them."""

from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

STEP = 128  # capacities are multiples of it


class TextBatch(NamedTuple):
    """B texts."""

    inputs: Shaped[Array, "B *any"]  # sentence vectors, token states or token ids
    lengths: Int[Array, " B"]
    features: Float[Array, "B F"]
    labels: Float[Array, " B"]
    weights: Float[Array, " B"]  # 1 where the label is known
    turn: Int[Array, ""] | int = 0  # as in `gan_rec.games.batches.Batch`
    offsets: Any = None
    history: None = None
    profile: None = None


@dataclass(frozen=True)
class EncodedTexts:
    """N texts as a language model has read them.

    Args:
        inputs: what the classifier reads: sentence vectors `[N, D]`, token states `[N, T, D]`, or token ids `[N, T]`.
        lengths: tokens of each text; those after them are padding. 0 for sentence vectors.
        features: further columns as numbers.
        labels: 0 or 1.
        known: whether training may see the label.
    """

    inputs: np.ndarray
    lengths: Int[np.ndarray, " N"]
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
    data_fields=["inputs", "lengths", "features", "labels", "n", "labelled", "n_labelled"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Samples:
    """The same on the device, padded to a capacity: a bigger part (train + validation) runs in the same program."""

    inputs: Shaped[Array, "capacity *any"]
    lengths: Int[Array, " capacity"]
    features: Float[Array, "capacity F"]
    labels: Float[Array, " capacity"]
    n: Int[Array, ""]
    labelled: Int[Array, " capacity"]  # rows whose label is known; those past n_labelled are padding
    n_labelled: Int[Array, ""]

    def batch(self, rows: Int[Array, " B"], weights: Float[Array, " B"] | None = None) -> TextBatch:
        """Some of them, as a game and a classifier take them."""
        weights = jnp.ones(rows.shape[0]) if weights is None else weights
        return TextBatch(self.inputs[rows], self.lengths[rows], self.features[rows], self.labels[rows], weights)


def to_samples(texts: EncodedTexts, capacity: int | None = None) -> Samples:
    """Put texts on the device, padded to `capacity` rows (default: as many as there are) or some more."""
    # Rounded up, so that folds whose sizes differ by one share a program.
    capacity = -(-(len(texts) if capacity is None else capacity) // STEP) * STEP
    more = capacity - len(texts)
    rows = np.flatnonzero(texts.known)
    return Samples(
        jnp.asarray(np.pad(texts.inputs, ((0, more), *[(0, 0)] * (texts.inputs.ndim - 1)))),
        jnp.asarray(np.pad(texts.lengths, (0, more)), jnp.int32),
        jnp.asarray(np.pad(texts.features, ((0, more), (0, 0)))),
        jnp.asarray(np.pad(texts.labels, (0, more)), jnp.float32),
        jnp.asarray(len(texts), jnp.int32),
        jnp.asarray(np.pad(rows, (0, len(texts) + more - len(rows))), jnp.int32),
        jnp.asarray(len(rows), jnp.int32),
    )
