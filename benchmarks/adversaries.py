"""All adversaries of the embedding game at one radius: damage to a twin, gain of training against them, and cost.

    python benchmarks/adversaries.py                 # CFGAN's ML-100K, 3 seeds; under an hour on two CPU cores
    python benchmarks/adversaries.py --smoke         # a few minutes, synthetic data

For each adversary: the rise of a twin's training loss under it (generators are trained anew against the frozen twin);
then a recommender is trained against it, at the same radius, and attacked by FGM, by PGD and by a new generator; its
clean NDCG@20 on test stands beside the twin's with a paired test. All models are those that validation chose, without a
refit on train + validation, which would double the time and raise all of them alike. An epoch is timed in turn with the
twin's, one seed, so that the ratio holds on a machine whose speed drifts. A JSON line for each goes to stdout and to
--output, and a Markdown table to stderr at the end.
"""

import dataclasses
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

METRIC = "NDCG@20"


@dataclass(frozen=True)
class Options:
    """What to measure."""

    dataset: str = "cfgan-ml100k"
    """Name or path."""
    recommender: str = "autoencoder"
    """autoencoder or mf."""
    adversaries: tuple[str, ...] = ()
    """Which (default: all that play the embedding game)."""
    radius: float = 0.1
    """Of training and attack, relative to the length of each row."""
    seeds: int = 3
    """Seeds of every model."""
    repeats: int = 7
    """Timed epochs of each."""
    moves: str = "alternating"
    """alternating or simultaneous."""
    timing_only: bool = False
    """Train nothing: only the last column."""
    smoke: bool = False
    """Synthetic data, two seeds, few epochs."""
    output: Path | None = None
    """A file to add the JSON lines to."""


def main(options: Options) -> None:
    """Measure every adversary."""
    import gan_rec
    from gan_rec.experiments.choices import GAMES

    extra = {"recommender": options.recommender, "evaluate_every": 10, "refit": False, "moves": options.moves}
    if options.smoke:
        options = dataclasses.replace(options, dataset="synthetic", seeds=2, repeats=2)
        extra |= {"epochs": 4, "dim": 16, "evaluate_every": 2}
    split = gan_rec.split(gan_rec.load(options.dataset))
    names = options.adversaries or GAMES["embedding"].adversaries
    twin = None if options.timing_only else gan_rec.fit(split, alpha=1.0, seeds=options.seeds, progress=False, **extra)
    rows = []
    for name in names:
        start = time.perf_counter()
        row = {"benchmark": "adversaries", "dataset": options.dataset, "recommender": options.recommender,
               "adversary": name, "moves": options.moves, "radius": options.radius, "seeds": options.seeds}  # fmt: skip
        row |= timing(split, name, options, extra)
        if twin is not None:
            row |= effect(split, name, twin, options, extra)
        rows.append(row)
        line = json.dumps(row)
        print(line, flush=True)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        if options.output:
            with open(options.output, "a", encoding="utf-8") as file:
                file.write(line + "\n")
    print(table(rows, twin), file=sys.stderr)


def timing(split, name: str, options: Options, extra: dict) -> dict:
    """Seconds of an epoch of one seed, over the twin's in the same program."""
    import jax

    from gan_rec.data.sampling import to_device
    from gan_rec.experiments.fitting import resolve, training
    from gan_rec.train.epoch import init
    from gan_rec.train.seeds import epoch_of_seeds

    settings = resolve({"adversary": name, "epsilon": options.radius, "seeds": 1, **extra})
    trainer = training(settings, split, ())
    positives, keys = to_device(split.train), jax.random.split(jax.random.key(0), 1)
    games = {"adversarial": trainer.game, "twin": dataclasses.replace(trainer.game, alpha=1.0)}
    makers = trainer.make_recommender, trainer.make_adversary
    states = {model: init(*makers, trainer.schedule, keys, game.alpha) for model, game in games.items()}

    def run(model: str) -> float:
        begin = time.perf_counter()
        states[model], metrics = epoch_of_seeds(states[model], positives, games[model], trainer.schedule, keys)
        jax.block_until_ready(metrics)
        return time.perf_counter() - begin

    seconds = {model: [] for model in games}
    for repeat in range(options.repeats + 1):  # the first compiles
        for model in games:
            if repeat:
                seconds[model].append(run(model))
            else:
                run(model)
    ratio = statistics.median(a / t for a, t in zip(seconds["adversarial"], seconds["twin"], strict=True))
    return {"epoch_over_twin": ratio, "seconds": {model: statistics.median(s) for model, s in seconds.items()}}


