"""Certified radii of trained models."""

import jax
import numpy as np
import pandas as pd
import pytest
from conftest import later

import gan_rec
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments.certified import certified_accuracy
from gan_rec.experiments.fitting import attacked_how, part_of
from gan_rec.robustness.attackers import PatientPGD
from gan_rec.robustness.curves import lists_of
from gan_rec.robustness.damage import move_rows

OPTIONS = {"dim": 8, "batch_size": 32, "seeds": 2, "epochs": 20, "learning_rate": 1e-2, "progress": False}


@pytest.fixture(scope="module", params=["autoencoder", later("mf")])
def model(request, small_split):
    return gan_rec.fit(small_split, recommender=request.param, alpha=1.0, **OPTIONS)


@pytest.mark.parametrize("rows", [*map(later, ("users", "items")), "both"])
def test_no_attack_of_ours_breaks_a_certificate(model, rows):
    """No list changes within its user's own radius, and some do far above all of them."""
    radii = gan_rec.certify({"twin": model}, (5,), (rows,), users=None)
    part = part_of(model, "test")
    known = to_device(part.known)
    how = attacked_how(model) | {"rows": rows, "goal": "list", "k": 5}
    own = radii.pivot(index="seed", columns="user", values="radius").to_numpy()
    attack = PatientPGD(attack_steps=30, restarts=5)

    def sets(radius):
        moved = move_rows(part.recommenders, attack, known, jax.random.key(0), radius=radius, **how).moved
        return np.sort(lists_of(moved, known, part.truth, 5).items, axis=2)

    clean, safe = sets(np.zeros(2)), 0
    for share in (0.0, 0.25, 0.5, 0.75, 0.95):
        radius = 0.99 * np.quantile(own, share, axis=1)
        within = own > radius[:, None]
        assert (sets(radius) == clean).all(axis=2)[within].all()
        safe += within.sum()
    assert safe > 2 * own.size, "the radii at which users were attacked are among their own"
    assert not np.array_equal(sets(100 * own.min(axis=1) + 0.05), clean)


def test_what_a_certificate_says_of_each_user(model):
    radii = gan_rec.certify({"a": model, "b": model}, (1, 5), users=10)
    assert len(radii) == 2 * 2 * 2 * 3 * 10 and set(radii["user"]) <= set(model.split.train.user_ids)
    wide = radii.pivot(index=["model", "seed", "k", "user"], columns="rows", values="radius")
    assert (wide["both"] <= wide["users"]).all() and (wide["both"] <= wide["items"]).all() and (wide > 0).all().all()
    hits = gan_rec.evaluate(model, ks=(1,))
    own = gan_rec.certify({"a": model}, (1,), ("users",), users=None)
    np.testing.assert_allclose(
        own.groupby("seed")["correct"].mean(), hits.per_seed("P@1"), rtol=1e-6
    )  # of one item precision is whether it is a hit


def test_certified_accuracy_by_hand():
    radii = pd.DataFrame(
        {"model": "m", "seed": 0, "rows": "users", "k": 1, "user": [1, 2, 3, 4], "radius": [0.0, 0.1, 0.2, 0.3],
         "correct": [True, True, False, True]}
    )  # fmt: skip
    found = certified_accuracy(radii, (0.0, 0.15))
    assert found["unchanged"].tolist() == [0.75, 0.5] and found["accuracy"].tolist() == [0.5, 0.25]


def test_mistakes_are_named(small_split):
    with pytest.raises(UserError, match="there is no model"):
        gan_rec.certify({})
    model = gan_rec.fit(small_split, recommender="mf", norm="linf", **OPTIONS | {"epochs": 1})
    with pytest.raises(UserError, match="certificates need norm 'l2', the model m has 'linf'"):
        gan_rec.certify({"m": model})
