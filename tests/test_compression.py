"""Compressed models: their limits, their sizes, and both under attacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import later

import gan_rec
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments.compressing import compress, compressed
from gan_rec.recommenders.baselines.tables import Factors
from gan_rec.robustness import compression


def factors(users, items):
    return jax.tree.map(lambda x: x[None], Factors(np.asarray(users, np.float32), np.asarray(items, np.float32)))


def leaves(some) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(some)]


def test_pruning_takes_the_smallest_entries_of_each_table():
    found = compression.pruned(factors([[3.0, -1.0], [0.5, -2.0]], [[0.1, 0.2], [-0.3, 0.4]]), 0.5)
    np.testing.assert_array_equal(found.recommenders.user_rows[0], [[3.0, 0], [0, -2.0]])
    np.testing.assert_array_equal(np.abs(found.recommenders.item_rows[0]), np.float32([[0, 0], [0.3, 0.4]]))
    assert found.size == 2 * 4 * 4  # so small, sparse tables take more than whole ones
    table = np.random.default_rng(0).normal(size=(30, 40))
    assert compression.pruned(factors(table, table), 0.9).size == 2 * (8 * 120 + 4 * 31)


def test_no_zeros_are_the_model(small_run):
    final = small_run.models["twin"].weights.final.recommender
    found = compression.pruned(final, 0.0)
    for before, after in zip(leaves(final), leaves(found.recommenders), strict=True):
        np.testing.assert_array_equal(before, after)
    assert found.size == compression.whole(final).size == 4 * (2 * 45 * 12 + 12)


def test_int8_is_near_and_small(small_run):
    final = small_run.models["twin"].weights.final.recommender
    found = compression.int8(final)
    for before, after in zip(leaves(final), leaves(found.recommenders), strict=True):
        np.testing.assert_allclose(before, after, atol=np.abs(before).max() / 127 / 2 + 1e-7)
    assert found.size == 2 * 45 * (12 + 4) + 4 * 12


def test_full_rank_ranks_alike_and_rank_one_is_the_best_of_all():
    rng = np.random.default_rng(0)
    rows = factors(rng.normal(size=(8, 3)), rng.normal(size=(9, 3)))
    known = to_device(interactions_of(8, 9))
    scores = np.asarray(rows.user_rows[0] @ rows.item_rows[0].T)
    centred = scores - scores.mean(axis=1, keepdims=True)
    whole, one = (compression.low_rank(rows, known, rank).recommenders for rank in (8, 1))
    np.testing.assert_allclose(whole.user_rows[0] @ whole.item_rows[0].T, centred, atol=1e-4)
    left = np.linalg.norm(centred - np.asarray(one.user_rows[0] @ one.item_rows[0].T))
    np.testing.assert_allclose(left, np.linalg.norm(np.linalg.svd(centred)[1][1:]), rtol=1e-4)


def interactions_of(n_users, n_items):
    from conftest import interactions

    return interactions([(u, u % n_items) for u in range(n_users)], n_users, n_items)


def test_a_student_learns_its_teachers_lists(small_run):
    teacher = small_run.models["twin"]
    known = to_device(teacher.split.train_and_valid())
    final = teacher.weights.final.recommender
    found = {
        n: compression.student(final, known, 12, jax.random.key(0), top=10, steps=n).recommenders for n in (1, 300)
    }
    from gan_rec.evaluation.ranking import top_items

    users = np.arange(60)
    lists = {name: top_items(r, known, users, 5)[0] for name, r in {"teacher": final, **found}.items()}

    def overlap(name):
        each = zip(lists[name].reshape(-1, 5), lists["teacher"].reshape(-1, 5), strict=True)
        return np.mean([len(set(a) & set(b)) / 5 for a, b in each])

    assert overlap(300) > 0.6 > overlap(1) + 0.1


def test_both_models_are_attacked_at_every_size(small_run):
    kinds = {"int8": (8,), "pruned": (0.0, 0.9)}
    found = compressed(small_run, kinds=kinds, attacks=("fgm",), radii=(0.0, 1.0), k=10)
    rows = found.rows
    assert len(rows) == 4 * 3 * 2 * 2 and set(rows["kind"]) == {"whole", "int8", "pruned"}
    means = rows.groupby(["kind", "strength", "attack", "radius", "model"])["NDCG@10"].mean()
    whole = gan_rec.evaluate(small_run.models["twin"], ks=(10,)).per_seed("NDCG@10").mean()
    for kind, strength in (("whole", 32), ("pruned", 0.0)):
        np.testing.assert_allclose(means[kind, strength, "none", 0, "twin"], whole, rtol=1e-5)
        np.testing.assert_allclose(means[kind, strength, "fgm", 0, "twin"], whole, rtol=1e-5)
        assert means[kind, strength, "fgm", 1, "twin"] < whole
    evaded = gan_rec.evade({"twin": small_run.models["twin"]}, ("fgm",), [1.0], k=10, transfer=False).curves
    attacked = evaded[evaded["radius"] == 1.0]["NDCG@10"].mean()
    np.testing.assert_allclose(means["whole", 32, "fgm", 1, "twin"], attacked, rtol=1e-5)
    np.testing.assert_allclose(means["int8", 8, "none", 0, "twin"], whole, atol=0.03)
    sizes = rows.groupby(["kind", "strength"])["MiB"].first()
    assert sizes["int8", 8] < 0.5 * sizes["whole", 32] and sizes["pruned", 0.9] < 0.5 * sizes["whole", 32]


@pytest.mark.parametrize("kind", ["low-rank", later("student")])
def test_other_models_of_both_can_be_attacked(small_run, kind):
    found = compressed(small_run, kinds={kind: (4,)}, attacks=("noise",), radii=(0.1,), k=5).differences
    assert list(found["kind"]) == ["whole", "whole", kind, kind]
    assert np.isfinite(found[["adversarial", "twin"]]).all(axis=None)
    assert compress(small_run.models["twin"], kind, 4).size < 4 * (60 + 45) * 12


@pytest.mark.parametrize(("kinds", "message"), [
    ({"zip": (1,)}, "unknown kind of compression 'zip'; allowed: int8, pruned, low-rank, student"),
    ({"int8": (4,)}, "int8 takes 8 bits, got 4"),
    ({"pruned": (1.0,)}, "pruned takes a share from 0 to below 1, got 1.0"),
    ({"low-rank": (46,)}, "low-rank takes a rank from 1 to 45, got 46"),
    ({"student": (0,)}, "student takes 1 or more units, got 0"),
])  # fmt: skip
def test_mistakes_are_named(small_run, kinds, message):
    with pytest.raises(UserError, match=message):
        compressed(small_run, kinds=kinds)
    with pytest.raises(UserError, match="unknown attack 'wind'"):
        compressed(small_run, kinds={}, attacks=("wind",))


def test_scores_of_rows_stay_scores():
    assert compression.whole(factors([[1.0]], [[2.0]])).recommenders.score(
        jnp.ones((1, 1)), jnp.ones((2, 1))
    ).shape == (1, 2)
