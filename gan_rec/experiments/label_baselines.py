"""What an adversarial classifier of texts has to beat: the majority, and TF-IDF with logistic regression."""

import numpy as np

from gan_rec.evaluation.labels import LabelEvaluation, auc, best_threshold
from gan_rec.experiments.labels import LabelSplit
from gan_rec.language.files import need

_STRENGTHS = (1.0, 4.0, 16.0)  # C of the logistic regression; validation chooses


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
    vectorizer = need("sklearn.feature_extraction.text").TfidfVectorizer
    regression = need("sklearn.linear_model").LogisticRegression
    train, valid, test = (texts[rows] for rows in split.rows)
    known, labels = split.train.known, split.train.labels

    def words():
        return vectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)

    def fit(x, y, strength: float):
        return regression(C=strength, max_iter=1000, solver="liblinear").fit(x, y)

    try:
        counts = words()
        x, x_valid = counts.fit_transform(train[known]), counts.transform(valid)
    except ValueError:  # no word occurs twice
        return majority(split)
    models = [fit(x, labels[known], strength) for strength in _STRENGTHS]
    scores = [model.predict_proba(x_valid)[:, 1] for model in models]
    best = int(np.argmax([auc(split.valid.labels, s) for s in scores]))
    counts, both = words(), np.concatenate([train[known], valid])
    x = counts.fit_transform(both)
    final = fit(x, np.concatenate([labels[known], split.valid.labels]), _STRENGTHS[best])
    probabilities = final.predict_proba(counts.transform(test))[:, 1]
    threshold = best_threshold(split.valid.labels, scores[best])
    return LabelEvaluation(split.test.labels, probabilities[None], np.array([threshold]))
