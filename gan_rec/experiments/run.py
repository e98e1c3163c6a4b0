"""A whole run in a directory: train both models, measure them once on test, write everything down."""

import dataclasses
import html
import json
from dataclasses import dataclass
from pathlib import Path

import jax
import pandas as pd

from gan_rec import data
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.domains import domain_accuracy
from gan_rec.evaluation.evaluate import Evaluation, check_cutoffs, compare_models
from gan_rec.evaluation.folds import over_folds, pool
from gan_rec.experiments import label_run, players
from gan_rec.experiments.checks import check_cutoffs_apply
from gan_rec.experiments.config import Config, read_config, read_object
from gan_rec.experiments.default_recommender import against_mix, most_accurate
from gan_rec.experiments.directory import (
    add_seconds,
    begin,
    check_directory,
    peak_memory,
    scratch_unless_first,
    seconds,
)
from gan_rec.experiments.environment import environment
from gan_rec.experiments.fitting import Fitted, evaluate, evaluate_popularity, probe, training
from gan_rec.experiments.progress import ModelProgress
from gan_rec.experiments.reading import load, method_of, read_splits, split_sha256, splits_of
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions, Settings
from gan_rec.experiments.views import fitted_html
from gan_rec.files import write_frame, write_text
from gan_rec.progress import Progress
from gan_rec.train import trackers as all_trackers
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.tracking import Tracking, read_rows


def model_settings(settings: Settings) -> dict[str, Settings]:
    """The models of a run by name, with the settings of each.

    The twin is trained without the adversary; after a warm-up there is also its end, "start", which both models have
    in common: its settings make the same first epochs and stop there.
    """
    models = {"adversarial": settings, "twin": settings.twin()}
    if settings.warm_up:
        n = settings.warm_up
        rate = settings.learning_rate if settings.warm_up_learning_rate is None else settings.warm_up_learning_rate
        models["start"] = dataclasses.replace(
            models["twin"], epochs=n, patience=n, evaluate_every=n, warm_up=0, learning_rate=rate
        )
    return models


@dataclass(frozen=True)
class Run:
    """A run directory with both models, ready to be asked; of a cross-validation those of one fold."""

    directory: Path
    options: DataOptions
    settings: Settings
    models: dict[str, Fitted]

    def _repr_html_(self) -> str:
        return f"run <b>{html.escape(self.directory.name)}</b>: {fitted_html(self.models)}"


def train(
    options: DataOptions,
    settings: Settings,
    out: Path,
    *,
    ks: tuple[int, ...] = DEFAULT_KS,
    resume: bool = False,
    quiet: bool = False,
    mesh: str | None = None,
    trackers: tuple[str, ...] = ("tensorboard",),
    debug_nans: bool = False,
) -> dict:
    """Train the adversarial model and its twin, evaluate both on test once, and write the run directory.

    With folds this is done for each of them. Results are then over folds, each the mean of its seeds; tests are paired
    over users, each user's value averaged over folds and seeds.

    Args:
        options: data and split.
        settings: of the game; where they name no recommender, see `most_accurate`.
        out: the run directory, which must be empty or new; with `resume`, that of a run that was stopped.
        ks: cut-offs of the metrics.
        resume: go on from the last checkpoint.
        quiet: show nothing.
        mesh: how devices share the training, see `gan_rec.train.sharding.parse_mesh`; None: one device trains. It is
            no part of the configuration: a run may be resumed on another. Of several processes the first writes.
        trackers: what is told beside metrics.jsonl, see `gan_rec.train.trackers.find`; no part of the configuration.
        debug_nans: where training diverges, say which operation was the first to give NaN.

    Returns:
        The contents of results.json.

    Raises:
        UserError: a setting, the data or the directory does not allow it.
    """
    asked, out = settings, Path(out)
    all_trackers.find(trackers)
    if debug_nans and (mesh is not None or data.is_streamed(options.dataset)):
        raise UserError("debug_nans needs one device and data that are not streamed: leave mesh out")
    settings = most_accurate(asked, options)
    if jax.process_index() == 0:  # to others it looks as the first has left it since
        check_directory(out, resume)
    with scratch_unless_first(out) as own, Progress(enabled=not quiet and own == out) as progress:
        dataset, splits = read_splits(options, [settings], progress)
        first = next(iter(splits.values()))
        settings = most_accurate(asked, options, first)
        if asked.recommender is None and settings.game == "embedding" and settings.recommender != "mix":
            progress.say(f"  note: recommender {settings.recommender}, not mix: {against_mix(asked, options, first)}")
        check_cutoffs(tuple(ks), first.train.n_items, first.candidates)
        if first.train.candidates is not None and not players.reads_text(settings):
            progress.say(
                f"  note: recommender {settings.recommender} knows items by who had them, which says nothing of cold "
                "ones; two-tower and hybrid read their texts"
            )
        players.text_vectors(settings, first.item_texts, progress=not quiet)
        training(settings, first, (), mesh=mesh)  # every mistake shows before anything is written
        digest = split_sha256(settings, splits)
        made_with = environment(dataset.sha256) | digest | {"mesh": mesh}
        config, resumed = Config("ranking", options, settings, tuple(ks)), resume and own == out
        where = _Where(out / "checkpoints", mesh, debug_nans)
        told = all_trackers.make(trackers, own) if own == out else ()
        with begin(own, config, made_with, resumed), Tracking(own, told) as tracking:
            tracking.begin(json.loads(config.text_of()), resumed)
            parts = [
                _part(fold, split, settings, tuple(ks), where, tracking, progress) for fold, split in splits.items()
            ]
            results = _finish(own, dataset, splits, settings, parts)
            tracking.finish(results)
        return results


