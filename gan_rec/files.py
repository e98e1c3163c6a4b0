"""Files that appear whole or not at all, and where those go that can be made again."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from gan_rec.errors import UserError


def cache_folder() -> Path:
    """Where what has been fetched or computed is kept: `$XDG_CACHE_HOME/gan_rec`, by default `~/.cache/gan_rec`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan_rec"


def sha256(*paths: Path) -> str:
    """Of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raise UserError with the place and the reason where the system lets nothing be written there."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror}") from error


def check_writable(place: Path) -> None:
    """Raise UserError where it is plain before long work that nothing can be written: by what stands above a place."""
    above = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    if above != place and not above.is_dir():
        raise UserError(f"cannot write {place}: {above} is a file")
    if not os.access(above, os.W_OK):
        raise UserError(f"cannot write {place}: {above} is read-only")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`."""
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`."""
    _write(path, lambda temporary: temporary.write_bytes(content))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table to `path` as Parquet."""
    _write(path, lambda temporary: frame.to_parquet(temporary, index=False))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array to `path` as .npy."""

    def save(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # given a name, np.save would add its own ending
            np.save(file, array)

    _write(path, save)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays by name to `path` as compressed .npz."""

    def save(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)

    _write(path, save)


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
