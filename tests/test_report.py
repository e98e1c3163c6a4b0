"""The page about runs, and TensorBoard, both of a run that the command line has trained."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request

import numpy as np
import pandas as pd
import pytest
from test_card import Links
from test_cli import fails

import gan_rec
from gan_rec import cli
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation
from gan_rec.evaluation.significance import paired_test
from gan_rec.experiments import run as run_module
from gan_rec.experiments.report import report
from gan_rec.experiments.run import open_run
from gan_rec.train.event_files import read_events

FAST = "--dim 4 --epochs 3 --evaluate-every 2 --seeds 2 --k 5 --select-on NDCG@5 --quiet".split()
NOTHING = {"adversarial": {}, "twin": {}, "rise_difference": {}}


def films(folder) -> list[str]:
    """The options that read a small shop whose items have titles that a page must not read as its own."""
    rng = np.random.default_rng(0)
    pairs = [(f"u<{u}>", f"i{i}") for u in range(30) for i in rng.choice(20, 9, replace=False)]
    pd.DataFrame(pairs).to_csv(folder / "shop.csv", index=False, header=["user", "item"])
    titles = pd.DataFrame({"item": [f"i{i}" for i in range(20)], "title": [f"<b>Film</b> & {i}" for i in range(20)]})
    titles.to_csv(folder / "titles.csv", index=False)
    return ["--dataset", str(folder / "shop.csv"), "--item-text", str(folder / "titles.csv")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run, and another one of it that has been made less accurate by hand."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "probe", lambda *models: NOTHING)
        options = ["--recommender", "mf", "--adversary", "fgm", *films(folder), *FAST]
        cli.main(["train", *options, "--out", str(folder / "one & only")])
    shutil.copytree(folder / "one & only", folder / "other")
    path = folder / "other" / "per_user.parquet"
    frame = pd.read_parquet(path)
    rng = np.random.default_rng(1)
    frame.assign(**{"NDCG@5": frame["NDCG@5"] - rng.uniform(0, 0.2, len(frame))}).to_parquet(path)
    config = json.loads((folder / "other" / "config.json").read_text())
    (folder / "other" / "config.json").write_text(json.dumps(config | {"checkpoint_every": 7}))
    return folder / "one & only", folder / "other"


def checked(text: str) -> str:
    links = Links()
    links.feed(text)
    assert links.open == [] and all(link.startswith("data:") for link in links.loaded)
    return text


def test_the_page_of_a_run(runs, capsys):
    cli.main(["report", str(runs[0]), "--users", "u<3>"])
    assert "written: " in capsys.readouterr().out
    text = checked((runs[0] / "report.html").read_text())
    for part in ("<title>Run one &amp; only</title>", "Configuration and data", "Training", "Results", "fgm",
                 "user u&lt;3&gt;, who has", "&lt;b&gt;Film&lt;/b&gt; &amp;", "p (Holm)", "adversarial"):  # fmt: skip
        assert part in text, part
    assert re.search(r"\d+ cpu, \d+ CPU cores", text)
    assert "<b>" not in text and str(runs[0].parent) + "/one" not in text
    assert text.count("<img") == 4  # losses, validation, popularity, item rows
    found = json.loads((runs[0] / "results.json").read_text())["models"]["adversarial"]["NDCG@5"]
    assert f"{found['mean']:.4f} ± {found['ci95'][1] - found['mean']:.4f}" in text


def test_several_runs_side_by_side(runs):
    text = checked(report(runs))
    assert "<h2>Side by side</h2>" in text and "<h2>other: Results</h2>" in text
    values = [pd.read_parquet(run / "per_user.parquet").query("model == 'adversarial'") for run in runs]
    a, b = (frame.pivot(index="seed", columns="user", values="NDCG@5").to_numpy() for frame in values)
    test = paired_test(a, b)
    assert f"{test['difference']:+.4f}" in text and f"{test['p']:.3g}" in text and test["p"] < 0.01
    row = text[text.index("options in which they differ") :]
    assert re.search(r"checkpoint_every</td><td>20</td><td>7</td>", row[:2000])


@pytest.mark.long
def test_other_data_are_not_tested_and_lost_data_leave_a_note(runs, tmp_path):
    shutil.copytree(runs[0], tmp_path / "moved")
    found = json.loads((tmp_path / "moved" / "results.json").read_text())
    (tmp_path / "moved" / "results.json").write_text(json.dumps(found | {"split_sha256": "0" * 64}))
    text = checked(report([runs[0], tmp_path / "moved"]))
    assert "no tests between these runs" in text and "left out: the data of" in text


def test_without_matplotlib_there_is_a_page(runs, monkeypatch):
    monkeypatch.setattr("gan_rec.plot.canvas.find_spec", lambda name: None)
    text = checked(report(runs[:1]))
    assert "<img" not in text and "matplotlib is not installed" in text


def test_mistakes(runs, tmp_path, capsys):
    assert "needs the directory of a run" in fails(capsys, "report")
    assert "it has no config.json" in fails(capsys, "report", tmp_path)
    assert "given twice" in fails(capsys, "report", runs[0], runs[0])
    assert "unknown user nobody" in fails(capsys, "report", runs[0], "--users", "nobody", "--output", tmp_path / "a")
    assert "is a folder" in fails(capsys, "report", runs[0], "--output", tmp_path)
    stopped = tmp_path / "stopped"
    shutil.copytree(runs[0], stopped, ignore=shutil.ignore_patterns("results.json"))
    assert "is not finished" in fails(capsys, "report", stopped)
    for name in ("environment.json", "results.json"):
        for damaged in ("[]", "{}", '{"device": 1, "models": 2}'):
            shutil.copyfile(runs[0] / "results.json", stopped / "results.json")
            (stopped / name).write_text(damaged)
            told = fails(capsys, "report", stopped)
            assert f"{stopped / name} is damaged: it does not say" in told or f"{stopped / name}: it must hold" in told
        shutil.copyfile(runs[0] / name, stopped / name)
    (stopped / "config.json").write_text('{"models": ["ease"]}')
    assert "no run of the command train" in fails(capsys, "report", stopped)
    assert not (tmp_path / "a").exists()


def test_trackers_see_the_players_where_validation_measures_them(runs):
    told = list(read_events(runs[0] / "tensorboard" / "adversarial"))
    for name in ("row_lengths/item_embedding", "fakes/distance_from_the_item"):
        assert [step for tag, step in told if tag == f"selection/{name}"] == [2, 3]
    assert [step for tag, step in told if tag == "selection/data_loss/seed_0"] == [1, 2, 3]
    model = open_run(runs[0]).models["adversarial"]
    rows = np.asarray(model.weights.final.recommender.item_embedding[...])
    np.testing.assert_array_equal(model.item_rows(1), rows[1])
    kept = (runs[0] / "tensorboard" / "adversarial" / "items" / "tensors.tsv").read_text().splitlines()
    np.testing.assert_allclose(np.array([line.split("\t") for line in kept], float), rows[0], rtol=1e-4)


def test_runs_and_lists_in_jupyter(runs):
    run = open_run(runs[0])
    shown = run._repr_html_()
    assert "run <b>one &amp; only</b>" in shown and "fgm, epsilon" in shown and "<td>none</td>" in shown
    model = run.models["twin"]
    assert "<th>model</th>" not in model._repr_html_()
    titles = tuple(f"film {item}" for item in model.split.train.item_ids)
    titled = dataclasses.replace(model, split=dataclasses.replace(model.split, item_texts=titles))
    found = gan_rec.recommend(titled, ["u<3>"], 4, titles=True)
    assert found["title"].tolist() == [f"film {item}" for item in found["item"]] and len(found) == 4
    pd.testing.assert_frame_equal(found.drop(columns="title"), gan_rec.recommend(model, ["u<3>"], 4))
    without = dataclasses.replace(model, split=dataclasses.replace(model.split, item_texts=None))
    with pytest.raises(UserError, match="no titles"):
        gan_rec.recommend(without, ["u<3>"], 4, titles=True)


@pytest.mark.long
def test_a_run_that_tells_labels_has_a_page_too(tmp_path):
    rng = np.random.default_rng(0)
    good = rng.random(80) < 0.5
    texts = [f"{'good' if g else 'bad'} shop {i}" for i, g in enumerate(good)]
    table = pd.DataFrame({"item_description": texts, "is_recommended": good.astype(int)})
    table.to_csv(tmp_path / "texts.csv", index=False)
    quick = "--head 4 --epochs 2 --evaluate-every 1 --seeds 2 --quiet".split()
    out = tmp_path / "labels"
    cli.main(["train", "--task", "labels", "--dataset", str(tmp_path / "texts.csv"), *quick, "--out", str(out)])
    text = checked(report([out]))
    assert "differences of AUC" in text and "TF-IDF" in text and "Recommendations" not in text


@pytest.mark.long
def test_chromium_shows_the_report(runs, chromium, tmp_path):
    (tmp_path / "page.html").write_text(report(runs))
    pixels = chromium((tmp_path / "page.html").as_uri(), 3000)
    assert pixels.shape[0] == 3000 and pixels[..., :3].std() > 0.05


@pytest.mark.long
def test_tensorboard_shows_the_run(runs, chromium, tmp_path):
    pytest.importorskip("tensorboard")
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs[0] / "tensorboard"), "--port", "0"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://[\w.]+:\d+/", line)))

        def fetch(path: str, **query: str):
            with urllib.request.urlopen(f"{address}data/{path}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
                return json.load(answer)

        assert sorted(fetch("runs")) == [".", "adversarial", "twin"]
        rows = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
        kept = [r for r in rows if (r["model"], r["phase"], r["seed"]) == ("adversarial", "selection", 1)]
        found = fetch("plugin/scalars/scalars", run="adversarial", tag="selection/data_loss/seed_1")
        np.testing.assert_allclose([(step, value) for _, step, value in found],
                                   [(r["epoch"], r["data_loss"]) for r in kept], rtol=1e-6)  # fmt: skip
        histograms = fetch("plugin/histograms/tags")["adversarial"]
        assert {"selection/row_lengths/item_embedding", "selection/fakes/distance_from_the_item"} <= set(histograms)
        assert fetch("plugin/text/tags")["."] == ["config/text_summary"]
        (item,) = fetch("plugin/projector/info", run="adversarial")["embeddings"]
        assert item["tensorName"] == "items"
        own = ("Three.js", "software WebGL", "GPU stall", "is deprecated")  # what it says of itself, whatever it shows
        for tab in ("timeseries", "hparams", "projector"):
            pixels = chromium(f"{address}#{tab}", 1400, "--virtual-time-budget=20000", usual=own)
            assert pixels[..., :3].std() > 0.05
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_an_evaluation_of_one_seed_shows_no_interval():
    shown = Evaluation(np.arange(3), {"NDCG@5": np.array([[0.1, 0.2, 0.6]])}, {})._repr_html_()
    assert "0.3" in shown and "None" not in shown and "nan" not in shown
