"""Automatic adversarial training: adversary, radius and alpha chosen on validation for clean and attacked rankings."""

import dataclasses
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import gan_rec
from gan_rec import plot
from gan_rec.data import Split
from gan_rec.errors import UserError
from gan_rec.experiments import choices
from gan_rec.experiments.config import Config, lasting_paths
from gan_rec.experiments.directory import begin, check_directory
from gan_rec.experiments.environment import environment
from gan_rec.experiments.evasion import evade, half_lost
from gan_rec.experiments.fitting import Fitted, fit
from gan_rec.experiments.reading import read
from gan_rec.experiments.settings import DataOptions, Settings
from gan_rec.files import write_text
from gan_rec.progress import Progress

ASKED = "hardening.json"
TRIALS = "trials.jsonl"
TWIN = {"adversary": None, "epsilon": None, "alpha": 1.0}
_POINTS = 4  # of a damage curve
_FIRST = {"adversaries": "vat", "epsilons": 0.3, "alphas": 0.5}


@dataclass(frozen=True)
class Candidates:
    """The adversarial trainings that are tried: all that can be made of these."""

    adversaries: tuple[str, ...] = ("vat", "pgd", "fgm")
    epsilons: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5)
    alphas: tuple[float, ...] = (0.3, 0.5)

    def values(self) -> list[dict]:
        """Of the three options, the twin first.

        Raises:
            UserError: one of them has no value.
        """
        for name, given in dataclasses.asdict(self).items():
            if not given:
                raise UserError(f"no {name} are given; give at least one, for example {_FIRST[name]}")
        made = itertools.product(self.adversaries, self.epsilons, self.alphas)
        return [TWIN, *({"adversary": a, "epsilon": e, "alpha": w} for a, e, w in made)]


@dataclass(frozen=True)
class Goal:
    """What is to be best on validation.

    Args:
        share: of the attacked NDCG@20 in the mix, the rest is that of the clean one.
        most_loss: how far the clean one may be below the twin's; None: as far as the mix allows.
    """

    share: float = 0.5
    most_loss: float | None = None

    def check(self) -> None:
        """Raise UserError unless both are possible."""
        if not 0 <= self.share <= 1:
            raise UserError(f"share must be from 0 to 1, got {self.share}")
        if self.most_loss is not None and not self.most_loss >= 0:
            raise UserError(f"most_loss must be at least 0, got {self.most_loss}")

    def choose(self, trials: pd.DataFrame) -> pd.Series:
        """The trial with the best mix; the twin, the first of them, always counts."""
        mix = (1 - self.share) * trials["clean"] + self.share * trials["attacked"]
        if self.most_loss is not None:
            mix = mix.where(trials["clean"] >= trials["clean"].iloc[0] - self.most_loss)
        return trials.loc[mix.idxmax()]


@dataclass(frozen=True)
class Hardening:
    """All that was asked, as it is kept."""

    data: DataOptions
    settings: Settings
    candidates: Candidates = Candidates()
    goal: Goal = Goal()

    def text_of(self) -> str:
        """As JSON."""
        whole = {"gan_rec": gan_rec.__version__, "task": "harden"} | dataclasses.asdict(self.data)
        for name in ("settings", "candidates", "goal"):
            whole[name] = dataclasses.asdict(getattr(self, name))
        return json.dumps(lasting_paths(whole), indent=1)


def front(trials: pd.DataFrame) -> pd.DataFrame:
    """The Pareto front: trials that no other one beats in clean and attacked NDCG at once, by clean NDCG."""
    ordered = trials.sort_values(["clean", "attacked"], ascending=False, kind="stable")
    best = ordered["attacked"].cummax().shift(fill_value=-1.0)
    return ordered[ordered["attacked"] > best]


