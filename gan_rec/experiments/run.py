"""A whole run in a directory: train both models, measure them once on test, write everything down."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gan_rec import data
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import check_cutoffs, compare_models
from gan_rec.experiments import label_run, players
from gan_rec.experiments.choices import GAMES
from gan_rec.experiments.config import Config, read_config, read_json
from gan_rec.experiments.directory import begin, check_directory, peak_memory, seconds
from gan_rec.experiments.environment import environment
from gan_rec.experiments.fitting import Fitted, evaluate, evaluate_popularity, probe, training
from gan_rec.experiments.progress import ModelProgress
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions, Settings, check_types
from gan_rec.files import write_frame, write_text
from gan_rec.progress import Progress
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.tracking import Tracker, read_rows


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
    """A run directory with both models, ready to be asked."""

    directory: Path
    options: DataOptions
    settings: Settings
    models: dict[str, Fitted]


def train(
    options: DataOptions,
    settings: Settings,
    out: Path,
    *,
    ks: tuple[int, ...] = DEFAULT_KS,
    resume: bool = False,
    quiet: bool = False,
) -> dict:
    """Train the adversarial model and its twin, evaluate both on test once, and write the run directory.

    Args:
        options: data and split.
        settings: of the game.
        out: the run directory, which must be empty or new; with `resume`, that of a run that was stopped.
        ks: cut-offs of the metrics.
        resume: go on from the last checkpoint.
        quiet: show nothing.

    Returns:
        The contents of results.json.

    Raises:
        UserError: a setting, the data or the directory does not allow it.
    """
    settings, out = settings.resolved(), Path(out)
    check_directory(out, resume)
    with Progress(enabled=not quiet) as progress:
        dataset, split = read(options, settings, progress)
        check_cutoffs(tuple(ks), split.train.n_items, split.candidates)
        players.text_vectors(settings, split.item_texts, progress=not quiet)
        training(settings, split, ())  # every mistake shows before anything is written
        made_with = environment(dataset.sha256) | {"split_sha256": players.split_sha256(settings, split)}
        begin(out, Config("ranking", options, settings, tuple(ks)), made_with, resume)
        models = {}
        with Tracker(out) as tracker:
            for name, own in model_settings(settings).items():
                models[name] = _fit(name, own, split, out, tracker, progress)
        progress.say("evaluating on test, and attacking both models ...")
        return _finish(out, dataset, split, settings, models, tuple(ks))


def load(options: DataOptions, settings: Settings | None = None) -> data.Dataset:
    """Read the data set that the options name, with items' texts if they are given or the recommender reads some."""
    check_types(options)
    reads_text = settings is not None and players.reads_text(settings)
    item_text = reads_text if options.item_text is None else options.item_text
    names = ("positive_from", "user_column", "item_column", "rating_column", "time_column", "min_user", "min_item")
    return data.load(options.dataset, item_text=item_text, **{name: getattr(options, name) for name in names})


def split_of(options: DataOptions, dataset: data.Dataset) -> data.Split:
    """Split it as the options say."""
    return data.split(
        dataset,
        options.split,
        test_fraction=options.test_fraction,
        valid_fraction=options.valid_fraction,
        seed=options.split_seed or 0,
    )


def read(options: DataOptions, settings: Settings | None, progress: Progress) -> tuple[data.Dataset, data.Split]:
    """Load the data set, split it, and show what there is to know of both."""
    dataset = load(options, settings)
    split = split_of(options, dataset)
    progress.say(f"{dataset.name}: {dataset.n_users:,} users, {dataset.n_items:,} items; {split.method} split")
    for note in (*dataset.notes, *split.notes):
        progress.say(f"  note: {note}")
    if dataset.terms:
        progress.say(f"  terms of use: {dataset.terms}")
    return dataset, split


def _fit(name: str, settings: Settings, split: data.Split, out: Path, tracker: Tracker, progress: Progress) -> Fitted:
    observers = (tracker.model(name), ModelProgress(progress, name, settings, split))
    store = Checkpoints(out / "checkpoints" / name)
    weights = training(settings, split, observers, store).fit(split.train, split.valid)
    return Fitted(settings, split, weights, pd.DataFrame(tracker.rows(name)))


