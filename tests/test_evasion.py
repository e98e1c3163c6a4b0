"""Attacks of growing radius on trained models, and what is reported of them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from conftest import later

import gan_rec
from gan_rec.adversaries.ball import everywhere
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments.evasion import Evasion, half_lost
from gan_rec.experiments.evasion_report import evasion_tables, summaries, write
from gan_rec.experiments.fitting import attacked_how, part_of
from gan_rec.experiments.tables import print_table
from gan_rec.robustness import damage
from gan_rec.robustness.attackers import FGM, Given, Noise, PatientPGD, RandomSearch
from gan_rec.robustness.curves import Lists, area, flips, overlap
from gan_rec.robustness.damage import move_rows

OPTIONS = {"dim": 12, "batch_size": 32, "seeds": 2, "epochs": 40, "learning_rate": 1e-2, "progress": False}
RADII = (0.3, 0.6)


@pytest.fixture(scope="module", params=["autoencoder", *map(later, ("mf", "lightgcn"))])
def models(request, small_split):
    options = OPTIONS | {"recommender": request.param, "adversary": "fgm", "epsilon": 0.3}
    return {"adversarial": gan_rec.fit(small_split, **options), "twin": gan_rec.fit(small_split, alpha=1.0, **options)}


@pytest.fixture(scope="module")
def evasion(models):
    return gan_rec.evade(models, radii=RADII, k=10)


def losses(fitted, attack, radius, rows="both", goal="list"):
    part = part_of(fitted, "test")
    how = attacked_how(fitted) | {"rows": rows, "goal": goal, "k": 10}
    return np.asarray(
        move_rows(part.recommenders, attack, to_device(part.known), jax.random.key(1), radius=radius, **how).losses
    )


@pytest.mark.parametrize("rows", ["both", *map(later, ("users", "items"))])
@pytest.mark.parametrize("goal", ["list", later("loss")])
@pytest.mark.parametrize("radius", [later(0.1), 0.5])
def test_pgd_is_never_weaker_than_fgm_and_fgm_never_than_noise_and_random_search(models, rows, goal, radius):
    for fitted in models.values():
        noise, search, fgm, pgd = (
            losses(fitted, attack, radius, rows, goal) for attack in (Noise(), RandomSearch(8), FGM(), PatientPGD())
        )
        assert np.all(noise < fgm) and np.all(search < fgm) and np.all(fgm <= pgd)
        assert np.all(losses(fitted, FGM(), 0.0, rows, goal) < search)


def test_transfer_is_never_stronger_than_the_own_attack(models, evasion):
    own = evasion.curves[evasion.curves["attack"] == "pgd"].groupby(["model", "radius"])["loss"].mean()
    moved = evasion.transfer.groupby(["model", "radius"])["loss"].mean()
    clean = evasion.curves[evasion.curves["radius"] == 0].groupby("model")["loss"].first()
    rise = own - clean.reindex(own.index, level="model")
    # PGD finds a maximum to within a hundredth of the rise.
    assert len(moved) == 4 and all(moved[place] <= own[place] + 0.01 * rise[place] for place in moved.index)


def test_curves_start_at_the_clean_evaluation_and_fall(models, evasion):
    for name, fitted in models.items():
        clean = gan_rec.evaluate(fitted, ks=(10,)).per_seed("NDCG@10")
        own = evasion.curves[evasion.curves["model"] == name]
        for _, curve in own.groupby("attack"):
            start = curve[curve["radius"] == 0]
            np.testing.assert_allclose(start["NDCG@10"], clean, rtol=1e-6)
            assert (start["overlap@10"] == 1).all() and (start["flips"] == 0).all()
        pgd = own[own["attack"] == "pgd"].groupby("radius")[["overlap@10", "loss"]].mean()
        assert pgd["overlap@10"].is_monotonic_decreasing and pgd["loss"].is_monotonic_increasing
        # Of the own list here other items of the same group take the places, which costs little.
        left = own[own["attack"] == "pgd-loss"].groupby("radius")["NDCG@10"].mean()
        assert left.is_monotonic_decreasing and left.iloc[-1] < 0.95 * left.iloc[0]
    assert evasion.attacks == ["noise", "random-search", "fgsm", "fgm", "pgd", "pgd-loss", "generator"]
    assert not evasion.notes


def test_a_training_seed_is_attacked_alone(models):
    """What one seed's attack finds has nothing to do with the other seeds."""
    whole = losses(models["twin"], PatientPGD(), 0.4)
    apart = losses(models["twin"], PatientPGD(), np.array([0.0, 0.4]))
    assert apart[1] == pytest.approx(whole[1], rel=1e-4) and apart[0] < whole[0]


