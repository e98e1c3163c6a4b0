"""The sections of a run's robustness card."""

import pandas as pd

from gan_rec import plot
from gan_rec.errors import UserError
from gan_rec.evaluation.significance import summary
from gan_rec.experiments.card import Section
from gan_rec.experiments.certified import certified_accuracy
from gan_rec.experiments.evasion import Evasion
from gan_rec.experiments.evasion_report import certified_figure
from gan_rec.experiments.faithfulness import deletion
from gan_rec.experiments.fitting import Fitted
from gan_rec.experiments.tables import interval


def facts(models: dict[str, Fitted], directory: str, on: str) -> dict[str, str]:
    """What a card is about, by name."""
    some = models["adversarial"].settings
    split = models["adversarial"].split
    return {
        "run": directory,
        "recommender": f"{some.recommender}, game {some.game}, seeds {some.seeds}",
        "adversary": f"{some.adversary}, epsilon {some.epsilon}, alpha {some.alpha}",
        "twin": "the same without the adversary",
        "data": f"{split.train.n_users:,} users, {split.train.n_items:,} items, {split.method} split",
        "measured on": on,
    }


def evasion_section(evasion: Evasion) -> Section:
    """Damage curves, areas and transfer."""
    metric = evasion.metric
    tables = {
        f"{metric} by radius, mean over seeds": wide(evasion.curves, ["model", "attack"], "radius", metric),
        f"share of the clean {metric} that is lost, mean over radii ± 95% interval over seeds": _areas(evasion),
    }
    if not evasion.transfer.empty:
        title = f"{metric} when PGD's steps come from another model, by radius"
        tables[title] = wide(evasion.transfer, ["model", "made on"], "radius", metric)
    return Section(
        "Evasion",
        "User and item rows move by a share of their length, the way that an attack finds. Random search uses no "
        "gradient: a gradient attack that does less has failed, and says nothing of the model.",
        tables,
        {"damage curves": plot.if_possible(plot.damage, evasion)},
        evasion.notes,
        evasion.broken(),
    )


def _areas(evasion: Evasion) -> pd.DataFrame:
    areas, ratios = evasion.areas(), evasion.ratios()
    rows = []
    for attack, of in areas.groupby("attack", sort=False):
        row = {"attack": attack}
        for model, own in of.groupby("model", sort=False):
            row[model] = interval(summary(own["area"].to_numpy()))
        ratio = interval(ratios[attack]) if attack in ratios else ""
        rows.append(row | ({"twin over adversarial": ratio} if evasion.has_both else {}))
    return pd.DataFrame(rows)


def certified_section(radii: pd.DataFrame) -> Section:
    """Exact radii."""
    accuracy = certified_accuracy(radii)
    medians = radii.groupby(["rows", "k", "model"], sort=False)["radius"].median().reset_index()
    return Section(
        "Certificates",
        "Within its certified radius no perturbation at all changes a user's first item (K = 1), or the set of the K "
        "best. Certified accuracy: the share of users with a hit that no attack of a radius can take away.",
        {
            "median certified radius": wide(medians, ["rows", "k"], "model", "radius"),
            "certified accuracy by radius, mean over seeds": wide(
                accuracy, ["model", "rows", "k"], "radius", "accuracy"
            ),
        },
        {"certified accuracy": certified_figure(radii)},
    )


def shifts_section(differences: pd.DataFrame) -> Section:
    """Natural shifts, see `gan_rec.experiments.natural.natural_shifts`."""
    return Section(
        "Natural shifts",
        "The same models on data that have changed by themselves: drops and misclicks are shares of each history, new "
        "users have as many items, popularity counts so many held-out pairs of an item. Differences are adversarial "
        "minus twin, with their 95% interval over users and Holm's p over all rows.",
        {"NDCG": _compared(differences, ["shift", "strength"])},
    )


def compression_section(differences: pd.DataFrame) -> Section:
    """Compressed models, see `gan_rec.experiments.compressing.compressed`."""
    return Section(
        "Compression",
        "Both models with rows of 8 bits, with a share of their weights set to 0, with scores of low rank, and as a "
        "student that learned from them, clean and attacked by whoever knows the compressed model.",
        {"NDCG": _compared(differences, ["kind", "strength", "attack", "radius"])},
    )


def deletion_section(fitted: Fitted) -> Section:
    """Faithfulness of explanations, see `gan_rec.experiments.faithfulness.deletion`."""
    try:
        found = deletion(fitted)
        shown = {
            "tables": {"area under the deletion curve; differences with Holm's p": found.table},
            "figures": {"deletion curves": plot.if_possible(found.plot)},
        }
    except UserError as error:  # of a recommender that knows users by their ids
        shown = {"notes": [str(error)]}
    return Section(
        "Explanations",
        "Items of the history are taken out in the order of an explanation: the sooner score and rank of the first "
        "recommendation fall, the more faithful it is. The area under that curve, beside random order and popularity.",
        **shown,
    )


def detection_section(table: pd.DataFrame) -> Section:
    """Detection of simulated fake profiles, see `gan_rec.experiments.detecting.measure_run`."""
    return Section(
        "Detection",
        "Fake profiles put into the data on purpose, of kinds that a detector has not learned from; and how many real "
        "users are flagged in clean data.",
        {"ROC AUC, precision at the true count, and false alarms": table},
    )


def _compared(differences: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """What people read of the differences of cells."""
    frame = differences[[*keys, "adversarial", "twin", "difference"]].copy()
    low, high = differences["users low"], differences["users high"]
    frame["95% interval"] = [f"{a:+.4f} to {b:+.4f}" for a, b in zip(low, high, strict=True)]
    return frame.assign(**{"p (Holm)": differences["p (Holm)"]})


def wide(frame: pd.DataFrame, keys: list[str], columns: str, value: str) -> pd.DataFrame:
    """Means of a value, with a column for each entry of `columns`, rows in their first order."""
    means = frame.groupby([*keys, columns], sort=False)[value].mean().unstack(columns)
    numbers = pd.api.types.is_numeric_dtype(means.columns)
    means = means[sorted(means.columns)] if numbers else means
    means.columns = [f"{name:g}" if numbers else str(name) for name in means.columns]
    return means.reset_index()
