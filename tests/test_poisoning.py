"""Learned profiles and their surrogates; ranks of targets; the table of poisoning, which goes on if it was stopped."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from conftest import interactions, later
from jax.test_util import check_grads

from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.ranking import top_items
from gan_rec.experiments import poisoning
from gan_rec.experiments.poisoning import Cell, Plan, cells, make_profiles, poison
from gan_rec.experiments.poisoning_tables import table, text, write
from gan_rec.experiments.victims import Victim, victim_of_name, victim_of_run
from gan_rec.recommenders.baselines import EASE, RP3beta
from gan_rec.recommenders.baselines.tables import Factors, matrix
from gan_rec.robustness.learned_profiles import Learning, Promotion, Shape, learned_profiles, starts
from gan_rec.robustness.profiles import fake_profiles
from gan_rec.robustness.promotion import hit_ratio, mean_rank, target_ranks
from gan_rec.robustness.surrogates import (
    SURROGATES,
    FactorSurrogate,
    LinearSurrogate,
    WalkSurrogate,
    real_rows,
)

TARGETS = np.array([7, 20])


def ranking(rows) -> Factors:
    """A recommender whose scores for each user are given."""
    scores = np.asarray(rows, np.float32)
    return jax.tree.map(lambda x: x[None], Factors(scores, np.eye(scores.shape[1], dtype=np.float32)))


def test_ranks_and_hit_ratio_by_hand():
    known = interactions([(0, 0), (1, 3), (2, 1)], 3, 5)
    scores = [[9, 4, 3, 2, 1], [1, 2, 2, 9, 0], [0, 8, 1, 1, 5]]
    ranks = target_ranks(ranking(scores), to_device(known), np.arange(3), np.array([2, 3]))
    # User 0 has item 0; user 1 has target 3, and of the equal items 1 and 2 the first comes first.
    assert ranks.tolist() == [[[2, 3], [2, 0], [2, 3]]]
    assert hit_ratio(ranks, 2).tolist() == [0.5] and hit_ratio(ranks, 1).tolist() == [0.0]
    assert mean_rank(ranks).tolist() == [2.5]


def test_ranks_are_those_of_the_lists(small_split):
    known = to_device(small_split.train)
    model = jax.tree.map(lambda x: x[None], EASE(20.0).fit(small_split.train))
    users = np.arange(0, 60, 7)
    items, scores = top_items(model, known, users, 45)
    ranks = target_ranks(model, known, users, np.arange(45), memory=1)
    for row in range(len(users)):
        for place, item in enumerate(items[0, row]):
            assert ranks[0, row, item] == (place + 1 if np.isfinite(scores[0, row, place]) else 0)


def test_a_target_that_everybody_has_does_not_count():
    ranks = np.array([[[0, 1], [0, 20]]])
    assert hit_ratio(ranks).tolist() == [0.5] and mean_rank(ranks).tolist() == [10.5]
    assert np.isnan(hit_ratio(np.zeros((1, 2, 2), int))).all()


def _fakes(n_items: int = 45, n: int = 3) -> jax.Array:
    return jnp.asarray(np.random.default_rng(3).random((n, n_items)) < 0.2, jnp.float32)


def test_the_linear_surrogate_is_ease_on_all_users(small_split):
    real, fakes = real_rows(small_split.train, np.random.default_rng(0)), _fakes()
    together = interactions(np.argwhere(np.concatenate([real, fakes]) > 0), 63, 45)
    weights = np.asarray(EASE(30.0).fit(together).columns[...]).T
    assert np.allclose(LinearSurrogate.fit(real, l2=30.0)(fakes), real @ weights, atol=1e-4)


def test_the_walk_surrogate_is_rp3beta_on_all_users(small_split):
    real, fakes = real_rows(small_split.train, np.random.default_rng(0)), _fakes()
    together = interactions(np.argwhere(np.concatenate([real, fakes]) > 0), 63, 45)
    weights = np.asarray(RP3beta(k=45).fit(together).columns[...]).T
    assert np.allclose(WalkSurrogate.fit(real)(fakes), real @ weights, atol=1e-5)


def test_factors_are_least_squares(small_split):
    real = real_rows(small_split.train, np.random.default_rng(0))
    surrogate = FactorSurrogate.fit(real, dim=3, sweeps=1)
    items = np.asarray(surrogate.items, np.float64)
    own = np.asarray(surrogate._rows(surrogate.real, surrogate.items))
    user = real[5].astype(np.float64)
    ridge = 0.02 * (user.sum() + 0.3 * 45)
    system = items.T @ (items * (user + 0.3)[:, None]) + ridge * np.eye(3)
    assert np.allclose(own[5], np.linalg.solve(system, items.T @ user), atol=1e-4)


@pytest.mark.long
def test_surrogates_learn_what_users_like(small_split):
    real = real_rows(small_split.train, np.random.default_rng(0))
    group = np.arange(45)[None] % 3 == np.arange(60)[:, None] % 3
    for name, make in SURROGATES.items():
        scores = np.where(real > 0, np.nan, np.asarray(make.fit(real)(jnp.zeros((1, 45)))))
        gap = np.nanmean(np.where(group, scores, np.nan)) - np.nanmean(np.where(group, np.nan, scores))
        assert gap > 0.3 * np.nanstd(scores), name


@pytest.mark.parametrize("name", ["linear", "walks", later("factors"), later("autoencoder")])
def test_gradients_through_training(name, small_split):
    with jax.enable_x64(True):
        real = real_rows(small_split.train, np.random.default_rng(0))[:12, :16]
        goal = Promotion(jnp.asarray([3, 5]), jnp.asarray(real, jnp.float64), 0.5)
        options = {"factors": {"dim": 3}, "autoencoder": {"dim": 3, "steps": 2, "rounds": 5}}.get(name, {})
        small = SURROGATES[name].fit(real, **options)
        small = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), small)
        fakes = jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.8, (2, 16)))
        # A smooth function of the scores: that of the tenth place has kinks.
        check_grads(lambda f: jnp.sum(jnp.tanh(small(f))[:, 3]), (fakes,), order=1, modes=["rev"], eps=1e-5, rtol=2e-3)
        slope = jax.grad(lambda f: goal.loss(small(f)))(fakes)
        assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_the_promotion_loss_by_hand():
    real = jnp.asarray([[1.0] + [0.0] * 11, [0.0] * 12])
    scores = jnp.asarray([[50.0, *range(11, 0, -1)], [*range(12, 0, -1)]], jnp.float32)
    goal = Promotion(jnp.asarray([11, 3]), real, 1.0)
    spread = np.asarray(jnp.std(scores, axis=1))
    # User 0's tenth unseen item is item 10 with score 2, user 1's is item 9 with score 3.
    margins = np.array([[(2 - 1) / spread[0], (2 - 9) / spread[0]], [(3 - 1) / spread[1], (3 - 9) / spread[1]]])
    expected = -np.log((1 / (1 + np.exp(margins))).mean(axis=0)).mean()
    assert float(goal.loss(scores)) == pytest.approx(expected, rel=1e-4)
    assert float(goal.hit_ratio(scores)) == 0.5


def test_hardened_profiles_have_their_sizes_and_pass_the_gradient():
    shape = Shape(jnp.asarray([0.0, 1e9, 0.0, -1e9, 0.0]), jnp.asarray([2, 3]))
    weights = jnp.asarray([[0.1, 0.0, 0.5, 0.9, 0.2], [0.3, 0.0, 0.2, 0.9, 0.1]])
    assert shape.harden(weights).tolist() == [[0, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    assert jax.grad(lambda w: jnp.sum(shape.harden(w) * 3))(weights).tolist() == [[3.0] * 5] * 2


@pytest.mark.parametrize("kind", ["unrolled", later("gan")])
def test_learned_profiles_hold_targets_and_are_a_function_of_the_seed(kind, small_split):
    how = Learning(steps=3)
    first, again = (
        learned_profiles(kind, small_split.train, 4, TARGETS, np.random.default_rng(2), how=how) for _ in range(2)
    )
    assert first.profiles[:, TARGETS].all() and first.profiles.shape == (4, 45)
    assert set(first.profiles.sum(axis=1)) <= set(np.bincount(small_split.train.users))
    assert np.array_equal(first.profiles, again.profiles) and len(first.losses) == 3
    few = replace(small_split.train, candidates=np.arange(45) < 30)
    assert not learned_profiles(kind, few, 4, TARGETS, np.random.default_rng(2), how=how).profiles[:, 30:].any()


def test_starts_are_groups_of_real_users():
    real = np.kron(np.eye(2), np.ones((30, 4))).astype(np.float32)
    found = starts(real, 2, np.random.default_rng(0), users=3)
    assert found.shape == (10, 2, 8)
    for start in found[:-1]:  # every group is of one kind of user
        assert (start[:, :4].min() >= 0.6) != (start[:, 4:].min() >= 0.6)


def planted(small_split):
    """Two items that hardly anybody has."""
    known = small_split.train
    rare = np.isin(known.items, TARGETS) & (known.users > 3)
    return known.select(~rare)


_PLANTED = [
    ("unrolled", "walks"),
    ("gan", "walks"),
    ("unrolled", "linear"),
    later("unrolled", "factors"),
    later("unrolled", "autoencoder"),
]


@pytest.mark.parametrize("kind, surrogate", _PLANTED)
def test_learned_beats_random_on_a_planted_problem(kind, surrogate, small_split):
    known = planted(small_split)
    how = Learning(surrogate, steps=40)
    learned = learned_profiles(kind, known, 3, TARGETS, np.random.default_rng(0), 10, how)
    real = real_rows(known, np.random.default_rng(0))
    judge, goal = SURROGATES[surrogate].fit(real, 5), Promotion(jnp.asarray(TARGETS), jnp.asarray(real), 0.5)

    def loss(profiles):
        return float(goal.loss(judge(jnp.asarray(profiles, jnp.float32))))

    others = [loss(fake_profiles("random", known, 3, TARGETS, np.random.default_rng(s), 10)) for s in range(5)]
    assert loss(learned.profiles) < min(others)
    if surrogate == "walks":  # elsewhere the best start may be as good as it gets
        assert learned.losses.min() < learned.losses[0]


def test_the_unrolled_attack_beats_bandwagon_on_the_real_thing(small_split):
    """On RP3beta trained again, not on the surrogate."""
    known, hits = planted(small_split), {}
    fakes = {
        "unrolled": learned_profiles("unrolled", known, 3, TARGETS, np.random.default_rng(0), 10).profiles,
        "bandwagon": fake_profiles("bandwagon", known, 3, TARGETS, np.random.default_rng(0), 10),
    }
    for name, profiles in fakes.items():
        both = interactions(np.argwhere(np.concatenate([matrix(known).toarray(), profiles]) > 0), 63, 45)
        model = jax.tree.map(lambda x: x[None], RP3beta().fit(both))
        hits[name] = hit_ratio(target_ranks(model, to_device(both), np.arange(60), TARGETS))[0]
    assert hits["unrolled"] > hits["bandwagon"]


QUICK = Plan(("bandwagon", "unrolled"), (0.05, 0.1), 2, ("none", "trimmed"), 2, learning=Learning(steps=2))


@pytest.fixture(scope="module")
def victims():
    return {name: victim_of_name(name) for name in ("ease", "popularity")}


@pytest.fixture(scope="module")
def measured(small_split, victims, tmp_path_factory):
    out = tmp_path_factory.mktemp("poisoning")
    return poison(small_split, victims, QUICK, out, quiet=True), out


def test_every_cell_is_measured(measured, victims):
    found, out = measured
    asked = list(cells(QUICK, victims))
    assert len(found) == len(asked) == 2 * (1 + 2 * 2) * 2 * 2
    assert len((out / "cells.jsonl").read_text().splitlines()) == len(asked)
    clean = found[found["attack"] == "none"]
    assert (clean["fakes"] == 0).all() and (found[found["budget"] == 0.1]["fakes"] == 6).all()
    assert (found[found["defence"] == "none"]["real_dropped"] == 0).all()
    assert (found[(found["defence"] == "trimmed") & (found["attack"] == "none")]["real_dropped"] == 3).all()


def test_a_cell_is_what_it_says(measured, small_split):
    found, _ = measured
    row = found[(found["draw"] == 1) & (found["attack"] == "bandwagon") & (found["budget"] == 0.1)].iloc[0]
    targets, profiles = make_profiles("bandwagon", small_split, QUICK, 1, 0.1)
    known = small_split.train_and_valid()
    pairs = np.concatenate([matrix(known).toarray(), profiles])
    both = interactions(np.argwhere(pairs > 0), 66, 45)
    model = jax.tree.map(lambda x: x[None], EASE(500.0).fit(both))
    scores = np.where(pairs[:60] > 0, -np.inf, pairs[:60] @ np.asarray(model.columns[0]).T)
    hits = []
    for target in targets:
        without = np.flatnonzero(pairs[:60, target] == 0)
        hits.append(np.mean([target in np.argsort(-scores[user], kind="stable")[:10] for user in without]))
    assert row["recommender"] == "ease" and row["defence"] == "none"
    assert row["hit_ratio"] == pytest.approx(np.mean(hits), abs=1e-9)


def test_all_attacks_of_a_draw_have_the_same_targets(small_split):
    first, second = (make_profiles(kind, small_split, QUICK, 0, 0.1)[0] for kind in ("bandwagon", "random"))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, make_profiles("bandwagon", small_split, QUICK, 1, 0.1)[0])


def test_finished_cells_are_read(measured, small_split, victims):
    found, out = measured

    def never(split, seed):
        raise AssertionError("trained again")

    stubs = {name: Victim(name, {"plain": never}, victims[name].about) for name in victims}
    assert poison(small_split, stubs, QUICK, out, quiet=True).equals(found)
    more = replace(QUICK, draws=3)
    with pytest.raises(AssertionError, match="trained again"):
        poison(small_split, stubs, more, out, quiet=True)


def test_what_was_stopped_goes_on(measured, small_split, victims, tmp_path):
    found, out = measured
    lines = (out / "cells.jsonl").read_text().splitlines()
    (tmp_path / "poisoning.json").write_text((out / "poisoning.json").read_text())
    (tmp_path / "cells.jsonl").write_text("\n".join(lines[:7]) + "\n" + lines[7][:20])
    again = poison(small_split, victims, QUICK, tmp_path, quiet=True)
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), found.drop(columns="seconds"))


def test_a_folder_keeps_to_one_poisoning(measured, small_split, victims):
    _, out = measured
    for wrong, said in (
        ({"targets": 3}, "(other targets)"),
        ({"size": 9}, "(other size)"),
        ({"learning": Learning(steps=3)}, "(other learning)"),
    ):
        with pytest.raises(UserError) as error:
            poison(small_split, victims, replace(QUICK, **wrong), out, quiet=True)
        assert str(error.value).endswith(f"{said}; delete it, or name another")
    (out.parent / "file").write_text("")
    with pytest.raises(UserError, match="cannot"):
        poison(small_split, victims, QUICK, out.parent / "file", quiet=True)


def _row(draw, attack, defence, hits, rank, ndcg):
    fakes = 0 if attack == "none" else 9
    cell = Cell(draw, attack, 0.01 if fakes else 0.0, defence, "ease")
    return vars(cell) | {
        "hit_ratio": hits, "mean_rank": rank, "ndcg": ndcg, "fakes": fakes, "fakes_dropped": 0, "real_dropped": 0,
    }  # fmt: skip


def test_the_table_by_hand(tmp_path):
    frame = pd.DataFrame([
        _row(0, "none", "none", 0.0, 100.0, 0.40), _row(1, "none", "none", 0.0, 200.0, 0.42),
        _row(0, "none", "filter", 0.0, 110.0, 0.39), _row(1, "none", "filter", 0.0, 220.0, 0.41),
        _row(0, "gan", "none", 0.2, 60.0, 0.38), _row(1, "gan", "none", 0.4, 180.0, 0.40),
        _row(0, "gan", "filter", 0.1, 80.0, 0.38), _row(1, "gan", "filter", 0.1, 210.0, 0.42),
    ])  # fmt: skip
    found = table(frame).set_index(["attack", "defence"])
    attacked = found.loc[("gan", "none")]
    assert attacked["hit_ratio"] == pytest.approx(0.3) and attacked["draws"] == 2
    assert attacked["hit_ratio_high"] - 0.3 == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert attacked["rank_shift"] == pytest.approx(30.0) and attacked["ndcg_change"] == pytest.approx(-0.02)
    defended = found.loc[("gan", "filter")]
    assert defended["rank_shift"] == pytest.approx(20.0) and defended["ndcg_change"] == pytest.approx(-0.01)
    assert found.loc[("none", "filter"), "ndcg_change"] == pytest.approx(-0.01)
    assert "| ease | gan | 1.0% | none | 0.3000 ± 1.2706 | +30 ± 127 | 0.3900 ± 0.1271 | -0.0200 ±" in text(frame)
    write(frame, tmp_path)
    assert len(pd.read_csv(tmp_path / "poisoning.csv")) == 4 and (tmp_path / "poisoning.md").exists()
    assert (tmp_path / "poisoning.png").stat().st_size > 1000


def test_one_draw_has_no_interval():
    frame = pd.DataFrame([_row(0, "none", "none", 0.0, 100.0, 0.40)])
    assert np.isnan(float(table(frame)["hit_ratio_high"].iloc[0] or np.nan))
    assert "| 0.0000 | +0 | 0.4000 | +0.0000 |" in text(frame)


@pytest.mark.long
def test_trained_recommenders_have_adversarial_trainings(small_split):
    victim = victim_of_name("mf", epochs=2)
    assert list(victim.fits) == ["plain", "adversarial", "vulnerability-aware"]
    fits = [victim.fit(training, small_split, 0) for training in victim.fits]
    rows = [np.asarray(fit.recommenders.item_embedding[...]) for fit in fits]
    assert not np.allclose(rows[0], rows[1]) and not np.allclose(rows[1], rows[2])


def test_a_runs_own_adversary_is_its_defence(small_split):
    from gan_rec.experiments.fitting import fit, resolve

    options = {"recommender": "mf", "adversary": "fgm", "epochs": 2, "epsilon": 0.5, "evaluate_every": 1}
    victim = victim_of_run(resolve(options | {"seeds": 3}))
    own = fit(small_split, progress=False, seeds=1, seed=4, **options)
    found = victim.fit("adversarial", small_split, 4)
    assert np.allclose(found.recommenders.item_embedding[...], own.weights.final.recommender.item_embedding[...])
    twin = fit(small_split, progress=False, seeds=1, seed=4, **options | {"alpha": 1.0})
    plain = victim.fit("plain", small_split, 4)
    assert np.allclose(plain.recommenders.item_embedding[...], twin.weights.final.recommender.item_embedding[...])
    assert "vulnerability-aware" in victim.fits
    assert "vulnerability-aware" not in victim_of_run(resolve({"game": "cfgan"})).fits


def test_fakes_that_were_found_are_not_served_and_real_users_are(small_split):
    world = poisoning._World(small_split, QUICK, poisoning.Kept(None, {}), 0, "bandwagon", 0.1)
    dropped = np.zeros(66, bool)
    dropped[[3, 61]] = True
    served, clean = world._served(dropped), small_split.train_and_valid()
    own = np.bincount(served.users, minlength=66)
    np.testing.assert_array_equal(own[:60], np.bincount(clean.users, minlength=60))
    assert own[61] == 0 and (own[[60, 62, 63, 64, 65]] > 0).all()


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"attacks": ("love",)}, "unknown attack 'love'; allowed: random, average, bandwagon, segment, unrolled, gan"),
        ({"attacks": ()}, "no attack is named; allowed: random, average, bandwagon, segment, unrolled, gan"),
        ({"attacks": ("bandwagon:walks",)}, "unknown attack 'bandwagon:walks'; allowed: random, average, bandwagon, "
         "segment, unrolled, gan"),
        ({"attacks": ("gan:x",)}, "unknown surrogate 'x'; allowed: factors, autoencoder, linear, walks"),
        ({"defences": ("hope",)}, "unknown defence 'hope'; allowed: none, adversarial, vulnerability-aware, trimmed, "
         "filter, filter+adversarial"),
        ({"budgets": (0.0,)}, "budgets are parts of the users, above 0 and at most 1, got [0.0]"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"targets": 0}, "targets must be at least 1, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"size": 0}, "profile size must be at least 1, got 0"),
        ({"learning": Learning(realism=-1.0)}, "realism must be 0 or more, got -1.0"),
        ({"learning": Learning(steps=0)}, "learning steps must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_is_not_possible_is_told(wrong, said, small_split, victims):
    with pytest.raises(UserError) as error:
        poison(small_split, victims, replace(QUICK, **wrong), quiet=True)
    assert str(error.value) == said


def test_a_mistake_leaves_nothing_behind(small_split, victims, tmp_path):
    with pytest.raises(UserError, match="targets"):
        poison(small_split, victims, replace(QUICK, targets=10_000), tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()


def test_what_is_named_twice_is_measured_once(victims):
    plan = replace(QUICK, attacks=("random", "random"), budgets=(0.1, 0.1), defences=("none", "none"))
    assert (plan.attacks, plan.budgets, plan.defences) == (("random",), (0.1,), ("none",))


def test_nobody_to_attack(small_split):
    with pytest.raises(UserError, match="no recommender is named"):
        poison(small_split, {}, QUICK, quiet=True)


def test_options_become_a_plan():
    from gan_rec.poisoning_options import LearningOptions, Poison

    plan = Poison(("bandwagon,unrolled:linear",), (0.01,), learning=LearningOptions(learning_steps=7)).plan()
    assert plan.attacks == ("bandwagon", "unrolled:linear") and plan.budgets == (0.01,)
    assert plan.learning == Learning(steps=7)
    for kinds, said in ((("love",), "unknown attack"), ((), "no attack is named")):
        with pytest.raises(UserError, match=said):
            Poison(kinds).plan()


@pytest.mark.parametrize(("option", "value"), [
    ("fold", 1), ("format", "json"), ("attacks", ("fgm",)), ("radii", (0.1,)), ("all", True), ("certify", 0), ("k", 5),
])  # fmt: skip
def test_options_of_evasion_say_nothing_to_poisoning(option, value, tmp_path):
    from gan_rec.laboratory import Attack
    from gan_rec.poisoning_options import Poison

    with pytest.raises(UserError, match=f"--{option} says nothing to --poison"):
        Attack(tmp_path, **{option: value}, poisoning=Poison(("random",))).run()
    with pytest.raises(UserError, match="no attack is named"):
        Attack(tmp_path, poisoning=Poison(())).run()


@pytest.mark.long
def test_a_finished_run_is_poisoned(tmp_path, capsys):
    from gan_rec.experiments.run import train
    from gan_rec.experiments.settings import DataOptions, Settings
    from gan_rec.poisoning_options import Poison

    pairs = np.random.default_rng(0).integers(0, (40, 30), (700, 2))
    (tmp_path / "pairs.csv").write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in np.unique(pairs, axis=0)))
    options = DataOptions(dataset=str(tmp_path / "pairs.csv"))
    settings = Settings(recommender="mf", adversary="fgm", epochs=1, evaluate_every=1, seeds=1)
    train(options, settings, tmp_path / "run", ks=(5, 20), quiet=True)
    asked = Poison(("bandwagon",), (0.05,), 2, ("none", "adversarial", "filter"), 1, recommenders=("run", "ease"))
    asked.run(tmp_path / "run", tmp_path / "out", quiet=True)
    said = capsys.readouterr().out
    assert "| run | bandwagon | 5.0% | adversarial |" in said and "| ease | bandwagon | 5.0% | filter |" in said
    assert "| ease | bandwagon | 5.0% | adversarial |" not in said
    rows = [json.loads(line) for line in (tmp_path / "out" / "cells.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 5
    for name in ("poisoning.csv", "poisoning.md", "poisoning.json"):
        assert (tmp_path / "out" / name).exists()


def test_attacks_have_distinct_names():
    assert len(set(poisoning.ATTACKS)) == len(poisoning.ATTACKS) and poisoning.CLEAN not in poisoning.ATTACKS
