"""What the twin of the map's setting "tail items" reaches if popular items lose some of their score.

    python benchmarks/tail_penalty.py --output benchmarks/results/tail_penalty.jsonl    # five splits, a few minutes

An adversary that makes popular items lose is of no use if one number does the same. On every split of the map the twin
is trained as tuning chose it there (benchmarks/results/map.jsonl), and its scores lose beta times the logarithm of an
item's users; beta is chosen on validation, test is read once. A JSON line: values over splits, and the differences from
the twin and from the map's adversary, paired by split.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import map_settings
import numpy as np
import tyro

BETAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
SETTING, K = "tail items", 20
MAP = Path(__file__).parent / "results" / "map.jsonl"


@dataclass(frozen=True)
class Options:
    """What to measure."""

    adversary: str = "generator"
    """Whose cell the penalty stands beside."""
    map: Path = MAP
    """Where that cell is."""
    output: Path | None = None
    """A file that gets the line."""


def penalised(split, config: dict) -> tuple[float, float]:
    """The beta that is best on validation, and NDCG on test with it."""
    import gan_rec

    options = map_settings.SETTINGS[SETTING].options | config
    how = {"adversary": "fgm", "seeds": 1, "refit": False, "evaluate_every": 5, "patience": options["epochs"]}
    model = gan_rec.fit(split, progress=False, **options | how)
    found = {beta: ndcg(model, split, split.valid, beta) for beta in BETAS}
    best = max(found, key=found.get)
    return best, ndcg(model, split, split.open_test(), best)


def ndcg(model, split, truth, beta: float) -> float:
    """NDCG of the model's scores less beta times the logarithm of an item's known users."""
    import jax
    import jax.numpy as jnp

    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.evaluate import evaluate_lists

    one = jax.tree.map(lambda leaf: leaf[0], model.weights.selected.recommender)
    pairs = split.train if truth is split.valid else split.train_and_valid()  # what is known when it is asked
    known, users = to_device(pairs), jnp.arange(pairs.n_users)
    history = known.history(users)
    scores = one.score(one.users(users, history), one.items())
    popularity = np.bincount(pairs.items, minlength=pairs.n_items)
    scores = jnp.where(history > 0, -jnp.inf, scores - beta * jnp.log1p(jnp.asarray(popularity, jnp.float32)))
    best, items = jax.lax.top_k(scores, K)
    lists = np.asarray(items)[None].astype(np.int32), np.asarray(best)[None]
    return float(evaluate_lists(np.asarray(users), *lists, truth, (K,), known).per_seed(f"NDCG@{K}")[0])


def main(options: Options) -> None:
    """Measure on every split of the cell."""
    from gan_rec.evaluation.significance import summary
    from gan_rec.experiments.environment import environment

    rows = [json.loads(line) for line in options.map.read_text(encoding="utf-8").splitlines()]
    cell = next(row for row in rows if (row["setting"], row["adversary"]) == (SETTING, options.adversary))
    first = cell.get("first_split", 0)
    splits = map_settings.SETTINGS[SETTING].splits(range(first, first + cell["splits"]))
    betas, values = [], []
    for split, chosen in zip(splits, cell["chosen"]["twin"], strict=True):
        config = {name: chosen[name] for name in ("weight_decay", "learning_rate")} | {
            "epochs": chosen["epochs"][0],
            "alpha": 1.0,
        }
        beta, value = penalised(split, config)
        betas.append(beta)
        values.append(value)
        print(f"beta {beta:g}: {value:.4f}", flush=True)
    line = {
        "benchmark": "tail penalty", "metric": f"NDCG@{K}", "betas": betas, "value": summary(values),
        "over the twin": summary(np.subtract(values, cell["twin_values"])),
        f"over {options.adversary}": summary(np.subtract(values, cell["values"])),
        "environment": {n: v for n, v in environment(None).items() if n in ("git_revision", "packages", "device")},
    }  # fmt: skip
    print(json.dumps(line))
    if options.output is not None:
        options.output.write_text(json.dumps(line) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Options))
