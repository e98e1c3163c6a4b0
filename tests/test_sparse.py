from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import checkerboard, later
from optax import ScaleByAdamState

import gan_rec
from gan_rec.data import Split
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments import fitting, players, scale
from gan_rec.experiments.settings import Settings
from gan_rec.games.batches import Batch
from gan_rec.train import sparse
from gan_rec.train.epoch import epoch, init

TRAIN, VALID, TEST = checkerboard(16)
KEYS = jax.vmap(jax.random.key)(jnp.arange(2))
# One batch is all pairs, with so many negatives that every row of the tables is in it.
ALL_ROWS = {"batch_size": len(TRAIN), "negatives": 64}


def play(updates: str, epochs: int = 3, **options):
    """The state of two seeds after some epochs of `mf` with loss bpr, and the metrics of the last one."""
    settings = Settings(**{"recommender": "mf", "dim": 6, "adversary": "fgm", "loss": "bpr"} | options).resolved()
    sizes = TRAIN.n_users, TRAIN.n_items
    game = players.make_game(settings)
    schedule = replace(players.make_schedule(settings), table_updates=updates)
    makers = players.make_recommender(settings, *sizes), players.make_adversary(settings, *sizes)
    sparse.check(game, makers[0], updates)
    state = init(*makers, schedule, KEYS, game.alpha)
    for _ in range(epochs):
        state, metrics = epoch(state, to_device(TRAIN), game, schedule, KEYS)
    return state, metrics


def assert_close(a, b, **how):
    jax.tree.map(partial(np.testing.assert_allclose, **how), a, b)


def found(state, kind):
    """The part of an optimiser's state that is of this kind."""
    parts = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, kind))
    return next(part for part in parts if isinstance(part, kind))


@pytest.mark.parametrize("game", [later("embedding"), "apr"])
@pytest.mark.parametrize(
    "options", [{"adversary": "fgm"}, later({"adversary": "vat"}), later({"moves": "simultaneous"}), {"bias": True}]
)
def test_lazy_adam_is_adamw_where_every_row_is_in_the_batch(game, options):
    options = ALL_ROWS | {"game": game} | options
    dense, dense_metrics = play("dense", **options)
    rows, rows_metrics = play("lazy-adam", **options)
    assert_close(rows.recommender, dense.recommender, atol=2e-5)
    packed, plain = found(rows.recommender_opt, sparse.PackedAdamState), found(dense.recommender_opt, ScaleByAdamState)
    for table in (name for name in rows.recommender.tables if getattr(rows.recommender, name) is not None):
        both = [getattr(moments, table)[...] for moments in (plain.mu, plain.nu)]
        np.testing.assert_allclose(getattr(packed.moments, table)[...], np.stack(both, axis=2), atol=2e-5)
    assert_close(rows_metrics, dense_metrics, rtol=1e-4)


@pytest.mark.long
def test_a_generator_learns_the_same_from_rows_as_from_tables():
    options = ALL_ROWS | {"adversary": "generator", "noise": 2, "hidden": 4}
    (dense, _), (rows, _) = play("dense", **options), play("lazy-adam", **options)
    assert_close(rows.adversary, dense.adversary, atol=2e-5)


@pytest.mark.parametrize("updates", ["lazy-adam", "row-adagrad"])
def test_rows_that_no_batch_names_stay_as_they_are(updates):
    settings = Settings(recommender="mf", dim=6, adversary="fgm", loss="bpr", weight_decay=1.0).resolved()
    maker, schedule = (
        players.make_recommender(settings, 9, 12),
        replace(players.make_schedule(settings), table_updates=updates),
    )
    recommender = maker(jax.random.key(0))
    optimizer = schedule.recommender_optimizer()
    whole = recommender, optimizer.init(recommender)
    batch = Batch(jnp.array([4, 4, 1]), None, None, jnp.array([[0, 7], [3, 0], [11, 7]]))
    (small, opt), own, rows = sparse.gather(whole, batch)

    def loss(model):
        scores = model.score(model.users(own.users), model.items(own.items))
        return jnp.sum(scores[:, 0] - scores[:, 1])

    changes, opt = optimizer.update(jax.grad(loss)(small), opt, small)
    moved, _ = sparse.scatter(whole, (optax.apply_updates(small, changes), opt), rows)
    changed = [
        np.flatnonzero(
            (np.asarray(getattr(moved, name)[...]) != np.asarray(getattr(recommender, name)[...])).any(axis=1)
        )
        for name in ("user_embedding", "item_embedding")
    ]
    assert [rows.tolist() for rows in changed] == [[1, 4], [0, 3, 7, 11]]


