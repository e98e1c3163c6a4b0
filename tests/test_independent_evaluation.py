"""results.json against twenty lines of NumPy that read nothing but the files a user has."""

import json

import numpy as np
import pandas as pd
import pytest

from gan_rec import cli


def independent(recommended: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    scores = {"P@5": [], "NDCG@20": [], "R@20": [], "MRR@20": []}
    lists = {user: rows.sort_values("rank")["item"].tolist() for user, rows in recommended.groupby("user")}
    for user, rows in test.groupby("user"):
        relevant = set(rows["item"])
        gains = np.array([item in relevant for item in lists[user]], float)
        discounts = np.log2(np.arange(2, 22))
        ideal = np.sum(1 / discounts[: min(20, len(relevant))])
        scores["P@5"].append(gains[:5].sum() / 5)
        scores["NDCG@20"].append(np.sum(gains / discounts) / ideal)
        scores["R@20"].append(gains.sum() / len(relevant))
        scores["MRR@20"].append(1 / (np.argmax(gains) + 1) if gains.any() else 0.0)
    return {name: float(np.mean(values)) for name, values in scores.items()}


@pytest.mark.long
def test_csv_against_test_file(data_folder, tmp_path, optimised):
    data, out = data_folder / "cfgan-ml100k", tmp_path / "run"
    cli.main(f"train --dataset {data} --seeds 2 --epochs 3 --dim 32 --no-refit --out {out} --quiet".split())
    train, test = (
        pd.read_csv(data / f"{part}.txt", sep=" ", names=["user", "item", "rating"]) for part in ("train", "test")
    )
    found = json.loads((out / "results.json").read_text())["models"]["adversarial"]
    for seed_index in (0, 1):
        csv = tmp_path / f"{seed_index}.csv"
        cli.main(f"recommend {out} --all -k 20 --format csv --seed-index {seed_index} --output {csv}".split())
        recommended = pd.read_csv(csv)
        assert not len(recommended.merge(train, on=["user", "item"])), "seen items must be left out"
        for name, value in independent(recommended, test).items():
            assert found[name]["per_seed"][seed_index] == pytest.approx(value, abs=1e-6), name
