"""Metrics of lists beside their hits, by hand and by slower definitions."""

from dataclasses import replace
from itertools import combinations

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions
from flax import nnx
from scipy import stats
from scipy.sparse import csr_array

from gan_rec.data.sampling import to_device
from gan_rec.evaluation import beyond
from gan_rec.evaluation.evaluate import METRICS, compare_models, evaluate_ranking
from gan_rec.evaluation.metrics import METRICS as PLAIN
from gan_rec.evaluation.metrics import parse

ITEMS = np.array([[[0, 1], [0, 2]], [[0, 1], [0, 1]]])  # two seeds, two users, lists of two
SHOWN = np.array([[[True, True], [True, False]], [[True, True], [True, True]]])
COUNTS = np.array([4, 2, 1, 0])


def test_exposure_and_gini():
    exposed = beyond.exposure(ITEMS, SHOWN, 4)
    np.testing.assert_array_equal(exposed, [[2, 1, 0, 0], [2, 2, 0, 0]])

    def slow(x):  # half the mean distance of two items, relative to the mean
        return np.abs(x[:, None] - x[None]).mean() / (2 * x.mean())

    np.testing.assert_allclose(beyond.gini(exposed), [slow(x) for x in exposed])
    np.testing.assert_allclose(beyond.gini(np.array([[3, 3, 3, 3], [8, 0, 0, 0], [0, 0, 0, 0]])), [0, 3 / 4, 0])


def test_novelty_and_popularity():
    # Of 4 users all had item 0 (0 bits), half item 1 (1 bit); what is not shown says nothing.
    np.testing.assert_allclose(beyond.novelty(ITEMS, SHOWN, COUNTS, 4), [[0.5, 0], [0.5, 0.5]])
    np.testing.assert_allclose(beyond.popularity(ITEMS, SHOWN, COUNTS), [[3, 4], [3, 3]])
    assert beyond.novelty(np.array([[[3]]]), np.array([[[True]]]), COUNTS, 4) == 2


def test_diversity_equals_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    known = (rng.random((9, 6)) < 0.4).astype(float)
    known[:, 5] = 0
    items = np.stack([[rng.permutation(6)[:4] for _ in range(3)]])
    shown = np.ones(items.shape, bool)
    shown[0, 2, 1:] = False  # a list of one has no pairs

    def distance(i, j):
        lengths = np.linalg.norm(known[:, i]) * np.linalg.norm(known[:, j])
        return 1 - known[:, i] @ known[:, j] / lengths if lengths else 1.0

    found = beyond.diversity(items, shown, csr_array(known))
    for user in (0, 1):
        pairs = [distance(i, j) for i in items[0, user] for j in items[0, user] if i != j]
        assert found[0, user] == pytest.approx(np.mean(pairs))
    assert found[0, 2] == 0


def test_groups():
    np.testing.assert_array_equal(beyond.groups(np.array([5, 1, 9, 2, 8, 3])), [1, 0, 2, 0, 2, 1])
    assert set(beyond.groups(np.array([1, 1, 1, 1, 1, 7]))) == {0, 2}
    assert len(set(beyond.groups(np.ones(4)))) == 1
    np.testing.assert_array_equal(beyond.head_and_tail(np.array([9, 1, 5, 1, 2])), [False, True, True, True, True])


class Table(nnx.Module):
    """Scores that are given."""

    reads_history = False

    def __init__(self, scores):
        self.scores = nnx.Param(jnp.asarray(scores, jnp.float32))

    def users(self, ids, history=None, key=None):
        return self.scores[...][ids]

    def items(self, ids=None):
        return jnp.eye(self.scores.shape[-1])

    def score(self, users, items):
        return users @ items.T


def case(candidates=None, density=0.35):
    """Scores of two seeds for 7 users and 10 items, what is known, and what is held out."""
    rng = np.random.default_rng(3)
    chance = density * np.linspace(0.3, 2, 7)[:, None] * np.linspace(0.4, 1.6, 10)
    known = rng.random((7, 10)) < np.minimum(chance, 0.7)
    known[:, 0], known[0, :3] = False, True  # an item of nobody but one; user 0 has three
    held_out = (rng.random((7, 10)) < 0.3) & ~known
    held_out[:, 9] |= ~known[:, 9]
    if candidates is not None:
        known, held_out = known & ~candidates, held_out & candidates
    scores = rng.normal(size=(2, 7, 10))
    truth = replace(interactions(np.argwhere(held_out), 7, 10), candidates=candidates)
    return scores, known, held_out, interactions(np.argwhere(known), 7, 10), truth


