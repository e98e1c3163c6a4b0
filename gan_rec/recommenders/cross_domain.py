"""Users whom several domains have in common: what each of them says of a user, in one space."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from gan_rec.data.sampling import Positives
from gan_rec.recommenders.fixed import FixedArray
from gan_rec.recommenders.score import dot

_OWN_SCALE = 0.1


class CrossDomain(nnx.Module):
    """Items are known by who had them, users by what they had in each domain; a part of both is shared by all domains.

    Shared part: an item's row is what its domain's tower, a linear map, makes of the sum of its users' embeddings. What
    a domain says of a user is the sum of the rows of the user's items there; what all say, the sum of that. Own part of
    each domain: the same with embeddings that serve this domain alone, and no tower; it begins small, since it knows
    nothing of the other domains. The score is the inner product of the user's shared part and own part in the item's
    domain with those of the item, the item's brought to length 1 together and the user's by the length of the shared
    one, over the temperature, plus a bias of the item. So items of all domains are in one space from the start, and a
    user who had nothing in a domain yet is served there by what the others say.

    It has no rows before it is put on a graph (`on`): in training that of the training pairs, afterwards that of the
    pairs known.

    Args:
        n_users: U.
        n_items: I.
        dim: D, of the shared part.
        domains: the domain of each item, `[I]`.
        own_dim: E, of the own part.
        temperature: of the scores before the bias.
        rngs: source of the initial values.

    Source: shared and own parts of users as in DisenCDR (Cao et al., SIGIR 2022), which has variational graph encoders;
    items as the sum of their users, and users as that of items, are layers of propagation as in LightGCN (He et al.,
    SIGIR 2020), here without embeddings of items.
    """

    reads_history = False
    reads_graph = True

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int = 64,
        *,
        domains: FixedArray,
        own_dim: int = 16,
        temperature: float = 0.15,
        rngs: nnx.Rngs,
    ):
        self.domains, self.n_domains, self.temperature = domains, int(domains.values.max()) + 1, temperature
        own = jax.random.normal(rngs.params(), (self.n_domains, n_users, own_dim)) * own_dim**-0.5
        own *= _OWN_SCALE
        self.user_embedding = nnx.Param(jax.random.normal(rngs.params(), (n_users, dim)) * dim**-0.5)
        self.own_embedding = nnx.Param(own)
        self.towers = nnx.Param(jnp.zeros((self.n_domains, dim, dim)))
        self.item_bias = nnx.Param(jnp.zeros(n_items))

    def on(self, known: Positives) -> "PlacedDomains":
        """The rows on the graph of `known`."""
        edges = Edges(known, self.domains.values, self.n_domains)
        shared, own = edges.to_items(self.user_embedding[...]), edges.to_items_of_domain(self.own_embedding[...])
        rows = jnp.concatenate([self.tower(shared, jnp.asarray(self.domains.values)), own], axis=1)
        said = edges.to_users(rows)
        active = edges.node_degree.reshape(self.n_domains, -1, 1) > 0
        common = jax.vmap(Common.of)(said[..., : shared.shape[1]], active.astype(jnp.float32))
        return PlacedDomains(self, edges, shared, rows, said, common)

    def tower(self, sums: Float[Array, "n D"], domains: Int[Array, " n"]) -> Float[Array, "n D"]:
        """The shared rows of items of these domains, of the sums of their users' embeddings."""
        moved = jnp.einsum("nd,mde->nme", sums, self.towers[...])
        return sums + jnp.take_along_axis(moved, domains[:, None, None], axis=1)[:, 0]

    score = staticmethod(dot)


