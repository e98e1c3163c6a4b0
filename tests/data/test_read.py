import gzip

import numpy as np
import pandas as pd
import pytest

from gan_rec.data import load
from gan_rec.errors import UserError

ROWS = [("u-17", "b1", 4.0, 100), ("u-3", "b2", 2.0, 101), ("u-17", "b2", 5.0, 102), ("u-3", "b7", 3.0, 99)]
PAIRS = [(user, item) for user, item, *_ in ROWS]


def pairs(interactions):
    return list(interactions.to_frame()[["user", "item"]].itertuples(index=False, name=None))


def text(separator, columns=4, header=None):
    lines = [separator.join(str(cell) for cell in row[:columns]) for row in ROWS]
    return "\n".join(([separator.join(header)] if header else []) + lines) + "\n"


def write(tmp_path, content, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("separator", [",", "\t", " ", "::", ";"])
@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("header", [True, False])
def test_separated_text(tmp_path, separator, columns, header):
    names = ["userId", "movie_id", "Rating", "timestamp"][:columns] if header else None
    data = load(write(tmp_path, text(separator, columns, names)))
    whole = data.parts["all"]
    assert pairs(whole) == PAIRS
    assert data.notes == (("data.csv: column 'movie_id' is taken for the items, by its name",) if header else ())
    assert (whole.ratings is None) == (columns < 3)
    if columns == 4:
        assert whole.times.tolist() == [100, 101, 102, 99]
        assert whole.ratings.tolist() == [4, 2, 5, 3]


@pytest.mark.parametrize(
    "header", ["user_id:token\titem_id:token\trating:float\ttimestamp:float", "userID\titemID\trating\tx"]
)
def test_inter(tmp_path, header):
    data = load(write(tmp_path, header + "\n" + text("\t"), "data.inter"))
    assert pairs(data.parts["all"]) == PAIRS


def test_crlf_byte_order_mark_gzip_and_trailing_separators(tmp_path):
    crlf = b"\xef\xbb\xbf" + text(",").replace("\n", ",\r\n").encode()
    assert pairs(load(write(tmp_path, crlf)).parts["all"]) == PAIRS
    assert pairs(load(write(tmp_path, gzip.compress(crlf), "data.csv.gz")).parts["all"]) == PAIRS


def test_parquet_and_frames_keep_the_type_of_ids(tmp_path):
    frame = pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"], "rating": [1.0, 5.0, 3.0]})
    frame.to_parquet(tmp_path / "data.parquet")
    for source in (tmp_path / "data.parquet", frame):
        whole = load(source).parts["all"]
        assert pairs(whole) == [(7, "a"), (7, "b"), (9, "a")]
        assert whole.user_ids.dtype == np.int64


@pytest.mark.parametrize(
    ("ids", "expected"),
    [(["7", "12", "7"], [7, 12]), (["007", "12", "007"], ["007", "12"]), (["u-7", "12", "u-7"], ["u-7", "12"])],
)
def test_ids_come_back_as_they_were(tmp_path, ids, expected):
    content = "".join(f"{user},i{n}\n" for n, user in enumerate(ids))
    assert load(write(tmp_path, content)).parts["all"].user_ids.tolist() == expected


def test_quoted_fields(tmp_path):
    content = 'user,item\nann,"Heat, 1995"\nbob,"Heat, 1995"\nann,Alien\n'
    assert pairs(load(write(tmp_path, content)).parts["all"]) == [
        ("ann", "Heat, 1995"), ("bob", "Heat, 1995"), ("ann", "Alien"),
    ]  # fmt: skip


def test_lists(tmp_path):
    data = load(write(tmp_path, "1 5 6 9 12 13\n2\n3 6 7\n4 5 9 7 1 2 3\n", "data.txt"))
    whole = data.parts["all"]
    assert pairs(whole)[:7] == [(1, 5), (1, 6), (1, 9), (1, 12), (1, 13), (3, 6), (3, 7)]
    assert "read as lists" in data.notes[0]
    assert len(whole) == 13


def test_report_counts_and_names_the_first_line(tmp_path):
    content = "user,item,rating\n\nu1,a,5\nu1,a,4\nu2,b,x\n,c,3\nu3,c\nu2,d,1,9,9\n\nu2,a,2\nu1,a,1\nu3,z,4\n"
    data = load(write(tmp_path, content))
    assert pairs(data.parts["all"]) == [("u1", "a"), ("u2", "a"), ("u3", "z")]
    notes = "\n".join(data.notes)
    assert "2 empty lines (first: line 2)" in notes
    assert "1 row with too many fields (first: line 8)" in notes
    assert "1 row with no user (first: line 6)" in notes
    assert "1 row with too few fields (first: line 7)" in notes
    assert "1 row with a rating that is no number (first: line 5)" in notes
    assert "2 duplicates of a user and item (first: line 4)" in notes


def test_a_rating_beyond_single_precision_is_none(tmp_path):
    data = load(write(tmp_path, "user,item,rating\nu,a,5\nu,b,1e308\nv,a,-inf\nv,b,4\n"))
    assert pairs(data.parts["all"]) == [("u", "a"), ("v", "b")]
    assert "2 rows with a rating that is no number (first: line 3)" in "\n".join(data.notes)


def test_dates_become_seconds(tmp_path):
    data = load(write(tmp_path, "user,item,date\nu,a,1970-01-02\nv,b,1970-01-01T00:01:00\n"))
    assert data.parts["all"].times.tolist() == [86400, 60]


def test_columns_by_name(tmp_path):
    path = write(tmp_path, "who;what;when;how much\na;x;3;1.5\nb;y;4;2.5\n")
    whole = load(path, user_column="who", item_column="what", rating_column="how much", time_column="when").parts["all"]
    assert whole.ratings.tolist() == [1.5, 2.5] and whole.times.tolist() == [3, 4]
    with pytest.raises(UserError, match="has no column 'stars'; its columns are who, what, when, how much"):
        load(path, rating_column="stars")
    guessed = load(path)
    assert "column 'who' is taken for the users, by its place" in "\n".join(guessed.notes)
    assert "columns not used: when, how much" in "\n".join(guessed.notes)


def test_positive_from_and_the_catalogue(tmp_path):
    path = write(tmp_path, text(","))
    data = load(path, positive_from=3)
    assert pairs(data.parts["all"]) == [PAIRS[0], PAIRS[2], PAIRS[3]]
    assert "1 row with a rating below 3 left out" in data.notes[0]


def test_items_without_a_positive_stay_in_the_catalogue(tmp_path):
    data = load(write(tmp_path, "u,a,5\nv,b,5\nu,c,1\n"), positive_from=4)
    assert data.n_items == 3 and len(data.parts["all"]) == 2


def test_core_filter(tmp_path):
    content = "".join(f"u{u},i{i}\n" for u in range(4) for i in range(4)) + "u9,i0\nu9,i8\n"
    data = load(write(tmp_path, content), min_user=2, min_item=2)
    assert (data.n_users, data.n_items) == (4, 4), "losing i8 leaves u9 with one interaction, so it goes too"
    assert "2 rows of users with < 2 or items with < 2" in data.notes[0]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "is empty"),
        ("\n\n", {}, "is empty"),
        ('"";\n', {}, "is empty"),
        ("justone\nfield\n", {}, r"line 1 \('justone'\) has one field only"),
        (b"\x00\x01\x02\x00", {}, "neither text nor Parquet"),
        (b"PAR1 but not really", {}, "as Parquet"),
        ("u,a\nv,b\n", {"positive_from": 3}, "positive_from 3 needs ratings"),
        ("u,a,1\nv,b,2\n", {"positive_from": 3}, "no interaction is left"),
        ("u,a,1\nv,b,2\n", {"positive_from": float("nan")}, "positive_from must be a number"),
        ("u,a\nu,b\n", {}, "only one user is left"),
        ("u,a\nv,a\n", {}, "only one item is left"),
        ("u,a\nv,b\n", {"min_user": 5}, r"no interaction is left after filtering .*min_user 5"),
        ("u,a\nv,b\n", {"min_item": 0}, "min_item must be at least 1, got 0"),
        ("user,item,rating\nu,a,x\nv,b,y\n", {}, "no usable row.*line 2 has a rating that is no number"),
    ],
)
def test_unusable_files(tmp_path, content, options, message):
    with pytest.raises(UserError, match=message):
        load(write(tmp_path, content), **options)


