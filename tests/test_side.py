"""Side information: which row is whose, what is refused, and that other information is other data."""

import json

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from conftest import interactions

import gan_rec
from gan_rec import cli
from gan_rec.data import Dataset
from gan_rec.data.people import as_people, link_numbers
from gan_rec.data.side import SideInformation, read_features, read_links
from gan_rec.errors import UserError
from gan_rec.recommenders.baselines import AdamicAdar, CommonNeighbours

IDS = np.array([1, 2, 3, 10])


@pytest.fixture
def file(tmp_path):
    def write(content, name):
        if isinstance(content, np.ndarray):
            np.save(tmp_path / name, content, allow_pickle=True)
        else:
            (tmp_path / name).write_text(content)
        return tmp_path / name

    return write


# Links.


def test_links_are_by_id(file):
    links, notes = read_links(file("10 2 1\n1 10 1\n1 77 1\n3 3 1\n10 2 1\n2 10 1\n", "trust.txt"), IDS)
    assert links.tolist() == [[0, 3], [1, 3], [3, 1]] and links.dtype == np.int32
    assert notes == [
        "trust.txt: 1 link of users that the data does not have skipped",
        "trust.txt: 1 link of a user to himself skipped",
        "trust.txt: 1 link that stood there before skipped",
    ]


def test_links_with_a_header_and_ids_that_are_words(file):
    links, _ = read_links(file("userID\tfriendID\nb\ta\n", "friends.dat"), np.array(["a", "b"], object))
    assert links.tolist() == [[1, 0]]


def test_links_of_nobody(file):
    with pytest.raises(UserError, match=r"trust.txt: none of the links \(such as 7, 8\) is of two users of the data"):
        read_links(file("7 8\n8 9\n", "trust.txt"), IDS)
    with pytest.raises(UserError, match="there is no file"):
        read_links(file("7 8\n", "trust.txt").with_name("other.txt"), IDS)


# Features.


def test_features_of_an_array_and_of_a_table(file):
    rows = np.arange(8.0).reshape(4, 2)
    found, notes = read_features(file(rows, "audio.npy"), IDS)
    np.testing.assert_array_equal(found, rows)
    assert found.dtype == np.float32 and notes == []
    path = file("item,a,b\n10,6,7\n2,2,3\n99,0,0\n3,4,5\n1,0,1\n", "audio.csv")
    found, notes = read_features(path, IDS)
    np.testing.assert_array_equal(found, rows)
    assert notes == ["audio.csv: 1 row of items that the data does not have skipped"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (np.ones((3, 2)), "a.npy", "a.npy has 3 rows, but the data has 4 items"),
        (np.ones(4), "a.npy", r"a.npy: features must be rows of numbers, \[items, features\], got float64 \(4,\)"),
        (np.full((4, 2), np.nan), "a.npy", r"a.npy: 4 items with a feature that is no finite number \(first: 1, in r"),
        (np.array([{"a": 1}] * 4), "a.npy", "cannot read item features from .*a.npy: it is no array of numbers"),
        ("no array", "a.npy", "cannot read item features from .*a.npy: it is no array of numbers"),
        ("item,a\n1,1\n2,1\n", "a.csv", r"a.csv: 2 items of the data without a row \(first: 3\); features are needed"),
        ("item,a\n1,1\n2,x\n3,1\n10,1\n", "a.csv", r"1 item with a feature that is no finite number \(first: 2, in"),
        ("item,a\n1,1\n1,2\n2,1\n3,1\n10,1\n", "a.csv", "a.csv: 1 row of an item that has one already"),
    ],
)  # fmt: skip
def test_features_that_are_none(file, content, name, message):
    with pytest.raises(UserError, match=message):
        read_features(file(content, name), IDS)


# On data sets.


