"""Who should set alpha, the weight of the data loss: nobody, a rule, or a search?

    python benchmarks/alpha.py                       # CFGAN's ML-100K, some minutes on two CPU cores
    python benchmarks/alpha.py --smoke

Fixed values of alpha and both automatic rules, with one adversary and radius. The tuned value is the fixed one with the
best validation NDCG@20. Models are not refitted; validation and test NDCG@20, the loss under FGM, and where the rules
ended stand in one JSON line for each.
"""

import json
from dataclasses import dataclass

import tyro

METRIC = "NDCG@20"


@dataclass(frozen=True)
class Options:
    """What to measure."""

    dataset: str = "cfgan-ml100k"
    """Name or path."""
    recommender: str = "autoencoder"
    """autoencoder or mf."""
    adversary: str = "fgm"
    """The other player."""
    radius: float = 0.1
    """Relative to the length of each row."""
    alphas: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Fixed values."""
    seeds: int = 3
    """Seeds of every model."""
    smoke: bool = False
    """Synthetic data, few epochs."""


def main(options: Options) -> None:
    """Train with every value and rule."""
    import gan_rec
    from gan_rec.evaluation.significance import summary

    extra = {"epochs": 4, "dim": 8, "evaluate_every": 2} if options.smoke else {"evaluate_every": 10}
    split = gan_rec.split(gan_rec.load("synthetic" if options.smoke else options.dataset))
    tried = [{"alpha": alpha} for alpha in options.alphas] + [{"balance": rule} for rule in ("gradient", "validation")]
    for choice in [*tried, {"alpha": 1.0}]:
        model = gan_rec.fit(
            split, recommender=options.recommender, adversary=options.adversary, epsilon=options.radius,
            seeds=options.seeds, refit=False, progress=False, **extra, **choice,
        )  # fmt: skip
        attacked = gan_rec.evaluate_attacked(model, "fgm", 0.3, "validation", (20,)).per_seed(METRIC)
        line = {
            "benchmark": "alpha", **choice, "adversary": options.adversary, "radius": options.radius,
            "validation": summary(gan_rec.evaluate(model, "validation", (20,)).per_seed(METRIC)),
            "validation under FGM of radius 0.3": summary(attacked),
            "test": summary(gan_rec.evaluate(model, "test", (20,)).per_seed(METRIC)),
            "alpha_at_the_chosen_epoch": [float(a) for a in model.weights.selected.alpha],
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
