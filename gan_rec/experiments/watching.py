"""A game watched from close by: gradients of both players, fakes beside real rows, epoch by epoch."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Float

from gan_rec.data import Split, refuse_streamed
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments.fitting import resolve, training
from gan_rec.progress import Progress
from gan_rec.train.epoch import epoch, init, with_memory
from gan_rec.train.looking import distances, look


class Snapshot(NamedTuple):
    """Rows of one batch and what the adversary made of them, after an epoch; no dropout."""

    epoch: int
    users: Float[np.ndarray, "B D"]
    items: Float[np.ndarray, "n D"]
    fake_users: Float[np.ndarray, "B D"]
    fake_items: Float[np.ndarray, "n D"]


@dataclass(frozen=True)
class Watched:
    """What `watch` saw."""

    history: pd.DataFrame  # a row for each snapshot
    snapshots: list[Snapshot]


def watch(split: Split, *, epochs: int = 60, every: int = 5, progress: bool = True, **options: Any) -> Watched:
    """Train one seed on the train part for a number of epochs, and look at it before the first and every few epochs.

    Nothing is selected and the test part is not read: this shows a game, it measures none.

    Args:
        split: what `gan_rec.split` returns.
        epochs: how many to train.
        every: epochs between two snapshots.
        progress: show it.
        options: see `gan_rec.Settings`; the game must be "embedding" or "apr".

    Returns:
        `history` with the columns `epoch`, `data_loss` and `adversarial_loss` (of one batch), `recommender_gradient`
        and `adversary_gradient` (Euclidean length over all weights; NaN for an attack without any), `user_distance`
        and `item_distance` (mean distance of a fake from its real row, relative to the row), and one `Snapshot` each.

    Raises:
        UserError: an option that is not allowed, or a game without embeddings to move.
    """
    settings = resolve(options | {"seeds": 1})
    if settings.game not in ("embedding", "apr"):
        raise UserError(f"game {settings.game!r} moves no embeddings; allowed: embedding, apr")
    if settings.recommender == "mix":
        raise UserError("recommender 'mix' is trained in parts; watch 'autoencoder', with side 'user' or 'item'")
    refuse_streamed(split.train, "watching a training")
    trainer = training(settings, split, ())
    game, schedule = trainer.game, trainer.schedule
    positives, key = to_device(split.train), jax.random.key(settings.seed)
    keys = jax.random.split(key, 1)
    state = init(trainer.make_recommender, trainer.make_adversary, schedule, keys, game.alpha)
    if getattr(game, "accumulates", 0):
        state = with_memory(state, positives, game, schedule)
    rows, snapshots = [], []
    with Progress(enabled=progress) as shown:
        bar = shown.add("watching", 0, epochs)
        for number in range(epochs + 1):
            if number:
                state, _ = epoch(state, positives, game, schedule, keys)
                shown.advance(bar, number, epochs, f"watching epoch {number}/{epochs} ", "")
            if number % every == 0 or number == epochs:
                numbers, seen = _look(_one_seed(state), positives, game, schedule, jax.random.fold_in(key, number))
                rows.append({"epoch": number} | {name: float(value) for name, value in numbers.items()})
                snapshots.append(Snapshot(number, *(np.asarray(x) for x in seen)))
    return Watched(pd.DataFrame(rows), snapshots)


def _one_seed(state):
    return jax.tree.map(lambda x: x[0], state)


@jax.jit
def _look(state, positives, game, schedule, key):
    seen = look(state, positives, game, schedule, key)
    game, batch = seen.game, seen.batch
    gradient, parts = jax.grad(game.recommender_loss, has_aux=True)(state.recommender, state.adversary, batch, seen.key)
    numbers = dict(parts) | {"recommender_gradient": optax.tree.norm(gradient), "adversary_gradient": jnp.nan}
    if jax.tree.leaves(state.adversary):
        own = jax.grad(game.adversary_loss)(state.adversary, state.recommender, batch, seen.key)
        numbers["adversary_gradient"] = optax.tree.norm(own)
    numbers |= {f"{name}_distance": jnp.mean(apart) for name, apart in distances(seen).items()}
    return numbers, [x.reshape(-1, x.shape[-1]) for x in (*seen.rows, *seen.fakes)]
