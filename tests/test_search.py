"""Models by name, trials side by side, and a search that remembers and never reads test."""

import dataclasses
import json
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import optuna
import pytest

from gan_rec import cli, searches
from gan_rec.data import Split
from gan_rec.errors import UserError
from gan_rec.experiments import choices
from gan_rec.experiments.config import read_config
from gan_rec.experiments.fitting import training
from gan_rec.experiments.models import ALL, ClosedForm, Goal, Scored, Trained, model, models
from gan_rec.experiments.search import Search, StudyError, search
from gan_rec.experiments.settings import Settings
from gan_rec.progress import Progress
from gan_rec.recommenders.baselines import BASELINES, EASE
from gan_rec.space import OneOf, Whole
from gan_rec.train.fit import TrainingDivergedError
from gan_rec.train.together import together

QUIET = Progress(enabled=False)


def trials(file):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def study_of(name, file):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    return optuna.load_study(study_name=f"{name} on small", storage=storage)


def tried(file):
    return [(trial.params, trial.value) for trial in trials(file) if trial.state.name == "COMPLETE"]


def test_names():
    assert set(BASELINES) | {"popularity", "mf", "autoencoder"} <= set(ALL)
    assert model("mf+fgm") == Trained("mf", "fgm") and model("mf+fgm").twin == "mf" and model("mf").twin is None
    assert [each.name for each in models(("mf+fgm", "ease", "mf"))] == ["mf", "mf+fgm", "ease"]
    assert [each.name for each in models(("all",))] == list(ALL)
    for bad in ("esae", "mf+", "mf+ease", "ease+fgm", "text-classifier", ""):
        with pytest.raises(
            UserError, match=f"unknown model '{bad}'; allowed: popularity, .*autoencoder".replace("+", "[+]")
        ):
            model(bad)
    with pytest.raises(UserError, match="no model is named"):
        models(())


def untuned(each, option):
    """The value that a model has where nobody sets it."""
    if each.closed:
        return getattr(each.make(), option)
    adversary = each.adversary or ("fgm" if each.game == "embedding" else None)
    return getattr(Settings(game=each.game, recommender=each.recommender, adversary=adversary).resolved(), option)


@pytest.mark.parametrize("name", [*ALL, "mf+generator", "autoencoder+fgm"])
def test_defaults_lie_in_the_space(name, small_split):
    each = model(name)
    space, defaults = each.space(small_split), each.defaults(small_split)
    assert set(space) == set(defaults)
    for option, part in space.items():
        assert defaults[option] == part.nearest(untuned(each, option))
    if name not in ("popularity", "common-neighbours", "adamic-adar"):
        assert space


def test_a_weight_that_nothing_reads_is_not_tuned(small_split):
    """Free adversarial training has one loss at a time."""
    assert set(model("mf+fgm").space(small_split)) - set(model("mf+free").space(small_split)) == {"alpha"}


def test_no_rank_is_above_what_the_data_have(small_split):
    space = model("pure-svd").space(small_split)
    assert space["dim"] == Whole(4, 44, log=True)
    assert OneOf((1, 2)).nearest(3) == 1 and Whole(8, 16).at_most(4) == Whole(4, 4)


BATCH = [
    {"learning_rate": 0.01, "weight_decay": 0.1, "average": 0.5, "alpha": 0.5, "epsilon": 0.1},
    {"learning_rate": 0.03, "weight_decay": 0.1, "average": 0.5, "alpha": 0.5, "epsilon": 0.1},
    {"learning_rate": 0.01, "weight_decay": 2.0, "average": 0.9, "alpha": 0.3, "epsilon": 0.1},
    {"learning_rate": 0.01, "weight_decay": 0.1, "average": 0.5, "alpha": 0.5, "epsilon": 0.4},
]


def test_trials_side_by_side_are_what_they_are_alone(small_split):
    of_one_shape = Trained("mf", "fgm")
    goal = Goal("NDCG@5", epochs=3)
    settings = [of_one_shape.settings(values | {"dim": 8}, goal) for values in BATCH]
    trainings = [training(each, small_split, ()) for each in settings]
    both = together(trainings).fit(small_split.train, small_split.valid).selected
    tables = np.asarray(both.recommender.item_embedding[...])
    for number, each in enumerate(trainings):
        alone = each.fit(small_split.train, small_split.valid).selected
        assert both.score[number] == pytest.approx(float(alone.score[0]), abs=1e-6)
        np.testing.assert_allclose(tables[number], alone.recommender.item_embedding[...][0], atol=1e-5)
    for first in range(len(BATCH)):  # every one of the numbers must have had its own effect
        for second in range(first):
            assert np.abs(tables[first] - tables[second]).max() > 1e-3


