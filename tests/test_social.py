"""LightGCN over links too: propagation against plain matrices, its limits, and what friends know of each other."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import checkerboard, interactions
from flax import nnx

import gan_rec
from gan_rec.data import Split
from gan_rec.data.sampling import to_device
from gan_rec.data.side import SideInformation
from gan_rec.experiments.models import Goal, readers
from gan_rec.experiments.models import model as named
from gan_rec.recommenders import LightGCN
from gan_rec.recommenders.baselines import EASE, SocialEASE
from gan_rec.recommenders.fixed import FixedArray
from gan_rec.recommenders.social import SocialLightGCN

PAIRS = interactions([(0, 0), (0, 1), (0, 3), (1, 1), (2, 1), (2, 4), (4, 0), (4, 4)], 6, 5)  # user 3, 5, item 2: none
KNOWN = to_device(PAIRS, 13)  # with padding, which would be the pair (0, 0)
LINKS = [(0, 1), (1, 0), (1, 2), (4, 3)]  # user 5 knows nobody, users 0 and 1 each other, the rest one way
FRIENDS = np.zeros((6, 6))
for one, other in LINKS:
    FRIENDS[one, other] = FRIENDS[other, one] = 1


def model(layers=2, dim=4, **options):
    links = FixedArray(np.array(LINKS), np.int32)
    return SocialLightGCN(6, 5, dim, links=links, layers=layers, **options, rngs=nnx.Rngs(0))


def normalised(adjacency):
    scale = 1 / np.sqrt(np.maximum(adjacency.sum(axis=1), 1))
    return scale[:, None] * adjacency * scale


def adjacency(weight):
    """Of users and items, with links between users."""
    whole = np.zeros((11, 11))
    whole[PAIRS.users, 6 + PAIRS.items] = whole[6 + PAIRS.items, PAIRS.users] = 1
    whole[:6, :6] = weight * FRIENDS
    return whole


def powers(matrix, rows, start, layers):
    return np.mean([np.linalg.matrix_power(matrix, n) @ rows for n in range(start, layers + 1)], axis=0)


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
@pytest.mark.parametrize("layers", [1, 3])
def test_one_graph_of_both_kinds_of_edges(layers, dense):
    """User 3 has no item, and a degree of at least 1 from them, as in LightGCN, beside that of the link."""
    social = model(layers, spread="joint", link_weight=0.7)
    rows = social.on(KNOWN, dense=dense)
    whole = adjacency(0.7)
    degree = np.maximum(adjacency(0.0).sum(axis=1), 1) + np.pad(0.7 * FRIENDS.sum(axis=1), (0, 5))
    matrix = whole / np.sqrt(degree[:, None] * degree)
    both = np.concatenate([social.user_embedding[...], social.item_embedding[...]])
    expected = powers(matrix, both, 0, layers)
    np.testing.assert_allclose(rows.users(None), expected[:6], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rows.items(), expected[6:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
def test_two_graphs(layers):
    social = model(layers, spread="apart", link_weight=0.3)
    users, items = np.asarray(social.user_embedding[...]), np.asarray(social.item_embedding[...])
    alone = powers(normalised(adjacency(0.0)), np.concatenate([users, items]), 0, layers)
    heard = powers(normalised(FRIENDS), users, 1, layers)
    rows = social.on(KNOWN)
    np.testing.assert_allclose(rows.users(None), alone[:6] + 0.3 * heard, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rows.items(), alone[6:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spread", ["apart", "joint"])
def test_without_weight_it_is_lightgcn(spread):
    social, plain = model(link_weight=0.0, spread=spread).on(KNOWN), LightGCN(6, 5, 4, layers=2, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(social.users(None), plain.on(KNOWN).users(None), rtol=1e-5)
    np.testing.assert_allclose(social.items(), plain.on(KNOWN).items(), rtol=1e-5)


def test_the_penalty_draws_friends_together():
    social = model(link_penalty=2.0)
    ends = np.array(LINKS).T
    rows = np.asarray(social.user_embedding[...])
    expected = np.mean(np.sum((rows[ends[0]] - rows[ends[1]]) ** 2, axis=1))
    np.testing.assert_allclose(social.penalty(None, None), expected, rtol=1e-5)
    assert model().penalty(None, None) == 0.0
    moved = jax.tree.map(lambda x, g: x - 0.1 * g, social, jax.grad(lambda m: m.penalty(None, None))(social))
    assert moved.penalty(None, None) < social.penalty(None, None)
    np.testing.assert_array_equal(moved.user_embedding[5], social.user_embedding[5])


OPTIONS = dict(
    recommender="social-lightgcn", seeds=2, average=0.0, progress=False, dim=16, batch_size=10, learning_rate=2e-2,
    weight_decay=0.1, epochs=60, patience=60, adversary="fgm",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("options", [{"alpha": 1.0}, {"alpha": 0.5}, {"spread": "joint"}])
def test_checkerboard(options):
    """The held-out diagonal must rank first: the only unseen item of the user's own colour."""
    links = np.array([(u, (u + 2) % 24) for u in range(24)], np.int32)
    cut = Split("board", "fixed", *checkerboard(24), side_information=SideInformation(user_links=links))
    fitted = gan_rec.fit(cut, **OPTIONS | {"select_on": "NDCG@1"} | options)
    assert gan_rec.evaluate(fitted, "test", (1,)).per_seed("P@1").min() == 1


