"""A comparison as a table."""

import html

import pandas as pd

from gan_rec.experiments.tables import interval

_COMPILING = "this_session_compilation_seconds"  # which comparisons of earlier versions do not have


class Leaderboard(dict):
    """The results of a comparison, which Jupyter shows as a table."""

    def _repr_html_(self) -> str:
        metric, rows = self["metric"], []
        for name in table(self)["model"]:
            model, tests = self["models"][name], {}
            for against, of_twin in ((f"against {self['best_baseline']}", False), ("against its twin", True)):
                test = _test(name, self, of_twin)
                tests[against] = f"{test['difference']:+.4f} (p {test['p_holm']:.2g})" if test else ""
            low, high = model["over_users"]["ci95"]
            row = {"model": name, metric: interval(model["test"][metric]), "95% over users": f"{low:.4f} to {high:.4f}"}
            rows.append(row | tests | {"seconds": f"{model['total_seconds']:.0f}"})
        about = f"<b>{html.escape(self['dataset'])}</b>, {html.escape(self['split'])} split, test"
        return about + pd.DataFrame(rows).to_html(index=False)


def table(results: dict) -> pd.DataFrame:
    """A row for each model, the best first.

    Columns: the metric's mean, 95% interval over seeds (where there are several) and over users; the difference from
    the best baseline ("baseline") and from the twin with its interval, Holm-corrected p and effect size; every other
    metric's mean; validation, trials, seconds, those of compilation and peak memory.
    """
    rows = [_row(name, results) for name in results["models"]]
    frame = pd.DataFrame(rows).sort_values(results["metric"], ascending=False, kind="stable")
    return frame.reset_index(drop=True)


def _row(name: str, results: dict) -> dict:
    model, metric = results["models"][name], results["metric"]
    of_seeds = model["test"][metric]["ci95"] or [None, None]
    of_users = model["over_users"]["ci95"]
    row = {"model": name, metric: model["test"][metric]["mean"]}
    row |= {"seeds": len(model["seeds"]), "seeds low": of_seeds[0], "seeds high": of_seeds[1]}
    row |= {"users low": of_users[0], "users high": of_users[1]}
    for column, test in (("baseline", _test(name, results, False)), ("twin", _test(name, results, True))):
        row |= {f"against {column}": test and test["against"]}
        row |= {f"{column} {key}": test and test[key] for key in ("difference", "p_holm", "effect")}
    row |= {other: summary["mean"] for other, summary in model["test"].items() if other != metric}
    row |= {"validation": model["score"], "trials": sum(model["trials"].values())}
    compiling = model.get(_COMPILING)
    return row | {"seconds": model["total_seconds"], "compiling": compiling, "peak MiB": model["peak_memory_mib"]}


def _test(name: str, results: dict, of_twin: bool) -> dict | None:
    """The test of a model against its twin, or against the best baseline."""
    rival = name.partition("+")[0] if of_twin else results["best_baseline"]
    for test in results["tests"]:
        if (test["model"], test["against"]) == (name, rival):
            return test
    return None


def markdown(results: dict) -> str:
    """The table for people, with what it says in words below it."""
    metric = results["metric"]
    k = metric.partition("@")[2]
    others = [name for name in (f"P@{k}", f"R@{k}", f"MRR@{k}", f"coverage@{k}") if name != metric]
    best = results["best_baseline"] if any(_test(name, results, False) for name in results["models"]) else None
    twins = any(_test(name, results, True) for name in results["models"])
    columns = ["model", metric, "95% over users", *others]
    columns += [f"against {best}", "p (Holm)", "effect"] if best else []
    columns += ["against its twin", "p (Holm)", "effect"] if twins else []
    columns += ["validation", "trials", "seconds", "compiling", "MiB"]
    lines = [f"# {results['dataset']}", "", _line(columns), _line(["---"] * len(columns))]
    for name in table(results)["model"]:
        model = results["models"][name]
        low, high = model["over_users"]["ci95"]
        cells = [name, interval(model["test"][metric]), f"{low:.4f} to {high:.4f}"]
        cells += [f"{model['test'][other]['mean']:.4f}" for other in others]
        cells += _difference(_test(name, results, False)) if best else []
        cells += _difference(_test(name, results, True)) if twins else []
        cells += [f"{model['score']:.4f}", str(sum(model["trials"].values())), f"{model['total_seconds']:.0f}"]
        cells.append(f"{model[_COMPILING]:.0f}" if _COMPILING in model else "")
        lines.append(_line([*cells, f"{model['peak_memory_mib']:.0f}"]))
    return "\n".join([*lines, "", *_words(results), ""])


def _words(results: dict) -> list[str]:
    tested = [f"* {results['tests_method']}."] if results["tests"] else []
    if others := _other_baselines(results):
        tested.append(f"* {results['best_model']} against the other baselines: {others}.")
    return [
        *(f"* Not possible: {name}: {reason}." for name, reason in results["not_possible"].items()),
        f"* Test, {results['split']} split, full ranking. Tuned on validation with at most {results['trials']} trials "
        "for each model, its defaults first; then fitted on train + validation. Test was read once, after all models.",
        f"* ±: 95% interval over {results['seeds']} seeds, of models that have randomness.",
        *tested,
        "* Seconds: tuning and refit of all seeds, with compilation. Compiling: what of them compilation took, in the "
        "last session; a program that several models share counts for the first of them. MiB: peak memory of the "
        "process meanwhile.",
    ]


def _other_baselines(results: dict) -> str:
    """The best model by validation against all baselines but the best, in words."""
    first, best = results.get("best_model"), results["best_baseline"]
    tests = [test for test in results["tests"] if test["model"] == first and test["against"] not in (best, first)]
    plain = [test for test in tests if not first.startswith(f"{test['against']}+")]
    return "; ".join(f"{test['against']} {test['difference']:+.4f} (p {test['p_holm']:.2g})" for test in plain)


def _difference(test: dict | None) -> list[str]:
    if test is None:
        return [""] * 3
    effect = "infinite" if test["effect"] is None else f"{test['effect']:+.2f}"
    return [f"{test['difference']:+.4f}", f"{test['p_holm']:.2g}", effect]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
