"""The text game on token states: padding stays out of it, and cached lower layers change nothing."""

from dataclasses import replace

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_language import installed

from gan_rec.adversaries import FGM, PGD, VAT, Noise, everywhere
from gan_rec.data.samples import EncodedTexts, TextBatch, to_samples
from gan_rec.errors import UserError
from gan_rec.experiments import players
from gan_rec.experiments.labels import read_inputs, training_of
from gan_rec.experiments.settings import Settings
from gan_rec.games.labels import LabelLoss, TextGame
from gan_rec.language import load_encoder
from gan_rec.train.epoch import epoch, init
from gan_rec.train.tasks import predict

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def case():
    return contract.build("text", "tuned-text-classifier", "fgm", epsilon=0.3, head=(6, 4), trainable=1)


@pytest.mark.parametrize("attack", [Noise(), FGM(), VAT(), PGD(3)])
def test_padding_is_never_moved_and_takes_none_of_the_radius(case, attack):
    rows, _ = case.model.represent(case.batch)
    loss = LabelLoss(case.model, case.batch, "bce", (rows, rows[:0]))
    moved, none = attack(loss, rows, rows[:0], KEY, everywhere(0.3))
    offset = np.asarray(moved - rows).reshape(6, 3, 6)
    assert none.shape == (0, 18)
    padding = np.arange(3) >= np.asarray(case.batch.lengths)[:, None]
    assert padding.any() and (offset[padding] == 0).all()
    length, whole = np.linalg.norm(offset, axis=(1, 2)), np.linalg.norm(rows, axis=1)
    if not isinstance(attack, PGD):  # whose last step may stay inside
        np.testing.assert_allclose(length, 0.3 * whole, rtol=1e-4)


def test_lower_precision_moves_texts_the_same_way(case):
    """bfloat16 has eight bits: what is decided stays, and where the gradient leads too."""
    found = []
    for precision in ("float32", "bfloat16"):
        model = jax.tree.map(lambda x: x, case.model)
        model.precision = precision
        rows, none = model.represent(case.batch)
        loss = LabelLoss(model, case.batch, "bce", (rows, none))
        found.append((model.logits((rows, none), case.batch), FGM()(loss, rows, none, KEY, everywhere(0.3))[0] - rows))
    (exact, step), (rough, rough_step) = found
    np.testing.assert_allclose(rough, exact, atol=0.05)
    assert not np.array_equal(rough, exact) and rough.dtype == jnp.float32
    cosines = np.sum(step * rough_step, axis=1) / np.linalg.norm(step, axis=1) / np.linalg.norm(rough_step, axis=1)
    assert cosines.min() > 0.98


def test_what_stands_at_padding_does_not_matter(case):
    batch = case.batch
    garbage = jnp.where(jnp.arange(3)[None, :, None] < batch.lengths[:, None, None], batch.inputs, 7.0)
    one, other = (case.model.logits(case.model.represent(b), b) for b in (batch, batch._replace(inputs=garbage)))
    np.testing.assert_array_equal(one, other)


def test_labels_that_are_hidden_teach_nothing():
    """A batch has texts with and without a label; the loss is that of the labelled half, the divergence of all."""
    rng = np.random.default_rng(0)
    known = np.arange(20) < 4
    labels = (np.arange(20) % 2).astype(np.int32)
    vectors, none = rng.normal(size=(20, 5)).astype(np.float32), np.zeros((20, 2), np.float32)
    texts = EncodedTexts(vectors, np.zeros(20, np.int32), none, labels, known)
    game = TextGame(semi_supervised=True)
    batch = game.draw(to_samples(texts), jnp.arange(10, 16), KEY)
    assert batch.weights.tolist() == [0.0] * 6 + [1.0] * 6
    np.testing.assert_array_equal(batch.inputs[:6], texts.inputs[10:16])
    drawn = {tuple(row) for row in np.asarray(batch.inputs[6:])}
    assert drawn <= {tuple(row) for row in texts.inputs[:4]}

    model = contract.build("text", "text-classifier", head=(6, 4)).model
    wrong = batch._replace(labels=batch.labels.at[:6].set(1 - batch.labels[:6]))
    rows = (batch.inputs, batch.inputs[:0])
    assert LabelLoss(model, batch, "bce", rows)(*rows) == LabelLoss(model, wrong, "bce", rows)(*rows)
    moved = (batch.inputs.at[0].add(1.0), rows[1])
    assert LabelLoss(model, batch, "bce", rows).divergence(*moved) > 0


def long_texts(n=70, longest=32):
    """Texts of 1 to 32 tokens, as states of 6 numbers; what stands at padding is no zero."""
    rng = np.random.default_rng(3)
    states, lengths = rng.normal(size=(n, longest, 6)).astype(np.float32), rng.integers(1, longest + 1, n)
    labels = (np.arange(n) % 2).astype(np.int32)
    return EncodedTexts(states, lengths.astype(np.int32), np.zeros((n, 2), np.float32), labels, np.ones(n, bool))


def test_batches_are_cut_to_what_their_texts_need(case):
    samples = to_samples(long_texts())
    batch = samples.batch(jnp.arange(8))
    assert batch.widths == (8, 16, 32)
    for longest, width in ((3, 8), (8, 8), (9, 16), (17, 32), (32, 32)):
        cut = batch._replace(lengths=jnp.full(8, 1).at[0].set(longest))
        assert cut.at_width(lambda b: jnp.asarray(b.inputs.shape[1])) == width
    offsets = jnp.arange(8 * 32 * 6.0).reshape(8, -1)
    cut = batch._replace(offsets=(offsets, offsets[:0])).cut(16)
    np.testing.assert_array_equal(cut.offsets[0].reshape(8, 16, 6), offsets.reshape(8, 32, 6)[:, :16])


