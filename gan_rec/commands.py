"""The commands: their options as typed dataclasses, with what each of them does."""

import json
import sys
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gan_rec.errors import UserError
from gan_rec.experiments.checks import check_cutoffs_apply
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions, Settings, TextOptions

# The heavy imports stand inside the commands, so that --help and mistakes answer at once.


@dataclass(frozen=True)
class Datasets:
    """List the named data sets, and whether they are on this disk."""

    def run(self) -> None:
        """Print the table."""
        from gan_rec.experiments.tables import datasets_table, print_table

        print_table(datasets_table())


@dataclass(frozen=True)
class Language:
    """List the pretrained language models, install them, and check that they work."""

    install: tuple[str, ...] = ()
    """Models to install into this Python environment: minilm, smollm2."""
    check: tuple[str, ...] = ()
    """Models (names or paths) to load and to try on some texts."""

    def run(self) -> None:
        """Install, check, and print what is there."""
        from gan_rec.language import install, known_models
        from gan_rec.language.check import check

        for name in self.install:
            install(name)
        for name in self.check:
            print(check(name))
        if not self.check:
            for model in known_models().itertuples():
                state = "installed" if model.installed else f"to install it: {model.command}"
                print(f"{model.name}: {model.about}; {model.licence}; {state}")


@dataclass(frozen=True)
class Train:
    """Train a recommender against an adversary, and its twin without one; evaluate both on test, once."""

    task: Literal["ranking", "labels", "ratings"] = "ranking"
    """What is learned: a ranking of items for users, 0/1 labels of texts, or whether users like items (ratings)."""
    data: DataOptions = field(default_factory=DataOptions)
    settings: Settings = field(default_factory=Settings)
    text: TextOptions = field(default_factory=TextOptions)
    k: tuple[int, ...] = DEFAULT_KS
    """Cut-offs of the metrics."""
    out: Path | None = None
    """The run directory, new or empty (default: a new one under runs/)."""
    config: Path | None = None
    """A run's config.json to repeat; options given beside it win."""
    resume: bool = False
    """Go on with a run that was stopped, in --out or beside --config."""
    quiet: bool = False
    """Show no progress."""
    mesh: str | None = None
    """How all devices share the work of --task ranking: data=X,model=Y splits batches in X parts and the tables of
    recommender mf in Y (default: one device trains)."""
    coordinator: str | None = None
    """Several processes, each started with the same options but its own process-id: HOST:PORT of the first."""
    processes: int | None = None
    """How many processes train together."""
    process_id: int | None = None
    """Which of them this is, from 0, which writes the run; all must see its directory."""
    cluster: bool = False
    """Take these three from the cluster's environment (Slurm, Open MPI, Kubernetes, Cloud TPU)."""

    def run(self) -> None:
        """Train, perhaps with other processes, and print the tables."""
        from gan_rec.train.processes import Processes

        others = Processes(self.coordinator, self.processes, self.process_id, self.cluster)
        others.check()
        if others.several and (self.mesh is None or self.out is None):
            raise UserError("several processes need --mesh and --out")
        if self.mesh is not None and self.task != "ranking":
            raise UserError(f"--mesh {self.mesh} needs --task ranking, this is --task {self.task}")
        others.run(self._run)

    def _run(self) -> None:
        import jax

        out = self._directory()
        how = {"resume": self.resume, "quiet": self.quiet}
        given = [f.name for f in fields(self.text) if getattr(self.text, f.name) != getattr(TextOptions(), f.name)]
        if self.task != "labels" and given:
            raise UserError(f"{', '.join(given)}: only --task labels has such options, this is --task {self.task}")
        check_cutoffs_apply(self.task, self.k != DEFAULT_KS)
        if self.task != "ranking":
            from gan_rec.experiments.label_run import train_labels
            from gan_rec.experiments.label_tables import labels_table as table

            results = train_labels(self.task, self.data, self.settings, self.text, out, **how)
        else:
            from gan_rec.experiments.run import train
            from gan_rec.experiments.tables import results_table as table

            results = train(self.data, self.settings, out, ks=self.k, mesh=self.mesh, **how)
        from gan_rec.experiments.tables import print_table

        if jax.process_index() == 0:
            print_table(table(results))
            print(f"run directory: {out}")

    def configured(self) -> "Train | None":
        """The defaults that a configuration gives, if there is one to read."""
        from gan_rec.experiments.config import read_config

        path = self.config
        if path is None and self.resume:
            path = self._directory() / "config.json"
            if not path.exists():
                raise UserError(f"nothing to resume: there is no {path}")
        if path is None:
            return None
        config = read_config(path)
        return replace(
            self, task=config.task, data=config.data, settings=config.settings, k=config.ks, text=config.text
        )

    def _directory(self) -> Path:
        if self.out is not None:
            return self.out
        if self.resume:
            return _stopped("run", self.config and self.config.parent)
        return _new_directory(self.data.dataset)


