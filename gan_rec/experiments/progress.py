"""Live progress: a bar in a terminal or notebook, a line now and then elsewhere."""

import sys
import time
from importlib.util import find_spec

import rich.progress as bars
from rich.console import Console

from gan_rec.data import Split
from gan_rec.experiments.settings import Settings

_QUIET_SECONDS = 10  # between two lines where nobody watches


class Progress:
    """Shows the epochs of one model after the other, on stderr.

    Use as a context; `model` gives the observer of one model's training.
    """

    def __init__(self, enabled: bool = True):
        self._console = Console(file=sys.stderr, quiet=not enabled)
        if self._console.is_jupyter and find_spec("ipywidgets") is None:
            # A bar needs them there: without them rich would write every state of it below the one before.
            self._console = Console(file=sys.stderr, quiet=not enabled, force_jupyter=False, force_terminal=False)
        self._said = time.monotonic()
        self._live = enabled and (self._console.is_terminal or self._console.is_jupyter)
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"), bars.BarColumn(bar_width=16), bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(), bars.TextColumn("{task.fields[numbers]}"), console=self._console,
        )  # fmt: skip

    def __enter__(self) -> "Progress":
        if self._live:
            self._bars.start()
        return self

    def __exit__(self, *exception) -> None:
        if self._live:
            self._bars.stop()

    def say(self, line: str) -> None:
        """Show a line of plain text."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def model(self, name: str, settings: Settings, split: Split) -> "ModelProgress":
        """An observer that shows the training of the model `name`."""
        return ModelProgress(self, name, settings, split)

    def add(self, description: str, done: int, total: int) -> int | None:
        """A new bar, where somebody watches."""
        return self._bars.add_task(description, completed=done, total=total, numbers="") if self._live else None

    def advance(self, bar: int | None, done: int, total: int, line: str, numbers: str) -> None:
        """Move the bar; without one, print the line if the last is some seconds old or this is the end."""
        if bar is not None:
            self._bars.update(bar, completed=done, numbers=numbers)
        elif done == total or time.monotonic() - self._said > _QUIET_SECONDS:
            self._said = time.monotonic()
            self.say(line + numbers)


class ModelProgress:
    """Shows the epochs of one model; a `gan_rec.train.fit.Observer`."""

    def __init__(self, progress: Progress, name: str, settings: Settings, split: Split):
        self._progress, self._name, self._settings = progress, name, settings
        self._pairs = {"selection": len(split.train), "refit": len(split.train) + len(split.valid)}
        self._validation = ""

    def begin(self, phase: str, epoch: int, epochs: int) -> None:
        """See `Observer.begin`."""
        self._first, self._last, self._began, self._validation = epoch, epochs, time.monotonic(), ""
        self._bar = self._progress.add(f"{self._name} {phase}", epoch, epochs)

    def tell(self, rows: list[dict]) -> None:
        """See `Observer.tell`."""
        phase, epoch = rows[0]["phase"], rows[0]["epoch"]
        left = (time.monotonic() - self._began) / (epoch - self._first) * (self._last - epoch)
        line = f"{self._name} {phase} epoch {epoch}/{self._last}, at most {left:.0f} s left: "
        self._progress.advance(self._bar, epoch, self._last, line, self._numbers(rows))

    def _numbers(self, rows: list[dict]) -> str:
        def mean(name: str) -> float:
            return sum(row[name] for row in rows) / len(rows)

        measured = f"validation {self._settings.select_on}"
        if measured in rows[0]:
            self._validation = f", {measured} {mean(measured):.4f}"
        # The twin has no adversarial loss: it is exactly 0 there.
        losses = [f"{n.replace('_', ' ')} {mean(n):.4f}" for n in ("data_loss", "adversarial_loss") if mean(n) != 0]
        speed = self._pairs[rows[0]["phase"]] / mean("seconds")
        return f"{', '.join(losses)}{self._validation}, {speed:,.0f} interactions/s"
