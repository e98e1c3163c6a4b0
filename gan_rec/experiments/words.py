"""Words and pairs of words, weighed by TF-IDF, in a logistic regression: a baseline, and a feature of classifiers."""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from gan_rec.evaluation.labels import auc
from gan_rec.language.files import need

STRENGTHS = (1.0, 4.0, 16.0)  # C of the logistic regression
_PARTS = 5  # of the cross-fitting


def word_counts(texts: np.ndarray) -> csr_array:
    """How often each word, and each pair of neighbours, stands in each of N texts, `[N, W]`.

    W may be 0: what stands in one text alone is left out.
    """
    vectorizer = need("sklearn.feature_extraction.text").CountVectorizer(ngram_range=(1, 2), min_df=2)
    try:
        return csr_array(vectorizer.fit_transform(texts))
    except ValueError:  # no word is left
        return csr_array((len(texts), 0))


def repeated_words(counts: csr_array) -> Int[np.ndarray, " w"]:
    """Which words stand in more than one of the texts."""
    return np.flatnonzero(np.bincount(counts.indices, minlength=counts.shape[1]) > 1)


class NoWordsError(ValueError):
    """There is no word that stands in two texts."""


class WordModel:
    """Log-odds of the label 1 from the words of a text.

    Args:
        counts: `[N, W]` of `word_counts`, to learn from; words that stand in one of these texts alone are not used.
        labels: 0 or 1.
        strength: C, inverse strength of the regularisation; more than one are more models over the same words.

    Raises:
        NoWordsError: there is nothing to learn from.
    """

    def __init__(self, counts: csr_array, labels: Int[np.ndarray, " N"], *strength: float):
        regression = need("sklearn.linear_model").LogisticRegression
        self._used = repeated_words(counts)
        if len(self._used) == 0:
            raise NoWordsError("no word stands in two texts")
        self._weigh = need("sklearn.feature_extraction.text").TfidfTransformer(sublinear_tf=True)
        x = self._weigh.fit_transform(counts[:, self._used])
        self._models = [regression(C=c, max_iter=1000, solver="liblinear").fit(x, labels) for c in strength]

    def __call__(self, counts: csr_array) -> Float[np.ndarray, "C n"]:
        """The log-odds that each of the models gives to n texts, of which `counts` are the words."""
        if counts.shape[0] == 0:
            return np.zeros((len(self._models), 0))
        x = self._weigh.transform(counts[:, self._used])
        return np.stack([model.decision_function(x) for model in self._models])


def word_scores(
    counts: csr_array, labels: Int[np.ndarray, " N"], others: tuple[csr_array, ...], seed: int
) -> tuple[Float[np.ndarray, " n"], ...]:
    """Log-odds for the texts that a classifier will train on, and for the others.

    A text that the words were learned from would get its own label back. So training texts are scored by models that
    have not seen them (cross-fitting, Wolpert, Neural Networks 1992), and by the strength that does this best.

    Args:
        counts: words of N training texts whose labels are known.
        labels: theirs.
        others: of groups of further texts.
        seed: of the parts.

    Returns:
        One array for the training texts, then one for each group; zeros where texts are too few to learn from.
    """
    n_texts = counts.shape[0]
    scores = np.zeros((len(STRENGTHS), n_texts))
    part = np.random.default_rng(seed).permutation(n_texts) % _PARTS
    try:
        for n in range(_PARTS):
            if len(np.unique(labels[part != n])) == 2 and (part == n).any():
                scores[:, part == n] = WordModel(counts[part != n], labels[part != n], *STRENGTHS)(counts[part == n])
        best = STRENGTHS[int(np.argmax([auc(labels, each) for each in scores]))]
        model = WordModel(counts, labels, best)
    except NoWordsError:
        return tuple(np.zeros(group.shape[0]) for group in (counts, *others))
    return scores[STRENGTHS.index(best)], *(model(group)[0] for group in others)
