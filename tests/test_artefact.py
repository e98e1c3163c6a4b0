import json

import numpy as np
import pandas as pd
import pytest
from conftest import checkerboard, later

import gan_rec
from gan_rec.data import Split
from gan_rec.errors import UserError
from gan_rec.experiments.artefact import dequantise, export, load_artefact, measure, quantise, save

BIASED = {"recommender": "mf", "bias": True}
SMALL = {"dim": 8, "batch_size": 8, "seeds": 2, "epochs": 2, "select_on": "NDCG@5", "progress": False}


@pytest.fixture(scope="module")
def split():
    return Split("checkerboard", "fixed", *checkerboard(16))


@pytest.fixture(scope="module")
def biased(split):
    return gan_rec.fit(split, **SMALL | BIASED)


@pytest.mark.parametrize(
    "options",
    [
        BIASED,
        *(later(options) for options in (
            {"recommender": "mix", "adversary": "fgm"}, {"recommender": "autoencoder"}, {"recommender": "lightgcn"},
            {"recommender": "autoencoder", "side": "item"}, {"game": "cfgan", "side": "item"},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_a_written_file_recommends_what_the_model_does(split, biased, options, tmp_path):
    fitted = biased if options is BIASED else gan_rec.fit(split, **SMALL | options)
    artefact = export(fitted, seed_index=1)
    save(tmp_path / "rows.npz", artefact)
    expected = gan_rec.recommend(fitted, k=5, seed_index=1)
    found = load_artefact(tmp_path / "rows.npz").recommend(k=5)
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-4, atol=1e-5)


def test_whole_numbers_stay_within_half_a_step_and_are_smaller(split, tmp_path):
    table = np.random.default_rng(0).normal(size=(50, 130)).astype(np.float32)
    table[3, 64:128] = 0
    table[:, 128] = 1000  # a column of another size spoils its own group alone
    whole, scales = quantise(table)
    assert whole.dtype == np.int8 and scales.shape == (50, 3)
    error = np.abs(dequantise(whole, scales) - table)
    assert np.all(error <= np.repeat(scales, 64, axis=1)[:, :130] / 2 + 1e-6)
    assert np.all(error[:, :128] < 0.02) and np.all(error[3, 64:128] == 0)


def test_a_file_of_whole_numbers_loses_little(split, tmp_path):
    fitted = gan_rec.fit(split, **SMALL | {"dim": 64, "epochs": 10})
    save(tmp_path / "rows.npz", export(fitted), int8=True)
    measured = measure(fitted, 0, export(fitted), tmp_path / "rows.npz")
    accuracy, size = measured["NDCG@16 on test"], measured["MiB of rows"]
    assert accuracy["written"] == pytest.approx(accuracy["float32"], abs=0.02)
    assert size["float32"] / size["written"] > 3.5


def test_ids_that_are_no_numbers_and_candidates_come_back(tmp_path):
    rows = [(f"u-{u}", f"Item {i}") for u in range(12) for i in range(12) if (u + i) % 2]
    data = gan_rec.load(pd.DataFrame(rows, columns=["user", "item"]))
    split = gan_rec.split(data, "cold-items", test_fraction=0.3, valid_fraction=0.3)
    fitted = gan_rec.fit(split, recommender="mf", **SMALL | {"select_on": "NDCG@2"})
    save(tmp_path / "rows.npz", export(fitted))
    found = load_artefact(tmp_path / "rows.npz")
    np.testing.assert_array_equal(found.candidates, split.candidates)
    assert found.recommend(["u-3"], k=2)["item"].tolist() == gan_rec.recommend(fitted, ["u-3"], k=2)["item"].tolist()


def test_mistakes_are_told(biased, tmp_path):
    fitted = biased
    with pytest.raises(UserError, match="seed index 2"):
        export(fitted, seed_index=2)
    with pytest.raises(UserError, match="cannot write"):
        save(tmp_path / "none" / "rows.npz", export(fitted))
    with pytest.raises(UserError, match="cannot read"):
        load_artefact(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text(json.dumps({"no": "arrays"}))
    with pytest.raises(UserError, match="no file that the command export wrote"):
        load_artefact(tmp_path / "text.npz")
    save(tmp_path / "rows.npz", export(fitted))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "rows.npz").read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged"):
        load_artefact(tmp_path / "cut.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(UserError, match="no file that the command export wrote"):
        load_artefact(tmp_path / "one.npy")
    with np.load(tmp_path / "rows.npz") as file:
        arrays = dict(file)
    for wrong in ({"user_ids": np.arange(3)}, {"items": arrays["items"] + 9}, {"candidates": np.ones(3, bool)}):
        np.savez(tmp_path / "wrong.npz", **arrays | wrong)
        with pytest.raises(UserError, match="damaged"):
            load_artefact(tmp_path / "wrong.npz")
    with pytest.raises(UserError, match="memory must be at least 1 MiB"):
        load_artefact(tmp_path / "rows.npz").recommend(k=3, memory=0)
