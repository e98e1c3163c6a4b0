"""Files that appear whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`."""
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table to `path` as Parquet."""
    _write(path, lambda temporary: frame.to_parquet(temporary, index=False))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """By way of a temporary file beside it, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