def _finish(out: Path, dataset, split: data.Split, settings: Settings, models: dict, ks: tuple[int, ...]) -> dict:
    evaluations = {name: evaluate(fitted, "test", ks) for name, fitted in models.items()}
    results = {
        "dataset": dataset.name,
        "split": split.method,
        "split_sha256": players.split_sha256(settings, split),
        "models": {name: evaluation.summary() for name, evaluation in evaluations.items()},
        "baselines": {"popularity": evaluate_popularity(split, ks).summary()},
        "tests": {
            f"adversarial against {other}": compare_models(evaluations["adversarial"], evaluations[other])
            for other in evaluations
            if other != "adversarial"
        }
        | {
            "method": "paired t-test over users, each user's value averaged over seeds; p_holm: Holm over all metrics",
        },
        "loss_under_attack": probe(models["adversarial"], models["twin"]),
        "attack_radius": attack_radius(settings),
        "selected_on": "validation",
        "selection_metric": settings.select_on,
        "chosen_epochs": {name: fitted.chosen_epochs for name, fitted in models.items()},
        "seconds": {name: seconds(fitted.history) for name, fitted in models.items()},
        "throughput": {name: _throughput(fitted.history, split) for name, fitted in models.items()},
        "peak_memory_mib": peak_memory(),
    }
    users = pd.concat(
        evaluation.frame(name, split.train.user_ids, list(settings.seed_list))
        for name, evaluation in evaluations.items()
    )
    if settings.recommender == "mix":
        results["mix_weights"] = {
            name: fitted.weights.selected.recommender.weights[0].tolist() for name, fitted in models.items()
        }
    write_frame(out / "per_user.parquet", users)
    write_text(out / "results.json", json.dumps(results, indent=1))
    return results


def attack_radius(settings: Settings) -> float:
    """The radius at which both models are attacked in the end: the game's, else the embedding game's default."""
    return settings.epsilon if settings.epsilon is not None else GAMES["embedding"].options["epsilon"]


def _throughput(history: pd.DataFrame, split: data.Split) -> dict[str, float]:
    """Interactions per second and seconds per epoch and seed, from the median epoch of the selection phase.

    A model that is trained in parts makes an epoch of each.
    """
    if history.empty:
        return {}
    selections = history[history["phase"].str.endswith("selection")]
    seconds = float(selections.groupby("phase")["seconds"].median().sum())
    return {"interactions_per_second": len(split.train) / seconds, "seconds_per_epoch_and_seed": seconds}


def evaluate_run(directory: Path, on: str = "test", ks: tuple[int, ...] = DEFAULT_KS) -> dict[str, dict]:
    """The metrics of every model of a run, computed again from its checkpoints.

    Args:
        directory: of the run.
        on: "test", or for rankings "validation".
        ks: cut-offs of rankings.

    Raises:
        UserError: as `open_run`; or `on` or a cut-off is not allowed.
    """
    directory = Path(directory)
    if (directory / "config.json").exists() and read_config(directory / "config.json").task != "ranking":
        return label_run.evaluate_run(directory, on)
    models = open_run(directory).models
    return {name: evaluate(model, on, ks).summary() for name, model in models.items()}


def open_run(directory: Path) -> Run:
    """Read a finished run: its data again from the source, its weights from the checkpoints.

    Raises:
        UserError: it is no run, not finished, damaged, or its data have changed since.
    """
    directory = Path(directory)
    if not (directory / "config.json").exists():
        raise UserError(f"{directory} is no run directory: it has no config.json")
    config = read_config(directory / "config.json")
    if config.task != "ranking":
        raise UserError(f"the run in {directory} has the task {config.task!r}; this needs one that ranks items")
    options, settings = config.data, config.settings.resolved()
    results = directory / "results.json"
    if not results.exists():
        raise UserError(f"the run in {directory} is not finished; train --out {directory} --resume goes on with it")
    split = split_of(options, load(options, settings))
    if players.split_sha256(settings, split) != read_json(results).get("split_sha256"):
        raise UserError(f"the data of {options.dataset!r} are not those that the run in {directory} was trained on")
    models = {}
    for name, own in model_settings(settings).items():
        trained = training(own, split, (), Checkpoints(directory / "checkpoints" / name))
        weights = trained.restore(split.train, split.valid)
        models[name] = Fitted(own, split, weights, pd.DataFrame(read_rows(directory / "metrics.jsonl", name)))
    return Run(directory, options, settings, models)
