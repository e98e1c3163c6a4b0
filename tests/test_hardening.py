"""Automatic adversarial training."""

import json

import pandas as pd
import pytest

from gan_rec import cli
from gan_rec.errors import UserError
from gan_rec.experiments.hardening import Candidates, Goal, Hardening, front, harden
from gan_rec.experiments.run import read_config
from gan_rec.experiments.settings import DataOptions, Settings

SMALL = Settings(recommender="autoencoder", dim=8, epochs=3, evaluate_every=1, seeds=1)
TRIALS = pd.DataFrame(
    {"adversary": [None, "a", "b", "c"], "clean": [0.300, 0.299, 0.290, 0.280], "attacked": [0.10, 0.20, 0.25, 0.24]}
)


def test_the_goal_weighs_clean_and_attacked():
    assert Goal(0.0).choose(TRIALS).name == 0
    assert Goal(0.5).choose(TRIALS)["adversary"] == "b"
    assert Goal(0.5, most_loss=0.002).choose(TRIALS)["adversary"] == "a"
    assert Goal(1.0, most_loss=0.0).choose(TRIALS).name == 0  # the twin is always allowed


def test_the_front_by_hand():
    assert front(TRIALS).index.tolist() == [0, 1, 2]


def asked(**options):
    candidates = Candidates(("fgm",), (0.2, 0.5), (0.5,))
    return Hardening(DataOptions("synthetic"), SMALL, candidates, **options)


@pytest.mark.long
def test_a_search_is_kept_and_goes_on(tmp_path):
    out = tmp_path / "hardened"
    trials, best = harden(asked(goal=Goal(1.0)), out, quiet=True)
    assert trials[["adversary", "epsilon"]].values.tolist()[1:] == [["fgm", 0.2], ["fgm", 0.5]]
    assert trials["attacked"][0] < trials["clean"][0] and trials["radius"].nunique() == 1
    config = read_config(out / "config.json")
    assert config.settings == best and best.refit
    row = trials.loc[trials["attacked"].idxmax()]
    assert best.alpha == row["alpha"]
    lines = (out / "trials.jsonl").read_text().splitlines()
    assert len(lines) == 3 and (out / "front.png").stat().st_size > 1000
    # A finished trial is not done again: what its line says is believed.
    kept = json.loads(lines[1]) | {"clean": 0.9, "attacked": 0.9}
    (out / "trials.jsonl").write_text(lines[0] + "\n" + json.dumps(kept) + "\n")
    again, best = harden(asked(goal=Goal(1.0)), out, resume=True, quiet=True)
    assert again["clean"].tolist()[1] == 0.9 and best.epsilon == 0.2
    pd.testing.assert_series_equal(again.loc[2], trials.loc[2])


@pytest.mark.parametrize(("change", "message"), [
    ({"goal": Goal(1.5)}, "share must be from 0 to 1, got 1.5"),
    ({"goal": Goal(most_loss=-1)}, "most_loss must be at least 0, got -1"),
    ({"candidates": Candidates(("sword",))}, "unknown adversary 'sword'"),
    ({"candidates": Candidates(("fgm",), (-1.0,))}, "epsilon"),
    ({"candidates": Candidates(("fgm",), ())}, "no epsilons are given; give at least one, for example 0.3"),
    ({"settings": Settings(alpha=0.2)}, "alpha: these are what is searched"),
])  # fmt: skip
def test_mistakes_leave_nothing_behind(tmp_path, change, message):
    import dataclasses

    with pytest.raises(UserError, match=message):
        harden(dataclasses.replace(asked(), **change), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_the_commands(tmp_path, capsys):
    out = tmp_path / "hardened"
    options = "--dataset synthetic --dim 8 --epochs 2 --evaluate-every 1 --seeds 1 --quiet"
    cli.main(f"harden {options} --adversaries fgm --epsilons 0.3 --alphas 0.5 --share 1 --out {out}".split())
    assert "tried, on validation" in capsys.readouterr().out
    cli.main(["train", "--config", str(out / "config.json"), "--out", str(tmp_path / "run"), "--quiet"])
    capsys.readouterr()
    attack = [
        "attack",
        str(tmp_path / "run"),
        "--attacks",
        "fgm",
        "pgd",
        "--radii",
        "0.3",
        "--certify",
        "10",
        "-k",
        "5",
    ]
    cli.main([*attack, "--output", str(tmp_path / "found"), "--quiet"])
    shown = capsys.readouterr().out
    assert "twin, pgd" in shown and "certified" in shown and "evasion.json" in shown
    cli.main([*attack, "--format", "json", "--quiet"])
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((tmp_path / "found" / "evasion.json").read_text())
    with pytest.raises(SystemExit) as stop:
        cli.main([*attack, "--radii", "-1"])
    assert stop.value.code == 2 and "radi" in capsys.readouterr().err
