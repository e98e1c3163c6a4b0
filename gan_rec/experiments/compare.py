"""The command compare: models tuned with one budget, refitted, and measured on test, which is read once at the end."""

import json
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gan_rec import plot
from gan_rec.data import Interactions, Split
from gan_rec.data.sampling import Positives, to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation, check_cutoffs, evaluate_lists
from gan_rec.evaluation.metrics import parse
from gan_rec.evaluation.ranking import top_items
from gan_rec.evaluation.significance import holm, over_users, paired_test
from gan_rec.experiments import leaderboard
from gan_rec.experiments.asked import asked_text, read_asked
from gan_rec.experiments.config import read_object
from gan_rec.experiments.directory import begin, check_directory, measured_compilation, measured_memory
from gan_rec.experiments.environment import environment
from gan_rec.experiments.models import Goal, Model, models, readers
from gan_rec.experiments.progress import ModelProgress
from gan_rec.experiments.reading import read
from gan_rec.experiments.search import Search, StudyError, need_optuna, search
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions
from gan_rec.files import write_arrays, write_frame, write_text
from gan_rec.progress import Progress


@dataclass(frozen=True)
class Comparison:
    """All that a comparison was asked to do.

    Args:
        data: data and split.
        models: names.
        seeds: S, of models that have randomness.
        search: the budget, the same for every model.
        ks: cut-offs.
    """

    data: DataOptions
    models: tuple[str, ...]
    seeds: int = 3
    search: Search = Search()
    ks: tuple[int, ...] = DEFAULT_KS

    def text_of(self) -> str:
        """As JSON."""
        own = {"models": list(self.models), "seeds": self.seeds, "ks": list(self.ks)}
        return asked_text("compare", self.data, self.search, **own)


def read_comparison(path: Path) -> Comparison:
    """What `Comparison.text_of` wrote.

    Raises:
        UserError: the file cannot be read, is of something else, or has a value that is not allowed.
    """
    asked = read_asked(path, "compare", Comparison)
    for name, kind in (("models", str), ("ks", int)):
        if not all(type(each) is kind for each in getattr(asked, name)):
            raise UserError(f"{path} is damaged: {name} cannot be {list(getattr(asked, name))}")
    return asked


def compare(asked: Comparison, out: Path, *, resume: bool = False, quiet: bool = False) -> dict:
    """Tune every model on validation, refit it on train + validation, and measure all of them on test.

    A model that the data do not allow, or that diverges, is left out, and the results say why.

    Writes to `out`: leaderboard.md, leaderboard.csv, leaderboard.png (if matplotlib is installed), results.json,
    per_user.parquet, and in models/ a JSON file, the lists and the study of every model, as soon as it has them.

    Args:
        asked: what to compare.
        out: a directory that is new or empty; with `resume`, that of a comparison that was stopped.
        resume: go on: nothing that is finished, be it a model or a trial, is done again.
        quiet: show nothing.

    Returns:
        The contents of results.json, which Jupyter shows as a table.

    Raises:
        UserError: there is no model of some name, an option or the directory does not allow it, a file in it is
            damaged, or the data allow none of the models.
    """
    compared, out = models(asked.models), Path(out)
    need_optuna()
    asked.search.check()
    if asked.seeds < 1:
        raise UserError(f"seeds must be at least 1, got {asked.seeds}")
    check_directory(out, resume)
    with Progress(enabled=not quiet) as progress:
        dataset, split = read(asked.data, readers(compared), progress)
        k = parse(asked.search.goal.select_on)[1]
        check_cutoffs((k,), split.train.n_items, split.valid.candidates)
        for ks in (asked.ks, (k,)):
            check_cutoffs(ks, split.train.n_items, split.candidates)
        refused = {each.name: _refusal(each, split, asked.search.goal) for each in compared}
        _check_some_left(refused)
        made_with, records = environment(dataset.sha256) | {"split_sha256": split.sha256}, {}
        with begin(out, asked, made_with, resume):
            for number, each in enumerate(compared, 1):
                record = _finish(each, asked, split, out / "models", progress, refused[each.name])
                progress.say(f"{number} of {len(compared)} models: {each.name}, {_outcome(record)}")
                records[each.name] = record
            _check_some_left({name: record.get(_NOT_POSSIBLE) for name, record in records.items()})
            progress.say("reading test, once ...")
            return _measure(compared, records, asked, split, split.open_test(), out, progress)


