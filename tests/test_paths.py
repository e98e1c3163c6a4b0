"""Paths: what a policy can choose, REINFORCE against an enumeration, and a critic that tells what is made up."""

from dataclasses import replace
from functools import cache
from itertools import permutations
from types import SimpleNamespace

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions, later
from flax import nnx
from test_sequences import CYCLE, KNOWN, SMALL, timed

import gan_rec
from gan_rec.adversaries.path_critic import PathCritic
from gan_rec.data import Dataset, split
from gan_rec.data.sampling import to_device
from gan_rec.evaluation.paths import coherence, evaluate_paths, greedy_paths, repeated_paths
from gan_rec.evaluation.ranking import top_items
from gan_rec.experiments.paths import BUDGET, SCHEDULE, cosines, fit_paths, true_paths
from gan_rec.games.paths import PathGame, Paths
from gan_rec.recommenders import SASRec
from gan_rec.recommenders.path_policy import PathPolicy

KEY = jax.random.key(3)
CHECKS = (
    contract.only_params, contract.finite_scalars, contract.gradient_reaches_the_recommender,
    contract.gradient_reaches_the_adversary, contract.recommender_feels_the_adversary,
    contract.adversary_feels_the_recommender,
)  # fmt: skip
HISTORY = jnp.array([[6, 1, 2], [4, 1, 3]])
ALLOWED = jnp.ones((2, 6)).at[0, jnp.array([1, 2])].set(0).at[1, jnp.array([4, 1, 3])].set(0)


@cache
def policy(moved=True, **options):
    def make():
        encoder = SASRec(4, 6, 8, length=5, rngs=nnx.Rngs(0))
        made = PathPolicy(encoder, hidden=4, rngs=nnx.Rngs(1), **options)
        return jax.tree.map(lambda x: x + 0.5 * jax.random.normal(KEY, x.shape), made) if moved else made

    return jax.jit(make)()


def test_leave_five_out_takes_the_last_of_those_with_enough():
    lengths = [7, 8, 12, 13]
    pairs = [(u, i) for u, n in enumerate(lengths) for i in range(n)]
    whole = timed(pairs, [i for n in lengths for i in range(n)])
    parts = split(Dataset("lists", {"all": whole}, (), None, "0" * 64), "leave-five-out")
    counts = [np.bincount(p.users, minlength=4).tolist() for p in (parts.train, parts.valid, parts.open_test())]
    assert counts == [[7, 3, 7, 3], [0, 0, 0, 5], [0, 5, 5, 5]]
    assert parts.open_test().items[parts.open_test().users == 3].tolist() == [8, 9, 10, 11, 12]
    with pytest.raises(gan_rec.UserError, match="order"):
        split(Dataset("bare", {"all": replace(whole, times=None)}, (), None, "0" * 64), "leave-five-out")


def test_an_untrained_policy_goes_the_recommenders_top_items():
    fresh = policy(moved=False)
    stacked = jax.tree.map(lambda x: x[None], fresh)
    users = np.array([0, 2, 3])
    paths = greedy_paths(stacked, KNOWN, users, 2)
    np.testing.assert_array_equal(paths, top_items(stacked.encoder, KNOWN, users, 2)[0])
    again = repeated_paths(stacked.encoder, KNOWN, users, 2)
    np.testing.assert_array_equal(again[..., 0], paths[..., 0])


@pytest.mark.parametrize("candidates", [3, later(100)])
def test_chances_of_paths_sum_to_one_and_walks_follow_them(candidates):
    made = policy(candidates=candidates)
    offer = jax.jit(made.offer)(HISTORY, ALLOWED)
    n = int(offer.allowed[0].sum())
    paths = jnp.array(list(permutations(range(n), 2)))
    of_user = jax.tree.map(lambda x: jnp.repeat(x[:1], len(paths), axis=0), offer)
    chances = jax.jit(lambda: made.log_chances(of_user, paths))()
    each = jnp.exp(jnp.take_along_axis(chances, paths[:, :, None], axis=2).sum(axis=(1, 2)))
    np.testing.assert_allclose(each.sum(), 1, rtol=1e-4)
    many = jax.tree.map(lambda x: jnp.repeat(x[:1], 4000, axis=0), offer)
    walks = np.asarray(jax.jit(lambda: made.walk(many, 2, KEY))())
    found = [np.mean((walks == np.asarray(path)).all(axis=1)) for path in paths]
    np.testing.assert_allclose(found, each, atol=0.03)
    best = jax.jit(lambda: made.walk(offer, 2))()
    first = jax.jit(lambda: made.log_chances(offer, best))()[:, 0]
    assert (jnp.argmax(first, axis=1) == best[:, 0]).all()


