"""Rows of a table: trained models beside tuned simple baselines on one split, with paired tests over users."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Common:
    """What every benchmark of this kind can be told."""

    seeds: int = 3
    """Training seeds."""
    trials: int = 15
    """Trials of every baseline."""
    epochs: int | None = None
    """The most epochs (default: the model's)."""
    output: Path | None = None
    """A file that gets the lines."""
    smoke: bool = False
    """A made-up world, few epochs."""
    table: bool = False
    """Print the table of what has been measured before."""


class Row(NamedTuple):
    """A model, measured on test."""

    name: str
    evaluation: Any  # a gan_rec.evaluation.evaluate.Evaluation
    about: dict[str, Any]  # its values, and what validation said of it
    fitted: Any = None  # a gan_rec.Fitted, of those that are trained


def baseline(name: str, split, metric: str, ks: tuple[int, ...], trials: int) -> Row:
    """A closed form with its options searched on validation, refitted on train + validation."""
    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.evaluate import evaluate_ranking
    from gan_rec.experiments.models import Goal, model
    from gan_rec.experiments.search import Search, search
    from gan_rec.progress import Progress

    goal, own, start = Goal(metric), model(name), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = search(own, split, Search(trials, 1, goal), Path(folder) / "study.log", Progress(enabled=False))
    recommenders = own.fit(split, found.values, (0,), goal).recommenders
    measured = evaluate_ranking(recommenders, to_device(split.train_and_valid()), split.open_test(), ks)
    about = {"values": found.values, "validation": found.score, "seconds": time.perf_counter() - start}
    return Row(name, measured, about)


def trained(name: str, split, metric: str, ks: tuple[int, ...], **options: Any) -> Row:
    """A trained model; the epoch is chosen on validation, and it is refitted on train + validation."""
    import gan_rec

    start = time.perf_counter()
    fitted = gan_rec.fit(split, select_on=metric, progress=False, **options)
    about = {"values": options, "validation": [float(x) for x in fitted.weights.selected.score],
             "epochs": fitted.chosen_epochs, "seconds": time.perf_counter() - start}  # fmt: skip
    return Row(name, gan_rec.evaluate(fitted, "test", ks), about, fitted)


def line(row: Row, metrics: tuple[str, ...], against: dict[str, Row]) -> dict[str, Any]:
    """What is written of a row: metrics over seeds, and its difference from other rows, paired by user."""
    from gan_rec.evaluation.significance import paired_test, summary

    return {
        "model": row.name,
        "test": {metric: summary(row.evaluation.per_seed(metric)) for metric in metrics},
        "against": {
            name: {m: paired_test(row.evaluation.per_user[m], other.evaluation.per_user[m]) for m in metrics}
            for name, other in against.items()
            if other is not row
        },
        **row.about,
    }
