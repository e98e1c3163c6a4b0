import numpy as np
import pytest
from conftest import interactions
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_rec.data import Dataset, Interactions, folds, split, synthetic
from gan_rec.errors import UserError


def dataset(pairs, times=None):
    whole = interactions(pairs)
    if times is not None:
        whole = Interactions(**{**vars(whole), "times": np.asarray(times, float)})
    return Dataset("d", {"all": whole}, notes=(), terms=None, sha256="")


def rows(part):
    return list(zip(part.users.tolist(), part.items.tolist(), strict=True))


def parts(cut):
    return cut.train, cut.valid, cut.open_test()


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=12),
    fractions=st.tuples(st.floats(0.05, 0.9), st.floats(0.05, 0.9)),
    method=st.sampled_from(["random", "leave-one-out", "temporal"]),
    seed=st.integers(0, 5),
)
def test_parts_add_up_to_the_input(counts, fractions, method, seed):
    pairs = [(u, i) for u, n in enumerate(counts) for i in range(n)]
    data = dataset(pairs, times=np.random.default_rng(seed).integers(0, 50, len(pairs)))
    try:
        cut = split(data, method, test_fraction=fractions[0], valid_fraction=fractions[1], seed=seed)
    except UserError as error:
        assert "leaves no" in str(error)
        return
    joined = [row for part in parts(cut) for row in rows(part)]
    assert sorted(joined) == sorted(pairs), "every row in one part, and in one only"
    if method != "temporal":
        assert set(cut.train.users) == set(range(len(counts))), "every user keeps a row for training"
    if method == "random":
        held_out = np.bincount(cut.open_test().users, minlength=len(counts))
        expected = np.minimum(np.floor(np.array(counts) * fractions[0] + 0.5), np.array(counts) - 1)
        np.testing.assert_array_equal(held_out, expected)


def test_seeds():
    world = synthetic()
    assert split(world, "random", seed=1).sha256 == split(world, "random", seed=1).sha256
    assert split(world, "random", seed=1).sha256 != split(world, "random", seed=2).sha256


def test_random_split_is_the_same_on_every_machine():
    assert split(synthetic(), "random", seed=0).sha256[:16] == "084e8c82aa3ef4bb"


def test_leave_one_out_takes_the_last():
    data = dataset([(0, 0), (0, 1), (0, 2), (1, 0), (1, 3), (2, 1)], times=[9, 3, 5, 2, 1, 0])
    cut = split(data, "leave-one-out")
    assert rows(cut.open_test()) == [(0, 0), (1, 0)]
    assert rows(cut.valid) == [(0, 2)]
    assert rows(cut.train) == [(0, 1), (1, 3), (2, 1)]


def test_temporal_cuts_at_a_time():
    data = dataset([(u, i) for u in range(5) for i in range(20)], times=np.random.default_rng(0).permutation(100))
    train, valid, test = parts(split(data, "temporal"))
    assert (len(train), len(valid), len(test)) == (64, 16, 20)
    assert train.times.max() < valid.times.min() and valid.times.max() < test.times.min()


def test_fixed_split_gets_a_validation_part_from_train_only():
    train = interactions([(u, i) for u in range(4) for i in range(10)], 4, 12)
    test = interactions([(0, 11), (3, 10)], 4, 12)
    data = Dataset("d", {"train": train, "test": test}, notes=(), terms=None, sha256="")
    cut = split(data)
    assert cut.method == "fixed" and "20% of every user's train" in cut.notes[0]
    np.testing.assert_array_equal(np.bincount(cut.valid.users), [2, 2, 2, 2])
    assert sorted(rows(cut.train) + rows(cut.valid)) == sorted(rows(train))
    assert rows(cut.open_test()) == rows(test)


