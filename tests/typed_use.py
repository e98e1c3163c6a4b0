"""What users call, as a type checker sees it: `mypy` reads this file, nothing runs it."""

import numpy as np
import pandas as pd

import gan_rec


def main() -> None:
    """The README's first lines in Python, and what comes of them."""
    data: gan_rec.data.Dataset | gan_rec.data.StreamedDataset = gan_rec.load("ml-100k")
    split: gan_rec.data.Split = gan_rec.split(data)
    model: gan_rec.Fitted = gan_rec.fit(split, recommender="autoencoder", seeds=3)
    twin: gan_rec.Fitted = gan_rec.fit(split, recommender="autoencoder", alpha=1, seeds=3)
    found: gan_rec.evaluation.evaluate.Evaluation = gan_rec.evaluate(model, ks=(10,))
    values: np.ndarray = found.per_seed("NDCG@10")
    lists: pd.DataFrame = gan_rec.recommend(model, users=[1, 2], k=int(values.size))
    damage: gan_rec.Evasion = gan_rec.evade({"adversarial": model, "twin": twin})
    radii: pd.DataFrame = gan_rec.certify({"twin": twin})
    print(lists, damage.areas(), radii)
