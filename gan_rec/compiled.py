"""Programs that have been compiled are kept on disk, so that a command is quick the next time."""

import hashlib
import os
import platform
from pathlib import Path

from gan_rec.files import cache_folder


def keep_compiled() -> None:
    """Let JAX keep what it compiles in the cache folder; must come before JAX is imported.

    Nothing changes where `JAX_COMPILATION_CACHE_DIR` is set, or the folder cannot be made or written to.
    """
    folder = cache_folder() / "compiled" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def _processor() -> str:
    """A name for what this machine's programs run on: a home may be shared by machines of other kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    features = [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]
    return hashlib.sha256("\n".join([platform.machine(), platform.processor(), *features]).encode()).hexdigest()[:16]
