"""Baselines: closed forms and neighbourhoods, each `fit(train, seed)` -> a recommender like every other."""

from gan_rec.recommenders.baselines.factors import IALS, PureSVD
from gan_rec.recommenders.baselines.linear import EASE, EDLAE, SLIM
from gan_rec.recommenders.baselines.neighbours import ItemKNN, RP3beta, UserKNN

BASELINES = {
    "item-knn": ItemKNN, "user-knn": UserKNN, "rp3beta": RP3beta, "pure-svd": PureSVD, "ease": EASE, "edlae": EDLAE,
    "slim": SLIM, "ials": IALS,
}  # fmt: skip

__all__ = ["BASELINES", "EASE", "EDLAE", "IALS", "SLIM", "ItemKNN", "PureSVD", "RP3beta", "UserKNN"]
