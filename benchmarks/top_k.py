"""Exact top K of a large catalogue for many users, beside the least that could be done: a product and its maximum.

python benchmarks/top_k.py                          # 100,000 items, 4,000 users, K 20, D 64
python benchmarks/top_k.py --users 100000 --repeats 1
python benchmarks/top_k.py --smoke
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

    users: int = 4000
    """Who get a list."""
    items: int = 100_000
    """The catalogue."""
    dim: int = 64
    """D."""
    k: int = 20
    """List length."""
    known: int = 20
    """Items that each user has, which are left out."""
    memory: int = 64
    """MiB of scores at a time."""
    repeats: int = 5
    """Of each, in turn."""
    smoke: bool = False
    """A small catalogue, once."""
    output: Path | None = None
    """A file to add the JSON line to."""


def main(options: Options) -> None:
    """Measure."""
    if options.smoke:
        options = replace(options, users=50, items=2000, repeats=1)
    tell(measure(options), options.output)


def measure(options: Options) -> dict:
    """Seconds of the ranking that `recommend` does, of `lax.top_k`, and of the product and its maximum."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    from gan_rec.data import Interactions
    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.ranking import top_items
    from gan_rec.recommenders.baselines.tables import Factors

    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n, options.dim)).astype(np.float32) for n in (options.users, options.items)]
    users = np.repeat(np.arange(options.users, dtype=np.int32), options.known)
    items = rng.integers(0, options.items, len(users)).astype(np.int32)
    known = to_device(Interactions(users, items, np.arange(options.users), np.arange(options.items)))
    factors, every = Factors(*rows), np.arange(options.users)
    recommenders = jax.tree.map(lambda x: x[None], factors)
    size = max(1, min(options.users, options.memory * 2**20 // (4 * options.items)))
    chunks = jnp.asarray(np.pad(every, (0, -len(every) % size)).reshape(-1, size))

    @jax.jit
    def maximum(factors, chunks):
        return jax.lax.map(lambda ids: jnp.max(factors.score(factors.users(ids), factors.items()), axis=1), chunks)

    @jax.jit
    def plain(factors, chunks):
        def rank(ids):
            return jax.lax.top_k(factors.score(factors.users(ids), factors.items()), options.k)

        return jax.lax.map(rank, chunks)

    ways = {
        "ranking": lambda: top_items(recommenders, known, every, options.k, memory=options.memory),
        "product and maximum": lambda: jax.block_until_ready(maximum(factors, chunks)),
        "product and lax.top_k": lambda: jax.block_until_ready(plain(factors, chunks)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(options.repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    least = seconds["product and maximum"]
    return {
        "benchmark": "top_k",
        **{name: getattr(options, name) for name in ("users", "items", "dim", "k", "known", "memory")},
        "seconds_median": {name: statistics.median(each) for name, each in seconds.items()},
        "over_product_and_maximum": {
            name: statistics.median(a / b for a, b in zip(each, least, strict=True)) for name, each in seconds.items()
        },
        **made_with(),
    }


if __name__ == "__main__":
    main(tyro.cli(Options))
