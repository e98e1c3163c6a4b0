"""What values options may have, by name, and of what type."""

import dataclasses
import math
import types
import typing
from typing import Any

from gan_rec.errors import UserError
from gan_rec.experiments import choices

_INF = math.inf
_RANGES = {
    "alpha": (0, 1, "in [0, 1]"),
    **dict.fromkeys(("dropout", "edlae_dropout"), (0, 0.99, "in [0, 0.99]")),
    "hide": (0.01, 1, "in [0.01, 1]"),
    "average": (0, 0.9999, "in [0, 0.9999]"),
    "seed": (0, 2**31 - 1, "from 0 to 2**31 - 1"),
    **dict.fromkeys(("positive_share", "zero_ratio", "mask_ratio"), (0, 1, "in [0, 1]")),
    **dict.fromkeys(
        (
            "epsilon", "beta", "learning_rate", "adversary_learning_rate", "weight_decay", "entropy", "zero_weight",
            "penalty", "prior", "kl_weight", "layers", "warm_up", "warm_up_learning_rate", "adversary_steps", "clip",
            "ramp", "item_learning_rate", "item_weight_decay", "link_weight", "link_penalty",
        ),
        (0, _INF, "at least 0"),
    ),
    **dict.fromkeys(("temperature", "xi", "edlae_l2"), (1e-6, _INF, "at least 1e-6")),
    **dict.fromkeys(
        (
            "dim", "latent", "noise", "hidden", "anchors", "profile_length", "attack_steps", "critic_dim", "samples",
            "components", "units", "negatives", "batch_size", "recommender_steps", "epochs", "patience",
            "evaluate_every", "checkpoint_every", "seeds", "trainable", "longest", "accumulate",
            "item_dim", "item_epochs", "length", "heads", "modality_dim", "own_dim",
        ),
        (1, _INF, "at least 1"),
    ),
}  # fmt: skip
_WORDS = {
    "norm": ("l2", "linf"),
    "radii": ("equal", "by-loss"),
    "feeding": ("joint", "alternate"),
    "form": ("alpha", "article-alpha", "article-beta", "beta"),
    "critic_loss": ("minimax", "non-saturating", "hinge", "wasserstein"),
    "ranker": ("generator", "discriminator"),
    "side": ("user", "item"),
    "reads": ("ids", "text"),
    "attacked": ("states", "inputs"),
    "under_attack": ("rows", "features"),
    "fusion": ("late", "early"),
    "spread": ("apart", "joint"),
    "balance": ("fixed", "gradient", "validation"),
    "moves": ("alternating", "simultaneous"),
    "precision": ("float32", "bfloat16"),
    "sampling": ("uniform", "popularity"),
    "table_updates": ("auto", "dense", *choices.OF_ROWS),
    "softmax_scores": ("auto", "dense", "chunks"),
}
REALS = (
    "alpha", "epsilon", "beta", "dropout", "hide", "average", "learning_rate", "adversary_learning_rate",
    "weight_decay", "temperature", "entropy", "positive_share", "zero_ratio", "zero_weight", "mask_ratio", "penalty",
    "xi", "warm_up_learning_rate", "clip", "prior", "kl_weight", "item_learning_rate", "item_weight_decay", "edlae_l2",
    "edlae_dropout", "link_weight", "link_penalty",
)  # fmt: skip


def check_values(options: Any) -> None:
    """Raise UserError unless the numbers and words that a dataclass has are allowed; None is."""
    for name, (low, high, allowed) in _RANGES.items():
        value = getattr(options, name, None)
        if value is not None and not (low <= value <= high and math.isfinite(value)):
            raise UserError(f"{name} must be {allowed}, got {value}")
    for name, allowed in _WORDS.items():
        if getattr(options, name, None) is not None:
            choices.one_of(name, getattr(options, name), allowed)


def check_folds(options: Any) -> None:
    """Raise UserError unless `DataOptions` that ask for folds leave the size of the test parts to these."""
    if options.folds and options.test_fraction is not None:
        raise UserError(f"test_fraction {options.test_fraction} does not go with folds, each of which tests its part")


def check_cutoffs_apply(task: str, given: bool) -> None:
    """Raise UserError if cut-offs of lists are given for a task that ranks nothing."""
    if given and task != "ranking":
        raise UserError(f"k is an option of rankings; --task {task} has no lists to cut off")


def check_types(options: Any, leave: tuple[str, ...] = ()) -> None:
    """Raise UserError unless every field of a dataclass has the type that is declared for it."""
    for f in dataclasses.fields(options):
        value, kinds = getattr(options, f.name), tuple(typing.get_origin(kind) or kind for kind in _kinds(f.type))
        allowed = (*kinds, int) if float in kinds else kinds
        if f.name not in leave and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in kinds)):
            names = " or ".join(_TYPE_NAMES.get(kind, kind.__name__) for kind in kinds)
            raise UserError(f"{f.name} must be {names}, got {value!r}")


def _kinds(declared: Any) -> tuple:
    return typing.get_args(declared) if isinstance(declared, types.UnionType) else (declared,)


_TYPE_NAMES = {
    tuple: "a list",
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    type(None): "nothing",
}
