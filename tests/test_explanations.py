"""What a history, a text and an attack have to do with a score; and whether deletion tells a true order from others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions, later
from flax import nnx

from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.recommenders import Autoencoder, Hybrid, LightGCN, MatrixFactorization, Mix, MultVAE, TwoTower
from gan_rec.recommenders.baselines.tables import Factors, ItemWeights
from gan_rec.recommenders.text import TextVectors
from gan_rec.robustness.damage import Moved
from gan_rec.robustness.deletion import area, deletion_curves, gain, places, random_orders, relative
from gan_rec.robustness.explanations import (
    ask,
    attributions,
    integrated_gradients,
    leave_one_out,
    rows,
    similarity,
    values,
)
from gan_rec.robustness.item_words import leave_one_word_out, without_each
from gan_rec.robustness.moves import moves

KNOWN = to_device(interactions([(0, 0), (0, 2), (1, 1), (1, 2), (1, 4), (2, 0), (2, 3), (2, 4)], 3, 6))
WEIGHTS = np.array(
    [
        [0.0, 0.5, 1.0, 2.0, 0.1, 0.0],
        [0.5, 0.0, 0.2, 0.3, 0.4, 0.1],
        [1.0, 0.2, 0.0, -1.0, 0.6, 0.3],
        [2.0, 0.3, -1.0, 0.0, 0.7, 0.2],
        [0.1, 0.4, 0.6, 0.7, 0.0, 0.9],
        [0.0, 0.1, 0.3, 0.2, 0.9, 0.0],
    ],
    np.float32,
)


def rngs():
    return nnx.Rngs(jax.random.key(0))


def linear():
    return ItemWeights(WEIGHTS)


def mix():
    factors = Factors(np.full((3, 2), 0.5, np.float32), np.arange(12, dtype=np.float32).reshape(6, 2) / 7)
    return Mix((Autoencoder(3, 6, 4, rngs=rngs()), factors, linear()), jnp.array([0.2, 0.3, 0.5]))


NETWORKS = {
    "autoencoder": lambda: Autoencoder(3, 6, 4, rngs=rngs()),
    "mult-vae": lambda: MultVAE(3, 6, 4, latent=2, rngs=rngs()),
    "lightgcn": lambda: LightGCN(3, 6, 4, rngs=rngs()),
    "mix": mix,
    "linear": linear,
}


def test_leaving_out_an_item_of_a_linear_model_gives_its_weight():
    found = leave_one_out(linear(), KNOWN, ask(KNOWN, 0, 3, "score"))
    np.testing.assert_allclose(found, [2.0, 0, -1.0, 0, 0, 0], atol=1e-6)


def test_the_margin_is_over_the_mean_of_what_the_user_does_not_have():
    # User 0 does not have items 1, 3, 4, 5.
    found = leave_one_out(linear(), KNOWN, ask(KNOWN, 0, 3, "margin"))
    expected = [2.0 - (0.5 + 2.0 + 0.1 + 0.0) / 4, 0, -1.0 - (0.2 - 1.0 + 0.6 + 0.3) / 4, 0, 0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_linear_part_of_a_mix_is_explained_exactly():
    """Alone in the mix, each weight is what the linear model's is, times the factor that the whole history has."""
    own = Mix((Autoencoder(3, 6, 4, rngs=rngs()), linear()), jnp.array([0.0, 1.0]))
    found = leave_one_out(own, KNOWN, ask(KNOWN, 1, 3, "score"))
    factor = found[1] / WEIGHTS[1, 3]
    np.testing.assert_allclose(found, factor * WEIGHTS[:, 3] * np.array([0, 1, 1, 0, 1, 0]), rtol=1e-5)
    assert factor > 0


def test_held_a_mix_is_itself_on_the_history_that_it_is_held_at():
    user, history = jnp.asarray(1), KNOWN.history(jnp.array([1]))
    both = (mix(), mix().held(user, history[0]))
    scores = [each.score(each.users(user[None], history), each.items()) for each in both]
    np.testing.assert_allclose(*scores, rtol=1e-5)
    less = [each.score(each.users(user[None], history.at[0, 2].set(0)), each.items()) for each in both]
    assert not np.allclose(*less, rtol=1e-3)


ALL = ["autoencoder", "mix", "lightgcn", later("mult-vae"), later("linear")]


