"""What an adversarial classifier of texts has to beat: the majority, and TF-IDF with logistic regression."""

import numpy as np
from scipy.special import expit

from gan_rec.evaluation.labels import LabelEvaluation, auc, best_threshold
from gan_rec.experiments.labels import LabelSplit
from gan_rec.experiments.words import STRENGTHS, WordModel


def majority(split: LabelSplit) -> LabelEvaluation:
    """The rate of ones in train + validation, for every text."""
    rate = np.concatenate([split.train.labels[split.train.known], split.valid.labels]).mean()
    probabilities = np.full((1, len(split.test)), rate)
    return LabelEvaluation(split.test.labels, probabilities, np.array([0.5]))


def tfidf(split: LabelSplit, texts: np.ndarray) -> LabelEvaluation:
    """Words and pairs of words, weighed by TF-IDF, in a logistic regression; its strength chosen on validation.

    Args:
        split: the parts.
        texts: `[N]`, all texts of the table.
    """
    train, valid, test = (texts[rows] for rows in split.rows)
    known, labels = split.train.known, split.train.labels
    try:
        scores = WordModel(train[known], labels[known], *STRENGTHS)(valid)
    except ValueError:  # no word occurs twice
        return majority(split)
    best = int(np.argmax([auc(split.valid.labels, each) for each in scores]))
    both = np.concatenate([train[known], valid]), np.concatenate([labels[known], split.valid.labels])
    found = WordModel(*both, STRENGTHS[best])(test)
    threshold = best_threshold(split.valid.labels, expit(scores[best]))
    return LabelEvaluation(split.test.labels, expit(found), np.array([threshold]))
