"""What a few edits of an item's description do to its ranks, beside as many random edits.

    python benchmarks/text_evasion.py --dataset ml-100k --targets 20

Trains two-tower, adversarial and twin, and edits the texts of drawn items. Prints a table and adds a line to
benchmarks/results/text_evasion.jsonl.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
from cells import decimals, markdown

import gan_rec
from gan_rec.evaluation.significance import summary
from gan_rec.experiments.environment import environment
from gan_rec.experiments.fitting import one_seed
from gan_rec.language import load_encoder
from gan_rec.robustness.profiles import unpopular_targets
from gan_rec.robustness.text_evasion import evade, readers

RESULTS = Path(__file__).parent / "results" / "text_evasion.jsonl"


def attack(model, seed: int, encoder, options) -> list[dict]:
    """A row for each target of a seed, aim and way to choose edits."""
    known, texts = model.split.train_and_valid(), model.split.item_texts
    recommender = jax.tree.map(lambda x: x[0], one_seed(model, seed))
    how = readers(encoder, texts, model.settings.components)
    rng, counts = np.random.default_rng(seed), known.item_counts()
    popular = rng.choice(np.argsort(-counts)[: len(counts) // 10], options.targets, replace=False)
    found = []
    for promote, targets in ((True, unpopular_targets(known, options.targets, rng)), (False, popular)):
        for choose in ("greedy", "random"):
            for target in map(int, targets):
                given = {"promote": promote, "budget": options.budget, "choose": choose, "seed": seed}
                made = evade(recommender, known, texts, target, how, **given)
                row = {"aim": "promote" if promote else "demote", "choose": choose, "seed": seed, "target": target}
                row |= {"success": made.success, "rank change": made.rank_change, "edits": made.edits}
                found.append(row | {"from": texts[target], "to": made.text})
    return found


def table(measured: dict[str, list[dict]]) -> list[str]:
    """Success, rank change and edits of both models, by aim and way to choose edits."""
    cells = []
    for name, rows in measured.items():
        for aim in ("promote", "demote"):
            for choose in ("greedy", "random"):
                own = [row for row in rows if (row["aim"], row["choose"]) == (aim, choose)]
                cells.append([name, aim, choose, *(mean(own, what) for what in ("success", "rank change", "edits"))])
    return markdown(["model", "aim", "edits are", "success", "rank change", "edits"], cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--budget", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="nothing is written")
    options = parser.parse_args()
    dataset = gan_rec.load(options.dataset, item_text=True)
    split, encoder = gan_rec.split(dataset), load_encoder("minilm")
    measured = {}
    for name, given in {"adversarial": {}, "twin": {"alpha": 1.0}}.items():
        model = gan_rec.fit(split, recommender="two-tower", seeds=options.seeds, progress=False, **given)
        measured[name] = [row for seed in range(options.seeds) for row in attack(model, seed, encoder, options)]
    print("\n".join(table(measured)))
    for row in measured["twin"][:3]:
        print(f"- {row['from']}\n+ {row['to']}\n")
    if not options.smoke:
        line = {"dataset": options.dataset, "budget": options.budget, "models": measured}
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"environment": environment(dataset.sha256)}) + "\n")


def mean(rows: list[dict], what: str) -> str:
    """Over the targets of each seed, those left out where it is not defined; ± half of the interval over seeds."""
    seeds = sorted({row["seed"] for row in rows})
    found = summary([np.nanmean([row[what] for row in rows if row["seed"] == seed]) for seed in seeds])
    digits = 3 if what == "success" else 1
    shown = decimals(found["mean"], digits)
    return shown if found["ci95"] is None else f"{shown} ± {decimals(found['ci95'][1] - found['mean'], digits)}"


if __name__ == "__main__":
    main()
