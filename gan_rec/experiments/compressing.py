"""Do smaller models break sooner? Both models of a run, compressed, under the same attacks."""

from collections.abc import Sequence

import jax

from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.experiments import choices
from gan_rec.experiments.cells import MODELS, Cell, Compared, compare_cells
from gan_rec.experiments.fitting import Fitted, attacked_how
from gan_rec.robustness import compression
from gan_rec.robustness.attackers import ATTACKERS
from gan_rec.robustness.compression import Compressed
from gan_rec.robustness.damage import move_rows

KINDS = {"int8": (8,), "pruned": (0.5, 0.9), "low-rank": (32,), "student": (32,)}


def compressed(
    run,
    *,
    kinds: dict[str, tuple] | None = None,
    attacks: Sequence[str] = ("noise", "fgm", "pgd"),
    radii: Sequence[float] = (0.1, 0.3),
    k: int = 20,
) -> Compared:
    """Compress both models and attack what comes of it, as `gan_rec.evade` does the models themselves (goal "list").

    Whoever attacks knows the compressed model. Rows of other models have other lengths; a radius is relative to them.

    Args:
        run: a `gan_rec.experiments.run.Run`, or what else has `models` "adversarial" and "twin".
        kinds: "int8" (bits), "pruned" (shares of zeros), "low-rank" (ranks), "student" (units) -> strengths; None: see
            `KINDS`, without a rank that the data cannot have. The model as it is comes first anyway.
        attacks: names of attacks without parameters.
        radii: relative to the length of each row.
        k: cut-off of NDCG.

    Returns:
        A row for each kind, strength, attack (first "none"), radius, model and seed, with the MiB of the weights; and
        the differences with their tests.

    Raises:
        UserError: an unknown kind or attack, or a strength that cannot be.
    """
    kinds = _possible(run.models["adversarial"]) if kinds is None else kinds
    for name, strengths in kinds.items():
        choices.one_of("kind of compression", name, KINDS)
        for strength in strengths:
            _check(name, strength, run.models["adversarial"])
    for attack in attacks:
        choices.one_of("attack", attack, ATTACKERS)
    cells = []
    for name, strengths in {"whole": (32,), **kinds}.items():
        for strength in strengths:
            made = {model: compress(run.models[model], name, strength) for model in MODELS}
            cells += _attacked(run.models, made, {"kind": name, "strength": float(strength)}, attacks, radii, k)
    return compare_cells(cells, f"NDCG@{k}", run.models["adversarial"].settings.seed_list)


def compress(fitted: Fitted, kind: str, strength: float) -> Compressed:
    """The final weights of all seeds, compressed; see `compressed`."""
    final, side = fitted.weights.final.recommender, fitted.side
    known = to_device(fitted.split.train_and_valid())
    if kind == "int8":
        return compression.int8(final, side)
    if kind == "pruned":
        return compression.pruned(final, strength, side)
    if kind == "low-rank":
        return compression.low_rank(final, known, int(strength), side)
    if kind == "student":
        return compression.student(final, known, int(strength), jax.random.key(fitted.settings.seed), side=side)
    return compression.whole(final, side)


def _attacked(models: dict[str, Fitted], made: dict[str, Compressed], about, attacks, radii, k) -> list[Cell]:
    more = {name: {"MiB": each.size / 2**20} for name, each in made.items()}
    clean = {name: _evaluate(models[name], each, k) for name, each in made.items()}
    cells = [Cell(about | {"attack": "none", "radius": 0.0}, clean, more)]
    for attack in attacks:
        for radius in radii:
            found = {name: _evaluate(models[name], each, k, attack, radius) for name, each in made.items()}
            cells.append(Cell(about | {"attack": attack, "radius": float(radius)}, found, more))
    return cells


def _evaluate(fitted: Fitted, made: Compressed, k: int, attack: str | None = None, radius: float = 0.0):
    known, truth = to_device(fitted.split.train_and_valid()), fitted.split.open_test()
    if attack is None:
        return evaluate_ranking(made.recommenders, known, truth, (k,), side=made.side)
    how = attacked_how(fitted) | {"side": made.side, "radius": radius, "goal": "list", "k": k}
    key = jax.random.key(fitted.settings.seed)
    moved = move_rows(made.recommenders, ATTACKERS[attack](), known, key, ranked=truth.candidates, **how).moved
    return evaluate_ranking(moved, known, truth, (k,))


def _largest_rank(fitted: Fitted) -> int:
    return min(fitted.split.train.n_users, fitted.split.train.n_items)


def _possible(fitted: Fitted) -> dict[str, tuple]:
    ranks = tuple(rank for rank in KINDS["low-rank"] if rank <= _largest_rank(fitted))
    return {name: ranks if name == "low-rank" else strengths for name, strengths in KINDS.items()}


def _check(kind: str, strength: float, fitted: Fitted) -> None:
    most = _largest_rank(fitted)
    rules = {
        "int8": (strength == 8, "8 bits"),
        "pruned": (0 <= strength < 1, "a share from 0 to below 1"),
        "low-rank": (strength == int(strength) and 1 <= strength <= most, f"a rank from 1 to {most}"),
        "student": (strength == int(strength) and strength >= 1, "1 or more units"),
    }
    allowed, rule = rules[kind]
    if not allowed:
        raise UserError(f"{kind} takes {rule}, got {strength}")
