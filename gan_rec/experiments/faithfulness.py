"""Whether explanations are true of the model: deletion curves beside those of orders that explain nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pandas as pd

from gan_rec.errors import UserError
from gan_rec.evaluation.significance import holm, over_users, paired_test
from gan_rec.experiments.explaining import Model, model_of, ranks, with_candidates
from gan_rec.experiments.explanation_views import BASELINES, deletion_text
from gan_rec.experiments.fitting import Fitted
from gan_rec.robustness import explanations
from gan_rec.robustness.deletion import SHARES, area, deletion_curves, gain, places, random_orders, relative

MEASURES = ("score", "gain")


@dataclass(frozen=True)
class Deletion:
    """Deletion curves of several orders for the same first recommendations of n users, by S seeds.

    `curves`: order -> measure -> `[S, n, T]`, 1 before anything is taken out. "score": standard deviations of the
    recommended item's score above the mean of what the user does not have, over what they are in the beginning; "gain":
    1 / log2(1 + rank). Areas are means over the share that is gone; less is more faithful.
    """

    curves: dict[str, dict[str, np.ndarray]]
    users: np.ndarray  # original ids
    shares: tuple[float, ...] = SHARES

    def areas(self, order: str, measure: str) -> np.ndarray:
        """The area under each curve, `[S, n]`."""
        return area(self.curves[order][measure], self.shares)

    @property
    def table(self) -> pd.DataFrame:
        """A row for each measure and order.

        The mean area with its 95% interval over users, each user's value averaged over seeds first; and for methods the
        paired differences from each baseline, with their intervals and Holm's p over all tests.
        """
        rows, tests = [], []
        for measure in MEASURES:
            for order in self.curves:
                mean = over_users(self.areas(order, measure))
                low, high = mean["ci95"]
                row = {"measure": measure, "order": order, "area": mean["mean"], "low": low, "high": high}
                rows.append(row | {"users": mean["users"]})
                if order not in BASELINES:
                    found = {b: paired_test(self.areas(order, measure), self.areas(b, measure)) for b in BASELINES}
                    tests += [(rows[-1], baseline, test) for baseline, test in found.items()]
        for (row, baseline, test), p in zip(tests, holm([test["p"] for *_, test in tests]), strict=True):
            low, high = test["ci95"]
            row |= {f"minus {baseline}": test["difference"], f"{baseline} low": low, f"{baseline} high": high}
            row |= {f"{baseline} p": p}
        return pd.DataFrame(rows)

    def values(self) -> list[dict]:
        """The rows of the table as JSON holds them: of a baseline without differences from itself."""
        return [{k: v for k, v in row.items() if v == v} for row in self.table.to_dict("records")]

    @property
    def frame(self) -> pd.DataFrame:
        """The mean curves over users: a row for each order, seed and share, with a column for each measure."""
        parts = []
        for order, found in self.curves.items():
            means = {measure: found[measure].mean(axis=1) for measure in MEASURES}
            for seed in range(len(means["score"])):
                columns = {measure: values[seed] for measure, values in means.items()}
                parts.append(pd.DataFrame({"order": order, "seed": seed, "share": self.shares} | columns))
        return pd.concat(parts, ignore_index=True)

    def text(self) -> str:
        """The table, for people."""
        return deletion_text(self)

    def plot(self):
        """Both measures' mean curves as a matplotlib Figure."""
        from gan_rec.plot import deletion

        return deletion(self)

    @property
    def plain_orders(self) -> tuple[str, ...]:
        """Those that explain nothing."""
        return BASELINES


def deletion(
    fitted: Fitted,
    users: int = 200,
    methods: Sequence[str] = ("leave-one-out",),
    *,
    of: str = "margin",
    draws: int = 5,
    seed: int = 0,
    among: str = "all",
) -> Deletion:
    """Take histories apart in the order of explanations, and see how fast users' first recommendations fall.

    Baselines: the same in random orders (the mean of `draws`), the most popular item first, and the rarest first. All
    seeds explain and are measured on the same users; each explains its own first recommendation.

    Args:
        fitted: a trained model that reads histories or a graph.
        users: how many, drawn from those with at least two items; all if there are fewer.
        methods: of explanations.
        of: what they explain, "score" or "margin".
        draws: of random orders.
        seed: of the draws.
        among: "all" users; or the users of "even" or "odd" index, so that a method can be chosen on others than those
            that it is then measured on.

    Raises:
        UserError: the model knows users by ids, a method is not possible, or no user has two items.
    """
    first = model_of(fitted)
    _check(first, methods)
    chosen = _draw(first, users, seed, among)
    counts = np.bincount(first.pairs.items, minlength=first.pairs.n_items).astype(float)
    curves: dict[str, dict[str, list]] = {}
    for index in range(fitted.settings.seeds):
        model = model_of(fitted, index)
        model = replace(model, known=with_candidates(model.known, fitted.split.candidates))
        items = np.array([int(np.argmin(ranks(model, int(u), fitted.split.candidates))) for u in chosen])
        for order, found in _of_seed(model, chosen, items, counts, methods, of, draws, seed).items():
            for measure, values in found.items():
                curves.setdefault(order, {}).setdefault(measure, []).append(values)
    stacked = {order: {name: np.stack(x) for name, x in found.items()} for order, found in curves.items()}
    return Deletion(stacked, first.pairs.user_ids[chosen])


def _of_seed(model: Model, users, items, counts, methods, of, draws, seed) -> dict[str, dict[str, np.ndarray]]:
    histories = np.asarray(model.known.history(jnp.asarray(users)))
    found = {}
    for method in methods:
        asked = [explanations.ask(model.known, int(u), int(i), of) for u, i in zip(users, items, strict=True)]
        by_method = [explanations.attributions(model.recommender, model.known, each, method) for each in asked]
        order = np.stack([places(a, h) for a, h in zip(by_method, histories, strict=True)])
        found[method] = _measured(model, users, items, order)
    each = [_measured(model, users, items, order) for order in random_orders(histories, draws, seed)]
    found["random"] = {name: np.mean([one[name] for one in each], axis=0) for name in MEASURES}
    for name, sign in zip(BASELINES[1:], (1, -1), strict=True):
        found[name] = _measured(model, users, items, np.stack([places(sign * counts, h) for h in histories]))
    return found


def _measured(model: Model, users, items, order) -> dict[str, np.ndarray]:
    curves = deletion_curves(model.recommender, model.known, users, items, order)
    return {"score": relative(curves.score), "gain": gain(curves.rank)}


def _check(model: Model, methods: Sequence[str]) -> None:
    if not explanations.reads_history(model.recommender):
        raise UserError(
            f"{model.name} knows users by their ids, so its scores stay when items leave a history: no deletion curve "
            "is possible without training anew; explanations by similarity are"
        )
    for method in methods:
        explanations.check_method(model.recommender, method, model.name)


def _draw(model: Model, users: int, seed: int, among: str) -> np.ndarray:
    if among not in ("all", "even", "odd"):
        raise UserError(f"unknown group of users {among!r}; allowed: all, even, odd")
    if users < 1:
        raise UserError(f"users must be 1 or more, got {users}")
    lengths = np.bincount(model.pairs.users, minlength=model.pairs.n_users)
    able = np.flatnonzero(lengths >= 2)
    able = able if among == "all" else able[able % 2 == (among == "odd")]
    if not len(able):
        raise UserError("no user has two items in the history, so there is no order to compare")
    return np.sort(np.random.default_rng(seed).permutation(able)[:users])
