"""From settings to the two players, their game and their schedule."""

import copy
import dataclasses
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from gan_rec.adversaries import ADVERSARIES, WEIGHTS, SentenceGenerator, everywhere
from gan_rec.data import Interactions, Split, StreamedInteractions
from gan_rec.errors import UserError
from gan_rec.experiments import choices, scale
from gan_rec.experiments.settings import Settings
from gan_rec.games import GAMES
from gan_rec.games.next_item import NextItem
from gan_rec.importing import load_named
from gan_rec.language import load_encoder
from gan_rec.recommenders import RECOMMENDERS
from gan_rec.recommenders.text import TextVectors, principal_components
from gan_rec.train.epoch import Schedule
from gan_rec.train.fit import Budget


@dataclass(frozen=True)
class Make:
    """key -> player. Equal settings make equal (and so equally hashed) makers: nothing is compiled twice."""

    cls: Callable
    options: tuple[tuple[str, Any], ...]

    def __call__(self, key) -> nnx.Module:
        """A new player."""
        options = dict(self.options)
        if "rngs" in _parameters(self.cls):
            options["rngs"] = nnx.Rngs(key)
        return self.cls(**options)


def make_recommender(
    settings: Settings,
    n_users: int,
    n_items: int,
    vectors: TextVectors | None = None,
    *,
    beside: dict[str, Any] | None = None,
    multiple: int = 1,
) -> Make:
    """Key -> recommender of `n_users` and `n_items` as the data has them.

    `vectors` are those of the items' texts, `beside` is what `gan_rec.experiments.beside` found; tables that devices
    share get a `multiple` of rows.
    """
    sizes = _sizes(settings, n_users, n_items) | {"dim": settings.dim}
    named = choices.RECOMMENDERS[settings.recommender].options
    options = sizes | {name: getattr(settings, name) for name in named if name not in _OF_OTHERS}
    if reads_text(settings):
        options["vectors"] = vectors
    options |= beside or {}
    if multiple > 1:
        options["multiple"] = multiple
    return Make(RECOMMENDERS[settings.recommender], tuple(options.items()))


_OF_OTHERS = ("encoder", "components", "attacked")  # options that end in `text_vectors`, or in the game


def reads_text(settings: Settings) -> bool:
    """Whether the recommender reads texts of items."""
    return "components" in choices.RECOMMENDERS[settings.recommender].options


def text_vectors(
    settings: Settings, item_texts: tuple[str, ...] | None, *, progress: bool = False
) -> TextVectors | None:
    """What the recommender gets of the items' texts; None if it reads none. `progress` shows the reading, on stderr.

    Raises:
        UserError: there are no texts, or the encoder is not there.
    """
    if not reads_text(settings):
        return None
    if item_texts is None:
        raise UserError(
            f"recommender {settings.recommender!r} reads texts of items, but the data has none; load them with "
            "item_text, a file, or True for a named data set that has texts"
        )
    if progress:
        load_encoder(settings.encoder).encode(item_texts)  # which keeps the vectors
    return _components_of(load_encoder, settings.encoder, item_texts, settings.components)


def split_sha256(settings: Settings, split: Split) -> str:
    """Digest of the data and, where the recommender reads texts, of the language model that reads them."""
    if not reads_text(settings):
        return split.sha256
    return hashlib.sha256(f"{split.sha256} {load_encoder(settings.encoder).sha256}".encode()).hexdigest()


@lru_cache(maxsize=1)  # a run asks for them some times, and each time the encoder's weights would be read again
def _components_of(load: Callable, encoder: str, item_texts: tuple[str, ...], n: int) -> TextVectors:
    return TextVectors(principal_components(load(encoder).encode(item_texts, progress=False), n))


def check_split(settings: Settings, split: Split) -> None:
    """Raise UserError if what needs all of the catalogue is to be trained without its cold items."""
    if getattr(RECOMMENDERS[settings.recommender], "reads_order", False):
        _check_order(settings.recommender, split)
    if split.train.candidates is not None and settings.recommender == "mix":
        raise UserError(f"recommender 'mix' knows items by who had them, and a {split.method} split ranks others")
    if split.train.candidates is not None and settings.game in ("irgan", "cfgan"):
        allowed = ", ".join(name for name in GAMES if name not in ("irgan", "cfgan"))
        raise UserError(
            f"game {settings.game!r} draws items from the whole catalogue, which a {split.method} split does not train "
            f"on; allowed: {allowed}"
        )


