"""A critic of paths: at each step, whether the item is what the user had or what a policy made up."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int


class PathCritic(nnx.Module):
    """Log-odds that each item of a path is real, given the history and the items of the path before it.

    A recurrent unit reads history and path; its state and the item's embedding are multiplied entry by entry and read
    by a small network. Embeddings are the critic's own.

    Args:
        n_items: I.
        dim: of embeddings and units.
        hidden: units of the network.
        rngs: source of the initial values.
    """

    def __init__(self, n_items: int, dim: int = 32, hidden: int = 64, *, rngs: nnx.Rngs):
        self.item_embedding = nnx.Param(jax.random.normal(rngs.params(), (n_items, dim)))
        self.read = nnx.Linear(dim, dim, rngs=rngs)
        self.keep = nnx.Linear(dim, dim, use_bias=False, rngs=rngs)
        self.enter = nnx.Linear(3 * dim, hidden, rngs=rngs)
        self.leave = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, history: Int[Array, "B T"], path: Int[Array, "B K"]) -> Float[Array, "B K"]:
        """Log-odds of each step."""
        k = path.shape[1]
        rows = self.item_embedding[...].at[jnp.concatenate([history, path], axis=1)].get(mode="fill", fill_value=0.0)

        def step(state, read):
            state = 0.5 * state + jnp.tanh(read + self.keep(state))
            return state, state

        read = jnp.moveaxis(self.read(rows), 1, 0)
        states = jnp.moveaxis(jax.lax.scan(step, jnp.zeros_like(rows[:, 0]), read)[1], 0, 1)
        before, own = states[:, -k - 1 : -1], rows[:, -k:]
        return self.leave(nnx.relu(self.enter(jnp.concatenate([before, own, before * own], axis=-1))))[..., 0]
