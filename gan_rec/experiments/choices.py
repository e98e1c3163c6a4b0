"""What can be chosen: games, recommenders and adversaries by name, which fit together, and whose option is whose.

The names and defaults stand here rather than in the classes so that mistakes and --help answer before JAX is loaded; a
test keeps both alike.
"""

from dataclasses import dataclass, field
from typing import Any

from gan_rec.errors import UserError
from gan_rec.space import OneOf, Real, Space

OF_ROWS = ("lazy-adam", "row-adagrad")  # updates of the rows of a batch alone
MANY_ROWS = 100_000  # of tables: above, these are what is chosen
LARGEST_SCORES = 256  # MiB, of a batch and the catalogue: above, softmax takes the catalogue in chunks
CHUNK_SCORES = 4  # MiB, of a chunk: small enough for the caches of a CPU

_ATTACKS = ("noise", "clipped-noise", "fgsm", "fgm", "pgd", "vat", "free")
ON_FEATURES = _ATTACKS  # adversaries that need not know how long the rows are that they move
_GENERATORS = ("generator", "gradient-generator", "attention", "hull", "profile")


@dataclass(frozen=True)
class Game:
    """A game by name: who can play the other part, and its options with their defaults."""

    adversaries: tuple[str, ...]  # the first is the default
    options: dict[str, Any]
    losses: tuple[str, ...] = ()  # the first is the default; () where the game brings its own
    own_adversary: bool = False  # whether a user's class can play
    space: Space = field(default_factory=dict)  # what is tuned with an adversary, beside the recommender's own


_ROWS = {"epsilon": 0.05, "norm": "l2", "radii": "equal", "feeding": "joint"}
GAMES = {
    "embedding": Game(
        (*_GENERATORS, *_ATTACKS, "kl-dro"),
        {"alpha": 0.5, **_ROWS, "form": "alpha", "beta": 0.5, "hide": 0.2, "negatives": 1, "sampling": "uniform",
            "side": "user", "under_attack": "rows",
        },
        ("softmax", "bpr", "sampled-softmax", "bce"),
        own_adversary=True,
        space={"alpha": Real(0.2, 0.9), "epsilon": Real(0.01, 0.5, log=True)},
    ),
    "apr": Game(
        (
            "fgm", "accumulated", "fgsm", "pgd", "vat", "free", "noise", "clipped-noise", "generator",
            "gradient-generator", "hull",
        ),
        {"alpha": 0.5, **_ROWS, "epsilon": 0.5, "negatives": 1, "sampling": "uniform", "under_attack": "rows"},
        ("bpr", "sampled-softmax", "bce"),
        own_adversary=True,
    ),
    "irgan": Game(
        ("pair-critic",),
        {
            "alpha": 0.0, "ranker": "generator", "critic_loss": "minimax", "samples": 32, "temperature": 1.0,
            "positive_share": 0.2, "hide": 0.2,
        },
    ),
    "cfgan": Game(
        ("vector-critic",),
        {
            "alpha": 0.0, "critic_loss": "wasserstein", "zero_ratio": 0.7, "zero_weight": 0.03, "mask_ratio": 0.1,
            "penalty": 10.0, "side": "user",
        },
    ),
    "hard-negative": Game(
        ("own-scores", "hardness"),
        {"alpha": 0.5, "temperature": 1.0, "entropy": 0.1, "negatives": 16, "sampling": "uniform"},
        ("bpr", "bce"),
    ),
    "advinfonce": Game(
        ("hardness",),
        {"alpha": 0.0, "temperature": 1.0, "entropy": 0.1, "negatives": 64, "sampling": "uniform"},
        ("sampled-softmax",),
    ),
    "domain": Game(
        ("domain-critic",),
        {"alpha": 0.5, "negatives": 512, "sampling": "uniform"},
        space={"alpha": Real(0.2, 0.9)},
    ),
    "text": Game(
        ("fgm", "vat", "pgd", "free", "fgsm", "noise", "clipped-noise", "generator"),
        {"alpha": 0.5, **_ROWS, "epsilon": 0.02, "form": "alpha", "beta": 0.5},
        ("bce",),
        own_adversary=True,
    ),
    "rating": Game(
        ("generator", "fgm", "vat", "pgd", "free", "fgsm", "noise", "clipped-noise"),
        {"alpha": 0.5, **_ROWS, "form": "alpha", "beta": 0.5},
        ("bce",),
        own_adversary=True,
    ),
}  # fmt: skip
OF_LABELS = {"labels": "text", "ratings": "rating"}  # tasks whose games tell labels

