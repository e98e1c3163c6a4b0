"""Automatic alpha: rules that set the weight of the data loss between two epochs."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from gan_rec.data.membership import Either
from gan_rec.data.sampling import Positives
from gan_rec.train.epoch import Schedule, State

_LOWEST, _BATCHES = 0.05, 4


def _batches(game, positives: Positives, schedule: Schedule, key):
    """A few random batches with the keys for their losses."""

    def draw(key):
        row_key, draw_key, loss_key = jax.random.split(key, 3)
        rows = game.some_rows(positives, schedule.batch_size, row_key)
        return game.draw(positives, rows, draw_key), loss_key

    return jax.lax.map(draw, jax.random.split(key, _BATCHES))


def _gradients(state: State, game, drawn):
    """Gradients of the data loss and of the adversary's term, means over the batches."""

    def of(weight):
        own = replace(game, weight=jnp.float32(weight))

        def loss(recommender):
            each = jax.lax.map(lambda b: own.recommender_loss(recommender, state.adversary, *b)[0], drawn)
            return jnp.mean(each)

        return jax.grad(loss)(state.recommender)

    return of(1.0), of(0.0)


def _by_gradient(state: State, positives, held_out, game, schedule, key) -> Float[Array, ""]:
    drawn = _batches(game, positives, schedule, key)
    data, adversarial = (optax.tree.norm(g) for g in _gradients(state, game, drawn))
    target = adversarial / jnp.maximum(data + adversarial, 1e-12)
    return 0.9 * state.alpha + 0.1 * target


def _by_validation(state: State, positives, held_out, game, schedule, key) -> Float[Array, ""]:
    train_key, valid_key = jax.random.split(key)
    data, adversarial = _gradients(state, game, _batches(game, positives, schedule, train_key))
    unattacked = replace(game, alpha=1.0, weight=None)

    def held_out_loss(recommender):
        def loss(drawn):
            batch, key = drawn
            batch = batch._replace(
                history=None if batch.history is None else positives.history(batch.users),
                targets=None if batch.targets is None else held_out.history(batch.users),
                graph=None if batch.graph is None else positives,
            )
            return unattacked.recommender_loss(recommender, state.adversary, batch, key)[0]

        # Sampled negatives must be neither held-out nor training pairs.
        either = replace(held_out, known=Either(held_out.known, positives.known))
        return jnp.mean(jax.lax.map(loss, _batches(game, either, schedule, valid_key)))

    wanted = jax.grad(held_out_loss)(state.recommender)

    def agreement(alpha):
        joint = jax.tree.map(lambda d, a: alpha * d + (1 - alpha) * a, data, adversarial)
        lengths = optax.tree.norm(wanted) * optax.tree.norm(joint)
        return optax.tree.vdot(wanted, joint) / jnp.maximum(lengths, 1e-12)

    logit = jnp.log(state.alpha) - jnp.log1p(-state.alpha)
    return jax.nn.sigmoid(logit + jax.grad(agreement)(state.alpha))


_BY_RULE = {"gradient": _by_gradient, "validation": _by_validation}


@partial(jax.jit, static_argnames="rule")
def rebalance(
    state: State, positives: Positives, held_out: Positives, game, schedule: Schedule, keys, *, rule: str
) -> Float[Array, " S"]:
    """Alpha for the next epoch, of each seed, in [.05, .95].

    Args:
        state: of S seeds.
        positives: what is trained on.
        held_out: validation pairs, read by the rule "validation" alone.
        game, schedule: as for the epoch.
        keys: `[S]`.
        rule: "gradient": both terms are to pull equally hard, alpha |g_data| = (1 - alpha) |g_adv|; the idea of
            Chen et al., ICML 2018 (GradNorm). "validation": alpha shall make the recommender's next step lower the data
            loss on held-out pairs most, to first order, as in the bilevel rules of Ren et al., ICML 2018, and Liu et
            al., ICLR 2019 (DARTS): the logit of alpha climbs the cosine between the held-out gradient and the joint
            one. The cosine rather than the product, because AdamW's steps do not depend on a gradient's length.
    """

    def of_seed(state, key):
        alpha = _BY_RULE[rule](state, positives, held_out, game, schedule, jax.random.fold_in(key, state.epoch))
        return jnp.clip(alpha, _LOWEST, 1 - _LOWEST)

    return jax.vmap(of_seed)(state, keys)
