"""Two towers over texts, and the ranking of cold items."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import checkerboard, interactions, later
from flax import nnx
from test_language import installed

import gan_rec
from gan_rec.data import Dataset, Split, split
from gan_rec.data.sampling import sample_negatives, to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.evaluation.ranking import top_items
from gan_rec.experiments import players
from gan_rec.experiments.settings import Settings
from gan_rec.games import batches
from gan_rec.games.rows import RowLoss
from gan_rec.recommenders import RECOMMENDERS
from gan_rec.recommenders.score import dot
from gan_rec.recommenders.text import TextVectors, principal_components
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.epoch import init

NAMES = ("two-tower", "hybrid")


class Fixed(nnx.Module):
    """Scores from a table."""

    reads_history = False

    def __init__(self, scores):
        self.scores = nnx.Param(jnp.asarray(scores, jnp.float32))

    def users(self, ids, history=None, key=None):
        return self.scores[ids]

    def items(self, ids=None):
        eye = jnp.eye(self.scores.shape[1])
        return eye if ids is None else eye[ids]

    score = staticmethod(dot)


def vectors_of(n_items: int, size: int = 6) -> TextVectors:
    return TextVectors(np.random.default_rng(0).standard_normal((n_items, size)))


# The ranking of candidates.


def test_only_candidates_are_ranked_by_hand():
    """Items 1, 3, 4 are cold. User 0 wants 3 and 4, and gets 1, 3, 4; user 1 wants 1, and gets 4, 3, 1."""
    train = replace(interactions([(0, 0), (1, 2)], 2, 5), candidates=np.array([1, 0, 1, 0, 0], bool))
    truth = replace(interactions([(0, 3), (0, 4), (1, 1)], 2, 5), candidates=np.array([0, 1, 0, 1, 1], bool))
    model = jax.tree.map(lambda x: x[None], Fixed([[9, 5, 9, 4, 3], [9, 1, 9, 2, 3]]))
    found = evaluate_ranking(model, to_device(train), truth, (1, 2, 3))
    gain = 1 / np.log2([2, 3, 4])
    np.testing.assert_allclose(found.per_user["NDCG@3"][0], [(gain[1] + gain[2]) / (gain[0] + gain[1]), gain[2]])
    np.testing.assert_allclose(found.per_user["R@2"][0], [0.5, 0.0])
    np.testing.assert_allclose(found.per_model["coverage@1"], [2 / 3], err_msg="of the three that can be ranked")
    with pytest.raises(UserError, match="k = 4 is not possible: there are only 3 items to rank, so k may be 1 to 3"):
        evaluate_ranking(model, to_device(train), truth, (4,))


def test_restricted_ranking_against_numpy():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((2, 7, 30)).astype(np.float32)
    seen = interactions([(u, i) for u in range(7) for i in range(30) if rng.random() < 0.3], 7, 30)
    candidates = rng.random(30) < 0.5
    models = jax.vmap(Fixed)(jnp.asarray(scores))
    users = np.array([6, 0, 3])
    items, values = top_items(models, to_device(seen), users, 12, candidates=candidates)
    had = set(zip(seen.users.tolist(), seen.items.tolist(), strict=True))
    for s in range(2):
        for row, user in enumerate(users):
            allowed = [i for i in range(30) if candidates[i] and (user, i) not in had]
            expected = sorted(allowed, key=lambda i: -scores[s, user, i])[:12]
            assert items[s, row][np.isfinite(values[s, row])].tolist() == expected


def test_a_model_that_knows_nothing_of_cold_items_ranks_them_in_no_order_of_their_indices():
    models = jax.tree.map(lambda x: x[None], Fixed(np.zeros((2, 40))))
    seen, candidates = to_device(interactions([(0, 39)], 2, 40)), np.arange(40) >= 10
    (items,), _ = top_items(models, seen, np.arange(2), 29, candidates=candidates)
    assert set(items[0]) == set(range(10, 39)) and (np.diff(items[0]) < 0).any()
    again, _ = top_items(models, seen, np.arange(2), 29, candidates=candidates)
    np.testing.assert_array_equal(again[0], items)


# Cold items in training.


def warm():
    """Items 1 and 4 are cold."""
    return replace(interactions([(0, 0), (0, 3), (1, 0)], 2, 6), candidates=np.array([1, 0, 1, 1, 0, 1], bool))


def test_a_cold_item_is_never_drawn_as_a_negative():
    drawn = np.asarray(sample_negatives(to_device(warm()), jnp.zeros(200, jnp.int32), 5, jax.random.key(0), tries=20))
    assert set(np.unique(drawn)) == {2, 5} and abs((drawn == 2).mean() - 0.5) < 0.06


@pytest.mark.parametrize("reads_history", [True, False])
def test_a_cold_item_is_no_negative_of_the_softmax(reads_history):
    batch = batches.draw_users(
        to_device(warm()), jnp.arange(2), jax.random.key(0), reads_history=reads_history, hide=0.5, profile=False
    )
    model = Fixed(np.random.default_rng(0).standard_normal((2, 6)))
    loss = RowLoss(model, batch, "softmax")
    allowed = np.asarray(loss.candidates(jnp.zeros((2, 6))))
    assert (allowed[:, [1, 4]] == 0).all() and (allowed[:, [2, 5]] == 1).all()
    gradient = np.abs(jax.grad(lambda items: loss(model.users(jnp.arange(2)), items))(model.items()))
    assert (gradient[[1, 4]] == 0).all() and (gradient[[2, 5]] > 0).any(), "a cold item's text is moved"


def test_validation_and_refit_know_what_is_cold():
    cut = split(gan_rec.load("synthetic"), "cold-items")
    assert (np.asarray(to_device(cut.train).candidates) == cut.train.candidates).all()
    assert (np.asarray(to_device(cut.train_and_valid()).candidates) == ~cut.candidates).all()


@pytest.mark.parametrize("game", ["irgan", "cfgan"])
def test_games_over_the_whole_catalogue_refuse_cold_items(game):
    with pytest.raises(
        UserError, match=f"game '{game}' draws items from the whole catalogue, which a cold-items split"
    ):
        gan_rec.fit(split(gan_rec.load("synthetic"), "cold-items"), game=game, progress=False)


def test_too_few_cold_items_for_the_metric_are_refused_before_training():
    with pytest.raises(UserError, match="k = 20 is not possible: there are only 18 items to rank"):
        gan_rec.fit(split(gan_rec.load("synthetic"), "cold-items"), progress=False)


# The two recommenders.


@pytest.mark.parametrize("reads", ["ids", "text"])
@pytest.mark.parametrize("name", NAMES)
def test_rows_by_hand(name, reads):
    vectors = vectors_of(5, 3)
    model = RECOMMENDERS[name](2, 5, 4, vectors=vectors, units=6, reads=reads, dropout=0.5, rngs=nnx.Rngs(0))
    offset = np.zeros((5, 4))
    if name == "hybrid":
        assert not np.asarray(model.item_embedding[...]).any(), "a cold item must be ranked by its text alone"
        offset = np.random.default_rng(1).standard_normal((5, 4))
        model.item_embedding[...] = jnp.asarray(offset, jnp.float32)
    enter, leave = ((np.asarray(x.kernel[...]), np.asarray(x.bias[...])) for x in (model.enter, model.leave))
    rows = np.maximum(vectors.values @ enter[0] + enter[1], 0) @ leave[0] + leave[1] + offset
    np.testing.assert_allclose(model.items(), rows, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(model.items(jnp.array([[4, 0]])), rows[[[4, 0]]], rtol=2e-5, atol=1e-6)
    history = np.array([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0]], np.float32)
    known = np.eye(5) if reads == "ids" else vectors.values
    bag = history @ known / np.sqrt([[2], [1]])
    expected = np.tanh(bag @ np.asarray(model.input_embedding[...]))
    np.testing.assert_allclose(model.users(jnp.arange(2), jnp.asarray(history)), expected, rtol=2e-5, atol=1e-6)


def test_text_vectors_are_no_weights(tmp_path):
    """They are in no leaf, in no checkpoint, once for all seeds, and equal ones compile nothing anew."""
    settings = Settings(recommender="two-tower", dim=4, units=5, seeds=3).resolved()
    makers = [players.make_recommender(settings, 7, 50, vectors_of(50, 40)) for _ in range(2)]
    assert makers[0] == makers[1] and hash(makers[0]) == hash(makers[1])
    assert makers[0] != players.make_recommender(settings, 7, 50, TextVectors(np.ones((50, 40))))
    adversary = players.make_adversary(settings, 7, 50)
    keys = jax.random.split(jax.random.key(0), 3)
    state = init(makers[0], adversary, players.make_schedule(settings), keys)
    assert {leaf.shape for leaf in jax.tree.leaves(state.recommender)} == {
        (3, 50, 4), (3, 4), (3, 40, 5), (3, 5), (3, 5, 4),
    }  # fmt: skip
    compiled = init.__globals__["_init"]._cache_size()
    init(makers[1], adversary, players.make_schedule(settings), keys)
    assert init.__globals__["_init"]._cache_size() == compiled
    store = Checkpoints(tmp_path)
    store.save("x", 1, state.recommender)
    again = store.restore("x", state.recommender)
    assert again.vectors == state.recommender.vectors and not isinstance(again.vectors, jax.Array)


def test_principal_components():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((40, 2)) * [5.0, 1.0]
    vectors = latent @ np.linalg.qr(rng.standard_normal((9, 2)))[0].T + 3.0
    found = principal_components(vectors, 2)
    assert np.mean(found**2) == pytest.approx(1)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    centred = vectors - vectors.mean(axis=0)
    scale = np.mean(centred**2) * 9 / 2
    np.testing.assert_allclose(found @ found.T, centred @ centred.T / scale, atol=1e-9)
    assert abs(found[:, 0] @ found[:, 1]) < 1e-9 and found[:, 0].std() > found[:, 1].std()
    assert principal_components(vectors, 99).shape == (40, 9)
    assert np.isfinite(principal_components(np.ones((4, 3)), 2)).all()


def stub(monkeypatch):
    """A language model that knows "even" and "odd" and the number of an item."""

    class Encoder:
        def encode(self, texts, progress=True):
            rng = np.random.default_rng(0)
            return np.stack([np.r_[4.0 * t.startswith("even"), rng.standard_normal(5)] for t in texts])

    monkeypatch.setattr(players, "load_encoder", lambda name: Encoder())


@pytest.mark.parametrize("alpha", [0.5, 1.0], ids=["adversarial", "twin"])
@pytest.mark.parametrize("name", ["two-tower", later("hybrid")])
def test_checkerboard_of_cold_items(name, alpha, monkeypatch):
    """Even users like even items. Of items that nobody has had, those of the user's own colour must come first."""
    stub(monkeypatch)
    whole = interactions([(u, i) for u in range(30) for i in range(60) if u % 2 == i % 2], 30, 60)
    texts = tuple(f"{('even', 'odd')[i % 2]} item {i}" for i in range(60))
    data = Dataset("board", {"all": whole}, notes=(), terms=None, sha256="", item_texts=texts)
    cut = split(data, "cold-items", test_fraction=0.2, valid_fraction=0.2)
    fitted = gan_rec.fit(
        cut, recommender=name, alpha=alpha, seeds=2, epochs=30, average=0.0, select_on="NDCG@3", progress=False,
        dim=8, units=16, components=6, batch_size=10, learning_rate=2e-2, weight_decay=0.1,
    )  # fmt: skip
    assert gan_rec.evaluate(fitted, "test", (2,)).per_seed("P@2").min() == 1
    listed = gan_rec.recommend(fitted, k=2)
    assert cut.candidates[listed["item"]].all() and (listed["item"] % 2 == listed["user"] % 2).all()