@pytest.mark.parametrize("name", ALL)
def test_integrated_gradients_sum_to_the_score_over_that_of_an_empty_history(name):
    recommender, asked = NETWORKS[name](), ask(KNOWN, 1, 3)
    both = values(recommender, KNOWN, asked, jnp.stack([asked.history, jnp.zeros(6)]))
    found = integrated_gradients(recommender, KNOWN, asked, steps=400)
    np.testing.assert_allclose(found.sum(), both[0] - both[1], rtol=5e-3, atol=1e-5)
    assert np.all(found[np.array([0, 3, 5])] == 0) and np.any(np.asarray(found) != 0)


@pytest.mark.parametrize("name", ALL)
def test_leaving_out_is_scoring_without(name):
    recommender, asked = NETWORKS[name](), ask(KNOWN, 1, 3)
    without = jnp.stack([asked.history, *(asked.history.at[i].set(0) for i in (1, 2, 4))])
    scores = values(recommender, KNOWN, asked, without)
    np.testing.assert_allclose(leave_one_out(recommender, KNOWN, asked)[[1, 2, 4]], scores[0] - scores[1:], atol=1e-6)


def test_a_history_in_the_graph_is_an_edge_of_the_graph():
    recommender, asked = NETWORKS["lightgcn"](), ask(KNOWN, 1, 3, "score")
    without = to_device(interactions([(0, 0), (0, 2), (1, 1), (1, 4), (2, 0), (2, 3), (2, 4)], 3, 6))

    def score(known):
        return float((recommender.on(known).users(jnp.array([1])) @ recommender.on(known).items().T)[0, 3])

    found = leave_one_out(recommender, KNOWN, asked)
    np.testing.assert_allclose(found[2], score(KNOWN) - score(without), atol=1e-6)


def test_similarity_of_equal_rows_is_equal_and_orthogonal_rows_say_nothing():
    items = np.array([[1.0, 0], [0, 1.0], [1.0, 0], [1.0, 0], [0, 2.0], [0, 1.0]], np.float32)
    users = np.array([[3.0, 0], [0, 1.0], [1.0, 1.0]], np.float32)
    found = similarity(users, items, ask(KNOWN, 0, 3, "score"))  # has items 0 and 2, both as item 3
    np.testing.assert_allclose(found.attributions, [1.5, 0, 1.5, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.agreement, 1.0, atol=1e-6)
    assert np.all(similarity(users, items, ask(KNOWN, 0, 5, "score")).attributions == 0)


def test_similarity_gives_the_row_of_ridge_regression():
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(6, 4)).astype(np.float32)
    own = items[[1, 2, 4]]
    ridge = np.trace(own.T @ own) / 4
    row = np.linalg.inv(own.T @ own + ridge * np.eye(4)) @ own.T @ np.ones(3)
    row *= row @ users[1] / (row @ row)
    found = similarity(users, items, ask(KNOWN, 1, 3, "score"))
    np.testing.assert_allclose(found.attributions.sum(), row @ items[3], rtol=1e-4)


def test_who_knows_users_by_ids_is_explained_by_similarity_alone():
    recommender, asked = MatrixFactorization(3, 6, 4, rngs=rngs()), ask(KNOWN, 1, 3)
    users, items = rows(recommender, KNOWN, asked)
    np.testing.assert_allclose(users[1], recommender.users(jnp.array([1]))[0])
    assert items.shape == (6, 4) and attributions(recommender, KNOWN, asked, "similarity").any()
    with pytest.raises(UserError, match="it would have to be trained anew; allowed: similarity"):
        attributions(recommender, KNOWN, asked, "leave-one-out")
    with pytest.raises(UserError, match="unknown method 'guess'; allowed: leave-one-out, integrated-gradients, simil"):
        attributions(recommender, KNOWN, asked, "guess")


