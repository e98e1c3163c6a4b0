"""What every game must do, as checks that can be put to a healthy game and to one that was broken on purpose."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from conftest import interactions
from flax import nnx

from gan_rec.data.ratings import RatedPairs
from gan_rec.data.samples import EncodedTexts, to_samples
from gan_rec.data.sampling import to_device
from gan_rec.data.side import Domains, SideInformation
from gan_rec.experiments import players
from gan_rec.experiments.beside import beside_pairs
from gan_rec.experiments.settings import Settings
from gan_rec.games import next_item
from gan_rec.games.batches import Positions
from gan_rec.games.irgan import draw_items
from gan_rec.games.joint import penalty
from gan_rec.language.bert import Bert, BertConfig
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.text import TextVectors
from gan_rec.train.checkpoints import Checkpoints
from gan_rec.train.epoch import State, _move_adversary, epoch

N_USERS, N_ITEMS = 14, 9  # more users than items: an id that is no item must do no harm
KEY = jax.random.key(7)
WEIGHT = 0.3  # not a half, at which swapped terms would weigh the same

_RNG = np.random.default_rng(3)
SIDE = SideInformation(
    {name: _RNG.random((N_ITEMS, size), np.float32) for name, size in (("sound", 3), ("look", 2))},
    np.array([[0, 1], [1, 0], [2, 13], [5, 7], [7, 0]], np.int32),
    Domains(("books", "films"), np.array([0, 1, 0, 1, 1, 0, 1, 0, 0], np.int32)),
)


def pairs():
    rng = np.random.default_rng(1)
    likes = [(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if rng.random() < 0.4 or i == u % N_ITEMS]
    return replace(interactions(likes, N_USERS, N_ITEMS), times=rng.permutation(len(likes)))


def build(game, recommender, adversary=None, **options):
    """A case: both players, their game, a batch with users beyond the number of items, and all that an epoch needs."""
    sizes = {"dim": None if game == "text" else 5, "batch_size": 6, "seeds": 1, "adversary_learning_rate": 1e-2}
    settings = Settings(game=game, recommender=recommender, adversary=adversary, **sizes | options).resolved()
    cases = {"text": text_case, "rating": rating_case}
    makers, positives = cases.get(settings.game, ranking_case)(settings)
    game = players.make_game(settings)
    size = int(game.size(positives)[1])
    batch = jax.jit(lambda *arguments: game.draw(*arguments))(positives, jnp.arange(size - 6, size), jax.random.key(3))
    if getattr(game, "reuses", False) or getattr(game, "accumulates", 0):
        rows = jax.eval_shape(lambda: game.representations(makers[0](KEY), batch, KEY))
        batch = batch._replace(offsets=tuple(jnp.zeros(x.shape) for x in rows))
    model, player = (jax.jit(make)(jax.random.key(seed)) for make, seed in zip(makers, (0, 1), strict=True))
    schedule = players.make_schedule(settings)
    return SimpleNamespace(
        settings=settings, game=game, model=model, adversary=player, batch=batch, positives=positives, makers=makers,
        schedule=schedule, learned=bool(jax.tree.leaves(player)), other=jax.jit(makers[1])(jax.random.key(5)),
    )  # fmt: skip


def ranking_case(settings):
    """Makers of both players, and the data."""
    vectors = TextVectors(np.random.default_rng(0).standard_normal((N_ITEMS, 4)))
    beside = beside_pairs(settings, SIDE)
    makers = (
        players.make_recommender(settings, N_USERS, N_ITEMS, vectors, beside=beside),
        players.make_adversary(settings, N_USERS, N_ITEMS, beside),
    )
    return makers, to_device(pairs().transposed() if settings.side == "item" else pairs())


def rating_case(settings):
    """Makers of both players, and labels for the pairs."""
    makers, _ = ranking_case(settings)
    makers = (makers[0], players.make_adversary(replace(settings, dim=settings.dim + 2), N_USERS, N_ITEMS))
    pairs_, rng = pairs(), np.random.default_rng(2)
    history = rng.integers(0, 256, (len(pairs_), 2), np.uint8)
    labels = rng.integers(0, 2, len(pairs_)).astype(np.int32)
    earlier = np.sort(rng.integers(0, 9, (len(pairs_), 2)))
    return makers, RatedPairs(pairs_.users, pairs_.items, history, earlier, labels, N_USERS, N_ITEMS).on_device()


def text_case(settings):
    """Makers of both players, and 14 texts with two further columns: as vectors, or of 1 to 3 tokens."""
    rng = np.random.default_rng(1)
    inputs, lengths, dim, layers = rng.normal(size=(14, 5)).astype(np.float32), np.zeros(14, np.int32), 5, None
    labels = (inputs[:, 0] + rng.normal(size=14) > 0).astype(np.int32)
    if settings.trainable is not None:
        dim, lengths = 6, rng.integers(1, 4, 14).astype(np.int32)
        model = shaken(Bert(BertConfig(9, 6, 2, 2, 8, 4), rngs=nnx.Rngs(4)))  # else its attention is flat
        whole = settings.trainable > model.stack.depth
        inputs = rng.integers(0, 9, (14, 3)) if whole else rng.normal(size=(14, 3, 6)).astype(np.float16)
        layers = model if whole else model.stack.upper(2 - settings.trainable)
    texts = EncodedTexts(inputs, lengths, rng.normal(size=(14, 2)).astype(np.float32), labels, np.ones(14, bool))
    makers = (
        players.make_classifier(settings, dim, 2, layers),
        players.make_adversary(replace(settings, dim=dim), 0, 0),
    )
    return makers, to_samples(texts)


def run(case, jit=jax.jit):
    """Value, parts and gradient of both players' losses, as functions of both players and the key."""
    game = replace(case.game, weight=WEIGHT)

    def both(model, adversary, key):
        (total, parts), gradient = jax.value_and_grad(game.recommender_loss, has_aux=True)(
            model, adversary, case.batch, key
        )
        if not case.learned:
            return total, parts, gradient, jnp.zeros(()), None
        value, own = jax.value_and_grad(game.adversary_loss)(adversary, model, case.batch, key)
        return total, parts, gradient, value, own

    return jit(both)