def test_fixed_split_in_a_directory(tmp_path):
    write(tmp_path, "1 10\n1 11\n2 10\n2 12\n", "train.txt")
    write(tmp_path, "1 12\n3 10\n2 77\n1 10\n", "test.txt")
    data = load(tmp_path)
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 4, "test": 4}
    assert (data.n_users, data.n_items) == (3, 4)
    notes = "\n".join(data.notes)
    assert "test.txt: 1 user not in train, in 1 row (first: line 2)" in notes
    assert "test.txt: 1 item not in train, in 1 row (first: line 3)" in notes
    assert "test.txt: 1 pair also in train (first: line 4)" in notes
    with pytest.raises(UserError, match="cannot be used with a fixed split"):
        load(tmp_path, min_user=2)


def test_directory_without_parts(tmp_path):
    write(tmp_path, "1 10\n2 11\n", "train.txt")
    with pytest.raises(UserError, match="has no test file"):
        load(tmp_path)
    write(tmp_path, "1 10\n", "train.csv")
    with pytest.raises(UserError, match="two train files: train.csv and train.txt"):
        load(tmp_path)


def test_split_column(tmp_path):
    rows = "userID\titemID\trating\tx_label\n1\t5\t1\t0\n1\t6\t1\t1\n2\t5\t1\t0\n2\t6\t1\t2\n"
    data = load(write(tmp_path, rows, "data.inter"))
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 2, "valid": 1, "test": 1}


def test_checksum_follows_the_content(tmp_path):
    first = load(write(tmp_path, text(","))).sha256
    assert load(write(tmp_path, text(","))).sha256 == first
    assert load(write(tmp_path, text(",") + "u-3,b9,1,1\n")).sha256 != first