_NOT_POSSIBLE = "not possible"  # in a model's record: why


def _refusal(model: Model, split: Split, goal: Goal) -> str | None:
    """Why the data do not allow a model, as far as a look can tell."""
    try:
        model.check(split, goal)
    except UserError as error:
        return str(error)
    return None


def _check_some_left(refused: dict[str, str | None]) -> None:
    """Raise UserError if there is a reason against every model."""
    if all(refused.values()):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise UserError(f"none of these models is possible: {reasons}")


def _outcome(record: dict) -> str:
    if _NOT_POSSIBLE in record:
        return f"{_NOT_POSSIBLE}: {record[_NOT_POSSIBLE]}"
    return f"validation {record['selected_on']} {record['score']:.4f}, {record['total_seconds']:.0f} s"


def _finish(
    model: Model, asked: Comparison, split: Split, folder: Path, progress: Progress, refusal: str | None
) -> dict:
    """The record of a model, which is tuned and refitted unless that has been done, or there is a reason against it."""
    path = folder / f"{model.name}.json"
    if path.exists():
        return _read_record(path)
    try:
        record = {_NOT_POSSIBLE: refusal} if refusal else _tune_and_fit(model, asked, split, folder, progress)
    except StudyError:  # says nothing of the model
        raise
    except UserError as error:
        record = {_NOT_POSSIBLE: str(error)}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"model": model.name} | record, indent=1))
    return record


_OF_RECORD = {
    "selected_on": str, "score": float, "trials": dict, "chosen_epochs": list, "seeds": list, "total_seconds": float,
    "peak_memory_mib": float,
}  # fmt: skip


def _read_record(path: Path) -> dict:
    """What `_finish` wrote.

    Raises:
        UserError: it is damaged.
    """
    record = read_object(path)
    wanted = {_NOT_POSSIBLE: str} if _NOT_POSSIBLE in record else _OF_RECORD
    for name, kind in wanted.items():
        if not isinstance(record.get(name), (kind, int) if kind is float else kind):
            raise UserError(f"{path} is damaged ({name} is {record.get(name)!r}); delete it to fit the model again")
    return record


def _tune_and_fit(model: Model, asked: Comparison, split: Split, folder: Path, progress: Progress) -> dict:
    """Tune and refit a model and keep its lists; what there is to say of it."""
    began, goal = time.perf_counter(), asked.search.goal
    with measured_memory() as memory, measured_compilation() as compilations:
        found = search(model, split, asked.search, folder / f"{model.name}.log", progress)
        searched = time.perf_counter()
        seeds = tuple(range(goal.seed, goal.seed + asked.seeds))
        shown = ModelProgress(progress, model.name, goal, split)
        fitted = model.fit(split, found.values, seeds, goal, (shown,))
        known = split.train_and_valid()
        k = max(*asked.ks, parse(goal.select_on)[1])
        # Of all users: who has test items is not to be known yet.
        users = np.arange(known.n_users)
        lists = top_items(
            fitted.recommenders, to_device(known), users, k, side=fitted.side, candidates=split.candidates
        )
    write_arrays(folder / f"{model.name}.npz", items=lists[0].astype(np.int32), scores=lists[1])
    return found.record() | {
        "selected_on": goal.select_on,
        "chosen_epochs": list(fitted.epochs),
        "seeds": list(seeds) if model.seeded else [goal.seed],
        "refit_seconds": time.perf_counter() - searched,
        "total_seconds": found.seconds + time.perf_counter() - searched,
        "this_session_seconds": time.perf_counter() - began,
        "this_session_compilation_seconds": sum(compilations),
        "peak_memory_mib": memory[0],
    }


