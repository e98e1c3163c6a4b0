"""What attacks on a run have found, as tables, files and pictures."""

import json
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.table import Table

from gan_rec.evaluation.significance import summary
from gan_rec.experiments.certified import certified_accuracy
from gan_rec.experiments.evasion import STRONGEST, Evasion
from gan_rec.experiments.tables import interval, new_table
from gan_rec.files import write_frame, write_text, writing

_COLOURS = {"adversarial": "tab:blue", "twin": "tab:orange", "start": "tab:gray"}


def evasion_tables(evasion: Evasion, radii: pd.DataFrame | None = None) -> Group:
    """The metric by attack and radius, areas under the curves, what is broken, and certified radii."""
    parts = [_curves_table(evasion), _areas_table(evasion)]
    if not evasion.transfer.empty:
        parts.append(_transfer_table(evasion))
    if radii is not None:
        parts.append(_certified_table(radii))
    said = [*evasion.notes, *(f"this evaluation is broken: {line}" for line in evasion.broken())]
    return Group(*parts, *(f"note: {line}" for line in said))


def _curves_table(evasion: Evasion) -> Table:
    curves, metric = evasion.curves, evasion.metric
    radii = sorted(curves["radius"].unique())
    table = new_table(
        f"{metric} when rows move by a share of their length", "model, attack", *(f"{r:g}" for r in radii)
    )
    for (model, attack), own in curves.groupby(["model", "attack"], sort=False):
        means = own.groupby("radius")[[metric, f"overlap@{evasion.k}", "flips"]].mean()
        table.add_row(f"{model}, {attack}", *(f"{value:.4f}" for value in means[metric]))
    last = curves[curves["radius"] == radii[-1]].groupby(["model", "attack"], sort=False)
    shown = "pgd" if "pgd" in evasion.attacks else evasion.attacks[-1]
    left = last[[f"overlap@{evasion.k}", "flips"]].mean().xs(shown, level="attack")
    table.caption = "; ".join(
        f"{model} under {shown} at {radii[-1]:g}: {overlap:.0%} of the lists are left, {flips:.0%} of "
        "the first items are others"
        for model, overlap, flips in left.itertuples()
    )
    table.caption_justify = "left"
    return table


def _areas_table(evasion: Evasion) -> Table:
    """The share of the clean metric that is lost, mean over radii."""
    areas, ratios = evasion.areas(), {attack: interval(found) for attack, found in evasion.ratios().items()}
    models = list(dict.fromkeys(areas["model"]))
    title = f"share of the clean {evasion.metric} that is lost, mean over radii (area under the damage curve)"
    table = new_table(title, "attack", *models, *(["twin over adversarial"] if evasion.has_both else []))
    for attack in (*evasion.attacks, STRONGEST):
        own = areas[areas["attack"] == attack]
        cells = [interval(summary(own.loc[own["model"] == m, "area"].to_numpy())) if m in set(own["model"]) else ""
                 for m in models]  # fmt: skip
        table.add_row(attack, *cells, *([ratios.get(attack, "")] if evasion.has_both else []))
    if evasion.has_both:
        table.caption = f"clean {evasion.metric} of the twin minus that of the adversarial model: " + interval(
            evasion.clean_loss(), sign="+"
        )
        table.caption_justify = "left"
    return table


def _transfer_table(evasion: Evasion) -> Table:
    moved = evasion.transfer
    radii = sorted(moved["radius"].unique())
    table = new_table(
        f"{evasion.metric} when PGD's steps come from another model", "model, made on", *(f"{r:g}" for r in radii)
    )
    for (model, other), own in moved.groupby(["model", "made on"], sort=False):
        means = own.groupby("radius")[evasion.metric].mean()
        table.add_row(f"{model}, {other}", *(f"{value:.4f}" for value in means))
    return table


def _certified_table(radii: pd.DataFrame) -> Table:
    """The median certified radius, and of how many users the list cannot change at some radii."""
    accuracy = certified_accuracy(radii)
    at = [r for r in sorted(accuracy["radius"].unique()) if r > 0]
    title = "certified: median radius, and share of users with a hit whose list no attack of a radius changes"
    table = new_table(title, "model, rows, K", "median", *(f"{r:g}" for r in at))
    for (model, which, k), own in radii.groupby(["model", "rows", "k"], sort=False):
        held = accuracy[(accuracy["model"] == model) & (accuracy["rows"] == which) & (accuracy["k"] == k)]
        shares = held.groupby("radius")["accuracy"].mean()
        table.add_row(f"{model}, {which}, {k}", f"{own['radius'].median():.5f}", *(f"{shares[r]:.3f}" for r in at))
    return table


