"""Which words of an item's text carried its recommendation: the score without each of them."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gan_rec.recommenders.two_tower import TwoTower
from gan_rec.robustness.explanations import Asked


def without_each(text: str) -> tuple[list[str], list[str]]:
    """The words of a text, and the text without each of them."""
    words = text.split()
    return words, [" ".join(words[:n] + words[n + 1 :]) for n in range(len(words))]


def leave_one_word_out(
    recommender: TwoTower,
    asked: Asked,
    text: str,
    encode: Callable[[Sequence[str]], Float[np.ndarray, "m T"]],
) -> list[tuple[str, float]]:
    """By how much an item's score falls without each word of its text, in the order of the text.

    The user's row stays: what is read of the item as a part of somebody's history does not change.

    Args:
        recommender: of one seed.
        asked: of which user and history.
        text: the item's.
        encode: from texts to the vectors that the recommender reads.
    """
    words, texts = without_each(text)
    if not words:
        return []
    # What a hybrid adds to the row is not of the text, and in both scores.
    rows = TwoTower.read(recommender, jnp.asarray(encode([text, *texts])))
    user = recommender.users(asked.user[None], asked.history[None])
    scores = np.asarray(recommender.score(user, rows))[0]
    return [(word, float(scores[0] - score)) for word, score in zip(words, scores[1:], strict=True)]
