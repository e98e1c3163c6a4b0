"""The command detect: suspicious users of a run's data or of a file."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gan_rec.errors import UserError

# The heavy imports stand inside, so that --help and mistakes answer at once.


@dataclass(frozen=True)
class Detect:
    """List suspicious users with reasons, or measure how well simulated attacks are found."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run, whose train part is searched and whose model may be asked."""
    data: str | None = None
    """Search this file or data set instead: user and item columns, as train --dataset takes it."""
    detector: str = "combined"
    """Who judges: combined, features, tied-items, shared-items, pca, autoencoder, recommender, discriminator."""
    most: int = 20
    """How many users are listed, the most suspicious first."""
    false_alarms: float = 0.01
    """The part of real users that may be flagged, at most 0.1."""
    measure: bool = False
    """Put simulated attacks into the data and say how well each detector finds those that it has not learned from."""
    seeds: int = 3
    """Of --measure: how many times each attack is simulated."""
    seed: int = 0
    """Of the simulated attacks."""
    format: Literal["table", "csv", "json"] = "table"
    """How to print."""
    output: Path | None = None
    """Write to this file rather than to the screen."""
    model: Literal["adversarial", "twin"] = "adversarial"
    """Which of the run's two models is asked."""
    seed_index: int = 0
    """Which of its seeds."""
    fold: int | None = None
    """Which of the folds of a cross-validation (default: the first)."""

    def run(self) -> None:
        """Print or write the list, or the table."""
        from gan_rec.experiments import detecting
        from gan_rec.experiments.detection_tables import detection_text
        from gan_rec.experiments.run import open_run
        from gan_rec.files import check_writable, write_text, writing
        from gan_rec.robustness.detection import check_detector, check_false_alarms

        check_detector(self.detector)
        check_false_alarms(self.false_alarms)
        if self.seeds < 1:
            raise UserError(f"seeds must be at least 1, got {self.seeds}")
        if self.seed < 0:
            raise UserError(f"seed must be 0 or more, got {self.seed}")
        for own in fields(self) if self.measure else ():
            if own.name in ("detector", "most") and getattr(self, own.name) != own.default:
                raise UserError(f"--{own.name} says nothing to --measure, which asks all detectors; leave it out")
        if self.output is not None:
            check_writable(self.output)
        fitted = open_run(self.run_directory, self.fold).models[self.model]
        how = {"seed_index": self.seed_index, "false_alarms": self.false_alarms}
        if self.measure:
            seeds = range(self.seed, self.seed + self.seeds)
            found = detecting.measured_table(detecting.measure_run(fitted, self.data, seeds=seeds, **how))
        else:
            found = detecting.detect(fitted, self.data, detector=self.detector, most=self.most, seed=self.seed, **how)
        text = detection_text(found, self.format)
        if self.output is None:
            sys.stdout.write(text)
            return
        with writing(self.output):
            write_text(self.output, text)
