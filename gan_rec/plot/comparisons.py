"""Models side by side: a leaderboard with its intervals, and how popular what they recommend is."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gan_rec.errors import UserError
from gan_rec.plot.canvas import canvas, half_widths, legend, plain, style


def leaderboard(results: Mapping[str, Any]):
    """Means of a comparison with 95% intervals over users (thin) and over seeds (thick), the best on top.

    Args:
        results: what `gan_rec.compare` returns, or its results.json. Models against an adversary are filled.
    """
    metric, models = results["metric"], results["models"]
    names = sorted(models, key=lambda name: models[name]["test"][metric]["mean"])
    figure, ((axes,),) = canvas(7, 1.3 + 0.32 * len(names))
    users, seeds = "95% interval over users", "95% interval over seeds"
    for place, name in enumerate(names):
        test = models[name]["test"][metric]
        axes.hlines(place, *models[name]["over_users"]["ci95"], color="black", linewidth=1, label=users)
        if test["ci95"] is not None:
            axes.hlines(place, *test["ci95"], color="0.55", linewidth=5, label=seeds)
        played = "+" in name
        label = "mean, trained against an adversary" if played else "mean"
        face = "black" if played else "white"
        axes.plot(test["mean"], place, "o", color="black", markerfacecolor=face, markersize=5, label=label)
    axes.set_yticks(range(len(names)), map(plain, names))
    axes.set_ylabel("model")
    axes.set_xlabel(plain(f"{metric} on test (share, 0 to 1), {results['dataset']}"))
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    legend(figure)
    return figure


def popularity(models: Mapping[str, Any], metric: str | None = None):
    """How popular recommended items are against accuracy: a mark for each model, with 95% intervals over seeds.

    A model that is further to the left at the same height recommends less of what everybody has anyway.

    Args:
        models: name -> `Evaluation` or its summary, or what `gan_rec.compare` or `gan_rec train` wrote to results.json.
        metric: of accuracy; None: NDCG at the largest cut-off.

    Raises:
        UserError: a metric is missing.
    """
    found = {name: _summary(each) for name, each in models.get("models", models).items()}
    if not found:
        raise UserError("no models are given; at least one is needed")
    some = next(iter(found.values()))
    across = next((name for name in some if name.startswith("popularity@")), "popularity@K")
    metric = metric or f"NDCG@{across.partition('@')[2]}"
    for name, summary in found.items():
        for needed in (across, metric):
            if summary.get(needed, {}).get("mean") is None:
                raise UserError(f"{name} has no {needed}; it has {', '.join(summary)}")
    figure, ((axes,),) = canvas(6, 4.2 + 0.12 * len(found))
    for place, (name, summary) in enumerate(found.items()):
        x, y = summary[across], summary[metric]
        axes.errorbar(x["mean"], y["mean"], xerr=_half(x), yerr=_half(y), capsize=2,
                      **style(place, linestyle="none", markersize=6, label=plain(name)))  # fmt: skip
    axes.set(xlabel=f"{across} (users of a recommended item, mean)", ylabel=f"{metric} (share, 0 to 1)")
    legend(figure)
    return figure


def _summary(model: Any) -> dict[str, dict]:
    model = model.summary() if hasattr(model, "summary") else model
    return model.get("test", model)


def _half(summary: dict) -> np.ndarray:
    low, high = summary["ci95"] or (np.nan, np.nan)
    return half_widths([summary["mean"]], [low], [high])
