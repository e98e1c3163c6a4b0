"""Detection on trained models, files and simulated attacks, and the command detect."""

import json

import numpy as np
import pandas as pd
import pytest
import tyro
from conftest import later

import gan_rec
from gan_rec.data import Dataset, Interactions, split
from gan_rec.data.synthetic import synthetic
from gan_rec.detect_command import Detect
from gan_rec.errors import UserError
from gan_rec.evaluation.labels import auc
from gan_rec.experiments.detecting import CLEAN, detect, measure, measured_table, scorers, with_fakes
from gan_rec.experiments.detection_tables import detection_text
from gan_rec.experiments.moved import measure_moved
from gan_rec.experiments.run import train
from gan_rec.experiments.settings import DataOptions, Settings
from gan_rec.robustness.profiles import fake_profiles, unpopular_targets

OPTIONS = {"dim": 8, "epochs": 4, "batch_size": 64, "progress": False}


@pytest.fixture(scope="module")
def world() -> Dataset:
    return synthetic(120, 150, mean_interactions=16, skew=1.2, seed=3)


@pytest.fixture(scope="module")
def poisoned(world):
    """Fifteen users named bot-0 to bot-14 among those of the data, in a frame as a file would hold it."""
    known, rng = world.parts["all"], np.random.default_rng(0)
    profiles = fake_profiles("random", known, 15, unpopular_targets(known, 5, rng), rng)
    users, items = np.nonzero(profiles)
    fakes = pd.DataFrame({"user": [f"bot-{u}" for u in users], "item": known.item_ids[items]})
    return pd.concat([known.to_frame()[["user", "item"]], fakes], ignore_index=True)


@pytest.fixture(scope="module")
def model(world):
    return gan_rec.fit(split(world), recommender="autoencoder", seeds=2, **OPTIONS)


def test_users_are_listed_by_suspicion_with_their_ids_and_reasons(poisoned):
    found = detect(data=poisoned)
    assert list(found.columns) == ["user", "suspicion", "flagged", "reasons", "items"]
    assert sorted(found["user"]) == sorted(poisoned["user"].unique())
    assert found["suspicion"].is_monotonic_decreasing and found["flagged"].astype(int).is_monotonic_decreasing
    fake = found["user"].str.startswith("bot-").to_numpy()
    assert auc(fake.astype(int), found["suspicion"].to_numpy()) > 0.97
    assert found["reasons"][0].count("; ") == 2 and "(others " in found["reasons"][0]
    own = set(poisoned[poisoned["user"] == found["user"][0]]["item"])
    assert set(found["items"][0].split(", ")) <= own


def test_a_file_gives_what_its_frame_gives(poisoned, tmp_path):
    path = tmp_path / "suspects.csv"
    poisoned.to_csv(path, index=False)
    pd.testing.assert_frame_equal(
        detect(data=path, detector="tied-items", most=5), detect(data=poisoned, detector="tied-items", most=5)
    )


def test_without_data_the_train_part_is_searched(model):
    found = detect(model, detector="pca")
    assert set(found["user"]) == set(model.split.train.user_ids[np.unique(model.split.train.users)])
    pd.testing.assert_frame_equal(found, detect(data=model.split.train, detector="pca"))
    assert len(detect(model, detector="pca", most=3)) == 3


def test_the_flag_is_the_threshold(model):
    few, many = (detect(model, detector="tied-items", false_alarms=rate)["flagged"].sum() for rate in (0.001, 0.1))
    assert few < many <= 0.3 * model.split.train.n_users


