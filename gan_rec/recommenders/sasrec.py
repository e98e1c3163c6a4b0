"""SASRec: self-attention over the sequence of a user's items."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gan_rec.recommenders.sequential import Sequential


class SASRec(Sequential):
    """Layers of causal self-attention and a network for each position, over item embeddings.

    How far an earlier item stands back is a bias of each head that is learned, where the paper adds an embedding of the
    position in the sequence: so the state of a position is the same wherever its sequence begins.

    Args:
        n_users: U, not used: sequences stand for users.
        n_items: I.
        dim: D, also of all layers.
        length: T, how many of a user's last items are read.
        layers: of attention.
        heads: of each layer; their number divides D.
        dropout: chance that training drops an entry of an embedding or of a layer's output.
        rngs: source of the initial values.

    Source: Kang and McAuley, ICDM 2018, section III; the bias is that of Raffel et al., JMLR 2020, section 2.1.
    """

    def __init__(
        self, n_users: int, n_items: int, dim: int = 64, *, length: int = 30, layers: int = 1, heads: int = 2,
        dropout: float = 0.3, rngs: nnx.Rngs,
    ):  # fmt: skip
        super().__init__(n_items, dim, length, dropout, rngs)
        self.blocks = nnx.List([_Block(dim, length, heads, rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(dim, rngs=rngs)

    def states(
        self, inputs: Float[Array, "R L D"], users: Int[Array, "R L"], places: Int[Array, "R L"],
        key: PRNGKeyArray | None,
    ) -> Float[Array, "R L D"]:  # fmt: skip
        """See `Sequential`."""
        keys = [None] * (1 + 2 * len(self.blocks)) if key is None else jax.random.split(key, 1 + 2 * len(self.blocks))
        back = places[:, :, None] - places[:, None, :]
        seen = (users[:, :, None] == users[:, None, :]) & (back >= 0)
        x = self.drop(inputs, keys[0])
        for number, block in enumerate(self.blocks):
            x = x + self.drop(block.attend(x, seen, back), keys[1 + 2 * number])
            x = x + self.drop(block.change(x), keys[2 + 2 * number])
        return self.norm(x)


class _Block(nnx.Module):
    """A layer: attention, and a network of two layers for each position; both read normalised states."""

    def __init__(self, dim: int, length: int, heads: int, rngs: nnx.Rngs):
        self.heads = heads
        self.norm_one, self.norm_two = nnx.LayerNorm(dim, rngs=rngs), nnx.LayerNorm(dim, rngs=rngs)
        self.read = nnx.Linear(dim, 3 * dim, use_bias=False, rngs=rngs)
        self.write = nnx.Linear(dim, dim, rngs=rngs)
        self.enter = nnx.Linear(dim, dim * 2, rngs=rngs)
        self.leave = nnx.Linear(dim * 2, dim, rngs=rngs)
        self.distance = nnx.Param(jnp.zeros((length, heads)))

    def attend(
        self, x: Float[Array, "R L D"], seen: Bool[Array, "R L L"], back: Int[Array, "R L L"]
    ) -> Float[Array, "R L D"]:
        """What each position takes from those that it sees, some places `back`."""
        r, n, dim = x.shape
        query, key, value = jnp.split(self.read(self.norm_one(x)).reshape(r, n, 3 * self.heads, -1), 3, axis=2)
        logits = jnp.einsum("rihd,rjhd->rhij", query, key) * (dim / self.heads) ** -0.5
        far = jnp.clip(back, 0, self.distance.shape[0] - 1)
        logits = logits + jnp.moveaxis(self.distance[far], -1, 1)
        weights = jax.nn.softmax(jnp.where(seen[:, None], logits, -1e9), axis=-1)
        return self.write(jnp.einsum("rhij,rjhd->rihd", weights, value).reshape(r, n, dim))

    def change(self, x: Float[Array, "R L D"]) -> Float[Array, "R L D"]:
        """What the network makes of each position."""
        return self.leave(nnx.gelu(self.enter(self.norm_two(x))))
