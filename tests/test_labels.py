"""Labels of texts: metrics against scikit-learn, tables as people have them, and the whole task."""

import dataclasses
import io
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from flax import nnx
from sklearn.model_selection import train_test_split

import gan_rec
from gan_rec import cli
from gan_rec.data.labelled import Features, hide_labels, read_labelled
from gan_rec.data.samples import EncodedTexts
from gan_rec.errors import UserError
from gan_rec.evaluation import labels as metrics
from gan_rec.experiments import label_baselines, label_run, label_tables
from gan_rec.experiments.config import Config
from gan_rec.experiments.directory import add_seconds, seconds
from gan_rec.experiments.labels import Inputs, LabelSplit, evaluate_labels, label_settings, splits
from gan_rec.experiments.settings import DataOptions, Settings, TextOptions
from gan_rec.experiments.tables import print_table
from gan_rec.experiments.words import word_counts, word_scores
from gan_rec.losses import label_divergence, label_rows
from gan_rec.recommenders import TextClassifier

BLANK = Inputs(np.zeros((160, 3), np.float32), np.zeros(160, np.int32), 3)


def drawn(n=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return labels, np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1), 2)  # rounded, so that there are ties


def test_metrics_equal_those_of_scikit_learn():
    labels, p = drawn()
    found, said = metrics.measures(labels, p, 0.5), p >= 0.5
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(labels, said),
        "precision": sklearn.metrics.precision_score(labels, said),
        "recall": sklearn.metrics.recall_score(labels, said),
        "F1": sklearn.metrics.f1_score(labels, said),
        "AUC": sklearn.metrics.roc_auc_score(labels, p),
        "log-loss": sklearn.metrics.log_loss(labels, np.clip(p, 1e-7, 1 - 1e-7)),
    }
    assert {name: pytest.approx(value, abs=1e-9) for name, value in expected.items()} == {
        name: found[name] for name in expected
    }
    assert set(found) == set(metrics.METRICS)


def test_calibration_by_hand():
    # Two bins: .05 and .05 with one 1 in two, .95 with a 1.
    assert metrics.calibration_error(np.array([0, 1, 1]), np.array([0.05, 0.05, 0.95])) == pytest.approx(
        (2 * 0.45 + 1 * 0.05) / 3
    )


def test_one_class_has_no_auc():
    assert np.isnan(metrics.measures(np.ones(3, int), np.array([0.1, 0.5, 0.9]), 0.5)["AUC"])


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_best_of_all(seed):
    labels, p = drawn(40, seed)
    found = metrics.best_threshold(labels, p)
    accuracy = [np.mean((p >= cut) == labels) for cut in np.linspace(0, 1.01, 1000)]
    assert np.mean((p >= found) == labels) == pytest.approx(max(accuracy))


def test_delong_against_the_pairs_themselves():
    labels, first = drawn(60, 1)
    second = np.clip(first + np.random.default_rng(2).normal(0, 0.1, 60), 0, 1)
    test = metrics.delong(labels, first[None], second[None])

    def components(p):
        wins = (p[labels == 1][:, None] > p[labels == 0]) + 0.5 * (p[labels == 1][:, None] == p[labels == 0])
        return wins.mean(axis=1), wins.mean(axis=0)

    (a1, a0), (b1, b0) = components(first), components(second)
    assert test["difference"] == pytest.approx(metrics.auc(labels, first) - metrics.auc(labels, second))
    error = np.sqrt(np.var(a1 - b1, ddof=1) / len(a1) + np.var(a0 - b0, ddof=1) / len(a0))
    assert test["error"] == pytest.approx(error)
    same = metrics.delong(labels, first[None], first[None])
    assert (same["difference"], same["p"]) == (0, 1)
    twice = metrics.delong(labels, np.stack([first, second]), second[None])  # a mean of seeds
    assert twice["difference"] == pytest.approx(test["difference"] / 2)
    assert twice["error"] == pytest.approx(error / 2)


