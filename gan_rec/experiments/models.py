"""A model by its name, with what can be tuned of it: baselines in closed form, and recommenders that are trained.

A row of `BASELINES`, a `space` in `choices.RECOMMENDERS`, or for what is neither a row of `MODELS` is all that a new
model needs. Trained ones play game embedding: `mf` is the recommender alone, `mf+fgm` the same against an adversary,
with `mf` as its twin.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from gan_rec.data import Interactions, Split
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.evaluation.metrics import parse
from gan_rec.experiments import choices, fitting
from gan_rec.experiments.beside import beside_pairs, links_of
from gan_rec.experiments.checks import check_types, check_values
from gan_rec.experiments.players import check_split, side_of
from gan_rec.experiments.settings import Settings
from gan_rec.recommenders.baselines import BASELINES
from gan_rec.recommenders.popularity import Popularity
from gan_rec.space import Real, Space, Whole
from gan_rec.train.fit import Observer
from gan_rec.train.together import shape, together

Values = dict[str, Any]  # of the options in a space


@dataclass(frozen=True)
class Goal:
    """How models are measured while they are tuned.

    Args:
        select_on: the validation metric.
        epochs: the most epochs of a training; None: what the recommender has by default.
        seed: the first, of every trial.
    """

    select_on: str = "NDCG@20"
    epochs: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise UserError unless there is such a metric and the numbers are possible ones."""
        check_types(self)
        check_values(self)
        parse(self.select_on)


class Scored(NamedTuple):
    """What one trial came to on validation."""

    score: float
    epochs: int | None  # chosen; None of closed forms


class Refitted(NamedTuple):
    """A model of S seeds, fitted on train + validation."""

    recommenders: Any  # weights with a leading axis of S
    side: str  # "item" if users and items are in each other's place
    epochs: tuple[int, ...]  # chosen on validation, of each seed; () of closed forms


class Model(Protocol):
    """What the commands tune and compare ask of a model. None of it reads the test part of a split."""

    name: str
    twin: str | None  # the same without the adversary
    closed: bool  # a baseline in closed form
    seeded: bool  # whether seeds differ
    curved: bool  # whether its validation curve in training is one of what the trial is scored by

    def check(self, split: Split, goal: Goal) -> None:
        """Raise UserError if the model cannot take the data, as far as a look can tell."""

    def space(self, split: Split) -> Space:
        """What is tuned."""

    def defaults(self, split: Split) -> Values:
        """The values that it has untuned, brought into the space: the first trial of a search."""

    def groups(self, split: Split, batch: Sequence[Values], goal: Goal) -> list[list[int]]:
        """The numbers of a batch's trials, those together that `scores` takes as one program."""

    def scores(self, split: Split, batch: Sequence[Values], goal: Goal, observers: tuple[Observer, ...] = ()):
        """Fit on train and measure on validation: a `Scored` for each of the trials, which are of one group."""

    def fit(
        self, split: Split, values: Values, seeds: tuple[int, ...], goal: Goal, observers: tuple[Observer, ...] = ()
    ) -> Refitted:
        """Fit on train + validation; the epoch of each seed, if it is trained, is chosen on validation before."""


