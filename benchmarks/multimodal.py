"""Does an adversary on items' features make a recommender over them less fragile, and what does it cost?

    python benchmarks/multimodal.py --output benchmarks/results/multimodal.jsonl    # 2 CPU cores: some 20 minutes
    python benchmarks/multimodal.py --smoke                                         # a made-up world, some minutes
    python benchmarks/multimodal.py --table

VBPR over audio and text features of artists, with early and with late fusion, and AMR: each of them against an
adversary that moves the features before their map. Beside them popularity, item-knn and EASE (each tuned by the same
number of trials) and matrix factorisation with BPR. A JSON line for each model: metrics on test, paired tests; of the
models over features also NDCG@20 when an attack moves all features by some part of their length (it drives the model's
own list away), and when a modality is missing. All that is chosen is chosen on validation.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from beside import Common, Row, baseline, line, trained
from cells import decimals, markdown
from lines import kept, made_with, tell

RESULTS = Path(__file__).parent / "results" / "multimodal.jsonl"
METRIC, METRICS = "NDCG@20", ("NDCG@20", "R@20")
KS = (10, 20)
ATTACKS = ("noise", "fgm", "pgd")
RADII = (0.1, 0.3, 0.5, 1.0)
# Chosen on validation, from a handful of values of each; the twin's first.
TWINS = {"early": {"weight_decay": 2.0, "epochs": 60}, "late": {"weight_decay": 2.0, "epochs": 60, "modality_dim": 16}}
ADVERSARY = {"epsilon": 0.5, "alpha": 0.5, "weight_decay": 1.0}
MF = {"recommender": "mf", "loss": "bpr", "epochs": 100}


@dataclass(frozen=True)
class Options(Common):
    """What to measure."""

    dataset: str = "lfm2k"
    """A named data set that brings features of items."""
    fusions: tuple[Literal["early", "late"], ...] = ("early", "late")
    """Of the models over features."""


def main(options: Options) -> None:
    """Measure all rows."""
    if options.table:
        print("\n".join(table(kept(RESULTS))))
        return
    import gan_rec

    if options.smoke:
        options = dataclasses.replace(options, seeds=1, trials=2, epochs=2)
        data = made_up()
    else:
        data = gan_rec.load(options.dataset, item_features=True)
    split, seen = gan_rec.split(data), {}
    for row in rows(split, options):
        seen[row.name] = row
        twin = row.name.replace("AMR", "VBPR")
        against = {name: seen[name] for name in (twin, "EASE", "BPR-MF") if name in seen}
        more = under_attack(row, split) if row.name.startswith(("VBPR", "AMR")) else {}
        about = {"benchmark": "multimodal", "dataset": split.name, "seeds": options.seeds}
        tell(about | line(row, METRICS, against) | more | {"environment": made_with()}, options.output)


def rows(split, options: Options):
    """One model after the other."""
    small = {"seeds": options.seeds} | ({} if options.epochs is None else {"epochs": options.epochs})
    for name in ("popularity", "item-knn", "ease"):
        row = baseline(name, split, METRIC, KS, options.trials)
        yield row._replace(name="EASE" if name == "ease" else name)
    yield trained("BPR-MF", split, METRIC, KS, adversary="fgm", alpha=1.0, **MF | small)
    for fusion in options.fusions:
        how = {"recommender": "multimodal", "fusion": fusion, "adversary": "fgm"} | TWINS[fusion]
        yield trained(f"VBPR {fusion}", split, METRIC, KS, alpha=1.0, **how | small)
        yield trained(f"AMR {fusion}", split, METRIC, KS, under_attack="features", **how | ADVERSARY | small)


def under_attack(row: Row, split) -> dict:
    """NDCG@20 by attack and radius, what of the clean one is lost, and without each modality."""
    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.evaluate import evaluate_ranking
    from gan_rec.evaluation.significance import summary
    from gan_rec.experiments.fitting import moved_rows, part_of
    from gan_rec.robustness.modalities import without

    part, clean = part_of(row.fitted, "test"), row.evaluation.per_seed(METRIC)

    def lost(recommenders) -> dict:
        left = evaluate_ranking(recommenders, to_device(part.known), part.truth, KS).per_seed(METRIC)
        return {METRIC: summary(left), "lost": summary(clean - left)}

    attacked = {
        attack: {
            str(radius): lost(moved_rows(row.fitted, attack, radius, goal="list", rows="features")) for radius in RADII
        }
        for attack in ATTACKS
    }
    missing = {name: lost(without(part.recommenders, name)) for name in split.side_information.item_features}
    return {"attacked": attacked, "missing": missing}


def made_up():
    """The synthetic world, with features that know something of who has an item."""
    import gan_rec

    pairs = gan_rec.load("synthetic").parts["all"]
    whole = np.zeros((pairs.n_users, pairs.n_items), np.float32)
    whole[pairs.users, pairs.items] = 1
    of_items = np.linalg.svd(whole, full_matrices=False)[2].T
    noise = np.random.default_rng(0).normal(size=(pairs.n_items, 6)).astype(np.float32)
    return gan_rec.load("synthetic", item_features={"sound": of_items[:, :8], "look": of_items[:, 8:14] + noise})


def table(found: list[dict]) -> list[str]:
    """What has been measured, as Markdown."""
    header = ("model", *METRICS, "features moved by PGD, .1", ".3", ".5", "without audio", "without text")
    cells = []
    for each in found:
        own = [decimals(each["test"][metric]["mean"]) for metric in METRICS]
        attacked, missing = each.get("attacked"), each.get("missing", {})
        own += [decimals(attacked["pgd"][r][METRIC]["mean"]) if attacked else "" for r in ("0.1", "0.3", "0.5")]
        own += [decimals(missing[name][METRIC]["mean"]) if name in missing else "" for name in ("audio", "text")]
        cells.append((each["model"], *own))
    return markdown(header, cells)


if __name__ == "__main__":
    main(tyro.cli(Options))
