"""Tables of README.md on robustness, from the raw numbers in benchmarks/results."""

import numpy as np
from cells import decimals, markdown, with_interval

from gan_rec.evaluation.significance import summary


def evasion(lines: list[dict]) -> list[str]:
    """Damage curves of an adversarial model and its twin, areas under them and their ratio."""
    found = lines[-1]["evasion"]
    radii = sorted({row["radius"] for row in found["curves"]})
    rows = []
    for attack, areas in found["areas"].items():
        for model, area in areas.items():
            own = [row for row in found["curves"] if (row["model"], row["attack"]) == (model, attack)]
            left = {row["radius"]: row[found["metric"]] for row in own}
            ratio = with_interval(found["twin_over_adversarial"][attack], 2) if model == "adversarial" else ""
            rows.append([f"`{attack}`, {model}", *(decimals(left[r]) for r in radii), with_interval(area, 3), ratio])
    header = ["attack, model", *(f"{radius:g}" for radius in radii), "share lost", "twin's over it"]
    return markdown(header, rows)


def detection(lines: list[dict], detector: str = "combined") -> list[str]:
    """How well fake profiles of each kind are found, and false alarms."""
    rows = []
    for line in {line["dataset"]: line for line in lines if "profiles" in line}.values():
        own = [row for row in line["profiles"] if row["detector"] == detector]
        alarms = np.mean([row["false alarms"] for row in own if row["attack"] == "none"])
        for attack in dict.fromkeys(row["attack"] for row in own if row["attack"] != "none"):
            of = [row for row in own if row["attack"] == attack]
            means = [with_interval(summary([row[name] for row in of]), 3) for name in ("AUC", "precision")]
            rows.append([line["dataset"], f"`{attack}`", f"{of[0]['budget']:g}", *means, f"{alarms:.2%}"])
    header = ["data", "attack (not learned from)", "fakes", "ROC AUC", "precision", "flagged in clean data"]
    return markdown(header, rows)
