"""How a training went: losses of both players, the validation metric, and a game watched from close by."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gan_rec.errors import UserError
from gan_rec.plot.canvas import band, canvas, legend, style

_NAMES = {
    "data_loss": "recommender, on real rows",
    "adversarial_loss": "recommender, on fakes",
    "adversary_loss": "adversary's own",
}

_ABREAST = 3  # panels


def losses(models: Any):
    """Losses of both players by epoch of the selection phase: a panel for each model and network, mean and range.

    The gap between the recommender's loss on fakes and that on real rows is what the adversary gains.

    Args:
        models: a `Fitted`, its history (a DataFrame), or several by name.

    Raises:
        UserError: there is no epoch to draw.
    """
    panels = {}
    for name, history in histories(models).items():
        for phase, rows in _selections(history):
            own = [c for c in rows.columns if c.endswith("_loss") and (rows[c].fillna(0) != 0).any()]
            own = sorted(own, key=[*_NAMES, *own].index)
            panels[_titled(name, phase)] = {c: _wide(rows, c) for c in own if c != "adversary_loss" or len(own) < 3}
    columns = min(len(panels), _ABREAST)
    rows = -(-len(panels) // columns)
    figure, axes = canvas(4.2 * columns + 0.4, 0.5 + 2.9 * rows, rows, columns)
    places = {name: i for i, name in enumerate(dict.fromkeys(c for panel in panels.values() for c in panel))}
    for own in axes.flat[len(panels) :]:
        own.remove()
    for own, (title, panel) in zip(axes.flat, panels.items(), strict=False):
        for column, values in panel.items():
            band(own, values, places[column], _NAMES.get(column, column.replace("_", " ")))
        _epochs(own)
        own.set_title(title)
    for own in axes[:, 0]:
        own.set_ylabel("loss (nats)\nmean and range over seeds")
    legend(figure)
    return figure


def validation(models: Any):
    """The metric on validation by epoch, mean and range over seeds: a panel for each network, a line for each model.

    Args:
        models: see `losses`.

    Raises:
        UserError: nothing was measured on validation.
    """
    panels: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    for name, history in histories(models).items():
        for phase, rows in _selections(history):
            for column in (c for c in rows.columns if c.startswith("validation ")):
                if rows[column].notna().any():
                    panels.setdefault((phase, column), {})[name] = _wide(rows, column)
    if not panels:
        raise UserError("nothing was measured on validation in these trainings")
    figure, axes = canvas(5.2 * len(panels) + 0.4, 3.6, 1, len(panels))
    for own, ((phase, column), lines) in zip(axes[0], panels.items(), strict=True):
        for place, (name, values) in enumerate(lines.items()):
            band(own, values, place, name)
        metric = column.removeprefix("validation ")
        _epochs(own)
        own.set(ylabel=f"{metric} on validation (share, 0 to 1)", title=_titled("", phase))
    axes[0][0].set_title(axes[0][0].get_title() or "mean and range over seeds")
    legend(figure)
    return figure


def watched(seen: Any):
    """What `gan_rec.watch` saw: losses of both players, their gap, gradients, and how far fakes are from real rows."""
    history = seen.history.set_index("epoch")
    figure, (panels,) = canvas(15, 3.6, 1, 4)
    shown = (
        ("loss of both players", "recommender's loss (nats)",
         {"data_loss": "on real rows", "adversarial_loss": "on fakes"}),
        ("what the adversary gains", "loss on fakes - loss on real rows (nats)", {"gap": "gap of the losses"}),
        ("gradients", "Euclidean length (nats)",
         {"recommender_gradient": "recommender's gradient", "adversary_gradient": "adversary's gradient"}),
        ("distance of the fakes", "|fake - real| / |real|", {"user_distance": "users", "item_distance": "items"}),
    )  # fmt: skip
    history = history.assign(gap=history["adversarial_loss"] - history["data_loss"])
    place = 0
    for axes, (title, unit, columns) in zip(panels, shown, strict=True):
        for column, label in columns.items():
            if history[column].notna().any():
                axes.plot(history[column], **style(place, label=label))
            place += 1
        _epochs(axes)
        axes.set(ylabel=unit, title=title)
    panels[1].axhline(0, color="black", linewidth=0.6)
    panels[2].set_yscale("log")
    panels[3].set_ylim(0, 1.3 * max(history[["user_distance", "item_distance"]].max().max(), 1e-3))
    legend(figure)
    return figure


def _epochs(axes) -> None:
    axes.set_xlabel("epoch")
    axes.locator_params(axis="x", integer=True, nbins=7)


def histories(models: Any) -> dict[str, pd.DataFrame]:
    """Rows by phase, epoch and seed, by name of the model.

    Raises:
        UserError: there are none.
    """
    models = models if isinstance(models, Mapping) else {"": models}
    found = {name: getattr(model, "history", model) for name, model in models.items()}
    if not found or any(len(history) == 0 for history in found.values()):
        raise UserError("no epochs to draw: a model has no history")
    return found


def _selections(history: pd.DataFrame):
    """Phases in which validation chooses the epoch, of a model that is trained in parts several, with their rows."""
    for phase, rows in history.groupby("phase", sort=False):
        if phase.endswith("selection"):
            yield phase, rows


def _wide(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    return rows.dropna(subset=[column]).pivot(index="epoch", columns="seed", values=column)


def _titled(name: str, phase: str) -> str:
    network = phase.removesuffix("selection").rstrip("-")
    return ", ".join(filter(None, (name, network and f"network of {network}s")))