def slow(scores, known, held_out, k) -> dict:
    """Every metric of one seed, list by list and pair by pair; users without one are NaN."""
    n_users, n_items = known.shape
    counts, activity = known.sum(axis=0), known.sum(axis=1)
    unpopular = sorted(range(n_items), key=lambda i: (counts[i], i))[: round(0.8 * n_items)]
    users = [u for u in range(n_users) if held_out[u].any()]
    third = {part: sorted(activity[users])[int(np.ceil(part * len(users) / 3)) - 1] for part in (1, 2)}
    found = {name: [] for name in (*beyond.PER_USER, "exposed")}
    for u in users:
        ranked = [i for i in np.argsort(-scores[u]) if not known[u, i]][:k]

        def accuracy(relevant, ranked=ranked):
            ideal = sum(1 / np.log2(r + 2) for r in range(min(k, len(relevant))))
            return sum(1 / np.log2(r + 2) for r, i in enumerate(ranked) if i in relevant) / ideal if ideal else np.nan

        def distance(i, j):
            both = np.linalg.norm(known[:, i]) * np.linalg.norm(known[:, j])
            return 1 - np.sum(known[:, i] & known[:, j]) / both if both else 1.0

        all_of = accuracy(set(np.flatnonzero(held_out[u])))
        found["NDCG-least-active"].append(all_of if activity[u] <= third[1] else np.nan)
        found["NDCG-most-active"].append(all_of if activity[u] > third[2] else np.nan)
        found["NDCG-tail"].append(accuracy(set(np.flatnonzero(held_out[u])) & set(unpopular)))
        found["novelty"].append(np.mean([-np.log2(max(counts[i], 1) / n_users) for i in ranked]))
        found["popularity"].append(np.mean([counts[i] for i in ranked]))
        found["diversity"].append(np.mean([distance(i, j) for i, j in combinations(ranked, 2)]))
        found["exposed"].append([ranked.count(i) for i in range(n_items)])
    x = np.sum(found.pop("exposed"), axis=0)
    return {f"{name}@{k}": np.array(values) for name, values in found.items()} | {
        f"Gini@{k}": np.abs(x[:, None] - x[None]).mean() / (2 * x.mean())
    }


@pytest.mark.parametrize("cells", [2**24, 30])  # lists in one chunk, and in several
def test_an_evaluation_has_them_all(monkeypatch, cells):
    monkeypatch.setattr(beyond, "_CELLS", cells)
    scores, known, held_out, pairs, truth = case()
    seen = to_device(pairs.concat(pairs.select(np.arange(3))), len(pairs) + 5)  # some pairs twice, and padding
    found = evaluate_ranking(Table(scores), seen, truth, (2, 4), beyond_accuracy=True)
    assert np.isnan(found.per_user["NDCG-most-active@4"]).any() and found.defined("NDCG-most-active@4").any()
    for seed in (0, 1):
        for name, values in slow(scores[seed], known, held_out, 4).items():
            mine = found.per_model[name] if name in found.per_model else found.per_user[name]
            np.testing.assert_allclose(mine[seed], values, atol=1e-6, err_msg=name)
            assert found.per_seed(name)[seed] == pytest.approx(np.nanmean(values)), name
    assert "novelty@2" not in found.per_user, "only at the largest cut-off"
    names = {parse(name, METRICS)[0] for name in found.summary()}
    assert names == set(METRICS)
    plain = evaluate_ranking(Table(scores), to_device(pairs), truth, (2, 4))
    assert set(plain.summary()) == {n for n in found.summary() if parse(n, METRICS)[0] in (*PLAIN, "coverage")}


def test_tests_are_over_those_who_have_a_metric():
    scores, _, _, pairs, truth = case()
    first, second = (
        evaluate_ranking(Table(s), to_device(pairs), truth, (4,), beyond_accuracy=True) for s in (scores, -scores)
    )
    tests = compare_models(first, second)
    assert set(tests) == set(first.per_user)
    for name in ("NDCG-least-active@4", "NDCG-tail@4", "diversity@4"):
        a, b = (each.per_user[name].mean(axis=0) for each in (first, second))
        expected = stats.ttest_rel(a, b, nan_policy="omit")
        assert tests[name]["p"] == pytest.approx(expected.pvalue) and tests[name]["t"] == pytest.approx(
            expected.statistic
        )
        assert tests[name]["users"] == np.isfinite(a).sum()


def test_cold_items_have_no_popularity():
    candidates = np.arange(10) % 2 == 1
    scores, _, _, pairs, truth = case(candidates)
    found = evaluate_ranking(Table(scores), to_device(pairs), truth, (3,), beyond_accuracy=True)
    assert not {f"{name}@3" for name in beyond.OF_COUNTS} & set(found.summary())
    alone = evaluate_ranking(Table(scores), to_device(pairs), truth, (5,), beyond_accuracy=True)
    assert alone.per_model["Gini@5"] == pytest.approx([0, 0]), "all five are in every list"


def test_a_metric_that_nobody_has_is_undefined():
    known = interactions([(u, u) for u in range(6)], 6, 8)  # all are equally active: there is no most active third
    truth = interactions([(u, 7) for u in range(6)], 6, 8)
    found = evaluate_ranking(Table(np.ones((2, 6, 8))), to_device(known), truth, (3,), beyond_accuracy=True)
    assert found.summary()["NDCG-most-active@3"]["mean"] is None
    assert "NDCG-most-active@3" not in compare_models(found, found)
