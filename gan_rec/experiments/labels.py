"""The article's own job: will this text be recommended? A classifier against an adversary, beside its twin."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from gan_rec.adversaries import ATTACKS, everywhere
from gan_rec.data.labelled import Features, LabelledTexts, check_part, hide_labels
from gan_rec.data.samples import EncodedTexts
from gan_rec.errors import UserError
from gan_rec.evaluation.labels import METRICS, UAUC, LabelEvaluation, best_threshold
from gan_rec.experiments import choices, players
from gan_rec.experiments.settings import Settings, TextOptions
from gan_rec.experiments.words import word_counts, word_scores
from gan_rec.games.labels import LabelLoss
from gan_rec.language.encode import Encoder, load_encoder
from gan_rec.train.fit import Fit, Observer, Store, Training
from gan_rec.train.tasks import Labelled, Labelling, for_each_text, predict

ATTACKED_BY = ("noise", "fgm", "pgd")
ATTACKED_TEXTS = 500  # of a classifier that reads tokens: an attack on a text costs as much as some steps of training


@dataclass(frozen=True)
class Inputs:
    """What a classifier reads of N texts, and the layers of the language model that are trained with it.

    Args:
        values: sentence vectors `[N, D]`, token states `[N, T, D]`, or token ids `[N, T]`.
        lengths: tokens of each text; 0 for sentence vectors.
        dim: D.
        layers: the trained layers, or None.
        pooling: over token states.
    """

    values: np.ndarray
    lengths: Int[np.ndarray, " N"]
    dim: int
    layers: nnx.Module | None = None
    pooling: str = "mean"


def reader(settings: Settings) -> Encoder:
    """The language model that reads the texts; for a head on frozen sentence vectors these have length 1."""
    encoder = load_encoder(settings.encoder, pooling=settings.pooling)
    if settings.trainable is not None or encoder.normalised:
        return encoder
    return dataclasses.replace(encoder, normalised=True)


def read_inputs(encoder: Encoder, texts: list[str], settings: Settings, *, progress: bool) -> Inputs:
    """The texts as the recommender of `settings` reads them.

    Raises:
        UserError: more layers are to be trained than there are.
    """
    if settings.trainable is None:
        vectors = encoder.encode(texts, progress=progress)
        return Inputs(vectors, np.zeros(len(texts), np.int32), vectors.shape[1])
    depth, longest = encoder.model.stack.depth, min(settings.longest, encoder.longest)
    if settings.trainable > depth + 1:
        raise UserError(
            f"trainable must be 1 to {depth} layers, or {depth + 1} for all of the language model, got "
            f"{settings.trainable}"
        )
    if settings.trainable == depth + 1:
        ids, lengths = encoder.padded(texts, longest)
        return Inputs(ids, lengths, encoder.dim, encoder.model, encoder.pooling)
    below = depth - settings.trainable
    states, lengths = encoder.states(texts, below, longest, progress=progress)
    return Inputs(states, lengths, encoder.dim, encoder.model.stack.upper(below), encoder.pooling)


@dataclass(frozen=True)
class LabelSplit:
    """One train, validation and test part of the same texts."""

    train: Labelled
    valid: Labelled
    test: Labelled
    rows: tuple[Int[np.ndarray, " n"], ...]  # of train, valid and test in the table

    def to_attack(self) -> "LabelSplit":
        """The same with that part of test that attacks are measured on: all, or of texts of many tokens a sample."""
        if not self.test.of_tokens or len(self.test) <= ATTACKED_TEXTS:
            return self
        drawn = np.sort(np.random.default_rng(0).permutation(len(self.test))[:ATTACKED_TEXTS])
        return dataclasses.replace(self, test=self.test.take(drawn), rows=(*self.rows[:2], self.rows[2][drawn]))


def label_settings(settings: Settings, task: str = "labels") -> Settings:
    """Settings of a task of labels: where nothing else is said, its game and the first recommender that plays it.

    Raises:
        UserError: another game or recommender, a metric that labels do not have, or any other mistake.
    """
    blank, game = Settings(), choices.OF_LABELS[task]
    if settings.game == blank.game:
        settings = dataclasses.replace(settings, game=game)
    if settings.game != game:
        raise UserError(f"game {settings.game!r} does not play for {task}; allowed: {game}")
    if settings.recommender is not None and settings.recommender not in (able := choices.players_of(game)):
        raise UserError(f"recommender {settings.recommender!r} does not tell labels; allowed: {', '.join(able)}")
    settings = settings.resolved()
    allowed = METRICS if task == "labels" else (*METRICS, UAUC)
    choices.one_of("metric to select on", settings.select_on, allowed)
    return settings


def splits(
    data: LabelledTexts,
    inputs: Inputs,
    options: TextOptions,
    *,
    test: float,
    valid: float,
    seed: int,
    folds: int = 0,
) -> Iterator[LabelSplit]:
    """The parts of one split, or of every fold.

    A single split is that of scikit-learn's `train_test_split(test_size=test, random_state=seed)`. Validation is cut
    from the training part in the same way. Labels are hidden from training and from the refit; validation, which
    chooses epochs and thresholds, reads all of its own.

    Args:
        data: N texts.
        inputs: what the classifier reads of them.
        options: the part of the labels that is seen.
        test: part of the texts; with folds each of them is tested once instead.
        valid: part of what remains.
        seed: of all that is drawn.
        folds: how many; 0: a single split.

    Raises:
        UserError: too few texts of a class, or a number that is not allowed.
    """
    check_parts(data.labels, options, folds)
    counts = word_counts(data.texts) if options.word_scores else None
    for train_rows, test_rows in _outer(data.labels, folds, test, seed):
        permuted = np.random.RandomState(seed).permutation(len(train_rows))
        n_valid = int(np.ceil(valid * len(train_rows)))
        parts = train_rows[permuted[n_valid:]], train_rows[permuted[:n_valid]], test_rows
        for name, rows in zip(("training", "validation", "test"), parts, strict=True):
            if len(np.unique(data.labels[rows])) < 2:
                raise UserError(
                    f"the {name} part of {len(rows)} texts has labels of one kind only: {len(data)} texts are too few"
                )
        # Validation's labels choose; but a refit learns from no more of them than training does.
        *seen, held_out = map(data.take, parts)
        tables = (*(hide_labels(each, options.labelled, seed) for each in seen), held_out)
        features = Features(tables[0].columns)
        columns = [features(table.columns) for table in tables]
        if options.word_scores:
            scores = _word_scores([counts[rows] for rows in parts], tables[0], seed)
            columns = [np.column_stack(each).astype(np.float32) for each in zip(columns, scores, strict=True)]
        encoded = [
            EncodedTexts(inputs.values[rows], inputs.lengths[rows], further, table.labels, table.known)
            for rows, further, table in zip(parts, columns, tables, strict=True)
        ]
        yield LabelSplit(*encoded, rows=parts)


def check_parts(labels: Int[np.ndarray, " N"], options: TextOptions, folds: int) -> None:
    """Raise UserError if there cannot be so many folds, or so large a part of the labels."""
    check_part(options.labelled)
    rarest = int(min(np.sum(labels == 0), np.sum(labels == 1)))
    if folds and not 2 <= folds <= rarest:
        raise UserError(f"folds must be 0, or 2 to {rarest} (the texts of the rarer label), got {folds}")


def _word_scores(counts: list, train: LabelledTexts, seed: int) -> list[Float[np.ndarray, " n"]]:
    """See `word_scores`; training texts without a known label are scored as further ones."""
    known = train.known
    further = (counts[0][~known], *counts[1:])
    own, hidden, *rest = word_scores(counts[0][known], train.labels[known], further, seed)
    scores = np.zeros(len(train))
    scores[known], scores[~known] = own, hidden
    return [scores, *rest]


def _outer(labels, folds: int, test: float, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if folds == 0:
        permuted = np.random.RandomState(seed).permutation(len(labels))
        n_test = int(np.ceil(test * len(labels)))
        yield permuted[n_test:], permuted[:n_test]
        return
    from gan_rec.language.files import need

    cut = need("sklearn.model_selection").StratifiedKFold(folds, shuffle=True, random_state=seed)
    yield from cut.split(labels, labels)


def label_training(
    settings: Settings,
    inputs: Inputs,
    split: LabelSplit,
    observers: tuple[Observer, ...],
    store: Store | None = None,
    *,
    scored: bool = False,
) -> Training:
    """The training that `settings` (of `label_settings`) describe, ready to fit `split`.

    `scored` says that the last feature is another model's log-odds.
    """
    if settings.radii == "by-loss" and not split.train.known.all():
        raise UserError("radii 'by-loss' reads the loss of every text, so it needs all labels: labelled must be 1")
    features = split.train.features.shape[1]
    maker = players.make_classifier(settings, inputs.dim, features, inputs.layers, scored=scored)
    if inputs.layers is not None:
        maker = dataclasses.replace(maker, pooling=inputs.pooling)
    game = dataclasses.replace(players.make_game(settings), semi_supervised=not split.train.known.all())
    adversary = players.make_adversary(dataclasses.replace(settings, dim=inputs.dim), 0, 0)
    return training_of(settings, game, maker, adversary, observers, store)


def training_of(
    settings: Settings, game: Any, make_recommender: Callable, make_adversary: Callable, observers, store
) -> Training:
    """The training of two players for a task of labels."""
    return Training(
        game=game,
        make_recommender=make_recommender,
        make_adversary=make_adversary,
        schedule=players.make_schedule(settings),
        budget=players.make_budget(settings),
        seeds=settings.seed_list,
        task=Labelling(),
        observers=observers,
        store=store,
    )


def evaluate_labels(
    fit: Fit, split: LabelSplit, thresholds: Float[np.ndarray, " S"] | None = None, **attack: Any
) -> LabelEvaluation:
    """Test predictions of the final weights, with the thresholds that validation chose for the weights before them.

    Args:
        fit: of a training.
        split: its data.
        thresholds: these, where they are known already.
        attack: arguments of `attacked_vectors`, to measure under an attack.
    """
    if thresholds is None:
        valid = predict(fit.selected.recommender, split.valid.on_device())
        thresholds = np.array([best_threshold(split.valid.labels, p) for p in valid])
    probabilities = (
        _attacked(fit, split, **attack) if attack else predict(fit.final.recommender, split.test.on_device())
    )
    return LabelEvaluation(split.test.labels, probabilities, thresholds, split.test.groups)


def _attacked(fit: Fit, split: LabelSplit, attack: str, radius: float, norm: str = "l2") -> Float[np.ndarray, "S n"]:
    """Test predictions when every row is moved by an attack that knows the label and the model."""
    keys = jax.random.split(jax.random.key(0), len(fit.final.epoch))
    found = _under_attack(fit.final.recommender, split.test.on_device(), ATTACKS[attack](), radius, keys, norm=norm)
    return np.asarray(found)[:, : len(split.test)]


@partial(jax.jit, static_argnames="norm")
def _under_attack(classifiers, samples, adversary, radius, keys, *, norm: str) -> Float[Array, "S capacity"]:
    def one(classifier, key, batch):
        clean = classifier.represent(batch)
        moved = adversary(LabelLoss(classifier, batch, "bce", clean), *clean, key, everywhere(radius, norm))
        return jax.nn.sigmoid(classifier.logits(moved, batch))

    return for_each_text(lambda player, batch: one(*player, batch), (classifiers, keys), samples)