@dataclass(frozen=True)
class _Part:
    """What came of one split."""

    fold: int | None
    evaluations: dict[str, Evaluation]  # on test, by model
    popularity: Evaluation
    attacked: dict  # see `probe`
    chosen_epochs: dict[str, list[int]]
    histories: dict[str, pd.DataFrame]
    mix_weights: dict[str, list[float]]  # of the parts of recommender mix, by model
    domain_accuracy: dict[str, list[float]]  # of a critic trained afresh, in game domain, by model


@dataclass(frozen=True)
class _Where:
    """Where checkpoints and arrays are."""

    checkpoints: Path
    mesh: str | None
    debug_nans: bool = False


def _part(
    fold: int | None,
    split: data.Split,
    settings: Settings,
    ks: tuple[int, ...],
    where: _Where,
    tracking: Tracking,
    progress: Progress,
) -> _Part:
    models = {
        name: _fit(_label(name, fold), own, split, _folder(where.checkpoints, name, fold), where, tracking, progress)
        for name, own in model_settings(settings).items()
    }
    progress.say("evaluating on test, and attacking both models ...")
    return _Part(
        fold,
        {name: evaluate(fitted, "test", ks) for name, fitted in models.items()},
        evaluate_popularity(split, ks),
        probe(models["adversarial"], models["twin"]),
        {name: fitted.chosen_epochs for name, fitted in models.items()},
        {name: fitted.history for name, fitted in models.items()},
        {
            name: fitted.weights.selected.recommender.weights[0].tolist()
            for name, fitted in models.items()
            if settings.recommender == "mix"
        },
        {
            name: domain_accuracy(fitted.weights.selected.recommender, to_device(split.train)).tolist()
            for name, fitted in models.items()
            if settings.game == "domain"
        },
    )


def _label(name: str, fold: int | None) -> str:
    """Of a model in metrics.jsonl."""
    return name if fold is None else f"{name} {fold}"


def _folder(checkpoints: Path, name: str, fold: int | None) -> Path:
    """A model's checkpoints."""
    return checkpoints / ("" if fold is None else f"fold-{fold}") / name


def _fit(label: str, settings: Settings, split: data.Split, folder: Path, where: _Where, tracking: Tracking, progress):
    tracked = tracking.model(label)
    observers = (tracked, ModelProgress(progress, label, settings, split))
    trained = training(settings, split, observers, Checkpoints(folder, progress.say), where.mesh)
    if where.debug_nans:
        trained = trained.debugged()
    weights = trained.fit(split.train, split.valid)
    fitted = Fitted(settings, split, weights, pd.DataFrame(tracking.rows(label)))
    if tracking.trackers:
        texts = split.item_texts or [""] * split.train.n_items
        labels = [f"{name} {text}".strip() for name, text in zip(split.train.item_ids, texts, strict=True)]
        tracked.embedding(fitted.item_rows(), labels)
    return fitted


def _finish(out: Path, dataset: data.Dataset, splits: dict, settings: Settings, parts: list[_Part]) -> dict:
    names, folded, first = list(parts[0].evaluations), None not in splits, next(iter(splits.values()))
    averaged = "folds and seeds" if folded else "seeds"

    def by_fold(what: str) -> dict[str, list]:
        each = [getattr(part, what) for part in parts]
        return {name: [one[name] for one in each] if folded else each[0][name] for name in each[0]}

    pooled = {name: pool([part.evaluations[name] for part in parts]) for name in names}
    results = {
        "dataset": dataset.name,
        **{name: getattr(settings, name) for name in ("game", "recommender", "adversary")},
        "split": method_of(splits).removesuffix(" split"),
        **split_sha256(settings, splits),
        "models": over_folds([{name: each.summary() for name, each in part.evaluations.items()} for part in parts]),
        "baselines": over_folds([{"popularity": part.popularity.summary()} for part in parts]),
        "tests": {
            f"adversarial against {other}": compare_models(pooled["adversarial"], pooled[other])
            for other in names
            if other != "adversarial"
        }
        | {
            "method": f"paired t-test over users, each user's value averaged over {averaged}; p_holm: Holm over all "
            "metrics",
        },
        "loss_under_attack": over_folds([part.attacked for part in parts]),
        "attack_radius": attack_radius(settings),
        "selected_on": "validation",
        "selection_metric": settings.select_on,
        "chosen_epochs": by_fold("chosen_epochs"),
        "seconds": {name: add_seconds([seconds(part.histories[name]) for part in parts]) for name in names},
        "throughput": {name: _throughput(pd.concat([part.histories[name] for part in parts]), first) for name in names},
        "peak_memory_mib": peak_memory(),
    }
    if settings.game == "domain":
        results["domain_accuracy"] = by_fold("domain_accuracy")
    if settings.recommender == "mix":
        results["mix_weights"] = by_fold("mix_weights")
    write_frame(out / "per_user.parquet", _per_user(parts, first.train.user_ids, settings))
    write_text(out / "results.json", json.dumps(results, indent=1))
    return results


