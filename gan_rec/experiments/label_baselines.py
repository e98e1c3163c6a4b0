"""What an adversarial classifier of texts has to beat: the majority, and TF-IDF with logistic regression."""

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit

from gan_rec.data.ratings import RatedPairs
from gan_rec.evaluation.labels import LabelEvaluation, auc, best_threshold
from gan_rec.experiments.labels import LabelSplit
from gan_rec.experiments.words import STRENGTHS, WordModel


def majority(split: LabelSplit) -> LabelEvaluation:
    """The rate of ones in train + validation, for every text."""
    rate = np.concatenate([split.train.labels[split.train.known], split.valid.labels]).mean()
    probabilities = np.full((1, len(split.test)), rate)
    return LabelEvaluation(split.test.labels, probabilities, np.array([0.5]))


def tfidf(split: LabelSplit, counts: csr_array) -> LabelEvaluation:
    """Words and pairs of words, weighed by TF-IDF, in a logistic regression; its strength chosen on validation.

    Args:
        split: the parts.
        counts: `[N, W]`, of `word_counts`, of all texts of the table.
    """
    known, labels = split.train.known, split.train.labels
    train, valid, test = split.rows[0][known], *split.rows[1:]
    try:
        scores = WordModel(counts[train], labels[known], *STRENGTHS)(counts[valid])
    except ValueError:  # no word occurs twice
        return majority(split)
    best = int(np.argmax([auc(split.valid.labels, each) for each in scores]))
    both = np.concatenate([train, valid]), np.concatenate([labels[known], split.valid.labels])
    found = WordModel(counts[both[0]], both[1], STRENGTHS[best])(counts[test])
    threshold = best_threshold(split.valid.labels, expit(scores[best]))
    return LabelEvaluation(split.test.labels, expit(found), np.array([threshold]))


_PRIORS = (1.0, 2.0, 5.0, 10.0, 20.0)  # ratings of the average that every mean begins with; validation chooses


def means(split: LabelSplit, *, of_users: bool, refit: bool) -> LabelEvaluation:
    """The smoothed mean label of the item, or half of it and half the user's: what a model of both has to beat.

    Args:
        split: of rated pairs.
        of_users: whether the user counts.
        refit: whether test knows the labels of validation.
    """

    def told(train: RatedPairs, pairs: RatedPairs, prior: float) -> np.ndarray:
        items = _mean(train.items, train.labels, train.n_items, prior)[pairs.items]
        return (items + _mean(train.users, train.labels, train.n_users, prior)[pairs.users]) / 2 if of_users else items

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
