"""The table attack x defence x recommender: means over draws with their intervals; as data, text and a picture."""

from pathlib import Path

import numpy as np
import pandas as pd

from gan_rec import plot
from gan_rec.evaluation.significance import summary
from gan_rec.experiments.poisoning import CLEAN
from gan_rec.files import write_text

_KEYS = ["recommender", "attack", "budget", "defence"]


def table(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each recommender, attack, budget and defence, in the order of `cells`.

    Beside what identifies it: the number of `draws`; the mean over draws and the ends of its 95% interval (NaN of a
    single draw) of `hit_ratio`, of `rank_shift` (how many places nearer to the top the targets are than on clean data
    with the same defence), of `ndcg` and of `ndcg_change` (from the recommender on clean data without a defence, paired
    by draw; below 0 is a loss); and `fakes`, `fakes_dropped` and `real_dropped` on average.

    Args:
        cells: what `gan_rec.experiments.poisoning.poison` returns.
    """
    cells = cells.assign(
        rank_shift=_of_clean(cells, "mean_rank", ["draw", "recommender", "defence"]) - cells["mean_rank"],
        ndcg_change=cells["ndcg"] - _of_clean(cells, "ndcg", ["draw", "recommender"]),
    )
    rows = []
    for keys, own in cells.groupby(_KEYS, sort=False):
        row = dict(zip(_KEYS, keys, strict=True)) | {"draws": len(own)}
        for name in ("hit_ratio", "rank_shift", "ndcg", "ndcg_change"):
            found = summary(own[name])
            low, high = found["ci95"] or (None, None)
            row |= {name: found["mean"], f"{name}_low": low, f"{name}_high": high}
        rows.append(row | {name: own[name].mean() for name in ("fakes", "fakes_dropped", "real_dropped")})
    return pd.DataFrame(rows)


def _of_clean(cells: pd.DataFrame, name: str, keys: list[str]) -> np.ndarray:
    """A column's values on clean data for the same `keys`, beside every row; NaN where there are none."""
    clean = cells[cells["attack"] == CLEAN]
    if "defence" not in keys:
        clean = clean[clean["defence"] == "none"]
    wanted = pd.MultiIndex.from_frame(cells[keys])
    return clean.set_index(keys)[name].reindex(wanted).to_numpy(float)


def text(cells: pd.DataFrame) -> str:
    """The same as Markdown, mean ± half of the 95% interval."""
    header = ["recommender", "attack", "budget", "defence", "hit ratio@10", "rank shift", "NDCG@20", "change",
              "fakes left out", "real left out"]  # fmt: skip
    lines = [header, ["---"] * len(header)]
    for row in table(cells).to_dict("records"):
        lines.append([
            row["recommender"], row["attack"], "" if row["attack"] == CLEAN else f"{row['budget']:.1%}", row["defence"],
            _interval(row, "hit_ratio", ".4f"), _interval(row, "rank_shift", "+.0f"), _interval(row, "ndcg", ".4f"),
            _interval(row, "ndcg_change", "+.4f"), f"{row['fakes_dropped']:.1f} of {row['fakes']:.0f}",
            f"{row['real_dropped']:.1f}",
        ])  # fmt: skip
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _interval(row: dict, name: str, form: str) -> str:
    mean, high = row[name], row[f"{name}_high"]
    if mean is None or np.isnan(mean):
        return ""
    half = "" if high is None or np.isnan(high) else f" ± {high - mean:{form.lstrip('+')}}"
    return f"{mean:{form}}{half}"


def write(cells: pd.DataFrame, out: Path) -> bool:
    """Write poisoning.csv, poisoning.md and, with matplotlib, poisoning.png; say whether there is a picture."""
    write_text(out / "poisoning.csv", table(cells).to_csv(index=False))
    write_text(out / "poisoning.md", text(cells))
    figure = plot.if_possible(plot.poisoning, table(cells))
    if figure is not None:
        plot.save(figure, out / "poisoning.png")
    return figure is not None
