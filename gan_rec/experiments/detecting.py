"""Detection: suspicious users of a run's data or of a file, and how well simulated attacks are found."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool

from gan_rec import data as sources
from gan_rec.adversaries.critics import VectorCritic
from gan_rec.data import Dataset, Interactions
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.labels import auc
from gan_rec.evaluation.significance import summary
from gan_rec.experiments.fitting import Fitted, one_seed
from gan_rec.recommenders.baselines.tables import matrix
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.mix import Mix
from gan_rec.robustness import detection
from gan_rec.robustness.learned_profiles import LEARNED, learned_profiles
from gan_rec.robustness.profile_classifier import SIMULATED
from gan_rec.robustness.profile_likelihood import falsity, unlikelihood
from gan_rec.robustness.profiles import KINDS, fake_profiles, number_of_fakes, unpopular_targets

BUDGETS = (0.01, 0.03, 0.05)
CLEAN = "none"  # the attack of clean data
Attack = Callable[[Interactions, int, np.ndarray, np.random.Generator], Bool[np.ndarray, "n I"]]


def detect(
    fitted: Fitted | None = None,
    data: "Interactions | Dataset | pd.DataFrame | str | Path | None" = None,
    *,
    detector: str = "combined",
    most: int | None = None,
    false_alarms: float = detection.FALSE_ALARMS,
    seed: int = 0,
    seed_index: int = 0,
) -> pd.DataFrame:
    """The users of a data set, the most suspicious first.

    Args:
        fitted: a trained model; of it come the data where none are given, and what "recommender" and "discriminator"
            say.
        data: interactions, or what `gan_rec.load` reads: of a fixed split the train part counts. None: the train part
            of the model's split.
        detector: one of `gan_rec.robustness.detection.DETECTORS`.
        most: how many users to list; None: all who have an interaction.
        false_alarms: the part of real users that may be flagged, see `gan_rec.robustness.detection.threshold`.
        seed: of simulated attacks.
        seed_index: which of the model's S seeds answers.

    Returns:
        A row for each user: `user` (id as given), `suspicion` (only its order has a meaning), `flagged`, `reasons`
        (features furthest from the crowd's) and `items` (those of the profile whose other users are most suspicious).

    Raises:
        UserError: neither model nor data, or a value that is not allowed.
    """
    if most is not None and most < 1:
        raise UserError(f"most must be at least 1, got {most}")
    known = _interactions(fitted, data).at_hand
    models = {} if fitted is None else scorers(fitted, seed_index)
    scores = detection.suspicion(known, detector, seed=seed, models=models)
    active = np.unique(known.users)
    limit = detection.threshold(scores[active], false_alarms)
    order = active[np.argsort(-scores[active], kind="stable")][:most]
    return pd.DataFrame(
        {
            "user": known.user_ids[order],
            "suspicion": scores[order],
            "flagged": scores[order] > limit,
            "reasons": detection.reasons(known, order),
            "items": _shared(known, scores, active, order),
        }
    )


def _interactions(fitted: Fitted | None, data) -> Interactions:
    if data is None:
        if fitted is None:
            raise UserError("nothing to look at: give a trained model, data, or both")
        return fitted.split.train
    if isinstance(data, str | Path | pd.DataFrame):
        data = sources.load(data)
    if isinstance(data, Interactions):
        return data
    if not isinstance(data, Dataset):
        raise UserError("detection needs data that are at hand; streamed interactions cannot be searched")
    return data.parts["all"] if "all" in data.parts else data.parts["train"]


def _shared(known: Interactions, scores: np.ndarray, active: np.ndarray, order: np.ndarray) -> list[str]:
    which = detection.shared_items(matrix(known)[active].astype(np.float64), scores[active])[1]
    return [
        ", ".join(str(known.item_ids[item]) for item in which[row] if item >= 0)
        for row in np.searchsorted(active, order)
    ]


def scorers(fitted: Fitted, seed_index: int = 0) -> dict[str, detection.Scorer]:
    """What a trained model adds to the detectors: "recommender", and after the game cfgan "discriminator".

    Both take interactions of any users; items that the model does not know are passed over.

    Raises:
        UserError: there is no such seed.
    """
    known = fitted.split.train_and_valid()
    item_ids, positives = known.item_ids, to_device(known.at_hand)
    one = jax.tree.map(lambda x: x[0], one_seed(fitted, seed_index))
    one = flip(on_graph(one, positives), positives, fitted.side)
    if isinstance(one, Mix):  # of its parts only the first one reads histories of users whom it has not seen
        one = one.parts[0]
    found = {"recommender": lambda other: unlikelihood(one, _with_items(other, item_ids))}
    critic = fitted.weights.final.adversary
    if isinstance(critic, VectorCritic) and fitted.side == "user":
        critic = jax.tree.map(lambda x: x[seed_index], critic)
        found["discriminator"] = lambda other: falsity(critic, _with_items(other, item_ids))
    return found


def _with_items(known: Interactions, item_ids: np.ndarray) -> Interactions:
    """The pairs whose items are among these, by their numbers there."""
    if np.array_equal(known.item_ids, item_ids):
        return known
    place = {str(item): n for n, item in enumerate(item_ids.tolist())}
    numbers = np.array([place.get(str(item), -1) for item in known.item_ids.tolist()], np.int32)[known.items]
    return Interactions(known.users[numbers >= 0], numbers[numbers >= 0], known.user_ids, item_ids)


def measure(
    known: Interactions,
    *,
    detectors: Sequence[str] = ("features", "tied-items", "shared-items", "pca", "autoencoder", "combined"),
    attacks: dict[str, Attack] | None = None,
    budgets: Sequence[float] = BUDGETS,
    seeds: Sequence[int] = (0, 1, 2),
    targets: int = 5,
    false_alarms: float = detection.FALSE_ALARMS,
    models: dict[str, detection.Scorer] | None = None,
) -> pd.DataFrame:
    """How well attacks are found: each is put among the users, and what is fitted is fitted without its kind.

    Args:
        known: interactions that are taken for clean.
        detectors: see `gan_rec.robustness.detection.DETECTORS`.
        attacks: name -> `known, n, targets, rng` -> profiles; None: those of `gan_rec.robustness.profiles.KINDS`.
        budgets: fake users, as a part of the real ones.
        seeds: of targets, fakes and simulated attacks.
        targets: pushed items of each attack, from the less popular half.
        false_alarms: the stated part of real users above the threshold.
        models: see `gan_rec.robustness.detection.suspicions`; trained before the attack.

    Returns:
        A row for each attack, budget, seed and detector: `AUC`, `precision` (part of fakes among the n most suspicious,
        where n fakes there are), `found` (part of the fakes above the threshold) and `false alarms` (of real users).
        The attack "none", with a budget of 0, is clean data: false alarms alone.
    """
    known = known.at_hand
    if attacks is None:
        attacks = {kind: attack_of_kind(kind) for kind in KINDS}
    plan = [(CLEAN, 0.0, seed) for seed in seeds]
    plan += [(name, budget, seed) for name in attacks for budget in budgets for seed in seeds]
    rows = []
    for name, budget, seed in plan:
        attacked, n = known, 0
        if name != CLEAN:
            n = number_of_fakes(known, budget)
            rng = np.random.default_rng([seed, 11])
            attacked = with_fakes(known, attacks[name](known, n, unpopular_targets(known, targets, rng), rng))
        unseen = [kind for kind in SIMULATED if kind != name]
        scores = detection.suspicions(attacked, detectors, seed=seed, kinds=unseen, models=models)
        where = {"attack": name, "budget": budget, "seed": seed}
        active = np.unique(attacked.users)
        made = active >= known.n_users
        rows += [where | {"detector": d} | _found(own[active], made, false_alarms) for d, own in scores.items()]
    return pd.DataFrame(rows)


def measure_run(fitted: Fitted, data=None, *, seed_index: int = 0, **options) -> pd.DataFrame:
    """`measure` on a run's train part, or on `data` as `detect` takes them, with all that its model adds."""
    models = scorers(fitted, seed_index)
    detectors = [name for name in detection.DETECTORS if name not in detection.OF_MODELS or name in models]
    return measure(_interactions(fitted, data), detectors=detectors, models=models, **options)


def attack_of_kind(kind: str) -> Attack:
    """One of `gan_rec.robustness.profiles.KINDS` or `gan_rec.robustness.learned_profiles.LEARNED`."""
    if kind in LEARNED:
        return lambda known, n, targets, rng: learned_profiles(kind, known, n, targets, rng).profiles
    return lambda known, n, targets, rng: fake_profiles(kind, known, n, targets, rng)


def with_fakes(known: Interactions, profiles: Bool[np.ndarray, "n I"]) -> Interactions:
    """Interactions with fake users after the real ones, whose ids are numbers."""
    users, items = np.nonzero(profiles)
    return Interactions(
        np.concatenate([known.users, users + known.n_users]).astype(np.int32),
        np.concatenate([known.items, items]).astype(np.int32),
        np.arange(known.n_users + len(profiles)),
        known.item_ids,
    )


def _found(scores: np.ndarray, made: np.ndarray, false_alarms: float) -> dict[str, float]:
    above = scores > detection.threshold(scores, false_alarms)
    n = int(made.sum())
    return {
        "AUC": auc(made.astype(int), scores),
        "precision": float(made[np.argsort(-scores, kind="stable")[:n]].mean()) if n else np.nan,
        "found": float(above[made].mean()) if n else np.nan,
        "false alarms": float(above[~made].mean()),
    }


def measured_table(measured: pd.DataFrame, by: Sequence[str] = ("attack", "budget", "detector")) -> pd.DataFrame:
    """Means over seeds, and half of their 95% intervals (None for one seed), of what `measure` returns."""
    rows = []
    for group, own in measured.groupby(list(by), sort=False):
        row = dict(zip(by, group, strict=True))
        for name in own.columns.difference([*by, "seed"], sort=False):
            found = summary(own[name])
            row[name] = found["mean"]
            row[f"{name} ±"] = None if found["ci95"] is None else found["ci95"][1] - found["mean"]
        rows.append(row)
    return pd.DataFrame(rows)
