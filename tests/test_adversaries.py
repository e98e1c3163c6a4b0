from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gan_rec.adversaries import (
    FGM,
    FGSM,
    PGD,
    VAT,
    Attention,
    ClippedNoise,
    Free,
    Generator,
    GradientGenerator,
    Hull,
    Noise,
    Profile,
)  # fmt: skip
from gan_rec.adversaries.ball import Ball, direction, everywhere, length
from gan_rec.adversaries.generator import Tower

USERS = jax.random.normal(jax.random.key(0), (7, 6)) * 3
ITEMS = jax.random.normal(jax.random.key(1), (7, 2, 6))
CATALOGUE = jax.random.normal(jax.random.key(2), (11, 6)) * 2


class Loss(SimpleNamespace):
    """Something to raise, with what the richer adversaries ask for."""

    catalogue = CATALOGUE
    history = (jax.random.uniform(jax.random.key(3), (7, 11)) < 0.4).astype(jnp.float32)

    def __call__(self, users, items):
        return jnp.sum(jnp.sin(users) ** 2) + jnp.sum(items**3) / 10

    def divergence(self, users, items):
        """A quadratic bowl, steepest along the first axis; its value at the clean rows is 0."""
        scale = jnp.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0])
        return jnp.sum((scale * (users - USERS)) ** 2) + jnp.sum((scale * (items - ITEMS)) ** 2)


loss = Loss()


def distances(moved, rows):
    return np.linalg.norm(moved - rows, axis=-1) / np.linalg.norm(rows, axis=-1)


ON_THE_EDGE = [Noise(), FGM(), FGSM(), VAT(), Free()]
ON_THE_EDGE += [cls(6, rngs=nnx.Rngs(2)) for cls in (Generator, GradientGenerator, Attention)]
INSIDE = [PGD(), ClippedNoise(), Hull(6, anchors=5, rngs=nnx.Rngs(2)), Profile(6, anchors=5, rngs=nnx.Rngs(2))]


def name_of(adversary):
    return type(adversary).__name__


@partial(jax.jit, static_argnames="norm")
def play(adversary, radius, norm="l2", key=3):
    ball = everywhere(radius, norm)
    moved = tuple(adversary(loss, USERS, ITEMS, jax.random.key(key), ball))
    return moved if vars(type(adversary)).get("bounded") else ball.project(moved, (USERS, ITEMS))


@pytest.mark.parametrize("adversary", ON_THE_EDGE, ids=name_of)
@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_rows_move_by_the_relative_radius(adversary, radius):
    for moved, rows in zip(play(adversary, radius), (USERS, ITEMS), strict=True):
        assert moved.shape == rows.shape
        np.testing.assert_allclose(distances(moved, rows), radius, atol=1e-5)


@pytest.mark.parametrize("adversary", [*ON_THE_EDGE, *INSIDE], ids=name_of)
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_entry_leaves_the_ball(adversary, norm):
    for moved, rows in zip(play(adversary, 0.2, norm), (USERS, ITEMS), strict=True):
        assert (distances(moved, rows) < 0.2 + 1e-5).all()
        if norm == "linf" or isinstance(adversary, FGSM):
            most = np.abs(moved - rows).max(axis=-1) / np.linalg.norm(rows, axis=-1)
            assert (most < 0.2 / 6**0.5 + 1e-5).all()


@pytest.mark.parametrize("adversary", [FGM(), FGSM(), PGD(), Free()], ids=name_of)
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_gradient_attacks_raise_the_loss_and_noise_does_less(adversary, norm):
    clean = loss(USERS, ITEMS)
    noise = np.mean([loss(*play(Noise(), 0.1, norm, key)) for key in range(20)])
    assert loss(*play(adversary, 0.1, norm)) > max(clean, noise)


def test_fgm_and_fgsm_move_along_the_gradient():
    gradient = jax.grad(loss)(USERS, ITEMS)
    np.testing.assert_allclose(direction(play(FGM(), 0.1)[0] - USERS), direction(gradient), atol=1e-4)
    np.testing.assert_allclose(jnp.sign(play(FGSM(), 0.1)[0] - USERS), jnp.sign(gradient))


def test_fgm_takes_the_gradient_that_the_game_knows():
    known = Loss(known_gradient=(jnp.ones_like(USERS), -jnp.ones_like(ITEMS)))
    users, items = FGM()(known, USERS, ITEMS, jax.random.key(0), everywhere(0.1))
    assert (users > USERS).all() and (items < ITEMS).all()


