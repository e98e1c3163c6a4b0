"""Losses on scores. Pure functions of arrays: no model, no random number, natural logarithms (nats)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_TINY = 1e-12
_NO_CANDIDATE = -1e9  # the score of an item that takes no part; finite, for a part of the catalogue may have no other


def bpr_rows(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, " B"]:
    """`bpr` of each pair."""
    return jnp.mean(jax.nn.softplus(negatives - positive[:, None]), axis=1)


def bpr(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, ""]:
    """Bayesian personalised ranking: the mean of -log sigmoid(positive - negative).

    Args:
        positive: scores of the observed items.
        negatives: scores of K sampled items for each of them.

    Source: Rendle et al., UAI 2009, section 4.1 (without the regularisation term, which is the optimiser's).
    """
    return jnp.mean(bpr_rows(positive, negatives))


def sampled_softmax_rows(
    positive: Float[Array, " B"], negatives: Float[Array, "B K"], log_weights: Float[Array, "B K"] | float = 0.0
) -> Float[Array, " B"]:
    """`sampled_softmax` of each pair; a negative with log weight w counts exp(w) times (AdvInfoNCE's hardness)."""
    scores = jnp.concatenate([positive[:, None], negatives + log_weights], axis=1)
    return jax.nn.logsumexp(scores, axis=1) - positive


def sampled_softmax(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, ""]:
    """Cross-entropy of finding the observed item among itself and K items sampled uniformly.

    Uniform sampling needs no correction of the scores (Wu et al., TOIS 2024, equation 5). At equal scores: log(K + 1).
    """
    return jnp.mean(sampled_softmax_rows(positive, negatives))


def bce_rows(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, " B"]:
    """`bce` of each pair with its negatives."""
    total = jax.nn.softplus(-positive) + jnp.sum(jax.nn.softplus(negatives), axis=1)
    return total / (1 + negatives.shape[1])


def bce(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, ""]:
    """Binary cross-entropy over observed (label 1) and sampled (label 0) items: -1/N sum t log y + (1 - t) log(1 - y).

    y is the sigmoid of the score.
    """
    return jnp.mean(bce_rows(positive, negatives))


def softmax_rows(
    scores: Float[Array, "B I"], targets: Float[Array, "B I"], candidates: Float[Array, "B I"]
) -> Float[Array, " B"]:
    """`softmax` of each user: the mean over the user's targets, 0 for a user without any."""
    masked = jnp.where(candidates > 0, scores, -jnp.inf)
    log_normaliser = jax.nn.logsumexp(masked, axis=1)
    n = jnp.sum(targets, axis=1)
    return _likelihood(log_normaliser, jnp.sum(targets * scores, axis=1), n)


def _likelihood(log_normaliser: Float[Array, " B"], found: Float[Array, " B"], n: Float[Array, " B"]):
    per_user = log_normaliser - found / jnp.maximum(n, 1.0)
    # A user who has rated the whole catalogue leaves no candidate: the normaliser is -inf and there is no target.
    return jnp.where(n > 0, per_user, 0.0)


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
    weights = softmax_weights(targets, power)
    return mean_over_users(softmax_rows(scores, targets, candidates), weights)


def mean_over_users(rows: Float[Array, " B"], weights: Float[Array, " B"]) -> Float[Array, ""]:
    """The mean that `softmax` is; 0 where no user weighs anything."""
    return jnp.sum(weights * rows) / jnp.maximum(jnp.sum(weights), 1.0)


def softmax_weights(targets: Float[Array, "B I"], power: float = 0.5) -> Float[Array, " B"]:
    """How much each user weighs in `softmax`; 0 without targets."""
    n = jnp.sum(targets, axis=1)
    return jnp.where(n > 0, jnp.maximum(n, 1.0) ** power, 0.0)


def softmax_of_chunk(
    scores: Float[Array, "B size"], targets: Float[Array, "B size"], candidates: Float[Array, "B size"]
) -> tuple[Float[Array, " B"], Float[Array, " B"], Float[Array, " B"]]:
    """What `softmax_of_chunks` needs of a part of the catalogue: log-normaliser, sum of the targets' scores, targets.

    A part may have no candidate.
    """
    log_normaliser = jax.nn.logsumexp(jnp.where(candidates > 0, scores, _NO_CANDIDATE), axis=1)
    return log_normaliser, jnp.sum(targets * scores, axis=1), jnp.sum(targets, axis=1)


def softmax_of_chunks(
    log_normalisers: Float[Array, "C B"], found: Float[Array, "C B"], n: Float[Array, "C B"]
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """`softmax_rows` and `softmax_weights` of scores whose catalogue was taken in C parts, see `softmax_of_chunk`."""
    n = jnp.sum(n, axis=0)
    rows = _likelihood(jax.nn.logsumexp(log_normalisers, axis=0), jnp.sum(found, axis=0), n)
    return rows, softmax_weights(n[:, None])


_POSITIONS = 128  # whose scores of the catalogue are in memory at a time: few enough for the caches of a CPU


@jax.custom_vjp
def softmax_of_next(
    states: Float[Array, "N D"], items: Float[Array, "I D"], targets: Int[Array, " N"], weights: Float[Array, " N"]
) -> Float[Array, ""]:
    """Cross-entropy of one target for each of N states under a softmax of inner products with the whole catalogue.

    The weighted mean over states, 0 where no state weighs anything. Scores are computed for some states at a time, and
    their gradient in the same pass.
    """
    return _softmax_of_next(states, items, targets, weights)[0]


def _softmax_of_next(states, items, targets, weights):
    n, dim = states.shape
    total = jnp.maximum(jnp.sum(weights), _TINY)

    def cut(x):
        x = jnp.pad(x, [(0, -n % _POSITIONS), *[(0, 0)] * (x.ndim - 1)])
        return x.reshape(-1, _POSITIONS, *x.shape[1:])

    def of_some(slope, some):
        states, targets, weights = some
        scores = states @ items.T
        best = jnp.max(scores, axis=1, keepdims=True)
        exp = jnp.exp(scores - best)
        normaliser = jnp.sum(exp, axis=1, keepdims=True)
        # The part of the gradient that comes from the normaliser; that of the targets follows.
        chances = exp * (weights[:, None] / (total * normaliser))
        loss = best[:, 0] + jnp.log(normaliser[:, 0]) - jnp.sum(states * items[targets], axis=1)
        return slope + chances.T @ states, (loss, chances @ items)

    slope, (rows, own) = jax.lax.scan(of_some, jnp.zeros_like(items), (cut(states), cut(targets), cut(weights)))
    share = (weights / total)[:, None]
    own = own.reshape(-1, dim)[:n] - share * items[targets]
    return jnp.sum(rows.reshape(-1)[:n] * share[:, 0]), (own, slope.at[targets].add(-share * states))


def _softmax_of_next_backward(gradients, cotangent):
    return *(cotangent * gradient for gradient in gradients), None, None


softmax_of_next.defvjp(_softmax_of_next, _softmax_of_next_backward)


def worst_case(rows: Float[Array, " B"], weights: Float[Array, " B"], radius: Float[Array, ""] | float):
    """The largest mean of `rows` under weights q with KL(q || p) <= radius, p being `weights` scaled to a sum of 1.

    q is proportional to p exp(rows / temperature), and bisection finds the temperature that reaches the radius, or the
    smallest (a thousandth of the rows' standard deviation) where no q is that far from p. The gradient is that of the
    mean at the q found, which at a maximum over q is the whole one.

    Args:
        rows: a loss for each of B users or pairs.
        weights: what they weigh otherwise, at least 0.
        radius: in nats, at least 0.

    Source: Hu and Hong, 2013, theorem 1.
    """
    return jnp.sum(jax.lax.stop_gradient(_worst_weights(rows, weights, radius)) * rows)


def _worst_weights(rows: Float[Array, " B"], weights: Float[Array, " B"], radius) -> Float[Array, " B"]:
    p = weights / jnp.maximum(jnp.sum(weights), _TINY)
    log_p = jnp.where(p > 0, jnp.log(jnp.maximum(p, _TINY)), -1e9)
    centred = rows - jnp.sum(p * rows)
    unit = centred / jnp.sqrt(jnp.sum(p * centred**2) + _TINY)

    def tilted(log_temperature):
        return jax.nn.log_softmax(log_p + unit * jnp.exp(-log_temperature))

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        log_q = tilted(middle)
        too_far = jnp.sum(jnp.where(p > 0, jnp.exp(log_q) * (log_q - log_p), 0.0)) > radius
        return jnp.where(too_far, middle, low), jnp.where(too_far, high, middle)

    # From a thousandth of the standard deviation, all weight on the worst row, to ten thousand of them: q = p.
    bounds = jax.lax.fori_loop(0, 25, halve, (jnp.log(1e-3), jnp.log(1e4)))
    return jnp.where(p > 0, jnp.exp(tilted(bounds[1])), 0.0)


def divergence(
    clean: Float[Array, "B n"], moved: Float[Array, "B n"], candidates: Float[Array, "B n"]
) -> Float[Array, ""]:
    """KL(p || q) of the softmax of clean and moved scores over the candidates, averaged over rows. At least 0.

    Source: the divergence of virtual adversarial training, Miyato et al., TPAMI 2018, equation 3.
    """

    def log_softmax(scores):
        return jax.nn.log_softmax(jnp.where(candidates > 0, scores, _NO_CANDIDATE), axis=1)

    p, q = log_softmax(clean), log_softmax(moved)
    return jnp.mean(jnp.sum(jnp.where(candidates > 0, jnp.exp(p) * (p - q), 0.0), axis=1))


def divergence_of_chunk(
    clean: Float[Array, "B size"], moved: Float[Array, "B size"], candidates: Float[Array, "B size"]
) -> tuple[Float[Array, " B"], Float[Array, " B"], Float[Array, " B"]]:
    """What `divergence_of_chunks` needs of a part of the catalogue, which may have no candidate.

    Both log-normalisers, and the mean of clean minus moved scores under the clean softmax over the part.
    """
    clean, moved = (jnp.where(candidates > 0, scores, _NO_CANDIDATE) for scores in (clean, moved))
    apart = jnp.sum(jax.nn.softmax(clean, axis=1) * (clean - moved), axis=1)
    return jax.nn.logsumexp(clean, axis=1), jax.nn.logsumexp(moved, axis=1), apart


def divergence_of_chunks(
    clean: Float[Array, "C B"], moved: Float[Array, "C B"], apart: Float[Array, "C B"]
) -> Float[Array, ""]:
    """`divergence` of scores whose catalogue was taken in C parts, see `divergence_of_chunk`."""
    mean = jnp.sum(jax.nn.softmax(clean, axis=0) * apart, axis=0)
    return jnp.mean(mean - jax.nn.logsumexp(clean, axis=0) + jax.nn.logsumexp(moved, axis=0))


def label_rows(logits: Float[Array, " B"], labels: Float[Array, " B"]) -> Float[Array, " B"]:
    """Cross-entropy of 0/1 labels, one for each row."""
    return jax.nn.softplus(logits) - labels * logits


def label_divergence(clean: Float[Array, " B"], moved: Float[Array, " B"]) -> Float[Array, " B"]:
    """KL(p || q) of the labels that two rows of logits predict. At least 0. See `divergence`."""
    p = jax.nn.sigmoid(clean)
    # By the logits' differences, so that a sure prediction has no log of 0.
    return p * (clean - moved) + jax.nn.softplus(moved) - jax.nn.softplus(clean)


def positives_only(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, ""]:
    """The article's L_data (section 4): -1/N sum t log y. No term holds it back from y = 1 for every item."""
    return jnp.mean(jax.nn.softplus(-positive)) / (1 + negatives.shape[1])


def negatives_only(positive: Float[Array, " B"], negatives: Float[Array, "B K"]) -> Float[Array, ""]:
    """The article's L_adv (section 4): -1/N sum (1 - t) log(1 - y). At least 0."""
    return jnp.mean(jnp.sum(jax.nn.softplus(negatives), axis=1)) / (1 + negatives.shape[1])


def beta_term(positive: Float[Array, " B"], negatives: Float[Array, "B K"], clip: float = 1e-6) -> Float[Array, ""]:
    """The article's third term without its beta, as printed: 1/N sum (1 - t) log y, y clipped to [clip, 1].

    As printed it goes to minus infinity where y -> 0 on a negative, so whoever minimises it never arrives; the clip
    ends that at log(clip), beyond which a negative gives no gradient.
    """
    log_y = jnp.maximum(jax.nn.log_sigmoid(negatives), jnp.log(clip))
    return jnp.mean(jnp.sum(log_y, axis=1)) / (1 + negatives.shape[1])


CRITIC_LOSSES = ("minimax", "non-saturating", "hinge", "wasserstein")


def critic_on_real(real: Float[Array, "*n"], kind: str) -> Float[Array, "*n"]:
    """What a critic minimises on real samples, elementwise, given its logits.

    Sources: minimax and non-saturating, Goodfellow et al., NeurIPS 2014, equation 1; hinge, Lim and Ye, 2017;
    wasserstein (without the penalty), Arjovsky et al., ICML 2017, equation 2.
    """
    if kind in ("minimax", "non-saturating"):
        return jax.nn.softplus(-real)
    return jax.nn.relu(1 - real) if kind == "hinge" else -real


def critic_on_fake(fake: Float[Array, "*n"], kind: str) -> Float[Array, "*n"]:
    """What a critic minimises on fake samples; see `critic_on_real`."""
    if kind in ("minimax", "non-saturating"):
        return jax.nn.softplus(fake)
    return jax.nn.relu(1 + fake) if kind == "hinge" else fake


def fooling(fake: Float[Array, "*n"], kind: str) -> Float[Array, "*n"]:
    """What the maker of fakes minimises, elementwise, given the critic's logits; see `critic_on_real`.

    log(1 - D) in minimax, -log D in its non-saturating form, minus the logit otherwise.
    """
    if kind == "minimax":
        return -jax.nn.softplus(fake)
    return jax.nn.softplus(-fake) if kind == "non-saturating" else -fake