def test_a_validation_part_of_its_own_is_kept():
    one, two, three = (interactions([(u, i) for u in range(2)], 2, 3) for i in range(3))
    cut = split(Dataset("d", {"train": one, "valid": two, "test": three}, notes=(), terms=None, sha256=""))
    assert rows(cut.valid) == rows(two)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "magic"},
            "unknown split 'magic'; allowed: random, leave-one-out, leave-five-out, temporal, cold-items, links, fixed",
        ),
        ({"method": "fixed"}, "brings no split of its own"),
        ({"method": "temporal"}, "needs timestamps"),
        ({"test_fraction": 0}, "test_fraction must lie between 0 and 1, got 0"),
        ({"valid_fraction": 1.0}, "valid_fraction must lie between 0 and 1, got 1.0"),
        ({"test_fraction": 0.01}, "leaves no test interaction"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        split(dataset([(u, i) for u in range(3) for i in range(4)]), **options)


def test_other_methods_are_refused_where_a_split_is_fixed():
    part = interactions([(0, 0), (1, 1)])
    data = Dataset("d", {"train": part, "test": part}, notes=(), terms=None, sha256="")
    with pytest.raises(UserError, match="brings its own split; allowed: fixed, got random"):
        split(data, "random")


def test_splits_do_not_show_the_test_part():
    cut = split(synthetic())
    assert "_test" not in repr(cut)
    assert cut.train.sha256() != cut.valid.sha256()


def test_cold_items_are_in_one_part_each():
    world = synthetic()
    train, valid, test = parts(cut := split(world, "cold-items", seed=3))
    assert (test.candidates.sum(), valid.candidates.sum()) == (20, 18), "10% of 200 items, 10% of the other 180"
    assert (train.candidates.astype(int) + valid.candidates + test.candidates == 1).all()
    assert sorted(row for part in (train, valid, test) for row in rows(part)) == sorted(rows(world.parts["all"]))
    for part in (train, valid, test):
        assert part.candidates[part.items].all()
    assert (cut.candidates == test.candidates).all()
    known = cut.train_and_valid()
    assert (known.candidates == ~test.candidates).all() and len(known) == len(train) + len(valid)
    assert "20 cold items are ranked in test, 18 others in validation" in cut.notes


def test_cold_items_fractions_and_seeds():
    cut = split(synthetic(), "cold-items", test_fraction=0.5, valid_fraction=0.25)
    assert (cut.candidates.sum(), cut.valid.candidates.sum()) == (100, 25)
    digests = {split(synthetic(), "cold-items", seed=seed).sha256 for seed in (0, 0, 1)}
    assert len(digests) == 2


def test_an_item_that_nobody_had_can_be_a_candidate():
    whole = interactions([(u, i) for u in range(6) for i in range(10)], 6, 40)
    data = Dataset("d", {"all": whole}, notes=(), terms=None, sha256="")
    cut = split(data, "cold-items", test_fraction=0.5, valid_fraction=0.5, seed=0)
    assert cut.candidates.sum() == 20
    assert 0 < len(np.unique(cut.open_test().items)) < 20


def test_other_splits_rank_the_whole_catalogue():
    cut = split(synthetic())
    assert cut.candidates is None and cut.train.candidates is None


@settings(deadline=None, max_examples=60)
@given(counts=st.lists(st.integers(1, 30), min_size=2, max_size=12), k=st.integers(2, 6), seed=st.integers(0, 5))
def test_folds_test_every_interaction_once(counts, k, seed):
    counts = [4, *counts]
    pairs = [(u, i) for u, n in enumerate(counts) for i in range(n)]
    try:
        cuts = list(folds(dataset(pairs), k, seed))
    except UserError as error:
        assert "leaves no" in str(error) or "folds must be 2 to" in str(error)
        return
    assert [cut.method for cut in cuts] == [f"fold {n + 1} of {k}" for n in range(k)]
    tested = [(u, i) for u, i in pairs if counts[u] > 1]
    assert sorted(row for cut in cuts for row in rows(cut.open_test())) == tested
    sizes = [len(cut.open_test()) for cut in cuts]
    assert max(sizes) - min(sizes) <= 1
    own = np.array([np.bincount(cut.open_test().users, minlength=len(counts)) for cut in cuts])
    assert (own.max(axis=0) - own.min(axis=0) <= 1).all()
    for cut in cuts:
        assert sorted(row for part in parts(cut) for row in rows(part)) == sorted(pairs)
        assert (np.bincount(cut.train.users, minlength=len(counts)) > 0).all(), "everybody is trained on"
        rest = np.bincount(cut.train_and_valid().users, minlength=len(counts))
        wanted = np.minimum(np.floor(rest * 0.2 + 0.5), rest - 1)
        np.testing.assert_array_equal(np.bincount(cut.valid.users, minlength=len(counts)), wanted)


def test_folds_are_random_and_seeded():
    first, again, other = (next(folds(synthetic(), 4, seed)) for seed in (0, 0, 1))
    assert first.sha256 == again.sha256
    assert first.open_test().sha256() != other.open_test().sha256()
    tested = next(folds(dataset([(0, i) for i in range(40)] + [(1, 0)]), 4)).open_test().items
    assert set(np.diff(tested)) != {4}, "not every fourth as they come"
    lonely = dataset([(0, i) for i in range(9)] + [(1, 0)])
    assert next(folds(lonely, 3)).notes == ("1 user with a single interaction, never tested",)


def test_folds_that_are_not_possible():
    fixed = Dataset("d", dict.fromkeys(("train", "test"), interactions([(0, 0), (1, 1)])), (), None, "")
    with pytest.raises(UserError, match="d brings its own split, so it cannot be cut into folds"):
        folds(fixed, 2)
    few = dataset([(0, 0), (0, 1), (1, 0)])
    for k in (1, 3, 2.0):
        with pytest.raises(UserError, match=r"folds must be 2 to 2 .*, got"):
            folds(few, k)
    with pytest.raises(UserError, match="seed of a split must be 0 or more"):
        folds(few, 2, -1)