@pytest.mark.parametrize(
    ("game", "recommender"), [("embedding", "autoencoder"), later("embedding", "mf"), later("cfgan", "autoencoder")]
)
def test_a_trained_model_judges_users_whom_it_does_not_know(world, poisoned, game, recommender):
    """Items in another order, one of which is new to the model, change nothing."""
    model = gan_rec.fit(split(world), game=game, recommender=recommender, **OPTIONS | {"epochs": 30})
    models = scorers(model)
    assert set(models) == {"recommender"} | ({"discriminator"} if game == "cfgan" else set())
    known = gan_rec.load(poisoned).parts["all"]
    new = pd.concat([poisoned, pd.DataFrame({"user": ["bot-0"], "item": ["i-new"]})])
    other = gan_rec.load(new.iloc[::-1]).parts["all"]
    fake = np.char.startswith(known.user_ids.astype(str), "bot-").astype(int)
    for name, scorer in models.items():
        scores, again = scorer(known), dict(zip(other.user_ids, scorer(other), strict=True))
        assert np.isfinite(scores).all()
        if name == "discriminator":
            np.testing.assert_allclose([again[user] for user in known.user_ids], scores, rtol=1e-3, atol=1e-4)
        elif game == "embedding":
            assert auc(fake, scores) > 0.8


def test_places_of_left_out_items_by_hand():
    """A model that ranks items by their number: of a profile's two items each is left out once."""
    import jax.numpy as jnp

    from gan_rec.recommenders.baselines.tables import Factors
    from gan_rec.robustness.profile_likelihood import unlikelihood

    class Fixed(Factors):
        reads_history = True

        def users(self, ids, history=None, key=None):
            return jnp.ones((history.shape[0], 1))

    one = Fixed(np.ones((2, 1)), -np.arange(6.0)[:, None])
    known = Interactions(np.array([0, 0, 1], np.int32), np.array([0, 5, 3], np.int32), np.arange(2), np.arange(6))
    for seed in range(20):  # both items are left out at once in some of the draws
        part = np.random.default_rng(seed).permutation(3) % 5
        if part[0] != part[1]:
            break
    # With item 5 known 0 is the best of five, with item 0 known 5 is the last of five.
    np.testing.assert_allclose(unlikelihood(one, known, seed), [(0 + 1) / 2, 0.5])


def test_measured_attacks_are_those_that_no_detector_has_learned_from(world, monkeypatch):
    from gan_rec.experiments import detecting

    seen = []
    real = detecting.detection.suspicions
    monkeypatch.setattr(
        detecting.detection, "suspicions", lambda *a, **k: seen.append(tuple(k["kinds"])) or real(*a, **k)
    )
    found = measure(world.parts["all"], detectors=("tied-items", "pca"), budgets=(0.15,), seeds=(0, 1))
    assert len(found) == 2 * 2 * (1 + 4) and len(seen) == 10
    assert seen[0] == ("random", "average", "bandwagon", "segment")
    assert all(name not in kinds for name, kinds in zip(np.repeat(["random", "average"], 2), seen[2:6], strict=True))
    clean = found[found["attack"] == CLEAN]
    assert clean["AUC"].isna().all() and clean["false alarms"].notna().all()
    tied = found[(found["detector"] == "tied-items") & (found["attack"] != CLEAN)]
    assert (tied["AUC"] > 0.9).all()
    table = measured_table(found)
    assert len(table) == 10
    own = tied[tied["attack"] == "random"]["AUC"]
    row = table[(table["attack"] == "random") & (table["detector"] == "tied-items")].iloc[0]
    assert row["AUC"] == pytest.approx(own.mean())


def test_own_attacks_are_measured_too(world):
    def copies(known, n, targets, rng):
        profiles = np.zeros((n, known.n_items), bool)
        profiles[:, targets] = True
        return profiles

    found = measure(
        world.parts["all"], detectors=("tied-items",), attacks={"copies": copies}, budgets=(0.15,), seeds=(0,)
    )
    assert set(found["attack"]) == {CLEAN, "copies"} and found["AUC"].max() > 0.95


def test_fakes_come_after_the_users(world):
    known = world.parts["all"]
    both = with_fakes(known, np.eye(2, known.n_items, dtype=bool))
    assert both.n_users == known.n_users + 2
    assert both.items[both.users == known.n_users].tolist() == [0]
    assert both.items[both.users == known.n_users + 1].tolist() == [1]


