"""Where does an adversary help accuracy? Settings x adversaries, each against an equally tuned twin.

    python benchmarks/map.py --output benchmarks/results/map.jsonl           # all; goes on where it was stopped
    python benchmarks/map.py --settings "item side" "unbiased" --adversaries fgm noise --first 5 --splits 10
    python benchmarks/map.py --estimate                                      # how long all of it would take
    python benchmarks/map.py --render --output benchmarks/results/map.jsonl --figure map.png
    python benchmarks/map.py --smoke                                         # a made-up world, a minute or two

Two processes with half of the settings each, on a core each (`XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0
...`), are faster than one on two cores, and may write to one file.

On every split both models see fifteen configurations and read validation only. The first ten are the same, and without
the adversary: three weight decays, two other learning rates, then finer steps of both; each step starts from the best
so far. From there the twin goes on to still finer weight decays and learning rates and half the weight decay, the
adversarial model to two radii x two weights of the losses and half the weight decay. So a gain is
not one of learning rates that only one of them saw. The adversarial model is chosen among its last five, in which there
was an adversary, the twin among all fifteen: a gain close to zero is rather told too low than too high.
What plays another game than the embedding game
(`vector-critic`: CFGAN; `hardness`: AdvInfoNCE, with matrix factorisation) has a twin of its own, tuned alike. The
epoch is chosen on validation too, nothing is refitted, and the chosen model reads test once. The gain of a cell is the
mean over splits of the paired difference in NDCG@20, with its 95% t-interval; p by a paired t-test over splits, and
over users (each user's difference averaged over the splits). `noise` is the control: a perturbation that nobody chose.
`patient-generator` is the generator with five steps to each of the recommender's, small radii, and with or without a
warm-up; `small-fgm` is FGM at radii of .01 and .02.
A JSON line for each cell, in the order of the settings; of a setting that is not finished the twin is tuned again.
"""

import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import map_settings
import map_table
import numpy as np
import tyro

METRIC, K = "NDCG@20", 20
PLAN = 2  # of tuning; cells of another plan are measured again
SELECT = {"epochs": 60, "patience": 10, "evaluate_every": 5, "refit": False}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    settings: tuple[str, ...] = ()
    """Which (default: all)."""
    adversaries: tuple[str, ...] = ()
    """Which of generator, gradient-generator, fgm, free, kl-dro, noise, patient-generator, small-fgm, vector-critic,
    hardness (default: all)."""
    splits: int = 5
    """How many splits."""
    first: int = 0
    """Seed of the first; to see whether a gain is there on splits that had no part in finding it."""
    output: Path | None = None
    """A file to add the JSON lines to; cells that stand in it are not measured again."""
    render: bool = False
    """Measure nothing: print the table of what stands in the file."""
    figure: Path | None = None
    """Where to draw the heat map (PNG)."""
    estimate: bool = False
    """Train some epochs for each cell, and say how long all would take."""
    smoke: bool = False
    """A made-up world, two splits, few epochs."""

    @property
    def split_seeds(self) -> range:
        """Of all splits."""
        return range(self.first, self.first + self.splits)


Config = dict[str, Any]
Plan = Callable[[Config], list[Config]]  # the best configuration so far -> those to be tried next


def scaled(best: Config, factors: dict[str, float]) -> Config:
    """A configuration with some of its values multiplied."""
    return best | {name: best[name] * factor for name, factor in factors.items()}


def grid(**factors: tuple[float, ...]) -> Plan:
    """All combinations of factors."""
    each = [dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values())]
    return lambda best: [scaled(best, own) for own in each]


def values(**options: tuple) -> Plan:
    """All combinations of values; the adversary joins."""
    each = [dict(zip(options, chosen, strict=True)) for chosen in itertools.product(*options.values())]
    return lambda best: [best | {"alpha": 0.5} | own for own in each]


