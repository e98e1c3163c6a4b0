"""Games of labels: an adversary moves what represents a text, or a user and an item; the label must still be told."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec import losses
from gan_rec.data.ratings import PairBatch, RatedSamples
from gan_rec.data.samples import Samples, TextBatch
from gan_rec.data.sampling import shuffle
from gan_rec.games.embedding import DATA_FIELDS, META_FIELDS, EmbeddingGame

LabelledBatch = TextBatch | PairBatch
LabelledSamples = Samples | RatedSamples

# Of a label's logit. The article's forms (section 4) are printed for labels, so here they stand as they are.
BY_ROW = {
    "bce": losses.label_rows,
    "positives": lambda logits, labels: labels * jax.nn.softplus(-logits),
    "negatives": lambda logits, labels: (1 - labels) * jax.nn.softplus(logits),
    "beta-term": lambda logits, labels: (1 - labels) * jnp.maximum(jax.nn.log_sigmoid(logits), jnp.log(1e-6)),
}


class LabelLoss:
    """The loss of labels, given representations: what an adversary attacks.

    Texts have one row each, where other games have rows of users and rows of items; so those that adversaries call
    items are none, `[0, R]`. Rated pairs have both, `[B, R]` and `[B, R]`.

    Args:
        classifier: for its logits.
        batch: labels.
        name: one of BY_ROW.
        clean: the rows before an attack, which `divergence` compares with.
    """

    known_gradient = None
    history = None

    def __init__(self, classifier, batch: LabelledBatch, name: str, clean: tuple | None = None):
        self.classifier, self.batch, self.name, self.clean = classifier, batch, name, clean

    def __call__(self, users: Float[Array, "B R"], items: Float[Array, "n R"]) -> Float[Array, ""]:
        """Mean loss of the rows whose label is known."""
        weights = self.batch.weights
        return jnp.sum(weights * self.by_row(users, items)) / jnp.maximum(jnp.sum(weights), 1.0)

    def by_row(self, users, items) -> Float[Array, " B"]:
        """The loss of each text or pair."""
        return BY_ROW[self.name](self.classifier.logits((users, items), self.batch), self.batch.labels)

    def named(self, name: str) -> "LabelLoss":
        """Another loss on the same batch."""
        return LabelLoss(self.classifier, self.batch, name, self.clean)

    def divergence(self, users, items) -> Float[Array, ""]:
        """Mean KL divergence of the predicted labels from those of the clean rows; needs no label."""
        clean = jax.lax.stop_gradient(self.classifier.logits(self.clean, self.batch))
        return jnp.mean(losses.label_divergence(clean, self.classifier.logits((users, items), self.batch)))

    def movable(self, rows: tuple) -> tuple:
        """1 at entries that say something, 0 at padding: no attack starts there."""
        return self.classifier.movable(self.batch)

    @property
    def catalogue(self) -> Float[Array, "n R"]:
        """The item rows of the batch."""
        return self.clean[1]


@partial(jax.tree_util.register_dataclass, data_fields=DATA_FIELDS, meta_fields=[*META_FIELDS, "semi_supervised"])
@dataclass(frozen=True)
class TextGame(EmbeddingGame):
    """Classifier: min alpha L(x) + (1 - alpha) L(x'). Adversary: max L(x') over the representation x of a text.

    Everything is as in the embedding game, but for what is moved and what is to be found.

    Args:
        semi_supervised: some labels are hidden. A batch then has B texts drawn from all, of which only the divergence
            of a virtual adversary learns, and B of those with a label, drawn with replacement.

    Sources: the article, sections 3 to 5; Miyato et al., ICLR 2017, equations 4 and 7.
    """

    loss: str = "bce"
    reads_history: bool = False
    semi_supervised: bool = False

    parts = {
        "alpha": (None, None),
        "article-alpha": ("positives", "negatives"),
        "article-beta": ("bce", "beta-term"),
        "beta": ("bce", "negatives"),
    }

    def size(self, samples: LabelledSamples) -> tuple[int, Int[Array, ""]]:
        """The most rows that an epoch can have and the number it has."""
        return samples.labels.shape[0], samples.n

    def order(self, samples: LabelledSamples, batch_size: int, key: PRNGKeyArray) -> Int[Array, " capacity"]:
        """As in every game; but texts of like length share a batch, so that little of it is padding."""
        order = shuffle(key, *self.size(samples))
        if not samples.of_tokens:
            return order
        blur_key, slot_key, turn_key = jax.random.split(jax.random.fold_in(key, 1), 3)
        # Blurred, so that a text meets others in every epoch.
        lengths = samples.lengths[order] * jax.random.uniform(blur_key, order.shape, minval=0.9, maxval=1.1)
        order = order[jnp.argsort(jnp.where(order < samples.n, lengths, jnp.inf))]
        # From another text on in every epoch: what does not fill a batch comes last, and is not to be the longest ones.
        places = jnp.arange(len(order))
        turned = (places + jax.random.randint(turn_key, (), 0, samples.n)) % samples.n
        order = order[jnp.where(places < samples.n, turned, places)]
        slots = shuffle(slot_key, -(-len(order) // batch_size), samples.n // batch_size)
        return order[slots[places // batch_size] * batch_size + places % batch_size]

    def draw(self, samples: LabelledSamples, rows: Int[Array, " B"], key: PRNGKeyArray) -> LabelledBatch:
        """The batch of `rows`, numbers below `size`."""
        weights = jnp.ones(rows.shape[0])
        if self.semi_supervised:
            drawn = samples.labelled[jax.random.randint(key, rows.shape, 0, samples.n_labelled)]
            rows, weights = jnp.concatenate([rows, drawn]), jnp.concatenate([jnp.zeros_like(weights), weights])
        return samples.batch(rows, weights)

    def representations(self, classifier, batch: LabelledBatch, key: PRNGKeyArray | None):
        """What can be moved: the texts, `[B, R]`, and no items."""
        return classifier.represent(batch, key)

    def loss_of(self, classifier, batch: LabelledBatch, rows=None, name: str | None = None) -> LabelLoss:
        """The loss (or the one named) as a function of the representations."""
        return LabelLoss(classifier, batch, name or self.loss, rows)


@partial(jax.tree_util.register_dataclass, data_fields=DATA_FIELDS, meta_fields=[*META_FIELDS, "semi_supervised"])
@dataclass(frozen=True)
class RatingGame(TextGame):
    """The same of rated pairs: the adversary moves the rows of user and item, whether it is a like must still be told.

    The recommender's priors (its `penalty`) are a part of its loss, and none of the adversary's.
    """