def test_only_trials_of_one_shape_go_together(small_split):
    mf, goal = Trained("mf"), Goal(epochs=2)
    batch = [{"learning_rate": 0.01, "dim": 8}, {"dim": 4}, {"weight_decay": 3.0, "dim": 8}, {"average": 0.1, "dim": 4}]
    assert mf.groups(small_split, batch, goal) == [[0, 2], [1, 3]]
    several = [training(mf.settings(values, goal), small_split, ()) for values in batch[:2]]
    with pytest.raises(ValueError, match="differ in traced numbers alone"):
        together(several)
    assert len(model("ease").groups(small_split, [{"l2": 1.0}, {"l2": 2.0}], goal)) == 2


def test_a_search_finds_the_best_of_its_trials(small_split, tmp_path):
    sealed = dataclasses.replace(small_split, _test=None)  # whoever asks it for anything fails
    found = search(model("ease"), sealed, Search(6, 1, Goal("NDCG@5")), tmp_path / "s.log", QUIET)
    done = tried(tmp_path / "s.log")
    assert len(done) == 6 and done[0][0] == {"l2": 500.0} and len({params["l2"] for params, _ in done}) == 6
    assert found.score == max(score for _, score in done)
    again = model("ease").scores(small_split, [found.values], Goal("NDCG@5"))
    assert again == [Scored(found.score, None)]
    assert found.trials == {"finished": 6, "given up": 0, "diverged": 0}


class Killed(BaseException):
    """No error of a program, like Ctrl-C."""


class Stopped(ClosedForm):
    """A baseline whose process is stopped at one of its trials."""

    left = 0

    def scores(self, *arguments):
        """One fewer left."""
        if Stopped.left == 0:
            raise Killed
        Stopped.left -= 1
        return super().scores(*arguments)


def test_a_stopped_search_goes_on_as_it_would_have(small_split, tmp_path):
    how = Search(9, 2, Goal("NDCG@5"))
    whole = search(model("edlae"), small_split, how, tmp_path / "whole.log", QUIET)
    fragile = Stopped("edlae", BASELINES["edlae"])
    for left in (0, 3, 2):
        Stopped.left = left
        with pytest.raises(Killed):
            search(fragile, small_split, how, tmp_path / "parts.log", QUIET)
    Stopped.left = 4
    found = search(fragile, small_split, how, tmp_path / "parts.log", QUIET)
    assert Stopped.left == 0, "no finished trial is done again"
    assert tried(tmp_path / "parts.log") == tried(tmp_path / "whole.log")
    assert found.values == whole.values
    Stopped.left = 0
    assert search(fragile, small_split, how, tmp_path / "parts.log", QUIET).values == whole.values


@pytest.mark.parametrize("alive", [False, True])
def test_trials_of_dead_processes_do_not_count(alive, small_split, tmp_path):
    how = Search(3, 1, Goal("NDCG@5"))
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    if not alive:
        process.communicate(b"\n")
    Stopped.left = 1
    with pytest.raises(Killed):
        search(Stopped("ease", EASE), small_split, how, tmp_path / "s.log", QUIET)
    study_of("ease", tmp_path / "s.log").ask().set_user_attr("owner", f"{socket.gethostname()} {process.pid}")
    found = search(model("ease"), small_split, how, tmp_path / "s.log", QUIET, shared=True)
    assert found.trials["finished"] == (2 if alive else 3)
    process.communicate(b"\n") if alive else None


@pytest.mark.parametrize(("shared", "silent", "counts"), [(False, 0, False), (True, 3600, False), (True, 0, True)])
def test_trials_of_another_machine_count_as_long_as_they_give_signs_of_life(
    shared, silent, counts, small_split, tmp_path
):
    file, goal = tmp_path / "s.log", Goal("NDCG@5")
    search(model("ease"), small_split, Search(1, 1, goal), file, QUIET)
    trial = study_of("ease", file).ask()
    trial.set_user_attr("owner", "elsewhere 1")
    trial.set_user_attr("alive", time.time() - silent)
    found = search(model("ease"), small_split, Search(3, 1, goal), file, QUIET, shared=shared)
    assert found.trials["finished"] == (2 if counts else 3)
    first = trials(file)[0]
    assert first.user_attrs["alive"] >= first.datetime_start.timestamp()


def test_a_search_whose_trials_all_run_elsewhere_says_so(small_split, tmp_path):
    file, how = tmp_path / "s.log", Search(1, 1, Goal("NDCG@5"))
    Stopped.left = 0
    with pytest.raises(Killed):
        search(Stopped("ease", EASE), small_split, how, file, QUIET)
    study_of("ease", file).ask().set_user_attr("owner", "elsewhere 1")
    with pytest.raises(UserError, match=r"1 of them run in other processes [(]elsewhere 1[)]: wait for these"):
        search(model("ease"), small_split, how, file, QUIET, shared=True)
    assert search(model("ease"), small_split, how, file, QUIET).trials["finished"] == 1