# In NumPy, or compiled as a whole: operation by operation, a row of the table would compile a hundred small programs.


def distance(a, b) -> float:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return float(sum(np.abs(np.asarray(x) - np.asarray(y)).sum() for x, y in pairs))


def equal(a, b) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


@jax.jit
def shaken(tree):
    return jax.tree.map(lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), tree)


@jax.jit
def moved(tree, gradient, size):
    return jax.tree.map(lambda x, g: x - size * g, tree, gradient)


# Checks on one batch: (case, both) -> None.


def only_params(case, both):
    for module in (case.model, case.adversary):
        assert not nnx.split(module, nnx.Param, ...)[2], "a player may keep Params only"


def finite_scalars(case, both):
    total, parts, gradient, value, own = both(case.model, case.adversary, KEY)
    assert total.shape == value.shape == () and set(parts) - {"offsets"} == set(case.game.metrics)
    for leaf in jax.tree.leaves((total, parts, gradient, value, own)):
        assert np.isfinite(leaf).all()


def gradient_reaches_the_recommender(case, both):
    gradient = both(case.model, case.adversary, KEY)[2]
    for name, leaf in nnx.to_flat_state(nnx.state(gradient)):
        assert np.abs(leaf[...]).max() > 0, f"{name} gets no gradient"


def gradient_reaches_the_adversary(case, both):
    if case.learned:
        for name, leaf in nnx.to_flat_state(nnx.state(both(case.model, case.adversary, KEY)[4])):
            if case.settings.critic_loss == "wasserstein" and name == ("leave", "bias"):
                continue  # it adds the same to real and fake, and so nothing to their difference
            assert np.abs(leaf[...]).max() > 0, f"{name} of the adversary gets no gradient"


def recommender_feels_the_adversary(case, both):
    """Its gradient depends on who plays against it: else it learns from the rest of its loss alone."""
    if case.learned:
        one, other = (both(case.model, player, KEY)[2] for player in (case.adversary, case.other))
        assert distance(one, other) > 1e-7


