"""The commands that search: their options as typed dataclasses, with what each of them does."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from gan_rec.errors import UserError
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions

# The heavy imports stand inside the commands, as in gan_rec.commands.


@dataclass(frozen=True)
class SearchOptions:
    """How models are tuned."""

    trials: int = 20
    """Trials of each model, its defaults first."""
    parallel: int | None = None
    """Trials proposed at a time; those that differ in learning rates, weights, radii and averages alone run as one
    program (default: 1 on a CPU, which that does not make faster, else 8)."""
    select_on: str = "NDCG@20"
    """The validation metric that counts."""
    epochs: int | None = None
    """The most epochs of a training (default: that of the recommender)."""
    seed: int = 0
    """Seed of the search and first seed of the trainings."""

    def search(self):
        """The same as a `gan_rec.experiments.search.Search`."""
        from gan_rec.experiments.models import Goal
        from gan_rec.experiments.search import Search, usual_parallel

        parallel = usual_parallel() if self.parallel is None else self.parallel
        return Search(self.trials, parallel, Goal(self.select_on, self.epochs, self.seed))


@dataclass(frozen=True)
class Tune:
    """Search the values of a model that do best on validation; the test part is not read."""

    model: str = "autoencoder"
    """A baseline (popularity, item-knn, user-knn, rp3beta, pure-svd, ease, edlae, slim, ials; of people
    common-neighbours, adamic-adar), a recommender (mf, autoencoder, mix, mult-vae, lightgcn, social-lightgcn,
    multimodal), or RECOMMENDER+ADVERSARY of game embedding, as autoencoder+fgm."""
    data: DataOptions = field(default_factory=DataOptions)
    options: SearchOptions = field(default_factory=SearchOptions)
    study: Path | None = None
    """File of the study, where several machines may work on one: Optuna's journal, or SQLite if it ends with .db
    (default: study.log in the output directory)."""
    out: Path | None = None
    """The output directory, new or empty (default: a new one under runs/)."""
    resume: bool = False
    """Go on with a search that was stopped, in --out, perhaps with more --trials; all else must be as it was."""
    quiet: bool = False
    """Show no progress."""

    def run(self) -> None:
        """Search and print what was found."""
        from gan_rec.experiments.models import model
        from gan_rec.experiments.tables import found_table, print_table
        from gan_rec.experiments.tune import tune, twin_note

        out = self.out or new_directory(self.data.dataset, "tune-")
        how = {"study": self.study, "resume": self.resume, "quiet": self.quiet}
        found = tune(self.data, self.model, self.options.search(), out, **how)
        print_table(found_table(found, self.options.select_on))
        if note := twin_note(model(found.model)):
            print(note)
        print(f"output directory: {out}")

    def configured(self) -> "Tune | None":
        """The defaults that a stopped search gives, if one is to be resumed."""
        if not self.resume:
            return None
        from gan_rec.experiments.tune import read_tuning

        asked = read_tuning(stopped("search", self.out))
        study = None if asked.study is None else Path(asked.study)
        return replace(self, model=asked.model, data=asked.data, options=_searched(asked.search), study=study)


@dataclass(frozen=True)
class Compare:
    """A leaderboard: models tuned with an equal budget, refitted, and measured on test, which is read once."""

    models: tuple[str, ...] = ("all",)
    """Names as those of tune, also with commas between them; all: every baseline and recommender. An adversarial model
    brings its twin."""
    data: DataOptions = field(default_factory=DataOptions)
    options: SearchOptions = field(default_factory=SearchOptions)
    seeds: int = 3
    """How many seeds of models that have randomness."""
    k: tuple[int, ...] = DEFAULT_KS
    """Cut-offs of the metrics."""
    out: Path | None = None
    """The output directory, new or empty (default: a new one under runs/)."""
    resume: bool = False
    """Go on with a comparison that was stopped, in --out; finished models and trials are not done again."""
    quiet: bool = False
    """Show no progress."""

    def run(self) -> None:
        """Compare and print the leaderboard."""
        from gan_rec.experiments.compare import Comparison, compare

        names = tuple(name.strip() for given in self.models for name in given.split(",") if name.strip())
        out = self.out or new_directory(self.data.dataset, "compare-")
        asked = Comparison(self.data, names, self.seeds, self.options.search(), self.k)
        compare(asked, out, resume=self.resume, quiet=self.quiet)
        print((out / "leaderboard.md").read_text(encoding="utf-8"))
        print(f"output directory: {out}")

    def configured(self) -> "Compare | None":
        """The defaults that a stopped comparison gives, if one is to be resumed."""
        if not self.resume:
            return None
        from gan_rec.experiments.compare import read_comparison

        asked = read_comparison(stopped("comparison", self.out) / "config.json")
        options = _searched(asked.search)
        return replace(self, models=asked.models, data=asked.data, options=options, seeds=asked.seeds, k=asked.ks)


def _searched(how) -> SearchOptions:
    """The options that a `gan_rec.experiments.search.Search` was made of."""
    return SearchOptions(how.trials, how.parallel, how.goal.select_on, how.goal.epochs, how.goal.seed)


def new_directory(dataset: str, what: str = "") -> Path:
    """Where a run or a search goes if nothing is said."""
    return Path("runs") / f"{what}{Path(dataset).stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def stopped(what: str, out: Path | None) -> Path:
    """The directory of what is to be resumed, which has to be given."""
    if out is None:
        raise UserError(f"--resume needs the directory of the stopped {what}: give it by --out")
    return out