def test_chances_are_those_of_the_scores_along_the_path():
    made = policy()
    offer = jax.jit(made.offer)(HISTORY, ALLOWED)
    places = made.walk(offer, 3, KEY)
    path = jnp.take_along_axis(offer.items, places, axis=1)
    scores = np.asarray(jax.jit(lambda: made.states(HISTORY, path) @ made.encoder.items().T)())
    chances = np.asarray(jax.jit(lambda: made.log_chances(offer, places))())
    for user in range(2):
        allowed = np.asarray(ALLOWED[user]) > 0
        for step in range(3):
            own = np.where(allowed, scores[user, step], -np.inf)
            wanted = own - np.log(np.exp(own).sum())
            said = chances[user, step]
            kept = [c for c, item in enumerate(offer.items[user].tolist()) if allowed[item]]
            np.testing.assert_allclose(said[kept], wanted[np.asarray(offer.items[user])[kept]], rtol=1e-4, atol=1e-4)
            allowed[int(path[user, step])] = False


def test_reinforce_climbs_what_the_critic_says():
    """Averaged over many draws its gradient is that of the expected verdict, which an enumeration gives."""
    made, game = policy(), PathGame(k=2, samples=200, discount=1.0)
    batch = Paths(HISTORY[:1], jnp.array([[3, 4]]), ALLOWED[:1])
    said = jax.random.normal(KEY, (6,))

    def critic(history, path):
        return said[path]

    given = jax.jit(made.offer)(batch.history, batch.allowed)
    paths = jnp.array(list(permutations(range(int(given.allowed[0].sum())), 2)))

    def expected(users):
        offer = given._replace(users=users)
        many = jax.tree.map(lambda x: jnp.repeat(x, len(paths), axis=0), offer)
        chances = jnp.take_along_axis(made.log_chances(many, paths), paths[:, :, None], axis=2).sum(axis=(1, 2))
        return -jnp.sum(jnp.exp(chances) * said[many.items[0]][paths].sum(axis=1))

    def drawn(bias, key):
        moved = jax.tree.map(lambda x: x, made)
        moved.encoder.norm.bias[...] = bias
        return game.adversarial_loss(moved, critic, batch, key)

    bias = made.encoder.norm.bias[...]
    slopes = jax.lax.map(lambda key: jax.grad(drawn)(bias, key), jax.random.split(KEY, 60))
    wanted = jax.jit(jax.grad(expected))(made.encoder.users(None, batch.history))[0]
    np.testing.assert_allclose(slopes.mean(axis=0), wanted, atol=4 * np.abs(slopes).std(axis=0).max() / 60**0.5)
    assert np.abs(wanted).max() > 0.05


def test_data_loss_equals_a_reference():
    made, loss = policy(), jax.jit(PathGame(k=2).data_loss)
    batch = Paths(HISTORY, jnp.array([[3, 4], [0, 6]]), ALLOWED)
    scores = np.asarray(made.states(HISTORY, batch.future) @ made.encoder.items().T)
    log = scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))
    before = -np.mean([(log[0, 0, 3] + log[0, 0, 4]) / 2, log[1, 0, 0]])
    np.testing.assert_allclose(loss(made, batch, None, jnp.array([0, 0])), before, rtol=1e-5)
    later = -np.mean([log[0, 1, 4], log[1, 0, 0]])
    np.testing.assert_allclose(loss(made, batch, None, jnp.array([1, 0])), later, rtol=1e-5)
    drawn = {round(float(loss(_still(made), batch, key)), 4) for key in jax.random.split(KEY, 12)}
    assert drawn == {round(float(x), 4) for x in (before, later)}  # never a step past the end


def _still(made):
    """The same without dropout."""
    made = jax.tree.map(lambda x: x, made)
    made.encoder.dropout = 0.0
    return made


