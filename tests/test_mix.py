"""Both sides and EDLAE in one: z-scores by hand, Bayes' rule, weights that only validation chooses, runs in parts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import checkerboard, interactions
from flax import nnx
from test_fit import Forbidden, equal

import gan_rec
from gan_rec import cli
from gan_rec.data import Split
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.experiments.fitting import training
from gan_rec.experiments.settings import Settings
from gan_rec.recommenders import Autoencoder, Mix
from gan_rec.recommenders.baselines import EDLAE
from gan_rec.recommenders.baselines.tables import Factors, ItemWeights
from gan_rec.recommenders.flipped import flip
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.mixed import choose_weights

SMALL = {"dim": 8, "hidden": 4, "noise": 2, "batch_size": 16, "seeds": 2, "epochs": 6, "evaluate_every": 2}
OF_MIX = {
    "recommender": "mix", "weight_decay": 1.0, "item_dim": 6, "item_epochs": 4, "item_learning_rate": 1e-2,
    "item_weight_decay": 1.0,
}  # fmt: skip


def rng():
    return np.random.default_rng(4)


@pytest.fixture(scope="module")
def train():
    return interactions(np.argwhere(rng().random((12, 9)) < 0.4), 12, 9)


@pytest.fixture(scope="module")
def sealed(small_split):
    return Split(small_split.name, small_split.method, small_split.train, small_split.valid, Forbidden())


@pytest.fixture(scope="module")
def fitted(sealed):
    return gan_rec.fit(sealed, progress=False, **SMALL | OF_MIX)


def random_parts():
    draw = rng()
    return (
        Autoencoder(12, 9, 5, rngs=nnx.Rngs(0)),
        Factors(draw.normal(size=(12, 3)), 5 * draw.normal(size=(9, 3)) + 2),
        ItemWeights(draw.normal(size=(9, 9))),
    )


def test_the_score_is_the_weighted_sum_of_z_scores(train):
    parts, weights, history = random_parts(), (0.5, 0.2, 0.3), to_device(train).history(jnp.arange(12))
    mix, ids = Mix(parts, jnp.array(weights)), jnp.arange(12)
    found = np.asarray(mix.score(mix.users(ids, history), mix.items()))
    scores = [np.asarray(part.users(ids, history) @ part.items().T) for part in parts]
    for user in range(12):
        unseen = np.asarray(history[user]) == 0
        z = [(s[user] - s[user][unseen].mean()) / s[user][unseen].std() for s in scores]
        expected = sum(w * each for w, each in zip(weights, z, strict=True)) * scores[0][user][unseen].std()
        np.testing.assert_allclose(found[user] - found[user].mean(), expected - expected.mean(), rtol=1e-4, atol=1e-5)
    alone = Mix(parts, jnp.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(alone.score(alone.users(ids, history), alone.items()), scores[0], rtol=1e-5)
    np.testing.assert_array_equal(mix.items(jnp.array([4, 1])), mix.items()[jnp.array([4, 1])])


def test_users_without_a_history_get_numbers():
    mix = Mix(random_parts(), jnp.array([0.0, 0.0, 1.0]))
    assert not np.asarray(mix.users(jnp.arange(2), jnp.zeros((2, 9)))).any()


def test_bayes_turns_a_softmax_over_users_round(train):
    model, known = Autoencoder(9, 12, 5, rngs=nnx.Rngs(3)), to_device(train)
    model = jax.tree.map(lambda x: x + 0.5, model)
    right = flip(model, known, "bayes")
    found = np.asarray(right.score(right.users(jnp.arange(12)), right.items()))
    x = np.zeros((12, 9))
    x[train.users, train.items] = 1
    for item in range(9):
        logits = np.asarray(model.score(model.users(jnp.arange(1), jnp.asarray(x[:, item][None])), model.items()))[0]
        of_users = np.exp(logits) / np.exp(logits[x[:, item] == 0]).sum()
        np.testing.assert_allclose(found[:, item], np.log(of_users) + np.log(x[:, item].sum() + 0.5), rtol=1e-4)
    assert flip(model, known, "user") is model


def test_weights_are_those_that_rank_validation_best(train):
    draw = np.random.default_rng(5)
    known = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    held_out = interactions(
        [p for p in np.argwhere(draw.random((12, 9)) < 0.3).tolist() if tuple(p) not in known], 12, 9
    )
    models = [Mix(random_parts(), jnp.full(3, 1 / 3)) for _ in range(2)]
    models[1] = jax.tree.map(lambda x: x + draw.normal(size=x.shape).astype(np.float32), models[1])
    mix = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    chosen = choose_weights(mix, train, held_out, "NDCG@3")
    reached = {}
    for a in range(11):
        for b in range(11 - a):
            weights = jnp.array([[a, b, 10 - a - b]] * 2) / 10
            found = evaluate_ranking(Mix(mix.parts, weights), to_device(train), held_out, (3,))
            reached[a, b, 10 - a - b] = found.per_seed("NDCG@3")
    means = [found.mean() for found in reached.values()]
    weights = np.rint(np.asarray(chosen.weights) * 10).astype(int)
    assert max(means) > min(means) + 0.05 and (weights[0] == weights[1]).all()
    np.testing.assert_allclose(chosen.score, reached[tuple(weights[0])], rtol=1e-6)
    np.testing.assert_allclose(np.mean(chosen.score), max(means), rtol=1e-6)


def test_parts_are_those_that_are_trained_alone(sealed, fitted):
    """Bit for bit: neither the mix nor the test part, which cannot be looked at here, has a say in them."""
    users = gan_rec.fit(sealed, progress=False, **SMALL)
    own = {name.removeprefix("item_"): value for name, value in OF_MIX.items() if name.startswith("item_")}
    items = gan_rec.fit(sealed, progress=False, side="item", **SMALL | own)
    both = sealed.train_and_valid()
    for name, known in (("selected", sealed.train), ("final", both)):
        mix, alone = getattr(fitted.weights, name).recommender, getattr(users.weights, name)
        assert equal(mix.parts[0], alone.recommender) and equal(getattr(fitted.weights, name).epoch, alone.epoch)
        other = getattr(items.weights, name).recommender
        assert equal(mix.parts[1], jax.vmap(lambda one, at=known: flip(one, to_device(at), "bayes"))(other))
        linear = EDLAE(327.0, 0.4).fit(known).columns[...]
        assert equal(mix.parts[2].columns[...], jnp.stack([linear, linear]))
    assert items.history["phase"].unique().tolist() == ["selection", "refit"]
    assert fitted.history["phase"].unique().tolist() == ["selection", "refit", "item-selection", "item-refit"]
    # What chose the item side's epochs is the score that it has in the mix.
    selected = gan_rec.evaluate(items, "validation").per_seed("NDCG@20")
    np.testing.assert_allclose(items.weights.selected.score, selected, rtol=1e-6)


def test_what_validation_chose_is_kept(fitted):
    selected, final = fitted.weights.selected, fitted.weights.final
    weights = np.asarray(selected.recommender.weights[...])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert equal(final.recommender.weights[...], weights)
    found = gan_rec.evaluate(fitted, "validation").per_seed("NDCG@20")
    np.testing.assert_allclose(selected.score, found, atol=1e-6)
    assert not equal(final.recommender.parts[2], selected.recommender.parts[2])


@pytest.mark.parametrize("options", [{"side": "item"}, {"recommender": "mix", "item_epochs": 60}], ids=["item", "mix"])
def test_checkerboard(options):
    """The held-out diagonal must rank first: the only unseen item of the user's own colour."""
    train, valid, test = checkerboard(30)
    split = Split("checkerboard", "fixed", train, valid, test)
    model = gan_rec.fit(
        split, seeds=2, epochs=60, patience=60, average=0.0, select_on="NDCG@1", progress=False, dim=32, batch_size=10,
        learning_rate=2e-2, weight_decay=0.1, epsilon=0.1, **options,
    )  # fmt: skip
    assert gan_rec.evaluate(model, "test", (1,)).per_seed("P@1").min() == 1
    if "recommender" in options:  # of which each network alone can do it, not only the closed form
        mix, known = model.weights.final.recommender, to_device(split.train_and_valid())
        for part in (0, 1):
            alone = Mix(mix.parts, jnp.tile(jnp.eye(3)[part], (2, 1)))
            assert evaluate_ranking(alone, known, test, (1,)).per_seed("P@1").min() == 1


