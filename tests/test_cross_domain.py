"""Several domains: reading and cutting, the recommender that joins them, the critic behind the reversal, the probe."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions
from flax import nnx

import gan_rec
from gan_rec.adversaries import DomainCritic
from gan_rec.data import Dataset, split, towards
from gan_rec.data.domains import distinct, one_of_each, same_products
from gan_rec.data.sampling import to_device
from gan_rec.data.side import Domains, SideInformation
from gan_rec.errors import UserError
from gan_rec.evaluation.domains import _probe, domain_accuracy
from gan_rec.evaluation.ranking import top_items
from gan_rec.games.domain import DomainGame, cross_entropy, reverse
from gan_rec.recommenders.cross_domain import CrossDomain
from gan_rec.recommenders.fixed import FixedArray

KEY = jax.random.key(0)
# Five users, two domains of three items: the first item of either was had by the same two users.
PAIRS = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (0, 2), (0, 3), (1, 3), (2, 4), (4, 4), (3, 5), (0, 5), (4, 5)]
DOMAINS = np.array([0, 0, 0, 1, 1, 1], np.int32)


def two_domains(pairs=PAIRS, domains=DOMAINS, n_users=5) -> Dataset:
    side = SideInformation(item_domains=Domains(("books", "films"), np.asarray(domains, np.int32)))
    whole = interactions(pairs, n_users, len(domains))
    return Dataset("two", {"all": whole}, (), None, "0" * 64, side_information=side)


def write(folder, **files):
    for name, rows in files.items():
        domain, part = name.split("_")
        (folder / domain).mkdir(exist_ok=True)
        text = "".join(f"{user}\t{item}\t1\n" for user, item in rows)
        (folder / domain / f"{part}.txt").write_text(text)


def model(dim=4, own_dim=3, n_users=5, domains=DOMAINS, **options):
    return CrossDomain(
        n_users, len(domains), dim, domains=FixedArray(domains, np.int32), own_dim=own_dim, rngs=nnx.Rngs(0), **options
    )


# Data.


def test_folders_of_a_folder_are_domains_with_their_users_in_common(tmp_path):
    write(
        tmp_path, books_train=[(7, 1), (8, 1), (8, 2)], books_test=[(7, 2)], films_train=[(8, 1), (9, 3), (9, 1)],
        films_test=[(8, 3)],
    )  # fmt: skip
    data = gan_rec.load(tmp_path)
    assert (data.n_users, data.n_items) == (3, 4), "user 8 is one user; item 1 of books is not item 1 of films"
    train = data.parts["train"]
    ids = train.item_ids[train.items]
    assert sorted(ids) == ["books/1", "books/1", "books/2", "films/1", "films/1", "films/3"]
    domains = data.side_information.item_domains
    named = [domains.names[number] for number in domains.of_items]
    assert [str(item).split("/")[0] for item in train.item_ids] == named
    assert split(data).side_information.sha256 == data.side_information.sha256


def test_domains_of_other_parts_are_refused(tmp_path):
    write(tmp_path, books_train=[(7, 1)], books_test=[(7, 2)], films_train=[(8, 1)], films_test=[(8, 3)],
          films_valid=[(8, 2)])  # fmt: skip
    with pytest.raises(UserError, match="books: train, test; films: train, valid, test"):
        gan_rec.load(tmp_path)


def test_items_that_the_same_users_had_in_both_domains_are_the_same_product():
    data = two_domains()
    assert same_products(data).tolist() == [True, False, False, True, False, False]
    left = distinct(data)
    assert left.n_items == 4 and len(left.parts["all"]) == len(PAIRS) - 4
    assert left.side_information.item_domains.of_items.tolist() == [0, 0, 1, 1]
    with pytest.raises(UserError, match="has no domains"):
        distinct(replace(data, side_information=None))


def test_items_of_one_user_are_not_taken_for_the_same_product():
    assert not same_products(two_domains([(0, 0), (0, 3), (1, 1), (2, 1), (1, 4), (2, 5)])).any()


def test_validation_is_one_interaction_of_every_user_in_every_domain():
    data = two_domains([(u, i) for u in range(5) for i in range(6) if (u, i) not in ((0, 1), (0, 2))])
    pairs = data.parts["all"]
    chosen = one_of_each(pairs, data.side_information.item_domains, np.random.default_rng(0))
    groups = [(u, DOMAINS[i]) for u, i in zip(pairs.users[chosen], pairs.items[chosen], strict=True)]
    assert len(groups) == len(set(groups)) == 9, "user 0 keeps the only book"
    assert (0, 0) not in groups


def test_a_split_for_one_domain():
    data = two_domains([(u, i) for u in range(40) for i in range(6)], n_users=40)
    cut = split(data, "random")
    films = towards(cut, "films")
    assert set(films.open_test().items) == set(films.valid.items) == {3, 4, 5}
    assert films.candidates.tolist() == films.valid.candidates.tolist() == [False] * 3 + [True] * 3
    assert set(films.train.items) == set(range(6)) and set(towards(cut, "films", alone=True).train.items) == {3, 4, 5}
    assert films.sha256 != towards(cut, "books").sha256


def test_hidden_users_have_nothing_of_the_target_in_train():
    data = two_domains([(u, i) for u in range(40) for i in range(6)], n_users=40)
    cut = towards(split(data, "random"), "films", newcomers=0.5)
    tested, chosen = set(cut.open_test().users), set(cut.valid.users)
    assert 2 < min(len(tested), len(chosen)) and max(len(tested), len(chosen)) <= 10 and not tested & chosen
    for users in (tested, chosen):
        own = np.isin(cut.train.users, list(users))
        assert own.any() and set(cut.train.items[own]) <= {0, 1, 2}
    # All that such a user had there is to be found: none of it is ranked as if nobody wanted it.
    assert set(np.bincount(cut.open_test().users)[list(tested)]) == {3}
    assert not cut.open_test().candidates[:3].any() and cut.open_test().candidates[3:].all()


@pytest.mark.parametrize(
    ("how", "says"),
    [({"target": "songs"}, "unknown target 'songs'; the domains of two are books, films"),
     ({"target": "films", "newcomers": 1.0}, r"newcomers must be in \[0, 1\), got 1.0")],
)  # fmt: skip
def test_what_cannot_be_the_target(how, says):
    with pytest.raises(UserError, match=says):
        towards(split(two_domains(), "random"), **how)
    with pytest.raises(UserError, match="has no domains"):
        towards(split(replace(two_domains(), side_information=None), "random"), "films")


# The recommender.


RNG = np.random.default_rng(1)
MANY = sorted({(u, i) for u in range(24) for i in range(6) if RNG.random() < 0.6 or i == u % 6})


def by_loops(own: CrossDomain, pairs, user, item, without=()):
    """The score of a pair, node by node; of the pair `without` it is as if it were in no sum."""
    had, who = {}, {}
    for u, i in pairs:
        had.setdefault(u, []).append(i)
        who.setdefault(i, []).append(u)
    shared, apart = np.asarray(own.user_embedding[...], float), np.asarray(own.own_embedding[...], float)
    towers, dim = np.asarray(own.towers[...], float), own.user_embedding.shape[1]

    def item_row(i, hide=()):
        users = [u for u in who[i] if (u, i) not in hide]
        total = sum((shared[u] / len(had[u]) ** 0.5 for u in users), np.zeros(dim))
        mine = sum((apart[DOMAINS[i], u] / len(had[u]) ** 0.5 for u in users), np.zeros(apart.shape[2]))
        return np.concatenate([total + total @ towers[DOMAINS[i]], mine])

    def said(user, domain, hide=()):
        items = [i for i in had[user] if DOMAINS[i] == domain]
        rows = [item_row(i) / len(who[i]) ** 0.5 for i in items if (user, i) not in hide]
        return sum(rows, np.zeros(dim + apart.shape[2])) / max(len(items), 1) ** 0.5

    def in_common(row, domain):
        """Mean 0, length 1, mean 0 and covariance 1 but for its scale, over the users with an item of the domain."""
        users = [u for u in had if any(DOMAINS[i] == domain for i in had[u])]
        if user not in users:
            return np.zeros(dim)
        rows = np.array([said(u, domain)[:dim] for u in users])
        first = rows.mean(axis=0)
        rows = (rows - first) / np.linalg.norm(rows - first, axis=1, keepdims=True)
        lengths, axes = np.linalg.eigh(np.cov(rows.T, bias=True))
        centred = (row - first) / np.linalg.norm(row - first) - rows.mean(axis=0)
        return centred @ axes @ np.diag(np.sqrt(lengths.mean() / lengths)) @ axes.T

    all_say = sum(in_common(said(user, domain, without)[:dim], domain) for domain in (0, 1))
    row = item_row(item, without)
    user_row = np.concatenate([all_say, said(user, DOMAINS[item], without)[dim:]])
    found = user_row @ row / np.linalg.norm(row) / np.linalg.norm(all_say)
    return found / own.temperature + float(own.item_bias[item])


def moved(tree):
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(KEY, len(leaves))
    return structure.unflatten([x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])


@pytest.mark.long
def test_scores_equal_a_reference_by_loops():
    own = moved(model(dim=2, n_users=24))
    placed = jax.jit(lambda known: own.on(known))(to_device(interactions(MANY, 24, 6), len(MANY) + 3))
    scores = placed.score(placed.users(jnp.arange(24)), placed.items())
    expected = [[by_loops(own, MANY, u, i) for i in range(6)] for u in range(0, 24, 5)]
    np.testing.assert_allclose(scores[::5], expected, rtol=2e-3, atol=2e-3)


def test_a_pair_is_scored_as_if_it_were_not_known():
    own, some = moved(model(dim=2, n_users=24)), MANY[:: len(MANY) // 8]
    users, items = (jnp.array(x, jnp.int32) for x in zip(*some, strict=True))

    @jax.jit
    def found(known):
        return own.on(known).without(users, items, jnp.array([1, 4], jnp.int32))

    scores, others, known = found(to_device(interactions(MANY, 24, 6), len(MANY) + 3))
    for n, (user, item) in enumerate(some):
        hidden = ((user, item),)
        np.testing.assert_allclose(scores[n], by_loops(own, MANY, user, item, hidden), rtol=2e-3, atol=2e-3)
        for place, other in enumerate((1, 4)):
            if DOMAINS[other] == DOMAINS[item] and item != other:
                expected = by_loops(own, MANY, user, other, hidden)
                np.testing.assert_allclose(others[n, place], expected, rtol=2e-3, atol=2e-3)
    assert known.min() == 1.0, "each of these items was had by two users or more"


def test_what_domains_say_has_a_mean_and_a_covariance_in_common():
    domains = np.repeat([0, 1], 10).astype(np.int32)
    pairs = sorted({(u, int(i)) for u in range(200) for i in RNG.integers(0, 20, 6)})
    own, known = moved(model(n_users=200, domains=domains)), to_device(interactions(pairs, 200, 20))
    rows = jax.jit(lambda known: own.on(known))(known)
    for said, active in zip(rows.shared(jnp.arange(200)), rows.active(jnp.arange(200)), strict=True):
        own = np.asarray(said)[np.asarray(active) > 0]
        np.testing.assert_allclose(own.mean(axis=0), 0.0, atol=1e-4)
        covariance = np.cov(own.T, bias=True)
        np.testing.assert_allclose(covariance, np.eye(4) * np.trace(covariance) / 4, atol=0.02)


def test_items_of_both_domains_with_the_same_users_are_alike_from_the_start():
    placed = model(dim=8).on(to_device(interactions(PAIRS, 5, 6)))
    rows = np.asarray(placed.items()[:, :8])
    cosine = rows @ rows.T / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows, axis=1)[:, None]
    assert cosine[0, 3] > 0.95


def checkerboard(n_users=36, n_items=12):
    """Users like items of their own parity, and by the same token in both domains; one of each user is held out."""
    pairs = [(u, i) for u in range(n_users) for i in range(n_items) if (u + i) % 2 == 0]
    held = {(u, i) for u, i in pairs if (i // 2) == u // 2 % (n_items // 2)}
    domains = (np.arange(n_items) >= n_items // 2).astype(np.int32)
    return sorted(set(pairs) - held), sorted(held), domains


def trained(pairs, domains, n_users, epochs=12, **options):
    data = two_domains(pairs, domains, n_users)
    cut = replace(split(data, "random"), train=data.parts["all"])
    how = {"game": "domain", "recommender": "cross-domain", "dim": 8, "own_dim": 4, "seeds": 1, "negatives": 24}
    # A slow one: at the default of real data a seed in ten does not learn so small a world.
    how |= {"learning_rate": 5e-3, "batch_size": 64, "epochs": epochs, "evaluate_every": epochs}
    how |= {"select_on": "NDCG@2", "refit": False}
    return gan_rec.fit(cut, progress=False, **how | options)


@pytest.mark.long
def test_checkerboard():
    pairs, held, domains = checkerboard()
    fitted = trained(pairs, domains, 36)
    known = to_device(interactions(pairs, 36, 12))
    first = top_items(fitted.weights.final.recommender, known, np.arange(36), 1)[0][0, :, 0]
    assert np.mean([(int(u), int(i)) in set(held) for u, i in enumerate(first)]) == 1.0


@pytest.mark.long
def test_who_is_new_to_a_domain_is_served_by_the_other():
    pairs, _, domains = checkerboard()
    kept = [(u, i) for u, i in pairs if u < 24 or domains[i] == 0]
    fitted = trained(kept, domains, 36, epochs=25, seeds=3)
    known = to_device(interactions(kept, 36, 12))
    films = top_items(fitted.weights.final.recommender, known, np.arange(24, 36), 3, candidates=domains == 1)[0]
    assert np.mean((films + np.arange(24, 36)[:, None]) % 2 == 0) > 0.8, "by chance a half"


def test_without_domains_it_says_so():
    with pytest.raises(UserError, match="reads domains of items, but the data has none"):
        gan_rec.fit(split(gan_rec.load("synthetic")), game="domain", seeds=1, epochs=1, progress=False)


# The game.


def case():
    own, critic = moved(model()), DomainCritic(4, hidden=6, rngs=nnx.Rngs(1))
    positives = to_device(interactions(PAIRS, 5, 6))
    game = DomainGame(negatives=8)
    return game, own, critic, game.draw(positives, jnp.arange(6), KEY)


def test_the_reversal_turns_and_weighs_the_gradient():
    x = jnp.array([1.0, -2.0])
    assert jax.value_and_grad(lambda x: jnp.sum(3 * reverse(x, 0.5)))(x)[0] == -3.0
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(3 * reverse(x, 0.5)))(x), [-1.5, -1.5])
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(3 * reverse(x, 0.0)))(x), [0.0, 0.0])


def test_the_recommender_climbs_what_the_critic_descends():
    """By hand: alpha times the data's gradient minus 1 - alpha times that of the critic's cross-entropy."""
    game, own, critic, batch = case()
    game = replace(game, alpha=0.3)

    @jax.jit
    def gradients(own, critic):
        both = jax.grad(game.recommender_loss, argnums=(0, 1), has_aux=True)(own, critic, batch, KEY)[0]
        data = jax.grad(lambda own: game.data_loss(own.on(batch.graph), batch))(own)
        told = jax.grad(lambda own: game.adversary_loss_open(own, critic, batch))(own)
        return both, data, told, jax.grad(game.adversary_loss)(critic, own, batch, KEY)

    def open_loss(self, own, critic, batch):
        placed = own.on(batch.graph)
        return cross_entropy(critic, placed.shared(batch.users), placed.active(batch.users))

    DomainGame.adversary_loss_open = open_loss
    try:
        (by_own, by_critic), data, told, critics = gradients(own, critic)
    finally:
        del DomainGame.adversary_loss_open
    expected = jax.tree.map(lambda d, t: 0.3 * d - 0.7 * t, data, told)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), by_own, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), by_critic, critics)


def test_without_weight_the_critic_leaves_no_trace():
    game, own, critic, batch = case()
    game = replace(game, alpha=1.0)
    total, gradient = jax.jit(jax.value_and_grad(lambda own: game.recommender_loss(own, critic, batch, KEY)[0]))(own)
    data, alone = jax.jit(jax.value_and_grad(lambda own: game.data_loss(own.on(batch.graph), batch)))(own)
    assert total == data
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), gradient, alone)


def test_the_critic_at_chance_has_ln_2():
    rows, active = jnp.ones((2, 5, 4)), jnp.ones((2, 5))
    critic = jax.tree.map(jnp.zeros_like, DomainCritic(4, hidden=3, rngs=nnx.Rngs(0)))
    np.testing.assert_allclose(cross_entropy(critic, rows, active), np.log(2), rtol=1e-6)


# The probe.


def test_a_probe_tells_what_can_be_told_and_nothing_else():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2, 1500, 6)).astype(np.float32)
    apart = rows + np.array([1.5, -1.5], np.float32)[:, None, None] * np.eye(6, dtype=np.float32)[0]

    def found(rows):
        return float(_probe(*(jnp.asarray(part) for part in np.split(rows, [700, 900], axis=1)), KEY, 16))

    assert found(apart) > 0.9
    assert abs(found(rows) - 0.5) < 0.06


@pytest.mark.long
def test_the_reversal_hides_the_domain():
    """Books are read by all users, films by two kinds that have nothing in common: finer than a covariance shows."""
    rng, n = np.random.default_rng(0), 400
    domains = np.repeat([0, 1], 30).astype(np.int32)
    books = {(u, int(i)) for u in range(n) for i in rng.integers(0, 30, 5)}
    films = {(u, int(30 + 15 * (u % 2) + i)) for u in range(n) for i in rng.integers(0, 15, 5)}
    pairs = sorted(books | films)
    known, accuracy = to_device(interactions(pairs, n, 60)), {}
    for alpha in (1.0, 0.1):
        how = {"alpha": alpha, "adversary_steps": 1, "moves": "simultaneous", "epochs": 40, "seeds": 6}
        fitted = trained(pairs, domains, n, adversary_learning_rate=1e-2, **how)
        accuracy[alpha] = domain_accuracy(fitted.weights.final.recommender, known).mean()
    assert accuracy[1.0] > 0.7 and accuracy[0.1] < accuracy[1.0] - 0.1