@dataclass(frozen=True)
class Evaluate:
    """Compute the metrics of a run again from its checkpoints."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run."""
    on: str = "test"
    """test (weights after the refit) or, for rankings, validation (weights before it)."""
    k: tuple[int, ...] | None = None
    """Cut-offs of the metrics of rankings (default: the run's own)."""
    format: Literal["table", "json"] = "table"
    """How to print."""

    def run(self) -> None:
        """Print the metrics of both models."""
        from gan_rec.experiments.run import evaluate_run
        from gan_rec.experiments.tables import evaluation_table, print_table

        summaries = evaluate_run(self.run_directory, self.on, self.k)
        if self.format == "json":
            print(json.dumps({"on": self.on, "models": summaries}, indent=1))
        else:
            print_table(evaluation_table(f"{self.run_directory} on {self.on}", summaries))


@dataclass(frozen=True)
class Recommend:
    """Recommend items that a user has not seen, with original ids."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run, or a file that the command export wrote."""
    users: tuple[str, ...] | None = None
    """User ids as in the data."""
    all: bool = False
    """All users."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10
    """List length."""
    format: Literal["table", "csv", "json"] = "table"
    """How to print; csv has the columns user,rank,item,score."""
    output: Path | None = None
    """Write to this file rather than to the screen."""
    model: Literal["adversarial", "twin"] = "adversarial"
    """Which of the two models answers."""
    seed_index: int = 0
    """Which of its seeds answers."""
    fold: int | None = None
    """Which of the folds of a cross-validation answers (default: the first)."""
    memory: int = 64
    """MiB of scores that are held at a time."""

    def run(self) -> None:
        """Print or write the recommendations."""
        from gan_rec.experiments.artefact import load_artefact
        from gan_rec.experiments.fitting import recommend
        from gan_rec.experiments.run import open_run
        from gan_rec.experiments.tables import recommendations_text
        from gan_rec.files import write_text

        if self.all == (self.users is not None):
            raise UserError("recommend for whom? give either --users ID ... or --all")
        if self.run_directory.is_file():
            if (self.model, self.seed_index, self.fold) != ("adversarial", 0, None):
                raise UserError(
                    "model, seed_index and fold are options of a run; an exported file holds one recommender"
                )
            artefact = load_artefact(self.run_directory)
            found = artefact.recommend(self.users, self.k, memory=self.memory)
        else:
            model = open_run(self.run_directory, self.fold).models[self.model]
            found = recommend(model, self.users, self.k, seed_index=self.seed_index, memory=self.memory)
        text = recommendations_text(found, self.format)
        if self.output is None:
            sys.stdout.write(text)
            return
        try:
            write_text(self.output, text)
        except OSError as error:
            raise UserError(f"cannot write {self.output}: {error.strerror}") from error


@dataclass(frozen=True)
class Export:
    """Write one recommender, without its adversary, as plain arrays in one file, and say what that costs."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run."""
    output: Path = Path("recommender.npz")
    """The file, which the command recommend also takes in the place of a run."""
    int8: bool = False
    """Write rows as whole numbers of one byte, with a scale for each 64 of them."""
    model: Literal["adversarial", "twin"] = "adversarial"
    """Which of the two models."""
    seed_index: int = 0
    """Which of its seeds."""
    fold: int | None = None
    """Which of the folds of a cross-validation (default: the first)."""

    def run(self) -> None:
        """Write the file, read it again, and print its size and accuracy beside the model's."""
        from gan_rec.experiments.artefact import export, measure, save
        from gan_rec.experiments.run import open_run
        from gan_rec.experiments.tables import export_table, print_table

        fitted = open_run(self.run_directory, self.fold).models[self.model]
        artefact = export(fitted, seed_index=self.seed_index)
        save(self.output, artefact, int8=self.int8)
        print_table(export_table(str(self.output), measure(fitted, self.seed_index, artefact, self.output)))


