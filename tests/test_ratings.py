"""Ratings as labels: histories that know no future, priors by hand, and the whole task."""

import json
from dataclasses import replace

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import roc_auc_score

from gan_rec import cli, data
from gan_rec.data.ratings import ALL_RATINGS, rated_parts
from gan_rec.errors import UserError
from gan_rec.evaluation.labels import LabelEvaluation, delong, group_auc
from gan_rec.experiments import label_baselines, label_run
from gan_rec.experiments.labels import LabelSplit

KEY = jax.random.key(0)


def world(n_users=40, n_items=30, seed=0):
    """Ratings of 1 to 5 in the order of time: users and items differ in how much they like and are liked."""
    rng = np.random.default_rng(seed)
    kind, quality = rng.normal(size=n_users), rng.normal(size=n_items)
    users, items = (x.ravel() for x in np.meshgrid(np.arange(n_users), np.arange(n_items), indexing="ij"))
    keep = rng.random(len(users)) < 0.7
    users, items = users[keep], items[keep]
    stars = np.clip(np.round(3.4 + kind[users] + quality[items] + 0.5 * rng.normal(size=len(users))), 1, 5)
    times = rng.permutation(len(users))
    return pd.DataFrame({"user": users, "item": items, "rating": stars, "timestamp": times})


def bits(history, n_items):
    return np.unpackbits(history, axis=-1, bitorder="little")[..., :n_items]


def test_a_history_is_what_was_liked_before():
    frame = world()
    dataset = data.load(frame, positive_from=ALL_RATINGS)
    split = data.split(dataset, "temporal")
    parts, notes = rated_parts(split, dataset, 4)
    assert "liked earlier" in notes[0]
    by_hand = frame.rename(columns={"timestamp": "time"})
    for part, pairs in zip((split.train, split.valid, split.open_test()), parts, strict=True):
        assert (pairs.labels == (part.ratings >= 4)).all()
        for n in range(0, len(part), 7):
            user, item, time = part.user_ids[part.users[n]], part.item_ids[part.items[n]], part.times[n]
            own = by_hand[(by_hand.user == user) & (by_hand.time < time) & (by_hand.rating >= 4)]
            assert sorted(part.item_ids[bits(pairs.history[n], 30) == 1]) == sorted(own.item)
            assert item not in own.item.tolist()
            rated = by_hand[(by_hand.user == user) & (by_hand.time < time)]
            assert pairs.earlier[n].tolist() == [len(own), len(rated)]


def test_a_split_that_is_not_in_time_knows_nothing_of_before():
    """Times are there, but the parts of a fixed split overlap: what is earlier may be in test."""
    whole = data.load(world(), positive_from=ALL_RATINGS)
    fixed = replace(data.split(whole, "random", seed=1), method="fixed")
    (train, _, test), notes = rated_parts(fixed, whole, 4)
    assert "liked in train" in notes[0] and not train.earlier.any() and not test.earlier.any()
    tested = set(zip(test.users, test.items, strict=True))
    for user, history in zip(train.users, bits(train.history, 30), strict=True):
        assert not any((user, item) in tested for item in np.flatnonzero(history))


def test_without_order_a_history_is_of_train_alone_and_not_of_the_pair():
    dataset = data.load(world(), positive_from=ALL_RATINGS)
    split = data.split(dataset, "random", seed=3)
    (train, valid, test), notes = rated_parts(split, dataset, 4)
    assert "liked in train" in notes[0]
    liked = np.zeros((40, 30), int)
    liked[train.users[train.labels == 1], train.items[train.labels == 1]] = 1
    for pairs in (valid, test):
        np.testing.assert_array_equal(bits(pairs.history, 30), liked[pairs.users])
    expected = liked[train.users].copy()
    expected[np.arange(len(train)), train.items] = 0
    np.testing.assert_array_equal(bits(train.history, 30), expected)


def test_ratings_that_tell_nothing_are_named():
    dataset = data.load(world(), positive_from=ALL_RATINGS)
    with pytest.raises(UserError, match="has no ratings from 6 on: choose another positive_from"):
        rated_parts(data.split(dataset, "random"), dataset, 6)
    bare = data.load(world().drop(columns="rating"), positive_from=None)
    with pytest.raises(UserError, match="has no ratings, so there is nothing to tell"):
        rated_parts(data.split(bare, "random"), bare, 4)


def test_the_penalty_over_an_epoch_is_the_prior_of_all_parameters():
    case = contract.build("rating", "rating-predictor", "fgm")
    model = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), case.model)
    n = int(case.positives.n)
    found = float(model.penalty(case.positives.batch(jnp.arange(n)))) * n
    seen = [np.unique(np.asarray(ids)[:n]) for ids in (case.positives.users, case.positives.items)]
    expected = sum(
        float(jnp.sum(b[...][s] ** 2)) for b, s in zip((model.user_bias, model.item_bias), seen, strict=True)
    )
    expected += 4 * float(jnp.sum(model.text_weight[...] ** 2))
    rest = (model.history_weight, model.length, model.history_map, model.text_map)
    expected += 5 * sum(float(jnp.sum(p[...] ** 2)) for p in rest) + 0.1 * float(model.rate[...] ** 2)
    np.testing.assert_allclose(found, expected / 2, rtol=1e-4)


