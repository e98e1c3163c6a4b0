"""Whether a user will like an item: from ids, from what the user liked before, and from texts."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from gan_rec.data.ratings import PairBatch
from gan_rec.random import bernoulli
from gan_rec.recommenders.score import dot
from gan_rec.recommenders.text import TextVectors

_BEGIN = 0.05  # standard deviation of the initial maps
_SHRINK = 5.0  # a history counts n / (n + 5) of its mean text, and earlier ratings as much of their part of likes


class RatingPredictor(nnx.Module):
    """Biases, texts and histories: b + b_u + b_i + w . t_i + c . h + d log(1 + n) + e r + <A h, B t_i>.

    These are the log-odds that user u likes item i, whose text is t_i, after n liked items whose mean text is h; r says
    how far from a half the part of likes is among the user's earlier ratings, 0 where these are not known. Biases tell
    those apart whom training has seen; text and history also serve the others. Every parameter but b has a
    Gaussian prior around 0 (see `penalty`), so that a bias of few ratings stays small.

    Args:
        n_users: U.
        n_items: I.
        dim: D, of A h and B t_i. Rows have two entries more, for what depends on one side only.
        vectors: of the items' texts, `[I, T]`; they are not learned.
        dropout: chance that training forgets who the user is, so that the history learns to speak for users whom it has
            not seen (DropoutNet, Volkovs et al., NeurIPS 2017).
        prior: how narrow the priors are.
        rngs: source of the initial values.
    """

    reads_history = True
    score_has_parameters = True

    def __init__(
        self, n_users: int, n_items: int, dim: int = 16, *, vectors: TextVectors, dropout: float = 0.5,
        prior: float = 1.0, rngs: nnx.Rngs,
    ):  # fmt: skip
        n = vectors.values.shape[1]
        self.bias, self.length, self.rate = (nnx.Param(jnp.zeros(())) for _ in range(3))
        self.user_bias, self.item_bias = nnx.Param(jnp.zeros(n_users)), nnx.Param(jnp.zeros(n_items))
        self.text_weight, self.history_weight = nnx.Param(jnp.zeros(n)), nnx.Param(jnp.zeros(n))
        self.history_map = nnx.Param(_BEGIN * jax.random.normal(rngs.params(), (n, dim)))
        self.text_map = nnx.Param(_BEGIN * jax.random.normal(rngs.params(), (n, dim)))
        self.vectors, self.dropout, self.prior = vectors, dropout, prior

    def represent(
        self, batch: PairBatch, key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, "B R"], Float[Array, "B R"]]:
        """User and item rows, R = D + 2; nobody is forgotten without a key."""
        texts: Float[Array, "I T"] = jnp.asarray(self.vectors.values) / self.vectors.values.shape[1] ** 0.5
        n = jnp.sum(batch.history, axis=1)
        mean = batch.history @ texts / (n + _SHRINK)[:, None]
        of_user = self.user_bias[batch.users]
        if key is not None:
            of_user = of_user * bernoulli(key, 1 - self.dropout, of_user.shape)
        of_user = of_user + mean @ self.history_weight[...] + self.length[...] * (jnp.log1p(n) - 3.0)
        likes, ratings = batch.earlier.T
        of_user = of_user + self.rate[...] * (likes - ratings / 2) / (ratings + _SHRINK)
        text, one = texts[batch.items], jnp.ones((len(n), 1))
        of_item = self.item_bias[batch.items] + text @ self.text_weight[...]
        users = jnp.concatenate([mean @ self.history_map[...], of_user[:, None], one], axis=1)
        items = jnp.concatenate([text @ self.text_map[...], one, of_item[:, None]], axis=1)
        return users, items

    def movable(self, batch: PairBatch) -> tuple[Float[Array, "1 1"], Float[Array, "1 1"]]:
        """1 at entries of the rows that say something: all."""
        return jnp.ones((1, 1)), jnp.ones((1, 1))

    def logits(self, rows: tuple[Float[Array, "B R"], Float[Array, "B R"]], batch: PairBatch) -> Float[Array, " B"]:
        """Log-odds of a like."""
        users, items = rows
        return dot(users, items[:, None])[:, 0] + self.bias[...]

    def penalty(self, batch: PairBatch, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        """Minus the log density of the priors, for each of the training pairs; its mean over batches is that of all.

        Nothing in it is random: `key` is not used.

        As in probabilistic matrix factorisation (Salakhutdinov and Mnih, NeurIPS 2007, equation 4): a bias of a user
        with n ratings is drawn to 0 by 1 / n of what each rating says.
        """
        of_user, of_item, of_all = batch.shares.T
        biases = self.user_bias[batch.users] ** 2 * of_user + self.item_bias[batch.items] ** 2 * of_item
        maps = sum(
            precision * jnp.sum(parameter[...] ** 2)
            for precision, parameter in (
                (4.0, self.text_weight), (5.0, self.history_weight), (5.0, self.length), (0.1, self.rate),
                (5.0, self.history_map),
                (5.0, self.text_map),
            )
        )  # fmt: skip
        return 0.5 * self.prior * jnp.mean(biases + maps * of_all)
