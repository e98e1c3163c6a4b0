"""Certificates: by hand, beside a search that knows nothing of geometry, and under attack."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import later
from scipy import stats
from scipy.optimize import minimize

from gan_rec.adversaries.ball import Ball
from gan_rec.errors import UserError
from gan_rec.recommenders.baselines.tables import Factors
from gan_rec.robustness.attackers import PatientPGD
from gan_rec.robustness.certificates import certified_radii
from gan_rec.robustness.smoothing import smoothed_radii


def rows(seed, n_users, n_items, dim):
    rng = np.random.default_rng(seed)
    ranked = rng.random((n_users, n_items)) < 0.8
    return rng.normal(size=(n_users, dim)), rng.normal(size=(n_items, dim)), ranked


def test_by_hand():
    users, items = np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    ranked = np.ones((1, 2), bool)
    # Scores are 2 and 0; the hyperplane of ties is at 45 degrees to the user's row.
    assert certified_radii(users, items, ranked)[0] == pytest.approx(np.sin(np.pi / 4))
    # Each item moves by r along the row: 2 - 2r = 2r.
    assert certified_radii(users, items, ranked, rows="items")[0] == pytest.approx(0.5)
    both = certified_radii(users, items, ranked, rows="both")[0]
    assert np.arcsin(both) + np.arcsin(both * 2**0.5) == pytest.approx(np.pi / 4)


def test_ties_full_lists_and_empty_rows():
    items = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ranked = np.ones((1, 3), bool)
    for which in ("users", "items", "both"):
        assert certified_radii(np.array([[1.0, 0.2]]), items, ranked, 1, which)[0] == 0  # equal rows
        assert certified_radii(np.zeros((1, 2)), items, ranked, 1, which)[0] == 0
        assert certified_radii(np.array([[1.0, 0.2]]), items, ranked, 3, which)[0] == 1  # nobody is left out
        assert certified_radii(np.array([[1.0, 0.2]]), items, ranked & [[True, False, False]], 1, which)[0] == 1


def worst_gap(user, a, b, radius, which):
    """How far a stays above b at the worst perturbation, by a general optimiser over the user's row.

    Given that row, the worst items are moved along it, each as far as it may.
    """
    user_radius, item_radius = radius * (which != "items"), radius * (which != "users")
    reach = item_radius * (np.linalg.norm(a) + np.linalg.norm(b))

    def gap(row):
        return row @ (a - b) - reach * np.linalg.norm(row)

    if user_radius == 0:
        return gap(user)
    bound = (user_radius * np.linalg.norm(user)) ** 2
    inside = {
        "type": "ineq", "fun": lambda row: bound - np.sum((row - user) ** 2), "jac": lambda row: -2 * (row - user)
    }  # fmt: skip
    start = user - (a - b) / np.linalg.norm(a - b) * bound**0.5
    return minimize(gap, start, constraints=[inside], method="SLSQP", options={"ftol": 1e-15, "maxiter": 300}).fun


@pytest.mark.parametrize("which", ["users", "items", later("both")])
def test_radii_agree_with_a_numerical_search_for_200_users(which):
    users, items, ranked = rows(0, 200, 7, 4)
    ranked[:, :3] = True
    k = 2
    certified = certified_radii(users, items, ranked, k, which)
    for user, own, radius in zip(users, ranked, certified, strict=True):
        can = np.flatnonzero(own)
        order = can[np.argsort(-items[can] @ user)]
        pairs = [(user, items[a], items[b]) for a, b in itertools.product(order[:k], order[k:])]
        assert 0 < radius < 1
        assert all(worst_gap(*pair, radius - 1e-5, which) > 0 for pair in pairs)
        assert any(worst_gap(*pair, radius + 1e-5, which) < 0 for pair in pairs)


@partial(jax.jit, static_argnames=("k",))
def attacked(user, items, order, ball, *, k):
    """Where a thousand starts of projected gradient move one user's row and all items."""

    def reached(u, v):  # how far the best of those that are not listed is above the worst that is
        scores = v @ u[0]
        return jnp.max(scores[order[k:]]) - jnp.min(scores[order[:k]])

    return PatientPGD(attack_steps=30, restarts=1000)(reached, user[None], items, jax.random.key(0), ball)


