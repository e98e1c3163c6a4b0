"""From settings to the two players, their game and their schedule."""

import copy
import dataclasses
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from gan_rec.adversaries import ADVERSARIES
from gan_rec.errors import UserError
from gan_rec.experiments.settings import Settings
from gan_rec.games import EmbeddingGame
from gan_rec.recommenders import RECOMMENDERS
from gan_rec.train.epoch import Schedule
from gan_rec.train.fit import Budget


@dataclass(frozen=True)
class MakeRecommender:
    """key -> recommender. Equal settings make equal (and so equally hashed) functions: nothing is compiled twice."""

    name: str
    n_users: int
    n_items: int
    dim: int
    dropout: float

    def __call__(self, key) -> nnx.Module:
        """A new recommender."""
        options = {"dropout": self.dropout} if self.name == "autoencoder" else {}
        return RECOMMENDERS[self.name](self.n_users, self.n_items, self.dim, **options, rngs=nnx.Rngs(key))


@dataclass(frozen=True)
class MakeAdversary:
    """key -> adversary, from a class called as `cls(dim, rngs=rngs)`."""

    cls: Callable
    dim: int

    def __call__(self, key) -> nnx.Module:
        """A new adversary."""
        return self.cls(self.dim, rngs=nnx.Rngs(key))


def make_adversary(settings: Settings) -> Callable:
    """Key -> adversary.

    Args:
        settings: `adversary` is a name, "module:Class", a class (or any function `(dim, *, rngs)` that returns an
            adversary), or an instance, which then is what every seed begins with.

    Raises:
        UserError: there is no such name, module or class, or it keeps state other than `nnx.Param`.
    """
    given = settings.adversary
    if isinstance(given, nnx.Module):
        make = partial(_same, given)
    elif callable(given):
        make = MakeAdversary(given, settings.dim)
    elif given in ADVERSARIES:
        cls = _Sized(ADVERSARIES[given], settings.noise, settings.hidden)
        return MakeAdversary(cls, settings.dim)
    else:
        make = MakeAdversary(_load_class(given), settings.dim)
    _check_params_only(make, given)
    _check_rows(make, given, settings.dim)
    return make


def make_recommender(settings: Settings, n_users: int, n_items: int) -> MakeRecommender:
    """Key -> recommender."""
    return MakeRecommender(settings.recommender, n_users, n_items, settings.dim, settings.dropout)


def make_game(settings: Settings) -> EmbeddingGame:
    """The game that the settings ask for."""
    return _of(EmbeddingGame, settings, reads_history=RECOMMENDERS[settings.recommender].reads_history)


def make_schedule(settings: Settings) -> Schedule:
    """How the players move."""
    return _of(Schedule, settings)


def make_budget(settings: Settings) -> Budget:
    """How long they play."""
    return _of(Budget, settings)


def _of(cls: type, settings: Settings, **given: Any) -> Any:
    """A dataclass whose fields carry the names that they have in the settings, but for those that are given."""
    names = (f.name for f in dataclasses.fields(cls) if f.name not in given)
    return cls(**{name: getattr(settings, name) for name in names}, **given)


def _check_rows(make: Callable, given: Any, dim: int) -> None:
    """An adversary must take rows of any number and give back as many; a mistake shows here, before the training."""

    def attack(key):
        users, items = jnp.ones((3, dim)), jnp.ones((3, 2, dim))
        return make(key)(lambda u, v: jnp.sum(u) + jnp.sum(v), users, items, key, 0.1)

    rule = "must return user rows and item rows of the shapes that it was given"
    try:
        moved = jax.eval_shape(attack, jax.random.key(0))
    except UserError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"adversary {given!r} fails when it is called ({first}); it {rule}") from error
    shapes = [getattr(rows, "shape", None) for rows in moved] if isinstance(moved, tuple | list) else moved
    if shapes != [(3, dim), (3, 2, dim)]:
        raise UserError(f"adversary {given!r} {rule}, [(3, {dim}), (3, 2, {dim})], got {shapes}")


@dataclass(frozen=True)
class _Sized:
    """The generator class with its own sizes filled in."""

    cls: Callable
    noise: int
    hidden: int

    def __call__(self, dim: int, *, rngs: nnx.Rngs) -> nnx.Module:
        return self.cls(dim, noise=self.noise, hidden=self.hidden, rngs=rngs)


def _same(instance: nnx.Module, key: Any) -> nnx.Module:
    return copy.deepcopy(instance)


def _load_class(path: str) -> Callable:
    module_name, _, class_name = str(path).partition(":")
    allowed = f"allowed: {', '.join(ADVERSARIES)}, or a class of yours as my_module:MyGenerator"
    if not (module_name and class_name):
        raise UserError(f"unknown adversary {path!r}; {allowed}")
    if "" not in sys.path and os.getcwd() not in sys.path:  # python -m has it, the console script has not
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise UserError(f"adversary {path!r}: cannot import {module_name!r} ({error}); {allowed}") from error
    except AttributeError as error:
        raise UserError(f"adversary {path!r}: module {module_name!r} has no {class_name!r}; {allowed}") from error


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
