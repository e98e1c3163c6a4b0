"""Kills a short run again and again, at random moments, and sees whether it ends as the run that nobody killed.

    python benchmarks/kills.py --kills 200

Half of the kills come after a random time, the other half at a random one of the run's steps on files: within a save,
or while results are written. Each run is killed some times, resumed each time, and then compared with the unbroken run:
results, metrics of all epochs, tables of users and all weights that are kept, bit for bit. Programs are compiled once,
and trained models are not attacked, which takes most of a short run and writes nothing (--attacks: they are).
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from gan_rec import cli

TRAIN = (
    "--dataset synthetic --recommender mf --adversary fgm --dim 4 --epochs 3 --evaluate-every 1 --checkpoint-every 1 "
    "--seeds 1 --k 5 --select-on NDCG@5 --quiet"
).split()
MOST_KILLS = 8  # of one run, which then may end
_TIMES = ("seconds", "throughput", "peak_memory_mib")
_ON_FILES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.truncate")


def main() -> None:
    """Kill, resume, compare, and print how it went; exit with 1 if one run did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("kills"), help="for the runs, which are deleted when right")
    parser.add_argument("--attacks", action="store_true", help="attack the trained models, as train does")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no other run after these")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(asked.folder.absolute() / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    from gan_rec.experiments import run  # once, for all children

    if not asked.attacks:
        run.probe = lambda *models: {name: {} for name in ("adversarial", "twin", "rise_difference")}

    began, rng = time.monotonic(), random.Random(asked.seed)
    for name in ("cold", "unbroken"):
        shutil.rmtree(asked.folder / name, ignore_errors=True)
        start = time.monotonic()
        wait(train(asked.folder / name, asked.folder / f"{name}.json"))
        seconds = time.monotonic() - start
    right = json.loads((asked.folder / "unbroken.json").read_text())
    kills = runs = wrong = 0
    where = {"time": 0, "file": 0}
    while kills < asked.kills and time.monotonic() - began < 60 * asked.minutes:
        out, found = asked.folder / f"run-{runs}", asked.folder / f"run-{runs}.json"
        shutil.rmtree(out, ignore_errors=True)
        for attempt in range(MOST_KILLS + 1):
            spared = attempt == MOST_KILLS or kills == asked.kills
            kind = rng.choice(list(where))
            delay = rng.uniform(0, seconds) if kind == "time" and not spared else None
            step = rng.randint(1, right["steps"]) if kind == "file" and not spared else None
            status = wait(train(out, found, step), delay)
            check_readable(out)
            if not os.WIFSIGNALED(status):
                break
            kills += 1
            where[kind] += 1
        same = os.WEXITSTATUS(status) == 0 and compare(right, json.loads(found.read_text()))
        print(f"run {runs}: {attempt} kills, {'the same bits' if same else 'NOT THE SAME'}; {kills} kills", flush=True)
        wrong += not same
        runs += 1
        if same:
            shutil.rmtree(out)
    result = {
        "kills": kills,
        "by": where,
        "runs": runs,
        "not the same": wrong,
        "minutes": (time.monotonic() - began) / 60,
    }
    print(json.dumps(result))
    sys.exit(bool(wrong))


def train(out: Path, found: Path, step: int | None = None) -> int:
    """A child that trains, or goes on, and writes down what came of it; at its `step`-th one on files it is killed."""
    child = os.fork()
    if child:
        return child
    sys.stdout = sys.stderr = open(os.devnull, "w")
    status = 1
    with contextlib.suppress(BaseException):
        steps = count_steps(out, step)
        begun = (out / "config.json").exists()
        try:
            cli.main(
                ["train", "--resume", "--out", str(out), "--quiet"] if begun else ["train", *TRAIN, "--out", str(out)]
            )
            found.write_text(json.dumps(told(out) | {"steps": steps[0]}))
            status = 0
        except SystemExit as stop:
            status = stop.code
    os._exit(status)


def count_steps(out: Path, last: int | None) -> list[int]:
    """A list whose number counts what this process does to files of a run; it dies as it is about to do the last."""
    steps, inside = [0], str(out.absolute())

    def hear(event: str, arguments: tuple) -> None:
        if event in _ON_FILES and arguments and inside in os.path.abspath(str(arguments[0])):
            steps[0] += 1
            if steps[0] == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)
    return steps


def wait(child: int, delay: float | None = None) -> int:
    """A child's status when it has ended, or has been killed after so many seconds."""
    if delay is not None:
        end = time.monotonic() + delay
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def check_readable(out: Path) -> None:
    """Every file of a run that is to be read as a whole is whole."""
    for path in out.rglob("*.json") if out.exists() else ():
        if path.parent == out:
            json.loads(path.read_text())


def told(out: Path) -> dict:
    """All of a finished run that must be the same."""
    results = json.loads((out / "results.json").read_text())
    rows = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    left = [str(path) for path in out.rglob(".*")]
    return {
        "results": {name: value for name, value in results.items() if name not in _TIMES},
        "epochs": [{name: value for name, value in row.items() if name != "seconds"} for row in rows],
        "users": hashlib.sha256((out / "per_user.parquet").read_bytes()).hexdigest(),
        "config": (out / "config.json").read_text(),
        "weights": weights(out / "checkpoints"),
        "left behind": left,
    }


def weights(folder: Path) -> dict[str, str]:
    """The digest of every array in the checkpoints, by its place."""
    import numpy as np
    import orbax.checkpoint as ocp

    found = {}
    for manifest in sorted(folder.rglob("*.sha256")):
        with ocp.CheckpointManager(manifest.parent, item_handlers=ocp.StandardCheckpointHandler()) as manager:
            arrays = manager.restore(int(manifest.stem), args=ocp.args.StandardRestore())
        for name, array in arrays.items():
            content = np.ascontiguousarray(array)
            digest = hashlib.sha256(content.tobytes()).hexdigest()
            found[f"{manifest.relative_to(folder)} {name} {content.dtype} {content.shape}"] = digest
    return found


def compare(right: dict, found: dict) -> bool:
    """Whether two runs came to the same; says what did not."""
    differ = [name for name in right if name != "steps" and right[name] != found[name]]
    for name in differ:
        print(f"  other {name}: {str(right[name])[:300]} but {str(found[name])[:300]}")
    return not differ


if __name__ == "__main__":
    main()
