"""Data that nobody would wish for: what is made of them is finite, or they are refused."""

import ast
import hashlib
import io
import os
import stat
import zipfile
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from conftest import checkerboard, interactions

import gan_rec
from gan_rec.data import Split, fetch
from gan_rec.data.item_text import read_item_texts
from gan_rec.data.labelled import Features, read_labelled
from gan_rec.data.side import SideInformation, check_features
from gan_rec.errors import UserError
from gan_rec.experiments.artefact import load_artefact
from gan_rec.experiments.lists import lists
from gan_rec.recommenders.baselines.tables import Factors
from gan_rec.recommenders.multimodal import Modalities


@pytest.mark.parametrize("rating", [np.nan, np.inf, -np.inf])
def test_ratings_that_are_no_number_are_left_out_with_a_note(rating):
    frame = pd.DataFrame([(u, i, 1.0) for u in range(4) for i in range(4)], columns=["user", "item", "rating"])
    frame.loc[3, "rating"] = rating
    for positive_from in (None, 1.0):
        found = gan_rec.load(frame, positive_from=positive_from)
        assert len(found.parts["all"]) == 15
        assert any("1 row with a rating that is no number (first: row 4) skipped" in note for note in found.notes)
    frame["rating"] = rating
    with pytest.raises(UserError, match="has no usable row"):
        gan_rec.load(frame)


def rows_of(features):
    """As the recommender reads them."""
    return np.asarray(Modalities.of({"x": features}).features.values)


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1.0, 1e30, 1e38])
def test_features_of_any_size_say_the_same(scale):
    rows = np.random.default_rng(0).normal(size=(6, 3))
    rows /= np.abs(rows).max()
    read = check_features(rows * scale, np.arange(6), "x")
    scaled, expected = (rows_of(each) for each in (read, rows.astype(np.float32)))
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-6)


def test_features_that_are_all_alike_or_too_large():
    for value in (0.0, 1e-30, 1e30, 0.1):
        np.testing.assert_array_equal(rows_of(np.full((5, 2), value, np.float32)), np.zeros((5, 2)))
    with pytest.raises(UserError, match=r"1 item with a feature that is no finite number \(first: 0, in row 0\)"):
        check_features(np.array([[1e39], [1.0]]), np.arange(2), "x")


def test_numbers_beside_texts(tmp_path):
    file = tmp_path / "texts.csv"

    def read(*numbers):
        rows = [f"text {i},{i % 2},{number}" for i, number in enumerate(numbers)]
        file.write_text("item_description,is_recommended,n\n" + "\n".join(rows))
        columns = read_labelled(file, feature_columns=("n",)).columns
        return Features(columns)(columns)

    assert np.isfinite(read("1e30", "-1e30", "1e-30", "")).all()
    with pytest.raises(UserError, match="'n' has numbers above 1e"):
        read("1e308", "1e308", "1")


@pytest.mark.parametrize("content", ["item:token,item:float\n1,2\n", "id,a:x,a:y\n1,2,3\n"])
def test_two_columns_of_one_name(tmp_path, content):
    (tmp_path / "texts.csv").write_text(content)
    with pytest.raises(UserError, match="two of its columns have the name"):
        read_item_texts(tmp_path / "texts.csv", np.array([1]))
    with pytest.raises(UserError, match="cannot read item texts"):
        read_item_texts(tmp_path / "\0", np.array([1]))


def test_users_without_history_get_what_most_users_have():
    known = interactions([(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (0, 0)], 4, 4)
    recommender = jax.tree.map(lambda x: x[None], Factors(np.ones((4, 2), np.float32), np.eye(4, 2, dtype=np.float32)))
    found = lists(recommender, known, [3, 1], 2)
    assert found["item"].tolist()[:2] == [1, 2] and found["score"].tolist()[:2] == [3, 2]
    assert found.attrs["note"] == "1 user without history: the most common items"
    assert found["item"].tolist()[2:] == [0, 3], "of others the recommender speaks"
    only = lists(recommender, known, [3], 2, candidates=np.array([True, False, True, True]))
    assert only["item"].tolist() == [2, 0]
    linked = lists(recommender, known, [3], 2, knows_strangers=True)
    assert linked["item"].tolist() == [0, 1] and not linked.attrs


def test_a_user_with_the_whole_catalogue_gets_no_list_and_an_item_that_all_have_is_in_none():
    known = interactions([(0, i) for i in range(4)] + [(u, 0) for u in range(1, 4)], 4, 4)
    recommender = jax.tree.map(lambda x: x[None], Factors(np.ones((4, 2), np.float32), np.eye(4, 2, dtype=np.float32)))
    found = lists(recommender, known, None, 4)
    assert found["user"].tolist() == [1] * 3 + [2] * 3 + [3] * 3
    assert not (found["item"] == 0).any() and np.isfinite(found["score"]).all()


RUNS_WHAT_IT_READS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "code", "runpy"}
IMPORT_BY_NAME = {"importing.py", "__init__.py", "language/files.py"}  # a name of the user's; names of ours


