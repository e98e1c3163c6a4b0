"""Trackers: what they are told, that nothing is told twice after a resume, and files that TensorBoard reads."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments.fitting import resolve, training
from gan_rec.train import trackers
from gan_rec.train.event_files import EventFile, forget, read_events
from gan_rec.train.looking import Between
from gan_rec.train.tracking import Tracker, Tracking, read_rows
from gan_rec.train.weights_and_biases import _counted

CONFIG = {"game": "embedding", "dim": 8, "head": [1, 2], "loss": None}
RESULTS = {"models": {"twin": {"NDCG@5": {"mean": 0.25}, "Gini@5": {"mean": None}}}}
HEARD = []


class Listener(Tracker):
    """A tracker of a user's own: told of scalars and of what will come again, and deaf to the rest."""

    def __init__(self, directory):
        HEARD.append(("made", directory.name))

    def rewind(self, *about):
        HEARD.append(about)

    def scalars(self, *about):
        HEARD.append(about)


class Half:
    def __init__(self, directory): ...

    def scalars(self, *about): ...


def row(epoch: int, seed: int = 0, phase: str = "selection", **values) -> dict:
    return {"phase": phase, "epoch": epoch, "seed": seed, "seconds": 0.5, "data_loss": 1.0 / epoch} | values


def play(directory, names, epochs, *, resumed=False, after=0, finished=False):
    """A session: the twin's selection from after one epoch to another."""
    with Tracking(directory, trackers.make(names, directory)) as tracking:
        tracking.begin(CONFIG, resumed)
        own = tracking.model("twin")
        own.begin("selection", after, 9)
        for epoch in range(after + 1, epochs + 1):
            own.tell([row(epoch, seed, **{"validation NDCG@5": np.nan}) for seed in (0, 1)])
            own.see("selection", epoch, SimpleNamespace(histograms=lambda epoch: {"row lengths/a": np.arange(1.0, 9)}))
        if finished:
            own.embedding(np.arange(6.0).reshape(3, 2), ["1 A film\tof tabs", "2", "3"])
            tracking.finish(RESULTS)


@pytest.mark.parametrize("names", [[], ["tensorboard"]])
def test_a_stopped_session_leaves_no_step_twice(tmp_path, names):
    play(tmp_path, names, 5)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"model": "twin", "phase": "sel')  # where a kill came
    for path in (tmp_path / "tensorboard").glob("**/events*"):
        path.write_bytes(path.read_bytes()[:-7])
    play(tmp_path, names, 7, resumed=True, after=2, finished=True)
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [(r["epoch"], r["seed"]) for r in rows] == [(e, s) for e in range(1, 8) for s in (0, 1)]
    assert rows[0]["validation NDCG@5"] is None
    told = list(read_events(tmp_path / "tensorboard" / "twin"))
    assert len(set(told)) == len(told)
    assert [step for tag, step in told if tag == "selection/data_loss/seed_1"] == (list(range(1, 8)) if names else [])
    assert not [tag for tag, _ in told if "NDCG" in tag and tag.startswith("selection")]


def test_tensorboard_is_told_all(tmp_path):
    for resumed in (False, True):  # a finished run that is resumed tells its end again
        play(tmp_path, ["tensorboard"], 3, resumed=resumed, after=3 * resumed, finished=True)
    told, own = list(read_events(tmp_path / "tensorboard" / "twin")), tmp_path / "tensorboard" / "twin"
    assert len(set(told)) == len(told)
    tags = {tag for tag, _ in told}
    assert {"selection/data_loss/seed_0", "selection/row_lengths/a", "test/NDCG_at_5", "_hparams_/experiment"} <= tags
    assert "test/Gini_at_5" not in tags
    assert [tag for tag, _ in read_events(tmp_path / "tensorboard")] == ["config/text_summary"]
    assert (own / "items" / "tensors.tsv").read_text() == "0\t1\n2\t3\n4\t5\n"
    assert (own / "items" / "metadata.tsv").read_text() == "1 A film of tabs\n2\n3\n"
    assert 'tensor_path: "items/tensors.tsv"' in (own / "projector_config.pbtxt").read_text()


