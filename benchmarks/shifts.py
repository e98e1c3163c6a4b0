"""Natural shifts and compression beside attacks: both models of a recommender, on test.

    python benchmarks/shifts.py --output benchmarks/results/shifts.jsonl    # 2 CPU cores: some 20 minutes
    python benchmarks/shifts.py --months --datasets ml-1m --output benchmarks/results/shifts.jsonl
    python benchmarks/shifts.py --table

A JSON line for each data set and recommender: what `gan_rec.experiments.natural.natural_shifts` and
`gan_rec.experiments.compressing.compressed` find; or with --months, after a split in time,
`gan_rec.experiments.natural.by_month`.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import tyro
from cells import decimals, markdown

RESULTS = Path(__file__).parent / "results" / "shifts.jsonl"
PARTS = {"shifts": ("shift", "strength"), "compression": ("kind", "strength", "attack"), "months": ("month",)}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    datasets: tuple[str, ...] = ("cfgan-ml100k",)
    recommenders: tuple[str, ...] = ("autoencoder",)
    seeds: int = 3
    epochs: int | None = None
    """The most epochs (default: the recommender's)."""
    radius: float = 0.1
    """Of the attacks that stand beside the shifts."""
    time: bool = False
    """Train also for the shift in time, where the data have times."""
    months: bool = False
    """Split in time, and measure month by month instead."""
    output: Path | None = None
    """A file that gets a line for each data set and recommender."""
    table: bool = False
    """Print the tables of what has been measured before."""


def measure(name: str, recommender: str, options: Options) -> dict:
    """Train both models and measure them."""
    import gan_rec
    from gan_rec.experiments.compressing import compressed
    from gan_rec.experiments.natural import by_month, natural_shifts

    dataset = gan_rec.load(name)
    in_time = "temporal" if options.months and "train" not in dataset.parts else None
    split, start = gan_rec.split(dataset, in_time), time.perf_counter()
    given = {} if options.epochs is None else {"epochs": options.epochs}
    models = {
        model: gan_rec.fit(split, recommender=recommender, seeds=options.seeds, progress=False, **given | alpha)
        for model, alpha in {"adversarial": {}, "twin": {"alpha": 1.0}}.items()
    }
    print(name, recommender, "trained", round(time.perf_counter() - start), flush=True)
    run, attacks = SimpleNamespace(models=models), {"noise": options.radius, "fgm": options.radius}
    if options.months:
        return _said({"months": by_month(run)}, start)
    shifts = natural_shifts(run, attacks=attacks, times=dataset if options.time else None)
    return _said({"shifts": shifts, "compression": compressed(run)}, start)


def _said(found: dict, start: float) -> dict:
    """Tables as JSON holds them, and what they took."""
    print(*(each.differences.to_string() for each in found.values()), sep="\n", flush=True)
    return {
        part: {table: json.loads(getattr(each, table).to_json(orient="records", double_precision=15))
               for table in ("rows", "differences")}
        for part, each in found.items()
    } | {"seconds": round(time.perf_counter() - start, 1)}  # fmt: skip


def tables(path: Path) -> list[str]:
    """What has been measured, as Markdown."""
    lines = []
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        for part, about in PARTS.items():
            if part not in line:
                continue
            header = (f"{line['dataset']}, {line['recommender']}: {part}", "adversarial", "twin", "difference",
                      "95% over seeds", "p (Holm)")  # fmt: skip
            lines += [*markdown(header, [_row(row, about) for row in line[part]["differences"]]), ""]
    return lines


def months(lines: list[dict]) -> list[str]:
    """Both models month by month after a split in time; the last measurement of each data set."""
    last = {(line["dataset"], line["recommender"]): line for line in lines if "months" in line}
    rows = [
        [name, f"`{recommender}`", row["month"], f"{row['users']}", *_row(row, ("month",))[1:]]
        for (name, recommender), line in last.items()
        for row in line["months"]["differences"]
    ]
    header = (
        "data",
        "recommender",
        "month",
        "users",
        "adversarial, NDCG@20",
        "twin",
        "difference",
        "95% over seeds",
        "p (Holm)",
    )
    return markdown(header, rows)


def _row(row: dict, about: tuple[str, ...]) -> list[str]:
    name = " ".join(f"{row[column]:g}" if isinstance(row[column], float) else str(row[column]) for column in about)
    name += f" {row['radius']:g}" if row.get("radius") else ""
    interval = "" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}"
    values = (decimals(row[model]) for model in ("adversarial", "twin"))
    return [name, *values, decimals(row["difference"], sign="+"), interval, f"{row['p (Holm)']:.2g}"]


def main(options: Options) -> None:
    """Measure, or print what has been measured."""
    if options.table:
        print("\n".join(tables(options.output or RESULTS)))
        return
    from gan_rec.experiments.environment import environment

    about = {n: v for n, v in environment(None).items() if n in ("git_revision", "packages", "device")}
    for name in options.datasets:
        for recommender in options.recommenders:
            line = {"benchmark": "shifts", "dataset": name, "recommender": recommender, "seeds": options.seeds}
            line |= measure(name, recommender, options) | {"environment": about}
            if options.output is not None:
                with open(options.output, "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
