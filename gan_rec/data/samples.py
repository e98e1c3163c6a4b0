"""Labelled texts as vectors: on the host, and on the device where a game draws its batches from them."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from gan_rec.language.tokens import LENGTHS

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

    @property
    def widths(self) -> tuple[int, ...]:
        """To how many tokens a batch can be cut, each a program of its own; () for sentence vectors."""
        if not _of_tokens(self.inputs):
            return ()
        longest = self.inputs.shape[1]
        return (*(width for width in LENGTHS if longest / 4 <= width < longest), longest)

    def width(self) -> Int[Array, ""]:
        """Which of `widths` is the least that all of the texts fit into."""
        return jnp.searchsorted(jnp.asarray(self.widths), jnp.max(self.lengths))

    def cut(self, width: int) -> "TextBatch":
        """The same batch with fewer places."""
        offsets = self.offsets
        if offsets is not None:
            moved, none = offsets
            size = width * (moved.shape[1] // self.inputs.shape[1])
            offsets = moved[:, :size], none[:, :size]
        return self._replace(inputs=self.inputs[:, :width], offsets=offsets)

    def at_width(self, compute: Callable[["TextBatch"], Any]) -> Any:
        """`compute(batch)` of the batch cut to what its texts need."""
        if len(self.widths) < 2:
            return compute(self)
        branches = [lambda batch, width=width: compute(batch.cut(width)) for width in self.widths]
        return jax.lax.switch(self.width(), branches, self)


def _of_tokens(inputs: Array) -> bool:
    """Whether inputs are of tokens, states or ids, rather than vectors of whole texts."""
    return inputs.ndim == 3 or jnp.issubdtype(inputs.dtype, jnp.integer)


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

    @property
    def groups(self) -> None:
        """Texts are nobody's."""

    @property
    def of_tokens(self) -> bool:
        """Whether the inputs are of tokens, not of whole texts."""
        return _of_tokens(self.inputs)

    def take(self, rows: Int[np.ndarray, " n"]) -> "EncodedTexts":
        """Some of them."""
        return EncodedTexts(*(getattr(self, f.name)[rows] for f in fields(self)))

    def on_device(self, capacity: int | None = None) -> "Samples":
        """See `to_samples`."""
        return to_samples(self, capacity)

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

    @property
    def of_tokens(self) -> bool:
        """Whether the inputs are of tokens, not of whole texts."""
        return _of_tokens(self.inputs)

    def chunks(self) -> Int[Array, "chunks n"]:
        """All rows, some at a time and those of like length together.

        The states of all tokens of all texts at once would not fit into memory; those of some, into its caches.
        """
        return jnp.argsort(self.lengths).reshape(-1, STEP // 4 if self.of_tokens else STEP)

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
