"""Forms of files that are easy to take for another: what comes out is right, or the user is told."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_rec.data import load
from gan_rec.errors import UserError


@pytest.fixture
def read(tmp_path):
    def read(content, name="data.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load(path, **options)

    return read


def rows(data, part="all"):
    return [tuple(row) for row in data.parts[part].to_frame().astype(object).to_numpy().tolist()]


def noted(data, text):
    return any(text in note for note in data.notes)


# Lists or tables


def test_one_broken_line_makes_no_list_of_a_small_table(read):
    data = read("196 242 3 881250949\n186 302 3 891717742\n22 377 1 878887116\noops\n", "u.txt")
    assert rows(data)[0] == (196, 242, 3, 881250949) and data.n_items == 3
    assert noted(data, "1 row with too few fields (first: line 4)") and not noted(data, "lists")


def test_users_that_repeat_make_a_table(read):
    data = read("1,2,3,8,extra\n1,3,4,9,extra\n2,2,5,7,extra\n")
    assert rows(data) == [(1, 2, 3, 8), (1, 3, 4, 9), (2, 2, 5, 7)]


def test_more_columns_than_there_are_roles(read):
    data = read("1 2 3 8 x\n1 3 4 9 x\n2 2 5 7 x\n", "data.txt")  # users repeat, so these are no lists
    assert rows(data) == [(1, 2, 3, 8), (1, 3, 4, 9), (2, 2, 5, 7)]


def test_lists_that_mostly_have_two_items(read):
    content = "".join(f"{user} {user + 1} 50\n" for user in range(8)) + "8 1 2 3 4 5\n9 1 2 3 4 5 6 7\n"
    data = read(content, "lists.txt")
    assert len(data.parts["all"]) == 8 * 2 + 5 + 7 and data.parts["all"].ratings is None


def test_a_list_without_a_user_gives_none_of_its_items_that_part(read):
    data = read("1,2,3,4,5,6\n,7,8,9\n,,,\n2,3\n3,1,2,3,4,5,6,7\n", "lists.csv")
    assert {row[0] for row in rows(data)} == {1, 2, 3}
    assert noted(data, "3 rows with no user (first: line 2)")


@pytest.mark.parametrize(
    "content", ["0 1 2 3\n1 4 5\n2 6\n", "u a b\nv a c\nw b\n", "1\t5\t6\t7\t8\t9\n2\t5\t6\t7\t8\t9\n"]
)
def test_small_lists(read, content):
    data = read(content, "lists.txt")
    expected = [(line.split()[0], item) for line in content.splitlines() for item in line.split()[1:]]
    assert [(str(user), str(item)) for user, item, _ in rows(data)] == expected
    assert noted(data, "read as lists, a user and any number of items in a line, taken to be in order of time")


def test_places_in_a_list_are_its_times(read):
    data = read("7 3 1 2 9 8\n8 1\n9\n", "lists.txt")
    assert rows(data) == [(7, 3, 1), (7, 1, 2), (7, 2, 3), (7, 9, 4), (7, 8, 5), (8, 1, 1)]
    assert noted(data, "1 user without items (first: line 3)")


def test_a_list_without_items_is_no_mistake_even_where_most_are(read):
    data = read("0 1 2 3 4 5\n1\n2\n3\n4 2\n", "lists.txt")
    assert len(data.parts["all"]) == 6 and data.n_users == 2
    assert noted(data, "3 users without items (first: line 2)")


def test_train_tells_the_form_of_the_other_parts(tmp_path):
    (tmp_path / "train.txt").write_text("1 10 11 12 13 14\n2 10 12\n3 11 13 14 10\n")
    (tmp_path / "test.txt").write_text("1 11 12\n2 13 14\n3 12 12\n")  # alone it would be user item rating
    data = load(tmp_path)
    assert [row[:2] for row in rows(data, "test")] == [(1, 11), (1, 12), (2, 13), (2, 14), (3, 12)]
    assert data.parts["test"].ratings is None


def test_a_long_list_costs_no_wide_table(read):
    content = "0 " + " ".join(map(str, range(200_000))) + "\n" + "".join(f"{u} 1\n" for u in range(1, 2000))
    assert len(read(content, "lists.txt").parts["all"]) == 201_999  # as a table: 400 million cells


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=12, unique=True), min_size=12, max_size=20))
def test_lists_come_back(tmp_path_factory, lists):
    """Whatever the others are like, two lists of different lengths that no table can have tell the form."""
    lists[:2] = [list(range(12)), list(range(9))]
    path = tmp_path_factory.mktemp("lists") / "lists.txt"
    path.write_text("".join(f"{user} {' '.join(map(str, items))}\n" for user, items in enumerate(lists)))
    expected = [(user, item) for user, items in enumerate(lists) for item in items]
    assert [row[:2] for row in rows(load(path))] == expected


@settings(deadline=None, max_examples=60)
@given(
    broken=st.lists(st.sampled_from(["7", "x", "1 2 3 4 5 6", "4 5 bad"]), min_size=1, max_size=3),
    columns=st.integers(3, 4),
)
def test_a_few_broken_lines_make_no_lists(tmp_path_factory, broken, columns):
    path = tmp_path_factory.mktemp("table") / "table.txt"
    good = [(user, user % 3, 5, 100 + user)[:columns] for user in range(len(broken) + 2)]  # no user repeats
    path.write_text("\n".join([" ".join(map(str, row)) for row in good] + broken) + "\n")
    data = load(path)
    assert rows(data) == good and not noted(data, "lists")
    assert sum(int(note.split(": ")[1].split()[0]) for note in data.notes) == len(broken), "every broken line is told"


# Separators, quotes, encodings


def test_semicolons_and_quotes(read):
    data = read('"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"276726";"0155061224";"5"\n')
    assert rows(data) == [(276725, "034545104X", 0.0), (276726, "0155061224", 5.0)]


def test_text_with_other_separators_in_it(read):
    data = read("user,item,rating,text\n1,2,3,good; cheap\n2,3,4,a; b\tc\n1,3,5,so::so\n")
    assert rows(data) == [(1, 2, 3), (2, 3, 4), (1, 3, 5)]


def test_line_feeds_inside_quotes_keep_line_numbers_right(read):
    data = read('user,item,rating,text\n1,2,3,"two\nlines"\n\n2,3,4,"a, ""b"""\n2,2,bad,x\n')
    assert rows(data) == [(1, 2, 3), (2, 3, 4)]
    assert noted(data, "1 empty line (first: line 4)")
    assert noted(data, "1 row with a rating that is no number (first: line 6)")


