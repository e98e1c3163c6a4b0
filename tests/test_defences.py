"""Defences: who is left out, and that nobody is without a reason."""

import numpy as np
import pytest
from conftest import interactions

from gan_rec.data import split, synthetic
from gan_rec.robustness.defences import DEFENCES, TRIMMED, filtered, promoted_items, trimmed, without_users
from gan_rec.robustness.detection import SIMULATED
from gan_rec.robustness.profiles import fake_profiles, unpopular_targets, with_profiles


@pytest.fixture(scope="module")
def world():
    return split(synthetic(300, 300, mean_interactions=24, skew=1.0, seed=2), "random", seed=0)


@pytest.mark.parametrize("kind", ["random", "bandwagon"])
def test_the_filter_finds_fakes_of_a_kind_that_it_has_not_seen(kind, world):
    real = world.train.n_users
    targets = unpopular_targets(world.train, 5, np.random.default_rng(0))
    profiles = fake_profiles(kind, world.train, 9, targets, np.random.default_rng(0))
    poisoned = with_profiles(world, profiles)
    dropped = filtered(poisoned.train, tuple(k for k in SIMULATED if k != kind), 0)
    assert dropped[real:].mean() >= 0.75 and dropped[:real].mean() <= 0.03


def test_the_filter_spares_real_users(world):
    assert filtered(world.train, SIMULATED, 0).mean() <= 0.02


def test_promoted_items_are_those_that_suspects_share():
    rng = np.random.default_rng(0)
    pairs = {(u, int(i)) for u in range(40) for i in rng.choice(20, 5, replace=False)}
    pairs |= {(u, 20) for u in range(36, 40)} | {(0, 21), (1, 21), (36, 21)}
    known = interactions(sorted(pairs), 40, 22)
    suspects = np.arange(40) >= 36
    assert promoted_items(known, suspects).tolist() == [20]
    assert promoted_items(known, np.zeros(40, bool)).tolist() == []


def test_trimming_leaves_out_those_whose_items_do_not_go_together():
    pairs = [(u, i) for u in range(60) for i in range(16) if u % 2 == i % 2 and (u + i) % 5]
    mixed = [(60, 0), (60, 1), (60, 2), (60, 3), (60, 4), (60, 5), (61, 0), (61, 2), (62, 1), (62, 3)]
    known = interactions(pairs + mixed, 63, 16)
    dropped = trimmed(known)
    assert dropped[60] and dropped.sum() == int(TRIMMED * 63)


def test_users_left_out_lose_train_pairs_alone(world):
    dropped = np.arange(world.train.n_users) < 3
    less = without_users(world, dropped)
    assert less.train.users.min() == 3 and less.train.n_users == world.train.n_users
    assert len(less.train) == np.sum(world.train.users >= 3)
    assert less.valid is world.valid and less.open_test() is world.open_test()


def test_every_defence_says_what_it_does():
    assert all(defence.about and defence.training for defence in DEFENCES.values())
    assert DEFENCES["none"].suspects is None and DEFENCES["none"].training == "plain"
