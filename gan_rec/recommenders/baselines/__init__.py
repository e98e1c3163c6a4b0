"""Baselines: closed forms and neighbourhoods, each `fit(train, seed)` -> a recommender like every other."""

from gan_rec.recommenders.baselines.factors import IALS, PureSVD
from gan_rec.recommenders.baselines.linear import EASE, EDLAE, SLIM
from gan_rec.recommenders.baselines.neighbours import ItemKNN, RP3beta, UserKNN
from gan_rec.recommenders.baselines.people import AdamicAdar, CommonNeighbours
from gan_rec.recommenders.baselines.social import SocialEASE
from gan_rec.recommenders.baselines.transitions import Markov

BASELINES = {
    "item-knn": ItemKNN, "user-knn": UserKNN, "rp3beta": RP3beta, "pure-svd": PureSVD, "ease": EASE, "edlae": EDLAE,
    "slim": SLIM, "ials": IALS, "markov": Markov, "common-neighbours": CommonNeighbours, "adamic-adar": AdamicAdar,
    "social-ease": SocialEASE,
}  # fmt: skip

__all__ = [
    "BASELINES", "EASE", "EDLAE", "IALS", "SLIM", "AdamicAdar", "CommonNeighbours", "ItemKNN", "Markov", "PureSVD",
    "RP3beta", "SocialEASE", "UserKNN",
]  # fmt: skip
