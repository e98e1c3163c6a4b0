"""What an adversarial classifier of texts has to beat: the majority, and TF-IDF with logistic regression."""

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit

from gan_rec.data.ratings import RatedPairs
from gan_rec.evaluation.labels import LabelEvaluation, auc, best_threshold
from gan_rec.experiments.labels import LabelSplit
from gan_rec.experiments.words import STRENGTHS, WordModel, repeated_words


def majority(split: LabelSplit, *, refit: bool = True) -> LabelEvaluation:
    """The rate of ones in train, and after a `refit` in validation too, for every text."""
    rate = _known(split, refit)[1].mean()
    probabilities = np.full((1, len(split.test)), rate)
    return LabelEvaluation(split.test.labels, probabilities, np.array([0.5]))


def _known(split: LabelSplit, refit: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the table whose labels may be learned from, and these labels."""
    parts = [(split.train, split.rows[0]), (split.valid, split.rows[1])][: 2 if refit else 1]
    return tuple(
        np.concatenate(each) for each in zip(*((r[p.known], p.labels[p.known]) for p, r in parts), strict=True)
    )


def tfidf(split: LabelSplit, counts: csr_array, *, refit: bool = True) -> LabelEvaluation:
    """Words and pairs of words, weighed by TF-IDF, in a logistic regression; its strength chosen on validation.

    Args:
        split: the parts.
        counts: `[N, W]`, of `word_counts`, of all texts of the table.
        refit: whether the model that is tested knows validation too.

    Returns:
        Its predictions; those of the majority where no word stands in two texts, which `tfidf_remarks` tells.
    """
    rows, labels = _known(split, refit=False)
    if len(repeated_words(counts[rows])) == 0:
        return majority(split, refit=refit)
    scores = WordModel(counts[rows], labels, *STRENGTHS)(counts[split.rows[1]])
    best = int(np.argmax([auc(split.valid.labels, each) for each in scores]))
    rows, labels = _known(split, refit)
    found = WordModel(counts[rows], labels, STRENGTHS[best])(counts[split.rows[2]])
    threshold = best_threshold(split.valid.labels, expit(scores[best]))
    return LabelEvaluation(split.test.labels, expit(found), np.array([threshold]))


def tfidf_remarks(parts: list[LabelSplit], counts: csr_array) -> tuple[str, ...]:
    """A note where `tfidf` had no words to learn from."""
    empty = sum(len(repeated_words(counts[_known(split, refit=False)[0]])) == 0 for split in parts)
    if not empty:
        return ()
    where = "" if len(parts) == 1 else f" of {empty} of {len(parts)} folds"
    return (f"TF-IDF is the majority here: no word stands in two of the training texts{where}",)


_PRIORS = (1.0, 2.0, 5.0, 10.0, 20.0)  # ratings of the average that every mean begins with; validation chooses


def means(split: LabelSplit, *, users: str = "none", refit: bool) -> LabelEvaluation:
    """The smoothed mean label of the item, or half of it and half the user's: what a model of both has to beat.

    Args:
        split: of rated pairs.
        users: "none"; "known": users have the mean of what may be learned from; "running": that of all their earlier
            ratings, whatever the part, which is what a model that reads histories is told too.
        refit: whether test knows the labels of validation.
    """

    def told(train: RatedPairs, pairs: RatedPairs, prior: float) -> np.ndarray:
        items = _mean(train.items, train.labels, train.n_items, prior)[pairs.items]
        if users == "none":
            return items
        if users == "known":
            return (items + _mean(train.users, train.labels, train.n_users, prior)[pairs.users]) / 2
        likes, ratings = pairs.earlier.T
        return (items + (likes + prior * train.labels.mean()) / (ratings + prior)) / 2

    tried = [told(split.train, split.valid, prior) for prior in _PRIORS]
    best = int(np.argmax([auc(split.valid.labels, each) for each in tried]))
    threshold = best_threshold(split.valid.labels, tried[best])
    known = split.train.concat(split.valid) if refit else split.train
    return LabelEvaluation(
        split.test.labels, told(known, split.test, _PRIORS[best])[None], np.array([threshold]), split.test.groups
    )


def _mean(ids: np.ndarray, labels: np.ndarray, n: int, prior: float) -> np.ndarray:
    sums, counts = np.bincount(ids, labels, n), np.bincount(ids, minlength=n)
    return (sums + prior * labels.mean()) / (counts + prior)
