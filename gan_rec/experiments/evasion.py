"""Evasion: what attacks of growing radius do to a trained model's rankings, beside its twin's."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from gan_rec.data import Interactions
from gan_rec.data.sampling import Positives, to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import check_cutoffs
from gan_rec.evaluation.significance import summary
from gan_rec.experiments import choices, players
from gan_rec.experiments.beside import beside_pairs
from gan_rec.experiments.fitting import Fitted, Part, attacked_how, check_rows, part_of
from gan_rec.progress import Progress
from gan_rec.robustness import train_generator
from gan_rec.robustness.attackers import ATTACKERS, FGM, Given, PatientPGD
from gan_rec.robustness.curves import Lists, areas, damage, lists_of
from gan_rec.robustness.damage import GOALS, Attacked, move_rows, radius_of_loss

LOSS = "pgd-loss"  # PGD that raises the training loss, whatever the goal of the others
ATTACKS = (*ATTACKERS, LOSS, "generator")
STRONGEST = "strongest"
LARGEST = 1.0  # radius that is tried: there a row can be moved to 0
_POINTS = 5  # of a curve, beside 0
_LEAST = 0.005  # share of the metric: where less is lost, how many times less says nothing
_SLACK = 0.01  # of the clean metric, by which a stronger attack may do less before that is called broken


@dataclass(frozen=True)
class Evasion:
    """Damage curves of several models, and what one model's attacks do to the others.

    Args:
        curves: a row for each model, attack, radius, seed: `NDCG@K`, `overlap@K`, `flips`, `loss`; radius 0 is clean.
        transfer: a row for each model that was attacked along the steps of PGD on another ("made on"), radius and seed.
        k: K.
        notes: what was left out, and why.
    """

    curves: pd.DataFrame
    transfer: pd.DataFrame
    k: int
    notes: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """What damage is measured by."""
        return f"NDCG@{self.k}"

    @property
    def attacks(self) -> list[str]:
        """Those that were made."""
        return list(dict.fromkeys(self.curves["attack"]))

    def areas(self) -> pd.DataFrame:
        """See `gan_rec.robustness.curves.areas`; "strongest" is what each seed keeps under whatever costs it most.

        That is at each radius one of the attacks, or the steps that PGD has made on another model.
        """
        every = pd.concat([self.curves, self.transfer])[["model", "seed", "radius", self.metric]]
        least = every.groupby(["model", "seed", "radius"], sort=False)[self.metric].min().reset_index()
        return areas(pd.concat([self.curves, least.assign(attack=STRONGEST)]), self.metric)

    @property
    def has_both(self) -> bool:
        """Whether there is an adversarial model and a twin to compare."""
        return {"adversarial", "twin"} <= set(self.curves["model"])

    def ratios(self) -> dict[str, dict]:
        """By attack the summary over seeds of the twin's area over the adversarial model's: how often less is lost.

        Attacks that cost a model next to nothing are left out.
        """
        if not self.has_both:
            return {}
        table = self.areas().pivot(index=["attack", "seed"], columns="model", values="area")
        ratio = (table["twin"] / table["adversarial"]).where(table["adversarial"] >= _LEAST)
        found = {attack: ratio[attack].to_numpy() for attack in (*self.attacks, STRONGEST)}
        return {attack: summary(own) for attack, own in found.items() if np.isfinite(own).all()}

    def clean_loss(self) -> dict:
        """Summary over seeds of what the adversarial model's clean metric is below the twin's; above, if negative."""
        clean = self.curves[(self.curves["radius"] == 0) & (self.curves["attack"] == self.attacks[0])]
        table = clean.pivot(index="seed", columns="model", values=self.metric)
        return summary((table["twin"] - table["adversarial"]).to_numpy())

    def broken(self) -> list[str]:
        """What says that the evaluation is broken: attacks that do less than weaker ones, or than those of others.

        At every radius FGM must cost as much as random directions and random search, PGD as much as every other attack,
        and as steps of PGD that were made on another model, each to within a hundredth of the clean metric. What PGD
        does to the training loss is another goal: that it costs more says which goal hurts, see `areas`.
        """
        at = self.curves.groupby(["radius", "model", "attack"])[self.metric].mean()
        weaker = [attack for attack in self.attacks if attack not in ("pgd", LOSS)]
        pairs = [("noise", "fgm"), ("random-search", "fgm"), *((attack, "pgd") for attack in weaker)]
        found = []
        for radius, model in itertools.product(self._radii, self.curves["model"].unique()):
            left = at[radius, model]
            for weak, strong in pairs:
                if {weak, strong} <= set(left.index) and left[strong] > left[weak] + self._slack(model):
                    found.append(f"{model}: {strong} leaves {left[strong]:.4f}, {weak} {left[weak]:.4f}{_at(radius)}")
        return found + self._stronger_transfer(at)

    @property
    def _radii(self) -> list[float]:
        return sorted(radius for radius in self.curves["radius"].unique() if radius > 0)

    def _slack(self, model: str) -> float:
        own = self.curves[(self.curves["model"] == model) & (self.curves["radius"] == 0)]
        return _SLACK * own[self.metric].mean()

    def _stronger_transfer(self, at: pd.Series) -> list[str]:
        if self.transfer.empty:
            return []
        means = self.transfer.groupby(["radius", "model", "made on"])[self.metric].mean()
        return [
            f"{model}: steps made on {other} leave {value:.4f}, its own {at[radius, model, 'pgd']:.4f}{_at(radius)}"
            for (radius, model, other), value in means.items()
            if at[radius, model, "pgd"] > value + self._slack(model)
        ]


def _at(radius: float) -> str:
    return f" at radius {radius:g}"


@dataclass(frozen=True)
class _Target:
    """A model under attack."""

    name: str
    fitted: Fitted
    part: Part
    known: Positives
    rows: str
    goal: str
    k: int
    key: Any

    def move(self, adversaries: Any, radius: float, goal: str | None = None) -> Attacked:
        return move_rows(
            self.part.recommenders, adversaries, self.known, self.key, radius=radius, rows=self.rows,
            goal=self.goal if goal is None else goal, k=self.k, ranked=self.part.truth.candidates,
            **attacked_how(self.fitted),
        )  # fmt: skip

    def lists(self, attacked: Attacked) -> Lists:
        return lists_of(attacked.moved, self.known, self.part.truth, self.k)

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.fitted.settings.seed_list


def evade(
    models: dict[str, Fitted],
    attacks: Sequence[str] = ATTACKS,
    radii: Sequence[float] | None = None,
    *,
    rows: str = "both",
    goal: str = "list",
    on: str = "test",
    k: int = 20,
    transfer: bool = True,
    progress: Progress | None = None,
) -> Evasion:
    """Attack trained models at several radii.

    Attacks know the model and what it may know; held-out pairs only measure the damage. Where a generator attacks, it
    is trained anew against each model's frozen weights, on the training loss.

    Args:
        models: by name, for example those of `gan_rec.open_run(DIRECTORY).models`; of the same split.
        attacks: of ATTACKS.
        radii: relative to the length of the rows, above 0. None: equally spaced up to where PGD costs the twin (or the
            first model) half of its validation metric, but at most 1.
        rows: which may move: "users", "items" or "both"; or items' "features".
        goal: what attacks raise, "list" or "loss", see `gan_rec.robustness.damage.move_rows`.
        on: "test" or "validation".
        k: cut-off.
        transfer: also take PGD's steps on each model, if it is among the attacks, as directions on the others.
        progress: shows it.

    Raises:
        UserError: an attack, a radius or another value that is not allowed, or no models.
    """
    choices.one_of("goal", goal, GOALS)
    _check(models, attacks, radii)
    for fitted in models.values():
        check_rows(fitted, rows)
    progress = Progress(enabled=False) if progress is None else progress
    some = models.get("twin", next(iter(models.values())))
    check_cutoffs((k,), some.split.train.n_items, some.split.candidates)
    radii = (
        _radii(_target("", some, "validation", rows, goal, k)) if radii is None else sorted({float(r) for r in radii})
    )
    targets = [_target(name, fitted, on, rows, goal, k) for name, fitted in models.items()]
    adversaries, notes = _adversaries(targets, tuple(dict.fromkeys(attacks)))
    pairs = _alike(targets) if transfer and "pgd" in attacks else []
    total = sum(len(own) * (len(radii) + 1) for own in adversaries.values()) + len(pairs) * len(radii)
    steps, made = _Steps(progress, total), {}
    curves = [row for t in targets for row in _curves(t, adversaries[t.name], radii, steps, made)]
    moved = [row for target, other in pairs for row in _transfer(target, other.name, radii, steps, made)]
    return Evasion(pd.DataFrame(curves), pd.DataFrame(moved), k, tuple(notes))


def _check(models, attacks, radii) -> None:
    if not models:
        raise UserError("there is no model to attack; give at least one")
    if not attacks:
        raise UserError(f"no attack is given; allowed: {', '.join(ATTACKS)}")
    for attack in attacks:
        choices.one_of("attack", attack, ATTACKS)
    for radius in () if radii is None else radii:
        if not (np.isfinite(radius) and radius > 0):
            raise UserError(f"radius {radius} is not possible; give numbers above 0, for example 0.1 0.2 0.5")
    if radii is not None and not len(radii):
        raise UserError("no radius is given; give numbers above 0, for example 0.1 0.2 0.5")


def _target(name: str, fitted: Fitted, on: str, rows: str, goal: str, k: int) -> _Target:
    part = part_of(fitted, on)
    return _Target(name, fitted, part, to_device(part.known), rows, goal, k, jax.random.key(fitted.settings.seed))


def half_lost(fitted: Fitted, rows: str = "both", goal: str = "list", k: int = 20) -> float:
    """The radius, at most 1, at which PGD costs a model half of its validation metric, mean over seeds."""
    return _half_lost(_target("", fitted, "validation", rows, goal, k))


def _half_lost(target: _Target) -> float:
    def left(attack: Any, radius: float) -> np.ndarray:
        return target.lists(target.move(attack, radius)).ndcg.mean(keepdims=True)

    clean = left(FGM(), 0.0)
    return float(radius_of_loss(lambda r: left(PatientPGD(), r[0]), clean, 0.5, steps=8, largest=LARGEST)[0])


def _radii(target: _Target) -> list[float]:
    largest = _half_lost(target)
    return [float(f"{r:.3g}") for r in np.linspace(0.0, largest, _POINTS + 1)[1:]]


def _adversaries(targets: list[_Target], attacks: tuple[str, ...]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """For each model the attacks by name, and what cannot be done."""
    plain = {name: PatientPGD() if name == LOSS else ATTACKERS[name]() for name in attacks if name != "generator"}
    found, notes = {target.name: dict(plain) for target in targets}, []
    for target in targets if "generator" in attacks else ():
        generators = _generators(target)
        if generators is None:
            notes.append(f"{target.name}: no generator knows rows of this recommender, so none attacks it")
        else:
            found[target.name]["generator"] = generators
    return found, notes


def _generators(target: _Target):
    """Trained anew against the frozen weights; None where none can be."""
    settings = target.fitted.settings
    if target.fitted.side != "user" or target.rows == "features":
        return None
    beside = beside_pairs(settings, target.fitted.split.side_information)
    game, schedule, maker, _ = players.attackers(settings, target.part.known, beside)
    if maker is None:
        return None
    keys = jax.random.split(jax.random.fold_in(target.key, 1), settings.seeds)
    return train_generator(target.part.recommenders, maker, game, target.known, schedule, keys)


class _Steps:
    """A bar over all that is to be measured."""

    def __init__(self, progress: Progress, total: int):
        self.progress, self.total, self.done = progress, total, 0
        self.bar = progress.add("attacks", 0, total)

    def tell(self, line: str) -> None:
        self.done += 1
        self.progress.advance(self.bar, self.done, self.total, f"attack {self.done} of {self.total}: ", line)


def _curves(target: _Target, adversaries: dict[str, Any], radii, steps: _Steps, made: dict) -> list[dict]:
    """Rows of all attacks on a model; PGD's steps are kept in `made` by model and radius."""
    truth: Interactions = target.part.truth
    clean, metric, rows = target.lists(target.move(FGM(), 0.0)), f"NDCG@{target.k}", []
    for name, adversary in adversaries.items():
        for radius in (0.0, *radii):
            attacked = target.move(adversary, radius, "loss" if name == LOSS else None)
            if name == "pgd":
                made[target.name, radius] = _steps_of(attacked)
            measured = damage(clean, attacked, target.known, truth)
            rows += _rows(target, {"attack": name, "radius": radius}, measured)
            steps.tell(f"{target.name}, {name}, radius {radius:g}: {metric} {measured[metric].mean():.4f}")
    return rows