def test_rows_say_what_the_formula_says():
    case = contract.build("rating", "rating-predictor", "fgm")
    model = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), case.model)
    batch, texts = case.batch, np.asarray(case.model.vectors.values) / 2  # of 4 components
    for n in range(6):
        history = np.asarray(batch.history[n])
        mean = history @ texts / (history.sum() + 5)
        text, (likes, ratings) = texts[int(batch.items[n])], np.asarray(batch.earlier[n])
        expected = (
            model.bias[...] + model.user_bias[...][batch.users[n]] + model.item_bias[...][batch.items[n]]
            + text @ model.text_weight[...] + mean @ model.history_weight[...]
            + model.length[...] * (np.log1p(history.sum()) - 3)
            + model.rate[...] * (likes - ratings / 2) / (ratings + 5)
            + (mean @ model.history_map[...]) @ (text @ model.text_map[...])
        )  # fmt: skip
        np.testing.assert_allclose(model.logits(model.represent(batch), batch)[n], expected, rtol=2e-4, atol=1e-5)


def test_training_forgets_who_the_user_is_as_often_as_it_should():
    case = contract.build("rating", "rating-predictor", "fgm", dropout=0.5)
    model = jax.tree.map(lambda x: x + 1.0, case.model)
    whole = model.represent(case.batch)[0][:, -2]
    forgot = np.stack([model.represent(case.batch, jax.random.key(s))[0][:, -2] != whole for s in range(40)])
    assert 0.35 < forgot.mean() < 0.65


def test_uauc_is_the_mean_over_users_with_both_labels():
    rng = np.random.default_rng(0)
    users, labels = rng.integers(0, 20, 200), rng.integers(0, 2, 200)
    labels[users == 3] = 1  # says nothing
    scores = np.round(rng.random(200), 1)
    each = [
        roc_auc_score(labels[users == u], scores[users == u]) for u in range(20) if len(set(labels[users == u])) == 2
    ]
    assert group_auc(labels, scores, users) == pytest.approx(np.mean(each))
    assert np.isnan(group_auc(np.ones(4, int), scores[:4], np.arange(4)))
    found = LabelEvaluation(labels, scores[None], np.array([0.5]), users)
    assert found.metrics[-1] == "UAUC" and found.per_seed("UAUC")[0] == pytest.approx(np.mean(each))


def test_ratings_of_one_user_are_no_independent_ones():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    first, second = rng.random((2, 80)) + 0.3 * labels, rng.random((1, 80)) + 0.2 * labels
    plain = delong(labels, first, second)
    assert delong(labels, first, second, rng.permutation(80))["error"] == pytest.approx(plain["error"])
    twice = [np.concatenate([x, x], axis=-1) for x in (labels, first, second)]
    assert delong(*twice, np.tile(np.arange(80), 2))["error"] == pytest.approx(plain["error"])
    assert delong(*twice)["error"] < 0.8 * plain["error"]

    users = rng.integers(0, 8, 80)
    found = delong(labels, first, second, users)

    def jackknife(keep):
        return delong(labels[keep], first[:, keep], second[:, keep])["difference"]

    left_out = np.array([jackknife(users != user) for user in range(8)])
    by_jackknife = np.sqrt(7 / 8 * np.sum((left_out - left_out.mean()) ** 2))
    assert found["error"] == pytest.approx(by_jackknife, rel=0.15)
    assert found["error"] != pytest.approx(plain["error"], rel=1e-3)


def test_uauc_is_tested_over_users():
    rng = np.random.default_rng(0)
    users, labels = np.repeat(np.arange(10), 8), np.tile([0, 0, 0, 0, 1, 1, 1, 1], 10)
    labels[users == 3] = 1  # says nothing
    first, second = (LabelEvaluation(labels, rng.random((2, 80)), np.full(2, 0.5), users) for _ in range(2))
    assert first.per_group().shape == (2, 9)
    np.testing.assert_allclose(first.per_group().mean(axis=1), first.per_seed("UAUC"))
    test = label_run._test_groups(first, second)
    pair = [x.per_group().mean(axis=0) for x in (first, second)]
    assert test["p"] == pytest.approx(ttest_rel(*pair).pvalue)
    few = [replace(x, groups=np.where(users == 3, 3, 0)) for x in (first, second)]
    assert label_run._test_groups(*few)["p"] is None and label_run._test_groups(*few)["difference"] is not None


