"""Mult-VAE: the forward pass and the KL term against references, when z is drawn, and whose loss the KL term is."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions, later
from flax import nnx

from gan_rec.adversaries import ADVERSARIES
from gan_rec.data.sampling import to_device
from gan_rec.games import APR, AdvInfoNCE, EmbeddingGame, HardNegatives
from gan_rec.recommenders import MultVAE

KEY = jax.random.key(4)
HISTORY = jnp.array([[1.0, 0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0]])

POSITIVES = to_device(interactions([*zip(*np.nonzero(HISTORY), strict=True), (2, 0)], 3, 7))


def model(**options):
    vae = MultVAE(3, 7, 5, rngs=nnx.Rngs(0), **{"latent": 4, "kl_weight": 0.3} | options)
    return jax.tree.map(lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), vae)  # else biases are 0


def encoded(vae):
    """Mean and log-variance row by row, in NumPy."""
    found = []
    for row in np.asarray(HISTORY, float):
        hidden = np.tanh(row / max(np.sqrt(row.sum()), 1) @ vae.input_embedding[...] + vae.hidden_bias[...])
        both = hidden @ np.asarray(vae.posterior.kernel[...]) + vae.posterior.bias[...]
        found.append((both[:4], both[4:]))
    return (np.stack(x) for x in zip(*found, strict=True))


@pytest.mark.parametrize("bias", [False, True])
def test_without_a_key_the_score_is_that_of_the_mean(bias):
    vae = model(bias=bias)
    mean, _ = encoded(vae)
    rows = np.tanh(mean @ np.asarray(vae.decoder.kernel[...]) + vae.decoder.bias[...])
    expected = rows @ np.asarray(vae.item_embedding[...]).T
    expected += np.asarray(vae.item_bias[...])[:, 0] if bias else 0.0
    users = vae.users(jnp.arange(3), HISTORY)
    np.testing.assert_allclose(vae.score(users, vae.items()), expected, rtol=1e-5)
    lists = vae.score(users, vae.items(jnp.array([[6, 0]] * 3)))
    np.testing.assert_allclose(lists, expected[:, [6, 0]], rtol=1e-5)


def test_the_penalty_is_the_integral_of_the_divergence():
    """KL(q || p) for every entry of z by the trapezoid rule, summed; mean over users."""
    vae = model(dropout=0.0)
    total, grid = 0.0, np.linspace(-12, 12, 20001)
    for mean, log_variance in zip(*(x.ravel() for x in encoded(vae)), strict=True):
        log_q = -0.5 * ((grid - mean) ** 2 / np.exp(log_variance) + log_variance + np.log(2 * np.pi))
        log_p = -0.5 * (grid**2 + np.log(2 * np.pi))
        total += np.trapezoid(np.exp(log_q) * (log_q - log_p), grid)
    batch = EmbeddingGame().draw(POSITIVES, jnp.arange(3), KEY)._replace(history=HISTORY)
    np.testing.assert_allclose(vae.penalty(batch, KEY), 0.3 * total / 3, rtol=1e-4)


def test_with_a_key_z_is_drawn_from_the_posterior():
    vae = model(dropout=0.0)
    small = 1e-2 * jnp.eye(4, 5)  # so that tanh is nearly linear and z can be read off the rows
    vae.decoder.kernel[...], vae.decoder.bias[...] = small, jnp.zeros(5)
    draws = jax.vmap(lambda key: vae.users(None, HISTORY, key))(jax.random.split(KEY, 20_000))
    z = np.arctanh(np.asarray(draws, float))[..., :4] / 1e-2
    mean, log_variance = encoded(vae)
    deviation = np.exp(log_variance / 2)
    np.testing.assert_allclose((z.mean(axis=0) - mean) / deviation, 0, atol=0.04)
    np.testing.assert_allclose(z.std(axis=0) / deviation, 1, atol=0.03)
    again = vae.users(None, HISTORY, KEY)
    assert not np.array_equal(again, vae.users(None, HISTORY)), "with a key nothing was drawn"


def test_rows_and_penalty_drop_the_same_entries():
    """With a tiny variance the rows tell which mean they were decoded from, and the penalty whether it was the same."""
    vae = model(kl_weight=1.0)
    vae.posterior.kernel[...] = vae.posterior.kernel[...].at[:, 4:].set(0.0)
    vae.posterior.bias[...] = vae.posterior.bias[...].at[4:].set(-40.0)
    vae.decoder.kernel[...], vae.decoder.bias[...] = 0.3 * jnp.eye(4, 5), jnp.zeros(5)
    batch = EmbeddingGame().draw(POSITIVES, jnp.arange(3), KEY)._replace(history=HISTORY)
    for key in jax.random.split(KEY, 5):
        mean = np.arctanh(np.asarray(vae.users(None, HISTORY, key), float))[:, :4] / 0.3
        expected = 0.5 * np.mean(np.sum(mean**2 + np.exp(-40) + 40 - 1, axis=1))
        np.testing.assert_allclose(vae.penalty(batch, key), expected, rtol=1e-5)


GAMES = {
    "embedding": EmbeddingGame(), "by turns": EmbeddingGame(feeding="alternate"), "apr": APR(reads_history=True),
    "hard-negative": HardNegatives(reads_history=True), "advinfonce": AdvInfoNCE(reads_history=True),
}  # fmt: skip


@pytest.mark.parametrize("alpha", [0.5, 1.0], ids=["adversarial", "twin"])
@pytest.mark.parametrize("name", ["embedding", "apr", *map(later, ("by turns", "hard-negative", "advinfonce"))])
def test_the_kl_term_is_the_recommenders_and_not_the_adversarys(name, alpha):
    """The loss grows by the weight times the divergence, the parts do not; at weight 0 there is no trace of it."""
    game = replace(GAMES[name], alpha=alpha)
    adversary = ADVERSARIES["own-scores" if name == "hard-negative" else "hardness" if name == "advinfonce" else "fgm"]
    adversary = adversary(5, rngs=nnx.Rngs(1)) if name == "advinfonce" else adversary()
    batch = game.draw(POSITIVES, jnp.arange(3), KEY)

    def of(weight):
        vae = model(kl_weight=weight)
        return game.recommender_loss(vae, adversary, batch, KEY), game.adversary_loss(adversary, vae, batch, KEY), vae

    (total, parts), against, vae = of(2.0)
    (plain, same_parts), same_against, without = of(0.0)
    key = KEY if isinstance(game, HardNegatives) else jax.random.split(KEY)[0]
    divergence = float(vae.penalty(batch, key))
    assert divergence > 0.1 and float(without.penalty(batch, key)) == 0
    np.testing.assert_allclose(total - plain, divergence, rtol=1e-4)
    assert parts == same_parts and against == same_against
    if alpha == 1:
        np.testing.assert_allclose(plain, parts["data_loss"], rtol=1e-6)
