"""The defects that public code of this field has, put in on purpose: the contract must go red for every one of them."""

from dataclasses import dataclass, fields

import contract
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from gan_rec.adversaries import FGM, PairCritic
from gan_rec.games import CFGAN, IRGAN, EmbeddingGame, HardNegatives
from gan_rec.games.irgan import draw_items
from gan_rec.games.rows import RowLoss

MUTANTS = {}


def mutant(check, *case, **options):
    """A way to break a case of the contract, and the check that must see it."""

    def add(break_it):
        MUTANTS[break_it.__name__] = (check, break_it, case, options)
        return break_it

    return add


def as_game(cls):
    """A mutated game as a pytree like the one that it stands in for."""
    cls = dataclass(frozen=True)(cls)
    data = ["alpha", "epsilon", "beta", "weight", "temperature", "positive_share", "zero_weight", "penalty", "entropy"]
    names = [f.name for f in fields(cls)]
    jax.tree_util.register_dataclass(cls, [n for n in names if n in data], [n for n in names if n not in data])
    return cls


def turned_into(cls, game):
    return as_game(cls)(**{f.name: getattr(game, f.name) for f in fields(game)})


@mutant(contract.recommender_feels_the_adversary, "cfgan", "autoencoder")
def verdict_outside_the_tape(case):
    """CFGAN of sisinflab/elliot and xuxinzhang/pytorch-CFGAN: no gradient from the critic to what it judges."""

    class Broken(CFGAN):
        def masked(self, vectors, real, key):
            return jax.lax.stop_gradient(super().masked(vectors, real, key))

    case.game = turned_into(Broken, case.game)


@mutant(contract.gradient_reaches_the_adversary, "embedding", "mf", "generator", epsilon=0.3)
def fakes_outside_the_tape(case):
    """The same defect the other way round: no gradient to a generator of embeddings."""

    class Broken(EmbeddingGame):
        def attack(self, *arguments):
            return jax.lax.stop_gradient(super().attack(*arguments))

    case.game = turned_into(Broken, case.game)


@mutant(contract.losses_equal_a_reference, "apr", "mf", "fgm", epsilon=0.3)
def flag_swapped(case):
    """AMF of sisinflab/elliot: the clean term gets the weight of the adversarial one, and the other way round."""

    class Broken(EmbeddingGame):
        def weights(self):
            return super().weights()[::-1]

    case.game = turned_into(Broken, case.game)


@mutant(contract.losses_equal_a_reference, "hard-negative", "mf", "hardness", negatives=4)
def weights_of_both_terms_swapped(case):
    """The same in a game with another joint loss."""

    class Broken(HardNegatives):
        def recommender_loss(self, *arguments):
            total, parts = super().recommender_loss(*arguments)
            return parts["data_loss"] + parts["adversarial_loss"] - total, parts

    case.game = turned_into(Broken, case.game)


@mutant(contract.second_turn_hurts, "embedding", "mf", "free", epsilon=0.3)
def reused_gradient_helps(case):
    """The offset that is kept for the next turn goes down the gradient."""

    class Broken(EmbeddingGame):
        def recommender_loss(self, *arguments):
            total, parts = super().recommender_loss(*arguments)
            return total, parts | {"offsets": jax.tree.map(jnp.negative, parts["offsets"])}

    case.game = turned_into(Broken, case.game)


@mutant(contract.losses_equal_a_reference, "apr", "mf", "fgm", epsilon=0.3)
def missing_squeeze(case):
    """AMF of sisinflab/elliot: scores [B, 1] minus scores [B] are [B, B], and their mean looks like a loss."""

    class Broken(RowLoss):
        def __call__(self, users, items):
            scores = self.scores(users, items)
            return jnp.mean(jax.nn.softplus(scores[:, 1] - scores[:, :1]))

    class Game(EmbeddingGame):
        def recommender_loss(self, recommender, adversary, batch, key):
            rows = self.representations(recommender, batch, key)
            loss = Broken(recommender, batch, self.loss, rows, shared=self.shared)
            moved = self.attack(adversary, loss, *rows, key)
            return loss(*rows), {"data_loss": loss(*rows), "adversarial_loss": loss(*moved)}

    case.game = turned_into(Game, case.game)


