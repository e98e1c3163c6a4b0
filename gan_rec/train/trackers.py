"""Trackers by name."""

from collections.abc import Sequence
from pathlib import Path

from gan_rec.errors import UserError
from gan_rec.importing import load_named
from gan_rec.train.tracking import Tracker

_ALLOWED = "allowed: tensorboard, wandb, or yours as my_module:MyTracker"


def find(names: Sequence[str]) -> list[type[Tracker]]:
    """The classes of trackers: "tensorboard", "wandb", or "my_module:MyTracker", whose code is run.

    Raises:
        UserError: an unknown name, a name given twice, a package that is missing, or a class without the methods of
            `Tracker`.
    """
    if len(set(names)) < len(names):
        raise UserError(f"a tracker is named twice: {' '.join(names)}")
    return [_find(name) for name in names]


def make(names: Sequence[str], directory: Path) -> list[Tracker]:
    """Trackers for a run directory.

    Raises:
        UserError: as `find`.
    """
    return [each(Path(directory)) for each in find(names)]


def _find(name: str) -> type[Tracker]:
    if name == "tensorboard":
        from gan_rec.train.tensorboard import TensorBoard

        return TensorBoard
    if name == "wandb":
        from gan_rec.train.weights_and_biases import WeightsAndBiases, package

        package()  # a mistake shows before anything is written
        return WeightsAndBiases
    found = load_named(name, "tracker", _ALLOWED)
    needed = [each for each in vars(Tracker) if not each.startswith("_")]
    missing = [each for each in needed if not callable(getattr(found, each, None))]
    if not callable(found) or missing:
        raise UserError(f"tracker {name!r} has no {', '.join(missing)}; it may inherit gan_rec.train.tracking.Tracker")
    return found