def test_a_cut_never_shows_what_is_to_come():
    game = PathGame(k=2, read=3)
    for seed in range(5):
        batch = game.draw(KNOWN, jnp.arange(3), jax.random.key(seed))
        for user, history, future in zip([0, 2, 3], batch.history.tolist(), batch.future.tolist(), strict=True):
            whole = {0: [1, 2, 3], 2: [4, 1, 3, 0], 3: [5]}[user]
            past, to_come = [i for i in history if i < 6], [i for i in future if i < 6]
            assert len(past) > 0 and "".join(map(str, past + to_come)) in "".join(map(str, whole))
        future = batch.future
        rows, columns = np.nonzero(np.asarray(future) < 6)
        assert np.asarray(batch.allowed)[rows, np.asarray(future)[rows, columns]].all()


def test_the_critic_judges_steps_in_order():
    critic = PathCritic(6, dim=4, hidden=8, rngs=nnx.Rngs(0))
    path = jnp.array([[3, 4, 0], [3, 5, 0]])
    same = jnp.repeat(HISTORY[:1], 2, axis=0)
    verdicts = critic(same, path)
    assert verdicts[0, 0] == verdicts[1, 0] and (verdicts[0, 1:] != verdicts[1, 1:]).all()


def test_recall_and_coherence_of_paths():
    truth = interactions([(0, 1), (0, 2), (1, 3), (1, 0)], 2, 5)
    paths = np.array([[[1, 4], [0, 3]]])
    similarity = cosines(interactions([(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 4)], 3, 5))
    found = evaluate_paths(paths, np.array([0, 1]), truth, last=np.array([0, 2]), similarity=similarity)
    assert found.per_user["R@2"].tolist() == [[0.5, 1.0]]
    of_01, of_14 = 2 / np.sqrt(2 * 3), 1 / np.sqrt(3)
    np.testing.assert_allclose(found.per_user["coherence"], [[(of_01 + of_14) / 2, 0.0]])
    np.testing.assert_allclose(coherence(paths, np.array([0, 2]), similarity)[0, 0], (of_01 + of_14) / 2)


@pytest.mark.long
def test_contract_on_a_batch():
    case = contract_case()
    both = contract.run(case)
    for check in CHECKS:
        check(case, both)


@pytest.mark.long
def test_contract_on_epochs(tmp_path):
    """The game is played by the compiled epoch like every other."""
    for check in contract.ON_EPOCHS:
        check(contract_case(), tmp_path)


def contract_case():
    game = PathGame(k=3, read=4, samples=3)
    sizes = {"batch_size": 6, "adversary_learning_rate": 1e-2}
    case = SimpleNamespace(
        settings=SimpleNamespace(game="paths", adversary="path-critic", critic_loss=None, alpha=0.5), game=game,
        positives=to_device(contract.pairs()), schedule=replace(SCHEDULE, **sizes), learned=True,
        model=_of_nine_items(), adversary=_critic(1), other=_critic(5),
    )  # fmt: skip
    case.batch = game.draw(case.positives, jnp.arange(6), KEY)
    return case


def _of_nine_items():
    encoder = SASRec(14, 9, 4, length=5, rngs=nnx.Rngs(0))
    made = PathPolicy(encoder, hidden=4, candidates=6, rngs=nnx.Rngs(1))
    return jax.tree.map(lambda x: x + 0.5 * jax.random.normal(KEY, x.shape), made)


def _critic(seed):
    return PathCritic(9, dim=4, hidden=8, rngs=nnx.Rngs(seed))


@pytest.mark.long
def test_a_policy_is_trained_from_its_start():
    start = gan_rec.fit(CYCLE, recommender="sasrec", alpha=1.0, refit=False, **SMALL)
    budget = replace(BUDGET, epochs=2, select_on="R@1")
    fitted = fit_paths(start, PathGame(k=1, samples=2), replace(SCHEDULE, batch_size=16), budget)
    assert len(fitted.epochs) == 2 and min(fitted.scores) > 0.5
    users = np.unique(CYCLE.open_test().users)
    paths = greedy_paths(fitted.policies, to_device(CYCLE.train_and_valid()), users, 1)
    real = true_paths(CYCLE.open_test(), users, 1)
    assert (paths == real).mean() > 0.8
    with pytest.raises(gan_rec.UserError, match="sasrec"):
        fit_paths(
            gan_rec.fit(CYCLE, recommender="mf", **{k: v for k, v in SMALL.items() if k not in ("length", "dropout")})
        )
