import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_rec.evaluation.topk import top_k


@pytest.mark.parametrize("n_items", [5000, 5120, 5001, 600, 20])
@pytest.mark.parametrize("values", [3, 40, 10**6])
def test_the_largest_of_long_rows_come_in_the_order_of_jax(n_items, values):
    scores = np.random.default_rng(0).integers(0, values, (7, n_items)).astype(np.float32)
    scores[1, : n_items - 5] = -np.inf  # as of a user who has seen nearly all
    scores[2] = -np.inf
    found, expected = top_k(jnp.asarray(scores), 17), jax.lax.top_k(scores, 17)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("n_items", [5000, 20])
@pytest.mark.parametrize("sign", [1, -1])
def test_nan_comes_first(n_items, sign):
    scores = np.zeros((1, n_items), np.float32)
    scores[0, n_items - 3] = np.copysign(np.nan, sign)
    values, places = top_k(jnp.asarray(scores), 2)
    assert np.isnan(values[0, 0]) and places[0].tolist() == [n_items - 3, 0]
