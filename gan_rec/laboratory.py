"""The commands of the robustness laboratory: their options as typed dataclasses, with what each of them does."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gan_rec.errors import UserError
from gan_rec.experiments.settings import DataOptions, Settings
from gan_rec.poisoning_options import Poison
from gan_rec.searches import new_directory

# The heavy imports stand inside the commands, as in gan_rec.commands.


@dataclass(frozen=True)
class Attack:
    """Attack both models of a run at growing radii, and certify what no attack can change; or poison its data."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run."""
    attacks: tuple[str, ...] = ("noise", "random-search", "fgsm", "fgm", "pgd", "pgd-loss", "generator")
    """Which attacks: noise, random-search (no gradient), fgsm, fgm, pgd, pgd-loss (raises the training loss whatever
    the goal), generator (trained anew against each)."""
    radii: tuple[float, ...] | None = None
    """Radii, relative to the length of the rows (default: up to where pgd costs the twin half of its metric)."""
    rows: Literal["both", "users", "items", "features"] = "both"
    """Which rows move; features: those of items, of recommenders that make rows of them."""
    goal: Literal["list", "loss"] = "list"
    """What attacks raise: the cross-entropy of the model's own list (list), or the training loss."""
    on: str = "test"
    """test (weights after the refit) or validation (weights before it)."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 20
    """Length of the lists."""
    certify: int = 200
    """Users for whom the exact radius is found within which nothing changes their list; 0: none."""
    smoothing: float | None = None
    """Certify a smoothed recommender too: length of the noise relative to a user's row, for example 0.25."""
    fold: int | None = None
    """Which of the folds of a cross-validation (default: the first)."""
    output: Path | None = None
    """Also write tables, numbers and a picture to this folder."""
    all: bool = False
    """Measure natural shifts, compressed models, explanations and the detection of fake profiles too, and write all of
    it as one page, card.html, to --output."""
    format: Literal["table", "json"] = "table"
    """How to print."""
    quiet: bool = False
    """Show no progress."""
    poisoning: Poison = field(default_factory=Poison)

    def run(self) -> None:
        """Attack, print, and write."""
        if self.poisoning.poison is not None:
            self._check_alone()
            self.poisoning.run(self.run_directory, self.output, quiet=self.quiet)
        else:
            self._evade()

    def _check_alone(self) -> None:
        """Raise UserError where options of evasion are given, which poisoning would not heed."""
        shared = ("run_directory", "output", "quiet", "poisoning")
        for own in fields(self):
            if own.name not in shared and getattr(self, own.name) != own.default:
                raise UserError(f"--{own.name} says nothing to --poison; give one of the two")

    def _evade(self) -> None:
        import json

        from gan_rec.experiments.certified import certify, check_norms
        from gan_rec.experiments.evasion import evade
        from gan_rec.experiments.evasion_report import evasion_tables, summaries, write
        from gan_rec.experiments.run import open_run
        from gan_rec.experiments.tables import print_table
        from gan_rec.files import check_writable
        from gan_rec.progress import Progress

        if self.certify < 0:
            raise UserError(f"certify must be at least 0, got {self.certify}")
        if self.output is not None and self.output.exists() and not self.output.is_dir():
            raise UserError(f"the output {self.output} is a file; give a folder")
        if self.all and self.output is None:
            raise UserError("--all needs --output, the folder of the page")
        if self.all and self.on != "test":
            raise UserError("--all has parts that are measured on test alone; leave --on out")
        if self.smoothing is not None and not self.smoothing > 0:
            raise UserError(f"smoothing must be above 0, got {self.smoothing:g}")
        run = open_run(self.run_directory, self.fold)
        models = {name: fitted for name, fitted in run.models.items() if name != "start"}
        if self.certify:
            check_norms(models)
        if self.output is not None:
            check_writable(self.output)
        with Progress(enabled=not self.quiet) as progress:
            found = evade(models, self.attacks, self.radii, rows=self.rows, goal=self.goal, on=self.on, k=self.k,
                          progress=progress)  # fmt: skip
            radii = None
            if self.certify:
                progress.say("certifying ...")
                radii = certify(models, (1, self.k), on=self.on, users=self.certify, smoothing=self.smoothing)
            if self.all:
                self._write_card(run, models, found, radii, progress)
        if self.format == "json":
            print(json.dumps(summaries(found, radii), indent=1))
        else:
            print_table(evasion_tables(found, radii))
        if self.output is not None:
            names = write(self.output, found, radii)
            names += ["card.html"] if self.all else []
            if self.format == "table":
                print(f"written to {self.output}: {', '.join(names)}")

    def _write_card(self, run, models, evasion, radii, progress) -> None:
        from gan_rec.experiments import robustness_card as parts
        from gan_rec.experiments.card import card, write_card
        from gan_rec.experiments.compressing import compressed
        from gan_rec.experiments.detecting import measure_run, measured_table
        from gan_rec.experiments.natural import natural_shifts, with_times

        sections = [parts.evasion_section(evasion)]
        if radii is not None:
            sections.append(parts.certified_section(radii))
        some = models["adversarial"]
        progress.say("natural shifts ...")
        times = with_times(run)
        if times is not None:
            progress.say("... and both models anew on the earlier part of the data")
        attacks = {"pgd": float(evasion.curves["radius"].max())}
        shifts = natural_shifts(run, k=self.k, attacks=attacks, times=times)
        sections.append(parts.shifts_section(shifts.differences))
        progress.say("compressed models ...")
        sections.append(parts.compression_section(compressed(run, k=self.k).differences))
        progress.say("explanations ...")
        sections.append(parts.deletion_section(some))
        progress.say("detection ...")
        sections.append(parts.detection_section(measured_table(measure_run(some, budgets=(0.03,)))))
        title = f"Robustness of {self.run_directory.name}"
        facts = parts.facts(models, self.run_directory.name, self.on)
        write_card(self.output / "card.html", card(title, facts, sections))


