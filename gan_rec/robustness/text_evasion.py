"""Text evasion: an item is promoted or demoted by a few edits of its description, which a person can read."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.language.encode import Encoder
from gan_rec.recommenders.text import PrincipalComponents
from gan_rec.recommenders.two_tower import TwoTower
from gan_rec.robustness.words import neighbours

CHOICES = ("greedy", "random")
_K = 10  # the list that the target is to enter or to leave
_WORD = re.compile(r"[A-Za-z]{3,}")
_SHORTEST_SWAP = 4  # letters of a word in which two neighbouring ones can change places
_TEMPERATURE = 0.2  # of the aim, in standard deviations of a user's scores


@dataclass(frozen=True)
class Evaded:
    """What became of one item.

    Args:
        target: the item.
        text: as it is now.
        edits: how many words were replaced or misspelt.
        before, after: the target's rank from 1 for each of the n users who do not have it, among what they do not have.
        promote: what was wanted.
    """

    target: int
    text: str
    edits: int
    before: Int[np.ndarray, " n"]
    after: Int[np.ndarray, " n"]
    promote: bool

    @property
    def success(self) -> float:
        """Of the users whose first ten did not show the target (or did, to be demoted) the part where that changed."""
        shown, now = self.before <= _K, self.after <= _K
        open_to = ~shown if self.promote else shown
        return float(np.mean((now != shown)[open_to])) if open_to.any() else np.nan

    @property
    def rank_change(self) -> float:
        """Mean of rank after minus rank before: below 0 is upwards."""
        return float(np.mean(self.after - self.before))


@dataclass(frozen=True)
class Readers:
    """How texts become what a recommender reads, and which words can stand for others.

    Args:
        vectors: texts -> `[n, T]`, in the space of the recommender's own.
        like: word in lower case -> words of like meaning.
    """

    vectors: Callable[[list[str]], Float[np.ndarray, "n T"]]
    like: Callable[[str], list[str]]


def readers(encoder: Encoder, texts: Sequence[str], components: int, *, k: int = 8, least: float = 0.5) -> Readers:
    """Those of a recommender over the principal components of an encoder's vectors of `texts`.

    Args:
        encoder: the language model.
        texts: of all items.
        components: how many components the recommender reads.
        k, least: neighbours of a word, and their least cosine, see `gan_rec.robustness.words.neighbours`.
    """
    reduce = PrincipalComponents(encoder.encode(list(texts), progress=False), components)
    kept: dict[str, list[str]] = {}

    def like(word: str) -> list[str]:
        if word not in kept:
            token = encoder.tokenizer.token_to_id(word)
            near = [] if token is None else neighbours(encoder, np.array([token]), k, least)[0]
            names = (encoder.tokenizer.id_to_token(int(n)) for n in near if n >= 0)
            kept[word] = [name for name in names if name.isalpha()]
        return kept[word]

    return Readers(lambda own: reduce(encoder.encode(own, progress=False)), like)


def candidates(text: str, edited: set[int], like: Callable[[str], list[str]]) -> list[tuple[str, int]]:
    """Texts that are one edit away, with the number of the word that was edited; no word is edited twice.

    An edit puts a word of like meaning in a word's place, or lets two letters inside of it change places; the first
    letter, by which people read (Rawlinson 1976), and the last one stay.
    """
    found = []
    for number, word in enumerate(_WORD.finditer(text)):
        if number in edited:
            continue
        old = word.group()
        new = [_in_case(old, other) for other in like(old.lower())]
        if len(old) >= _SHORTEST_SWAP:
            new += [old[:i] + old[i + 1] + old[i] + old[i + 2 :] for i in range(1, len(old) - 2)]
        # A new word that the pattern would not find would give later words other numbers.
        new = [other for other in dict.fromkeys(new) if other != old and _WORD.fullmatch(other)]
        found += [(text[: word.start()] + other + text[word.end() :], number) for other in new]
    return found


def _in_case(old: str, new: str) -> str:
    if old.isupper():
        return new.upper()
    return new.capitalize() if old[0].isupper() else new


def evade(
    recommender: TwoTower,
    known: Interactions,
    texts: Sequence[str],
    target: int,
    how: Readers,
    *,
    promote: bool = True,
    budget: int = 3,
    choose: str = "greedy",
    seed: int = 0,
) -> Evaded:
    """Edit the description of one item, as its provider could; the model and all other items stay as they are.

    Greedy: of all texts that are one edit away the one is taken that does most for the aim, until the budget is spent
    or none does more. The aim is how many users see the target among their first ten, smoothed. It asks only for
    scores (a black box), as Jin et al., AAAI 2020 (TextFooler) do for labels.

    Args:
        recommender: of one seed.
        known: the users' histories.
        texts: of the I items.
        target: which of them.
        how: see `readers`.
        promote: or demote.
        budget: the most words that are edited.
        choose: "greedy", or "random": as many edits, drawn, to compare with.
        seed: of what is drawn.

    Raises:
        UserError: there is no such item, the budget is below 0, `choose` is unknown, or every user has the item.
    """
    if choose not in CHOICES:
        raise UserError(f"unknown choice {choose!r}; allowed: {', '.join(CHOICES)}")
    if budget < 0:
        raise UserError(f"the budget must be at least 0 edits, got {budget}")
    if not 0 <= target < len(texts):
        raise UserError(f"the target must be an item from 0 to {len(texts) - 1}, got {target}")
    audience = _Audience(recommender, known, target)
    rng, text, edited = np.random.default_rng(seed), texts[target], set()
    before = audience.scores(how.vectors([text]))[0]
    best, now = audience.aim(before), before
    sign = 1 if promote else -1
    for _ in range(budget):
        options = candidates(text, edited, how.like)
        if not options:
            break
        if choose == "random":
            options = [options[rng.integers(len(options))]]
        scores = audience.scores(how.vectors([other for other, _ in options]))
        aims = np.array([audience.aim(own) for own in scores])
        taken = int(np.argmax(sign * aims))
        if choose == "greedy" and sign * aims[taken] <= sign * best:
            break
        best, now, (text, number) = aims[taken], scores[taken], options[taken]
        edited.add(number)
    return Evaded(target, text, len(edited), audience.ranks(before), audience.ranks(now), promote)


class _Audience:
    """The users who do not have the target, and what they are shown beside it."""

    def __init__(self, recommender: TwoTower, known: Interactions, target: int):
        positives = to_device(known.at_hand)
        history = positives.history(jnp.arange(positives.n_users))
        rows = np.asarray(recommender.users(jnp.arange(positives.n_users), history), np.float64)
        items, history = np.asarray(recommender.items(), np.float64), np.asarray(history)
        without = history[:, target] == 0
        if not without.any():
            raise UserError(f"every user has the item {known.item_ids[target]}, so nobody can be shown it")
        self.rows, self._recommender = rows[without], recommender
        scores = self.rows @ items.T
        self.spread = np.maximum(scores.std(axis=1), 1e-12)
        self.others = np.where(history[without] > 0, -np.inf, scores)
        self.others[:, target] = -np.inf
        k = min(_K, self.others.shape[1]) - 1
        self.limit = -np.partition(-self.others, k, axis=1)[:, k]
        self.limit = np.where(np.isfinite(self.limit), self.limit, scores.min(axis=1))
        # What a hybrid adds to the text of the target stays as it is.
        own = jnp.asarray(recommender.vectors.values[target : target + 1])
        self.offset = items[target] - np.asarray(TwoTower.read(recommender, own), np.float64)[0]

    def scores(self, vectors: Float[np.ndarray, "c T"]) -> Float[np.ndarray, "c n"]:
        """Of the target for each user, if its text had each of these vectors."""
        rows = np.asarray(TwoTower.read(self._recommender, jnp.asarray(vectors, jnp.float32)), np.float64)
        return (rows + self.offset) @ self.rows.T

    def aim(self, scores: Float[np.ndarray, " n"]) -> float:
        """The part of users who see the target among their first ten, smoothed."""
        return float(np.mean(expit((scores - self.limit) / (self.spread * _TEMPERATURE))))

    def ranks(self, scores: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Of the target for each user, from 1."""
        return 1 + np.sum(self.others > scores[:, None], axis=1)
