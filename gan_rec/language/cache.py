"""Sentence vectors that outlive the process, by text and by the model that made them."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

_AT_ONCE = 500  # SQLite's bound on the values of one question is 999 in old versions


class VectorCache:
    """A file of vectors of one model, keyed by the sha256 of the text.

    A file that is damaged is thrown away: all that is in it can be made again.

    Args:
        path: the file; its folder is made.
        dim: D.
    """

    def __init__(self, path: Path, dim: int):
        self.path, self.dim = path, dim

    def get(self, texts: Sequence[str]) -> dict[str, Float[np.ndarray, " D"]]:
        """The vectors that are known."""
        if not self.path.exists():
            return {}
        keys = {_key(text): text for text in texts}
        found = {}
        try:
            with self._open() as database:
                for begin in range(0, len(keys), _AT_ONCE):
                    some = list(keys)[begin : begin + _AT_ONCE]
                    marks = ",".join("?" * len(some))
                    for key, blob in database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some):
                        if len(blob) == 4 * self.dim:
                            found[keys[key]] = np.frombuffer(blob, np.float32)
        except sqlite3.OperationalError:  # busy, or a disk that fails: what is in it may be fine
            return {}
        except sqlite3.DatabaseError:
            self.path.unlink(missing_ok=True)
            return {}
        return found

    def put(self, texts: Sequence[str], vectors: Float[np.ndarray, "N D"]) -> None:
        """Keep vectors; a disk that takes no more only means that they are made again next time."""
        rows = [
            (_key(text), np.ascontiguousarray(vector, np.float32).tobytes())
            for text, vector in zip(texts, vectors, strict=True)
        ]
        with contextlib.suppress(OSError, sqlite3.Error):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
                database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    @contextlib.contextmanager
    def _open(self):
        # A second process that encodes the same texts waits for the first.
        with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as database, database:
            yield database


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
