"""Natural shifts: what is drawn, what is ranked, and what both models then make of it."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL_TRAINING, interactions
from flax import nnx

import gan_rec
from gan_rec.data import Dataset
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation
from gan_rec.experiments.cells import Cell, compare_cells
from gan_rec.experiments.natural import by_month, natural_shifts, shifts_text, with_times
from gan_rec.experiments.settings import DataOptions, Settings
from gan_rec.recommenders import Autoencoder, MatrixFactorization, Mix
from gan_rec.recommenders.baselines.tables import Factors, ItemWeights
from gan_rec.robustness import shifts

PAIRS = [(u, i) for u in range(6) for i in range(20) if (u + i) % 2]  # 10 items each
KNOWN = interactions(PAIRS, 6, 20)


def pairs(some) -> set:
    return set(zip(some.users.tolist(), some.items.tolist(), strict=True))


@pytest.mark.parametrize(("share", "left"), [(0.0, 10), (0.3, 7), (0.25, 7), (1.0, 1)])
def test_drops_leave_a_part_of_each_history(share, left):
    found = shifts.drop(KNOWN, share, seed=1)
    assert pairs(found) <= pairs(KNOWN) and np.all(np.bincount(found.users, minlength=6) == left)


def test_nothing_dropped_or_clicked_is_no_shift():
    assert pairs(shifts.drop(KNOWN, 0.0)) == pairs(shifts.misclick(KNOWN, 0.0)) == pairs(shifts.only(KNOWN, 10))


@pytest.mark.parametrize(("share", "more"), [(0.1, 1), (0.5, 5), (9.0, 10)])
def test_misclicks_are_items_that_nobody_meant(share, more):
    found = shifts.misclick(KNOWN, share, seed=1)
    assert len(pairs(found)) == len(found) and pairs(KNOWN) < pairs(found)
    assert np.all(np.bincount(found.users) == 10 + more)


def test_new_users_have_some_items():
    found = shifts.only(KNOWN, 3)
    assert np.all(np.bincount(found.users) == 3) and pairs(found) != pairs(shifts.only(KNOWN, 3, seed=1))


def test_with_a_cap_of_one_all_items_are_equally_popular():
    assert np.all(shifts.cap(KNOWN, 1).item_counts() == 1) and pairs(shifts.cap(KNOWN, 3)) == pairs(KNOWN)


def test_the_tail_is_the_least_popular_of_what_is_known():
    known = interactions([(u, i) for i in range(5) for u in range(i + 1)], 5, 5)
    truth = interactions([(0, 1), (0, 4), (1, 3), (2, 4)], 5, 5)
    assert pairs(shifts.tail(truth, known)) == {(0, 1), (1, 3)}


def stack(one):
    return jax.tree.map(lambda x: x[None], one)


def test_what_is_read_is_not_what_is_left_out():
    weights = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    less = to_device(shifts.only(KNOWN, 2))
    rows = shifts.reading(stack(ItemWeights(weights)), less)
    scores = np.asarray(rows.user_rows[0] @ rows.item_rows[0].T)
    np.testing.assert_allclose(scores, np.asarray(less.history(jnp.arange(6))) @ weights, atol=1e-5)


def test_new_users_have_no_ids():
    rngs = nnx.Rngs(jax.random.key(0))
    network, factors = (
        Autoencoder(6, 20, 4, rngs=rngs),
        Factors(np.ones((6, 2), np.float32), np.ones((20, 2), np.float32)),
    )
    mix = stack(Mix((network, factors, network), jnp.array([0.3, 0.5, 0.2])))
    np.testing.assert_allclose(shifts.without_ids(mix).weights[...], [[0.3, 0, 0.2]])
    alone = stack(Mix((network, factors), jnp.array([0.0, 1.0])))
    np.testing.assert_allclose(shifts.without_ids(alone).weights[...], [[1.0, 0.0]])
    assert shifts.without_ids(stack(MatrixFactorization(6, 20, 4, rngs=rngs))) is None


def test_differences_of_cells_by_hand():
    def found(values):
        return Evaluation(np.arange(3), {"NDCG@5": np.asarray(values, float)}, {})

    first, second = found([[0.5, 0.5, 0.2], [0.7, 0.1, 0.4]]), found([[0.4, 0.3, 0.2], [0.5, 0.1, 0.3]])
    compared = compare_cells(
        [Cell({"shift": "a"}, {"adversarial": first, "twin": second}, {"twin": {"MiB": 2.0}})], "NDCG@5", (7, 8)
    )
    np.testing.assert_allclose(compared.rows["NDCG@5"], [0.4, 0.4, 0.3, 0.3])
    assert list(compared.rows["seed"]) == [7, 8, 7, 8] and list(compared.rows["MiB"].dropna()) == [2.0, 2.0]
    row = compared.differences.iloc[0]
    np.testing.assert_allclose([row["difference"], row["low"], row["high"]], [0.1, 0.1, 0.1], atol=1e-9)
    assert row["users"] == 3 and row["users low"] < 0.1 < row["users high"] and 0 < row["p (Holm)"] < 1


def test_the_unshifted_row_comes_first_and_no_strength_is_no_shift(small_run):
    limits = {"drops": (0.0, 0.9), "misclicks": (0.0,), "popularity": (1000,)}
    found = natural_shifts(small_run, k=10, strengths=limits, attacks={"fgm": 0.0})
    rows = found.rows.set_index(["shift", "strength", "model"])["NDCG@10"]
    assert list(found.rows["shift"])[:4] == ["none"] * 4 and len(found.rows) == 4 * 7
    for model in ("adversarial", "twin"):
        clean = gan_rec.evaluate(small_run.models[model], ks=(10,)).per_seed("NDCG@10")
        for shift, strength in (("none", 0), ("drops", 0), ("misclicks", 0), ("popularity", 1000), ("fgm", 0)):
            np.testing.assert_allclose(rows[shift, strength, model], clean, rtol=1e-5)
        assert rows["drops", 0.9, model].mean() < clean.mean()
    assert "drops" in shifts_text(found)
    means = found.differences.iloc[0]
    np.testing.assert_allclose(means["difference"], means["adversarial"] - means["twin"], atol=1e-9)


def test_few_items_say_less_of_a_new_user(small_run):
    found = natural_shifts(small_run, k=10, strengths={"new users": (100, 1)}).differences.set_index(
        ["shift", "strength"]
    )
    np.testing.assert_allclose(found.loc[("new users", 100), "twin"], found.loc[("none", 0), "twin"], rtol=1e-5)
    assert found.loc[("new users", 1), "twin"] < found.loc[("none", 0), "twin"]


def test_mistakes_are_named(small_run):
    with pytest.raises(UserError, match="unknown shift 'wind'; allowed: drops, misclicks, new users, popularity"):
        natural_shifts(small_run, strengths={"wind": (1,)})
    with pytest.raises(UserError, match="unknown attack 'wind'"):
        natural_shifts(small_run, strengths={}, attacks={"wind": 1.0})
    data = Dataset("now", {"all": KNOWN}, notes=(), terms=None, sha256="0" * 64)
    with pytest.raises(UserError, match="needs timestamps, but now has none"):
        natural_shifts(small_run, strengths={}, times=data)


def test_models_that_know_ids_have_no_drops(small_split):
    models = {name: gan_rec.fit(small_split, recommender="mf", progress=False, dim=4, epochs=1, seeds=2)
              for name in ("adversarial", "twin")}  # fmt: skip
    found = natural_shifts(SimpleNamespace(models=models), k=5).differences
    assert list(found["shift"]) == ["none", "popularity", "popularity", "popularity", "tail"]


def test_only_data_with_times_can_be_cut_in_time(tmp_path):
    pairs = [(u, i, 10 * u + i) for u in range(12) for i in range(6)]
    for name, columns in {"with": "user,item,timestamp", "without": "user,item"}.items():
        lines = (",".join(map(str, pair[: columns.count(",") + 1])) for pair in pairs)
        (tmp_path / f"{name}.csv").write_text("\n".join([columns, *lines]))
    found, settings = {}, Settings(recommender="mf").resolved()
    for name in ("with", "without"):
        options = DataOptions(dataset=str(tmp_path / f"{name}.csv"))
        found[name] = with_times(SimpleNamespace(options=options, settings=settings))
    assert found["with"].name == "with.csv" and found["without"] is None


def test_months_are_those_of_the_pairs_and_users_without_a_history_do_not_count():
    day = 24 * 3600
    pairs = [(u, (u + j) % 9, 10**9 + 10 * u + j) for u in range(8) for j in range(4)]  # in September 2001
    pairs += [(u, (u + 5) % 9, 10**9 + 45 * day + u) for u in range(9)]  # in October
    pairs.append((8, 1, 10**9 + 80 * day))  # in November
    users, items, times = map(np.array, zip(*pairs, strict=True))
    whole = replace(interactions(list(zip(users, items, strict=True)), 9, 9), times=times)
    cut = gan_rec.split(Dataset("in time", {"all": whole}, notes=(), terms=None, sha256="0" * 64), "temporal")
    models = {name: gan_rec.fit(cut, recommender="mf", progress=False, dim=2, epochs=1, select_on="R@3", seeds=2)
              for name in ("adversarial", "twin")}  # fmt: skip
    found = by_month(SimpleNamespace(models=models), k=3, least=2).differences
    assert list(found["month"]) == ["2001-10"] and list(found["age"]) == [0], "validation ends there"
    assert found["users"][0] == 6, "of the 7 of October that are test one has no history"
    with pytest.raises(UserError, match="no month of the test part has 7 users"):
        by_month(SimpleNamespace(models=models), k=3, least=7)


def test_without_times_there_are_no_months(small_run):
    with pytest.raises(UserError, match="months need the times"):
        by_month(small_run)


@pytest.mark.long
def test_in_time_both_are_trained_anew():
    data = gan_rec.load("synthetic")
    cut = gan_rec.split(data)
    options = SMALL_TRAINING | {"epochs": 3, "seeds": 1}
    models = {
        name: gan_rec.fit(cut, **options | alpha) for name, alpha in {"adversarial": {}, "twin": {"alpha": 1.0}}.items()
    }
    found = natural_shifts(SimpleNamespace(models=models), strengths={}, times=data).differences
    assert list(found["shift"]) == ["none", "tail", "time", "time, known users"]
    assert found["users"].iloc[3] <= found["users"].iloc[2]