_TOWERS = {"noise": 16, "hidden": 32}
ADVERSARIES = {
    "generator": _TOWERS,
    "gradient-generator": _TOWERS,
    "attention": _TOWERS,
    "hull": {**_TOWERS, "anchors": 64},
    "profile": {**_TOWERS, "anchors": 64, "profile_length": 8},
    "noise": {},
    "clipped-noise": {},
    "fgsm": {},
    "fgm": {},
    "pgd": {"attack_steps": 5},
    "vat": {"attack_steps": 1, "xi": 0.01, "virtual": True},
    "free": {},
    "accumulated": {},
    "pair-critic": {"critic_dim": 16},
    "vector-critic": {"hidden": 64},
    "domain-critic": {"hidden": 64},
    "own-scores": {},
    "hardness": {"hidden": 32},
    "kl-dro": {},
}


@dataclass(frozen=True)
class Recommender:
    """A recommender by name: its options, and how it is trained unless said otherwise."""

    options: dict[str, Any]
    training: dict[str, Any]
    by_game: dict[str, dict[str, Any]] = field(default_factory=dict)
    games: tuple[str, ...] = tuple(name for name in GAMES if name not in (*OF_LABELS.values(), "domain"))
    space: Space = field(default_factory=dict)  # what is tuned, in game embedding; empty: it cannot be


