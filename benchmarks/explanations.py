"""Are explanations faithful? Deletion curves beside random order and popularity, of adversarial models and their twins.

    python benchmarks/explanations.py --output benchmarks/results/explanations.jsonl    # 2 CPU cores: some 30 minutes
    python benchmarks/explanations.py --table

A JSON line for each data set and recommender: areas under deletion curves of users' first recommendations, with paired
tests. The method is the one with the smallest area on some users; it is then measured on others.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from cells import decimals, markdown

RESULTS = Path(__file__).parent / "results" / "explanations.jsonl"
METHODS = ("leave-one-out", "integrated-gradients", "similarity")
CHOSEN_BY = "gain"


@dataclass(frozen=True)
class Options:
    """What to measure."""

    datasets: tuple[str, ...] = ("ml-100k", "cfgan-ml100k")
    recommenders: tuple[str, ...] = ("autoencoder", "mix")
    users: int = 200
    """Users that a method is chosen on, and as many others that it is measured on."""
    seeds: int = 3
    epochs: int | None = None
    """The most epochs (default: the recommender's)."""
    output: Path | None = None
    """A file that gets a line for each data set and recommender."""
    table: bool = False
    """Print the table of what has been measured before."""


def measure(split, recommender: str, options: Options) -> dict:
    """Both models of one recommender on one split."""
    import gan_rec

    given = {} if options.epochs is None else {"epochs": options.epochs}
    models = {}
    for name, alpha in {"adversarial": {}, "twin": {"alpha": 1.0}}.items():
        start = time.perf_counter()
        fitted = gan_rec.fit(split, recommender=recommender, seeds=options.seeds, progress=False, **given | alpha)
        print(recommender, name, "trained", round(time.perf_counter() - start), flush=True)
        models[name] = faithfulness(fitted, options.users) | {
            "NDCG@20": float(gan_rec.evaluate(fitted).per_seed("NDCG@20").mean()),
            "seconds": round(time.perf_counter() - start, 1),
        }
        print(recommender, name, models[name]["chosen"], models[name]["seconds"], flush=True)
    return models


def faithfulness(fitted, users: int) -> dict:
    """The method chosen on users of even index, and the table of all methods on those of odd index."""
    from gan_rec.experiments.faithfulness import deletion
    from gan_rec.robustness.explanations import TARGETS

    tried = {}
    for of in TARGETS:
        table = deletion(fitted, users, METHODS, of=of, draws=1, among="even").table
        rows = table[(table["measure"] == CHOSEN_BY) & table["order"].isin(METHODS)]
        tried |= {(row["order"], of): row["area"] for row in rows.to_dict("records")}
    method, of = min(tried, key=tried.get)
    found = deletion(fitted, users, METHODS, of=of, among="odd")
    return {
        "chosen": {"method": method, "of": of},
        "tried": [{"method": m, "of": t, "area": area} for (m, t), area in tried.items()],
        "table": found.values(),
        "curves": found.frame.to_dict("records"),
    }


def table(lines: list[dict]) -> list[str]:
    """What has been measured, as Markdown."""
    header = ("data, recommender", "model", "method", "measure", "area", "random", "popular first", "rare first",
              "minus random (p)", "minus popular first (p)")  # fmt: skip
    rows = []
    for line in lines:
        for model, found in line["models"].items():
            for measure in ("score", "gain"):
                own = {row["order"]: row for row in found["table"] if row["measure"] == measure}
                best = own[found["chosen"]["method"]]
                differences = (
                    f"{decimals(best[f'minus {b}'], 3, '+')} ({best[f'{b} p']:.0e})"
                    for b in ("random", "popular first")
                )
                areas = (own[order]["area"] for order in (best["order"], "random", "popular first", "rare first"))
                method = f"{found['chosen']['method']}, {found['chosen']['of']}"
                name = f"{line['dataset']}, {line['recommender']}"
                rows.append([name, model, method, measure, *(decimals(area, 3) for area in areas), *differences])
    return markdown(header, rows)


def main(options: Options) -> None:
    """Measure, or print what has been measured."""
    if options.table:
        lines = (options.output or RESULTS).read_text(encoding="utf-8").splitlines()
        print("\n".join(table([json.loads(line) for line in lines])))
        return
    import gan_rec
    from gan_rec.experiments.environment import environment

    about = {n: v for n, v in environment(None).items() if n in ("git_revision", "packages", "device")}
    for name in options.datasets:
        split = gan_rec.split(gan_rec.load(name))
        for recommender in options.recommenders:
            models = measure(split, recommender, options)
            line = {
                "benchmark": "explanations", "dataset": name, "recommender": recommender, "seeds": options.seeds,
                "models": models, "environment": about,
            }  # fmt: skip
            if options.output is not None:
                with open(options.output, "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
