"""Both players looked at between two epochs: a batch of real rows, and what the adversary makes of them."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.data.sampling import Positives
from gan_rec.games.embedding import EmbeddingGame
from gan_rec.train.epoch import Schedule, State

_MOST_ROWS = 10_000


class Look(NamedTuple):
    """Rows of one batch, no entry dropped, and the adversary's in their place."""

    game: Any  # as it is looked at: both terms, nothing from batches before
    batch: Any
    rows: tuple[Float[Array, "B D"], Float[Array, "*n D"]]  # of users and items
    fakes: tuple[Float[Array, "B D"], Float[Array, "*n D"]]
    key: PRNGKeyArray  # that the attack was made with


def look(state: State, positives: Positives, game: Any, schedule: Schedule, key: PRNGKeyArray) -> Look:
    """Draw a batch and let the adversary play.

    Args:
        state: of one seed.
        positives: what batches are drawn from.
        game: an `EmbeddingGame`.
        schedule: its batch size is used.
        key: of all draws.
    """
    game = dataclasses.replace(game, feeding="joint", reuses=False, accumulates=0.0)
    row_key, draw_key, attack_key = jax.random.split(key, 3)
    batch = game.draw(positives, game.some_rows(positives, schedule.batch_size, row_key), draw_key)
    rows = game.representations(state.recommender, batch, None)
    loss = game.loss_of(state.recommender, batch, rows)
    return Look(game, batch, rows, game.attack(state.adversary, loss, *rows, attack_key), attack_key)


def distances(seen: Look) -> dict[str, Float[Array, "..."]]:
    """How far each fake of a user and of an item is from its real row, relative to the row's length."""
    apart = {}
    for name, row, fake in zip(("user", "item"), seen.rows, seen.fakes, strict=True):
        length = jnp.maximum(jnp.linalg.norm(row, axis=-1), 1e-12)
        apart[name] = jnp.linalg.norm(fake - row, axis=-1) / length
    return apart


class Between(NamedTuple):
    """What an observer may see between two epochs of a training on one device."""

    state: State  # of S seeds
    positives: Any
    game: Any
    schedule: Schedule

    def histograms(self, epoch: int) -> dict[str, np.ndarray]:
        """Of the first seed: Euclidean lengths of the rows of every matrix (at most 10,000), and distances of fakes.

        Fakes are those of a batch, in games that move embeddings and whose adversary plays by now.
        """
        found = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.state.recommender):
            if leaf.ndim == 3 and leaf.shape[1] > 1:
                name = jax.tree_util.keystr(path).removesuffix(".value").strip(".[]'")
                rows = np.asarray(leaf[0, :: -(-leaf.shape[1] // _MOST_ROWS)], np.float32)
                found[f"row lengths/{name}"] = np.linalg.norm(rows, axis=-1)
        if isinstance(self.game, EmbeddingGame) and isinstance(self.positives, Positives) and np.any(self.game.plays):
            state = jax.tree.map(lambda x: x[0], self.state)
            apart = _distances(state, self.positives, self.game, self.schedule, jax.random.key(epoch))
            found |= {f"fakes/distance from the {name}": np.ravel(x) for name, x in apart.items()}
        return found


@jax.jit
def _distances(state, positives, game, schedule, key):
    return distances(look(state, positives, game, schedule, key))
