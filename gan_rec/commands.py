"""The commands: their options as typed dataclasses, with what each of them does."""

import json
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gan_rec.detect_command import Detect
from gan_rec.errors import UserError
from gan_rec.experiments.checks import check_cutoffs_apply
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions, Settings, TextOptions
from gan_rec.explain_command import Explain
from gan_rec.inspect_command import Inspect
from gan_rec.laboratory import Attack, Harden
from gan_rec.report_command import Report
from gan_rec.searches import Compare, Tune, new_directory, stopped

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
    preset: (
        Literal["shop", "content", "social", "friends", "sequence", "cross-domain", "multimodal", "shift"] | None
    ) = None
    """A scenario to begin with: data, players and a size that two cores train in minutes; options given beside it
    win."""
    config: Path | None = None
    """A run's config.json to repeat; options given beside it win."""
    resume: bool = False
    """Go on with a run that was stopped, in --out or beside --config."""
    quiet: bool = False
    """Show no progress."""
    tracker: tuple[str, ...] = ("tensorboard",)
    """What is told beside metrics.jsonl, none or several: tensorboard (event files in the run directory), wandb
    (Weights & Biases; WANDB_MODE=offline needs no account), or a class of your own as my_module:MyTracker, whose code
    is then run."""
    debug_nans: bool = False
    """Where --task ranking diverges, look for the operation that was the first to give NaN: slow then, not before."""
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
        if self.debug_nans and self.task != "ranking":
            raise UserError(f"--debug-nans needs --task ranking, this is --task {self.task}")
        if self.mesh is not None and self.task != "ranking":
            raise UserError(f"--mesh {self.mesh} needs --task ranking, this is --task {self.task}")
        others.run(self._run)

    def _run(self) -> None:
        import jax

        out = self._directory()
        how = {"resume": self.resume, "quiet": self.quiet, "trackers": self.tracker}
        given = [f.name for f in fields(self.text) if getattr(self.text, f.name) != getattr(TextOptions(), f.name)]
        if self.task != "labels" and given:
            raise UserError(f"{', '.join(given)}: only --task labels has such options, this is --task {self.task}")
        beside = [name for name in ("item_features", "links", "people") if getattr(self.data, name)]
        if self.task != "ranking" and beside:
            raise UserError(f"{', '.join(beside)}: only --task ranking has such options, this is --task {self.task}")
        check_cutoffs_apply(self.task, self.k != DEFAULT_KS)
        if self.task != "ranking":
            from gan_rec.experiments.label_run import train_labels
            from gan_rec.experiments.label_tables import labels_table as table

            results = train_labels(self.task, self.data, self.settings, self.text, out, **how)
        else:
            from gan_rec.experiments.run import train
            from gan_rec.experiments.tables import results_table as table

            results = train(self.data, self.settings, out, ks=self.k, mesh=self.mesh, debug_nans=self.debug_nans, **how)
        from gan_rec.experiments.tables import print_table

        if jax.process_index() == 0:
            print_table(table(results))
            print(f"run directory: {out}")

    def configured(self) -> "Train | None":
        """The defaults that a configuration gives, if there is one to read."""
        config = self._config()
        if config is None:
            return None
        return replace(
            self, task=config.task, data=config.data, settings=config.settings, k=config.ks, text=config.text
        )

    def _config(self):
        from gan_rec.experiments.config import read_config
        from gan_rec.experiments.presets import preset

        path = self.config
        if self.preset is not None:
            if path is not None:
                raise UserError(f"--preset {self.preset} and --config {path} are two beginnings; give one of them")
            if not self.resume:
                return preset(self.preset)
        if path is None and self.resume:
            path = self._directory() / "config.json"
            if not path.exists():
                raise UserError(f"nothing to resume: there is no {path}")
        return None if path is None else read_config(path)

    def _directory(self) -> Path:
        if self.out is not None:
            return self.out
        if self.resume:
            return stopped("run", self.config and self.config.parent)
        return new_directory(self.data.dataset)


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
        from gan_rec.experiments.titles import titles_of
        from gan_rec.files import write_text, writing

        if self.all == (self.users is not None):
            raise UserError("recommend for whom? give either --users ID ... or --all")
        if self.run_directory.is_file():
            if (self.model, self.seed_index, self.fold) != ("adversarial", 0, None):
                raise UserError(
                    "model, seed_index and fold are options of a run; an exported file holds one recommender"
                )
            artefact, titles = load_artefact(self.run_directory), None
            found = artefact.recommend(self.users, self.k, memory=self.memory)
        else:
            run = open_run(self.run_directory, self.fold)
            model = run.models[self.model]
            found = recommend(model, self.users, self.k, seed_index=self.seed_index, memory=self.memory)
            titles = titles_of(run, model.split) if self.format == "table" else None
            titles = titles and dict(zip(model.split.train.item_ids.tolist(), titles, strict=True))
        if "note" in found.attrs:
            print(f"note: {found.attrs['note']}", file=sys.stderr)
        text = recommendations_text(found, self.format, titles)
        if self.output is None:
            sys.stdout.write(text)
            return
        with writing(self.output):
            write_text(self.output, text)


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


COMMANDS = {
    "datasets": Datasets, "language": Language, "train": Train, "tune": Tune, "compare": Compare, "evaluate": Evaluate,
    "recommend": Recommend, "export": Export, "plan": Plan, "attack": Attack, "harden": Harden, "detect": Detect,
    "explain": Explain, "inspect": Inspect, "report": Report,
}  # fmt: skip
