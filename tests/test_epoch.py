import logging
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import checkerboard

from gan_rec.data.sampling import to_device
from gan_rec.experiments import players
from gan_rec.experiments.settings import Settings
from gan_rec.games.joint import Joint
from gan_rec.train.epoch import Schedule, State, _move_adversary, _move_recommender, epoch, init, play
from gan_rec.train.seeds import epoch_of_seeds

TRAIN, VALID, _ = checkerboard(16)


def setting(**options):
    defaults = {"dim": 6, "batch_size": 5, "seeds": 2, "hidden": 4, "noise": 2}
    settings = Settings(**defaults | options).resolved()
    sizes = TRAIN.n_users, TRAIN.n_items
    makers = players.make_recommender(settings, *sizes), players.make_adversary(settings, *sizes)
    return players.make_game(settings), players.make_schedule(settings), makers


def start(schedule, makers, n_seeds=2):
    return init(*makers, schedule, jax.vmap(jax.random.key)(jnp.arange(n_seeds)))


def equal(a, b) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


KEYS = jax.vmap(jax.random.key)(jnp.arange(2) + 100)


class Saddle(Joint):
    """x y: the recommender x minimises it, the adversary y maximises it. Keeps what was drawn, in base n + 1."""

    metrics = ("rows",)
    plays = True

    def size(self, positives):
        return positives.active.shape[0], positives.n_active

    def draw(self, positives, rows, key):
        return rows

    def recommender_loss(self, x, y, rows, key):
        return x * y, {"rows": jnp.sum(2.0**rows)}

    def adversary_loss(self, y, x, rows, key):
        return -x * y


jax.tree_util.register_static(Saddle)


def test_alternating_steps_equal_a_plain_loop():
    schedule = Schedule(batch_size=4, learning_rate=0.1, weight_decay=0.0, average=0.0, adversary_learning_rate=0.2)
    x = y = jnp.float32(1.0)
    tx, ty = optax.adamw(0.1, weight_decay=0.0), optax.adam(0.2)
    state = State(x, y, tx.init(x), ty.init(y), x, x, jnp.zeros((), jnp.int32))
    state, metrics = play(state, to_device(TRAIN), Saddle(), schedule, jax.random.key(0))

    opt_x, opt_y = tx.init(x), ty.init(y)
    for _ in range(4):  # 16 users in batches of 4, and the adversary moves first
        update, opt_y = ty.update(-x, opt_y, y)
        y = y + update
        update, opt_x = tx.update(y, opt_x, x)
        x = x + update
    np.testing.assert_allclose([state.recommender, state.adversary], [x, y], rtol=1e-6)
    np.testing.assert_allclose(state.average, x, rtol=1e-6)
    assert float(metrics["rows"]) * 4 == 2**16 - 1, "every user must be drawn once"


def test_simultaneous_steps_see_the_other_player_as_it_was():
    schedule = Schedule(batch_size=16, learning_rate=0.1, weight_decay=0.0, average=0.0, moves="simultaneous")
    x, y = jnp.float32(1.0), jnp.float32(-2.0)
    opts = schedule.recommender_optimizer().init(x), schedule.adversary_optimizer().init(y)
    state = State(x, y, *opts, x, x, jnp.zeros((), jnp.int32))
    moved, _ = play(state, to_device(TRAIN), Saddle(), schedule, jax.random.key(0))
    np.testing.assert_allclose([moved.recommender, moved.adversary], [1.1, -1.999], rtol=1e-4)  # steps of the rates


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_simultaneous_moves_play_and_their_twin_does_not(alpha):
    game, schedule, makers = setting(alpha=alpha, moves="simultaneous")
    before = start(schedule, makers)
    after, metrics = epoch(start(schedule, makers), to_device(TRAIN), game, schedule, KEYS)
    assert equal(before.adversary, after.adversary) == (alpha == 1.0)
    assert not equal(before.recommender, after.recommender)
    twin = epoch(start(schedule, makers), to_device(TRAIN), replace(game, alpha=1.0), schedule, KEYS)[0]
    assert equal(twin.recommender, after.recommender) == (alpha == 1.0)


