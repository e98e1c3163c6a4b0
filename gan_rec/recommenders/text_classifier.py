"""From the representation of a text to the log-odds of its label."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


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


class TextClassifier(nnx.Module):
    """Labels from sentence vectors that a frozen language model has made.

    Args:
        dim: D.
        features: F.
        layers: of the head.
        rngs: source of the initial values.
    """

    reads_history = False
    score_has_parameters = True

    def __init__(self, dim: int, *, features: int = 0, layers: Sequence[int] = (128, 64), rngs: nnx.Rngs):
        self.head = Head(dim, features=features, layers=layers, rngs=rngs)

    def represent(self, batch) -> Float[Array, "B R"]:
        """What an adversary moves: the sentence vectors."""
        return batch.vectors

    def logits(self, rows: Float[Array, "B R"], batch) -> Float[Array, " B"]:
        """Log-odds of the label 1."""
        return self.head(rows, batch.features)
