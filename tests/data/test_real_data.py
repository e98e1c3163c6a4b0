"""The facts that the data folder's README states, read from the files themselves."""

import numpy as np
import pandas as pd
import pytest

from gan_rec.data import load, locate, named_datasets, split
from gan_rec.errors import UserError

# name -> interactions of each part, as the README counts rows (duplicates and lower ratings not yet left out)
SIZES = {
    "cfgan-ml100k": {"train": 80_000, "test": 19_963},
    "irgan-ml100k": {"train": 80_000, "test": 20_000},
    "coat-unbiased": {"train": 1363, "valid": 553, "test": 860},
    "collm-ml-1m": {"train": 33_891, "valid": 10_401, "test": 7331},
    "disencdr-cloth": {"train": 87_829, "test": 7540},
    "disencdr-sport": {"train": 92_612, "test": 8326},
    "filmtrust": {"train": 33_750 - 2, "test": 1747},  # two pairs are rated twice within train
    "hetrec-lastfm": {"all": 92_834},
    "hetrec-lastfm-friends": {"all": 25_434 + 1892},  # everybody stands beside himself
    "lfm2k": {"train": 44_327, "valid": 4799, "test": 7219},
    "s3rec-beauty": {"all": 198_502},
}
EVERY_RATING = {"irgan-ml100k": 1, "collm-ml-1m": 0}


@pytest.fixture(scope="module")
def load_once(data_folder):
    cache = {}
    return lambda name: cache.setdefault(name, load(name, positive_from=EVERY_RATING.get(name)))


@pytest.mark.parametrize("name", SIZES)
def test_parts_have_the_rows_of_the_readme(load_once, name):
    data = load_once(name)
    assert {part: len(rows) for part, rows in data.parts.items()} == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_the_table_of_named_sets_tells_the_truth(load_once, name):
    (named,) = [d for d in named_datasets() if d.name == name]
    assert named.parts == tuple(load_once(name).parts)
    assert ("split" in named.flags) == (len(named.parts) > 1)
    assert locate(name).exists() and named.terms and named.licence


@pytest.mark.parametrize("name", SIZES)
def test_parts_of_a_data_set_share_their_ids(load_once, name):
    first, *others = load_once(name).parts.values()
    for part in others:
        assert part.user_ids is first.user_ids and part.item_ids is first.item_ids
    for ids in (first.user_ids, first.item_ids):
        assert ids.dtype == np.int64 and (np.diff(ids) > 0).all(), "integers, sorted, each once"


def test_original_ids(load_once):
    def span(name):
        rows = next(iter(load_once(name).parts.values()))
        return rows.user_ids[0], rows.user_ids[-1], rows.item_ids[0], rows.item_ids[-1]

    assert span("cfgan-ml100k") == (0, 942, 0, 1652)
    assert span("hetrec-lastfm") == (2, 2100, 1, 18745)
    assert span("disencdr-cloth") == (0, 9927, 0, 41302)
    assert span("disencdr-sport") == (0, 9927, 0, 32309)
    assert span("s3rec-beauty") == (1, 22363, 1, 12101)
    assert span("collm-ml-1m") == (1, 838, 1, 3255)


def test_ratings_and_times(load_once):
    filmtrust = load_once("filmtrust").parts["train"].ratings
    assert (filmtrust.min(), filmtrust.max()) == (0.5, 4.0)
    listens = load_once("hetrec-lastfm").parts["all"].ratings
    assert (listens.min(), listens.max(), np.median(listens)) == (1, 352_698, 260)
    clicks = load_once("collm-ml-1m").parts
    assert clicks["train"].times.min() == 991356108 and clicks["test"].times.max() == 1044033786
    assert clicks["train"].times.dtype == np.int64
    assert [round(part.ratings.mean(), 3) for part in clicks.values()] == [0.537, 0.528, 0.545]
    assert load_once("cfgan-ml100k").parts["train"].times is None


def test_a_set_is_the_same_by_name_and_by_path(data_folder, load_once):
    for name, place in {"cfgan-ml100k": "cfgan-ml100k", "lfm2k": "lfm2k-multimodal/lfm2k.inter"}.items():
        by_path = load(str(data_folder / place))
        assert by_path.sha256 == load_once(name).sha256 and by_path.terms is None
        for part, rows in by_path.parts.items():
            assert rows.sha256() == load_once(name).parts[part].sha256()