_COMMON = {
    "adversary_steps": 1, "recommender_steps": 1, "warm_up": 0, "evaluate_every": 5, "select_on": "NDCG@20",
    "clip": 0.0, "ramp": 0, "accumulate": 1, "anneal": False,
}  # fmt: skip
_TEXT = {"encoder": "minilm", "components": 64, "units": 512, "reads": "ids", "dropout": 0.5}
# Chosen on the validation parts of splits of ML-100K by cold items, the twin's first.
_OVER_TEXT = dict(
    loss="softmax", dim=64, batch_size=128, epochs=100, patience=30, learning_rate=1e-3, weight_decay=3.0, average=0.95,
    adversary_learning_rate=3e-3,
)  # fmt: skip
# The others draw fakes from all of the catalogue, or swap users and items, who have no text.
OF_TEXTS = ("embedding", "apr", "hard-negative", "advinfonce")
# Chosen on validation parts cut from the train part of CFGAN's ML-100K split, the twin's first.
_AUTOENCODER = dict(
    loss="softmax", dim=256, batch_size=128, epochs=120, patience=30, learning_rate=4e-3, weight_decay=1.0,
    average=0.97, adversary_learning_rate=3e-3,
)  # fmt: skip
# What `tune` found there for the three options of the mix's space.
OF_ITEM_SIDE = {"item_dim": 256, "item_epochs": 120, "item_learning_rate": 4e-3, "item_weight_decay": 0.47}
OF_MIX = OF_ITEM_SIDE | {"edlae_l2": 327.0, "edlae_dropout": 0.4}
# Chosen on the validation part of s3rec-beauty, the twin's first.
_OVER_SEQUENCES = dict(
    loss="sampled-softmax", negatives=512, dim=64, batch_size=1024, epochs=24, patience=8, evaluate_every=4,
    learning_rate=5e-3, weight_decay=0.1, average=0.8, adversary_learning_rate=3e-3,
)  # fmt: skip
_SEQUENCE_SPACE: Space = {
    "learning_rate": Real(1e-3, 1e-2, log=True), "weight_decay": Real(0.02, 2.0, log=True),
    "dropout": OneOf((0.1, 0.3, 0.5)), "dim": OneOf((64, 128)),
}  # fmt: skip
_OVER_GRAPH = dict(
    loss="softmax", dim=64, batch_size=128, epochs=150, patience=30, learning_rate=5e-3, weight_decay=0.5, average=0.9,
    adversary_learning_rate=3e-3,
)  # fmt: skip
_OF_TABLES: Space = {
    "learning_rate": Real(1e-3, 2e-2, log=True), "weight_decay": Real(0.05, 2.0, log=True), "average": Real(0.6, 0.97),
}  # fmt: skip
_GRAPH_SPACE: Space = _OF_TABLES | {"layers": OneOf((1, 2, 3))}
RECOMMENDERS = {
    "autoencoder": Recommender(
        {"dropout": 0.5},
        _AUTOENCODER,
        {
            "cfgan": dict(
                dim=128, learning_rate=1e-3, weight_decay=0.1, epochs=250, patience=60, adversary_learning_rate=3e-4,
                recommender_steps=2,
            ),
        },
        space={
            "learning_rate": Real(1e-3, 1e-2, log=True), "weight_decay": Real(0.1, 4.0, log=True),
            "average": Real(0.9, 0.98), "hide": OneOf((0.1, 0.2, 0.4)),
        },
    ),
    "mix": Recommender(
        {"dropout": 0.5} | OF_MIX,
        _AUTOENCODER | {"weight_decay": 1.07},
        games=("embedding",),
        space={
            "weight_decay": Real(0.3, 3.0, log=True), "item_weight_decay": Real(0.3, 3.0, log=True),
            "edlae_l2": Real(100.0, 1000.0, log=True),
        },
    ),
    "mf": Recommender(
        {"bias": False},
        dict(
            loss="bpr", dim=64, batch_size=1024, epochs=150, patience=30, learning_rate=5e-3, weight_decay=0.5,
            average=0.8, adversary_learning_rate=3e-3,
        ),
        {
            "irgan": dict(
                dim=5, bias=True, batch_size=128, learning_rate=3e-4, weight_decay=0.3, epochs=400, patience=160,
                warm_up=100, warm_up_learning_rate=1e-2,
            ),
            "cfgan": dict(batch_size=128, learning_rate=1e-2, weight_decay=0.1),
        },
        space={
            "learning_rate": Real(1e-3, 3e-2, log=True), "weight_decay": Real(0.05, 2.0, log=True),
            "average": Real(0.6, 0.97), "dim": OneOf((32, 64, 128)),
        },
    ),
    "mult-vae": Recommender(
        {"latent": 64, "dropout": 0.5, "kl_weight": 0.002, "bias": False},
        dict(
            loss="softmax", dim=256, batch_size=128, epochs=150, patience=30, learning_rate=4e-3, weight_decay=1.0,
            average=0.97, adversary_learning_rate=3e-3,
        ),
        games=OF_TEXTS,
        space={
            "learning_rate": Real(1e-3, 1e-2, log=True), "weight_decay": Real(0.1, 4.0, log=True),
            "average": Real(0.9, 0.98), "kl_weight": OneOf((5e-4, 2e-3, 8e-3)), "hide": OneOf((0.2, 0.4)),
        },
    ),
    "lightgcn": Recommender({"layers": 2}, _OVER_GRAPH, games=OF_TEXTS, space=_GRAPH_SPACE),
    "sasrec": Recommender(
        {"length": 30, "layers": 1, "heads": 2, "dropout": 0.3, "attacked": "states"},
        _OVER_SEQUENCES,
        games=("embedding",),
        space=_SEQUENCE_SPACE,
    ),
    "gru": Recommender(
        {"length": 30, "dropout": 0.3, "attacked": "states"},
        _OVER_SEQUENCES,
        games=("embedding",),
        space=_SEQUENCE_SPACE,
    ),
    "social-lightgcn": Recommender(
        {"layers": 2, "spread": "apart", "link_weight": 0.5, "link_penalty": 0.0},
        _OVER_GRAPH,
        games=OF_TEXTS,
        space=_GRAPH_SPACE | {"link_weight": OneOf((0.1, 0.3, 1.0))},
    ),
    "multimodal": Recommender(
        {"fusion": "late", "modality_dim": 64},
        _OVER_GRAPH,
        games=OF_TEXTS,
        space=_OF_TABLES | {"fusion": OneOf(("late", "early"))},
    ),
    # Chosen on the validation part of disencdr-cloth-sport, the twin's first.
    "cross-domain": Recommender(
        {"own_dim": 16, "temperature": 0.15},
        dict(
            loss="bpr", dim=64, batch_size=8192, epochs=6, patience=6, evaluate_every=3, learning_rate=2e-2,
            weight_decay=0.1, average=0.8, adversary_learning_rate=5e-3, adversary_steps=5,
        ),
        games=("domain",),
        space=_OF_TABLES | {"temperature": OneOf((0.1, 0.15, 0.25))},
    ),
    "text-classifier": Recommender(
        {"head": (128, 64), "encoder": "minilm", "pooling": None},
        dict(
            loss="bce", batch_size=256, epochs=60, patience=6, learning_rate=2e-3, weight_decay=1.0, average=0.8,
            adversary_learning_rate=1e-3, evaluate_every=1, select_on="AUC",
        ),
        games=("text",),
    ),
    "tuned-text-classifier": Recommender(
        {
            "head": (128, 64), "encoder": "minilm", "pooling": None, "trainable": 2, "longest": 128,
            "precision": "float32",
        },
        dict(
            loss="bce", batch_size=32, epochs=4, patience=2, learning_rate=2e-4, weight_decay=0.01, average=0.0,
            adversary_learning_rate=1e-3, evaluate_every=1, select_on="AUC", clip=1.0, ramp=100,
            anneal=True,
        ),
        games=("text",),
    ),
    "rating-predictor": Recommender(
        {"encoder": "minilm", "components": 128, "dropout": 0.5, "prior": 1.0},
        dict(
            loss="bce", dim=16, batch_size=1024, epochs=40, patience=8, learning_rate=1e-2, weight_decay=0.0,
            average=0.0, adversary_learning_rate=3e-3, evaluate_every=1, select_on="AUC",
        ),
        games=("rating",),
    ),
    "two-tower": Recommender(_TEXT, _OVER_TEXT, {"embedding": {"epsilon": 0.3}}, games=OF_TEXTS),
    "hybrid": Recommender(_TEXT, _OVER_TEXT, {"embedding": {"epsilon": 0.3}}, games=OF_TEXTS),
}  # fmt: skip

