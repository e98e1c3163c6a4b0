"""Do links between users help to rank, and who is to be followed?

    python benchmarks/social.py --output benchmarks/results/social.jsonl    # 2 CPU cores: some 30 minutes
    python benchmarks/social.py trust --smoke                               # a made-up world, some minutes
    python benchmarks/social.py --table

trust: films of FilmTrust by LightGCN with and without the users' trust, in the split that the data bring, and in a
random split of all ratings, whose test part is four times as large.
friends: friends of Last.fm, as items. Common neighbours, Adamic-Adar and the tuned baselines of any ranking; trained
recommenders, each beside its twin without an adversary; and a policy over people against a critic that is an inner
product, in the way of GraphGAN (Wang et al., AAAI 2018; here the policy is a softmax over all, not a walk).
A JSON line for each model: metrics on test, and differences paired by user. All that is chosen is chosen on validation.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from beside import Common, baseline, line, trained
from cells import decimals, markdown, with_interval
from lines import kept, made_with, tell

RESULTS = Path(__file__).parent / "results" / "social.jsonl"
METRIC, METRICS, KS = "NDCG@10", ("NDCG@10", "R@20"), (10, 20)
TWIN = {"adversary": "fgm", "alpha": 1.0}
OF_TRUST = ("popularity", "item-knn", "ease", "social-ease")
OF_FRIENDS = ("popularity", "common-neighbours", "adamic-adar", "item-knn", "user-knn", "ease", "edlae")
# Chosen on validation, from a handful of values of each; those of trust in the data's own split.
_LIGHT = {"epochs": 50, "patience": 15, **TWIN}
TRUST = {
    "lightgcn": {"recommender": "lightgcn", **_LIGHT},
    "social-lightgcn": {"recommender": "social-lightgcn", "spread": "apart", "link_weight": 0.5, **_LIGHT},
}
_MF = {"recommender": "mf", "dim": 64, "weight_decay": 2.0, "epochs": 100}
_POLICY = {"game": "irgan", "bias": False, "warm_up": 50, "warm_up_learning_rate": 5e-3, "learning_rate": 1e-3}
FRIENDS = {
    "dot product": {**_MF, "loss": "softmax", **TWIN},
    "dot product, policy against critic": {**_MF, **_POLICY},
    "dot product, the policy's twin": {**_MF, **_POLICY, "alpha": 1.0},
    "autoencoder": {"recommender": "autoencoder", "epochs": 100, **TWIN},
    "lightgcn": {"recommender": "lightgcn", "weight_decay": 1.5, "epochs": 60, "patience": 20, **TWIN},
    "autoencoder+vat": {"recommender": "autoencoder", "epochs": 100, "adversary": "vat", "epsilon": 0.2},
}


@dataclass(frozen=True)
class Options(Common):
    """What to measure."""

    what: Annotated[tuple[Literal["trust", "friends"], ...], tyro.conf.Positional] = ("trust", "friends")


def main(options: Options) -> None:
    """Measure all rows."""
    if options.table:
        for part in ("trust", "friends"):
            print("\n".join((*table(kept(RESULTS), part), "")))
        return
    if options.smoke:
        options = dataclasses.replace(options, seeds=1, trials=2, epochs=2)
    for name, split, baselines, models in worlds(options):
        measure(name, split, baselines, models, options)


def worlds(options: Options):
    """Name, split, baselines and trained models of every part that is asked for."""
    import gan_rec

    for what in options.what:
        if options.smoke:
            yield what, gan_rec.split(made_up(what)), OF_TRUST[:1], TRUST if what == "trust" else FRIENDS
        elif what == "friends":
            yield what, gan_rec.split(gan_rec.load("hetrec-lastfm-friends")), OF_FRIENDS, FRIENDS
        else:
            folder = Path(os.environ.get("GAN_REC_DATA", ".")) / "filmtrust"
            yield what, gan_rec.split(gan_rec.load("filmtrust", links=True)), OF_TRUST, TRUST
            whole = gan_rec.load(folder / "ratings.txt", links=folder / "trust.txt")
            yield "trust, random split", gan_rec.split(whole, "random"), OF_TRUST, TRUST


def measure(name: str, split, baselines, models: dict, options: Options) -> None:
    """A line for each model of one part."""
    seen = {}

    def write(row) -> None:
        seen[row.name] = row
        about = {"benchmark": "social", "part": name, "dataset": split.name, "seeds": options.seeds}
        tell(about | line(row, METRICS, seen) | {"environment": made_with()}, options.output)

    for each in baselines:
        write(baseline(each, split, METRIC, KS, options.trials))
    for each, values in models.items():
        small = {"seeds": options.seeds}
        if options.epochs is not None:
            small |= {"epochs": options.epochs} | ({"warm_up": 1} if values.get("warm_up") else {})
        write(trained(each, split, METRIC, KS, **values | small))


def made_up(what: str):
    """The synthetic world: users linked with whoever has much in common with them, or only these links."""
    import pandas as pd

    import gan_rec

    data = gan_rec.load("synthetic")
    pairs = data.parts["all"]
    whole = np.zeros((pairs.n_users, pairs.n_items), np.float32)
    whole[pairs.users, pairs.items] = 1
    common = whole @ whole.T
    np.fill_diagonal(common, 0)
    ends = np.argwhere((common >= np.sort(common, axis=1)[:, -6:-5]) & (common > 0))
    if what == "friends":
        both = np.concatenate([ends, ends[:, ::-1]])
        return dataclasses.replace(
            gan_rec.load(pd.DataFrame(both, columns=["user", "item"]), people=True), default_split="links"
        )
    from gan_rec.data.side import SideInformation

    return dataclasses.replace(data, side_information=SideInformation(user_links=ends.astype(np.int32)))


def table(found: list[dict], part: str) -> list[str]:
    """What has been measured of trust or of friends, as Markdown."""
    cells = []
    for each in found:
        if not each["part"].startswith(part):
            continue
        rival = each["model"].removeprefix("social-") if part == "trust" else "adamic-adar"
        test = each["against"].get(rival, {}).get(METRIC)
        difference = f"{decimals(test['difference'], sign='+')} ({test['p']:.2g})" if test else ""
        own = [with_interval(each["test"][METRIC]), decimals(each["test"]["R@20"]["mean"])]
        split = {"trust": ["the data's own"], "trust, random split": ["random, 20%"]}.get(each["part"], [])
        cells.append((*split, f"`{each['model']}`", *own, difference))
    split = ["test part"] if part == "trust" else []
    against = {"trust": "against the same without trust (p)", "friends": "against `adamic-adar` (p)"}[part]
    return markdown((*split, "model", METRIC, "R@20", against), cells)


if __name__ == "__main__":
    main(tyro.cli(Options))
