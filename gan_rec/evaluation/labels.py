"""What predicted probabilities of a 0/1 label are worth."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from scipy.stats import rankdata

METRICS = ("accuracy", "precision", "recall", "F1", "AUC", "log-loss", "calibration error")
UAUC = "UAUC"
ERRORS = ("log-loss", "calibration error")  # of which less is better
_TINY = 1e-7


@dataclass(frozen=True)
class LabelEvaluation:
    """Predictions of S models for the same n rows.

    Args:
        labels: `[n]`, 0 or 1.
        probabilities: `[S, n]`, of a 1.
        thresholds: `[S]`, from which on a 1 is predicted.
        groups: `[n]`, whose row each is; None: nobody's.
    """

    labels: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "S n"]
    thresholds: Float[np.ndarray, " S"]
    groups: Int[np.ndarray, " n"] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """What `per_seed` knows."""
        return METRICS if self.groups is None else (*METRICS, UAUC)

    def per_seed(self, metric: str) -> Float[np.ndarray, " S"]:
        """A metric for each model."""
        if metric == UAUC:
            return np.array([group_auc(self.labels, p, self.groups) for p in self.probabilities])
        return np.array([each[metric] for each in self._measures])

    def per_group(self) -> Float[np.ndarray, "S g"]:
        """The AUC within each group that has both labels, for each model; what UAUC is the mean of."""
        found = np.array([group_aucs(self.labels, p, self.groups) for p in self.probabilities])
        return found[:, np.isfinite(found[0])]

    @cached_property
    def _measures(self) -> list[dict]:
        return [measures(self.labels, p, t) for p, t in zip(self.probabilities, self.thresholds, strict=True)]


def measures(labels: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, " n"], threshold: float) -> dict:
    """All of METRICS; precision without a predicted 1, recall without an actual one, and AUC of one class are NaN.

    Calibration error: mean over 10 bins of equal width, weighted by their size, of the gap between the mean
    probability and the rate of ones (Naeini et al., AAAI 2015).
    """
    said = probabilities >= threshold
    hits, n_said, n_ones = float(np.sum(labels[said])), float(np.sum(said)), float(np.sum(labels))
    clipped = np.clip(probabilities.astype(np.float64), _TINY, 1 - _TINY)
    return {
        "accuracy": float(np.mean(said == (labels == 1))),
        "precision": hits / n_said if n_said else np.nan,
        "recall": hits / n_ones if n_ones else np.nan,
        "F1": 2 * hits / (n_said + n_ones) if n_said + n_ones else np.nan,
        "AUC": auc(labels, probabilities),
        "log-loss": float(-np.mean(np.where(labels == 1, np.log(clipped), np.log(1 - clipped)))),
        "calibration error": calibration_error(labels, probabilities),
    }


def auc(labels: Int[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    """Area under the ROC curve: the chance that a random 1 scores above a random 0, ties counting half."""
    ones = float(np.sum(labels == 1))
    zeros = len(labels) - ones
    if not ones or not zeros:
        return np.nan
    return float((np.sum(rankdata(scores)[labels == 1]) - ones * (ones + 1) / 2) / (ones * zeros))


def group_auc(labels: Int[np.ndarray, " n"], scores: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> float:
    """Mean of the AUC within each group that has both labels (UAUC, where groups are users). NaN if none has."""
    found = group_aucs(labels, scores, groups)
    return float(np.nanmean(found)) if np.isfinite(found).any() else np.nan


def group_aucs(
    labels: Int[np.ndarray, " n"], scores: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " G"]:
    """The AUC within each group, in the order of their numbers; NaN where a group has one label only."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return np.array([auc(labels[own], scores[own]) for own in parts])


def calibration_error(labels: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, " n"], bins: int = 10) -> float:
    """See `measures`."""
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    sizes = np.bincount(which, minlength=bins)
    gaps = np.bincount(which, probabilities, bins) - np.bincount(which, labels, bins)
    return float(np.sum(np.abs(gaps)) / np.sum(sizes))


