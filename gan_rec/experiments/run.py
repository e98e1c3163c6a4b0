"""A whole run in a directory: train both models, measure them once on test, write everything down."""

import dataclasses
import json
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import gan_rec
from gan_rec import data
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import check_cutoffs, compare_models
from gan_rec.experiments import players
from gan_rec.experiments.choices import GAMES
from gan_rec.experiments.config import read_config, read_json
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
    # The article's L_data alone has no negatives: the twin of that form is the cross-entropy that it was taken from.
    form = "alpha" if settings.form == "article-alpha" else settings.form
    twin = dataclasses.replace(settings, alpha=1.0, balance="fixed", form=form)
    models = {"adversarial": settings, "twin": twin}
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
    _check_directory(out, resume)
    with Progress(enabled=not quiet) as progress:
        dataset, split = _read(options, settings, progress)
        check_cutoffs(tuple(ks), split.train.n_items, split.candidates)
        training(settings, split, ())  # every mistake shows before anything is written
        _begin(out, options, settings, ks, environment(dataset) | {"split_sha256": split.sha256}, resume)
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
        seed=options.split_seed,
    )


def _read(options: DataOptions, settings: Settings, progress: Progress) -> tuple[data.Dataset, data.Split]:
    dataset = load(options, settings)
    split = split_of(options, dataset)
    progress.say(f"{dataset.name}: {dataset.n_users:,} users, {dataset.n_items:,} items; {split.method} split")
    for note in (*dataset.notes, *split.notes):
        progress.say(f"  note: {note}")
    if dataset.terms:
        progress.say(f"  terms of use: {dataset.terms}")
    return dataset, split


def _check_directory(out: Path, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"the output {out} is a file; give a directory that is new or empty")
    if resume and not (out / "config.json").exists():
        raise UserError(f"nothing to resume in {out}: there is no config.json; give the directory of a stopped run")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise UserError(f"the output directory {out} is not empty; give a new one, or --resume to go on with its run")


def _begin(out: Path, options: DataOptions, settings: Settings, ks, made_with: dict, resume: bool) -> None:
    config = {"gan_rec": gan_rec.__version__, **dataclasses.asdict(options), **dataclasses.asdict(settings)}
    config |= {"ks": list(ks), "dataset": _lasting(options.dataset)}
    config |= {"item_text": None if options.item_text is None else str(Path(options.item_text).absolute())}
    try:
        text = json.dumps(config, indent=1)
    except TypeError as error:
        raise UserError(
            f"adversary {settings.adversary!r} cannot be written down; name it as my_module:Class"
        ) from error
    if resume and read_json(out / "config.json") != json.loads(text):
        raise UserError(f"{out} holds a run with another configuration; resume it with that of {out / 'config.json'}")
    if resume and (out / "environment.json").exists():
        if read_json(out / "environment.json").get("split_sha256") != made_with["split_sha256"]:
            raise UserError(f"the data of {options.dataset!r} are not those that the run in {out} began with")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "config.json", text)
        write_text(out / "environment.json", json.dumps(made_with, indent=1))
    except OSError as error:
        raise UserError(f"cannot write to the output directory {out}: {error.strerror}") from error


def _lasting(dataset: str) -> str:
    """A path that still means the same from another directory; names stay."""
    named = {d.name for d in data.named_datasets()}
    return dataset if dataset in named else str(Path(dataset).absolute())


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
        "split_sha256": split.sha256,
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
        "seconds": {name: _seconds(fitted.history) for name, fitted in models.items()},
        "throughput": {name: _throughput(fitted.history, split) for name, fitted in models.items()},
        "peak_memory_mib": _peak_memory(),
    }
    users = pd.concat(
        evaluation.frame(name, split.train.user_ids, list(settings.seed_list))
        for name, evaluation in evaluations.items()
    )
    write_frame(out / "per_user.parquet", users)
    write_text(out / "results.json", json.dumps(results, indent=1))
    return results


def attack_radius(settings: Settings) -> float:
    """The radius at which both models are attacked in the end: the game's, else the embedding game's default."""
    return settings.epsilon if settings.epsilon is not None else GAMES["embedding"].options["epsilon"]


def _seconds(history: pd.DataFrame) -> dict[str, float]:
    """Seconds of training for all seeds together, by phase, with compilation apart.

    The model that is trained first pays for the program that both use, so an epoch 1 that takes longer than the median
    one counts as such, and the difference as compilation.
    """
    if history.empty:  # its metrics.jsonl has been taken away
        return {"total": 0.0, "compilation": 0.0}
    by_epoch = history.groupby(["phase", "epoch"], sort=False)["seconds"].sum()
    seconds, compilation = {}, 0.0
    for phase, epochs in by_epoch.groupby(level="phase", sort=False):
        excess = max(0.0, float(epochs.iloc[0] - epochs.median()))
        seconds[phase] = float(epochs.sum()) - excess
        compilation += excess
    return seconds | {"total": sum(seconds.values()), "compilation": compilation}


def _throughput(history: pd.DataFrame, split: data.Split) -> dict[str, float]:
    """Interactions per second and seconds per epoch and seed, from the median epoch of the selection phase."""
    if history.empty:
        return {}
    seconds = float(history.loc[history["phase"] == "selection", "seconds"].median())
    return {"interactions_per_second": len(split.train) / seconds, "seconds_per_epoch_and_seed": seconds}


def _peak_memory() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def open_run(directory: Path) -> Run:
    """Read a finished run: its data again from the source, its weights from the checkpoints.

    Raises:
        UserError: it is no run, not finished, damaged, or its data have changed since.
    """
    directory = Path(directory)
    if not (directory / "config.json").exists():
        raise UserError(f"{directory} is no run directory: it has no config.json")
    options, settings, _ = read_config(directory / "config.json")
    settings = settings.resolved()
    results = directory / "results.json"
    if not results.exists():
        raise UserError(f"the run in {directory} is not finished; train --out {directory} --resume goes on with it")
    split = split_of(options, load(options, settings))
    if split.sha256 != read_json(results).get("split_sha256"):
        raise UserError(f"the data of {options.dataset!r} are not those that the run in {directory} was trained on")
    models = {}
    for name, own in model_settings(settings).items():
        weights = training(own, split, (), Checkpoints(directory / "checkpoints" / name)).restore()
        models[name] = Fitted(own, split, weights, pd.DataFrame(read_rows(directory / "metrics.jsonl", name)))
    return Run(directory, options, settings, models)
