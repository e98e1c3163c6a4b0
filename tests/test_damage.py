"""What attacks do to the ranking of trained models."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import later

import gan_rec
from gan_rec.adversaries import Generator
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments.fitting import attacked_how, part_of
from gan_rec.robustness.attackers import PatientPGD
from gan_rec.robustness.curves import lists_of, overlap
from gan_rec.robustness.damage import move_rows, radius_of_loss

OPTIONS = {"dim": 12, "batch_size": 32, "seeds": 2, "epochs": 40, "learning_rate": 1e-2, "weight_decay": 0.1}


MODELS = {
    "mf": ("mf", {}), "ae": ("autoencoder", {}), "item side": ("autoencoder", {"game": "cfgan", "side": "item"}),
    "graph": ("lightgcn", {}),
}  # fmt: skip


@pytest.fixture(scope="module", params=["mf", "ae", *map(later, ("item side", "graph"))])
def model(request, small_split):
    recommender, options = MODELS[request.param]
    return gan_rec.fit(small_split, recommender=recommender, progress=False, **OPTIONS | {"alpha": 1.0} | options)


def score(model, attack, radius, **options):
    return gan_rec.evaluate_attacked(model, attack, radius, **options).per_seed("NDCG@10")


@pytest.mark.parametrize("attack", ["fgm", "noise", "pgd"])
@pytest.mark.parametrize("on", ["test", "validation"])
def test_a_radius_of_zero_is_the_clean_evaluation(model, attack, on):
    np.testing.assert_allclose(score(model, attack, 0.0, on=on), gan_rec.evaluate(model, on).per_seed("NDCG@10"))


def test_gradient_attacks_hurt_more_than_noise(model):
    noise, fgm, pgd = (score(model, attack, 1.0).mean() for attack in ("noise", "fgm", "pgd"))
    clean = gan_rec.evaluate(model).per_seed("NDCG@10").mean()
    assert fgm < noise and pgd < noise and min(fgm, pgd) < 0.9 * clean


def test_each_seed_can_have_its_own_radius(model):
    apart = score(model, "fgm", np.array([0.0, 1.0]))
    assert apart[0] == score(model, "fgm", 0.0)[0] and apart[1] == score(model, "fgm", 1.0)[1]


def test_adversaries_with_parameters_attack_too(small_split):
    model = gan_rec.fit(small_split, recommender="mf", progress=False, alpha=1.0, **OPTIONS)
    from flax import nnx

    generators = jax.vmap(lambda key: Generator(12, rngs=nnx.Rngs(key)))(jax.random.split(jax.random.key(0), 2))
    moved = score(model, generators, 0.5)
    assert moved.shape == (2,) and not np.array_equal(moved, score(model, generators, 0.0))


def test_lists_of_some_items_are_attacked_by_moving_these(small_split):
    """As after a split by cold items: aimed at lists of all items an attack does less to lists of a few."""
    model = gan_rec.fit(small_split, recommender="mf", progress=False, alpha=1.0, **OPTIONS)
    part, few = part_of(model, "test"), np.arange(45) % 3 == 0
    known, truth = to_device(part.known), replace(part.truth, candidates=few)

    def left(radius, ranked):
        how = attacked_how(model) | {"goal": "list", "k": 5, "radius": radius, "ranked": ranked, "rows": "users"}
        moved = move_rows(part.recommenders, PatientPGD(), known, jax.random.key(0), **how).moved
        return lists_of(moved, known, truth, 5)

    clean, aimed, elsewhere = left(0.0, few), left(0.3, few), left(0.3, None)
    assert overlap(clean, aimed).mean() < overlap(clean, elsewhere).mean() - 0.02


def test_of_two_attacks_of_a_name_the_stronger_is_meant(model):
    """The name stands for 20 steps from FGM's point, not for the few of training."""
    if model.settings.recommender == "mf":
        named, meant = (score(model, attack, 0.3) for attack in ("pgd", PatientPGD()))
        np.testing.assert_array_equal(named, meant)


def test_radius_of_loss_finds_where_a_curve_has_fallen():
    clean = np.array([1.0, 0.5])
    radius = radius_of_loss(lambda r: clean * np.exp(-r), clean, 0.2)
    np.testing.assert_allclose(radius, -np.log(0.8), atol=1e-3)


@pytest.mark.parametrize(("attack", "on", "message"), [
    ("sword", "test", "unknown attack 'sword'; allowed: noise, clipped-noise, fgsm, fgm, pgd, vat"),
    ("fgm", "train", "unknown part 'train'"),
])  # fmt: skip
def test_mistakes_are_named(small_split, attack, on, message):
    model = gan_rec.fit(small_split, recommender="mf", progress=False, **OPTIONS | {"epochs": 1})
    with pytest.raises(UserError, match=message):
        gan_rec.evaluate_attacked(model, attack, 0.1, on)


def test_flipped_rows_are_those_of_the_data(small_split):
    """The attack on an item-side model moves users' and items' rows of the data, not of the transposed pairs."""
    model = gan_rec.fit(small_split, game="cfgan", side="item", progress=False, **OPTIONS | {"epochs": 2})
    known = to_device(small_split.train_and_valid())
    from gan_rec.recommenders.flipped import flip

    right = flip(jax.tree.map(lambda x: x[0], model.weights.final.recommender), known)
    assert right.users(jnp.arange(60)).shape == (60, 12) and right.items().shape == (45, 12)
