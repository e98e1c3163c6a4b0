"""Results as tables that people read."""

import dataclasses
import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console, Group
from rich.table import Table

from gan_rec import data

_LIST = ("rank", "item", "score")
_LONGEST = 44  # letters of a title


def results_table(results: dict) -> Group:
    """The tables of a run's results.json: metrics, gain over the start, loss under attack, cost."""
    start = [_gain(results)] if "start" in results["models"] else []
    return Group(_metrics(results), *start, _attacks(results), _cost(results))


def datasets_table() -> Table:
    """The named data sets."""
    table = new_table("data sets", "name", "users", "items", "interactions", "kind", "here", "terms")
    for named in data.named_datasets():
        counts = (f"{n:,}" for n in (named.users, named.items, named.interactions))
        here = "made" if not named.places else "yes" if data.locate(named.name) else "no"
        table.add_row(named.name, *counts, ", ".join(named.flags), here, named.licence)
    return table


def found_table(found, metric: str) -> Table:
    """What a search found: a `gan_rec.experiments.search.Found`."""
    table = new_table(f"{found.model}, tuned on validation", "option", "value")
    for name, value in found.values.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    table.add_row(f"validation {metric}", f"{found.score:.4f}")
    if found.epochs is not None:
        table.add_row("epochs", str(found.epochs))
    table.add_row("trials", ", ".join(f"{n} {what}" for what, n in found.trials.items() if n))
    table.add_row("seconds", f"{found.seconds:.1f}")
    return table


def export_table(path: str, measured: dict[str, dict[str, float]]) -> Table:
    """What `gan_rec.experiments.artefact.measure` found."""
    table = new_table(path, "", "model, float32", "written", "difference")
    for what, values in measured.items():
        first, second = values["float32"], values["written"]
        change = f"{first / second:.2f} times smaller" if what.startswith("MiB") else f"{second - first:+.4f}"
        table.add_row(what, f"{first:.4f}", f"{second:.4f}", change)
    return table


def plan_values(found, chips: dict) -> dict:
    """A `gan_rec.experiments.plan.Plan` as JSON holds it, with estimates for the chips."""
    estimates = {
        name: {"seconds_a_step": found.seconds(chip), "fits": found.memory <= chip.memory}
        for name, chip in chips.items()
    }
    return dataclasses.asdict(found) | {"memory": found.memory, "estimates": estimates}


def plan_table(title: str, found, chips: dict) -> Group:
    """A `gan_rec.experiments.plan.Plan`, with estimates for the chips."""
    table = new_table(f"{title}: each of {found.chips} chips, table updates {found.updates}", "", "")
    parts = {
        "tables": found.tables, "optimisers, adversary": found.optimizer, "other copies of the tables": found.kept,
        "temporary in a step": found.temporary, "memory": found.memory,
    }  # fmt: skip
    for name, size in parts.items():
        table.add_row(name, f"{size / 2**30:,.3f} GiB")
    table.add_row("operations a step", f"{found.flops / 1e9:,.3f} GFLOP")
    table.add_row("moved a step", f"{found.moved / 2**20:,.1f} MiB")
    table.add_row("between chips a step", f"{found.sent / 2**20:,.2f} MiB")
    bounds = new_table(
        "estimate at the peak of public numbers", "chip", "fits", "microseconds a step", "pairs a second"
    )
    for name, chip in chips.items():
        seconds = found.seconds(chip)
        fits = "yes" if found.memory <= chip.memory else "no"
        bounds.add_row(name, fits, f"{1e6 * seconds:,.1f}", f"{found.batch_size / seconds:,.0f}")
    bounds.caption = "no measurement: what the slowest of arithmetic, memory and links allows (roofline)"
    bounds.caption_justify = "left"
    return Group(table, bounds)


def recommendations_text(frame: pd.DataFrame, style: str, titles: Mapping[Any, str] | None = None) -> str:
    """Recommendations as "table", "csv" or "json" (user -> list); the table has titles, if items (by id) have some."""
    if style == "csv":
        return frame.to_csv(index=False)
    if style == "json":
        lists = {
            str(user): [dict(zip(_LIST, row, strict=True)) for row in rows[list(_LIST)].to_dict("split")["data"]]
            for user, rows in frame.groupby("user", sort=False)
        }
        return json.dumps(lists, indent=1) + "\n"
    table = new_table("recommendations", *frame.columns, *(["title"] if titles else []))
    for user, rank, item, score in frame.itertuples(index=False):
        title = [short(titles[item])] if titles else []
        table.add_row(str(user) if rank == 1 else "", str(rank), str(item), f"{score:.4f}", *title)
    text = io.StringIO()
    print_table(table, text)
    return text.getvalue()


def short(title: str) -> str:
    """As much of a title, or of a longer text, as a table or a picture has room for."""
    return title if len(title) <= _LONGEST else title[: _LONGEST - 3] + "..."


def print_table(renderable, file=None) -> None:
    """Print to stdout, at full width where that is no terminal."""
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, width=120)
    console.print(renderable)


def evaluation_table(title: str, summaries: dict[str, dict]) -> Table:
    """Mean and 95% interval of every metric, a column for each model."""
    table = new_table(title, "metric", *summaries)
    for metric in next(iter(summaries.values())):
        table.add_row(metric, *(interval(summary[metric]) for summary in summaries.values()))
    return table


