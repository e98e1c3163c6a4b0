"""How well made-up profiles, and rows that an attack has moved, are found, and how many real ones are suspected.

    python benchmarks/detection.py --dataset ml-100k cfgan-ml100k
    python benchmarks/detection.py --dataset ml-100k --rows

Attacks are put into the train part, on which nothing else is chosen; a classifier never sees the kind of attack that it
is measured on. Prints a table and adds a line for each data set to benchmarks/results/detection.jsonl.
"""

import argparse
import json
from pathlib import Path

from cells import decimals, markdown

import gan_rec
from gan_rec.experiments.detecting import attack_of_kind, measure, measured_table, scorers
from gan_rec.experiments.environment import environment
from gan_rec.experiments.moved import measure_moved
from gan_rec.robustness.learned_profiles import LEARNED
from gan_rec.robustness.profiles import KINDS

RESULTS = Path(__file__).parent / "results" / "detection.jsonl"
DETECTORS = ("features", "tied-items", "shared-items", "pca", "autoencoder", "combined")


def profiles(split, options) -> dict:
    """Of fake profiles: the measured rows, with a trained recommender if one is asked for."""
    models, detectors = {}, DETECTORS
    if options.recommender:
        models = scorers(gan_rec.fit(split, recommender=options.recommender, alpha=1.0, seeds=1, progress=False))
        detectors = (*DETECTORS, "recommender")
    attacks = {kind: attack_of_kind(kind) for kind in options.attacks}
    how = {"attacks": attacks, "budgets": options.budget, "seeds": range(options.seeds), "targets": options.targets}
    found = measure(split.train, detectors=detectors, models=models, **how)
    print_means(measured_table(found), ["attack", "budget", "detector"])
    return {"targets": options.targets, "profiles": found.to_dict("records")}


def rows(split, options) -> dict:
    """Of rows that attacks have moved: the measured rows, of the adversarial model and its twin."""
    found = {}
    for name, alpha in {"adversarial": None, "twin": 1.0}.items():
        given = {} if alpha is None else {"alpha": alpha}
        model = gan_rec.fit(split, seeds=options.seeds, progress=False, **given)
        measured = measure_moved(model)
        print(f"\n{name}\n")
        print_means(measured_table(measured, ("attack", "radius", "detector")), ["attack", "radius", "detector"])
        found[name] = measured.to_dict("records")
    return {"rows": found}


def print_means(table, names: list[str]) -> None:
    """Means ± half of the interval."""
    values = [name for name in table.columns if f"{name} ±" in table.columns]
    cells = []
    for row in table.to_dict("records"):
        each = []
        for name in values:
            half, mean = row[f"{name} ±"], row[name]
            shown = "" if mean is None or mean != mean else decimals(mean, 3)
            each.append(shown if half is None or half != half else f"{shown} ± {decimals(half, 3)}")
        cells.append([*(str(row[name]) for name in names), *each])
    print("\n".join(markdown([*names, *values], cells)), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", nargs="+", default=["ml-100k", "cfgan-ml100k"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, nargs="+", default=[0.01, 0.03, 0.05])
    parser.add_argument("--targets", type=int, default=5)
    parser.add_argument("--attacks", nargs="+", default=[*KINDS, *LEARNED], choices=[*KINDS, *LEARNED])
    parser.add_argument("--recommender", help="also what one of these says, trained before the attack")
    parser.add_argument("--rows", action="store_true", help="rows that an attack has moved, not profiles")
    parser.add_argument("--smoke", action="store_true", help="nothing is written")
    options = parser.parse_args()
    for name in options.dataset:
        dataset = gan_rec.load(name)
        split = gan_rec.split(dataset)
        print(f"\n{name}\n")
        line = {"dataset": name} | (rows if options.rows else profiles)(split, options)
        if options.smoke:
            continue
        line |= {"environment": environment(dataset.sha256)}
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
