"""Bad input by the thousand: a command does what it is asked, or says why not in one line and leaves nothing behind."""

import contextlib
import dataclasses
import gzip
import io
import itertools
import json
import os
import shutil
import types
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gan_rec import cli
from gan_rec.commands import COMMANDS
from gan_rec.experiments import compare, hardening, label_run, players, run, tune
from gan_rec.experiments.config import Config
from gan_rec.experiments.settings import DataOptions, Settings

EXAMPLES = int(os.environ.get("GAN_REC_FUZZ", 0))  # of every test, in the place of its own number, and others each time

COMMON = {
    "deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "derandomize": not EXAMPLES,
}  # fmt: skip


class BegunError(Exception):
    """All that was asked is possible: work would begin."""


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch):
    def begun(*arguments, **options):
        raise BegunError

    for place, name in (
        (run, "_part"), (label_run, "_fold"), (tune, "search"), (compare, "_finish"), (hardening, "_try_all"),
        (players, "text_vectors"), (label_run, "reader"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, begun)


@pytest.fixture(autouse=True)
def of_this_process(monkeypatch):
    """The environment is not changed for other tests."""
    monkeypatch.setattr(cli, "keep_compiled", lambda: None)


def invoke(folder: Path, *arguments: str) -> int | None:
    """Run a command in a folder; 0 or 2, or None where work would have begun."""
    before, here, told = set(folder.rglob("*")), Path.cwd(), io.StringIO()
    try:
        os.chdir(folder)
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            cli.main(list(arguments))
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BegunError:
        code = None
    finally:
        os.chdir(here)
    assert code in (0, 2, None), told.getvalue()
    if code == 2:
        assert told.getvalue().strip().splitlines()[-1].startswith("gan_rec: error: ")
        assert "Traceback" not in told.getvalue()
        assert set(folder.rglob("*")) == before, "a refused command leaves nothing behind"
    return code


@pytest.fixture
def place(tmp_path):
    """A folder that every example finds empty."""

    @contextlib.contextmanager
    def empty():
        folder = tmp_path / "here"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    return empty


def examples(number: int, of_long: int):
    """A test's own number of examples, and that of the long lane."""

    def decorate(test):
        few, many = EXAMPLES or number, EXAMPLES or of_long

        @pytest.mark.parametrize("n", [pytest.param(0, id="few"), pytest.param(1, id="many", marks=pytest.mark.long)])
        def either(n, place, request):
            how = settings(max_examples=many if n else few, **COMMON)
            how(given(st.tuples(*test.strategies))(lambda drawn: test(place, *drawn)))()

        either.__name__, either.example = test.__name__, test
        return either

    return decorate


def over(*strategies):
    def keep(test):
        test.strategies = strategies
        return test

    return keep


_NOT_HERE = {"install", "check", "coordinator", "processes", "process_id", "cluster"}  # pip, networks
_NUMBERS = ["0", "1", "2", "-1", "0.5", "1e-30", "1e30", "nan", "inf", "-inf", "9" * 30, "0x10", "1_0", "", " ", "x"]
_WORDS = [
    "synthetic", "mf", "autoencoder", "mix", "svd", "fgm", "generator", "embedding", "irgan", "cfgan", "text", "apr",
    "NDCG@5", "NDCG@0", "NDCG@", "R@99999", "l2", "linf", "temporal", "fixed", "cold-items", "random", "links",
    "os:nope", "..a:B", ":", "a:b:c", "json:JSONDecoder", "no_module:X", "data=2", "data=0,model=x", "all", "ease",
    "mf+fgm", "+", "..", "/", "/dev/null", "no/such/file", "", " ", "\x00", "é", "a" * 300, "-", "--", "None", "{}",
    "data.csv", "\ud800", "tensorboard", "domain",
]  # fmt: skip
_TEXTS = st.sampled_from(_WORDS) | st.text(max_size=8)
_ANY = st.sampled_from(_NUMBERS) | _TEXTS


def _options(kind: type) -> dict[str, typing.Any]:
    """Names and types of a command's options, those within it too."""
    found = {}
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.type):
            found |= _options(field.type)
        elif field.name not in _NOT_HERE:
            found[field.name] = field.type
    return found


@st.composite
def _arguments(draw, command: str) -> list[str]:
    options, given = _options(COMMANDS[command]), []
    for name in draw(st.lists(st.sampled_from(sorted(options)), max_size=4, unique=True)):
        kind = options[name]
        kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        option = f"--{name.replace('_', '-')}"
        if bool in kinds:
            given.append(draw(st.sampled_from([option, f"--no-{option[2:]}", f"{option}=x"])))
        elif int in kinds:
            given += [option, draw(st.sampled_from(["0", "1", "2", "3", "7", "-1", "1000000", "9" * 30, "x", "1.5"]))]
        elif float in kinds:
            given += [option, draw(st.sampled_from(_NUMBERS) | st.floats().map(str))]
        elif str in kinds or Path in kinds:
            given += [option, draw(st.sampled_from(_WORDS) if draw(st.integers(0, 4)) else _ANY)]
        else:
            given += [option, *draw(st.lists(_ANY, min_size=1, max_size=2))]
    return given


