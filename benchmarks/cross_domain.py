"""What a second domain is worth, and whether a critic can tell what either says of a user: Amazon Clothing and Sports.

    python benchmarks/cross_domain.py --output benchmarks/results/cross_domain.jsonl    # some hours on two CPU cores
    python benchmarks/cross_domain.py both distinct --seeds 1 --smoke                   # a made-up world, minutes
    python benchmarks/cross_domain.py --table

Two data sets: as published (Cao et al., SIGIR 2022), and without the products that both domains list. Of these,
a fifth of all test items, the same users have the other listing among their train items of the other domain, so that
finding it there is all that a joint model needs to do.

both: users with a history in either domain. The model against its critic, its twin without one, and the single-domain
model: the same of one domain, of the same size. All that is trained learns from the train part alone; at test histories
have the validation pairs too. EASE of one domain and of both joined as one matrix is solved over the users, of whom
there are fewer than items, at the ridge that it has here, and learns from both parts.
new: two fifths of the users have nothing of the target domain in train; half of them are tested there.
The probe is a critic trained afresh on frozen rows, measured on users whom it has not seen; chance is .5. Metrics named
"sampled" rank among 999 items drawn at random, as the source does; nothing is chosen by them.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from cells import decimals, markdown
from lines import made_with, tell

RESULTS = Path(__file__).parent / "results" / "cross_domain.jsonl"
METRICS, KS = ("NDCG@10", "HR@10"), (10,)
# Chosen on validation with seed 0, from a handful of values.
COMMON = {
    "game": "domain", "recommender": "cross-domain", "epochs": 6, "evaluate_every": 6, "patience": 6,
    "select_on": "NDCG@10", "refit": False, "seeds": 1,
}  # fmt: skip
CRITIC, TWIN = {"alpha": 0.5, "adversary_steps": 5}, {"alpha": 1.0}
RIDGE = 20.0


@dataclass(frozen=True)
class Options:
    """What to measure."""

    what: Annotated[tuple[Literal["both", "new", "published", "distinct", "baselines"], ...], tyro.conf.Positional] = (
        "both", "new", "published", "distinct", "baselines",
    )  # fmt: skip
    """Parts, and data sets."""
    seeds: int = 3
    """Training seeds."""
    output: Path | None = None
    """A file that gets the lines."""
    smoke: bool = False
    """A made-up world, two epochs."""
    table: bool = False
    """Print the table of what has been measured before."""


def main(options: Options) -> None:
    """Train, measure, print."""
    if options.table:
        print("\n".join(table([json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()])))
        return
    import gan_rec

    for name in ("published", "distinct"):
        if name not in options.what:
            continue
        data = made_up() if options.smoke else gan_rec.load("disencdr-cloth-sport", distinct=name == "distinct")
        split = gan_rec.split(data)
        about = {"benchmark": "cross_domain", "data": name, "made_with": made_with()}

        def say(about=about, **line) -> None:
            tell(about | line, options.output)

        if "both" in options.what:
            both(split, options, say, sampled=name == "published")
        if "baselines" in options.what:
            baselines(split, say)
        if "new" in options.what:
            new_users(split, options, say)


def made_up():
    """Users of two groups who like items of their own group in both domains."""
    import tempfile

    import gan_rec

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for domain in ("cloth", "sport"):
            own = Path(folder) / domain
            own.mkdir()
            rows = [(u, i) for u in range(120) for i in rng.permutation(40)[:14] if (u + i) % 2 == 0]
            first = np.diff([u for u, _ in rows], prepend=-1) > 0
            for part, chosen in (("test", first), ("train", ~first)):
                lines = (f"{u}\t{i}\t1\n" for (u, i), own_part in zip(rows, chosen, strict=True) if own_part)
                (own / f"{part}.txt").write_text("".join(lines))
        return gan_rec.load(folder)


def fit(split, options: Options, seed: int, **how):
    """Weights of one seed, with a leading axis of 1, and the seconds."""
    import gan_rec

    began = time.perf_counter()
    # The number of epochs stands, so that validation has nothing to choose here: a few users keep the time down.
    split = replace(split, valid=split.valid.select(np.arange(min(len(split.valid), 200))))
    how = COMMON | how | ({"epochs": 2, "batch_size": 256, "negatives": 32} if options.smoke else {})
    fitted = gan_rec.fit(split, seed=seed, progress=False, **how)
    return fitted.weights.final.recommender, time.perf_counter() - began


def seeds_of(evaluations: list):
    """One evaluation with all seeds of evaluations of one seed each."""
    from gan_rec.evaluation.evaluate import Evaluation

    first = evaluations[0]
    per_user = {name: np.concatenate([each.per_user[name] for each in evaluations]) for name in first.per_user}
    return Evaluation(first.users, per_user, {})


def measured(recommenders: list, known, truth, ks=KS):
    """Of all seeds, one after the other."""
    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.evaluate import evaluate_ranking

    seen = to_device(known)
    return seeds_of([evaluate_ranking(each, seen, truth, ks) for each in recommenders])


def both(split, options: Options, say, sampled: bool) -> None:
    """Users with a history in either domain."""
    from gan_rec.data import towards
    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.domains import domain_accuracy
    from gan_rec.evaluation.sampled import evaluate_sampled
    from gan_rec.evaluation.significance import holm, paired_test, summary

    names = split.side_information.item_domains.names
    joint, found, tests = {"critic": CRITIC, "twin": TWIN}, {}, []
    weights = {name: [fit(split, options, seed, **how) for seed in range(options.seeds)] for name, how in joint.items()}
    for name, own in weights.items():
        accuracy = np.concatenate([domain_accuracy(each, to_device(split.train)) for each, _ in own])
        say(part="both", model=name, probe=summary(accuracy), seconds=[seconds for _, seconds in own])
    for target in names:
        cut, single = towards(split, target), towards(split, target, alone=True)
        alone = [fit(single, options, seed, **TWIN) for seed in range(options.seeds)]
        for name, own, known in (
            *((name, own, cut.train_and_valid()) for name, own in weights.items()),
            ("single", alone, single.train_and_valid()),
        ):
            recommenders = [each for each, _ in own]
            test = found[name] = measured(recommenders, known, cut.open_test())
            line = {metric: summary(test.per_seed(metric)) for metric in METRICS}
            if sampled and not options.smoke:
                seen = to_device(known)
                among = seeds_of([evaluate_sampled(e, seen, cut.open_test(), (10,), n=999) for e in recommenders])
                line |= among.summary()
            say(part="both", target=target, model=name, test=line)
        for first, second in (("critic", "single"), ("twin", "single"), ("critic", "twin")):
            for metric in METRICS:
                test = paired_test(found[first].per_user[metric], found[second].per_user[metric])
                tests.append({"target": target, "model": first, "against": second, "metric": metric} | test)
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        say(part="both", test=test | {"p_holm": p})


def new_users(split, options: Options, say) -> None:
    """Users who have nothing of the target domain yet."""
    from gan_rec.data import towards
    from gan_rec.evaluation.significance import paired_test, summary
    from gan_rec.recommenders.popularity import Popularity

    for target in split.side_information.item_domains.names:
        cut, single = (towards(split, target, newcomers=0.4, alone=alone) for alone in (False, True))
        own = {
            "critic": ([fit(cut, options, seed, **CRITIC)[0] for seed in range(options.seeds)], cut),
            "twin": ([fit(cut, options, seed, **TWIN)[0] for seed in range(options.seeds)], cut),
            "single": ([fit(single, options, seed, **TWIN)[0] for seed in range(options.seeds)], single),
            "popularity": ([_stacked(Popularity(single.train_and_valid()))], single),
        }
        found = {}
        for name, (recommenders, of) in own.items():
            found[name] = measured(recommenders, of.train_and_valid(), cut.open_test())
            line = {metric: summary(found[name].per_seed(metric)) for metric in METRICS}
            say(part="new", target=target, model=name, test=line)
        for name in ("critic", "twin"):
            for against in ("single", "popularity", "twin"):
                if name != against:
                    test = paired_test(found[name].per_user["NDCG@10"], found[against].per_user["NDCG@10"])
                    say(part="new", test={"target": target, "model": name, "against": against} | test)


def _stacked(recommender):
    import jax

    return jax.tree.map(lambda x: x[None], recommender)


def baselines(split, say) -> None:
    """Popularity, and EASE of one domain and of both."""
    from gan_rec.data import towards
    from gan_rec.evaluation.significance import summary
    from gan_rec.recommenders.popularity import Popularity

    joint = ease_over_users(split.train_and_valid())
    for target in split.side_information.item_domains.names:
        cut = towards(split, target, alone=True)
        known, truth = cut.train_and_valid(), cut.open_test()
        found = {
            "popularity": measured([_stacked(Popularity(known))], known, truth),
            "EASE, one domain": ranked_by(ease_over_users(known), known, truth),
            "EASE, both as one matrix": ranked_by(joint, split.train_and_valid(), truth),
        }
        for name, test in found.items():
            say(part="baselines", target=target, model=name, ridge=RIDGE,
                test={metric: summary(test.per_seed(metric)) for metric in METRICS})  # fmt: skip


def ease_over_users(pairs):
    """Users' and items' factors of EASE (Steck, WWW 2019), solved over users: scores are -(K X) / diag P, K = X X' + l.

    By Woodbury's identity P = (X' X + l I)^-1 is (I - X' K^-1 X) / l, so that X P = K^-1 X; what a user has is masked.
    """
    import scipy.linalg
    import scipy.sparse

    ones = np.ones(len(pairs), np.float32)
    x = scipy.sparse.csr_matrix((ones, (pairs.users, pairs.items)), (pairs.n_users, pairs.n_items))
    kernel = (x @ x.T).toarray().astype(np.float32)
    kernel[np.diag_indices(len(kernel))] += RIDGE
    inverse = scipy.linalg.cho_solve(
        scipy.linalg.cho_factor(kernel, overwrite_a=True), np.eye(len(kernel), dtype=np.float32), overwrite_b=True
    )
    diagonal = (1 - np.asarray(x.T.multiply(x.T @ inverse).sum(axis=1)).ravel()) / RIDGE
    return inverse, scipy.sparse.csr_matrix(x.multiply(-1 / diagonal)).T.tocsr()


def ranked_by(factors, known, truth, chunk: int = 500):
    """The evaluation of lists by such factors."""
    import scipy.sparse

    from gan_rec.evaluation.evaluate import evaluate_lists

    inverse, items = factors
    ranked = np.flatnonzero(truth.candidates)
    users, place = np.unique(truth.users), np.full(truth.n_items, -1)
    place[ranked] = np.arange(len(ranked))
    seen = scipy.sparse.csr_matrix(
        (np.ones(len(known), bool), (known.users, known.items)), (known.n_users, known.n_items)
    )
    columns, lists, values = items[ranked], [], []
    for start in range(0, len(users), chunk):
        some = users[start : start + chunk]
        scores = (columns @ inverse[some].T).T
        scores[seen[some][:, ranked].nonzero()] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, : max(KS)]
        lists.append(ranked[best])
        values.append(np.take_along_axis(scores, best, axis=1))
    return evaluate_lists(users, np.concatenate(lists)[None], np.concatenate(values)[None], truth, KS)


LABELS = {
    "critic": "`cross-domain` against `domain-critic`",
    "twin": "`cross-domain` alone",
    "single": "one domain alone",
}


def table(lines: list[dict]) -> list[str]:
    """For README.md: a row for each model of which both domains are measured."""
    models = {(line["data"], line["part"], line["model"]): {} for line in lines if "target" in line}
    gains: dict[tuple, dict] = {key: {} for key in models}
    probes = {(line["data"], line["model"]): line["probe"]["mean"] for line in lines if "probe" in line}
    for line in lines:
        key = line["data"], line["part"]
        if "target" in line:
            models[*key, line["model"]][line["target"]] = line["test"]
        elif "against" in line.get("test", {}):
            test = line["test"]
            if test["against"] == "single" and test.get("metric", METRICS[0]) == METRICS[0]:
                gains.setdefault((*key, test["model"]), {})[test["target"]] = test
    rows = []
    for (data, part, model), own in sorted(models.items(), key=lambda item: _ORDER.index(item[0][:2])):
        if len(own) == 2:
            accuracy = probes.get((data, model)) if part == "both" else None
            rows.append([
                f"{data}, {'new to the domain' if part == 'new' else 'all'}", LABELS.get(model, model),
                *(", ".join(decimals(test[metric]["mean"]) for metric in METRICS) for test in own.values()),
                ", ".join(_gain(test) for test in gains.get((data, part, model), {}).values()),
                "" if accuracy is None else decimals(accuracy, 3),
            ])  # fmt: skip
    shown = ", ".join(METRICS)
    return markdown(
        ["data, users", "model", f"cloth: {shown}", f"sport: {shown}", "over one domain (p): cloth, sport", "probe"],
        rows,
    )


_ORDER = [(data, part) for data in ("published", "distinct") for part in ("both", "baselines", "new")]


def _gain(test: dict) -> str:
    """Difference in NDCG@10, and the chance of none, by Holm over the tests of a part that has several."""
    p = test.get("p_holm", test["p"])
    return f"{decimals(test['difference'], sign='+')} ({f'{p:.0e}' if p < 0.01 else f'{p:.2f}'})".replace("e-0", "e-")


if __name__ == "__main__":
    main(tyro.cli(Options))
