"""Why a trained model recommends an item to a user, and what an attack does to the user's list."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx

from gan_rec.data import Interactions
from gan_rec.data.sampling import Positives, to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import check_cutoffs
from gan_rec.experiments import choices, players
from gan_rec.experiments.fitting import Fitted, moved_rows, one_seed
from gan_rec.experiments.lists import indices_of
from gan_rec.language import load_encoder
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.text import PrincipalComponents
from gan_rec.robustness import explanations
from gan_rec.robustness.item_words import leave_one_word_out
from gan_rec.robustness.moves import moves


@dataclass(frozen=True)
class Explanation:
    """What carried a recommendation."""

    user: Any  # original ids
    item: Any
    title: str  # "" where the data have no texts
    method: str
    of: str  # "score" or "margin", see `gan_rec.robustness.explanations.ask`
    rank: int  # of the item, among those that the user does not have
    value: float  # of the score or margin
    empty: float | None  # what it is with an empty history; None where a history says nothing of it
    agreement: float | None  # of method similarity, see `gan_rec.robustness.explanations.Similar`
    items: pd.DataFrame  # item, title, attribution: the history, what carried most before the rest
    words: pd.DataFrame | None  # word, attribution: the item's text, in its order
    moved: pd.DataFrame | None  # under an attack, see `what_moved`
    attack: str | None = None  # its name and radius

    def values(self) -> dict:
        """As JSON holds it."""
        plain = {name: getattr(self, name) for name in ("title", "method", "of", "rank", "value", "empty", "agreement")}
        frames = {"history": self.items, "words": self.words, "moved": self.moved}
        rows = {name: None if x is None else _records(x) for name, x in frames.items()}
        return {"user": str(self.user), "item": str(self.item)} | plain | rows | {"attack": self.attack}

    def text(self, n: int = 10) -> str:
        """What carried most, as tables of `n` rows."""
        from gan_rec.experiments.explanation_views import text

        return text(self, n)

    def plot(self, n: int = 15):
        """The same as a matplotlib Figure."""
        from gan_rec.plot import explanation

        return explanation(self, n)

    def png(self) -> bytes:
        """The picture as a file's content."""
        from gan_rec.plot import png

        return png(self.plot())

    def bars(self, n: int = 15) -> list[tuple[str, str, pd.DataFrame]]:
        """Title, unit and the n largest attributions by name: of the history and, where there are some, of words."""
        from gan_rec.experiments.explanation_views import bars

        return bars(self, n)

    @property
    def name(self) -> str:
        """Of the item, for people."""
        from gan_rec.experiments.explanation_views import named

        return named(self.item, self.title)


@dataclass(frozen=True)
class Model:
    """One seed of a trained model as explanations take it: put the right way round, with what is known."""

    recommender: nnx.Module
    known: Positives
    pairs: Interactions
    name: str


def model_of(fitted: Fitted, seed_index: int = 0) -> Model:
    """The final weights of one seed, when train and validation may be known.

    Raises:
        UserError: there is no such seed.
    """
    pairs = fitted.split.train_and_valid()
    pairs = pairs.of_users(np.arange(pairs.n_users))
    known = to_device(pairs)
    one = jax.tree.map(lambda x: x[0], one_seed(fitted, seed_index))
    return Model(flip(one, known, fitted.side), known, pairs, f"recommender {fitted.settings.recommender!r}")