@examples(15, 700)
@over(st.sampled_from(["train", "train", "train", "tune", "compare", "harden"]), st.data())
def test_options(place, command, data):
    with place() as folder:
        (folder / "data.csv").write_text("".join(f"u{u},i{i}\n" for u in range(9) for i in range(9) if (u + i) % 3))
        quick = ["--dataset", data.draw(st.sampled_from(["data.csv", "synthetic"])), "--quiet", "--out", "out"]
        own = {"train": ["--k", "2", "--select-on", "NDCG@2"], "harden": []}.get(command, ["--select-on", "NDCG@2"])
        drawn = data.draw(_arguments(command))
        if "--k" in drawn or "--select-on" in drawn:  # what is given twice is refused for that alone
            own = []
        invoke(folder, command, *quick, *own, *drawn)


@examples(20, 200)
@over(st.sampled_from([*COMMANDS, "", "-x", "\x00", "trian"]), st.lists(_ANY, max_size=4))
def test_arguments_of_any_kind(place, command, arguments):
    if command in ("plan", "language") and not arguments:
        return
    with place() as folder:
        invoke(folder, command, *arguments)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(_WORDS[:30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_FIELDS = ["task", "ks", "gan_rec", "colour"] + [
    f.name for cls in (DataOptions, Settings) for f in dataclasses.fields(cls)
]


@examples(25, 400)
@over(st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=3), st.integers(0, 9), st.binary(max_size=9))
def test_configurations(place, changes, how, content):
    with place() as folder:
        options = DataOptions(dataset="synthetic")
        config = json.loads(Config("ranking", options, Settings(recommender="mf").resolved()).text_of()) | changes
        text = json.dumps(config).encode()
        if how == 0:
            text = content
        if how == 1:
            text = text[: len(text) // 2] + content + text[len(text) // 2 :]
        (folder / "config.json").write_bytes(text)
        invoke(folder, "train", "--config", "config.json", "--quiet", "--out", "out")


_CELLS = st.sampled_from(
    ["u1", "u2", "i1", "i2", "1", "2", "3", "4.5", "nan", "inf", "-inf", "1e308", "1e-320", "2024-05-31", "", " ",
     '"', "é", "\x00", "9" * 25, "-1", "user", "item", "rating", "timestamp", "item_id", "title",
     "is_recommended", "0", "None"]
)  # fmt: skip
_TABLES = st.lists(st.lists(_CELLS, min_size=1, max_size=5), max_size=12)


@st.composite
def _contents(draw) -> bytes:
    """A file as somebody may give it: tables, whole or damaged, packed or not, or anything."""
    kind = draw(st.sampled_from(["square", "square", "square", "table", "parquet", "npz", "npy", "bytes"]))
    rows = draw(_TABLES)
    if kind == "table":
        separator = draw(st.sampled_from([",", "\t", " ", "::", ";", "|"]))
        content = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(separator.join(row) for row in rows)
        content = content.encode(draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])))
    elif kind == "square":  # usable, perhaps
        n, header = draw(st.integers(2, 8)), draw(st.sampled_from(["", "user,item,rating,time\n"]))
        lines = (f"u{u},i{i},{draw(_CELLS) if u == i else 5},{u + i}" for u in range(n) for i in range(n))
        content = (header + "\n".join(lines)).encode()
    elif kind == "parquet":
        width, file = draw(st.integers(1, 4)), io.BytesIO()
        columns = ["user", "item", "rating", "time"][:width]
        pd.DataFrame([(row * 4)[:width] for row in rows], columns=columns).to_parquet(file)
        content = file.getvalue()
    elif kind in ("npz", "npy"):
        file, values = io.BytesIO(), np.array([[1.0, 2.0], [3.0, draw(st.floats())]])
        values = draw(st.sampled_from([values, values.astype(object), values.astype(str), values[0], values[:0]]))
        (np.savez(file, user_rows=values, users=values) if kind == "npz" else np.save(file, values))
        content = file.getvalue()
    else:
        content = draw(st.binary(max_size=60))
    damage = draw(st.sampled_from(["none"] * 6 + ["cut", "flip"]))
    if content and damage == "cut":
        content = content[: draw(st.integers(0, len(content)))]
    if content and damage == "flip":
        at = draw(st.integers(0, len(content) - 1))
        content = content[:at] + bytes([content[at] ^ draw(st.integers(1, 255))]) + content[at + 1 :]
    return gzip.compress(content) if draw(st.integers(0, 5)) == 0 else content


