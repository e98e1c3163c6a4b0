import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gan_rec.adversaries import FGM, Generator, Noise
from gan_rec.adversaries.ball import direction, length, project

USERS = jax.random.normal(jax.random.key(0), (7, 6)) * 3
ITEMS = jax.random.normal(jax.random.key(1), (7, 2, 6))


def loss(users, items):
    return jnp.sum(jnp.sin(users) ** 2) + jnp.sum(items**3) / 10


def distances(moved, rows):
    return np.linalg.norm(moved - rows, axis=-1) / np.linalg.norm(rows, axis=-1)


ADVERSARIES = [Noise(), FGM(), Generator(6, rngs=nnx.Rngs(2))]


@pytest.mark.parametrize("adversary", ADVERSARIES, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_rows_move_by_the_relative_radius(adversary, radius):
    for moved, rows in zip(adversary(loss, USERS, ITEMS, jax.random.key(3), radius), (USERS, ITEMS), strict=True):
        assert moved.shape == rows.shape
        np.testing.assert_allclose(distances(moved, rows), radius, atol=1e-5)


def test_fgm_moves_along_the_gradient():
    moved, _ = FGM()(loss, USERS, ITEMS, jax.random.key(0), 0.1)
    gradient = jax.grad(loss)(USERS, ITEMS)
    np.testing.assert_allclose(direction(moved - USERS), direction(gradient), atol=1e-4)
    assert loss(moved, ITEMS) > loss(USERS, ITEMS)


def test_generator_is_symmetric():
    """Both signs of one direction come up, and nothing else."""
    generator = Generator(6, noise=1, rngs=nnx.Rngs(0))
    generator.user_tower.read_noise.kernel[...] *= 0.0
    steps = [generator(loss, USERS, ITEMS, jax.random.key(s), 0.2)[0] - USERS for s in range(12)]
    signs = [float(jnp.sign(jnp.vdot(step, steps[0]))) for step in steps]
    assert set(signs) == {-1.0, 1.0}
    for step, sign in zip(steps, signs, strict=True):
        np.testing.assert_allclose(step, sign * steps[0], atol=1e-5)


def test_noise_changes_the_direction():
    generator = Generator(6, rngs=nnx.Rngs(0))
    a, b = (generator(loss, USERS, ITEMS, jax.random.key(s), 0.2)[0] - USERS for s in (0, 1))
    assert np.abs(np.sum(direction(a) * direction(b), axis=-1)).max() < 0.999


def test_project_keeps_the_inside_and_shortens_the_outside():
    rows = jnp.array([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]])
    moved = rows + jnp.array([[0.3, 0.0], [0.0, 10.0], [1.0, 0.0]])
    np.testing.assert_allclose(
        project(moved, rows, 0.1), [[3.3, 4.0], [3.0, 4.5], [0.0, 0.0]], atol=1e-6
    )  # the length of (3, 4) is 5, so the radius is 0.5


def test_zero_rows_have_finite_gradients():
    gradient = jax.grad(lambda rows: jnp.sum(direction(rows)) + jnp.sum(length(rows)))(jnp.zeros((2, 3)))
    assert np.isfinite(gradient).all()
