"""Scenarios by name."""

import typing
from pathlib import Path

import pytest

import gan_rec
from gan_rec import cli, data
from gan_rec.commands import Train
from gan_rec.data.labelled import NAMED_TABLES
from gan_rec.errors import UserError
from gan_rec.experiments.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_game_that_can_be_played_on_data_that_have_a_name(name):
    config = preset(name)
    settings = config.settings.resolved()
    assert settings.alpha < 1 and settings.seeds >= 1
    assert config.data.dataset in {each.name for each in data.named_datasets()} | set(NAMED_TABLES)
    assert PRESETS[name].about and "\n" not in PRESETS[name].about


def test_the_command_knows_them_all():
    offered = typing.get_args(typing.get_args(Train.__dataclass_fields__["preset"].type)[0])
    assert offered == tuple(PRESETS)


def test_options_beside_a_preset_win():
    command = cli.parse("train --preset social --epochs 3 --recommender lightgcn".split())
    assert command.data.dataset == "filmtrust" and command.settings.patience == 10
    assert command.settings.epochs == 3 and command.settings.recommender == "lightgcn"
    plain = cli.parse(["train", "--epochs", "3"])
    assert plain.data.dataset == "ml-100k" and plain.settings.patience is None


@pytest.mark.parametrize(("options", "message"), [
    ("--preset film", "film"),
    ("--preset shop --config a.json", "--preset shop and --config a.json are two beginnings"),
])  # fmt: skip
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        cli.parse(["train", *options.split()])
    with pytest.raises(UserError, match="unknown preset 'film'; allowed: shop, content"):
        preset("film")


@pytest.mark.slow  # two of them read thousands of texts
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_evaluates_and_recommends(name, tmp_path, capsys):
    """All of its real data, one epoch."""
    small = "--epochs 1 --evaluate-every 1 --seeds 1 --quiet"
    cli.main(["train", "--preset", name, *small.split(), "--out", str(tmp_path / "run")])
    shown = capsys.readouterr().out
    assert "twin" in shown and (tmp_path / "run" / "results.json").exists()
    if PRESETS[name].task == "ranking":
        user = gan_rec.open_run(tmp_path / "run").models["twin"].split.train.user_ids[0]
        cli.main(["recommend", str(tmp_path / "run"), "--users", str(user)])
        assert ("title" in capsys.readouterr().out) == (name == "content")


def test_the_readme_names_them_all():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in PRESETS)
