"""Fake profiles: what each kind holds, and that they are in train alone."""

import numpy as np
import pytest
from conftest import interactions

from gan_rec.data import Dataset, split, synthetic
from gan_rec.errors import UserError
from gan_rec.robustness.profiles import (
    KINDS,
    fake_profiles,
    inclusion,
    number_of_fakes,
    profile_sizes,
    similarity_to,
    systematic,
    unpopular_targets,
    with_profiles,
)

TARGETS = np.array([3, 17])


@pytest.fixture(scope="module")
def known():
    return synthetic(120, 80, mean_interactions=16, seed=1).parts["all"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_profile_holds_all_targets_and_as_many_items_as_a_real_user(known, kind):
    profiles = fake_profiles(kind, known, 50, TARGETS, np.random.default_rng(0))
    assert profiles.shape == (50, 80) and profiles[:, TARGETS].all()
    real = np.bincount(known.users)
    assert set(profiles.sum(axis=1)) <= set(real)
    assert profiles.sum(axis=1).std() > 0
    assert (fake_profiles(kind, known, 5, TARGETS, np.random.default_rng(0), size=9).sum(axis=1) == 9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_profiles_are_a_function_of_the_seed(known, kind):
    first, again, other = (fake_profiles(kind, known, 8, TARGETS, np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_average_fillers_are_as_frequent_as_among_real_users(known):
    profiles = fake_profiles("average", known, 6000, TARGETS, np.random.default_rng(0), size=12)
    others = np.setdiff1d(np.arange(80), TARGETS)
    counts = known.item_counts()[others]
    expected = 10 * counts / counts.sum()
    assert expected.max() < 1
    error = (expected * (1 - expected) / 6000) ** 0.5
    assert (np.abs(profiles[:, others].mean(axis=0) - expected) < 4.5 * error + 1e-12).all()


def test_random_fillers_are_as_likely_each(known):
    profiles = fake_profiles("random", known, 6000, TARGETS, np.random.default_rng(0), size=12)
    frequency = profiles[:, np.setdiff1d(np.arange(80), TARGETS)].mean(axis=0)
    assert np.abs(frequency - 10 / 78).max() < 4.5 * (10 / 78 * 68 / 78 / 6000) ** 0.5


def test_half_of_bandwagon_fillers_are_among_the_most_popular(known):
    profiles = fake_profiles("bandwagon", known, 20, TARGETS, np.random.default_rng(0), size=12)
    others = np.setdiff1d(np.arange(80), TARGETS)
    popular = others[np.argsort(-known.item_counts()[others], kind="stable")[:5]]
    assert profiles[:, popular].all()
    assert len(np.flatnonzero(profiles.any(axis=0))) > 30


def test_segment_fillers_are_those_of_the_targets_users():
    board = interactions([(u, i) for u in range(20) for i in range(20) if u % 2 == i % 2])
    profiles = fake_profiles("segment", board, 10, np.array([4]), np.random.default_rng(0), size=5)
    assert not profiles[:, 1::2].any() and profiles[:, 4].all()
    assert similarity_to(board, np.array([4]))[:4].tolist() == [1.0, 0.0, 1.0, 0.0]


def test_fillers_are_candidates_alone(known):
    from dataclasses import replace

    few = replace(known, candidates=np.arange(80) < 40)
    for kind in KINDS:
        assert not fake_profiles(kind, few, 20, TARGETS, np.random.default_rng(0))[:, 40:].any()


def test_chances_of_systematic_sampling_are_capped_and_sum_up():
    weights = np.array([8.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    assert np.allclose(inclusion(weights, 2), [1, 0.25, 0.25, 0.25, 0.25, 0])
    assert inclusion(weights, 5).tolist() == [1, 1, 1, 1, 1, 0]
    rng = np.random.default_rng(0)
    drawn = [systematic(weights, 2, rng) for _ in range(400)]
    assert all(len(set(each)) == 2 and 0 in each and 5 not in each for each in drawn)
    assert len(systematic(weights, 0, rng)) == 0


def test_targets_are_unpopular_but_somebody_has_them(known):
    targets = unpopular_targets(known, 5, np.random.default_rng(0))
    counts = known.item_counts()
    assert len(set(targets)) == 5 and (counts[targets] > 0).all()
    assert (counts[targets] <= np.median(counts[counts > 0])).all()
    assert np.array_equal(targets, unpopular_targets(known, 5, np.random.default_rng(0)))


def test_a_budget_is_a_part_of_the_users(known):
    assert number_of_fakes(known, 0.05) == 6 and number_of_fakes(known, 0.001) == 1


def test_fakes_are_new_users_in_train_alone(small_split):
    profiles = fake_profiles("average", small_split.train, 4, TARGETS, np.random.default_rng(0))
    poisoned = with_profiles(small_split, profiles)
    real = small_split.train.n_users
    for part in (poisoned.train, poisoned.valid, poisoned.open_test()):
        assert part.n_users == real + 4 and len(set(part.user_ids.tolist())) == real + 4
    assert poisoned.valid.users.max() < real and poisoned.open_test().users.max() < real
    fakes = poisoned.train.select(poisoned.train.users >= real)
    rows = np.zeros((4, 45), bool)
    rows[fakes.users - real, fakes.items] = True
    assert np.array_equal(rows, profiles)
    before = poisoned.train.select(poisoned.train.users < real)
    assert np.array_equal(before.users, small_split.train.users)
    assert np.array_equal(before.items, small_split.train.items)
    assert len(poisoned.train_and_valid()) == len(small_split.train_and_valid()) + profiles.sum()


def test_new_ids_collide_with_none():
    from dataclasses import replace

    world = synthetic(12, 20, mean_interactions=8, seed=0)
    ids = np.array([f"fake-{u}" for u in range(12)], object)
    renamed = Dataset("x", {"all": replace(world.parts["all"], user_ids=ids)}, (), None, "0" * 64)
    cut = split(renamed, "random")
    poisoned = with_profiles(cut, np.ones((3, 20), bool))
    assert len(set(poisoned.train.user_ids.tolist())) == 15


def test_sizes_have_room_for_the_targets():
    pairs = interactions([(0, 0), (1, 0), (1, 1), (2, 0)], 3, 6)
    assert (profile_sizes(pairs, 40, 2, np.random.default_rng(0)) == 2).all()


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"kind": "love"}, "unknown attack 'love'; allowed: random, average, bandwagon, segment"),
        ({"n": 0}, "the number of fake profiles must be at least 1, got 0"),
        ({"targets": np.array([1, 1])}, "targets must be different items from 0 to 79, got [1, 1]"),
        ({"targets": np.array([80])}, "targets must be different items from 0 to 79, got [80]"),
        ({"size": 1}, "a fake profile's size must be 2 (the targets) to 80 (all items), got 1"),
    ],
)
def test_what_is_not_possible_is_told(known, wrong, said):
    asked = {"kind": "random", "n": 3, "targets": TARGETS, "size": None} | wrong
    with pytest.raises(UserError) as error:
        fake_profiles(asked["kind"], known, asked["n"], asked["targets"], np.random.default_rng(0), asked["size"])
    assert str(error.value) == said


def test_budgets_and_numbers_of_targets_have_bounds(known):
    for budget in (0, -0.1, 1.5):
        with pytest.raises(UserError, match="a budget is a part of the users"):
            number_of_fakes(known, budget)
    with pytest.raises(UserError, match="targets must be 1 to"):
        unpopular_targets(known, 79, np.random.default_rng(0))
