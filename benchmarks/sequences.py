"""Next items and paths: what order is worth, and what adversaries add, on Amazon Beauty.

    python benchmarks/sequences.py --output benchmarks/results/sequences.jsonl     # hours on two CPU cores
    python benchmarks/sequences.py --part paths
    python benchmarks/sequences.py --smoke                                         # minutes, a circle of 40 items

Part ranking: the last item of every user is test, the one before it validation, and the whole catalogue is ranked. All
is learned from the train part alone, as is usual with this split; at test the histories have the validation item too.
Validation chose the epochs, the numbers of the twin's training, and then each radius. Adversaries are tested against
the twin `sasrec`, paired over users. The 99-negatives metrics of S3-Rec (Zhou et al., CIKM 2020) stand beside as
"sampled", only to compare with that paper.

Part paths: the last five items of users with 8 or more are test. A policy that begins at the twin proposes five items
as a sequence, with a critic or, as its own twin, without one; the baselines are the twin's five best items, and its
best item again and again, each time counted as the user's last. Similarities that coherence is made of are cosines over
the users of the train part.
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from cells import decimals, markdown, paired
from lines import made_with, tell

KS = (5, 10, 20)
TOLD = ("NDCG@5", "HR@5", "NDCG@10", "HR@10", "NDCG@20", "HR@20", "coverage@10")
TESTED = ("NDCG@10", "HR@10")
# Chosen on validation.
SASREC = {
    "recommender": "sasrec", "loss": "sampled-softmax", "negatives": 512, "layers": 1, "length": 30, "dropout": 0.3,
    "learning_rate": 5e-3, "weight_decay": 0.1, "average": 0.8, "epochs": 24, "evaluate_every": 4, "patience": 8,
    "select_on": "NDCG@10", "refit": False,
}  # fmt: skip
TRAINED = {
    "sasrec": {"alpha": 1.0},
    "sasrec+fgm": {"adversary": "fgm", "epsilon": 0.05},
    "sasrec+vat": {"adversary": "vat", "epsilon": 0.1},
    "sasrec+generator": {"adversary": "generator", "epsilon": 0.2},
    "sasrec+fgm on inputs": {"adversary": "fgm", "epsilon": 0.02, "attacked": "inputs"},
    "gru": {"alpha": 1.0, "recommender": "gru", "layers": None},
}
MARKOV = {
    "markov": {},
    "markov, longer": {"reach": 3, "read": 3, "backward": 0.5},
}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    dataset: str = "s3rec-beauty"
    """Name or path."""
    part: Literal["ranking", "paths", "both"] = "both"
    """Which half."""
    models: tuple[str, ...] = tuple(TRAINED)
    """Of the trained ones; the twin sasrec is always there."""
    seeds: int = 3
    """Of everything that is trained."""
    epochs: int = 24
    """The most epochs of a recommender."""
    path_epochs: int = 2
    """The most epochs of a policy."""
    smoke: bool = False
    """A circle of 40 items, two seeds, few epochs."""
    output: Path | None = None
    """A file to add the JSON lines to."""


def main(options: Options) -> None:
    """Train, measure, print."""
    import gan_rec

    common = SASREC | {"seeds": options.seeds, "epochs": options.epochs, "progress": False}
    data = gan_rec.load(options.dataset) if not options.smoke else circle()
    if options.smoke:
        options = dataclasses.replace(options, seeds=2, path_epochs=2)
        common |= {"seeds": 2, "epochs": 4, "evaluate_every": 2, "dim": 16, "batch_size": 128, "negatives": 16}
    about = {"benchmark": "sequences", "dataset": data.name, "made_with": made_with()}

    def say(**line) -> None:
        tell(about | line, options.output)

    if options.part != "paths":
        ranking(gan_rec.split(data, "leave-one-out"), common, options, say)
    if options.part != "ranking":
        paths(gan_rec.split(data, "leave-five-out"), common, options, say)


def circle():
    """Users of 5 to 16 items who walk round a circle of 40 items, with a step to a random place now and then."""
    import numpy as np

    from gan_rec.data import Dataset, Interactions

    rng, pairs = np.random.default_rng(0), []
    for user in range(200):
        walk = (rng.integers(40) + np.cumsum(np.where(rng.random(5 + user % 12) < 0.9, 1, 2))) % 40
        pairs += [(user, item, place) for place, item in enumerate(walk)]
    users, items, times = np.array(pairs).T
    whole = Interactions(users.astype(np.int32), items.astype(np.int32), np.arange(200), np.arange(40), times=times)
    return Dataset("circle", {"all": whole}, (), None, "0" * 64)


def ranking(split, common: dict, options: Options, say) -> None:
    """Rank the catalogue by everything there is."""
    import jax

    import gan_rec
    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.evaluate import evaluate_ranking
    from gan_rec.evaluation.sampled import evaluate_sampled
    from gan_rec.evaluation.significance import holm, paired_test
    from gan_rec.recommenders.baselines import Markov
    from gan_rec.recommenders.popularity import Popularity

    known, n_sampled = split.train_and_valid(), 99 if not options.smoke else 10
    seen, found, tests = to_device(known), {}, []

    def measure(name: str, recommenders, validation: dict, began: float, **more) -> None:
        test = found[name] = evaluate_ranking(recommenders, seen, split.open_test(), KS)
        sampled = evaluate_sampled(recommenders, seen, split.open_test(), (5, 10), n=n_sampled)
        own = {metric: test.summary()[metric] for metric in TOLD} | sampled.summary()
        against = {
            rival: {metric: paired_test(test.per_user[metric], found[rival].per_user[metric]) for metric in TESTED}
            for rival in ("sasrec", "markov, longer")
            if rival in found and rival != name and name in TRAINED
        }
        seconds = time.perf_counter() - began
        say(part="ranking", model=name, validation=validation, test=own, against=against, seconds=seconds, **more)
        tests.extend(
            {"model": name, "against": rival, "metric": metric, "p": test["p"]}
            for rival, by_metric in against.items()
            for metric, test in by_metric.items()
        )

    def closed(name: str, fit) -> None:
        began = time.perf_counter()
        fitted = jax.tree.map(lambda x: x[None], fit(split.train))
        on_valid = evaluate_ranking(fitted, to_device(split.train), split.valid, KS)
        measure(name, fitted, {metric: on_valid.summary()[metric] for metric in TOLD}, began)

    closed("popularity", Popularity)
    for name, how in MARKOV.items():
        closed(name, lambda pairs, how=how: Markov(**how).fit(pairs))
    for name in ["sasrec", *(each for each in options.models if each != "sasrec")]:
        began, how = time.perf_counter(), common | TRAINED[name]
        fitted = gan_rec.fit(split, **how)
        on_valid = gan_rec.evaluate(fitted, "validation", KS).summary()
        settings = {key: value for key, value in how.items() if key != "progress"}
        measure(
            name, fitted.weights.final.recommender, {metric: on_valid[metric] for metric in TOLD}, began,
            settings=settings, epochs=fitted.chosen_epochs,
            seconds_per_epoch_and_seed=float(fitted.history["seconds"].median()),
        )  # fmt: skip
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        say(part="ranking", test=test | {"p_holm": p})


def paths(split, common: dict, options: Options, say) -> None:
    """Propose five items as a sequence."""
    from dataclasses import replace

    import numpy as np

    import gan_rec
    from gan_rec.evaluation.paths import coherence, repeated_paths
    from gan_rec.evaluation.ranking import top_items
    from gan_rec.evaluation.significance import holm, over_users, paired_test
    from gan_rec.experiments.paths import BUDGET, cosines, fit_paths, measure_paths, true_paths
    from gan_rec.games.paths import PathGame

    began, found = time.perf_counter(), {}
    twin = gan_rec.fit(split, alpha=1.0, **common)
    recommenders = twin.weights.selected.recommender

    def best(recommenders, seen, users, k):
        return top_items(recommenders, seen, users, k)[0]

    def measure(name: str, policies, paths_of=None, **more) -> None:
        how = {} if paths_of is None else {"paths_of": paths_of}
        parts = {on: measure_paths(split, policies, on=on, **how) for on in ("validation", "test")}
        found[name] = parts["test"].per_user
        own = {
            on: {metric: over_users(part.per_user[metric]) for metric in ("R@5", "NDCG@5", "HR@5", "coherence")}
            for on, part in parts.items()
        }
        say(part="paths", model=name, **own, seconds=time.perf_counter() - began, **more)

    measure("top 5 of sasrec", recommenders, best, epochs=twin.chosen_epochs)
    measure("sasrec, item by item", recommenders, repeated_paths)
    for name, alpha in {"paths without critic": 1.0, "paths with critic": 0.9}.items():
        began = time.perf_counter()
        fitted = fit_paths(twin, PathGame(alpha=alpha), budget=replace(BUDGET, epochs=options.path_epochs))
        measure(name, fitted.policies, epochs=fitted.epochs, alpha=alpha)
    truth = split.open_test()
    users = np.unique(truth.users)
    last = true_paths(split.train_and_valid(), users, 1)[0, :, 0]
    real = coherence(true_paths(truth, users, 5), last, cosines(split.train))
    say(part="paths", model="what the users had", test={"coherence": over_users(real)})
    pairs = [(a, b) for n, a in enumerate(found) for b in list(found)[:n]]
    tests = [
        {"model": a, "against": b, "metric": metric} | paired_test(found[a][metric], found[b][metric])
        for metric in ("R@5", "coherence")
        for a, b in pairs
    ]
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        say(part="paths", test=test | {"p_holm": p})


def table(found: list[dict]) -> list[str]:
    """What ranks next items, as Markdown."""
    cells = []
    for each in (line for line in found if line["part"] == "ranking" and "model" in line):
        own = [decimals(each["test"][metric]["mean"]) for metric in ("NDCG@10", "HR@10", "sampled HR@10")]
        tests = [each.get("against", {}).get(rival, {}).get("NDCG@10") for rival in ("markov, longer", "sasrec")]
        differences = [f"{decimals(test['difference'], sign='+')} ({test['p']:.2g})" if test else "" for test in tests]
        radius = each.get("settings", {}).get("epsilon")
        name = f"`{each['model']}`" + ("" if radius is None else f", radius {decimals(radius, 2)}")
        cells.append((name, *own, *differences))
    header = (
        "model",
        "NDCG@10",
        "HR@10",
        "HR@10 among 99 sampled",
        "against `markov, longer` (p)",
        "against `sasrec` (p)",
    )
    return markdown(header, cells)


def table_of_paths(found: list[dict]) -> list[str]:
    """What proposes paths, as Markdown."""
    lines = [line for line in found if line["part"] == "paths"]
    tests = {
        line["test"]["model"]: line["test"]
        for line in lines
        if "model" not in line and (line["test"]["metric"], line["test"]["against"]) == ("R@5", "top 5 of sasrec")
    }
    cells = []
    for each in (line for line in lines if "model" in line):
        own = [
            decimals(each["test"][metric]["mean"]) if metric in each["test"] else ""
            for metric in ("R@5", "NDCG@5", "coherence")
        ]
        test = tests.get(each["model"])
        cells.append((each["model"], *own, paired(test) if test else ""))
    return markdown(("path of 5 items", "R@5", "NDCG@5", "coherence", "R@5 against the top 5 (p)"), cells)


if __name__ == "__main__":
    main(tyro.cli(Options))
