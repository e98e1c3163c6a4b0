"""Cross-validation of rankings: one result from all folds, and runs that have folds."""

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import killing
from scipy import stats

import gan_rec
from gan_rec import cli
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation
from gan_rec.evaluation.folds import over_folds, pool
from gan_rec.experiments.reading import load, split_of
from gan_rec.experiments.settings import DataOptions
from gan_rec.experiments.tables import print_table, results_table

QUICK = (
    "--recommender autoencoder --seeds 2 --epochs 2 --evaluate-every 1 --dim 4 --hidden 4 --noise 2 --k 3 5 "
    "--select-on NDCG@5 --batch-size 5 --learning-rate .02 --epsilon 2"
).split()
MODELS = ("adversarial", "twin")


def test_over_folds():
    folds = [
        {"a": {"mean": m, "std": 0.0, "ci95": [m, m], "per_seed": [m, m], "rise": {"mean": 2 * m}}} for m in (1.0, 3.0)
    ]
    found = over_folds(folds)["a"]
    assert found["per_seed"] == [1, 3] and found["mean"] == 2 and found["rise"]["per_seed"] == [2, 6]
    half = stats.t.ppf(0.975, 1) * np.std([1, 3], ddof=1) / 2**0.5
    np.testing.assert_allclose(found["ci95"], [2 - half, 2 + half])
    assert over_folds(folds[:1]) is folds[0]
    undefined = over_folds([{"a": {"mean": None}}, {"a": {"mean": 1.0}}])["a"]
    assert undefined["mean"] is None and undefined["per_seed"] == [None, 1.0]


def test_pool():
    first = Evaluation(np.array([0, 2]), {"m": np.array([[1.0, np.nan], [3.0, np.nan]])}, {"coverage": np.ones(2)})
    second = Evaluation(np.array([0, 1, 2]), {"m": np.array([[6.0, 5.0, np.nan], [6.0, 7.0, np.nan]])}, {})
    found = pool([first, second])
    assert found.users.tolist() == [0, 1, 2] and found.per_model == {}
    np.testing.assert_array_equal(found.per_user["m"], [[4, 6, np.nan]])
    assert pool([first]) is first


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """30 users who like six to eight of a half of 16 items, and one with a single item."""
    rng, file = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "table.csv"
    rows = [f"u{u},i{i}" for u in range(30) for i in rng.permutation(8)[: 6 + u % 3] + 8 * (u % 2)]
    file.write_text("\n".join(["user,item", *rows, "lonely,i3"]))
    return file


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "folds"
    cli.main(["train", "--dataset", str(table), "--folds", "3", "--out", str(out), "--quiet", *QUICK])
    return out


def results(run):
    return json.loads((run / "results.json").read_text())


def test_the_table_of_a_run_with_folds(run):
    found, text = results(run), io.StringIO()
    print_table(results_table(found), text)
    assert "mean over 3 folds, each the mean of its seeds, ±" in text.getvalue()
    assert ", ".join("/".join(map(str, fold)) for fold in found["chosen_epochs"]["twin"]) in text.getvalue()


