"""The tables of a labels run."""

from rich.console import Group
from rich.table import Table

from gan_rec.experiments.tables import interval, mean_over, new_table, seconds_rows


def labels_table(results: dict) -> Group:
    """The tables of its results.json."""
    return Group(_metrics(results), _tests(results), _attacks(results), _cost(results))


def _over(results: dict) -> str:
    n = len(results["models"]["twin"]["AUC"]["per_seed"])
    return mean_over(n, "seeds" if results["split"] == "one" else "folds")


def _metrics(results: dict) -> Table:
    columns = results["models"] | results["baselines"]
    things = "texts" if results["task"] == "labels" else "ratings"
    title = f"{results['dataset']}: {results[things]:,} {things}; test, {_over(results)}; selected on validation"
    table = new_table(title, "metric", *columns)
    for metric in results["models"]["twin"]:
        table.add_row(metric, *(interval(summary[metric]) for summary in columns.values()))
    table.caption = {
        "texts": "TF-IDF: with logistic regression; thresholds are chosen on validation, but for the majority's",
        "ratings": "UAUC: mean AUC of users with both labels; thresholds are chosen on validation",
    }[things]
    table.caption_justify = "left"
    return table


def _tests(results: dict) -> Table:
    table = new_table("differences of AUC", "", "difference", "95% interval", "p (Holm)")
    for name, test in results["tests"].items():
        difference = "undefined" if test["difference"] is None else f"{test['difference']:+.4f}"
        found = ["undefined"] * 2
        if test["p"] is not None:
            low, high = test["ci95"]
            found = [f"{low:+.4f} to {high:+.4f}", f"{test['p_holm']:.3g}"]
        table.add_row(name, difference, *found)
    table.caption = results["tests_method"]
    table.caption_justify = "left"
    return table


def _attacks(results: dict) -> Table:
    things = "texts" if results["task"] == "labels" else "ratings"
    n = results[f"attacked_{things}"]
    moved = "rows" if results["task"] == "ratings" else "sentence vectors, or states of tokens if layers are trained,"
    title = f"accuracy on {n:,} test {things} when {moved} move by {results['attack_radius']:g} of their length"
    table = new_table(title, "attack", "adversarial", "twin")
    for attack, models in results["under_attack"].items():
        table.add_row(attack, *(interval(models[m]["accuracy"]) for m in ("adversarial", "twin")))
    return table


def _cost(results: dict) -> Table:
    table = new_table("cost", "", "adversarial", "twin")
    seconds_rows(table, results)
    return table
