"""What can be set, with defaults that work. The same names serve Python, the command line and config.json."""

import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Any

from gan_rec.errors import UserError

DEFAULT_KS = (5, 10, 20)
GAMES = ("embedding",)
LOSSES = ("softmax", "bpr", "sampled-softmax")

# Chosen on validation parts cut from the train part of CFGAN's ML-100K split, the twin's first.
_DEFAULTS = {
    "autoencoder": dict(
        loss="softmax", dim=256, batch_size=128, epochs=120, patience=30, learning_rate=4e-3, weight_decay=1.0,
        average=0.97,
    ),
    "mf": dict(
        loss="bpr", dim=64, batch_size=1024, epochs=150, patience=30, learning_rate=5e-3, weight_decay=0.5,
        average=0.8,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class DataOptions:
    """Which interactions, and how they are split."""

    dataset: str = "ml-100k"
    """A named data set (see the command datasets), a file, or a directory with train and test files."""
    positive_from: float | None = None
    """Ratings from this value on are positive (default: every row)."""
    user_column: str | None = None
    """Name of the column of users, where the file has a header."""
    item_column: str | None = None
    """Name of the column of items."""
    rating_column: str | None = None
    """Name of the column of ratings."""
    time_column: str | None = None
    """Name of the column of timestamps."""
    min_user: int = 1
    """Users with fewer interactions are left out."""
    min_item: int = 1
    """Items with fewer interactions are left out."""
    split: str | None = None
    """random (per user), leave-one-out, temporal or fixed (default: what the data set brings, else random)."""
    test_fraction: float = 0.2
    """Part of a user's interactions (temporal: of all) that is the test part."""
    valid_fraction: float = 0.2
    """Part of what remains that is the validation part."""
    split_seed: int = 0
    """Seed of a random split; the same for all training seeds."""


@dataclass(frozen=True)
class Settings:
    """One game between a recommender and an adversary. None means: the recommender's own default."""

    game: str = "embedding"
    """Which losses the players minimise: embedding."""
    recommender: str = "autoencoder"
    """The player that ranks: autoencoder or mf."""
    adversary: str = "generator"
    """The other player: generator, or a class of your own as my_module:MyGenerator (in Python also the class itself
    or an instance)."""
    loss: str | None = None
    """The recommender's loss: softmax, bpr or sampled-softmax."""
    dim: int | None = None
    """Embedding size D."""
    dropout: float = 0.5
    """Chance that an entry of the history is dropped in training (autoencoder)."""
    hide: float = 0.2
    """Chance that an item of the history is hidden and must be found (autoencoder, softmax)."""
    negatives: int = 1
    """Sampled items per pair (bpr, sampled-softmax)."""
    alpha: float = 0.5
    """Weight of the data loss; 1 - alpha is that of the adversarial loss. 1 is the twin."""
    epsilon: float = 0.05
    """Radius of the adversary's ball, relative to the length of the row under attack."""
    adversary_learning_rate: float = 3e-3
    """Learning rate of the adversary (Adam)."""
    adversary_steps: int = 1
    """Steps of the adversary before each step of the recommender."""
    noise: int = 16
    """Size of the generator's noise z."""
    hidden: int = 32
    """Units of the generator's hidden layers."""
    batch_size: int | None = None
    """Users (softmax) or pairs (other losses) in a batch."""
    learning_rate: float | None = None
    """Learning rate of the recommender (AdamW)."""
    weight_decay: float | None = None
    """Decoupled weight decay of the recommender."""
    average: float | None = None
    """Decay per epoch of the moving average of the recommender's weights; 0 for none."""
    epochs: int | None = None
    """The most epochs; validation chooses among them."""
    patience: int | None = None
    """Epochs without a better validation metric after which a seed ends."""
    evaluate_every: int = 5
    """Epochs between two evaluations on validation."""
    select_on: str = "NDCG@20"
    """Validation metric that chooses the epoch."""
    refit: bool = True
    """Train anew on train + validation for the chosen number of epochs."""
    seeds: int = 3
    """How many seeds are trained, all in one program."""
    seed: int = 0
    """The first seed; the others follow it."""
    checkpoint_every: int = 20
    """Epochs between two checkpoints."""

    def resolved(self) -> "Settings":
        """Settings with every None replaced by the recommender's default, checked.

        Raises:
            UserError: a value that is not allowed; the message gives it and what is.
        """
        check_types(self, leave=("adversary",))
        _one_of("recommender", self.recommender, tuple(_DEFAULTS))
        missing = {k: v for k, v in _DEFAULTS[self.recommender].items() if getattr(self, k) is None}
        settings = dataclasses.replace(self, **missing)
        settings._check()
        # Whole numbers where a real one is meant would be traced as integers and compile the epoch once more.
        reals = {f: float(getattr(settings, f)) for f in _REALS}
        return dataclasses.replace(settings, **reals)

    def _check(self) -> None:
        _one_of("game", self.game, GAMES)
        _one_of("loss", self.loss, LOSSES)
        for name, (low, high, allowed) in _RANGES.items():
            value = getattr(self, name)
            if not (isinstance(value, int | float) and low <= value <= high and math.isfinite(value)):
                raise UserError(f"{name} must be {allowed}, got {value}")

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The S seeds."""
        return tuple(range(self.seed, self.seed + self.seeds))


_INF = math.inf
_RANGES = {
    "alpha": (0, 1, "in [0, 1]"),
    "epsilon": (0, _INF, "at least 0"),
    "dropout": (0, 0.99, "in [0, 0.99]"),
    "hide": (0.01, 1, "in [0.01, 1]"),
    "average": (0, 0.9999, "in [0, 0.9999]"),
    "learning_rate": (0, _INF, "at least 0"),
    "adversary_learning_rate": (0, _INF, "at least 0"),
    "weight_decay": (0, _INF, "at least 0"),
    "dim": (1, _INF, "at least 1"),
    "noise": (1, _INF, "at least 1"),
    "hidden": (1, _INF, "at least 1"),
    "negatives": (1, _INF, "at least 1"),
    "batch_size": (1, _INF, "at least 1"),
    "adversary_steps": (1, _INF, "at least 1"),
    "epochs": (1, _INF, "at least 1"),
    "patience": (1, _INF, "at least 1"),
    "evaluate_every": (1, _INF, "at least 1"),
    "checkpoint_every": (1, _INF, "at least 1"),
    "seeds": (1, _INF, "at least 1"),
    "seed": (0, 2**31 - 1, "from 0 to 2**31 - 1"),
}
_REALS = (
    "alpha", "epsilon", "dropout", "hide", "average", "learning_rate", "adversary_learning_rate", "weight_decay",
)  # fmt: skip


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"unknown {name} {value!r}; allowed: {', '.join(allowed)}")


def check_types(options: Any, leave: tuple[str, ...] = ()) -> None:
    """Raise UserError unless every field of a dataclass has the type that is declared for it."""
    for f in dataclasses.fields(options):
        value, kinds = getattr(options, f.name), typing.get_args(f.type) or (f.type,)
        allowed = (*kinds, int) if float in kinds else kinds
        if f.name not in leave and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in kinds)):
            names = " or ".join(_TYPE_NAMES.get(kind, kind.__name__) for kind in kinds)
            raise UserError(f"{f.name} must be {names}, got {value!r}")


_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "nothing"}
