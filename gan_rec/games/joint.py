"""What games share: the joint loss, alpha times the data's and 1 - alpha times the adversary's, and its bookkeeping."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gan_rec.data.sampling import Positives, shuffle
from gan_rec.games import batches


class Joint:
    """A game of a joint loss; has `alpha` and `weight`."""

    metrics = ("data_loss", "adversarial_loss")

    @property
    def of_users(self) -> bool:
        """Whether a batch is users rather than pairs."""
        return True

    @property
    def plays(self) -> Bool[Array, "..."]:
        """Whether the adversary takes part."""
        return jnp.asarray(self.alpha) < 1

    def size(self, positives: Positives) -> tuple[int, Int[Array, ""]]:
        """See `gan_rec.games.batches.size`."""
        return batches.size(positives, of_users=self.of_users)

    def order(self, positives: Positives, batch_size: int, key: PRNGKeyArray) -> Int[Array, " capacity"]:
        """The rows of an epoch, below `size`, in the order in which batches take them; then the padding."""
        return shuffle(key, *self.size(positives))

    def some_rows(self, positives: Positives, n: int, key: PRNGKeyArray) -> Int[Array, " B"]:
        """The rows of a batch of `n` that belongs to no epoch, drawn with replacement."""
        return jax.random.randint(key, (n,), 0, self.size(positives)[1])


def weight(game: Joint):
    """Alpha as it stands: what an automatic rule has made of it (`game.weight`), or `game.alpha`."""
    return game.alpha if game.weight is None else game.weight


def penalty(recommender, batch, key: PRNGKeyArray) -> Float[Array, ""] | float:
    """What a recommender adds to its own loss, whatever the game: minus a log prior, a KL term; 0 if it has none.

    The adversary has no part in it. `key` is the one that the recommender's rows were made with.
    """
    return recommender.penalty(batch, key) if hasattr(recommender, "penalty") else 0.0


def joint(game: Joint, data, adversarial):
    """Joint loss and its parts.

    Args:
        game: a `Joint`.
        data: the data loss.
        adversarial: () -> the adversarial loss; not computed where the adversary does not play.
    """
    second = jax.lax.cond(game.plays, adversarial, lambda: jnp.zeros(()))
    alpha = weight(game)
    total = jnp.where(game.plays, alpha * data + (1 - alpha) * second, data)
    return total, {"data_loss": data, "adversarial_loss": second}
