"""Two models measured in many cells: values of each seed, and differences with their tests."""

from typing import Any, NamedTuple

import pandas as pd

from gan_rec.evaluation.evaluate import Evaluation
from gan_rec.evaluation.significance import holm, paired_test, summary

MODELS = ("adversarial", "twin")


class Cell(NamedTuple):
    """What was measured, and what came of it."""

    about: dict[str, Any]  # columns
    found: dict[str, Evaluation]  # by model
    more: dict[str, dict[str, Any]] = {}  # columns of a model's rows alone


class Compared(NamedTuple):
    """Tables of a list of cells, in their order."""

    rows: pd.DataFrame  # a row for each cell, model and seed
    differences: pd.DataFrame  # a row for each cell


def compare_cells(cells: list[Cell], metric: str, seeds: tuple[int, ...]) -> Compared:
    """Put cells together.

    Args:
        cells: of both models, in each the same users and seeds.
        metric: of an `Evaluation`, for example "NDCG@20".
        seeds: the S seeds.

    Returns:
        Rows of the metric; and for each cell both means, their difference adversarial minus twin with its 95% interval
        over seeds (None with one seed), and the paired t-test of this difference over users, whose interval is `users
        low`, `users high`, with Holm's p over all cells.
    """
    rows, differences, tests = [], [], []
    for cell in cells:
        values = {name: found.per_seed(metric) for name, found in cell.found.items()}
        for name, each in values.items():
            more = cell.more.get(name, {})
            rows += [
                cell.about | more | {"model": name, "seed": s, metric: float(v)}
                for s, v in zip(seeds, each, strict=True)
            ]
        first, second = (cell.found[name] for name in MODELS)
        have = first.defined(metric)
        over_seeds = summary(values["adversarial"] - values["twin"])
        test = paired_test(first.per_user[metric][:, have], second.per_user[metric][:, have])
        low, high = over_seeds["ci95"] or (None, None)
        differences.append(
            cell.about
            | {name: float(values[name].mean()) for name in MODELS}
            | {"difference": over_seeds["mean"], "low": low, "high": high}
            | {"users low": test["ci95"][0], "users high": test["ci95"][1], "users": test["users"]}
        )
        tests.append(test["p"])
    for row, p in zip(differences, holm(tests), strict=True):
        row["p (Holm)"] = p
    return Compared(pd.DataFrame(rows), pd.DataFrame(differences))