def test_event_files_forget(tmp_path):
    from tensorboardX import summary

    first, second = EventFile(tmp_path), EventFile(tmp_path)
    for step in (1, 2, 3):
        first.add(step, summary.scalar("a", 1.0), summary.scalar("b", 2.0))
    second.add(3, summary.scalar("a", 1.0))
    assert list(read_events(tmp_path))[-1] == ("a", 3)  # written, although no file is closed
    forget(tmp_path, lambda tag, step: tag == "a" and step > 1)
    assert list(read_events(tmp_path)) == [("a", 1), ("b", 1), ("b", 2), ("b", 3)]
    assert len(list(tmp_path.iterdir())) == 1
    (left,) = tmp_path.iterdir()
    left.write_bytes(left.read_bytes()[:-3])
    assert list(read_events(tmp_path)) == [("a", 1), ("b", 1), ("b", 2)]


def test_a_tracker_of_ones_own(tmp_path):
    HEARD.clear()
    play(tmp_path, [f"{__name__}:Listener"], 2)
    values = {"seconds": 0.5, "data_loss": 1.0}
    made, rewound, first, _ = HEARD
    assert made == ("made", tmp_path.name) and rewound == ("twin", "selection", 0, 0)
    assert first == ("twin", "selection", 1, {0: values, 1: values})
    play(tmp_path, [f"{__name__}:Listener"], 3, resumed=True, after=1, finished=True)
    assert HEARD[5] == ("twin", "selection", 1, 2)  # of epoch 2 it was told


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["mlflow"], "unknown tracker 'mlflow'; allowed: tensorboard, wandb, or yours as my_module:MyTracker"),
        (["no_module:A"], "tracker 'no_module:A': cannot import 'no_module'"),
        ([f"{__name__}:Other"], "has no 'Other'"),
        ([f"{__name__}:Half"], "Half' has no begin, rewind, histogram, embedding, finish, close; it may inherit"),
        (["tensorboard", "tensorboard"], "named twice"),
    ],
)
def test_mistakes(names, said):
    with pytest.raises(UserError, match=said):
        trackers.find(names)


class FakeWandB(ModuleType):
    """The part of Weights & Biases' API that is used, with the parameters that its reference gives."""

    class Error(Exception):
        """As theirs."""

    class Histogram:
        """Of counts and edges."""

        def __init__(self, sequence=None, np_histogram=None, num_bins=64):
            counts, edges = np_histogram
            assert sequence is None and len(edges) == len(counts) + 1 <= 513

    class Table:
        """Of rows."""

        def __init__(self, columns=None, data=None, rows=None, dataframe=None, dtype=None, optional=True,
                     allow_mixed_types=False, log_mode="IMMUTABLE"):  # fmt: skip
            assert all(len(one) == len(columns) for one in data)

    def __init__(self, fails=None, key="a"):
        super().__init__("wandb")
        self.key = key
        self.fails, self.runs, self.logged, self.summary, self.ended = fails, [], [], {}, []

    def init(self, entity=None, project=None, dir=None, id=None, name=None, notes=None, tags=None, config=None,
             config_exclude_keys=None, config_include_keys=None, allow_val_change=None, group=None, job_type=None,
             mode=None, force=None, reinit=None, resume=None, resume_from=None, fork_from=None, save_code=None,
             tensorboard=None, sync_tensorboard=None, monitor_gym=None, settings=None):  # fmt: skip
        if self.fails:
            raise self.Error(self.fails)
        assert resume == "allow" and config == CONFIG
        self.runs.append((project, name, id))
        return self

    def login(self, key=None, relogin=None, host=None, force=None, timeout=None, verify=True, referrer=None,
              prompt=True):  # fmt: skip
        assert not prompt and not verify
        return self.key is not None

    def define_metric(self, name, step_metric=None, step_sync=None, hidden=None, summary=None, goal=None,
                      overwrite=None):  # fmt: skip
        assert step_metric is None or name == step_metric.removesuffix("epoch") + "*"

    def log(self, data, step=None, commit=None):
        self.logged.append(data)

    def finish(self, exit_code=None, quiet=None):
        self.ended.append(exit_code)