def test_no_module_can_run_what_it_reads_or_unpack_an_archive_into_a_folder():
    """By what the source says: no pickle, no eval, no extraction, and imports by name only where they are known."""
    package = Path(gan_rec.__file__).parent
    for file in package.rglob("*.py"):
        where = str(file.relative_to(package))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                assert not {name.split(".")[0] for name in names} & RUNS_WHAT_IT_READS, where
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"), where
                last = called.rsplit(".", 1)[-1]
                assert last not in ("read_pickle", "to_pickle", "extract", "extractall", "unpack_archive"), where
                assert last != "import_module" or where in IMPORT_BY_NAME, where
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                assert options.get("allow_pickle", "False") == options.get("shell", "False") == "False", where


class RunsWhenRead:
    """What a pickle of it does: it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_pickles_in_arrays_are_refused_and_do_not_run(tmp_path):
    evil = np.array([RunsWhenRead(tmp_path / "ran")], object)
    np.save(tmp_path / "features.npy", evil)
    np.savez(tmp_path / "rows.npz", user_rows=evil, users=evil)
    with pytest.raises(UserError, match="it is no array of numbers in NumPy's format"):
        gan_rec.load(pd.DataFrame({"user": [1, 2], "item": [2, 3]}), item_features=tmp_path / "features.npy")
    with pytest.raises(UserError, match="is no file that the command export wrote"):
        load_artefact(tmp_path / "rows.npz")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(FileExistsError):  # the pickle itself does work
        (tmp_path / "ran").mkdir()
        np.load(tmp_path / "features.npy", allow_pickle=True)


def test_of_an_archive_only_the_one_file_is_taken(tmp_path, monkeypatch):
    """Whatever else it holds: paths that lead out of the folder, absolute ones, links."""
    content, packed = b"1\t2\n", io.BytesIO()
    link = zipfile.ZipInfo("set/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("set/u.data", "../u.data", "../../outside", str(tmp_path / "absolute"), "set/../../u.data"):
            archive.writestr(name, content if name == "set/u.data" else b"evil")
        archive.writestr(link, str(tmp_path / "secret"))
    (tmp_path / "secret").write_bytes(content)
    monkeypatch.setattr(fetch, "_download", lambda url: packed.getvalue())

    def get(member):
        origin = fetch.Origin(
            "u.data", hashlib.sha256(content).hexdigest(), member, url="https://official.invalid/x.zip"
        )
        return fetch.fetch([origin], tmp_path / "a" / "cache", say=lambda line: None)

    assert get("set/u.data").read_bytes() == content
    for member in ("../u.data", str(tmp_path / "absolute"), "set/link"):
        with pytest.raises(UserError, match="u.data has sha256"):
            get(member)
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(files) == ["a/cache/u.data", "secret"]


def damaged_archives():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("u.data", b"1\t2\n" * 50)
    whole = packed.getvalue()
    directory = whole.index(b"PK\x01\x02")
    for place, value in ((directory + 8, 1), (directory + 10, 99), (directory + 10, 14), (38, whole[38] ^ 0xFF)):
        yield whole[:place] + bytes([value]) + whole[place + 1 :]
    yield whole[: len(whole) // 2]


@pytest.mark.parametrize("content", list(damaged_archives()), ids=["locked", "unknown", "lzma", "flipped", "cut"])
def test_damaged_archives(tmp_path, monkeypatch, content):
    monkeypatch.setattr(fetch, "_download", lambda url: content)
    origin = fetch.Origin("u.data", "0" * 64, "u.data", url="https://official.invalid/x.zip")
    with pytest.raises(UserError, match="what it sent does not hold u.data"):
        fetch.fetch([origin], tmp_path / "cache", say=lambda line: None)
    assert not list(tmp_path.iterdir())


def test_training_on_features_of_any_size_gives_the_same():
    n = 12
    colour, more = np.eye(2)[np.arange(n) % 2], np.random.default_rng(0).normal(size=(n, 3))
    scores = []
    for large, small in ((1.0, 1.0), (1e30, 1e-30)):
        features = {"sound": check_features(colour * large, np.arange(n), "sound"),
                    "look": check_features(more * small, np.arange(n), "look")}  # fmt: skip
        board = Split("board", "fixed", *checkerboard(n), side_information=SideInformation(features))
        fitted = gan_rec.fit(
            board, recommender="multimodal", adversary="fgm", under_attack="features", dim=4, modality_dim=2, epochs=3,
            seeds=1, batch_size=6, select_on="NDCG@1", progress=False,
        )  # fmt: skip
        scores.append(gan_rec.recommend(fitted, k=3)["score"].to_numpy())
    assert np.isfinite(scores[1]).all()
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-2, atol=1e-4)
