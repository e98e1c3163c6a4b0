"""Features of profiles, detectors over them, and rows that attacks have moved."""

import numpy as np
import pytest
from conftest import interactions
from scipy.sparse import csr_array

from gan_rec.data import Interactions
from gan_rec.data.synthetic import synthetic
from gan_rec.errors import UserError
from gan_rec.evaluation.labels import auc
from gan_rec.experiments.detecting import with_fakes
from gan_rec.robustness import profile_features as features_module
from gan_rec.robustness.detection import (
    DETECTORS,
    combine,
    reasons,
    reconstruction_error,
    shared_items,
    suspicion,
    suspicions,
    threshold,
    varselect,
)
from gan_rec.robustness.moved_rows import detect_moved_rows, fit_clean_rows
from gan_rec.robustness.profile_classifier import deviations, fit_classifier, logistic_regression
from gan_rec.robustness.profile_features import FEATURES, profile_features
from gan_rec.robustness.profiles import fake_profiles, unpopular_targets

OF_DATA = ("features", "tied-items", "shared-items", "pca", "autoencoder", "combined")

# Users 0 and 1 have items 0 and 1, user 2 item 0 alone, user 3 item 2 alone.
SMALL = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]], float)


def of(name: str, profiles=SMALL) -> np.ndarray:
    return profile_features(csr_array(profiles))[:, list(FEATURES).index(name)]


@pytest.fixture(scope="module")
def world() -> Interactions:
    return synthetic(250, 400, mean_interactions=20, skew=1.2, seed=3).parts["all"]


@pytest.fixture(scope="module")
def attacked(world):
    """Eight fakes, the last users, who promote five unpopular items among random ones."""
    rng = np.random.default_rng(0)
    targets = unpopular_targets(world, 5, rng)
    return with_fakes(world, fake_profiles("random", world, 8, targets, rng)), targets


def is_fake(world, known):
    return (np.arange(known.n_users) >= world.n_users).astype(int)


GOLDEN = {
    "items": np.log([2, 2, 1, 1]),
    "length deviation": [0.5, 0.5, 0.5, 0.5],  # mean 1.5, squares sum to 1
    "popularity": [5 / 8, 5 / 8, 3 / 4, 1 / 4],  # shares 3/4, 2/4, 1/4
    "rare items": [0, 0, 0, 1],  # item 2 has 1 of 6 interactions, item 1 would be more than a fifth
    "RDMA": [1 / 6, 1 / 6, 1 / 12, 3 / 4],  # 1/4 over 3, 1/2 over 2, 3/4 over 1
    "WDA": [1 / 3, 1 / 3, 1 / 12, 3 / 4],
    "WDMA": [(1 / 36 + 1 / 8) / 2, (1 / 36 + 1 / 8) / 2, 1 / 36, 3 / 4],
    "popularity entropy": [np.log(2), np.log(2), 0, 0],
    "neighbours": [(1 + 0.5**0.5) / 3, (1 + 0.5**0.5) / 3, 2 * 0.5**0.5 / 3, 0],  # with all three others
    "common items": [0.5, 0.5, 2 / 3, 0],
    "coherence": [1 / 3**0.5, 1 / 3**0.5, 0, 0],  # (2 * 4 - 3 * 2) / sqrt(3 * 1 * 2 * 2)
    "tied items": [2 / (6**0.5 + 5), 2 / (6**0.5 + 5), 0, 0],
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_by_hand(name):
    np.testing.assert_allclose(of(name), GOLDEN[name], atol=1e-6)


def test_features_are_the_same_without_a_table_of_items(world, monkeypatch):
    profiles = np.zeros((world.n_users, world.n_items))
    profiles[world.users, world.items] = 1
    whole = profile_features(csr_array(profiles))
    monkeypatch.setattr(features_module, "_DENSE", 10)
    monkeypatch.setattr(features_module, "_CHUNK", 7)
    np.testing.assert_allclose(profile_features(csr_array(profiles)), whole, rtol=1e-5)


def test_coherence_is_the_mean_correlation_of_columns(world):
    profiles = np.zeros((world.n_users, world.n_items))
    profiles[world.users, world.items] = 1
    profiles = profiles[:, (profiles.sum(axis=0) > 0) & (profiles.sum(axis=0) < len(profiles))]
    correlations = np.corrcoef(profiles.T)
    for user in (0, 5):
        own = np.flatnonzero(profiles[user])
        expected = correlations[np.ix_(own, own)][np.triu_indices(len(own), 1)].mean()
        np.testing.assert_allclose(of("coherence", profiles)[user], expected, rtol=1e-6)


def test_deviations_count_robust_standard_deviations():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(20_000, 1))
    far = deviations(np.vstack([values, [[13.0]]]))
    assert far[-1, 0] == pytest.approx(5, rel=0.05)
    assert np.isfinite(deviations(np.ones((5, 2)))).all()