def test_means_by_hand():
    dataset = data.load(world(), positive_from=ALL_RATINGS)
    (train, valid, test), _ = rated_parts(data.split(dataset, "temporal"), dataset, 4)
    split = LabelSplit(train, valid, test, rows=())
    found = label_baselines.means(split, users="known", refit=False)
    both = label_baselines.means(split, users="known", refit=True)
    frame = pd.DataFrame({"user": train.users, "item": train.items, "label": train.labels})
    average = frame.label.mean()

    def mean(column, prior):
        sums = frame.groupby(column).label.agg(["sum", "count"])
        return (sums["sum"] + prior * average) / (sums["count"] + prior)

    def expected(part, prior, of_user=None):
        of_user = mean("user", prior).reindex(part.users).fillna(average).to_numpy() if of_user is None else of_user
        return (of_user + mean("item", prior).reindex(part.items).fillna(average).to_numpy()) / 2

    priors = (1.0, 2.0, 5.0, 10.0, 20.0)
    best = max(priors, key=lambda prior: roc_auc_score(valid.labels, expected(valid, prior)))
    np.testing.assert_allclose(found.probabilities[0], expected(test, best))
    assert np.abs(found.probabilities - both.probabilities).max() > 0.01
    likes, ratings = test.earlier.T
    running = label_baselines.means(split, users="running", refit=False).probabilities[0]
    rates = {prior: (likes + prior * average) / (ratings + prior) for prior in priors}
    assert any(np.allclose(running, expected(test, prior, rates[prior])) for prior in priors)


def test_no_test_label_chooses_anything_in_the_means():
    dataset = data.load(world(), positive_from=ALL_RATINGS)
    (train, valid, test), _ = rated_parts(data.split(dataset, "temporal"), dataset, 4)
    for users in ("none", "known", "running"):
        found = [
            label_baselines.means(LabelSplit(train, valid, part, rows=()), users=users, refit=True)
            for part in (test, replace(test, labels=1 - test.labels))
        ]
        np.testing.assert_array_equal(found[0].probabilities, found[1].probabilities)
        assert found[0].thresholds == found[1].thresholds


@pytest.fixture
def files(tmp_path):
    """Ratings and texts of the items, which tell how good they are."""
    frame = world()
    frame.to_csv(tmp_path / "ratings.csv", index=False)
    good = frame.groupby("item").rating.mean()
    texts = pd.DataFrame({"item": good.index, "text": np.where(good > 3.4, "a fine film", "a dull film")})
    texts.to_csv(tmp_path / "items.csv", index=False)
    return ["--task", "ratings", "--dataset", str(tmp_path / "ratings.csv"), "--item-text", str(tmp_path / "items.csv")]


class TwoWords:
    """Stands in for a language model."""

    sha256 = "two words"

    def encode(self, texts, progress=True):
        return np.array([[("fine" in t) * 1.0, ("dull" in t) * 1.0, 0.1] for t in texts], np.float32)


@pytest.mark.long
def test_the_whole_task(files, tmp_path, monkeypatch, capsys):
    from gan_rec.experiments import players

    monkeypatch.setattr(players, "load_encoder", lambda name: TwoWords())
    players._components_of.cache_clear()
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", *files])
    assert stop.value.code == 2 and "which ratings are likes? give the least of them" in capsys.readouterr().err
    out = tmp_path / "run"
    more = ["--positive-from", "4", "--seeds", "2", "--epochs", "12", "--batch-size", "64", "--quiet"]
    cli.main(["train", *files, *more, "--split", "temporal", "--out", str(out)])
    assert "UAUC" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert results["task"] == "ratings" and list(results["baselines"]) == [
        "item mean", "user mean + item mean", "running user mean + item mean",
    ]  # fmt: skip
    assert list(results["tests"])[:2] == ["adversarial against twin", "adversarial against twin, UAUC"]
    assert "clustered by user" in results["tests_method"]
    assert results["models"]["twin"]["AUC"]["mean"] > 0.8
    assert results["under_attack"]["fgm"]["twin"]["log-loss"]["mean"] > results["models"]["twin"]["log-loss"]["mean"]
    assert len(pd.read_parquet(out / "per_rating.parquet")) == len(pd.read_parquet(out / "per_rating.parquet").dropna())
    cli.main(["evaluate", str(out), "--format", "json"])
    assert json.loads(capsys.readouterr().out)["models"]["twin"] == results["models"]["twin"]
    with pytest.raises(SystemExit):
        cli.main(["train", *files, *more, "--folds", "3"])
    assert "folds is an option of --task ranking and labels; this is --task ratings" in capsys.readouterr().err


def test_a_refit_knows_validation_too():
    """Counts, and so priors, are those of all the pairs that are trained on."""
    dataset = data.load(world(), positive_from=ALL_RATINGS)
    (train, valid, _), _ = rated_parts(data.split(dataset, "temporal"), dataset, 4)
    both = train.concat(valid)
    samples = both.on_device(len(both) + 300)
    assert samples.labels.shape[0] % 128 == 0 and int(samples.n) == len(both)
    user = int(train.users[0])
    np.testing.assert_allclose(samples.shares[0, 0], 1 / np.sum(both.users == user), rtol=1e-6)
    np.testing.assert_array_equal(
        samples.batch(jnp.arange(5)).history, bits(both.history[:5], both.n_items).astype(np.float32)
    )
    np.testing.assert_array_equal(both.groups, np.concatenate([train.users, valid.users]))
