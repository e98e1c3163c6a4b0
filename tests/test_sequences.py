"""Sequences: what order is, what reads it, and a cycle that only order explains."""

from dataclasses import replace
from functools import cache

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions, later
from flax import nnx

import gan_rec
from gan_rec import losses
from gan_rec.data import Dataset, Split, split
from gan_rec.data.sampling import to_device
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.evaluation.ranking import top_items
from gan_rec.evaluation.sampled import evaluate_sampled
from gan_rec.experiments.fitting import evaluate_attacked, fit
from gan_rec.experiments.models import model
from gan_rec.games.next_item import NextItem
from gan_rec.recommenders import GRU, SASRec
from gan_rec.recommenders.baselines import Markov
from gan_rec.recommenders.popularity import Popularity

PAIRS = [(0, 3), (2, 1), (0, 1), (2, 4), (0, 2), (3, 5), (2, 0), (2, 3)]  # user 1 had nothing
TIMES = np.array([30, 5, 10, 2, 20, 7, 9, 8])
ORDERED = {0: [1, 2, 3], 1: [], 2: [4, 1, 3, 0], 3: [5]}


def timed(pairs, times, n_users=None, n_items=None):
    return replace(interactions(pairs, n_users, n_items), times=np.asarray(times))


KNOWN = to_device(timed(PAIRS, TIMES, 4, 6), 11)


def cycle(n_users=60, n_items=20, length=7):
    """Users walk round a circle, each from another item on: what comes next only the last item tells."""
    walks = [[(u * 7 + step) % n_items for step in range(length)] for u in range(n_users)]
    pairs = [(u, item) for u, walk in enumerate(walks) for item in walk]
    whole = timed(pairs, np.tile(np.arange(length), n_users), n_users, n_items)
    rows = np.random.default_rng(0).permutation(len(pairs))  # rows in no order: times alone tell
    return split(Dataset("cycle", {"all": whole.select(rows)}, (), None, "0" * 64), "leave-one-out")


CYCLE = cycle()
SMALL = {
    "dim": 16, "batch_size": 64, "epochs": 60, "evaluate_every": 20, "seeds": 2, "learning_rate": 1e-2, "dropout": 0.1,
    "select_on": "NDCG@1", "length": 8, "progress": False,
}  # fmt: skip


# Order on the device.


def test_last_items_are_in_the_order_of_time():
    last = np.asarray(KNOWN.order.last(jnp.array([0, 1, 2, 3]), 3))
    np.testing.assert_array_equal(last, [[1, 2, 3], [6, 6, 6], [1, 3, 0], [6, 6, 5]])


def test_pairs_of_one_time_stay_in_the_order_of_rows():
    known = to_device(timed([(0, 2), (0, 0), (0, 1)], [1, 1, 0]))
    np.testing.assert_array_equal(known.order.last(jnp.array([0]), 3), [[1, 2, 0]])


def test_without_times_there_is_no_order():
    assert to_device(interactions(PAIRS, 4, 6)).order is None


def test_an_epoch_has_every_position_that_something_follows_once():
    game = NextItem()
    places = np.asarray(game.order(KNOWN, 4, jax.random.key(0)))[: int(game.size(KNOWN)[1])]
    order = KNOWN.order
    assert game.size(KNOWN)[1] == 5 and np.asarray(order.has_next(jnp.asarray(places))).all()
    owners, items = np.asarray(order.owners(jnp.asarray(places))), np.asarray(order.items)
    steps = sorted((int(o), int(items[p]), int(items[p + 1])) for o, p in zip(owners, places, strict=True))
    wanted = [(u, *step) for u, own in ORDERED.items() for step in zip(own, own[1:], strict=False)]
    assert steps == sorted(wanted)
    assert (np.diff(places)[np.diff(owners) == 0] == 1).all()  # each user's are one after the other


def test_rows_of_a_single_batch_are_a_stretch():
    rows = np.asarray(NextItem().some_rows(KNOWN, 4, jax.random.key(1)))
    assert (np.diff(rows) % 8 == 1).all() and rows.max() < 8


