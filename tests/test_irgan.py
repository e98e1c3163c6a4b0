"""IRGAN: REINFORCE estimates the policy gradient, and both players can be the recommender."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import later

import gan_rec
from gan_rec import losses
from gan_rec.games import IRGAN
from gan_rec.games.irgan import draw_items

SCORES = jax.random.normal(jax.random.key(0), (3, 6))
VERDICTS = jax.random.normal(jax.random.key(1), (3, 6)) * 2
TARGETS = jnp.array([[1.0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("kind", ["minimax", "non-saturating", "hinge"])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_reinforce_estimates_the_exact_policy_gradient(kind, share):
    """Mean over many draws against the sum over the catalogue; also with samples that are observed items."""
    game = IRGAN(samples=400, critic_loss=kind, positive_share=share, temperature=0.7)

    def exact(scores):
        policy = jax.nn.softmax(scores / 0.7, axis=1)
        return jnp.mean(jnp.sum(policy * losses.fooling(VERDICTS, kind), axis=1))

    estimate = jax.vmap(jax.value_and_grad(game.policy_loss), in_axes=(None, None, None, 0))
    values, gradients = estimate(SCORES, VERDICTS, TARGETS, jax.random.split(jax.random.key(2), 300))
    np.testing.assert_allclose(values.mean(), exact(SCORES), rtol=0.02, atol=0.01)
    np.testing.assert_allclose(gradients.mean(axis=0), jax.grad(exact)(SCORES), atol=4e-3)


def test_the_baseline_lowers_the_variance():
    """Rewards far from 0 would drown the gradient in noise."""
    game, high = IRGAN(samples=16), VERDICTS + 30.0

    def plain(scores, key):
        items, weights = game.sample(scores, TARGETS, key)
        rewards = -losses.fooling(jnp.take_along_axis(high, items, axis=1), "minimax")
        log_policy = jnp.take_along_axis(jax.nn.log_softmax(scores, axis=1), items, axis=1)
        return -jnp.mean(weights * rewards * log_policy)

    keys = jax.random.split(jax.random.key(3), 200)
    with_baseline = jax.vmap(lambda k: jax.grad(game.policy_loss)(SCORES, high, TARGETS, k))(keys)
    without = jax.vmap(lambda k: jax.grad(plain)(SCORES, k))(keys)
    assert with_baseline.var(axis=0).sum() < 0.3 * without.var(axis=0).sum()


def test_items_are_drawn_as_their_probabilities_say():
    probabilities = jnp.array([[0.5, 0.0, 0.3, 0.2], [0.0, 0.0, 0.0, 1.0]])
    drawn = np.asarray(draw_items(probabilities, 20_000, jax.random.key(0)))
    frequencies = np.stack([np.bincount(row, minlength=4) / 20_000 for row in drawn])
    np.testing.assert_allclose(frequencies, probabilities, atol=0.015)


def test_the_critic_judges_what_the_policy_makes():
    """With a policy that is sure of one item the loss is that of this item and of the observed ones."""
    game = IRGAN(samples=5)
    sure = jnp.full((3, 6), -50.0).at[:, 2].set(50.0)
    value = game.verdict_loss(VERDICTS, sure, TARGETS, jax.random.key(0))
    verdicts = np.asarray(VERDICTS)
    first = np.logaddexp(0, -verdicts[0, [0, 3]]).mean() + np.logaddexp(0, verdicts[0, 2])
    second = np.logaddexp(0, -verdicts[1, 1]) + np.logaddexp(0, verdicts[1, 2])
    expected = (2**0.5 * first + second) / (2**0.5 + 1)  # the third user has nothing observed
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("ranker", ["generator", later("discriminator")])
def test_either_player_learns_to_rank_from_the_game_alone(small_split, ranker):
    """Without any data loss of its own (alpha 0) the recommender gets past popularity."""
    model = gan_rec.fit(
        small_split, game="irgan", recommender="mf", ranker=ranker, alpha=0.0, seeds=2, dim=6, batch_size=20,
        warm_up=0, epochs=150, patience=150, learning_rate=2e-2, weight_decay=0.05, progress=False,
        samples=16, adversary_learning_rate=1e-2, critic_dim=6,
    )  # fmt: skip
    popularity = gan_rec.evaluate_popularity(small_split).per_seed("NDCG@10")[0]
    assert gan_rec.evaluate(model).per_seed("NDCG@10").min() > 1.2 * popularity


def test_the_warm_up_is_the_twins_training(small_split):
    """Until the adversary joins, both models are the same to the bit."""
    options = dict(game="irgan", recommender="mf", seeds=1, dim=6, epochs=6, evaluate_every=2, refit=False)
    with_game = gan_rec.fit(small_split, warm_up=5, progress=False, **options)
    twin = gan_rec.fit(small_split, warm_up=5, alpha=1.0, progress=False, **options)
    late = gan_rec.fit(small_split, warm_up=3, alpha=0.2, progress=False, **options)
    curve = [m.history["validation NDCG@20"].dropna().tolist() for m in (with_game, twin, late)]
    assert curve[0][:2] == curve[1][:2] and curve[0][0] == curve[2][0] and curve[1] != curve[2]
    assert with_game.chosen_epochs == [6] and late.chosen_epochs[0] > 3, "an epoch before the game was chosen"
    first = np.asarray(late.history.query("epoch <= 3")["adversarial_loss"])
    assert (first == 0).all() and (late.history.query("epoch > 3")["adversarial_loss"] != 0).all()
    assert replace(with_game.settings, alpha=1.0) == twin.settings
