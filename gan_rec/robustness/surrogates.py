"""Small recommenders that can be differentiated by the fake profiles in their training data, training included.

An attacker does not know the recommender under attack, and trains one of these in its place. Each is `fit`ted on real
users first; then `surrogate(fakes)` goes through a few more training steps on real and fake users together, and the
scores that come of it are a differentiable function of the fakes.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from gan_rec.data.interactions import Interactions
from gan_rec.errors import UserError
from gan_rec.random import bernoulli
from gan_rec.recommenders.baselines.tables import matrix

_MOST_USERS = 2000  # that a surrogate is trained on and attacked for: more are drawn from
_MOST_CELLS = 40_000_000  # users times items, dense


def real_rows(known: Interactions, rng: np.random.Generator) -> Float[np.ndarray, "R I"]:
    """The profiles of users who have an item, or of 2,000 of them.

    Raises:
        UserError: there are too many items for dense rows.
    """
    users = np.unique(known.users)
    if len(users) > _MOST_USERS:
        users = np.sort(rng.choice(users, _MOST_USERS, replace=False))
    if len(users) * known.n_items > _MOST_CELLS:
        raise UserError(f"a learned attack needs dense profiles, and {known.n_items:,} items are too many for that")
    return matrix(known)[users].toarray()


@partial(jax.tree_util.register_dataclass, data_fields=["real", "items"], meta_fields=["sweeps", "missing", "l2"])
@dataclass(frozen=True)
class FactorSurrogate:
    """Weighted matrix factorisation, of which some sweeps of alternating least squares are unrolled.

    min sum over pairs of (1 - u . v)^2 + missing * sum over all (u . v)^2 + ridges that grow with a row's pairs (Hu et
    al., ICDM 2008; Rendle et al., RecSys 2022), the surrogate of Tang et al., RecSys 2020, section 3.3.

    Args:
        real: profiles of R real users.
        items: item rows that real users lead to, where the unrolled sweeps begin.
        sweeps: over users and then items, that are unrolled.
        missing: weight of pairs that are not there.
        l2: of the ridges.
    """

    real: Float[Array, "R I"]
    items: Float[Array, "I D"]
    sweeps: int = 2
    missing: float = 0.3
    l2: float = 0.02

    @classmethod
    def fit(
        cls, real: Float[np.ndarray, "R I"], seed: int = 0, *, dim: int = 16, sweeps: int = 2, rounds: int = 8
    ) -> "FactorSurrogate":
        """Begin with what `rounds` sweeps over real users alone lead to."""
        rng = np.random.default_rng(seed)
        items = jnp.asarray(rng.normal(0, 0.1 / dim**0.5, (real.shape[1], dim)), jnp.float32)
        rows = jnp.asarray(real, jnp.float32)
        start = cls(rows, items, rounds)
        return cls(rows, _swept(start, jnp.zeros((0, real.shape[1]), jnp.float32)), sweeps)

    def __call__(self, fakes: Float[Array, "n I"]) -> Float[Array, "R I"]:
        """Scores of real users once the fakes were among the training users."""
        items = _swept(self, fakes)
        return self._rows(self.real, items) @ items.T

    def _rows(self, pairs: Float[Array, "n m"], others: Float[Array, "m D"]) -> Float[Array, "n D"]:
        """The best rows of one side, given those of the other."""
        dim = others.shape[1]
        products = (others[:, :, None] * others[:, None]).reshape(len(others), -1)
        ridge = self.l2 * (jnp.sum(pairs, axis=1) + self.missing * len(others))
        systems = (pairs @ products).reshape(-1, dim, dim) + self.missing * others.T @ others
        systems = systems + ridge[:, None, None] * jnp.eye(dim, dtype=others.dtype)
        factors = jax.scipy.linalg.cho_factor(systems)
        return jax.scipy.linalg.cho_solve(factors, (pairs @ others)[..., None])[..., 0]


@jax.jit
def _swept(surrogate: FactorSurrogate, fakes: Float[Array, "n I"]) -> Float[Array, "I D"]:
    pairs = jnp.concatenate([surrogate.real, fakes])

    @jax.checkpoint
    def sweep(items, _):
        return surrogate._rows(pairs.T, surrogate._rows(pairs, items)), None

    return jax.lax.scan(sweep, surrogate.items, length=surrogate.sweeps)[0]


@partial(
    jax.tree_util.register_dataclass, data_fields=["real", "weights"], meta_fields=["steps", "learning_rate", "hide"]
)
@dataclass(frozen=True)
class AutoencoderSurrogate:
    """An autoencoder over histories with a softmax over items, of which some steps of Adam are unrolled.

    Scores are tanh(x E + b) V', x a history of length 1. Every step sees all users; the loss is the cross-entropy of
    what is in a history, of which a part was hidden for the step.

    Args:
        real: profiles of R real users.
        weights: E `[I, D]`, b `[D]` and V `[I, D]`, where the unrolled steps begin.
        steps: that are unrolled.
        learning_rate: of these steps.
        hide: chance that an item is hidden.
    """

    real: Float[Array, "R I"]
    weights: tuple[Float[Array, "I D"], Float[Array, " D"], Float[Array, "I D"]]
    steps: int = 12
    learning_rate: float = 0.01
    hide: float = 0.5

    @classmethod
    def fit(
        cls, real: Float[np.ndarray, "R I"], seed: int = 0, *, dim: int = 32, steps: int = 12, rounds: int = 120
    ) -> "AutoencoderSurrogate":
        """Begin with what `rounds` steps on real users alone lead to."""
        first, last = jax.random.normal(jax.random.key(seed), (2, real.shape[1], dim), jnp.float32) * dim**-0.5 / 4
        rows = jnp.asarray(real, jnp.float32)
        start = cls(rows, (first, jnp.zeros(dim, first.dtype), last), rounds)
        return cls(rows, _trained(start, jnp.zeros((0, real.shape[1]), jnp.float32)), steps)

    def __call__(self, fakes: Float[Array, "n I"]) -> Float[Array, "R I"]:
        """Scores of real users once the fakes were among the training users."""
        return _scores(_trained(self, fakes), self.real)


def _scores(weights: tuple, histories: Float[Array, "n I"]) -> Float[Array, "n I"]:
    lengths = jnp.sqrt(jnp.maximum(jnp.sum(histories, axis=1, keepdims=True), 1.0))
    return jnp.tanh(histories / lengths @ weights[0] + weights[1]) @ weights[2].T


@jax.jit
def _trained(surrogate: AutoencoderSurrogate, fakes: Float[Array, "n I"]) -> tuple:
    pairs = jnp.concatenate([surrogate.real, fakes])
    adam = optax.adam(surrogate.learning_rate, eps_root=1e-10)  # whose root has a slope at 0

    def loss(weights, hidden):
        scores = _scores(weights, pairs * (1 - hidden) / (1 - surrogate.hide))
        wanted = pairs / jnp.maximum(jnp.sum(pairs, axis=1, keepdims=True), 1.0)
        return -jnp.mean(jnp.sum(wanted * jax.nn.log_softmax(scores), axis=1))

    @jax.checkpoint
    def step(state, number):
        weights, memory = state
        hidden = bernoulli(jax.random.fold_in(jax.random.key(0), number), surrogate.hide, pairs.shape)
        ways, memory = adam.update(jax.grad(loss)(weights, hidden), memory)
        return (optax.apply_updates(weights, ways), memory), None

    begin = surrogate.weights, adam.init(surrogate.weights)
    return jax.lax.scan(step, begin, jnp.arange(surrogate.steps))[0][0]


@partial(jax.tree_util.register_dataclass, data_fields=["real", "inverse", "on_real"], meta_fields=[])
@dataclass(frozen=True)
class LinearSurrogate:
    """EASE, whose training is solved rather than unrolled.

    Args:
        real: profiles X of R real users.
        inverse: P = (X'X + l2)^-1, of real users alone.
        on_real: X P.
    """

    real: Float[Array, "R I"]
    inverse: Float[Array, "I I"]
    on_real: Float[Array, "R I"]

    @classmethod
    def fit(cls, real: Float[np.ndarray, "R I"], seed: int = 0, *, l2: float = 500.0) -> "LinearSurrogate":
        """Solve it for real users; nothing is random."""
        rows = real.astype(np.float64)
        inverse = np.linalg.inv(rows.T @ rows + l2 * np.eye(rows.shape[1]))
        return cls(*(jnp.asarray(x, jnp.float32) for x in (rows, inverse, rows @ inverse)))

    def __call__(self, fakes: Float[Array, "n I"]) -> Float[Array, "R I"]:
        """Scores of real users once the fakes were among the training users, by the identity of Woodbury."""
        through = fakes @ self.inverse
        solved = jnp.linalg.solve(jnp.eye(len(fakes)) + through @ fakes.T, through)
        diagonal = jnp.diag(self.inverse) - jnp.sum(through * solved, axis=0)
        return self.real - (self.on_real - (self.real @ through.T) @ solved) / diagonal


@partial(jax.tree_util.register_dataclass, data_fields=["real"], meta_fields=["beta"])
@dataclass(frozen=True)
class WalkSurrogate:
    """Walks of three steps, user to item to user to item, over a power of the popularity of the item at their end.

    There is nothing to unroll: what the fakes change is the walks (Paudel et al., TiiS 2017, where only the most
    frequent ends of an item count).

    Args:
        real: profiles of R real users.
        beta: the power.
    """

    real: Float[Array, "R I"]
    beta: float = 0.6

    @classmethod
    def fit(cls, real: Float[np.ndarray, "R I"], seed: int = 0) -> "WalkSurrogate":
        """Nothing has to be learned."""
        return cls(jnp.asarray(real, jnp.float32))

    def __call__(self, fakes: Float[Array, "n I"]) -> Float[Array, "R I"]:
        """Scores of real users once the fakes were there to be walked over."""
        pairs = jnp.concatenate([self.real, fakes])
        counts = jnp.maximum(jnp.sum(pairs, axis=0), 1.0)
        lengths = jnp.maximum(jnp.sum(pairs, axis=1, keepdims=True), 1.0)
        back = (pairs / counts).T  # from an item to its users
        walks = back @ (pairs / lengths)
        return self.real @ (walks * (1 - jnp.eye(len(counts)))) / counts**self.beta


SURROGATES = {
    "factors": FactorSurrogate, "autoencoder": AutoencoderSurrogate, "linear": LinearSurrogate, "walks": WalkSurrogate,
}  # fmt: skip
