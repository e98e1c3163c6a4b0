"""The robustness card: one page that needs nothing else."""

import html.parser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from test_evasion import frame

from gan_rec import cli
from gan_rec.errors import UserError
from gan_rec.experiments.card import Section, card, write_card
from gan_rec.experiments.evasion import Evasion
from gan_rec.experiments.robustness_card import certified_section, evasion_section, wide


class Links(html.parser.HTMLParser):
    """Collects what a page would load, and whether every tag is closed."""

    def __init__(self):
        super().__init__()
        self.loaded, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page() -> str:
    curves = pd.concat([frame(fgm=0.5, pgd=0.4), frame(fgm=0.75, pgd=0.6).assign(model="adversarial")])
    radii = pd.DataFrame(
        {"model": "twin", "seed": 0, "rows": "users", "k": 1, "user": range(9), "radius": np.linspace(0, 0.2, 9),
         "correct": True}
    )  # fmt: skip
    evasion = Evasion(curves, pd.DataFrame(), 5, ("twin: no generator",))
    own = Section("By hand", "<b>", {"numbers": pd.DataFrame({"a & b": [0.12345, None, 1e-7], "c": [1, 2, 3]})},
                  {"empty": Figure(), "missing": None})  # fmt: skip
    return card(
        "Robustness of <run>", {"data": "u-17 & friends"}, [evasion_section(evasion), certified_section(radii), own]
    )


def test_a_page_holds_all_and_loads_nothing():
    text = page()
    links = Links()
    links.feed(text)
    assert links.open == [] and len(links.loaded) == 4 and all(link.startswith("data:") for link in links.loaded)
    for part in ("Robustness of &lt;run&gt;", "u-17 &amp; friends", "&lt;b&gt;", "a &amp; b", "0.1235", "1.0e-07",
                 "twin: no generator", "2.0000"):  # fmt: skip
        assert part in text


def test_what_is_broken_is_said():
    broken = Evasion(frame(fgm=0.5, pgd=0.7), pd.DataFrame(), 5)
    assert "This evaluation is broken: twin: pgd leaves 0.7000, fgm 0.5000" in card("", {}, [evasion_section(broken)])


def test_wide_by_hand():
    long = pd.DataFrame({"m": ["b", "b", "a", "a"], "r": [0.5, 0.0, 0.5, 0.5], "v": [1.0, 2.0, 3.0, 5.0]})
    found = wide(long, ["m"], "r", "v")
    assert found.columns.tolist() == ["m", "0", "0.5"] and found["0.5"].tolist() == [1.0, 4.0]


def test_a_card_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_card(tmp_path / "file" / "card.html", "x")


@pytest.mark.long
def test_the_command_writes_the_whole_page(tmp_path, capsys):
    run = tmp_path / "u-17 & run"
    options = "--dataset synthetic --recommender autoencoder --dim 8 --epochs 2 --evaluate-every 1 --seeds 2 --quiet"
    cli.main(["train", *options.split(), "--out", str(run)])
    attack = ["attack", str(run), "--attacks", "fgm", "pgd", "--radii", "0.3", "--certify", "10", "-k", "5", "--quiet"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*attack, "--all"])
    assert stop.value.code == 2 and "--all needs --output" in capsys.readouterr().err
    cli.main([*attack, "--all", "--output", str(tmp_path / "found")])
    assert "card.html" in capsys.readouterr().out
    text = (tmp_path / "found" / "card.html").read_text()
    links = Links()
    links.feed(text)
    assert links.open == [] and all(link.startswith("data:") for link in links.loaded)
    for title in ("Evasion", "Certificates", "Natural shifts", "Compression", "Explanations", "Detection"):
        assert f"<h2>{title}</h2>" in text
    assert "Robustness of u-17 &amp; run" in text and str(tmp_path) not in text


def test_chromium_shows_the_page_without_errors(tmp_path, chromium):
    write_card(tmp_path / "card.html", page())
    pixels = chromium((tmp_path / "card.html").as_uri(), 2400)
    assert pixels.shape[:2] == (2400, 1100) and pixels[..., :3].std() > 0.05
