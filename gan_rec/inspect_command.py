"""The command that says what was understood of data, before anything is trained."""

import json
import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from gan_rec.experiments.settings import DataOptions

_OF_SPLITS = (
    "split", "test_fraction", "valid_fraction", "split_seed", "folds", "target", "alone", "newcomers",
)  # fmt: skip

# The heavy imports stand inside the command, as in gan_rec.commands.


@dataclass(frozen=True)
class Inspect:
    """Say what is understood of a file, a folder or a named data set, and what is odd about it."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """The data, as --dataset takes them."""
    data: DataOptions = field(default_factory=DataOptions)
    format: Literal["table", "json"] = "table"
    """How to print."""

    def run(self) -> None:
        """Print facts, what was guessed, and warnings."""
        from dataclasses import replace

        from gan_rec import data
        from gan_rec.data.described import describe
        from gan_rec.errors import UserError
        from gan_rec.experiments.reading import load, splits_of

        if data.is_streamed(self.source):
            raise UserError(f"{self.source} is streamed, and only looked at batch by batch; inspect one of its files")
        options = replace(self.data, dataset=self.source)
        loaded = load(options)
        if any(getattr(options, name) != getattr(DataOptions(), name) for name in _OF_SPLITS):
            splits_of(options, loaded)  # what would not do for a training is told here
        found = describe(loaded)
        text = json.dumps(found.values(), indent=1) if self.format == "json" else found.text()
        sys.stdout.write(text + "\n")
