"""Checkpoints on disk: Orbax for the arrays, a sha256 manifest against silent damage."""

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from gan_rec.errors import UserError
from gan_rec.files import sha256, write_text

_FORMAT = 2  # of a checkpoint and its manifest; 1 had file names and digests alone
_OVERHEAD = 2**18  # bytes of a checkpoint beside its arrays, and some more


class DamagedCheckpointError(UserError):
    """The bytes of a checkpoint are not those that were written."""


class Checkpoints:
    """A `gan_rec.train.fit.Store` in a directory: `<directory>/<name>/<step>/` and `<directory>/<name>/<step>.sha256`.

    A step counts only once its manifest is there, which is written last: a killed save is as if it had not begun.

    Args:
        directory: of all names.
        say: is told, in a line, when a damaged step is passed over for the one before.
    """

    def __init__(self, directory: Path, say: Callable[[str], None] = warnings.warn):
        self.directory, self._say = Path(directory).absolute(), say

    def save(self, name: str, step: int, tree: Any) -> None:
        """Keep `tree` as the latest under `name`; the one before stays until this one is whole.

        Raises:
            UserError: it cannot be written.
        """
        folder = self.directory / name
        if jax.process_count() > 1:  # Orbax wants arrays of all processes, or none of JAX
            tree = jax.device_get(tree)
        try:
            with _quiet_threads():
                _check_space(folder, tree)
                self._write(folder, step, _flatten(tree))
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot write the checkpoint {folder / str(step)}: {_reason(error)}; what was kept before it is still "
                "there"
            ) from error

    def _write(self, folder: Path, step: int, leaves: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for left in _overtaken(folder, step):  # Orbax would refuse to save such a step again
            _manifest(folder, left).unlink(missing_ok=True)
            shutil.rmtree(folder / str(left))
        with ocp.CheckpointManager(folder, options=self._options(create=True)) as manager:
            manager.save(step, args=ocp.args.StandardSave(leaves), force=True)
            manager.wait_until_finished()
        write_text(_manifest(folder, step), _manifest_text(folder / str(step)))
        for manifest in folder.glob("*.sha256"):
            if not (folder / manifest.stem).is_dir():
                manifest.unlink()

    def restore(self, name: str, like: Any) -> Any | None:
        """The latest whole tree under `name`, of the structure and shapes of `like`; None if there is none.

        Of a damaged one the tree before is given, if that is whole: nothing is lost but time.

        Raises:
            DamagedCheckpointError: a file is damaged or missing, and there is no earlier tree that is whole.
            UserError: the checkpoint is of another model, or of another version of gan_rec.
        """
        folder = self.directory / name
        steps = [step for step in _steps(folder) if _manifest(folder, step).exists()]
        first: DamagedCheckpointError | None = None
        for step in reversed(steps):
            try:
                _verify(folder / str(step), _manifest(folder, step))
            except DamagedCheckpointError as error:
                first = first or error
                continue
            if first is not None:
                self._say(f"note: {first}; going on from the one before, of epoch {step}")
            return self._read(folder, step, like)
        if first is not None:
            raise DamagedCheckpointError(f"{first}, and there is none before it; delete {folder} to train that anew")
        return None

    def discard(self, name: str) -> None:
        """Delete all trees under `name`."""
        shutil.rmtree(self.directory / name, ignore_errors=True)

    def _read(self, folder: Path, step: int, like: Any) -> Any:
        leaves, structure = jax.tree.flatten(like)
        template = _flatten(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like))
        handler = ocp.StandardCheckpointHandler()
        with ocp.CheckpointManager(folder, item_handlers=handler, options=self._options(create=False)) as manager:
            stored = manager.item_metadata(step)
            held = {key: (tuple(m.shape), str(m.dtype)) for key, m in dict(stored).items()}
            if held != {key: (tuple(leaf.shape), str(leaf.dtype)) for key, leaf in template.items()}:
                raise UserError(f"the checkpoint {folder / str(step)} is of another model than the configuration's")
            arrays = manager.restore(step, args=ocp.args.StandardRestore(template))
        return jax.tree.unflatten(structure, [arrays[key] for key in template])

    @staticmethod
    def _options(*, create: bool) -> ocp.CheckpointManagerOptions:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, create=create, enable_async_checkpointing=False, cleanup_tmp_directories=create
        )
        if jax.process_count() > 1:
            # One alone writes, and each reads for itself: none may wait for the others here.
            me = jax.process_index()
            options.create = False
            options.multiprocessing_options = ocp.options.MultiprocessingOptions(
                primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process-{me}"
            )
        return options


def _flatten(tree: Any) -> dict[str, Any]:
    """Leaves by a readable path, so that a checkpoint tells what it holds."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keep tracebacks of Orbax's threads off stderr: what goes wrong in them is raised here too."""
    hook, log = threading.excepthook, logging.getLogger("absl")
    told, threading.excepthook, log.disabled = log.disabled, lambda about: None, True
    try:
        yield
    finally:
        threading.excepthook, log.disabled = hook, told


def _check_space(folder: Path, tree: Any) -> None:
    """Raise OSError where it is plain that a disk is too full: half a save is slower to find out, and noisier."""
    above = next(place for place in (folder, *folder.parents) if place.exists())
    if shutil.disk_usage(above).free < sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) + _OVERHEAD:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _reason(error: OSError | ValueError) -> str:
    """What the system says; TensorStore makes a ValueError of it, in which its number stands."""
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(number[1])) if number else getattr(error, "strerror", None) or " ".join(str(error).split())


def _steps(folder: Path) -> list[int]:
    """Those there are, whole or not, in order."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal() and path.is_dir())


def _overtaken(folder: Path, step: int) -> list[int]:
    """Steps whose save was killed, and damaged ones, from before which the training has gone on to this step."""
    return [each for each in _steps(folder) if each >= step or not _manifest(folder, each).exists()]


def _manifest(folder: Path, step: int) -> Path:
    return folder / f"{step}.sha256"


def _manifest_text(step: Path) -> str:
    files = sorted(path for path in step.rglob("*") if path.is_file())
    return json.dumps({"format": _FORMAT, "files": {str(p.relative_to(step)): sha256(p) for p in files}}, indent=1)


def _verify(step: Path, manifest: Path) -> None:
    """Raise DamagedCheckpointError unless every byte of a step and of its manifest is as it was written."""
    try:
        written = manifest.read_text(encoding="utf-8")
        expected = json.loads(written)
    except ValueError:
        raise DamagedCheckpointError(f"the manifest {manifest} is damaged: it is no valid JSON") from None
    now = _manifest_text(step)
    if written == now:
        return
    if not isinstance(expected, dict) or not isinstance(expected.get("files"), dict):
        raise DamagedCheckpointError(f"the manifest {manifest} is damaged, or of another version of gan_rec")
    if expected.get("format") != _FORMAT:
        raise UserError(
            f"the checkpoint {step} is of another version of gan_rec: {manifest.name} has the format "
            f"{expected.get('format')!r}, this version reads {_FORMAT}"
        )
    found = json.loads(now)["files"]
    for name, digest in expected["files"].items():
        if name not in found:
            raise DamagedCheckpointError(f"the checkpoint file {step / name} is missing")
        if found[name] != digest:
            raise DamagedCheckpointError(
                f"the checkpoint file {step / name} is damaged: its sha256 is not that of the manifest"
            )
    for name in found:
        if name not in expected["files"]:
            raise DamagedCheckpointError(f"the checkpoint {step} has a file more than its manifest, {name}")
    raise DamagedCheckpointError(f"the manifest {manifest} is damaged")
