"""Attacks for trained models alone: too slow for training, or in need of another model. Called like any adversary."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.adversaries import ATTACKS
from gan_rec.adversaries.attacks import FGM, FGSM, Noise, gradient_at
from gan_rec.adversaries.ball import Ball


class PatientPGD(nnx.Module):
    """Projected gradient with many steps from the point that FGM finds, which keeps the best point on its way.

    So its loss is never below that of FGM in the same ball. Steps shrink from the radius to a twentieth of it: the
    first cross the ball, the last settle.

    Args:
        attack_steps: gradient steps.
        restarts: starts, the first at FGM's point, the others at random points of the sphere; the best one counts.

    Source: Madry et al., ICLR 2018, section 2.1; shrinking steps and the best point as in Croce and Hein, ICML 2020,
    section 3.
    """

    bounded = True  # every point on the way has been projected

    def __init__(self, attack_steps: int = 20, restarts: int = 1):
        self.attack_steps, self.restarts = attack_steps, restarts

    def __call__(self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any E"], key: PRNGKeyArray, ball: Ball):
        """Return the rows with the highest loss that were met."""
        rows = (users, items)
        value, best = self._climb(loss, rows, ball.step(rows, gradient_at(loss, *rows)), ball)

        def again(found, key):
            value, best = found
            other = self._climb(loss, rows, Noise()(loss, *rows, key, ball), ball)
            best, value = _better(other, (value, best))
            return (value, best), None

        keys = jax.random.split(key, max(self.restarts - 1, 1))[: self.restarts - 1]
        return jax.lax.scan(again, (value, best), keys)[0][1] if self.restarts > 1 else best

    def _climb(self, loss, rows: tuple, start: tuple, ball: Ball) -> tuple:
        """The highest loss on the way, and where it was."""
        shares = jnp.geomspace(1.0, 0.05, self.attack_steps)
        rise = jax.value_and_grad(lambda moved: loss(*moved))

        def step(state, share):
            moved, best, value = state
            here, ways = rise(moved)
            best, value = _better((here, moved), (value, best))
            small = Ball(ball.users * share, ball.items * share, ball.norm)
            offsets = jax.tree.map(jnp.subtract, small.step(rows, ways), rows)
            return (ball.project(jax.tree.map(jnp.add, moved, offsets), rows), best, value), None

        (last, best, value), _ = jax.lax.scan(step, (start, start, loss(*start)), shares)
        best, value = _better((loss(*last), last), (value, best))
        return value, best


class RandomSearch(nnx.Module):
    """The best of many random points: an attack that needs no gradient, so that nothing can mask one.

    Given the items, what a user loses depends on the own row alone, so each user keeps the draw that was worst for
    that user; item rows, which all users share, are kept or replaced together. A gradient attack that does less than
    this has failed, and what it says of a model's robustness is void (Athalye et al., ICML 2018, section 3.1).

    Args:
        draws: of user rows, and of item rows.
    """

    bounded = True  # every draw lies on the sphere

    def __init__(self, draws: int = 32):
        self.draws = draws

    def __call__(self, loss, users: Float[Array, "U D"], items: Float[Array, "I D"], key: PRNGKeyArray, ball: Ball):
        """Return the worst rows that were drawn. `loss` must know `by_user`."""

        def draw_items(state, key):
            best, value = state
            _, moved = Noise()(loss, users, items, key, ball)
            best, value = _better((loss(users, moved), moved), (value, best))
            return (best, value), None

        def draw_users(state, key):
            best, values = state
            moved, _ = Noise()(loss, users, items, key, ball)
            here = loss.by_user(moved, worst_items)
            worse = here > values
            return (jnp.where(worse[:, None], moved, best), jnp.maximum(here, values)), None

        item_key, user_key = jax.random.split(key)
        start = (items, loss(users, items))
        (worst_items, _), _ = jax.lax.scan(draw_items, start, jax.random.split(item_key, self.draws))
        start = (users, loss.by_user(users, worst_items))
        (worst_users, _), _ = jax.lax.scan(draw_users, start, jax.random.split(user_key, self.draws))
        return worst_users, worst_items


class Given(nnx.Module):
    """Steps along given directions, for example those that an attack on another model took: transfer.

    Args:
        users, items: the directions, of the same shapes as the rows.

    Source: Papernot, McDaniel, Goodfellow, 2016: samples made on one model, used on another.
    """

    bounded = True  # every row ends on the sphere by construction

    def __init__(self, users: Float[Array, "*any D"], items: Float[Array, "*many E"]):
        self.ways = nnx.List([nnx.Param(users), nnx.Param(items)])

    def __call__(self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any E"], key, ball: Ball):
        """Return rows moved to the edge of the ball."""
        return ball.step((users, items), tuple(way[...] for way in self.ways))


def _better(first: tuple, second: tuple) -> tuple:
    """Of two pairs of a loss and rows the rows and loss of the higher one; not a number never is."""
    (new, moved), (old, best) = first, second
    higher = new > old
    return jax.tree.map(lambda a, b: jnp.where(higher, a, b), moved, best), jnp.where(higher, new, old)


# By name, those that need no other model and no training; strongest last.
ATTACKERS = {"noise": Noise, "random-search": RandomSearch, "fgsm": FGSM, "fgm": FGM, "pgd": PatientPGD}
# All that have no parameters; of two of the same name the stronger.
WITHOUT_PARAMETERS = {**ATTACKS, **ATTACKERS}
