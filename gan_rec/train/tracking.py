"""Where the numbers of a training go while it runs: metrics.jsonl and TensorBoard event files."""

import json
from pathlib import Path

from tensorboardX import SummaryWriter

from gan_rec.files import write_text

_LABELS = ("model", "phase", "epoch", "seed")


class Tracker:
    """Appends a line to `metrics.jsonl` and scalars to `tensorboard/` for every epoch and seed."""

    def __init__(self, directory: Path):
        self.path = Path(directory) / "metrics.jsonl"
        self.path.touch()
        self._writer = SummaryWriter(str(Path(directory) / "tensorboard"))

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *exception) -> None:
        self._writer.close()

    def model(self, name: str) -> "ModelTracker":
        """An observer that tracks the training of the model `name`."""
        return ModelTracker(self, name)

    def write(self, rows: list[dict]) -> None:
        """Add rows with `model, phase, epoch, seed` and numbers; what is not a number becomes null, as JSON has it."""
        rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        for row in rows:
            for name, value in row.items():
                if name not in _LABELS and value is not None:
                    tag = f"{row['model']}_{row['phase']}/{name.replace('@', '_at_').replace(' ', '_')}"
                    self._writer.add_scalar(f"{tag}/seed_{row['seed']}", value, row["epoch"])

    def rows(self, model: str) -> list[dict]:
        """The rows of a model so far."""
        return read_rows(self.path, model)

    def rewind(self, model: str, phase: str, epoch: int) -> None:
        """Forget the rows of a phase after `epoch`: they will be told again."""
        kept = [r for r in read_rows(self.path) if (r["model"], r["phase"]) != (model, phase) or r["epoch"] <= epoch]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))


class ModelTracker:
    """Tracks one model; a `gan_rec.train.fit.Observer`."""

    def __init__(self, tracker: Tracker, name: str):
        self._tracker, self._name = tracker, name

    def begin(self, phase: str, epoch: int, epochs: int) -> None:
        """See `Observer.begin`."""
        self._tracker.rewind(self._name, phase, epoch)

    def tell(self, rows: list[dict]) -> None:
        """See `Observer.tell`."""
        self._tracker.write([{"model": self._name} | row for row in rows])


def read_rows(path: Path, model: str | None = None) -> list[dict]:
    """The rows of a `metrics.jsonl`, of one model or all; a last line that a killed run left half-written is none."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return [row for row in rows if model in (None, row["model"])]
