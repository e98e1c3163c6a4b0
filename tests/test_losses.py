import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gan_rec import losses


def test_bpr_golden():
    # -log sigmoid(1 - 0) = 0.313262, -log sigmoid(1 - 3) = 2.126928
    value = losses.bpr(jnp.array([1.0]), jnp.array([[0.0, 3.0]]))
    np.testing.assert_allclose(value, (0.313262 + 2.126928) / 2, rtol=1e-6)


def test_sampled_softmax_golden():
    value = losses.sampled_softmax(jnp.array([0.0]), jnp.array([[np.log(2.0), np.log(5.0)]], jnp.float32))
    np.testing.assert_allclose(value, np.log(8.0), rtol=1e-6)


def test_bce_golden():
    # -log sigmoid(1) = 0.313262 of the positive, -log(1 - sigmoid(0)) = 0.693147, -log(1 - sigmoid(2)) = 2.126928
    value = losses.bce(jnp.array([1.0]), jnp.array([[0.0, 2.0]]))
    np.testing.assert_allclose(value, (0.313262 + 0.693147 + 2.126928) / 3, rtol=1e-6)


def test_softmax_golden():
    scores = jnp.log(jnp.array([[1.0, 2.0, 3.0, 4.0]]))
    targets, candidates = jnp.array([[1.0, 1.0, 0.0, 0.0]]), jnp.array([[1.0, 1.0, 1.0, 0.0]])
    # The fourth item is no candidate: -(log 1/6 + log 2/6) / 2
    np.testing.assert_allclose(losses.softmax(scores, targets, candidates), np.log(18.0) / 2, rtol=1e-6)


@pytest.mark.parametrize(("power", "weights"), [(0.0, (1, 1)), (0.5, (2, 1)), (1.0, (4, 1))])
def test_softmax_weighs_users_by_a_power_of_their_targets(power, weights):
    scores = jnp.zeros((2, 5))
    targets = jnp.array([[1.0, 1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    candidates = jnp.array([[1.0] * 5, [1.0, 1.0, 0.0, 0.0, 0.0]])
    expected = np.average([np.log(5), np.log(2)], weights=weights)
    np.testing.assert_allclose(losses.softmax(scores, targets, candidates, power), expected, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 4])
def test_losses_at_equal_scores(k):
    positive, negatives = jnp.zeros(3), jnp.zeros((3, k))
    np.testing.assert_allclose(losses.bpr(positive, negatives), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(losses.sampled_softmax(positive, negatives), np.log(k + 1), rtol=1e-6)
    targets = jnp.eye(k + 1)
    value = losses.softmax(jnp.zeros((k + 1, k + 1)), targets, jnp.ones((k + 1, k + 1)))
    np.testing.assert_allclose(value, np.log(k + 1), rtol=1e-6)


def test_sampled_softmax_of_one_negative_is_bpr():
    positive, negatives = jnp.array([0.3, -2.0]), jnp.array([[1.0], [0.5]])
    np.testing.assert_allclose(losses.sampled_softmax(positive, negatives), losses.bpr(positive, negatives), rtol=1e-6)


def test_softmax_without_targets_or_candidates_is_zero_with_zero_gradient():
    scores = jnp.ones((2, 3))
    nothing = jnp.zeros((2, 3))
    value, gradient = jax.value_and_grad(losses.softmax)(scores, nothing, nothing)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_extreme_scores_stay_finite():
    far = jnp.array([1e4, -1e4])
    for value in (losses.bpr(far, -far[:, None]), losses.sampled_softmax(far, -far[:, None])):
        assert np.isfinite(value)


def test_gradients():
    key = jax.random.key(0)
    positive, negatives = jax.random.normal(key, (5,)), jax.random.normal(jax.random.key(1), (5, 3))
    for loss in (losses.bpr, losses.sampled_softmax):
        check_grads(lambda *x, f=loss: f(*map(jnp.asarray, x)), (positive, negatives), order=1, modes=["rev"])
    scores = jax.random.normal(key, (4, 6))
    targets = jnp.asarray(np.eye(4, 6), jnp.float32)
    candidates = jnp.ones((4, 6)).at[:, 5].set(0.0)
    check_grads(lambda s: losses.softmax(jnp.asarray(s), targets, candidates), (scores,), order=1, modes=["rev"])


def test_worst_case_golden():
    """With q = (.2, .8) against p = (.5, .5): KL .192745, mean .2 + .8 * 3; user 3 weighs nothing."""
    rows, weights = jnp.array([1.0, 3.0, 50.0]), jnp.array([2.0, 2.0, 0.0])
    np.testing.assert_allclose(losses.worst_case(rows, weights, 0.192745), 2.6, rtol=1e-4)
    np.testing.assert_allclose(losses.worst_case(rows, weights, 0.0), 2.0, rtol=1e-4)
    np.testing.assert_allclose(losses.worst_case(rows, weights, 5.0), 3.0, rtol=1e-4)  # no q is so far: the worst row
    np.testing.assert_allclose(jax.grad(losses.worst_case)(rows, weights, 0.192745), [0.2, 0.8, 0.0], atol=1e-4)


def test_worst_case_of_equal_rows_and_of_none():
    for rows, weights, expected in (([2.0, 2.0], [1.0, 3.0], 2.0), ([0.0, 0.0], [0.0, 0.0], 0.0)):
        value, gradient = jax.value_and_grad(losses.worst_case)(jnp.array(rows), jnp.array(weights), 0.1)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient, np.array(weights) / max(sum(weights), 1), atol=1e-5)
