import logging
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import checkerboard, later
from flax import nnx

import gan_rec
from gan_rec.data import Interactions, Split
from gan_rec.errors import UserError
from gan_rec.experiments.fitting import training
from gan_rec.experiments.settings import Settings
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.fit import TrainingDivergedError

SMALL = {"dim": 8, "hidden": 4, "noise": 2, "batch_size": 16, "seeds": 2, "epochs": 6, "evaluate_every": 2}


def fit(split, **options):
    return gan_rec.fit(split, progress=False, **SMALL | options)


def fit_own(split, adversary, **options):
    sizes = {name: value for name, value in SMALL.items() if name not in ("hidden", "noise")}
    return gan_rec.fit(split, progress=False, adversary=adversary, **sizes | options)


def equal(a, b) -> bool:
    return jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.array_equal(x, y, equal_nan=True)), a, b))


class OneArray(nnx.Module):
    def __call__(self, loss, users, items, key, ball):
        return users


class Forbidden(Interactions):
    """Stands where the test part stands, and cannot be looked at."""

    def __init__(self):
        pass

    def __getattribute__(self, name):
        raise AssertionError("training must not see the test part")


@pytest.mark.parametrize("alpha", [0.5, 1.0], ids=["adversarial", "twin"])
@pytest.mark.parametrize(
    ("recommender", "loss"),
    [
        ("mf", "bpr"), later("mf", "softmax"), ("autoencoder", "softmax"), later("mult-vae", "softmax"),
        ("lightgcn", "softmax"), later("lightgcn", "bpr"),
    ],
)  # fmt: skip
def test_checkerboard(recommender, loss, alpha):
    """The held-out diagonal must rank first: the only unseen item of the user's own colour."""
    train, valid, test = checkerboard(30)
    split = Split("checkerboard", "fixed", train, valid, test)
    options = {"dim": 16 if recommender in ("mf", "lightgcn") else 32}
    options |= {"batch_size": 64 if loss == "bpr" else 10, "learning_rate": 2e-2, "weight_decay": 0.1, "epsilon": 0.1}
    fitted = gan_rec.fit(
        split, recommender=recommender, loss=loss, alpha=alpha, seeds=2, epochs=100, patience=100, average=0.0,
        select_on="NDCG@1", progress=False, **options,
    )  # fmt: skip
    assert gan_rec.evaluate(fitted, "test", (1,)).per_seed("P@1").min() == 1


def test_training_cannot_reach_the_test_part(small_split):
    sealed = Split(small_split.name, small_split.method, small_split.train, small_split.valid, Forbidden())
    fitted = fit(sealed)
    with pytest.raises(AssertionError, match="must not see"):
        gan_rec.evaluate(fitted)


def test_better_than_popularity(small_split):
    fitted = fit(small_split, epochs=60, evaluate_every=5, learning_rate=1e-2, dim=16, weight_decay=0.1)
    popularity = gan_rec.evaluate_popularity(small_split).per_seed("NDCG@20")[0]
    assert gan_rec.evaluate(fitted).per_seed("NDCG@20").min() > 1.2 * popularity


def test_one_compilation_of_the_epoch_in_a_whole_run(small_split, caplog):
    """Adversarial and twin, selection and refit: the same program."""
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        for alpha in (0.5, 1.0):
            fit(small_split, recommender="mf", dim=9, alpha=alpha)
    compiled = [r for r in caplog.records if "Finished XLA compilation of jit(epoch)" in r.getMessage()]
    assert len(compiled) == 1


def test_selection_takes_the_best_epoch_of_every_seed(small_split):
    fitted = fit(small_split, epochs=10)
    curves = fitted.history[fitted.history["phase"] == "selection"].pivot(
        index="epoch", columns="seed", values="validation NDCG@20"
    )
    assert fitted.chosen_epochs == curves.idxmax().tolist()
    np.testing.assert_allclose(fitted.weights.selected.score, curves.max(), rtol=1e-6)
    np.testing.assert_allclose(gan_rec.evaluate(fitted, "validation").per_seed("NDCG@20"), curves.max(), rtol=1e-6)


