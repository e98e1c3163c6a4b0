"""What replacing words does to the two models of a run over texts, beside FGM of the same relative size.

    python benchmarks/word_attack.py RUN --radius .1 .2 --texts 500

RUN is a directory of `gan_rec train --task labels`. Prints the table and some texts, and adds a line to
benchmarks/results/word_attack.jsonl.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import gan_rec
from gan_rec.errors import UserError
from gan_rec.experiments.environment import environment
from gan_rec.experiments.labels import evaluate_labels
from gan_rec.robustness.words import substitute

RESULTS = Path(__file__).parent / "results" / "word_attack.jsonl"


def falls(model, sample, texts, labels, radius: float) -> dict:
    """Accuracy of every seed before and after each attack, on the same texts, the `sample` of the test part."""
    found = {"before": [], "fgm": [], "words": [], "random words": [], "changed": []}
    whole = evaluate_labels(model.fit, model.split, attack="fgm", radius=radius).probabilities
    for seed, threshold in enumerate(model.thresholds):
        classifier = model.classifier(seed)

        def accuracy(probabilities, threshold=threshold):
            return float(np.mean((probabilities >= threshold) == (labels == 1)))

        how = {"longest": model.longest, "seed": seed}
        moved = substitute(model.encoder, classifier, texts, labels, radius, **how)
        drawn = substitute(model.encoder, classifier, texts, labels, radius, choose="random", **how)
        found["before"].append(accuracy(moved.before))
        found["fgm"].append(accuracy(whole[seed][sample]))
        found["words"].append(accuracy(moved.probabilities))
        found["random words"].append(accuracy(drawn.probabilities))
        found["changed"].append(float(moved.changed.mean()))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--radius", type=float, nargs="+", default=[0.1])
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--smoke", action="store_true", help="nothing is written")
    options = parser.parse_args()
    models = gan_rec.open_texts(options.run)
    rows = models["twin"].split.rows[2]
    sample = np.sort(np.random.default_rng(0).permutation(len(rows))[: options.texts])
    data = models["twin"].table.take(rows[sample])
    for radius in options.radius:
        table = {}
        for name, model in models.items():
            table[name] = falls(model, sample, data.texts.tolist(), data.labels, radius)
            print(radius, name, {k: round(float(np.mean(v)), 4) for k, v in table[name].items()}, flush=True)
        fall = {
            attack: {m: np.mean(np.array(table[m]["before"]) - table[m][attack]) for m in table}
            for attack in ("fgm", "words", "random words")
        }
        for attack, each in fall.items():
            share = each["adversarial"] / each["twin"] if each["twin"] > 0 else float("nan")
            print(
                f"  {attack}: falls by {each['adversarial']:.4f} (twin {each['twin']:.4f}), {share:.2f} of the twin's"
            )
        if options.smoke:
            continue
        row = {"run": options.run.name, "radius": radius, "texts": len(sample), "models": table}
        row |= {"environment": environment(data.sha256)}
        RESULTS.parent.mkdir(exist_ok=True)
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    twin = models["twin"]
    shown = substitute(
        twin.encoder, twin.classifier(), data.texts[:5].tolist(), data.labels[:5], options.radius[-1],
        longest=twin.longest,
    )  # fmt: skip
    for before, after in zip(data.texts[:5], shown.texts, strict=True):
        print(f"- {before}\n+ {after}\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from error
