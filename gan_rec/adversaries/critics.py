"""Critics: adversaries that tell what a recommender makes from what users did."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from gan_rec.recommenders.matrix_factorization import MatrixFactorization


class PairCritic(MatrixFactorization):
    """IRGAN's discriminator: logits of user-item pairs, inner products of its own factors plus an item bias.

    A recommender in its own right. Source: Wang et al., SIGIR 2017, section 3.2.

    Args:
        n_users, n_items: U, I.
        critic_dim: D, the size of its factors.
        rngs: source of the initial values.
    """

    def __init__(self, n_users: int, n_items: int, *, critic_dim: int = 16, rngs: nnx.Rngs):
        super().__init__(n_users, n_items, critic_dim, bias=True, rngs=rngs)


class VectorCritic(nnx.Module):
    """CFGAN's discriminator: one logit for a whole purchase vector, given the user's real one as the condition.

    Args:
        n_items: I, the length of the vectors.
        hidden: units of the hidden layer.
        rngs: source of the initial values.

    Source: Chae et al., CIKM 2018, section 4.1.
    """

    def __init__(self, n_items: int, *, hidden: int = 64, rngs: nnx.Rngs):
        self.read_vector = nnx.Linear(n_items, hidden, rngs=rngs)
        self.read_condition = nnx.Linear(n_items, hidden, use_bias=False, rngs=rngs)
        self.leave = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, vectors: Float[Array, "B I"], conditions: Float[Array, "B I"]) -> Float[Array, " B"]:
        """Logits, higher for what seems real."""
        return self.leave(jax.nn.relu(self.read_vector(vectors) + self.read_condition(conditions)))[:, 0]


class DomainCritic(nnx.Module):
    """One logit for what a domain says of a user: whether it was the first domain that said it.

    Args:
        dim: D, of the rows.
        hidden: units of both hidden layers.
        rngs: source of the initial values.

    Source: a domain classifier as in Ganin et al., JMLR 2016, section 4.1.
    """

    def __init__(self, dim: int, *, hidden: int = 64, rngs: nnx.Rngs):
        self.enter = nnx.Linear(dim, hidden, rngs=rngs)
        self.middle = nnx.Linear(hidden, hidden, rngs=rngs)
        self.leave = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, rows: Float[Array, "*n D"]) -> Float[Array, "*n"]:
        """Logits, from rows of length 1, which are brought to entries of about 1 first."""
        scaled = rows * rows.shape[-1] ** 0.5
        return self.leave(jax.nn.relu(self.middle(jax.nn.relu(self.enter(scaled)))))[..., 0]