def summaries(evasion: Evasion, radii: pd.DataFrame | None = None) -> dict:
    """The same as JSON holds it."""
    areas = evasion.areas()
    found = {
        "metric": evasion.metric,
        "areas": {
            attack: {m: summary(own["area"].to_numpy()) for m, own in of.groupby("model", sort=False)}
            for attack, of in areas.groupby("attack", sort=False)
        },
        "twin_over_adversarial": evasion.ratios(),
        "clean_loss": evasion.clean_loss() if evasion.has_both else None,
        "curves": _means(evasion.curves, ["model", "attack", "radius"]),
        "transfer": [] if evasion.transfer.empty else _means(evasion.transfer, ["model", "made on", "radius"]),
        "broken": evasion.broken(),
        "notes": list(evasion.notes),
    }
    if radii is not None:
        medians = radii.groupby(["model", "rows", "k"], sort=False)["radius"].median()
        found["certified"] = [
            {"model": m, "rows": w, "k": int(k), "median": float(r)} for (m, w, k), r in medians.items()
        ]
        found["certified_accuracy"] = _means(certified_accuracy(radii), ["model", "rows", "k", "radius"])
    return found


def _means(frame: pd.DataFrame, keys: list[str]) -> list[dict]:
    means = frame.groupby(keys, sort=False).mean(numeric_only=True).drop(columns="seed").reset_index()
    return json.loads(means.to_json(orient="records"))


def write(folder: Path, evasion: Evasion, radii: pd.DataFrame | None = None) -> list[str]:
    """Write evasion.json, evasion.parquet, transfer.parquet, certified.parquet and, with matplotlib, damage.png.

    Returns:
        The names of the files.

    Raises:
        UserError: they cannot be written there.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "evasion.json", json.dumps(summaries(evasion, radii), indent=1))
        write_frame(folder / "evasion.parquet", evasion.curves)
        names = ["evasion.json", "evasion.parquet"]
        if not evasion.transfer.empty:
            write_frame(folder / "transfer.parquet", evasion.transfer)
            names.append("transfer.parquet")
        if radii is not None:
            write_frame(folder / "certified.parquet", radii.astype({"user": str}))
            names.append("certified.parquet")
        figure = damage_figure(evasion)
        if figure is not None:
            figure.savefig(folder / "damage.png", dpi=150)
            names.append("damage.png")
    return names


def damage_figure(evasion: Evasion):
    """Curves of all attacks side by side, a line for each model with its range over seeds; None without matplotlib."""
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    attacks = evasion.attacks
    figure = Figure(figsize=(2.6 * len(attacks) + 0.8, 3.0), layout="constrained")
    all_axes = figure.subplots(1, len(attacks), sharey=True, squeeze=False)[0]
    for axes, attack in zip(all_axes, attacks, strict=True):
        own = evasion.curves[evasion.curves["attack"] == attack]
        for model, of in own.groupby("model", sort=False):
            by_radius = of.groupby("radius")[evasion.metric]
            colour = _COLOURS.get(model)
            axes.plot(by_radius.mean(), label=model, marker="o", markersize=3, color=colour)
            axes.fill_between(by_radius.mean().index, by_radius.min(), by_radius.max(), alpha=0.2, color=colour)
        axes.set_title(attack)
        axes.set_xlabel("radius")
    all_axes[0].set_ylabel(evasion.metric)
    all_axes[0].set_ylim(bottom=0)
    all_axes[0].legend(frameon=False)
    return figure


def certified_figure(radii: pd.DataFrame):
    """Certified accuracy by radius, a panel for each kind of rows and K; None without matplotlib."""
    if find_spec("matplotlib") is None:
        return None
    import numpy as np
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(zip(radii["rows"], radii["k"], strict=True)))
    figure = Figure(figsize=(2.6 * len(panels) + 0.8, 3.0), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (which, k) in zip(all_axes, panels, strict=True):
        own = radii[(radii["rows"] == which) & (radii["k"] == k)]
        at = np.linspace(0, max(own["radius"].quantile(0.99), 1e-6), 60)
        curves = certified_accuracy(own, at)
        for model, of in curves.groupby("model", sort=False):
            axes.plot(of.groupby("radius")["accuracy"].mean(), label=model, color=_COLOURS.get(model))
        axes.set_title(f"{which}, K = {k}")
        axes.set_xlabel("radius")
        axes.locator_params(axis="x", nbins=4)
    all_axes[0].set_ylabel("certified accuracy")
    all_axes[0].legend(frameon=False)
    return figure
