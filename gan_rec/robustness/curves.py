"""Damage curves: what is left of a ranking as the radius of an attack grows."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import Positives
from gan_rec.evaluation.evaluate import evaluate_lists
from gan_rec.evaluation.ranking import top_items
from gan_rec.robustness.damage import Attacked


class Lists(NamedTuple):
    """The best K items of n users by S models, and how many of them hits make up."""

    items: Int[np.ndarray, "S n K"]
    shown: Bool[np.ndarray, "S n K"]  # false where a user has fewer than K unseen items
    ndcg: Float[np.ndarray, " S"]


def lists_of(recommenders, known: Positives, truth: Interactions, k: int) -> Lists:
    """Lists of all users who have a held-out item; `recommenders` with users as users."""
    users = np.unique(truth.users)
    items, scores = top_items(recommenders, known, users, k, candidates=truth.candidates)
    measured = evaluate_lists(users, items, scores, truth, (k,))
    return Lists(items, np.isfinite(scores), measured.per_seed(f"NDCG@{k}"))


def overlap(clean: Lists, moved: Lists) -> Float[np.ndarray, " S"]:
    """The share of the clean lists that is in the moved ones too, whatever the order; mean over users."""
    both = (clean.items[..., :, None] == moved.items[..., None, :]) & moved.shown[..., None, :]
    common = (both.any(axis=-1) & clean.shown).sum(axis=-1)
    return (common / np.maximum(clean.shown.sum(axis=-1), 1)).mean(axis=-1)


def flips(clean: Lists, moved: Lists) -> Float[np.ndarray, " S"]:
    """The share of users whose first item is another one."""
    return (clean.items[..., 0] != moved.items[..., 0]).mean(axis=-1)


def damage(clean: Lists, attacked: Attacked, known: Positives, truth: Interactions) -> dict[str, np.ndarray]:
    """By name, for each seed: NDCG, the overlap of lists, flips of the first item, and the loss of the moved rows."""
    k = clean.items.shape[-1]
    moved = lists_of(attacked.moved, known, truth, k)
    return {
        f"NDCG@{k}": moved.ndcg,
        f"overlap@{k}": overlap(clean, moved),
        "flips": flips(clean, moved),
        "loss": np.asarray(attacked.losses),
    }


def area(radii: Float[np.ndarray, " R"], metric: Float[np.ndarray, " R"]) -> float:
    """The mean share of its clean value that a metric has lost, over radii from 0 to the largest.

    Args:
        radii: ascending, the first 0.
        metric: at each of them.
    """
    lost = 1.0 - np.asarray(metric) / metric[0]
    return float(np.trapezoid(lost, radii) / radii[-1])


def areas(curves: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The area under every damage curve.

    Args:
        curves: long, with the columns model, attack, seed, radius and the metric.
        metric: its name.

    Returns:
        model, attack, seed, area.
    """
    keys = ["model", "attack", "seed"]
    rows = []
    for names, curve in curves.groupby(keys, sort=False):
        curve = curve.sort_values("radius")
        rows.append((*names, area(curve["radius"].to_numpy(), curve[metric].to_numpy())))
    return pd.DataFrame(rows, columns=[*keys, "area"])
