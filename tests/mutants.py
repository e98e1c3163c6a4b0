"""Twenty defects in losses, metrics, sampling, masks and splits, put into a copy of the package one at a time.

    python tests/mutants.py            # which tests die of each; exit 1 if a mutant lives

Each must be found by tests of the fast lane that stand beside what it breaks.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Mutant(NamedTuple):
    """A line of a module, what it becomes, and the tests that have to find it."""

    module: str
    old: str
    new: str
    tests: str


LOSSES, METRICS, RANKING = "gan_rec/losses.py", "gan_rec/evaluation/metrics.py", "gan_rec/evaluation/ranking.py"
SAMPLING, SPLITS = "gan_rec/data/sampling.py", "gan_rec/data/splits.py"
MUTANTS = (
    Mutant(
        LOSSES,
        "softplus(negatives - positive[:, None])",
        "softplus(positive[:, None] - negatives)",
        "test_losses",
    ),
    Mutant(
        LOSSES,
        "[positive[:, None], negatives + log_weights]",
        "[negatives + log_weights]",
        "test_losses",
    ),
    Mutant(
        LOSSES,
        "total / (1 + negatives.shape[1])",
        "total / negatives.shape[1]",
        "test_losses",
    ),
    Mutant(
        LOSSES,
        "jnp.where(candidates > 0, scores, -jnp.inf)",
        "scores",
        "test_losses",
    ),
    Mutant(
        LOSSES,
        "jnp.where(n > 0, per_user, 0.0)",
        "per_user",
        "test_losses",
    ),
    Mutant(
        METRICS,
        'scores[f"P@{k}"] = found / k',
        'scores[f"P@{k}"] = found / best',
        "test_metrics",
    ),
    Mutant(
        METRICS,
        'scores[f"R@{k}"] = found / n_relevant',
        'scores[f"R@{k}"] = found / best',
        "test_metrics",
    ),
    Mutant(
        METRICS,
        "1 / np.log2(np.arange(1, hits.shape[-1] + 1) + 1)",
        "1 / np.log2(np.arange(1, hits.shape[-1] + 1) + 2)",
        "test_metrics",
    ),
    Mutant(
        METRICS,
        "(np.argmax(first, axis=-1) + 1)",
        "(np.argmax(first, axis=-1) + 2)",
        "test_metrics",
    ),
    Mutant(
        METRICS,
        "cumulative[..., :k] / ranks[:k]).sum(-1) / best",
        "cumulative[..., :k] / ranks[:k]).sum(-1) / k",
        "test_metrics",
    ),
    Mutant(
        METRICS,
        "np.minimum(n_relevant, hits.shape[-1])",
        "np.minimum(n_relevant, hits.shape[-1]) * 0 + hits.shape[-1]",
        "test_metrics",
    ),
    Mutant(
        SAMPLING,
        "negative = ~positives.contains(",
        "negative = positives.contains(",
        "test_sampling",
    ),
    Mutant(
        SAMPLING,
        "jax.random.randint(key, shape, 0, positives.n_items)",
        "jax.random.randint(key, shape, 0, positives.n_items - 1)",
        "test_sampling",
    ),
    Mutant(
        RANKING,
        "scores = seen.known.hide(users, scores)",
        "scores = scores",
        "test_topk test_metrics test_fit",
    ),
    Mutant(
        RANKING,
        "return best, ranked[places]",
        "return best, places",
        "test_text_recommenders test_topk",
    ),
    Mutant(
        SPLITS,
        "is_valid = (from_end >= n) & (from_end < 2 * n)",
        "is_valid = (from_end < 2 * n)",
        "data/test_splits",
    ),
    Mutant(
        SPLITS,
        "is_test = (from_end < n) &",
        "is_test = (from_end == n) &",
        "data/test_splits",
    ),
    Mutant(
        SPLITS,
        'order = np.argsort(whole.times, kind="stable")',
        "order = np.arange(len(whole))",
        "data/test_splits",
    ),
    Mutant(
        SPLITS,
        "np.maximum(counts - 1, 0)",
        "counts",
        "data/test_splits",
    ),
    Mutant(
        SPLITS,
        "p in (~test & ~valid, valid, test)",
        "p in (~test, valid, test)",
        "data/test_splits test_text_recommenders",
    ),
)


def passes(tests: str, copy: Path) -> bool:
    """Whether tests pass in a copy of the checkout."""
    places = [f"tests/{name}.py" for name in tests.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *places]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True).returncode == 0


def survives(mutant: Mutant, copy: Path) -> bool:
    """Whether all of its tests pass in a copy of the checkout that has the defect."""
    module = copy / mutant.module
    whole = module.read_text(encoding="utf-8")
    if whole.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.module} does not have {mutant.old!r} once: the list of mutants is out of date")
    module.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        return passes(mutant.tests, copy)
    finally:
        module.write_text(whole, encoding="utf-8")


def main() -> int:
    """Try them all."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "gan_rec"
        for part in ("gan_rec", "tests", "benchmarks", "pyproject.toml"):
            source = ROOT / part
            target = copy / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "results"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        healthy = " ".join(dict.fromkeys(" ".join(mutant.tests for mutant in MUTANTS).split()))
        if not passes(healthy, copy):
            raise SystemExit("the tests do not pass without a defect")
        alive = []
        for number, mutant in enumerate(MUTANTS, 1):
            lives = survives(mutant, copy)
            print(
                f"{number:2} {'LIVES' if lives else 'dies '} {mutant.module}: {mutant.old} -> {mutant.new}", flush=True
            )
            alive += [mutant] if lives else []
    print(f"{len(MUTANTS) - len(alive)} of {len(MUTANTS)} die")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