def test_a_batch_knows_what_follows():
    batch = NextItem().draw(KNOWN, jnp.array([0, 2, 5, 7]), jax.random.key(0))
    assert batch.users.tolist() == [0, 0, 2, 3]
    assert batch.weights.tolist() == [1, 0, 1, 0]  # nothing follows the last item of a user
    assert batch.inputs.tolist() == [1, 3, 3, 5]
    assert (batch.targets[0], batch.targets[2]) == (2, 0)


# Recommenders.


@cache
def recommender(cls, **options):
    make = jax.jit(lambda: cls(4, 6, 8, length=5, dropout=0.5, rngs=nnx.Rngs(0), **options))
    return contract.shaken(make())  # no bias is 0


def users_of(made, history):
    return jax.jit(lambda: made.users(None, history))()


@pytest.mark.parametrize("cls", [SASRec, later(GRU)])
def test_a_state_depends_on_its_own_user_and_the_past_alone(cls):
    made = recommender(cls)
    inputs = jax.random.normal(jax.random.key(1), (1, 6, 8))
    users, places = jnp.array([[4, 4, 4, 7, 7, 7]]), jnp.array([[0, 1, 2, 5, 6, 7]])
    slopes_of = jax.jit(jax.jacobian(lambda x: made.encode(x, users, places)[0].sum(axis=1)))
    slopes = slopes_of(inputs)[:, 0]  # [state, input, D]
    felt = np.abs(slopes).max(axis=2) > 1e-6
    same = np.asarray(users[0])[:, None] == np.asarray(users[0])
    np.testing.assert_array_equal(felt, np.tril(np.ones((6, 6))) * same > 0)


@pytest.mark.parametrize("cls", [SASRec, GRU])
def test_a_user_is_the_last_state_however_long_the_padding(cls):
    made = recommender(cls)
    short, long = (users_of(made, KNOWN.order.last(jnp.arange(4), n)) for n in (4, 5))
    np.testing.assert_allclose(short, long, rtol=1e-4, atol=1e-5)
    batch = NextItem().draw(KNOWN, jnp.arange(3, 7), jax.random.key(0))  # the whole sequence of user 2
    states = jax.jit(lambda: NextItem().representations(made, batch, None)[0])()
    np.testing.assert_allclose(states[-1], long[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [SASRec, GRU])
def test_order_matters(cls):
    one, other = users_of(recommender(cls), jnp.array([[1, 2, 3], [2, 1, 3]]))
    assert np.abs(one - other).max() > 1e-3


def test_many_users_are_taken_some_at_a_time(monkeypatch):
    made, history = recommender(SASRec), KNOWN.order.last(jnp.array([0, 2, 3, 1, 0]), 4)
    whole = users_of(made, history)
    monkeypatch.setattr("gan_rec.recommenders.sequential._POSITIONS", 8)
    np.testing.assert_allclose(users_of(made, history), whole, rtol=1e-4, atol=1e-5)


def test_attention_equals_a_reference():
    made = recommender(SASRec, layers=1, heads=2)
    x, block = np.asarray(jax.random.normal(jax.random.key(2), (3, 8)), float), made.blocks[0]

    def normal(x, norm):
        scaled = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
        return scaled * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])

    read = (normal(x, block.norm_one) @ np.asarray(block.read.kernel[...])).reshape(3, 6, 4)
    heads = []
    for head in range(2):
        query, key, value = (read[:, 2 * part + head] for part in range(3))
        rows = []
        for i in range(3):
            logits = [query[i] @ key[j] / 2 + float(block.distance[i - j, head]) for j in range(i + 1)]
            weights = np.exp(logits) / np.exp(logits).sum()
            rows.append(weights @ value[: i + 1])
        heads.append(rows)
    out = np.concatenate(heads, axis=1) @ np.asarray(block.write.kernel[...]) + np.asarray(block.write.bias[...])
    places = jnp.arange(3)[None]
    back = places[:, :, None] - places[:, None, :]
    own = jax.jit(lambda: block.attend(jnp.asarray(x)[None], back >= 0, back))()
    np.testing.assert_allclose(own[0], out, rtol=1e-4, atol=1e-5)