class Edges:
    """Known pairs, with every user once for each domain.

    An item's sum weighs a user by 1 / sqrt of all that the user had; a user's sum weighs an item by 1 / sqrt of its
    users, and all by 1 / sqrt of the user's items in the domain.

    Args:
        known: the pairs.
        domains: of the items, `[I]`.
        n_domains: how many.
    """

    def __init__(self, known: Positives, domains: np.ndarray, n_domains: int):
        self.n_users, self.n_items, self.n_domains = known.n_users, known.n_items, n_domains
        # Out of bounds, the padding takes part in no sum.
        edge = jnp.arange(known.users.shape[0]) < known.n_pairs
        self.domains = jnp.asarray(domains)[known.items]
        self.users = jnp.where(edge, known.users, self.n_users)
        self.items = jnp.where(edge, known.items, self.n_items)
        self.nodes = jnp.where(edge, self.domains * self.n_users + known.users, n_domains * self.n_users)
        ones = jnp.ones(known.users.shape[0])
        self.item_degree = jax.ops.segment_sum(ones, self.items, self.n_items)
        self.node_degree = jax.ops.segment_sum(ones, self.nodes, n_domains * self.n_users)
        degree = self.node_degree.reshape(n_domains, -1).sum(axis=0)
        self.user_weight, self.item_weight, self.node_weight = (
            jax.lax.rsqrt(jnp.maximum(each, 1.0))[:, None] for each in (degree, self.item_degree, self.node_degree)
        )

    def to_items(self, users: Float[Array, "U D"]) -> Float[Array, "I D"]:
        """Each item's sum of its users."""
        return self._sum(users * self.user_weight, self.users, self.items, self.n_items)

    def to_items_of_domain(self, users: Float[Array, "domains U D"]) -> Float[Array, "I D"]:
        """The same with the users' rows of the item's domain."""
        weighed = (users * self.user_weight).reshape(-1, users.shape[-1])
        return self._sum(weighed, self.nodes, self.items, self.n_items)

    def to_users(self, items: Float[Array, "I D"]) -> Float[Array, "domains U D"]:
        """Each user's sum of the items of each domain."""
        nodes = self.n_domains * self.n_users
        sums = self._sum(items * self.item_weight, self.items, self.nodes, nodes) * self.node_weight
        return sums.reshape(self.n_domains, self.n_users, -1)

    @staticmethod
    def _sum(rows, start, end, n: int):
        return jax.ops.segment_sum(rows.at[start].get(mode="fill", fill_value=0.0), end, n)


class Common(nnx.Module):
    """A map of rows of one domain to mean 0 and, but for its scale, covariance 1, which turns them as little as it can.

    So the domains have means and covariances in common, and what is left for a critic are finer traces. The covariance
    is a constant for gradients.

    Before it rows are brought to mean 0 and length 1 each: without the first of these the length would leave a trace
    along the mean, which no covariance sees.

    Args:
        first: `[D]`, the mean before.
        second: `[D]`, the mean of the rows of length 1.
        matrix: `[D, D]`.

    Source: whitening of each domain apart as in Roy et al., CVPR 2019, section 3.2.
    """

    def __init__(self, first: Float[Array, " D"], second: Float[Array, " D"], matrix: Float[Array, "D D"]):
        self.first, self.second, self.matrix = nnx.Param(first), nnx.Param(second), nnx.Param(matrix)

    @classmethod
    def of(cls, rows: Float[Array, "n D"], active: Float[Array, "n 1"]) -> "Common":
        """The map for these rows, of which only the active ones count."""
        n = jnp.maximum(active.sum(), 1.0)
        first = jnp.sum(rows * active, axis=0) / n
        rows = unit(rows - first)
        second = jnp.sum(rows * active, axis=0) / n
        centred = jax.lax.stop_gradient((rows - second) * active)
        lengths, axes = jnp.linalg.eigh(centred.T @ centred / n)
        lengths = jnp.maximum(lengths, 0.0) + 1e-6 * jnp.mean(lengths) + 1e-12
        return cls(first, second, (axes * jnp.sqrt(jnp.mean(lengths) / lengths)) @ axes.T)

    def __call__(self, rows: Float[Array, "*n D"]) -> Float[Array, "*n D"]:
        """Rows of the domain, mapped."""
        return (unit(rows - self.first) - self.second) @ self.matrix[...]