def effect(split, name: str, twin, options: Options, extra: dict) -> dict:
    """Damage to the twin, and robustness and accuracy of a model trained against the adversary."""
    import gan_rec
    from gan_rec.evaluation.significance import summary

    model = gan_rec.fit(split, adversary=name, epsilon=options.radius, seeds=options.seeds, progress=False, **extra)
    own = dict(zip(("twin", "model"), rises(name, twin, model, options), strict=True))
    score, of_twin = gan_rec.evaluate(model, "test", (20,)), gan_rec.evaluate(twin, "test", (20,))
    test = gan_rec.compare_models(score, of_twin)[METRIC]
    return {
        "damage_to_twin": own["twin"][name],
        "rise_of_model": {attack: own["model"][attack] for attack in ("fgm", "pgd", "generator")},
        "rise_of_twin": {attack: own["twin"][attack] for attack in ("fgm", "pgd", "generator")},
        METRIC: summary(score.per_seed(METRIC)),
        f"{METRIC} of the twin": summary(of_twin.per_seed(METRIC)),
        "against_twin": test,
        "chosen_epochs": model.chosen_epochs,
    }


def rises(name: str, twin, model, options: Options):
    """Rise of the training loss of both models under the named adversary, FGM, PGD and a new default generator."""
    import jax

    from gan_rec.adversaries import ATTACKS
    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.significance import summary
    from gan_rec.experiments import players
    from gan_rec.robustness import losses_under_attack, train_generator

    pairs = twin.split.train
    positives, key = to_device(pairs), jax.random.key(0)
    keys = jax.random.split(jax.random.fold_in(key, 1), options.seeds)
    for fitted in (twin, model):
        weights = fitted.weights.final.recommender
        found = {}
        for attack in dict.fromkeys((name, "generator")):
            settings = dataclasses.replace(model.settings, adversary=attack, epsilon=options.radius)
            settings = settings_of(settings, attack)
            game, schedule = players.make_game(settings), players.make_schedule(settings)
            game = dataclasses.replace(game, reuses=False)
            maker = players.make_adversary(settings, pairs.n_users, pairs.n_items)
            if attack in ATTACKS:
                one = maker(key)
                adversary = jax.tree.map(lambda x: x, one)
            else:
                adversary = train_generator(weights, maker, game, positives, schedule, keys)
            losses = losses_under_attack(
                weights, {attack: adversary}, game, positives, jax.random.fold_in(key, 2),
                batch_size=schedule.batch_size,
            )  # fmt: skip
            found |= {which: loss - losses["clean"] for which, loss in losses.items()}
        yield {which: summary(loss) for which, loss in found.items()}


def settings_of(settings, adversary: str):
    """The settings with another adversary and its own options."""
    from gan_rec.experiments import choices

    fresh = dict.fromkeys(choices.OPTIONS_OF_ADVERSARIES) | choices.ADVERSARIES[adversary]
    return dataclasses.replace(settings, adversary=adversary, **fresh)


def table(rows: list[dict], twin) -> str:
    """The Markdown table."""
    if twin is None:
        return "\n".join(f"| {row['adversary']} | {row['epoch_over_twin']:.2f} |" for row in rows)

    def pm(summary: dict) -> str:
        half = "" if summary["ci95"] is None else f" ± {summary['ci95'][1] - summary['mean']:.4f}"
        return f"{summary['mean']:.4f}{half}"

    lines = [
        "| adversary | damage to the twin | rise after training: FGM | PGD | new generator | NDCG@20 | p | cost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    first = rows[0]
    cells = [pm(first["rise_of_twin"][a]) for a in ("fgm", "pgd", "generator")]
    lines.append(f"| none (twin) | | {' | '.join(cells)} | {pm(first['NDCG@20 of the twin'])} | | 1 |")
    for row in rows:
        cells = [pm(row["damage_to_twin"]), *(pm(row["rise_of_model"][a]) for a in ("fgm", "pgd", "generator"))]
        cells += [pm(row[METRIC]), f"{row['against_twin']['p']:.2g}", f"{row['epoch_over_twin']:.2f}"]
        lines.append(f"| {row['adversary']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Options))