@pytest.mark.long
def test_checkerboard_of_ids(monkeypatch):
    """The texts say nothing, so the held-out diagonal can only be found by the embeddings of `hybrid`."""

    class Silent:
        def encode(self, texts, progress=True):
            return np.ones((len(texts), 3))

    monkeypatch.setattr(players, "load_encoder", lambda name: Silent())
    board = Split("board", "fixed", *checkerboard(30), item_texts=("",) * 30)
    precision = {}
    for name in NAMES:
        fitted = gan_rec.fit(
            board, recommender=name, seeds=1, epochs=60, patience=60, average=0.0, select_on="NDCG@1", progress=False,
            dim=16, units=4, components=2, batch_size=10, learning_rate=2e-2, weight_decay=0.1,
        )  # fmt: skip
        precision[name] = gan_rec.evaluate(fitted, "test", (1,)).per_seed("P@1")[0]
    assert precision["hybrid"] == 1 and precision["two-tower"] < 0.2


def test_without_texts():
    message = "recommender 'two-tower' reads texts of items, but the data has none; load them with item_text"
    with pytest.raises(UserError, match=message):
        gan_rec.fit(split(gan_rec.load("synthetic")), recommender="two-tower", progress=False)


def test_games_that_a_recommender_over_text_does_not_play():
    with pytest.raises(
        UserError, match="recommender 'hybrid' does not play game 'cfgan'; allowed: embedding, apr, hard"
    ):
        Settings(game="cfgan", recommender="hybrid").resolved()
    with pytest.raises(UserError, match="encoder is no option of game 'embedding' with recommender 'mf'"):
        Settings(recommender="mf", encoder="minilm").resolved()


