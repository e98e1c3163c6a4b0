"""Rows of many dimensions in two: principal components, by a singular value decomposition."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gan_rec.errors import UserError
from gan_rec.plot.canvas import canvas, legend, style

_MOST = 20_000  # rows that a picture shows, and that components are found from


class Projection(NamedTuple):
    """A plane in D dimensions."""

    centre: Float[np.ndarray, " D"]
    axes: Float[np.ndarray, "2 D"]
    share: float  # of the rows' variance that lies in it

    def __call__(self, rows: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n 2"]:
        """Where rows are in it."""
        return (rows - self.centre) @ self.axes.T


def projection(rows: Float[np.ndarray, "n D"]) -> Projection:
    """The plane of the rows' first two principal components; each axis's largest entry is above 0.

    Raises:
        UserError: fewer than 2 rows or dimensions, or numbers that are not finite.
    """
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or min(rows.shape) < 2:
        raise UserError(f"a projection needs at least 2 rows of at least 2 numbers, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise UserError("rows that are NaN or infinite have no projection")
    centre = rows.mean(axis=0)
    apart = rows - centre
    axes = np.linalg.svd(_some(apart), full_matrices=False)[2][:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    total = np.sum(apart**2)
    return Projection(centre, axes, float(np.sum((apart @ axes.T) ** 2) / total) if total > 0 else 0.0)


def embeddings(rows: Any, groups: Any = None, *, seed_index: int = 0):
    """Embeddings on their first two principal components.

    Args:
        rows: `[n, D]`, or a `Fitted`, whose item rows are drawn: the 20% most popular ones and the others.
        groups: a name for each row; None: all are one group.
        seed_index: of a `Fitted`, which of its seeds.

    Raises:
        UserError: there is no such seed, or as `projection`.
    """
    if hasattr(rows, "split"):
        counts = rows.split.train.item_counts()
        popular = np.argsort(np.argsort(-counts, kind="stable")) < 0.2 * len(counts)
        groups = np.where(popular, "the 20% most popular items", "other items")
        rows = rows.item_rows(seed_index)
    rows = np.asarray(rows)
    plane = projection(rows)
    groups = np.full(len(rows), "rows") if groups is None else np.asarray(groups).astype(str)
    figure, ((axes,),) = canvas(5.6, 5.2)
    for place, name in enumerate(np.unique(groups)[::-1]):
        own = style(place, linestyle="none", markersize=3 + place % 2 * 2, alpha=0.7, label=name)
        axes.plot(*plane(_some(rows[groups == name])).T, **own)
    _name_axes(axes, plane)
    legend(figure)
    return figure


def moves(watched: Any, panels: int = 4, arrows: int = 80, times: float = 5.0):
    """Item rows and where the adversary puts them, epoch by epoch, in the plane of the last epoch's real rows.

    Args:
        watched: what `gan_rec.watch` returns.
        panels: how many snapshots, evenly chosen.
        arrows: how many items' moves are drawn.
        times: how much longer than they are.
    """
    shots = watched.snapshots
    plane = projection(shots[-1].items)
    places = np.unique(np.linspace(0, len(shots) - 1, panels).round().astype(int))
    figure, (drawn,) = canvas(3.7 * len(places), 4.2, 1, len(places), sharex=True, sharey=True)
    for axes, place in zip(drawn, places, strict=True):
        shot = shots[place]
        real, fake = plane(shot.items), plane(shot.fake_items)
        some = np.random.default_rng(0).permutation(len(real))[:arrows]
        axes.scatter(*real.T, s=5, color="0.7", lw=0, label="real items")
        way = times * (fake - real)[some]
        axes.quiver(*real[some].T, *way.T, angles="xy", scale_units="xy", scale=1, width=0.005, color="black",
                    label=f"moves of some, {times:g} times as long")  # fmt: skip
        axes.set_title(f"epoch {shot.epoch}")
        _name_axes(axes, plane)
    for axes in drawn[1:]:
        axes.set_ylabel("")
    legend(figure)
    return figure


def _name_axes(axes, plane: Projection) -> None:
    axes.set(xlabel="component 1 (embedding units)", ylabel="component 2 (embedding units)")
    axes.annotate(f"{plane.share:.0%} of the variance", (1, 1), xycoords="axes fraction", xytext=(0, 3),
                  textcoords="offset points", ha="right", fontsize=8)  # fmt: skip


def _some(rows: np.ndarray) -> np.ndarray:
    """At most `_MOST` of them, evenly chosen."""
    return rows[:: -(-len(rows) // _MOST)] if len(rows) > _MOST else rows
