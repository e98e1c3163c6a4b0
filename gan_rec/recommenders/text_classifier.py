"""From the representation of a text to the log-odds of its label."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.adversaries.ball import direction
from gan_rec.data.samples import TextBatch
from gan_rec.errors import UserError
from gan_rec.language.transformer import Stack, pool

Rows = tuple[Float[Array, "B R"], Float[Array, "0 _"]]  # of texts, and none of items


class Head(nnx.Module):
    """A network from a text's vector and further features to one logit; by default the article's 128-64-1 (section 5).

    Args:
        dim: D, the size of the vector.
        features: F, further columns.
        layers: units of the hidden layers (ReLU).
        rngs: source of the initial values.
    """

    def __init__(self, dim: int, *, features: int = 0, layers: Sequence[int] = (128, 64), rngs: nnx.Rngs):
        sizes = [dim + features, *layers]
        self.hidden = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(sizes, sizes[1:], strict=False)])
        self.out = nnx.Linear(sizes[-1], 1, rngs=rngs)

    def __call__(self, vectors: Float[Array, "B D"], features: Float[Array, "B F"]) -> Float[Array, " B"]:
        """Logits. Vectors of length 1 have small entries, so they are scaled to entries of about 1."""
        states = jnp.concatenate([vectors * vectors.shape[1] ** 0.5, features], axis=1)
        for layer in self.hidden:
            states = nnx.relu(layer(states))
        return self.out(states)[:, 0]

    @property
    def n_inputs(self) -> int:
        """D + F."""
        return (*self.hidden, self.out)[0].kernel.shape[-2]


def check_text_alone(n_features: int) -> None:
    """Raise UserError if a classifier reads further columns, F of them."""
    if n_features:
        raise UserError("this model reads further columns too, so it cannot tell the label of a text alone")


class TextClassifier(nnx.Module):
    """Labels from sentence vectors that a frozen language model has made.

    Args:
        dim: D.
        features: F.
        head: units of its hidden layers.
        scored: the last feature is another model's log-odds, which the head corrects: the logit begins near them, so
            that what is learned is what the other model does not know (as in boosting: Friedman, Annals of Statistics
            2001).
        rngs: source of the initial values.
    """

    reads_history = False
    score_has_parameters = True

    def __init__(
        self, dim: int, *, features: int = 0, head: Sequence[int] = (128, 64), scored: bool = False, rngs: nnx.Rngs
    ):
        self.head = Head(dim, features=features, layers=head, rngs=rngs)
        self.trust = nnx.Param(jnp.ones(())) if scored else None

    def represent(self, batch: TextBatch, key: PRNGKeyArray | None = None) -> Rows:
        """What an adversary moves: the sentence vectors; and no items. Nothing is random, so the key is not used."""
        return batch.inputs, batch.inputs[:0]

    def movable(self, batch: TextBatch) -> Rows:
        """1 at entries of the rows that say something: all."""
        return jnp.ones(batch.inputs.shape), jnp.zeros((0, 1))

    def logits(self, rows: Rows, batch: TextBatch) -> Float[Array, " B"]:
        """Log-odds of the label 1."""
        return self._decide(rows[0], batch)

    def _decide(self, vectors: Float[Array, "B D"], batch: TextBatch) -> Float[Array, " B"]:
        logits = self.head(vectors, batch.features)
        return logits if self.trust is None else logits + self.trust[...] * batch.features[:, -1]


class TunedTextClassifier(TextClassifier):
    """Labels from a language model whose last layers, or all, are trained with the head.

    What an adversary moves is one row for each text, the states of all its tokens: word embeddings if all of the model
    is trained, else the states that the first trained layer reads. The radius is relative to the length of the whole
    text, as Miyato et al. (ICLR 2017, section 3) have it, so the attack chooses which words it moves. Inside a decoder
    the first token's state can be longer than all others together (an attention sink), and a radius goes as far.

    Args:
        dim: D.
        layers: the trained layers, as a Stack from token states, or a whole model with word embeddings.
        pooling: "mean" or "last".
        precision: of the trained layers' arithmetic, "float32" or "bfloat16"; weights and head stay in float32.
        options: see `TextClassifier`.
        rngs: source of the head's initial values.
    """

    def __init__(
        self, dim: int, layers: nnx.Module, *, pooling: str = "mean", precision: str = "float32", rngs: nnx.Rngs,
        **options,
    ):  # fmt: skip
        super().__init__(dim, rngs=rngs, **options)
        self.layers, self.pooling, self.precision, self.dim = layers, pooling, precision, dim

    def represent(self, batch: TextBatch, key: PRNGKeyArray | None = None) -> Rows:
        """Token states `[B, T * D]`, 0 at padding."""
        inputs = batch.inputs
        states = inputs.astype(jnp.float32) if isinstance(self.layers, Stack) else self.layers.words(inputs)
        rows = (states * self._mask(batch)[..., None]).reshape(states.shape[0], -1)
        return rows, rows[:0]

    def movable(self, batch: TextBatch) -> Rows:
        """1 at tokens, 0 at padding."""
        return jnp.repeat(self._mask(batch), self.dim, axis=1), jnp.zeros((0, 1))

    def logits(self, rows: Rows, batch: TextBatch) -> Float[Array, " B"]:
        """Log-odds of the label 1."""
        mask = self._mask(batch)
        states = rows[0].reshape(*mask.shape, self.dim) * mask[..., None]
        layers, states = jax.tree.map(lambda x: x.astype(self.precision), (self.layers, states))
        sentences = direction(pool(layers(states, mask).astype(jnp.float32), mask, self.pooling))
        return self._decide(sentences, batch)

    @staticmethod
    def _mask(batch: TextBatch) -> Float[Array, "B T"]:
        return (jnp.arange(batch.inputs.shape[1]) < batch.lengths[:, None]).astype(jnp.float32)