def _measure(
    compared: list[Model],
    records: dict[str, dict],
    asked: Comparison,
    split: Split,
    truth: Interactions,
    out: Path,
    progress: Progress,
) -> dict:
    """Everything that stands on the test part."""
    metric, ks = asked.search.goal.select_on, tuple(sorted({*asked.ks, parse(asked.search.goal.select_on)[1]}))
    impossible = {name: record[_NOT_POSSIBLE] for name, record in records.items() if _NOT_POSSIBLE in record}
    records = {name: record for name, record in records.items() if name not in impossible}
    known = to_device(split.train_and_valid())
    evaluations = {name: _evaluate(out / "models" / f"{name}.npz", truth, ks, known) for name in records}
    rivals, tests = _rivals([each for each in compared if each.name in records], records), []
    for name, rival in rivals["pairs"]:
        test = paired_test(evaluations[name].per_user[metric], evaluations[rival].per_user[metric])
        tests.append({"model": name, "against": rival} | test)
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = p
    results = {
        "dataset": split.name,
        "split": split.method,
        "split_sha256": split.sha256,
        "metric": metric,
        "selected_on": "validation",
        "trials": asked.search.trials,
        "seeds": asked.seeds,
        "best_baseline": rivals["best"],
        "best_model": rivals["first"],
        "models": {
            name: records[name] | {"test": evaluation.summary(), "over_users": over_users(evaluation.per_user[metric])}
            for name, evaluation in evaluations.items()
        },
        "not_possible": impossible,
        "tests": tests,
        "tests_method": f"paired t-test of {metric} over users, each user's value averaged over seeds; effect: Cohen's "
        "d of the differences; p_holm: Holm over all tests here; validation says which baseline and model are best",
    }
    users = [e.frame(name, truth.user_ids, records[name]["seeds"]) for name, e in evaluations.items()]
    write_frame(out / "per_user.parquet", pd.concat(users))
    write_text(out / "results.json", json.dumps(results, indent=1))
    table = leaderboard.table(results)
    write_text(out / "leaderboard.csv", table.to_csv(index=False))
    write_text(out / "leaderboard.md", leaderboard.markdown(results))
    if plot.is_possible():
        plot.save(plot.leaderboard(results), out / "leaderboard.png")
    else:
        progress.say("note: no leaderboard.png, since matplotlib is not installed: pip install matplotlib")
    return leaderboard.Leaderboard(results)


def _evaluate(lists: Path, truth: Interactions, ks: tuple[int, ...], known: Positives) -> Evaluation:
    try:
        with np.load(lists) as stored:
            items, scores = stored["items"], stored["scores"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        again = f"delete it and {lists.with_suffix('.json').name} to fit the model again"
        raise UserError(f"cannot read {lists} ({' '.join(str(error).split())}); {again}") from error
    return evaluate_lists(np.arange(truth.n_users), items, scores, truth, ks, known)


def _rivals(compared: Sequence[Model], records: dict[str, dict]) -> dict:
    """The best baseline by validation, and which model is tested against which.

    All against that baseline, adversarial ones against their twins, and the best model by validation, if it is trained,
    against the other baselines too.
    """

    def best_of(names: list[str]) -> str | None:
        return max(names, key=lambda name: records[name]["score"], default=None)

    closed = [each.name for each in compared if each.closed]
    best, first = best_of(closed), best_of([each.name for each in compared])
    pairs = [(each.name, best) for each in compared if best not in (None, each.name)]
    pairs += [(each.name, each.twin) for each in compared if each.twin in records]
    others = [] if first in closed else [(first, name) for name in closed if name != best]
    return {"best": best, "first": first, "pairs": pairs + others}