def test_pgd_stops_where_fgm_overshoots():
    """The top lies inside the ball: one step of full length goes past it."""

    def peak(users, items):
        return -jnp.sum((users - 1.05 * USERS) ** 2) - jnp.sum((items - 1.05 * ITEMS) ** 2)

    reached = {}
    for attack in (FGM(), PGD(attack_steps=20)):
        reached[name_of(attack)] = peak(*attack(peak, USERS, ITEMS, jax.random.key(0), everywhere(0.5)))
    assert reached["PGD"] > reached["FGM"]


def test_vat_finds_the_direction_of_the_largest_curvature():
    users, _ = VAT(attack_steps=20)(loss, USERS, ITEMS, jax.random.key(0), everywhere(0.1))
    first_axis = np.abs(direction(users - USERS)[:, 0])
    np.testing.assert_allclose(first_axis, 1.0, atol=1e-3)


def test_clipped_noise_is_the_articles_formula():
    """Entries of unit scale: x + noise, cut at -1 and 1."""
    rows = jnp.array([[0.5, -0.5, 0.9, -0.9, 0.1, 0.3]])
    ball = everywhere(1.0)
    moved, _ = ClippedNoise()(loss, rows, rows[:, None], jax.random.key(0), ball)
    noise = jax.random.normal(jax.random.split(jax.random.key(0))[0], rows.shape)
    expected = np.clip(rows + noise * np.linalg.norm(rows) / 6**0.5, -1, 1)
    np.testing.assert_allclose(moved, expected, rtol=1e-5)
    assert np.abs(moved).max() == 1.0


def test_generator_is_symmetric():
    """Both signs of one direction come up, and nothing else."""
    generator = Generator(6, noise=1, rngs=nnx.Rngs(0))
    generator.user_tower.read_noise.kernel[...] *= 0.0
    steps = [play(generator, 0.2, key=s)[0] - USERS for s in range(12)]
    signs = [float(jnp.sign(jnp.vdot(step, steps[0]))) for step in steps]
    assert set(signs) == {-1.0, 1.0}
    for step, sign in zip(steps, signs, strict=True):
        np.testing.assert_allclose(step, sign * steps[0], atol=1e-5)


@pytest.mark.parametrize("dim", [3, 6])
def test_gradient_of_a_tower_is_that_of_its_formula(dim):
    """By weights and rows, of a layer that widens and of one that narrows."""
    tower = Tower(dim, 2, 4, nnx.Rngs(0))
    rows, z = jax.random.normal(jax.random.key(0), (5, 2, dim)), jnp.array([0.3, -0.2])

    def formula(tower, rows):
        read, noise, leave = (layer.kernel[...] for layer in (tower.read_row, tower.read_noise, tower.leave))
        units = rows / jnp.linalg.norm(rows, axis=-1, keepdims=True) * dim**0.5
        hidden = jnp.einsum("...d,dh->...h", units, read) + tower.read_row.bias[...] + z @ noise
        return jnp.einsum("...h,hd->...d", jnp.maximum(hidden, 0.0), leave)

    def gradient(make):
        return jax.jit(jax.grad(lambda *players: jnp.sum(jnp.sin(make(*players))), argnums=(0, 1)))(tower, rows)

    found, expected = gradient(lambda tower, rows: tower(z, rows)), gradient(formula)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_gradient_generator_follows_the_gradient_and_leaves_it_either_way():
    """What its network adds is turned round with the sign; without it, or with a large gain, it is FGM."""
    generator = GradientGenerator(6, noise=1, rngs=nnx.Rngs(0))
    along = direction(jax.grad(loss)(USERS, ITEMS))
    generator.gains[...] = jnp.array([1e4, 1.0])
    for key in range(8):  # of both signs
        np.testing.assert_allclose(play(generator, 0.1, key=key)[0], play(FGM(), 0.1)[0], atol=1e-3)
    generator.gains[...] = jnp.zeros(2)
    for tower in (generator.user_tower, generator.item_tower):  # blind for z and for the gradient
        tower.read_noise.kernel[...] *= 0.0
        tower.read_row.kernel[...] = tower.read_row.kernel[...].at[6:].set(0.0)
    steps = [play(generator, 0.2, key=s)[0] - USERS for s in range(12)]
    assert {float(jnp.sign(jnp.vdot(step, steps[0]))) for step in steps} == {-1.0, 1.0}
    sighted = GradientGenerator(6, noise=1, rngs=nnx.Rngs(0))
    cosines = jnp.sum(direction(play(sighted, 0.1)[0] - USERS) * along, axis=-1)
    assert 0.2 < float(jnp.mean(cosines)) < 0.99


