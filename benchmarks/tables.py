"""Tables of README.md from the raw numbers in benchmarks/results.

    python benchmarks/tables.py            # writes them into README.md
    python benchmarks/tables.py --check    # fails if README.md says something else

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. Of lines that measure the same thing the last one
counts. To add a table, write a function that returns its lines, and name it in TABLES.
"""

import argparse
import re
from functools import partial
from pathlib import Path

import cross_domain
import explanations
import map_table
import multimodal
import numpy as np
import robustness_tables
import sequences
import shifts
import social
import speed_tables
import text_evasion
from cells import decimals, markdown, paired, percent, with_interval
from lines import kept

from gan_rec.evaluation.significance import holm, summary

ROOT = Path(__file__).parent.parent
RESULTS, README = ROOT / "benchmarks" / "results", ROOT / "README.md"
_REGION = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read(name: str) -> list[dict]:
    """The lines of a file of benchmarks/results."""
    return kept(RESULTS / name)


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
    """Likes on CoLLM's split."""
    found = {line["refit"]: line["results"] for line in read("collm.jsonl")}

    def both(summaries: dict) -> str:
        return f"{decimals(summaries['AUC']['mean'])} ({decimals(summaries['UAUC']['mean'])})"

    rows = []
    for refit, results in found.items():
        models, baselines = results["models"], results["baselines"]
        test = results["tests"][f"adversarial against {list(baselines)[-1]}"]
        rows.append([
            "refitted on train + validation" if refit else "train alone",
            *(both(models[name]) for name in ("adversarial", "twin")),
            *(both(each) for each in baselines.values()),
            f"{decimals(test['difference'], sign='+')} ({test['p_holm']:.2g})",
        ])  # fmt: skip
    header = [f"`{next(iter(found.values()))['dataset']}`, test: AUC (UAUC); 5 seeds", "adversarial", "twin"]
    header += [*next(iter(found.values()))["baselines"], "AUC of adversarial - last baseline (p)"]
    return markdown(header, rows)


def labels() -> list[str]:
    """Labels of reviews, by frozen sentence vectors: with few labels, and under attack."""
    lines = read("labels.jsonl")
    few = [line["results"] for line in lines if line["about"] == "vat, 1% of the labels, one of ten splits"]
    auc = {name: [each["models"][name]["AUC"]["mean"] for each in few] for name in ("adversarial", "twin")}
    words = [each["baselines"]["TF-IDF"]["AUC"]["mean"] for each in few]
    found = {line["about"]: line["results"] for line in lines}
    robust, folds = found["fgm of radius .1"], found["frozen, 5 folds"]
    fgm, ranks = (
        {
            name: f"{decimals(robust['under_attack']['fgm'][name][metric]['mean'], 3)} "
            f"({decimals(robust['models'][name][metric]['mean'], 3)})"
            for name in ("adversarial", "twin")
        }
        for metric in ("accuracy", "AUC")
    )
    constant = decimals(robust["baselines"]["majority"]["accuracy"]["mean"], 3)
    attacked = read("word_attack.jsonl")[-1]
    words_replaced = (
        f"{decimals(float(np.mean(own['words'])), 3)} ({decimals(float(np.mean(own['before'])), 3)})"
        for own in (attacked["models"][name] for name in auc)
    )
    rows = [
        [f"`vat` of radius .02, alpha .9, 1% of the labels, {len(few)} splits, each with labels of its own: AUC",
         *(with_interval(summary(values)) for values in auc.values()), f"TF-IDF {with_interval(summary(words))}"],
        ["`fgm` of radius .1, 3 seeds: accuracy under FGM of .1 (clean)", fgm["adversarial"], fgm["twin"],
         f"clean: TF-IDF {decimals(robust['baselines']['TF-IDF']['accuracy']['mean'], 3)}, majority {constant}"],
        ["the same: AUC", ranks["adversarial"], ranks["twin"], "chance .500"],
        [f"the same: accuracy when words move by .1 of a text's, replaced by others, {attacked['texts']} texts",
         *words_replaced,
         "random words: "
         + ", ".join(decimals(float(np.mean(attacked["models"][m]["random words"])), 3) for m in auc)],
        ["`fgm` of radius .02, 5 folds: AUC",
         *(with_interval(each["AUC"]) for each in (*folds["models"].values(), folds["baselines"]["TF-IDF"]))],
    ]  # fmt: skip
    header = "`womens-clothing`, reviews, frozen MiniLM; test", "adversarial", "twin", "baseline"
    return markdown(header, rows)


