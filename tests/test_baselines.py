"""Closed forms against their definitions: one regression for each item, gradients of zero, walks counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import checkerboard, interactions

from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.recommenders import baselines
from gan_rec.recommenders.baselines import BASELINES, EASE, EDLAE, IALS, SLIM, ItemKNN, PureSVD, RP3beta, UserKNN
from gan_rec.recommenders.baselines.neighbours import weigh
from gan_rec.recommenders.baselines.tables import keep_largest, matrix
from gan_rec.recommenders.fixed import FixedArray


@pytest.fixture(scope="module")
def train():
    rng = np.random.default_rng(0)
    taste = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 12))
    return interactions(np.argwhere(taste + rng.normal(size=taste.shape) > 0.6), 30, 12)


def dense(train):
    x = np.zeros((train.n_users, train.n_items))
    x[train.users, train.items] = 1
    return x


def weights(model):
    return np.asarray(model.columns[...]).T


OPTIONS = {
    "pure-svd": {"dim": 4}, "ials": {"dim": 4}, "slim": {"l1": 0.1, "l2": 5.0},
    "social-ease": {"links": FixedArray(np.array([(u, (u + 2) % 24) for u in range(24)]), np.int32)},
}  # fmt: skip
OF_OTHER_DATA = ("markov", "common-neighbours", "adamic-adar")  # with order, or of people


@pytest.mark.parametrize("name", [name for name in BASELINES if name not in OF_OTHER_DATA])
def test_checkerboard(name):
    train, valid, test = checkerboard()
    model = jax.tree.map(lambda x: x[None], BASELINES[name](**OPTIONS.get(name, {})).fit(train))
    found = evaluate_ranking(model, to_device(train.concat(valid)), test, (1,))
    assert found.per_seed("P@1") == 1


@pytest.mark.parametrize("model", [EASE(3.0), EDLAE(3.0, 0.25)], ids=["ease", "edlae"])
def test_ridges_are_one_regression_for_each_item(model, train):
    x, found = dense(train), weights(model.fit(train))
    assert not np.diag(found).any()
    ridge = np.full(12, 3.0)
    if isinstance(model, EDLAE):
        ridge += x.sum(axis=0) * 0.25 / 0.75
    for item in range(12):
        others = np.arange(12) != item
        part = x[:, others]
        expected = np.linalg.solve(part.T @ part + np.diag(ridge[others]), part.T @ x[:, item])
        np.testing.assert_allclose(found[others, item], expected, atol=1e-5)


def test_slim_is_at_its_minimum(train):
    """The gradient is 0 at weights above 0, and not below 0 at the others (Karush, Kuhn and Tucker)."""
    x, found = dense(train), weights(SLIM(0.7, 4.0, tolerance=1e-7).fit(train))
    slope = x.T @ x @ found - x.T @ x + 4.0 * found + 0.7
    off_diagonal, used = ~np.eye(12, dtype=bool), found > 0
    assert not np.diag(found).any() and (found >= 0).all() and 0.1 < used[off_diagonal].mean() < 0.9
    assert np.abs(slope[used]).max() < 1e-3 and slope[off_diagonal & ~used].min() > -1e-3


def test_pure_svd_is_the_best_approximation(train):
    u, s, v = np.linalg.svd(dense(train), full_matrices=False)
    model = PureSVD(4).fit(train)
    scores = model.score(model.users(None), model.items())
    np.testing.assert_allclose(scores, u[:, :4] * s[:4] @ v[:4], atol=1e-4)
    with pytest.raises(UserError, match="dim of PureSVD must be 1 to 11 for these data, got 12"):
        PureSVD(12).fit(train)


def test_alternating_least_squares_end_where_the_gradient_is_zero(train):
    how = IALS(dim=3, alpha0=0.4, l2=0.1, nu=0.7, epochs=150)
    model, x = how.fit(train, seed=2), dense(train)

    def loss(users, items):
        scores = users @ items.T
        ridges = [
            0.1 * (x.sum(axis=axis) + 0.4 * x.shape[axis]) ** 0.7 @ jnp.sum(rows**2, axis=1)
            for axis, rows in ((1, users), (0, items))
        ]
        return jnp.sum(x * (1 - scores) ** 2) + 0.4 * jnp.sum(scores**2) + sum(ridges)

    users, items = model.users(None), model.items()
    for slope in jax.grad(loss, argnums=(0, 1))(users, items):
        assert jnp.abs(slope).max() < 0.02
    assert loss(users, items) < loss(0.9 * users, items)
    other = IALS(dim=3, alpha0=0.4, l2=0.1, nu=0.7, epochs=1).fit(train, seed=3)
    assert loss(users, items) < loss(other.users(None), other.items())


COSINE = {"weighting": "none", "power": 1.0, "neighbour_power": 1.0, "amplify": 1.0}
TINY = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2)]  # items 0 and 1 share both of their users


def test_item_neighbours_by_hand():
    found = weights(ItemKNN(k=1, shrink=0.0, **COSINE).fit(interactions(TINY)))
    # Cosines: 0 with 1 is 2 / 2; 0 with 2 and 1 with 2 are 1 / 2. Item 2 takes one of two equal neighbours.
    assert found[1, 0] == found[0, 1] == pytest.approx(1, abs=1e-5)
    assert sorted(found[:, 2]) == pytest.approx([0, 0, 0.5], abs=1e-5) and np.count_nonzero(found) == 3
    counts = weights(ItemKNN(k=2, shrink=0.0, **COSINE | {"power": 0.0}).fit(interactions(TINY)))
    assert counts[1, 0] == pytest.approx(2 / 2**0.5, abs=1e-5)
    shrunk = weights(ItemKNN(k=2, shrink=2.0, **COSINE).fit(interactions(TINY)))
    assert shrunk[1, 0] == pytest.approx(2 / 4, abs=1e-5)
    amplified = weights(ItemKNN(k=2, shrink=2.0, **COSINE | {"amplify": 3.0}).fit(interactions(TINY)))
    assert amplified[1, 0] == pytest.approx((2 / 4) ** 3, abs=1e-5)
    uneven = weights(ItemKNN(k=2, shrink=0.0, **COSINE | {"neighbour_power": 3.0}).fit(interactions([*TINY, (3, 1)])))
    # What item 0 of two users says of item 1 of three, and the other way round.
    assert uneven[0, 1] == pytest.approx(2 / (3**0.5 * 2**1.5), abs=1e-5)
    assert uneven[1, 0] == pytest.approx(2 / (2**0.5 * 3**1.5), abs=1e-5)


def test_weightings_by_hand():
    x = matrix(interactions(TINY))  # users 0, 1, 2 have 2, 3 and 1 of the items, which have 2 users each
    idf = weigh(x, "idf").toarray()
    np.testing.assert_allclose(idf[:, 0], [np.log1p(3 / 2), np.log1p(3 / 3), 0], atol=1e-6)
    bm25 = weigh(x, "bm25").toarray()  # all columns are of mean size, so k1 and b cancel
    np.testing.assert_allclose(bm25[:, 2], [0, max(0, np.log(3 / 4)), np.log(3 / 2)], atol=1e-6)
    uneven = weigh(matrix(interactions([(0, 0), (0, 1), (1, 1)], 8, 2)), "bm25").toarray()
    assert not uneven[0].any() and uneven[1, 1] == 0  # what all have, or half of two, says nothing
    with pytest.raises(UserError, match="unknown weighting 'tf'; allowed: none, idf, bm25"):
        weigh(x, "tf")


def test_bm25_counts_columns_of_many_rows_less():
    pairs = [(0, 0), (1, 0), (2, 0), (0, 1)]  # item 0 has three users, item 1 one; five more items have none of them
    found = weigh(matrix(interactions([*pairs, *((u, u + 2) for u in range(5))], 5, 7)), "bm25").toarray()
    sizes = np.array([3, 1, 1, 1, 1, 1, 1])
    of_column = 2.2 / (1.2 * (0.25 + 0.75 * sizes / sizes.mean()) + 1)
    np.testing.assert_allclose(found[0, :3], np.log(7 / 4) * of_column[:3], atol=1e-6)


def test_user_neighbours_by_hand():
    model = UserKNN(k=1, shrink=0.0, **COSINE).fit(interactions(TINY))
    scores = np.asarray(model.score(model.users(jnp.arange(3)), model.items()))
    # User 2 is nearest to user 1 (cosine 1 / sqrt 3), user 0 too (2 / sqrt 6).
    np.testing.assert_allclose(scores[2], [3**-0.5] * 3, atol=1e-5)
    np.testing.assert_allclose(scores[0], [2 / 6**0.5] * 3, atol=1e-5)


def test_walks_by_hand():
    found = weights(RP3beta(alpha=1.0, beta=0.0, k=3).fit(interactions(TINY)))
    # From item 0: to user 0 or 1 (1/2 each); from user 0 to item 1 (1/2), from user 1 to item 1 or 2 (1/3 each).
    np.testing.assert_allclose(found[0], [0, 1 / 2 * 1 / 2 + 1 / 2 * 1 / 3, 1 / 2 * 1 / 3], atol=1e-6)
    less = weights(RP3beta(alpha=2.0, beta=1.0, k=3).fit(interactions(TINY)))
    assert less[0, 2] == pytest.approx((1 / 2 * 1 / 3) ** 2 / 2, abs=1e-6)


def test_only_the_largest_stay():
    np.testing.assert_array_equal(keep_largest(np.array([[3.0, 1, 2], [0, -1, 5]]), 2), [[3, 0, 2], [0, 0, 5]])


def test_too_many_items_for_a_table_are_refused(train, monkeypatch):
    monkeypatch.setattr(baselines.tables, "_LARGEST", 11)
    with pytest.raises(UserError, match="EASE keeps a dense table of items x items, and 12 of them are too many"):
        EASE().fit(train)
