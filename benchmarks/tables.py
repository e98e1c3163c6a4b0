"""Tables of README.md from the raw numbers in benchmarks/results.

    python benchmarks/tables.py            # writes them into README.md
    python benchmarks/tables.py --check    # fails if README.md says something else

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. Of lines that measure the same thing the last one
counts. To add a table, write a function that returns its lines, and name it in TABLES.
"""

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS, README = ROOT / "benchmarks" / "results", ROOT / "README.md"
_REGION = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read(name: str) -> list[dict]:
    """The lines of a file of benchmarks/results."""
    return [json.loads(line) for line in (RESULTS / name).read_text(encoding="utf-8").splitlines()]


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """The lines of a table."""
    header = list(header)
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]


def decimals(value: float, digits: int = 4, sign: str = "") -> str:
    """Of a number below 1, without the zero before the point."""
    return re.sub(r"(?<!\d)0\.", ".", f"{value:{sign}.{digits}f}")


def with_interval(summary: dict, digits: int = 4) -> str:
    """Mean ± half of the 95% interval."""
    half = decimals(summary["ci95"][1] - summary["mean"], digits)
    return f"{decimals(summary['mean'], digits)} ± {half}"


def percent(summary: dict) -> str:
    """The same of a part, in percent."""
    return f"{summary['mean']:.1%} ± {100 * (summary['ci95'][1] - summary['mean']):.1f}"


def apr(dataset: str) -> list[str]:
    """What adversarial personalised ranking gave: the models that four rules chose."""
    found = {line["dataset"]: line for line in read("apr.jsonl")}[dataset]
    rows = []
    for rule in ("accurate twin", "robust twin", "accurate adversarial", "robust adversarial"):
        chosen, (aim, model) = found[rule], rule.split()
        options, test = chosen["configuration"], chosen["against_accurate_twin"]
        p = f"{test['p']:.0e}".replace("e-0", "e-").replace("0e+00", "0")
        rows.append([
            f"{ {'accurate': 'accuracy', 'robust': 'robustness'}[aim]}: {model}",
            f"{options['weight_decay']:g}, {options.get('epsilon', 'none')}",
            with_interval(chosen["clean"]),
            "" if rule == "accurate twin" else f"{decimals(test['difference'], sign='+')} ({p})",
            percent(chosen["lost_under_fgm"]),
            percent(chosen["lost_under_pgd"]),
        ])  # fmt: skip
    header = (
        "chosen for",
        "weight decay, radius",
        "NDCG@20",
        "against the accurate twin (p)",
        "lost to FGM",
        "lost to PGD",
    )
    return markdown(header, rows)


def adversaries() -> list[str]:
    """All adversaries at one radius, and the twin."""
    found = list({line["adversary"]: line for line in read("adversaries.jsonl")}.values())
    attacks = ("fgm", "pgd", "generator")
    twin = [with_interval(found[0]["rise_of_twin"][attack], 3) for attack in attacks]
    rows = [["none: the twin", "", *twin, with_interval(found[0]["NDCG@20 of the twin"]), "", "1"]]
    for line in found:
        test = line["against_twin"]
        rows.append([
            f"`{line['adversary']}`",
            with_interval(line["damage_to_twin"], 3),
            *(with_interval(line["rise_of_model"][attack], 3) for attack in attacks),
            with_interval(line["NDCG@20"]),
            f"{test['difference']:+.4f} ({test['p']:.2g})",
            f"{line['epoch_over_twin']:.2f}",
        ])  # fmt: skip
    named = "FGM", "PGD", "new generator"
    return markdown(
        ["adversary", "damage to the twin", *named, "NDCG@20", "against the twin (p)", "epoch / twin's"], rows
    )


