"""The contract of every recommender x loss x adversary, and what the game must do in its limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import checkerboard
from flax import nnx

from gan_rec.adversaries import ADVERSARIES, FGM, Generator, Noise
from gan_rec.data.sampling import to_device
from gan_rec.games import EmbeddingGame
from gan_rec.recommenders import RECOMMENDERS

LOSSES = ("softmax", "bpr", "sampled-softmax")
GENERATORS = tuple(ADVERSARIES)
CONTRACT = list(itertools.product(RECOMMENDERS, LOSSES, (*GENERATORS, "fgm", "noise")))


def players(recommender="autoencoder", loss="softmax", adversary="generator", **options):
    cls = RECOMMENDERS[recommender]
    train = checkerboard(12)[0]
    made = {"fgm": FGM, "noise": Noise}.get(adversary)
    adversary = made() if made else ADVERSARIES[adversary](8, rngs=nnx.Rngs(1))
    game = EmbeddingGame(loss=loss, reads_history=cls.reads_history, **{"negatives": 2, "hide": 0.5} | options)
    model = cls(train.n_users, train.n_items, 8, rngs=nnx.Rngs(0))
    batch = game.draw(to_device(train), jnp.arange(6), jax.random.key(2))
    return game, model, adversary, batch


@pytest.mark.parametrize(("recommender", "loss", "adversary"), CONTRACT)
def test_contract(recommender, loss, adversary):
    game, model, adversary, batch = players(recommender, loss, adversary)
    key = jax.random.key(3)
    for module in (model, adversary):
        assert not nnx.split(module, nnx.Param, ...)[2], "a player may keep Params only"

    both = jax.jit(jax.value_and_grad(game.recommender_loss, has_aux=True))
    (value, parts), gradient = both(model, adversary, batch, key)
    assert value.shape == () and np.isfinite(value)
    assert set(parts) == set(game.metrics)
    for name, leaf in nnx.to_flat_state(nnx.state(gradient)):
        assert np.isfinite(leaf[...]).all(), name
        assert np.abs(leaf[...]).max() > 0, f"{name} gets no gradient"

    if jax.tree.leaves(adversary):
        gradient = jax.jit(jax.grad(game.adversary_loss))(adversary, model, batch, key)
        for name, leaf in nnx.to_flat_state(nnx.state(gradient)):
            assert np.abs(leaf[...]).max() > 0, f"{name} of the adversary gets no gradient"


@pytest.mark.parametrize(("recommender", "loss"), list(itertools.product(RECOMMENDERS, LOSSES)))
def test_adversary_learns_to_raise_the_loss(recommender, loss):
    """Trained against a frozen recommender, the generator does more harm than random noise."""
    game, model, generator, batch = players(recommender, loss, epsilon=0.5)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(generator, opt, key):
        gradient = jax.grad(game.adversary_loss)(generator, model, batch, key)
        updates, opt = optimizer.update(gradient, opt)
        return optax.apply_updates(generator, updates), opt

    opt = optimizer.init(generator)
    for key in jax.random.split(jax.random.key(0), 150):
        generator, opt = step(generator, opt, key)
    data_loss = game.loss_of(model, batch)
    rows = game.representations(model, batch, None)

    @jax.jit
    def attacked(adversary):
        keys = jax.random.split(jax.random.key(9), 50)
        return jnp.mean(jax.vmap(lambda k: data_loss(*game.attack(adversary, data_loss, *rows, k)))(keys))

    assert attacked(generator) > attacked(Noise())
    assert attacked(FGM()) > attacked(Noise())


def test_alpha_one_is_the_data_loss_to_the_bit():
    """The adversary's branch is not merely weighted by zero: its presence must not touch the twin's numbers."""
    game, model, generator, batch = players(alpha=1.0)

    def twin_loss(model, key):
        tower_key, _ = jax.random.split(key)
        return game.loss_of(model, batch)(*game.representations(model, batch, tower_key))

    key = jax.random.key(4)
    with_adversary = jax.jit(jax.grad(lambda m: game.recommender_loss(m, generator, batch, key)[0]))(model)
    without = jax.jit(jax.grad(lambda m: twin_loss(m, key)))(model)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), with_adversary, without))


def test_epsilon_zero_makes_both_losses_equal():
    game, model, generator, batch = players(epsilon=0.0)
    parts = game.recommender_loss(model, generator, batch, jax.random.key(0))[1]
    np.testing.assert_allclose(parts["adversarial_loss"], parts["data_loss"], rtol=1e-6)
    assert -game.adversary_loss(generator, model, batch, jax.random.key(0)) == pytest.approx(parts["data_loss"])


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_alpha_weighs_the_parts(alpha):
    game, model, generator, batch = players(alpha=alpha, epsilon=0.3)
    joint, parts = game.recommender_loss(model, generator, batch, jax.random.key(0))
    assert parts["data_loss"] != parts["adversarial_loss"]
    expected = alpha * parts["data_loss"] + (1 - alpha) * parts["adversarial_loss"]
    np.testing.assert_allclose(joint, expected, rtol=1e-6)


class Runaway(Generator):
    """An adversary that does not care for the ball, whatever the class says that it inherits from."""

    def __call__(self, loss, users, items, key, radius):
        return users + 100.0, items * -50.0


def test_no_adversary_leaves_the_ball():
    game, model, _, batch = players(epsilon=0.2)
    rows = game.representations(model, batch, None)
    moved = game.attack(Runaway(8, rngs=nnx.Rngs(0)), None, *rows, jax.random.key(0))
    for m, r in zip(moved, rows, strict=True):
        distance = np.linalg.norm(m - r, axis=-1) / np.linalg.norm(r, axis=-1)
        np.testing.assert_allclose(distance, 0.2, rtol=1e-4)


def test_hidden_items_are_the_targets_and_nothing_is_lost():
    train = checkerboard(12)[0]
    positives = to_device(train)
    game = EmbeddingGame(hide=0.4)
    batch = game.draw(positives, jnp.arange(12), jax.random.key(0))
    np.testing.assert_array_equal(batch.history + batch.targets, positives.history(batch.users))
    assert 0.25 < float(batch.targets.sum() / len(train)) < 0.55


def test_pairs_hide_the_positive_item_from_the_history():
    train = checkerboard(12)[0]
    game = EmbeddingGame(loss="bpr", negatives=3)
    batch = game.draw(to_device(train), jnp.arange(20), jax.random.key(0))
    np.testing.assert_array_equal(batch.users, train.users[:20])
    np.testing.assert_array_equal(batch.items[:, 0], train.items[:20])
    assert batch.history[np.arange(20), batch.items[:, 0]].sum() == 0