def test_one_text_of_a_label_says_nothing_of_the_error():
    """Not even in a fold beside others: its error is unknown, not 0."""
    labels, p = np.array([1, 0, 0, 0]), np.array([[0.9, 0.2, 0.5, 0.4]])
    test = metrics.delong(labels, p, 1 - p)
    assert test["difference"] == 1 and np.isnan([test["error"], test["p"], *test["ci95"]]).all()

    def folds(probabilities):
        made = [(labels, probabilities(p[0])), (drawn()[0], probabilities(drawn()[1]))]
        return [metrics.LabelEvaluation(y, x[None], np.array([0.5])) for y, x in made]

    test = label_run._test(folds(lambda x: x), folds(lambda x: 1 - x))
    assert test["difference"] > 0.5 and test["ci95"] is None and test["p"] is None
    assert "NaN" not in json.dumps(test)
    shown = io.StringIO()
    print_table(label_tables._tests({"tests": {"a": test | {"p_holm": None}}, "tests_method": ""}), shown)
    assert shown.getvalue().count("undefined") == 2


def test_losses_by_hand():
    logits, labels = jnp.array([0.0, 2.0]), jnp.array([1.0, 0.0])
    p = 1 / (1 + np.exp(-np.asarray(logits)))
    np.testing.assert_allclose(label_rows(logits, labels), [-np.log(p[0]), -np.log(1 - p[1])], rtol=1e-6)
    q = 1 / (1 + np.exp(-np.array([1.0, -1.0])))
    expected = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    np.testing.assert_allclose(label_divergence(logits, jnp.array([1.0, -1.0])), expected, rtol=1e-5)
    assert np.isfinite(label_divergence(jnp.array([90.0]), jnp.array([-90.0]))).all()


def write(path, rows, columns=("item_description", "is_recommended")):
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def test_a_table_as_people_have_it(tmp_path):
    rows = [("A soft dress", "yes"), ("", "No"), ("漂亮的裙子 😀", "TRUE"), ("A soft dress", "yes"), (" ", "0")]
    table = read_labelled(write(tmp_path / "shop.csv", rows))
    assert table.labels.tolist() == [1, 0, 1, 1, 0]
    assert table.texts.tolist() == ["A soft dress", "", "漂亮的裙子 😀", "A soft dress", ""]
    assert table.notes == (
        "text: 'item_description'; label: 'is_recommended'",
        "2 of 5 texts are empty; they are kept",
        "1 rows repeat the text and label of another",
        "60.0% of the labels are 1",
    )


def test_columns_are_joined_and_gzip_is_read(tmp_path):
    path = tmp_path / "x.csv.gz"
    pd.DataFrame({"t": ["Nice", "", "Bad"], "r": ["a dress", "only this", ""], "y": [1, 0, 1]}).to_csv(
        path, index=False
    )
    table = read_labelled(tmp_path, ["t", "r"], "y")  # the only table of the folder
    assert table.texts.tolist() == ["Nice. a dress", "only this", "Bad"]
    assert len(table.sha256) == 64


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [("a", 1), ("b", 2)],
            {},
            "1 rows are neither 0/1, true/false nor yes/no, the first is '2' in row 2 of the data",
        ),
        ([("a", 1), ("b", 1)], {}, "every label is the same"),
        ([("1", 1), ("2.5", 0), ("", 0)], {}, "the text column 'item_description' holds numbers, for example '1'"),
        ([("a", 1), ("b", 0)], {"label_column": "y"}, "has no label column 'y'; it has 'item_description'"),
        ([("a", 1), ("b", 0)], {"text_columns": ["is_recommended"]}, "cannot be a text or feature column too"),
        ([("a", 1), ("b", 0)], {"feature_columns": ["age"]}, "has no feature column 'age'"),
        ([("a", 1), ("b", 0)], {"feature_columns": ["age", "age"]}, "the feature column 'age' is given twice"),
        ([("a", 1), ("b", 0)], {"text_columns": ["t", "t"]}, "the text column 't' is given twice"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, rows, options, message):
    with pytest.raises(UserError, match=message):
        read_labelled(write(tmp_path / "x.csv", rows), **options)


