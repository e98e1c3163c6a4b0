"""A decoder of the Llama kind (Touvron et al., 2023, arXiv:2302.13971), as SmolLM2 is one."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.language.transformer import Stack, attend


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder, under the names of this project; D is `dim`.

    Args:
        vocabulary: V, how many tokens.
        dim: D.
        depth: L, how many layers.
        heads: H, of the queries; each is D / H wide.
        groups: G, heads of the keys and values; H / G queries share one (Ainslie et al., EMNLP 2023).
        inner: width of the hidden layer.
        theta: what the wavelengths of the rotation are powers of.
        epsilon: of the norms.
    """

    vocabulary: int
    dim: int
    depth: int
    heads: int
    groups: int
    inner: int
    theta: float = 10_000.0
    epsilon: float = 1e-5


def rotate(heads: Float[Array, "B T H d"], theta: float) -> Float[Array, "B T H d"]:
    """Turn the pair (2i, 2i + 1) of the head at place t by the angle t theta^(-2i / d) (Su et al., 2021, equation 34).

    GGUF files of llama decoders have their queries and keys in this order; Hugging Face's have pairs (i, i + d / 2).
    """
    angles = jnp.arange(heads.shape[1])[:, None] * theta ** (-jnp.arange(0, heads.shape[-1], 2) / heads.shape[-1])
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    even, odd = heads[..., 0::2], heads[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(heads.shape)


def causal(mask: Float[Array, "B T"]) -> Float[Array, "B T T"]:
    """Where each place may look: at tokens up to itself."""
    return mask[:, None] * jnp.tril(jnp.ones((mask.shape[1], mask.shape[1]), mask.dtype))


def _norm(config: DecoderConfig, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """Scaling to a mean square of 1 (Zhang and Sennrich, NeurIPS 2019)."""
    return nnx.RMSNorm(config.dim, epsilon=config.epsilon, rngs=rngs)


class DecoderLayer(nnx.Module):
    """Attention, then a gated network of one hidden layer; each reads normalised states and is added to them."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        dense = partial(nnx.Linear, use_bias=False, rngs=rngs)
        shared = config.groups * (config.dim // config.heads)
        self.query, self.output = dense(config.dim, config.dim), dense(config.dim, config.dim)
        self.key, self.value = dense(config.dim, shared), dense(config.dim, shared)
        self.gate, self.inner = dense(config.dim, config.inner), dense(config.dim, config.inner)
        self.outer = dense(config.inner, config.dim)
        self.attention_norm, self.inner_norm = _norm(config, rngs), _norm(config, rngs)
        self.heads, self.groups, self.theta = config.heads, config.groups, config.theta

    def __call__(self, states: Float[Array, "B T D"], mask: Float[Array, "B T"]) -> Float[Array, "B T D"]:
        """States after this layer."""
        states = states + self._mix(self.attention_norm(states), mask)
        normed = self.inner_norm(states)
        # SwiGLU (Shazeer, 2020, arXiv:2002.05202).
        return states + self.outer(jax.nn.silu(self.gate(normed)) * self.inner(normed))

    def _mix(self, normed: Float[Array, "B T D"], mask: Float[Array, "B T"]) -> Float[Array, "B T D"]:
        def split(x, n):
            return x.reshape(*x.shape[:2], n, -1)

        queries = rotate(split(self.query(normed), self.heads), self.theta)
        keys = rotate(split(self.key(normed), self.groups), self.theta)
        keys, values = (
            jnp.repeat(x, self.heads // self.groups, axis=2) for x in (keys, split(self.value(normed), self.groups))
        )
        return self.output(attend(queries, keys, values, causal(mask)))


class Decoder(nnx.Module):
    """Token states from word embeddings, in the steps of `gan_rec.language.bert.Bert`; a state sees no later token.

    Args:
        config: sizes.
        rngs: source of the initial values; real ones come from `gan_rec.language.gguf`.
    """

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.word_embedding = nnx.Param(0.02 * jax.random.normal(rngs.params(), (config.vocabulary, config.dim)))

        def layer(key: PRNGKeyArray) -> DecoderLayer:
            return DecoderLayer(config, rngs=nnx.Rngs(key))

        self.stack = Stack(layer, config.depth, _norm(config, rngs), rngs=rngs)

    def words(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Word embeddings."""
        return self.word_embedding[tokens]

    def enter(self, words: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Word embeddings as the first layer wants them: as they are, since places come in with the rotation."""
        return words

    def __call__(self, words: Float[Array, "B T D"], mask: Float[Array, "B T"]) -> Float[Array, "B T D"]:
        """Token states of the last layer, normalised.

        Args:
            words: word embeddings.
            mask: 1 at tokens, 0 at padding.
        """
        return self.stack(self.enter(words), mask)

    def logits(self, states: Float[Array, "... D"]) -> Float[Array, "... V"]:
        """Scores of the next token; the output embeddings are those of the words."""
        return states @ self.word_embedding[...].T


def blank(config: DecoderConfig) -> Decoder:
    """The shapes of a decoder, without values: a second copy of some hundred million numbers is worth sparing."""
    return nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0)))
