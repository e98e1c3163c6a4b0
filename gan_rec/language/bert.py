"""A BERT encoder (Devlin et al., NAACL 2019)."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.language.transformer import Stack, attend


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT, under the names of this project; D is `dim`."""

    vocabulary: int
    dim: int
    depth: int
    heads: int
    inner: int
    positions: int
    epsilon: float = 1e-12
    activation: str = "gelu"


# Hugging Face's names: "gelu" is the exact one, by the error function.
ACTIVATIONS = {
    "gelu": partial(jax.nn.gelu, approximate=False), "gelu_new": jax.nn.gelu, "relu": jax.nn.relu,
}  # fmt: skip


def _norm(config: BertConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    # The fast variance is a difference of two large numbers: it costs three digits of the parity.
    return nnx.LayerNorm(config.dim, epsilon=config.epsilon, use_fast_variance=False, rngs=rngs)


class BertLayer(nnx.Module):
    """Attention, then a network of one hidden layer; each is added to its input and normalised after it."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        dense = partial(nnx.Linear, rngs=rngs)
        self.query, self.key, self.value, self.output = (dense(config.dim, config.dim) for _ in range(4))
        self.inner, self.outer = dense(config.dim, config.inner), dense(config.inner, config.dim)
        self.attention_norm, self.output_norm = _norm(config, rngs), _norm(config, rngs)
        self.heads, self.activation = config.heads, config.activation

    def __call__(self, states: Float[Array, "B T D"], mask: Float[Array, "B T"]) -> Float[Array, "B T D"]:
        """States after this layer."""
        # Of all tokens in one axis: on a CPU the gradient of a matrix product over two is half as fast again.
        places, tokens = states.shape[:2], states.reshape(-1, states.shape[2])
        heads = [project(tokens).reshape(*places, self.heads, -1) for project in (self.query, self.key, self.value)]
        attended = attend(*heads, mask[:, None]).reshape(tokens.shape)
        tokens = self.attention_norm(tokens + self.output(attended))
        tokens = self.output_norm(tokens + self.outer(ACTIVATIONS[self.activation](self.inner(tokens))))
        return tokens.reshape(states.shape)


class Bert(nnx.Module):
    """Token states from word embeddings; the two steps are apart, since attacks come between them.

    Args:
        config: sizes.
        rngs: source of the initial values; real ones come from `gan_rec.language.files`.
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        def table(n: int) -> nnx.Param:
            return nnx.Param(0.02 * jax.random.normal(rngs.params(), (n, config.dim)))

        self.word_embedding = table(config.vocabulary)
        self.position_embedding = table(config.positions)
        self.type_embedding = table(1)  # of the first segment: a text is one segment
        self.embedding_norm = _norm(config, rngs)

        def layer(key: PRNGKeyArray) -> BertLayer:
            return BertLayer(config, rngs=nnx.Rngs(key))

        self.stack = Stack(layer, config.depth, rngs=rngs)

    def words(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Word embeddings."""
        return self.word_embedding[tokens]

    def enter(self, words: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Word embeddings with positions, as the first layer wants them."""
        places = self.position_embedding[...][: words.shape[1]] + self.type_embedding[...]
        return self.embedding_norm(words + places)

    def __call__(self, words: Float[Array, "B T D"], mask: Float[Array, "B T"]) -> Float[Array, "B T D"]:
        """Token states of the last layer.

        Args:
            words: word embeddings.
            mask: 1 at tokens, 0 at padding.
        """
        return self.stack(self.enter(words), mask)


def zeros(config: BertConfig) -> Bert:
    """A BERT with the shapes of a real one and no values of its own."""
    shapes = nnx.eval_shape(lambda: Bert(config, rngs=nnx.Rngs(0)))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
