"""A generator of adversarial item texts: what noise and an item's text vector become, and how a person can read it."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.adversaries import Noise, SentenceGenerator, everywhere
from gan_rec.data.sampling import Positives
from gan_rec.games.batches import draw_users
from gan_rec.games.rows import RowLoss
from gan_rec.recommenders.two_tower import TwoTower

_BATCH, _DRAWS = 128, 8


@dataclass(frozen=True)
class TextFakes:
    """A generator trained against a frozen recommender over texts.

    Args:
        generator: from noise and text vectors to text vectors.
        vectors: `[I, T]`, the real ones, as the recommender reads them.
        radius: of the ball around each, relative to its length.
        losses: the recommender's loss on real vectors ("clean"), on random ones of the same distance ("noise"), and on
            the generator's ("generator"): means over some draws of these, of the same users, who are new draws too.
    """

    generator: SentenceGenerator
    vectors: Float[np.ndarray, "I T"] = field(repr=False)
    radius: float
    losses: dict[str, float]

    def fakes(self, seed: int = 0) -> Float[np.ndarray, "I T"]:
        """An adversarial version of every item's text vector."""
        return np.asarray(_fakes(self.generator, jnp.asarray(self.vectors), self.radius, jax.random.key(seed)))

    def says(
        self, items: Int[np.ndarray, " n"], bank: Float[np.ndarray, "m T"], k: int = 5, seed: int = 0
    ) -> tuple[Int[np.ndarray, "n k"], Int[np.ndarray, "n k"]]:
        """What the generator moves items towards and away from: of the bank, those most and least along each move.

        Args:
            items: indices of n items.
            bank: vectors with a meaning for people in the same space: of real items, or of words.
            k: how many.
            seed: of the noise.
        """
        moves = self.fakes(seed)[items] - self.vectors[items]
        units = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (moves, bank)]
        order = np.argsort(-(units[0] @ units[1].T), axis=1)
        return order[:, :k], order[:, ::-1][:, :k]


def train_text_generator(
    recommender: TwoTower, positives: Positives, radius: float = 0.3, *, steps: int = 300, seed: int = 0
) -> TextFakes:
    """Train a generator of item text vectors that make a recommender rank worse; the recommender stays as it is.

    Args:
        recommender: a two-tower or hybrid of one seed.
        positives: whose histories and targets it is measured on.
        radius: of the ball around each text vector, relative to its length.
        steps: of Adam.
        seed: of the initial values and of all that is drawn.
    """
    vectors = jnp.asarray(recommender.vectors.values)
    begin_key, train_key, noise_key, measure_key = jax.random.split(jax.random.key(seed), 4)
    generator = SentenceGenerator(vectors.shape[1], rngs=nnx.Rngs(begin_key))
    generator = _train(generator, recommender, positives, vectors, radius, train_key, steps)
    found = {"clean": float(_mean_loss(recommender, positives, vectors, measure_key))}
    for name, adversary in {"noise": Noise(), "generator": generator}.items():
        each = [
            _mean_loss(recommender, positives, _fakes(adversary, vectors, radius, key), measure_key)
            for key in jax.random.split(noise_key, _DRAWS)
        ]
        found[name] = float(np.mean(each))
    return TextFakes(generator, np.asarray(vectors), radius, found)


def _loss(recommender: TwoTower, positives: Positives, vectors: Float[Array, "I T"], key: PRNGKeyArray):
    """The softmax loss of a batch of users when items have these text vectors; user towers read the real ones."""
    row_key, draw_key = jax.random.split(key)
    rows = positives.active[jax.random.randint(row_key, (_BATCH,), 0, positives.n_active)]
    batch = draw_users(positives, rows, draw_key, reads_history=True, hide=0.2, profile=False)
    return RowLoss(recommender, batch, "softmax")(
        recommender.users(batch.users, batch.history), recommender.read(vectors)
    )


@jax.jit
def _mean_loss(recommender, positives, vectors, key):
    return jnp.mean(jax.lax.map(lambda k: _loss(recommender, positives, vectors, k), jax.random.split(key, 20)))


@jax.jit
def _fakes(generator, vectors, radius, key):
    return generator(None, vectors, vectors[:0], key, everywhere(radius))[0]


def _train(generator, recommender, positives, vectors, radius, key, steps):
    optimizer = optax.adam(3e-3)

    @jax.jit
    def run(generator):
        def step(carry, key):
            generator, state = carry
            noise_key, batch_key = jax.random.split(key)

            def value(generator):
                fakes = generator(None, vectors, vectors[:0], noise_key, everywhere(radius))[0]
                return -_loss(recommender, positives, fakes, batch_key)

            updates, state = optimizer.update(jax.grad(value)(generator), state, generator)
            return (optax.apply_updates(generator, updates), state), None

        return jax.lax.scan(step, (generator, optimizer.init(generator)), jax.random.split(key, steps))[0][0]

    return run(generator)