@pytest.mark.long
def test_command_line_over_a_file_of_texts(tmp_path, capsys):
    """With real weights: train on cold items, evaluate from the checkpoints, recommend cold items only."""
    import json

    from gan_rec import cli

    installed("minilm")
    board = [(u, i) for u in range(24) for i in range(60) if u % 2 == i % 2]
    (tmp_path / "pairs.csv").write_text("user,item\n" + "".join(f"u{u},i{i}\n" for u, i in board))
    kinds = ("a horror film about ghosts", "a cheerful musical for children")
    (tmp_path / "texts.csv").write_text("item,text\n" + "".join(f"i{i},{kinds[i % 2]}\n" for i in range(60)))
    out = tmp_path / "run"
    arguments = f"--dataset {tmp_path}/pairs.csv --item-text {tmp_path}/texts.csv --split cold-items --seeds 1"
    sizes = "--dim 8 --units 16 --components 4 --batch-size 8 --epochs 20 --select-on NDCG@2 --k 2 --learning-rate 0.02"
    cli.main(f"train {arguments} --recommender two-tower --test-fraction 0.2 {sizes} --out {out} --quiet".split())
    results = json.loads((out / "results.json").read_text())
    assert results["models"]["adversarial"]["P@2"]["mean"] == 1
    capsys.readouterr()
    cli.main(f"evaluate {out} --k 2 --format json".split())
    assert json.loads(capsys.readouterr().out)["models"]["twin"]["P@2"]["mean"] == 1
    cli.main(f"recommend {out} --all -k 12 --format csv".split())
    listed = {line.split(",")[2] for line in capsys.readouterr().out.splitlines()[1:]}
    assert len(listed) == 12, "12 of 60 items are cold"