def test_rows_of_a_trained_model_are_told_from_moved_ones(model):
    found = measure_moved(model, attacks=("noise", "fgm"), radii=(0.0, 1.0))
    assert len(found) == 2 * 2 * 2 * 4
    still = found[(found["radius"] == 0) & (found["detector"] != "smoothing")]
    assert still["AUC"].between(0.49, 0.51).all()
    far = found[(found["radius"] == 1) & (found["detector"] == "mahalanobis")]
    assert (far["AUC"] > 0.6).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: detect(), "give a trained model, data, or both"),
        (lambda m: detect(m, most=0), "most must be at least 1, got 0"),
        (lambda m: detect(m, detector="x"), "unknown detector 'x'"),
        (lambda m: detect(m, detector="discriminator"), "needs a trained model that has one"),
        (lambda m: detect(m, detector="pca", false_alarms=0.5), "false_alarms must be"),
        (lambda m: detect(m, seed_index=9), "seed index 9 is not possible"),
        (lambda m: measure_moved(m, attacks=("x",)), "unknown attack 'x'; allowed: noise, "),
        (lambda m: measure_moved(m, radii=(-1.0,)), "a radius must be at least 0"),
    ],
)
def test_mistakes(model, call, message):
    with pytest.raises(UserError, match=message):
        call(model)


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detect")
    world.parts["all"].to_frame().to_csv(folder / "data.csv", index=False)
    options = DataOptions(dataset=str(folder / "data.csv"))
    settings = Settings(recommender="mf", dim=8, epochs=2, batch_size=64, seeds=1)
    train(options, settings, folder / "run", ks=(10,), quiet=True)
    return folder / "run"


def command(run, *arguments) -> None:
    tyro.cli(Detect, args=[str(run), *arguments], config=(tyro.conf.OmitArgPrefixes,)).run()


def test_the_command_lists_users_of_a_file(run, poisoned, tmp_path, capsys):
    poisoned.to_csv(tmp_path / "suspects.csv", index=False)
    how = ("--data", str(tmp_path / "suspects.csv"), "--detector", "tied-items", "--most", "6")
    command(run, *how, "--format", "csv")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "user,suspicion,flagged,reasons,items" and len(lines) == 7
    command(run, *how, "--format", "json", "--output", str(tmp_path / "out.json"))
    listed = json.loads((tmp_path / "out.json").read_text())
    assert [row["user"] for row in listed] == [line.split(",")[0] for line in lines[1:]]
    assert sum(row["user"].startswith("bot-") for row in listed) >= 5
    command(run, *how)
    shown = capsys.readouterr().out
    assert "suspicious users: " in shown and all(row["user"] in shown for row in listed)


def test_a_measured_table_can_be_read(world):
    found = measured_table(measure(world.parts["all"], detectors=("pca",), budgets=(0.05,), seeds=(0, 1)))
    shown = detection_text(found, "table")
    assert "± " in shown and "bandwagon" in shown and "false alarms" in shown
    assert json.loads(detection_text(found, "json"))[0]["AUC"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--detector", "x"), "unknown detector 'x'; allowed: "),
        (("--false-alarms", ".5"), "false_alarms must be above 0"),
        (("--seeds", "0"), "seeds must be at least 1, got 0"),
        (("--most", "0"), "most must be at least 1, got 0"),
        (("--output", f"{__file__}/x"), "cannot write .*test_detecting.py/x: .*test_detecting.py is a file"),
        (("--measure", "--detector", "pca"), "--detector says nothing to --measure"),
        (("--measure", "--most", "3"), "--most says nothing to --measure"),
        (("--data", "no-such-file"), "unknown data set 'no-such-file'"),
    ],
)
def test_mistakes_on_the_command_line(run, arguments, message):
    with pytest.raises(UserError, match=message):
        command(run, *arguments)
