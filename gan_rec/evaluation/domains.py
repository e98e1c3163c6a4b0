"""How well it can be told which domain has said what is known of a user: a critic trained afresh, on other users."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from gan_rec.adversaries.critics import DomainCritic
from gan_rec.data.sampling import Positives
from gan_rec.games.domain import cross_entropy, is_first
from gan_rec.recommenders.graph import on_graph

_STEPS, _RATE, _EVERY = 600, 3e-3, 50


def domain_accuracy(recommenders, known: Positives, *, hidden: int = 64, seed: int = 0) -> Float[np.ndarray, " S"]:
    """Accuracy of a new `DomainCritic` on rows of users whom it has not seen; the recommenders stay as they are.

    Of all users who have something in every domain, three fifths train it, one fifth says at which step it is best, and
    the rest measures: each with a row of every domain, so that of two domains chance is a half.

    Args:
        recommenders: weights with a leading axis of S, of a recommender with `shared` rows once it is on a graph.
        known: the graph's pairs.
        hidden: units of the critic.
        seed: of the users' order and the critic's initial values.
    """
    n_seeds = jax.tree.leaves(recommenders)[0].shape[0]
    found = []
    for number in range(n_seeds):
        one = jax.tree.map(lambda x, number=number: x[number], recommenders)
        rows, active = _shared_rows(one, known)
        everywhere = np.flatnonzero(np.asarray(active).all(axis=0))
        order = np.random.default_rng(seed).permutation(everywhere)
        train, choose, measure = np.split(order, [len(order) * 3 // 5, len(order) * 4 // 5])
        parts = tuple(jnp.asarray(rows)[:, part] for part in (train, choose, measure))
        found.append(float(_probe(*parts, jax.random.key(seed), hidden)))
    return np.array(found)


@jax.jit
def _shared_rows(recommender, known: Positives):
    placed, users = on_graph(recommender, known), jnp.arange(known.n_users)
    return placed.shared(users), placed.active(users)


def accuracy(critic, rows: Float[Array, "domains n D"]) -> Float[Array, ""]:
    """The part of rows of two domains that a critic assigns to the right one."""
    return jnp.mean((critic(rows) > 0) == (is_first(jnp.ones(rows.shape[:2])) > 0))


@partial(jax.jit, static_argnames="hidden")
def _probe(train, choose, measure, key, hidden: int) -> Float[Array, ""]:
    critic = DomainCritic(train.shape[2], hidden=hidden, rngs=nnx.Rngs(key))
    optimizer = optax.adamw(_RATE, weight_decay=1e-3)

    def loss(critic, rows):
        return cross_entropy(critic, rows, jnp.ones(rows.shape[:2]))

    def step(carry, _):
        critic, state = carry
        updates, state = optimizer.update(jax.grad(loss)(critic, train), state, critic)
        return (optax.apply_updates(critic, updates), state), None

    def some_steps(carry, _):
        players, best, kept = carry
        players, _ = jax.lax.scan(step, players, length=_EVERY)
        now = loss(players[0], choose)
        kept = jax.tree.map(lambda new, old: jnp.where(now < best, new, old), players[0], kept)
        return (players, jnp.minimum(best, now), kept), None

    begin = (critic, optimizer.init(critic)), jnp.inf, critic
    (_, _, kept), _ = jax.lax.scan(some_steps, begin, length=_STEPS // _EVERY)
    return accuracy(kept, measure)