def test_what_is_no_table_is_named(tmp_path):
    (tmp_path / "bin.csv").write_bytes(b"\xff\xfe\x00item")
    with pytest.raises(UserError, match="bin.csv is not UTF-8"):
        read_labelled(tmp_path / "bin.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match="cannot read .*empty.csv as CSV"):
        read_labelled(tmp_path / "empty.csv")
    with pytest.raises(UserError, match="must hold one .csv or .csv.gz file, found bin.csv, empty.csv"):
        read_labelled(tmp_path)
    with pytest.raises(UserError, match="no labelled data set 'nothing'; allowed: a CSV file"):
        read_labelled("nothing")


def test_a_row_longer_than_the_header_is_named(tmp_path):
    (tmp_path / "x.csv").write_text("item_description,is_recommended\nA dress, love,1\nA coat, awful,0\n")
    with pytest.raises(UserError, match="has rows longer than its header; put texts with commas in quotes"):
        read_labelled(tmp_path / "x.csv")


def with_features(path, **features):
    """A table of these columns and of texts and labels."""
    n = len(next(iter(features.values())))
    pd.DataFrame({"item_description": "a dress", "is_recommended": np.arange(n) % 2} | features).to_csv(
        path, index=False
    )
    return read_labelled(path, feature_columns=list(features))


def test_features_learn_from_training_alone(tmp_path):
    table = with_features(tmp_path / "x.csv", age=["10", "30", "", "20", "", "40"], kind=list("ababca"))
    features = Features(table.take(np.arange(3)).columns)
    made = features(table.take(np.arange(3, 6)).columns)
    np.testing.assert_allclose(made, [[0, 0, 1], [0, 0, 0], [2, 1, 0]], atol=1e-6)
    with pytest.raises(UserError, match="'id' has 101 categories; at most 100"):
        with_features(tmp_path / "x.csv", id=[f"x{i}" for i in range(101)])
    with pytest.raises(UserError, match="'age' has infinite numbers, the first is '-inf' in row 2 of the data"):
        with_features(tmp_path / "x.csv", age=["1", "-inf"])


def test_what_kind_a_feature_is_the_whole_column_says(tmp_path):
    missing = with_features(tmp_path / "x.csv", age=["10", "NA", "30", "n/a", "NaN", "null"], size=["1", "2", "L"] * 2)
    assert missing.notes[-2:] == ("age: numbers, 4 missing", "size: 3 categories")
    np.testing.assert_array_equal(missing.columns.age, [10, np.nan, 30, np.nan, np.nan, np.nan])
    numbers_alone = missing.take(np.array([0, 1, 3, 4]))  # sizes 1 and 2 only, as a small training part may have
    features = Features(numbers_alone.columns)
    assert list(features.means) == ["age"] and features.categories == {"size": ["1", "2"]}
    none = Features(missing.take(np.array([1, 3])).columns)(missing.columns)
    assert np.isfinite(none).all()


def test_the_columns_that_the_documentation_names_come_first(tmp_path):
    columns = ("Review Text", "Recommended IND", "item_description", "is_recommended")
    table = read_labelled(write(tmp_path / "x.csv", [("a", 1, "own a", 0), ("b", 0, "own b", 1)], columns))
    assert table.texts.tolist() == ["own a", "own b"] and table.labels.tolist() == [0, 1]
    known = read_labelled(write(tmp_path / "y.csv", [("a", 1), ("b", 0)], columns[:2]))
    assert known.texts.tolist() == ["a", "b"] and known.notes[0] == "text: 'Review Text'; label: 'Recommended IND'"


@pytest.mark.parametrize("suffix", ["zip", "xz", "zst", "bz2"])
def test_other_ways_of_packing_are_refused_by_name(tmp_path, suffix):
    (tmp_path / f"x.csv.{suffix}").write_bytes(b"packed")
    with pytest.raises(UserError, match=rf"is packed as .{suffix}; allowed: plain CSV, or packed as .gz"):
        read_labelled(tmp_path / f"x.csv.{suffix}")


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_separator_is_named(tmp_path, separator, name):
    lines = ["item_description", "is_recommended"], ["A dress, love, it", "1"], ["A coat", "0"]
    (tmp_path / "x.csv").write_text("\n".join(separator.join(line) for line in lines))
    with pytest.raises(UserError, match=f"is separated by {name}; it must be separated by commas"):
        read_labelled(tmp_path / "x.csv")


@pytest.fixture
def table(tmp_path):
    """160 texts whose label is whether they are glad."""
    rng = np.random.default_rng(0)
    words = {1: ["love", "soft", "perfect", "great"], 0: ["awful", "itchy", "returned", "torn"]}
    things = ["dress", "coat", "skirt", "shirt", "blouse"]
    rows = []
    for _ in range(160):
        label = int(rng.random() < 0.7)
        rows.append((f"{rng.choice(things)} {rng.choice(words[label])} {rng.choice(things)}", label))
    return write(tmp_path / "glad.csv", rows)


def test_a_split_is_that_of_scikit_learn(table):
    data = read_labelled(table)
    (split,) = splits(data, BLANK, TextOptions(), test=0.2, valid=0.25, seed=42)
    train, test = train_test_split(np.arange(160), test_size=0.2, random_state=42)
    assert split.rows[2].tolist() == test.tolist()
    assert sorted(np.concatenate(split.rows[:2])) == sorted(train)
    assert [len(rows) for rows in split.rows] == [96, 32, 32]


def test_folds_test_every_text_once(table):
    data = read_labelled(table)
    parts = list(splits(data, BLANK, TextOptions(), test=0.2, valid=0.2, seed=1, folds=4))
    assert sorted(np.concatenate([split.rows[2] for split in parts])) == list(range(160))
    rates = [split.test.labels.mean() for split in parts]
    assert np.ptp(rates) < 0.05
    with pytest.raises(UserError, match="folds must be 0, or 2 to"):
        list(splits(data, BLANK, TextOptions(), test=0.2, valid=0.2, seed=1, folds=150))


def test_hidden_labels_are_hidden_from_all_that_learns(table):
    data = read_labelled(table)
    (split,) = splits(data, BLANK, TextOptions(labelled=0.1), test=0.2, valid=0.2, seed=3)
    seen = split.train.labels[split.train.known]
    assert len(seen) == round(0.1 * np.sum(split.train.labels == 1)) + round(0.1 * np.sum(split.train.labels == 0))
    assert set(seen) == {0, 1} and split.test.known.all()
    assert 2 <= split.valid.known.sum() < 6  # the refit learns from no more of them, a baseline neither
    refitted = split.train.concat(split.valid).on_device()
    assert int(refitted.n_labelled) == len(seen) + split.valid.known.sum()
    hidden = [
        dataclasses.replace(p, labels=np.where(p.known, p.labels, 1 - p.labels)) for p in (split.train, split.valid)
    ]
    other = dataclasses.replace(split, train=hidden[0], valid=dataclasses.replace(hidden[1], labels=split.valid.labels))
    counts = word_counts(data.texts)
    for baseline in (label_baselines.majority, lambda s: label_baselines.tfidf(s, counts)):
        np.testing.assert_array_equal(baseline(split).probabilities, baseline(other).probabilities)
    with pytest.raises(UserError, match="labelled must be above 0"):
        hide_labels(data, 0.0, 0)


def test_word_scores_know_no_label_of_their_own_text(table):
    data = read_labelled(table)
    (split,) = splits(data, BLANK, TextOptions(word_scores=True), test=0.2, valid=0.2, seed=1)
    for part in (split.train, split.valid, split.test):
        assert part.features.shape == (len(part), 1) and metrics.auc(part.labels, part.features[:, 0]) > 0.95
    # Where words say nothing of the label, what a text's score says of it is nothing too, in training as in test.
    texts = np.array([f"same{n} again{n}" for n in range(300)] * 2)
    labels = np.random.default_rng(0).permutation(np.arange(600) % 2)
    own, other = word_scores(word_counts(texts), labels, (word_counts(texts),), 0)
    assert abs(metrics.auc(labels, own) - 0.5) < 0.1 and metrics.auc(labels, other) > 0.8
    own, other = word_scores(word_counts(np.array(["a", "b"])), np.array([0, 1]), (word_counts(texts),), 0)  # too few
    assert not own.any() and not other.any()


def test_hidden_texts_get_word_scores_as_unseen_ones(table):
    (split,) = splits(
        read_labelled(table), BLANK, TextOptions(word_scores=True, labelled=0.5), test=0.2, valid=0.2, seed=1
    )
    assert metrics.auc(split.train.labels[~split.train.known], split.train.features[~split.train.known, 0]) > 0.95


def test_compilation_cannot_be_told_from_one_epoch():
    def took(phase, *epochs):
        return [{"phase": phase, "epoch": n, "seconds": each} for n, each in enumerate(epochs, start=1)]

    many = seconds(pd.DataFrame(took("selection", 9.0, 1.0, 1.0) + took("refit", 1.0, 1.0)))
    assert many == {"selection": 3.0, "refit": 2.0, "total": 5.0, "compilation": 8.0}
    one = seconds(pd.DataFrame(took("selection", 9.0, 1.0, 1.0) + took("refit", 8.0)))
    assert one == {"selection": 3.0, "refit": 8.0, "total": 11.0, "compilation": None}
    assert add_seconds([many, one]) == {"selection": 6.0, "refit": 10.0, "total": 16.0, "compilation": None}
    shown = io.StringIO()
    print_table(label_tables._cost({"seconds": {"adversarial": many, "twin": one}}), shown)
    assert "8.0   not separable" in shown.getvalue()


def test_captions_speak_of_what_there_is():
    undefined = {"mean": None, "ci95": None, "per_seed": [None]}
    results = {"models": {"twin": {"AUC": undefined}}, "baselines": {}, "dataset": "x", "split": "one"}
    of_texts = label_tables._metrics(results | {"task": "labels", "texts": 3}).caption
    assert "the majority's" in of_texts
    assert "majority" not in label_tables._metrics(results | {"task": "ratings", "ratings": 3}).caption


def test_texts_without_a_common_word_are_told_by_the_majority(tmp_path, monkeypatch):
    rows = [(f"alone{n} different{n}", n % 3 > 0) for n in range(60)]
    data = read_labelled(write(tmp_path / "x.csv", [(text, int(label)) for text, label in rows]))
    parts = list(splits(data, BLANK, TextOptions(), test=0.2, valid=0.2, seed=1))
    counts = word_counts(data.texts)
    told, majority = label_baselines.tfidf(parts[0], counts), label_baselines.majority(parts[0])
    np.testing.assert_array_equal(told.probabilities, majority.probabilities)
    (note,) = label_baselines.tfidf_remarks(parts, counts)
    assert note == "TF-IDF is the majority here: no word stands in two of the training texts"

    class Broken:
        def __init__(self, *arguments):
            raise ValueError("another mistake")

    monkeypatch.setattr(label_baselines, "WordModel", Broken)
    data = read_labelled(write(tmp_path / "y.csv", [(f"same word {text}", int(label)) for text, label in rows]))
    assert label_baselines.tfidf_remarks(parts, word_counts(data.texts)) == ()
    with pytest.raises(ValueError, match="another mistake"):
        label_baselines.tfidf(parts[0], word_counts(data.texts))


def test_settings_of_the_task():
    settings = label_settings(Settings())
    assert (settings.game, settings.recommender, settings.adversary) == ("text", "text-classifier", "fgm")
    assert (settings.select_on, settings.head, settings.evaluate_every) == ("AUC", (128, 64), 1)
    with pytest.raises(UserError, match="game 'cfgan' does not play for labels; allowed: text"):
        label_settings(Settings(game="cfgan"))
    with pytest.raises(UserError, match="'autoencoder' does not tell labels; allowed: text-cl"):
        label_settings(Settings(recommender="autoencoder"))
    with pytest.raises(UserError, match="unknown metric to select on 'NDCG@20'; allowed: accuracy"):
        label_settings(Settings(select_on="NDCG@20"))


class BagOfWords:
    """Stands in for a language model: a random direction for every word."""

    sha256 = "bag of words"
    normalised = True

    def encode(self, texts, progress=True):
        def vector(word):
            return np.random.default_rng(sum(map(ord, word))).normal(size=16)

        rows = [np.sum([vector(w) for w in text.split()] or [np.zeros(16)], axis=0) for text in texts]
        return np.array([row / max(np.linalg.norm(row), 1e-6) for row in rows], np.float32)


@pytest.fixture
def bag_of_words(monkeypatch):
    monkeypatch.setattr("gan_rec.experiments.labels.load_encoder", lambda name, pooling=None: BagOfWords())


QUICK = ["--seeds", "2", "--epochs", "12", "--batch-size", "16", "--learning-rate", "0.01", "--quiet"]


def test_the_whole_task(table, tmp_path, bag_of_words, capsys):
    out = tmp_path / "run"
    cli.main(["train", "--task", "labels", "--dataset", str(table), "--folds", "2", "--out", str(out), *QUICK])
    shown = capsys.readouterr().out
    assert "TF-IDF" in shown and "majority" in shown and "calibration error" in shown
    results = json.loads((out / "results.json").read_text())
    assert results["task"] == "labels" and set(results["models"]) == {"adversarial", "twin"}
    for model in results["models"].values():
        assert set(model) == set(metrics.METRICS) and len(model["AUC"]["per_seed"]) == 2
        assert model["AUC"]["mean"] > 0.95  # the words tell
    assert results["baselines"]["majority"]["AUC"]["mean"] == 0.5
    assert results["baselines"]["TF-IDF"]["AUC"]["mean"] > 0.95
    fgm = results["under_attack"]["fgm"]
    assert fgm["twin"]["log-loss"]["mean"] > results["models"]["twin"]["log-loss"]["mean"]
    per_text = pd.read_parquet(out / "per_text.parquet")
    assert len(per_text) == 160 * (2 + 2 + 1)
    assert set(results["tests"]) == {
        "adversarial against twin", "adversarial against TF-IDF", "twin against TF-IDF",
    }  # fmt: skip

    models = gan_rec.open_texts(out, fold=2)
    data, rows = models["twin"].table, models["twin"].split.rows[2]
    told = models["twin"].predict(data.texts[rows].tolist(), progress=False)
    mine = per_text[(per_text.model == "twin") & (per_text.fold == 2) & (per_text.seed == 1)]
    np.testing.assert_allclose(told[1], mine.probability, atol=1e-5)
    assert models["twin"].thresholds.shape == (2,)
    with pytest.raises(UserError, match="must be a list of texts, got one text, 'a dress'"):
        models["twin"].predict("a dress")
    with pytest.raises(UserError, match="fold 3 is not possible: the run has 2"):
        gan_rec.open_texts(out, fold=3)

    cli.main(["evaluate", str(out), "--format", "json"])
    again = json.loads(capsys.readouterr().out)["models"]
    assert again["twin"] == results["models"]["twin"]
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(out), "--k", "3"])
    assert "k is an option of rankings; --task labels has no lists" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["recommend", str(out), "--all"])
    assert "has the task 'labels'; this needs one that ranks items" in capsys.readouterr().err


