"""Softmax in chunks of the catalogue is the dense one, and does not need its memory."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions, later
from flax import nnx
from jax.test_util import check_grads

from gan_rec.data import membership
from gan_rec.data.chunks import ChunkedRows
from gan_rec.data.membership import Bitmap, SortedLists
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments import fitting, players, scale
from gan_rec.experiments.settings import Settings
from gan_rec.games import EmbeddingGame
from gan_rec.games.batches import Batch
from gan_rec.games.chunks import ChunkedLoss
from gan_rec.games.embedding import DATA_FIELDS, META_FIELDS
from gan_rec.random import bernoulli_bytes
from gan_rec.recommenders import MatrixFactorization
from gan_rec.recommenders.text import TextVectors
from gan_rec.train.epoch import epoch, init

U, N, B, SEEDS = 14, 51, 5, 2  # 7 bytes of items, which no even number of bytes divides
KEY = jax.random.key(0)
HISTORIES = np.random.default_rng(0).random((U, N)) < 0.2
HISTORIES[3], HISTORIES[:, -1] = True, True  # a user who has everything, and an item whom all have
TRAIN = interactions(np.argwhere(HISTORIES), U, N)
WARM = np.arange(N) % 7 != 0
KINDS = {"bitmap": 2**29, "lists": 0}  # by the largest bitmap


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    monkeypatch.setattr(membership, "LARGEST_BITMAP", KINDS[request.param])
    return request.param


def whole(rows: ChunkedRows):
    """All of the rows at once."""
    return jnp.concatenate([rows.chunk(number) for number in range(rows.n)], axis=1)[:, : rows.known.n_items]


class Whole(EmbeddingGame):
    """Draws as a game in chunks does, and then holds all of it."""

    def draw(self, positives, rows, key):
        batch = super().draw(positives, rows, key)
        history = None if batch.history is None else whole(batch.history)
        return batch._replace(targets=whole(batch.targets), history=history)


jax.tree_util.register_dataclass(Whole, DATA_FIELDS, META_FIELDS)


def cast(recommender: str, adversary: str, **options):
    """Game in chunks of 16 items, the same held whole, schedule and makers."""
    own = {} if recommender in ("mf", "lightgcn") else {"dropout": 0.0}
    own |= {"bias": True} if recommender == "mf" else {}
    settings = Settings(
        **{"recommender": recommender, "adversary": adversary, "loss": "softmax", "dim": 4, "batch_size": B}
        | own
        | options
    ).resolved()
    game = replace(players.make_game(settings), chunk=10)
    fields = {name: getattr(game, name) for name in (*DATA_FIELDS, *META_FIELDS)}
    vectors = TextVectors(np.random.default_rng(0).standard_normal((N, 3)))
    makers = players.make_recommender(settings, U, N, vectors), players.make_adversary(settings, U, N)
    return game, Whole(**fields), players.make_schedule(settings), makers


FEW = [("mf", "vat", {"xi": 0.5}), ("autoencoder", "generator", {"radii": "by-loss"})]
MORE = [
    ("mf", "generator", {"moves": "simultaneous"}), ("mf", "kl-dro", {}), ("lightgcn", "free", {}),
    ("mf", "gradient-generator", {}), ("mf", "hull", {}), ("mf", "profile", {}), ("mf", "noise", {}),
    ("mf", "clipped-noise", {}), ("mf", "fgsm", {}), ("mf", "fgm", {"radii": "by-loss"}),
    ("mf", "fgm", {"feeding": "alternate"}), ("mf", "pgd", {"norm": "linf"}), ("mf", "free", {}),
    ("lightgcn", "generator", {}), ("lightgcn", "vat", {"xi": 0.5}), ("autoencoder", "kl-dro", {}),
    ("mult-vae", "fgm", {}), ("two-tower", "fgm", {}), ("two-tower", "fgm", {"reads": "text"}),
    ("hybrid", "fgm", {}),
]  # fmt: skip


def cases(*quick):
    """All of them, those that are not `quick` in the long lane."""
    return [case if case in quick else later(*case) for case in FEW + MORE]


def assert_close(a, b, **how):
    jax.tree.map(partial(np.testing.assert_allclose, **how), a, b)


@pytest.mark.parametrize(("recommender", "adversary", "options"), cases(*FEW))
def test_loss_and_gradients_of_both_players_are_the_dense_ones(recommender, adversary, options):
    game, dense, _, makers = cast(recommender, adversary, epsilon=0.3, **options)
    pair = tuple(make(key) for make, key in zip(makers, jax.random.split(KEY), strict=True))
    data = replace(to_device(TRAIN), candidates=jnp.asarray(WARM, jnp.float32))
    rows = jnp.arange(2, 2 + B)

    @partial(jax.jit, static_argnames="of")
    def both(of, key):
        batch = of.draw(data, rows, key)._replace(turn=1)
        if of.reuses:
            clean = of.representations(pair[0], batch, KEY)
            batch = batch._replace(offsets=jax.tree.map(lambda x: 0.1 * jnp.ones_like(x), tuple(clean)))
        joint = jax.value_and_grad(of.recommender_loss, argnums=(0, 1), has_aux=True)(*pair, batch, KEY)
        return joint, jax.value_and_grad(of.adversary_loss)(*pair[::-1], batch, KEY)

    ours, expected = both(game, KEY), both(dense, KEY)
    assert ours[0][0][1]["adversarial_loss"] != 0
    assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("recommender", "adversary", "options"), cases(("mf", "fgm", {"radii": "by-loss"})))
def test_an_epoch_is_the_dense_one(recommender, adversary, options):
    game, dense, schedule, makers = cast(recommender, adversary, epsilon=0.3, **options)
    keys = jax.random.split(KEY, SEEDS)
    ends = []
    for each in (game, dense):
        state = init(*makers, schedule, keys, each.alpha)
        ends.append(epoch(state, to_device(TRAIN), each, schedule, keys))
    (ours, metrics), (expected, expected_metrics) = ends
    assert_close(metrics, expected_metrics, rtol=1e-4, atol=1e-6)  # a divergence is a small difference of large terms
    if recommender in ("two-tower", "hybrid"):
        # It moves all scores of a user alike: its gradient is nothing but rounding, of which Adam makes whole steps.
        ours.recommender.leave.bias = expected.recommender.leave.bias
    both = ((each.recommender, each.adversary) for each in (ours, expected))
    assert_close(*both, rtol=2e-4, atol=2e-5)


def test_loss_weights_and_divergence_are_those_that_numpy_finds(kind):
    """With cold items, a user who has everything, and one chunk without a candidate."""
    rng = np.random.default_rng(1)
    users, items, moved = rng.normal(size=(U, 3)), rng.normal(size=(N, 3)), rng.normal(size=(N, 3))
    warm = WARM & ~((np.arange(N) >= 8) & (np.arange(N) < 16))
    visible = HISTORIES & (rng.random((U, N)) < 0.5)
    targets = HISTORIES & ~visible & warm
    of = lambda pairs: ChunkedRows(to_device(interactions(np.argwhere(pairs), U, N)).known, jnp.arange(U), 8)  # noqa: E731
    batch = Batch(jnp.arange(U), of(visible), of(targets), None, candidates=jnp.asarray(warm, jnp.float32))
    assert isinstance(batch.targets.known, Bitmap if kind == "bitmap" else SortedLists) and batch.targets.n == 7

    def logs(items, times=1.0):
        scores = np.where(warm & ~visible, times * users @ items.T, -np.inf)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    n = targets.sum(axis=1)
    rows, large = (
        np.array([-own[found].mean() if found.any() else 0.0 for own, found in zip(of_all, targets, strict=True)])
        for of_all in (logs(items), logs(items, times=40))  # whose exponentials float32 cannot hold
    )
    p, q = logs(items), logs(moved)
    divergence = [np.sum(np.exp(a[ok]) * (a[ok] - b[ok])) for a, b, ok in zip(p, q, warm & ~visible, strict=True)]
    users, items, moved = (jnp.float32(x) for x in (users, items, moved))
    loss = ChunkedLoss(MatrixFactorization(U, N, 3, rngs=nnx.Rngs(0)), batch, "softmax", (users, items))
    every = jax.jit(lambda *at: (loss.by_row(*at), loss(*at), loss.divergence(*at)))
    by_row, mean, _ = every(users, items)
    np.testing.assert_allclose(by_row, rows, rtol=2e-5)
    np.testing.assert_allclose(every(40 * users, items)[0], large, rtol=1e-4)
    np.testing.assert_allclose(mean, (rows * n**0.5).sum() / (n**0.5).sum(), rtol=1e-5)
    worst = jax.jit(loss.worst_case)(users, items, 0.0)
    np.testing.assert_allclose(worst, mean, rtol=1e-4)  # within a radius of 0
    np.testing.assert_allclose(every(users, moved)[2], np.mean(divergence), rtol=1e-4)
    check_grads(every, (users, moved), 1, ["rev"], atol=1e-2, rtol=1e-2)


def test_a_user_without_targets_or_candidates_has_no_loss_and_a_finite_gradient():
    nothing = to_device(interactions([(0, 0)], 2, 20)).known
    every = to_device(interactions([(0, i) for i in range(20)] + [(1, 3)], 2, 20)).known
    users = jnp.array([0, 0])
    batch = Batch(users, ChunkedRows(every, users, 8), ChunkedRows(nothing, jnp.array([1, 1]), 8), None)
    loss = ChunkedLoss(MatrixFactorization(2, 20, 3, rngs=nnx.Rngs(0)), batch, "softmax", None)
    value, gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(jnp.ones((2, 3)), jnp.ones((20, 3)))
    assert value == 0 and all(not np.any(g) for g in gradient)


@pytest.mark.parametrize("most", [1, 8, 20, N, 10 * N])
def test_chunks_are_the_histories(kind, most):
    rows = ChunkedRows(to_device(TRAIN).known, jnp.array([3, 0, 7]), most)
    np.testing.assert_array_equal(whole(rows), HISTORIES[[3, 0, 7]])
    assert rows.size % 8 == 0 and rows.n * rows.size >= N > (rows.n - 1) * rows.size
    past = rows.chunk(rows.n - 1)[:, N - (rows.n - 1) * rows.size :]
    assert not np.any(past)
    table = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
    np.testing.assert_allclose(rows @ jnp.asarray(table), HISTORIES[[3, 0, 7]] @ table, atol=1e-4)
    np.testing.assert_array_equal(rows.sums()[:, 0], HISTORIES[[3, 0, 7]].sum(axis=1))


@pytest.mark.parametrize("chance", [0.2, 0.5, 1.0])
def test_what_is_hidden_and_what_stays_are_the_history(kind, chance):
    users = jnp.arange(U)
    left, rest = ChunkedRows(to_device(TRAIN).known, users, 8).thin(KEY, chance)
    again = left.thin(jax.random.key(1), chance)[0]
    first, second, third = (np.asarray(whole(rows)) for rows in (left, rest, again))
    np.testing.assert_array_equal(first + second, HISTORIES)
    assert np.all(third <= first)
    assert abs(first.sum() / HISTORIES.sum() - chance) < 0.12
    assert abs(third.sum() / first.sum() - chance) < 0.15


def test_bits_are_drawn_one_by_one():
    drawn = np.unpackbits(np.asarray(bernoulli_bytes(KEY, 0.3, (500, 13))), axis=1)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.3, atol=5 * (0.21 / 500) ** 0.5)
    apart = np.corrcoef(drawn.T.astype(float)) - np.eye(13 * 8)
    assert np.abs(apart).max() < 5.5 / 500**0.5
    assert np.all(np.asarray(bernoulli_bytes(KEY, 1.0, (2, 3))) == 255)
    assert not np.any(bernoulli_bytes(KEY, 0.0, (2, 3)))


@pytest.mark.parametrize(
    ("kind", "recommender", "adversary"),
    [
        ("bitmap", "mf", "fgm"),
        later("bitmap", "mf", "vat"),
        later("bitmap", "autoencoder", "generator"),
        later("lists", "autoencoder", "generator"),
    ],
    indirect=["kind"],
)
def test_memory_of_a_step_does_not_grow_like_batch_times_items(kind, recommender, adversary, optimised):
    batch_size, sizes = 256, (20_000, 40_000)
    settings = Settings(recommender=recommender, adversary=adversary, loss="softmax", dim=2).resolved()

    def temporary(n_items: int, chunk: int) -> int:
        pairs = interactions([(u, (u * 37 + i) % n_items) for u in range(batch_size) for i in range(20)], None, n_items)
        game = replace(players.make_game(settings), chunk=chunk)
        model = players.make_recommender(settings, batch_size, n_items)(KEY)
        adversary = players.make_adversary(settings, batch_size, n_items)(KEY)

        leaves, data = jax.tree.flatten(to_device(pairs))  # what is lowered may have no arrays in typed fields

        def step(model, adversary, leaves, key):
            batch = game.draw(data.unflatten(leaves), jnp.arange(batch_size), key)
            return jax.grad(game.recommender_loss, has_aux=True)(model, adversary, batch, key)

        compiled = jax.jit(step).lower(model, adversary, leaves, KEY).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    grown = 4 * batch_size * (sizes[1] - sizes[0])  # a float32 array of batch and items
    dense, chunked = ([temporary(n, chunk) for n in sizes] for chunk in (0, 1000))
    assert dense[1] - dense[0] > grown
    assert chunked[1] - chunked[0] < grown / 2  # bits, and tables of items
    assert chunked[1] < dense[1] / 4


def chosen(**options) -> int:
    options = {"adversary": "fgm", "recommender": "mf", "loss": "softmax", "batch_size": 8, "seeds": 2} | options
    settings = Settings(**options).resolved()
    return scale.with_score_chunks(players.make_game(settings), settings, 10, 1000).chunk


def test_who_gets_chunks(monkeypatch):
    assert chosen() == 0
    assert chosen(softmax_scores="chunks") == scale.choices.CHUNK_SCORES * 2**20 // (4 * 8 * 2)
    monkeypatch.setattr(scale.choices, "LARGEST_SCORES", 0.05)  # of 16 rows, 819 items
    assert chosen() > 0 and chosen(recommender="autoencoder") > 0
    assert chosen(seeds=1) == chosen(batch_size=4) == 0
    assert chosen(softmax_scores="dense") == chosen(loss="bpr") == chosen(balance="gradient") == 0
    assert chosen(side="item") == 0  # whose catalogue is 10 users
    assert chosen(adversary="attention") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adversary": "attention"}, "needs an adversary that reads no histories, which 'attention' does"),
        ({"loss": "bpr"}, "softmax_scores 'chunks' needs game 'embedding', loss 'softmax'"),
        ({"game": "irgan", "adversary": None, "loss": None}, "softmax_scores 'chunks' needs game 'embedding'"),
        ({"balance": "gradient"}, "and balance 'fixed'"),
    ],
)
def test_chunks_where_there_can_be_none_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        chosen(softmax_scores="chunks", **options)


@pytest.mark.parametrize(
    ("recommender", "seeds"),
    [("mf", 1), later("mf", 2), later("lightgcn", 2)],
)
def test_a_training_in_chunks_and_its_probe_are_the_dense_ones(small_split, monkeypatch, recommender, seeds):
    monkeypatch.setattr(scale.choices, "CHUNK_SCORES", 0)  # 8 items, the least
    options = {"recommender": recommender, "adversary": "fgm", "loss": "softmax", "dim": 4, "epochs": 2}
    options |= {"batch_size": 16, "seeds": seeds, "progress": False, "select_on": "NDCG@5"}
    found = {}
    for scores in ("chunks", "dense"):
        fitted = fitting.fit(small_split, **options, softmax_scores=scores)
        trained = fitted.history[["data_loss", "adversarial_loss"]].to_numpy()
        probed = fitting.probe(fitted, fitted)["adversarial"] if seeds > 1 else {}
        found[scores] = trained, {name: probed[name]["mean"] for name in ("clean", "fgm", "noise") if name in probed}
    assert_close(found["chunks"], found["dense"], rtol=1e-4)