def test_quotes_that_do_not_match(read):
    with pytest.raises(UserError, match=r"data\.csv: the quotes in the row at line 3 do not match"):
        read('user,item,rating,text\n1,2,3,x\n2,3,4,"never ends\n3,3,3,x\n')


def test_a_quote_inside_a_field_is_a_character(read):
    assert rows(read('user,item\nann,5" disc\nbob,7" disc\n')) == [("ann", '5" disc'), ("bob", '7" disc')]
    assert rows(read('ann\t"A"\t5\nbob\tB"\t4\n', "data.tsv")) == [("ann", '"A"', 5), ("bob", 'B"', 4)]


def test_blanks_belong_to_ids_only_inside_quotes(read):
    assert rows(read("user, item\nann lee , x\nbob, y\n")) == [("ann lee", "x"), ("bob", "y")]
    assert rows(read('user,item\n"ann lee"," x"\nbob,y\n')) == [("ann lee", " x"), ("bob", "y")]
    assert rows(read('user, item\n"lee, ann", "x"\nbob, y\n')) == [("lee, ann", "x"), ("bob", "y")]


def test_many_trailing_separators(read):
    assert rows(read("1,2,3,,,\n2,3,4,,,\n")) == [(1, 2, 3), (2, 3, 4)]
    assert rows(read("1\t2\t\n2\t3\t\n")) == [(1, 2), (2, 3)]
    assert rows(read("1::2::3::\n2::3::4::\n")) == [(1, 2, 3), (2, 3, 4)]
    assert rows(read(" 1  2   3 \n 2 3 4\n")) == [(1, 2, 3), (2, 3, 4)]