def test_friends_tell_what_users_without_items_like():
    """Users 0 to 19 like items of their colour; each of the others has nothing but a friend, and likes the same."""
    board = [(u, i) for u in range(20) for i in range(20) if u % 2 == i % 2]
    train = interactions([(u, i) for u, i in board if u != i], 40, 20)
    valid = interactions([(u, u) for u in range(20)], 40, 20)
    test = interactions([(20 + u, i) for u, i in board], 40, 20)
    links = np.array([(20 + u, u) for u in range(20)], np.int32)
    cut = Split("board", "fixed", train, valid, test, side_information=SideInformation(user_links=links))
    with_links = gan_rec.fit(cut, **OPTIONS | {"alpha": 1.0, "select_on": "NDCG@1", "seeds": 1})
    alone = gan_rec.fit(cut, **OPTIONS | {"alpha": 1.0, "select_on": "NDCG@1", "seeds": 1, "recommender": "lightgcn"})
    found, without = (gan_rec.evaluate(each, "test", (10,)).per_seed("P@10")[0] for each in (with_links, alone))
    assert found > 0.95 and without < 0.8


def test_seeds_share_one_graph():
    both = jax.tree.map(lambda *x: jnp.stack(x), model(), model())
    rows = jax.vmap(lambda m: m.on(KNOWN))(both)
    np.testing.assert_allclose(rows.user_rows[1], model().on(KNOWN).users(None), rtol=1e-6)


def circle_of(ends, n_users):
    found = np.eye(n_users)
    for one, other in ends:
        found[one, other] = found[other, one] = 1
    return found


def test_ease_over_items_and_people_is_one_regression_for_each_item():
    rng = np.random.default_rng(0)
    x = (rng.random((9, 6)) < 0.4).astype(float)
    train, ends = interactions(np.argwhere(x), 9, 6), np.array([(0, 1), (1, 0), (2, 5), (5, 7)])
    model = SocialEASE(FixedArray(ends, np.int32), 2.0, 0.5).fit(train)
    both = np.concatenate([x, 0.5 * circle_of(ends, 9)], axis=1)
    scores = np.asarray(model.score(model.users(None, jnp.asarray(x, jnp.float32)), model.items()))
    for item in range(6):
        others = both[:, np.arange(15) != item]
        weights = np.linalg.solve(others.T @ others + 2 * np.eye(14), others.T @ x[:, item])
        np.testing.assert_allclose(scores[:, item], others @ weights, atol=1e-5)


def test_ease_over_people_without_weight_is_ease():
    train = interactions(np.argwhere(np.random.default_rng(1).random((9, 6)) < 0.4), 9, 6)
    history = to_device(train).history(jnp.arange(9))
    scores = [
        model.score(model.users(None, history), model.items())
        for model in (EASE(2.0).fit(train), SocialEASE(FixedArray(np.array([(0, 1)]), np.int32), 2.0, 0.0).fit(train))
    ]
    np.testing.assert_allclose(*scores, atol=1e-6)


def test_what_needs_links_says_so(small_split):
    with pytest.raises(gan_rec.UserError, match="model 'social-ease' reads links between users, but the data has none"):
        named("social-ease").check(small_split, Goal())
    linked = replace(small_split, side_information=SideInformation(user_links=np.array([(0, 1)], np.int32)))
    named("social-ease").check(linked, Goal())
    assert named("social-ease").fit(linked, {"l2": 10.0}, (0,), Goal()).recommenders.circles.shape == (1, 60, 60)
    assert readers([named("social-ease"), named("ease")])[0].recommender == "social-lightgcn"
