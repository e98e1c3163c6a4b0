"""Training from Parquet files that are never in memory as a whole, beside the same training in memory.

python benchmarks/streaming.py --folder FOLDER            # makes 100,000,000 interactions there, if there is nothing
python benchmarks/streaming.py --folder FOLDER --smoke

Each line is a process of its own: a tenth of the interactions in memory and streamed, in turn, for two epochs of which
the second is timed; then a pass over all of them. The peak is of the whole process, compiled programs and tables too;
nothing is evaluated.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from lines import made_with, tell

FILES = 10
GROUP = 2**20  # rows
SCHEMA = pa.schema([("user", pa.int64()), ("item", pa.int64())])


@dataclass(frozen=True)
class Options:
    """What to measure."""

    folder: Path | None = None
    """Where the files are, or are to be made (default: a temporary folder)."""
    interactions: int = 100_000_000
    """Of all files together."""
    users: int = 1_000_000
    """U."""
    items: int = 100_000
    """I."""
    adversary: str = "generator"
    """The other player, see train."""
    table_updates: str = "auto"
    """See train."""
    buffer: int = 64
    """MiB of interactions at a time."""
    repeats: int = 2
    """Of both ways in turn, on a tenth of the interactions."""
    smoke: bool = False
    """As small as can be."""
    output: Path | None = None
    """A file to add the JSON lines to."""
    only: str | None = None
    """Train on this file or folder in this process, and print the numbers."""
    epochs: int = 1
    """Of that."""


def main(options: Options) -> None:
    """Measure."""
    if options.only is not None:
        print(json.dumps(train(options)))
        return
    if options.smoke:
        options = replace(options, interactions=20_000, users=300, items=200, repeats=1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "interactions" if options.folder is None else options.folder
        if not folder.exists():
            make(folder, options)
        measure(folder, Path(temporary), options)


def make(folder: Path, options: Options) -> None:
    """Files of random interactions; the popularity of items falls as one over the square root of their rank."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(FILES):
        with pq.ParquetWriter(folder / f"part-{number}.parquet", SCHEMA) as writer:
            for start in range(0, options.interactions // FILES, GROUP):
                n = min(GROUP, options.interactions // FILES - start)
                columns = rng.integers(0, options.users, n), (options.items * rng.random(n) ** 2).astype(np.int64)
                writer.write_table(pa.table(list(columns), schema=SCHEMA))


def measure(folder: Path, temporary: Path, options: Options) -> None:
    """Both ways in turn on one file, then all files streamed."""
    file = folder / "part-0.parquet"
    alone = temporary / "alone"
    alone.mkdir()
    os.symlink(file.absolute(), alone / file.name)
    ways = [("a tenth, in memory", file, 2), ("a tenth, streamed", alone, 2)] * options.repeats
    for what, dataset, epochs in (*ways, ("all, streamed", folder, 1)):
        given = {"adversary": options.adversary, "table-updates": options.table_updates, "buffer": options.buffer}
        arguments = [f"--{name}={value}" for name, value in (given | {"only": dataset, "epochs": epochs}).items()]
        done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
        found = {"benchmark": "streaming", "case": what} | given | json.loads(done.stdout.splitlines()[-1])
        tell(found | made_with(), options.output)


def train(options: Options) -> dict:
    """What some epochs of training cost in this process; nothing is evaluated."""
    import jax

    import gan_rec
    from gan_rec.experiments.fitting import resolve, training

    start = time.perf_counter()
    data = gan_rec.load(options.only, buffer=options.buffer)
    split = gan_rec.split(data)
    settings = resolve(
        {"recommender": "mf", "adversary": options.adversary, "table_updates": options.table_updates, "seeds": 1}
    )
    trainer = training(settings, split, ())
    keys = trainer._keys()
    positives, progress = trainer.task.on_device(split.train), trainer._begin(keys[:, 0])
    if hasattr(positives, "pairs"):
        jax.block_until_ready(positives.pairs.known)
    ready = time.perf_counter() - start
    for number in range(1, options.epochs + 1):
        start = time.perf_counter()
        progress, metrics = trainer._play("selection", number, progress, positives, keys[:, 1])
        jax.block_until_ready((progress, metrics))
        seconds = time.perf_counter() - start
    return {
        "interactions": len(split.train), "users": data.n_users, "items": data.n_items, "seconds_to_read": ready,
        "seconds_of_an_epoch": seconds, "microseconds_per_interaction": 1e6 * seconds / len(split.train),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