def tuned() -> list[str]:
    """Labels of reviews by an encoder whose last layers are trained: beside words, and under attack."""
    found = {line["about"]: line["results"] for line in read("labels.jsonl")}
    rows = []
    texts = {
        "review": "tuned, review",
        "review, more of it": "tuned, review, .003",
        "title and review": "tuned, title and review",
    }
    for name, about in texts.items():
        results = found[about]
        models, attacked, tests = (results[part] for part in ("models", "under_attack", "tests"))
        under = (
            f"{decimals(attacked['fgm'][model]['accuracy']['mean'], 3)} "
            f"({decimals(attacked['none'][model]['accuracy']['mean'], 3)})"
            for model in ("adversarial", "twin")
        )
        against = (tests[f"adversarial against {rival}"] for rival in ("twin", "TF-IDF"))
        rows.append([
            f"{name}, {decimals(results['attack_radius'], 3)}",
            *(with_interval(models[model]["AUC"]) for model in ("adversarial", "twin")),
            decimals(results["baselines"]["TF-IDF"]["AUC"]["mean"]),
            *(f"{decimals(test['difference'], sign='+')} ({test['p_holm']:.0e})" for test in against),
            *under,
        ])  # fmt: skip
    header = ["texts, radius", "AUC, adversarial", "twin", "TF-IDF", "adversarial - twin (p)", "- TF-IDF (p)"]
    return markdown([*header, "accuracy under FGM (clean), adversarial", "twin"], rows)


def cold_items() -> list[str]:
    """Items that nobody had, ranked by their texts."""
    lines = read("cold_items.jsonl")
    rows = [
        [line["model"], with_interval(line["value"]),
         with_interval(line["over adversarial"]) if np.any(line["over adversarial"]["per_seed"]) else ""]
        for line in lines
    ]  # fmt: skip
    return markdown([f"{lines[0]['splits']} splits", lines[0]["metric"], "over the adversarial two-tower"], rows)


def text_cost() -> list[str]:
    """A training step of an encoder's last layers against each adversary, beside the twin's."""
    times = read("text_cost.jsonl")[-1]["times"]
    return markdown(times, [[f"{value:.2f}" for value in times.values()]])


def leaderboard(dataset: str) -> list[str]:
    """What `gan_rec compare` found: all models, the best first."""
    results = {line["results"]["dataset"]: line["results"] for line in read("leaderboard.jsonl")}[dataset]
    metric, best = results["metric"], results["best_baseline"]
    others = [name for name in ("NDCG@20", "NDCG@5", "P@5", "R@20", "MRR@20", "coverage@20") if name != metric]
    tests = {(test["model"], test["against"]): test for test in results["tests"]}
    rows = []
    for name, model in sorted(results["models"].items(), key=lambda named: -named[1]["test"][metric]["mean"]):
        test, own = model["test"], (tests.get((name, rival)) for rival in (best, name.partition("+")[0]))
        exact = with_interval if test[metric]["ci95"] else lambda found: decimals(found["mean"])
        against = (paired(each) if each else "" for each in own)
        means = (decimals(test[other]["mean"], 3) for other in others)
        rows.append([f"`{name}`", exact(test[metric]), *means, *against, f"{model['total_seconds']:.0f}"])
    return markdown(["model", metric, *others, f"against `{best}` (p)", "against its twin (p)", "seconds"], rows)


def ahead(dataset: str) -> list[str]:
    """The model with the best validation against every baseline."""
    results = {line["results"]["dataset"]: line["results"] for line in read("leaderboard.jsonl")}[dataset]
    first, models = results["best_model"], results["models"]
    tests = {test["against"]: test for test in results["tests"] if test["model"] == first}
    tests.pop(first.partition("+")[0], None)  # its twin
    rivals = sorted(tests, key=lambda name: -models[name]["test"][results["metric"]]["mean"])
    return markdown([f"`{first}` against", *(f"`{name}`" for name in rivals)],
                    [[results["metric"], *(paired(tests[name]) for name in rivals)]])  # fmt: skip


