"""An attack that a person can read: words are replaced by words of like meaning until the label is told wrong."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gan_rec import losses
from gan_rec.adversaries.ball import direction
from gan_rec.data.samples import TextBatch
from gan_rec.language.encode import Encoder
from gan_rec.language.tokens import Tokens, batches, bucket
from gan_rec.language.transformer import Stack, pool
from gan_rec.recommenders.text_classifier import TextClassifier, TunedTextClassifier, check_text_alone

_TOKENS_IN_BATCH = 2048
_MARK = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"


class Reading(NamedTuple):
    """How a language model's states become the vector of a text."""

    pooling: str
    normalised: bool


def logits_of_words(
    model, classifier: TextClassifier, words: Float[Array, "B T D"], mask: Float[Array, "B T"], how: Reading
) -> Float[Array, " B"]:
    """Log-odds from word embeddings, through all of the language model and the classifier on it.

    Args:
        model: the language model as it was before training.
        classifier: of one seed, without further columns.
        words: word embeddings.
        mask: 1 at tokens.
        how: of the sentence vectors that a classifier without layers of its own reads.
    """
    if not isinstance(classifier, TunedTextClassifier):
        vectors = pool(model(words, mask), mask, how.pooling)
        if how.normalised:
            vectors = direction(vectors)
        inputs, rows = vectors, vectors
    elif isinstance(classifier.layers, Stack):
        below = model.stack.depth - classifier.layers.depth
        inputs = model.stack.lower(below)(model.enter(words), mask)
        rows = (inputs * mask[..., None]).reshape(len(words), -1)
    else:
        inputs, rows = words, (words * mask[..., None]).reshape(len(words), -1)
    lengths = jnp.sum(mask, axis=1).astype(jnp.int32)
    none = jnp.zeros((len(words), 0))
    batch = TextBatch(inputs, lengths, none, jnp.zeros(len(words)), jnp.ones(len(words)))
    return classifier.logits((rows, rows[:0]), batch)


def _as_trained(encoder: Encoder, classifier: TextClassifier) -> Encoder:
    """With the language model that the classifier has trained, if it has trained all of it, word embeddings too."""
    if isinstance(classifier, TunedTextClassifier) and not isinstance(classifier.layers, Stack):
        return dataclasses.replace(encoder, model=classifier.layers)
    return encoder


def neighbours(encoder: Encoder, tokens: Int[np.ndarray, " n"], k: int, least: float) -> Int[np.ndarray, "n k"]:
    """The k words nearest to each token by the cosine of their embeddings, -1 where less than `least`.

    Only whole words of letters have neighbours and are some. A word's other forms (its case, its plural) are mostly
    among them, its opposites sometimes too: embeddings of words do not know better.
    """
    names, marked = _names(encoder)
    # What has no mark where others have one begins a text or ends a word.
    bare = [name.removeprefix(_MARK) if name.startswith(_MARK) or not marked else "" for name in names]
    letters = np.array([name.isalpha() and name.isascii() and len(name) > 1 for name in bare])
    table = np.asarray(encoder.model.word_embedding[...])[: len(names)]
    table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    found = np.full((len(tokens), k), -1)
    for first in range(0, len(tokens), 1024):
        own = tokens[first : first + 1024]
        cosines = np.where(letters, table[own] @ table.T, -1.0)
        cosines[np.arange(len(own)), own] = -1.0
        best = np.argsort(-cosines, axis=1)[:, :k]
        near = np.take_along_axis(cosines, best, axis=1) >= least
        found[first : first + 1024] = np.where(near & letters[own][:, None], best, -1)
    return found


def _names(encoder: Encoder) -> tuple[list[str], bool]:
    """The tokens of the vocabulary, and whether it is a byte-level one, which marks words that follow a space."""
    names = [encoder.tokenizer.id_to_token(n) or "" for n in range(encoder.tokenizer.get_vocab_size())]
    return names, any(name.startswith(_MARK) for name in names)


def in_pieces(encoder: Encoder, tokens: Tokens) -> Bool[np.ndarray, " total"]:
    """Whether the token after each token of a text goes on with its word, so that it is no whole word."""
    names, marked = _names(encoder)
    # Byte-level vocabularies write blanks and control characters as these letters, the mark among them.
    blanks = {chr(n) for n in range(0x100, ord(_MARK) + 1)}
    goes_on = np.array(
        [
            name.startswith("##") or (marked and name[:1].isalpha() and name[0] not in blanks)
            for name in names
        ]
    )  # fmt: skip
    found = np.append(goes_on[tokens.ids[1:]], False)[: len(tokens.ids)]
    found[tokens.starts[1:][tokens.lengths() > 0] - 1] = False  # what follows is another text
    return found