_DECAY = grid(weight_decay=(0.5,))  # an adversary may do a part of its work
_BALL = (values(epsilon=(0.05, 0.2), alpha=(0.3, 0.7)), _DECAY)
_SMALL = (values(epsilon=(0.01, 0.02), alpha=(0.3, 0.6)), _DECAY)
_LEARNED = (values(epsilon=(0.05, 0.2), alpha=(0.3, 0.7), moves=("simultaneous",)), _DECAY)
# Small radii, more steps of the generator, and a recommender that has learned something before it begins.
_PATIENT = (values(adversary_steps=(5,), epsilon=(0.01, 0.1), warm_up=(0, 15)), _DECAY)


@dataclass(frozen=True)
class Family:
    """Adversaries that have a twin in common.

    Args:
        options: of the game.
        first: what both models begin with, without the adversary.
        twin: how the twin goes on, in five configurations.
        adversaries: how the models against each of them go on, in as many.
        only: settings in which they play; in others they cannot, or cost too much. None: all.
    """

    options: Config
    first: tuple[Plan, ...]
    twin: tuple[Plan, ...]
    adversaries: dict[str, tuple[Plan, ...]]
    only: tuple[str, ...] | None = None


_FINER = grid(weight_decay=(0.6, 1.7)), grid(learning_rate=(0.7, 1.4)), grid(weight_decay=(0.8,))
_FIRST = grid(weight_decay=(1 / 3, 1.0, 3.0)), grid(learning_rate=(0.5, 2.0)), *_FINER
_TWIN = grid(weight_decay=(0.85, 1.2)), grid(learning_rate=(0.85, 1.2)), _DECAY
FAMILIES = {
    "embedding": Family(
        {"game": "embedding"},
        _FIRST,
        _TWIN,
        {
            "generator": _LEARNED, "gradient-generator": _LEARNED, "patient-generator": _PATIENT, "fgm": _BALL,
            "free": (values(epsilon=(0.02, 0.05, 0.1, 0.2)), _DECAY),
            "kl-dro": (values(epsilon=(0.05, 0.5), alpha=(0.3, 0.7)), _DECAY),
            "small-fgm": _SMALL, "noise": _BALL,
        },
    ),
    "cfgan": Family(
        {"game": "cfgan", "recommender": "autoencoder", "learning_rate": 2e-3, "weight_decay": 0.1, "zero_weight": 0.1,
         "average": 0.9, "epochs": 100},
        (grid(zero_weight=(0.3, 1.0, 3.0)), grid(learning_rate=(0.5, 2.0)), grid(zero_weight=(0.6, 1.7)),
         grid(learning_rate=(0.7, 1.4)), grid(weight_decay=(3.0,))),
        (grid(zero_weight=(0.85, 1.2)), grid(learning_rate=(0.85, 1.2, 0.5))),
        {"vector-critic": (
            values(zero_weight=(0.03, 0.1), adversary_learning_rate=(3e-4, 1e-3), alpha=(0.0,)),
            grid(learning_rate=(0.5,)),
        )},
        ("user side", "unbiased"),
    ),
    "advinfonce": Family(
        {"game": "advinfonce", "negatives": 16} | {k: v for k, v in map_settings.MF.items() if k != "loss"},
        _FIRST,
        _TWIN,
        {"hardness": (values(alpha=(0.0, 0.5), entropy=(0.1, 1.0)), _DECAY)},
        ("mf", "10% known", "25% known", "unbiased"),
    ),
}  # fmt: skip
# Adversaries that play in some settings only.
COSTLY = {"patient-generator": ("user side", "item side"), "small-fgm": ("user side", "item side", "LightGCN")}
ADVERSARIES = {name: family for family, each in FAMILIES.items() for name in each.adversaries}


@dataclass
class Tuned:
    """The best of what was tried on one split."""

    config: Config
    model: Any = None
    score: float = -np.inf  # mean over seeds, on validation
    tried: int = 0


