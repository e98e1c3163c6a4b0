"""Will this user like this item? Ratings of a data set as labels, and the players that tell them."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from gan_rec import data
from gan_rec.data.named import NAMED
from gan_rec.data.ratings import ALL_RATINGS, rated_parts
from gan_rec.errors import UserError
from gan_rec.experiments import players
from gan_rec.experiments.labels import LabelSplit, training_of
from gan_rec.experiments.settings import DataOptions, Settings
from gan_rec.train.fit import Observer, Store, Training


@dataclass(frozen=True)
class Ratings:
    """Ratings of a data set, split, with all that trainings on them need."""

    name: str
    notes: tuple[str, ...]
    sha256: dict[str, str]
    split: LabelSplit
    item_texts: tuple[str, ...] | None

    @property
    def in_time(self) -> bool:
        """Whether parts follow each other in time, so that it is known what a user had rated before."""
        return bool(self.split.test.earlier.any())

    def training(
        self, settings: Settings, split: LabelSplit, observers: tuple[Observer, ...], store: Store | None = None
    ) -> Training:
        """The training that `settings` (of `label_settings`) describe, ready to fit `split`."""
        sizes = split.train.n_users, split.train.n_items
        maker = players.make_recommender(settings, *sizes, players.text_vectors(settings, self.item_texts))
        # Rows have two entries more: what depends on the user alone, and on the item alone.
        adversary = players.make_adversary(dataclasses.replace(settings, dim=settings.dim + 2), *sizes)
        return training_of(settings, players.make_game(settings), maker, adversary, observers, store)


def read_ratings(options: DataOptions, settings: Settings) -> Ratings:
    """Read and split a data set that has ratings.

    Raises:
        UserError: nobody says which ratings are likes, or as `gan_rec.load`, `gan_rec.split` and `rated_parts`.
    """
    if options.folds:
        raise UserError("folds is an option of --task ranking and labels; this is --task ratings")
    liked_from = options.positive_from
    if liked_from is None and options.dataset in NAMED:
        liked_from = NAMED[options.dataset].positive_from
    if liked_from is None:
        raise UserError(
            "which ratings are likes? give the least of them by --positive-from (for stars of 1 to 5, 4 is usual)"
        )
    columns = ("user_column", "item_column", "rating_column", "time_column", "min_user", "min_item")
    dataset = data.load(
        options.dataset,
        positive_from=ALL_RATINGS,
        item_text=players.reads_text(settings) if options.item_text is None else options.item_text,
        **{name: getattr(options, name) for name in columns},
    )
    split = data.split(
        dataset, options.split, test_fraction=options.test_fraction, valid_fraction=options.valid_fraction,
        seed=options.split_seed or 0,
    )  # fmt: skip
    parts, notes = rated_parts(split, dataset, liked_from)
    ends = np.cumsum([0, *map(len, parts)])
    rows = tuple(np.arange(a, b) for a, b in zip(ends, ends[1:], strict=False))
    sha256 = dataset.sha256 if isinstance(dataset.sha256, dict) else {dataset.name: dataset.sha256}
    digests = sha256 | {"split": players.split_sha256(settings, split), "liked from": str(liked_from)}
    return Ratings(
        dataset.name, (*dataset.notes, *split.notes, *notes), digests, LabelSplit(*parts, rows=rows), split.item_texts
    )
