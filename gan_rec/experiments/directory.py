"""A run directory: how it begins, and what a training took."""

import contextlib
import errno
import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from gan_rec.errors import UserError
from gan_rec.experiments.config import read_object
from gan_rec.files import alone_in, holds_nothing, write_text, writing


def check_directory(out: Path, resume: bool, name: str = "config.json") -> None:
    """Raise UserError unless `out` is new or empty, or with `resume` holds a run, whose configuration has this name."""
    if "\0" in str(out):
        raise UserError(f"no directory can have the name {str(out)!r}")
    if out.exists() and not out.is_dir():
        raise UserError(f"the output {out} is a file; give a directory that is new or empty")
    if resume and not (out / name).exists():
        raise UserError(f"nothing to resume in {out}: there is no {name}; give the directory of a stopped run")
    if not resume and out.is_dir() and not holds_nothing(out):
        raise UserError(f"the output directory {out} is not empty; give a new one, or --resume to go on with its run")


@contextlib.contextmanager
def begin(
    out: Path, config: Any, made_with: dict, resume: bool, name: str = "config.json", free: tuple[str, ...] = ()
) -> Iterator[None]:
    """Write config.json and environment.json, or with `resume` see that they are those of the same run.

    As long as the context lasts no other process can begin there. A KeyboardInterrupt tells of the directory.

    Args:
        out: the run directory.
        config: a `Config`, or what else has `text_of()` and `data`.
        made_with: what environment.json is to hold.
        resume: go on with a run.
        name: of the file in the place of config.json.
        free: what may be another when it is resumed.

    Raises:
        UserError: another configuration or other data, a folder that cannot be written to, or another process is at
            work in it.
    """
    with alone_in(out, "run"):
        check_directory(out, resume, name)  # again: another process may have begun, and ended, meanwhile
        with writing(out):
            _begin(out, config, made_with, resume, name, free)
        try:
            yield
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(str(out)) from stop
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(f"cannot write in {out}: {error.strerror}; make room, and --resume goes on") from error


def _begin(out: Path, config: Any, made_with: dict, resume: bool, name: str, free: tuple[str, ...]) -> None:
    text = config.text_of()
    if resume and (differ := _differ(read_object(out / name), json.loads(text), free)):
        raise UserError(
            f"{out} holds a run with another configuration (other {', '.join(differ)}); resume it with that of "
            f"{out / name}"
        )
    if resume and (out / "environment.json").exists():
        if read_object(out / "environment.json").get("split_sha256") != made_with["split_sha256"]:
            raise UserError(f"the data of {config.data.dataset!r} are not those that the run in {out} began with")
        if free:
            write_text(out / name, text)
        return
    write_text(out / name, text)
    write_text(out / "environment.json", json.dumps(made_with, indent=1))


def _differ(before: dict, now: dict, free: tuple[str, ...]) -> list[str]:
    """The names of what is not the same."""
    named, nothing = {"gan_rec": "version of gan_rec"}, object()
    other = [name for name in before | now if before.get(name, nothing) != now.get(name, nothing)]
    return [named.get(name, name) for name in other if name not in free]


@contextlib.contextmanager
def scratch_unless_first(out: Path) -> Iterator[Path]:
    """The run directory, or in a process that is not the first of several a folder that is deleted in the end."""
    if jax.process_index() == 0:
        yield out
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / "run"


def seconds(history: pd.DataFrame) -> dict[str, float | None]:
    """Seconds of training for all seeds together, by phase, with compilation apart.

    The model that is trained first pays for the program that both use, so an epoch 1 that takes longer than the median
    one counts as such, and the difference as compilation. A phase of one epoch has no other to compare with: its
    seconds contain what was compiled, and the compilation is None.
    """
    if history.empty:  # its metrics.jsonl has been taken away
        return {"total": 0.0, "compilation": 0.0}
    by_epoch = history.groupby(["phase", "epoch"], sort=False)["seconds"].sum()
    seconds, compilation, separable = {}, 0.0, True
    for phase, epochs in by_epoch.groupby(level="phase", sort=False):
        excess = max(0.0, float(epochs.iloc[0] - epochs.median()))
        seconds[phase] = float(epochs.sum()) - excess
        compilation += excess
        separable = separable and len(epochs) > 1
    return seconds | {"total": sum(seconds.values()), "compilation": compilation if separable else None}


def add_seconds(each: list[dict[str, float | None]]) -> dict[str, float | None]:
    """The sum of what `seconds` gives, for example of all folds; None where one of them is."""
    parts = {part: [one.get(part, 0.0) for one in each] for part in dict.fromkeys(p for one in each for p in one)}
    return {part: None if None in values else float(sum(values)) for part, values in parts.items()}


_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def measured_compilation() -> Iterator[list[float]]:
    """Yields a list that fills with the seconds of each compilation meanwhile (or of reading it from a cache)."""
    found: list[float] = []

    def hear(event: str, seconds: float, **about: Any) -> None:
        if event == _COMPILED:
            found.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(hear)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(hear)


def peak_memory() -> float:
    """Of this process, MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@contextlib.contextmanager
def measured_memory() -> Iterator[list[float]]:
    """Yields a list that in the end holds the peak memory of this process meanwhile, MiB.

    Where the system cannot forget an earlier peak (all but Linux), it is that of the process so far.
    """
    found: list[float] = []
    status = Path("/proc/self/status")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    try:
        yield found
    finally:
        peak = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
        found.append(int(peak[0].split()[1]) / 2**10 if peak else peak_memory())