def test_adversary_steps_are_counted():
    schedule = Schedule(batch_size=16, adversary_steps=3, adversary_learning_rate=0.5, average=0.0)
    y = jnp.float32(0.0)
    state = State(y + 1, y, (), schedule.adversary_optimizer().init(y), y, y, jnp.zeros((), jnp.int32))
    moved = _move_adversary(state, Saddle(), schedule, jnp.arange(3), jax.random.key(0))
    np.testing.assert_allclose(moved[0], 1.5, rtol=1e-4)  # three steps of Adam under a constant gradient


@pytest.mark.parametrize("options", [{"recommender": "mf"}, {}], ids=["mf", "autoencoder"])
def test_same_seed_gives_the_same_bits_and_seeds_differ(options):
    game, schedule, makers = setting(**options)
    positives = to_device(TRAIN)
    (a, _), (b, _) = (epoch(start(schedule, makers), positives, game, schedule, KEYS) for _ in range(2))
    assert equal(a, b)
    first, second = (jax.tree.map(lambda x, i=i: x[i], a.recommender) for i in (0, 1))
    assert not equal(first, second)


@pytest.mark.parametrize("options", [{"recommender": "mf"}, {}], ids=["mf", "autoencoder"])
def test_a_seed_plays_alone_as_among_others(options):
    game, schedule, makers = setting(**options)
    schedule = replace(schedule, learning_rate=jnp.array([0.01, 0.02]))  # a seed has its own numbers
    positives, state = to_device(TRAIN), start(schedule, makers)
    alone = [
        epoch(
            jax.tree.map(lambda x, i=i: x[i : i + 1], state), positives, game,
            replace(schedule, learning_rate=schedule.learning_rate[i : i + 1]), KEYS[i : i + 1],
        )
        for i in (0, 1)
    ]  # fmt: skip
    both = jax.tree.map(lambda *x: jnp.concatenate(x), *alone)
    for _ in range(2):  # the first time seed 0 goes first
        assert equal(epoch_of_seeds(jax.tree.map(jnp.copy, state), positives, game, schedule, KEYS), both)
    together = epoch(state, positives, game, schedule, KEYS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), both, together)


def test_recommender_steps_are_counted():
    """Each of them with a key of its own, on the same batch and against the same adversary."""
    schedule = Schedule(batch_size=16, recommender_steps=3, learning_rate=0.5, weight_decay=0.0, average=0.0)
    x = jnp.float32(0.0)
    state = State(x, x + 1, schedule.recommender_optimizer().init(x), (), x, x, jnp.zeros((), jnp.int32))
    moved, _ = _move_recommender(state, Saddle(), schedule, jnp.arange(3), jax.random.key(0))
    np.testing.assert_allclose(moved.recommender, -1.5, rtol=1e-4)


def test_alpha_one_leaves_the_adversary_alone():
    game, schedule, makers = setting(alpha=1.0)
    before = start(schedule, makers)
    after, metrics = epoch(start(schedule, makers), to_device(TRAIN), game, schedule, KEYS)
    assert equal(before.adversary, after.adversary)
    assert not equal(before.recommender, after.recommender)
    assert float(metrics["adversarial_loss"].max()) == 0


def test_each_step_moves_its_own_player():
    game, schedule, makers = setting()
    state = jax.tree.map(lambda x: x[0], start(schedule, makers))
    batch = game.draw(to_device(TRAIN), jnp.arange(5), jax.random.key(0))
    after, _ = jax.jit(_move_recommender)(state, game, schedule, batch, jax.random.key(1))
    assert equal(after.adversary, state.adversary) and not equal(after.recommender, state.recommender)
    adversary, *_ = jax.jit(_move_adversary)(state, game, schedule, batch, jax.random.key(1))
    assert not equal(adversary, state.adversary)


