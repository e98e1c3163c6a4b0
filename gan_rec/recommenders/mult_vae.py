"""Mult-VAE: a variational autoencoder over the user's history, seen as two towers."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.data.chunks import Histories
from gan_rec.recommenders.bias import item_rows, user_rows
from gan_rec.recommenders.history import bag
from gan_rec.recommenders.score import dot


class MultVAE(nnx.Module):
    """Encoder: history -> tanh layer -> Gaussian over z. Decoder: z -> tanh layer, which is the user representation.

    The decoder's output layer is the item embedding, so that the score, the logit of an item, is an inner product. z is
    drawn from the posterior q(z | history) if a key is given, as in training; without one it is the posterior's mean.

    With the softmax loss this is the evidence lower bound of a multinomial likelihood, but for two things that the game
    decides: what is to be found is the hidden part of the history, and a user's likelihood is the mean over these
    items. The weight of the KL term is therefore about the paper's beta divided by the number of items to be found.

    Args:
        n_users: U, not used: histories stand for users.
        n_items: I.
        dim: D, units of the hidden layers of encoder and decoder.
        latent: size of z.
        dropout: chance that an entry of the history is left out while training.
        kl_weight: of the KL divergence of q(z | history) from N(0, 1), in nats. It is fixed: the paper's
            annealing from 0 is left out.
        bias: whether items have a bias. It is one more entry of their rows, and all user rows end with a 1.
        rngs: source of the initial values.

    Source: Liang et al., WWW 2018, sections 2.1 to 2.3.
    """

    reads_history = True

    def __init__(
        self, n_users: int, n_items: int, dim: int = 256, *, latent: int = 64, dropout: float = 0.5,
        kl_weight: float = 0.002, bias: bool = False, rngs: nnx.Rngs,
    ):  # fmt: skip
        glorot = jax.nn.initializers.glorot_normal()
        self.input_embedding = nnx.Param(glorot(rngs.params(), (n_items, dim)))
        self.hidden_bias = nnx.Param(jnp.zeros(dim))
        self.posterior = nnx.Linear(dim, 2 * latent, rngs=rngs)
        self.decoder = nnx.Linear(latent, dim, rngs=rngs)
        self.item_embedding = nnx.Param(glorot(rngs.params(), (n_items, dim)))
        self.item_bias = nnx.Param(jnp.zeros((n_items, 1))) if bias else None
        self.dropout, self.kl_weight = dropout, kl_weight

    def encode(
        self, history: Histories, key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, "B Z"], Float[Array, "B Z"]]:
        """Mean and log-variance of q(z | history); entries of the history are dropped only if a `key` is given."""
        hidden = jnp.tanh(bag(history, self.dropout, key) @ self.input_embedding[...] + self.hidden_bias[...])
        mean, log_variance = jnp.split(self.posterior(hidden), 2, axis=1)
        return mean, log_variance

    def users(
        self, ids: Int[Array, " B"] | None, history: Histories, key: PRNGKeyArray | None = None
    ) -> Float[Array, "B _"]:
        """User representations `[B, D]` from 0/1 histories; z is drawn only if a `key` is given."""
        drop_key, draw_key = (None, None) if key is None else jax.random.split(key)
        z, log_variance = self.encode(history, drop_key)
        if key is not None:
            z = z + jnp.exp(log_variance / 2) * jax.random.normal(draw_key, z.shape)
        rows = jnp.tanh(self.decoder(z))
        return user_rows(rows, self.item_bias)

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any _"]:
        """Item representations of `ids`, or of the whole catalogue `[I, D]`."""
        return item_rows(self.item_embedding[...], self.item_bias, ids)

    def score(self, users: Float[Array, "B D"], items: Float[Array, "*any D"]) -> Float[Array, "B _"]:
        """Scores `[B, I]` or `[B, K]`, see `gan_rec.recommenders.score.dot`."""
        return dot(users, items)

    def penalty(self, batch, key: PRNGKeyArray) -> Float[Array, ""]:
        """The weighted KL term, mean over `batch.history`, of the posteriors from which `users` draws at this key."""
        mean, log_variance = self.encode(batch.history, jax.random.split(key)[0])
        divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - log_variance - 1, axis=1)
        return self.kl_weight * jnp.mean(divergence)