def explain(
    fitted: Fitted,
    user: Any,
    item: Any = None,
    *,
    method: str | None = None,
    of: str = "margin",
    attack: str | None = None,
    radius: float | None = None,
    k: int = 20,
    seed_index: int = 0,
    titles: Sequence[str] | None = None,
) -> Explanation:
    """Explain why a user is recommended an item.

    Args:
        fitted: a trained model.
        user: original id.
        item: original id; None: the user's first recommendation.
        method: "leave-one-out", "integrated-gradients", or "similarity", the only one for recommenders that know users
            by their ids. None: leave-one-out where it is possible.
        of: "score", or "margin" (over the mean item that the user does not have).
        attack: tell also what an attack without parameters (noise, fgm, ...) moves in the user's list.
        radius: of that; None: the radius of the model's game.
        k: length of the list that it moves.
        seed_index: which of the S seeds.
        titles: of all I items; None: the texts that the data came with.

    Raises:
        UserError: an unknown user, item, method, or attack; a user without a history; an item that the user has; no
            such seed.
    """
    if of not in explanations.TARGETS:
        raise UserError(f"unknown target {of!r}; allowed: {', '.join(explanations.TARGETS)}")
    model, titles = model_of(fitted, seed_index), fitted.split.item_texts if titles is None else titles
    method = explanations.methods_of(model.recommender)[0] if method is None else method
    explanations.check_method(model.recommender, method, model.name)
    who, ranked = int(indices_of([user], model.pairs.user_ids)[0]), fitted.split.candidates
    places = ranks(model, who, ranked)
    what = int(np.argmin(places)) if item is None else int(indices_of([item], model.pairs.item_ids, "item")[0])
    _check(model, who, what, ranked)
    asked = explanations.ask(with_candidates(model.known, ranked), who, what, of)
    found, agreement = _attributions(model, asked, method)
    words = _words(fitted, model, asked, what)
    moved = None if attack is None else what_moved(fitted, user, attack, radius, k, seed_index, titles)
    reach = None if attack is None else f"{attack} of radius {_radius(fitted, radius):g}"
    return Explanation(
        model.pairs.user_ids[who], model.pairs.item_ids[what], titles[what] if titles else "", method, of,
        int(places[what]), _value(model, asked, asked.history),
        _value(model, asked, jnp.zeros_like(asked.history)) if explanations.reads_history(model.recommender) else None,
        agreement, _frame(model, asked, found, titles), words, moved, reach,
    )  # fmt: skip


def ranks(model: Model, user: int, candidates: np.ndarray | None = None) -> np.ndarray:
    """The place of each item for a user, from 1, among those that the user does not have; these come last, `[I]`."""
    scores, history = map(np.asarray, _scores(model.recommender, model.known, jnp.asarray([user])))
    hidden = history > 0
    if candidates is not None:
        hidden = hidden | ~candidates
    order = np.argsort(np.where(hidden, np.inf, -scores), kind="stable")
    return np.argsort(order) + 1


@jax.jit
def _scores(recommender, known: Positives, user):
    """Scores of all items for one user, and the history."""
    rows, history = on_graph(recommender, known), known.history(user)
    return rows.score(rows.users(user, history), rows.items())[0], history[0]


