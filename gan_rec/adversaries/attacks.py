"""Attacks without parameters. Called like any adversary: `attack(loss, users, items, key, ball)`.

`loss(users, items)` is what the attack raises. Inside a game it is a `gan_rec.games.rows.RowLoss`, which also knows the
gradient at the clean rows and the score distributions. What stands for items may be features, whose size E is not D.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.adversaries.ball import Ball


def gradient_at(loss, users: Float[Array, "*n D"], items: Float[Array, "*any E"]) -> tuple:
    """Gradient of the loss at the clean rows, which the game may have computed already."""
    known = getattr(loss, "known_gradient", None)
    return jax.grad(loss, argnums=(0, 1))(users, items) if known is None else known


def _random_ways(key: PRNGKeyArray, rows: tuple, loss=None) -> tuple:
    ways = tuple(jax.random.normal(k, r.shape) for r, k in zip(rows, jax.random.split(key), strict=True))
    movable = getattr(loss, "movable", None)  # where rows have padding, which is not to use up the radius
    return ways if movable is None else jax.tree.map(jnp.multiply, ways, movable(rows))


class Noise(nnx.Module):
    """Random directions of full length: what a perturbation of this size does when nobody chose it."""

    bounded = True  # every row ends on the sphere by construction

    def __call__(self, loss, users, items, key: PRNGKeyArray, ball: Ball):
        """Return rows moved to the edge of the ball, each in a direction drawn uniformly."""
        return ball.step((users, items), _random_ways(key, (users, items), loss))


class ClippedNoise(nnx.Module):
    """The article's algorithm (section 2, answer 2): `clip(x + noise, -1, 1)`, noise ~ N(0, 1).

    The noise has the size that it is given there relative to an x of unit scale: each entry gets N(0, 1) times
    `radius * |row| / sqrt(D)`. Whatever then leaves [-1, 1] is clipped, entries that were outside before included.
    The game brings rows back that the noise, or the clipping, took out of the ball.
    """

    def __call__(self, loss, users, items, key: PRNGKeyArray, ball: Ball):
        """Return noised and clipped rows."""
        ways = _random_ways(key, (users, items))
        radii = (ball.users, ball.items)
        moved = []
        for rows, way, radius in zip((users, items), ways, radii, strict=True):
            entries = Ball(radius, radius, "linf").step((rows, rows), (jnp.ones_like(rows),) * 2)[0] - rows
            moved.append(jnp.clip(rows + entries * way, -1.0, 1.0))
        return tuple(moved)


class FGM(nnx.Module):
    """Fast gradient method: every row moves to the edge of the ball along its own gradient of the loss.

    Source: Goodfellow et al., ICLR 2015, section 4, in the L2 form of Miyato et al., ICLR 2017, equation 5.
    """

    bounded = True  # every row ends on the sphere by construction

    def __call__(self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any E"], key, ball: Ball):
        """Return rows moved along the gradient; rows without gradient stay."""
        return ball.step((users, items), gradient_at(loss, users, items))


class FGSM(nnx.Module):
    """Fast gradient sign method: every entry of a row moves by the same amount, up or down.

    Whatever the game's norm: the step of L-infinity, as long as that of FGM.
    Source: Goodfellow et al., ICLR 2015, section 4.
    """

    bounded = True  # as long as the radius, in either norm

    def __call__(self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any E"], key, ball: Ball):
        """Return rows moved by the signs of the gradient."""
        return Ball(ball.users, ball.items, "linf").step((users, items), gradient_at(loss, users, items))


class PGD(nnx.Module):
    """Projected gradient: FGM in several steps, from a random point of the ball.

    Args:
        attack_steps: k, gradient steps of 2.5 / k of the radius each; after every one the rows are projected.

    Source: Madry et al., ICLR 2018, section 2.1.
    """

    bounded = True  # the last thing that happens to a row is its projection

    def __init__(self, attack_steps: int = 5):
        self.attack_steps = attack_steps

    def __call__(self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any E"], key, ball: Ball):
        """Return the rows after the last step."""
        rows = (users, items)
        fraction = 2.5 / self.attack_steps
        small = Ball(ball.users * fraction, ball.items * fraction, ball.norm)
        way_key, size_key = jax.random.split(key)
        edge = ball.step(rows, _random_ways(way_key, rows, loss))
        start = jax.tree.map(lambda e, r: r + (e - r) * jax.random.uniform(size_key), edge, rows)

        def step(moved, _):
            ways = jax.grad(loss, argnums=(0, 1))(*moved)
            offsets = jax.tree.map(jnp.subtract, small.step(rows, ways), rows)
            return ball.project(jax.tree.map(jnp.add, moved, offsets), rows), None

        return jax.lax.scan(step, start, length=self.attack_steps)[0]


class VAT(nnx.Module):
    """Virtual adversarial perturbation: the direction that changes the score distributions most. Needs no labels.

    Power iteration on the Hessian of KL(p(clean) || p(moved)), p the softmax of a user's scores.

    Args:
        attack_steps: power iterations.
        xi: length of the probing step, relative to the row.
        virtual: train against the divergence itself rather than against the labels' loss on the moved rows.

    Source: Miyato et al., TPAMI 2018, algorithm 1 (ICLR 2017, equation 8, for text).
    """

    bounded = True  # every row ends on the sphere by construction

    def __init__(self, attack_steps: int = 1, xi: float = 0.01, virtual: bool = True):
        self.attack_steps, self.xi, self.virtual = attack_steps, xi, virtual

    def __call__(self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any E"], key, ball: Ball):
        """Return rows moved along the directions found. `loss` must know `divergence`."""
        rows = (users, items)
        probe = Ball(self.xi, self.xi)

        def step(ways, _):
            return jax.grad(loss.divergence, argnums=(0, 1))(*probe.step(rows, ways)), None

        ways, _ = jax.lax.scan(step, _random_ways(key, rows, loss), length=self.attack_steps)
        return ball.step(rows, ways)


class Free(nnx.Module):
    """FGM along a gradient that training has computed anyway, so that it costs no backward pass of its own.

    The game plays every batch twice: on the clean rows, whose backward pass moves the recommender and is kept, and on
    the rows moved along what was kept. An epoch has as many steps as the twin's, over half as many batches.
    As an attack on a trained model it is FGM.

    Source: Shafahi et al., NeurIPS 2019, algorithm 1, with m = 2 replays and no perturbation carried to the next batch.
    """

    bounded = True  # every row ends on the sphere by construction
    reuses = True

    def __call__(self, loss, users: Float[Array, "*n D"], items: Float[Array, "*any E"], key, ball: Ball):
        """Return rows moved along the gradient."""
        return ball.step((users, items), gradient_at(loss, users, items))


class Accumulated(FGM):
    """FGM along the gradient of the whole training set rather than of a batch, at no more cost.

    In a small batch a row occurs once or twice, and its gradient there has little to do with the direction that hurts
    the row in all of the data, which is what an attack on the trained model takes. So the game adds up the gradients
    that training computes anyway, each batch counting .98 as much as the next; rows of the tables keep theirs while
    they do not occur. As an attack on a trained model it is FGM.
    """

    bounded = True  # every row ends on the sphere by construction
    accumulates = 0.98  # is left of a gradient one batch later
