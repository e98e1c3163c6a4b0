"""Where the numbers of a training go while it runs: metrics.jsonl always, and to any trackers beside it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from gan_rec.errors import UserError
from gan_rec.files import write_text
from gan_rec.train.looking import Between

_LABELS = ("model", "phase", "epoch", "seed")


class Tracker(Protocol):
    """What is told of a run beside metrics.jsonl; `my_module:MyTracker` is made as `MyTracker(run_directory)`.

    A class of your own may inherit from this one, and then needs only what it wants to hear. After a run was stopped,
    its epochs since the last checkpoint are played, and told, again: `rewind` says so before.
    """

    def begin(self, config: dict[str, Any], resumed: bool) -> None:
        """The run begins, or goes on; `config` is what config.json holds."""

    def rewind(self, model: str, phase: str, epoch: int, told: int) -> None:
        """A phase goes on after `epoch`; what was told of its epochs up to `told` will come again, bit by bit."""

    def scalars(self, model: str, phase: str, epoch: int, values: dict[int, dict[str, float]]) -> None:
        """An epoch has ended: seconds, losses and metrics by seed; numbers that are not defined are left out."""

    def histogram(self, model: str, phase: str, epoch: int, name: str, values: Float[np.ndarray, " n"]) -> None:
        """Values of the first seed after an epoch, for example "row lengths/item_embedding"."""

    def embedding(self, model: str, rows: Float[np.ndarray, "I D"], labels: Sequence[str]) -> None:
        """A model is trained: item rows of its first seed. A run that is resumed later tells it again."""

    def finish(self, results: dict[str, Any]) -> None:
        """The run has ended, with what results.json holds. A finished run that is resumed tells it again."""

    def close(self, failed: bool) -> None:
        """Nothing more comes; `failed` if the run ends with an error or a stop."""


class Tracking:
    """Appends a line to `metrics.jsonl` for every epoch and seed, and tells the trackers.

    Args:
        directory: of the run.
        trackers: see `gan_rec.train.trackers.make`.
    """

    def __init__(self, directory: Path, trackers: Sequence[Tracker] = ()):
        self.path, self.trackers = Path(directory) / "metrics.jsonl", tuple(trackers)
        self.path.touch()

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(self, kind, *exception) -> None:
        for tracker in self.trackers:
            tracker.close(kind is not None)

    def begin(self, config: dict[str, Any], resumed: bool) -> None:
        """See `Tracker.begin`."""
        for tracker in self.trackers:
            tracker.begin(config, resumed)

    def model(self, name: str) -> "ModelTracker":
        """An observer that tracks the training of the model `name`."""
        return ModelTracker(self, name)

    def write(self, rows: list[dict]) -> None:
        """Add rows of one epoch with `model, phase, epoch, seed` and numbers; what is not a number becomes null."""
        rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        values = {
            row["seed"]: {name: x for name, x in row.items() if name not in _LABELS and x is not None} for row in rows
        }
        for tracker in self.trackers:
            tracker.scalars(rows[0]["model"], rows[0]["phase"], rows[0]["epoch"], values)

    def rows(self, model: str) -> list[dict]:
        """The rows of a model so far."""
        return read_rows(self.path, model)

    def rewind(self, model: str, phase: str, epoch: int) -> None:
        """Forget the rows of a phase after `epoch`: they will be told again."""
        rows = read_rows(self.path)
        later = [r for r in rows if (r["model"], r["phase"]) == (model, phase) and r["epoch"] > epoch]
        if later or not self.path.read_bytes().endswith(b"\n"):  # of a killed run, the last line may be half a one
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows if row not in later))
        for tracker in self.trackers:
            tracker.rewind(model, phase, epoch, max((row["epoch"] for row in later), default=epoch))

    def finish(self, results: dict[str, Any]) -> None:
        """See `Tracker.finish`."""
        for tracker in self.trackers:
            tracker.finish(results)


class ModelTracker:
    """Tracks one model; a `gan_rec.train.fit.Observer`."""

    def __init__(self, tracking: Tracking, name: str):
        self._tracking, self._name = tracking, name

    def begin(self, phase: str, epoch: int, epochs: int) -> None:
        """See `Observer.begin`."""
        self._tracking.rewind(self._name, phase, epoch)

    def tell(self, rows: list[dict]) -> None:
        """See `Observer.tell`."""
        self._tracking.write([{"model": self._name} | row for row in rows])

    def see(self, phase: str, epoch: int, between: Between) -> None:
        """See `Observer`."""
        found = between.histograms(epoch) if self._tracking.trackers else {}
        for name, values in found.items():
            for tracker in self._tracking.trackers:
                tracker.histogram(self._name, phase, epoch, name, values)

    def embedding(self, rows: Float[np.ndarray, "I D"], labels: Sequence[str]) -> None:
        """See `Tracker.embedding`."""
        for tracker in self._tracking.trackers:
            tracker.embedding(self._name, rows, labels)


def read_rows(path: Path, model: str | None = None) -> list[dict]:
    """The rows of a `metrics.jsonl`, of one model or all; a last line that a killed run left half-written is none.

    Raises:
        UserError: it is damaged.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().decode().splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return [row for row in rows if model in (None, row["model"])]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged; a run does without it if it is deleted") from error