def test_a_seed_ends_when_its_patience_does(small_split):
    fitted = fit(small_split, learning_rate=0.0, epochs=40, patience=6)
    assert fitted.chosen_epochs == [2, 2]
    assert fitted.history.query("phase == 'selection'")["epoch"].max() == 8


def test_refit_runs_for_the_chosen_epochs_on_both_parts(small_split):
    fitted = fit(small_split, epochs=8)
    assert fitted.history.query("phase == 'refit'")["epoch"].max() == max(fitted.chosen_epochs)
    assert [int(e) for e in fitted.weights.final.epoch] == fitted.chosen_epochs
    without = fit(small_split, epochs=8, refit=False)
    assert equal(without.weights.final, fitted.weights.selected)
    assert not equal(without.weights.final.recommender, fitted.weights.final.recommender)


def test_seeds_are_trainings_of_their_own(small_split):
    both, second = fit(small_split, seeds=2), fit(small_split, seeds=1, seed=1)
    alone = jax.tree.map(lambda x: x[0], second.weights.final.recommender)
    together = jax.tree.map(lambda x: x[1], both.weights.final.recommender)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_divergence_names_epoch_and_seed(small_split):
    with pytest.raises(TrainingDivergedError, match=r"epoch 1 of the selection phase for seed 0"):
        fit(small_split, learning_rate=1e38, weight_decay=10.0)


def test_divergence_keeps_the_last_good_checkpoint(small_split, tmp_path, monkeypatch):
    """The fourth epoch of seed 1 gives a NaN; what was saved after the second is whole and finite."""
    import gan_rec.train.fit as module

    def poisoned(state, *rest, epoch=module.epoch_of_seeds):
        number = int(state.epoch[0]) + 1
        state, metrics = epoch(state, *rest)
        return state, metrics | {"data_loss": metrics["data_loss"].at[1].set(jnp.nan if number == 4 else 1.0)}

    monkeypatch.setattr(module, "epoch_of_seeds", poisoned)
    settings, store = Settings(**SMALL, checkpoint_every=2).resolved(), Checkpoints(tmp_path)
    job = training(settings, small_split, (), store)
    with pytest.raises(TrainingDivergedError, match=r"epoch 4 .* for seed 1: .*; the checkpoint of epoch 2 is kept"):
        job.fit(small_split.train, small_split.valid)
    kept = store.restore("selection", job._begin(job._keys()[:, 0]))
    assert kept.state.epoch.tolist() == [2, 2]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept.state.recommender))


@pytest.mark.parametrize("die_in", [("selection", 5), later(("refit", 3))])
def test_resumed_training_is_bit_identical(small_split, tmp_path, die_in):
    settings = Settings(**SMALL, checkpoint_every=2).resolved()

    class Killer:
        def begin(self, phase, epoch, epochs):
            self.began = (phase, epoch)

        def tell(self, rows):
            if (rows[0]["phase"], rows[0]["epoch"]) == die_in:
                raise KeyboardInterrupt

    def train(observers, folder):
        return training(settings, small_split, observers, Checkpoints(folder)).fit(small_split.train, small_split.valid)

    whole = train((), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train((Killer(),), tmp_path / "killed")
    resumed = train((), tmp_path / "killed")
    assert equal((whole.selected, whole.final), (resumed.selected, resumed.final))
    restored = training(settings, small_split, (), Checkpoints(tmp_path / "killed"))
    restored = restored.restore(small_split.train, small_split.valid)
    assert equal((whole.selected, whole.final), (restored.selected, restored.final))


def test_an_instance_and_a_class_of_ones_own(small_split):
    class Shift(nnx.Module):
        def __init__(self, dim, *, rngs):
            self.shift = nnx.Param(jax.random.normal(rngs.params(), (dim,)))

        def __call__(self, loss, users, items, key, ball):
            return users + self.shift[...], items - self.shift[...]

    for adversary in (Shift, Shift(8, rngs=nnx.Rngs(0))):
        fitted = fit_own(small_split, adversary)
        played = fitted.history.query("phase == 'refit'")["adversarial_loss"]
        assert (played > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, r"alpha must be in \[0, 1\], got 1.5"),
        ({"alpha": float("nan")}, "alpha must be"),
        ({"epsilon": -0.1}, "epsilon must be at least 0, got -0.1"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"recommender": "svd"}, "unknown recommender 'svd'; allowed: autoencoder, mix, mf, mult-vae"),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        (
            {"adversary": "gan"},
            "unknown adversary 'gan'; allowed: generator, .*, or a class of yours as my_module:MyGenerator",
        ),
        ({"adversary": "no_such:Class"}, "cannot import 'no_such'"),
        ({"adversary": "json:Class"}, "has no 'Class'"),
        ({"select_on": "AUC"}, "unknown metric 'AUC'"),
        ({"select_on": "NDCG@100"}, "k = 100 is not possible: the catalogue has 45 items"),
        ({"seeds": 1.5}, "seeds must be a whole number, got 1.5"),
        ({"refit": "no"}, "refit must be true or false, got 'no'"),
        ({"hide": True}, "hide must be a number or nothing, got True"),
        ({"adversary": ":Y"}, "unknown adversary ':Y'"),
        ({"learning_rat": 1}, "unknown option learning_rat; allowed: .*learning_rate"),
    ],
)
def test_mistakes_are_named(small_split, options, message):
    with pytest.raises(UserError, match=message):
        fit(small_split, **options)


