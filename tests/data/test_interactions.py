import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_rec.data import Dataset, Interactions, load, named_datasets, split, synthetic
from gan_rec.errors import UserError


def frame(rows, columns=("user", "item", "rating", "time")):
    return pd.DataFrame(rows, columns=list(columns)[: len(rows[0])])


@pytest.fixture
def whole() -> Interactions:
    rows = [("u-1", 10, 5.0, 3), ("u-2", 11, 1.0, 2), ("u-1", 11, 4.0, 1), ("u-3", 12, 2.0, 9)]
    return load(frame(rows)).parts["all"]


def test_shapes_and_types(whole):
    assert (len(whole), whole.n_users, whole.n_items) == (4, 3, 3)
    types = [array.dtype for array in (whole.users, whole.items, whole.ratings, whole.times)]
    assert types == [np.int32, np.int32, np.float32, np.int64]
    assert whole.user_ids.tolist() == ["u-1", "u-2", "u-3"] and whole.item_ids.tolist() == [10, 11, 12]


def test_to_frame_gives_back_what_was_loaded(whole):
    assert whole.to_frame().to_dict("list") == {
        "user": ["u-1", "u-2", "u-1", "u-3"], "item": [10, 11, 11, 12], "rating": [5, 1, 4, 2], "time": [3, 2, 1, 9],
    }  # fmt: skip
    assert load(whole.to_frame()).parts["all"].sha256() == whole.sha256()


def test_select_by_mask_and_by_indices_keeps_all_ids(whole):
    mask = whole.select(whole.ratings >= 4)
    assert mask.to_frame().values.tolist() == whole.select(np.array([0, 2])).to_frame().values.tolist()
    assert mask.to_frame()["item"].tolist() == [10, 11] and mask.n_users == 3


def test_concat(whole):
    one, two = whole.select(np.array([0, 1])), whole.select(np.array([2, 3]))
    pd.testing.assert_frame_equal(one.concat(two).to_frame(), whole.to_frame())
    bare = Interactions(two.users, two.items, two.user_ids, two.item_ids, two.ratings)
    joined = one.concat(bare)
    assert joined.times is None and joined.ratings.tolist() == [5, 1, 4, 2]
    with pytest.raises(ValueError, match="same item_ids"):
        one.concat(Interactions(two.users, two.items, two.user_ids, two.item_ids + 1))


def test_sha256_knows_pairs_and_ids_but_no_order(whole):
    assert whole.select(np.array([3, 1, 0, 2])).sha256() == whole.sha256()
    assert whole.select(np.array([0, 1, 2])).sha256() != whole.sha256()
    renamed = Interactions(whole.users, whole.items, whole.user_ids, whole.item_ids + 1)
    assert renamed.sha256() != whole.sha256()
    swapped = Interactions(whole.items, whole.users, whole.user_ids, whole.item_ids)
    assert swapped.sha256() != whole.sha256()
    assert len(whole.sha256()) == 64


def test_what_notebooks_show(whole):
    assert repr(whole) == "Interactions(4 pairs, 3 users, 3 items)"
    assert "44.44%" in whole._repr_html_()
    data = Dataset("<b>", {"train": whole, "test": whole}, ("a < b",), None, "0" * 64)
    assert repr(data) == "Dataset('<b>': 3 users, 3 items; train 4, test 4)"
    assert "a &lt; b" in data._repr_html_() and "<b><b>" not in data._repr_html_()
    assert "<ul>" not in Dataset("few", {"all": whole}, (), None, "0" * 64)._repr_html_()
    cut = split(synthetic())
    assert "validation" in cut._repr_html_() and "Interactions" in repr(cut)


def test_the_test_part_hides(whole):
    cut = split(synthetic())
    assert "_test" not in repr(cut) and not hasattr(cut, "test")
    known = cut.train_and_valid()
    assert len(known) == len(cut.train) + len(cut.valid)
    pairs = {(u, i) for u, i in zip(known.users.tolist(), known.items.tolist(), strict=True)}
    hidden = cut.open_test()
    assert not pairs & {(u, i) for u, i in zip(hidden.users.tolist(), hidden.items.tolist(), strict=True)}


def test_frozen(whole):
    for thing in (whole, synthetic(), split(synthetic())):
        with pytest.raises(FrozenInstanceError):
            thing.name = "other"


def test_the_digest_of_a_split_sees_all_three_parts():
    rows = [(u, i) for u in range(6) for i in range(5)]
    data = {part: load(frame(rows)).parts["all"].select(np.arange(len(rows)) % 3 == n) for n, part in enumerate("abc")}

    def digest(train, valid, test):
        return split(Dataset("d", {"train": train, "valid": valid, "test": test}, (), None, "")).sha256

    whole = digest(data["a"], data["b"], data["c"])
    for which in range(3):
        parts = list(data.values())
        parts[which] = parts[which].select(np.arange(len(parts[which]) - 1))
        assert digest(*parts) != whole


# Duplicates, positives, cores


def test_the_first_of_duplicates_is_kept_before_positives_are_chosen():
    data = load(frame([("a", 1, 2), ("b", 2, 5), ("a", 1, 5), ("c", 1, 4)]), positive_from=4)
    assert data.parts["all"].to_frame().values.tolist() == [["b", 2, 5], ["c", 1, 4]]
    assert data.notes == (
        "dataframe: 1 duplicate of a user and item (first: row 3) skipped, the first of each is kept",
        "dataframe: 1 row with a rating below 4 left out",
    )