def _check_order(name: str, split: Split) -> None:
    if isinstance(split.train, StreamedInteractions):
        raise UserError(f"streamed interactions need recommender 'mf', got {name!r}")
    if split.train.times is None or split.valid.times is None:
        raise UserError(
            f"recommender {name!r} reads items in the order of time, and the data have no times; give a column of "
            "times, or lists of items in order"
        )


def make_classifier(
    settings: Settings, dim: int, features: int, layers: nnx.Module | None = None, *, scored: bool = False
) -> Callable:
    """Key -> classifier of texts.

    Args:
        settings: resolved.
        dim: D, of the language model.
        features: how many further columns.
        layers: those of the language model that are trained, or None.
        scored: whether the last further column is another model's log-odds.
    """
    options = {"dim": dim, "features": features, "head": tuple(settings.head), "scored": scored}
    if layers is None:
        return Make(RECOMMENDERS[settings.recommender], tuple(options.items()))
    return MakeTuned(tuple(options.items()), settings.precision, layers)


@dataclass(frozen=True, eq=False)
class MakeTuned:
    """key -> classifier that begins with the layers of a pretrained language model, the same for every seed.

    Compared by identity: what its weights are no hash can say.
    """

    options: tuple[tuple[str, Any], ...]
    precision: str
    layers: nnx.Module
    pooling: str = "mean"

    def __call__(self, key) -> nnx.Module:
        """A new classifier."""
        layers = jax.tree.map(jnp.asarray, self.layers)
        own = {"layers": layers, "pooling": self.pooling, "precision": self.precision}
        return RECOMMENDERS["tuned-text-classifier"](**dict(self.options), **own, rngs=nnx.Rngs(key))


def make_adversary(settings: Settings, n_users: int, n_items: int, beside: dict[str, Any] | None = None) -> Callable:
    """Key -> adversary.

    Args:
        settings: `adversary` is a name, "module:Class", a class (or any function `(dim, *, rngs)` that returns an
            adversary), or an instance, which then is what every seed begins with. Of a class's arguments `dim`,
            `n_users` and `n_items` are filled in, and options that the settings give.
        n_users, n_items: as the data has them.
        beside: as for `make_recommender`.

    Raises:
        UserError: there is no such module or class, it has no such option, it keeps state other than `nnx.Param`, or
            it does not return rows of the right shapes.
    """
    given, dim = settings.adversary, _row_size(settings, beside or {})
    if isinstance(given, nnx.Module):
        make = partial(_same, given)
    else:
        cls = _named(given, settings.game) if isinstance(given, str) else given
        cls = cls or _load_class(given)
        sizes = _sizes(settings, n_users, n_items) | {"dim": dim}
        make = Make(cls, tuple(_options_of(cls, settings, sizes).items()))
    if choices.is_own(given):
        name = given if isinstance(given, str) else getattr(given, "__name__", type(given).__name__)
        _check_params_only(make, name)
        if settings.game == "apr" and getattr(given if not isinstance(given, str) else cls, "reads_history", False):
            raise UserError(f"adversary {name!r} reads histories, which game 'apr' has none of for its whole tables")
        _check_rows(make, name, settings, dim)
    return make


def _row_size(settings: Settings, beside: dict[str, Any]) -> int:
    """Of the rows that an adversary moves: of ids, with a bias, and with what is made of items' features."""
    mapped = len(beside["modalities"].inputs(settings.fusion)) * settings.modality_dim if "modalities" in beside else 0
    return settings.dim + bool(settings.bias) + mapped


def _named(name: str, game: str) -> Callable | None:
    return SentenceGenerator if (name, game) == ("generator", "text") else ADVERSARIES.get(name)


def make_game(settings: Settings):
    """The game that the settings ask for."""
    recommender = RECOMMENDERS[settings.recommender]
    given: dict[str, Any] = {"reads_history": recommender.reads_history}
    if getattr(recommender, "reads_graph", False):
        given["reads_graph"] = True
    if settings.game in ("embedding", "apr", *choices.OF_LABELS.values()):
        player = settings.adversary
        player = ADVERSARIES.get(player) or _load_class(player) if isinstance(player, str) else player
        given |= {name: getattr(player, of, none) for name, (of, none) in _TRAITS.items()}
    over_sequences = settings.game == "embedding" and getattr(recommender, "reads_order", False)
    return _of(NextItem if over_sequences else GAMES[settings.game], settings, **given)


