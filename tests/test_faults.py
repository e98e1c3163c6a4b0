"""What is lost when something goes wrong in the middle: nothing that was kept, and no run becomes unreadable."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from gan_rec import cli, files
from gan_rec.errors import UserError
from gan_rec.experiments import run as run_module
from gan_rec.experiments.directory import begin
from gan_rec.files import alone_in, write_text
from gan_rec.train import checkpoints as module
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.fit import Training
from gan_rec.train.stopping import stopping_late
from gan_rec.train.tracking import read_rows

TREE = {"weights": jnp.arange(600.0).reshape(20, 30), "step": jnp.asarray(3)}
SMALL = (
    "--dataset synthetic --recommender mf --adversary fgm --dim 4 --epochs 3 --evaluate-every 1 --checkpoint-every 9 "
    "--seeds 1 --k 5 --select-on NDCG@5 --quiet"
).split()


class Asked:
    """What a directory is asked to hold."""

    data = None

    def text_of(self):
        return json.dumps({"gan_rec": "1", "epochs": 3})


@pytest.fixture
def two_steps(tmp_path):
    said = []
    store = Checkpoints(tmp_path, said.append)
    for step in (5, 7):
        store.save("phase", step, TREE | {"step": jnp.asarray(step)})
    return store, tmp_path / "phase", said


def flip(path: Path, at: int = 0):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_of_a_damaged_step_the_one_before_is_taken_and_the_next_save_replaces_it(two_steps):
    store, folder, said = two_steps
    damaged = largest(folder / "7")
    flip(damaged)
    assert int(store.restore("phase", TREE)["step"]) == 5
    assert len(said) == 1 and str(damaged) in said[0] and "going on from the one before, of epoch 5" in said[0]
    store.save("phase", 7, TREE | {"step": jnp.asarray(70)})
    assert int(store.restore("phase", TREE)["step"]) == 70 and len(said) == 1


def test_where_every_step_is_damaged_the_latest_is_named(two_steps):
    store, folder, said = two_steps
    for step in "57":
        largest(folder / step).unlink()
    with pytest.raises(UserError, match=rf"phase/7/.* is missing, and there is none before it; delete {folder}"):
        store.restore("phase", TREE)
    assert not said


def test_every_byte_of_a_manifest_counts(two_steps):
    store, folder, _ = two_steps
    (folder / "5.sha256").unlink()
    manifest = folder / "7.sha256"
    whole = manifest.read_bytes()
    for at in range(0, len(whole), 41):
        for other in (whole[at] ^ 1, 0x20, 0x0A):  # spaces and ends of lines say nothing in JSON
            manifest.write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
            if other != whole[at]:
                with pytest.raises(UserError):
                    store.restore("phase", TREE)
    manifest.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="manifest .* is damaged"):
        store.restore("phase", TREE)


def test_a_file_too_many_and_one_cut_short_are_found(two_steps):
    store, folder, said = two_steps
    (folder / "7" / "more").write_text("x")
    assert int(store.restore("phase", TREE)["step"]) == 5 and "a file more" in said.pop()
    (folder / "7" / "more").unlink()
    cut = largest(folder / "7")
    cut.write_bytes(cut.read_bytes()[:-1])
    assert int(store.restore("phase", TREE)["step"]) == 5 and cut.name in said.pop()


def test_a_checkpoint_of_another_version_is_refused(two_steps):
    store, folder, _ = two_steps
    manifest = folder / "7.sha256"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 9'))
    with pytest.raises(UserError, match="phase/7 is of another version of gan_rec.*7.sha256 has the format 9"):
        store.restore("phase", TREE)


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        ValueError("RESOURCE_EXHAUSTED: Failed to write [os_error_code='28']"),
    ],
)
def test_a_full_disk_keeps_the_step_before(two_steps, monkeypatch, failure):
    store, folder, _ = two_steps

    def fail(*arguments, **options):
        (folder / "9").mkdir()
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(module.ocp.CheckpointManager, "save", fail)
        with pytest.raises(UserError, match=r"cannot write the checkpoint .*/9: No space left on device; what was"):
            store.save("phase", 9, TREE)
    assert int(store.restore("phase", TREE)["step"]) == 7
    store.save("phase", 9, TREE | {"step": jnp.asarray(9)})
    assert int(store.restore("phase", TREE)["step"]) == 9


def test_too_little_space_is_seen_before_anything_is_written(two_steps, monkeypatch):
    store, folder, _ = two_steps
    monkeypatch.setattr(module.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 2**18 + 2_400}))
    with pytest.raises(UserError, match="No space left on device"):
        store.save("phase", 9, TREE)
    assert sorted(p.name for p in folder.iterdir()) == ["5", "5.sha256", "7", "7.sha256"]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    write_text(tmp_path / "file", "before")

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "file", "after")
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "before"


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from gan_rec.files import alone_in\n"
        "with alone_in(Path(sys.argv[1]), 'run'): print('in', flush=True); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", code, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "in\n"
        with pytest.raises(UserError, match="another process is at work in .*run: wait for that run"):
            with begin(tmp_path / "run", Asked(), {"split_sha256": "0"}, resume=False):
                pass
        assert os.listdir(tmp_path / "run") == [".lock"]
    finally:
        first.kill()
        first.wait()
    with begin(tmp_path / "run", Asked(), {"split_sha256": "0"}, resume=False):
        pass
    assert sorted(os.listdir(tmp_path / "run")) == ["config.json", "environment.json"], "the lock is gone too"


def test_a_folder_is_as_it_was_when_nothing_was_written(tmp_path):
    with pytest.raises(UserError, match="some mistake"), alone_in(tmp_path / "a" / "b", "run"):
        raise UserError("some mistake")
    assert not list(tmp_path.iterdir())


def test_what_a_process_that_was_killed_had_begun_to_write_is_no_run(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".config.json.{dead.pid}.tmp"
    for path in (left, tmp_path / ".lock"):
        path.write_text("{")
    with begin(tmp_path, Asked(), {"split_sha256": "0"}, resume=False):
        assert not left.exists()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"), begin(tmp_path, Asked(), {}, resume=False):
        pass


def test_another_configuration_says_what_is_another(tmp_path):
    with begin(tmp_path, Asked(), {"split_sha256": "0"}, resume=False):
        pass
    (tmp_path / "config.json").write_text(json.dumps({"gan_rec": "0", "epochs": 3, "dim": 2}))
    with pytest.raises(UserError, match=r"\(other version of gan_rec, dim\)"):
        with begin(tmp_path, Asked(), {"split_sha256": "0"}, resume=True):
            pass


def test_a_full_disk_within_a_run_is_told_with_its_directory(tmp_path):
    with pytest.raises(UserError, match=f"cannot write in {tmp_path}: No space left on device; make room, and"):
        with begin(tmp_path, Asked(), {"split_sha256": "0"}, resume=False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_directory_that_cannot_be_written_to(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", *SMALL, "--out", "/proc/run"])
    assert stop.value.code == 2
    assert "gan_rec: error: cannot write /proc/run: " in capsys.readouterr().err


def test_damaged_metrics_are_named(tmp_path):
    row = json.dumps({"model": "twin", "epoch": 1}) + "\n"
    (tmp_path / "metrics.jsonl").write_text(row + row[:9])
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 1, "half a last line is what a kill leaves"
    for damaged in (row[:9] + row, "[1]\n", "\xff\n"):
        (tmp_path / "metrics.jsonl").write_bytes(damaged.encode("latin-1"))
        with pytest.raises(UserError, match=r"metrics\.jsonl is damaged"):
            read_rows(tmp_path / "metrics.jsonl")


@pytest.fixture
def interrupts():
    """Ctrl-C is heard: a job in the background of a script was told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_the_first_interrupt_waits_and_the_second_does_not(capsys):
    with stopping_late() as is_to_stop:
        assert not is_to_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert is_to_stop() and "after this epoch" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with stopping_late(enabled=False), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.long
