"""What attacks do: damage and certificates by radius, hit ratios of fake profiles, and a search for a defence."""

from typing import Any

import pandas as pd

from gan_rec.plot.canvas import canvas, half_widths, legend, style


def damage(evasion: Any):
    """Damage curves: the metric by radius, a panel for each attack, a line for each model with its range over seeds.

    Args:
        evasion: what `gan_rec.evade` returns.
    """
    attacks, curves, metric = evasion.attacks, evasion.curves, evasion.metric
    models = list(dict.fromkeys(curves["model"]))
    figure, (panels,) = canvas(2.6 * len(attacks) + 0.8, 3.3, 1, len(attacks), sharey=True)
    for axes, attack in zip(panels, attacks, strict=True):
        for place, model in enumerate(models):
            own = curves[(curves["attack"] == attack) & (curves["model"] == model)].groupby("radius")[metric]
            if own.ngroups:
                _line(axes, own, place, model)
        axes.set(title=attack, xlabel="radius (part of a row's length)")
    panels[0].set_ylabel(f"{metric} (share, 0 to 1)")
    panels[0].set_ylim(bottom=0)
    legend(figure)
    return figure


def certified(accuracy: pd.DataFrame):
    """Certified accuracy by radius, a panel for each kind of rows and K.

    Args:
        accuracy: what `gan_rec.experiments.certified.certified_accuracy` returns.
    """
    panels = list(dict.fromkeys(zip(accuracy["rows"], accuracy["k"], strict=True)))
    models = list(dict.fromkeys(accuracy["model"]))
    figure, (drawn,) = canvas(2.8 * len(panels) + 0.8, 3.3, 1, len(panels), sharey=True)
    for axes, (which, k) in zip(drawn, panels, strict=True):
        here = accuracy[(accuracy["rows"] == which) & (accuracy["k"] == k)]
        for place, model in enumerate(models):
            own = here[here["model"] == model].groupby("radius")["accuracy"]
            if own.ngroups:
                _line(axes, own, place, model, markevery=max(1, own.ngroups // 6))
        axes.set(title=f"{which}, K = {k}", xlabel="radius (part of a row's length)")
        axes.locator_params(axis="x", nbins=4)
    drawn[0].set_ylabel("certified accuracy (share of users)")
    legend(figure)
    return figure


def poisoning(found: pd.DataFrame):
    """The hit ratio of targets over the budget, with 95% intervals: a panel for each recommender and attack.

    Args:
        found: what `gan_rec.experiments.poisoning_tables.table` returns.
    """
    recommenders, attacks = (list(dict.fromkeys(found[name])) for name in ("recommender", "attack"))
    clean = "none"
    attacks = [attack for attack in attacks if attack != clean] or [clean]
    defences = list(dict.fromkeys(found["defence"]))
    size = 1 + 3 * len(attacks), 1.2 + 2.4 * len(recommenders)
    figure, panels = canvas(*size, len(recommenders), len(attacks), sharex=True, sharey="row")
    for line, recommender in zip(panels, recommenders, strict=True):
        for axes, attack in zip(line, attacks, strict=True):
            here = found[(found["recommender"] == recommender) & found["attack"].isin([clean, attack])]
            for place, defence in enumerate(defences):
                own = here[here["defence"] == defence].sort_values("budget")
                spread = half_widths(*(own[f"hit_ratio{end}"].astype(float) for end in ("", "_low", "_high")))
                axes.errorbar(100 * own["budget"], own["hit_ratio"].astype(float), yerr=spread, capsize=2,
                              **style(place, label=f"defence: {defence}"))  # fmt: skip
            axes.set_title(f"{recommender}, {attack}", fontsize=9)
        line[0].set_ylabel("hit ratio@10 of targets\n(share of users)")
    for axes in panels[-1]:
        axes.set_xlabel("fakes (% of users)")
    legend(figure)
    return figure


def hardening(trials: pd.DataFrame, front: pd.DataFrame, chosen: pd.Series):
    """All trials of a search by clean and attacked NDCG, their Pareto front, and the chosen one.

    Args:
        trials: `adversary, clean, attacked`, a row for each.
        front: those on the Pareto front, by clean NDCG.
        chosen: one of them.
    """
    figure, ((axes,),) = canvas(6, 4.8)
    for place, (adversary, own) in enumerate(trials.fillna({"adversary": "twin"}).groupby("adversary", sort=False)):
        axes.plot(own["clean"], own["attacked"], **style(place, linestyle="none", label=adversary))
    axes.step(front["clean"], front["attacked"], color="gray", linewidth=1, where="post", label="Pareto front")
    axes.plot(chosen["clean"], chosen["attacked"], "o", markersize=13, fillstyle="none", color="black", label="chosen")
    axes.set(xlabel="clean NDCG@20 on validation (0 to 1)", ylabel="NDCG@20 under PGD, mean over radii (0 to 1)")
    legend(figure)
    return figure


def _line(axes, by_radius, place: int, label: str, **other) -> None:
    """Mean and range over what a radius has several of."""
    own = style(place, label=label, **other)
    mean = by_radius.mean()
    axes.plot(mean.index, mean, **own)
    axes.fill_between(mean.index, by_radius.min(), by_radius.max(), alpha=0.15, color=own["color"], lw=0)