_NAMES = ["data.csv", "data.tsv", "data.inter", "data.parquet", "data.npy", "data.npz", "data.zip", "data", "x.csv.gz"]
_TRAIN = "train --out out --quiet --k 2 --select-on NDCG@2 --recommender".split()
_USES = [
    ["inspect", "{}"],
    ["inspect", "{}", "--item-text", "{}"],
    ["inspect", "good.csv", "--item-text", "{}"],
    ["inspect", "good.csv", "--item-features", "{}"],
    ["inspect", "good.csv", "--links", "{}"],
    ["inspect", "{}", "--people"],
    ["inspect", ".", "--format", "json"],
    [*_TRAIN, "mf", "--dataset", "{}"],
    [*_TRAIN, "mf", "--dataset", "{}", "--positive-from", "3", "--split", "temporal"],
    [*_TRAIN, "multimodal", "--dataset", "good.csv", "--item-features", "{}"],
    [*_TRAIN, "social-lightgcn", "--dataset", "good.csv", "--links", "{}"],
    ["train", "--out", "out", "--quiet", "--task", "labels", "--dataset", "{}"],
    ["train", "--out", "out", "--quiet", "--task", "ratings", "--dataset", "{}"],
    ["train", "--out", "out", "--quiet", "--config", "{}"],
    ["recommend", "{}", "--all"],
    ["evaluate", "."],
    ["report", "{}"],
    ["report", ".", "{}"],
    ["inspect", "two", "--target", "b"],
    [*_TRAIN, "cross-domain", "--dataset", "two", "--target", "b", "--distinct"],
    ["detect", "{}"],
    [
        "tune",
        "--out",
        "out",
        "--quiet",
        "--model",
        "ease",
        "--select-on",
        "NDCG@2",
        "--study",
        "{}",
        "--dataset",
        "good.csv",
    ],
]


@examples(60, 800)
@over(st.sampled_from(_USES), st.sampled_from(_NAMES), _contents())
def test_files(place, use, name, content):
    good = "".join(f"u{u},i{i}\n" for u in range(6) for i in range(6) if (u + i) % 3)
    with place() as folder:
        if "two" in use:
            for domain, part in itertools.product("ab", ("train", "test")):
                (folder / "two" / domain).mkdir(parents=True, exist_ok=True)
                (folder / "two" / domain / f"{part}.csv").write_text(good)
            name = "two/b/train.csv"
        (folder / name).write_bytes(content)
        (folder / "good.csv").write_text(good)
        invoke(folder, *(part.format(name) for part in use))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that is done, before anything is taken from its tests."""
    out = tmp_path_factory.mktemp("finished") / "run"
    how = "--dataset synthetic --recommender mf --adversary fgm --dim 2 --epochs 1 --evaluate-every 1 --seeds 1 --quiet"
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(["train", *how.split(), "--out", str(out)])
    return out


_ASKED = ("evaluate run", "recommend run --all -k 2", "report run --output page.html", "export run --output rows.npz",
          "explain run --user 1", "train --resume --out run", "train --config run/config.json --out again")  # fmt: skip


def _damaged(run_directory: Path, which: int, at: float, value: typing.Any, content: bytes) -> None:
    """One field of the configuration is another, or one file is cut, replaced or has another byte."""
    if which == 0:
        path = run_directory / "config.json"
        config = json.loads(path.read_text())
        inner = [config, *(part for part in config.values() if isinstance(part, dict))]
        fields = [(part, name) for part in inner for name in part]
        part, name = fields[int(at * (len(fields) - 1))]
        part[name] = value
        path.write_text(json.dumps(config))
        return
    paths = sorted(path for path in run_directory.rglob("*") if path.is_file())
    path = paths[int(at * (len(paths) - 1))]
    old = path.read_bytes()
    middle = len(old) // 2
    others = (old[:middle], content, json.dumps(value).encode(), old[:middle] + b"\xff" + old[middle + 1 :])
    path.write_bytes(others[which - 1])


@pytest.mark.long
def test_finished_runs(place, finished):
    drawn = (st.sampled_from(_ASKED), st.integers(0, 4), st.floats(0, 1), _JSON, st.binary(max_size=9))

    @settings(max_examples=EXAMPLES or 60, **COMMON)
    @given(*drawn)
    def ask(command, which, at, value, content):
        with place() as folder:
            shutil.copytree(finished, folder / "run")
            _damaged(folder / "run", which, at, value, content)
            invoke(folder, *command.split())

    ask()