def test_logistic_regression_is_where_the_gradient_vanishes():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(300, 3)), rng.random(300) < 0.3
    found = logistic_regression(x, labels, l2=0.01)
    chance = 1 / (1 + np.exp(-(x @ found.weights + found.bias)))
    weight = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    slope = x.T @ (weight * (chance - labels)) + 2 * 0.01 * found.weights
    np.testing.assert_allclose(slope, 0, atol=1e-4)
    assert np.sum(weight * (chance - labels)) == pytest.approx(0, abs=1e-4)


def test_auc_is_the_part_of_pairs_in_the_right_order(world, attacked):
    scores = suspicion(attacked[0], "tied-items")
    labels = is_fake(world, attacked[0])
    fakes, real = scores[labels == 1], scores[labels == 0]
    pairs = np.mean((fakes[:, None] > real) + 0.5 * (fakes[:, None] == real))
    assert auc(labels, scores) == pytest.approx(float(pairs))


def test_an_obvious_attack_is_found_by_what_has_not_seen_its_kind(world, attacked):
    labels = is_fake(world, attacked[0])
    scores = suspicions(attacked[0], OF_DATA, kinds=("average", "bandwagon", "segment"))
    for name in ("features", "tied-items", "combined"):
        assert auc(labels, scores[name]) > 0.97, name
    assert auc(labels, scores["pca"]) > 0.8 and auc(labels, scores["autoencoder"]) > 0.6


def test_suspicion_is_that_of_suspicions_and_the_same_each_time(attacked):
    together = suspicions(attacked[0], OF_DATA, seed=1)
    for name in ("features", "pca", "autoencoder"):
        np.testing.assert_array_equal(suspicion(attacked[0], name, seed=1), together[name])


def test_a_fitted_classifier_is_taken_as_it_is(world, attacked):
    fitted = fit_classifier(world, ("random",), seed=5)
    first, second = (suspicion(attacked[0], "features", seed=seed, fitted=fitted) for seed in (0, 1))
    np.testing.assert_array_equal(first, second)


def test_fakes_that_are_there_already_do_not_teach_the_classifier_that_they_are_real(world):
    """A tenth of the users are fakes, of a kind that is simulated too."""
    rng = np.random.default_rng(1)
    known = with_fakes(world, fake_profiles("random", world, 15, unpopular_targets(world, 5, rng), rng))
    assert auc(is_fake(world, known), suspicion(known, "features", kinds=("random",))) > 0.97


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
def test_the_threshold_has_the_stated_false_alarms_with_and_without_fakes(rate):
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=50_000)
    assert np.mean(scores > threshold(scores, rate)) == pytest.approx(rate, rel=0.1)
    with_others = np.append(scores, np.full(1500, 30.0))
    assert 0.4 * rate < np.mean(scores > threshold(with_others, rate)) < rate  # a few fakes make it careful


def test_clean_data_raise_about_as_many_alarms_as_stated():
    known = synthetic(600, 150, seed=1).parts["all"]
    scores = suspicions(known, ("features", "combined"))
    for own in scores.values():
        assert np.mean(own > threshold(own, 0.05)) < 0.1
    assert np.mean(scores["features"] > threshold(scores["features"], 0.05)) > 0.01


def test_users_without_items_are_never_suspicious(attacked):
    known = attacked[0]
    more = Interactions(known.users + 1, known.items, np.arange(known.n_users + 1), known.item_ids)
    alone = suspicions(known, OF_DATA)
    for name, scores in suspicions(more, OF_DATA).items():
        assert scores[0] == scores.min(), name
        np.testing.assert_allclose(scores[1:], alone[name], rtol=1e-6, atol=1e-9)


def test_varselect_is_the_principal_components_of_standardised_profiles(world):
    profiles = np.zeros((world.n_users, world.n_items))
    profiles[world.users, world.items] = 1
    rows = (profiles - profiles.mean(axis=1, keepdims=True)) / profiles.std(axis=1, keepdims=True)
    sizes, vectors = np.linalg.eigh(rows @ rows.T)
    expected = -np.sum(vectors[:, np.argsort(-sizes)[:3]] ** 2, axis=1)
    np.testing.assert_allclose(varselect(csr_array(profiles)), expected, atol=1e-8)


def test_the_autoencoder_makes_again_what_lies_in_its_bottleneck():
    board = np.kron(np.eye(3), np.ones((6, 4)))  # three groups, each with items of its own
    np.testing.assert_allclose(reconstruction_error(csr_array(board), bottleneck=3), 0, atol=1e-9)
    odd = board.copy()
    odd[0] = [1, 0, 0, 0] * 3
    error = reconstruction_error(csr_array(odd), bottleneck=3)
    assert error.argmax() == 0 and error[0] > 0.3