def _transfer(target: _Target, other: str, radii, steps: _Steps, made: dict) -> list[dict]:
    """What PGD's steps on another model do to this one."""
    clean, rows = target.lists(target.move(FGM(), 0.0)), []
    for radius in radii:
        measured = damage(clean, target.move(made[other, radius], radius), target.known, target.part.truth)
        rows += _rows(target, {"made on": other, "radius": radius}, measured)
        steps.tell(f"{target.name}, made on {other}, radius {radius:g}")
    return rows


def _alike(targets: list[_Target]) -> list[tuple[_Target, _Target]]:
    """All pairs of two models that have rows of the same shapes and as many seeds."""
    shapes = {t.name: [rows.shape for rows in t.move(FGM(), 0.0).clean_rows] for t in targets}
    return [pair for pair in itertools.permutations(targets, 2) if shapes[pair[0].name] == shapes[pair[1].name]]


@jax.jit
def _steps_of(attacked: Attacked) -> Given:
    """S adversaries that go the same ways."""
    return jax.vmap(Given)(*jax.tree.map(jnp.subtract, tuple(attacked.moved_rows), tuple(attacked.clean_rows)))


def _rows(target: _Target, about: dict, measured: dict[str, np.ndarray]) -> list[dict]:
    return [
        {"model": target.name, **about, "seed": seed} | {name: float(values[i]) for name, values in measured.items()}
        for i, seed in enumerate(target.seeds)
    ]
