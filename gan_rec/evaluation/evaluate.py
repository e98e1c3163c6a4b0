"""What a set of recommenders (one for each seed) scores on held-out pairs."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from gan_rec.data.interactions import Interactions
from gan_rec.data.sampling import Positives
from gan_rec.errors import UserError
from gan_rec.evaluation import beyond, metrics
from gan_rec.evaluation.ranking import top_items
from gan_rec.evaluation.significance import holm, paired_test, summary

METRICS = (*metrics.METRICS, *beyond.PER_USER, "coverage", *beyond.PER_MODEL)  # each with a cut-off, as in NDCG@20


@dataclass(frozen=True)
class Evaluation:
    """Metrics of S seeds on the n users who have a held-out item."""

    users: np.ndarray  # [n] user indices
    per_user: dict[str, np.ndarray]  # metric -> [S, n]; NaN, for all seeds, where a user has none
    per_model: dict[str, np.ndarray]  # metric -> [S], for metrics that no single user has: coverage, Gini

    def per_seed(self, metric: str) -> np.ndarray:
        """The metric's mean over the users who have it, for each seed, `[S]`; NaN if nobody has."""
        if metric in self.per_model:
            return self.per_model[metric]
        values = self.per_user[metric][:, self.defined(metric)]
        return values.mean(axis=1) if values.shape[1] else np.full(len(values), np.nan)

    def defined(self, metric: str) -> np.ndarray:
        """Which users have the metric, bool `[n]`."""
        return ~np.isnan(self.per_user[metric]).any(axis=0)

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
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "std", "ci95"])
        return table.map(lambda x: "" if x is None else x).to_html()  # one seed has no interval


def evaluate_ranking(
    recommenders,
    seen: Positives,
    truth: Interactions,
    ks: tuple[int, ...],
    *,
    side: str = "user",
    beyond_accuracy: bool = False,
) -> Evaluation:
    """Rank the whole catalogue, or the candidates of `truth`, for every user of `truth`, without what is in `seen`.

    Args:
        recommenders: weights with a leading axis of S.
        seen: pairs known before; they are the histories, and masked.
        truth: held-out pairs; with the items that are ranked, if these are not all.
        ks: cut-offs.
        side: how the recommenders were trained, see `gan_rec.recommenders.flipped.flip`.
        beyond_accuracy: measure also what lists are like beside their hits, and for which users and items they are
            right, at the largest cut-off alone; see `gan_rec.evaluation.beyond.beyond_accuracy`, where `seen` counts as
            training. Too slow for every epoch.

    Raises:
        UserError: a cut-off is above the number of items that are ranked or below 1, or `truth` is empty.
    """
    check_cutoffs(ks, truth.n_items, truth.candidates)
    if len(truth) == 0:
        raise UserError("there is no held-out interaction to evaluate on")
    users = np.unique(truth.users)
    items, scores = top_items(recommenders, seen, users, max(ks), side=side, candidates=truth.candidates)
    return evaluate_lists(users, items, scores, truth, ks, seen if beyond_accuracy else None)


def evaluate_lists(
    users: Int[np.ndarray, " n"],
    items: Int[np.ndarray, "S n K"],
    scores: Float[np.ndarray, "S n K"],
    truth: Interactions,
    ks: tuple[int, ...],
    seen: Positives | None = None,
) -> Evaluation:
    """Measure finished lists of the n users; of these only the ones of `truth` count.

    Args:
        users: indices, ascending; all users of `truth` are among them.
        items, scores: their lists, best first, as `top_items` gives them; K is at least the largest cut-off.
        truth: held-out pairs.
        ks: cut-offs.
        seen: pairs known before, if it shall also be measured what lists are like beside their hits; see
            `gan_rec.evaluation.beyond.beyond_accuracy`.
    """
    own = np.isin(users, truth.users)
    users, items, scores = users[own], items[:, own], scores[:, own]
    # Filled up with seen items (score -inf) where a user has fewer than k unseen ones: those are no recommendations.
    shown = np.isfinite(scores)
    hits, n_relevant = metrics.relevance(items, truth, users)
    per_user = metrics.per_user(hits & shown, n_relevant, ks)
    n_ranked = truth.n_items if truth.candidates is None else int(truth.candidates.sum())
    per_model = {f"coverage@{k}": metrics.coverage(items[..., :k], shown[..., :k], n_ranked) for k in ks}
    if seen is not None:
        of_users, of_models = beyond.beyond_accuracy(items, shown, users, truth, hits, _matrix(seen))
        per_user, per_model = per_user | of_users, per_model | of_models
    return Evaluation(users, per_user, per_model)


def _matrix(pairs: Positives) -> csr_array:
    """`[U, I]`, 1 where a user has an item."""
    n, shape = int(pairs.n_pairs), (pairs.n_users, pairs.n_items)
    rows = np.asarray(pairs.users)[:n], np.asarray(pairs.items)[:n]
    matrix = csr_array((np.ones(n), rows), shape=shape)
    matrix.data[:] = 1  # a pair that stands in two parts is summed up
    return matrix


def check_cutoffs(ks: tuple[int, ...], n_items: int, candidates: np.ndarray | None = None) -> None:
    """Raise UserError unless every cut-off lies between 1 and the size of the catalogue, or of its `candidates`."""
    ranked, n = ("the catalogue has", n_items) if candidates is None else ("there are only", int(candidates.sum()))
    to_rank = "" if candidates is None else " to rank"
    if not ks:
        raise UserError("no cut-off k is given; at least one is needed, for example 20")
    for k in ks:
        if not isinstance(k, int):
            raise UserError(f"k must be a whole number, got {k!r}")
        if not 1 <= k <= n:
            raise UserError(f"k = {k} is not possible: {ranked} {n} items{to_rank}, so k may be 1 to {n}")


def compare_models(adversarial: Evaluation, twin: Evaluation) -> dict[str, dict]:
    """Paired t-test over users of adversarial minus twin for every per-user metric, Holm-corrected over all of them.

    A metric is tested over the users who have it; one that nobody has is not among the tests.
    """
    users = {name: adversarial.defined(name) for name in adversarial.per_user}
    tests = {
        name: paired_test(adversarial.per_user[name][:, have], twin.per_user[name][:, have])
        for name, have in users.items()
        if have.any()
    }
    corrected = holm([test["p"] for test in tests.values()])
    return {name: test | {"p_holm": p} for (name, test), p in zip(tests.items(), corrected, strict=True)}
