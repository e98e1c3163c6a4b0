"""What is told of data before anything is trained."""

import json

import numpy as np
import pandas as pd
import pytest

from gan_rec import cli, data
from gan_rec.data.described import describe
from gan_rec.errors import UserError

DAY = 24 * 3600


def shop(**columns):
    """Two users with two purchases, one with all of the catalogue of five."""
    users, items = [1, 1, 2, 2, *[3] * 5], [10, 11, 10, 12, 10, 11, 12, 13, 14]
    return pd.DataFrame({"user": users, "item": items} | columns)


def test_facts_by_hand():
    found = describe(data.load(shop(rating=[1, 2, 3, 4, 5, 1, 1, 1, 2], timestamp=np.arange(9) * DAY + 10**9)))
    assert found.facts["users"] == "3" and found.facts["interactions"] == "9" and found.facts["density"] == "60.000%"
    assert found.facts["a user has"].startswith("2 to 5, median 2") and found.facts["ratings"] == "1 to 5"
    assert found.facts["times"] == "2001-09-09 to 2001-09-17"


def test_what_is_odd_is_said():
    found = describe(data.load(shop(timestamp=np.arange(9) * DAY + 10**9)), now=10**9 + 6.5 * DAY)
    said = "\n".join(found.warnings)
    assert "2 interactions in the future (latest: 2001-09-17)" in said
    assert "2 users (67%) with fewer than 3 interactions" in said
    assert "3 items that more than 50% of all users have (first: 10)" in said
    assert "1 user with more than 50% of the catalogue (most: 3)" in said
    same = describe(data.load(shop(timestamp=[10**9] * 9))).warnings
    assert any("all times are the same" in line for line in same)


@pytest.mark.parametrize("unit", [10**3, 10**6, 10**9])
def test_times_in_other_units_are_dates_too(unit):
    times = (np.arange(9) * DAY + 10**9) * unit
    found = describe(data.load(shop(timestamp=times)), now=10**9 + 6.5 * DAY)
    assert found.facts["times"] == "2001-09-09 to 2001-09-17"
    said = "\n".join(found.warnings)
    assert "no seconds since 1970" in said and "2 interactions in the future (latest: 2001-09-17)" in said


def test_a_column_whose_name_only_suggests_what_it_holds_is_said():
    shop_names = {"user": "Customer ID", "item": "SKU", "count": "count"}
    understood = describe(data.load(shop(count=1).rename(columns=shop_names))).understood
    assert [line.split(": ")[1] for line in understood] == [
        "column 'Customer ID' is taken for the users, by its name",
        "column 'SKU' is taken for the items, by its name",
        "column 'count' is taken for the ratings, by its name",
    ]
    assert describe(data.load(shop(rating=1.0, timestamp=10**9))).understood == ()


def test_leaks_and_duplicates_are_warnings_and_guesses_are_not(tmp_path):
    pairs = "".join(f"{u},{i}\n" for u in range(4) for i in range(4))
    (tmp_path / "train.csv").write_text("who,what,price\n" + pairs.replace("\n", ",9\n"))
    (tmp_path / "test.csv").write_text("user,item\n0,0\n1,9\n1,9\n")
    found = describe(data.load(tmp_path))
    said = "\n".join(found.warnings)
    assert "1 pair also in train" in said and "1 duplicate" in said and "1 item not in train" in said
    understood = "\n".join(found.understood)
    assert "'who' is taken for the users" in understood and "not used: price" in understood and "price" not in said
    assert found.facts["for example"] == "user 0, item 0"
    assert found.facts["parts"] == "train 16, test 2"


def test_the_command(tmp_path, capsys):
    path = tmp_path / "shop.csv"
    shop().to_csv(path, index=False)
    cli.main(["inspect", str(path)])
    shown = capsys.readouterr().out
    assert "shop.csv" in shown and "look at" in shown and "--min-user 3" in shown
    cli.main(["inspect", str(path), "--format", "json"])
    assert json.loads(capsys.readouterr().out)["facts"]["items"] == "5"
    with pytest.raises(SystemExit) as stop:
        cli.main(["inspect", str(tmp_path / "none.csv")])
    assert stop.value.code == 2 and "none.csv" in capsys.readouterr().err


def test_what_is_streamed_is_not_inspected(tmp_path):
    (tmp_path / "streamed").mkdir()
    shop().to_parquet(tmp_path / "streamed" / "part-0.parquet")
    with pytest.raises(SystemExit) as stop:
        cli.main(["inspect", str(tmp_path / "streamed")])
    assert stop.value.code == 2


def test_it_knows_real_data():
    said = "\n".join(describe(data.load("coat-unbiased")).warnings)
    assert "71 pairs also in train" in said


def test_what_stands_beside_the_pairs_is_told():
    friends, features = describe(data.load("filmtrust", links=True)), describe(data.load("lfm2k", item_features=True))
    assert friends.facts["links"].endswith(" between users") and "audio" in features.facts["features"]


@pytest.mark.parametrize(("options", "message"), [
    (["--split", "nonsense"], "unknown split 'nonsense'"), (["--target", "films"], "domains"),
])  # fmt: skip
def test_options_of_a_split_are_checked(options, message, tmp_path, capsys):
    shop().to_csv(tmp_path / "shop.csv", index=False)
    with pytest.raises(SystemExit) as stop:
        cli.main(["inspect", str(tmp_path / "shop.csv"), *options])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_items_of_a_data_set_of_things_are_no_people():
    with pytest.raises(UserError, match="items of ml-100k are no people; .*hetrec-lastfm-friends"):
        data.load("ml-100k", people=True)