@dataclass(frozen=True)
class Substituted:
    """N texts after an attack.

    Args:
        texts: as a person would read them.
        probabilities: of the label 1, before and after.
        changed: words replaced in each.
        moved: how far the word embeddings moved, relative to their length.
    """

    texts: list[str]
    before: Float[np.ndarray, " N"]
    probabilities: Float[np.ndarray, " N"]
    changed: Int[np.ndarray, " N"]
    moved: Float[np.ndarray, " N"]


def substitute(
    encoder: Encoder,
    classifier: TextClassifier,
    texts: list[str],
    labels: Int[np.ndarray, " N"],
    radius: float,
    *,
    choose: str = "gradient",
    k: int = 8,
    least: float = 0.5,
    longest: int | None = None,
    seed: int = 0,
) -> Substituted:
    """Replace words by their neighbours, as many as a ball around the word embeddings allows.

    The ball is the one of attacks on word embeddings: the embeddings of a text, taken as one vector, move by at most
    `radius` times their length. Replacements are chosen by the first-order change of the loss (HotFlip, Ebrahimi et
    al., ACL 2018, section 3), half of the budget at a time. Where they did not raise the loss the text stays. Words
    that the language model reads in pieces stay too.

    Args:
        encoder: the language model.
        classifier: of one seed, without further columns.
        texts, labels: N of each.
        radius: of the ball.
        choose: "gradient", or "random": words and neighbours drawn, to compare with.
        k, least: neighbours of a word, and their least cosine.
        longest: the most tokens that the classifier reads of a text (`TextModel.longest`); None: as many as the
            language model can. What comes after them stays as it is.
        seed: of what is drawn.

    Raises:
        UserError: the classifier reads further columns, or word scores.
    """
    check_text_alone(classifier.head.n_inputs - encoder.dim)
    encoder = _as_trained(encoder, classifier)
    tokens = encoder.tokens(texts, longest)
    known, where = np.unique(tokens.ids, return_inverse=True)
    near = neighbours(encoder, known, k, least)[where]  # of every token, in the order of `tokens.ids`
    near = np.where(in_pieces(encoder, tokens)[:, None], -1, near)
    made: list = [None] * len(texts)
    key, how = jax.random.key(seed), Reading(encoder.pooling, encoder.normalised)
    for which, length in batches(tokens.lengths(), _TOKENS_IN_BATCH, encoder.longest):
        ids, mask = tokens.padded(which, length)
        candidates = np.full((*ids.shape, k), -1)
        for row, n in enumerate(which):
            if n >= 0:
                own = near[tokens.starts[n] : tokens.starts[n + 1]][:length]
                candidates[row, : len(own)] = own
        key, own_key = jax.random.split(key)
        own_labels = np.where(which >= 0, labels[which], 0).astype(np.float32)
        found = _replace_words(
            encoder.model, classifier, ids, mask, candidates, own_labels, radius, own_key, how=how, choose=choose
        )
        for row, (n, *each) in enumerate(zip(which, *map(np.asarray, found), strict=True)):
            if n >= 0:
                made[n] = (*each, ids[row], int(mask[row].sum()))
    return _collect(encoder, texts, made)


def word_shares(
    encoder: Encoder,
    classifier: TextClassifier,
    texts: list[str],
    labels: Int[np.ndarray, " N"],
    longest: int | None = None,
) -> list[list[tuple[str, float]]]:
    """How an attack on word embeddings (FGM) spends its radius: of each text its tokens, and each one's share.

    Shares are those of the squared length of the move, so they sum to 1; see `substitute` for the arguments.
    """
    check_text_alone(classifier.head.n_inputs - encoder.dim)
    encoder = _as_trained(encoder, classifier)
    tokens = encoder.tokens(texts, longest)
    width = bucket(int(tokens.lengths().max(initial=1)), encoder.longest)
    ids, mask = tokens.padded(np.arange(len(texts)), width)
    how = Reading(encoder.pooling, encoder.normalised)
    slopes = np.asarray(_slopes(encoder.model, classifier, ids, mask, labels.astype(np.float32), how=how))
    squares = np.sum(slopes**2, axis=2)
    shares = squares / np.maximum(squares.sum(axis=1, keepdims=True), 1e-30)
    return [
        [(encoder.tokenizer.id_to_token(int(t)), float(s)) for t, s in zip(row[:n], share, strict=False)]
        for row, share, n in zip(ids, shares, mask.sum(axis=1).astype(int), strict=True)
    ]


