"""Why something was recommended: attributions, ranks that an attack moved, and deletion curves."""

from typing import Any

import pandas as pd

from gan_rec.plot.canvas import canvas, legend, plain, style

_CHANGES = {"entered": "entered the list", "left": "left the list", "stayed": "stayed in the list"}


def explanation(found: Any, n: int = 15):
    """The n largest attributions of history and words as bars, and the ranks that an attack moved.

    Args:
        found: what `gan_rec.explain` returns.
        n: bars in a panel.
    """
    panels = found.bars(n)
    moved = found.moved is not None
    figure, (axes,) = canvas(6 * (len(panels) + moved), 1.8 + 0.3 * n, 1, len(panels) + moved)
    for own, (title, unit, frame) in zip(axes, panels, strict=False):
        _bars(own, frame[::-1], title, unit)
    if moved:
        _ranks(axes[-1], found)
    name = plain(found.name)
    figure.suptitle(f"user {plain(found.user)}, item {name}: rank {found.rank}, by {found.method}")
    legend(figure)
    return figure


def deletion(found: Any):
    """Mean curves of score and gain while a history is taken apart in several orders.

    Args:
        found: what `gan_rec.experiments.faithfulness.deletion` returns. Orders that explain nothing are dashed.
    """
    units = {"score": "score (part of the first)", "gain": "1 / log2(1 + rank) (0 to 1)"}
    figure, (panels,) = canvas(11, 4.3, 1, len(units))
    for axes, (measure, unit) in zip(panels, units.items(), strict=True):
        for place, (order, curves) in enumerate(found.curves.items()):
            line = "--" if order in found.plain_orders else "-"
            axes.plot(found.shares, curves[measure].mean(axis=(0, 1)), **style(place, linestyle=line, label=order))
        axes.set(xlabel="part of the history that is gone", ylabel=unit)
    legend(figure)
    return figure


def _bars(axes, frame: pd.DataFrame, title: str, unit: str) -> None:
    above = frame["attribution"] >= 0
    for rows, colour, hatch, label in ((above, "0.35", "", "for it"), (~above, "white", "///", "against it")):
        places = [i for i, own in enumerate(rows) if own]
        if places:
            axes.barh(places, frame["attribution"][rows], color=colour, hatch=hatch, edgecolor="black", label=label)
    axes.set_yticks(range(len(frame)), [plain(name) for name in frame.iloc[:, 0]])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(title=title, xlabel=unit)


def _ranks(axes, found: Any) -> None:
    for row in found.moved.to_dict("records"):
        place, label = list(_CHANGES).index(row["change"]), _CHANGES[row["change"]]
        axes.plot([0, 1], [row["rank before"], row["rank after"]], **style(place, label=label))
    axes.set_xticks([0, 1], ["clean", "attacked"])
    axes.set_xlim(-0.1, 1.1)
    axes.set_yscale("log")
    axes.invert_yaxis()
    axes.set(ylabel="rank (1 is the best)", title=plain(found.attack))
