import jax
import jax.numpy as jnp
import numpy as np
from conftest import interactions

from gan_rec.data.sampling import sample_negatives, shuffle, to_device

PAIRS = interactions([(0, 0), (0, 7), (0, 8), (2, 10), (2, 3)], 4, 11)


def dense(pairs) -> np.ndarray:
    matrix = np.zeros((pairs.n_users, pairs.n_items))
    matrix[pairs.users, pairs.items] = 1
    return matrix


def test_bitmap_holds_the_pairs():
    positives = to_device(PAIRS)
    np.testing.assert_array_equal(positives.history(jnp.arange(4)), dense(PAIRS))
    users, items = np.indices((4, 11))
    np.testing.assert_array_equal(positives.contains(jnp.asarray(users), jnp.asarray(items)), dense(PAIRS) == 1)
    assert positives.active[: int(positives.n_active)].tolist() == [0, 2]


def test_capacity_changes_shapes_only():
    plain, padded = to_device(PAIRS), to_device(PAIRS, capacity=9)
    assert padded.users.shape == (9,) and int(padded.n_pairs) == int(plain.n_pairs) == 5
    np.testing.assert_array_equal(padded.bitmap, plain.bitmap)


def test_negatives_are_negative_and_uniform():
    positives = to_device(PAIRS)
    users = jnp.zeros(4000, jnp.int32)
    drawn = np.asarray(sample_negatives(positives, users, 2, jax.random.key(0), tries=16))
    counts = np.bincount(drawn.ravel(), minlength=11)
    assert counts[[0, 7, 8]].sum() == 0
    expected = drawn.size / 8
    assert np.all(np.abs(counts[counts > 0] - expected) < 5 * expected**0.5)


def test_shuffle_orders_rows_before_padding():
    order = np.asarray(shuffle(jax.random.key(1), 50, jnp.asarray(30)))
    assert sorted(order[:30]) == list(range(30))
    assert order[30:].tolist() == list(range(30, 50))
    assert order[:30].tolist() != list(range(30))
