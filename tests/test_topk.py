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


@pytest.mark.parametrize("n_items", [6400, 100_000, 5000, 20])
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("compiled", [True, False])
def test_nan_comes_first(n_items, n, sign, compiled):
    scores = np.random.default_rng(0).normal(size=(n, n_items)).astype(np.float32)
    for place in (0, n_items // 2 + 5, n_items - 3):
        broken = scores.copy()
        broken[:, place] = np.copysign(np.nan, sign)
        rank = jax.jit(top_k, static_argnums=1) if compiled else top_k
        values, places = rank(jnp.asarray(broken), 5)
        assert np.isnan(values[:, 0]).all() and np.all(places[:, 0] == place)