@dataclass(frozen=True)
class Plan:
    """Say what training large tables would take of each chip: from its compiled step, whose arrays are never there."""

    users: int = 1_000_000
    """Rows of the table of users."""
    items: int = 1_000_000
    """Rows of the table of items."""
    dim: int = 64
    """Embedding size D."""
    mesh: str = "data=1,model=1"
    """data=X,model=Y: batches in X parts, tables in Y, on X times Y simulated chips."""
    batch_size: int = 1024
    """Pairs in a step, of all chips together."""
    negatives: int = 1
    """Sampled items per pair."""
    loss: Literal["bpr", "sampled-softmax", "bce"] = "bpr"
    """The recommender's loss."""
    adversary: str = "generator"
    """The other player, see train."""
    table_updates: Literal["auto", "dense", "lazy-adam", "row-adagrad"] = "auto"
    """Which rows of the tables a step moves, see train."""
    seeds: int = 1
    """How many trainings in one program."""
    chips: tuple[str, ...] = ("tpu-v5e", "tpu-v5p", "tpu-v6e", "a100", "h100", "h200")
    """For which chips to estimate: tpu-v4, tpu-v5e, tpu-v5p, tpu-v6e, a100, h100, h200."""
    format: Literal["table", "json"] = "table"
    """How to print."""

    def run(self) -> None:
        """Compile and print."""
        import os

        from gan_rec.train.sharding import read_axes

        axes = read_axes(self.mesh)
        n = axes["data"] * axes["model"]
        if n > 512:
            raise UserError(f"mesh {self.mesh!r} has {n} chips; at most 512 can be simulated")
        # Before JAX looks for devices: what is planned for is not here.
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n}"
        from gan_rec.experiments.plan import chip_named, plan
        from gan_rec.experiments.tables import plan_table, plan_values, print_table

        chips = {name: chip_named(name) for name in self.chips}
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name in {g.name for g in fields(Settings)}}
        settings = Settings(**options, recommender="mf").resolved()
        found = plan(settings, self.users, self.items, self.mesh)
        if self.format == "json":
            print(json.dumps(plan_values(found, chips), indent=1))
        else:
            print_table(
                plan_table(f"{self.users:,} users, {self.items:,} items, D {self.dim}, {self.mesh}", found, chips)
            )


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
    """A baseline (popularity, item-knn, user-knn, rp3beta, pure-svd, ease, edlae, slim, ials), a recommender (mf,
    autoencoder, mix, mult-vae, lightgcn), or RECOMMENDER+ADVERSARY of game embedding, as autoencoder+fgm."""
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

        out = self.out or _new_directory(self.data.dataset, "tune-")
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

        asked = read_tuning(_stopped("search", self.out))
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
        out = self.out or _new_directory(self.data.dataset, "compare-")
        asked = Comparison(self.data, names, self.seeds, self.options.search(), self.k)
        compare(asked, out, resume=self.resume, quiet=self.quiet)
        print((out / "leaderboard.md").read_text(encoding="utf-8"))
        print(f"output directory: {out}")

    def configured(self) -> "Compare | None":
        """The defaults that a stopped comparison gives, if one is to be resumed."""
        if not self.resume:
            return None
        from gan_rec.experiments.compare import read_comparison

        asked = read_comparison(_stopped("comparison", self.out) / "config.json")
        options = _searched(asked.search)
        return replace(self, models=asked.models, data=asked.data, options=options, seeds=asked.seeds, k=asked.ks)


def _searched(how) -> SearchOptions:
    """The options that a `gan_rec.experiments.search.Search` was made of."""
    return SearchOptions(how.trials, how.parallel, how.goal.select_on, how.goal.epochs, how.goal.seed)


def _new_directory(dataset: str, what: str = "") -> Path:
    return Path("runs") / f"{what}{Path(dataset).stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def _stopped(what: str, out: Path | None) -> Path:
    """The directory of what is to be resumed, which has to be given."""
    if out is None:
        raise UserError(f"--resume needs the directory of the stopped {what}: give it by --out")
    return out


COMMANDS = {
    "datasets": Datasets, "language": Language, "train": Train, "tune": Tune, "compare": Compare, "evaluate": Evaluate,
    "recommend": Recommend, "export": Export, "plan": Plan,
}  # fmt: skip
