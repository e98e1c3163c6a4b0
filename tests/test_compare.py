"""The leaderboard against an evaluator of its own: plain NumPy that reads scores, and pairs, and nothing else."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import gan_rec
from gan_rec import cli, plot
from gan_rec.data import Split
from gan_rec.errors import UserError
from gan_rec.experiments import compare, leaderboard
from gan_rec.experiments.directory import measured_compilation
from gan_rec.experiments.models import ClosedForm, Goal, Trained, model
from gan_rec.experiments.search import search

NAMES = ("popularity", "ease", "item-knn", "mf", "mf+fgm")
COMMAND = "compare --dataset synthetic --models ease,popularity,mf+fgm item-knn --seeds 2 --trials 2 --epochs 6".split()


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """The directory of a comparison, which must open test once, when all models are there."""
    out, opened, open_test = tmp_path_factory.mktemp("boards") / "one", [], Split.open_test
    with pytest.MonkeyPatch.context() as patch:

        def watched(split):
            opened.append(sorted(path.stem for path in (out / "models").glob("*.json")))
            return open_test(split)

        patch.setattr(Split, "open_test", watched)
        cli.main([*COMMAND, "--out", str(out)])
    assert opened == [sorted(NAMES)]
    return out


@pytest.fixture(scope="module")
def split():
    return gan_rec.split(gan_rec.load("synthetic"))


def results(out):
    return json.loads((out / "results.json").read_text())


def test_files(board):
    names = {path.name for path in board.iterdir()}
    assert names == {
        "config.json", "environment.json", "results.json", "per_user.parquet", "leaderboard.md", "leaderboard.csv",
        "leaderboard.png", "models",
    }  # fmt: skip
    assert (board / "leaderboard.png").read_bytes()[:4] == b"\x89PNG"
    found = results(board)
    assert set(found["models"]) == set(NAMES) and found["selected_on"] == "validation" and found["trials"] == 2
    for name, each in found["models"].items():
        assert len(each["test"]["NDCG@20"]["per_seed"]) == len(each["seeds"]) == (2 if "mf" in name else 1)
        assert len(each["chosen_epochs"]) == (2 if "mf" in name else 0)
        assert sum(each["trials"].values()) == (1 if name == "popularity" else 2)
        assert (name == "mf") <= (each["this_session_compilation_seconds"] > 0)
        assert each["this_session_compilation_seconds"] < each["this_session_seconds"]
        assert each["total_seconds"] > 0 and each["peak_memory_mib"] > 1
    users = pd.read_parquet(board / "per_user.parquet")
    means = users.groupby("model")["NDCG@20"].mean()
    assert {name: pytest.approx(means[name]) for name in NAMES} == {
        name: each["test"]["NDCG@20"]["mean"] for name, each in found["models"].items()
    }


def independent_ndcg(scores, seen, truth, k=20):
    """Mean NDCG@k: `scores` [U, I], `seen` and `truth` arrays of (user, item)."""
    scores = np.array(scores, float)
    scores[tuple(seen.T)] = -np.inf
    gains = []
    for user in np.unique(truth[:, 0]):
        relevant = truth[truth[:, 0] == user, 1]
        best = np.argsort(-scores[user], kind="stable")[:k]
        discount = 1 / np.log2(np.arange(2, k + 2))
        gains.append(discount[np.isin(best, relevant)].sum() / discount[: len(relevant)].sum())
    return np.mean(gains)


def test_an_independent_evaluator_ranks_the_models_alike(board, split):
    """From the values that were found every model is fitted anew, and asked for all scores."""
    seen, truth = (np.stack([part.users, part.items], axis=1) for part in (split.train_and_valid(), split.open_test()))
    history = np.zeros((split.train.n_users, split.train.n_items), np.float32)
    history[tuple(seen.T)] = 1
    found, own = results(board)["models"], {}
    for name in NAMES:
        fitted = model(name).fit(split, found[name]["values"], tuple(found[name]["seeds"]), Goal(epochs=6))
        per_seed = []
        for seed in range(len(found[name]["seeds"])):
            one = jax.tree.map(lambda leaf, seed=seed: leaf[seed], fitted.recommenders)
            scores = one.score(one.users(jnp.arange(len(history)), jnp.asarray(history)), one.items())
            per_seed.append(independent_ndcg(scores, seen, truth))
        assert found[name]["test"]["NDCG@20"]["per_seed"] == pytest.approx(per_seed, abs=1e-6), name
        own[name] = np.mean(per_seed)
    table = pd.read_csv(board / "leaderboard.csv")
    assert table["model"].tolist() == sorted(own, key=own.get, reverse=True)
    assert own["ease"] > own["popularity"]


def test_tests_and_intervals(board):
    found, users = results(board), pd.read_parquet(board / "per_user.parquet")
    by_user = users.groupby(["model", "user"])["NDCG@20"].mean().unstack(0)
    closed = {name: each["score"] for name, each in found["models"].items() if not each["chosen_epochs"]}
    best = max(closed, key=closed.get)
    assert found["best_baseline"] == best
    pairs = [(test["model"], test["against"]) for test in found["tests"]]
    first = max(found["models"], key=lambda name: found["models"][name]["score"])
    more = [(first, name) for name in closed if name != best and first not in closed]
    assert found["best_model"] == first
    assert sorted(pairs) == sorted([(name, best) for name in NAMES if name != best] + [("mf+fgm", "mf"), *more])
    for test in found["tests"]:
        first, second = by_user[test["model"]], by_user[test["against"]]
        expected = stats.ttest_rel(first, second)
        assert test["p"] == pytest.approx(expected.pvalue) and test["t"] == pytest.approx(expected.statistic)
        assert test["effect"] == pytest.approx(np.mean(first - second) / np.std(first - second, ddof=1))
    ordered = sorted(found["tests"], key=lambda test: test["p"])
    corrected = np.maximum.accumulate([test["p"] * (len(ordered) - i) for i, test in enumerate(ordered)])
    assert [test["p_holm"] for test in ordered] == pytest.approx(np.minimum(corrected, 1))
    low, high = found["models"]["ease"]["over_users"]["ci95"]
    expected = stats.ttest_1samp(by_user["ease"], 0).confidence_interval()
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_the_table_says_what_the_results_say(board):
    found, table = results(board), pd.read_csv(board / "leaderboard.csv").set_index("model")
    lines = (board / "leaderboard.md").read_text().splitlines()
    assert lines[0] == "# synthetic" and any("Holm over all tests" in line for line in lines)
    assert any("which baseline and model are best" in line for line in lines)
    rows = {cells[0]: cells for cells in ([c.strip() for c in line.strip("|").split("|")] for line in lines[4:9])}
    assert list(rows) == table.index.tolist()
    against = {(test["model"], test["against"]): test for test in found["tests"]}
    for name, cells in rows.items():
        assert cells[1].split(" ")[0] == f"{found['models'][name]['test']['NDCG@20']['mean']:.4f}"
        test = against.get((name, found["best_baseline"]))
        assert cells[7] == (f"{test['difference']:+.4f}" if test else "")
    twin = against["mf+fgm", "mf"]
    assert table.loc["mf+fgm", "against twin"] == "mf"
    assert table.loc["mf+fgm", "twin p_holm"] == pytest.approx(twin["p_holm"])
    assert rows["mf+fgm"][10:13] == [f"{twin['difference']:+.4f}", f"{twin['p_holm']:.2g}", f"{twin['effect']:+.2f}"]
    assert rows["mf"][10:13] == ["", "", ""]


def test_a_trained_model_that_is_best_is_tested_against_every_baseline():
    compared = [model(name) for name in ("ease", "item-knn", "slim", "mf", "mf+fgm")]
    records = dict(
        zip((each.name for each in compared), ({"score": s} for s in (0.3, 0.1, 0.2, 0.2, 0.4)), strict=True)
    )
    rivals = compare._rivals(compared, records)
    assert (rivals["best"], rivals["first"]) == ("ease", "mf+fgm")
    assert rivals["pairs"][-2:] == [("mf+fgm", "item-knn"), ("mf+fgm", "slim")] and ("mf+fgm", "mf") in rivals["pairs"]
    tests = [{"model": a, "against": b, "difference": 0.1, "p_holm": 0.02} for a, b in rivals["pairs"]]
    said = leaderboard._other_baselines({"best_model": "mf+fgm", "best_baseline": "ease", "tests": tests})
    assert said == "item-knn +0.1000 (p 0.02); slim +0.1000 (p 0.02)"
    records["ease"]["score"] = 0.5
    assert compare._rivals(compared, records)["pairs"][-1] == ("mf+fgm", "mf")


def test_resume_does_nothing_twice(board, monkeypatch):
    before, begun = results(board), []
    for name in ("results.json", "models/item-knn.json", "leaderboard.md"):
        (board / name).unlink()

    def refuse(*arguments, **options):
        raise AssertionError("a finished model was fitted again")

    monkeypatch.setattr(Trained, "fit", refuse)
    monkeypatch.setattr(Trained, "scores", refuse)
    monkeypatch.setattr(ClosedForm, "scores", refuse)  # the trials of the one that is missing were finished too
    monkeypatch.setattr(compare, "search", lambda model, *rest: begun.append(model.name) or search(model, *rest))
    cli.main(["compare", "--resume", "--out", str(board), "--quiet"])
    assert begun == ["item-knn"]
    after = results(board)
    for each in (before, after):
        for record in each["models"].values():
            for cost in [name for name in record if name.endswith("seconds")] + ["peak_memory_mib"]:
                record.pop(cost)
    assert after == before


def test_mistakes_are_one_line(board, capsys, tmp_path):
    for arguments, line in (
        (["--models", "ease,esae"], "unknown model 'esae'; allowed: popularity, item-knn"),
        (["--models", ","], "no model is named; allowed: all, popularity"),
        (["--out", str(board)], "is not empty; give a new one, or --resume"),
        (["--resume"], "--resume needs the directory of the stopped comparison"),
        (["--resume", "--out", str(tmp_path)], "cannot read"),
        (["--resume", "--out", str(board), "--seeds", "5"], "another configuration"),
        (["--seeds", "0"], "seeds must be at least 1, got 0"),
        (["--k", "500", "--dataset", "synthetic"], "k = 500 is not possible"),
        (["--k", "--dataset", "synthetic"], "no cut-off k is given"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["compare", "--quiet", *arguments])
        said = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and len(said) == 1 and line in said[0], said


def test_a_model_that_the_data_do_not_allow_ends_no_comparison(tmp_path, monkeypatch, capsys):
    def refuse(model, *rest, **options):
        if model.name == "ease":
            raise UserError("too many items")
        return search(model, *rest, **options)

    monkeypatch.setattr(compare, "search", refuse)
    command = "compare --dataset synthetic --split cold-items --k 3 --select-on NDCG@3 --trials 1 --quiet".split()
    out = tmp_path / "board"
    cli.main([*command, "--models", "popularity,ease,mix", "--out", str(out)])
    found, text = results(out), (out / "leaderboard.md").read_text()
    assert set(found["models"]) == {"popularity"} and set(found["not_possible"]) == {"ease", "mix"}
    assert "* Not possible: ease: too many items." in text and "* Not possible: mix: recommender 'mix' knows" in text
    assert "Holm" not in text and "which baseline" not in text, "nothing was tested"
    cli.main(["compare", "--resume", "--out", str(out), "--quiet"])
    assert results(out) == found
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--models", "mix", "--out", str(tmp_path / "new")])
    assert stop.value.code == 2 and not (tmp_path / "new").exists()
    assert "none of these models is possible: mix: recommender 'mix' knows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("config.json", lambda text: text.replace('"trials"', '"trails"'), "config.json is damaged: it has no trials"),
        ("config.json", lambda text: text.replace('"seeds": 2', '"seeds": "2"'), "seeds must be a whole number"),
        ("config.json", lambda text: text.replace('"mf+fgm"', "1"), "config.json is damaged: models cannot be"),
        ("environment.json", lambda text: "[]", "environment.json: it must hold a JSON object"),
        ("models/ease.json", lambda text: "{}", "ease.json is damaged (selected_on is None)"),
        ("models/ease.npz", lambda text: "junk", "ease.npz"),
    ],
)
def test_damaged_files_are_named(name, change, line, board, tmp_path, capsys):
    out = tmp_path / "board"
    shutil.copytree(board, out)
    (out / name).write_text(change("" if name.endswith(".npz") else (out / name).read_text()))
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", "--resume", "--out", str(out), "--quiet"])
    said = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(said) == 1 and line in said[0], said


def test_compilation_is_measured_while_it_is_asked_for():
    with measured_compilation() as found:
        jax.jit(lambda x: x * 3 + len(found))(jnp.ones(7))
    n = len(found)
    jax.jit(lambda x: x * 5 + n)(jnp.ones(11))
    assert len(found) == n > 0 and min(found) > 0


def test_without_matplotlib_there_is_no_plot(board, tmp_path, monkeypatch):
    monkeypatch.setattr("gan_rec.plot.canvas.find_spec", lambda name: None)
    assert plot.if_possible(plot.leaderboard, results(board)) is None


def test_a_leaderboard_in_jupyter(board):
    found = leaderboard.Leaderboard(results(board) | {"dataset": "a < b"})
    shown = found._repr_html_()
    assert json.loads(json.dumps(found)) == found and "a &lt; b" in shown
    assert shown.count("<tr") == 1 + len(found["models"]) and "against its twin" in shown
    order = [shown.index(f"<td>{name}</td>") for name in leaderboard.table(found)["model"]]
    assert order == sorted(order)
