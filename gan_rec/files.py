"""Files that appear whole or not at all, and where those go that can be made again."""

import contextlib
import errno
import hashlib
import os
import re
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


_LOCK = ".lock"
_TEMPORARY = re.compile(r"\..*\.(\d+)\.tmp")


@contextlib.contextmanager
def alone_in(folder: Path, who: str) -> Iterator[None]:
    """Work in a folder, which is made, as the only process: the system forgets its lock when the process is killed.

    Files that a killed process had not finished are deleted. Where a file system knows no locks there is none.

    Args:
        folder: to work in.
        who: what other processes that are at work there are called in the message.

    Raises:
        UserError: another process is at work there, or nothing can be written.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = _hold(folder / _LOCK)
    if held is None:
        raise UserError(f"another process is at work in {folder}: wait for that {who}, or give another directory")
    try:
        for path in unfinished(folder):
            path.unlink(missing_ok=True)
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / _LOCK).unlink()  # while it is held: who waits for this very file sees that it is another by then
        os.close(held)
        with contextlib.suppress(OSError):  # nothing has been written there, or all of it is still there
            for each in made:
                each.rmdir()


def _hold(lock: Path) -> int | None:
    """A descriptor of the locked file; None if another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return os.open(lock, os.O_CREAT | os.O_RDWR)
    while True:
        file = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(file)
                return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(lock), os.fstat(file)):
                return file
        os.close(file)  # its owner has deleted it meanwhile


def unfinished(folder: Path) -> list[Path]:
    """The files in a folder, and in those within it, that a process that is no more had begun to write."""
    found = [(path, _TEMPORARY.fullmatch(path.name)) for path in folder.rglob(".*.tmp")]
    return [path for path, match in found if match and not lives(int(match[1]))]


def lives(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def holds_nothing(folder: Path) -> bool:
    """Whether all that a folder holds was left by a process that was killed before it had written anything."""
    left = {folder / _LOCK, *(path for path in folder.glob(".*.tmp") if _TEMPORARY.fullmatch(path.name))}
    return left.issuperset(folder.iterdir())


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
    if path.exists() and not path.is_file():  # a pipe, a terminal or another device, in whose place no file may come
        write(path)
        return
    path = path.resolve()  # where a link leads to, so that it stays
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
