"""The command that explains: its options as a typed dataclass."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gan_rec.errors import UserError
from gan_rec.files import check_writable

# The heavy imports stand inside the command, as in gan_rec.commands.


@dataclass(frozen=True)
class Explain:
    """Say which items of a user's history, and which words, carried a recommendation."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run."""
    user: str | None = None
    """User id as in the data."""
    item: str | None = None
    """Item id as in the data (default: the user's first recommendation)."""
    method: Literal["auto", "leave-one-out", "integrated-gradients", "similarity"] = "auto"
    """How: by taking items out of the history, by gradients on the way to it from an empty one, or by the likeness of
    rows (auto: leave-one-out, or similarity for recommenders that know users by their ids)."""
    of: Literal["margin", "score"] = "margin"
    """What of: the score over that of the mean item that the user does not have, or the score itself."""
    attack: str | None = None
    """Tell also what an attack moves in the user's list: noise, clipped-noise, fgsm, fgm, pgd, vat."""
    radius: float | None = None
    """Its radius, relative to the length of each row (default: that of the run's game)."""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 20
    """Length of the list that it moves."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 10
    """How many items of the history to show."""
    faithfulness: bool = False
    """Measure also how fast recommendations fall when histories lose what is said to carry them."""
    users: int = 200
    """Of how many users, with --faithfulness."""
    output: Path | None = None
    """Draw to this file (.png)."""
    format: Literal["table", "json"] = "table"
    """How to print."""
    model: Literal["adversarial", "twin"] = "adversarial"
    """Which of the two models."""
    seed_index: int = 0
    """Which of its seeds; --faithfulness takes all."""
    fold: int | None = None
    """Which of the folds of a cross-validation (default: the first)."""

    def run(self) -> None:
        """Print, and draw."""
        if self.user is None and not self.faithfulness:
            raise UserError("explain whose recommendation? give --user ID, or --faithfulness for a measurement")
        if self.radius is not None and self.attack is None:
            raise UserError(f"radius {self.radius:g} is that of an attack; name one with --attack, for example fgm")
        if self.item is not None and self.user is None:
            raise UserError(f"item {self.item} is recommended to whom? give --user ID")
        if self.output is not None and self.output.suffix != ".png":
            raise UserError(f"the output must end with .png, got {self.output}")
        for name, value in {"k": self.k, "n": self.n}.items():
            if value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        if self.output is not None:
            check_writable(self.output)
        self._run()

    def _run(self) -> None:
        from gan_rec.experiments.run import open_run
        from gan_rec.experiments.titles import titles_of
        from gan_rec.plot import save

        run = open_run(self.run_directory, self.fold)
        fitted = run.models[self.model]
        explanation = None if self.user is None else self._explain(fitted, titles_of(run, fitted.split))
        found = self._measure(fitted) if self.faithfulness else None
        if self.output is not None:
            save((found if explanation is None else explanation).plot(), self.output)
        if self.format == "json":
            parts = {} if explanation is None else explanation.values()
            if found is not None:
                parts["faithfulness"] = found.values()
            print(json.dumps(parts, indent=1))
            return
        if explanation is not None:
            print(explanation.text(self.n))
        if found is not None:
            print(found.text())

    def _explain(self, fitted, titles):
        from gan_rec.experiments.explaining import explain

        return explain(
            fitted, self.user, self.item, method=self._method, of=self.of, attack=self.attack, radius=self.radius,
            k=self.k, seed_index=self.seed_index, titles=titles,
        )  # fmt: skip

    def _measure(self, fitted):
        from gan_rec.experiments.faithfulness import deletion

        return deletion(fitted, self.users, (self._method or "leave-one-out",), of=self.of)

    @property
    def _method(self) -> str | None:
        return None if self.method == "auto" else self.method
