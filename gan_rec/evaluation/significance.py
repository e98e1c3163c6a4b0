"""Intervals over seeds and paired tests over users."""

import numpy as np
from scipy import stats


def summary(per_seed) -> dict:
    """Mean, standard deviation and 95% interval of the mean over S seeds (Student's t); None where S is 1.

    None too is what a metric that is not defined (NaN) makes of a value and of what is made of values.
    """
    values = np.asarray(per_seed, float)
    each = [None if np.isnan(v) else float(v) for v in values]
    result = {"mean": None if None in each else float(values.mean()), "std": None, "ci95": None, "per_seed": each}
    if len(values) > 1 and None not in each:
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        result["std"] = float(values.std(ddof=1))
        result["ci95"] = [float(values.mean() - half), float(values.mean() + half)]
    return result


def over_users(per_user: np.ndarray) -> dict:
    """Mean of a metric `[S, n]`, and its 95% interval over users, each user's value averaged over seeds first."""
    values = np.asarray(per_user, float).mean(axis=0)
    n, mean = len(values), float(values.mean())
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5) if n > 1 else 0.0
    return {"mean": mean, "ci95": [mean - half, mean + half], "users": n}


def paired_test(first: np.ndarray, second: np.ndarray) -> dict:
    """Paired t-test over users of two models' metric, each user's value averaged over seeds first.

    Args:
        first, second: `[S, n]`, the same n users in the same order.

    Returns:
        The mean difference first - second, its 95% interval, Cohen's d of the paired differences, t, the two-sided p
        and the number of users. Where no user differs there is nothing to test: t 0, p 1. Where all of several differ
        by the same, p is 0, and t and d, which are infinite, are None.
    """
    difference = first.mean(axis=0) - second.mean(axis=0)
    n, mean = len(difference), float(difference.mean())
    same = np.ptp(difference) == 0  # of which rounding may make a spread above 0
    spread = 0.0 if same else float(difference.std(ddof=1))
    result = {"difference": mean, "ci95": [mean, mean], "effect": 0.0, "t": 0.0, "p": 1.0, "users": n}
    if n > 1 and same and mean != 0:
        result |= {"effect": None, "t": None, "p": 0.0}
    if spread > 0:
        error = spread / n**0.5
        t, half = mean / error, stats.t.ppf(0.975, n - 1) * error
        p = float(2 * stats.t.sf(abs(t), n - 1))
        result |= {"ci95": [mean - float(half), mean + float(half)], "effect": mean / spread, "t": t, "p": p}
    return result


def holm(p_values: list[float | None]) -> list[float | None]:
    """Holm's correction for many comparisons (Scandinavian Journal of Statistics 1979), in the given order.

    None is the p of a test that could not be made: it stays None and does not count.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)[: int(np.sum(~np.isnan(p)))]  # NaN, which None becomes, is sorted last
    adjusted = np.maximum.accumulate(p[order] * (len(order) - np.arange(len(order))))
    result: list[float | None] = [None] * len(p)
    for place, value in zip(order, adjusted, strict=True):
        result[place] = float(min(value, 1.0))
    return result