@pytest.mark.long
def test_a_run_is_repeated_from_its_config(table, tmp_path, bag_of_words):
    quick = ["--task", "labels", "--dataset", str(table), *QUICK]
    cli.main(["train", *quick, "--head", "8", "--labelled", "0.5", "--adversary", "vat", "--out", str(tmp_path / "a")])
    cli.main(["train", "--config", str(tmp_path / "a/config.json"), "--quiet", "--out", str(tmp_path / "b")])
    first, second = (json.loads((tmp_path / run / "results.json").read_text()) for run in "ab")
    assert first["models"] == second["models"]


def test_a_config_that_was_damaged_is_one_line(table, tmp_path, bag_of_words, capsys):
    out = tmp_path / "run"
    quick = [*QUICK, "--epochs", "1", "--seed", "7"]
    cli.main(["train", "--task", "labels", "--dataset", str(table), "--head", "4", "--out", str(out), *quick])
    rows = pd.read_parquet(out / "per_text.parquet")
    assert set(rows[rows.model == "twin"].seed) == {7, 8}
    config = json.loads((out / "config.json").read_text())
    for broken in ({"seeds": "two"}, {"head": "x"}, {"epsilon": [1]}, {"ks": 5}, {"ks": ["a"]}):
        (out / "config.json").write_text(json.dumps(config | broken))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main(["evaluate", str(out)])
        said = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and len(said) == 1 and next(iter(broken)) in said[0], said


