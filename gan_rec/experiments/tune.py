"""The command tune: a search in a directory, whose finding `train --config` can repeat."""

import json
from dataclasses import dataclass
from pathlib import Path

from gan_rec.evaluation.evaluate import check_cutoffs
from gan_rec.evaluation.metrics import parse
from gan_rec.experiments.asked import asked_text, read_asked
from gan_rec.experiments.config import Config
from gan_rec.experiments.directory import begin, check_directory
from gan_rec.experiments.environment import environment
from gan_rec.experiments.models import Model, model, readers
from gan_rec.experiments.reading import read
from gan_rec.experiments.search import Found, Search, need_optuna, search, try_study
from gan_rec.experiments.settings import DataOptions
from gan_rec.files import write_text
from gan_rec.progress import Progress

STUDY = "study.log"
ASKED = "search.json"  # what was asked; config.json is of what was found


@dataclass(frozen=True)
class Tuning:
    """All that a search was asked to do.

    Args:
        data: data and split.
        model: its name.
        search: how to search.
        study: the file of the study; None: in the output directory.
    """

    data: DataOptions
    model: str
    search: Search = Search()
    study: str | None = None

    def text_of(self) -> str:
        """As JSON."""
        return asked_text("tune", self.data, self.search, model=self.model, study=self.study)


def read_tuning(out: Path) -> Tuning:
    """What the search in this directory was asked.

    Raises:
        UserError: it cannot be read.
    """
    return read_asked(out / ASKED, "tune", Tuning)


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

    Writes search.json (what was asked), environment.json, found.json and, of a model that is trained, the config.json
    of a run with these values.

    Args:
        options: data and split.
        name: see `gan_rec.experiments.models.model`.
        how: how to search.
        out: a directory that is new or empty; with `resume` that of a search that was stopped.
        study: the file of the study; it may have been begun, here or elsewhere. None: in `out`.
        resume: go on; everything but the numbers of trials, and of those at a time, must be as it was.
        quiet: show nothing.

    Raises:
        UserError: there is no such model, or the data, the directory or the study do not allow it.
    """
    tuned, out = model(name), Path(out)
    need_optuna()
    how.check()
    check_directory(out, resume, ASKED)
    asked = Tuning(options, tuned.name, how, None if study is None else str(study))
    with Progress(enabled=not quiet) as progress:
        dataset, split = read(options, readers([tuned]), progress)
        check_cutoffs((parse(how.goal.select_on)[1],), split.train.n_items, split.valid.candidates)
        tuned.check(split, how.goal)
        if study is not None and not resume:  # a file that cannot be used shall leave nothing behind
            try_study(tuned, split, how.goal, study)
        made_with = environment(dataset.sha256) | {"split_sha256": split.sha256}
        with begin(out, asked, made_with, resume, ASKED, free=("trials", "parallel")):
            found = search(tuned, split, how, study or out / STUDY, progress, shared=study is not None)
            note = twin_note(tuned)
            record = found.record() | {"selected_on": how.goal.select_on} | ({"note": note} if note else {})
            write_text(out / "found.json", json.dumps(record, indent=1))
            if not tuned.closed:
                write_text(out / "config.json", _config(options, tuned, found, how).text_of())
    return found


def twin_note(tuned: Model) -> str | None:
    """Of an adversarial model: what its config.json is not; else None."""
    if tuned.twin is None:
        return None
    return (
        f"note: these values were tuned for {tuned.name}; with train --config the twin gets them too, so it is not "
        f"tuned itself: compare tunes {tuned.twin} with a budget of its own"
    )


def _config(options: DataOptions, tuned: Model, found: Found, how: Search) -> Config:
    seed = how.goal.seed
    return Config("ranking", options, tuned.settings(found.values, how.goal, tuple(range(seed, seed + 3))))
