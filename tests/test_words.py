"""Words replaced by their neighbours: inside the ball, readable, worse than drawn at random; and models that say so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_language import installed

from gan_rec.data.samples import TextBatch
from gan_rec.errors import UserError
from gan_rec.language import load_encoder
from gan_rec.recommenders.text_classifier import TextClassifier, TunedTextClassifier
from gan_rec.robustness.words import Reading, in_pieces, logits_of_words, neighbours, substitute, word_shares

TEXTS = [
    "This is a beautiful dress, I love the soft fabric and the bright colour.",
    "It fell apart after one wash and looks cheap.",
    "",
    "The shirt is too small, and the sleeves are far too long for me; very sad about it.",
]
LABELS = np.array([1, 0, 1, 0])


@pytest.fixture(scope="module")
def encoder():
    installed("minilm")
    return load_encoder("minilm", cache=False)


@pytest.fixture(scope="module")
def head():
    return TextClassifier(384, head=(8,), rngs=nnx.Rngs(0))


def test_neighbours_are_words_and_near(encoder):
    ids = {word: encoder.tokenizer.token_to_id(word) for word in ("beautiful", "dress", "[CLS]", ",")}
    found = neighbours(encoder, np.array(list(ids.values())), 5, 0.4)
    words = [[encoder.tokenizer.id_to_token(n) for n in row if n >= 0] for row in found]
    assert "gorgeous" in words[0] or "lovely" in words[0]
    assert "dresses" in words[1] and not words[2] and not words[3]  # signs have none
    assert all(word.isalpha() and own not in row for own, row in zip(ids, words, strict=True) for word in row)


def test_what_is_read_without_an_attack_is_what_the_classifier_says(encoder, head):
    tokens = encoder.tokens(TEXTS)
    ids, mask = tokens.padded(np.arange(4), 32)
    words = encoder.model.words(jnp.asarray(ids))
    reading = Reading(encoder.pooling, encoder.normalised)
    vectors = jnp.asarray(encoder.encode(TEXTS, progress=False))
    expected = head.head(vectors, jnp.zeros((4, 0)))
    np.testing.assert_allclose(logits_of_words(encoder.model, head, words, mask, reading), expected, atol=1e-4)
    for layers in (encoder.model.stack.upper(4), encoder.model):  # the last two, and all: untrained they are the same
        tuned = TunedTextClassifier(384, layers, head=(8,), rngs=nnx.Rngs(0))
        np.testing.assert_allclose(logits_of_words(encoder.model, tuned, words, mask, reading), expected, atol=1e-4)


@pytest.mark.long
def test_a_model_that_was_trained_as_a_whole_is_attacked_by_its_own_words(encoder):
    own = jax.tree.map(lambda x: x, encoder.model)
    own.word_embedding = nnx.Param(encoder.model.word_embedding[...][::-1] * 0.5)
    tuned = TunedTextClassifier(384, own, head=(8,), rngs=nnx.Rngs(0))
    ids, lengths = encoder.padded(TEXTS, 32)
    batch = TextBatch(jnp.asarray(ids), jnp.asarray(lengths), jnp.zeros((4, 0)), jnp.zeros(4), jnp.ones(4))
    said = jax.nn.sigmoid(tuned.logits(tuned.represent(batch), batch))
    np.testing.assert_allclose(substitute(encoder, tuned, TEXTS, LABELS, 0.1).before, said, atol=1e-4)


@pytest.mark.long
def test_the_attack_stays_in_its_ball_and_hurts_more_than_chance(encoder, head):
    found = substitute(encoder, head, TEXTS, LABELS, 0.3, least=0.3)
    drawn = substitute(encoder, head, TEXTS, LABELS, 0.3, least=0.3, choose="random")
    assert (found.moved <= 0.3 + 1e-5).all() and (drawn.moved <= 0.3 + 1e-5).all()
    assert found.changed[2] == 0 and found.texts[2] == "" and found.changed.sum() > 2

    def loss(p):
        return -np.log(np.where(LABELS == 1, p, 1 - p))

    assert (loss(found.probabilities) >= loss(found.before) - 1e-6).all()
    assert loss(found.probabilities).mean() > loss(drawn.probabilities).mean() + 1e-4
    # What a person reads gives what was measured.
    vectors = jnp.asarray(encoder.encode(found.texts, progress=False))
    again = jax.nn.sigmoid(head.head(vectors, jnp.zeros((4, 0))))
    np.testing.assert_allclose(again, found.probabilities, atol=1e-3)


def test_what_a_classifier_does_not_read_stays(encoder, head):
    text = TEXTS[0] + " Unread words end it."
    found = substitute(encoder, head, [text], LABELS[:1], 0.3, least=0.3, longest=12)
    read = encoder.padded([text], 12)[0][0]
    assert read[11] == encoder.tokenizer.token_to_id("[SEP]")
    assert found.changed[0] > 0 and found.texts[0].endswith(" fabric and the bright colour. Unread words end it.")
    cut = TEXTS[0][: TEXTS[0].index(" fabric")]
    again = head.head(jnp.asarray(encoder.encode([cut], progress=False)), jnp.zeros((1, 0)))
    np.testing.assert_allclose(found.before, jax.nn.sigmoid(again), atol=1e-3)


@pytest.mark.long
def test_words_of_a_byte_level_vocabulary_have_neighbours():
    installed("smollm2")
    decoder = load_encoder("smollm2", cache=False)
    ids = np.array([decoder.tokenizer.token_to_id(word) for word in ("\u0120beautiful", "able", ".")])
    found = neighbours(decoder, ids, 5, 0.2)
    words = [decoder.tokenizer.id_to_token(n) for n in found[0] if n >= 0]
    assert len(words) > 1 and all(word.startswith("\u0120") for word in words) and (found[1:] == -1).all()


def test_words_in_pieces_are_no_words(encoder, head):
    text = "a beautifulness of dresses, unbuttonable"
    tokens = encoder.tokens(["one", text])
    split = in_pieces(encoder, tokens)
    names = [encoder.tokenizer.id_to_token(int(n)) for n in tokens.ids]
    assert [name for name, own in zip(names, split, strict=True) if own][0] == "beautiful"
    assert not split[names.index("one")] and not split[names.index("dresses")]
    found = substitute(encoder, head, [text], LABELS[:1], 2.0, least=0.2)
    assert found.changed[0] > 0 and "beautifulness" in found.texts[0] and "unbuttonable" in found.texts[0]


@pytest.mark.long
def test_words_in_pieces_of_a_byte_level_vocabulary():
    installed("smollm2")
    decoder = load_encoder("smollm2", cache=False)
    tokens = decoder.tokens(["a unbeautifulness\nof dresses.", "of"])
    names = [decoder.tokenizer.id_to_token(int(n)) for n in tokens.ids]
    split = dict(zip(names, in_pieces(decoder, tokens), strict=True))
    assert split["\u0120un"] and not split["ness"] and not split["\u0120dresses"] and not split["a"]


def test_a_model_that_reads_more_than_texts_is_not_attacked_by_texts(encoder):
    for more in (TextClassifier(384, features=2, head=(), rngs=nnx.Rngs(0)),
                 TextClassifier(384, features=1, scored=True, rngs=nnx.Rngs(0))):  # fmt: skip
        with pytest.raises(UserError, match="this model reads further columns too"):
            substitute(encoder, more, TEXTS, LABELS, 0.1)
        with pytest.raises(UserError, match="this model reads further columns too"):
            word_shares(encoder, more, TEXTS, LABELS)


@pytest.mark.long
def test_a_ball_of_radius_0_changes_nothing(encoder, head):
    found = substitute(encoder, head, TEXTS, LABELS, 0.0)
    assert found.texts == TEXTS and (found.changed == 0).all() and (found.moved == 0).all()
    np.testing.assert_allclose(found.probabilities, found.before, atol=1e-6)


def test_shares_of_words_are_those_of_the_gradient(encoder, head):
    (first, _, empty, _) = word_shares(encoder, head, TEXTS, LABELS)
    assert [token for token, _ in first[:5]] == ["[CLS]", "this", "is", "a", "beautiful"]
    assert sum(share for _, share in first) == pytest.approx(1, abs=1e-5) and len(empty) == 2
    ids, mask = encoder.tokens(TEXTS[:1]).padded(np.array([0]), 32)
    words = encoder.model.words(jnp.asarray(ids))
    reading = Reading(encoder.pooling, encoder.normalised)

    def logit(words):
        return logits_of_words(encoder.model, head, words, mask, reading)[0]

    # The slope of the loss is that of the logit times a number, so the shares are the same; by differences.
    way = jnp.zeros(words.shape).at[0, 4].set(jax.grad(logit)(words)[0, 4])
    size = 1e-3 / jnp.linalg.norm(way)
    along = (logit(words + size * way) - logit(words - size * way)) / 2e-3
    total = jnp.linalg.norm(jax.grad(logit)(words) * mask[..., None])
    assert float(along / total) ** 2 == pytest.approx(first[4][1], rel=0.05)