def best_threshold(labels: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, " n"]) -> float:
    """The threshold of the highest accuracy, half-way between two probabilities; of several the one nearest to .5."""
    order = np.argsort(probabilities)
    p, t = probabilities[order].astype(np.float64), labels[order]
    # Right with a cut before place k: the zeros before it and the ones from it on.
    right = np.concatenate([[0], np.cumsum(t == 0)]) + np.sum(t == 1) - np.concatenate([[0], np.cumsum(t == 1)])
    cuts = np.concatenate([[0.0], (p[1:] + p[:-1]) / 2, [np.nextafter(1.0, 2.0)]])
    apart = np.concatenate([[True], p[1:] > p[:-1], [True]])  # equal probabilities cannot be cut apart
    best = apart & (right == right[apart].max())
    return float(min(cuts[best], key=lambda cut: abs(cut - 0.5)))


def delong(
    labels: Int[np.ndarray, " n"],
    first: Float[np.ndarray, "S n"],
    second: Float[np.ndarray, "R n"],
    groups: Int[np.ndarray, " n"] | None = None,
) -> dict:
    """Difference of two models' AUC on the same rows, each averaged over its seeds, its error, interval and p.

    Sources: DeLong et al., Biometrics 1988; its structural components are linear in the model, so those of a mean of
    AUCs are the mean of theirs. Obuchowski, Biometrics 1997: the same where rows come in groups.

    Args:
        labels: 0 or 1.
        first, second: scores by each model of S and R seeds.
        groups: whose row each is; rows of one group may depend on each other. None: all are independent.

    Returns:
        `difference, error, ci95, p`, as `normal_test`; NaN but for the difference where fewer than two groups have a 1,
        or a 0: one row says nothing of how much rows differ.
    """
    ones = labels == 1
    of_ones, of_zeros = (
        np.subtract(*each) for each in zip(_components(first, ones), _components(second, ones), strict=True)
    )
    difference = float(np.mean(of_ones))
    group = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    return normal_test(difference, _error(of_ones - difference, of_zeros - difference, group[ones], group[~ones]))


def _error(of_ones: np.ndarray, of_zeros: np.ndarray, group_of_ones: np.ndarray, group_of_zeros: np.ndarray) -> float:
    """Standard error of a mean of centred components; those of a group are summed before they are squared."""
    n_groups = 1 + max(group_of_ones.max(), group_of_zeros.max())
    a = np.bincount(group_of_ones, of_ones, n_groups) / len(of_ones)
    b = np.bincount(group_of_zeros, of_zeros, n_groups) / len(of_zeros)
    with_ones, with_zeros = len(np.unique(group_of_ones)), len(np.unique(group_of_zeros))
    if min(with_ones, with_zeros) < 2:
        return np.nan
    variance = sum(k / (k - 1) * np.sum(x) for k, x in ((with_ones, a * a), (with_zeros, b * b), (n_groups, 2 * a * b)))
    return float(np.sqrt(max(variance, 0.0)))


def normal_test(difference: float, error: float) -> dict:
    """`difference, error`, its 95% interval `ci95` and two-sided `p`; where the error is 0 nothing is tested: p 1."""
    p = 1.0 if error == 0 else float(2 * stats.norm.sf(abs(difference) / error))
    ci95 = [difference - 1.96 * error, difference + 1.96 * error]
    return {"difference": difference, "error": error, "ci95": ci95, "p": p}


def _components(scores: Float[np.ndarray, "S n"], ones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each one the part of zeros below it, for each zero the part of ones above it, averaged over models."""
    m, n = ones.sum(), (~ones).sum()
    whole = rankdata(scores, axis=1)
    below = (whole[:, ones] - rankdata(scores[:, ones], axis=1)) / n
    above = 1 - (whole[:, ~ones] - rankdata(scores[:, ~ones], axis=1)) / m
    return below.mean(axis=0), above.mean(axis=0)