def test_impossible_parts_are_told_before_texts_are_encoded(table, tmp_path, bag_of_words, monkeypatch, capsys):
    monkeypatch.setattr(BagOfWords, "encode", None)
    for option, message in (("--labelled 2", "labelled must be above 0"), ("--folds 1000", "folds must be 0, or 2 to")):
        with pytest.raises(SystemExit):
            cli.main(f"train --task labels --dataset {table} --out {tmp_path}/x {option} --quiet".split())
        assert message in capsys.readouterr().err


def test_an_option_of_many_values_is_given_once(table, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(f"train --task labels --dataset {table} --text-column a --text-column b".split())
    assert stop.value.code == 2 and "--text-column is given twice" in capsys.readouterr().err


def test_test_labels_choose_nothing(table):
    """Neither thresholds nor the strength of TF-IDF; but validation's do."""
    data = read_labelled(table)
    inputs = Inputs(np.random.default_rng(0).normal(size=(160, 3)).astype(np.float32), np.zeros(160, np.int32), 3)
    (split,) = splits(data, inputs, TextOptions(), test=0.2, valid=0.2, seed=1)
    classifiers = jax.vmap(lambda key: TextClassifier(3, rngs=nnx.Rngs(key)))(jax.random.split(jax.random.key(0)))
    fit = SimpleNamespace(
        selected=SimpleNamespace(recommender=classifiers), final=SimpleNamespace(recommender=classifiers)
    )

    def turned(part):
        return dataclasses.replace(part, labels=1 - part.labels)

    counts = word_counts(data.texts)
    for evaluate in (lambda s: evaluate_labels(fit, s), lambda s: label_baselines.tfidf(s, counts)):
        found = evaluate(split)
        same = evaluate(dataclasses.replace(split, test=turned(split.test)))
        np.testing.assert_array_equal(found.thresholds, same.thresholds)
        np.testing.assert_array_equal(found.probabilities, same.probabilities)
        other = evaluate(dataclasses.replace(split, valid=turned(split.valid)))
        assert (found.thresholds != other.thresholds).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--test-fraction", "nan"], "test_fraction must lie between 0 and 1, got nan"),
        (["--valid-fraction", "-0.2"], "valid_fraction must lie between 0 and 1, got -0.2"),
        (["--split-seed", "-1"], "split_seed must be 0 to"),
        (["--split", "temporal"], "split is no option of texts with labels; allowed: dataset, test_fraction"),
        (["--k", "3"], "k is an option of rankings"),
        (["--folds", "2", "--test-fraction", "0.9"], "test_fraction 0.9 does not go with folds"),
        (["--head", "0"], "head must be whole numbers above 0, got [0]"),
        (["--balance", "validation"], "balance 'validation' needs a game that ranks items"),
        (["--labelled", "0.5", "--radii", "by-loss"], "radii 'by-loss' reads the loss of every text"),
    ],
)
def test_mistakes_leave_nothing_behind(table, tmp_path, bag_of_words, capsys, options, message):
    arguments = ["train", "--task", "labels", "--dataset", str(table), "--out", str(tmp_path / "x"), "--quiet"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, *options])
    assert stop.value.code == 2 and message in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_a_metric_that_is_nowhere_defined_cannot_choose(table, tmp_path, bag_of_words, monkeypatch, capsys):
    monkeypatch.setattr(metrics.LabelEvaluation, "per_seed", lambda self, metric: np.full(2, np.nan))
    with pytest.raises(SystemExit):
        cli.main(["train", "--task", "labels", "--dataset", str(table), *QUICK, "--out", str(tmp_path / "x")])
    assert "AUC is undefined on the validation part in every epoch" in capsys.readouterr().err