# Of the game, that its adversary's class decides: by which attribute, and what it is without.
_TRAITS = {"profiles": ("reads_history", False), "reuses": ("reuses", False), "accumulates": ("accumulates", 0.0)}


def attackers(settings: Settings, pairs: Interactions, beside: dict[str, Any] | None = None) -> tuple:
    """With what a trained model is attacked: game, schedule, key -> generator, and whether the training had that one.

    The generator is the training's own if it plays in embedding space and has parameters, else the default one; None
    of a mix, whose rows are as long as the catalogue, under attack on features, and after game domain, whose rows have
    a part for each domain: attacks without parameters must do.
    """
    own = settings.game in ("embedding", "apr")
    if settings.under_attack == "features":
        return make_game(settings), make_schedule(settings), None, False
    if settings.game == "domain":
        plain = {"game": "embedding", "adversary": "fgm", "loss": "bpr", "negatives": 1, "hidden": None}
        plain = dataclasses.replace(with_radius(settings), **plain)
        return make_game(plain), make_schedule(plain), None, False
    if settings.recommender == "mix":
        plain = dataclasses.replace(with_radius(settings), adversary="fgm", feeding=None, radii=None)
        return make_game(plain), make_schedule(plain), None, False
    if own:
        game_of = with_radius(settings)
    else:
        names = ("recommender", "dim", "dropout", "bias", "side", "fusion", "modality_dim", "batch_size", "seeds")
        kept = {name: getattr(settings, name) for name in names}
        game_of = dataclasses.replace(Settings(recommender=settings.recommender).resolved(), **kept)
    sizes = pairs.n_users, pairs.n_items
    maker = make_adversary(game_of, *sizes, beside)
    learned = own and bool(jax.tree.leaves(nnx.eval_shape(lambda: maker(jax.random.key(0)))))
    if not learned:
        fresh = dict.fromkeys(choices.OPTIONS_OF_ADVERSARIES) | choices.ADVERSARIES["generator"]
        game_of = dataclasses.replace(game_of, adversary="generator", **fresh)
        maker = make_adversary(game_of, *sizes, beside)
    game_of = dataclasses.replace(game_of, form=None, feeding=None, radii=None)
    game = scale.with_score_chunks(make_game(game_of), game_of, *sizes)
    return game, make_schedule(game_of), maker, learned


def with_radius(settings: Settings) -> Settings:
    """With an epsilon that is a radius of rows: the embedding game's default if there is none, or of users' weights."""
    if settings.epsilon is not None and settings.adversary not in WEIGHTS:
        return settings
    return dataclasses.replace(settings, epsilon=choices.GAMES["embedding"].options["epsilon"])


def make_schedule(settings: Settings) -> Schedule:
    """How the players move, as far as that does not go by the size of the data; see `gan_rec.experiments.scale`."""
    return _of(Schedule, settings, table_updates="dense")


def make_budget(settings: Settings) -> Budget:
    """How long they play."""
    return _of(Budget, settings)


def _of(cls: Callable, settings: Settings, **given: Any) -> Any:
    """A dataclass whose fields carry the names that they have in the settings, but for those that are given."""
    plain = cls.func if isinstance(cls, partial) else cls
    names = {f.name for f in dataclasses.fields(plain)} & {f.name for f in dataclasses.fields(settings)}
    values = {name: getattr(settings, name) for name in names}
    return cls(**{name: value for name, value in values.items() if value is not None} | given)


ITEM_SIDE = "item-"  # begins the names of phases, and of options, of a mix's network over items


def sides_of_mix(settings: Settings) -> tuple[Settings, Settings]:
    """Of the two networks of a mix: that over users has the settings of the mix, the other its own of some."""
    network = dataclasses.replace(settings, recommender="autoencoder", **dict.fromkeys(choices.OF_MIX))
    own = {name.removeprefix("item_"): getattr(settings, name) for name in choices.OF_ITEM_SIDE}
    return network, dataclasses.replace(network, side="item", **own)