def alpha() -> list[str]:
    """The weight of the data loss: fixed, and set by rules."""
    columns, found = ("validation", "validation under FGM of radius 0.3", "test"), read("alpha.jsonl")
    fixed = [line for line in found if "balance" not in line and line["alpha"] < 1]
    tuned = max(fixed, key=lambda line: line["validation"]["mean"])
    rows = []
    for line in found:
        if "balance" in line:
            ends = ", ".join(f"{alpha:.2f}" for alpha in line["alpha_at_the_chosen_epoch"])
            name = f"rule `{line['balance']}` (ended at {ends})"
        elif line["alpha"] == 1:
            name = "1: the twin"
        else:
            name = f"{line['alpha']:g}, fixed{', the tuned one' if line is tuned else ''}"
        rows.append([name, *(decimals(line[column]["mean"]) for column in columns)])
    return markdown(["alpha", "validation", "validation under FGM, radius .3", "test"], rows)


def collm() -> list[str]:
    """Likes on CoLLM's split, trained on train alone."""
    results = [line["results"] for line in read("collm.jsonl") if not line["refit"]][-1]

    def both(summaries: dict) -> str:
        return f"{decimals(summaries['AUC']['mean'])} ({decimals(summaries['UAUC']['mean'])})"

    models, seeds = results["models"], len(results["models"]["twin"]["AUC"]["per_seed"])
    running = f"running averages {both(results['baselines']['running user mean + item mean'])}"
    name = f"`{results['dataset']}`, trained on train alone, {seeds} seeds: AUC (UAUC)"
    header = "measured on test, chosen on validation", "adversarial", "twin", "baseline"
    return markdown(header, [[name, both(models["adversarial"]), both(models["twin"]), running]])


def labels() -> list[str]:
    """Labels of reviews, by frozen sentence vectors: with few labels, and under attack."""
    found = {line["about"]: line["results"] for line in read("labels.jsonl")}
    few, robust = found["vat of radius .02, 1% of the labels"], found["fgm of radius .1"]
    auc = {name: with_interval(few["models"][name]["AUC"]) for name in ("adversarial", "twin")}
    fgm = {
        name: f"{decimals(robust['under_attack']['fgm'][name]['accuracy']['mean'], 3)} "
        f"({decimals(robust['models'][name]['accuracy']['mean'], 3)})"
        for name in ("adversarial", "twin")
    }
    rows = [
        ["`vat` of radius .02, alpha .9, 1% of the labels, 5 seeds: AUC", auc["adversarial"], auc["twin"],
         f"TF-IDF {decimals(few['baselines']['TF-IDF']['AUC']['mean'])}"],
        ["`fgm` of radius .1, 3 seeds: accuracy under FGM of .1 (clean)", fgm["adversarial"], fgm["twin"],
         f"TF-IDF, clean: {decimals(robust['baselines']['TF-IDF']['accuracy']['mean'], 3)}"],
    ]  # fmt: skip
    header = "`womens-clothing`, reviews, frozen MiniLM; test", "adversarial", "twin", "baseline"
    return markdown(header, rows)


TABLES = {
    "labels": labels,
    "apr-ml-100k": lambda: apr("ml-100k"),
    "apr-ml-1m": lambda: apr("ml-1m"),
    "adversaries": adversaries,
    "alpha": alpha,
    "collm": collm,
}


def rendered(text: str) -> str:
    """The text with every table as the files have it.

    Raises:
        SystemExit: a table of TABLES has not exactly one place in it, or a place names none of them.
    """
    places = [match[2] for match in _REGION.finditer(text)]
    if sorted(places) != sorted(TABLES):
        raise SystemExit(f"README.md must have a place for each of {', '.join(TABLES)}, it has {', '.join(places)}")
    return _REGION.sub(lambda match: match[1] + "\n".join(["", *TABLES[match[2]](), "", match[3]]), text)


def main(arguments: list[str] | None = None) -> None:
    """Write README.md, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if README.md says something else")
    options = parser.parse_args(arguments)
    before = README.read_text(encoding="utf-8")
    after = rendered(before)
    if not options.check:
        README.write_text(after, encoding="utf-8")
        return
    pairs = zip(_REGION.finditer(before), _REGION.finditer(after), strict=True)
    wrong = [old[2] for old, new in pairs if old[0] != new[0]]
    if wrong:
        raise SystemExit(f"README.md is not what benchmarks/results has: {', '.join(wrong)}; run benchmarks/tables.py")


if __name__ == "__main__":
    main()