def tune(split, start: Tuned, plans: tuple[Plan, ...], *, fresh: bool, most: int | None = None) -> Tuned:
    """Go on from what is best so far, plan by plan.

    Args:
        split: its test part is not read.
        start: the best so far.
        plans: each is made from the best before it.
        fresh: the model that we start from is none of those to choose from: of an adversary only models that it
            played against.
        most: configurations of a plan; None: all.
    """
    import gan_rec
    from gan_rec.train.fit import TrainingDivergedError

    best = dataclasses.replace(start, score=-np.inf) if fresh else start
    for plan in plans:
        for config in plan(best.config)[:most]:
            try:
                model = gan_rec.fit(split, progress=False, **config)
            except TrainingDivergedError:
                best.tried += 1
                continue
            score = float(np.mean(model.weights.selected.score))
            found = Tuned(config, model, score) if score > best.score else best
            best = dataclasses.replace(found, tried=best.tried + 1)
    return best


def player(adversary: str) -> str:
    """The adversary by its name in the library."""
    return adversary.removeprefix("patient-").removeprefix("small-")


def config_of(setting: map_settings.Setting, family: Family, adversary: str, smoke: bool) -> Config:
    """What tuning begins with: the recommender alone."""
    of_game = dict(family.options)
    if of_game["game"] == "cfgan":  # the sizes and the side are the setting's
        of_game |= {name: setting.options[name] for name in ("dim", "side") if name in setting.options}
    own = setting.options if of_game["game"] == "embedding" else {}
    config = SELECT | own | of_game | {"adversary": player(adversary), "alpha": 1.0, "seeds": setting.seeds}
    return config | {"epochs": 4, "evaluate_every": 2} if smoke else config


@dataclass
class Twins:
    """A twin on each split, and the configuration that both models went on from."""

    splits: list
    first: list[Tuned] = field(default_factory=list)
    tuned: list[Tuned] = field(default_factory=list)
    scores: list = field(default_factory=list)  # evaluations on test


def tune_twins(splits: list, setting, family: Family, smoke: bool) -> Twins:
    """The recommender alone, tuned and tested on every split."""
    # Which adversary does not play is all the same; one without parameters compiles soonest.
    adversary = next(reversed(family.adversaries))
    twins, most = Twins(splits), 1 if smoke else None
    for split in splits:
        start = Tuned(config_of(setting, family, adversary, smoke))
        first = tune(split, start, family.first, fresh=False, most=most)
        twins.first.append(first)
        twins.tuned.append(tune(split, first, family.twin, fresh=False, most=most))
        twins.scores.append(tested(twins.tuned[-1]))
    return twins


def tested(found: Tuned):
    """What a tuned model scores on test."""
    import gan_rec

    if found.model is None:
        raise SystemExit("every configuration diverged")
    return gan_rec.evaluate(found.model, "test", (K,))


def measure(name: str, setting, adversary: str, twins: Twins, smoke: bool) -> dict:
    """One cell: the model against an adversary, tuned on every split, against the twin."""
    start = time.perf_counter()
    plans = FAMILIES[ADVERSARIES[adversary]].adversaries[adversary]
    tuned, scores = [], []
    for split, first in zip(twins.splits, twins.first, strict=True):
        begin = Tuned(first.config | {"adversary": player(adversary), "alpha": 0.5}, tried=first.tried)
        tuned.append(tune(split, begin, plans, fresh=True, most=1 if smoke else None))
        scores.append(tested(tuned[-1]))
    row = {"benchmark": "map", "plan": PLAN, "setting": name, "adversary": adversary, "family": ADVERSARIES[adversary]}
    row |= {"splits": len(twins.splits)}
    row |= compare(scores, twins.scores, setting.unit)
    row["cosine_to_gradient"] = cosines(tuned) if "generator" in adversary else None
    row["validation"] = {"adversarial": [t.score for t in tuned], "twin": [t.score for t in twins.tuned]}
    row["configurations"] = {"adversarial": [t.tried for t in tuned], "twin": [t.tried for t in twins.tuned]}
    row["chosen"] = {"adversarial": [brief(t) for t in tuned], "twin": [brief(t) for t in twins.tuned]}
    return row | {"seconds": time.perf_counter() - start}


