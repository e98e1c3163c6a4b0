"""The command compare: models tuned with one budget, refitted, and measured on test, which is read once at the end."""

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import gan_rec
from gan_rec.data import Interactions, Split
from gan_rec.data.sampling import Positives, to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation, check_cutoffs, evaluate_lists
from gan_rec.evaluation.metrics import parse
from gan_rec.evaluation.ranking import top_items
from gan_rec.evaluation.significance import holm, over_users, paired_test
from gan_rec.experiments import leaderboard
from gan_rec.experiments.config import lasting_paths, read_json
from gan_rec.experiments.directory import begin, check_directory, measured_memory
from gan_rec.experiments.environment import environment
from gan_rec.experiments.models import Goal, Model, models
from gan_rec.experiments.progress import ModelProgress
from gan_rec.experiments.run import read
from gan_rec.experiments.search import Search, need_optuna, search
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
        config = {"gan_rec": gan_rec.__version__, "task": "compare"} | dataclasses.asdict(self.data) | own
        budget = {"trials": self.search.trials, "parallel": self.search.parallel}
        return json.dumps(lasting_paths(config) | budget | dataclasses.asdict(self.search.goal), indent=1)


def read_comparison(path: Path) -> Comparison:
    """What `Comparison.text_of` wrote.

    Raises:
        UserError: the file cannot be read or is of something else.
    """
    config = read_json(path)
    if not isinstance(config, dict) or config.get("task") != "compare":
        raise UserError(f"{path} is no configuration of a comparison")
    names = {cls: {f.name for f in dataclasses.fields(cls)} & set(config) for cls in (DataOptions, Goal)}
    options, goal = (cls(**{name: config[name] for name in own}) for cls, own in names.items())
    how = Search(config["trials"], config["parallel"], goal)
    return Comparison(options, tuple(config["models"]), config["seeds"], how, tuple(config["ks"]))


def compare(asked: Comparison, out: Path, *, resume: bool = False, quiet: bool = False) -> dict:
    """Tune every model on validation, refit it on train + validation, and measure all of them on test.

    Writes to `out`: leaderboard.md, leaderboard.csv, leaderboard.png (if matplotlib is installed), results.json,
    per_user.parquet, and in models/ a JSON file, the lists and the study of every model, as soon as it has them.

    Args:
        asked: what to compare.
        out: a directory that is new or empty; with `resume`, that of a comparison that was stopped.
        resume: go on: nothing that is finished, be it a model or a trial, is done again.
        quiet: show nothing.

    Returns:
        The contents of results.json.

    Raises:
        UserError: there is no model of some name, or an option, the data or the directory does not allow it.
    """
    compared, out = models(asked.models), Path(out)
    need_optuna()
    asked.search.check()
    if asked.seeds < 1:
        raise UserError(f"seeds must be at least 1, got {asked.seeds}")
    check_directory(out, resume)
    with Progress(enabled=not quiet) as progress:
        dataset, split = read(asked.data, None, progress)
        k = parse(asked.search.goal.select_on)[1]
        check_cutoffs((k,), split.train.n_items, split.valid.candidates)
        check_cutoffs((*asked.ks, k), split.train.n_items, split.candidates)
        begin(out, asked, environment(dataset.sha256) | {"split_sha256": split.sha256}, resume)
        for number, each in enumerate(compared, 1):
            record = _finish(each, asked, split, out / "models", progress)
            score = f"validation {record['selected_on']} {record['score']:.4f}"
            progress.say(f"{number} of {len(compared)} models: {each.name}, {score}, {record['total_seconds']:.0f} s")
        progress.say("reading test, once ...")
        return _measure(compared, asked, split, split.open_test(), out, progress)


def _finish(model: Model, asked: Comparison, split: Split, folder: Path, progress: Progress) -> dict:
    """Tune and refit a model and keep its lists, unless that has been done."""
    path = folder / f"{model.name}.json"
    if path.exists():
        return read_json(path)
    began, goal = time.perf_counter(), asked.search.goal
    with measured_memory() as memory:
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
    record = found.record() | {
        "selected_on": goal.select_on,
        "chosen_epochs": list(fitted.epochs),
        "seeds": list(seeds) if model.seeded else [goal.seed],
        "refit_seconds": time.perf_counter() - searched,
        "total_seconds": found.seconds + time.perf_counter() - searched,
        "this_session_seconds": time.perf_counter() - began,
        "peak_memory_mib": memory[0],
    }
    write_text(path, json.dumps(record, indent=1))
    return record


def _measure(
    compared: list[Model], asked: Comparison, split: Split, truth: Interactions, out: Path, progress: Progress
) -> dict:
    """Everything that stands on the test part."""
    metric, ks = asked.search.goal.select_on, tuple(sorted({*asked.ks, parse(asked.search.goal.select_on)[1]}))
    records = {each.name: read_json(out / "models" / f"{each.name}.json") for each in compared}
    known = to_device(split.train_and_valid())
    evaluations = {name: _evaluate(out / "models" / f"{name}.npz", truth, ks, known) for name in records}
    rivals, tests = _rivals(compared, records), []
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
        "models": {
            name: records[name] | {"test": evaluation.summary(), "over_users": over_users(evaluation.per_user[metric])}
            for name, evaluation in evaluations.items()
        },
        "tests": tests,
        "tests_method": f"paired t-test of {metric} over users, each user's value averaged over seeds; effect: Cohen's "
        "d of the differences; p_holm: Holm over all tests here; the best baseline is that of the best validation",
    }
    users = [e.frame(name, truth.user_ids, records[name]["seeds"]) for name, e in evaluations.items()]
    write_frame(out / "per_user.parquet", pd.concat(users))
    write_text(out / "results.json", json.dumps(results, indent=1))
    table = leaderboard.table(results)
    write_text(out / "leaderboard.csv", table.to_csv(index=False))
    write_text(out / "leaderboard.md", leaderboard.markdown(results))
    if not leaderboard.plot(results, out / "leaderboard.png"):
        progress.say("note: no leaderboard.png, since matplotlib is not installed: pip install matplotlib")
    return results


def _evaluate(lists: Path, truth: Interactions, ks: tuple[int, ...], known: Positives) -> Evaluation:
    with np.load(lists) as stored:
        items, scores = stored["items"], stored["scores"]
    return evaluate_lists(np.arange(truth.n_users), items, scores, truth, ks, known)


def _rivals(compared: Sequence[Model], records: dict[str, dict]) -> dict:
    """The best baseline by validation, and which model is tested against which."""
    closed = [each.name for each in compared if each.closed]
    best = max(closed, key=lambda name: records[name]["score"], default=None)
    pairs = [(each.name, best) for each in compared if best not in (None, each.name)]
    return {"best": best, "pairs": pairs + [(each.name, each.twin) for each in compared if each.twin]}
