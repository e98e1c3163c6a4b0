"""Defences against fake profiles: users who are left out of the training data, and trainings that fakes move less."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int
from scipy.stats import poisson

from gan_rec.data.interactions import Interactions, Split
from gan_rec.recommenders.baselines import EASE
from gan_rec.recommenders.baselines.tables import matrix
from gan_rec.robustness.detection import suspicions, threshold
from gan_rec.robustness.profile_likelihood import unlikelihood

PLAIN, ADVERSARIAL, VULNERABLE = "plain", "adversarial", "vulnerability-aware"
TRIMMED = 0.05  # of the users with an item, who are left out by `trimmed`
SUSPECTS = 0.025  # of the real users, who may be suspects of a detector in `filtered`
_DETECTORS = ("combined", "features", "tied-items")  # with the percent above, chosen on draws that no table has
_CHANCE = 0.01  # that any item seems promoted where nobody has made a profile
_SHARE = 1 / 3  # of a promoted item's users are suspects, or more


@dataclass(frozen=True)
class Defence:
    """What is done against fakes.

    Args:
        suspects: train, kinds of attack that detectors may learn from, seed -> which users are left out of the training
            data; None: nobody.
        training: how the recommender is trained: "plain", "adversarial" (one radius for all rows) or
            "vulnerability-aware" (a larger one for users whom the model fits closely; Zhang et al., RecSys 2024). The
            last two need a recommender that is trained.
        about: what it does.
    """

    suspects: Callable[[Interactions, tuple[str, ...], int], Bool[np.ndarray, " U"]] | None
    training: str
    about: str


def trimmed(train: Interactions, kinds: tuple[str, ...] = (), seed: int = 0) -> Bool[np.ndarray, " U"]:
    """The 5% of the users whose items a linear autoencoder, fitted on all users, finds least likely.

    Each fifth of a profile is left out once and ranked by what is left: trimmed loss, as in least trimmed squares
    (Rousseeuw, JASA 1984), with one step of concentration.
    """
    model = EASE().fit(train)
    users = np.unique(train.users)
    loss = unlikelihood(model, train, seed)[users]
    dropped = users[np.argsort(-loss, kind="stable")[: int(TRIMMED * len(users))]]
    return np.isin(np.arange(train.n_users), dropped)


def filtered(train: Interactions, kinds: tuple[str, ...], seed: int = 0) -> Bool[np.ndarray, " U"]:
    """Users who have what suspects promote: suspects with any promoted item, and whoever has half of these items.

    A detector ranks users and does not know how many are fakes. So all above the score that some percent of the real
    users exceed are suspects, of each of three detectors. Suspects alone would be too many: left out are those who have
    items in common that nothing but their being suspects explains, and others who have most of these, at least two.
    That is target item analysis (Zhou et al., Neurocomputing 2016), here with a test. A real suspect keeps the profile
    unless it has a promoted item. What is promoted by few profiles that look like real ones is not found.

    Args:
        train: who has what, fakes among them.
        kinds: of the attacks that the detectors' classifier learns from.
        seed: of what it simulates.
    """
    active = np.unique(train.users)
    suspects = np.zeros(train.n_users, bool)
    for scores in suspicions(train, _DETECTORS, seed=seed, kinds=kinds).values():
        suspects[active] |= scores[active] > threshold(scores[active], SUSPECTS)
    promoted = promoted_items(train, suspects)
    had = np.asarray(matrix(train)[:, promoted].sum(axis=1)).reshape(-1)
    return (suspects & (had > 0)) | (had >= max(2, len(promoted) / 2))


def promoted_items(train: Interactions, suspects: Bool[np.ndarray, " U"]) -> Int[np.ndarray, " n"]:
    """Items that suspects have far more often than the other users' interest in them explains.

    At least a third of an item's users are suspects, and of a Poisson variable with the mean that other users' share
    leads to, at suspects' number of items, so many would be seen on any item with a chance of at most 1%.
    """
    counts = train.item_counts().astype(float)
    theirs = np.bincount(train.items[suspects[train.users]], minlength=train.n_items).astype(float)
    others = counts - theirs
    expected = (others + 0.5) / max(others.sum(), 1.0) * theirs.sum()
    chance = poisson.sf(theirs - 1, expected) * train.n_items
    return np.flatnonzero((theirs >= 2) & (theirs >= _SHARE * counts) & (chance <= _CHANCE))


def without_users(split: Split, dropped: Bool[np.ndarray, " U"]) -> Split:
    """The split without these users' pairs in train; they stay users."""
    train = replace(split.train, ratings=None, times=None)
    return Split(
        split.name, split.method, train.select(~dropped[train.users]), split.valid, split.open_test(), split.notes,
        split.item_texts, split.side_information,
    )  # fmt: skip


DEFENCES = {
    "none": Defence(None, PLAIN, "the recommender alone"),
    "adversarial": Defence(None, ADVERSARIAL, "adversarial training, one radius for all users"),
    "vulnerability-aware": Defence(None, VULNERABLE, "adversarial training, radii by users' losses"),
    "trimmed": Defence(trimmed, PLAIN, "users of the highest loss are left out"),
    "filter": Defence(filtered, PLAIN, "suspects who have promoted items in common are left out"),
    "filter+adversarial": Defence(filtered, ADVERSARIAL, "both"),
}