def test_side_information_is_a_part_of_the_data(file):
    plain = gan_rec.load("synthetic")
    rows = np.random.default_rng(0).normal(size=(plain.n_items, 3))
    path = file("".join(f"u-{u} u-{u + 1}\n" for u in range(20, 40)), "links.txt")
    data = gan_rec.load("synthetic", item_features={"sound": rows}, links=path)
    split = gan_rec.split(data)
    assert list(split.side_information.item_features) == ["sound"] and len(split.side_information.user_links) == 20
    digests = {gan_rec.split(plain).sha256, split.sha256}
    digests.add(gan_rec.split(gan_rec.load("synthetic", item_features={"sound": rows + 1}, links=path)).sha256)
    digests.add(gan_rec.split(gan_rec.load("synthetic", item_features={"look": rows}, links=path)).sha256)
    digests.add(gan_rec.split(gan_rec.load("synthetic", links=path)).sha256)
    assert len(digests) == 5, "other side information is other data"
    assert next(iter(gan_rec.folds(data, 3))).side_information is data.side_information


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"links": True},
            r"synthetic brings no links between users \(named data sets that do: filmtrust, hetrec",
        ),
        ({"item_features": True}, r"synthetic brings no item features \(named data sets that do: lfm2k\); give a file"),
        ({"item_features": ["a/x.npy", "b/x.npy"]}, "item_features: two files have the same name, a/x.npy, b/x.npy"),
        ({"item_features": "nothing.npy"}, "cannot read item features from nothing.npy: No such file"),
    ],
)
def test_mistakes_in_options(options, message):
    with pytest.raises(UserError, match=message):
        gan_rec.load("synthetic", **options)


@pytest.mark.parametrize(("name", "what"), [("multimodal", "features of items"), ("social-lightgcn", "links between")])
def test_recommenders_say_what_they_miss(name, what):
    split = gan_rec.split(gan_rec.load("synthetic"))
    with pytest.raises(UserError, match=f"recommender '{name}' reads {what}.*, but the data has none; give"):
        gan_rec.fit(split, recommender=name, progress=False)


def test_named_data_sets_bring_theirs(data_folder):
    trust = gan_rec.load("filmtrust", links=True)
    assert len(trust.side_information.user_links) == 1632
    assert "trust.txt: 221 links of users that the data does not have skipped" in trust.notes
    songs = gan_rec.load("lfm2k", item_features=True).side_information.item_features
    assert {name: rows.shape for name, rows in songs.items()} == {"audio": (1425, 128), "text": (1425, 384)}
    stored = np.load(data_folder / "lfm2k-multimodal" / "vggish.npy")
    np.testing.assert_array_equal(songs["audio"], stored.astype(np.float32))
    assert len(gan_rec.load("hetrec-lastfm", links=True).side_information.user_links) == 25_434
    assert gan_rec.load("lfm2k").side_information is None, "nobody asked"


SMALL = [
    "--seeds", "1", "--epochs", "2", "--evaluate-every", "1", "--dim", "4", "--batch-size", "64", "--quiet",
    "--recommender",
]  # fmt: skip


@pytest.mark.long
def test_a_run_checks_them(file, tmp_path, capsys):
    """From the command line: whoever resumes or evaluates gets the same files, or is told that they are not."""
    data = gan_rec.load("synthetic")
    pairs = file(data.parts["all"].to_frame()[["user", "item"]].to_csv(index=False), "pairs.csv")
    rows = np.random.default_rng(0).normal(size=(data.n_items, 3))
    sound, look = file(rows, "sound.npy"), file(rows[:, :2] ** 2, "look.npy")
    out = tmp_path / "run"
    options = ["--dataset", str(pairs), "--item-features", str(sound), str(look), "--modality-dim", "4"]
    cli.main(["train", *options, "--adversary", "fgm", "--under-attack", "features", *SMALL, "multimodal",
              "--out", str(out)])  # fmt: skip
    capsys.readouterr()
    config = json.loads((out / "config.json").read_text())
    assert config["item_features"] == [str(sound), str(look)] and config["under_attack"] == "features"
    cli.main(["evaluate", str(out)])
    cli.main(["attack", str(out), "--rows", "features", "--attacks", "fgm", "--radii", "0.5", "-k", "5", "--certify",
              "0", "--quiet"])  # fmt: skip
    assert "fgm" in capsys.readouterr().out
    np.save(sound, rows + 1)
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", str(out)])
    assert stop.value.code == 2 and "are not those that the run" in capsys.readouterr().err


@pytest.mark.long
def test_links_from_the_command_line(file, tmp_path):
    path = file("".join(f"u-{u} u-{u + 1}\n" for u in range(1, 101)), "links.txt")
    cli.main(["train", "--dataset", "synthetic", "--links", str(path), *SMALL, "social-lightgcn", "--out",
              str(tmp_path / "run")])  # fmt: skip
    assert gan_rec.open_run(tmp_path / "run").models["twin"].split.side_information.user_links.shape == (100, 2)


def test_mistakes_on_the_command_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--dataset", "synthetic", *SMALL, "social-lightgcn", "--out", str(tmp_path / "other")])
    assert stop.value.code == 2 and "give a file as links (--links)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--task", "ratings", "--dataset", "ml-100k", "--people"])
    assert stop.value.code == 2 and "people: only --task ranking has such options" in capsys.readouterr().err


