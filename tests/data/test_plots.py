"""Plots of films as texts of items."""

import numpy as np
import pandas as pd
import pytest

from gan_rec import data
from gan_rec.data.plots import PLOTS, read_plots
from gan_rec.errors import UserError

FILMS = ["1::Up (1995)::Comedy|Drama", "2::Café (1996)::Drama", "3::Gone (1997)::Horror"]
MORE = "{}::x::1995::G::-::Comedy::a::b::c::{}::url"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / PLOTS
    place.mkdir()
    (place / "movies.dat").write_bytes("\n".join(FILMS).encode("latin-1"))
    plots = [MORE.format(1, "Somebody goes up. And\u2028down."), MORE.format(2, "N/A")]
    (place / "movies_extrainfos.dat").write_text("\r\n".join(plots), encoding="utf-8", newline="")
    return place


def test_texts_by_hand(folder):
    texts, notes = read_plots(folder, ["Café (1996)", "Nowhere (2000)", "Up (1995)", "Gone (1997)"])
    assert texts == (
        "Café (1996). Drama", "Nowhere (2000)", "Up (1995). Comedy, Drama. Somebody goes up. And\u2028down.",
        "Gone (1997). Horror",
    )  # fmt: skip
    assert notes == ["ml-1m-text: 3 items without a plot"]


def test_data_whose_ids_are_titles_get_plots(folder, monkeypatch):
    monkeypatch.setenv("GAN_REC_DATA", str(folder.parent))
    monkeypatch.chdir(folder)
    frame = pd.DataFrame({"user": [1, 1, 2, 2], "item": ["Up (1995)", "Gone (1997)", "Up (1995)", "Café (1996)"]})
    found = data.load(frame, item_text=PLOTS)
    ids = found.parts["all"].item_ids
    assert found.item_texts[int(np.flatnonzero(ids == "Up (1995)")[0])].startswith("Up (1995). Comedy, Drama. Some")
    with pytest.raises(UserError, match="none of the 2 items is a film"):
        data.load(pd.DataFrame({"user": [1, 1, 2, 2], "item": [1, 2, 1, 2]}), item_text=PLOTS)


def test_mistakes_are_named(folder, monkeypatch, tmp_path):
    (folder / "movies.dat").write_text("1::Up (1995)", encoding="latin-1")
    with pytest.raises(UserError, match="movies.dat, line 1: 3 fields with :: between them are needed"):
        read_plots(folder, ["Up (1995)"])
    with pytest.raises(UserError, match="cannot read plots from .*No such file"):
        read_plots(tmp_path / "none", ["Up (1995)"])
    monkeypatch.setenv("GAN_REC_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    with pytest.raises(UserError, match="plots are not on this disk; set GAN_REC_DATA"):
        data.load(pd.DataFrame({"user": [1, 2], "item": [1, 2]}), item_text=PLOTS)