# The loss.


def test_softmax_of_next_equals_plain_cross_entropy():
    keys = jax.random.split(jax.random.key(0), 2)
    states, items = (jax.random.normal(key, (n, 4)) for key, n in zip(keys, (130, 7), strict=True))
    targets, weights = jnp.arange(130) % 7, (jnp.arange(130) % 3 > 0).astype(jnp.float32)

    def plain(states, items):
        rows = jax.nn.logsumexp(states @ items.T, axis=1) - jnp.sum(states * items[targets], axis=1)
        return jnp.sum(weights * rows) / jnp.sum(weights)

    def own(states, items):
        return losses.softmax_of_next(states, items, targets, weights)

    np.testing.assert_allclose(own(states, items), plain(states, items), rtol=1e-5)
    for one, other in zip(*(jax.jit(jax.grad(f, (0, 1)))(states, items) for f in (own, plain)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_sampled_item_that_is_the_target_is_no_negative():
    game = NextItem(loss="sampled-softmax", negatives=4)
    batch = jax.jit(lambda: game.draw(KNOWN, jnp.array([0, 1]), jax.random.key(0)))()
    batch = batch._replace(items=jnp.array([2, 3, 2, 0, 4, 5]))  # targets 2 and 3, then four that are sampled
    made = recommender(SASRec)
    rows = jax.jit(lambda: game.representations(made, batch, None))()
    scores = np.asarray(rows[0] @ made.items().T)
    first = np.log(np.exp(scores[0, [2, 0, 4, 5]]).sum()) - scores[0, 2]
    second = np.log(np.exp(scores[1, [3, 2, 0, 4, 5]]).sum()) - scores[1, 3]
    np.testing.assert_allclose(game.loss_of(made, batch, rows)(*rows), (first + second) / 2, rtol=1e-5)


# The cycle.


@pytest.fixture(scope="module")
def twin():
    return gan_rec.fit(CYCLE, recommender="sasrec", alpha=1.0, refit=False, **SMALL)


def test_only_order_explains_the_cycle(twin):
    knows_the_cycle(twin)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gru", {"alpha": 1.0}),
        ("sasrec", {"adversary": "fgm", "epsilon": 0.1}),
        ("sasrec", {"adversary": "generator", "epsilon": 0.1}),
        ("sasrec", {"adversary": "vat", "attacked": "inputs"}),
        ("sasrec", {"alpha": 1.0, "loss": "softmax"}),
        ("gru", {"alpha": 1.0, "loss": "bce", "negatives": 10}),
    ],
)
def test_so_do_others(name, options):
    knows_the_cycle(gan_rec.fit(CYCLE, recommender=name, **SMALL | options))


def knows_the_cycle(fitted):
    assert gan_rec.evaluate(fitted, ks=(1,)).per_seed("HR@1").min() > 0.9
    found = gan_rec.recommend(fitted, users=[3], k=1)
    assert found["item"].tolist() == [(3 * 7 + 6) % 20]


def test_popularity_and_bags_of_items_do_not():
    known = to_device(CYCLE.train_and_valid())
    popular = jax.tree.map(lambda x: x[None], Popularity(CYCLE.train_and_valid()))
    assert evaluate_ranking(popular, known, CYCLE.open_test(), (1,)).per_seed("HR@1")[0] < 0.5


def test_markov_counts_the_cycle_and_backs_off():
    known = to_device(CYCLE.train_and_valid())
    votes = Markov(backoff=0.01).fit(CYCLE.train_and_valid())
    assert votes.rows[3, 4] > 0.5 > votes.rows[3, 2] > 0 == votes.rows[3, 3]
    stacked = jax.tree.map(lambda x: x[None], votes)
    assert evaluate_ranking(stacked, known, CYCLE.open_test(), (1,)).per_seed("HR@1")[0] == 1


