"""A labels run in a directory: every fold, the adversarial classifier and its twin, baselines, and what attacks do."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from gan_rec.data.labelled import LabelledTexts, read_labelled
from gan_rec.errors import UserError
from gan_rec.evaluation.labels import METRICS, LabelEvaluation, delong
from gan_rec.evaluation.significance import holm, summary
from gan_rec.experiments import label_baselines
from gan_rec.experiments.config import Config, read_config, read_json
from gan_rec.experiments.directory import begin, check_directory, peak_memory, seconds
from gan_rec.experiments.environment import environment
from gan_rec.experiments.labels import (
    ATTACKED_BY,
    Inputs,
    LabelSplit,
    evaluate_labels,
    label_settings,
    label_training,
    read_inputs,
    splits,
)  # fmt: skip
from gan_rec.experiments.progress import ModelProgress
from gan_rec.experiments.settings import DataOptions, Settings, TextOptions, check_types
from gan_rec.files import write_frame, write_text
from gan_rec.language.encode import load_encoder
from gan_rec.progress import Progress
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.tracking import Tracker

_SEED, _FRACTION = 42, 0.2  # the article's
MODELS = ("adversarial", "twin")


def train_labels(
    options: DataOptions,
    settings: Settings,
    text: TextOptions,
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> dict:
    """Train the adversarial classifier and its twin on every fold, test each once, and write the run directory.

    Args:
        options: the table, and how it is split.
        settings: of the game.
        text: columns, language model, folds.
        out: the run directory, which must be empty or new; with `resume`, that of a run that was stopped.
        resume: go on from the last checkpoint.
        quiet: show nothing.

    Returns:
        The contents of results.json.

    Raises:
        UserError: a setting, the data or the directory does not allow it.
    """
    settings, out = label_settings(settings), Path(out)
    check_directory(out, resume)
    with Progress(enabled=not quiet) as progress:
        table, inputs, parts = _prepare(options, settings, text, progress, show=not quiet)
        label_training(settings, inputs, parts[0], ())  # every mistake shows before anything is written
        made_with = environment({table.name: table.sha256}) | {"split_sha256": _sha256(table, parts)}
        begin(out, Config("labels", options, settings, text=text), made_with, resume)
        evaluations, told = {}, []
        with Tracker(out) as tracker:
            for fold, split in enumerate(parts, start=1):
                found, rows = _fold(fold, split, table, inputs, settings, out, tracker, progress)
                told += rows
                for name, evaluation in found.items():
                    evaluations.setdefault(name, []).append(evaluation)
        return _finish(out, table, parts, settings, text, made_with, evaluations, told)


def _prepare(options: DataOptions, settings: Settings, text: TextOptions, progress: Progress, *, show: bool):
    check_types(options)
    check_types(text)
    table = read_labelled(options.dataset, text.text_column, text.label_column, text.feature_column)
    progress.say(f"{table.name}: {len(table):,} texts")
    for note in table.notes:
        progress.say(f"  note: {note}")
    encoder = load_encoder(settings.encoder, pooling=settings.pooling)
    inputs = read_inputs(encoder, table.texts.tolist(), settings, progress=show)
    seed = _SEED if options.split_seed is None else options.split_seed
    fractions = {"test": options.test_fraction, "valid": options.valid_fraction}
    how = {name: _FRACTION if value is None else value for name, value in fractions.items()} | {"seed": seed}
    return table, inputs, list(splits(table, inputs, text, **how))


def _sha256(table: LabelledTexts, parts: list[LabelSplit]) -> str:
    """Of the table and of which rows are where."""
    digest = hashlib.sha256(table.sha256.encode())
    for split in parts:
        for rows in split.rows:
            digest.update(np.asarray(rows, np.int64).tobytes() + b"|")
    return digest.hexdigest()


def _fold(
    fold: int,
    split: LabelSplit,
    table,
    inputs: Inputs,
    settings: Settings,
    out: Path,
    tracker: Tracker,
    progress: Progress,
):
    """Evaluations by model and attack, and rows of what the training took."""
    found, told = {}, []
    for name, own in {"adversarial": settings, "twin": settings.twin()}.items():
        label = f"{name} {fold}"
        observers = (tracker.model(label), ModelProgress(progress, label, own, split))
        store = Checkpoints(out / "checkpoints" / f"fold-{fold}" / name)
        fit = label_training(own, inputs, split, observers, store).fit(split.train, split.valid)
        found[name] = evaluate_labels(fit, split)
        for attack in ATTACKED_BY:
            found[f"{name} under {attack}"] = evaluate_labels(
                fit, split, attack=attack, radius=settings.epsilon, norm=settings.norm
            )
        epochs = [int(epoch) for epoch in fit.selected.epoch]
        told.append({"model": name, "epochs": epochs, **seconds(pd.DataFrame(tracker.rows(label)))})
    progress.say("fitting TF-IDF with logistic regression ...")
    found["majority"] = label_baselines.majority(split)
    found["TF-IDF"] = label_baselines.tfidf(split, table.texts)
    return found, told


def _finish(out: Path, table, parts, settings: Settings, text: TextOptions, made_with, evaluations, told) -> dict:
    summaries = {name: _summary(found) for name, found in evaluations.items()}
    tests = {
        f"adversarial against {other}": _tests(evaluations["adversarial"], evaluations[other])
        for other in ("twin", "TF-IDF")
    }
    corrected = holm([test["p"] for test in tests.values()])
    results = {
        "dataset": table.name,
        "task": "labels",
        "texts": len(table),
        "notes": list(table.notes),
        "split": f"{text.folds} folds" if text.folds else "one",
        "split_sha256": made_with["split_sha256"],
        "models": {name: summaries[name] for name in MODELS},
        "baselines": {name: summaries[name] for name in ("majority", "TF-IDF")},
        "under_attack": {
            attack: {name: summaries[f"{name} under {attack}"] for name in MODELS} for attack in ATTACKED_BY
        },
        "attack_radius": settings.epsilon,
        "tests": {name: test | {"p_holm": p} for (name, test), p in zip(tests.items(), corrected, strict=True)},
        "tests_method": "DeLong's test over texts, AUC averaged over seeds and folds; p_holm: Holm over the tests",
        "selected_on": "validation",
        "selection_metric": settings.select_on,
        "chosen_epochs": {name: [row["epochs"] for row in told if row["model"] == name] for name in MODELS},
        "seconds": {
            name: {
                part: float(sum(row.get(part, 0.0) for row in told if row["model"] == name))
                for part in ("selection", "refit", "total", "compilation")
            }
            for name in MODELS
        },
        "peak_memory_mib": peak_memory(),
    }  # fmt: skip
    write_frame(out / "per_text.parquet", _per_text(parts, evaluations))
    write_text(out / "results.json", json.dumps(results, indent=1))
    return results


def _summary(folds: list[LabelEvaluation]) -> dict[str, dict]:
    """Over the seeds of one split, or over folds (each the mean of its seeds)."""
    if len(folds) == 1:
        return {metric: summary(folds[0].per_seed(metric)) for metric in METRICS}
    return {metric: summary([fold.per_seed(metric).mean() for fold in folds]) for metric in METRICS}


def _tests(first: list[LabelEvaluation], second: list[LabelEvaluation]) -> dict:
    """The difference of AUC, averaged over folds, whose test parts are of different texts."""
    from scipy import stats

    each = [delong(a.labels, a.probabilities, b.probabilities) for a, b in zip(first, second, strict=True)]
    difference = float(np.mean([test["difference"] for test in each]))
    error = float(np.sqrt(np.sum([test["error"] ** 2 for test in each])) / len(each))
    p = float(2 * stats.norm.sf(abs(difference) / error)) if error > 0 else 1.0
    return {"difference": difference, "ci95": [difference - 1.96 * error, difference + 1.96 * error], "p": p}


def _per_text(parts: list[LabelSplit], evaluations: dict) -> pd.DataFrame:
    frames = []
    for name in (*MODELS, "TF-IDF"):
        for fold, (split, found) in enumerate(zip(parts, evaluations[name], strict=True), start=1):
            for seed, probabilities in enumerate(found.probabilities):
                columns = {"model": name, "fold": fold, "seed": seed, "row": split.rows[2], "label": found.labels}
                frames.append(pd.DataFrame(columns | {"probability": probabilities}))
    return pd.concat(frames, ignore_index=True)


def evaluate_run(directory: Path, on: str = "test") -> dict[str, dict]:
    """The metrics of both models of a labels run, computed again from its checkpoints.

    Raises:
        UserError: it is no such run, not finished, damaged, or its data have changed since.
    """
    config = read_config(directory / "config.json")
    if on != "test":
        raise UserError(f"a labels run is evaluated on test, not on {on!r}")
    if not (directory / "results.json").exists():
        raise UserError(f"the run in {directory} is not finished; train --out {directory} --resume goes on with it")
    with Progress(enabled=False) as silent:
        table, inputs, parts = _prepare(config.data, config.settings, config.text, silent, show=False)
    if _sha256(table, parts) != read_json(directory / "results.json").get("split_sha256"):
        raise UserError(f"the data of {config.data.dataset!r} are not those that the run in {directory} was trained on")
    found = {}
    for name, own in {"adversarial": config.settings, "twin": config.settings.twin()}.items():
        evaluations = []
        for fold, split in enumerate(parts, start=1):
            store = Checkpoints(directory / "checkpoints" / f"fold-{fold}" / name)
            evaluations.append(evaluate_labels(label_training(own, inputs, split, (), store).restore(), split))
        found[name] = _summary(evaluations)
    return found