def test_rows_of_other_shapes_are_refused(small_split):
    with pytest.raises(UserError, match="must return user rows and item rows of the shapes"):
        fit_own(small_split, lambda dim, rngs: OneArray())


def test_an_option_that_ones_own_class_does_not_have_is_refused(small_split):
    with pytest.raises(UserError, match="takes no hidden"):
        fit_own(small_split, lambda dim, *, noise=1, rngs: OneArray(), hidden=3)


def test_state_other_than_params_is_refused(small_split):
    class Keeps(nnx.Module):
        def __init__(self, dim, *, rngs):
            self.rngs = rngs

        def __call__(self, loss, users, items, key, ball):
            return users, items

    with pytest.raises(UserError, match=r"may keep nnx.Param only"):
        fit_own(small_split, Keeps)


def test_recommendations(small_split):
    fitted = fit(small_split)
    known = small_split.train_and_valid()
    frame = gan_rec.recommend(fitted, users=[5, 3], k=4, seed_index=1)
    assert frame["user"].tolist() == [5] * 4 + [3] * 4
    assert frame["rank"].tolist() == [1, 2, 3, 4] * 2
    for user, rows in frame.groupby("user"):
        seen = set(known.items[known.users == user])
        assert not seen & set(rows["item"])
        assert rows["score"].is_monotonic_decreasing
    everything = gan_rec.recommend(fitted, k=45)
    assert len(everything) == 60 * 45 - len(known), "seen items must not fill up the lists"
    with pytest.raises(UserError, match="unknown user 99"):
        gan_rec.recommend(fitted, users=[99])
    with pytest.raises(UserError, match="seed index 2 is not possible: 2 seeds"):
        gan_rec.recommend(fitted, seed_index=2)
    with pytest.raises(UserError, match="k = 46 is not possible"):
        gan_rec.recommend(fitted, k=46)


def test_probe_compares_like_with_like(small_split):
    adversarial = fit(small_split, epsilon=0.3)
    twin = fit(small_split, epsilon=0.3, alpha=1.0)
    losses = gan_rec.probe(adversarial, twin)
    for model in ("adversarial", "twin"):
        assert set(losses[model]) == {"clean", "noise", "fgm", "fgsm", "pgd", "generator", "game"}
        assert losses[model]["clean"]["rise"]["mean"] == 0
        assert losses[model]["fgm"]["rise"]["mean"] > losses[model]["noise"]["rise"]["mean"]
    same = gan_rec.probe(replace(twin, settings=adversarial.settings), twin)
    assert same["adversarial"] == same["twin"]
