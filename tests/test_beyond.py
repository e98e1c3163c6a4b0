"""Metrics of lists beside their hits, by hand and by slower definitions."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from gan_rec.evaluation import beyond

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
    assert set(beyond.groups(np.array([1, 1, 1, 1, 1, 7]))) == {0, 2} or len(set(beyond.groups(np.ones(4)))) == 1
    np.testing.assert_array_equal(beyond.head_and_tail(np.array([9, 1, 5, 1, 2])), [False, True, True, True, True])