def compare(scores: list, twins: list, unit: str) -> dict:
    """Paired differences: by split or seed, and by user."""
    from gan_rec.evaluation.significance import paired_test, summary

    each = [[s.per_seed(METRIC) for s in models] for models in (scores, twins)]
    own, of_twin = (np.concatenate(v) if unit == "seed" else np.array([x.mean() for x in v]) for v in each)
    by_user = {}
    for ours, theirs in zip(scores, twins, strict=True):
        difference = (ours.per_user[METRIC] - theirs.per_user[METRIC]).mean(axis=0)
        for user, value in zip(ours.users, difference, strict=True):
            by_user.setdefault(int(user), []).append(value)
    over_users = paired_test(np.array([[np.mean(v) for v in by_user.values()]]), np.zeros((1, len(by_user))))
    over_units = paired_test(own[None], of_twin[None])
    return {
        "metric": METRIC, "unit": unit, "values": own.tolist(), "twin_values": of_twin.tolist(),
        "difference": summary(own - of_twin), "p": over_units["p"], "p_users": over_users["p"],
        "users": over_users["users"],
    }  # fmt: skip


def cosines(tuned: list[Tuned]) -> dict[str, float]:
    """Mean cosine of a generator's steps to the gradient, at the end of its training."""
    import jax

    from gan_rec.data.sampling import to_device
    from gan_rec.experiments import players
    from gan_rec.robustness import gradient_cosines

    found = []
    for each in tuned:
        kept, settings, pairs = each.model.weights.selected, each.model.settings, each.model.split.train
        positives = to_device(pairs.transposed() if settings.side == "item" else pairs)
        game, key = players.make_game(settings), jax.random.key(0)
        sizes = {"batch_size": settings.batch_size}
        found.append(gradient_cosines(kept.recommender, kept.adversary, game, positives, key, **sizes))
    return {side: float(np.mean([cosine[side] for cosine in found])) for side in ("users", "items")}


def brief(tuned: Tuned) -> Config:
    """What tuning has set."""
    names = (
        "weight_decay",
        "learning_rate",
        "epsilon",
        "alpha",
        "zero_weight",
        "entropy",
        "adversary_learning_rate",
        "adversary_steps",
        "warm_up",
    )
    chosen = {name: round(tuned.config[name], 6) for name in names if name in tuned.config}
    return chosen | {"epochs": tuned.model.chosen_epochs}


def cells(options: Options, settings: dict, done: set[tuple[str, str]]) -> Iterator[tuple[str, str, list[str]]]:
    """Setting, family and its adversaries, of what is to be measured."""
    for name in options.settings or settings:
        for family, each in FAMILIES.items():
            wanted = [a for a in each.adversaries if a in (options.adversaries or ADVERSARIES)]
            possible = [a for a in wanted if options.smoke or name in COSTLY.get(a, settings)]
            left = [a for a in possible if (name, a) not in done]
            if left and (each.only is None or name in each.only or options.smoke):
                yield name, family, left


def main(options: Options) -> None:
    """Measure, or show what was measured."""
    settings = map_settings.SMOKE if options.smoke else map_settings.SETTINGS
    unknown = (set(options.settings) - set(settings)) | (set(options.adversaries) - set(ADVERSARIES))
    if unknown:
        raise SystemExit(f"unknown {', '.join(unknown)}; allowed: {', '.join((*settings, *ADVERSARIES))}")
    if options.smoke:
        options = dataclasses.replace(options, splits=2)
    rows = read(options.output)
    if not options.render:
        work = list(cells(options, settings, done(rows, settings, options)))
        if options.estimate:
            estimate(work, settings, options)
            return
        mend(options.output)
        rows += run(work, settings, options)
    print(map_table.render(rows, options.figure))


