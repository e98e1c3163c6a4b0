"""The commands of the robustness laboratory: their options as typed dataclasses, with what each of them does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gan_rec.errors import UserError

# The heavy imports stand inside the commands, as in gan_rec.commands.


@dataclass(frozen=True)
class Attack:
    """Attack both models of a run at growing radii, and certify what no attack can change."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run."""
    attacks: tuple[str, ...] = ("noise", "random-search", "fgsm", "fgm", "pgd", "generator")
    """Which attacks: noise, random-search (no gradient), fgsm, fgm, pgd, generator (trained anew against each)."""
    radii: tuple[float, ...] | None = None
    """Radii, relative to the length of the rows (default: up to where pgd costs the twin half of its metric)."""
    rows: Literal["both", "users", "items"] = "both"
    """Which rows move."""
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
    format: Literal["table", "json"] = "table"
    """How to print."""
    quiet: bool = False
    """Show no progress."""

    def run(self) -> None:
        """Attack, print, and write."""
        import json

        from gan_rec.experiments.certified import certify
        from gan_rec.experiments.evasion import evade
        from gan_rec.experiments.evasion_report import evasion_tables, summaries, write
        from gan_rec.experiments.run import open_run
        from gan_rec.experiments.tables import print_table
        from gan_rec.progress import Progress

        if self.certify < 0:
            raise UserError(f"certify must be at least 0, got {self.certify}")
        if self.output is not None and self.output.exists() and not self.output.is_dir():
            raise UserError(f"the output {self.output} is a file; give a folder")
        models = open_run(self.run_directory, self.fold).models
        models = {name: fitted for name, fitted in models.items() if name != "start"}
        with Progress(enabled=not self.quiet) as progress:
            found = evade(models, self.attacks, self.radii, rows=self.rows, goal=self.goal, on=self.on, k=self.k,
                          progress=progress)  # fmt: skip
            radii = None
            if self.certify:
                progress.say("certifying ...")
                radii = certify(models, (1, self.k), on=self.on, users=self.certify, smoothing=self.smoothing)
        if self.format == "json":
            print(json.dumps(summaries(found, radii), indent=1))
        else:
            print_table(evasion_tables(found, radii))
        if self.output is not None:
            names = write(self.output, found, radii)
            if self.format == "table":
                print(f"written to {self.output}: {', '.join(names)}")
