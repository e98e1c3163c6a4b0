"""A run that tells labels, in a directory: every fold, the adversarial model, its twin, baselines, and attacks."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from gan_rec.data.labelled import read_labelled
from gan_rec.errors import UserError
from gan_rec.evaluation.labels import UAUC, LabelEvaluation, delong, normal_test
from gan_rec.evaluation.significance import holm, paired_test, summary
from gan_rec.experiments import label_baselines, players
from gan_rec.experiments.checks import check_folds, check_types
from gan_rec.experiments.choices import OF_LABELS
from gan_rec.experiments.config import Config, read_config, read_object
from gan_rec.experiments.directory import add_seconds, begin, check_directory, peak_memory, seconds
from gan_rec.experiments.environment import environment
from gan_rec.experiments.labels import (
    ATTACKED_BY,
    Inputs,
    LabelSplit,
    check_parts,
    evaluate_labels,
    label_settings,
    label_training,
    read_inputs,
    reader,
    splits,
)  # fmt: skip
from gan_rec.experiments.progress import ModelProgress
from gan_rec.experiments.ratings import read_ratings
from gan_rec.experiments.settings import DataOptions, Settings, TextOptions
from gan_rec.experiments.words import word_counts
from gan_rec.files import write_frame, write_text
from gan_rec.progress import Progress
from gan_rec.train import trackers as all_trackers
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.fit import Fit, Training
from gan_rec.train.tracking import Tracking

_SEED, _FRACTION = 42, 0.2  # the article's
MODELS = ("adversarial", "twin")


@dataclass(frozen=True)
class Problem:
    """Labels that are to be told.

    Args:
        task: "labels" (of texts) or "ratings" (of pairs).
        name: of the data.
        things: what has labels, for people: "texts", "ratings".
        notes: what was noticed.
        sha256: of each file.
        parts: one split, or the folds of a cross-validation.
        folded: whether they are folds.
        training: (settings, split, observers, store) -> Training.
        baselines: name -> (split -> evaluation); the last is the one that models are tested against.
        remarks: () -> what there is to note of the baselines.
    """

    task: str
    name: str
    things: str
    notes: tuple[str, ...]
    sha256: dict[str, str]
    parts: list[LabelSplit]
    folded: bool
    training: Callable
    baselines: dict[str, Callable[[LabelSplit], LabelEvaluation]]
    remarks: Callable[[], tuple[str, ...]] = tuple

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.parts[0].rows)

    @property
    def split_sha256(self) -> str:
        """Of the data and of which rows are where."""
        digest = hashlib.sha256("".join(self.sha256.values()).encode())
        for split in self.parts:
            for rows in split.rows:
                digest.update(np.asarray(rows, np.int64).tobytes() + b"|")
        return digest.hexdigest()


def train_labels(
    task: str,
    options: DataOptions,
    settings: Settings,
    text: TextOptions,
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    trackers: tuple[str, ...] = ("tensorboard",),
) -> dict:
    """Train the adversarial classifier and its twin on every fold, test each once, and write the run directory.

    Args:
        task: "labels": of texts; "ratings": whether users like items.
        options: the data, and how they are split.
        settings: of the game.
        text: of texts: columns, and what is known of them.
        out: the run directory, which must be empty or new; with `resume`, that of a run that was stopped.
        resume: go on from the last checkpoint.
        quiet: show nothing.
        trackers: what is told beside metrics.jsonl, see `gan_rec.train.trackers.find`.

    Returns:
        The contents of results.json.

    Raises:
        UserError: a setting, the data or the directory does not allow it.
    """
    settings, out = label_settings(settings, task), Path(out)
    all_trackers.find(trackers)
    check_directory(out, resume)
    with Progress(enabled=not quiet) as progress:
        config = Config(task, options, settings, text=text)
        problem = _prepare(config, progress, show=not quiet)
        problem.training(settings, problem.parts[0], (), None)  # every mistake shows before anything is written
        made_with = environment(problem.sha256) | {"split_sha256": problem.split_sha256}
        evaluations, told = {}, []
        with begin(out, config, made_with, resume), Tracking(out, all_trackers.make(trackers, out)) as tracking:
            tracking.begin(json.loads(config.text_of()), resume)
            for fold, split in enumerate(problem.parts, start=1):
                found, rows = _fold(fold, split, problem, settings, out, tracking, progress)
                told += rows
                for name, evaluation in found.items():
                    evaluations.setdefault(name, []).append(evaluation)
            results = _finish(out, problem, settings, evaluations, told)
            tracking.finish(results)
        return results


def _prepare(config: Config, progress: Progress, *, show: bool) -> Problem:
    check_types(config.data)
    check_types(config.text)
    return (_of_texts if config.task == "labels" else _of_ratings)(config, progress, show)


def _say(progress: Progress, name: str, count: str, notes: tuple[str, ...]) -> None:
    progress.say(f"{name}: {count}")
    for note in notes:
        progress.say(f"  note: {note}")


def _of_texts(config: Config, progress: Progress, show: bool) -> Problem:
    options, settings, text = config.data, config.settings, config.text
    _check_data(options)
    table = read_labelled(options.dataset, text.text_column, text.label_column, text.feature_column)
    notes = table.notes
    if text.labelled < 1:
        notes += (f"{text.labelled:.1%} of the labels are known, the same to all seeds, and figures are of these",)
    _say(progress, table.name, f"{len(table):,} texts", notes)
    check_parts(table.labels, text, options.folds)  # before the texts are encoded, which may take long
    encoder = reader(settings)
    inputs = read_inputs(encoder, table.texts.tolist(), settings, progress=show)
    seed = _SEED if options.split_seed is None else options.split_seed
    counts = cache(lambda: word_counts(table.texts))
    fractions = {"test": options.test_fraction, "valid": options.valid_fraction}
    how = {name: _FRACTION if value is None else value for name, value in fractions.items()} | {"seed": seed}
    parts = list(splits(table, inputs, text, folds=options.folds, **how))
    return Problem(
        task="labels", name=table.name, things="texts", notes=notes,
        sha256={table.name: table.sha256, "language model": encoder.sha256},
        parts=parts, folded=bool(options.folds),
        training=partial(_text_training, inputs, text.word_scores),
        baselines={
            "majority": partial(label_baselines.majority, refit=settings.refit),
            "TF-IDF": lambda split: label_baselines.tfidf(split, counts(), refit=settings.refit),
        },
        remarks=lambda: label_baselines.tfidf_remarks(parts, counts()),
    )  # fmt: skip


def _check_data(options: DataOptions) -> None:
    """Raise UserError for what tables of texts do not have, and for numbers out of range."""
    check_folds(options)
    blank = DataOptions()
    allowed = ("dataset", "test_fraction", "valid_fraction", "split_seed", "folds")
    for each in dataclasses.fields(options):
        if each.name not in allowed and getattr(options, each.name) != getattr(blank, each.name):
            raise UserError(f"{each.name} is no option of texts with labels; allowed: {', '.join(allowed)}")
    for name in ("test_fraction", "valid_fraction"):
        value = getattr(options, name)
        if value is not None and not 0 < value < 1:
            raise UserError(f"{name} must lie between 0 and 1, got {value}")
    if options.split_seed is not None and not 0 <= options.split_seed < 2**32:
        raise UserError(f"split_seed must be 0 to 2**32 - 1, got {options.split_seed}")


def _text_training(inputs: Inputs, scored: bool, settings, split: LabelSplit, observers, store) -> Training:
    return label_training(settings, inputs, split, observers, store, scored=scored)


def _of_ratings(config: Config, progress: Progress, show: bool) -> Problem:
    found, refit = read_ratings(config.data, config.settings), config.settings.refit
    _say(progress, found.name, f"{sum(map(len, found.split.rows)):,} ratings", found.notes)
    players.text_vectors(config.settings, found.item_texts, progress=show)
    users = {"item mean": "none", "user mean + item mean": "known"}
    if found.in_time:
        users["running user mean + item mean"] = "running"
    return Problem(
        task="ratings", name=found.name, things="ratings", notes=found.notes, sha256=found.sha256,
        parts=[found.split], folded=False, training=found.training,
        baselines={
            name: partial(label_baselines.means, users=which, refit=refit) for name, which in users.items()
        },
    )  # fmt: skip


def _fold(fold: int, split: LabelSplit, problem: Problem, settings, out: Path, tracking: Tracking, progress: Progress):
    """Evaluations by model and attack, and rows of what the training took; baselines are fitted beside it."""
    beside = ThreadPoolExecutor(1)
    try:
        baselines = {name: beside.submit(baseline, split) for name, baseline in problem.baselines.items()}
        found, told = _players(fold, split, problem, settings, out, tracking, progress)
        progress.say(f"fitting {', '.join(baselines)} ...")
        return found | {name: baseline.result() for name, baseline in baselines.items()}, told
    finally:  # those that were not begun shall not be begun
        beside.shutdown(wait=False, cancel_futures=True)


def _players(
    fold: int, split: LabelSplit, problem: Problem, settings, out: Path, tracking: Tracking, progress: Progress
):
    found, told = {}, []
    for name, own in {"adversarial": settings, "twin": settings.twin()}.items():
        label = f"{name} {fold}"
        observers = (tracking.model(label), ModelProgress(progress, label, own, split, problem.things))
        store = Checkpoints(out / "checkpoints" / f"fold-{fold}" / name, progress.say)
        fit = problem.training(own, split, observers, store).fit(split.train, split.valid)
        found[name] = evaluate_labels(fit, split)
        part, known = split.to_attack(), {"thresholds": found[name].thresholds}
        found[f"{name} under none"] = found[name] if part is split else evaluate_labels(fit, part, **known)
        for attack in ATTACKED_BY:
            found[f"{name} under {attack}"] = evaluate_labels(
                fit, part, **known, attack=attack, radius=settings.epsilon, norm=settings.norm
            )
        epochs = [int(epoch) for epoch in fit.selected.epoch]
        told.append({"model": name, "epochs": epochs, "seconds": seconds(pd.DataFrame(tracking.rows(label)))})
    return found, told


def _finish(out: Path, problem: Problem, settings: Settings, evaluations: dict, told: list[dict]) -> dict:
    summaries = {name: _summary(found) for name, found in evaluations.items()}
    tests, baseline = {}, list(problem.baselines)[-1]
    for first, second in (("adversarial", "twin"), ("adversarial", baseline), ("twin", baseline)):
        pair = evaluations[first], evaluations[second]
        tests[f"{first} against {second}"] = _test(*pair)
        if problem.task == "ratings":
            tests[f"{first} against {second}, {UAUC}"] = _test_groups(*(folds[0] for folds in pair))
    corrected = holm([test["p"] for test in tests.values()])
    results = {
        "dataset": problem.name,
        "task": problem.task,
        problem.things: len(problem),
        "notes": [*problem.notes, *problem.remarks()],
        "split": f"{len(problem.parts)} folds" if problem.folded else "one",
        "split_sha256": problem.split_sha256,
        "models": {name: summaries[name] for name in MODELS},
        "baselines": {name: summaries[name] for name in problem.baselines},
        "under_attack": {
            attack: {name: summaries[f"{name} under {attack}"] for name in MODELS} for attack in ("none", *ATTACKED_BY)
        },
        "attack_radius": settings.epsilon,
        f"attacked_{problem.things}": sum(len(each.labels) for each in evaluations["twin under none"]),
        "tests": {name: test | {"p_holm": p} for (name, test), p in zip(tests.items(), corrected, strict=True)},
        "tests_method": f"{_TESTS[problem.task]}; p_holm: Holm over the tests",
        "selected_on": "validation",
        "selection_metric": settings.select_on,
        "chosen_epochs": {name: [row["epochs"] for row in told if row["model"] == name] for name in MODELS},
        "seconds": {name: add_seconds([row["seconds"] for row in told if row["model"] == name]) for name in MODELS},
        "peak_memory_mib": peak_memory(),
    }  # fmt: skip
    write_frame(out / f"per_{problem.things[:-1]}.parquet", _per_row(problem, evaluations, settings.seed_list))
    write_text(out / "results.json", json.dumps(results, indent=1))
    return results


def _summary(folds: list[LabelEvaluation]) -> dict[str, dict]:
    """Over the seeds of one split, or over folds (each the mean of its seeds)."""
    if len(folds) == 1:
        return {metric: summary(folds[0].per_seed(metric)) for metric in folds[0].metrics}
    return {metric: summary([fold.per_seed(metric).mean() for fold in folds]) for metric in folds[0].metrics}


_TESTS = {
    "labels": "DeLong's test over texts, AUC averaged over seeds and folds, given these trained models",
    "ratings": f"DeLong's test over ratings, clustered by user (Obuchowski 1997), AUC averaged over seeds; {UAUC}: "
    "paired t-test over users",
}


def _test(first: list[LabelEvaluation], second: list[LabelEvaluation]) -> dict:
    """The difference of AUC, averaged over folds, whose test parts are of different texts; undefined if one fold's is.

    None stands for what is undefined.
    """
    each = [delong(a.labels, a.probabilities, b.probabilities, a.groups) for a, b in zip(first, second, strict=True)]
    difference = float(np.mean([test["difference"] for test in each]))
    error = float(np.sqrt(np.sum([test["error"] ** 2 for test in each])) / len(each))
    return _told(normal_test(difference, error)) if np.isfinite(error) else _undefined(difference)


def _test_groups(first: LabelEvaluation, second: LabelEvaluation) -> dict:
    """The difference of UAUC; undefined where fewer than two users have both labels."""
    a, b = first.per_group(), second.per_group()
    if a.shape[1] < 2:
        return _undefined(float(a.mean() - b.mean()) if a.size else None)
    return _told(paired_test(a, b))


def _told(test: dict) -> dict:
    return {name: test[name] for name in ("difference", "ci95", "p")}


def _undefined(difference: float | None) -> dict:
    return {"difference": difference, "ci95": None, "p": None}


def _per_row(problem: Problem, evaluations: dict, seeds: tuple[int, ...]) -> pd.DataFrame:
    frames = []
    for name in (*MODELS, list(problem.baselines)[-1]):
        for fold, (split, found) in enumerate(zip(problem.parts, evaluations[name], strict=True), start=1):
            for seed, probabilities in zip(seeds, found.probabilities, strict=False):  # baselines have one
                columns = {"model": name, "fold": fold, "seed": seed, "row": split.rows[2], "label": found.labels}
                frames.append(pd.DataFrame(columns | {"probability": probabilities}))
    return pd.concat(frames, ignore_index=True)


def evaluate_run(directory: Path, on: str = "test") -> dict[str, dict]:
    """The metrics of both models of such a run, computed again from its checkpoints.

    Raises:
        UserError: as `open_labels`; or the run is to be evaluated on another part than test.
    """
    if on != "test":
        task = read_config(directory / "config.json").task
        raise UserError(f"a run of task {task!r} is evaluated on test, not on {on!r}")
    _, problem, fits = open_labels(directory)
    return {
        name: _summary([evaluate_labels(fit, split) for fit, split in zip(found, problem.parts, strict=True)])
        for name, found in fits.items()
    }


def open_labels(directory: Path) -> tuple[Config, Problem, dict[str, list[Fit]]]:
    """A finished run: what it was asked, its data again from the source, and by model the weights of every fold.

    Raises:
        UserError: it is no such run, not finished, damaged, or its data have changed since.
    """
    if not (directory / "config.json").exists():
        raise UserError(f"{directory} is no run directory: it has no config.json")
    config = read_config(directory / "config.json")
    if config.task not in OF_LABELS:
        raise UserError(f"the run in {directory} has the task {config.task!r}; this needs one that tells labels")
    if not (directory / "results.json").exists():
        raise UserError(f"the run in {directory} is not finished; train --out {directory} --resume goes on with it")
    config = dataclasses.replace(config, settings=label_settings(config.settings, config.task))
    with Progress(enabled=False) as silent:
        problem = _prepare(config, silent, show=False)
    if problem.split_sha256 != read_object(directory / "results.json").get("split_sha256"):
        raise UserError(
            f"the data of {config.data.dataset!r}, or the language model that reads their texts, are not those that "
            f"the run in {directory} was trained on"
        )
    fits = {}
    for name, own in {"adversarial": config.settings, "twin": config.settings.twin()}.items():
        stores = [Checkpoints(directory / "checkpoints" / f"fold-{n}" / name) for n in range(1, len(problem.parts) + 1)]
        fits[name] = [
            problem.training(own, split, (), store).restore(split.train, split.valid)
            for split, store in zip(problem.parts, stores, strict=True)
        ]
    return config, problem, fits
