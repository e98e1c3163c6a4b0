"""Where files go."""

import os

from gan_rec import files


def test_the_user_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / "gan_rec"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / ".cache" / "gan_rec"


def test_links_and_devices_stay_what_they_are(tmp_path):
    for name, target in (("link", tmp_path / "file"), ("null", os.devnull)):
        (tmp_path / name).symlink_to(target)
        files.write_text(tmp_path / name, "all of it")
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "file").read_text() == "all of it"
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "null"]