def done(rows: list[dict], settings: dict, options: Options) -> set[tuple[str, str]]:
    """Cells that need not be measured again.

    Raises:
        SystemExit: a cell was measured on another number of splits, and one table cannot show both.
    """
    for row in rows:
        found, asked = (row["splits"], row.get("first_split", 0)), (options.splits, options.first)
        if settings[row["setting"]].unit == "split" and found != asked:
            there, wanted = (f"{n} splits from seed {first}" for n, first in (found, asked))
            raise SystemExit(f"the file has cells of {there}, asked are {wanted}: name another file")
    return {(row["setting"], row["adversary"]) for row in rows}


def read(path: Path | None) -> list[dict]:
    """Cells of this plan that are finished; a line that was not written to its end is left out."""
    if path is None or not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    return [row for row in rows if row["plan"] == PLAN]


def mend(path: Path | None) -> None:
    """Drop a line that was not written to its end: the next one would be glued to it."""
    if path is not None and path.exists():
        whole, _, torn = path.read_text(encoding="utf-8").rpartition("\n")
        if torn:
            path.write_text(whole + "\n" if whole else "", encoding="utf-8")


def run(work: list[tuple[str, str, list[str]]], settings: dict, options: Options) -> list[dict]:
    """Measure cell by cell."""
    from gan_rec.experiments.environment import environment

    made_with = {n: v for n, v in environment(None).items() if n in ("git_revision", "packages", "device")}
    rows, start = [], time.perf_counter()
    total, finished = sum(1 + len(adversaries) for *_, adversaries in work), 0
    splits = {}

    def tell(line: str) -> None:
        nonlocal finished
        finished += 1
        left = (time.perf_counter() - start) / finished * (total - finished)
        print(f"{line}; {finished} of {total}, about {left / 60:.0f} minutes left", file=sys.stderr, flush=True)

    for name, family, adversaries in work:
        if name not in splits:
            splits = {name: list(settings[name].splits(options.split_seeds))}
        twins = tune_twins(splits[name], settings[name], FAMILIES[family], options.smoke)
        tell(f"{name}: twin of {family} {np.mean([s.per_seed(METRIC).mean() for s in twins.scores]):.4f}")
        for adversary in adversaries:
            row = (
                measure(name, settings[name], adversary, twins, options.smoke)
                | {"note": settings[name].note, "first_split": options.first}
                | made_with
            )
            rows.append(row)
            line = json.dumps(row)
            if options.output is None:
                print(line, flush=True)
            else:
                with open(options.output, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
            tell(f"{name}: {adversary} {row['difference']['mean']:+.4f} (p {row['p']:.2g})")
    return rows


def estimate(work: list[tuple[str, str, list[str]]], settings: dict, options: Options) -> None:
    """Seconds of processors for each cell, from some epochs of one configuration: an upper bound without early ends."""
    import gan_rec

    total = 0.0
    for name, family, adversaries in work:
        setting = settings[name]
        split, n = next(iter(setting.splits(options.split_seeds))), 1 if setting.unit == "seed" else options.splits
        for adversary in ("twin", *adversaries):
            own = next(reversed(FAMILIES[family].adversaries)) if adversary == "twin" else adversary
            config = config_of(setting, FAMILIES[family], own, options.smoke)
            if adversary != "twin":
                config = FAMILIES[family].adversaries[adversary][0](config)[0]
            spent = []
            for epochs in (5, 15):  # the first compiles
                begin = time.process_time()
                gan_rec.fit(split, progress=False, **config | {"epochs": epochs})
                spent.append(time.process_time() - begin)
            epoch = spent[1] / 15
            seconds = spent[0] + epoch * config["epochs"] * n * (15 if adversary == "twin" else 5)
            total += seconds
            line = f"{name}: {adversary} {epoch:.3f} s an epoch, {seconds:.0f} s; together {total / 60:.1f} minutes"
            print(f"{line} of processors", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
