"""LightGCN: embeddings of users and items that are spread over the graph of the known pairs."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from gan_rec.data.sampling import Positives
from gan_rec.recommenders.baselines.tables import Factors
from gan_rec.recommenders.graph import Graph
from gan_rec.recommenders.score import dot


class LightGCN(nnx.Module):
    """Rows are means over layers 0 to L; layer l + 1 of a node is the normalised sum of its neighbours' layer l.

    It has no rows before it is put on a graph (`on`): in training that of the training pairs, afterwards that of the
    pairs known. An adversary moves the propagated rows. With 0 layers it is matrix factorisation.

    Args:
        n_users: U.
        n_items: I.
        dim: D, the embedding size.
        layers: L.
        rngs: source of the initial values, N(0, 1 / D).

    Source: He et al., SIGIR 2020, equations 3, 4 and 8.
    """

    reads_history = False
    reads_graph = True

    def __init__(self, n_users: int, n_items: int, dim: int = 64, *, layers: int = 2, rngs: nnx.Rngs):
        self.user_embedding = nnx.Param(jax.random.normal(rngs.params(), (n_users, dim)) * dim**-0.5)
        self.item_embedding = nnx.Param(jax.random.normal(rngs.params(), (n_items, dim)) * dim**-0.5)
        self.layers = layers

    def on(self, known: Positives, *, dense: bool | None = None, matrix: Float[Array, "U I"] | None = None) -> Factors:
        """The rows on the graph of `known`; `dense` and `matrix` as in `gan_rec.recommenders.graph.Graph`."""
        layer = users, items = self.user_embedding[...], self.item_embedding[...]
        graph = Graph(known, dense=dense, matrix=matrix) if self.layers else None
        for _ in range(self.layers):
            layer = graph.step(*layer)
            users, items = users + layer[0], items + layer[1]
        return Factors(users / (1 + self.layers), items / (1 + self.layers))

    score = staticmethod(dot)