def test_an_epoch_takes_every_text_once_and_pads_little():
    samples, game = to_samples(long_texts(700)), TextGame()
    first, other = (np.asarray(game.order(samples, 8, jax.random.key(seed))) for seed in (0, 1))
    assert sorted(first[:700]) == list(range(700)) and sorted(first[700:]) == list(range(700, 768))
    assert (first != other).any()
    left = [np.asarray(game.order(samples, 8, jax.random.key(seed)))[696:700] for seed in range(20)]
    assert 8 < np.mean(np.asarray(samples.lengths)[np.stack(left)]) < 25  # what fills no batch is not the longest
    lengths = np.asarray(samples.lengths)[first[:696]].reshape(-1, 8)
    assert lengths.max(axis=1).mean() < 1.15 * lengths.mean()  # in a random order it is 1.8
    assert np.abs(np.corrcoef(lengths.mean(axis=1), np.arange(87))[0, 1]) < 0.4  # short ones do not come first


@pytest.mark.long
@pytest.mark.parametrize("adversary", ["fgm", "free"])
def test_cut_batches_train_as_whole_ones_do(case, adversary, monkeypatch):
    """Padding has no part in anything, so an epoch ends with the same weights."""
    samples, game = to_samples(long_texts()), replace(case.game, reuses=adversary == "free")
    maker = players.make_adversary(replace(case.settings, adversary=adversary, dim=6), 0, 0)

    def end():
        keys = jax.random.split(KEY, 2)
        state = init(case.makers[0], maker, case.schedule, keys)
        return jax.jit(epoch.__wrapped__)(state, samples, game, case.schedule, keys)[0].recommender

    cut = end()
    monkeypatch.setattr(TextBatch, "widths", ())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), cut, end())


def test_predictions_come_in_the_order_of_the_texts(case):
    texts = long_texts(200)
    classifiers = jax.tree.map(lambda x: x[None], case.model)
    batch = to_samples(texts).batch(jnp.arange(200))
    whole = jax.nn.sigmoid(case.model.logits(case.model.represent(batch), batch))
    np.testing.assert_allclose(predict(classifiers, to_samples(texts))[0], whole, atol=1e-5)


@pytest.fixture(scope="module")
def minilm():
    installed("minilm")
    return load_encoder("minilm", cache=False)


TEXTS = ["A soft dress.", "", "It fell apart after one wash, and the colour was not what I saw in the picture."]


def tuned(**options) -> Settings:
    return Settings(game="text", recommender="tuned-text-classifier", **options).resolved()


def test_layers_over_cached_states_are_the_whole_model(minilm):
    vectors = minilm.encode(TEXTS, progress=False)
    inputs = read_inputs(minilm, TEXTS, tuned(trainable=2), progress=False)
    assert inputs.values.dtype == np.float16 and inputs.layers.depth == 2
    mask = (np.arange(inputs.values.shape[1]) < inputs.lengths[:, None]).astype(np.float32)
    states = np.asarray(inputs.layers(jnp.asarray(inputs.values, jnp.float32), jnp.asarray(mask)))
    means = np.stack([row[:n].mean(axis=0) for row, n in zip(states, inputs.lengths, strict=True)])
    np.testing.assert_allclose(means / np.linalg.norm(means, axis=1, keepdims=True), vectors, atol=2e-3)


def test_cached_states_are_read_again(minilm, tmp_path, monkeypatch):
    from gan_rec.language import encode

    encoder = replace(minilm, cache=tmp_path)
    first, lengths = encoder.states(TEXTS, 1, 16, progress=False)
    assert lengths.tolist() == [6, 2, 16] and first.shape == (3, 16, 384)
    monkeypatch.setattr(encode, "_lower_states", None)
    np.testing.assert_array_equal(encoder.states(TEXTS, 1, 16, progress=False)[0], first)
    with pytest.raises(TypeError):
        encoder.states(TEXTS, 2, 16, progress=False)
    monkeypatch.undo()
    next(tmp_path.glob("states-*.npy")).write_bytes(b"torn")
    np.testing.assert_array_equal(encoder.states(TEXTS, 1, 16, progress=False)[0], first)


def test_all_layers_and_too_many(minilm):
    inputs = read_inputs(minilm, TEXTS, tuned(trainable=7), progress=False)
    assert inputs.values.dtype == np.int32 and inputs.layers is minilm.model
    with pytest.raises(UserError, match="trainable must be 1 to 6 layers, or 7 for all"):
        read_inputs(minilm, TEXTS, tuned(trainable=8), progress=False)
    with pytest.raises(UserError, match="adversary 'generator' moves sentence vectors"):
        tuned(adversary="generator")


@pytest.mark.long
def test_a_long_epoch_says_how_far_it_is(case):
    heard = []

    class Observer:
        def begin(self, phase, epoch, epochs): ...

        def tell(self, rows): ...

        def pulse(self, epochs):
            heard.append(round(epochs, 3))

    settings = replace(case.settings, batch_size=4, seeds=2, epochs=2, refit=False)
    training = training_of(settings, case.game, *case.makers, (Observer(),), None)
    training.fit(long_texts(), long_texts())
    jax.effects_barrier()
    # 70 texts in batches of 4 are 18 steps, of which steps 0 and 10 speak; each of the 2 seeds is half of an epoch.
    assert heard == [0, 0.278, 0.5, 0.778, 1, 1.278, 1.5, 1.778]
