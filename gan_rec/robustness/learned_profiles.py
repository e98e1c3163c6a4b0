"""Fake profiles that are learned: by gradients through the training of a surrogate, and by a generator with a critic.

Both optimise what the attacker is after, real users who are shown the targets, as far as a surrogate of the recommender
can tell (`gan_rec.robustness.surrogates`).
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gan_rec.data.interactions import Interactions
from gan_rec.errors import UserError
from gan_rec.robustness.profiles import check_request, fillers_allowed, profile_sizes
from gan_rec.robustness.surrogates import SURROGATES, real_rows

LEARNED = ("unrolled", "gan")
_FAR = 1e9
_GROUPS = (1, 5, 20)
_K = 10  # the list that targets are to be in


@dataclass(frozen=True)
class Learning:
    """How profiles are learned.

    Args:
        surrogate: one of `gan_rec.robustness.surrogates.SURROGATES`.
        steps: of Adam.
        learning_rate: of Adam, which falls to 0; of generator and critic a tenth of it, which stays.
        temperature: of the promotion loss, in standard deviations of a user's scores.
        realism: gan only: weight of the critic's word, relative to promotion.
        hidden: gan only: units of generator and critic.
        noise: gan only: size of z.
    """

    surrogate: str = "walks"
    steps: int = 60
    learning_rate: float = 0.05
    temperature: float = 0.5
    realism: float = 0.2
    hidden: int = 64
    noise: int = 16


class Learned(NamedTuple):
    """What learning came to: the best profiles on its way, as the surrogate judges them."""

    profiles: Bool[np.ndarray, "n I"]
    losses: Float[np.ndarray, " steps"]  # promotion loss of the profiles after each step
    hit_ratios: Float[np.ndarray, " steps"]  # of the targets, among real users of the surrogate


def learned_profiles(
    kind: str,
    known: Interactions,
    n: int,
    targets: Int[np.ndarray, " T"],
    rng: np.random.Generator,
    size: int | None = None,
    how: Learning | None = None,
) -> Learned:
    """Profiles that hold all targets and learned fillers; sizes are drawn as those of `fake_profiles`.

    * unrolled: the profiles are free parameters, which follow the gradient of the promotion loss through the training
      of the surrogate. In the forward pass they are the best `size` items of each row, in the backward pass the
      parameters themselves (straight-through). They begin with the best of `starts`. Source: Tang et al., RecSys 2020,
      section 3.
    * gan: a generator makes them of noise, against a critic who tells them from real users' profiles; the generator is
      also paid for promotion. Of the steps that it plays the one is kept whose profiles promote best.

    Args:
        kind: one of `LEARNED`.
        known, n, targets, rng, size: see `gan_rec.robustness.profiles.fake_profiles`.
        how: options.

    Raises:
        UserError: the kind is unknown, the numbers are not possible ones, or there are too many items.
    """
    how = how or Learning()
    check_learned(kind, how.surrogate)
    check_request(known, n, targets, size)
    real = real_rows(known, rng)
    seed = int(rng.integers(2**31))
    surrogate = SURROGATES[how.surrogate].fit(real, seed)
    sizes = profile_sizes(known, n, len(targets), rng, size)
    goal = Promotion(jnp.asarray(targets), jnp.asarray(real), how.temperature)
    fixed = np.where(fillers_allowed(known, targets), 0.0, -_FAR)
    fixed[targets] = _FAR
    shape = Shape(jnp.asarray(fixed, jnp.float32), jnp.asarray(sizes))
    key = jax.random.key(seed)
    if kind == "unrolled":
        found = _unroll(surrogate, goal, shape, jnp.asarray(starts(real, n, rng), jnp.float32), how)
    else:
        found = _play(surrogate, goal, shape, key, how)
    profiles, losses, hits = (np.asarray(x) for x in found)
    return Learned(profiles > 0.5, losses, hits)


def check_learned(kind: str, surrogate: str) -> None:
    """Raise UserError unless there are such an attack and such a surrogate."""
    if kind not in LEARNED:
        raise UserError(f"unknown learned attack {kind!r}; allowed: {', '.join(LEARNED)}")
    if surrogate not in SURROGATES:
        raise UserError(f"unknown surrogate {surrogate!r}; allowed: {', '.join(SURROGATES)}")


def starts(
    real: Float[np.ndarray, "R I"], n: int, rng: np.random.Generator, users: int = 8
) -> Float[np.ndarray, "starts n I"]:
    """Weights from which an attack may begin: all n profiles near to one small group of real users.

    Few fakes move a recommender where they are many of those who are alike. A start has, for each item, the share of a
    group who have it, plus a little noise that tells the profiles apart. Groups are the 1, 5 and 20 users nearest (by
    cosine) to one of `users` who are drawn; the last start is the average of all users.
    """
    unit = real / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1e-9)
    drawn = rng.choice(len(real), min(users, len(real)), replace=False)
    nearest = np.argsort(-(unit[drawn] @ unit.T), axis=1, kind="stable")
    groups = [real[own[:size]].mean(axis=0) for own in nearest for size in _GROUPS] + [real.mean(axis=0)]
    noise = rng.random((len(groups), n, real.shape[1]))
    return 0.6 * np.stack(groups)[:, None] + 0.05 * noise


@partial(jax.tree_util.register_dataclass, data_fields=["targets", "real", "temperature"], meta_fields=[])
@dataclass(frozen=True)
class Promotion:
    """How far the targets are from the first ten of users who do not have them.

    Args:
        targets: T items.
        real: profiles of R users.
        temperature: of the loss.
    """

    targets: Int[Array, " T"]
    real: Float[Array, "R I"]
    temperature: Float[Array, ""] | float

    def loss(self, scores: Float[Array, "R I"]) -> Float[Array, ""]:
        """Minus the log of a smooth hit ratio of each target, averaged over targets.

        The smooth hit ratio is the mean over users of sigmoid((target's score - tenth score) / temperature), scores
        over their standard deviation. While nobody is shown the target, its logarithm pulls at those who are nearest
        to it: users one by one, not all of them a little.
        """
        margin, counts = self._margins(scores)
        hits = jnp.where(counts > 0, jax.nn.log_sigmoid(-margin / self.temperature), -_FAR)
        users = jnp.log(jnp.maximum(jnp.sum(counts, axis=0), 1))
        return jnp.mean(jnp.where(jnp.any(counts > 0, axis=0), users - jax.nn.logsumexp(hits, axis=0), 0.0))

    def hit_ratio(self, scores: Float[Array, "R I"]) -> Float[Array, ""]:
        """Of pairs of a user and a target that the user does not have, the share with the target in the first ten."""
        margin, counts = self._margins(scores)
        return jnp.sum(counts * (margin <= 0)) / jnp.maximum(jnp.sum(counts), 1)

    def _margins(self, scores):
        unseen = jnp.where(self.real > 0, -jnp.inf, scores)
        last = jax.lax.top_k(unseen, min(_K, scores.shape[1]))[0][:, -1:]
        last = jnp.where(jnp.isfinite(last), last, 0.0)
        spread = jax.lax.stop_gradient(jnp.std(scores, axis=1, keepdims=True) + 1e-9)
        counts = (self.real[:, self.targets] == 0).astype(jnp.float32)
        return (last - scores[:, self.targets]) / spread, counts


@partial(jax.tree_util.register_dataclass, data_fields=["fixed", "sizes"], meta_fields=[])
@dataclass(frozen=True)
class Shape:
    """What profiles must be like.

    Args:
        fixed: added to an item's weight: large for targets, minus as much for what cannot be a filler.
        sizes: items of each profile.
    """

    fixed: Float[Array, " I"]
    sizes: Int[Array, " n"]

    def harden(self, weights: Float[Array, "n I"]) -> Float[Array, "n I"]:
        """1 for the `sizes` items of largest weight; the gradient passes as if these were the weights themselves."""
        order = jnp.argsort(-(weights + self.fixed), axis=1)
        ranks = jnp.argsort(order, axis=1)
        chosen = (ranks < self.sizes[:, None]).astype(weights.dtype)
        return chosen + (weights - jax.lax.stop_gradient(weights))


def _judge(surrogate, goal: Promotion, profiles: Float[Array, "n I"]):
    """The loss of profiles, and their hit ratio."""
    scores = surrogate(profiles)
    return goal.loss(scores), goal.hit_ratio(scores)


class _Best(NamedTuple):
    profiles: Float[Array, "n I"]
    loss: Float[Array, ""]
    hit_ratio: Float[Array, ""]

    def against(self, profiles, loss, hit_ratio) -> "_Best":
        """The one of the higher hit ratio, or the lower loss where both have the same."""
        better = (hit_ratio > self.hit_ratio) | ((hit_ratio == self.hit_ratio) & (loss < self.loss))
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), _Best(profiles, loss, hit_ratio), self)


def _nothing(shape: Shape) -> _Best:
    return _Best(jnp.zeros((len(shape.sizes), len(shape.fixed))), jnp.asarray(jnp.inf), jnp.asarray(-1.0))


@partial(jax.jit, static_argnames="how")
def _unroll(surrogate, goal: Promotion, shape: Shape, begins: Float[Array, "starts n I"], how: Learning):
    """Adam from the start that promotes best as it is."""
    adam = optax.adam(optax.cosine_decay_schedule(how.learning_rate, how.steps))
    judged = jax.lax.map(lambda weights: _judge(surrogate, goal, shape.harden(weights)), begins)
    begin = begins[jnp.lexsort((judged[0], -judged[1]))[0]]

    def loss(weights):
        profiles = shape.harden(weights)
        value, hits = _judge(surrogate, goal, profiles)
        return value, (profiles, hits)

    def step(state, _):
        weights, memory, best = state
        (value, (profiles, hits)), slope = jax.value_and_grad(loss, has_aux=True)(weights)
        ways, memory = adam.update(slope, memory)
        weights = jnp.clip(optax.apply_updates(weights, ways), 0.0, 1.0)
        return (weights, memory, best.against(profiles, value, hits)), (value, hits)

    state = begin, adam.init(begin), _nothing(shape)
    (_, _, best), (losses, hits) = jax.lax.scan(step, state, length=how.steps)
    return best.profiles, losses, hits


class ProfileGenerator(nnx.Module):
    """Noise -> a weight in (0, 1) for every item, of which a profile's items are the largest.

    Args:
        n_items: I.
        noise: Z.
        hidden: units of the hidden layer.
        rngs: source of the initial values.
    """

    def __init__(self, n_items: int, *, noise: int = 16, hidden: int = 64, rngs: nnx.Rngs):
        self.read = nnx.Linear(noise, hidden, rngs=rngs)
        self.write = nnx.Linear(hidden, n_items, rngs=rngs)

    def __call__(self, z: Float[Array, "n Z"]) -> Float[Array, "n I"]:
        """Weights of items."""
        return jax.nn.sigmoid(self.write(jax.nn.leaky_relu(self.read(z))))


class ProfileCritic(nnx.Module):
    """Logits that profiles are real users'.

    Args:
        n_items: I.
        hidden: units of the hidden layer.
        rngs: source of the initial values.
    """

    def __init__(self, n_items: int, *, hidden: int = 64, rngs: nnx.Rngs):
        self.read = nnx.Linear(n_items, hidden, rngs=rngs)
        self.leave = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, profiles: Float[Array, "n I"]) -> Float[Array, " n"]:
        """Higher for what seems real; profiles are scaled to length 1 first."""
        lengths = jnp.sqrt(jnp.maximum(jnp.sum(profiles, axis=1, keepdims=True), 1.0))
        return self.leave(jax.nn.leaky_relu(self.read(profiles / lengths)))[:, 0]


@partial(jax.jit, static_argnames="how")
def _play(surrogate, goal: Promotion, shape: Shape, key: PRNGKeyArray, how: Learning):
    """The game of generator and critic, a step of each by turns."""
    n, n_items = len(shape.sizes), len(shape.fixed)
    first, second, z_key, key = jax.random.split(key, 4)
    generator, of_generator = _split(
        ProfileGenerator(n_items, noise=how.noise, hidden=how.hidden, rngs=nnx.Rngs(first))
    )
    critic, of_critic = _split(ProfileCritic(n_items, hidden=how.hidden, rngs=nnx.Rngs(second)))
    adam = optax.adam(how.learning_rate / 10, b1=0.5)
    z = jax.random.normal(z_key, (n, how.noise))  # the n fakes that promotion is measured with

    def adversary_loss(generator, critic):
        profiles = shape.harden(of_generator(generator)(z))
        value, hits = _judge(surrogate, goal, profiles)
        real = jnp.mean(jax.nn.softplus(-of_critic(critic)(profiles)))
        return value + how.realism * real, (profiles, value, hits)

    def critic_loss(critic, real, profiles):
        judge = of_critic(critic)
        return jnp.mean(jax.nn.softplus(-judge(real))) + jnp.mean(jax.nn.softplus(judge(profiles)))

    def step(state, key):
        generator, critic, memories, best = state
        real = goal.real[jax.random.randint(key, (4 * n,), 0, len(goal.real))]
        (_, (profiles, value, hits)), slope = jax.value_and_grad(adversary_loss, has_aux=True)(generator, critic)
        own = jax.grad(critic_loss)(critic, real, jax.lax.stop_gradient(profiles))
        moved, memories = zip(*map(adam.update, (slope, own), memories), strict=True)
        generator, critic = map(optax.apply_updates, (generator, critic), moved)
        return (generator, critic, memories, best.against(profiles, value, hits)), (value, hits)

    state = generator, critic, (adam.init(generator), adam.init(critic)), _nothing(shape)
    (_, _, _, best), (losses, hits) = jax.lax.scan(step, state, jax.random.split(key, how.steps))
    return best.profiles, losses, hits


def _split(module: nnx.Module):
    """A module's weights, and weights -> module."""
    structure, weights = nnx.split(module)
    return weights, partial(nnx.merge, structure)
