"""What a training is for: ranking items, or telling labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gan_rec.data.interactions import Interactions
from gan_rec.data.ratings import RatedPairs
from gan_rec.data.samples import EncodedTexts
from gan_rec.data.sampling import Positives, to_device
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.evaluation.labels import ERRORS, LabelEvaluation
from gan_rec.evaluation.metrics import parse
from gan_rec.games.labels import LabelledBatch, LabelledSamples

Labelled = EncodedTexts | RatedPairs


@dataclass(frozen=True)
class Ranking:
    """Ranking the catalogue for users.

    Args:
        side: "user", else the game is played on transposed pairs, whose users are the data's items; see
            `gan_rec.recommenders.flipped.flip`.
    """

    side: str = "user"

    def on_device(self, part: Interactions, capacity: int | None = None) -> Positives:
        """See `gan_rec.train.fit.Task`."""
        return to_device(part.transposed() if self.side != "user" else part, capacity)

    def scorer(self, train: Interactions, valid: Interactions, capacity: int, metric: str):
        """See `gan_rec.train.fit.Task`."""
        known, k = to_device(train, capacity), parse(metric)[1]
        return lambda recommender: evaluate_ranking(recommender, known, valid, (k,), side=self.side).per_seed(metric)


@dataclass(frozen=True)
class Labelling:
    """Telling the label of texts, or whether pairs are likes."""

    def on_device(self, part: Labelled, capacity: int | None = None) -> LabelledSamples:
        """See `gan_rec.train.fit.Task`."""
        return part.on_device(capacity)

    def scorer(self, train: Labelled, valid: Labelled, capacity: int, metric: str):
        """See `gan_rec.train.fit.Task`; errors count negative, since the highest score is the best."""
        held_out, sign = valid.on_device(), -1.0 if metric in ERRORS else 1.0

        def score(classifier) -> np.ndarray:
            probabilities = predict(classifier, held_out)
            thresholds = np.full(len(probabilities), 0.5)
            return sign * LabelEvaluation(valid.labels, probabilities, thresholds, valid.groups).per_seed(metric)

        return score


def predict(classifier, samples: LabelledSamples) -> Float[np.ndarray, "S N"]:
    """Probabilities of the label 1 by classifiers of S seeds."""
    return np.asarray(_probabilities(classifier, samples))[:, : int(samples.n)]


@jax.jit
def _probabilities(classifiers, samples: LabelledSamples):
    return for_each_text(
        lambda one, batch: jax.nn.sigmoid(one.logits(one.represent(batch), batch)), classifiers, samples
    )


def for_each_text(
    compute: Callable[[Any, LabelledBatch], Float[Array, " B"]], classifiers: Any, samples: LabelledSamples
) -> Float[Array, "S capacity"]:
    """What `compute(classifier, batch)` says of every text, in their order, for classifiers with a leading axis of S.

    It is given some texts at a time.
    """
    chunks = samples.chunks()

    def one(classifier):
        found = jax.lax.map(lambda rows: samples.batch(rows).at_width(lambda batch: compute(classifier, batch)), chunks)
        return jnp.zeros(found.size).at[chunks.reshape(-1)].set(found.reshape(-1))

    # Side by side, the products of language models would be batched, which a CPU does slowly.
    return jax.lax.map(one, classifiers) if samples.of_tokens else jax.vmap(one)(classifiers)