def adversary_feels_the_recommender(case, both):
    """Its gradient depends on the recommender: a critic that never sees what is generated has none of that."""
    if case.learned:
        model = shaken(case.model)
        assert distance(both(case.model, case.adversary, KEY)[4], both(model, case.adversary, KEY)[4]) > 1e-7


def fakes_are_fresh(case, both):
    """What the adversary makes is drawn from it as it is now, not as it was when it was first asked."""
    if case.learned:
        first, second = (both(case.model, player, KEY) for player in (case.adversary, case.other))
        assert first[1]["adversarial_loss"] != second[1]["adversarial_loss"]
        assert first[3] != second[3]
        again = both(case.model, case.adversary, jax.random.key(8))
        if case.settings.game in (
            "embedding",
            "apr",
            "irgan",
            "cfgan",
            "text",
            "rating",
        ):  # those whose adversary or fakes are random
            assert again[3] != first[3]


def adversary_hurts(case, both):
    """An ascent step of the adversary raises the recommender's loss on the same batch; an attack is above clean.

    A critic of vectors does not play for that loss itself: it is given some steps to tell real from made.
    """
    _, parts, _, value, own = both(case.model, case.adversary, KEY)
    if case.learned:
        steps = 40 if case.settings.game == "cfgan" else 1
        for size in (1.0, 0.1, 0.01):  # the first that is small enough for the gradient to hold
            better, gradient = case.adversary, own
            for _ in range(steps):
                better = moved(better, gradient, size)
                _, after, _, lower, gradient = both(case.model, better, KEY)
                if lower < value and after["adversarial_loss"] > parts["adversarial_loss"]:
                    return
        raise AssertionError("no ascent step raises the recommender's loss")
    elif case.settings.adversary in ("fgm", "fgsm", "pgd", "own-scores", "accumulated", "kl-dro"):
        assert parts["adversarial_loss"] > parts["data_loss"] + 1e-4
    elif case.settings.adversary == "vat":  # the divergence from the clean scores
        assert parts["adversarial_loss"] > 1e-4


def second_turn_hurts(case, both):
    """What a game that reuses gradients leaves for the second turn on a batch raises the loss there."""
    if getattr(case.game, "reuses", False):
        loss = jax.jit(lambda batch: case.game.recommender_loss(case.model, case.adversary, batch, KEY))
        value, parts = loss(case.batch._replace(turn=jnp.int32(0)))
        assert loss(case.batch._replace(turn=jnp.int32(1), offsets=parts["offsets"]))[0] > value + 1e-4


def losses_equal_a_reference(case, both):
    """Both terms, computed again pair by pair: the clean one from clean rows, the adversarial from the adversary's."""
    total, parts = both(case.model, case.adversary, KEY)[:2]
    if not getattr(case.game, "alternates", False):
        joint = WEIGHT * parts["data_loss"] + (1 - WEIGHT) * parts["adversarial_loss"]
        key = KEY if hasattr(case.game, "hardness") else jax.random.split(KEY)[0]
        joint += jax.jit(penalty)(case.model, case.batch, key)
        np.testing.assert_allclose(total, joint, rtol=1e-5)
    data, adversarial = reference(case)
    if data is not None:
        np.testing.assert_allclose(parts["data_loss"], data, rtol=2e-4)
    if adversarial is not None:
        np.testing.assert_allclose(parts["adversarial_loss"], adversarial, rtol=2e-4)


def every_id_has_its_own_row(case, both):
    for player in (case.model, case.adversary):
        if hasattr(player, "user_embedding"):
            rows, items = map(np.asarray, _all_rows(player, case.positives))
            assert len(np.unique(rows, axis=0)) == len(rows), "two users share a row"
            assert items.shape[0] == case.positives.n_items


@jax.jit
def _all_rows(player, positives):
    placed = on_graph(player, positives)
    return placed.users(jnp.arange(positives.n_users), None), placed.items()


ON_A_BATCH = (
    only_params, finite_scalars, gradient_reaches_the_recommender, gradient_reaches_the_adversary,
    recommender_feels_the_adversary, adversary_feels_the_recommender, fakes_are_fresh, adversary_hurts,
    second_turn_hurts, losses_equal_a_reference, every_id_has_its_own_row,
)  # fmt: skip