def test_a_run_notices_another_language_model(table, tmp_path, bag_of_words, monkeypatch):
    out = tmp_path / "run"
    cli.main(["train", "--task", "labels", "--dataset", str(table), "--out", str(out), *QUICK])
    monkeypatch.setattr(BagOfWords, "sha256", "another")
    with pytest.raises(UserError, match="are not those that the run in"):
        gan_rec.open_texts(out)


def test_a_config_keeps_names_and_makes_paths_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for dataset, encoder in (("womens-clothing", "minilm"), ("shop.csv", "my-model")):
        written = json.loads(Config("labels", DataOptions(dataset), Settings(encoder=encoder)).text_of())
        named = dataset == "womens-clothing"
        assert written["dataset"] == (dataset if named else str(tmp_path / dataset))
        assert written["encoder"] == (encoder if named else str(tmp_path / encoder))


def test_a_stopped_run_goes_on_to_the_same_results(table, tmp_path, bag_of_words, monkeypatch):
    arguments = ["train", "--task", "labels", "--dataset", str(table), *QUICK]
    cli.main([*arguments, "--out", str(tmp_path / "whole")])

    def die(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(label_run.label_baselines, "tfidf", die)
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments, "--out", str(tmp_path / "cut")])
        assert stop.value.code == 130
    cli.main(["train", "--resume", "--quiet", "--out", str(tmp_path / "cut")])
    whole, cut = (json.loads((tmp_path / run / "results.json").read_text()) for run in ("whole", "cut"))
    assert whole["models"] == cut["models"] and whole["under_attack"] == cut["under_attack"]