def harden(asked: Hardening, out: Path, *, resume: bool = False, quiet: bool = False) -> tuple[pd.DataFrame, Settings]:
    """Try every candidate, and write down the run that the goal chooses. The test part is not read.

    Each is trained without refit, and attacked on validation by PGD (goal "list", both kinds of rows) at radii up to
    where the twin has lost half: "attacked" is the mean NDCG@20 over these radii. Writes hardening.json, trials.jsonl,
    front.png and config.json, which `train --config` takes.

    Args:
        asked: data, settings of the recommender, candidates and goal.
        out: a directory that is new or empty; with `resume` that of a search that was stopped.
        resume: go on; finished trials are not done again.
        quiet: show nothing.

    Returns:
        A row for each trial: `adversary, epsilon, alpha, clean, attacked, radius`, the twin first; and the settings of
        the chosen one.

    Raises:
        UserError: a value, the data or the directory does not allow it.
    """
    asked.goal.check()
    given = [name for name in TWIN if getattr(asked.settings, name) is not None]
    if given:
        raise UserError(f"{', '.join(given)}: these are what is searched; give adversaries, epsilons and alphas")
    values = asked.candidates.values()
    settings = [_settings(asked.settings, each) for each in values]  # every mistake shows before anything is trained
    check_directory(out, resume, ASKED)
    with Progress(enabled=not quiet) as progress:
        dataset, split = read(asked.data, settings[:1], progress)
        made_with = environment(dataset.sha256) | {"split_sha256": split.sha256}
        with begin(out, asked, made_with, resume, ASKED):
            trials = _try_all(split, values, settings, out / TRIALS, progress)
            chosen = asked.goal.choose(trials)
            best = _settings(asked.settings, {name: chosen[name] for name in TWIN}, refit=asked.settings.refit)
            write_text(out / "config.json", Config("ranking", asked.data, best).text_of())
            figure = plot.if_possible(plot.hardening, trials, front(trials), chosen)
            if figure is not None:
                plot.save(figure, out / "front.png")
    return trials, best


def _settings(settings: Settings, values: dict, *, refit: bool = False) -> Settings:
    """Of one trial."""
    known = {name: None if value is None or value != value else value for name, value in values.items()}
    if known["adversary"] is not None:
        choices.one_of("adversary", known["adversary"], choices.GAMES[settings.game].adversaries)
    return dataclasses.replace(settings, **known, refit=refit).resolved()


def _try_all(split: Split, values: list[dict], settings: list[Settings], path: Path, progress: Progress):
    kept = _kept(path)
    rows: list[dict] = []
    bar = progress.add("trials", 0, len(values))
    for i, (each, own) in enumerate(zip(values, settings, strict=True)):
        row = next((row for row in kept if all(row[name] == each[name] for name in TWIN)), None)
        if row is None:
            fitted = _fit(split, own)
            radius = rows[0]["radius"] if rows else half_lost(fitted)
            row = each | measured(fitted, radius)
            kept.append(row)
            write_text(path, "".join(json.dumps(one) + "\n" for one in kept))
        rows.append(row)
        numbers = f"{_name(row)}: clean {row['clean']:.4f}, attacked {row['attacked']:.4f}"
        progress.advance(bar, i + 1, len(values), f"trial {i + 1} of {len(values)}, ", numbers)
    return pd.DataFrame(rows)


def _fit(split: Split, settings: Settings) -> Fitted:
    return fit(split, progress=False, **{f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)})


def measured(fitted: Fitted, radius: float) -> dict[str, float]:
    """Clean NDCG@20 on validation, its mean under PGD over radii up to the given one, and that radius."""
    radii = [radius * (i + 1) / _POINTS for i in range(_POINTS)]
    found = evade({"": fitted}, ("pgd",), radii, on="validation", transfer=False)
    means = found.curves.groupby("radius")[found.metric].mean()
    return {"clean": float(means.loc[0.0]), "attacked": float(means.iloc[1:].mean()), "radius": radius}


def _kept(path: Path) -> list[dict]:
    """The trials that are finished."""
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged; delete it to begin anew") from error


def _name(row: dict | pd.Series) -> str:
    if row["alpha"] == 1:
        return "twin"
    return f"{row['adversary']}, epsilon {row['epsilon']:g}, alpha {row['alpha']:g}"
