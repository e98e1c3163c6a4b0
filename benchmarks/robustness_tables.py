"""Tables of README.md on robustness, from the raw numbers in benchmarks/results."""

import numpy as np
from cells import decimals, markdown, with_interval

from gan_rec.evaluation.significance import summary


def evasion(lines: list[dict], dataset: str) -> list[str]:
    """Damage curves of an adversarial model and its twin, areas under them and their ratio; the last of a data set."""
    found = [line["evasion"] for line in lines if line["config"]["dataset"] == dataset][-1]
    radii = sorted({row["radius"] for row in found["curves"]})
    rows = []
    for attack, areas in found["areas"].items():
        for model, area in areas.items():
            own = [row for row in found["curves"] if (row["model"], row["attack"]) == (model, attack)]
            left = {row["radius"]: row[found["metric"]] for row in own}
            ratio = found["twin_over_adversarial"].get(attack) if model == "adversarial" else None
            cells = (decimals(left[r]) if r in left else "" for r in radii)  # what is strongest differs by seed
            values = [*cells, with_interval(area, 3)]
            rows.append([f"`{attack}`, {model}", *values, with_interval(ratio, 2) if ratio else ""])
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


def poisoning(lines: list[dict]) -> list[str]:
    """Hit ratio of promoted items by attack and defence, and NDCG@20 with what the defence has cost it."""
    keys = ["dataset", "recommender", "budget", "defence", "attack"]
    last = {tuple(line[name] for name in keys): line for line in lines}
    clean = {key[:2]: line["ndcg"]["mean"] for key, line in last.items() if key[3:] == ("none", "none")}
    attacks = [name for name in dict.fromkeys(line["attack"] for line in lines) if name != "none"]
    rows = []
    for key in dict.fromkeys(key[:4] for key in last if key[4] != "none"):
        own = {attack: last[*key, attack] for attack in attacks if (*key, attack) in last}
        lost = max(clean[key[:2]] - line["ndcg"]["mean"] for line in own.values())
        hits = [with_interval(own[attack]["hit_ratio"]) if attack in own else "" for attack in attacks]
        rows.append([key[0], f"`{key[1]}`", f"{key[2]:.1%}", f"`{key[3]}`", *hits, decimals(lost)])
    return markdown(["data", *keys[1:4], *(f"`{attack}`" for attack in attacks), "most NDCG@20 lost"], rows)
