"""Recommender over ids and features: its score against plain matrices, attacks on features, missing modalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import checkerboard, interactions, later
from flax import nnx
from jax.test_util import check_grads

import gan_rec
from gan_rec.adversaries import ATTACKS
from gan_rec.data import Split
from gan_rec.data.sampling import to_device
from gan_rec.data.side import SideInformation
from gan_rec.errors import UserError
from gan_rec.experiments.fitting import moved_rows
from gan_rec.experiments.settings import Settings
from gan_rec.games import EmbeddingGame
from gan_rec.games.rows import RowLoss
from gan_rec.recommenders.multimodal import Modalities, Multimodal
from gan_rec.robustness.modalities import without

RNG = np.random.default_rng(0)
FEATURES = {"sound": 40 + 9 * RNG.random((5, 3), np.float32), "look": RNG.random((5, 2), np.float32)}
KNOWN = to_device(interactions([(0, 0), (0, 1), (1, 2), (2, 3), (2, 4), (3, 1)], 4, 5))


def model(fusion="late", dim=4, modality_dim=2):
    modalities = Modalities.of(FEATURES)
    return Multimodal(4, 5, dim, modalities=modalities, fusion=fusion, modality_dim=modality_dim, rngs=nnx.Rngs(0))


def test_modalities_weigh_alike():
    """Each is centred, and has rows with a mean square length of 1, whatever its unit."""
    found = Modalities.of(FEATURES)
    for name, given in FEATURES.items():
        rows = found.features.values[:, found.columns(name)]
        np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(np.mean(np.sum(rows**2, axis=1)), 1, rtol=1e-5)
        centred = given - given.mean(axis=0)
        np.testing.assert_allclose(rows / rows[0, 0], centred / centred[0, 0], rtol=1e-3)
    assert hash(found) == hash(Modalities.of(dict(FEATURES))) and found == Modalities.of(dict(FEATURES))
    assert found != Modalities.of(FEATURES | {"look": FEATURES["look"] ** 2})
    with pytest.raises(UserError, match="unknown modality 'smell'; allowed: sound, look"):
        found.columns("smell")


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_scores_equal_a_reference(fusion):
    """VBPR, equation 4: inner product of ids plus one of tastes with mapped features, of each modality or of all."""
    vbpr, features = model(fusion), Modalities.of(FEATURES).features.values
    blocks = np.split(features, [3], axis=1) if fusion == "late" else [features]
    scores = np.asarray(vbpr.score(vbpr.users(None), vbpr.items()))
    for user in range(4):
        for item in range(5):
            expected = vbpr.user_embedding[user] @ vbpr.item_embedding[item]
            for taste, read, block in zip(vbpr.user_tastes, vbpr.maps, blocks, strict=True):
                expected += taste[user] @ (block[item] @ read[...])
            np.testing.assert_allclose(scores[user, item], expected, rtol=1e-4)
    ids = jnp.array([[3, 1], [0, 0]])
    np.testing.assert_allclose(vbpr.items(ids), vbpr.items()[ids], rtol=1e-6)
    np.testing.assert_allclose(vbpr.read(vbpr.features(ids), ids), vbpr.items()[ids], rtol=1e-6)


@pytest.mark.parametrize("loss", ["softmax", later("bpr")])
def test_the_game_moves_features_alone(loss):
    """At most epsilon of their length; ids and users stay; and the loss rises."""
    game = EmbeddingGame(loss=loss, reads_history=False, under_attack="features", epsilon=0.4)
    batch = game.draw(KNOWN, jnp.arange(3), jax.random.key(0))
    users, features = game.representations(model(), batch, jax.random.key(1))
    np.testing.assert_array_equal(features, model().features(batch.items))
    clean = game.loss_of(model(), batch, (users, features))
    plain = RowLoss(model(), batch, loss)
    np.testing.assert_allclose(clean(users, features), plain(users, model().items(batch.items)), rtol=1e-6)
    moved = game.attack(ATTACKS["fgm"](), clean, users, features, jax.random.key(2))
    np.testing.assert_array_equal(moved[0], users)
    lengths = [np.linalg.norm(x, axis=-1) for x in (moved[1] - features, features)]
    touched = lengths[0] > 1e-6
    assert touched.any()
    np.testing.assert_allclose(lengths[0][touched], 0.4 * lengths[1][touched], rtol=1e-4)
    assert clean(*moved) > clean(users, features) + 1e-3


def test_gradients():
    """The joint loss is differentiated by hand over rows, features and the score; the parts add up to its own."""
    game = EmbeddingGame(loss="softmax", reads_history=False, under_attack="features", alpha=1.0)
    batch = game.draw(KNOWN, jnp.arange(3), jax.random.key(0))

    def plain(recommender):
        return RowLoss(recommender, batch, "softmax")(recommender.users(batch.users), recommender.items())

    found = jax.grad(lambda r: game.recommender_loss(r, ATTACKS["fgm"](), batch, jax.random.key(1))[0])(model())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, jax.grad(plain)(model()))
    graph, state = nnx.split(model())
    check_grads(lambda s: plain(nnx.merge(graph, s)), (state,), order=1, modes=["rev"], rtol=2e-2)


def board(n=24) -> Split:
    """A checkerboard whose items sound of their colour and look of nothing."""
    colour = np.eye(2, dtype=np.float32)[np.arange(n) % 2]
    side = SideInformation({"sound": colour, "look": np.random.default_rng(0).random((n, 3), np.float32)})
    return Split("board", "fixed", *checkerboard(n), side_information=side)


SMALL = dict(
    recommender="multimodal", seeds=2, epochs=60, patience=60, average=0.0, select_on="NDCG@1", progress=False, dim=16,
    modality_dim=8, batch_size=10, learning_rate=2e-2, weight_decay=0.1, adversary="fgm",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("options", [{"alpha": 1.0}, {"under_attack": "features", "epsilon": 0.3}, {"fusion": "early"}])
def test_checkerboard(options):
    """The held-out diagonal must rank first: the only unseen item of the user's own colour."""
    fitted = gan_rec.fit(board(), **SMALL | options)
    assert gan_rec.evaluate(fitted, "test", (1,)).per_seed("P@1").min() == 1