@dataclass(frozen=True)
class Harden:
    """Choose adversary, epsilon and alpha on validation, for clean and attacked rankings; the test part is not read."""

    data: DataOptions = field(default_factory=DataOptions)
    settings: Settings = field(default_factory=Settings)
    adversaries: tuple[str, ...] = ("vat", "pgd", "fgm")
    """Adversaries that are tried, with each of the epsilons and alphas."""
    epsilons: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5)
    """Radii that are tried."""
    alphas: tuple[float, ...] = (0.3, 0.5)
    """Weights of the data loss that are tried."""
    share: float = 0.5
    """Share of NDCG@20 under attack in what is to be best; the rest is that of the clean ranking."""
    most_loss: float | None = None
    """How far the clean NDCG@20 may be below the twin's."""
    out: Path | None = None
    """The output directory, new or empty (default: a new one under runs/)."""
    resume: bool = False
    """Go on with a search that was stopped, in --out; all else must be as it was."""
    quiet: bool = False
    """Show no progress."""

    def run(self) -> None:
        """Try all, and print the trials and the chosen one."""
        from gan_rec.experiments.hardening import Candidates, Goal, Hardening, front, harden
        from gan_rec.experiments.tables import new_table, print_table

        out = self.out or new_directory(self.data.dataset, "harden-")
        candidates = Candidates(self.adversaries, self.epsilons, self.alphas)
        asked = Hardening(self.data, self.settings, candidates, Goal(self.share, self.most_loss))
        trials, best = harden(asked, out, resume=self.resume, quiet=self.quiet)
        table = new_table(
            "tried, on validation", "adversary", "epsilon", "alpha", "clean NDCG@20", "under PGD", "Pareto", "chosen"
        )
        on_front = set(front(trials).index)
        chosen = asked.goal.choose(trials).name
        for i, row in trials.iterrows():
            twin = row["alpha"] == 1
            who = ["twin", "", ""] if twin else [row["adversary"], f"{row['epsilon']:g}", f"{row['alpha']:g}"]
            marks = ["*" if i in on_front else "", "*" if i == chosen else ""]
            table.add_row(*who, f"{row['clean']:.4f}", f"{row['attacked']:.4f}", *marks)
        print_table(table)
        config = out / "config.json"
        if best.alpha == 1:
            print(f"no adversarial training does better by this measure; train --config {config} trains the twin")
        else:
            print(f"train --config {config} trains the chosen one and its twin")
