"""Automatic alpha: each rule moves the weight where its idea says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import checkerboard

import gan_rec
from gan_rec.data.sampling import to_device
from gan_rec.experiments import players
from gan_rec.experiments.settings import Settings
from gan_rec.train.balance import rebalance
from gan_rec.train.epoch import init

TRAIN, VALID, _ = checkerboard(16)


def state_of(**options):
    settings = Settings(recommender="mf", adversary="fgm", dim=6, batch_size=32, seeds=2, **options).resolved()
    makers = players.make_recommender(settings, 16, 16), players.make_adversary(settings, 16, 16)
    game, schedule = players.make_game(settings), players.make_schedule(settings)
    keys = jax.random.split(jax.random.key(0), 2)
    return init(*makers, schedule, keys, settings.alpha), game, schedule, keys


def step(rule, state, game, schedule, keys, held_out=VALID):
    capacity = len(TRAIN) + len(VALID)
    parts = to_device(TRAIN, capacity), to_device(held_out, capacity)
    return np.asarray(rebalance(state, *parts, game, schedule, keys, rule=rule))


def test_gradient_rule_keeps_a_balance_that_holds():
    """With a radius of nearly 0 both gradients are the same, so alpha goes to 1/2 and stays there."""
    state, *rest = state_of(epsilon=1e-4, alpha=0.5)
    np.testing.assert_allclose(step("gradient", state, *rest), 0.5, atol=5e-3)
    low = state._replace(alpha=jnp.full(2, 0.1))
    np.testing.assert_allclose(step("gradient", low, *rest), 0.9 * 0.1 + 0.1 * 0.5, atol=5e-3)


def test_gradient_rule_gives_the_weaker_term_the_larger_weight():
    """A large perturbation has the larger gradient: alpha, the data's weight, rises."""
    state, *rest = state_of(epsilon=1.0, alpha=0.5)
    assert (step("gradient", state, *rest) > 0.5).all()


def test_validation_rule_follows_the_held_out_loss():
    """Held-out pairs that are the training pairs want the data term; alpha rises."""
    state, *rest = state_of(epsilon=1.5, alpha=0.5)
    assert (step("validation", state, *rest, held_out=TRAIN) > 0.5).all()


@pytest.mark.parametrize("rule", ["gradient", "validation"])
def test_alpha_stays_inside(rule):
    state, *rest = state_of(epsilon=0.5, alpha=0.5)
    for extreme in (1e-4, 1 - 1e-4):
        alpha = step(rule, state._replace(alpha=jnp.full(2, extreme)), *rest)
        assert ((alpha >= 0.05) & (alpha <= 0.95)).all()


@pytest.mark.parametrize(
    ("game", "options"),
    [("embedding", {}), *(pytest.param(game, options, marks=pytest.mark.long)
                          for game, options in (("cfgan", {}), ("irgan", {"recommender": "mf"})))],
)  # fmt: skip
@pytest.mark.parametrize("rule", ["gradient", "validation"])
def test_fit_records_alpha_and_the_refit_keeps_the_chosen_one(small_split, game, options, rule):
    model = gan_rec.fit(
        small_split, game=game, balance=rule, alpha=0.5, seeds=2, dim=8, batch_size=16, epochs=6, evaluate_every=2,
        warm_up=0, progress=False, **options,
    )  # fmt: skip
    history = model.history.query("phase == 'selection'")
    alphas = history.pivot(index="epoch", columns="seed", values="alpha")
    assert (alphas.loc[1] == 0.5).all() and (alphas.loc[6] != 0.5).all()
    chosen = [alphas[seed].loc[epoch] for seed, epoch in enumerate(model.chosen_epochs)]
    np.testing.assert_allclose(model.weights.selected.alpha, chosen, rtol=1e-6)
    np.testing.assert_allclose(model.weights.final.alpha, chosen, rtol=1e-6)


@pytest.mark.long
def test_a_changed_weight_does_not_compile_the_epoch_anew(small_split):
    from gan_rec.train.epoch import epoch

    options = dict(recommender="mf", seeds=1, dim=11, epochs=4, evaluate_every=2, progress=False)
    before = epoch._cache_size()
    gan_rec.fit(small_split, balance="gradient", **options)
    gan_rec.fit(small_split, balance="fixed", alpha=0.3, **options)
    assert epoch._cache_size() == before + 1


def test_the_twin_has_no_weight_to_set(small_split):
    """With alpha 1 nothing is balanced away from it."""
    state, game, schedule, keys = state_of(epsilon=0.5, alpha=1.0)
    assert not bool(replace(game, alpha=1.0).plays)
    from gan_rec.experiments.run import model_settings

    settings = Settings(balance="gradient").resolved()
    assert model_settings(settings)["twin"].balance == "fixed"
