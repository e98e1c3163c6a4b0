"""One result from the folds of a cross-validation."""

import numpy as np

from gan_rec.evaluation.evaluate import Evaluation
from gan_rec.evaluation.significance import summary


def over_folds(found: list[dict]) -> dict:
    """Summaries of the folds, nested as they are, become summaries over folds, each of which is the mean of its seeds.

    The interval takes folds for independent, though their training parts overlap, so it is rather too narrow than too
    wide (Bengio and Grandvalet, JMLR 2004). Of a single fold the summaries are over seeds, as they are.
    """
    if len(found) == 1:
        return found[0]
    own = summary([each["mean"] for each in found]) if "mean" in found[0] else {}
    nested = [name for name, value in found[0].items() if isinstance(value, dict)]
    return own | {name: over_folds([each[name] for each in found]) for name in nested}


def pool(folds: list[Evaluation]) -> Evaluation:
    """All users of the folds, each one's value averaged over seeds and the folds where the user has one, for tests.

    There is one value for each user, as of one seed, and no metric that users do not have. Of a single fold it is the
    evaluation as it is.
    """
    if len(folds) == 1:
        return folds[0]
    users = np.unique(np.concatenate([fold.users for fold in folds]))
    places = [np.searchsorted(users, fold.users) for fold in folds]

    def mean(metric: str) -> np.ndarray:
        values = np.full((len(folds), len(users)), np.nan)
        for row, fold, place in zip(values, folds, places, strict=True):
            row[place] = fold.per_user[metric].mean(axis=0)
        counts = np.sum(~np.isnan(values), axis=0)
        return np.where(counts > 0, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)[None]

    return Evaluation(users, {metric: mean(metric) for metric in folds[0].per_user}, {})
