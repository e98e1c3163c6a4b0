"""LightGCN: propagation against plain matrices, its limits, and which pairs the graph is made of."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions
from flax import nnx

import gan_rec
from gan_rec.data import Split
from gan_rec.data.sampling import to_device
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.games import EmbeddingGame
from gan_rec.recommenders import LightGCN, graph
from gan_rec.recommenders.graph import Graph, on_graph

PAIRS = interactions([(0, 0), (0, 1), (0, 3), (1, 1), (2, 1), (2, 4), (4, 0), (4, 4)], 6, 5)  # user 3, 5, item 2: none
KNOWN = to_device(PAIRS, 13)  # with padding, which would be the pair (0, 0)


def model(layers=3, dim=4):
    return LightGCN(6, 5, dim, layers=layers, rngs=nnx.Rngs(0))


def propagated(users, items, layers):
    """Mean over layers of powers of the normalised adjacency of users and items together, entry by entry."""
    adjacency = np.zeros((11, 11))
    for user, item in zip(PAIRS.users, PAIRS.items, strict=True):
        n_of_user, n_of_item = np.sum(PAIRS.users == user), np.sum(PAIRS.items == item)
        adjacency[user, 6 + item] = adjacency[6 + item, user] = 1 / np.sqrt(n_of_user * n_of_item)
    rows = np.concatenate([users, items])
    mean = np.mean([np.linalg.matrix_power(adjacency, n) @ rows for n in range(layers + 1)], axis=0)
    return mean[:6], mean[6:]


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_rows_equal_a_reference(layers, dense):
    lightgcn = model(layers)
    rows = lightgcn.on(KNOWN, dense=dense)
    users, items = propagated(lightgcn.user_embedding[...], lightgcn.item_embedding[...], layers)
    np.testing.assert_allclose(rows.users(None), users, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows.items(), items, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows.users(jnp.array([4, 0])), rows.users(None)[jnp.array([4, 0])])


def test_both_paths_have_one_gradient():
    weights = jax.random.normal(jax.random.key(1), (6, 5))

    def loss(lightgcn, dense):
        rows = lightgcn.on(KNOWN, dense=dense)
        return jnp.sum(weights * jnp.tanh(rows.score(rows.users(None), rows.items())))

    dense, sparse = (jax.grad(loss)(model(), path) for path in (True, False))
    for one, other in zip(jax.tree.leaves(dense), jax.tree.leaves(sparse), strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_size_chooses_the_path(monkeypatch):
    assert Graph(KNOWN).matrix is not None
    monkeypatch.setattr(graph, "_LARGEST", 29)
    assert Graph(KNOWN).matrix is None


def test_density_chooses_the_path(monkeypatch):
    """30 entries, and room for 13 pairs."""
    monkeypatch.setattr(graph, "_SPARSEST", 3)
    assert Graph(KNOWN).matrix is not None
    monkeypatch.setattr(graph, "_SPARSEST", 2)
    assert Graph(KNOWN).matrix is None


def test_it_has_no_rows_off_the_graph():
    """Rows that nobody has propagated must not pass for its own."""
    assert not hasattr(model(), "users") and not hasattr(model(), "items")
    assert on_graph(rows := model().on(KNOWN), None) is rows


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_the_adversary_moves_propagated_rows(loss):
    game = EmbeddingGame(loss=loss, reads_history=False, reads_graph=True)
    batch = game.draw(KNOWN, jnp.arange(3), jax.random.key(0))
    users, items = game.representations(model(), batch, jax.random.key(1))
    rows = model().on(KNOWN)
    np.testing.assert_allclose(users, rows.users(batch.users), rtol=1e-6)
    np.testing.assert_allclose(items, rows.items(batch.items), rtol=1e-6)
    np.testing.assert_allclose(game.loss_of(model(), batch).catalogue, rows.items(), rtol=1e-6)


OPTIONS = dict(
    dim=6, batch_size=32, seeds=1, epochs=2, evaluate_every=2, alpha=1.0, loss="softmax", learning_rate=1e-2,
    progress=False,
)  # fmt: skip


@pytest.mark.long
def test_zero_layers_are_matrix_factorisation(small_split):
    mf, lightgcn = (
        gan_rec.fit(small_split, recommender=name, weight_decay=0.5, average=0.8, **options, **OPTIONS)
        for name, options in {"mf": {}, "lightgcn": {"layers": 0}}.items()
    )
    one, other = (fitted.weights.final.recommender for fitted in (mf, lightgcn))
    np.testing.assert_allclose(one.user_embedding[...], other.user_embedding[...], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.item_embedding[...], other.item_embedding[...], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(*(gan_rec.evaluate(f).per_seed("NDCG@20") for f in (mf, lightgcn)), rtol=1e-5)


def test_training_sees_no_validation_edges(small_split):
    """Other validation pairs, the same training to the bit; and the validation scores are those on train's graph."""
    valid = small_split.valid
    other = replace(valid, items=(valid.items + 1) % valid.n_items)
    splits = [Split("small", "fixed", small_split.train, part, small_split.open_test()) for part in (valid, other)]
    fitted = [gan_rec.fit(split, recommender="lightgcn", refit=False, **OPTIONS) for split in splits]
    one, two = (each.weights.selected for each in fitted)
    assert one.epoch.tolist() == two.epoch.tolist() == [2] and one.score[0] != two.score[0]
    jax.tree.map(np.testing.assert_array_equal, one.recommender, two.recommender)
    rows = jax.vmap(lambda r: r.on(to_device(small_split.train)))(one.recommender)
    expected = evaluate_ranking(rows, to_device(small_split.train), valid, (20,)).per_seed("NDCG@20")
    np.testing.assert_allclose(one.score, expected, rtol=1e-5)


def test_after_the_refit_the_graph_is_of_train_and_validation(small_split):
    fitted = gan_rec.fit(small_split, recommender="lightgcn", **OPTIONS)
    known = to_device(small_split.train_and_valid())
    rows = jax.vmap(lambda r: r.on(known))(fitted.weights.final.recommender)
    expected = evaluate_ranking(rows, known, small_split.open_test(), (20,)).per_seed("NDCG@20")
    np.testing.assert_allclose(gan_rec.evaluate(fitted).per_seed("NDCG@20"), expected, rtol=1e-6)
    scores = np.array(rows.user_rows[0] @ rows.item_rows[0].T)[3]
    scores[known.history(jnp.array([3]))[0] > 0] = -np.inf
    assert gan_rec.recommend(fitted, users=[3], k=5)["item"].tolist() == np.argsort(-scores)[:5].tolist()
