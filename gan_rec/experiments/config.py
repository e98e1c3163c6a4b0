"""Reading what a run has written."""

import dataclasses
import json
from pathlib import Path

from gan_rec.errors import UserError
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions, Settings


def read_json(path: Path) -> dict:
    """Read a JSON file of a run.

    Raises:
        UserError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no valid JSON'}") from error


def read_config(path: Path) -> tuple[DataOptions, Settings, tuple[int, ...]]:
    """Options, settings and cut-offs from a config.json.

    Raises:
        UserError: the file cannot be read, or has a field that this version does not know.
    """
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path} is no configuration: it must hold a JSON object")
    config.pop("gan_rec", None)
    ks = tuple(config.pop("ks", DEFAULT_KS))
    known = {cls: {f.name for f in dataclasses.fields(cls)} for cls in (DataOptions, Settings)}
    unknown = set(config) - known[DataOptions] - known[Settings]
    if unknown:
        raise UserError(f"{path} has unknown fields: {', '.join(sorted(unknown))}")
    options, settings = (cls(**{k: v for k, v in config.items() if k in names}) for cls, names in known.items())
    return options, settings, ks
