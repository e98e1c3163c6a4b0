"""What a set of recommenders (one for each seed) scores on held-out pairs."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import Positives
from gan_rec.errors import UserError
from gan_rec.evaluation import metrics
from gan_rec.evaluation.ranking import top_items
from gan_rec.evaluation.significance import holm, paired_test, summary


@dataclass(frozen=True)
class Evaluation:
    """Metrics of S seeds on the n users who have a held-out item."""

    users: np.ndarray  # [n] user indices
    per_user: dict[str, np.ndarray]  # metric -> [S, n]
    per_model: dict[str, np.ndarray]  # metric -> [S], for metrics that no single user has: coverage

    def per_seed(self, metric: str) -> np.ndarray:
        """The metric's mean over users for each seed, `[S]`."""
        return self.per_model[metric] if metric in self.per_model else self.per_user[metric].mean(axis=1)

    def summary(self) -> dict[str, dict]:
        """For every metric its mean, standard deviation, 95% interval and values over seeds."""
        return {name: summary(self.per_seed(name)) for name in (*self.per_user, *self.per_model)}

    def frame(self, model: str, user_ids: np.ndarray, seeds: list[int]) -> pd.DataFrame:
        """A row for each seed and user: `model, seed, user` and every metric."""
        n = len(self.users)
        columns = {"model": model, "seed": np.repeat(seeds, n), "user": np.tile(user_ids[self.users], len(seeds))}
        return pd.DataFrame(columns | {name: values.reshape(-1) for name, values in self.per_user.items()})

    def _repr_html_(self) -> str:
        rows = {name: (s["mean"], s["std"], s["ci95"]) for name, s in self.summary().items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "std", "ci95"]).to_html()


def evaluate_ranking(
    recommenders, seen: Positives, truth: Interactions, ks: tuple[int, ...], *, side: str = "user"
) -> Evaluation:
    """Rank the whole catalogue, or the candidates of `truth`, for every user of `truth`, without what is in `seen`.

    Args:
        recommenders: weights with a leading axis of S.
        seen: pairs known before; they are the histories, and masked.
        truth: held-out pairs; with the items that are ranked, if these are not all.
        ks: cut-offs.
        side: how the recommenders were trained, see `gan_rec.recommenders.flipped.flip`.

    Raises:
        UserError: a cut-off is above the number of items that are ranked or below 1, or `truth` is empty.
    """
    check_cutoffs(ks, truth.n_items, truth.candidates)
    if len(truth) == 0:
        raise UserError("there is no held-out interaction to evaluate on")
    users = np.unique(truth.users)
    items, scores = top_items(recommenders, seen, users, max(ks), side=side, candidates=truth.candidates)
    # Filled up with seen items (score -inf) where a user has fewer than k unseen ones: those are no recommendations.
    shown = np.isfinite(scores)
    hits, n_relevant = metrics.relevance(items, truth, users)
    per_user = metrics.per_user(hits & shown, n_relevant, ks)
    n_ranked = truth.n_items if truth.candidates is None else int(truth.candidates.sum())
    coverage = {f"coverage@{k}": metrics.coverage(items[..., :k], shown[..., :k], n_ranked) for k in ks}
    return Evaluation(users, per_user, coverage)


def check_cutoffs(ks: tuple[int, ...], n_items: int, candidates: np.ndarray | None = None) -> None:
    """Raise UserError unless every cut-off lies between 1 and the size of the catalogue, or of its `candidates`."""
    ranked, n = ("the catalogue has", n_items) if candidates is None else ("there are only", int(candidates.sum()))
    if not ks:
        raise UserError("no cut-off k is given; at least one is needed, for example 20")
    for k in ks:
        if not isinstance(k, int):
            raise UserError(f"k must be a whole number, got {k!r}")
        if not 1 <= k <= n:
            cold = "" if candidates is None else " cold"
            raise UserError(f"k = {k} is not possible: {ranked} {n}{cold} items, so k may be 1 to {n}")


def compare_models(adversarial: Evaluation, twin: Evaluation) -> dict[str, dict]:
    """Paired t-test over users of adversarial minus twin for every per-user metric, Holm-corrected over all of them."""
    tests = {name: paired_test(adversarial.per_user[name], twin.per_user[name]) for name in adversarial.per_user}
    corrected = holm([test["p"] for test in tests.values()])
    return {name: test | {"p_holm": p} for (name, test), p in zip(tests.items(), corrected, strict=True)}
