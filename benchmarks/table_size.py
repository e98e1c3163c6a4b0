"""Does a min-max step cost more when the tables are larger?

    python benchmarks/table_size.py                     # 1e4, 1e5, 1e6 rows
    python benchmarks/table_size.py --rows 10000 1000000 10000000 --updates row-adagrad
    python benchmarks/table_size.py --smoke

Each size has as many users as items. A step is timed as the difference of a long and a short epoch, divided by the
steps that the long one has more: what an epoch does once (it averages the weights, and looks for numbers that are not
finite) is in both. All sizes take turns, so that their ratio holds on a machine whose speed drifts.
"""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from lines import made_with, tell


@dataclass(frozen=True)
class Options:
    """What to measure."""

    rows: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Users, and as many items."""
    updates: tuple[str, ...] = ("lazy-adam", "row-adagrad")
    """Of tables: dense, lazy-adam, row-adagrad."""
    adversaries: tuple[str, ...] = ("generator", "fgm")
    """Who plays."""
    batch_size: int = 1024
    """Pairs in a step."""
    dim: int = 64
    """Embedding size D."""
    steps: tuple[int, int] = (100, 1100)
    """Of the short and the long epoch."""
    repeats: int = 5
    """Of each."""
    smoke: bool = False
    """Two small sizes, once."""
    output: Path | None = None
    """A file to add the JSON lines to."""


def main(options: Options) -> None:
    """Measure every game."""
    if options.smoke:
        options = replace(options, rows=(1000, 5000), steps=(2, 6), repeats=1)
    for updates in options.updates:
        for adversary in options.adversaries:
            tell(measure(options, updates, adversary), options.output)


def measure(options: Options, updates: str, adversary: str) -> dict:
    """Milliseconds of a step by size."""
    from gan_rec.experiments.directory import peak_memory

    cases = [Case(options, updates, adversary, n) for n in options.rows]
    found: dict[int, list[float]] = {n: [] for n in options.rows}
    for _ in range(options.repeats):
        for n, case in zip(options.rows, cases, strict=True):
            short, long = (case.seconds(steps) for steps in options.steps)
            found[n].append(1e3 * (long - short) / (options.steps[1] - options.steps[0]))
    median = {str(n): statistics.median(each) for n, each in found.items()}
    return {
        "benchmark": "table_size", "updates": updates, "adversary": adversary, "batch_size": options.batch_size,
        "dim": options.dim, "milliseconds_a_step": median,
        "over_the_smallest": {n: value / next(iter(median.values())) for n, value in median.items()},
        "peak_memory_mib": peak_memory(),
        **made_with(),
    }  # fmt: skip


class Case:
    """A game on tables of one size, and pairs of random users and items for it."""

    def __init__(self, options: Options, updates: str, adversary: str, n: int):
        import jax
        import numpy as np

        from gan_rec.data import Interactions
        from gan_rec.data.sampling import to_device
        from gan_rec.experiments import players
        from gan_rec.experiments.settings import Settings
        from gan_rec.train.epoch import init

        settings = Settings(
            recommender="mf", loss="bpr", adversary=adversary, dim=options.dim, batch_size=options.batch_size,
            average=0.0, seeds=1,
        ).resolved()  # fmt: skip
        self.game = players.make_game(settings)
        self.schedule = replace(players.make_schedule(settings), table_updates=updates)
        makers = players.make_recommender(settings, n, n), players.make_adversary(settings, n, n)
        self.keys = jax.random.split(jax.random.key(0), 1)
        self.state = init(*makers, self.schedule, self.keys, self.game.alpha)
        rng, ids, most = np.random.default_rng(0), np.arange(n), options.steps[1] * options.batch_size
        users, items = (rng.integers(0, n, most).astype(np.int32) for _ in range(2))
        every = Interactions(users, items, ids, ids)
        self.pairs = {
            steps: to_device(every.select(np.arange(steps * options.batch_size)), most) for steps in options.steps
        }
        for steps in options.steps:  # compiles
            self.seconds(steps)

    def seconds(self, steps: int) -> float:
        """Of an epoch of so many steps."""
        import jax

        from gan_rec.train.epoch import epoch

        start = time.perf_counter()
        self.state, metrics = epoch(self.state, self.pairs[steps], self.game, self.schedule, self.keys)
        jax.block_until_ready((self.state, metrics))
        return time.perf_counter() - start


if __name__ == "__main__":
    main(tyro.cli(Options))
