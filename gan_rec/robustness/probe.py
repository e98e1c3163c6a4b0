"""The proof that the adversary plays: the recommender's own loss, clean and under perturbations of one radius."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gan_rec.adversaries.attacks import FGM, FGSM, PGD, Noise, gradient_at
from gan_rec.adversaries.ball import direction
from gan_rec.data.sampling import Positives
from gan_rec.train.epoch import Schedule, adversary_epoch, init

ATTACKS = {
    "clean": "no perturbation",
    "noise": "a random direction for every row",
    "fgm": "the gradient's direction for every row",
    "fgsm": "the gradient's signs for every row",
    "pgd": "the gradient in five steps",
    "generator": "a new generator, trained against these frozen weights",
    "game": "the generator that the adversarial training ended with",
}
_FIXED = {"noise": Noise(), "fgm": FGM(), "fgsm": FGSM(), "pgd": PGD()}


def train_generator(
    recommenders, make_adversary: Callable, game, positives: Positives, schedule: Schedule, keys, *, steps: int = 200
):
    """Train a new adversary against each of S frozen recommenders: an attack that knows the model it attacks.

    Returns:
        S adversaries. Every model gets the same initial values and batches (from `keys`, `[S]`) and as many steps.
    """
    frozen = jax.tree.map(lambda x: x[0], recommenders)
    state = init(lambda key: frozen, make_adversary, schedule, keys)
    return adversary_epoch(
        state._replace(recommender=recommenders), positives, game, schedule, keys, steps=steps
    ).adversary


def losses_under_attack(
    recommenders, adversaries: dict, game, positives: Positives, key, *, batch_size: int, batches: int = 16
) -> dict[str, Float[np.ndarray, " S"]]:
    """The data loss of each of S recommenders: clean, under attacks without parameters and under given adversaries.

    All models see the same batches of the pairs that they were trained on, without dropout, and all perturbations
    have the radius of the game.

    Args:
        recommenders: weights with a leading axis of S.
        adversaries: name -> S adversaries.
        game: whose loss is measured.
        positives: the pairs to draw batches from.
        key: one key; the same key gives the same batches.
        batch_size: B.
        batches: how many batches the mean is over.
    """
    measure = partial(_mean_loss, recommenders, game=game, positives=positives, key=key)
    measure = partial(measure, batch_size=batch_size, batches=batches)
    n_seeds = jax.tree.leaves(recommenders)[0].shape[0]

    def alike(attack):  # an attack without parameters has no leaf that could carry the axis of seeds
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (n_seeds, *x.shape)), attack)

    measured = {"clean": measure(None)} | {name: measure(alike(attack)) for name, attack in _FIXED.items()}
    return {name: np.asarray(x) for name, x in (measured | {n: measure(a) for n, a in adversaries.items()}).items()}


def _draw(recommender, game, positives: Positives, key, batch_size: int) -> tuple:
    """Clean rows of a random batch, the loss on it, and a key for the attack."""
    row_key, draw_key, attack_key = jax.random.split(key, 3)
    numbers = game.some_rows(positives, batch_size, row_key)
    batch = game.draw(positives, numbers, draw_key)
    rows = tuple(game.representations(recommender, batch, None))
    return rows, game.loss_of(recommender, batch, rows), attack_key


@partial(jax.jit, static_argnames=("batch_size", "batches"))
def _mean_loss(recommenders, adversaries, *, game, positives: Positives, key, batch_size: int, batches: int):
    def of_batch(recommender, adversary, key):
        rows, loss, attack_key = _draw(recommender, game, positives, key, batch_size)
        return loss(*rows) if adversary is None else loss(*game.attack(adversary, loss, *rows, attack_key))

    def of_seed(recommender, adversary):
        return jnp.mean(jax.lax.map(lambda k: of_batch(recommender, adversary, k), jax.random.split(key, batches)))

    return jax.vmap(of_seed)(recommenders, adversaries)


@partial(jax.jit, static_argnames=("batch_size", "batches"))
def gradient_cosines(
    recommenders, adversaries, game, positives: Positives, key, *, batch_size: int, batches: int = 16
) -> dict[str, Float[Array, " S"]]:
    """How far learned adversaries go from the gradient: the mean cosine of their steps to it.

    1 for the fast gradient method, 0 for random noise. Rows without a gradient, or that stay, do not count; batches are
    those of `losses_under_attack`.

    Args:
        recommenders, adversaries: S of each.
        game, positives, key, batch_size, batches: as there.

    Returns:
        The cosines of "users" and of "items", for each seed.
    """

    def of_batch(recommender, adversary, key):
        rows, loss, attack_key = _draw(recommender, game, positives, key, batch_size)
        moved = game.attack(adversary, loss, *rows, attack_key)
        return [
            _mean_cosine(after - before, gradient)
            for before, after, gradient in zip(rows, moved, gradient_at(loss, *rows), strict=True)
        ]

    def of_seed(recommender, adversary):
        found = jax.lax.map(lambda k: of_batch(recommender, adversary, k), jax.random.split(key, batches))
        return {name: jnp.mean(cosines) for name, cosines in zip(("users", "items"), found, strict=True)}

    return jax.vmap(of_seed)(recommenders, adversaries)


def _mean_cosine(steps: Float[Array, "*any D"], gradient: Float[Array, "*any D"]) -> Float[Array, ""]:
    cosines = jnp.sum(direction(steps) * direction(gradient), axis=-1)
    counted = jnp.any(steps != 0, axis=-1) & jnp.any(gradient != 0, axis=-1)
    return jnp.sum(cosines * counted) / jnp.maximum(jnp.sum(counted), 1)
