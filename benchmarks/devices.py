"""How an epoch's time changes with the number of devices: `mf` on tables of a stated size, batches split over them.

    python benchmarks/devices.py                        # all numbers of devices that are powers of two
    XLA_FLAGS=--xla_force_host_platform_device_count=8 python benchmarks/devices.py --smoke

Simulated devices share the cores of one machine: their times show that it works, not that it scales.
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

    rows: int = 1_000_000
    """Users, and as many items."""
    pairs: int = 1_000_000
    """In an epoch."""
    batch_size: int = 65_536
    """Pairs in a step, of all devices together."""
    dim: int = 64
    """Embedding size D."""
    split: str = "model"
    """What more devices share: data (batches) or model (tables)."""
    repeats: int = 3
    """Timed epochs."""
    smoke: bool = False
    """Small tables, one epoch."""
    output: Path | None = None
    """A file to add the JSON line to."""


def main(options: Options) -> None:
    """Measure."""
    if options.smoke:
        options = replace(options, rows=2000, pairs=4096, batch_size=1024, repeats=1)
    tell(measure(options), options.output)


def measure(options: Options) -> dict:
    """Seconds of an epoch by devices, of the adversarial model."""
    import jax
    import numpy as np
    from jax.sharding import AxisType

    from gan_rec.data import Interactions
    from gan_rec.data.sampling import to_device
    from gan_rec.experiments import players
    from gan_rec.experiments.settings import Settings
    from gan_rec.train.epoch import epoch, init
    from gan_rec.train.sharding import AXES, Layout

    settings = Settings(
        recommender="mf",
        loss="bpr",
        adversary="fgm",
        dim=options.dim,
        batch_size=options.batch_size,
        average=0.0,
        seeds=1,
    ).resolved()
    n, rng = options.rows, np.random.default_rng(0)
    ids = np.arange(n)
    pairs = (rng.integers(0, n, options.pairs).astype(np.int32) for _ in range(2))
    positives = to_device(Interactions(*pairs, ids, ids))
    game, adversary, found = players.make_game(settings), players.make_adversary(settings, n, n), {}
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64, 128, 256) if count <= jax.device_count()]
    for count in counts:
        shape = {"data": 1, "model": 1} | {options.split: count}
        mesh = jax.make_mesh(
            tuple(shape[axis] for axis in AXES), AXES, axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:count]
        )
        layout = Layout(mesh, (("user_embedding", "users"), ("item_embedding", "items")), (("users", n), ("items", n)))
        maker = players.make_recommender(settings, n, n, multiple=layout.multiple)
        schedule = replace(players.make_schedule(settings), table_updates="lazy-adam", layout=layout)

        def begin(keys, maker=maker, schedule=schedule):
            return init(maker, adversary, schedule, keys, game.alpha)

        keys = layout.everywhere(jax.random.split(jax.random.key(0), 1))
        state = jax.jit(begin, out_shardings=layout.shardings(jax.eval_shape(begin, keys)))(keys)
        data, seconds = layout.everywhere(positives), []
        for _ in range(1 + options.repeats):
            start = time.perf_counter()
            state, metrics = epoch(state, data, game, schedule, keys)
            jax.block_until_ready((state, metrics))
            seconds.append(time.perf_counter() - start)
        found[str(count)] = statistics.median(seconds[1:])
    return {
        "benchmark": "devices",
        **{name: getattr(options, name) for name in ("rows", "pairs", "batch_size", "dim", "split")},
        "seconds_an_epoch": found,
        **made_with(),
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options))