def flagship() -> list[str]:
    """The most accurate model with more seeds, and against an adversary at the same options."""
    found, rows = {line["about"]: line["results"] for line in read("flagship.jsonl")}, []
    beside = "NDCG-tail@20", "novelty@20"
    wanted = {"mix, 5 seeds": ("NDCG@20", "NDCG@5", "P@5", "R@20", *beside), "mix, irgan": ("NDCG@5", "P@5", *beside)}
    for about, metrics in wanted.items():
        models, tests = found[about]["models"], found[about]["tests"]["adversarial against twin"]
        for metric in metrics:
            both = (with_interval(models[model][metric]) for model in ("twin", "adversarial"))
            rows.append([f"`{found[about]['dataset']}`, {metric}", *both, paired(tests[metric])])
        losses = found[about]["loss_under_attack"]
        rise = [with_interval(losses[model]["fgm"]["rise"], 2) for model in ("twin", "adversarial")]
        fewer = with_interval(losses["rise_difference"]["fgm"], 2)
        rows.append([f"`{found[about]['dataset']}`, rise of the training loss under FGM", *rise, fewer])
    return markdown(["`mix`, 5 seeds", "alone", "against `fgm`", "difference (p)"], rows)


def helps() -> list[str]:
    """Where an adversary helps: the gain over the equally tuned twin, and the chances that it is none."""
    return map_table.render(read("map.jsonl")).split("\n")


def again() -> list[str]:
    """What looked like a gain, on splits that had no part in finding it; and a rule that needs no adversary."""
    first = {(cell["setting"], cell["adversary"]): cell for cell in read("map.jsonl")}
    rows = []
    cells = read("map_again.jsonl")
    for cell, p in zip(cells, holm([cell["p"] for cell in cells]), strict=True):
        name = cell["setting"], cell["adversary"]
        ahead = int(np.sum(np.array(cell["values"]) > np.array(cell["twin_values"])))
        gains = (map_table.half(each["difference"]) for each in (first[name], cell))
        rows.append([name[0], f"`{name[1]}`", *gains, f"{ahead} of {cell['splits']}", f"{p:.2g}"])
    for line in read("tail_penalty.jsonl"):
        rows.append(
            ["tail items", "no adversary, but popularity costs score", map_table.half(line["over the twin"]), *[""] * 3]
        )
    header = ["setting", "adversary", "gain, the map's splits", "gain, other splits", "splits ahead", "p (Holm)"]
    return markdown(header, rows)


def _of_speed(name: str) -> list[str]:
    return speed_tables.TABLES[name](read(f"{name.replace('-', '_')}.jsonl"))


TABLES = {
    "leaderboard": lambda: leaderboard("cfgan-ml100k"),
    "ahead": lambda: ahead("cfgan-ml100k"),
    "coat": lambda: leaderboard("coat-unbiased"),
    "months": lambda: shifts.months(read("shifts.jsonl")),
    "leaderboard-1m": lambda: leaderboard("ml-1m"),
    "ahead-1m": lambda: ahead("ml-1m"),
    "flagship": flagship,
    "map": helps,
    "map-again": again,
    "labels": labels,
    "tuned": tuned,
    "text-cost": text_cost,
    "apr-ml-100k": lambda: apr("ml-100k"),
    "apr-ml-1m": lambda: apr("ml-1m"),
    "adversaries": adversaries,
    "alpha": alpha,
    "collm": collm,
    "cold-items": cold_items,
    "evasion": lambda: robustness_tables.evasion(read("evasion.jsonl"), "cfgan-ml100k"),
    "evasion-ml-100k": lambda: robustness_tables.evasion(read("evasion.jsonl"), "ml-100k"),
    "poisoning": lambda: robustness_tables.poisoning(read("poisoning.jsonl")),
    "explanations": lambda: explanations.table(read("explanations.jsonl")),
    "text-evasion": lambda: text_evasion.table(read("text_evasion.jsonl")[-1]["models"]),
    "cross-domain": lambda: cross_domain.table(read("cross_domain.jsonl")),
    "sequences": lambda: sequences.table(read("sequences.jsonl")),
    "paths": lambda: sequences.table_of_paths(read("sequences.jsonl")),
    "trust": lambda: social.table(read("social.jsonl"), "trust"),
    "friends": lambda: social.table(read("social.jsonl"), "friends"),
    "multimodal": lambda: multimodal.table(read("multimodal.jsonl")),
    "detection": lambda: robustness_tables.detection(read("detection.jsonl")),
    **{name: partial(_of_speed, name) for name in speed_tables.TABLES},
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
