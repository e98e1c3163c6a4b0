"""A blank figure, lines that differ without colours, a legend that covers nothing, and figures as files."""

import io
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gan_rec.errors import UserError
from gan_rec.files import write_bytes, writing

# Of growing lightness, so that they differ in grey too.
_COLOURS = ("#000000", "#0060a8", "#b04a00", "#3f8f5f", "#8a6fc0", "#c58a00", "#7a7a7a")
_LINES = ("-", "--", "-.", ":")
_MARKERS = "osD^vXP"


def is_possible() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def if_possible(draw: Callable, *arguments: Any, **options: Any):
    """What `draw` returns, or None without matplotlib: for pictures that a result can do without."""
    return draw(*arguments, **options) if is_possible() else None


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any):
    """A figure of inches, and its axes as an array `[rows, columns]`.

    Raises:
        UserError: matplotlib is not installed.
    """
    if not is_possible():
        raise UserError("pictures need matplotlib, which is not installed: pip install 'gan_rec[plot]'")
    figure = _picture()(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


@cache
def _picture() -> type:
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that Jupyter shows, whether or not pyplot has been imported."""

        def _repr_png_(self) -> bytes:
            return png(self)

    return Picture


def style(place: int, **other: Any) -> dict[str, Any]:
    """Colour, line and marker of the line at a place, from 0; no two of the first 28 are alike."""
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "linestyle": _LINES[place % len(_LINES)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 4,
        "markerfacecolor": "white" if place % 2 else _COLOURS[place % len(_COLOURS)],
        "linewidth": 1.2,
    } | other


def band(axes, values, place: int, label: str) -> None:
    """Draw the mean of columns over an index, and their range.

    Args:
        axes: where.
        values: a DataFrame with a column for each seed.
        place: see `style`.
        label: in the legend.
    """
    values = values.dropna(how="all")
    own = style(place, markevery=max(1, len(values) // 8), label=label)
    axes.plot(values.index, values.mean(axis=1), **own)
    if values.shape[1] > 1:
        axes.fill_between(values.index, values.min(axis=1), values.max(axis=1), color=own["color"], alpha=0.15, lw=0)


def legend(figure) -> None:
    """One legend of all panels, below them, each label once; in as many columns as there is room for."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        room = int(13 * figure.get_figwidth() / (8 + max(map(len, found))))
        n = max(1, min(room, len(found)))
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=n, frameon=False, fontsize=9)


def plain(text: Any) -> str:
    """A text in which matplotlib reads no mathematics."""
    return str(text).replace("$", r"\$")


def half_widths(means, low, high) -> np.ndarray:
    """Distances of the ends of intervals from their means, `[2, n]`, 0 where there is no interval."""
    means, low, high = (np.asarray(x, float) for x in (means, low, high))
    return np.maximum(np.nan_to_num(np.stack([means - low, high - means])), 0.0)


def png(figure, dpi: int = 120) -> bytes:
    """A figure as the content of a .png file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    return content.getvalue()


def save(figure, path: Path) -> None:
    """Write a figure as a .png file.

    Raises:
        UserError: it cannot be written there.
    """
    with writing(path):
        write_bytes(Path(path), png(figure, 150))
