"""Checkpoints on disk: Orbax for the arrays, a sha256 manifest against silent damage."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from gan_rec.errors import UserError
from gan_rec.files import write_text


class Checkpoints:
    """A `gan_rec.train.fit.Store` in a directory: `<directory>/<name>/<step>/` and `<directory>/<name>/<step>.sha256`.

    A step counts only once its manifest is there, which is written last: a killed save is as if it had not begun.
    """

    def __init__(self, directory: Path):
        self.directory = Path(directory).absolute()

    def save(self, name: str, step: int, tree: Any) -> None:
        """Keep `tree` as the latest under `name`; the one before stays until this one is whole."""
        folder = self.directory / name
        if jax.process_count() > 1:  # Orbax wants arrays of all processes, or none of JAX
            tree = jax.device_get(tree)
        for left in _unfinished(folder):  # by a save that was killed; Orbax would refuse to save that step again
            shutil.rmtree(left)
        folder.mkdir(parents=True, exist_ok=True)
        with ocp.CheckpointManager(folder, options=self._options(create=True)) as manager:
            manager.save(step, args=ocp.args.StandardSave(_flatten(tree)), force=True)
            manager.wait_until_finished()
        write_text(folder / f"{step}.sha256", json.dumps(_digests(folder / str(step)), indent=1))
        for manifest in folder.glob("*.sha256"):
            if not (folder / manifest.stem).is_dir():
                manifest.unlink()

    def restore(self, name: str, like: Any) -> Any | None:
        """The latest whole tree under `name`, of the structure and shapes of `like`; None if there is none.

        Raises:
            UserError: a file is damaged or missing, or the checkpoint is of another model.
        """
        folder = self.directory / name
        steps = sorted(int(m.stem) for m in folder.glob("*.sha256") if (folder / m.stem).is_dir())
        if not steps:
            return None
        step = steps[-1]
        _verify(folder / str(step), folder / f"{step}.sha256")
        return self._read(folder, step, like)

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


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _unfinished(folder: Path) -> list[Path]:
    steps = [path for path in folder.glob("*") if path.is_dir() and path.name.isdigit()]
    return [step for step in steps if not (folder / f"{step.name}.sha256").exists()]


def _verify(folder: Path, manifest: Path) -> None:
    try:
        expected = json.loads(manifest.read_text())
    except ValueError:
        raise UserError(f"the manifest {manifest} is damaged: it is no valid JSON") from None
    found = _digests(folder)
    for name, digest in expected.items():
        if name not in found:
            raise UserError(f"the checkpoint file {folder / name} is missing")
        if found[name] != digest:
            raise UserError(f"the checkpoint file {folder / name} is damaged: its sha256 is not that of the manifest")
