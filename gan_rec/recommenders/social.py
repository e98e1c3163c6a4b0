"""LightGCN over two kinds of edges: users with the items that they have, and users with users."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from gan_rec.data.sampling import Positives
from gan_rec.recommenders.baselines.tables import Factors
from gan_rec.recommenders.fixed import FixedArray
from gan_rec.recommenders.graph import Graph
from gan_rec.recommenders.lightgcn import LightGCN


class Links:
    """Links between users as edges of weight 1 in both directions, each once.

    Args:
        ends: `[L, 2]`.
        n_users: U.
    """

    def __init__(self, ends: FixedArray, n_users: int):
        both = np.concatenate([ends.values, ends.values[:, ::-1]])
        start, end = np.unique(both, axis=0).T.reshape(2, -1)
        self.start, self.end, self.n_users = start, end, n_users
        self.degree = jnp.asarray(np.bincount(end, minlength=n_users)[:, None], jnp.float32)

    def sum(self, rows: Float[Array, "U D"]) -> Float[Array, "U D"]:
        """The sum of each user's friends."""
        return jax.ops.segment_sum(rows[self.start], self.end, self.n_users)

    def step(self, rows: Float[Array, "U D"]) -> Float[Array, "U D"]:
        """One layer of propagation over friends alone, with symmetric normalisation."""
        scale = jax.lax.rsqrt(jnp.maximum(self.degree, 1.0))
        return scale * self.sum(scale * rows)


class SocialLightGCN(LightGCN):
    """LightGCN whose users also hear from their friends.

    Spread "joint": links are edges of the one graph, of weight `link_weight`, and degrees count them. Spread "apart":
    users' embeddings are spread over the links in as many layers of their own, whose mean is added, times
    `link_weight`. With weight 0 both are LightGCN. With `link_penalty` friends are also drawn together: the recommender
    adds half of that times the mean squared distance between the embeddings of two friends to its loss.

    Args:
        n_users: U.
        n_items: I.
        dim: D, the embedding size.
        links: `[L, 2]`, users with users; their direction does not count.
        layers: L.
        spread: "joint" or "apart".
        link_weight: of a link, where an interaction is 1.
        link_penalty: of friends' distance.
        rngs: source of the initial values.

    Source: propagation over users and items and over users as in SocialLGN (Liao et al., Information Sciences 2022) and
    DiffNet++ (Wu et al., TKDE 2020), here without their layers of fusion; the penalty is that of Ma et al., WSDM 2011.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int = 64,
        *,
        links: FixedArray,
        layers: int = 2,
        spread: str = "apart",
        link_weight: float = 0.5,
        link_penalty: float = 0.0,
        rngs: nnx.Rngs,
    ):
        super().__init__(n_users, n_items, dim, layers=layers, rngs=rngs)
        self.links, self.spread, self.link_weight, self.link_penalty = links, spread, link_weight, link_penalty

    def on(self, known: Positives, *, dense: bool | None = None, matrix: Float[Array, "U I"] | None = None) -> Factors:
        """The rows on the graph of `known`; `dense` and `matrix` as in `gan_rec.recommenders.graph.Graph`."""
        links = Links(self.links, known.n_users)
        if self.spread == "joint":
            return self._joint(links, Graph(known, dense=dense, matrix=matrix))
        rows = super().on(known, dense=dense, matrix=matrix)
        layer, heard = self.user_embedding[...], 0.0
        for _ in range(self.layers):
            layer = links.step(layer)
            heard = heard + layer / self.layers
        return Factors(rows.users(None) + self.link_weight * heard, rows.items())

    def _joint(self, links: Links, graph: Graph) -> Factors:
        layer = users, items = self.user_embedding[...], self.item_embedding[...]
        scale = jax.lax.rsqrt(graph.user_scale**-2 + self.link_weight * links.degree)
        for _ in range(self.layers):
            scaled = scale * layer[0]
            heard = graph.sum_to_users(graph.item_scale * layer[1]) + self.link_weight * links.sum(scaled)
            layer = scale * heard, graph.item_scale * graph.sum_to_items(scaled)
            users, items = users + layer[0], items + layer[1]
        return Factors(users / (1 + self.layers), items / (1 + self.layers))

    def penalty(self, batch, key) -> Float[Array, ""] | float:
        """See `gan_rec.games.joint.penalty`."""
        if not self.link_penalty:
            return 0.0
        start, end = (self.user_embedding[ends] for ends in self.links.values.T)
        return self.link_penalty / 2 * jnp.mean(jnp.sum((start - end) ** 2, axis=1))
