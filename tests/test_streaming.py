"""Interactions in a folder of Parquet files, never in memory as a whole."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_sharding import FOUR, finish, free_port, start

import gan_rec
from gan_rec import cli
from gan_rec.data import Interactions, streamed
from gan_rec.data.bloom import BloomBuilder, make_builder
from gan_rec.data.buffers import Buffers
from gan_rec.data.ids import Tally
from gan_rec.data.sampling import to_device
from gan_rec.data.streamed import TEST, TRAIN, VALID, HeldOut
from gan_rec.errors import UserError
from gan_rec.experiments.fitting import training
from gan_rec.experiments.settings import Settings
from gan_rec.train import streaming
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.seeds import epoch_of_seeds

USERS, ITEMS, GROUP = 60, 45, 50


def write(folder, frames, **options):
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(frames):
        frame.to_parquet(folder / f"part-{number}.parquet", index=False, **{"row_group_size": GROUP} | options)
    return folder


def cut(frame, n):
    return [frame.iloc[rows] for rows in np.array_split(np.arange(len(frame)), n)]


@pytest.fixture(scope="module")
def pairs():
    """Distinct pairs, of every user and item some."""
    rng = np.random.default_rng(0)
    codes = np.unique([*rng.integers(0, USERS * ITEMS, 900), *(u * ITEMS + u % ITEMS for u in range(USERS))])
    order = rng.permutation(codes)
    return pd.DataFrame({"user": order // ITEMS, "item": order % ITEMS})


@pytest.fixture(scope="module")
def folder(pairs, tmp_path_factory):
    """Three files of row groups that are full but for the last ones."""
    return write(tmp_path_factory.mktemp("streamed"), cut(pairs, 3))


@pytest.fixture
def small_buffers(monkeypatch):
    """Buffers of four row groups."""
    monkeypatch.setattr(streamed.StreamedDataset, "groups_in_buffer", 4)


def as_set(*found):
    return [(int(u), int(i)) for users, items in found for u, i in zip(users, items, strict=True)]


def test_ids_and_counts_are_those_of_the_files(folder, pairs):
    data = gan_rec.load(folder)
    assert (data.n_users, data.n_items, data.n_pairs) == (USERS, ITEMS, len(pairs))
    np.testing.assert_array_equal(data.items.counts, np.bincount(pairs["item"], minlength=ITEMS))
    assert as_set(*data.scan()) == as_set((pairs["user"], pairs["item"]))


@pytest.mark.parametrize("made", [lambda n: n * 7 + 3, lambda n: n - 30, lambda n: n * 10**12, lambda n: f"u-{n}"])
def test_any_ids_are_read(tmp_path, pairs, made):
    named = pairs.assign(user=[made(n) for n in pairs["user"]])
    data = gan_rec.load(write(tmp_path / "ids", cut(named, 2)))
    users, items = (np.concatenate(ids) for ids in zip(*data.scan(), strict=True))
    assert data.users.values[users].tolist() == named["user"].tolist()
    assert data.items.values[items].tolist() == named["item"].tolist()


def test_ids_are_merged_as_they_come(monkeypatch):
    monkeypatch.setattr("gan_rec.data.ids._PENDING", 3)
    tally = Tally(None)
    for part in (["b", "a", "b"], ["c", "a"], ["b", "d", "e"]):
        tally.add(pa.array(part))
    ids = tally.ids()
    assert dict(zip(ids.values, ids.counts, strict=True)) == {"a": 2, "b": 3, "c": 1, "d": 1, "e": 1}


def test_rows_without_ids_and_low_ratings_are_left_out(tmp_path):
    frame = pd.DataFrame({"user": [1, 2, None, 1, 2], "item": ["a", "b", "a", None, "a"], "rating": [5, 4, 5, 5, 3]})
    data = gan_rec.load(write(tmp_path / "rated", [frame.astype({"user": "Int64"})]), positive_from=4)
    assert as_set(*data.scan()) == [(0, 0), (1, 1)]
    assert any("3 rows without a user or an item, or with a rating below 4, left out" in note for note in data.notes)


def test_parts_are_of_evaluated_users_and_of_the_asked_size():
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 1000, 100_000), rng.integers(0, 1000, 100_000)
    held_out = HeldOut(np.arange(1000) % 2 == 0, valid=0.1, test=0.3, seed=3)
    parts = held_out.parts(users, items)
    assert set(parts[users % 2 == 1]) == {TRAIN}
    shares = [np.mean(parts[users % 2 == 0] == part) for part in (TRAIN, VALID, TEST)]
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.3], atol=0.01)
    np.testing.assert_array_equal(held_out.parts(users[::-1], items[::-1]), parts[::-1])
    other = HeldOut(held_out.chosen, 0.1, 0.3, seed=4).parts(users, items)
    assert np.mean(other == parts) < 0.8  # .73 of the pairs are in the same part by chance


def test_a_split_loses_no_pair_and_tells_none_twice(folder, pairs):
    split = gan_rec.split(gan_rec.load(folder), seed=2)
    parts = [as_set(*split.train.scan()), *(as_set((p.users, p.items)) for p in (split.valid, split.open_test()))]
    assert sorted(sum(parts, [])) == sorted(as_set((pairs["user"], pairs["item"])))
    assert [len(split.train), len(split.valid)] == [len(part) for part in parts[:2]]
    both = split.train_and_valid()
    assert sorted(as_set(*both.scan())) == sorted(parts[0] + parts[1])
    assert len(both) == len(parts[0]) + len(parts[1])


def test_the_digest_is_of_the_pairs_not_of_their_order(tmp_path, folder, pairs):
    shuffled = write(tmp_path / "other", cut(pairs.sample(frac=1, random_state=1), 5))
    first, second = (gan_rec.split(gan_rec.load(where)) for where in (folder, shuffled))
    assert first.sha256 == second.sha256
    changed = pairs.assign(item=[*pairs["item"][:-1], (pairs["item"].iloc[-1] + 1) % ITEMS])
    assert gan_rec.split(gan_rec.load(write(tmp_path / "changed", [changed]))).sha256 != first.sha256


def test_every_pass_has_every_pair_once_in_an_order_of_its_own(folder, small_buffers):
    train = gan_rec.split(gan_rec.load(folder)).train
    buffers = Buffers(train, seed=5)
    passes = [[as_set(*groups) for groups in buffers.of_pass(number)] for number in (0, 1, 0)]
    assert len(passes[0]) == buffers.n > 3
    assert all(sorted(sum(one, [])) == sorted(as_set(*train.scan())) for one in passes)
    assert passes[0] == passes[2] != passes[1]
    assert max(len(each) for each in passes[0]) <= buffers.capacity
    rest = [as_set(*groups) for groups in buffers.of_pass(0, first=2)]
    assert rest == passes[0][2:]


def test_processes_read_the_parts_of_one_buffer(folder, small_buffers):
    train = gan_rec.split(gan_rec.load(folder)).train
    whole = list(Buffers(train, seed=5).of_pass(1))
    parts = [list(Buffers(train, 5, process, 2).of_pass(1)) for process in range(2)]
    assert train.n_groups % 2 == 0
    for groups, *own in zip(whole, *parts, strict=True):
        assert as_set(*groups[0::2]) == as_set(*own[0])
        assert as_set(*groups[1::2]) == as_set(*own[1])


def test_a_filter_knows_all_pairs_and_few_others():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 10**6, (2, 50_000))
    builder = BloomBuilder(len(users), 10**6, 10**6, largest=2**20)
    builder.add(users[:20_000], items[:20_000])
    builder.add(users[20_000:], items[20_000:])
    known = builder.membership()
    assert bool(jnp.all(known.contains(jnp.asarray(users), jnp.asarray(items))))
    others = jnp.asarray(rng.integers(0, 10**6, (2, 200_000)))
    taken = float(jnp.mean(known.contains(*others)))
    assert 0.8 * builder.expected < taken < 1.25 * builder.expected
    assert builder.expected < 0.02


def test_a_filter_that_would_take_all_pairs_is_none():
    builder = BloomBuilder(10**6, 10**6, 10**6, largest=2**10)
    assert not builder.is_of_use
    assert not bool(builder.membership().contains(jnp.asarray([5]), jnp.asarray([7]))[0])


def test_a_small_world_has_an_exact_bitmap(folder):
    train = gan_rec.split(gan_rec.load(folder)).train
    cells = jnp.asarray(np.indices((USERS, ITEMS)).reshape(2, -1))
    found = np.flatnonzero(train.known.contains(*cells))
    assert found.tolist() == sorted(u * ITEMS + i for u, i in as_set(*train.scan()))
    assert type(make_builder(10**8, 10**6, 10**5)) is BloomBuilder


SETTINGS = dict(recommender="mf", dim=8, batch_size=64, seeds=2, select_on="NDCG@5", evaluate_every=2, patience=9)


def settings(**options):
    return Settings(**SETTINGS | options).resolved()


def test_one_buffer_is_an_epoch_in_memory(folder):
    split = gan_rec.split(gan_rec.load(folder))
    trainer = training(settings(epochs=1, refit=False, average=0), split, ())
    found = trainer.fit(split.train, split.valid).selected
    (groups,) = Buffers(split.train, seed=0).of_pass(0)
    users, items = (np.concatenate(ids) for ids in zip(*groups, strict=True))
    at_hand = Interactions(users, items, split.train.user_ids, split.train.item_ids)
    capacity = trainer.task.on_device(split.train).capacity
    keys = trainer._keys()
    state = trainer._begin(keys[:, 0]).state
    expected, _ = epoch_of_seeds(state, to_device(at_hand, capacity), trainer.game, trainer.schedule, keys[:, 1])
    for a, b in zip(jax.tree.leaves(found.recommender), jax.tree.leaves(expected.average), strict=True):
        np.testing.assert_array_equal(a, b)


class StopError(Exception):
    """A training is killed."""


class Stops:
    """An observer that ends a training after so many buffers."""

    def __init__(self, after):
        self.left = after

    def begin(self, phase, epoch, epochs):
        pass

    def tell(self, rows):
        self.rows = rows

    def pulse(self, epochs):
        self.left -= 1
        if not self.left:
            raise StopError


@pytest.mark.long
def test_a_training_goes_on_within_a_pass(folder, small_buffers, tmp_path):
    split = gan_rec.split(gan_rec.load(folder))

    def run(store, *observers):
        trainer = training(settings(epochs=3, refit=False), split, observers, store)
        object.__setattr__(trainer, "save_after", 0.0)
        assert trainer.rounds > 3
        return trainer.fit(split.train, split.valid).selected

    last = Stops(-1)
    expected = run(None, last)
    store = Checkpoints(tmp_path)
    with pytest.raises(StopError):
        run(store, Stops(Buffers(split.train).n + 2))
    told = Stops(-1)
    found = run(Checkpoints(tmp_path), told)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(told.rows, last.rows, strict=True):
        assert a["data_loss"] == pytest.approx(b["data_loss"])


def test_the_mean_loss_of_a_pass_counts_every_pair_alike():
    start = {"data_loss": jnp.zeros(2), "finite": jnp.ones(2, bool)}
    first = {"data_loss": jnp.array([1.0, 2.0]), "finite": jnp.array([True, False])}
    second = {"data_loss": jnp.array([5.0, 6.0]), "finite": jnp.array([True, True])}
    found = streaming._added(streaming._added(start, first, 0.75), second, 0.25)
    np.testing.assert_allclose(found["data_loss"], [2.0, 3.0])
    assert found["finite"].tolist() == [True, False]


@pytest.mark.long
def test_a_run_learns_and_recommends_what_a_user_has_not_seen(
    folder, pairs, small_buffers, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(streamed, "EVALUATED_USERS", 20)
    out = tmp_path / "run"
    options = (
        "--recommender mf --dim 8 --batch-size 64 --seeds 2 --epochs 6 --evaluate-every 2 --k 5 --select-on NDCG@5"
    )
    cli.main(["train", "--dataset", str(folder), *options.split(), "--out", str(out), "--quiet"])
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    selection = [row for row in rows if row["model"] == "twin" and row["phase"] == "selection" and row["seed"] == 0]
    assert [row["epoch"] for row in selection] == [1, 2, 3, 4, 5, 6]
    assert selection[-1]["data_loss"] < 0.95 * selection[0]["data_loss"]
    split = gan_rec.split(gan_rec.load(folder))
    other = int(np.flatnonzero(~split.train.held_out.chosen)[0])
    capsys.readouterr()
    cli.main(["recommend", str(out), "--users", str(other), "-k", "10", "--format", "csv"])
    named = {int(line.split(",")[2]) for line in capsys.readouterr().out.splitlines()[1:]}
    assert len(named) == 10
    assert not named & set(pairs["item"][pairs["user"] == other])
    cli.main(["evaluate", str(out), "--format", "json"])
    again = json.loads(capsys.readouterr().out)["models"]["twin"]["NDCG@5"]["mean"]
    assert again == pytest.approx(json.loads((out / "results.json").read_text())["models"]["twin"]["NDCG@5"]["mean"])


def test_popularity_counts_the_rows_of_its_part(tmp_path, pairs):
    twice = pd.concat([pairs, pairs[::2]])
    split = gan_rec.split(gan_rec.load(write(tmp_path / "twice", [twice])))
    for part in (split.train, split.train_and_valid()):
        items = np.concatenate([items for _, items in part.scan()])
        np.testing.assert_array_equal(part.item_counts(), np.bincount(items, minlength=ITEMS))
        assert len(part) == len(items) < len(twice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recommender": "autoencoder"}, "recommender 'mf', got 'autoencoder'"),
        ({"recommender": "mix"}, "recommender 'mf', got 'mix'"),
        ({"loss": "softmax"}, "a loss over pairs, got 'softmax'"),
        ({"game": "apr", "adversary": "accumulated"}, "no other rows than those of the batch, got 'accumulated'"),
        ({"balance": "gradient"}, "balance 'fixed', got 'gradient'"),
    ],
)  # fmt: skip
def test_what_needs_all_data_at_once_is_refused(folder, options, message):
    split = gan_rec.split(gan_rec.load(folder))
    with pytest.raises(UserError, match=message):
        training(settings(**options), split, ())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--folds", "2"], "a cross-validation is not possible with streamed"),
        (["train", "--split", "temporal"], "allowed: random, got temporal"),
        (["train", "--min-user", "5"], "min_user is not possible with streamed"),
        (["train", "--buffer", "0"], "buffer must be at least 1"),
        (["train", "--recommender", "autoencoder"], "need recommender 'mf'"),
        (["train", "--table-updates", "row-adagrad", "--loss", "softmax"], "table_updates 'row-adagrad' needs"),
        (["compare", "--models", "ease"], "a search is not possible with streamed"),
        (["train", "--user-column", "who"], "has no column 'who'"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_a_line(folder, arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        cli.main([arguments[0], "--dataset", str(folder), *arguments[1:], "--out", str(tmp_path / "run")])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert not (tmp_path / "run").exists()


def test_files_that_do_not_fit_are_told(tmp_path, pairs):
    halves = cut(pairs, 2)
    with pytest.raises(UserError, match="column 'user' is double, it must be whole number or text"):
        gan_rec.load(write(tmp_path / "a", [halves[0].assign(user=halves[0]["user"] + 0.5)]))
    with pytest.raises(UserError, match="is string, in part-0.parquet int64|is large_string, in part-0.parquet int64"):
        gan_rec.load(write(tmp_path / "b", [halves[0], halves[1].astype({"item": str})]))
    with pytest.raises(UserError, match="has no column 'item', which part-0.parquet has"):
        gan_rec.load(write(tmp_path / "c", [halves[0], halves[1].rename(columns={"item": "thing"})]))
    with pytest.raises(UserError, match="have no row"):
        gan_rec.load(write(tmp_path / "d", [pairs[:0]]))
    broken = write(tmp_path / "e", halves)
    content = (broken / "part-1.parquet").read_bytes()
    (broken / "part-1.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot read .*part-1.parquet as Parquet"):
        gan_rec.load(broken)


def test_whole_numbers_of_any_kind_are_the_same_ids(tmp_path, pairs):
    halves = cut(pairs.assign(user=pairs["user"] + 2**60), 2)
    data = gan_rec.load(write(tmp_path / "kinds", [halves[0], halves[1].astype({"user": np.uint64, "item": np.int8})]))
    assert data.users.values.tolist() == [2**60 + user for user in range(USERS)]
    too_large = halves[0].assign(user=np.uint64(2**63) + np.arange(len(halves[0]), dtype=np.uint64))
    with pytest.raises(UserError, match=r"column 'user' has whole numbers from 2\*\*63 on; allowed"):
        gan_rec.load(write(tmp_path / "large", [too_large]))


def test_an_empty_text_is_no_id(tmp_path):
    frame = pd.DataFrame({"user": ["a", "", "b", "a"], "item": ["x", "x", "y", ""]})
    data = gan_rec.load(write(tmp_path / "texts", [frame]))
    assert (data.n_users, data.n_items, data.n_pairs) == (2, 2, 2)


def test_columns_within_columns_and_files_without_rows_do_not_matter(tmp_path, pairs):
    where = write(tmp_path / "nested", [pairs[:0].astype(object), pairs.assign(about=[{"user": 7}] * len(pairs))[
        ["about", "user", "item"]]])  # fmt: skip
    assert gan_rec.load(where).n_users == USERS


def test_what_is_in_the_folder_beside_is_told(tmp_path, pairs):
    where = write(tmp_path / "beside", [pairs])
    (where / "more.csv").write_text("user,item\n1,2\n")
    (where / "_SUCCESS").touch()
    (where / "2024").mkdir()
    assert "not read: 2024, more.csv" in gan_rec.load(where).notes


def test_files_of_several_parts_are_not_stirred_together(tmp_path, pairs):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        pairs.to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(UserError, match=r"files of several parts \(test-00000-of-00001.parquet, train-"):
        gan_rec.load(tmp_path)


def test_two_columns_of_one_name_are_told(tmp_path, pairs):
    where = write(tmp_path / "double", [])
    columns = [pa.array(pairs[name]) for name in ("user", "item", "item")]
    pq.write_table(pa.table(columns, names=["user", "item", "item"]), where / "a.parquet")
    with pytest.raises(UserError, match="has 2 columns named 'item'"):
        gan_rec.load(where)


def test_a_buffer_of_nothing_is_passed_over(tmp_path, pairs, monkeypatch):
    """All of the file is below the bound: as where files are sorted by rating."""
    monkeypatch.setattr(streamed.StreamedDataset, "groups_in_buffer", 1)
    where = write(tmp_path / "sorted", [pairs.assign(rating=5), pairs[: 2 * GROUP].assign(rating=1)])
    split = gan_rec.split(gan_rec.load(where, positive_from=4))
    assert any(sum(len(users) for users, _ in groups) == 0 for groups in Buffers(split.train).of_pass(0))
    trainer = training(settings(epochs=1, refit=False), split, (last := Stops(-1),))
    found = trainer.fit(split.train, split.valid).selected
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    assert 0.5 < last.rows[0]["data_loss"] < 0.8  # about log 2


def test_a_buffer_smaller_than_a_row_group_is_refused(tmp_path):
    large = pd.DataFrame({"user": np.arange(300_000) % 1000, "item": np.arange(300_000) % 77})
    where = write(tmp_path / "large", [large], row_group_size=300_000)
    with pytest.raises(UserError, match="buffer 1 .MiB. is too small .* need 3"):
        gan_rec.load(where, buffer=1)


@pytest.mark.long
def test_two_processes_that_each_read_half_learn_what_one_does(tmp_path, pairs):
    even = write(tmp_path / "even", cut(pairs[: len(pairs) // (4 * GROUP) * 4 * GROUP], 2))
    options = (
        "--recommender mf --dim 8 --batch-size 48 --seeds 2 --epochs 3 --evaluate-every 1 --noise 2 --hidden 4 --quiet "
        "--select-on NDCG@5 --k 5"
    ).split()
    where = f"127.0.0.1:{free_port()}"
    shared = ["--dataset", even, *options]
    together = ["--out", tmp_path / "two", "--mesh", "data=2,model=4", "--processes", 2, "--coordinator", where]
    two = [start([*shared, *together, "--process-id", number], FOUR) for number in range(2)]
    finish(start([*shared, "--out", tmp_path / "one"]))
    for process in two:
        finish(process)

    def losses(run):
        rows = map(json.loads, (tmp_path / run / "metrics.jsonl").read_text().splitlines())
        return np.array([[row["data_loss"], row["adversarial_loss"]] for row in rows])

    np.testing.assert_allclose(losses("two"), losses("one"), atol=1e-4)