def test_a_file_of_another_search_is_refused(small_split, tmp_path):
    search(model("ease"), small_split, Search(1, 1, Goal("NDCG@5")), tmp_path / "s.db", QUIET)
    with pytest.raises(UserError, match="another search of ease on small [(]other select_on[)]; give a new file"):
        search(model("ease"), small_split, Search(1, 1, Goal("P@5")), tmp_path / "s.db", QUIET)
    assert search(model("ease"), small_split, Search(2, 1, Goal("NDCG@5")), tmp_path / "s.db", QUIET).values
    (tmp_path / "no.db").write_text("this is no database")
    with pytest.raises(UserError, match="cannot use .*no.db as a study"):
        search(model("ease"), small_split, Search(), tmp_path / "no.db", QUIET)
    with pytest.raises(UserError, match="trials must be at least 1, got 0"):
        search(model("ease"), small_split, Search(0), tmp_path / "s.db", QUIET)


class Made(Trained):
    """Curves without training: a learning rate above .01 diverges, the others rise to it."""

    calls: list = []

    def scores(self, split, batch, goal, observers=()):
        """The rates themselves, told at epochs 1 to 9."""
        rates = [values["learning_rate"] for values in batch]
        self.calls.append(len(rates))
        if max(rates) > 0.01:
            raise TrainingDivergedError("diverged")
        for epoch in range(1, 10):
            for observer in observers:
                observer.tell(
                    [{"phase": "selection", "epoch": epoch, "validation NDCG@20": rate * epoch} for rate in rates]
                )
        return [Scored(rate, 9) for rate in rates]


def test_one_diverging_trial_takes_no_other_with_it_and_hopeless_ones_end_early(small_split, tmp_path):
    Made.calls.clear()
    found = search(Made("mf"), small_split, Search(24, 4, Goal(epochs=9)), tmp_path / "s.log", QUIET)
    counts = found.trials
    assert counts["diverged"] > 0 and counts["given up"] > 0 and sum(counts.values()) == 24
    assert found.epochs == 9 and 0.005 <= found.score <= 0.01
    for trial in trials(tmp_path / "s.log"):
        if "diverged" in trial.user_attrs:
            assert trial.params["learning_rate"] > 0.01 and trial.state.name == "PRUNED"
        elif trial.state.name == "PRUNED":  # not before a third of the epochs, and worse than most
            assert 3 <= trial.last_step < 9 and trial.params["learning_rate"] < found.score
    assert any(n > 1 for n in Made.calls)


def test_no_trial_of_a_mix_is_given_up_by_the_curve_of_its_user_side(small_split, tmp_path, monkeypatch):
    """The rates are those of the user side alone, so they say little of what the trial is scored by."""
    made = Made("mf")
    monkeypatch.setattr(Made, "curved", Trained("mix").curved)
    found = search(made, small_split, Search(24, 4, Goal(epochs=9)), tmp_path / "s.log", QUIET)
    assert found.trials["given up"] == 0 and found.trials["finished"] > 0
    assert Trained("mf").curved and Trained("mf", "fgm").curved


@pytest.mark.parametrize("torn", ['{"op_code":4,"wor', "{", '{"op_code":4}'])
def test_a_half_written_last_line_of_a_study_is_dropped(torn, small_split, tmp_path):
    file, goal = tmp_path / "s.log", Goal("NDCG@5")
    search(model("ease"), small_split, Search(2, 1, goal), file, QUIET)
    before = tried(file)
    with open(file, "a") as log:
        log.write(torn)
    assert search(model("ease"), small_split, Search(3, 1, goal), file, QUIET).trials["finished"] == 3
    assert tried(file)[:2] == before


def test_what_goes_wrong_with_a_study_is_one_line(small_split, tmp_path, monkeypatch):
    (tmp_path / "mine.log").write_text('{"mine": 1}')
    with pytest.raises(StudyError, match="cannot use .*mine.log as a study"):
        search(model("ease"), small_split, Search(), tmp_path / "mine.log", QUIET)
    assert (tmp_path / "mine.log").read_text().startswith('{"mine": 1}')

    def fail(*arguments):
        raise optuna.exceptions.StorageInternalError("the disk\nis full")

    monkeypatch.setattr(optuna.Study, "ask", fail)
    with pytest.raises(StudyError, match="cannot use .*s.log as a study: the disk is full"):
        search(model("ease"), small_split, Search(), tmp_path / "s.log", QUIET)