# Checks on whole epochs: (case, folder) -> None. All of them run in one compiled program.


def epochs_obey(case, folder):
    compiled = epoch._cache_size()
    keys = jax.random.split(KEY, 1)

    def play(game=None, schedule=None, player=None):
        before, state = (start(case, player or case.adversary) for _ in range(2))
        return before, *epoch(state, case.positives, game or case.game, schedule or case.schedule, keys)

    before, after, metrics = play()
    assert all(np.isfinite(m).all() for m in metrics.values()) and bool(metrics["finite"].all())
    assert not equal(before.recommender, after.recommender)
    if case.learned:
        assert not equal(before.adversary, after.adversary)

    before, after, _ = play(schedule=replace(case.schedule, learning_rate=0.0))
    assert equal(before.recommender, after.recommender), "the adversary's steps moved the recommender"
    before, after, _ = play(schedule=replace(case.schedule, adversary_learning_rate=0.0))
    assert equal(before.adversary, after.adversary), "the recommender's steps moved the adversary"

    _, twin, metrics = play(game=replace(case.game, alpha=1.0))
    assert float(metrics["adversarial_loss"][0]) == float(metrics["adversary_loss"][0]) == 0
    _, again, _ = play(game=replace(case.game, alpha=1.0), player=case.other)
    assert equal(twin.recommender, again.recommender), "an adversary of weight 0 left a trace"
    if hasattr(case.game, "epsilon"):
        _, radius_zero, _ = play(game=replace(case.game, epsilon=0.0))
        assert equal(twin.recommender, radius_zero.recommender), "an adversary of radius 0 left a trace"
    assert epoch._cache_size() == compiled + 1, "the epoch was compiled more than once"

    store = Checkpoints(folder)
    store.save("state", 1, twin)
    assert equal(store.restore("state", twin), twin)


def zero_steps_leave_the_adversary(case, folder):
    schedule = replace(case.schedule, adversary_steps=0)
    one = jax.tree.map(lambda x: np.asarray(x)[0], start(case, case.adversary))
    assert equal(_move_adversary(one, case.game, schedule, case.batch, KEY)[:2], (one.adversary, one.adversary_opt))


def start(case, adversary) -> State:
    """The state of one seed before its first epoch."""
    return _begin(case.model, adversary, case.schedule, case.settings.alpha)


@jax.jit
def _begin(model, adversary, schedule, alpha):
    optimizers = schedule.recommender_optimizer(), schedule.adversary_optimizer()
    opts = (tx.init(player) for tx, player in zip(optimizers, (model, adversary), strict=True))
    state = State(model, adversary, *opts, model, jnp.float32(alpha), jnp.int32(0))
    return jax.tree.map(lambda x: jnp.array(x)[None], state)


ON_EPOCHS = (epochs_obey, zero_steps_leave_the_adversary)


# The reference: loops over pairs in NumPy.


def _softplus(x):
    return np.logaddexp(0.0, x)


def _softmax_loss(scores, batch):
    history = np.zeros_like(scores) if batch.history is None else np.asarray(batch.history)
    total, weights = 0.0, 0.0
    for row, targets, seen in zip(scores, np.asarray(batch.targets), history, strict=True):
        if targets.sum():
            normaliser = np.log(np.sum(np.exp(row[seen == 0])))
            weight = np.sqrt(targets.sum())
            total += weight * np.mean([normaliser - s for s in row[targets > 0]])
            weights += weight
    return total / max(weights, 1.0)


_PAIR = {
    "bpr": lambda p, n: np.mean([_softplus(x - p) for x in n]),
    "sampled-softmax": lambda p, n: np.log(np.exp(p) + np.exp(n).sum()) - p,
    "bce": lambda p, n: (_softplus(-p) + sum(_softplus(x) for x in n)) / (1 + len(n)),
}


