"""Several devices are simulated, which has to be said before JAX begins: this runs in processes of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from gan_rec.errors import UserError
from gan_rec.train.processes import Processes
from gan_rec.train.sharding import parse_mesh

QUICK = os.environ.get("XLA_FLAGS", "")  # tests/conftest.py
EIGHT = f"{QUICK} --xla_force_host_platform_device_count=8"
FOUR = f"{QUICK} --xla_force_host_platform_device_count=4"
# 301 users and 199 items cannot be split evenly; a batch is a third of the pairs.
GAME = (
    "--dataset {data} --recommender mf --dim 8 --seeds 2 --evaluate-every 2 --noise 2 "
    "--hidden 4 --quiet --select-on NDCG@5 --k 5"
).split()
KINDS = {
    "dense": "--loss bpr --table-updates dense --batch-size 240".split(),
    "lazy-adam": "--loss bpr --table-updates lazy-adam --batch-size 240".split(),
    "chunks": "--loss softmax --softmax-scores chunks --batch-size 60".split(),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    pairs = {(int(u), int(i)) for u, i in zip(rng.integers(0, 301, 1000), rng.integers(0, 199, 1000), strict=True)}
    rows = [*sorted(pairs), *((u, u % 199) for u in range(301)), *((i, i) for i in range(199))]
    (folder / "pairs.csv").write_text("user,item\n" + "\n".join(f"{u},{i}" for u, i in dict.fromkeys(rows)))
    return folder / "pairs.csv"


def start(arguments, flags=None, **options):
    environment = os.environ | ({} if flags is None else {"XLA_FLAGS": flags})
    command = [sys.executable, "-m", "gan_rec", "train", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def finish(process) -> None:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err


def losses(run) -> np.ndarray:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return np.array([[row["data_loss"], row["adversarial_loss"]] for row in map(json.loads, lines)])


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """20 steps of each game, on one device: all of the tables or rows alone, and the softmax of all items at once."""
    runs = {}
    for kind in KINDS:
        out = tmp_path_factory.mktemp("alone") / kind
        options = ["dense" if option == "chunks" else option for option in game(data, kind)]
        finish(start([*options, "--epochs", 4, "--out", out]))
        runs[kind] = out
    return runs


def game(data, kind="dense") -> list[str]:
    return [part.format(data=data) for part in GAME] + KINDS[kind]


@pytest.mark.long
@pytest.mark.parametrize(
    ("mesh", "kind"),
    [
        ("data=2,model=4", "dense"), ("data=4,model=2", "lazy-adam"), ("model=8", "lazy-adam"),
        ("data=2,model=4", "chunks"),
    ],
)  # fmt: skip
def test_eight_devices_learn_what_one_does(data, alone, tmp_path, mesh, kind):
    finish(start([*game(data, kind), "--epochs", 4, "--out", tmp_path / "run", "--mesh", mesh], EIGHT))
    expected = losses(alone[kind])
    assert len(expected) >= 16
    np.testing.assert_allclose(losses(tmp_path / "run"), expected, atol=1e-4)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def pair(data, out, *more):
    """Two processes of four devices each."""
    where = f"127.0.0.1:{free_port()}"
    shared = [*game(data), "--out", out, "--mesh", "data=2,model=4", "--processes", 2, "--coordinator", where, *more]
    return [start([*shared, "--process-id", number], FOUR) for number in range(2)]


@pytest.mark.long
def test_two_processes_learn_what_one_does(data, alone, tmp_path):
    for process in pair(data, tmp_path / "run", "--epochs", 4):
        finish(process)
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(alone["dense"]), atol=1e-4)
    results = [json.loads((run / "results.json").read_text()) for run in (tmp_path / "run", alone["dense"])]
    assert [r["chosen_epochs"] for r in results][0] == [r["chosen_epochs"] for r in results][1]


@pytest.mark.long
def test_where_one_process_is_killed_the_other_ends_and_the_run_goes_on_elsewhere(data, tmp_path):
    out = tmp_path / "run"
    more = ("--epochs", 4000, "--patience", 4000, "--checkpoint-every", 5)
    first, second = pair(data, out, *more)
    deadline = time.monotonic() + 200
    while not list(out.glob("checkpoints/*/selection/*.sha256")) and time.monotonic() < deadline:
        time.sleep(0.2)
    second.send_signal(signal.SIGKILL)
    _, told = first.communicate(timeout=120)
    assert first.returncode != 0
    assert "another process has ended" in told or "another task died" in told
    kept = max(int(file.stem) for file in out.glob("checkpoints/*/selection/*.sha256"))
    # On another mesh, with other processes: the rows of the first `kept` epochs are not told again.
    third = start([*game(data), *more, "--out", out, "--mesh", "data=8", "--resume"], EIGHT)
    while time.monotonic() < deadline + 200:
        rows = [
            json.loads(line)
            for line in (out / "metrics.jsonl").read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]
        if max(row["epoch"] for row in rows) > kept + 5:
            break
        time.sleep(0.2)
    third.send_signal(signal.SIGKILL)
    third.communicate()
    assert sorted({row["epoch"] for row in rows})[: kept + 5] == list(range(1, kept + 6))


@pytest.mark.long
def test_a_checkpoint_is_read_bit_for_bit_on_another_mesh(tmp_path):
    code = f"""