def test_shared_items_by_hand():
    """Four users have item 0; to the last of them the others' ranks are -3/8, -1/8 and 1/8."""
    profiles = np.array([[1, 0], [1, 0], [1, 1], [1, 0]], float)
    scores, which = shared_items(csr_array(profiles), np.arange(4.0))
    np.testing.assert_allclose(scores[3], (-3 / 8 - 1 / 8 + 1 / 8) / (3 / 12) ** 0.5)
    assert which[3].tolist() == [0, -1, -1]


def test_combine_lets_one_detector_that_is_sure_stand():
    sure, blind = np.arange(100.0), np.zeros(100)
    np.testing.assert_array_equal(np.argsort(combine([sure, blind])), np.arange(100))
    np.testing.assert_allclose(combine([sure])[-1], -np.log(0.005))


def test_reasons_name_the_features_that_are_furthest_away(attacked):
    known, _ = attacked
    profiles = np.zeros((known.n_users, known.n_items))
    profiles[known.users, known.items] = 1
    features = profile_features(csr_array(profiles))
    (said,) = reasons(known, np.array([known.n_users - 1]), most=2)
    furthest = np.argsort(-np.abs(deviations(features)[-1]))[:2]
    for place, part in zip(furthest, said.split("; "), strict=True):
        assert part.startswith(f"{list(FEATURES)[place]} {features[-1, place]:.3g} (others ")


@pytest.mark.parametrize(
    ("known", "detector", "message"),
    [
        (interactions([(0, 0), (1, 1), (2, 0)]), "best", "unknown detector 'best'; allowed: features"),
        (interactions([(0, 0), (1, 1), (2, 0)]), "recommender", "needs a trained model"),
        (interactions([(0, 0), (1, 1)]), "pca", "3 with an interaction are needed at least, there are 2"),
    ],
)
def test_mistakes(known, detector, message):
    with pytest.raises(UserError, match=message):
        suspicion(known, detector)


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_a_false_alarm_rate_outside_of_the_tail_is_refused(rate):
    with pytest.raises(UserError, match="false_alarms must be above 0 and at most 0.1"):
        threshold(np.arange(10.0), rate)


def test_every_detector_is_described():
    assert all(DETECTORS.values()) and set(OF_DATA) < set(DETECTORS)


def rows_in_a_plane(n: int, rng) -> np.ndarray:
    """Of 12 dimensions 3 vary much."""
    return rng.normal(size=(n, 12)) * np.where(np.arange(12) < 3, 1.0, 0.02)


def test_rows_moved_out_of_the_plane_of_clean_rows_are_found():
    rng = np.random.default_rng(0)
    clean, items = rows_in_a_plane(400, rng), rng.normal(size=(30, 12))
    away = rng.normal(size=clean.shape)
    moved = clean + 0.5 * away / np.linalg.norm(away, axis=1, keepdims=True)
    found = detect_moved_rows(clean, moved, items)
    for name in ("residual", "mahalanobis", "combined"):
        assert found[name]["AUC"] > 0.95 and found[name]["false alarms"] < 0.06, name


def test_rows_that_have_not_moved_are_not_found():
    clean = rows_in_a_plane(400, np.random.default_rng(0))
    found = detect_moved_rows(clean, clean)
    assert set(found) == {"residual", "mahalanobis", "combined"}
    for own in found.values():
        assert own["AUC"] == 0.5 and own["found"] == own["false alarms"] < 0.05


def test_mahalanobis_distance_by_hand():
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(500, 2)) * [1.0, 3.0]
    covariance = np.cov(clean.T)
    shrunk = 0.95 * covariance + 0.05 * np.trace(covariance) / 2 * np.eye(2)
    row = np.array([2.0, -1.0])
    expected = np.sqrt((row - clean.mean(axis=0)) @ np.linalg.solve(shrunk, row - clean.mean(axis=0)))
    found = fit_clean_rows(clean).suspicion(row[None])["mahalanobis"]
    np.testing.assert_allclose(found, [expected])


def test_smoothing_sees_rows_between_two_lists():
    """Items lie on two axes: a row along one keeps its best items under noise, one between both does not."""
    rng = np.random.default_rng(0)
    items = np.zeros((40, 2))
    items[:20, 0], items[20:, 1] = 1 + 0.01 * np.arange(20), 1 + 0.01 * np.arange(20)
    clean = np.eye(2)[rng.integers(2, size=100)] * rng.uniform(1, 2, size=(100, 1))
    fitted = fit_clean_rows(clean, items)
    between = fitted.suspicion(np.array([[1.0, 1.0]]))["smoothing"]
    assert fitted.scores["smoothing"].max() < between[0]