def test_weights_that_rank_alike_are_even(train):
    part = random_parts()[0]
    mix = jax.tree.map(lambda x: x[None], Mix((part, part, part), jnp.full(3, 1 / 3)))
    held_out = interactions([(u, u % 9) for u in range(12)], 12, 9)
    np.testing.assert_allclose(np.sort(choose_weights(mix, train, held_out, "NDCG@3").weights), [[0.3, 0.3, 0.4]])


@pytest.mark.long
def test_attacks_move_the_rows_of_all_parts(small_split, fitted):
    model = gan_rec.Fitted(fitted.settings, small_split, fitted.weights, fitted.history)
    clean = gan_rec.evaluate(model).per_seed("NDCG@20")
    attacked = gan_rec.evaluate_attacked(model, "fgm", radius=0.3).per_seed("NDCG@20")
    noise = gan_rec.evaluate_attacked(model, "noise", radius=1e-6).per_seed("NDCG@20")
    np.testing.assert_allclose(noise, clean, atol=0.01)
    assert (attacked < 0.8 * clean).all()
    losses = gan_rec.probe(model, model)["twin"]
    assert set(losses) == {"clean", "noise", "fgm", "fgsm", "pgd"}
    assert losses["fgm"]["rise"]["mean"] > 10 * abs(losses["noise"]["rise"]["mean"])


