"""Does adversarial personalised ranking make matrix factorisation more robust, or more accurate?

    python benchmarks/apr.py --dataset ml-100k           # half an hour on two CPU cores
    python benchmarks/apr.py --smoke                     # a minute, synthetic data

Source: He et al., SIGIR 2018. Both models are tuned on validation, over the same number of configurations, and the twin
fixes the attack: the FGM radius at which the tuned twin loses 20% of its validation NDCG@20. Two rules choose among the
configurations of each model: the best clean NDCG@20 ("accurate"), and the best clean NDCG@20 among those that lose at
most 5% at that radius ("robust"; the least vulnerable where there is none). The chosen ones are trained with all seeds,
refitted on train + validation, and read the test part once: clean, and under FGM and PGD at the radius where the
accurate twin loses 20% on test, found anew for each seed. Radii are relative to the length of each row, so that longer
rows do not help.
"""

import itertools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

METRIC = "NDCG@20"


@dataclass(frozen=True)
class Options:
    """What to measure."""

    dataset: str = "ml-100k"
    """Name or path."""
    seeds: int = 5
    """Seeds of the final models."""
    epochs: int = 150
    """The most epochs."""
    weight_decays: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
    """Grid of the twin; the adversarial model takes every second one, with two radii."""
    radii: tuple[float, ...] = (0.05, 0.2)
    """Training radii of the adversarial model."""
    batch_size: int = 1024
    """Pairs in a batch."""
    learning_rate: float = 5e-3
    """Of both models."""
    smoke: bool = False
    """Synthetic data, two seeds, few epochs."""
    output: Path | None = None
    """A file to add the JSON line to."""


def main(options: Options) -> None:
    """Tune, train, attack."""
    import gan_rec
    from gan_rec.experiments.fitting import evaluate_attacked
    from gan_rec.robustness.damage import radius_of_loss

    if options.smoke:
        options = Options("synthetic", 2, 6, (0.1, 1.0), (0.1,), 256, output=options.output)  # all else as it is
    split = gan_rec.split(gan_rec.load(options.dataset))
    common = {
        "game": "apr", "adversary": "fgm", "recommender": "mf", "average": 0.97, "epochs": options.epochs,
        "batch_size": options.batch_size, "learning_rate": options.learning_rate, "progress": False,
    }  # fmt: skip
    grids = {
        "twin": [{"alpha": 1.0, "weight_decay": w} for w in options.weight_decays],
        "adversarial": [
            {"weight_decay": w, "epsilon": e} for w, e in itertools.product(options.weight_decays[1::2], options.radii)
        ],
    }

    def clean(model, on):
        return gan_rec.evaluate(model, on, (20,)).per_seed(METRIC)

    def attacked(model, on, radius, attack="fgm"):
        return evaluate_attacked(model, attack, radius, on, (20,)).per_seed(METRIC)

    def radius_of(model, on):
        return radius_of_loss(lambda r: attacked(model, on, r), clean(model, on), 0.2)

    tried = {}
    for name, grid in grids.items():
        for options_of in grid:
            start = time.perf_counter()
            model = gan_rec.fit(split, seeds=1, refit=False, **common | options_of)
            tried[name, json.dumps(options_of)] = (model, float(clean(model, "validation")[0]))
            say(f"{name} {options_of}: validation {tried[name, json.dumps(options_of)][1]:.4f}", start)
    twin = max((v for (name, _), v in tried.items() if name == "twin"), key=lambda v: v[1])[0]
    radius = radius_of(twin, "validation")
    say(f"the accurate twin loses 20% at radius {radius[0]:.3f} on validation", time.perf_counter())
    lost = {key: 1 - float(attacked(model, "validation", radius)[0]) / score for key, (model, score) in tried.items()}
    chosen = {}
    for name in grids:
        mine = [key for key in tried if key[0] == name]
        chosen[f"accurate {name}"] = max(mine, key=lambda key: tried[key][1])
        robust = [key for key in mine if lost[key] <= 0.05]
        chosen[f"robust {name}"] = (
            max(robust, key=lambda key: tried[key][1]) if robust else min(mine, key=lost.__getitem__)
        )
    final = {}
    for rule, (_, options_of) in chosen.items():
        start = time.perf_counter()
        final[rule] = gan_rec.fit(split, seeds=options.seeds, **common | json.loads(options_of))
        say(f"{rule}: {options_of}", start)
    reference = final["accurate twin"]
    radius = radius_of(reference, "test")
    evaluations = {rule: gan_rec.evaluate(model, "test", (20,)) for rule, model in final.items()}
    result = {"benchmark": "apr", "dataset": options.dataset, "seeds": options.seeds, "metric": METRIC}
    result["twin_radius_of_20_percent"] = radius.tolist()
    for rule, model in final.items():
        score = evaluations[rule].per_seed(METRIC)
        result[rule] = {
            "configuration": json.loads(chosen[rule][1]),
            "validation": {"clean": tried[chosen[rule]][1], "lost": lost[chosen[rule]]},
            "clean": summary_of(score),
            "lost_under_fgm": summary_of(1 - attacked(model, "test", radius) / score),
            "lost_under_pgd": summary_of(1 - attacked(model, "test", radius, "pgd") / score),
            "against_accurate_twin": gan_rec.compare_models(evaluations[rule], evaluations["accurate twin"])[METRIC],
            "seconds_per_epoch_and_seed": float(model.history["seconds"].median()),
        }
    result["tried"] = [
        {"model": name, **json.loads(o), "validation": v[1], "lost": lost[name, o]} for (name, o), v in tried.items()
    ]
    line = json.dumps(result)
    print(line, flush=True)
    if options.output:
        with open(options.output, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def summary_of(values: np.ndarray) -> dict:
    """Mean and 95% interval over seeds."""
    from gan_rec.evaluation.significance import summary

    return {name: value for name, value in summary(values).items() if name in ("mean", "ci95", "per_seed")}


def say(line: str, start: float) -> None:
    """Progress on stderr."""
    print(f"{line} ({time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
