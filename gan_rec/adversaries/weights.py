"""An adversary that moves nobody: it chooses how much each user weighs."""

from flax import nnx

from gan_rec.adversaries.ball import Ball


class KLDRO(nnx.Module):
    """Distributionally robust optimisation: the batch's users get the weights that raise the loss most.

    Weights q stay within a KL divergence of `epsilon` from those that the loss gives by itself, p. The best answer is
    known in closed form, q proportional to p exp(loss / temperature), with the temperature that reaches the radius, so
    there is nothing to train: see `gan_rec.losses.worst_case`, which the game minimises in place of the loss on moved
    rows. With losses over pairs it is pairs that are weighed. As an attack on a trained model it does nothing.

    Source: Hu and Hong, Kullback-Leibler divergence constrained distributionally robust optimization, 2013, theorem 1;
    a group, in the sense of Sagawa et al., ICLR 2020, is one user.
    """

    bounded = True  # rows stay where they are
    reweighs = True

    def __call__(self, loss, users, items, key, ball: Ball):
        """Return the rows."""
        return users, items
