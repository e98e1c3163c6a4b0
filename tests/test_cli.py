import io
import json
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from conftest import killing

import gan_rec
from gan_rec import cli
from gan_rec.experiments import default_recommender
from gan_rec.experiments import run as run_module
from gan_rec.recommenders.text import TextVectors
from gan_rec.train.event_files import read_events

FAST = (
    "--recommender autoencoder --seeds 2 --epochs 4 --evaluate-every 2 --dim 8 --hidden 4 --noise 2 --k 5 10 "
    "--select-on NDCG@10"
).split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "one"
    cli.main(["train", "--dataset", "synthetic", "--out", str(out), "--checkpoint-every", "2", *FAST])
    return out


@pytest.fixture
def no_attacks(monkeypatch):
    """Nothing attacks the trained models: that takes most of a short run."""
    monkeypatch.setattr(run_module, "probe", lambda *models: {"adversarial": {}, "twin": {}, "rise_difference": {}})


class BegunError(Exception):
    """Config and data are told, training would begin."""


@pytest.fixture
def no_training(monkeypatch):
    def begun(*arguments):
        raise BegunError

    monkeypatch.setattr(run_module, "_part", begun)


def results(run):
    return json.loads((run / "results.json").read_text())


def fails(capsys, *arguments) -> str:
    """The one line on stderr of a command that must end with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert lines[-1].startswith("gan_rec: error: ")
    assert "Traceback" not in captured.err
    return lines[-1]


def test_run_directory(run):
    names = {p.name for p in run.iterdir()}
    assert names == {
        "config.json", "environment.json", "metrics.jsonl", "results.json", "per_user.parquet", "checkpoints",
        "tensorboard",
    }  # fmt: skip
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    environment = json.loads((run / "environment.json").read_text())
    assert {"packages", "device", "data_sha256", "git_revision", "python"} <= set(environment)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    selection = [(r["model"], r["epoch"], r["seed"]) for r in rows if r["phase"] == "selection"]
    assert selection == [(m, e, s) for m in ("adversarial", "twin") for e in (1, 2, 3, 4) for s in (0, 1)]


def test_results(run):
    found = results(run)
    assert set(found["models"]) == {"adversarial", "twin"}
    assert found["selected_on"] == "validation" and len(found["split_sha256"]) == 64
    for model in found["models"].values():
        expected = {f"{m}@{k}" for m in ("P", "R", "NDCG", "MRR", "HR", "MAP", "coverage") for k in (5, 10)}
        beside = ("NDCG-least-active", "NDCG-most-active", "NDCG-tail", "novelty", "popularity", "diversity", "Gini")
        assert set(model) == expected | {f"{m}@10" for m in beside}
        for summary in model.values():
            assert set(summary) == {"mean", "std", "ci95", "per_seed"} and len(summary["per_seed"]) == 2
            low, high = summary["ci95"]
            assert low <= summary["mean"] <= high
    assert set(found["loss_under_attack"]["twin"]) == {"clean", "noise", "fgm", "fgsm", "pgd", "generator", "game"}
    users = pd.read_parquet(run / "per_user.parquet")
    assert list(users.columns[:3]) == ["model", "seed", "user"]
    assert users["user"].str.startswith("u-").all()
    means = users.groupby(["model", "seed"])["NDCG@10"].mean()
    for model in ("adversarial", "twin"):
        np.testing.assert_allclose(means[model], found["models"][model]["NDCG@10"]["per_seed"])


@pytest.mark.long
def test_config_repeats_the_run(run, tmp_path):
    cli.main(["train", "--config", str(run / "config.json"), "--out", str(tmp_path / "again"), "--quiet"])
    first, second = results(run), results(tmp_path / "again")
    for part in ("models", "loss_under_attack", "tests", "chosen_epochs", "split_sha256"):
        assert first[part] == second[part], part


@pytest.mark.long
@pytest.mark.usefixtures("no_attacks")
def test_options_beside_a_config_win(run, tmp_path):
    cli.main(f"train --config {run}/config.json --seeds 1 --alpha 1 --out {tmp_path}/other --quiet".split())
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    assert (config["seeds"], config["alpha"], config["epochs"]) == (1, 1.0, 4)
    models = results(tmp_path / "other")["models"]
    assert models["adversarial"] == models["twin"], "alpha = 1 is the twin, bit for bit"


@pytest.mark.long
def test_a_killed_run_resumes_to_the_same_results(run, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-c", killing("twin", 3), "train", "--config", run / "config.json", "--out", out]
    killed = subprocess.run([*map(str, command), "--quiet"], capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    assert not (out / "results.json").exists()
    cli.main(["train", "--resume", "--out", str(out), "--quiet"])
    first, second = results(run), results(out)
    for part in ("models", "loss_under_attack", "tests", "chosen_epochs"):
        assert first[part] == second[part], part

    def losses(path):
        rows = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert losses(run) == losses(out)
    for model in ("adversarial", "twin"):
        told = [list(read_events(path / "tensorboard" / model)) for path in (run, out)]
        assert sorted(told[0]) == sorted(told[1]) and len(set(told[0])) == len(told[0])


def test_evaluate(run, capsys):
    cli.main(["evaluate", str(run), "--format", "json", "--k", "5", "10"])
    again = json.loads(capsys.readouterr().out)["models"]
    assert again == results(run)["models"]
    cli.main(["evaluate", str(run)])  # at the run's own cut-offs
    assert "NDCG@5" in (told := capsys.readouterr().out) and "NDCG@10" in told and "NDCG@20" not in told
    cli.main(["evaluate", str(run), "--on", "validation", "--k", "10"])
    assert "NDCG@10" in capsys.readouterr().out


def test_recommend(run, capsys, tmp_path):
    cli.main(["recommend", str(run), "--users", "u-7", "u-3", "-k", "4", "--format", "csv"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "user,rank,item,score"
    assert [line.split(",")[:2] for line in lines[1:]] == [[u, str(r)] for u in ("u-7", "u-3") for r in (1, 2, 3, 4)]
    assert all(line.split(",")[2].startswith("i-") for line in lines[1:])
    cli.main(["recommend", str(run), "--users", "u-7", "-k", "2", "--format", "json", "--seed-index", "1"])
    assert [entry["rank"] for entry in json.loads(capsys.readouterr().out)["u-7"]] == [1, 2]
    cli.main(["recommend", str(run), "--all", "-k", "1", "--output", str(tmp_path / "all.csv"), "--format", "csv"])
    assert len(pd.read_csv(tmp_path / "all.csv")) == 300
    cli.main(["recommend", str(run), "--users", "u-7"])
    assert "u-7" in capsys.readouterr().out


def test_datasets(capsys):
    cli.main(["datasets"])
    listed = capsys.readouterr().out
    assert "ml-100k" in listed and "synthetic" in listed and "100,000" in listed


def test_an_exported_file_recommends_in_the_place_of_a_run(run, capsys, tmp_path):
    file = tmp_path / "rows.npz"
    cli.main(["export", str(run), "--output", str(file), "--int8", "--model", "twin", "--seed-index", "1"])
    assert "times smaller" in capsys.readouterr().out
    answers = []
    for source in ([str(file)], [str(run), "--model", "twin", "--seed-index", "1"]):
        cli.main(["recommend", *source, "--users", "u-7", "-k", "3", "--format", "csv", "--memory", "1"])
        answers.append(pd.read_csv(io.StringIO(capsys.readouterr().out)))
    np.testing.assert_allclose(answers[0]["score"], answers[1]["score"], rtol=0.05)
    assert "options of a run" in fails(capsys, "recommend", file, "--all", "--seed-index", "1")
    assert answers[0]["user"].tolist() == ["u-7"] * 3


def test_help_needs_no_jax():
    code = "import sys; from gan_rec import cli; cli.parse(['--help']); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: gan_rec" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian", "unknown command 'trian'; allowed: datasets, language, train, tune, compare, evaluate, recommend, "),
        ("train --seedz 3", "Unrecognized options: --seedz, 3 (did you mean --seed"),
        ("train --seeds three", "--seeds"),
        ("train --dataset no/such/file.csv", "unknown data set 'no/such/file.csv'"),
        ("train --dataset ml-100", "did you mean ml-100k?"),
        ("train --dataset synthetic --epsilon -1", "epsilon must be at least 0, got -1.0"),
        ("train --dataset synthetic --alpha 2", "alpha must be in [0, 1], got 2.0"),
        ("train --dataset synthetic --k 500", "k = 500 is not possible: the catalogue has 200 items"),
        ("train --dataset synthetic --min-user 99999", "no interaction is left"),
        ("train --dataset synthetic --split fixed", "brings no split of its own"),
        ("train --dataset synthetic --test-fraction 1.5", "test_fraction must lie between 0 and 1, got 1.5"),
        ("train --dataset synthetic --recommender svd", "unknown recommender 'svd'"),
        ("train --dataset synthetic --game chess", "unknown game 'chess'; allowed: embedding"),
        ("train --dataset synthetic --split-seed -1", "the seed of a split must be 0 or more, got -1"),
        ("train --dataset synthetic --k", "no cut-off k is given"),
        ("train --dataset synthetic --adversary :Y", "unknown adversary ':Y'"),
        (
            "train --preset chess",
            "'--preset'; allowed: content, cross-domain, friends, multimodal, sequence, shift, shop",
        ),
        ("report \0", "an argument holds a null character"),
        ("train --resume", "--resume needs the directory"),
        ("train --resume --out no-such-run", "nothing to resume"),
        ("train --config no-such.json", "cannot read no-such.json"),
        ("evaluate no-such-run", "no-such-run is no run directory"),
        ("recommend no-such-run", "either --users ID ... or --all"),
    ],
)
def test_mistakes_end_with_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *arguments.split())
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_mistakes_about_runs(capsys, run, tmp_path):
    assert "is not empty" in fails(capsys, "train", "--dataset", "synthetic", "--out", run)
    assert "another configuration" in fails(capsys, "train", "--resume", "--out", run, "--epsilon", "0.7")
    assert "unknown user nobody" in fails(capsys, "recommend", run, "--users", "nobody")
    assert "no user is given" in fails(capsys, "recommend", run, "--users")
    assert "seed index 9" in fails(capsys, "recommend", run, "--all", "--seed-index", "9")
    assert "unknown part 'train'" in fails(capsys, "evaluate", run, "--on", "train")
    assert "cannot write" in fails(capsys, "recommend", run, "--all", "--output", tmp_path / "no" / "file.csv")
    (tmp_path / "file").write_text("x")
    assert "is a file" in fails(capsys, "train", "--dataset", "synthetic", "--out", tmp_path / "file")
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(json.loads((run / "config.json").read_text()) | {"colour": 1}))
    assert "unknown fields: colour" in fails(capsys, "train", "--config", broken)
    for adversary in ({}, [1, "a"], 3):
        broken.write_text(json.dumps({"dataset": "synthetic", "adversary": adversary}))
        assert "adversary must be a name, got" in fails(capsys, "train", "--config", broken)


def test_divergence_is_told(capsys, tmp_path):
    arguments = f"train --dataset synthetic --learning-rate 1e38 --weight-decay 9 --out {tmp_path}/r".split()
    message = fails(capsys, *arguments, *FAST)
    assert "epoch 1 of the selection phase for seed 0" in message and "there was no checkpoint" in message


@pytest.mark.usefixtures("no_attacks")
def test_resume_refuses_data_that_have_changed(capsys, tmp_path):
    rows = [f"u{u},i{i}" for u in range(12) for i in range(12) if (u * i) % 3 != 1]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    arguments = ["--dataset", f"{tmp_path}/data.csv", "--out", f"{tmp_path}/r", "--k", "2", "--select-on", "NDCG@2"]
    cli.main(["train", *arguments, *"--seeds 1 --epochs 2 --dim 4 --recommender mf --quiet".split()])
    capsys.readouterr()
    (tmp_path / "data.csv").write_text("\n".join(rows[1:] + ["u0,i99"]))
    assert "are not those that the run" in fails(capsys, "train", "--resume", "--out", tmp_path / "r")
    assert "are not those that the run" in fails(capsys, "evaluate", tmp_path / "r")


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("most", "named", "expected"), [(10, [], "autoencoder"), (10**6, [], "mix"), (10, ["mix"], "mix")]
)
def test_who_plays_where_nobody_is_named(capfd, monkeypatch, tmp_path, most, named, expected):
    monkeypatch.setattr(default_recommender, "MOST_OF_MIX", most)
    quick = "--dataset synthetic --epochs 1 --evaluate-every 1 --seeds 1 --dim 4 --adversary fgm".split()
    recommender = ["--recommender", *named] if named else []
    with pytest.raises(BegunError):
        cli.main(["train", *quick, *recommender, "--out", str(tmp_path / "run")])
    told = "note: recommender autoencoder, not mix: there are more than 10 users or items" in capfd.readouterr().err
    assert told == (expected == "autoencoder")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["recommender"] == expected
    assert expected == "autoencoder" or (config["item_dim"], config["item_epochs"]) == (4, 1)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("with_texts", [True, False])
def test_cold_items_are_for_what_reads_their_texts(capfd, monkeypatch, tmp_path, with_texts):
    pairs = [(u, i) for u in range(20) for i in range(20) if (u + i) % 3]
    (tmp_path / "pairs.csv").write_text("user,item\n" + "\n".join(f"u{u},i{i}" for u, i in pairs))
    (tmp_path / "items.csv").write_text("item,title\n" + "\n".join(f"i{i},number {i}" for i in range(20)))
    monkeypatch.setattr(run_module.players, "text_vectors", lambda *_, **__: TextVectors(np.eye(20, dtype=np.float32)))
    monkeypatch.setattr(run_module.players, "split_sha256", lambda settings, split: split.sha256)
    texts = ["--item-text", str(tmp_path / "items.csv")] if with_texts else []
    quick = "--split cold-items --epochs 1 --evaluate-every 1 --seeds 1 --dim 4 --select-on NDCG@2 --k 2".split()
    with pytest.raises(BegunError):
        cli.main(["train", "--dataset", str(tmp_path / "pairs.csv"), *texts, *quick, "--out", str(tmp_path / "run")])
    found = json.loads((tmp_path / "run" / "config.json").read_text())["recommender"]
    assert found == ("two-tower" if with_texts else "autoencoder")
    assert ("says nothing of cold ones" in capfd.readouterr().err) != with_texts


def test_one_user_only(capsys, tmp_path):
    (tmp_path / "one.csv").write_text("user,item\nu,1\nu,2\nu,3\n")
    assert "only one user is left" in fails(capsys, "train", "--dataset", tmp_path / "one.csv")


def test_a_damaged_checkpoint_is_named(capsys, tmp_path, run):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    largest = max((copy / "checkpoints").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else -1)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    for model in ("adversarial", "twin"):
        if model in largest.parts:
            assert "is damaged" in fails(capsys, "recommend", copy, "--all", "--model", model)


def test_the_version_comes_with_the_environment(capsys):
    cli.main(["--version"])
    first, *others = capsys.readouterr().out.splitlines()
    assert first == gan_rec.__version__
    assert [line.split(":")[0] for line in others] == ["revision", "python", "packages", "devices"]
    assert f"jax {jax.__version__}" in others[2]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_can_complete(shell, capsys):
    cli.main(["--completion", shell])
    text = capsys.readouterr().out
    assert "adversary" in text and "certify" in text and "inspect" in text


def test_other_shells_cannot(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--completion", "fish"])
    assert stop.value.code == 2 and "unknown shell 'fish'; allowed: bash, zsh" in capsys.readouterr().err


def test_import_asks_nobody_and_loads_no_jax():
    program = """
import socket, sys
def refuse(*arguments, **options): raise SystemExit("import has asked the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import gan_rec
assert "jax" not in sys.modules
for name in gan_rec.__all__: getattr(gan_rec, name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
