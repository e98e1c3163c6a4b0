import math

import numpy as np
import pytest
from conftest import interactions
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_rec.errors import UserError
from gan_rec.evaluation import metrics


def reference(ranking: list[int], relevant: set[int], k: int) -> dict[str, float]:
    """Every metric of one user, in plain Python."""
    top = ranking[:k]
    ranks = [rank for rank, item in enumerate(top, start=1) if item in relevant]
    dcg = sum(1 / math.log2(rank + 1) for rank in ranks)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    precisions = [len([r for r in ranks if r <= rank]) / rank for rank in ranks]
    return {
        f"P@{k}": len(ranks) / k,
        f"R@{k}": len(ranks) / len(relevant),
        f"NDCG@{k}": dcg / ideal,
        f"MRR@{k}": 1 / ranks[0] if ranks else 0.0,
        f"HR@{k}": float(bool(ranks)),
        f"MAP@{k}": sum(precisions) / min(k, len(relevant)),
    }


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_metric_equals_the_reference(data):
    n_items, n_users = data.draw(st.integers(2, 12)), data.draw(st.integers(1, 4))
    k_max = data.draw(st.integers(1, n_items))
    rankings = [data.draw(st.permutations(range(n_items)))[:k_max] for _ in range(n_users)]
    relevant = [data.draw(st.sets(st.integers(0, n_items - 1), min_size=1)) for _ in range(n_users)]
    truth = interactions([(u, i) for u in range(n_users) for i in relevant[u]], n_users, n_items)
    hits, counts = metrics.relevance(np.array([rankings]), truth, np.arange(n_users))
    ks = tuple(range(1, k_max + 1))
    measured = metrics.per_user(hits, counts, ks)
    for user in range(n_users):
        for k in ks:
            for name, value in reference(rankings[user], relevant[user], k).items():
                assert measured[name][0, user] == pytest.approx(value, abs=1e-12), name
    assert set(measured) == {f"{m}@{k}" for m in metrics.METRICS for k in ks}


def test_golden_by_hand():
    # Hits at ranks 1 and 3; three relevant items.
    hits = np.array([[[True, False, True, False]]])
    measured = metrics.per_user(hits, np.array([3]), (4,))
    assert measured["P@4"] == 0.5
    assert measured["R@4"] == pytest.approx(2 / 3)
    assert measured["NDCG@4"] == pytest.approx((1 + 0.5) / (1 + 1 / math.log2(3) + 0.5))
    assert measured["MAP@4"] == pytest.approx((1 + 2 / 3) / 3)


def test_relevance_of_a_catalogue_whose_pairs_do_not_fit_32_bits():
    truth = interactions([(70_000, 69_999)], 70_001, 70_000)
    hits, counts = metrics.relevance(np.array([[[69_999, 0]]]), truth, np.array([70_000]))
    assert hits.tolist() == [[[True, False]]]
    assert counts.tolist() == [1]


def test_coverage_counts_shown_items_only():
    items, shown = np.array([[[0, 1], [1, 2]]]), np.array([[[True, True], [True, False]]])
    assert metrics.coverage(items, shown, 4).tolist() == [0.5]


@pytest.mark.parametrize("name", ["NDCG", "NDCG@0", "ndcg@20", "F1@5", "NDCG@-1", ""])
def test_unknown_metric_is_named(name):
    with pytest.raises(UserError, match="unknown metric"):
        metrics.parse(name)
    assert metrics.parse("NDCG@20") == ("NDCG", 20)