def _positions_loss(case, users, items):
    """The loss of each position that something follows."""
    batch, n, total = case.batch, len(case.batch.targets), []
    if case.settings.attacked == "inputs":
        users = next_item.encode(case.model, users, batch, batch.key)
    for user, target, counts in zip(np.asarray(users, float), np.asarray(batch.targets), batch.weights, strict=True):
        if batch.items is None:
            scores = np.asarray(items, float) @ user
            own = np.log(np.exp(scores).sum()) - scores[target]
        else:
            others = [k for k in range(n, len(batch.items)) if batch.items[k] != target]
            scores = np.asarray(items[jnp.array(others)], float) @ user
            own = _PAIR[case.settings.loss](float(np.asarray(items[len(total)], float) @ user), scores)
        total.append(float(counts) * own)
    return np.sum(total) / max(float(np.sum(batch.weights)), 1.0)


def _rows_loss(case, users, items):
    if isinstance(case.batch, Positions):
        return _positions_loss(case, users, items)
    batch, users, items = case.batch, np.asarray(users, float), np.asarray(items, float)
    name = case.settings.loss
    if case.settings.under_attack == "features":
        listed = None if items.ndim == 2 else batch.items
        items = np.asarray(case.model.read(jnp.asarray(items, jnp.float32), listed), float)
    if name == "softmax":
        return _softmax_loss(np.array([[u @ i for i in items] for u in users]), batch)
    total = []
    for b, listed in enumerate(np.asarray(batch.items)):
        shared = case.settings.game == "apr"
        user = users[int(batch.users[b])] if shared and batch.history is None else users[b]
        scores = [user @ (items[i] if shared else items[b, k]) for k, i in enumerate(listed)]
        total.append(_PAIR[name](scores[0], np.array(scores[1:])))
    return np.mean(total)


def _ratings_loss(case, users, items):
    """Cross-entropy pair by pair."""
    users, items = np.asarray(users, float), np.asarray(items, float)
    logits = [u @ i + float(case.model.bias[...]) for u, i in zip(users, items, strict=True)]
    labels = np.asarray(case.batch.labels)
    return np.mean([_softplus(-z) if t else _softplus(z) for z, t in zip(logits, labels, strict=True)])


def _labels_loss(case, texts, none):
    """Cross-entropy text by text, by a head of plain matrix products."""
    vectors = np.asarray(texts, float)
    if case.settings.trainable is not None:
        mask = np.arange(3) < np.asarray(case.batch.lengths)[:, None]
        states = np.asarray(case.model.layers(texts.reshape(6, 3, 6) * mask[..., None], jnp.asarray(mask, jnp.float32)))
        vectors = np.stack([row[:n].mean(axis=0) for row, n in zip(states, case.batch.lengths, strict=True)])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    states = np.concatenate([vectors * vectors.shape[1] ** 0.5, case.batch.features], axis=1)
    for layer in case.model.head.hidden:
        states = np.maximum(states @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...]), 0)
    out = case.model.head.out
    logits = states @ np.asarray(out.kernel[...])[:, 0] + float(out.bias[0])
    chances = [1 / (1 + np.exp(-z)) for z in logits]
    labels = np.asarray(case.batch.labels)
    return np.mean([-np.log(p) if t else -np.log(1 - p) for p, t in zip(chances, labels, strict=True)])


def _domain_losses(case):
    """Softmax among the sampled items of the same domain, and minus the critic's cross-entropy, row by row."""
    batch, domains = case.batch, SIDE.item_domains.of_items
    placed = on_graph(case.model, batch.graph)
    scores, others, known = (np.asarray(x, float) for x in placed.without(batch.users, batch.items, batch.others))
    data = []
    for item, score, row, counts in zip(np.asarray(batch.items), scores, others, known, strict=True):
        listed = zip(np.asarray(batch.others), row, strict=True)
        rivals = [s for other, s in listed if domains[other] == domains[item] and other != item]
        data.append(counts * (np.log(np.exp(score) + np.exp(rivals).sum()) - score))
    told = []
    for domain in range(2):
        for user in np.asarray(batch.users):
            if placed.node_degree[domain * N_USERS + user] > 0:
                logit = float(case.adversary(placed.shared(jnp.array([user])))[domain, 0])
                told.append(_softplus(-logit) if domain == 0 else _softplus(logit))
    return np.sum(data) / max(known.sum(), 1.0), -np.mean(told)


