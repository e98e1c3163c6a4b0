"""What the embedding game must do in its limits, beside the contract."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import checkerboard, later
from flax import nnx
from scipy.optimize import minimize_scalar

from gan_rec import losses
from gan_rec.adversaries import ADVERSARIES, FGM, VAT, Free, Generator, Noise, everywhere
from gan_rec.data.sampling import to_device
from gan_rec.games import APR, EmbeddingGame
from gan_rec.games.embedding import DATA_FIELDS, META_FIELDS
from gan_rec.recommenders import RECOMMENDERS
from gan_rec.robustness import gradient_cosines
from gan_rec.train.epoch import Schedule, epoch, init

TRAIN = checkerboard(12)[0]


def players(recommender="autoencoder", loss="softmax", adversary="generator", make=EmbeddingGame, **options):
    cls = RECOMMENDERS[recommender]
    player = ADVERSARIES[adversary]
    player = player(8, rngs=nnx.Rngs(1)) if "generator" in adversary else player()
    game = make(loss=loss, reads_history=cls.reads_history, **{"negatives": 2, "hide": 0.5} | options)
    model = cls(TRAIN.n_users, TRAIN.n_items, 8, rngs=nnx.Rngs(0))
    return game, model, player, game.draw(to_device(TRAIN), jnp.arange(6), jax.random.key(2))


@pytest.mark.parametrize(
    ("recommender", "loss"), [("mf", "bpr"), ("mf", "sampled-softmax"), ("autoencoder", "softmax")]
)
def test_adversary_learns_to_raise_the_loss(recommender, loss):
    """Trained against a frozen recommender, the generator does more harm than random noise."""
    game, model, generator, batch = players(recommender, loss, epsilon=0.5)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(generator, opt, key):
        gradient = jax.grad(game.adversary_loss)(generator, model, batch, key)
        updates, opt = optimizer.update(gradient, opt)
        return optax.apply_updates(generator, updates), opt

    opt = optimizer.init(generator)
    for key in jax.random.split(jax.random.key(0), 150):
        generator, opt = step(generator, opt, key)
    rows = game.representations(model, batch, None)
    data_loss = game.loss_of(model, batch, rows)

    @jax.jit
    def attacked(adversary):
        keys = jax.random.split(jax.random.key(9), 50)
        return jnp.mean(jax.vmap(lambda k: data_loss(*game.attack(adversary, data_loss, *rows, k)))(keys))

    assert attacked(generator) > attacked(Noise())
    assert attacked(FGM()) > attacked(Noise())


@pytest.mark.parametrize("limit", [{"alpha": 1.0}, {"epsilon": 0.0}])
def test_an_adversary_without_weight_or_radius_leaves_the_data_loss_to_the_bit(limit):
    """The adversary's branch is not merely weighted by zero: its presence must not touch the twin's numbers."""
    game, model, generator, batch = players(**limit)

    def twin_loss(model, key):
        tower_key, _ = jax.random.split(key)
        return game.loss_of(model, batch)(*game.representations(model, batch, tower_key))

    key = jax.random.key(4)
    with_adversary = jax.jit(jax.grad(lambda m: game.recommender_loss(m, generator, batch, key)[0]))(model)
    without = jax.jit(jax.grad(lambda m: twin_loss(m, key)))(model)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), with_adversary, without))


def test_a_tiny_radius_makes_both_losses_equal():
    game, model, generator, batch = players(epsilon=1e-6)
    parts = game.recommender_loss(model, generator, batch, jax.random.key(0))[1]
    np.testing.assert_allclose(parts["adversarial_loss"], parts["data_loss"], rtol=1e-5)
    attacked = -game.adversary_loss(generator, model, batch, jax.random.key(0))
    np.testing.assert_allclose(attacked, parts["data_loss"], rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_alpha_weighs_the_parts(alpha):
    game, model, generator, batch = players(alpha=alpha, epsilon=0.3)
    joint, parts = game.recommender_loss(model, generator, batch, jax.random.key(0))
    assert parts["data_loss"] != parts["adversarial_loss"]
    expected = alpha * parts["data_loss"] + (1 - alpha) * parts["adversarial_loss"]
    np.testing.assert_allclose(joint, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("recommender", "loss", "make"), [("mf", "bpr", APR), ("autoencoder", "softmax", EmbeddingGame)]
)
def test_gradient_is_that_of_the_joint_loss_with_constant_offsets(recommender, loss, make):
    """The game hands over gradients that it has computed on the way; plain differentiation must agree."""
    game, model, fgm, batch = players(recommender, loss, "fgm", make, alpha=0.3, epsilon=0.4)
    key = jax.random.key(4)
    tower_key, attack_key = jax.random.split(key)

    def plain(model):
        rows = game.representations(model, batch, tower_key)
        still = jax.lax.stop_gradient(model)
        constants = jax.lax.stop_gradient(rows)
        moved = game.attack(fgm, game.loss_of(still, batch, constants), *constants, attack_key)
        offsets = jax.lax.stop_gradient(jax.tree.map(jnp.subtract, tuple(moved), tuple(constants)))
        data_loss = game.loss_of(model, batch)
        return 0.3 * data_loss(*rows) + 0.7 * data_loss(*jax.tree.map(jnp.add, tuple(rows), offsets))

    ours = jax.grad(lambda m: game.recommender_loss(m, fgm, batch, key)[0])(model)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(jax.grad(plain)(model)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("recommender", "loss", "adversary", "make"),
    [
        ("mf", "bpr", "generator", APR),
        later("autoencoder", "softmax", "generator", EmbeddingGame),
        ("autoencoder", "softmax", "gradient-generator", EmbeddingGame),
    ],
)
def test_both_gradients_come_from_one_pass(recommender, loss, adversary, make):
    """What moves the adversary in a simultaneous step is the gradient of its own loss."""
    game, model, generator, batch = players(recommender, loss, adversary, make=make, alpha=0.3, epsilon=0.4)
    key = jax.random.key(4)
    shared = jax.grad(lambda g: game.recommender_loss(model, g, batch, key)[0])(generator)
    own = jax.grad(game.adversary_loss)(generator, model, batch, key)
    for a, b in zip(jax.tree.leaves(shared), jax.tree.leaves(own), strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("recommender", "loss"), [("mf", "bpr"), ("autoencoder", "softmax")])
def test_kl_dro_minimises_the_loss_under_the_worst_weights(recommender, loss):
    """Value and gradient are those of the dual, min over t of t radius + t log sum p exp(rows / t)."""
    game, model, adversary, batch = players(recommender, loss, "kl-dro", alpha=0.0, epsilon=0.2)
    tower_key = jax.random.split(jax.random.key(4))[0]

    def rows_of(model):
        return game.loss_of(model, batch).by_row(*game.representations(model, batch, tower_key))

    p = losses.softmax_weights(batch.targets) if loss == "softmax" else jnp.ones(6)
    p = p / jnp.sum(p)

    def dual(t, model):
        return t * 0.2 + t * jax.nn.logsumexp(rows_of(model) / t, b=p)

    best = minimize_scalar(
        lambda t: float(dual(t, model)), bounds=(1e-3, 10), method="bounded", options={"xatol": 1e-6}
    )
    value, gradient = jax.value_and_grad(lambda m: game.recommender_loss(m, adversary, batch, jax.random.key(4))[0])(
        model
    )
    np.testing.assert_allclose(value, best.fun, rtol=1e-4)
    assert value > jnp.sum(p * rows_of(model)) + 1e-3
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(jax.grad(dual, 1)(best.x, model)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=1e-4)


class Runaway(Generator):
    """An adversary that does not care for the ball, whatever the class says that it inherits from."""

    def __call__(self, loss, users, items, key, ball):
        return users + 100.0, items * -50.0


def test_no_adversary_leaves_the_ball():
    game, model, _, batch = players(epsilon=0.2)
    rows = game.representations(model, batch, None)
    moved = game.attack(Runaway(8, rngs=nnx.Rngs(0)), game.loss_of(model, batch), *rows, jax.random.key(0))
    for m, r in zip(moved, rows, strict=True):
        distance = np.linalg.norm(m - r, axis=-1) / np.linalg.norm(r, axis=-1)
        np.testing.assert_allclose(distance, 0.2, rtol=1e-4)


@pytest.mark.parametrize(
    ("recommender", "loss", "make"),
    [("mf", "softmax", EmbeddingGame), ("mf", "bpr", EmbeddingGame), ("mf", "bpr", APR), ("autoencoder", "bpr", APR)],
)
def test_users_whom_the_model_fits_closely_get_the_larger_ball(recommender, loss, make):
    game, model, _, batch = players(recommender, loss, make=make, epsilon=0.2, radii="by-loss")
    rows = game.representations(model, batch, None)
    of_batch = game.loss_of(model, batch, rows)
    by_row, radii = np.asarray(of_batch.by_row(*rows)), np.asarray(game.ball(of_batch, *rows).users)
    if make is APR and recommender == "mf":  # a radius for each user of the table
        radii = radii[np.asarray(batch.users)]
        by_row = np.array([by_row[np.asarray(batch.users) == u].mean() for u in np.asarray(batch.users)])
    order = np.argsort(by_row)
    assert (np.diff(radii[order]) <= 1e-6).all() and radii.max() > 0.2 > radii.min() > 0 and radii.max() < 0.4


def test_apr_moves_a_row_once_however_often_it_occurs():
    """The gradient of an item that stands in many lists is summed before it becomes a direction."""
    game, model, fgm, _ = players("mf", "bpr", "fgm", APR, epsilon=0.3)
    batch = game.draw(to_device(TRAIN), jnp.array([0, 1, 2, 3]), jax.random.key(0))  # all of one user
    users, items = game.representations(model, batch, None)
    assert users.shape == (12, 8) and items.shape == (12, 8)
    moved = game.attack(fgm, game.loss_of(model, batch, (users, items)), users, items, jax.random.key(0))
    occurring = np.isin(np.arange(12), batch.items)
    np.testing.assert_allclose(np.linalg.norm(moved[1] - items, axis=1) > 1e-6, occurring)
    assert (np.linalg.norm(moved[0] - users, axis=1) > 1e-6).sum() == 1


def test_vat_trains_against_the_divergence_and_needs_no_labels():
    game, model, _, batch = players("mf", "softmax", epsilon=0.3)
    virtual, labelled = (
        game.recommender_loss(model, VAT(virtual=v), batch, jax.random.key(0))[1] for v in (True, False)
    )
    assert 0 < virtual["adversarial_loss"] < 0.5 < labelled["adversarial_loss"]
    rows = game.representations(model, batch, None)
    nothing = batch._replace(targets=jnp.zeros_like(batch.targets))
    ball, key = everywhere(0.3), jax.random.key(1)
    first, second = (VAT()(game.loss_of(model, b, rows), *rows, key, ball) for b in (batch, nothing))
    np.testing.assert_array_equal(first[0], second[0])


def test_divergence_is_zero_at_the_clean_rows_and_not_below():
    game, model, _, batch = players("mf", "softmax")
    rows = game.representations(model, batch, None)
    loss = game.loss_of(model, batch, rows)
    assert abs(float(loss.divergence(*rows))) < 1e-6
    for key in range(5):
        assert loss.divergence(*game.attack(Noise(), loss, *rows, jax.random.key(key))) > 0


def forms(form, **options):
    game, model, fgm, batch = players("mf", "bce", "fgm", form=form, epsilon=0.3, beta=0.7, alpha=0.4, **options)
    total, parts = game.recommender_loss(model, fgm, batch, jax.random.key(0))
    rows = game.representations(model, batch, None)
    scores = model.score(*rows)
    return game, model, batch, total, parts, scores[:, 0], scores[:, 1:]


def test_article_forms_are_what_is_printed():
    _, _, _, total, parts, positive, negatives = forms("article-alpha")
    np.testing.assert_allclose(parts["data_loss"], losses.positives_only(positive, negatives), rtol=1e-5)
    np.testing.assert_allclose(total, 0.4 * parts["data_loss"] + 0.6 * parts["adversarial_loss"], rtol=1e-5)
    for form in ("article-beta", "beta"):
        _, _, _, total, parts, positive, negatives = forms(form)
        np.testing.assert_allclose(parts["data_loss"], losses.bce(positive, negatives), rtol=1e-5)
        np.testing.assert_allclose(total, parts["data_loss"] + 0.7 * parts["adversarial_loss"], rtol=1e-5)
    assert forms("article-beta")[4]["adversarial_loss"] < 0 < forms("beta")[4]["adversarial_loss"]


def test_a_batch_by_turns_has_one_term():
    game, model, generator, batch = players(epsilon=0.3, feeding="alternate")
    key = jax.random.key(0)
    first, second = (
        game.recommender_loss(model, generator, batch._replace(turn=jnp.int32(turn)), key) for turn in (0, 1)
    )
    assert first[0] == first[1]["data_loss"] and first[1]["adversarial_loss"] == 0
    assert second[0] == second[1]["adversarial_loss"] and second[1]["data_loss"] == 0
    joint = players(epsilon=0.3)[0].recommender_loss(model, generator, batch, key)[1]
    np.testing.assert_allclose(first[0], joint["data_loss"], rtol=1e-6)
    np.testing.assert_allclose(second[0], joint["adversarial_loss"], rtol=1e-6)


def test_free_adds_what_the_clean_turn_left():
    """The offsets of the second turn are FGM's for the rows of the first; with them the loss is FGM's."""
    game, model, _, batch = players("mf", "bpr", make=APR, epsilon=0.3, reuses=True)
    key = jax.random.key(0)
    nothing = tuple(jnp.zeros_like(rows) for rows in game.representations(model, batch, None))
    _, parts = game.recommender_loss(model, Free(), batch._replace(turn=jnp.int32(0), offsets=nothing), key)
    again = batch._replace(turn=jnp.int32(1), offsets=parts["offsets"])
    value, parts = game.recommender_loss(model, Free(), again, key)
    plain = players("mf", "bpr", make=APR, epsilon=0.3)[0].recommender_loss(model, FGM(), batch, key)[1]
    np.testing.assert_allclose(value, plain["adversarial_loss"], rtol=1e-6)
    assert value > plain["data_loss"] + 1e-3


def test_free_plays_every_batch_twice_and_its_twin_every_batch_once():
    seen = []

    class Recorder(EmbeddingGame):
        def draw(self, positives, rows, key):
            batch = super().draw(positives, rows, key)
            jax.debug.callback(lambda users, key: seen.append((tuple(users.tolist()), key.tobytes())), batch.users,
                               jax.random.key_data(key), ordered=False)  # fmt: skip
            return batch

    jax.tree_util.register_dataclass(Recorder, DATA_FIELDS, META_FIELDS)
    for alpha, expected in ((0.5, 2), (1.0, 4)):
        seen.clear()
        game = Recorder(alpha=alpha, loss="softmax", reads_history=False, reuses=True, epsilon=0.1)
        schedule = Schedule(batch_size=3)
        state = init(lambda key: RECOMMENDERS["mf"](12, 12, 4, rngs=nnx.Rngs(key)), lambda key: Free(), schedule,
                     jax.random.split(jax.random.key(0), 1))  # fmt: skip
        state, _ = epoch(state, to_device(TRAIN), game, schedule, jax.random.split(jax.random.key(1), 1))
        jax.effects_barrier()
        assert len(seen) == 4 and len(set(seen)) == expected


def test_hidden_items_are_the_targets_and_nothing_is_lost():
    positives = to_device(TRAIN)
    game = EmbeddingGame(hide=0.4)
    batch = game.draw(positives, jnp.arange(12), jax.random.key(0))
    np.testing.assert_array_equal(batch.history + batch.targets, positives.history(batch.users))
    assert 0.25 < float(batch.targets.sum() / len(TRAIN)) < 0.55


def test_pairs_hide_the_positive_item_from_the_history():
    game = EmbeddingGame(loss="bpr", negatives=3)
    batch = game.draw(to_device(TRAIN), jnp.arange(20), jax.random.key(0))
    np.testing.assert_array_equal(batch.users, TRAIN.users[:20])
    np.testing.assert_array_equal(batch.items[:, 0], TRAIN.items[:20])
    assert batch.history[np.arange(20), batch.items[:, 0]].sum() == 0


def test_cosines_tell_how_far_an_adversary_is_from_the_gradient():
    game, model, generator, _ = players(adversary="gradient-generator", epsilon=0.3)
    found = {}
    for name, adversary in {"fgm": FGM(), "noise": Noise(), "learned": generator}.items():
        stacked = jax.tree.map(lambda x: x[None], (model, adversary))
        found[name] = gradient_cosines(*stacked, game, to_device(TRAIN), jax.random.key(0), batch_size=6)
    for side in ("users", "items"):
        np.testing.assert_allclose(found["fgm"][side], [1.0], atol=1e-4)
        assert np.abs(found["noise"][side]) < 0.2
        assert 0.2 < found["learned"][side] < 0.99