def naive_core(rows, min_user, min_item):
    while True:
        users, items = [[row[side] for row in rows] for side in (0, 1)]
        kept = [row for row in rows if users.count(row[0]) >= min_user and items.count(row[1]) >= min_item]
        if kept == rows:
            return rows
        rows = kept


@settings(deadline=None, max_examples=80)
@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=20, max_size=60, unique=True),
    least=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_core_equals_the_naive_one(rows, least):
    expected = naive_core(rows, *least)
    if min(len({row[side] for row in expected}) for side in (0, 1)) < 2:
        with pytest.raises(UserError, match="at least 2 users and 2 items are needed"):
            load(frame(rows), min_user=least[0], min_item=least[1])
        return
    whole = load(frame(rows), min_user=least[0], min_item=least[1]).parts["all"]
    assert list(whole.to_frame().itertuples(index=False, name=None)) == expected
    assert set(whole.users) == set(range(whole.n_users)) and set(whole.items) == set(range(whole.n_items))


def test_core_is_noted_with_counts():
    rows = [(u, i) for u in range(3) for i in range(3)] + [(9, 0), (9, 8)]
    assert load(frame(rows), min_user=2, min_item=2).notes == (
        "dataframe: 2 rows of users with < 2 or items with < 2 interactions left out; 3 users and 3 items are left",
    )


def test_too_little_says_what_was_asked():
    rows = [(1, 10, 5), (2, 11, 4), (3, 12, 3)]
    with pytest.raises(UserError, match=r"after filtering \(3 rows read, positive_from 5\); at least 2"):
        load(frame(rows), positive_from=5)
    with pytest.raises(UserError, match=r"no interaction .* \(3 rows read, positive_from 0, min_user 2, min_item 3\)"):
        load(frame(rows), positive_from=0, min_user=2, min_item=3)
    with pytest.raises(UserError, match=r"^dataframe: only one user is left; at least 2 users"):
        load(frame([(1, 10), (1, 11)]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_positive_from_must_be_finite(value):
    with pytest.raises(UserError, match=f"positive_from must be a number, got {value}"):
        load(frame([(1, 10, 5), (2, 11, 4)]), positive_from=value)


# Splits


def test_leave_one_out_without_times_is_random_and_noted():
    data = load(frame([(u, i) for u in range(40) for i in range(6)]))
    one, two = (split(data, "leave-one-out", seed=seed) for seed in (0, 1))
    assert one.notes == ("no timestamps: the last two interactions of a user are random ones",)
    assert one.sha256 != two.sha256 and one.sha256 == split(data, "leave-one-out", seed=0).sha256
    for part in (one.valid, one.open_test()):
        np.testing.assert_array_equal(np.bincount(part.users), np.ones(40))
    assert len(set(one.open_test().items.tolist())) > 1


def test_users_with_few_interactions():
    data = load(frame([(0, 0), (1, 0), (1, 1)] + [(2, i) for i in range(3)] + [(3, i) for i in range(10)]))
    cut = split(data, "random", test_fraction=0.6, valid_fraction=0.5)
    sizes = [np.bincount(part.users, minlength=4).tolist() for part in (cut.train, cut.valid, cut.open_test())]
    assert sizes == [[1, 1, 1, 2], [0, 0, 0, 2], [0, 1, 2, 6]]


def test_a_negative_seed_is_refused():
    with pytest.raises(UserError, match="seed of a split must be 0 or more, got -1"):
        split(synthetic(), seed=-1)


# The synthetic world


def test_synthetic_ids_times_and_positives():
    world = synthetic(n_users=50, n_items=40, mean_interactions=10, seed=3)
    whole = world.parts["all"]
    assert (world.n_users, world.n_items) == (50, 40)
    assert whole.user_ids[17] == "u-17" and whole.item_ids[5] == "i-5"
    assert (np.diff(whole.times) > 0).all()
    counts = np.bincount(whole.users, minlength=50)
    assert counts.min() >= 5 and counts.max() <= 15 and len(set(counts)) > 3


def test_synthetic_has_a_long_tail():
    popularity = np.sort(np.bincount(synthetic().parts["all"].items, minlength=200))[::-1]
    assert popularity[:20].sum() > 0.2 * popularity.sum() > 20 * popularity[-100:].mean()


def test_synthetic_tastes_can_be_learnt():
    """A plain truncated SVD of the train part must find far more of the test part than popularity does."""
    cut = split(synthetic(), "random", seed=0)
    known, test = cut.train_and_valid(), cut.open_test()
    matrix = np.zeros((known.n_users, known.n_items))
    matrix[known.users, known.items] = 1
    u, s, v = np.linalg.svd(matrix, full_matrices=False)

    def hits(scores):
        best = np.argsort(-np.where(matrix > 0, -np.inf, scores), axis=1)[:, :10]
        return np.mean((best[test.users] == test.items[:, None]).any(1))

    learnt, popular = hits((u[:, :6] * s[:6]) @ v[:6]), hits(np.tile(matrix.sum(0), (known.n_users, 1)))
    assert learnt > 1.5 * popular > 1.5 * 10 / known.n_items


def test_synthetic_obeys_the_filters():
    assert load("synthetic", min_item=30).n_items < 200
    assert load("synthetic").terms == next(d for d in named_datasets() if d.name == "synthetic").terms


def test_the_data_layer_imports_no_jax():
    code = "import sys, gan_rec.data; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
