"""Compiled programs are kept on disk."""

import os
import subprocess
import sys

import pytest

from gan_rec.compiled import keep_compiled

NAME = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An environment that says nothing of where programs are kept."""
    for name in [name for name in os.environ if name.startswith("JAX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return tmp_path


def test_programs_are_kept_in_the_cache_folder(fresh):
    keep_compiled()
    assert os.environ[NAME].startswith(str(fresh / "gan_rec" / "compiled"))
    assert os.path.isdir(os.environ[NAME])


def test_a_folder_that_is_given_stays(fresh):
    os.environ[NAME] = "elsewhere"
    keep_compiled()
    assert os.environ[NAME] == "elsewhere"


def test_where_no_folder_can_be_made_none_is_kept(fresh):
    (fresh / "gan_rec").write_text("a file")
    keep_compiled()
    assert NAME not in os.environ


@pytest.mark.long
def test_a_command_leaves_its_programs_there(fresh):
    options = "train --dataset synthetic --recommender mf --dim 4 --epochs 1 --evaluate-every 1 --seeds 1 --quiet"
    command = [sys.executable, "-m", "gan_rec", *options.split(), "--no-refit", "--out", str(fresh / "run")]
    subprocess.run(
        command, check=True, capture_output=True, env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    )
    assert any("epoch" in file.name for file in (fresh / "gan_rec" / "compiled").glob("*/*"))