def test_the_radius_of_half_is_where_half_is_lost(models):
    radius = half_lost(models["twin"], goal="loss", k=10)
    how = {"on": "validation", "goal": "loss", "k": 10, "transfer": False}
    found = gan_rec.evade({"twin": models["twin"]}, ("pgd",), [radius], **how)
    left = found.curves.groupby("radius")["NDCG@10"].mean()
    assert models["twin"].settings.recommender != "autoencoder" or radius < 1
    assert radius == 1 or left[radius] == pytest.approx(left[0.0] / 2, rel=0.2)


def test_overlap_flips_and_area_by_hand():
    shown = np.ones((1, 2, 3), bool)
    clean = Lists(np.array([[[1, 2, 3], [4, 5, 6]]]), shown, np.array([1.0]))
    moved = Lists(np.array([[[3, 1, 9], [4, 6, 5]]]), shown, np.array([0.5]))
    assert overlap(clean, moved)[0] == pytest.approx((2 / 3 + 1) / 2) and flips(clean, moved)[0] == 0.5
    # From 1 to 0.5 over the first half of the radii, then flat: the mean loss is (0.25 + 0.5) / 2.
    assert area(np.array([0.0, 1.0, 2.0]), np.array([0.8, 0.4, 0.4])) == pytest.approx(0.375)


def test_steps_that_are_given_are_taken():
    rows = jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0]])
    users, items = Given(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 5.0]]))(None, *rows, None, everywhere(0.1))
    np.testing.assert_allclose(users, [[3.5, 4.0]], rtol=1e-6)
    np.testing.assert_allclose(items, [[1.0, 0.1]], rtol=1e-6)


def frame(**left):
    """Curves of one model whose attacks leave the given values at radius 1."""
    rows = [
        {"model": "twin", "attack": a, "radius": r, "seed": 0, "NDCG@5": 1.0 if r == 0 else v, "overlap@5": 1.0,
         "flips": 0.0, "loss": 0.0}
        for a, v in left.items() for r in (0.0, 1.0)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_an_attack_weaker_than_random_search_is_called_broken():
    def broken(transfer=None, **left):
        named = {name.replace("_", "-"): value for name, value in left.items()}
        return Evasion(frame(**named), pd.DataFrame(transfer or []), 5).broken()

    assert broken(noise=0.9, random_search=0.8, fgm=0.5, pgd=0.4) == []
    assert broken(noise=0.9, random_search=0.3, fgm=0.5, pgd=0.2) == [
        "twin: fgm leaves 0.5000, random-search 0.3000 at radius 1"
    ]
    assert broken(fgm=0.5, pgd=0.6) == ["twin: pgd leaves 0.6000, fgm 0.5000 at radius 1"]
    assert broken(noise=0.4, fgm=0.5) == ["twin: fgm leaves 0.5000, noise 0.4000 at radius 1"]
    assert broken(generator=0.3, pgd=0.4) == ["twin: pgd leaves 0.4000, generator 0.3000 at radius 1"]
    moved = [{"model": "twin", "made on": "adversarial", "radius": 1.0, "seed": 0, "NDCG@5": 0.2}]
    assert broken(moved, pgd=0.4) == ["twin: steps made on adversarial leave 0.2000, its own 0.4000 at radius 1"]


def test_the_strongest_takes_the_worst_at_every_radius_and_another_goal_breaks_nothing():
    left = pd.concat([frame(pgd=0.4), frame(**{"pgd-loss": 0.3})])
    two = left.assign(radius=2 * left["radius"]).query("radius > 0").assign(**{"NDCG@5": [0.1, 0.5]})
    moved = pd.DataFrame([{"model": "twin", "made on": "adversarial", "radius": 1.0, "seed": 0, "NDCG@5": 0.2}])
    found = Evasion(pd.concat([left, two]), moved, 5)
    areas = found.areas().set_index("attack")["area"]
    # At radius 1 the other model's steps leave .2, at 2 PGD leaves .1: lost are 0, .8 and .9.
    assert areas["strongest"] == pytest.approx((0.8 / 2 + 1.7 / 2) / 2)
    assert areas["pgd-loss"] == pytest.approx((0.7 / 2 + 1.2 / 2) / 2)
    assert Evasion(left, pd.DataFrame(), 5).broken() == []


def test_pgd_on_the_loss_raises_the_training_loss(models, evasion):
    for name, fitted in models.items():
        own = evasion.curves[(evasion.curves["model"] == name) & (evasion.curves["attack"] == "pgd-loss")]
        clean, moved = own[own["radius"] == 0]["loss"], losses(fitted, PatientPGD(), 0.6, goal="loss")
        np.testing.assert_allclose(own[own["radius"] == 0.6]["loss"], moved, rtol=0.05)
        assert (moved > clean.to_numpy()).all()


def test_without_pgd_nothing_is_transferred(models):
    found = gan_rec.evade(models, ("fgm",), [0.3], k=10)
    assert found.attacks == ["fgm"] and found.transfer.empty and not found.broken()


class Told:
    """Stands for a bar: keeps how far it was moved."""

    def __init__(self):
        self.steps = []

    def add(self, description, done, total):
        return None

    def advance(self, bar, done, total, line, numbers):
        self.steps.append((done, total))


def test_the_bar_ends_with_the_last_attack(models):
    told = Told()
    gan_rec.evade(models, ("noise", "pgd"), [0.2, 0.4], k=10, progress=told)
    assert told.steps == [(i + 1, 2 * 2 * 3 + 2 * 2) for i in range(16)]


def test_ratios_compare_areas_by_seed():
    curves = pd.concat([frame(pgd=0.5, noise=0.99), frame(pgd=0.75, noise=0.999).assign(model="adversarial")])
    found = Evasion(curves, pd.DataFrame(), 5)
    assert found.ratios()["pgd"]["mean"] == pytest.approx(2.0) and found.clean_loss()["mean"] == 0
    assert list(found.ratios()) == ["pgd", "strongest"], "of next to nothing no share is taken"
    assert not Evasion(frame(pgd=0.5), pd.DataFrame(), 5).has_both


def test_files_and_tables(evasion, models, tmp_path, capsys):
    radii = gan_rec.certify(models, (1, 5), users=20, smoothing=0.3)
    names = write(tmp_path / "new", evasion, radii)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    kept = json.loads((tmp_path / "new" / "evasion.json").read_text())
    assert kept == json.loads(json.dumps(summaries(evasion, radii)))
    assert set(kept["areas"]) == {*evasion.attacks, "strongest"} and kept["certified"][0]["rows"] == "users"
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "new" / "evasion.parquet"), evasion.curves)
    print_table(evasion_tables(evasion, radii))
    out = capsys.readouterr().out
    assert "adversarial, pgd" in out and "twin over adversarial" in out and "twin, smoothed, 1" in out
    assert len(gan_rec.plot.damage(evasion).axes) == len(evasion.attacks)


