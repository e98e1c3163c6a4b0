"""Suspicion: which users of a set of interactions are likely to be made up, how sure that is, and why."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, svds
from scipy.stats import rankdata

from gan_rec.data.interactions import Interactions
from gan_rec.errors import UserError
from gan_rec.recommenders.baselines.tables import matrix
from gan_rec.robustness.profile_classifier import SIMULATED, Classifier, deviations, fit_classifier
from gan_rec.robustness.profile_features import FEATURES, profile_features

DETECTORS = {
    "features": "a classifier of what profiles look like, which learns from simulated attacks",
    "tied-items": "pairs of items of the profile that hardly anybody has one of alone: what fakes promote",
    "shared-items": "items of the profile whose users are suspicious to the classifier",
    "pca": "profiles that add least to the first principal components of all users",
    "autoencoder": "profiles that a linear autoencoder with a bottleneck cannot make again",
    "recommender": "profiles that a trained recommender finds unlikely, each part given the rest",
    "discriminator": "profiles that the critic of a trained game takes for made ones",
    "combined": "features and tied-items together, by their ranks",
}
OF_MODELS = ("recommender", "discriminator")
FALSE_ALARMS = 0.01
Scorer = Callable[[Interactions], Float[np.ndarray, " U"]]

_COMBINED = ("features", "tied-items")
_COMPONENTS, _BOTTLENECK = 3, 32
_MOST_SHARED = 3  # items of a profile that speak for it
_FEWEST_OTHERS = 2  # other users of an item that can speak


def suspicion(
    known: Interactions,
    detector: str = "combined",
    *,
    seed: int = 0,
    fitted: Classifier | None = None,
    kinds: Sequence[str] = SIMULATED,
    models: dict[str, Scorer] | None = None,
) -> Float[np.ndarray, " U"]:
    """How suspicious every user is: higher is more so, and only the order has a meaning. See `suspicions`."""
    return suspicions(known, (detector,), seed=seed, fitted=fitted, kinds=kinds, models=models)[detector]


def suspicions(
    known: Interactions,
    detectors: Sequence[str] = ("combined",),
    *,
    seed: int = 0,
    fitted: Classifier | None = None,
    kinds: Sequence[str] = SIMULATED,
    models: dict[str, Scorer] | None = None,
) -> dict[str, Float[np.ndarray, " U"]]:
    """The same by several detectors, which share what they compute.

    Users without an item are never suspicious: they get the least score of all.

    Args:
        known: who has what; fakes may be among the users.
        detectors: of `DETECTORS`.
        seed: of simulated attacks, and of what is drawn.
        fitted: the classifier of `fit_classifier` on other interactions; None: one is fitted on these.
        kinds: of attacks that a classifier is fitted on.
        models: for "recommender" and "discriminator", see `gan_rec.robustness.profile_likelihood`.

    Raises:
        UserError: a detector is unknown or has no model, or there are fewer than three users with an item.
    """
    for name in detectors:
        check_detector(name)
        if name in OF_MODELS and name not in (models or {}):
            raise UserError(f"the detector {name!r} needs a trained model that has one")
    known = known.at_hand
    active = np.unique(known.users)
    if len(active) < 3:
        raise UserError(f"detection compares users: 3 with an interaction are needed at least, there are {len(active)}")
    scores = _Scores(known, active, seed, fitted, kinds, models or {})
    found = {}
    for name in detectors:
        own = scores(name)
        found[name] = np.full(known.n_users, own.min())
        found[name][active] = own
    return found


def check_detector(name: str) -> None:
    """Raise UserError unless this is one of `DETECTORS`."""
    if name not in DETECTORS:
        raise UserError(f"unknown detector {name!r}; allowed: {', '.join(DETECTORS)}")


class _Scores:
    """The scores of the users who have an item, each computed once."""

    def __init__(self, known: Interactions, active: np.ndarray, seed, fitted, kinds, models):
        self.known, self.active, self.seed, self.kinds, self.models = known, active, seed, kinds, models
        self.profiles = matrix(known)[active].astype(np.float64)
        self._fitted, self._features, self._kept = fitted, None, {}

    def __call__(self, name: str) -> Float[np.ndarray, " n"]:
        if name not in self._kept:
            self._kept[name] = self._make(name)
        return self._kept[name]

    @property
    def features(self) -> Float[np.ndarray, "n F"]:
        if self._features is None:
            self._features = profile_features(self.profiles)
        return self._features

    def _make(self, name: str) -> Float[np.ndarray, " n"]:
        if name in OF_MODELS:
            return np.asarray(self.models[name](self.known), np.float64)[self.active]
        if name == "features":
            classifier = self._fitted or fit_classifier(self.known, self.kinds, self.seed)
            return classifier(self.features)
        if name == "tied-items":
            return self.features[:, list(FEATURES).index("tied items")]
        if name == "shared-items":
            return shared_items(self.profiles, self("features"))[0]
        if name == "pca":
            return varselect(self.profiles)
        if name == "autoencoder":
            return reconstruction_error(self.profiles)
        return combine([self(part) for part in _COMBINED])


def combine(scores: Sequence[Float[np.ndarray, " n"]]) -> Float[np.ndarray, " n"]:
    """Mean of the minus logarithms of the parts of users who are as suspicious.

    For independent detectors that is Fisher's method (Statistical Methods for Research Workers 1932, section 21.1).
    Unlike a mean of ranks it lets one detector that is sure stand against others that see nothing.
    """
    n = len(scores[0])
    return np.mean([-np.log(1 - (rankdata(own) - 0.5) / n) for own in scores], axis=0)


def threshold(scores: Float[np.ndarray, " n"], false_alarms: float = FALSE_ALARMS) -> float:
    """The score that this part of the real users exceeds, where a few others may be among the n.

    Fakes are the upper end of the scores, so their quantile there says nothing of real users. It is extrapolated from
    the half above the median, as of a tail that falls exponentially: between survivals of 1/2 and 1/10.

    Args:
        scores: of all users.
        false_alarms: at most 1/10.

    Raises:
        UserError: `false_alarms` is not above 0 and at most 1/10.
    """
    check_false_alarms(false_alarms)
    middle, high = np.quantile(scores, [0.5, 0.9])
    return float(high + (high - middle) * np.log(0.1 / false_alarms) / np.log(5))


def check_false_alarms(rate: float) -> None:
    """Raise UserError unless the threshold of this rate lies in the tail that is extrapolated."""
    if not 0 < rate <= 0.1:
        raise UserError(f"false_alarms must be above 0 and at most 0.1, got {rate}")


def varselect(profiles: csr_array, components: int = _COMPONENTS) -> Float[np.ndarray, " n"]:
    """Minus the squared size of each user's entries in the first principal components of users.

    Fakes correlate with others as no group of people does, so they add little to what varies most.
    Source: PCA VarSelect, Mehta and Nejdl, UMUAI 2009, algorithm 2; each profile is standardised.

    Args:
        profiles: `[n, I]` of 0 and 1.
        components: how many.
    """
    n, n_items = profiles.shape
    share = np.asarray(profiles.sum(axis=1)).reshape(-1) / n_items
    scale = 1 / np.sqrt(np.maximum(share * (1 - share), 1e-12))

    def apply(v):
        v = v.reshape(-1)
        return (profiles @ v - share * v.sum()) * scale

    def apply_transposed(w):
        w = w.reshape(-1) * scale
        return profiles.T @ w - np.sum(share * w)

    operator = LinearOperator((n, n_items), matvec=apply, rmatvec=apply_transposed, dtype=np.float64)
    k = min(components, min(n, n_items) - 1)
    return -np.sum(_svd(operator, k)[0] ** 2, axis=1)


def reconstruction_error(profiles: csr_array, bottleneck: int = _BOTTLENECK) -> Float[np.ndarray, " n"]:
    """Squared error of each profile that a linear autoencoder makes again, for each of its items.

    The best linear autoencoder of a given bottleneck projects on the first singular vectors (Baldi and Hornik, Neural
    Networks 1989), so there is nothing to train.

    Args:
        profiles: `[n, I]` of 0 and 1.
        bottleneck: its size.
    """
    lengths = np.asarray(profiles.sum(axis=1)).reshape(-1)
    k = min(bottleneck, min(profiles.shape) - 1)
    inside = profiles @ _svd(profiles, k)[2].T
    return (lengths - np.sum(inside**2, axis=1)) / np.maximum(lengths, 1)


def _svd(operator, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start = np.random.default_rng(0).normal(size=min(operator.shape))  # ARPACK would draw another one each time
    return svds(operator, k=k, v0=start)


def shared_items(
    profiles: csr_array, scores: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, "n 3"]]:
    """How suspicious the other users of a profile's items are, by the items for which they are most so.

    For each item: the sum of the ranks of its other users, from -1/2 to 1/2, over its standard deviation if they were
    drawn. Source: the idea of target item analysis, Zhou et al., PLoS ONE 2015: fakes share what they promote.

    Args:
        profiles: `[n, I]` of 0 and 1.
        scores: a first suspicion of the n users.

    Returns:
        The mean over the three items where it is largest, and these items, -1 where a profile has fewer.
    """
    n = len(scores)
    ranks = (rankdata(scores) - 0.5) / n - 0.5
    counts, sums = np.asarray(profiles.sum(axis=0)).reshape(-1), profiles.T @ ranks
    found, which = np.full(n, np.nan), np.full((n, _MOST_SHARED), -1)
    for user in range(n):
        items = profiles.indices[profiles.indptr[user] : profiles.indptr[user + 1]]
        items = items[counts[items] > _FEWEST_OTHERS]
        if len(items) == 0:
            continue
        each = (sums[items] - ranks[user]) / np.sqrt((counts[items] - 1) / 12)
        best = np.argsort(-each)[:_MOST_SHARED]
        found[user], which[user, : len(best)] = each[best].mean(), items[best]
    least = np.nanmin(found) if np.isfinite(found).any() else 0.0
    return np.where(np.isfinite(found), found, least), which


def reasons(known: Interactions, users: Int[np.ndarray, " n"], most: int = 3) -> list[str]:
    """For each of these users the features that are furthest from the crowd's, with where nine tenths of users are.

    Args:
        known: of all users, the crowd.
        users: indices of some who have an item.
        most: how many features.
    """
    known = known.at_hand
    active = np.unique(known.users)
    features = profile_features(matrix(known)[active].astype(np.float64))
    far, names = deviations(features), list(FEATURES)
    low, high = np.quantile(features, [0.05, 0.95], axis=0)
    said = []
    for row in np.searchsorted(active, users):
        furthest = np.argsort(-np.abs(far[row]))[:most]
        said.append(
            "; ".join(f"{names[f]} {features[row, f]:.3g} (others {low[f]:.3g} to {high[f]:.3g})" for f in furthest)
        )
    return said
