"""Fake profiles in the training data: targets' hit ratio and the ranking's quality, with and without defences.

python benchmarks/poisoning.py --dataset cfgan-ml100k --recommenders rp3beta ease --folder poisoning

Prints a line of JSON for each recommender, attack, budget and defence: means over draws with 95% intervals, and, of
learned attacks, what they have ahead of bandwagon, paired by draw. What the folder holds is not measured again.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from lines import made_with, tell

_VALUES = ("hit_ratio", "rank_shift", "ndcg", "ndcg_change")


def rows(cells: pd.DataFrame) -> list[dict]:
    """The table's rows, each with the interval of its hit ratio minus bandwagon's under the same defence."""
    from gan_rec.evaluation.significance import summary
    from gan_rec.experiments.poisoning_tables import table

    keys = ["recommender", "budget", "defence"]
    rival = cells[cells["attack"] == "bandwagon"].set_index([*keys, "draw"])["hit_ratio"]
    found = []
    for row in json.loads(table(cells).to_json(orient="records")):
        line = {name: row[name] for name in ("recommender", "attack", "budget", "defence", "draws")}
        for name in _VALUES:
            line[name] = {"mean": row[name], "ci95": [row[f"{name}_low"], row[f"{name}_high"]]}
        line |= {name: row[name] for name in ("fakes", "fakes_dropped", "real_dropped")}
        own = cells[(cells[["attack", *keys]] == pd.Series(row)[["attack", *keys]]).all(axis=1)]
        against = rival.reindex(pd.MultiIndex.from_frame(own[[*keys, "draw"]])).to_numpy()
        if row["attack"] not in ("none", "bandwagon") and not pd.isna(against).any():
            line["hit_ratio_over_bandwagon"] = summary(own["hit_ratio"].to_numpy() - against)
        found.append(line)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="cfgan-ml100k")
    parser.add_argument("--recommenders", nargs="+", default=["rp3beta", "ease"])
    parser.add_argument("--attacks", nargs="+", default=["bandwagon", "segment", "unrolled", "gan"])
    parser.add_argument("--budgets", nargs="+", type=float, default=[0.01])
    parser.add_argument("--defences", nargs="+", default=["none", "adversarial", "vulnerability-aware", "trimmed",
                        "filter"])  # fmt: skip
    parser.add_argument("--targets", type=int, default=5)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of learned attacks")
    parser.add_argument("--epochs", type=int, help="the most of a training")
    parser.add_argument("--folder", type=Path, help="keeps cells and profiles, the table and its picture")
    parser.add_argument("--output", type=Path, help="file that lines are added to")
    options = parser.parse_args()

    from gan_rec import data
    from gan_rec.compiled import keep_compiled
    from gan_rec.experiments.poisoning import Plan, poison
    from gan_rec.experiments.poisoning_tables import text, write
    from gan_rec.experiments.victims import victim_of_name
    from gan_rec.robustness.learned_profiles import Learning

    keep_compiled()
    victims = {name: victim_of_name(name, options.epochs) for name in options.recommenders}
    plan = Plan(
        tuple(options.attacks), tuple(options.budgets), options.targets, tuple(options.defences), options.draws,
        learning=Learning(steps=options.steps),
    )  # fmt: skip
    cells = poison(data.split(data.load(options.dataset)), victims, plan, options.folder)
    about = {"about": "poisoning", "dataset": options.dataset, "steps": options.steps, "epochs": options.epochs}
    for row in rows(cells):
        tell(about | row | made_with(), options.output)
    if options.folder is not None:
        write(cells, options.folder)
    print(text(cells))


if __name__ == "__main__":
    main()