@dataclass(frozen=True)
class ClosedForm:
    """A baseline.

    Args:
        name: of it.
        make: options -> what has `fit(pairs, seed)`, with their defaults, `space` and perhaps `random` beside them.
    """

    name: str
    make: Callable
    twin = None
    closed = True
    curved = False

    @property
    def seeded(self) -> bool:
        """See `Model`."""
        return getattr(self.make, "random", False)

    def check(self, split: Split, goal: Goal) -> None:
        """See `Model`; what is too large is seen when it is fitted."""
        self._beside(split)

    def space(self, split: Split) -> Space:
        """See `Model`; a rank is below the numbers of users and items."""
        most = min(split.train.n_users, split.train.n_items) - 1
        return {name: part.at_most(most) if name == "dim" and isinstance(part, Whole) else part
                for name, part in self.make.space.items()}  # fmt: skip

    def defaults(self, split: Split) -> Values:
        """See `Model`."""
        untuned = self.make()
        return {name: part.nearest(getattr(untuned, name)) for name, part in self.space(split).items()}

    def groups(self, split: Split, batch: Sequence[Values], goal: Goal) -> list[list[int]]:
        """See `Model`; each alone."""
        return [[number] for number in range(len(batch))]

    def scores(self, split: Split, batch: Sequence[Values], goal: Goal, observers=()) -> list[Scored]:
        """See `Model`."""
        known, k = to_device(split.train), parse(goal.select_on)[1]
        beside = self._beside(split)
        fitted = (self._stacked(split.train, values | beside, (goal.seed,)) for values in batch)
        found = (evaluate_ranking(each, known, split.valid, (k,)).per_seed(goal.select_on) for each in fitted)
        return [Scored(float(score[0]), None) for score in found]

    def fit(self, split: Split, values: Values, seeds: tuple[int, ...], goal: Goal, observers=()) -> Refitted:
        """See `Model`; one seed stands for all where nothing is random."""
        pairs, values = split.train_and_valid(), values | self._beside(split)
        return Refitted(self._stacked(pairs, values, seeds if self.seeded else seeds[:1]), "user", ())

    @property
    def reads_links(self) -> bool:
        """Whether it is given links between users."""
        return getattr(self.make, "reads_links", False)

    def _beside(self, split: Split) -> Values:
        """What it reads beside pairs."""
        return {"links": links_of("model", self.name, split.side_information)} if self.reads_links else {}

    def _stacked(self, pairs: Interactions, values: Values, seeds: tuple[int, ...]):
        models = [self.make(**values).fit(pairs, seed) for seed in seeds]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)


@dataclass(frozen=True)
class MostPopular:
    """What most users have, as a baseline without options."""

    space = {}

    def fit(self, train: Interactions, seed: int = 0) -> Popularity:
        """The counts; nothing is random."""
        return Popularity(train)


@dataclass(frozen=True)
class Trained:
    """A recommender that is trained, alone or against an adversary: in game domain where it can, else in embedding."""

    recommender: str
    adversary: str | None = None
    closed = False
    seeded = True

    @property
    def game(self) -> str:
        """Which game it plays."""
        return "domain" if _plays_domain(self.recommender, self.adversary) else "embedding"

    @property
    def name(self) -> str:
        """See `Model`."""
        return self.recommender if self.adversary is None else f"{self.recommender}+{self.adversary}"

    @property
    def twin(self) -> str | None:
        """See `Model`."""
        return None if self.adversary is None else self.recommender

    @property
    def curved(self) -> bool:
        """See `Model`; the parts of a mix have curves of their own, none of which is that of the mix."""
        return self.recommender != "mix"

    def check(self, split: Split, goal: Goal) -> None:
        """See `Model`."""
        settings = self.settings({}, goal)
        check_split(settings, split)
        beside_pairs(settings, split.side_information)

    def space(self, split: Split) -> Space:
        """See `Model`; that of the recommender, of the game, and the pace of an adversary that learns."""
        own = choices.RECOMMENDERS[self.recommender].space
        if self.adversary is None:
            return own
        learns = "hidden" in choices.ADVERSARIES[self.adversary]
        pace = {"adversary_learning_rate": Real(3e-4, 1e-2, log=True)} if learns else {}
        of_game = dict(choices.GAMES[self.game].space)
        if self.adversary == "free":  # whose steps have one loss at a time, so that no weight is at work
            del of_game["alpha"]
        return {**own, **of_game, **pace}

    def defaults(self, split: Split) -> Values:
        """See `Model`."""
        untuned = self.settings({}, Goal())
        return {name: part.nearest(getattr(untuned, name)) for name, part in self.space(split).items()}

    def settings(self, values: Values, goal: Goal, seeds: tuple[int, ...] | None = None) -> Settings:
        """Settings (resolved) of a training with such values; those of consecutive seeds with a refit, else of one."""
        default = "fgm" if self.game == "embedding" else None
        alone = {"adversary": default, "alpha": 1.0} if self.adversary is None else {"adversary": self.adversary}
        settings = Settings(
            game=self.game, recommender=self.recommender, select_on=goal.select_on, epochs=goal.epochs,
            refit=seeds is not None,
            seed=goal.seed if seeds is None else seeds[0], seeds=1 if seeds is None else len(seeds),
            **alone | values,
        ).resolved()  # fmt: skip
        return dataclasses.replace(settings, evaluate_every=min(settings.evaluate_every, settings.epochs))

    def groups(self, split: Split, batch: Sequence[Values], goal: Goal) -> list[list[int]]:
        """See `Model`."""
        groups: dict[Any, list[int]] = {}
        for number, values in enumerate(batch):
            groups.setdefault(shape(self._training(split, values, goal)), []).append(number)
        return list(groups.values())

    def scores(
        self, split: Split, batch: Sequence[Values], goal: Goal, observers: tuple[Observer, ...] = ()
    ) -> list[Scored]:
        """See `Model`; all trials are trained in one program, from the same seed.

        Raises:
            TrainingDivergedError: one of them does.
        """
        if len(batch) == 1:
            training = self._training(split, batch[0], goal, observers)
        else:
            training = together([self._training(split, values, goal) for values in batch], observers)
        kept = training.fit(split.train, split.valid).selected
        return [Scored(float(score), int(epoch)) for score, epoch in zip(kept.score, kept.epoch, strict=True)]

    def fit(
        self, split: Split, values: Values, seeds: tuple[int, ...], goal: Goal, observers: tuple[Observer, ...] = ()
    ) -> Refitted:
        """See `Model`."""
        settings = self.settings(values, goal, seeds)
        fitted = fitting.training(settings, split, observers).fit(split.train, split.valid)
        epochs = tuple(int(epoch) for epoch in fitted.selected.epoch)
        return Refitted(fitted.final.recommender, side_of(settings), epochs)

    def _training(self, split: Split, values: Values, goal: Goal, observers: tuple[Observer, ...] = ()):
        return fitting.training(self.settings(values, goal), split, observers)


