"""GRU4Rec: a gated recurrent unit over the sequence of a user's items."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.recommenders.sequential import Sequential


class GRU(Sequential):
    """One layer of gated recurrent units from item to item of a sequence; the state is normalised.

    Args:
        n_users: U, not used: sequences stand for users.
        n_items: I.
        dim: D, also of the units.
        length: T, how many of a user's last items are read.
        dropout: chance that training drops an entry of an embedding or of a state.
        rngs: source of the initial values.

    Source: Hidasi et al., ICLR 2016, section 3; the unit is that of Cho et al., EMNLP 2014, section 2.3.
    """

    def __init__(
        self, n_users: int, n_items: int, dim: int = 64, *, length: int = 30, dropout: float = 0.3,
        rngs: nnx.Rngs,
    ):  # fmt: skip
        super().__init__(n_items, dim, length, dropout, rngs)
        self.read = nnx.Linear(dim, 3 * dim, rngs=rngs)
        self.gates = nnx.Linear(dim, 2 * dim, use_bias=False, rngs=rngs)
        self.candidate = nnx.Linear(dim, dim, use_bias=False, rngs=rngs)
        self.norm = nnx.LayerNorm(dim, rngs=rngs)

    def states(
        self, inputs: Float[Array, "R L D"], users: Int[Array, "R L"], places: Int[Array, "R L"],
        key: PRNGKeyArray | None,
    ) -> Float[Array, "R L D"]:  # fmt: skip
        """See `Sequential`; a row's place that does not follow the one before it begins anew."""
        one, two = (None, None) if key is None else jax.random.split(key)
        follows = (users[:, 1:] == users[:, :-1]) & (places[:, 1:] == places[:, :-1] + 1)
        follows = jnp.pad(follows, ((0, 0), (1, 0)))

        def step(state, now):
            read, follows = now
            state = state * follows[:, None]
            update, reset, new = jnp.split(read, 3, axis=1)
            more = jnp.split(self.gates(state), 2, axis=1)
            update, reset = jax.nn.sigmoid(update + more[0]), jax.nn.sigmoid(reset + more[1])
            state = (1 - update) * state + update * jnp.tanh(new + self.candidate(reset * state))
            return state, state

        read = jnp.moveaxis(self.read(self.drop(inputs, one)), 1, 0)
        states = jax.lax.scan(step, jnp.zeros_like(inputs[:, 0]), (read, follows.T))[1]
        return self.norm(self.drop(jnp.moveaxis(states, 0, 1), two))