def test_attacks_on_many_tokens_are_measured_on_a_sample_of_the_test_part():
    n = 620
    labels = np.arange(n) % 2
    none = np.zeros((n, 0), np.float32)
    tokens = EncodedTexts(np.arange(2 * n).reshape(n, 2), np.full(n, 2), none, labels, labels > -1)
    vectors = EncodedTexts(np.ones((n, 3), np.float32), np.zeros(n, np.int32), none, labels, labels > -1)
    whole = LabelSplit(vectors, vectors, vectors, (np.arange(n),) * 3)
    assert whole.to_attack() is whole

    part = LabelSplit(tokens, tokens, tokens, (np.arange(n),) * 2 + (np.arange(n) + 7,)).to_attack()
    rows = part.rows[2] - 7
    assert len(part.test) == len(np.unique(rows)) == 500 and len(part.valid) == n
    np.testing.assert_array_equal(part.test.inputs, tokens.inputs[rows])
    np.testing.assert_array_equal(part.test.labels, labels[rows])


def test_options_of_texts_need_the_task(capsys, tmp_path):
    with pytest.raises(SystemExit):
        cli.main(["train", "--dataset", "synthetic", "--labelled", ".5", "--out", str(tmp_path / "x")])
    assert "labelled: only --task labels has such options, this is --task ranking" in capsys.readouterr().err
