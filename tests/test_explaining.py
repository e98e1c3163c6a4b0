"""Explanations of trained models, from Python and from the command line."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import interactions

import gan_rec
from gan_rec.data import Dataset, split
from gan_rec.errors import UserError
from gan_rec.experiments import explaining
from gan_rec.experiments.explaining import explain, what_moved
from gan_rec.experiments.faithfulness import BASELINES, deletion
from gan_rec.explain_command import Explain

OPTIONS = {"dim": 12, "batch_size": 32, "seeds": 2, "epochs": 30, "learning_rate": 1e-2, "weight_decay": 0.1}


@pytest.fixture(scope="module")
def model(small_split):
    return gan_rec.fit(small_split, recommender="autoencoder", progress=False, **OPTIONS)


@pytest.fixture(scope="module")
def by_ids(small_split):
    return gan_rec.fit(small_split, recommender="mf", progress=False, **OPTIONS | {"epochs": 3})


def test_the_first_recommendation_is_explained_unless_an_item_is_named(model):
    lists = gan_rec.recommend(model, [7], k=3, seed_index=1)
    found = explain(model, 7, seed_index=1)
    assert (found.item, found.rank) == (lists["item"][0], 1)
    assert explain(model, 7, lists["item"][2], seed_index=1).rank == 3
    assert explain(model, "7", str(lists["item"][2]), seed_index=1).rank == 3


def test_the_history_is_all_of_train_and_validation_in_order_of_what_it_carried(model):
    found = explain(model, 7)
    known = model.split.train_and_valid()
    assert set(found.items["item"]) == set(known.items[known.users == 7])
    assert found.items["attribution"].is_monotonic_decreasing
    # The groups of users have items of one remainder by three: what carried most is of the user's own.
    assert found.items["item"].iloc[0] % 3 == 7 % 3


def test_the_score_is_that_of_the_recommendation(model):
    lists = gan_rec.recommend(model, [7], k=1)
    found = explain(model, 7, of="score", method="integrated-gradients")
    np.testing.assert_allclose(found.value, lists["score"][0], rtol=1e-5)
    np.testing.assert_allclose(found.items["attribution"].sum(), found.value - found.empty, rtol=0.02, atol=1e-3)


def test_a_model_that_knows_ids_says_what_it_cannot(by_ids):
    found = explain(by_ids, 7)
    assert found.method == "similarity" and found.empty is None and -1 <= found.agreement <= 1
    for method in ("leave-one-out", "integrated-gradients"):
        with pytest.raises(UserError, match=r"'mf' does not read: it would have to be trained anew; allowed: simil"):
            explain(by_ids, 7, method=method)
    with pytest.raises(UserError, match="'mf' knows users by their ids"):
        deletion(by_ids)


@pytest.mark.long
def test_item_side_models_know_ids_too(small_split):
    model = gan_rec.fit(small_split, game="cfgan", side="item", progress=False, **OPTIONS | {"epochs": 2})
    assert explain(model, 7).method == "similarity"


def test_mistakes_are_named(model):
    own = int(explain(model, 7).items["item"][0])
    for options, message in [
        ({"user": 99}, "unknown user 99; the data has 60 users"),
        ({"user": 7, "item": 99}, "unknown item 99; the data has 45 items"),
        ({"user": 7, "item": own}, f"user 7 has item {own} already"),
        ({"user": 7, "method": "x"}, "unknown method 'x'"),
        ({"user": 7, "of": "x"}, "unknown target 'x'; allowed: score, margin"),
        ({"user": 7, "attack": "x"}, "unknown attack 'x'"),
        ({"user": 7, "attack": "fgm", "radius": -1.0}, "radius must be 0 or more, got -1.0"),
        ({"user": 7, "seed_index": 2}, "seed index 2 is not possible"),
    ]:
        with pytest.raises(UserError, match=message):
            explain(model, **options)
    for options, message in [
        ({"users": 0}, "users must be 1 or more, got 0"),
        ({"among": "x"}, "unknown group of users 'x'"),
        ({"methods": ("x",)}, "unknown method 'x'"),
    ]:
        with pytest.raises(UserError, match=message):
            deletion(model, **options)


def test_a_user_without_a_history_has_nothing_to_be_explained_by(small_split):
    train, valid = small_split.train, small_split.valid
    less = dataclasses.replace(small_split, train=train.select(train.users != 7), valid=valid.select(valid.users != 7))
    model = gan_rec.fit(less, recommender="autoencoder", progress=False, **OPTIONS | {"epochs": 1})
    with pytest.raises(UserError, match="user 7 has no history"):
        explain(model, 7)


def test_what_moved_is_the_difference_of_two_lists(model):
    lists = gan_rec.recommend(model, [7], k=5)
    found = what_moved(model, 7, "fgm", 1.0, k=5)
    before = found[found["rank before"] <= 5].sort_values("rank before")
    assert list(before["item"]) == list(lists["item"])
    assert (found["change"] == "entered").sum() == (found["change"] == "left").sum() > 0
    rises = found["score after"] - found["score before"]
    both = found["by user row"] + found["by item row"]
    assert not np.allclose(rises, both)  # the rest is what both moves do together
    np.testing.assert_allclose(found["item row moved"], 1.0, rtol=1e-4)
    still = what_moved(model, 7, "fgm", 0.0, k=5)
    assert set(still["change"]) == {"stayed"} and np.all(still["user row moved"] == 0)


@pytest.fixture(scope="module")
def found(model):
    return deletion(model, 30, ("leave-one-out", "integrated-gradients"), draws=3)


def test_explanations_are_more_faithful_than_random_order_and_popularity(found):
    table = found.table.set_index(["measure", "order"])
    assert found.areas("leave-one-out", "score").shape == (2, 30)
    for measure in ("score", "gain"):
        best = table.loc[(measure, "leave-one-out")]
        for baseline in BASELINES:
            np.testing.assert_allclose(best[f"minus {baseline}"], best["area"] - table.loc[(measure, baseline), "area"])
            assert best[f"{baseline} high"] < 0 and best[f"{baseline} p"] < 1e-3


def test_all_orders_begin_and_end_alike(found):
    frame = found.frame
    for share in (0.0, 1.0):
        ends = frame[frame["share"] == share]
        assert ends.groupby("seed")[["score", "gain"]].agg(np.ptp).to_numpy().max() < 1e-6
    assert np.allclose(frame[frame["share"] == 0][["score", "gain"]], 1)
    assert len(frame) == 5 * 2 * 11


def test_users_that_choose_a_method_are_not_those_that_measure_it(model):
    groups = [set(deletion(model, 8, draws=1, among=name).users) for name in ("even", "odd")]
    assert len(groups[0]) == len(groups[1]) == 8 and not groups[0] & groups[1]


def test_pictures_and_texts(model, found):
    plotting = pytest.importorskip("matplotlib.figure")
    titled = explain(model, 7, attack="fgm", titles=[f"Film ${i}" for i in range(45)])
    assert isinstance(titled.plot(), plotting.Figure) and isinstance(found.plot(), plotting.Figure)
    assert titled.png().startswith(b"\x89PNG")
    text = titled.text(4)
    assert f"user 7, item {titled.item} Film ${titled.item}: rank 1, margin" in text
    assert f"{len(titled.items) - 4} others, together" in text and "under fgm of radius" in text
    assert "popular first" in found.text()
    assert json.loads(json.dumps(titled.values()))["history"][0]["title"].startswith("Film $")


@pytest.mark.long
def test_words_of_texts_carry_recommendations(small_split, monkeypatch):
    """Through an encoder that counts letters: what it makes of a text is known."""

    class Encoder:
        sha256 = "0"

        def encode(self, texts, progress=True):
            return np.array([[text.count("a"), text.count("b"), len(text.split())] for text in texts], np.float32)

    from gan_rec.experiments import players

    texts = tuple(f"{'a' * (i % 3 + 1)} {'b' * (i % 5 + 1)}" for i in range(45))
    for module in (players, explaining):
        monkeypatch.setattr(module, "load_encoder", lambda name: Encoder())
    data = dataclasses.replace(small_split, item_texts=texts)
    options = OPTIONS | {"epochs": 3, "components": 2}
    model = gan_rec.fit(data, recommender="two-tower", progress=False, **options)
    found = explain(model, 7)
    assert list(found.words["word"]) == texts[int(found.item)].split()
    assert found.items["title"].iloc[0] == texts[int(found.items["item"].iloc[0])]
    assert np.any(found.words["attribution"] != 0)


@pytest.fixture
def run(model, monkeypatch):
    from gan_rec.experiments import run

    opened = SimpleNamespace(models={"adversarial": model}, options=gan_rec.DataOptions(dataset="nowhere"))
    monkeypatch.setattr(run, "open_run", lambda directory, fold: opened)
    return Path("run")


def test_the_command_explains(run, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    Explain(run, user="3", output=tmp_path / "a.png", attack="fgm", radius=0.5, faithfulness=True, users=5, k=5).run()
    said = capsys.readouterr().out
    assert "user 3, item" in said and "under fgm of radius 0.5" in said and "area under the deletion curve" in said
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    Explain(run, user="3", format="json", faithfulness=True, users=5, method="integrated-gradients").run()
    found = json.loads(capsys.readouterr().out)
    assert found["method"] == "integrated-gradients" and found["faithfulness"][0]["order"] == "integrated-gradients"


@pytest.mark.parametrize(("options", "message"), [
    ({}, "explain whose recommendation"),
    ({"user": "3", "radius": 0.1}, "radius 0.1 is that of an attack"),
    ({"item": "3", "faithfulness": True}, "item 3 is recommended to whom"),
    ({"user": "3", "output": "a.pdf"}, "must end with .png, got a.pdf"),
    ({"user": "3", "k": 0}, "k must be 1 or more, got 0"),
    ({"user": "3", "k": 46, "attack": "fgm"}, "k = 46 is not possible"),
    ({"user": "3", "output": f"{__file__}/a.png"}, "cannot write .*a.png: .*test_explaining.py is a file"),
    ({"user": "x"}, "unknown user x; the data has 60 users"),
])  # fmt: skip
def test_mistakes_at_the_command_line_are_one_line(run, options, message):
    if "output" in options:
        options = options | {"output": Path(options["output"])}
    with pytest.raises(UserError, match=message) as error:
        Explain(run, **options).run()
    assert "\n" not in str(error.value)


@pytest.mark.long
def test_cold_items_compete_with_each_other():
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(30) for i in rng.choice(40, 8, replace=False)]
    data = Dataset("cold", {"all": interactions(pairs, 30, 40)}, notes=(), terms=None, sha256="0" * 64)
    cut = split(data, "cold-items", test_fraction=0.2)
    model = gan_rec.fit(cut, recommender="autoencoder", progress=False, **OPTIONS | {"epochs": 1, "select_on": "R@3"})
    found = explain(model, 3)
    assert cut.candidates[found.item] and found.rank == 1
    with pytest.raises(UserError, match="is not among the 8 cold items"):
        warm = next(i for i in range(40) if not cut.candidates[i] and i not in set(found.items["item"]))
        explain(model, 3, warm)
    measured = deletion(model, 5)
    assert np.nanmax(measured.curves["leave-one-out"]["gain"]) == 1, "the first of the cold ones is the first"