def interval(summary: dict, sign: str = "") -> str:
    """Mean, with half of the 95% interval where there are several seeds."""
    if summary["mean"] is None:
        return "undefined"
    mean = f"{summary['mean']:{sign}.4f}"
    return mean if summary["ci95"] is None else f"{mean} ± {summary['ci95'][1] - summary['mean']:.4f}"


def as_frames(tables: Group) -> dict[str, pd.DataFrame]:
    """The same tables by title, with what is written below them, as a page shows them."""
    found = {}
    for table in tables.renderables:
        columns = [pd.Series(list(column.cells), name=str(column.header), dtype=object) for column in table.columns]
        said = "; ".join(line.rstrip(";") for line in str(table.caption or "").splitlines())
        found[f"{table.title} ({said})" if said else str(table.title)] = pd.concat(columns, axis=1)
    return found


def new_table(title: str, *columns: str) -> Table:
    """A table without rows; its first column is left-aligned, the others hold numbers."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", expand=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def seconds_rows(table: Table, results: dict) -> None:
    """Add what both models took."""
    for part, name in (("total", "seconds of training, all seeds"), ("compilation", "seconds of compilation")):
        found = [results["seconds"][model][part] for model in ("adversarial", "twin")]
        table.add_row(name, *("not separable" if value is None else f"{value:.1f}" for value in found))


def _metrics(results: dict) -> Table:
    models, tests = results["models"], results["tests"]["adversarial against twin"]
    who = f", {results['recommender']} against {results['adversary']}" if "recommender" in results else ""
    title = f"{results['dataset']}{who}: test, {_over(results)}; selected on validation"
    table = new_table(title, "metric", "adversarial", "twin", "difference", "p (Holm)", "popularity")
    for metric, adversarial in models["adversarial"].items():
        test, twin = tests.get(metric), models["twin"][metric]
        table.add_row(
            metric,
            interval(adversarial),
            interval(twin),
            "" if None in (adversarial["mean"], twin["mean"]) else f"{adversarial['mean'] - twin['mean']:+.4f}",
            "" if test is None else f"{test['p_holm']:.3g}",
            interval(results["baselines"]["popularity"][metric]),
        )
    users = next(iter(tests.values()))["users"]
    table.caption = (
        f"p: paired t-test of adversarial against twin over {users} users, Holm-corrected over {len(tests)}\n"
        "least, most active: thirds of the users; tail: hits on the least popular 80%; novelty: bits;\n"
        "popularity: users of an item; diversity: 1 - cosine of two items; Gini: of how often items are shown"
    )
    table.caption_justify = "left"
    return table


def _over(results: dict) -> str:
    """What a number is the mean of."""
    if results["split"].endswith(" folds"):
        return f"mean over {results['split']}, each the mean of its seeds, ± 95% interval"
    return mean_over(len(next(iter(results["models"]["twin"].values()))["per_seed"]), "seeds")


def mean_over(n: int, what: str) -> str:
    """What numbers are the means of: seeds or folds."""
    return "one seed" if (n, what) == (1, "seeds") else f"mean over {n} {what} ± 95% interval"


def _gain(results: dict) -> Table:
    """What the game added to the recommender that it began with."""
    table = new_table("gain over the pre-trained start", "metric", "start", "gain", "95% interval", "p (Holm)")
    for metric, test in results["tests"]["adversarial against start"].items():
        low, high = test["ci95"]
        start = interval(results["models"]["start"][metric])
        table.add_row(
            metric, start, f"{test['difference']:+.4f}", f"{low:+.4f} to {high:+.4f}", f"{test['p_holm']:.3g}"
        )
    table.caption = "start: both models when the adversary joins; interval and p: paired t-test over users"
    table.caption_justify = "left"
    return table


def _attacks(results: dict) -> Table:
    losses = results["loss_under_attack"]
    title = f"training loss when rows move by {results['attack_radius']:g} of their length (in brackets: its rise)"
    table = new_table(title, "attack", "adversarial", "twin", "difference of rises")
    for attack in losses["twin"]:
        cells = []
        for model in ("adversarial", "twin"):
            measured = losses[model][attack]
            rise = "" if attack == "clean" else f" ({interval(measured['rise'])})"
            cells.append(f"{measured['mean']:.4f}{rise}")
        table.add_row(
            attack, *cells, "" if attack == "clean" else interval(losses["rise_difference"][attack], sign="+")
        )
    rows = {
        "generator": "generator: trained anew against each model; ",
        "game": "game: the one that the adversarial training ended with; ",
    }
    said = "".join(text for name, text in rows.items() if name in losses["twin"])
    table.caption = said + "difference: adversarial minus twin, paired by seed"
    table.caption_justify = "left"
    return table


def _cost(results: dict) -> Table:
    table = new_table("cost", "", "adversarial", "twin")
    models = ("adversarial", "twin")
    seconds_rows(table, results)
    table.add_row(
        "seconds an epoch and seed",
        *(f"{results['throughput'][m].get('seconds_per_epoch_and_seed', 0):.4f}" for m in models),
    )
    table.add_row(
        "interactions a second",
        *(f"{results['throughput'][m].get('interactions_per_second', 0):,.0f}" for m in models),
    )
    whose = " (user side)" if results.get("recommender") == "mix" else ""
    table.add_row(
        f"chosen epoch of each seed{whose}", *(", ".join(map(_seeds, results["chosen_epochs"][m])) for m in models)
    )
    return table


def _seeds(chosen: int | list[int]) -> str:
    """The epoch of a seed, or those of all seeds of a fold."""
    return "/".join(map(str, chosen)) if isinstance(chosen, list) else str(chosen)