@pytest.mark.parametrize("cls", [Generator, GradientGenerator, Attention, Hull, Profile])
def test_noise_changes_what_is_made(cls):
    adversary = cls(6, rngs=nnx.Rngs(0))
    first, second = (play(adversary, 0.2, key=key) for key in (0, 1))
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(first, second, strict=True))


def test_attention_reads_the_history():
    attention = Attention(6, rngs=nnx.Rngs(0))
    other = Loss(history=1.0 - loss.history)
    ball, key = everywhere(0.2), jax.random.key(0)
    first, second = (attention(given, USERS, ITEMS, key, ball) for given in (loss, other))
    assert np.abs(first[0] - second[0]).max() > 1e-4
    np.testing.assert_array_equal(first[1], second[1])
    nobody = Loss(history=jnp.zeros_like(loss.history))
    assert np.isfinite(attention(nobody, USERS, ITEMS, key, ball)[0]).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("radius", [0.3, 1e6])
def test_hull_never_leaves_the_convex_hull(radius, norm):
    """A point outside of it would have a direction in which it lies beyond all real rows."""
    items = CATALOGUE[:8]
    ball, key = everywhere(radius, norm), jax.random.key(5)
    users, mixed = Hull(6, anchors=6, rngs=nnx.Rngs(1))(loss, USERS, items, key, ball)
    np.testing.assert_array_equal(users, USERS)
    ways = jax.random.normal(jax.random.key(6), (500, 6))
    assert ((mixed @ ways.T).max(axis=0) <= (CATALOGUE @ ways.T).max(axis=0) + 1e-4).all()
    assert np.abs(mixed - items).max() > 1e-2
    if radius < 1:  # on the line to where an unbounded ball would have let it go: a mixture with the row itself
        free = Hull(6, anchors=6, rngs=nnx.Rngs(1))(loss, USERS, items, key, everywhere(1e6))[1]
        np.testing.assert_allclose(direction(mixed - items), direction(free - items), atol=1e-3)


def test_profile_histories_are_mixtures_of_items():
    made = Profile(6, anchors=7, profile_length=3, rngs=nnx.Rngs(1)).histories(CATALOGUE, USERS, jax.random.key(0))
    assert made.shape == (7, 3, 6)
    ways = jax.random.normal(jax.random.key(6), (300, 6))
    assert ((made.reshape(-1, 6) @ ways.T).max(axis=0) <= (CATALOGUE @ ways.T).max(axis=0) + 1e-4).all()


def test_project_keeps_the_inside_and_shortens_the_outside():
    rows = jnp.array([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]])
    moved = rows + jnp.array([[0.3, 0.0], [0.0, 10.0], [1.0, 0.0]])
    nearest, _ = everywhere(0.1).project((moved, moved), (rows, rows))
    np.testing.assert_allclose(nearest, [[3.3, 4.0], [3.0, 4.5], [0.0, 0.0]], atol=1e-6)  # the length of (3, 4) is 5
    nearest, _ = everywhere(0.1, "linf").project((moved, moved), (rows, rows))
    edge = 0.5 / 2**0.5
    np.testing.assert_allclose(nearest, [[3.3, 4.0], [3.0, 4.0 + edge], [0.0, 0.0]], atol=1e-6)


def test_radii_of_rows_and_of_lists():
    """A radius for each user holds for the user's row and for all of its list."""
    ball = Ball(jnp.linspace(0.1, 0.7, 7), jnp.linspace(0.1, 0.7, 7))
    users, items = ball.step((USERS, ITEMS), (jnp.ones_like(USERS), jnp.ones_like(ITEMS)))
    np.testing.assert_allclose(distances(users, USERS), np.linspace(0.1, 0.7, 7), rtol=1e-4)
    np.testing.assert_allclose(distances(items, ITEMS), np.tile(np.linspace(0.1, 0.7, 7)[:, None], 2), rtol=1e-4)


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-20])
def test_a_small_gradient_is_no_shorter_step(size):
    users, items = jnp.ones((2, 3)), jnp.zeros((0, 3))
    ways = size * jnp.array([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
    moved, _ = everywhere(0.5).step((users, items), (ways, items))
    reach = 0.5 * 3**0.5
    np.testing.assert_allclose(moved - users, [[0.6 * reach, 0, 0.8 * reach], [0, 0, 0]], rtol=1e-5)


def test_zero_rows_have_finite_gradients():
    gradient = jax.grad(lambda rows: jnp.sum(direction(rows)) + jnp.sum(length(rows)))(jnp.zeros((2, 3)))
    assert np.isfinite(gradient).all()