def test_what_is_taken_out_first_has_the_largest_attribution():
    history = np.array([1.0, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(places(np.array([0.1, 9.0, 0.3, -1.0, 0, 0.3]), history), [2, 6, 0, 3, 6, 1])


def test_deletion_curves_by_hand():
    """User 0 loses item 0, then item 2; of items 1, 3, 4, 5 the recommended one is item 3."""
    order = places(np.array([2.0, 0, -1.0, 0, 0, 0]), np.array([1, 0, 1, 0, 0, 0]))[None]
    found = deletion_curves(linear(), KNOWN, np.array([0]), np.array([3]), order, (0.0, 0.5, 1.0))
    whole, without = np.array([0.7, 1.0, 0.7, 0.3]), np.array([0.2, -1.0, 0.6, 0.3])
    expected = [(s[1] - s.mean()) / s.std() for s in (whole, without)]
    np.testing.assert_allclose(found.score[0], [*expected, 0.0], rtol=1e-5)
    np.testing.assert_array_equal(found.rank[0], [1, 4, 1])  # in the end all scores are 0


def test_the_wrong_way_round_an_order_is_less_faithful():
    asked = ask(KNOWN, 0, 3)
    found, history = leave_one_out(linear(), KNOWN, asked), np.asarray(asked.history)
    order = np.stack([places(sign * found, history) for sign in (1, -1)])
    curves = deletion_curves(linear(), KNOWN, np.array([0, 0]), np.array([3, 3]), order, (0.0, 0.5, 1.0))
    areas = area(gain(curves.rank), (0.0, 0.5, 1.0))
    assert areas[0] < areas[1]


def test_areas_gains_and_relative_scores_by_hand():
    np.testing.assert_allclose(area(np.array([[1.0, 0.5, 0.0], [1, 1, 1]]), (0.0, 0.5, 1.0)), [0.5, 1.0])
    np.testing.assert_allclose(area(np.array([1.0, 0.0, 0.0]), (0.0, 0.2, 1.0)), 0.1)
    np.testing.assert_allclose(gain(np.array([1, 3, 7])), [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(relative(np.array([[2.0, 1.0, -1.0], [-1.0, 2.0, 3.0]])), [[1, 0.5, -0.5], [0, 0, 0]])


def test_random_orders_are_orders_and_differ():
    histories = np.array([[1.0, 0, 1, 1, 1, 1]] * 2)
    found = random_orders(histories, 8)
    own = found[..., histories[0] > 0].reshape(-1, 5)
    np.testing.assert_array_equal(np.sort(own, axis=1), np.tile(np.arange(5), (16, 1)))
    assert np.all(found[..., 1] == 6) and len(np.unique(own, axis=0)) > 4


def test_moves_tell_whose_row_it_was():
    items = np.array([[1.0, 0], [0, 0.9], [1.0, 0], [0.8, 0], [0, 0.5], [0.1, 0]], np.float32)
    users = np.array([[1.0, 0], [0, 1.0], [1.0, 1.0]], np.float32)
    clean, moved_items = Moved(Factors(users, items), users, items), items.copy()
    moved_items[5] = [2.0, 0]
    moved_users = users.copy()
    moved_users[0] = [1.5, 0]
    found = moves(clean, Moved(Factors(users, items), moved_users, moved_items), KNOWN, 0, 2)
    # Unseen items 1, 3, 4, 5 have scores 0, 0.8, 0, 0.1 before and 0, 1.2, 0, 3 after.
    np.testing.assert_array_equal(found.items, [3, 5])
    np.testing.assert_array_equal(found.ranks, [[1, 2], [2, 1]])
    np.testing.assert_allclose(found.by_item, [0, 1.9], atol=1e-6)
    np.testing.assert_allclose(found.by_user, [0.4, 0.05], rtol=1e-5)
    np.testing.assert_allclose(found.item_steps, [0, 19], rtol=1e-5)
    np.testing.assert_allclose(found.user_step, 0.5)


@pytest.mark.parametrize("cls", [TwoTower, Hybrid])
def test_a_word_that_the_encoder_does_not_read_carries_nothing(cls):
    vectors = TextVectors(np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32))
    recommender = cls(3, 6, 4, vectors=vectors, units=5, rngs=rngs())
    if cls is Hybrid:
        recommender.item_embedding[...] = jnp.ones((6, 4))
    counted = {"good": vectors.values[3], "film": 0.0, "bad": -np.ones(3)}

    def encode(texts):
        return np.stack([sum((counted[w] for w in text.split()), np.zeros(3)) for text in texts]).astype(np.float32)

    asked = ask(KNOWN, 1, 3, "score")
    found = leave_one_word_out(recommender, asked, "good film", encode)
    whole = values(recommender, KNOWN, asked, asked.history[None])[0]
    user = recommender.users(jnp.array([1]), asked.history[None])
    empty = TwoTower.read(recommender, jnp.zeros((1, 3))) + (1.0 if cls is Hybrid else 0.0)
    assert [word for word, _ in found] == ["good", "film"]
    np.testing.assert_allclose([x for _, x in found], [whole - (user @ empty.T)[0, 0], 0.0], atol=1e-5)
    assert leave_one_word_out(recommender, asked, " ", encode) == []


def test_each_word_is_left_out_once():
    assert without_each(" Toy  Story 1995") == (["Toy", "Story", "1995"], ["Story 1995", "Toy 1995", "Toy Story"])
