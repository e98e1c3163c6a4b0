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
    scores: Float[Array, "B I"], targets: Float[Array, "B I"], candidates: Float[Array, "B I"], power: float = 0.5
) -> Float[Array, ""]:
    """Cross-entropy of a user's targets under a softmax over the candidates, averaged over users.

    Args:
        scores: a row of catalogue scores for each user.
        targets: 1 where an item is to be found, else 0; only candidates may be targets.
        candidates: 1 where an item takes part in the softmax, else 0.
        power: a user with n targets weighs n ** power: 0 is the mean over users, 1 the mean over targets, which the
            few users with long histories dominate.

    A batch without any target has loss 0. Source: the multinomial likelihood of Liang et al., WWW 2018, equation 2
    (there with power 1).
    """
    masked = jnp.where(candidates > 0, scores, -jnp.inf)
    log_normaliser = jax.nn.logsumexp(masked, axis=1)
    n = jnp.sum(targets, axis=1)
    per_user = log_normaliser - jnp.sum(targets * scores, axis=1) / jnp.maximum(n, 1.0)
    # A user who has rated the whole catalogue leaves no candidate: the normaliser is -inf and there is no target.
    weights = jnp.where(n > 0, jnp.maximum(n, 1.0) ** power, 0.0)
    return jnp.sum(weights * jnp.where(n > 0, per_user, 0.0)) / jnp.maximum(jnp.sum(weights), 1.0)
