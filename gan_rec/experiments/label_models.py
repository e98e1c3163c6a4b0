"""A finished run over texts, opened: models that tell the label of any text."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from gan_rec.data.labelled import LabelledTexts, read_labelled
from gan_rec.data.samples import EncodedTexts
from gan_rec.errors import UserError
from gan_rec.evaluation.labels import best_threshold
from gan_rec.experiments.config import Config
from gan_rec.experiments.label_run import open_labels
from gan_rec.experiments.labels import LabelSplit, read_inputs, reader
from gan_rec.experiments.settings import Settings
from gan_rec.language import Encoder
from gan_rec.language.encode import check_texts
from gan_rec.recommenders.text_classifier import check_text_alone
from gan_rec.train.fit import Fit
from gan_rec.train.tasks import predict


@dataclass(frozen=True)
class TextModel:
    """Classifiers of S seeds, and the language model that reads for them."""

    settings: Settings
    encoder: Encoder = field(repr=False)
    split: LabelSplit = field(repr=False)  # the one that they were trained on
    table: LabelledTexts = field(repr=False)  # all texts
    fit: Fit = field(repr=False)

    @property
    def longest(self) -> int:
        """The most tokens that it reads of a text."""
        return min(self.settings.longest or self.encoder.longest, self.encoder.longest)

    @property
    def thresholds(self) -> Float[np.ndarray, " S"]:
        """From which probability on each seed says 1; chosen on validation."""
        found = predict(self.fit.selected.recommender, self.split.valid.on_device())
        return np.array([best_threshold(self.split.valid.labels, each) for each in found])

    def predict(self, texts: list[str], *, progress: bool = True) -> Float[np.ndarray, "S n"]:
        """Probability of the label 1.

        Args:
            texts: n of them.
            progress: show it, on stderr.

        Raises:
            UserError: these are no texts; or the models read further columns too, which a text alone does not have.
        """
        check_texts(texts)
        check_text_alone(self.split.train.features.shape[1])
        n = len(texts)
        if n == 0:
            return np.zeros((len(self.fit.final.epoch), 0), np.float32)
        # States of all tokens are large, and nobody says when those of passing texts can go.
        encoder = self.encoder if self.settings.trainable is None else replace(self.encoder, cache=None)
        inputs = read_inputs(encoder, texts, self.settings, progress=progress)
        encoded = EncodedTexts(
            inputs.values, inputs.lengths, np.zeros((n, 0), np.float32), np.zeros(n, np.int32), np.ones(n, bool)
        )
        return predict(self.fit.final.recommender, encoded.on_device())

    def classifier(self, seed_index: int = 0):
        """The classifier of one seed.

        Raises:
            UserError: there is no such seed.
        """
        n = len(self.fit.final.epoch)
        if not 0 <= seed_index < n:
            raise UserError(f"seed_index must be 0 to {n - 1}, got {seed_index}")
        return jax.tree.map(lambda x: x[seed_index], self.fit.final.recommender)


def open_texts(directory: Path | str, fold: int = 1) -> dict[str, TextModel]:
    """The models of a run of `--task labels`, "adversarial" and "twin".

    Args:
        directory: of the run.
        fold: which of its folds, from 1.

    Raises:
        UserError: it is no such run, not finished, damaged, or its data have changed since.
    """
    config, problem, fits = open_labels(Path(directory))
    _check(config, directory, fold, len(problem.parts))
    settings, text = config.settings, config.text
    table = read_labelled(config.data.dataset, text.text_column, text.label_column, text.feature_column)
    encoder = reader(settings)
    split = problem.parts[fold - 1]
    return {name: TextModel(settings, encoder, split, table, found[fold - 1]) for name, found in fits.items()}


def _check(config: Config, directory: Path | str, fold: int, folds: int) -> None:
    if config.task != "labels":
        raise UserError(f"the run in {directory} has the task {config.task!r}; this needs one over texts")
    if not 1 <= fold <= folds:
        raise UserError(f"fold {fold} is not possible: the run has {folds}")