def what_moved(
    fitted: Fitted,
    user: Any,
    attack: str = "fgm",
    radius: float | None = None,
    k: int = 20,
    seed_index: int = 0,
    titles: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What an attack does to a user's list, and whose row it was.

    Args:
        fitted: a trained model.
        user: original id.
        attack: one without parameters.
        radius: relative to the length of each row; None: that of the model's game.
        k: list length.
        seed_index: which of the S seeds.
        titles: of all I items.

    Returns:
        A row for each item that is in the list before or after: `item, title, change` (entered, left or stayed),
        `rank before, rank after, score before, score after`, what the moved row of the user and that of the item alone
        do to the score, and by which part of its length each row moved.

    Raises:
        UserError: an unknown user or attack, or no such seed.
    """
    one_seed(fitted, seed_index)
    check_cutoffs((k,), fitted.split.train.n_items, fitted.split.candidates)
    model = model_of(fitted, seed_index)
    who = int(indices_of([user], model.pairs.user_ids)[0])
    both = [moved_rows(fitted, attack, r, goal="list") for r in (0.0, _radius(fitted, radius))]
    clean, moved = (jax.tree.map(lambda x: x[seed_index], rows) for rows in both)
    found = moves(clean, moved, with_candidates(model.known, fitted.split.candidates), who, k)
    inside = found.ranks <= k
    change = np.where(inside[0] & inside[1], "stayed", np.where(inside[0], "left", "entered"))
    return pd.DataFrame(
        {
            "item": model.pairs.item_ids[found.items], "title": _titles(titles, found.items), "change": change,
            "rank before": found.ranks[0], "rank after": found.ranks[1],
            "score before": found.scores[0], "score after": found.scores[1],
            "by user row": found.by_user, "by item row": found.by_item,
            "item row moved": found.item_steps, "user row moved": found.user_step,
        }
    )  # fmt: skip


def _radius(fitted: Fitted, radius: float | None) -> float:
    if radius is not None and not radius >= 0:
        raise UserError(f"radius must be 0 or more, got {radius}")
    return players.with_radius(fitted.settings).epsilon if radius is None else radius


def _check(model: Model, user: int, item: int, candidates: np.ndarray | None) -> None:
    """Raise UserError unless the recommendation can be explained."""
    own, (who, what) = model.pairs, (model.pairs.user_ids[user], model.pairs.item_ids[item])
    history = own.items[own.users == user]
    if not len(history):
        raise UserError(f"user {who} has no history that could carry a recommendation; give a user who has one")
    if item in history:
        raise UserError(f"user {who} has item {what} already; give an item that could be recommended")
    if candidates is not None and not candidates[item]:
        raise UserError(f"item {what} is not among the {int(candidates.sum())} cold items that are ranked")


def with_candidates(known: Positives, ranked: np.ndarray | None) -> Positives:
    """What is known, with the items that the test part ranks as those that can be had."""
    return known if ranked is None else dataclasses.replace(known, candidates=jnp.asarray(ranked, jnp.float32))


def _attributions(model: Model, asked: explanations.Asked, method: str) -> tuple[np.ndarray, float | None]:
    if method != "similarity":
        return explanations.attributions(model.recommender, model.known, asked, method), None
    return explanations.similarity(*explanations.rows(model.recommender, model.known, asked), asked)


def _value(model: Model, asked: explanations.Asked, history) -> float:
    if explanations.reads_history(model.recommender):
        return float(explanations.values(model.recommender, model.known, asked, history[None])[0])
    users, items = explanations.rows(model.recommender, model.known, asked)
    return float(users[-1] @ (np.asarray(asked.weights) @ items))


def _frame(model: Model, asked: explanations.Asked, found: np.ndarray, titles) -> pd.DataFrame:
    own = np.flatnonzero(np.asarray(asked.history))
    own = own[np.argsort(-found[own], kind="stable")]
    return pd.DataFrame(
        {"item": model.pairs.item_ids[own], "title": _titles(titles, own), "attribution": found[own].astype(float)}
    )


def _titles(titles: Sequence[str] | None, items: np.ndarray) -> list[str]:
    return [titles[i] if titles else "" for i in items]


def _words(fitted: Fitted, model: Model, asked: explanations.Asked, item: int) -> pd.DataFrame | None:
    """What each word of the item's text carried, if the recommender reads texts."""
    settings, texts = fitted.settings, fitted.split.item_texts
    if "components" not in choices.RECOMMENDERS[settings.recommender].options:
        return None
    encoder = load_encoder(settings.encoder)
    components = PrincipalComponents(encoder.encode(texts, progress=False), settings.components)

    def encode(some):
        return components(encoder.encode(list(some), progress=False)).astype(np.float32)

    found = leave_one_word_out(model.recommender, asked, texts[item], encode)
    return pd.DataFrame(found, columns=["word", "attribution"])


def _records(frame: pd.DataFrame) -> list[dict]:
    """Rows with values as JSON knows them; ids as text."""
    plain = frame.astype({"item": str}) if "item" in frame else frame
    return plain.to_dict("records")
