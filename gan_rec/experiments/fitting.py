"""One model, trained: `fit`, and what can be asked of the result."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from gan_rec.data import Interactions, Split, StreamedInteractions
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation, check_cutoffs, evaluate_ranking
from gan_rec.evaluation.metrics import parse
from gan_rec.evaluation.significance import summary
from gan_rec.experiments import choices, players, scale
from gan_rec.experiments.beside import beside_pairs, reads_links
from gan_rec.experiments.lists import lists
from gan_rec.experiments.progress import ModelProgress
from gan_rec.experiments.settings import DEFAULT_KS, Settings
from gan_rec.progress import Progress
from gan_rec.recommenders.baselines import EDLAE
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.popularity import Popularity
from gan_rec.robustness import damage, losses_under_attack, train_generator
from gan_rec.robustness.attackers import WITHOUT_PARAMETERS
from gan_rec.train.fit import Fit, Observer, Store, Training
from gan_rec.train.mixed import MixedTraining
from gan_rec.train.tasks import Ranking


@dataclass(frozen=True)
class Fitted:
    """A model of S seeds, trained on a split."""

    settings: Settings  # resolved
    split: Split
    weights: Fit
    history: pd.DataFrame = field(repr=False)  # a row for each phase, epoch and seed

    @property
    def side(self) -> str:
        """How it was trained, see `gan_rec.recommenders.flipped.flip`."""
        return players.side_of(self.settings)

    def item_rows(self, seed_index: int = 0) -> np.ndarray:
        """Item representations `[I, D]` of one of the S seeds, as they serve the test.

        Raises:
            UserError: there is no such seed.
        """
        recommender = jax.tree.map(lambda x: x[0], one_seed(self, seed_index))
        known = to_device(self.split.train_and_valid())
        return np.asarray(flip(on_graph(recommender, known), known, self.side).items())

    @property
    def chosen_epochs(self) -> list[int]:
        """The epoch that validation chose, for each seed."""
        return [int(epoch) for epoch in self.weights.selected.epoch]

    def _repr_html_(self) -> str:
        from gan_rec.experiments.views import fitted_html

        return fitted_html({"": self})


class History:
    """Keeps the rows of all epochs; a `gan_rec.train.fit.Observer`."""

    def __init__(self):
        self.rows: list[dict] = []

    def begin(self, phase: str, epoch: int, epochs: int) -> None:
        """Nothing to do: a training in memory never goes on from a checkpoint."""

    def tell(self, rows: list[dict]) -> None:
        """See `Observer.tell`."""
        self.rows.extend(rows)


def training(
    settings: Settings,
    split: Split,
    observers: tuple[Observer, ...],
    store: Store | None = None,
    mesh: str | None = None,
) -> Training | MixedTraining:
    """The training that `settings` (resolved) describe, ready to fit `split`.

    Args:
        settings: of the game.
        split: of which nothing but sizes, texts and candidates is read.
        observers, store: see `gan_rec.train.fit.Training`.
        mesh: how all devices share the work, see `gan_rec.train.sharding.parse_mesh`; None: one does it.

    Raises:
        UserError: settings, data and mesh do not go together.
    """
    players.check_split(settings, split)
    if settings.recommender == "mix" and isinstance(split.train, StreamedInteractions):
        raise UserError("streamed interactions need recommender 'mf', got 'mix'")
    if settings.recommender == "mix":
        users, items = (training(own, split, observers, store, mesh) for own in players.sides_of_mix(settings))
        linear = EDLAE(settings.edlae_l2, settings.edlae_dropout)
        return MixedTraining(users, dataclasses.replace(items, prefix=players.ITEM_SIDE), linear)
    check_cutoffs((parse(settings.select_on)[1],), split.train.n_items, split.valid.candidates)
    sizes = split.train.n_users, split.train.n_items
    layout = None if mesh is None else scale.make_layout(mesh, settings, *sizes)
    game = scale.with_score_chunks(players.make_game(settings), settings, *sizes)
    vectors = players.text_vectors(settings, split.item_texts)
    multiple, beside = 1 if layout is None else layout.multiple, beside_pairs(settings, split.side_information)
    make = players.make_recommender(settings, *sizes, vectors, beside=beside, multiple=multiple)
    schedule = scale.with_table_updates(players.make_schedule(settings), settings, game, make)
    parts = {
        "game": game,
        "make_recommender": make,
        "make_adversary": players.make_adversary(settings, *sizes, beside),
        "schedule": dataclasses.replace(schedule, layout=layout),
        "budget": players.make_budget(settings),
        "seeds": settings.seed_list,
        "observers": observers,
        "store": store,
    }
    if isinstance(split.train, StreamedInteractions):
        return scale.streamed(settings, split.train, parts)
    return Training(**parts, task=Ranking(players.side_of(settings)))


def resolve(options: dict[str, Any]) -> Settings:
    """Settings from keyword arguments.

    Raises:
        UserError: an option or a value that is not allowed.
    """
    unknown = set(options) - {f.name for f in dataclasses.fields(Settings)}
    if unknown:
        known = ", ".join(f.name for f in dataclasses.fields(Settings))
        raise UserError(f"unknown option {', '.join(sorted(unknown))}; allowed: {known}")
    return Settings(**options).resolved()


def fit(split: Split, *, progress: bool = True, mesh: str | None = None, **options: Any) -> Fitted:
    """Train a recommender against an adversary on a split.

    Args:
        split: what `gan_rec.split` returns; its test part is not read.
        progress: show it.
        mesh: how all devices share the work, for example "data=2,model=4": batches in 2 parts, tables of mf in 4.
            None: one device does it.
        options: see `gan_rec.Settings`, for example `recommender="mf", epsilon=0.2, seeds=5`. With `alpha=1` the
            adversary does not play: that is the twin.

    Raises:
        UserError: an option or a value that is not allowed.
    """
    settings = resolve(options)
    history = History()
    with Progress(enabled=progress) as shown:
        name = "adversarial" if settings.alpha < 1 else "twin"
        observers = (history, ModelProgress(shown, name, settings, split))
        weights = training(settings, split, observers, mesh=mesh).fit(split.train, split.valid)
    return Fitted(settings, split, weights, pd.DataFrame(history.rows))


def evaluate(fitted: Fitted, on: str = "test", ks: Sequence[int] = DEFAULT_KS) -> Evaluation:
    """Rank the whole catalogue, or after a split by cold items these, and measure.

    Accuracy and coverage at every cut-off; Gini, novelty, popularity, diversity, and the accuracy for groups of users
    and on unpopular items at the largest one, see `gan_rec.evaluation.beyond.beyond_accuracy`.

    Args:
        fitted: a trained model.
        on: "test" (the final weights; train and validation items are left out of the ranking) or "validation" (the
            weights before the refit, which have not seen it).
        ks: cut-offs.

    Raises:
        UserError: `on` or a cut-off is not allowed.
    """
    part = part_of(fitted, on)
    how = {"side": fitted.side, "beyond_accuracy": True}
    return evaluate_ranking(part.recommenders, to_device(part.known), part.truth, tuple(ks), **how)


def evaluate_attacked(
    fitted: Fitted,
    attack: Any = "fgm",
    radius: Any = 0.1,
    on: str = "test",
    ks: Sequence[int] = DEFAULT_KS,
    *,
    rows: str = "both",
) -> Evaluation:
    """The same, with user and item rows moved by an attack: what a perturbation of this size does to the ranking.

    Args:
        fitted: a trained model.
        attack: the name of an attack without parameters (noise, clipped-noise, random-search, fgsm, fgm, pgd, vat), or
            an adversary.
        radius: relative to the length of each row; one, or one for each seed.
        on: "test" or "validation".
        ks: cut-offs.
        rows: which may move, see `gan_rec.robustness.damage.move_rows`.

    Raises:
        UserError: `attack`, `on`, a cut-off or `rows` is not allowed.
    """
    part = part_of(fitted, on)
    moved = moved_rows(fitted, attack, radius, on, rows=rows)
    return evaluate_ranking(moved, to_device(part.known), part.truth, tuple(ks))


def moved_rows(
    fitted: Fitted,
    attack: Any = "fgm",
    radius: Any = 0.1,
    on: str = "test",
    *,
    goal: str = "loss",
    rows: str = "both",
    k: int = 20,
) -> damage.Moved:
    """The S recommenders of `evaluate_attacked`, with the rows that the attack has moved.

    Args:
        fitted, attack, radius, on: as there.
        goal, k: what the attack raises, see `gan_rec.robustness.damage.move_rows`.
        rows: which may move, as there.

    Raises:
        UserError: `attack`, `on` or `rows` is not allowed.
    """
    check_rows(fitted, rows)
    if isinstance(attack, str):
        choices.one_of("attack", attack, WITHOUT_PARAMETERS)
        attack = WITHOUT_PARAMETERS[attack]()
    part, key = part_of(fitted, on), jax.random.key(fitted.settings.seed)
    how = attacked_how(fitted) | {"radius": radius, "goal": goal, "rows": rows, "k": k}
    how["ranked"] = part.truth.candidates
    return damage.move_rows(part.recommenders, attack, to_device(part.known), key, **how).moved


class Part(NamedTuple):
    """What a part of a split is measured with."""

    recommenders: Any  # weights with a leading axis of S
    known: Interactions
    truth: Interactions


def part_of(fitted: Fitted, on: str) -> Part:
    """The weights that have not seen a part, what they may know, and its pairs.

    Args:
        fitted: a trained model.
        on: "test" or "validation".

    Raises:
        UserError: another part.
    """
    split, weights = fitted.split, fitted.weights
    if on == "validation":
        return Part(weights.selected.recommender, split.train, split.valid)
    if on != "test":
        raise UserError(f"unknown part {on!r}; allowed: test, validation")
    return Part(weights.final.recommender, split.train_and_valid(), split.open_test())


def check_rows(fitted: Fitted, rows: str) -> None:
    """Raise UserError unless a model has rows of this kind, of `gan_rec.robustness.damage.ROWS`."""
    choices.one_of("rows", rows, damage.ROWS)
    recommender = fitted.settings.recommender
    if rows == "features" and recommender not in choices.WITH_FEATURES:
        raise UserError(
            f"rows 'features' needs a model whose items have some ({', '.join(choices.WITH_FEATURES)}), got "
            f"{recommender!r}"
        )


def attacked_how(fitted: Fitted) -> dict[str, Any]:
    """The loss, norm and side that `gan_rec.robustness.damage.move_rows` attacks a model with."""
    settings = fitted.settings
    loss = settings.loss or choices.RECOMMENDERS[settings.recommender].training["loss"]
    return {"loss": loss, "norm": settings.norm or "l2", "side": fitted.side}


def evaluate_popularity(split: Split, ks: Sequence[int] = DEFAULT_KS) -> Evaluation:
    """The same test for the baseline that recommends the most popular unseen items of train + validation."""
    known = split.train_and_valid()
    recommender = jax.tree.map(lambda x: x[None], Popularity(known))
    return evaluate_ranking(recommender, to_device(known), split.open_test(), tuple(ks), beyond_accuracy=True)


def recommend(
    fitted: Fitted,
    users: Sequence[Any] | None = None,
    k: int = 10,
    *,
    seed_index: int = 0,
    memory: int = 64,
    titles: bool = False,
) -> pd.DataFrame:
    """The best K items for each user that are in neither train nor validation; after a split by cold items, of these.

    Users without history get the items that most users have, but by recommenders that read links between users.

    Args:
        fitted: a trained model.
        users: original user ids; None for all.
        k: list length.
        seed_index: which of the S seeds answers.
        memory: MiB of scores that are held at a time.
        titles: add the texts of the items, as the data have them, as the column `title`.

    Returns:
        A row for each recommendation, in the given order of users: `user, rank, item, score`, with original ids.

    Raises:
        UserError: an unknown user, `k` outside the catalogue, no such seed, memory below 1, or items without texts.
    """
    if titles and fitted.split.item_texts is None:
        raise UserError("these items have no titles; load the data with item_text=True, or with a file of texts")
    known, candidates = fitted.split.train_and_valid(), fitted.split.candidates
    one = one_seed(fitted, seed_index)
    how = {"candidates": candidates, "memory": memory, "knows_strangers": reads_links(fitted.settings)}
    found = lists(one, known, users, k, side=fitted.side, **how)
    if titles:
        title = dict(zip(known.item_ids.tolist(), fitted.split.item_texts, strict=True))
        found["title"] = [title[item] for item in found["item"].tolist()]
    return found


def one_seed(fitted: Fitted, seed_index: int):
    """The final weights of one of the S seeds, with a leading axis of 1.

    Raises:
        UserError: there is no such seed.
    """
    n_seeds = fitted.settings.seeds
    if not 0 <= seed_index < n_seeds:
        raise UserError(f"seed index {seed_index} is not possible: {n_seeds} seeds were trained, so 0 to {n_seeds - 1}")
    return jax.tree.map(lambda x: x[seed_index : seed_index + 1], fitted.weights.final.recommender)


def probe(adversarial: Fitted, twin: Fitted) -> dict[str, dict[str, dict]]:
    """Both models' training loss: clean, under random noise, gradient attacks and generators, all of one radius.

    "generator" is trained anew against each model's frozen weights, with the same initial values, batches and number
    of steps for both; "game" is the one that the adversarial training ended with, so for the twin it comes from
    another model. See `gan_rec.robustness.ATTACKS`. After a game without a generator of embeddings the radius is the
    default of the embedding game, the generator its default, and there is no "game". A mix is only attacked without
    generators: those that its parts have played against know rows of other lengths.

    Returns:
        model -> attack -> the summary of the loss over seeds, with that of its rise over the clean loss as "rise"; and
        "rise_difference" -> attack -> the summary of the adversarial model's rise minus the twin's, paired by seed.
    """
    settings = adversarial.settings
    beside = beside_pairs(settings, adversarial.split.side_information)
    game, schedule, maker, learned = players.attackers(settings, adversarial.split.train, beside)
    key = jax.random.key(settings.seed)
    result, rises = {}, {}
    for name, fitted in {"adversarial": adversarial, "twin": twin}.items():
        known = fitted.split.train_and_valid() if settings.refit else fitted.split.train
        positives = to_device(known.transposed() if fitted.side != "user" else known)
        weights = fitted.weights.final.recommender
        keys = jax.random.split(jax.random.fold_in(key, 1), settings.seeds)
        adversaries = {}
        if maker is not None:
            adversaries["generator"] = train_generator(weights, maker, game, positives, schedule, keys)
        if learned:
            adversaries["game"] = adversarial.weights.final.adversary
        losses = losses_under_attack(
            weights, adversaries, game, positives, jax.random.fold_in(key, 2), batch_size=schedule.batch_size
        )
        rises[name] = {attack: loss - losses["clean"] for attack, loss in losses.items()}
        result[name] = {
            attack: summary(loss) | {"rise": summary(rises[name][attack])} for attack, loss in losses.items()
        }
    result["rise_difference"] = {
        attack: summary(rise - rises["twin"][attack]) for attack, rise in rises["adversarial"].items()
    }
    return result
