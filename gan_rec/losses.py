"""Losses on scores. Pure functions of arrays: no model, no random number, natural logarithms (nats)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def bpr(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, ""]:
    """Bayesian personalised ranking: the mean of -log sigmoid(positive - negative).

    Args:
        positive: scores of the observed items.
        negatives: scores of K sampled items for each of them.

    Source: Rendle et al., UAI 2009, section 4.1 (without the regularisation term, which is the optimiser's).
    """
    return jnp.mean(jax.nn.softplus(negatives - positive[:, None]))


def sampled_softmax(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, ""]:
    """Cross-entropy of finding the observed item among itself and K items sampled uniformly.

    Uniform sampling needs no correction of the scores (Wu et al., TOIS 2024, equation 5). At equal scores: log(K + 1).
    """
    scores = jnp.concatenate([positive[:, None], negatives], axis=1)
    return jnp.mean(jax.nn.logsumexp(scores, axis=1) - positive)


def softmax(
    scores: Float[Array, "B I"], targets: Float[Array, "B I"], candidates: Float[Array, "B I"]
) -> Float[Array, ""]:
    """Cross-entropy of the targets under a softmax over the candidates, averaged over all targets of the batch.

    Args:
        scores: a row of catalogue scores for each user.
        targets: 1 where an item is to be found, else 0; only candidates may be targets.
        candidates: 1 where an item takes part in the softmax, else 0.

    A batch without any target has loss 0. Source: the multinomial likelihood of Liang et al., WWW 2018, equation 2.
    """
    masked = jnp.where(candidates > 0, scores, -jnp.inf)
    log_normaliser = jax.nn.logsumexp(masked, axis=1, keepdims=True)
    per_user = jnp.sum(targets, axis=1) * log_normaliser[:, 0] - jnp.sum(targets * scores, axis=1)
    # A user who has rated the whole catalogue leaves no candidate: the normaliser is -inf and there is no target.
    return jnp.sum(jnp.where(jnp.sum(targets, axis=1) > 0, per_user, 0.0)) / jnp.maximum(jnp.sum(targets), 1.0)