def test_markov_equals_counts_by_hand():
    train = timed([(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)], [0, 1, 2, 0, 1], 2, 3)
    votes = Markov(reach=2, decay=0.5, backward=0.1, power=1.0, backoff=0.0, read=2, fade=0.25).fit(train)
    forward = np.array([[0, 1, 1.5], [0, 0, 1], [0, 0, 0]])
    wanted = (forward + 0.1 * forward.T) / np.array([[2], [1], [2]]) / np.array([2, 1, 2])
    np.testing.assert_allclose(votes.rows[...], wanted, atol=2e-6)
    scores = votes.score(votes.users(None, jnp.array([[0, 1]])), votes.items())
    np.testing.assert_allclose(scores[0], 0.25 * votes.rows[0] + votes.rows[1], rtol=1e-6)
    listed = votes.score(votes.users(None, jnp.array([[0, 1]])), votes.items(jnp.array([[2, 0]])))
    np.testing.assert_allclose(listed[0], scores[0, jnp.array([2, 0])])


def test_attacks_move_the_rows_of_sequences(twin):
    clean, moved = (evaluate_attacked(twin, "fgm", radius, ks=(1,)).per_seed("HR@1") for radius in (0.0, 3.0))
    assert (moved < clean).all()


# Sampled ranking.


def test_sampled_ranking_finds_the_held_out_item_among_those_drawn():
    known, truth = to_device(CYCLE.train_and_valid()), CYCLE.open_test()
    votes = jax.tree.map(lambda x: x[None], Markov().fit(CYCLE.train_and_valid()))
    assert evaluate_sampled(votes, known, truth, (1,), n=5).per_seed("sampled HR@1")[0] == 1
    blind = jax.tree.map(jnp.zeros_like, votes)  # all equal: the held-out item is the last
    found = evaluate_sampled(blind, known, truth, (5, 6), n=5)
    assert found.per_seed("sampled HR@5")[0] == 0 and found.per_seed("sampled HR@6")[0] == 1
    np.testing.assert_allclose(found.per_seed("sampled MRR"), 1 / 6)
    with pytest.raises(gan_rec.UserError, match="never had"):
        evaluate_sampled(votes, known, truth, (1,), n=15)


def test_sampled_items_were_never_had():
    known, truth = to_device(CYCLE.train), CYCLE.open_test()
    from gan_rec.evaluation.sampled import _never_had

    users = np.unique(truth.users)
    drawn = _never_had(known, truth, users, 12, seed=0)
    history = np.asarray(known.history(jnp.asarray(users)))
    assert not np.take_along_axis(history, drawn, 1).any()
    assert all(len(set(row)) == 12 for row in drawn)
    assert not (drawn == truth.items[np.argsort(truth.users)][:, None]).any()


# Mistakes.


def test_data_without_times_are_refused():
    bare = Split("bare", "fixed", *(replace(p, times=None) for p in (CYCLE.train, CYCLE.valid, CYCLE.open_test())))
    with pytest.raises(gan_rec.UserError, match="order of time"):
        fit(bare, recommender="sasrec", **SMALL)
    with pytest.raises(gan_rec.UserError, match="no times"):
        Markov().fit(bare.train)
    with pytest.raises(gan_rec.UserError, match="order of time"):
        top_items(jax.tree.map(lambda x: x[None], recommender(SASRec)), to_device(interactions(PAIRS, 4, 6)),
                  np.array([0]), 1)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"game": "apr"}, "does not play game"),
        ({"form": "beta", "loss": "bce"}, "form"),
        ({"balance": "validation"}, "balance"),
        ({"side": "item", "loss": "softmax"}, "side"),
        ({"heads": 3}, "heads"),
        ({"attacked": "outputs"}, "unknown attacked"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(gan_rec.UserError, match=message):
        gan_rec.Settings(recommender="sasrec", **options).resolved()


def test_models_have_twins_and_spaces():
    assert model("sasrec+fgm").twin == "sasrec" and "dropout" in model("gru").space(CYCLE)