def test_row_adagrad_merges_the_gradients_of_a_row_that_is_named_twice():
    settings = Settings(recommender="mf", dim=3, adversary="fgm", loss="bpr").resolved()
    optimizer = sparse.optimizer("row-adagrad", 0.1, 0.5)
    recommender = players.make_recommender(settings, 4, 5)(jax.random.key(0))
    whole = recommender, optimizer.init(recommender)
    ids, pull = jnp.array([2, 0, 2]), np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0], [2.0, -1.0, 4.0]], np.float32)
    batch = Batch(ids, None, None, jnp.array([[1], [1], [1]]))
    users = np.asarray(recommender.user_embedding[...])
    expected, sums = users.copy(), np.zeros(4)
    for _ in range(2):
        (small, opt), own, rows = sparse.gather(whole, batch)
        gradient = jax.grad(lambda model, ids=own.users: jnp.sum(model.users(ids) * pull))(small)
        changes, opt = optimizer.update(gradient, opt, small)
        whole = sparse.scatter(whole, (optax.apply_updates(small, changes), opt), rows)
        for row, merged in ((2, pull[0] + pull[2]), (0, pull[1])):
            sums[row] += np.mean(merged**2)
            expected[row] -= 0.1 * (merged / np.sqrt(sums[row] + 1e-10) + 0.5 * expected[row])
    np.testing.assert_allclose(whole[0].user_embedding[...], expected, rtol=1e-5)


def test_generators_of_mixtures_still_see_the_whole_catalogue():
    seen = []

    class Looks:
        def __call__(self, loss, users, items, key, ball):
            seen.append(loss.catalogue.shape)
            return users, items

    settings = Settings(recommender="mf", dim=6, adversary="hull", loss="bpr").resolved()
    game, maker = players.make_game(settings), players.make_recommender(settings, 30, 40)
    batch = Batch(jnp.array([4, 1]), None, None, jnp.array([[0, 7], [3, 0]]))
    (small, _), own, _ = sparse.gather((maker(jax.random.key(0)), ()), batch)
    assert small.items().shape == (4, 6)
    game.adversary_loss(Looks(), small, own, jax.random.key(1))
    assert seen == [(40, 6)]


@pytest.mark.parametrize(
    "options",
    [
        {"recommender": "mf", "loss": "softmax"}, {"recommender": "autoencoder"}, {"recommender": "lightgcn"},
        {"recommender": "mf", "game": "apr", "adversary": "accumulated"},
        {"recommender": "mf", "game": "apr", "adversary": "free"}, {"recommender": "mf", "game": "irgan"},
        {"recommender": "mf", "accumulate": 2}, {"recommender": "mf", "balance": "gradient"},
    ],
)  # fmt: skip
def test_updates_of_rows_are_refused_where_they_would_be_wrong(options):
    split = Split("checkerboard", "fixed", TRAIN, VALID, TEST)
    with pytest.raises(UserError, match="table_updates 'lazy-adam'"):
        fitting.training(Settings(**options, table_updates="lazy-adam", select_on="NDCG@5").resolved(), split, ())


def test_size_decides_which_rows_are_moved(monkeypatch):
    split = Split("checkerboard", "fixed", TRAIN, VALID, TEST)

    def chosen(**options):
        return fitting.training(Settings(**options, select_on="NDCG@5").resolved(), split, ()).schedule.table_updates

    assert chosen(recommender="mf") == "dense"
    monkeypatch.setattr(scale.choices, "MANY_ROWS", TRAIN.n_users + TRAIN.n_items - 1)
    assert chosen(recommender="mf") == "lazy-adam"
    assert chosen(recommender="mf", accumulate=2) == chosen(recommender="autoencoder") == "dense"
    assert chosen(recommender="mf", table_updates="row-adagrad") == "row-adagrad"


@pytest.mark.parametrize("updates", ["lazy-adam", "row-adagrad"])
def test_rows_alone_learn_the_checkerboard(updates):
    split = Split("checkerboard", "fixed", TRAIN, VALID, TEST)
    options = {"recommender": "mf", "loss": "bpr", "adversary": "fgm", "dim": 8, "epochs": 60, "batch_size": 32}
    fitted = gan_rec.fit(
        split, **options, seeds=2, learning_rate=0.05, table_updates=updates, select_on="NDCG@5", progress=False
    )
    popularity = gan_rec.evaluate_popularity(split, ks=(5,)).per_seed("NDCG@5")
    assert gan_rec.evaluate(fitted, ks=(5,)).per_seed("NDCG@5").min() > 2 * popularity.max()