def test_latin_1_is_said(read):
    data = read("user,item\nJosé,1\nbob,2\n".encode("latin-1"))
    assert rows(data) == [("José", 1), ("bob", 2)] and noted(data, "not UTF-8, read as Latin-1")


def test_no_line_feed_at_the_end_and_old_line_ends(read):
    assert rows(read("1,2\r3,4\r\n5,6")) == [(1, 2), (3, 4), (5, 6)]


# Headers


def test_words_without_a_number_below_are_a_header_only_with_a_known_name(read):
    assert rows(read("customer,thing\nann,x\nbob,y\n")) == [("ann", "x"), ("bob", "y")]
    assert len(rows(read("ann,x\nbob,y\ncid,z\n"))) == 3


def test_an_unknown_header_is_said(read):
    data = read("who,what,stars\nann,x,3\nbob,y,4\n")
    assert rows(data) == [("ann", "x", 3.0), ("bob", "y", 4.0)]
    assert noted(data, "column 'who' is taken for the users, by its place")
    assert noted(data, "column 'what' is taken for the items, by its place")


def test_a_known_name_of_a_time_or_a_rating_makes_a_header(read):
    data = read("date,client,produit\n2021-01-01,ann,x\n2021-01-02,bob,y\n")
    assert [(user, item) for user, item, *_ in rows(data)] == [("ann", "x"), ("bob", "y")]
    assert noted(data, "column 'date' is taken for the times, by its name")
    assert len(rows(read("ann,time\nbob,y\ncid,z\n"))) == 3, "two columns may well be a word and another"


def test_recbole_header_with_unknown_names(read):
    assert rows(read("a:token\tb:token\nx\ty\nz\tw\n", "data.inter")) == [("x", "y"), ("z", "w")]


def test_columns_in_any_order(read):
    data = read("timestamp,Rating,movie-id,User ID\n9,5,x,ann\n8,4,y,bob\n")
    assert rows(data) == [("ann", "x", 5.0, 9), ("bob", "y", 4.0, 8)]


def test_one_column_for_two_roles(read):
    with pytest.raises(UserError, match="column 'user' was given for two roles"):
        read("user,item\n1,2\n2,3\n", user_column="user", item_column="user")


def test_a_list_file_has_no_named_columns(read):
    with pytest.raises(UserError, match="has no column 'user'; its columns are 1, 5, 6, 7, 8, 9"):
        read("1 5 6 7 8 9\n2 5\n", "lists.txt", user_column="user")


# Ids, ratings and times

CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])


def test_ids_keep_their_text(read):
    for ids in (["007", "7"], ["1.0", "2"], ["+1", "2"], ["-0", "1"], ["9223372036854775808", "1"], ["NA", "nan"]):
        data = read("".join(f"{user},i{n}\n" for n, user in enumerate(ids)))
        assert data.parts["all"].user_ids.tolist() == ids
    assert read("-5,1\n3,2\n").parts["all"].user_ids.tolist() == [-5, 3]


def test_integers_are_sorted_and_text_stands_by_first_appearance(read):
    data = read("30,b\n4,a\n100,b\n")
    assert data.parts["all"].user_ids.tolist() == [4, 30, 100]
    assert data.parts["all"].item_ids.tolist() == ["b", "a"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(*[st.text(CHARACTERS, min_size=1).filter(str.strip)] * 2),
        min_size=2, unique=True,
    )
)  # fmt: skip
def test_any_id_survives_a_quoted_csv(tmp_path_factory, pairs):
    frame = pd.DataFrame(pairs, columns=["user", "item"])
    path = tmp_path_factory.mktemp("ids") / "ids.csv"
    frame.to_csv(path, index=False, quoting=1)
    if frame.nunique().min() >= 2:
        assert [tuple(map(str, row)) for row in rows(load(path))] == pairs


