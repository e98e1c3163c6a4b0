"""Shows the epochs of a training."""

import time
from typing import Any

from gan_rec.experiments.players import ITEM_SIDE
from gan_rec.progress import Progress

_SOON = 5  # seconds, before which nothing can be said of how long it will take


class ModelProgress:
    """Shows the epochs of one model; a `gan_rec.train.fit.Observer`.

    Args:
        progress: where.
        name: of the model.
        settings: those of the training, or what else has `select_on`.
        split: what it is trained on.
        things: what its pairs are.
    """

    def __init__(self, progress: Progress, name: str, settings: Any, split: Any, things: str = "interactions"):
        self._progress, self._name, self._settings = progress, name, settings
        self._pairs = {"selection": len(split.train), "refit": len(split.train) + len(split.valid)}
        self._validation, self._things = "", things

    def begin(self, phase: str, epoch: int, epochs: int) -> None:
        """See `Observer.begin`."""
        self._first, self._last, self._began, self._validation = epoch, epochs, time.monotonic(), ""
        self._phase, self._bar = phase, self._progress.add(f"{self._name} {phase}", epoch, epochs)

    def pulse(self, epochs: float) -> None:
        """So many epochs are done."""
        passed = time.monotonic() - self._began
        if passed < _SOON or epochs <= self._first:
            return
        left = passed / (epochs - self._first) * (self._last - epochs)
        line = f"{self._name} {self._phase}, {epochs:.2f} of {self._last} epochs, at most {left:.0f} s left"
        self._progress.advance(self._bar, epochs, self._last, line, "")

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
        speed = self._pairs[rows[0]["phase"].removeprefix(ITEM_SIDE)] / mean("seconds")
        return f"{', '.join(losses)}{self._validation}, {speed:,.0f} {self._things}/s"