@partial(jax.jit, static_argnames="how")
def _slopes(model, classifier, ids, mask, labels, *, how: Reading) -> Float[Array, "B T D"]:
    def loss(words):
        return jnp.sum(losses.label_rows(logits_of_words(model, classifier, words, mask, how), labels))

    return jax.grad(loss)(model.word_embedding[...][ids]) * mask[..., None]


@partial(jax.jit, static_argnames=("how", "choose"))
def _replace_words(model, classifier, ids, mask, candidates, labels, radius, key, *, how: Reading, choose: str):
    """Attacked ids, probabilities before and after, words changed, and how far they moved."""
    table = model.word_embedding[...]
    clean = table[ids]
    budget = (radius**2) * jnp.sum((clean * mask[..., None]) ** 2, axis=(1, 2))

    def loss(words):
        return losses.label_rows(logits_of_words(model, classifier, words, mask, how), labels)

    now, spent = ids, jnp.zeros(len(ids))
    for part, own_key in zip((0.5, 1.0), jax.random.split(key), strict=True):
        offsets = jnp.where((candidates >= 0)[..., None], table[candidates] - clean[:, :, None], 0.0)
        if choose == "gradient":
            slope = jax.grad(lambda words: jnp.sum(loss(words)))(table[now])
            gains = jnp.einsum("btkd,btd->btk", offsets, slope)
        else:
            gains = jax.random.uniform(own_key, candidates.shape)
        gains = jnp.where((candidates >= 0) & (now == ids)[..., None], gains, -jnp.inf)
        best = jnp.argmax(gains, axis=2, keepdims=True)
        gain, swap, cost = (
            jnp.take_along_axis(x, best, axis=2)[..., 0] for x in (gains, candidates, jnp.sum(offsets**2, axis=3))
        )
        taken = _afford(gain, cost, part * budget - spent)
        now, spent = jnp.where(taken, swap, now), spent + jnp.sum(jnp.where(taken, cost, 0.0), axis=1)
    before, after = loss(clean), loss(table[now])
    worse = after > before if choose == "gradient" else jnp.ones(len(ids), bool)
    now = jnp.where(worse[:, None], now, ids)
    chances = [jax.nn.sigmoid(logits_of_words(model, classifier, table[x], mask, how)) for x in (ids, now)]
    total = jnp.sum((clean * mask[..., None]) ** 2, axis=(1, 2))
    moved = jnp.sqrt(jnp.sum((table[now] - clean) ** 2, axis=(1, 2)) / jnp.maximum(total, 1e-12))
    return now, *chances, jnp.sum(now != ids, axis=1), moved


def _afford(gain: Float[Array, "B T"], cost: Float[Array, "B T"], left: Float[Array, " B"]) -> Bool[Array, "B T"]:
    """The places of highest gain that are above 0 and together cost no more than what is left."""
    order = jnp.argsort(-gain, axis=1)
    wanted = jnp.take_along_axis(gain, order, axis=1) > 0
    costs = jnp.where(wanted, jnp.take_along_axis(cost, order, axis=1), 0.0)

    def pay(left, each):  # a place that is too dear is passed over, a cheaper one after it is not
        cost, wanted = each
        taken = wanted & (cost <= left)
        return left - jnp.where(taken, cost, 0.0), taken

    _, taken = jax.lax.scan(pay, left, (costs.T, wanted.T))
    return jnp.zeros(gain.shape, bool).at[jnp.arange(len(gain))[:, None], order].set(taken.T)


def _collect(encoder: Encoder, texts: list[str], made: list) -> Substituted:
    said = []
    for text, (now, *_, ids, n) in zip(texts, made, strict=True):
        if np.array_equal(now, ids):
            said.append(text)
            continue
        read = encoder.tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"))  # as it was: cut
        rest = text[max(end for _, end in read.offsets) :]
        said.append(encoder.tokenizer.decode(now[:n].tolist(), skip_special_tokens=True) + rest)
    columns = [np.array([row[i] for row in made]) for i in (1, 2, 3, 4)]
    return Substituted(said, *columns)
