"""What attacks on a run have found, as tables, files and pictures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Group
from rich.table import Table

from gan_rec import plot
from gan_rec.evaluation.significance import summary
from gan_rec.experiments.certified import certified_accuracy
from gan_rec.experiments.evasion import STRONGEST, Evasion
from gan_rec.experiments.tables import interval, new_table
from gan_rec.files import write_frame, write_text, writing


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
        figure = plot.if_possible(plot.damage, evasion)
        if figure is not None:
            plot.save(figure, folder / "damage.png")
            names.append("damage.png")
    return names


def certified_figure(radii: pd.DataFrame):
    """Certified accuracy by radius, see `gan_rec.plot.certified`; None without matplotlib."""
    parts = []
    for _, own in radii.groupby(["rows", "k"], sort=False):
        at = np.linspace(0, max(own["radius"].quantile(0.99), 1e-6), 60)
        parts.append(certified_accuracy(own, at))
    return plot.if_possible(plot.certified, pd.concat(parts, ignore_index=True))