def test_features_rank_items_that_nobody_had():
    """Ids know nothing of cold items: of these the right colour must come first, by its sound."""
    n = 30
    data = gan_rec.data.Dataset(
        "board", {"all": interactions([(u, i) for u in range(n) for i in range(n) if u % 2 == i % 2], n, n)}, (), None,
        "", side_information=SideInformation({"sound": np.eye(2, dtype=np.float32)[np.arange(n) % 2]}),
    )  # fmt: skip
    cut = gan_rec.split(data, "cold-items", test_fraction=0.2, valid_fraction=0.2)
    fitted = gan_rec.fit(cut, **SMALL | {"alpha": 1.0, "select_on": "NDCG@2", "seeds": 1})
    assert gan_rec.evaluate(fitted, "test", (2,)).per_seed("P@2").min() == 1


def test_a_missing_modality_is_its_mean():
    """Without the sound, what the ids say is left; without the look, which says nothing, all is."""
    vbpr = jax.tree.map(lambda x: jnp.stack([x, x]), model())
    silent = without(vbpr, "sound")
    alone = model()
    features = np.array(alone.features())
    features[:, :3] = 0.0
    np.testing.assert_allclose(silent.item_rows[1], alone.read(jnp.asarray(features)), rtol=1e-6)
    np.testing.assert_allclose(silent.user_rows[0], alone.users(None), rtol=1e-6)
    with pytest.raises(UserError, match="unknown modality 'smell'"):
        without(vbpr, "smell")


@pytest.fixture(scope="module")
def trained():
    return gan_rec.fit(board(), **SMALL | {"alpha": 1.0, "epochs": 20})


def test_damage_under_attack_on_features(trained):
    """More with the radius, none without; users' rows stay, item rows are those of the moved features."""
    lists = [
        gan_rec.evaluate_attacked(trained, "pgd", radius, "validation", (2,), rows="features").per_seed("NDCG@2").mean()
        for radius in (0.0, 0.5, 2.0)
    ]
    assert lists[0] == gan_rec.evaluate(trained, "validation", (2,)).per_seed("NDCG@2").mean()
    assert lists[0] + 1e-6 > lists[1] >= lists[2] and lists[0] > lists[2] + 0.01
    moved = moved_rows(trained, "fgm", 0.5, "validation", rows="features")
    one = jax.tree.map(lambda x: x[0], trained.weights.selected.recommender)
    np.testing.assert_array_equal(moved.user_rows[0], one.users(None))
    ids = one.item_embedding.shape[1]
    np.testing.assert_allclose(moved.item_rows[0][:, :ids], one.item_embedding[...], rtol=1e-6)
    assert np.abs(moved.item_rows[0] - one.items()).max() > 1e-3


def test_what_has_no_features(small_split):
    fitted = gan_rec.fit(
        small_split, recommender="mf", seeds=1, epochs=1, evaluate_every=1, dim=4, adversary="fgm", progress=False
    )
    with pytest.raises(UserError, match="rows 'features' needs a model whose items have some .two-tower, hybrid, mul"):
        gan_rec.evaluate_attacked(fitted, rows="features")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recommender": "mf"}, "under_attack 'features' needs recommender two-tower, hybrid, multimodal, got 'mf'"),
        ({"adversary": "generator"}, "under_attack 'features' needs adversary noise, .*, got 'generator'"),
        ({"adversary": "kl-dro"}, "under_attack 'features' needs adversary noise, .*, got 'kl-dro'"),
        ({"softmax_scores": "chunks"}, "softmax_scores 'chunks' needs under_attack 'rows'"),
        ({"fusion": "middle"}, "unknown fusion 'middle'; allowed: late, early"),
        ({"side": "item", "under_attack": "rows"}, "side 'item' needs another recommender than 'multimodal'"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        Settings(**{"recommender": "multimodal", "adversary": "fgm", "under_attack": "features"} | options).resolved()