class PlacedDomains(nnx.Module):
    """A `CrossDomain` on a graph.

    Args:
        recommender: it.
        edges: of the graph.
        sums: `[I, D]`, the items' sums of shared embeddings, before the towers.
        rows: `[I, D + E]`, of the items.
        said: `[domains, U, D + E]`, what each domain says of users.
        common: of each domain, what brings its shared rows to those of the others.
    """

    reads_history = False

    def __init__(self, recommender: CrossDomain, edges: Edges, sums, rows, said, common: Common):
        self.recommender, self.dim = recommender, sums.shape[1]
        self.common = common
        self.sums, self.rows, self.said = nnx.Param(sums), nnx.Param(rows), nnx.Param(said)
        self.user_weight, self.item_weight = nnx.Param(edges.user_weight), nnx.Param(edges.item_weight)
        self.node_weight = nnx.Param(edges.node_weight.reshape(*said.shape[:2], 1))
        self.item_degree, self.node_degree = nnx.Param(edges.item_degree), nnx.Param(edges.node_degree)

    def users(self, ids: Int[Array, " B"] | None, history=None, key=None) -> Float[Array, "B _"]:
        """Rows of users: the shared part, the own parts of all domains, and a 1 for the items' bias."""
        said = self.said[...] if ids is None else self.said[:, ids]
        shared = self._alike(said, self.active(jnp.arange(said.shape[1]) if ids is None else ids)).sum(axis=0)
        rows = jnp.concatenate([shared, *said[..., self.dim :]], axis=1) * inverse_length(shared)
        return jnp.concatenate([rows / self.recommender.temperature, jnp.ones((len(rows), 1))], axis=1)

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any _"]:
        """Rows of items: the shared part, the own part in the place of their domain, and the bias."""
        domains = jnp.asarray(self.recommender.domains.values)
        rows, bias = self.rows[...], self.recommender.item_bias[...]
        if ids is not None:
            rows, bias, domains = rows[ids], bias[ids], domains[ids]
        rows = unit(rows)
        own = [rows[..., self.dim :] * (domains == each)[..., None] for each in range(self.recommender.n_domains)]
        return jnp.concatenate([rows[..., : self.dim], *own, bias[..., None]], axis=-1)

    score = staticmethod(dot)

    def shared(self, users: Int[Array, " B"]) -> Float[Array, "domains B D"]:
        """What each domain says of users in the shared part, of about length 1; 0 where a user had nothing there."""
        return self._alike(self.said[:, users], self.active(users))

    def _alike(self, said, active: Float[Array, "domains B"]) -> Float[Array, "domains B D"]:
        """Shared parts, in what the domains have in common; 0 of users who had nothing in a domain."""
        rows = jax.vmap(lambda common, rows: common(rows))(self.common, said[..., : self.dim])
        return rows * active[..., None]

    def active(self, users: Int[Array, " B"]) -> Float[Array, "domains B"]:
        """1 where a user had something in a domain."""
        return (self.node_degree[...].reshape(self.recommender.n_domains, -1)[:, users] > 0).astype(jnp.float32)

    def without(
        self, users: Int[Array, " B"], items: Int[Array, " B"], others: Int[Array, " K"]
    ) -> tuple[Float[Array, " B"], Float[Array, "B K"], Float[Array, " B"]]:
        """Scores of known pairs, and of their users for other items, as if no pair were known of itself.

        A pair is one of the edges, and with it an item would be found by itself: so of its item the user is left out,
        and of its user the item.

        Returns:
            Scores of the pairs; of their users for the others, which are of no use where these are of another domain;
            and 1 for pairs whose item somebody else had too, else 0.
        """
        model, numbers = self.recommender, jnp.arange(users.shape[0])
        domains = jnp.asarray(model.domains.values)[items]
        lost = self.rows[items] * self.item_weight[items] * self.node_weight[domains, users]
        said = self.said[:, users].at[domains, numbers].add(-lost)
        shared = self._alike(said, self.active(users)).sum(axis=0)
        user_rows = jnp.concatenate([shared, said[domains, numbers, self.dim :]], axis=1) * inverse_length(shared)
        weight = self.user_weight[users]
        item_rows = jnp.concatenate(
            [
                model.tower(self.sums[items] - weight * model.user_embedding[users], domains),
                self.rows[items, self.dim :] - weight * model.own_embedding[domains, users],
            ],
            axis=1,
        )
        found = jnp.sum(user_rows * unit(item_rows), axis=1), user_rows @ unit(self.rows[others]).T
        bias = model.item_bias[items], model.item_bias[others]
        scores, of_others = (each / model.temperature + own for each, own in zip(found, bias, strict=True))
        return scores, of_others, (self.item_degree[items] > 1).astype(jnp.float32)


def unit(rows: Float[Array, "*n D"]) -> Float[Array, "*n D"]:
    """Rows of length 1, but for those of no length."""
    return rows * inverse_length(rows)


def inverse_length(rows: Float[Array, "*n D"]) -> Float[Array, "*n 1"]:
    """1 over the length of rows."""
    return jax.lax.rsqrt(jnp.sum(rows**2, axis=-1, keepdims=True) + 1e-6)