@pytest.mark.parametrize("command", ["tune --model mf", "compare --models popularity,mf"])
@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--seed -1", "seed must be from 0 to 2**31 - 1, got -1"),
        ("--epochs 0", "epochs must be at least 1, got 0"),
        ("--select-on NDGC@20", "NDGC@20"),
    ],
)
def test_options_are_checked_before_anything_is_written(command, option, line, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(f"{command} --dataset synthetic --quiet {option} --out {tmp_path / 'out'}".split())
    said = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(said) == 1 and line in said[0]
    assert not (tmp_path / "out").exists()


def test_without_optuna_one_line_says_how_to_get_it(small_split, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"optuna is not installed; to install it run: pip install 'gan_rec\[tune\]'"):
        search(model("ease"), small_split, Search(), tmp_path / "s.log", QUIET)


def never(self):
    raise AssertionError("the test part was opened")


def test_tune_writes_what_train_takes_and_never_opens_test(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Split, "open_test", never)
    out = tmp_path / "mf"
    cli.main(f"tune --dataset synthetic --model mf+fgm --trials 2 --epochs 2 --out {out}".split())
    captured = capsys.readouterr()
    assert "tuning mf+fgm, 2 of 2 trials: best validation NDCG@20 0." in captured.err
    assert "learning_rate" in captured.out and str(out) in captured.out
    found = json.loads((out / "found.json").read_text())
    assert "the twin gets them too" in found["note"] and "compare tunes mf with" in " ".join(captured.out.split())
    settings = read_config(out / "config.json").settings.resolved()
    assert {name: getattr(settings, name) for name in found["values"]} == found["values"]
    assert (settings.recommender, settings.adversary, settings.epochs, settings.refit) == ("mf", "fgm", 2, True)
    command = cli.parse(["train", "--config", str(out / "config.json"), "--alpha", "1"])
    assert command.data.dataset == "synthetic" and command.settings.alpha == 1
    assert command.settings.epsilon == found["values"]["epsilon"]


def test_tune_of_a_baseline_goes_on_with_more_trials(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Split, "open_test", never)
    command = f"tune --dataset synthetic --model ease --quiet --out {tmp_path / 'ease'}".split()
    cli.main([*command, "--trials", "2"])
    first = tried(tmp_path / "ease" / "study.log")
    cli.main([*command, "--trials", "4", "--resume"])
    assert tried(tmp_path / "ease" / "study.log")[:2] == first
    found = json.loads((tmp_path / "ease" / "found.json").read_text())
    assert found["trials"]["finished"] == 4 and set(found["values"]) == {"l2"} and "note" not in found
    assert not (tmp_path / "ease" / "config.json").exists()
    capsys.readouterr()
    for arguments, line in (
        (command, "is not empty; give a new one, or --resume to go on with it"),
        ([*command[:-1], str(tmp_path / "new"), "--resume"], "search.json: No such file"),
        (["tune", "--resume"], "--resume needs the directory of the stopped search: give it by --out"),
        (["tune", "--model", "esae"], "unknown model 'esae'; allowed: popularity"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        said = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and len(said) == 1 and line in said[0]


def test_a_search_that_is_resumed_by_its_directory_alone_is_the_same(tmp_path, capsys):
    out = tmp_path / "ease"
    options = "--dataset synthetic --model ease --trials 2 --select-on P@10 --quiet --study".split()
    cli.main(["tune", *options, str(tmp_path / "my.log"), "--out", str(out)])
    before = (out / "found.json").read_text()
    (out / "found.json").unlink()
    cli.main(["tune", "--resume", "--out", str(out), "--quiet"])
    assert (out / "found.json").read_text() == before
    assert not (out / "study.log").exists() and len(trials(tmp_path / "my.log")) == 2
    capsys.readouterr()
    for option in ("--model mf", "--select-on P@5", "--seed 1", f"--study {out / 'other.log'}"):
        with pytest.raises(SystemExit) as stop:
            cli.main(["tune", "--resume", "--out", str(out), "--quiet", *option.split()])
        said = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and len(said) == 1 and "another configuration" in said[0]


def test_a_study_that_cannot_be_used_leaves_nothing(tmp_path, capsys):
    command = [
        "tune",
        "--dataset",
        "synthetic",
        "--model",
        "ease",
        "--quiet",
        "--out",
        str(tmp_path / "out"),
        "--study",
    ]
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, str(tmp_path)])
    assert stop.value.code == 2 and f"cannot use {tmp_path} as a study" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_spaces_of_recommenders_are_options_of_theirs():
    for recommender in choices.RECOMMENDERS.values():
        known = set(recommender.options) | set(recommender.training) | set(choices.GAMES["embedding"].options)
        assert set(recommender.space) <= known | {"hide"}
    assert jax.default_backend() != "cpu" or searches.SearchOptions().search().parallel == 1