def test_the_same_interactions_in_two_numberings(data_folder, load_once):
    original = load(data_folder / "lfm2k-multimodal" / "lfm2k_og_ids.inter")
    assert {part: len(rows) for part, rows in original.parts.items()} == SIZES["lfm2k"]
    listens = set(
        load_once("hetrec-lastfm").parts["all"].to_frame()[["user", "item"]].itertuples(index=False, name=None)
    )
    pairs = set(original.parts["test"].to_frame()[["user", "item"]].itertuples(index=False, name=None))
    assert pairs < listens


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("coat-unbiased", ["test.txt: 71 pairs also in train", "test.txt: 31 pairs also in valid"]),
        ("irgan-ml100k", ["test.txt: 32 items not in train, in 32 rows"]),
        ("filmtrust", [
            "trainset.txt: 2 duplicates of a user and item", "testset.txt: 38 items not in train, in 41 rows",
            "testset.txt: 9 users not in train, in 10 rows", "testset.txt: 1 pair also in train",
        ]),
    ],
)  # fmt: skip
def test_caveats_are_reported(load_once, name, notes):
    for expected in notes:
        assert any(note.startswith(expected) for note in load_once(name).notes), expected


@pytest.mark.parametrize("name", ["cfgan-ml100k", "disencdr-cloth", "hetrec-lastfm"])
def test_clean_sets_have_nothing_to_report(load_once, name):
    assert not [note for note in load_once(name).notes if not note.endswith("by its name")]


def test_the_first_line_of_a_caveat_is_the_right_one(data_folder, load_once):
    (note,) = [note for note in load_once("filmtrust").notes if "pair also in train" in note]
    line = int(note.split("(first: line ")[1].split(")")[0])
    folder = data_folder / "filmtrust"
    pair = (folder / "testset.txt").read_text().splitlines()[line - 1].split()[:2]
    assert any(row.split()[:2] == pair for row in (folder / "trainset.txt").read_text().splitlines())


def test_default_positives(data_folder):
    irgan = load("irgan-ml100k")
    lines = (data_folder / "irgan-ml100k" / "train.txt").read_text().splitlines()
    assert len(irgan.parts["train"]) == sum(int(line.split("\t")[2]) >= 4 for line in lines) == 44_140
    assert irgan.notes[0] == "ratings from 4 on are positive, as in the source's protocol"
    assert (irgan.n_users, irgan.n_items) == (943, 1682), "the catalogue does not shrink"
    frame = pd.read_parquet(data_folder / "collm-ml-1m" / "test.parquet")
    assert len(load("collm-ml-1m").parts["test"]) == frame.label.sum()


def test_beauty_is_split_by_its_order(data_folder, load_once):
    cut = split(load_once("s3rec-beauty"))
    assert cut.method == "leave-one-out"
    last = {}
    for line in (data_folder / "s3rec-beauty" / "Beauty.txt").read_text().splitlines():
        user, *items = map(int, line.split())
        last[user] = items[-2:]
    test, valid = cut.open_test().to_frame(), cut.valid.to_frame()
    assert dict(zip(test.user, test.item, strict=True)) == {user: items[1] for user, items in last.items()}
    assert dict(zip(valid.user, valid.item, strict=True)) == {user: items[0] for user, items in last.items()}
    train = cut.train.to_frame().item
    assert ((~test.item.isin(train)).sum(), (~valid.item.isin(train)).sum()) == (138, 51)
    with pytest.raises(UserError, match="has only the order of each user's items; allowed: random, leave-one-out"):
        split(load_once("s3rec-beauty"), "temporal")


def test_other_files_of_the_folder(data_folder):
    trust = load(data_folder / "filmtrust" / "trust.txt")
    assert len(trust.parts["all"]) == 1853
    friends = load(data_folder / "hetrec-lastfm" / "user_friends.dat")
    assert len(friends.parts["all"]) == 25_434 and friends.n_users == 1892
    assert any("column 'friendID' is taken for the items" in note for note in friends.notes)
    reviews = load(
        data_folder / "womens-clothing" / "womens-clothing-reviews.csv.gz", user_column="Age", item_column="Clothing ID"
    )
    assert (reviews.n_users, reviews.n_items) == (77, 1206)
    (note,) = [note for note in reviews.notes if "duplicates" in note]
    frame = pd.read_csv(data_folder / "womens-clothing" / "womens-clothing-reviews.csv.gz")
    assert len(reviews.parts["all"]) == len(frame.drop_duplicates(["Age", "Clothing ID"]))
    folder = data_folder / "lfm2k-multimodal"
    with pytest.raises(UserError, match="has no train file"):
        load(folder)


def test_two_domains_as_one(data_folder):
    """Users are shared, items are not; a fifth of the test items stand under another id in the other domain."""
    both, apart = load("disencdr-cloth-sport"), load("disencdr-cloth-sport", distinct=True)
    (named,) = [d for d in named_datasets() if d.name == both.name]
    assert (both.n_users, both.n_items) == (named.users, named.items) == (9928, 39_008 + 30_796)
    assert {part: len(rows) for part, rows in both.parts.items()} == {"train": 180_441, "test": 15_866}
    assert sum(map(len, both.parts.values())) == named.interactions
    assert both.side_information.item_domains.names == ("cloth", "sport")
    assert both.n_items - apart.n_items == 4885
    assert len(both.parts["test"]) - len(apart.parts["test"]) == 1474 + 1735
