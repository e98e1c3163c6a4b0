"""The tracker wandb: a run of Weights & Biases, on a server or (WANDB_MODE=offline) in the run directory's `wandb/`."""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gan_rec.errors import UserError
from gan_rec.files import write_text
from gan_rec.train.tracking import Tracker

_MOST_ROWS = 2_000  # of a table
_BINS = 40


def package():
    """The module wandb.

    Raises:
        UserError: it is not installed, or has no key and is not told to stay offline.
    """
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            "tracker 'wandb' needs Weights & Biases, which is not installed: pip install 'gan_rec[wandb]'"
        ) from error
    online = os.environ.get("WANDB_MODE", "online") in ("online", "shared")
    if online and not wandb.login(prompt=False, verify=False):
        raise UserError("tracker 'wandb' has no key: wandb login gets one; WANDB_MODE=offline needs no account")
    return wandb


class WeightsAndBiases(Tracker):
    """Every model and phase counts its own epochs, which its charts are drawn over.

    A run that is resumed goes on with the same run of Weights & Biases; what that has already, it is not given again.

    Raises:
        UserError: wandb is not installed, or starts no run.
    """

    def __init__(self, directory: Path):
        self.directory, self._wandb, self._run = Path(directory), package(), None
        self._told: dict[tuple[str, str], int] = {}
        self._models: set[str] = set()

    def begin(self, config: dict[str, Any], resumed: bool) -> None:
        """See `Tracker.begin`."""
        path = self.directory / "wandb-id.txt"
        name = path.read_text(encoding="utf-8").strip() if resumed and path.exists() else uuid.uuid4().hex[:12]
        write_text(path, name + "\n")
        try:
            self._run = self._wandb.init(
                project="gan_rec", name=self.directory.name, dir=str(self.directory), id=name, resume="allow",
                config=config,
            )  # fmt: skip
        except self._wandb.Error as error:
            said = " ".join(str(error).split())
            raise UserError(f"tracker 'wandb' cannot begin: {said}; WANDB_MODE=offline needs no account") from error

    def rewind(self, model: str, phase: str, epoch: int, told: int) -> None:
        """See `Tracker.rewind`."""
        self._told[model, phase] = told
        step = f"{model}/{phase}/epoch"
        self._run.define_metric(step, hidden=True)
        self._run.define_metric(f"{model}/{phase}/*", step_metric=step)

    def scalars(self, model: str, phase: str, epoch: int, values: dict[int, dict[str, float]]) -> None:
        """See `Tracker.scalars`."""
        self._models.add(model)
        self._log(
            model, phase, epoch, {f"{name}/seed_{seed}": x for seed, own in values.items() for name, x in own.items()}
        )

    def histogram(self, model: str, phase: str, epoch: int, name: str, values: Float[np.ndarray, " n"]) -> None:
        """See `Tracker.histogram`."""
        if np.isfinite(values).all() and values.size:
            self._log(model, phase, epoch, {name: self._wandb.Histogram(np_histogram=_counted(values))})

    def embedding(self, model: str, rows: Float[np.ndarray, "I D"], labels: Sequence[str]) -> None:
        """See `Tracker.embedding`: a table of at most 2,000 rows, of which a panel makes a 2-D projection."""
        if model not in self._models:  # trained, and told of, in an earlier session
            return
        step = -(-len(rows) // _MOST_ROWS)
        columns = ["item", *(f"dimension {d}" for d in range(rows.shape[1]))]
        data = [[label, *row] for label, row in zip(labels[::step], rows[::step].tolist(), strict=True)]
        self._run.log({f"{model}/items": self._wandb.Table(columns=columns, data=data)})

    def finish(self, results: dict[str, Any]) -> None:
        """See `Tracker.finish`: test metrics are the run's summary."""
        for model, metrics in results["models"].items():
            self._run.summary.update({f"{model}/test/{name}": x["mean"] for name, x in metrics.items()})

    def close(self, failed: bool) -> None:
        """See `Tracker.close`."""
        if self._run is not None:
            self._run.finish(exit_code=int(failed))

    def _log(self, model: str, phase: str, epoch: int, values: dict[str, Any]) -> None:
        if epoch > self._told.get((model, phase), 0):
            about = f"{model}/{phase}/"
            self._run.log({f"{about}epoch": epoch} | {about + name: value for name, value in values.items()})


def _counted(values: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges. Rows at the edge of a ball have lengths that differ in a last bit: no room for 40 bins."""
    values = np.asarray(values, np.float64)
    middle, half = (values.max() + values.min()) / 2, (values.max() - values.min()) / 2
    half = max(half, 1e-3 * abs(middle), 1e-9)
    return np.histogram(values, _BINS, (middle - half, middle + half))