@pytest.mark.usefixtures("interrupts")
def test_ctrl_c_keeps_the_epoch_and_says_how_to_go_on(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "probe", lambda *models: {"adversarial": {}, "twin": {}, "rise_difference": {}})
    played, epoch = [], Training._epoch

    def interrupted(self, name, number, *rest):
        played.append((name, number))
        if len(played) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return epoch(self, name, number, *rest)

    monkeypatch.setattr(Training, "_epoch", interrupted)
    results = []
    for out in ("stopped", "unbroken"):
        out = tmp_path / out
        if not results:
            with pytest.raises(SystemExit) as stop:
                cli.main(["train", *SMALL, "--out", str(out)])
            assert stop.value.code == 130 and played == [("selection", 1), ("selection", 2)]
            assert f"stopped; train --resume --out {out} goes on" in capsys.readouterr().err
            cli.main(["train", "--resume", "--out", str(out), "--quiet"])
            assert played[2] == ("selection", 3), "both epochs were kept, though a checkpoint is due every 9"
        else:
            cli.main(["train", *SMALL, "--out", str(out)])
        found = json.loads((out / "results.json").read_text())
        results.append((found["models"], found["tests"], found["chosen_epochs"]))
    assert results[0] == results[1]


@pytest.mark.long
def test_debug_nans_names_the_player_and_the_operation(capsys, tmp_path):
    arguments = [*SMALL, "--learning-rate", "1e38", "--weight-decay", "9", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit):
        cli.main(["train", *arguments, "--debug-nans"])
    told = capsys.readouterr().err
    assert "the first NaN is of dot_general at " in told and "recommender_loss, a step of recommender" in told
    with pytest.raises(SystemExit):
        cli.main(["train", *SMALL, "--debug-nans", "--mesh", "data=1,model=1", "--out", str(tmp_path / "other")])
    assert "debug_nans needs one device" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
