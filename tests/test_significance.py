import numpy as np
import pytest
from scipy import stats

from gan_rec.evaluation.significance import holm, paired_test, summary


def test_summary_golden():
    result = summary([1.0, 2.0, 3.0])
    assert result["mean"] == 2 and result["std"] == 1 and result["per_seed"] == [1, 2, 3]
    # t of 97.5% with 2 degrees of freedom is 4.302653
    assert result["ci95"] == pytest.approx([2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5], rel=1e-6)


def test_one_seed_has_no_interval():
    assert summary([0.5]) == {"mean": 0.5, "std": None, "ci95": None, "per_seed": [0.5]}


def test_paired_test_equals_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(3, 50)), rng.normal(size=(3, 50))
    expected = stats.ttest_rel(first.mean(0), second.mean(0))
    result = paired_test(first, second)
    assert (result["t"], result["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert result["ci95"] == pytest.approx(list(expected.confidence_interval(0.95)))
    assert result["users"] == 50


def test_no_difference_is_no_evidence():
    same = np.ones((2, 5))
    assert paired_test(same, same)["p"] == 1


def test_the_same_difference_for_all_users_is_certain():
    base = np.zeros((2, 3))
    result = paired_test(base + 0.1, base)
    assert result["p"] == 0 and result["ci95"] == pytest.approx([0.1, 0.1])
    assert result["t"] is None and result["effect"] is None  # infinite, which JSON does not have
    assert paired_test(base[:, :1] + 0.1, base[:, :1])["p"] == 1, "one user is no evidence"


def test_holm_golden():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_test_that_could_not_be_made_does_not_count():
    assert holm([None, 0.03, 0.01]) == [None, 0.03, 0.02]
    assert holm([None]) == [None]