# People.

FRIENDS = [
    ("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("d", "a"), ("a", "d"), ("c", "d"), ("d", "c"), ("e", "a"),
    ("b", "e"), ("e", "b"),
]  # fmt: skip


def friends(**options) -> Dataset:
    return gan_rec.load(pd.DataFrame(FRIENDS, columns=["user", "item"]), people=True, **options)


def test_people_have_one_list_of_ids():
    pairs = friends().parts["all"]
    assert pairs.user_ids is pairs.item_ids and pairs.user_ids.tolist() == ["a", "b", "c", "d", "e"]
    named = set(pairs.to_frame()[["user", "item"]].itertuples(index=False, name=None))
    assert named == set(FRIENDS) | {(p, p) for p in "abcde"} and len(pairs) == 16


def test_items_that_are_no_users():
    with pytest.raises(UserError, match="items are to be users, but none of the ids is a user's and an item's"):
        gan_rec.load(pd.DataFrame([("a", "x"), ("b", "y")], columns=["user", "item"]), people=True)
    with pytest.raises(UserError, match="a split by links needs items that are users"):
        gan_rec.split(gan_rec.load("synthetic"), "links")
    with pytest.raises(UserError, match="CommonNeighbours needs items that are users"):
        CommonNeighbours().fit(gan_rec.load("synthetic").parts["all"])


def test_both_directions_of_a_link_are_in_one_part():
    rng = np.random.default_rng(0)
    ends = np.unique(np.sort(rng.integers(0, 40, (150, 2)), axis=1), axis=0)
    ends = ends[ends[:, 0] != ends[:, 1]]
    both = pd.DataFrame(np.concatenate([ends, ends[:, ::-1]]), columns=["user", "item"])
    data = gan_rec.load(both, people=True)
    cut = gan_rec.split(data, "links", seed=3)
    parts = cut.train, cut.valid, cut.open_test()
    numbers = [set(link_numbers(part)[part.users != part.items].tolist()) for part in parts]
    assert sum(map(len, numbers)) == len(set.union(*numbers)) == len(ends), "a link is in two parts"
    assert len(numbers[2]) == round(0.2 * len(ends)) and sum(map(len, parts)) == len(data.parts["all"])
    assert all(np.sum(p.users == p.items) == n for p, n in zip(parts, (data.n_users, 0, 0), strict=True))
    assert gan_rec.split(data, "links", seed=4).sha256 != cut.sha256 == gan_rec.split(data, "links", seed=3).sha256


def test_common_neighbours_and_adamic_adar_by_hand():
    pairs = friends().parts["all"]
    a, b, c, d, e = range(5)
    links = np.zeros((5, 5))
    for one, other in FRIENDS:
        links["abcde".index(one), "abcde".index(other)] = 1
    for baseline, weight in ((CommonNeighbours(), lambda n: 1.0), (AdamicAdar(), lambda n: 1 / np.log(n))):
        model = baseline.fit(pairs)
        scores = np.asarray(
            model.score(model.users(None, jnp.asarray(np.maximum(links, np.eye(5)), jnp.float32)), model.items())
        )
        assert scores[a, c] == pytest.approx(weight(3) + weight(2)), "b, who knows three, and d"
        assert scores[b, d] == pytest.approx(2 * weight(2)), "a and c, who know two people each"
        assert scores[e, c] == pytest.approx(weight(3)), "b"
        assert scores[d, e] == 0, "neither a nor c follows e"


@pytest.mark.long
def test_nobody_is_recommended_to_himself(data_folder):
    data = gan_rec.load("hetrec-lastfm-friends")
    cut = gan_rec.split(data)
    assert cut.method == "links" and (len(cut.train), len(cut.valid), len(cut.open_test())) == (18_170, 4070, 5086)
    fitted = gan_rec.fit(cut, recommender="mf", seeds=1, epochs=1, evaluate_every=1, dim=4, alpha=1.0, progress=False)
    lists = gan_rec.recommend(fitted, k=20)
    assert len(lists) == 20 * data.n_users and (lists["user"] != lists["item"]).all()


def test_as_people_keeps_ids_of_parts():
    train, test = interactions([(0, 1), (1, 2)], 3, 3), interactions([(2, 0)], 3, 3)
    found = as_people(Dataset("d", {"train": train, "test": test}, (), None, ""))
    assert len(found.parts["train"]) == 5 and len(found.parts["test"]) == 1
    assert not SideInformation() and SideInformation(user_links=np.zeros((0, 2), np.int32))
