"""What tune and compare were asked to do: written down when they begin, and read when they go on."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import gan_rec
from gan_rec.errors import UserError
from gan_rec.experiments.checks import check_types
from gan_rec.experiments.config import lasting_paths, read_object
from gan_rec.experiments.models import Goal
from gan_rec.experiments.search import Search
from gan_rec.experiments.settings import DataOptions

Asked = TypeVar("Asked")


def asked_text(task: str, data: DataOptions, search: Search, **own: Any) -> str:
    """As JSON: data and search, and by name what only the task has."""
    config = {"gan_rec": gan_rec.__version__, "task": task} | dataclasses.asdict(data) | own
    budget = {"trials": search.trials, "parallel": search.parallel}
    return json.dumps(lasting_paths(config) | budget | dataclasses.asdict(search.goal), indent=1)


def read_asked(path: Path, task: str, kind: type[Asked]) -> Asked:
    """What `asked_text` wrote, as a dataclass that has `data`, `search` and what only the task has.

    Raises:
        UserError: the file cannot be read, is of another task, or has a value that is not allowed.
    """
    config = read_object(path)
    if config.get("task") != task:
        raise UserError(f"{path} is no configuration of the command {task}")
    # JSON has no tuples.
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    own = [f.name for f in dataclasses.fields(kind) if f.name not in ("data", "search")]
    missing = [name for name in (*own, "trials", "parallel") if name not in config]
    if missing:
        raise UserError(f"{path} is damaged: it has no {', '.join(missing)}")
    names = {cls: {f.name for f in dataclasses.fields(cls)} & set(config) for cls in (DataOptions, Goal)}
    data, goal = (cls(**{name: config[name] for name in each}) for cls, each in names.items())
    asked = kind(
        data=data, search=Search(config["trials"], config["parallel"], goal), **{name: config[name] for name in own}
    )
    try:
        check_types(asked)
        check_types(data)
        asked.search.check()
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return asked