def test_weights_and_biases_by_its_documented_calls(tmp_path, monkeypatch):
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    play(tmp_path, ["wandb"], 4)
    play(tmp_path, ["wandb"], 6, resumed=True, after=2, finished=True)
    first, second = fake.runs
    assert first == second == ("gan_rec", tmp_path.name, (tmp_path / "wandb-id.txt").read_text().strip())
    epochs = [one["twin/selection/epoch"] for one in fake.logged if "twin/selection/data_loss/seed_1" in one]
    assert epochs == [1, 2, 3, 4, 5, 6]  # 3 and 4 were played twice
    drawn = [one["twin/selection/epoch"] for one in fake.logged if "twin/selection/row lengths/a" in one]
    assert drawn == epochs and isinstance(fake.logged[-1]["twin/items"], fake.Table)
    assert fake.summary == {"twin/test/NDCG@5": 0.25, "twin/test/Gini@5": None} and fake.ended == [0, 0]
    with pytest.raises(ZeroDivisionError), Tracking(tmp_path, trackers.make(["wandb"], tmp_path)) as tracking:
        tracking.begin(CONFIG, True)
        1 / 0  # noqa: B018
    assert fake.ended[-1] == 1


def test_weights_and_biases_that_is_missing_or_refuses(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'gan_rec\[wandb\]'"):
        trackers.find(["wandb"])
    monkeypatch.setitem(sys.modules, "wandb", FakeWandB(key=None))
    with pytest.raises(UserError, match="no key: wandb login"):
        trackers.find(["wandb"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    trackers.find(["wandb"])
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setitem(sys.modules, "wandb", FakeWandB(fails="no\nkey"))
    (tracker,) = trackers.make(["wandb"], tmp_path)
    with pytest.raises(UserError, match="cannot begin: no key; WANDB_MODE=offline"):
        tracker.begin(CONFIG, False)
    tracker.close(True)


def test_histograms_are_of_rows_and_of_fakes(small_split):
    options = {"recommender": "mf", "adversary": "fgm", "dim": 4, "seeds": 2, "batch_size": 16, "epsilon": 0.3}
    made = training(resolve(options), small_split, ())
    progress = made._new(made._keys()[:, 0])
    between = Between(progress.state, to_device(small_split.train), made.game, made.schedule)
    found = between.histograms(1)
    rows = np.asarray(progress.state.recommender.item_embedding[...])[0]
    np.testing.assert_allclose(found["row lengths/item_embedding"], np.sqrt((rows**2).sum(axis=1)), rtol=1e-6)
    for name in ("user", "item"):  # FGM goes to the edge of the ball
        np.testing.assert_allclose(found[f"fakes/distance from the {name}"].max(), 0.3, rtol=1e-5)
    alone = training(resolve(options | {"alpha": 1.0}), small_split, ())
    assert not [name for name in between._replace(game=alone.game).histograms(1) if "fakes" in name]


def test_a_finished_run_says_what_it_was_asked(tmp_path):
    play(tmp_path, ["tensorboard"], 1)
    content = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").glob("events*"))
    assert all(f'"{name}"'.encode() in content for name in CONFIG) and json.dumps(8).encode() in content


def test_lengths_that_are_all_alike_have_a_histogram():
    for values in (np.full(9, 0.05), np.float32(0.05) * (1 + np.arange(9) * 1e-7), np.zeros(3), np.array([-1.0, 2.0])):
        counts, edges = _counted(values.astype(np.float32))
        assert counts.sum() == len(values) and len(counts) == 40 and (np.diff(edges) > 0).all()
