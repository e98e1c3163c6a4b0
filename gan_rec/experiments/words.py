"""Words and pairs of words, weighed by TF-IDF, in a logistic regression: a baseline, and a feature of classifiers."""

import numpy as np
from jaxtyping import Float, Int

from gan_rec.evaluation.labels import auc
from gan_rec.language.files import need

STRENGTHS = (1.0, 4.0, 16.0)  # C of the logistic regression
_PARTS = 5  # of the cross-fitting


class WordModel:
    """Log-odds of the label 1 from the words of a text.

    Args:
        texts: N, to learn from.
        labels: 0 or 1.
        strength: C, inverse strength of the regularisation; more than one are more models over the same words.

    Raises:
        ValueError: no word stands in two texts.
    """

    def __init__(self, texts: np.ndarray, labels: Int[np.ndarray, " N"], *strength: float):
        vectorizer = need("sklearn.feature_extraction.text").TfidfVectorizer
        regression = need("sklearn.linear_model").LogisticRegression
        self._counts = vectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        x = self._counts.fit_transform(texts)
        self._models = [regression(C=c, max_iter=1000, solver="liblinear").fit(x, labels) for c in strength]

    def __call__(self, texts: np.ndarray) -> Float[np.ndarray, "C n"]:
        """The log-odds that each of the models gives to n texts."""
        if len(texts) == 0:
            return np.zeros((len(self._models), 0))
        x = self._counts.transform(texts)
        return np.stack([model.decision_function(x) for model in self._models])


def word_scores(
    texts: np.ndarray, labels: Int[np.ndarray, " N"], others: tuple[np.ndarray, ...], seed: int
) -> tuple[Float[np.ndarray, " n"], ...]:
    """Log-odds for the texts that a classifier will train on, and for the others.

    A text that the words were learned from would get its own label back. So training texts are scored by models that
    have not seen them (cross-fitting, Wolpert, Neural Networks 1992), and by the strength that does this best.

    Args:
        texts: N training texts whose labels are known.
        labels: theirs.
        others: groups of further texts.
        seed: of the parts.

    Returns:
        One array for the training texts, then one for each group; zeros where texts are too few to learn from.
    """
    scores = np.zeros((len(STRENGTHS), len(texts)))
    part = np.random.default_rng(seed).permutation(len(texts)) % _PARTS
    try:
        for n in range(_PARTS):
            if len(np.unique(labels[part != n])) == 2 and (part == n).any():
                scores[:, part == n] = WordModel(texts[part != n], labels[part != n], *STRENGTHS)(texts[part == n])
        best = STRENGTHS[int(np.argmax([auc(labels, each) for each in scores]))]
        model = WordModel(texts, labels, best)
    except ValueError:
        return tuple(np.zeros(len(group)) for group in (texts, *others))
    return scores[STRENGTHS.index(best)], *(model(group)[0] for group in others)
