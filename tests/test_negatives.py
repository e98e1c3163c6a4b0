"""Games over negatives: importance weights, their limits, and who chooses them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import checkerboard, later
from flax import nnx

import gan_rec
from gan_rec.adversaries import Hardness, OwnScores
from gan_rec.data.sampling import to_device
from gan_rec.games import AdvInfoNCE, HardNegatives
from gan_rec.recommenders import MatrixFactorization

TRAIN = checkerboard(12)[0]
MODEL = MatrixFactorization(12, 12, 8, rngs=nnx.Rngs(0))


class Indifferent(nnx.Module):
    def __call__(self, users, negatives, scores):
        return jnp.zeros_like(scores)


def batch_of(game):
    return game.draw(to_device(TRAIN), jnp.arange(8), jax.random.key(0))


GAMES = [HardNegatives(negatives=5), HardNegatives(negatives=5, loss="bce"), AdvInfoNCE(negatives=5, alpha=0.5)]


@pytest.mark.parametrize("game", GAMES, ids=["bpr", "bce", "advinfonce"])
def test_equal_weights_are_the_data_loss(game):
    """The limit of an adversary that prefers nothing: both terms are the same, and InfoNCE is the twin's loss."""
    parts = game.recommender_loss(MODEL, Indifferent(), batch_of(game), jax.random.key(0))[1]
    np.testing.assert_allclose(parts["adversarial_loss"], parts["data_loss"], rtol=1e-5)


def test_advinfonce_by_hand():
    """One pair, two negatives of scores 1 and 0 against 2, hardness log 3 and 0: q = (3/4, 1/4), K q = (3/2, 1/2)."""
    game = AdvInfoNCE(negatives=2)
    scores, log_q = jnp.array([[2.0, 1.0, 0.0]]), jnp.log(jnp.array([[0.75, 0.25]]))
    expected = np.log(np.e**2 + 1.5 * np.e + 0.5) - 2
    np.testing.assert_allclose(game.adversarial_loss(scores, log_q), expected, rtol=1e-6)


def test_a_low_temperature_leaves_the_hardest_negative():
    game = HardNegatives(negatives=5, temperature=1e-3)
    users, items, scores = game.scores(MODEL, batch_of(game), None)
    log_q = game.hardness(OwnScores(), users, items, scores)
    np.testing.assert_array_equal(np.asarray(log_q).argmax(axis=1), np.asarray(scores[:, 1:]).argmax(axis=1))
    hardest = jnp.mean(jax.nn.softplus(scores[:, 1:].max(axis=1) - scores[:, 0]))
    np.testing.assert_allclose(game.adversarial_loss(scores, log_q), hardest, rtol=1e-3)


@pytest.mark.parametrize("game", [HardNegatives(negatives=5, entropy=0.0), AdvInfoNCE(negatives=5, entropy=0.0)],
                         ids=["hard-negative", "advinfonce"])  # fmt: skip
def test_hardness_learns_which_negatives_hurt(game):
    batch, hardness = batch_of(game), Hardness(8, rngs=nnx.Rngs(1))
    optimizer = optax.adam(3e-2)

    @jax.jit
    def step(hardness, opt):
        gradient = jax.grad(game.adversary_loss)(hardness, MODEL, batch, jax.random.key(0))
        updates, opt = optimizer.update(gradient, opt)
        return optax.apply_updates(hardness, updates), opt

    before = game.recommender_loss(MODEL, hardness, batch, jax.random.key(0))[1]
    opt = optimizer.init(hardness)
    for _ in range(150):
        hardness, opt = step(hardness, opt)
    after = game.recommender_loss(MODEL, hardness, batch, jax.random.key(0))[1]
    assert after["adversarial_loss"] > before["adversarial_loss"] + 0.01
    users, items, scores = game.scores(MODEL, batch, None)
    learned = np.asarray(game.hardness(hardness, users, items, scores)).ravel()
    assert np.corrcoef(learned, np.asarray(scores[:, 1:]).ravel())[0, 1] > 0.5


def test_entropy_keeps_the_weights_apart():
    """The bonus pulls q towards uniform: with a large one that is what the adversary's gradient wants."""
    batch = batch_of(HardNegatives(negatives=5))
    greedy, cautious = (
        jax.grad(HardNegatives(negatives=5, entropy=e).adversary_loss)(
            Hardness(8, rngs=nnx.Rngs(1)), MODEL, batch, jax.random.key(0)
        ).scale[...]
        for e in (0.0, 100.0)
    )
    assert greedy < cautious


@pytest.mark.parametrize(
    ("game", "adversary"),
    [("hard-negative", "hardness"), later("hard-negative", "own-scores"), later("advinfonce", "hardness")],
)
def test_the_game_learns_to_rank(small_split, game, adversary):
    model = gan_rec.fit(
        small_split, game=game, adversary=adversary, recommender="mf", alpha=0.0, seeds=2, dim=8, batch_size=64,
        negatives=8, epochs=60, learning_rate=1e-2, weight_decay=0.1, progress=False,
    )  # fmt: skip
    popularity = gan_rec.evaluate_popularity(small_split).per_seed("NDCG@10")[0]
    assert gan_rec.evaluate(model).per_seed("NDCG@10").min() > 1.2 * popularity