import os
os.environ["XLA_FLAGS"] = "{EIGHT}"
import jax, numpy as np
from gan_rec.experiments import fitting, players
from gan_rec.experiments.settings import Settings
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.data import load, split
parts = split(load("synthetic"))
settings = Settings(
    recommender="mf", loss="bpr", dim=8, batch_size=200, seeds=2, epochs=2, select_on="NDCG@5"
).resolved()
def training(mesh, folder):
    return fitting.training(settings, parts, (), Checkpoints(folder), mesh)
first = training("data=2,model=4", "{tmp_path}/a")
fit = first.fit(parts.train, parts.valid)
def plain(layout, tree):
    return jax.tree.leaves(tree if layout is None else layout.collect(tree))
expected = plain(first.schedule.layout, fit.final)
for mesh in (None, "data=8", "data=1,model=8"):
    other = training(mesh, "{tmp_path}/a")
    found = other.restore(parts.train, parts.valid)
    for a, b in zip(plain(other.schedule.layout, found.final), expected, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    if mesh is not None:
        table = found.final.recommender.user_embedding[...]
        assert table.shape[1] % other.schedule.layout.multiple == 0
        assert len(table.sharding.device_set) == 8
# A critic has tables of the same names, which are no part of the recommender's: every device has them whole.
import gan_rec
options = dict(recommender="mf", dim=4, epochs=2, warm_up=1, seeds=1, select_on="NDCG@5", progress=False)
assert parts.train.n_users % 8
gan_rec.fit(parts, game="irgan", mesh="model=8", **options)
print("same")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("same\n"), done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data=3", "needs 3 devices, and there are 8"), ("data=2,model=2", "needs 4 devices"),
        ("rows=8", "unknown axis"), ("data=0", "cannot be read"), ("8", "cannot be read"),
        ("data=8,data=1", "cannot be read"),
    ],
)  # fmt: skip
def test_a_mesh_that_is_none_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_mesh(text, 8)


def test_one_axis_may_be_left_out():
    assert parse_mesh("model=8", 8) == {"data": 1, "model": 8}
    assert parse_mesh("data=4, model=2", 8) == {"data": 4, "model": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinator": "127.0.0.1:1"}, "need all of"), ({"count": 2}, "need all of"),
        ({"coordinator": "127.0.0.1", "count": 2, "number": 0}, "HOST:PORT"),
        ({"coordinator": "h:1", "count": 2, "number": 2}, "got 2 of 2"),
        ({"coordinator": "h:1", "count": 2, "number": 0, "cluster": True}, "by itself"),
    ],
)  # fmt: skip
def test_processes_that_cannot_meet_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Processes(**options).check()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--mesh", "data=1,model=2"), "needs 2 devices, and there are 1"),
        (("--mesh", "data=1", "--processes", "2"), "need all of coordinator"),
        (("--processes", "2", "--coordinator", "127.0.0.1:1", "--process-id", "0"), "need --mesh and --out"),
        (("--task", "labels", "--mesh", "data=1"), "needs --task ranking"),
    ],
)
def test_mistakes_on_the_command_line_are_told(more, message, capsys):
    from gan_rec import cli

    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--dataset", "synthetic", "--recommender", "mf", *more])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
