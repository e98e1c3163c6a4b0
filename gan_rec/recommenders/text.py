"""Vectors of item texts, as a recommender holds them: without learning them."""

import numpy as np
from jaxtyping import Float

from gan_rec.recommenders.fixed import FixedArray


class TextVectors(FixedArray):
    """A vector for each of I items.

    Args:
        values: `[I, T]`.
    """

    def __init__(self, values: Float[np.ndarray, "I T"]):
        super().__init__(values)


class PrincipalComponents:
    """The first n principal components of vectors, or all that there are, scaled together to a mean square of 1.

    Components keep their relative sizes, so that a layer over them begins with the directions in which texts differ
    most; Adam, which moves every weight alike, would otherwise fit item by item along those in which they hardly do.
    Their signs are set such that the entry of largest size in each direction is positive: libraries differ in them.

    Args:
        vectors: to learn them from, `[N, T]`.
        n: how many.
    """

    def __init__(self, vectors: Float[np.ndarray, "N T"], n: int):
        self.mean, self.scale = vectors.mean(axis=0), 1.0
        _, _, directions = np.linalg.svd(vectors - self.mean, full_matrices=False)
        directions = directions[: min(n, len(directions))]
        largest = np.take_along_axis(directions, np.argmax(np.abs(directions), axis=1)[:, None], axis=1)
        self.directions = directions * np.sign(largest)
        self.scale = max(float(np.sqrt(np.mean(self(vectors) ** 2))), 1e-12)

    def __call__(self, vectors: Float[np.ndarray, "m T"]) -> Float[np.ndarray, "m n"]:
        """The components of any vectors of the same space."""
        return (vectors - self.mean) @ self.directions.T / self.scale


def principal_components(vectors: Float[np.ndarray, "N T"], n: int) -> Float[np.ndarray, "N n"]:
    """See `PrincipalComponents`."""
    return PrincipalComponents(vectors, n)(vectors)
