import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions

from gan_rec.data.membership import LARGEST_BITMAP, Either, membership
from gan_rec.data.sampling import _argsort, sample_negatives, shuffle, to_device

PAIRS = interactions([(0, 0), (0, 7), (0, 8), (2, 10), (2, 3)], 4, 11)


def dense(pairs) -> np.ndarray:
    matrix = np.zeros((pairs.n_users, pairs.n_items))
    matrix[pairs.users, pairs.items] = 1
    return matrix


@pytest.mark.parametrize("largest", [LARGEST_BITMAP, 0], ids=["bitmap", "lists"])
def test_membership_is_that_of_the_pairs(largest):
    pairs = PAIRS.concat(interactions([(3, i) for i in range(11)], 4, 11))
    found = membership(pairs.users, pairs.items, 4, 11, capacity=20, largest=largest)
    assert (found.n_users, found.n_items) == (4, 11)
    np.testing.assert_array_equal(found.history(jnp.arange(4)), dense(pairs))
    users, items = np.indices((4, 11))
    np.testing.assert_array_equal(found.contains(jnp.asarray(users), jnp.asarray(items)), dense(pairs) == 1)
    either = Either(found, membership(np.array([1]), np.array([4]), 4, 11, 1, largest=0))
    np.testing.assert_array_equal(either.history(jnp.array([1])), dense(pairs)[[1]] + (np.arange(11) == 4))
    assert either.contains(jnp.array([1, 3, 1]), jnp.array([4, 4, 5])).tolist() == [True, True, False]


def test_lists_may_be_empty():
    nobody = membership(np.zeros(0, np.int32), np.zeros(0, np.int32), 3, 5, capacity=0, largest=0)
    assert not nobody.contains(jnp.arange(3), jnp.arange(3)).any() and nobody.history(jnp.arange(3)).sum() == 0


def test_active_users_have_a_pair():
    positives = to_device(PAIRS)
    assert positives.active[: int(positives.n_active)].tolist() == [0, 2]


@pytest.mark.parametrize("largest", [LARGEST_BITMAP, 0], ids=["bitmap", "lists"])
def test_capacity_changes_shapes_only(monkeypatch, largest):
    monkeypatch.setattr("gan_rec.data.membership.LARGEST_BITMAP", largest)
    plain, padded = to_device(PAIRS), to_device(PAIRS, capacity=9)
    assert padded.users.shape == (9,) and int(padded.n_pairs) == int(plain.n_pairs) == 5
    np.testing.assert_array_equal(padded.history(jnp.arange(4)), plain.history(jnp.arange(4)))


def test_negatives_by_popularity_come_as_often_as_they_are_had():
    pairs = interactions([(0, 0), (1, 1), (2, 1), (3, 1), (2, 2), (3, 2)], 4, 4)
    drawn = sample_negatives(to_device(pairs), jnp.zeros(5000, jnp.int32), 1, jax.random.key(0), 8, "popularity")
    share = np.bincount(np.asarray(drawn).ravel(), minlength=4) / drawn.size
    np.testing.assert_allclose(share, [0, 0.6, 0.4, 0], atol=0.03)


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


def test_equal_keys_keep_their_order():
    keys = np.random.default_rng(0).integers(0, 9, 60).astype(np.uint32)
    keys[:4] = 2**32 - 1
    assert np.array_equal(_argsort(jnp.asarray(keys)), np.argsort(keys, kind="stable"))