def _per_user(parts: list[_Part], user_ids, settings: Settings) -> pd.DataFrame:
    """Rows by model, fold if there are some, seed and user."""
    frames = []
    for name in parts[0].evaluations:
        for part in parts:
            frames.append(part.evaluations[name].frame(name, user_ids, list(settings.seed_list)))
            if part.fold is not None:
                frames[-1].insert(1, "fold", part.fold)
    return pd.concat(frames, ignore_index=True)


def attack_radius(settings: Settings) -> float:
    """The radius at which both models are attacked in the end: the game's, else the embedding game's default."""
    return players.with_radius(settings).epsilon


def _throughput(history: pd.DataFrame, split: data.Split) -> dict[str, float]:
    """Interactions per second and seconds per epoch and seed, from the median epoch of the selection phase.

    A model that is trained in parts makes an epoch of each.
    """
    if history.empty:
        return {}
    selections = history[history["phase"].str.endswith("selection")]
    seconds = float(selections.groupby("phase")["seconds"].median().sum())
    return {"interactions_per_second": len(split.train) / seconds, "seconds_per_epoch_and_seed": seconds}


def evaluate_run(directory: Path, on: str = "test", ks: tuple[int, ...] | None = None) -> dict[str, dict]:
    """The metrics of every model of a run, computed again from its checkpoints; with folds over all of them.

    Args:
        directory: of the run.
        on: "test", or for rankings "validation".
        ks: cut-offs of rankings; other tasks have none. None: those of the run.

    Raises:
        UserError: as `open_run`; or `on` or a cut-off is not allowed.
    """
    directory = Path(directory)
    if (directory / "config.json").exists() and (task := read_config(directory / "config.json").task) != "ranking":
        check_cutoffs_apply(task, ks is not None)
        return label_run.evaluate_run(directory, on)
    config, splits = _open(directory)
    found = []
    for fold in splits:
        models = _restore(directory, config, splits, fold).models
        found.append(
            {name: evaluate(model, on, config.ks if ks is None else ks).summary() for name, model in models.items()}
        )
    return over_folds(found)


def open_run(directory: Path, fold: int | None = None) -> Run:
    """Read a finished run: its data again from the source, its weights from the checkpoints.

    Args:
        directory: of the run.
        fold: which of its folds, from 1. None: the first, if it has any.

    Raises:
        UserError: it is no run, not finished, damaged, or its data have changed since; or it has no such fold.
    """
    directory = Path(directory)
    config, splits = _open(directory)
    if fold is not None and fold not in splits:
        has = "no folds" if None in splits else f"{len(splits)} folds, so 1 to {len(splits)}"
        raise UserError(f"fold {fold} is not possible: the run in {directory} has {has}")
    return _restore(directory, config, splits, next(iter(splits)) if fold is None else fold)


def _open(directory: Path) -> tuple[Config, dict[int | None, data.Split]]:
    """What a finished run was asked, with resolved settings, and its data."""
    if not (directory / "config.json").exists():
        raise UserError(f"{directory} is no run directory: it has no config.json")
    config = read_config(directory / "config.json")
    if config.task != "ranking":
        raise UserError(f"the run in {directory} has the task {config.task!r}; this needs one that ranks items")
    config = dataclasses.replace(config, settings=config.settings.resolved())
    results = directory / "results.json"
    if not results.exists():
        raise UserError(f"the run in {directory} is not finished; train --out {directory} --resume goes on with it")
    splits = splits_of(config.data, load(config.data, [config.settings]))
    if split_sha256(config.settings, splits)["split_sha256"] != read_object(results).get("split_sha256"):
        raise UserError(
            f"the data of {config.data.dataset!r}, or the language model that reads their texts, are not those that "
            f"the run in {directory} was trained on"
        )
    return config, splits


def _restore(directory: Path, config: Config, splits: dict[int | None, data.Split], fold: int | None) -> Run:
    models, split = {}, splits[fold]
    for name, own in model_settings(config.settings).items():
        trained = training(own, split, (), Checkpoints(_folder(directory / "checkpoints", name, fold)))
        weights = trained.restore(split.train, split.valid)
        rows = read_rows(directory / "metrics.jsonl", _label(name, fold))
        models[name] = Fitted(own, split, weights, pd.DataFrame(rows))
    return Run(directory, config.data, config.settings, models)
