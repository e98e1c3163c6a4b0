"""Trained models as Jupyter shows them."""

import html
from collections.abc import Mapping

import numpy as np
import pandas as pd

from gan_rec.evaluation.significance import summary
from gan_rec.experiments.fitting import Fitted
from gan_rec.experiments.tables import interval


def fitted_html(models: Mapping[str, Fitted]) -> str:
    """Models by name as a small table: players, chosen epochs, and what validation says of them."""
    rows = []
    for name, fitted in models.items():
        some = fitted.settings
        rows.append({
            "model": name, "recommender": some.recommender, "game": some.game, "adversary": _adversary(some),
            "seeds": some.seeds, "chosen epochs": ", ".join(map(str, fitted.chosen_epochs)),
            f"validation {some.select_on}": interval(summary(np.asarray(fitted.weights.selected.score))),
        })  # fmt: skip
    frame, split = pd.DataFrame(rows), next(iter(models.values())).split
    frame = frame if any(models) else frame.drop(columns="model")
    return f"<b>{html.escape(split.name)}</b>, {html.escape(split.method)} split{frame.to_html(index=False)}"


def _adversary(settings) -> str:
    if settings.alpha == 1:
        return "none"
    of = settings.adversary
    name = of if isinstance(of, str) else getattr(of, "__name__", type(of).__name__)
    return name if settings.epsilon is None else f"{name}, epsilon {settings.epsilon:g}"
