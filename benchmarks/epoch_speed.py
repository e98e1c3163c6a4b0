"""How long does one compiled min-max epoch take?

    python benchmarks/epoch_speed.py                    # all cases on CFGAN's ML-100K, or synthetic data without it
    python benchmarks/epoch_speed.py --smoke            # a minute on a laptop
    python benchmarks/epoch_speed.py --cases mf --seeds 1 --threads 1

Each case is timed with its twin (the same program without the adversary), the two in turn, so that their ratio holds
on a machine whose speed drifts. Compilation is timed apart. One JSON line for each case goes to stdout and, with
--output, to the end of a file. Runs unchanged on an accelerator: the arrays are where JAX puts them.
"""

import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from lines import tell

SHAPES = {
    "mf": {"recommender": "mf", "loss": "bpr", "batch_size": 1024, "dim": 64},
    "mf-sampled-softmax": {"recommender": "mf", "loss": "sampled-softmax", "negatives": 16},
    "lightgcn": {"recommender": "lightgcn", "loss": "bpr", "batch_size": 1024, "dim": 64},
    "mult-vae": {"recommender": "mult-vae", "batch_size": 1024, "dim": 64},
    "autoencoder": {"recommender": "autoencoder"},
    "autoencoder-fgm": {"recommender": "autoencoder", "adversary": "fgm"},
    "autoencoder-free": {"recommender": "autoencoder", "adversary": "free"},
    "apr": {"game": "apr", "recommender": "mf"},
    "cfgan": {"game": "cfgan"},  # an epoch is one of the critic and two of the recommender
    # The sizes and the moves of the authors' code on ML-100K, whose vectors are those of items.
    "cfgan-item": {
        "game": "cfgan", "side": "item", "critic_loss": "non-saturating", "dim": 400, "hidden": 125, "batch_size": 32,
        "mask_ratio": 0.7, "adversary_steps": 2, "recommender_steps": 4,
    },
    "irgan": {"game": "irgan", "recommender": "mf"},
    "hard-negative": {"game": "hard-negative", "recommender": "mf"},
    "advinfonce": {"game": "advinfonce", "recommender": "mf"},
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What to measure."""

    dataset: str | None = None
    """Name or path (default: cfgan-ml100k if it is on this disk, else synthetic)."""
    cases: tuple[str, ...] = tuple(SHAPES)
    """Which of mf, mf-sampled-softmax, lightgcn, mult-vae, autoencoder, autoencoder-fgm, autoencoder-free, apr, cfgan,
    cfgan-item, irgan, hard-negative, advinfonce."""
    seeds: tuple[int, ...] = (1, 4)
    """How many seeds side by side."""
    repeats: int = 7
    """Timed epochs of each."""
    threads: int | None = None
    """Threads on a CPU (default: JAX's choice)."""
    smoke: bool = False
    """Synthetic data, one seed, two repeats."""
    output: Path | None = None
    """A file to add the JSON lines to."""


def main(options: Options) -> None:
    """Measure every case."""
    if options.threads is not None:
        limit_threads(options.threads)
    if options.smoke:
        options = Options("synthetic", options.cases, (1,), 2, options.threads, output=options.output)
    for case in options.cases:
        for n_seeds in options.seeds:
            tell(measure(case, n_seeds, options), options.output)


def limit_threads(threads: int) -> None:
    """Must come before JAX is imported."""
    assert "jax" not in sys.modules
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "")
        + f" --xla_cpu_multi_thread_eigen={str(threads > 1).lower()} intra_op_parallelism_threads={threads}"
    )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def measure(case: str, n_seeds: int, options: Options) -> dict:
    """Time one case and its twin."""
    import jax
    from jax import numpy as jnp

    from gan_rec.data import load, locate
    from gan_rec.data.sampling import to_device
    from gan_rec.experiments import players
    from gan_rec.experiments.environment import environment
    from gan_rec.experiments.settings import Settings
    from gan_rec.train.epoch import init
    from gan_rec.train.seeds import epoch_of_seeds

    name = options.dataset or ("cfgan-ml100k" if locate("cfgan-ml100k") else "synthetic")
    dataset = load(name)
    train = dataset.parts.get("train", dataset.parts.get("all"))
    settings = Settings(**SHAPES[case], seeds=n_seeds).resolved()
    positives = to_device(train.transposed() if settings.side == "item" else train)
    sizes = train.n_users, train.n_items
    makers = players.make_recommender(settings, *sizes), players.make_adversary(settings, *sizes)
    schedule, keys = players.make_schedule(settings), jax.vmap(jax.random.key)(jnp.arange(n_seeds))
    game = players.make_game(settings)
    games = {"adversarial": game, "twin": replace(game, alpha=1.0)}
    states = {model: init(*makers, schedule, keys, game.alpha) for model, game in games.items()}

    def run(model: str) -> float:
        start = time.perf_counter()
        states[model], metrics = epoch_of_seeds(states[model], positives, games[model], schedule, keys)
        jax.block_until_ready(metrics)
        return time.perf_counter() - start

    first = run("adversarial")
    run("twin")
    seconds = {model: [] for model in games}
    for _ in range(options.repeats):
        for model in games:
            seconds[model].append(run(model))
    median = {model: statistics.median(values) for model, values in seconds.items()}
    made_with = environment(dataset)
    return {
        "benchmark": "epoch_speed",
        "case": case,
        "dataset": dataset.name,
        "interactions": len(train),
        "batch_size": settings.batch_size,
        "dim": settings.dim,
        "seeds": n_seeds,
        "threads": options.threads,
        "seconds_median": median,
        "seconds_min": {model: min(values) for model, values in seconds.items()},
        "seconds_per_seed": {model: value / n_seeds for model, value in median.items()},
        "updates": {model: updates(state) // (1 + options.repeats) for model, state in states.items()},
        "adversarial_over_twin": statistics.median(a / t for a, t in zip(*seconds.values(), strict=True)),
        "interactions_per_second": len(train) * n_seeds / median["adversarial"],
        "compile_seconds": first - median["adversarial"],
        "device": made_with["device"],
        "packages": made_with["packages"],
        "git_revision": made_with["git_revision"],
    }


def updates(state) -> int:
    """Steps that the optimisers of both players have made, of one seed."""
    from optax.tree_utils import tree_get_all_with_path

    optimizers = state.recommender_opt, state.adversary_opt
    return sum(max(int(count.max()) for _, count in tree_get_all_with_path(each, "count")) for each in optimizers)


if __name__ == "__main__":
    main(tyro.cli(Options))