@mutant(contract.every_id_has_its_own_row, "irgan", "mf")
def users_counted_as_items(case):
    """IRGAN of sisinflab/elliot: a table too short for the user ids (here they would share the last row silently)."""
    case.adversary = PairCritic(contract.N_ITEMS, contract.N_ITEMS, rngs=nnx.Rngs(1))


@mutant(contract.adversary_feels_the_recommender, "irgan", "mf", samples=50)
def critic_never_sees_generated_items(case):
    """IRGAN of sisinflab/elliot: the critic is trained on random items rather than on the policy's."""

    class Broken(IRGAN):
        def verdict_loss(self, verdicts, policy_scores, targets, key):
            return super().verdict_loss(verdicts, jnp.zeros_like(policy_scores), targets, key)

    case.game = turned_into(Broken, case.game)


@mutant(contract.fakes_are_fresh, "irgan", "mf", samples=50, ranker="discriminator")
def stale_cache(case):
    """geek-ai/irgan: generated items are read from a cached file, so the critic keeps seeing the first ones."""
    first = draw_items(jax.nn.softmax(case.game.scores(case.adversary, case.batch, None)), 50, contract.KEY)

    class Broken(IRGAN):
        def verdict_loss(self, verdicts, policy_scores, targets, key):
            counts = jnp.zeros_like(verdicts).at[jnp.arange(verdicts.shape[0])[:, None], first].add(1.0)
            on_real = jnp.sum(targets * jax.nn.softplus(-verdicts), axis=1)
            return jnp.mean(on_real + jnp.sum(counts / 50 * jax.nn.softplus(verdicts), axis=1))

    case.game = turned_into(Broken, case.game)


class Helpful(FGM):
    """Moves down the gradient."""

    bounded = True

    def __call__(self, loss, users, items, key, ball):
        moved = super().__call__(loss, users, items, key, ball)
        return 2 * users - moved[0], 2 * items - moved[1]


@mutant(contract.adversary_hurts, "embedding", "mf", "fgm", epsilon=0.3)
def perturbation_helps(case):
    """AMR of PreferredAI/cornac: the perturbation lowers the loss."""
    case.adversary = Helpful()


# Defects of our own kind of code, which the same suite must see.


@mutant(contract.adversary_hurts, "embedding", "autoencoder", "generator", epsilon=0.3)
def generator_descends(case):
    """A wrong sign: the generator makes the recommender's task easier."""

    class Broken(EmbeddingGame):
        def adversary_loss(self, *arguments):
            return -super().adversary_loss(*arguments)

    case.game = turned_into(Broken, case.game)


@mutant(contract.losses_equal_a_reference, "hard-negative", "mf", "hardness", negatives=4)
def weights_do_not_sum_to_one(case):
    """Importance weights without their normaliser."""

    class Broken(HardNegatives):
        def hardness(self, adversary, users, items, scores):
            return adversary(users, items[:, 1:], scores[:, 1:])

    case.game = turned_into(Broken, case.game)


@mutant(contract.only_params, "embedding", "mf", "generator")
def adversary_keeps_state(case):
    """State that a compiled epoch would never update."""
    case.adversary.calls = nnx.Variable(jnp.zeros(()))


@mutant(contract.epochs_obey, "embedding", "mf", "generator", epsilon=0.3)
def weight_zero_leaves_a_trace(case):
    """An adversary that plays whatever its weight is."""

    class Broken(EmbeddingGame):
        plays = property(lambda self: jnp.asarray(True))

    case.game = turned_into(Broken, case.game)


@pytest.mark.long
@pytest.mark.parametrize("name", MUTANTS)
def test_contract_goes_red(name, tmp_path):
    check, break_it, case, options = MUTANTS[name]

    def examine(broken):
        jax.clear_caches()  # nothing of another game's programs is left to answer for this one
        built = contract.build(*case, **options)
        if broken:
            break_it(built)
        check(built, contract.run(built) if check in contract.ON_A_BATCH else tmp_path / str(broken))

    examine(broken=False)
    with pytest.raises(AssertionError):
        examine(broken=True)
