"""CFGAN: masks, both cures for giving everything a 1, and the critic's losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import checkerboard, later
from flax import nnx

import gan_rec
from gan_rec import losses
from gan_rec.adversaries import VectorCritic
from gan_rec.data import Split
from gan_rec.data.sampling import to_device
from gan_rec.games import CFGAN
from gan_rec.games.cfgan import _gradient_penalty
from gan_rec.recommenders import Autoencoder
from gan_rec.recommenders.flipped import flip

TRAIN = checkerboard(12)[0]


def players(**options):
    game = CFGAN(**options)
    model = Autoencoder(12, 12, 6, rngs=nnx.Rngs(0))
    batch = game.draw(to_device(TRAIN), jnp.arange(6), jax.random.key(0))
    return game, model, VectorCritic(12, hidden=4, rngs=nnx.Rngs(1)), batch


def test_nothing_is_hidden_and_the_vector_is_the_history():
    _, _, _, batch = players()
    np.testing.assert_array_equal(batch.targets, to_device(TRAIN).history(batch.users))
    np.testing.assert_array_equal(batch.history, batch.targets)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_partial_masking_shows_observed_entries_and_a_part_of_the_others(ratio):
    game, model, _, batch = players(mask_ratio=ratio)
    vectors = game.vectors(model, batch, None)
    shown = np.asarray(game.masked(vectors, batch.targets, jax.random.key(1)))
    real = np.asarray(batch.targets) > 0
    np.testing.assert_array_equal(shown[real], np.asarray(vectors)[real])
    assert (shown[~real] > 0).mean() == pytest.approx(ratio, abs=0.2)


def test_zero_reconstruction_takes_unobserved_entries_alone():
    game, _, _, batch = players(zero_ratio=1.0)
    vectors = jnp.full((6, 12), 0.5)
    n_unobserved = 12 - np.asarray(batch.targets).sum(axis=1)
    expected = np.mean(n_unobserved * 0.25)
    np.testing.assert_allclose(game.zero_error(vectors, batch.targets, jax.random.key(0)), expected, rtol=1e-6)
    np.testing.assert_allclose(players(zero_ratio=0.0)[0].zero_error(vectors, batch.targets, jax.random.key(0)), 0.0)


def test_without_either_cure_all_ones_is_the_best_answer():
    """The defect that both cures are for: a vector of ones fools the critic better than the right one."""
    game, _, critic, batch = players(zero_ratio=0.0, mask_ratio=0.0, critic_loss="non-saturating")
    real, ones = batch.targets, jnp.ones((6, 12))
    key = jax.random.key(0)
    np.testing.assert_array_equal(game.masked(ones, real, key), real)
    np.testing.assert_allclose(critic(game.masked(ones, real, key), real), critic(real, real))
    cured = CFGAN(zero_ratio=1.0, mask_ratio=1.0)
    assert np.abs(cured.masked(ones, real, key) - real).max() == 1.0
    assert cured.zero_error(ones, real, key) > 0 == cured.zero_error(real, real, key)


def test_gradient_penalty_of_a_linear_critic():
    """Its gradient is its weight vector everywhere, so the penalty is (|w| - 1)^2."""
    weights = jnp.arange(5.0)
    value = _gradient_penalty(lambda x, condition: x @ weights, jnp.ones((3, 5)), jnp.zeros((3, 5)), jax.random.key(0))
    np.testing.assert_allclose(value, (np.sqrt(30.0) - 1) ** 2, rtol=1e-6)


@pytest.mark.parametrize("kind", losses.CRITIC_LOSSES)
def test_a_critic_learns_to_tell_and_a_maker_to_fool(kind):
    game, model, critic, batch = players(critic_loss=kind, alpha=0.0)
    adversary_loss = jax.jit(jax.value_and_grad(game.adversary_loss))
    before = adversary_loss(critic, model, batch, jax.random.key(0))[0]
    for key in jax.random.split(jax.random.key(1), 60):
        gradient = adversary_loss(critic, model, batch, key)[1]
        critic = jax.tree.map(lambda x, g: x - 0.05 * g, critic, gradient)
    after = adversary_loss(critic, model, batch, jax.random.key(0))[0]
    assert after < before

    recommender_loss = jax.jit(jax.value_and_grad(game.recommender_loss, has_aux=True))
    (_, parts), _ = recommender_loss(model, critic, batch, jax.random.key(2))
    for key in jax.random.split(jax.random.key(3), 60):
        gradient = recommender_loss(model, critic, batch, key)[1]
        model = jax.tree.map(lambda x, g: x - 0.1 * g, model, gradient)
    assert (
        recommender_loss(model, critic, batch, jax.random.key(2))[0][1]["adversarial_loss"] < parts["adversarial_loss"]
    )


@pytest.mark.parametrize("side", ["user", later("item")])
def test_checkerboard(side):
    """The held-out diagonal must rank first, learned from the critic alone (alpha 0)."""
    train, valid, test = checkerboard(30)
    fitted = gan_rec.fit(
        Split("checkerboard", "fixed", train, valid, test), game="cfgan", side=side, seeds=2, dim=32, hidden=16,
        batch_size=10, learning_rate=1e-2, adversary_learning_rate=3e-3, weight_decay=0.01, zero_weight=0.1,
        mask_ratio=0.2, average=0.0, epochs=200, patience=200, select_on="NDCG@1", dropout=0.5, progress=False,
    )  # fmt: skip
    assert gan_rec.evaluate(fitted, "test", (1,)).per_seed("P@1").min() >= 0.9


def test_a_flipped_recommender_scores_the_transpose():
    model = Autoencoder(12, 12, 6, rngs=nnx.Rngs(3))
    known = to_device(TRAIN)
    right = flip(model, known)
    scores = right.score(right.users(jnp.arange(12)), right.items())
    of_items = model.score(model.users(jnp.arange(12), known.history(jnp.arange(12)).T), model.items())
    np.testing.assert_allclose(scores, of_items.T, rtol=1e-5)
    np.testing.assert_allclose(right.items(jnp.array([4, 1])), right.items()[jnp.array([4, 1])])