@pytest.mark.long
def test_a_stopped_training_goes_on(sealed, fitted, tmp_path):
    settings = Settings(**SMALL | OF_MIX, checkpoint_every=2).resolved()

    class Watch:
        def __init__(self, last=None):
            self.last, self.begun = last, []

        def begin(self, phase, epoch, epochs):
            self.begun.append((phase, epoch))

        def tell(self, rows):
            if (rows[0]["phase"], rows[0]["epoch"]) == self.last:
                raise KeyboardInterrupt

    def trained(*observers):
        return training(settings, sealed, observers, Checkpoints(tmp_path))

    with pytest.raises(KeyboardInterrupt):
        trained(Watch(("item-selection", 3))).fit(sealed.train, sealed.valid)
    with pytest.raises(UserError, match="the checkpoints of the run are missing"):
        trained().restore(sealed.train, sealed.valid)
    watch = Watch()
    resumed = trained(watch).fit(sealed.train, sealed.valid)
    assert watch.begun == [("item-selection", 2), ("item-refit", 0)]
    assert equal((resumed.selected, resumed.final), (fitted.weights.selected, fitted.weights.final))
    restored = trained().restore(sealed.train, sealed.valid)
    assert equal((restored.selected, restored.final), (resumed.selected, resumed.final))


@pytest.mark.long
def test_a_run_on_the_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    options = "--seeds 1 --epochs 2 --item-epochs 3 --evaluate-every 1 --dim 8 --item-dim 6 --k 5 --select-on NDCG@5"
    cli.main(f"train --dataset synthetic --recommender mix --adversary fgm --out {out} {options}".split())
    results = json.loads((out / "results.json").read_text())
    for name in ("adversarial", "twin"):
        assert len(results["mix_weights"][name]) == 3 and sum(results["mix_weights"][name]) == pytest.approx(1)
        assert set(results["seconds"][name]) == {
            "selection", "refit", "item-selection", "item-refit", "total", "compilation",
        }  # fmt: skip
        assert results["throughput"][name]["seconds_per_epoch_and_seed"] > 0
    capsys.readouterr()
    cli.main(["evaluate", str(out), "--format", "json", "--k", "5"])
    again = json.loads(capsys.readouterr().out)["models"]
    for name, model in results["models"].items():
        assert again[name]["NDCG@5"]["per_seed"] == pytest.approx(model["NDCG@5"]["per_seed"])
    cli.main(["recommend", str(out), "--all", "-k", "3", "--format", "csv"])
    assert capsys.readouterr().out.splitlines()[0] == "user,rank,item,score"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recommender": "mix", "game": "cfgan"}, "recommender 'mix' does not play game 'cfgan'; allowed: embedding"),
        ({"recommender": "mix", "warm_up": 5}, "warm_up 5 must be 0 with recommender 'mix'"),
        ({"recommender": "mix", "loss": "bpr"}, "loss 'bpr' must be 'softmax' with recommender 'mix'"),
        ({"recommender": "mix", "side": "item"}, "side 'item' needs another recommender than 'mix'"),
        ({"recommender": "mix", "balance": "validation"}, "balance 'validation' needs another recommender than 'mix'"),
        ({"recommender": "mix", "edlae_dropout": 1.0}, r"edlae_dropout must be in \[0, 0.99\], got 1.0"),
        ({"item_dim": 8}, "item_dim is no option of game 'embedding' with recommender 'autoencoder'"),
        ({"recommender": "hybrid", "side": "item"}, "side 'item' needs a recommender that does not read texts"),
        ({"recommender": "mf", "side": "item"}, "side 'item' needs loss 'softmax' in game 'embedding'"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        Settings(**options).resolved()


def test_what_a_mix_cannot_do_is_said(small_split):
    with pytest.raises(UserError, match="recommender 'mix' is trained in parts; watch 'autoencoder'"):
        gan_rec.watch(small_split, recommender="mix")
    data = gan_rec.load("synthetic")
    with pytest.raises(UserError, match="recommender 'mix' knows items by who had them, and a cold-items split"):
        gan_rec.fit(gan_rec.split(data, "cold-items"), recommender="mix", progress=False)