@pytest.mark.parametrize(("options", "message"), [
    ({"attacks": ("sword",)}, "unknown attack 'sword'; allowed: noise, random-search, fgsm, fgm, pgd, pgd-loss, "
     "generator"),
    ({"attacks": ()}, "no attack is given"),
    ({"radii": [0.1, -1]}, "radius -1 is not possible"),
    ({"radii": [float("nan")]}, "radius nan is not possible"),
    ({"radii": []}, "no radius is given"),
    ({"rows": "all"}, "unknown rows 'all'"),
    ({"goal": "harm"}, "unknown goal 'harm'"),
    ({"on": "train"}, "unknown part 'train'"),
    ({"k": 99}, "k = 99 is not possible"),
])  # fmt: skip
def test_mistakes_are_named(small_split, options, message):
    model = gan_rec.fit(small_split, recommender="mf", **OPTIONS | {"epochs": 1})
    with pytest.raises(UserError, match=message):
        gan_rec.evade({"twin": model}, **options)


@pytest.mark.long
def test_mix_is_attacked_without_generators(small_split):
    model = gan_rec.fit(small_split, recommender="mix", item_epochs=3, **OPTIONS | {"epochs": 3})
    found = gan_rec.evade({"twin": model}, ("fgm", "generator"), [0.5], k=5, transfer=False)
    assert found.attacks == ["fgm"] and found.notes == (
        "twin: no generator knows rows of this recommender, so none attacks it",
    )


def test_the_goal_list_weighs_the_own_first_items_as_ndcg_does_and_leaves_out_what_is_known(small_split):
    known = to_device(small_split.train)
    scores = np.random.default_rng(0).normal(size=(known.n_users, known.n_items)).astype(np.float32)
    weights = np.asarray(damage._own_lists(jnp.asarray(scores), known, 3, profile=False).targets)
    history = np.asarray(known.history(jnp.arange(known.n_users)))
    for user in range(known.n_users):
        unseen = np.flatnonzero(history[user] == 0)
        best = unseen[np.argsort(-scores[user, unseen])[:3]]
        np.testing.assert_allclose(weights[user, best], 1 / np.log2([2, 3, 4]), rtol=1e-6)
        assert np.count_nonzero(weights[user]) == 3