def _plays_domain(recommender: str, adversary: str | None) -> bool:
    known = choices.RECOMMENDERS.get(recommender)
    return known is not None and "domain" in known.games and adversary in (None, *choices.GAMES["domain"].adversaries)


MODELS: dict[str, Model] = {
    **{name: ClosedForm(name, make) for name, make in {"popularity": MostPopular, **BASELINES}.items()},
    **{name: Trained(name) for name, recommender in choices.RECOMMENDERS.items() if recommender.space},
}
ALL = tuple(MODELS)


def model(name: str) -> Model:
    """The model of a name: of a baseline, or RECOMMENDER or RECOMMENDER+ADVERSARY.

    Raises:
        UserError: there is none of that name.
    """
    if name in MODELS:
        return MODELS[name]
    recommender, _, adversary = name.partition("+")
    adversaries = choices.GAMES["embedding"].adversaries
    if adversary and _plays_domain(recommender, adversary):
        return Trained(recommender, adversary)
    trained = [each for each, known in MODELS.items() if isinstance(known, Trained)]
    if recommender in trained and adversary in adversaries:
        return Trained(recommender, adversary)
    raise UserError(
        f"unknown model {name!r}; allowed: {', '.join(ALL)}, and of {', '.join(trained)} RECOMMENDER+ADVERSARY with "
        f"one of {', '.join(adversaries)}"
    )


def readers(models: Sequence[Model]) -> list[Settings]:
    """Settings of those that may read more than pairs; a recommender over links stands for what is not trained."""
    trained = [Trained("social-lightgcn") if getattr(each, "reads_links", False) else each for each in models]
    return [each.settings({}, Goal()) for each in trained if isinstance(each, Trained)]


def models(names: Sequence[str]) -> list[Model]:
    """The models of these names, each once; "all" stands for ALL, and every adversarial model brings its twin.

    Raises:
        UserError: there is none of some name, or no name at all.
    """
    named = [model(each) for name in names for each in (ALL if name == "all" else (name,))]
    if not named:
        raise UserError(f"no model is named; allowed: all, {', '.join(ALL)}")
    with_twins = [other for each in named for other in ([model(each.twin)] if each.twin else []) + [each]]
    return list({each.name: each for each in with_twins}.values())
