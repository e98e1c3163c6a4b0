"""The command tune: a search in a directory, whose finding `train --config` can repeat."""

import json
from pathlib import Path

from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import check_cutoffs
from gan_rec.evaluation.metrics import parse
from gan_rec.experiments.config import Config
from gan_rec.experiments.models import Model, model
from gan_rec.experiments.run import read
from gan_rec.experiments.search import Found, Search, need_optuna, search
from gan_rec.experiments.settings import DataOptions
from gan_rec.files import write_text
from gan_rec.progress import Progress

STUDY = "study.log"


def tune(
    options: DataOptions,
    name: str,
    how: Search,
    out: Path,
    *,
    study: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Found:
    """Search the values of a model that do best on validation, and write them down. The test part is not read.

    Writes found.json and, of a model that is trained, the config.json of a run with these values.

    Args:
        options: data and split.
        name: see `gan_rec.experiments.models.model`.
        how: how to search.
        out: a directory that is new or empty; with `resume` that of a search that was stopped.
        study: the file of the study; it may have been begun, here or elsewhere. None: in `out`.
        resume: go on.
        quiet: show nothing.

    Raises:
        UserError: there is no such model, or the data, the directory or the study do not allow it.
    """
    tuned, out = model(name), Path(out)
    need_optuna()
    how.check()
    _check_directory(out, study or out / STUDY, resume)
    with Progress(enabled=not quiet) as progress:
        _, split = read(options, None, progress)
        check_cutoffs((parse(how.goal.select_on)[1],), split.train.n_items, split.valid.candidates)
        out.mkdir(parents=True, exist_ok=True)
        found = search(tuned, split, how, study or out / STUDY, progress, shared=study is not None)
    write_text(out / "found.json", json.dumps(found.record() | {"selected_on": how.goal.select_on}, indent=1))
    if not tuned.closed:
        write_text(out / "config.json", _config(options, tuned, found, how).text_of())
    return found


def _config(options: DataOptions, tuned: Model, found: Found, how: Search) -> Config:
    seed = how.goal.seed
    return Config("ranking", options, tuned.settings(found.values, how.goal, tuple(range(seed, seed + 3))))


def _check_directory(out: Path, study: Path, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"the output {out} is a file; give a directory that is new or empty")
    if resume and not study.exists():
        raise UserError(f"nothing to resume: there is no study {study}; give the directory of a stopped search")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise UserError(f"the output directory {out} is not empty; give a new one, or --resume to go on with it")