@pytest.mark.parametrize("which", [later("users"), later("items"), "both"])
def test_no_attack_breaks_a_certificate_and_a_little_more_does(which):
    users, items, ranked = rows(1, 20, 12, 6)
    ranked[:] = True
    k, broken_above = 3, 0
    for user, radius in zip(users, certified_radii(users, items, ranked, k, which), strict=True):
        order = np.argsort(-items @ user)

        def changed(share, user=user, order=order, size=radius):
            ball = Ball(share * size * (which != "items"), share * size * (which != "users"))
            u, v = attacked(jnp.asarray(user), jnp.asarray(items), jnp.asarray(order), ball, k=k)
            return set(np.argsort(-np.asarray(v @ u[0]))[:k].tolist()) != set(order[:k].tolist())

        assert not changed(0.999)
        broken_above += changed(1.02)
    assert broken_above >= 18


@pytest.mark.parametrize(("k", "which", "message"), [(1, "all", "unknown rows 'all'"), (9, "both", "k = 9")])
def test_mistakes(k, which, message):
    with pytest.raises(UserError, match=message):
        certified_radii(*rows(0, 1, 3, 2), k, which)


@pytest.mark.parametrize("rows", ["users", "items", "both"])
def test_items_that_are_alike_are_a_tie_and_nearly_alike_ones_nearly(rows):
    rng = np.random.default_rng(0)
    for _ in range(30):
        user, items = rng.normal(size=(1, 100)), rng.normal(size=(20, 100)).astype(np.float32)
        best = int(np.argmax(items @ user[0]))
        items[(best + 1) % 20] = items[best]
        ranked = np.ones((1, 20), bool)
        assert certified_radii(user, items, ranked, 1, rows)[0] == 0
        place = int(np.argmax(np.abs(user[0])))
        items[(best + 1) % 20, place] = np.nextafter(items[best, place], -np.inf * np.sign(user[0, place]), dtype="f4")
        radius = certified_radii(user, items, ranked, 1, rows)[0]
        if rows == "users":  # the two differ along one axis
            assert radius <= abs(user[0, place]) / np.linalg.norm(user) + 1e-6
        else:
            assert 0 < radius < 1e-5


def test_smoothing_certifies_less_than_the_exact_radius_and_comes_near_it():
    """With two items the smoothed recommender ranks as the plain one does, whose exact radius bounds its own."""
    users, items = np.array([[1.0, 0.1], [1.0, 0.95]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    ranked = np.ones((2, 2), bool)
    exact = certified_radii(users, items, ranked)
    found = smoothed_radii(
        Factors(users, items), jnp.asarray(users), jnp.asarray(ranked), jax.random.key(0), sigma=0.6, draws=20_000
    )
    assert found.items.tolist() == [0, 0]
    assert np.all(found.radii <= exact) and np.all(found.radii >= 0.9 * exact - 0.03)


def test_the_noise_of_smoothing_is_the_same_for_all_rows():
    """Noise that grew with a row would not be the noise of the rows around it, for which the theorem speaks.

    All of these users are sure of their item, so each gets the largest radius, the same length for all.
    """
    users, items = np.array([[1.0, 0.0], [10.0, 0.0], [2.0, 0.0]]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    found = smoothed_radii(
        Factors(users, items), jnp.asarray(users), jnp.ones((3, 2), bool), jax.random.key(0), sigma=0.1, draws=400
    )
    np.testing.assert_allclose(found.radii * [1, 10, 2], found.radii[0], rtol=1e-6)
    assert found.radii[0] == pytest.approx(0.1 / 2**0.5 * 2 * stats.norm.ppf(0.001 ** (1 / 200)), rel=1e-5)


def test_smoothing_abstains_at_a_tie():
    users, items = jnp.ones((1, 2)), jnp.eye(2)
    found = smoothed_radii(Factors(users, items), users, jnp.ones((1, 2), bool), jax.random.key(1), draws=200)
    assert found.radii[0] == 0
