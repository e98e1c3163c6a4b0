"""A classifier of profiles that learns from fakes of its own: they are put among the users whom it is to judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from scipy.sparse import csr_array, vstack
from scipy.special import expit

from gan_rec.data.interactions import Interactions
from gan_rec.recommenders.baselines.tables import matrix
from gan_rec.robustness.profile_features import profile_features
from gan_rec.robustness.profiles import fake_profiles

SIMULATED = ("random", "average", "bandwagon", "segment")
_TARGETS = (3, 5, 10)  # pushed items of simulated attacks
_BUDGETS = (0.01, 0.03, 0.02)  # fakes for each user
_REPEATS = 3  # attacks of each kind
_TRIMMED = 0.08  # of the users, who may be fakes that are there already
_ROUNDS = 2  # of trimming
_MOST_USERS = 4000  # that attacks are simulated among
_L2 = 1e-2


@dataclass(frozen=True)
class Classifier:
    """Logistic regression on how far each feature is from the crowd's, with and without its sign."""

    weights: Float[np.ndarray, " F2"]
    bias: float

    def __call__(self, features: Float[np.ndarray, "U F"]) -> Float[np.ndarray, " U"]:
        """The log-odds that each of these users is made, when a half of all were."""
        return inputs(features) @ self.weights + self.bias


def deviations(features: Float[np.ndarray, "U F"]) -> Float[np.ndarray, "U F"]:
    """How many robust standard deviations each user's features are above the median of all users.

    The deviation is that of the quartiles, over 1.349, which some made profiles hardly move; where the quartiles are
    equal it is the standard deviation, and 1 where that is 0 too.
    """
    low, middle, high = np.quantile(features, [0.25, 0.5, 0.75], axis=0)
    spread = (high - low) / 1.349
    usual = features.std(axis=0)
    spread = np.where(spread > 1e-12, spread, np.where(usual > 1e-12, usual, 1.0))
    return (features - middle) / spread


def inputs(features: Float[np.ndarray, "U F"]) -> Float[np.ndarray, "U F2"]:
    """What the classifier reads: deviations on a scale that grows with their logarithm, and their sizes."""
    far = deviations(features)
    squashed = np.sign(far) * np.log1p(np.abs(far))
    return np.concatenate([squashed, np.abs(squashed)], axis=1)


def fit_classifier(
    known: Interactions,
    kinds: Sequence[str] = SIMULATED,
    seed: int = 0,
    *,
    describe: Callable[[csr_array], Float[np.ndarray, "U F"]] = profile_features,
) -> Classifier:
    """Learn from simulated attacks on `known`, which may have been attacked already.

    Every attack is put among the users on its own. Its fakes are made, all others count as real. Fakes that are there
    already would be wrong labels, of just the users who matter: so the users who are most suspicious to a first
    classifier are left out of a second one's training, and again of a third one's.

    Args:
        known: the interactions whose users are to be judged.
        kinds: of the simulated attacks, see `gan_rec.robustness.profiles.fake_profiles`.
        seed: of the simulation.
        describe: profiles -> features.
    """
    known = _some_users(known.at_hand, np.random.default_rng([seed, 1]))
    profiles, attacked = matrix(known).astype(np.float64), []
    for number, kind in enumerate(kinds):
        for repeat in range(_REPEATS):
            rng = np.random.default_rng([seed, 0, number, repeat])
            fakes = simulate(known, kind, _BUDGETS[repeat], _TARGETS[repeat], rng)
            attacked.append(inputs(describe(vstack([profiles, csr_array(fakes.astype(float))]).tocsr())))
    return _fit_trimmed(attacked, inputs(describe(profiles)))


def _fit_trimmed(attacked: list[np.ndarray], own: Float[np.ndarray, "n F2"]) -> Classifier:
    """Inputs of the same n users and some fakes after them, in several attacks; and of the users before these."""
    n, kept = len(own), np.ones(len(own), bool)
    made = np.concatenate([np.arange(len(x)) >= n for x in attacked])
    x = np.concatenate(attacked)
    for rounds_left in reversed(range(_ROUNDS + 1)):
        used = np.concatenate([np.append(kept, np.ones(len(each) - n, bool)) for each in attacked])
        classifier = logistic_regression(x[used], made[used])
        if rounds_left:
            scores = own @ classifier.weights
            kept = scores <= np.quantile(scores, 1 - _TRIMMED)
    return classifier


def simulate(
    known: Interactions, kind: str, budget: float, n_targets: int, rng: np.random.Generator
) -> Bool[np.ndarray, "n I"]:
    """Fakes of one simulated attack: `budget` for each user, two at least, with targets from all items."""
    candidates = np.arange(known.n_items) if known.candidates is None else np.flatnonzero(known.candidates)
    targets = rng.choice(candidates, min(n_targets, len(candidates) - 1), replace=False)
    return fake_profiles(kind, known, max(2, round(budget * known.n_users)), targets, rng)


def logistic_regression(
    x: Float[np.ndarray, "N F"], labels: Int[np.ndarray, " N"] | Bool[np.ndarray, " N"], l2: float = _L2
) -> Classifier:
    """Weights of the least mean log-loss plus `l2` times their squares; both labels weigh as much as the other."""
    labels = labels.astype(bool)
    weight = np.where(labels, 0.5 / max(labels.sum(), 1), 0.5 / max((~labels).sum(), 1))
    sign = np.where(labels, 1.0, -1.0)

    def loss(w):
        margin = sign * (x @ w[:-1] + w[-1])
        slope = -weight * sign * expit(-margin)
        value = np.sum(weight * np.logaddexp(0.0, -margin)) + l2 * np.sum(w[:-1] ** 2)
        return value, np.append(x.T @ slope + 2 * l2 * w[:-1], slope.sum())

    w = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return Classifier(w[:-1], float(w[-1]))


def _some_users(known: Interactions, rng: np.random.Generator) -> Interactions:
    """At most `_MOST_USERS` of the users who have an item, drawn, as interactions of these alone."""
    users = np.unique(known.users)
    if len(users) > _MOST_USERS:
        users = np.sort(rng.choice(users, _MOST_USERS, replace=False))
    place = np.full(known.n_users, -1, np.int32)
    place[users] = np.arange(len(users))
    rows = place[known.users] >= 0
    return Interactions(
        place[known.users[rows]], known.items[rows], known.user_ids[users], known.item_ids, candidates=known.candidates
    )