def reference(case):
    """Data loss and adversarial loss of `case` at KEY; None where there is no simple other way."""
    game, settings, batch = case.game, case.settings, case.batch
    tower_key, other_key = jax.random.split(KEY)
    if settings.game in ("embedding", "apr", "text", "rating"):
        loss_of = {"text": _labels_loss, "rating": _ratings_loss}.get(settings.game, _rows_loss)

        @jax.jit
        def made(model, adversary, batch):
            rows = game.representations(model, batch, tower_key)
            if game.alternates:
                return rows, None
            return rows, game.attack(adversary, game.loss_of(model, batch, rows), *rows, other_key)

        rows, fakes = made(case.model, case.adversary, batch)
        if fakes is None:
            return loss_of(case, *rows), 0.0
        of_its_own = getattr(case.adversary, "virtual", False) or getattr(case.adversary, "reweighs", False)
        return loss_of(case, *rows), None if of_its_own else loss_of(case, *fakes)
    if settings.game == "irgan":
        scores = np.asarray(game.scores(case.model, batch, tower_key), float)
        verdicts = np.asarray(game.scores(case.adversary, batch, None), float)
        targets = np.asarray(batch.targets)
        if settings.ranker == "generator":
            items, weights = (np.asarray(x) for x in game.sample(jnp.asarray(scores), batch.targets, other_key))
            picked = np.take_along_axis(verdicts, items, 1)
            return _softmax_loss(scores, batch), -np.mean(weights * _softplus(picked))
        policy = jax.nn.softmax(jnp.asarray(verdicts), axis=1)
        fakes = np.asarray(draw_items(policy, settings.samples, other_key))
        total, weights = 0.0, 0.0
        for row, mine, drawn in zip(scores, targets, fakes, strict=True):
            real = np.mean([_softplus(-s) for s in row[mine > 0]]) if mine.sum() else 0.0
            total += np.sqrt(mine.sum()) * (real + np.mean([_softplus(row[i]) for i in drawn]))
            weights += np.sqrt(mine.sum())
        return _softmax_loss(scores, batch), total / max(weights, 1.0)
    if settings.game == "cfgan":
        tower_key, mask_key, zero_key = jax.random.split(KEY, 3)
        real = np.asarray(batch.targets)
        made = np.asarray(game.vectors(case.model, batch, tower_key), float)
        zeros = settings.zero_weight * float(game.zero_error(jnp.asarray(made), batch.targets, zero_key))
        shown = game.masked(jnp.asarray(made), batch.targets, mask_key)
        assert np.all(np.where(real > 0, np.isclose(shown, made), True)), "an observed entry was masked"
        logits = np.asarray(case.adversary(shown, batch.targets), float)
        fooling = {"minimax": -_softplus(logits), "non-saturating": _softplus(-logits)}.get(
            settings.critic_loss, -logits
        )
        data = np.mean([((1 - row[mine > 0]) ** 2).sum() for row, mine in zip(made, real, strict=True)])
        return data + zeros, fooling.mean() + zeros
    if settings.game == "domain":
        return _domain_losses(case)
    users, items, scores = (np.asarray(x, float) for x in game.scores(case.model, batch, KEY))
    scores = scores / (settings.temperature if settings.game == "advinfonce" else 1.0)
    log_q = np.asarray(game.hardness(case.adversary, *(jnp.asarray(x) for x in (users, items, scores))), float)
    np.testing.assert_allclose(np.exp(log_q).sum(axis=1), 1.0, rtol=1e-5)
    data, adversarial = [], []
    for row, weights in zip(scores, np.exp(log_q), strict=True):
        positive, negatives, k = row[0], row[1:], len(row) - 1
        data.append(_PAIR[settings.loss](positive, negatives))
        if settings.loss == "sampled-softmax":
            adversarial.append(np.log(np.exp(positive) + k * np.sum(weights * np.exp(negatives))) - positive)
        elif settings.loss == "bpr":
            adversarial.append(np.sum(weights * _softplus(negatives - positive)))
        else:
            adversarial.append((_softplus(-positive) + k * np.sum(weights * _softplus(negatives))) / (1 + k))
    return np.mean(data), np.mean(adversarial)