def test_a_run_with_folds(run):
    found, users = results(run), pd.read_parquet(run / "per_user.parquet")
    assert found["split"] == "3 folds" and len(found["split_sha256"]) == 64
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"fold-1", "fold-2", "fold-3"}
    assert list(users.columns[:4]) == ["model", "fold", "seed", "user"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {row["model"] for row in rows} == {f"{model} {fold}" for model in MODELS for fold in (1, 2, 3)}
    assert np.shape(found["chosen_epochs"]["twin"]) == (3, 2)
    folds = users.groupby(["model", "fold"])
    assert found["models"]["adversarial"]["NDCG@5"] != found["models"]["twin"]["NDCG@5"]
    for metric in ("NDCG@5", "P@3", "novelty@5", "NDCG-most-active@5"):
        for model in MODELS:
            mine = found["models"][model][metric]
            np.testing.assert_allclose(mine["per_seed"], folds[metric].mean()[model])
            assert mine["mean"] == pytest.approx(np.mean(mine["per_seed"]))
        means = users.groupby(["model", "user"])[metric].mean()
        expected = stats.ttest_rel(means["adversarial"], means["twin"], nan_policy="omit")
        test = found["tests"]["adversarial against twin"][metric]
        assert test["p"] == pytest.approx(expected.pvalue, rel=1e-6)
        assert test["users"] == means["twin"].notna().sum() <= 30
    assert "folds and seeds" in found["tests"]["method"]
    for losses in (found["loss_under_attack"]["twin"]["fgm"], found["loss_under_attack"]["twin"]["fgm"]["rise"]):
        assert len(losses["per_seed"]) == 3
    assert len(found["baselines"]["popularity"]["coverage@5"]["per_seed"]) == 3
    assert found["seconds"]["twin"]["total"] > 0


def test_every_interaction_is_tested_once(run, table):
    """The lonely user's is not; of the others, hits and misses of all folds are what the file has."""
    users = pd.read_parquet(run / "per_user.parquet").query("model == 'twin' and seed == 0")
    # R@5 = hits / relevant and P@5 = hits / 5 give the number of relevant items where something was found.
    hit = users[users["R@5"] > 0]
    relevant = (5 * hit["P@5"] / hit["R@5"]).round().astype(int)
    assert set(relevant) == {2, 3}, "six to eight items in three parts"
    assert (users.groupby("user")["fold"].nunique() == 3).all() and "lonely" not in set(users["user"])


def test_evaluate_averages_folds(run, capsys):
    cli.main(["evaluate", str(run), "--format", "json", "--k", "3", "5"])
    assert json.loads(capsys.readouterr().out)["models"] == results(run)["models"]


def test_recommend_from_a_fold(run, capsys):
    def lists(*more):
        cli.main(["recommend", str(run), "--all", "-k", "3", "--format", "csv", *more])
        return capsys.readouterr().out

    assert lists() == lists("--fold", "1") != lists("--fold", "2")
    model = gan_rec.open_run(run, fold=3).models["twin"]
    assert model.split.method == "fold 3 of 3"
    third = [each["NDCG@5"]["per_seed"][2] for each in results(run)["models"].values()][1]
    assert gan_rec.evaluate(model, ks=(5,)).per_seed("NDCG@5").mean() == third
    with pytest.raises(SystemExit):
        lists("--fold", "4")
    assert "fold 4 is not possible: the run in" in capsys.readouterr().err


@pytest.mark.long
def test_a_killed_run_resumes_to_the_same_results(run, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-c", killing("twin 2", 2), "train", "--config", run / "config.json", "--out", out]
    killed = subprocess.run([*map(str, command), "--checkpoint-every", "1", "--quiet"], capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    assert not (out / "results.json").exists()
    cli.main(["train", "--resume", "--out", str(out), "--quiet"])
    first, second = results(run), results(out)
    for part in ("models", "tests", "loss_under_attack", "chosen_epochs", "split_sha256"):
        assert first[part] == second[part], part


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--folds 1", "folds must be 2 to "),
        ("--folds -2", "folds must be 2 to "),
        ("--folds 3 --split temporal", "folds need the split random, got temporal"),
        ("--folds 3 --split cold-items", "folds need the split random, got cold-items"),
        ("--folds 3 --test-fraction .3", "test_fraction 0.3 does not go with folds"),
        ("--folds 3 --valid-fraction 3", "valid_fraction must lie between 0 and 1, got 3.0"),
    ],
)
def test_mistakes(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--dataset", "synthetic", *arguments.split()])
    assert stop.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_who_needs_one_split_says_so():
    options = DataOptions(dataset="synthetic", folds=3)
    with pytest.raises(UserError, match="only train has folds"):
        split_of(options, load(options))