def test_average_is_the_debiased_moving_average():
    game, schedule, makers = setting(average=0.5)
    state, seen = start(schedule, makers), []
    for _ in range(3):
        state, _ = epoch(state, to_device(TRAIN), game, schedule, KEYS)
        seen.append(np.asarray(state.recommender.item_embedding[...]))
    weights = np.array([0.25, 0.5, 1.0])
    expected = np.tensordot(weights / weights.sum(), np.stack(seen), 1)
    np.testing.assert_allclose(state.average.item_embedding[...], expected, rtol=1e-5, atol=1e-6)


def test_weights_that_are_no_numbers_are_reported():
    game, schedule, makers = setting()
    schedule = replace(schedule, learning_rate=1e38, weight_decay=10.0)
    _, metrics = epoch(start(schedule, makers), to_device(TRAIN), game, schedule, KEYS)
    assert not np.asarray(metrics["finite"]).any()


def test_traced_values_and_more_pairs_compile_nothing(caplog):
    game, schedule, makers = setting(recommender="mf", dim=7)
    capacity = len(TRAIN) + len(VALID)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        for alpha, epsilon, rate, pairs in ((0.5, 0.1, 1e-3, TRAIN), (1.0, 0.3, 1e-2, TRAIN.concat(VALID))):
            changed = replace(game, alpha=alpha, epsilon=epsilon), replace(schedule, learning_rate=rate)
            state = start(schedule, makers)
            epoch(state, to_device(pairs, capacity), *changed, KEYS)
    compiled = [r for r in caplog.records if "Finished XLA compilation of jit(epoch)" in r.getMessage()]
    assert len(compiled) == 1


def test_clipping_ramp_and_accumulation_are_those_of_optax():
    x = jnp.array([3.0, -4.0])
    gradients = [jnp.array([30.0, 40.0]), jnp.array([0.03, 0.0]), jnp.array([1.0, 1.0]), jnp.array([0.0, 2.0])]
    schedule = Schedule(learning_rate=0.1, weight_decay=0.0, clip=1.0, ramp=2, accumulate=2)
    optimizer = schedule.recommender_optimizer()
    state, moved = optimizer.init(x), x
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, moved)
        moved = optax.apply_updates(moved, updates)

    expected, plain = x, optax.adam(1.0)
    plain_state = plain.init(x)
    for rate, pair in zip((0.05, 0.1), (gradients[:2], gradients[2:]), strict=True):
        mean = (pair[0] + pair[1]) / 2
        update, plain_state = plain.update(mean / jnp.maximum(1.0, jnp.linalg.norm(mean)), plain_state)
        expected = expected + rate * update
    np.testing.assert_allclose(moved, expected, rtol=1e-5)


def test_the_learning_rate_falls_with_every_step_to_zero():
    schedule = Schedule(learning_rate=0.2, horizon=4.0)
    rates = [float(schedule.at(epochs).learning_rate) for epochs in (0.0, 1.0, 3.5, 4.0, 5.0)]
    np.testing.assert_allclose(rates, [0.2, 0.15, 0.025, 0.0, 0.0], atol=1e-7)
    assert float(replace(schedule, horizon=0.0).at(3.0).learning_rate) == np.float32(0.2)

    game, schedule, makers = setting()
    falling = replace(schedule, horizon=1.0)
    first, _ = epoch(start(schedule, makers), to_device(TRAIN), game, falling, KEYS)
    kept = jax.tree.map(jnp.copy, first.recommender)
    second, _ = epoch(first, to_device(TRAIN), game, falling, KEYS)
    assert equal(kept, second.recommender)  # nothing is left of the rate
    free, _ = epoch(start(schedule, makers), to_device(TRAIN), game, replace(schedule, horizon=1e9), KEYS)
    assert not equal(kept, free.recommender)
