"""Live progress: a bar in a terminal or notebook, a line now and then elsewhere."""

import sys
import time
from importlib.util import find_spec

import rich.progress as bars
from rich.console import Console

_QUIET_SECONDS = 10  # between two lines where nobody watches


class Progress:
    """Shows how long work goes on, on stderr.

    Use as a context.
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

    def add(self, description: str, done: int, total: int) -> int | None:
        """A new bar, where somebody watches."""
        return self._bars.add_task(description, completed=done, total=total, numbers="") if self._live else None

    def advance(self, bar: int | None, done: float, total: int, line: str, numbers: str) -> None:
        """Move the bar; without one, print the line if the last is some seconds old or this is the end."""
        if bar is not None:
            self._bars.update(bar, completed=done, numbers=numbers)
        elif done == total or time.monotonic() - self._said > _QUIET_SECONDS:
            self._said = time.monotonic()
            self.say(line + numbers)
