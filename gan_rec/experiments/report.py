"""One page about a run, or several side by side: what was asked, the data, curves, results, some recommendations."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gan_rec import plot
from gan_rec.errors import UserError
from gan_rec.evaluation.significance import holm, paired_test
from gan_rec.experiments.card import Section, card
from gan_rec.experiments.config import TASKS, read_config, read_object
from gan_rec.experiments.environment import device_text
from gan_rec.experiments.fitting import Fitted, recommend
from gan_rec.experiments.label_tables import labels_table
from gan_rec.experiments.lists import indices_of
from gan_rec.experiments.run import Run, open_run
from gan_rec.experiments.tables import as_frames, interval, results_table, short
from gan_rec.experiments.titles import titles_of
from gan_rec.train.tracking import read_rows

_USERS, _K, _HISTORY = 3, 10, 5
_NOT_OPTIONS = ("gan_rec", "task", "ks")
_NEEDED = {
    "environment.json": {"device": dict},
    "results.json": {"dataset": str, "split_sha256": str, "selection_metric": str, "models": dict, "baselines": dict},
}


@dataclass(frozen=True)
class Reported:
    """What the files of a finished run say."""

    name: str
    directory: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    results: dict[str, Any]

    @property
    def task(self) -> str:
        """One of `gan_rec.experiments.config.TASKS`."""
        return self.config["task"]

    @property
    def metric(self) -> str:
        """That chose the epoch."""
        return self.results["selection_metric"]

    def histories(self) -> dict[str, pd.DataFrame]:
        """Rows of metrics.jsonl by model."""
        rows = pd.DataFrame(read_rows(self.directory / "metrics.jsonl"))
        return {} if rows.empty else dict(iter(rows.groupby("model", sort=False)))


def report(directories: Sequence[Path], users: Sequence[str] | None = None) -> str:
    """The page as HTML, which needs nothing else.

    Args:
        directories: of finished runs, of any task.
        users: whose recommendations are shown, by original ids; None: three, with long, middling and short histories.

    Raises:
        UserError: a directory holds no finished run, a file is damaged, or there is no such user.
    """
    runs = read_runs(directories)
    sections = [_side_by_side(runs)] if len(runs) > 1 else []
    for run in runs:
        about = f"{run.name}: " if len(runs) > 1 else ""
        sections += [_asked(run, about), _training(run, about), _results(run, about)]
        if run.task == "ranking":
            sections.append(_recommendations(run, about, users))
    title = f"Run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs: {', '.join(run.name for run in runs)}"
    return card(title, _facts(runs), sections)


def read_runs(directories: Sequence[Path]) -> list[Reported]:
    """The runs in these directories, named after them.

    Raises:
        UserError: see `report`.
    """
    if not directories:
        raise UserError("no run is given; at least one is needed")
    directories = [Path(directory) for directory in directories]
    places = [directory.resolve() for directory in directories]
    if len(set(places)) < len(places):
        raise UserError("a run is given twice")
    names = [place.name for place in places]
    names = [name if names.count(name) == 1 else str(path) for name, path in zip(names, directories, strict=True)]
    return [_read(directory, name) for directory, name in zip(directories, names, strict=True)]


def _read(directory: Path, name: str) -> Reported:
    if not (directory / "config.json").exists():
        raise UserError(f"{directory} is no run directory: it has no config.json")
    config = read_object(directory / "config.json")
    if config.get("task", TASKS[0]) not in TASKS or "models" in config:
        raise UserError(f"{directory} holds no run of the command train; report takes these")
    read_config(directory / "config.json")  # says what is wrong with it
    if not (directory / "results.json").exists():
        raise UserError(f"the run in {directory} is not finished; train --out {directory} --resume goes on with it")
    kept = {name: read_object(directory / name) for name in _NEEDED}
    for file, needed in _NEEDED.items():
        if lost := [part for part, kind in needed.items() if not isinstance(kept[file].get(part), kind)]:
            raise UserError(f"{directory / file} is damaged: it does not say {', '.join(lost)}")
    return Reported(name, directory, {"task": TASKS[0]} | config, *kept.values())


def _facts(runs: list[Reported]) -> dict[str, str]:
    some = runs[0]
    if len(runs) > 1:
        return {"runs": ", ".join(run.name for run in runs)}
    return {
        "data": str(some.results["dataset"]),
        "task": some.task,
        "recommender": f"{some.config.get('recommender')}, game {some.config.get('game')}",
        "adversary": f"{some.config.get('adversary')}; twin: the same without it",
        "seeds": str(some.config.get("seeds")),
        "chosen by": f"{some.metric} on validation; test was read once",
        "device": device_text(some.environment["device"]),
        "git revision": str(some.environment.get("git_revision")),
    }


def _asked(run: Reported, about: str) -> Section:
    options = {name: value for name, value in run.config.items() if name not in _NOT_OPTIONS and value is not None}
    shown = [(name, value) for name, value in options.items() if value not in ((), [], False)]
    data = {"data set": run.results["dataset"], "split": run.results.get("split"), "sha256 of the split": None}
    data["sha256 of the split"] = run.results["split_sha256"]
    data |= {name: run.results[name] for name in ("texts", "ratings") if name in run.results}
    kept = run.environment.get("data_sha256")
    files = kept.items() if isinstance(kept, dict) else [("data", kept)]
    data |= {f"sha256 of {Path(name).name}": value for name, value in files}
    return Section(
        f"{about}Configuration and data",
        "Everything needed to repeat the run: train --config config.json.",
        {"options": _pairs("option", shown), "data": _pairs("", data.items())},
        notes=tuple(run.results.get("notes", ())),
    )


def _pairs(name: str, pairs) -> pd.DataFrame:
    return pd.DataFrame([(str(key), _said(value)) for key, value in pairs], columns=[name, "value"])


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _training(run: Reported, about: str) -> Section:
    histories = run.histories()
    figures, notes = {}, []
    if not plot.is_possible():
        notes.append("no pictures, since matplotlib is not installed: pip install 'gan_rec[plot]'")
    elif not histories:
        notes.append("no curves: metrics.jsonl holds no epoch")
    else:
        shown = dict(itertools.islice(histories.items(), 3))  # of many folds, the first
        figures["losses of both players by epoch"] = plot.losses(shown)
        figures["metric on validation by epoch"] = plot.validation(shown)
        if len(shown) < len(histories):
            notes.append(f"curves of {', '.join(shown)} alone; metrics.jsonl has those of all {len(histories)}")
    text = "Losses of both players, and what chose the epoch: mean and range over seeds, before the refit."
    return Section(f"{about}Training", text, figures=figures, notes=notes)


def _results(run: Reported, about: str) -> Section:
    table = results_table if run.task == "ranking" else labels_table
    figures = {}
    models = run.results["models"] | run.results["baselines"]
    if run.task == "ranking" and any(name.startswith("popularity@") for name in models["twin"]):
        figures["accuracy against the popularity of what is recommended"] = plot.if_possible(plot.popularity, models)
    text = "Test, read once. Intervals are of 95%; differences are tested in pairs, corrected for their number by Holm."
    return Section(f"{about}Results", text, as_frames(table(run.results)), figures)


def _recommendations(run: Reported, about: str, users: Sequence[str] | None) -> Section:
    title = f"{about}Recommendations"
    try:
        opened = open_run(run.directory)
    except (UserError, OSError) as error:
        if users is not None:
            raise
        return Section(title, "Of the adversarial model's first seed.", notes=[f"left out: {error}"])
    fitted = opened.models["adversarial"]
    return Section(
        title,
        "Of the adversarial model's first seed: items that the user has in neither train nor validation.",
        _lists(opened, fitted, users),
        {"item rows on their first two principal components": plot.if_possible(plot.embeddings, fitted)},
    )


def _lists(run: Run, fitted: Fitted, users: Sequence[str] | None) -> dict[str, pd.DataFrame]:
    known = fitted.split.train_and_valid().at_hand
    own = fitted.split.train.at_hand
    if users is None:
        ordered = np.argsort(-np.bincount(own.users, minlength=own.n_users), kind="stable")
        picked = ordered[np.unique([len(ordered) // 20, len(ordered) // 2, len(ordered) - 1])][:_USERS]
    else:
        picked = indices_of(users, known.user_ids)
    titles = titles_of(run, fitted.split)
    titles = None if titles is None else dict(zip(known.item_ids.tolist(), map(short, titles), strict=True))
    tables = {}
    for index in picked:
        user, had = known.user_ids[index], known.item_ids[known.items[known.users == index]]
        some = [titles[item] if titles else str(item) for item in had[:_HISTORY].tolist()]
        k = min(_K, known.n_items if fitted.split.candidates is None else int(fitted.split.candidates.sum()))
        found = recommend(fitted, [user], k).drop(columns="user")
        if titles:
            found["title"] = [titles[item] for item in found["item"].tolist()]
        found = found.assign(item=found["item"].astype(str))
        more = " ..." if len(had) > _HISTORY else ""
        tables[f"user {user}, who has {len(had):,} items: {'; '.join(some)}{more}"] = found
    return tables


def _side_by_side(runs: list[Reported]) -> Section:
    tables = {"test, mean ± 95% interval over seeds or folds": _all_models(runs)}
    differing = _differences(runs)
    if not differing.empty:
        tables["options in which they differ"] = differing
    tests, notes = _tests(runs)
    if tests is not None:
        tables[f"differences of {runs[0].metric}, paired t-tests over users, Holm over these tests"] = tests
    curves, figures = {}, {}
    for run in runs:
        firsts = itertools.islice(run.histories().items(), 2)
        curves |= {f"{run.name}, {model}": history for model, history in firsts}
    if curves and plot.is_possible():
        figures["metric on validation by epoch, of all runs"] = plot.validation(curves)
    text = "Models of all runs. Numbers of different data or splits are no comparison."
    return Section("Side by side", text, tables, figures, notes)


def _all_models(runs: list[Reported]) -> pd.DataFrame:
    rows = []
    for run in runs:
        for model, metrics in (run.results["models"] | run.results["baselines"]).items():
            cells = {name: interval(found) for name, found in metrics.items() if _is_plain(name, run.metric)}
            rows.append({"run": run.name, "model": model} | cells)
    return pd.DataFrame(rows).fillna("")


def _is_plain(name: str, selected: str) -> bool:
    """The metrics at the cut-off that chose the epoch, or all where there are no cut-offs."""
    return name.partition("@")[2] in ("", selected.partition("@")[2])


def _differences(runs: list[Reported]) -> pd.DataFrame:
    names = dict.fromkeys(name for run in runs for name in run.config if name not in ("gan_rec",))
    values = {name: [_said(run.config.get(name)) for run in runs] for name in names}
    rows = [[name, *own] for name, own in values.items() if len(set(own)) > 1]
    return pd.DataFrame(rows, columns=["option", *(run.name for run in runs)])


def _tests(runs: list[Reported]) -> tuple[pd.DataFrame | None, list[str]]:
    """Every pair of adversarial models, of rankings on the same split."""
    if any(run.task != "ranking" for run in runs):
        return None, ["tests between runs are made of rankings alone"]
    if len({run.results["split_sha256"] for run in runs}) > 1:
        return None, ["no tests between these runs: their data or splits are not the same"]
    metric, rows = runs[0].metric, []
    values = {run.name: _by_user(run, metric) for run in runs}
    if any(found is None for found in values.values()):
        return None, [f"no tests between these runs: one has no {metric} by user"]
    for (first, a), (second, b) in itertools.combinations(values.items(), 2):
        a, b = a.align(b, join="inner")
        rows.append({"run": first, "against": second} | paired_test(a.to_numpy()[None], b.to_numpy()[None]))
    corrected = holm([row["p"] for row in rows])
    shown = [
        {
            "run": row["run"],
            "against": row["against"],
            "difference": f"{row['difference']:+.4f}",
            "95% interval": "{:+.4f} to {:+.4f}".format(*row["ci95"]),
            "p (Holm)": f"{p:.3g}",
            "users": row["users"],
        }
        for row, p in zip(rows, corrected, strict=True)
    ]
    return pd.DataFrame(shown), []


def _by_user(run: Reported, metric: str) -> pd.Series | None:
    path = run.directory / "per_user.parquet"
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    if metric not in frame.columns:
        return None
    return frame[frame["model"] == "adversarial"].groupby("user")[metric].mean()