def test_parquet_ids_keep_their_type(tmp_path):
    for user in (["1", "2"], [1, 2], [2**63 + 5, 1], ["007", "7"]):
        frame = pd.DataFrame(
            {"user": pd.Series(user, dtype="uint64" if user[0] == 2**63 + 5 else None), "item": [3, 4]}
        )
        frame.to_parquet(tmp_path / "data.parquet")
        assert rows(load(tmp_path / "data.parquet")) == list(zip(user, [3, 4], strict=True))


def test_a_missing_id_makes_no_floats_of_the_others():
    data = load(pd.DataFrame({"user": [1, None, 2], "item": ["a", "b", "c"]}))
    assert rows(data) == [(1, "a"), (2, "c")] and data.parts["all"].user_ids.dtype == np.int64
    assert data.name == "dataframe" and noted(data, "1 row with no user (first: row 2)")


def test_categories_and_packed_parquet(tmp_path):
    pd.DataFrame({"user": pd.Categorical(["a", "b"]), "item": [3, 4]}).to_parquet(tmp_path / "data.parquet")
    packed = tmp_path / "data.parquet.gz"
    packed.write_bytes(gzip.compress((tmp_path / "data.parquet").read_bytes()))
    assert rows(load(packed)) == [("a", 3), ("b", 4)]


def test_lists_are_no_ids():
    with pytest.raises(UserError, match="column 'item' holds lists, which cannot be item ids"):
        load(pd.DataFrame({"user": [1, 2], "item": [[1], [2]]}))


def test_parts_in_different_formats_share_their_ids(tmp_path):
    (tmp_path / "train.csv").write_text("1,10\n2,11\n")
    pd.DataFrame({"user": [1, 2], "item": [11, 10]}).to_parquet(tmp_path / "test.parquet")
    data = load(tmp_path)
    assert rows(data, "test") == [(1, 11), (2, 10)] and data.n_users == 2 and data.notes == ()


def test_times_are_exact_integers_or_floats(read):
    assert read("1,2,3,1700000000000000001\n2,3,4,1700000000000000002\n").parts["all"].times.tolist() == [
        1700000000000000001, 1700000000000000002,
    ]  # fmt: skip
    assert read("1,2,3,1.5\n2,3,4,2\n").parts["all"].times.tolist() == [1.5, 2.0]
    assert read("1,2,3,8\n2,3,4,9\n3,2,4,x\n").parts["all"].times.dtype == np.int64


def test_what_most_times_are_decides_between_numbers_and_dates(read):
    data = read("user,item,time\n1,2,2024-01-01\n2,3,2024-01-02\n3,3,5\n")
    assert data.parts["all"].times.tolist() == [1704067200, 1704153600]
    assert noted(data, "1 row with a time that is no number or ISO date (first: line 4)")


def test_a_zip_bomb_of_nonsense(read):
    with pytest.raises(UserError, match=r"cannot unpack .*data\.gz"):
        read(b"\x1f\x8b\x08\x00abcdef", "data.gz")
    with pytest.raises(UserError, match=r"cannot unpack .*data\.gz"):
        read(gzip.compress(b"1,2,3\n2,3,4\n")[:-6], "data.gz")


@settings(deadline=None, max_examples=150)
@given(st.one_of(st.binary(max_size=300), st.text(alphabet='01ab,;:\t \n".-', max_size=120).map(str.encode)))
def test_nothing_but_a_user_error_comes_of_junk(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("junk") / "junk.csv"
    path.write_bytes(junk)
    try:
        data = load(path)
    except UserError as error:
        assert str(error) and "\n" not in str(error)
        return
    part = data.parts["all"]
    assert len(part.users) == len(part.items) > 0
    assert part.users.max() < part.n_users and part.items.max() < part.n_items
