"""The configuration of a run, written and read."""

import dataclasses
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import gan_rec
from gan_rec import data
from gan_rec.data.labelled import NAMED_TABLES
from gan_rec.data.plots import PLOTS
from gan_rec.errors import UserError
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions, Settings, TextOptions
from gan_rec.language.models import KNOWN

TASKS = ("ranking", "labels", "ratings")


@dataclass(frozen=True)
class Config:
    """All that a run was asked to do.

    Args:
        task: one of TASKS.
        data, settings: as resolved.
        ks: cut-offs, of the task ranking.
        text: of the task labels.
    """

    task: str
    data: DataOptions
    settings: Settings
    ks: tuple[int, ...] = DEFAULT_KS
    text: TextOptions = TextOptions()

    def text_of(self) -> str:
        """As JSON.

        Raises:
            UserError: an adversary that has no name.
        """
        parts = (self.data, self.settings, self.text) if self.task == "labels" else (self.data, self.settings)
        config = {"gan_rec": gan_rec.__version__, "task": self.task}
        for part in parts:
            config |= dataclasses.asdict(part)
        config = lasting_paths(config) | {"ks": list(self.ks)}
        try:
            return json.dumps(config, indent=1)
        except TypeError as error:
            raise UserError(
                f"adversary {self.settings.adversary!r} cannot be written down; name it as my_module:Class"
            ) from error


def read_json(path: Path) -> dict:
    """Read a JSON file of a run.

    Raises:
        UserError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no valid JSON'}") from error


def read_object(path: Path) -> dict:
    """Read a JSON file of a run that holds an object.

    Raises:
        UserError: it is missing or holds something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"cannot read {path}: it must hold a JSON object")
    return found


def read_config(path: Path) -> Config:
    """The configuration in a config.json.

    Raises:
        UserError: the file cannot be read, or has a field that this version does not know.
    """
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path} is no configuration: it must hold a JSON object")
    config.pop("gan_rec", None)
    task, ks = config.pop("task", "ranking"), config.pop("ks", list(DEFAULT_KS))
    if not (isinstance(ks, list) and all(type(k) is int for k in ks)):
        raise UserError(f"{path}: ks must be a list of whole numbers, got {ks!r}")
    if task not in TASKS:
        raise UserError(f"{path}: unknown task {task!r}; allowed: {', '.join(TASKS)}")
    if not isinstance(config.get("adversary"), str | None):  # in Python it may be a class
        raise UserError(f"{path}: adversary must be a name, got {config['adversary']!r}")
    # JSON has no tuples.
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    known = {cls: {f.name for f in dataclasses.fields(cls)} for cls in (DataOptions, Settings, TextOptions)}
    unknown = set(config) - set().union(*known.values())
    if unknown:
        raise UserError(f"{path} has unknown fields: {', '.join(sorted(unknown))}")
    parts = [cls(**{k: v for k, v in config.items() if k in names}) for cls, names in known.items()]
    return Config(task, parts[0], parts[1], tuple(ks), parts[2])


def lasting_paths(config: dict) -> dict:
    """The same with paths that still mean the same from another directory."""
    # A folder of that name here is what was read.
    tables = {each.name for each in data.named_datasets()} | {t for t in NAMED_TABLES if not Path(t).exists()}
    named = {"dataset": tables, "encoder": KNOWN, "item_text": (PLOTS,), "links": (), "item_features": (), "study": ()}
    return config | {name: _lasting(config[name], names) for name, names in named.items() if name in config}


def _lasting(path: str | Sequence[str] | None, names: Collection[str]) -> str | list[str] | None:
    """A path that still means the same from another directory, or some; names stay."""
    if isinstance(path, list | tuple):
        return [_lasting(each, names) for each in path]
    return path if path is None or path in names else str(Path(path).expanduser().absolute())