WITH_FEATURES = ("two-tower", "hybrid", "multimodal")  # which make rows of something that can be moved first
OF_SENTENCES = ("fgsm", "clipped-noise", "generator")  # that move sentence vectors, not the states of all tokens
OPTIONS_OF_ADVERSARIES = tuple(sorted({name for options in ADVERSARIES.values() for name in options}))
_OPTIONS = set(OPTIONS_OF_ADVERSARIES).union(
    *(game.options for game in GAMES.values()), *(recommender.options for recommender in RECOMMENDERS.values())
)


def players_of(game: str) -> tuple[str, ...]:
    """The recommenders that can play a game."""
    return tuple(name for name, recommender in RECOMMENDERS.items() if game in recommender.games)


def one_of(name: str, value: Any, allowed) -> None:
    """Raise UserError unless the value is one of those allowed."""
    if value not in allowed:
        raise UserError(f"unknown {name} {value!r}; allowed: {', '.join(allowed)}")


def default_recommender(game: str) -> str:
    """Who plays a game where no recommender is named."""
    players = players_of(game)
    return players[0] if players and "autoencoder" not in players else "autoencoder"


def is_own(adversary: Any) -> bool:
    """Whether an adversary is the user's: a class, an instance, or "module:Class"."""
    return not isinstance(adversary, str) or ":" in adversary


def defaults(game: str, recommender: str, adversary: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Values for the options that are None among those given.

    Raises:
        UserError: names that do not exist or do not fit together, or an option that none of the three has.
    """
    one_of("game", game, GAMES)
    one_of("recommender", recommender, RECOMMENDERS)
    play, ranker = GAMES[game], RECOMMENDERS[recommender]
    if game not in ranker.games:
        raise UserError(f"recommender {recommender!r} does not play game {game!r}; allowed: {', '.join(ranker.games)}")
    adversary = play.adversaries[0] if adversary is None else adversary
    _check_adversary(game, adversary)
    own = is_own(adversary)
    options = {**play.options, **ranker.options, **({} if own else ADVERSARIES[adversary])}
    training = _COMMON | ranker.training | ranker.by_game.get(game, {})
    if not play.losses:
        training["loss"] = None
    elif training["loss"] not in play.losses:
        training["loss"] = play.losses[0]
    if given.get("loss") is not None:
        if not play.losses:
            raise UserError(f"game {game!r} brings its own loss, so loss {given['loss']!r} cannot be given")
        one_of("loss", given["loss"], play.losses)
    # A user's class may have any option that some adversary has; whether it does shows when it is made.
    allowed = set(options) | (set(OPTIONS_OF_ADVERSARIES) if own else set())
    for name in sorted(_OPTIONS - allowed):
        if given.get(name) is not None:
            players = f"game {game!r} with recommender {recommender!r} and adversary {adversary!r}"
            raise UserError(f"{name} is no option of {players}; options: {', '.join(sorted(allowed))}")
    values = options | training | {"adversary": adversary}
    if recommender == "mix":  # what is said of one network is said of both, unless the other has a word of its own
        values |= {name: said for name in OF_ITEM_SIDE if (said := given.get(name.removeprefix("item_"))) is not None}
    return {name: value for name, value in values.items() if given.get(name) is None}


def _check_adversary(game: str, adversary: Any) -> None:
    play = GAMES[game]
    if is_own(adversary):
        if not play.own_adversary:
            with_own = ", ".join(name for name, g in GAMES.items() if g.own_adversary)
            raise UserError(f"game {game!r} takes no adversary of your own; games that do: {with_own}")
        return
    own = ", or a class of yours as my_module:MyGenerator" if play.own_adversary else ""
    if adversary not in ADVERSARIES:
        others = ", ".join(name for name in ADVERSARIES if name not in play.adversaries)
        raise UserError(
            f"unknown adversary {adversary!r}; allowed: {', '.join(play.adversaries)}{own} (in other games: {others})"
        )
    if adversary not in play.adversaries:
        raise UserError(
            f"adversary {adversary!r} does not play game {game!r}; allowed: {', '.join(play.adversaries)}{own}"
        )