def side_of(settings: Settings) -> str:
    """How the recommender is put to use, see `gan_rec.recommenders.flipped.flip`."""
    side = settings.side or "user"
    return "bayes" if side == "item" and settings.loss == "softmax" else side


def _sizes(settings: Settings, n_users: int, n_items: int) -> dict[str, int]:
    """How many users and items the players see: on the item side each in the other's place."""
    if settings.side == "item":
        n_users, n_items = n_items, n_users
    return {"n_users": n_users, "n_items": n_items}


def _options_of(cls: Callable, settings: Settings, sizes: dict[str, int]) -> dict[str, Any]:
    parameters = _parameters(cls)
    catch_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given = {name: getattr(settings, name) for name in choices.OPTIONS_OF_ADVERSARIES}
    options = {name: value for name, value in given.items() if value is not None}
    options = {n: v for n, v in options.items() if n in parameters or not _belongs_to_others(n, settings)}
    refused = [] if catch_all else [name for name in options if name not in parameters]
    if refused:
        raise UserError(f"adversary {settings.adversary!r} takes no {', '.join(refused)}")
    if "dim" not in parameters and choices.is_own(settings.adversary):
        raise UserError(f"adversary {settings.adversary!r} must be callable as cls(dim, *, rngs): it takes no dim")
    return {name: size for name, size in sizes.items() if name in parameters} | options


def _parameters(cls: Callable) -> dict[str, inspect.Parameter]:
    """What a class or function can be called with; that of a Flax module stands in its __init__ alone."""
    return dict(inspect.signature(cls.__init__ if inspect.isclass(cls) else cls).parameters)


def _belongs_to_others(name: str, settings: Settings) -> bool:
    """Whether an option is one of the game or the recommender too, and so need not be the adversary's."""
    return name in choices.GAMES[settings.game].options or name in choices.RECOMMENDERS[settings.recommender].options


def _check_rows(make: Callable, given: Any, settings: Settings, dim: int) -> None:
    """An adversary must take rows of any number and give back as many; a mistake shows here, before the training."""
    item_shape = (3, 2, dim) if settings.loss != "softmax" else (5, dim)  # a list for each user, or the catalogue
    if settings.game in choices.OF_LABELS.values():
        item_shape = (0 if settings.game == "text" else 3, dim)

    def attack(key):
        users, items = jnp.ones((3, dim)), jnp.ones(item_shape)

        class Loss(SimpleNamespace):
            def __call__(self, u, v):
                return jnp.sum(u) + jnp.sum(v)

            divergence = __call__

        loss = Loss(catalogue=jnp.ones((5, dim)), history=jnp.ones((3, 5)))
        return make(key)(loss, users, items, key, everywhere(0.1))

    rule = "must return user rows and item rows of the shapes that it was given"
    try:
        moved = jax.eval_shape(attack, jax.random.key(0))
    except UserError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"adversary {given!r} fails when it is called ({first}); it {rule}") from error
    shapes = [getattr(rows, "shape", None) for rows in moved] if isinstance(moved, tuple | list) else moved
    if shapes != [(3, dim), item_shape]:
        raise UserError(f"adversary {given!r} {rule}, [{(3, dim)}, {item_shape}], got {shapes}")


def _same(instance: nnx.Module, key: Any) -> nnx.Module:
    return copy.deepcopy(instance)


def _load_class(path: str) -> Callable:
    allowed = f"allowed: {', '.join(choices.GAMES['embedding'].adversaries)}, or yours as my_module:MyGenerator"
    return load_named(path, "adversary", allowed)


def _check_params_only(make: Callable, given: Any) -> None:
    try:
        module = nnx.eval_shape(lambda: make(jax.random.key(0)))
    except TypeError as error:
        raise UserError(f"adversary {given!r} must be callable as cls(dim, *, rngs): {error}") from error
    if not isinstance(module, nnx.Module):
        raise UserError(f"adversary {given!r} must make an nnx.Module, got {type(module).__name__}")
    _, _, other = nnx.split(module, nnx.Param, ...)
    if other:
        names = ", ".join(".".join(map(str, path)) for path, _ in nnx.to_flat_state(other))
        raise UserError(
            f"adversary {given!r} may keep nnx.Param only, but also keeps {names}: state like that is not updated in "
            "the compiled epoch"
        )
