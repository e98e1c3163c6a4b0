"""Poisoning: fake profiles enter the training data, recommenders are trained again, and real users are asked.

Every cell of the table attack x budget x defence x recommender is measured for some draws, each with targets, profiles
and a seed of its own; all attacks of a draw have the same targets.
"""

import contextlib
import itertools
import json
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from gan_rec.data import Interactions, Split, StreamedInteractions
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import check_cutoffs, evaluate_ranking
from gan_rec.experiments.config import read_object
from gan_rec.experiments.victims import Victim, check_victims
from gan_rec.files import alone_in, write_arrays, write_text
from gan_rec.progress import Progress
from gan_rec.robustness.defences import DEFENCES, Defence, without_users
from gan_rec.robustness.detection import SIMULATED
from gan_rec.robustness.learned_profiles import LEARNED, Learning, check_learned, learned_profiles
from gan_rec.robustness.profiles import KINDS, fake_profiles, number_of_fakes, unpopular_targets, with_profiles
from gan_rec.robustness.promotion import hit_ratio, mean_rank, target_ranks

CLEAN = "none"  # the attack of clean data
ATTACKS = (*KINDS, *LEARNED)
HIT_CUT_OFF, NDCG_CUT_OFF = 10, 20


@dataclass(frozen=True)
class Plan:
    """Which cells are measured.

    Args:
        attacks: of `ATTACKS`; clean data are measured too. A learned one may name its surrogate: "unrolled:linear".
        budgets: fakes, as parts of the real users.
        targets: how many items are promoted, see `gan_rec.robustness.profiles.unpopular_targets`.
        defences: of `gan_rec.robustness.defences.DEFENCES`; those that a recommender cannot have are left out.
        draws: how many.
        seed: of the first draw; the others follow it.
        size: items of a fake profile; None: as many as real users have, drawn for each.
        learning: how learned profiles are learned.
    """

    attacks: tuple[str, ...] = ("bandwagon", "unrolled")
    budgets: tuple[float, ...] = (0.005, 0.01, 0.03, 0.05)
    targets: int = 5
    defences: tuple[str, ...] = tuple(DEFENCES)
    draws: int = 3
    seed: int = 0
    size: int | None = None
    learning: Learning = field(default_factory=Learning)

    def __post_init__(self):
        for name in ("attacks", "budgets", "defences"):  # what is named twice is measured once
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))

    def check(self) -> None:
        """Raise UserError unless names and numbers are possible ones, as far as that goes without data."""
        for what, names, allowed in (("attack", self.attacks, ATTACKS), ("defence", self.defences, DEFENCES)):
            for name in names:
                kind, _, surrogate = name.partition(":")
                if (kind if what == "attack" else name) not in allowed or (surrogate and kind not in LEARNED):
                    raise UserError(f"unknown {what} {name!r}; allowed: {', '.join(allowed)}")
                if kind in LEARNED:
                    check_learned(kind, surrogate or self.learning.surrogate)
            if not names:
                raise UserError(f"no {what} is named; allowed: {', '.join(allowed)}")
        if not self.budgets or not all(0 < budget <= 1 for budget in self.budgets):
            raise UserError(f"budgets are parts of the users, above 0 and at most 1, got {list(self.budgets)}")
        least = {"targets": self.targets, "draws": self.draws, "learning steps": self.learning.steps}
        least |= {} if self.size is None else {"profile size": self.size}
        for name, value in least.items():
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.learning.realism < float("inf"):
            raise UserError(f"realism must be 0 or more, got {self.learning.realism}")
        if self.seed < 0:
            raise UserError(f"seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True)
class Cell:
    """What is measured at a time."""

    draw: int
    attack: str
    budget: float
    defence: str
    recommender: str


def poison(
    split: Split, victims: dict[str, Victim], plan: Plan, out: Path | None = None, *, quiet: bool = False
) -> pd.DataFrame:
    """Measure all cells of a plan.

    Fakes are in train alone. Whoever is measured is a real user: hit ratio and rank of the targets among the items that
    the user does not have, and NDCG@20 on the test part. Users whom a defence leaves out of the training data are
    served like all others. Nothing is chosen by what is measured.

    Args:
        split: clean; its test part is read for NDCG alone.
        victims: recommenders by name.
        plan: which cells.
        out: a folder that keeps finished cells (cells.jsonl) and profiles, so that what was stopped goes on from there.
        quiet: show nothing.

    Returns:
        A row for each cell: `draw, attack, budget, defence, recommender`, `hit_ratio` at 10, `mean_rank`, `ndcg` at 20,
        how many fakes there were (`fakes`) and of these and of real users how many the defence has left out
        (`fakes_dropped`, `real_dropped`), and `seconds`.

    Raises:
        UserError: the plan or the data do not allow it, or `out` holds cells of another plan or of other data.
    """
    plan.check()
    check_victims(victims)
    if isinstance(split.train, StreamedInteractions):
        raise UserError("poisoning needs all interactions in memory, not a directory that is streamed")
    check_cutoffs((NDCG_CUT_OFF,), split.train.n_items, split.candidates)
    asked = list(cells(plan, victims))
    with alone_in(Path(out), "poisoning") if out else contextlib.nullcontext(), Progress(enabled=not quiet) as progress:
        kept = Kept(out, _about(plan, split, victims))
        bar = progress.add("poisoning", 0, len(asked))
        for attack, group in _grouped(asked):
            left = [cell for cell in group if cell not in kept]
            if left:
                world = _World(split, plan, kept, *attack)
                for defence, own in itertools.groupby(left, key=lambda cell: cell.defence):
                    for row in world.measure(defence, [(cell, victims[cell.recommender]) for cell in own]):
                        kept.add(row)
                        done = sum(cell in kept for cell in asked)
                        line = f"poisoning, {done} of {len(asked)} cells: "
                        progress.advance(bar, done, len(asked), line, _words(row))
        return kept.frame(asked)


def cells(plan: Plan, victims: dict[str, Victim]) -> Iterator[Cell]:
    """The cells in the order in which they are measured."""
    attacks = [(CLEAN, 0.0), *itertools.product(plan.attacks, plan.budgets)]
    for draw, (attack, budget) in itertools.product(range(plan.seed, plan.seed + plan.draws), attacks):
        for defence, victim in itertools.product(plan.defences, victims.values()):
            if DEFENCES[defence].training in victim.fits:
                yield Cell(draw, attack, budget, defence, victim.name)


def make_profiles(
    attack: str, split: Split, plan: Plan, draw: int, budget: float
) -> tuple[Int[np.ndarray, " T"], Bool[np.ndarray, "n I"]]:
    """The targets of a draw, and the fakes of one attack; of clean data none.

    The attacker knows the train part of real users.
    """
    known = split.train
    targets = unpopular_targets(known, plan.targets, np.random.default_rng([draw, 0]))
    if attack == CLEAN:
        return targets, np.zeros((0, known.n_items), bool)
    kind, _, surrogate = attack.partition(":")
    rng = np.random.default_rng([draw, 1, ATTACKS.index(kind)])
    n = number_of_fakes(known, budget)
    if kind in LEARNED:
        how = replace(plan.learning, surrogate=surrogate or plan.learning.surrogate)
        return targets, learned_profiles(kind, known, n, targets, rng, plan.size, how).profiles
    return targets, fake_profiles(kind, known, n, targets, rng, plan.size)


def _grouped(asked: Sequence[Cell]) -> Iterator[tuple[tuple, list[Cell]]]:
    """The cells that have the same fakes."""
    for attack, group in itertools.groupby(asked, key=lambda cell: (cell.draw, cell.attack, cell.budget)):
        yield attack, list(group)


def _words(row: dict) -> str:
    where = f"{row['attack']} {row['budget']:.1%}, {row['defence']}, {row['recommender']}, draw {row['draw']}"
    return f"{where}: hit ratio {row['hit_ratio']:.4f}, NDCG@{NDCG_CUT_OFF} {row['ndcg']:.4f}"


class _World:
    """The data after one attack, and what becomes of recommenders that are trained on them."""

    def __init__(self, split: Split, plan: Plan, kept: "Kept", draw: int, attack: str, budget: float):
        self.draw, self.attack, self.real = draw, attack, split.train.n_users
        self.targets, profiles = kept.profiles(
            f"{attack.replace(':', '-')}-{budget:g}-{draw}", lambda: make_profiles(attack, split, plan, draw, budget)
        )
        self.split = with_profiles(split, profiles)
        self.users = np.unique(split.train.users)
        self.fakes = len(profiles)

    def measure(self, name: str, asked: list[tuple[Cell, Victim]]) -> Iterator[dict]:
        """A row for each cell, all of one defence."""
        defence = DEFENCES[name]
        dropped = self._dropped(defence)
        split = without_users(self.split, dropped) if dropped.any() else self.split
        of_real, of_fakes = int(dropped[: self.real].sum()), int(dropped[self.real :].sum())
        known = to_device(self._served(dropped))
        for cell, victim in asked:
            began = time.perf_counter()
            fitted = victim.fit(defence.training, split, self.draw)
            how = {"side": fitted.side}
            ranks = target_ranks(fitted.recommenders, known, self.users, self.targets, **how)
            test = evaluate_ranking(fitted.recommenders, known, self.split.open_test(), (NDCG_CUT_OFF,), **how)
            yield asdict(cell) | {
                "hit_ratio": float(hit_ratio(ranks, HIT_CUT_OFF)[0]),
                "mean_rank": float(mean_rank(ranks)[0]),
                "ndcg": float(test.per_seed(f"NDCG@{NDCG_CUT_OFF}")[0]),
                "fakes": self.fakes,
                "fakes_dropped": of_fakes,
                "real_dropped": of_real,
                "seconds": time.perf_counter() - began,
            }

    def _served(self, dropped: Bool[np.ndarray, " U"]) -> Interactions:
        """What recommenders know when they are asked: real users' pairs, and those of fakes that were not found."""
        found = dropped & (np.arange(len(dropped)) >= self.real)
        return (without_users(self.split, found) if found.any() else self.split).train_and_valid()

    def _dropped(self, defence: Defence) -> Bool[np.ndarray, " U"]:
        """Whom the defence leaves out. Its detectors have not seen this kind of attack."""
        if defence.suspects is None:
            return np.zeros(self.split.train.n_users, bool)
        return defence.suspects(self.split.train, tuple(k for k in SIMULATED if k != self.attack), self.draw)


class Kept:
    """Finished cells and profiles, on disk if there is a folder for them.

    Args:
        out: the folder, or None.
        about: what all of its cells have in common, as `_about` gives it.

    Raises:
        UserError: the folder is a file, is damaged, or holds cells of something else.
    """

    def __init__(self, out: Path | None, about: dict):
        self._out, self._rows = None if out is None else Path(out), {}
        if self._out is None:
            return
        asked = self._out / "poisoning.json"
        before = read_object(asked) if asked.exists() else {}
        if differ := _differences(before, json.loads(json.dumps(about))):
            others = ", ".join(differ)
            raise UserError(
                f"{self._out} holds cells of another poisoning (other {others}); delete it, or name another"
            )
        together = about | {"recommenders": before.get("recommenders", {}) | about["recommenders"]}
        self._about = json.dumps(together, indent=1)
        self._read()

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: dict) -> None:
        """Keep a finished cell."""
        self._rows[_cell_of(row)] = row
        if self._out is not None:
            self._open()
            with open(self._out / "cells.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def profiles(self, name: str, make) -> tuple[Int[np.ndarray, " T"], Bool[np.ndarray, "n I"]]:
        """Targets and fakes, made if they are not there."""
        if self._out is None:
            return make()
        path = self._out / "profiles" / f"{name}.npz"
        if path.exists():
            try:
                with np.load(path) as stored:
                    return stored["targets"], stored["profiles"]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise UserError(f"{path} is damaged; delete it to make the profiles again") from error
        targets, profiles = make()
        self._open()
        path.parent.mkdir(exist_ok=True)
        write_arrays(path, targets=targets, profiles=profiles)
        return targets, profiles

    def _open(self) -> None:
        """Make the folder what it is; only when there is something to keep, so that mistakes leave nothing behind."""
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            write_text(self._out / "poisoning.json", self._about)
        except OSError as error:
            raise UserError(f"cannot write to the output directory {self._out}: {error.strerror}") from error

    def frame(self, asked: Sequence[Cell]) -> pd.DataFrame:
        """The rows of these cells."""
        return pd.DataFrame([self._rows[cell] for cell in asked])

    def _read(self) -> None:
        path = self._out / "cells.jsonl"
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a killed process left half a line
            write_text(path, whole)
        try:
            rows = [json.loads(line) for line in whole.splitlines()]
            self._rows = {_cell_of(row): row for row in rows}
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is damaged; delete it to measure again") from error


def _cell_of(row: dict) -> Cell:
    return Cell(*(row[name] for name in ("draw", "attack", "budget", "defence", "recommender")))


def _about(plan: Plan, split: Split, victims: dict[str, Victim]) -> dict:
    """What the cells of a folder have in common; attacks, budgets, defences and draws may be added later."""
    return {
        "targets": plan.targets, "size": plan.size, "learning": asdict(plan.learning), "split_sha256": split.sha256,
        "recommenders": {name: victim.about for name, victim in victims.items()},
    }  # fmt: skip


def _differences(before: dict, about: dict) -> list[str]:
    """What is not as it was; recommenders may be added."""
    of = [name for name in about if name != "recommenders" and name in before and before[name] != about[name]]
    known = before.get("recommenders", {})
    return of + [name for name, said in about["recommenders"].items() if known.get(name, said) != said]
