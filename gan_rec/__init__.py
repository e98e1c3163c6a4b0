"""gan_rec: adversarial learning for recommendation, measured honestly.

Everything the command line does is a few plain calls:

    data = gan_rec.load("ml-100k")
    split = gan_rec.split(data)
    model = gan_rec.fit(split, recommender="autoencoder", adversary="generator", seeds=3)
    twin = gan_rec.fit(split, recommender="autoencoder", alpha=1, seeds=3)
    gan_rec.evaluate(model), gan_rec.evaluate(twin)
    gan_rec.probe(model, twin)
    gan_rec.recommend(model, users=[1, 2], k=10)
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "gan_rec.data": ("load", "split", "folds", "named_datasets"),
    "gan_rec.experiments.fitting": (
        "fit",
        "evaluate",
        "evaluate_attacked",
        "evaluate_popularity",
        "recommend",
        "probe",
        "Fitted",
    ),  # fmt: skip
    "gan_rec.experiments.evasion": ("evade", "Evasion"),
    "gan_rec.experiments.certified": ("certify",),
    "gan_rec.experiments.detecting": ("detect",),
    "gan_rec.experiments.explaining": ("explain",),
    "gan_rec.experiments.watching": ("watch",),
    "gan_rec.experiments.models": ("Goal",),
    "gan_rec.experiments.search": ("Search",),
    "gan_rec.experiments.tune": ("tune",),
    "gan_rec.experiments.compare": ("compare", "Comparison"),
    "gan_rec.experiments.settings": ("Settings", "DataOptions"),
    "gan_rec.experiments.run": ("open_run",),
    "gan_rec.experiments.label_models": ("open_texts", "TextModel"),
    "gan_rec.evaluation.evaluate": ("compare_models",),
    "gan_rec.language.encode": ("load_encoder",),
    "gan_rec.errors": ("UserError",),
}

if TYPE_CHECKING:  # what a type checker and an editor see of the same names
    from gan_rec.data import folds, load, named_datasets, split
    from gan_rec.errors import UserError
    from gan_rec.evaluation.evaluate import compare_models
    from gan_rec.experiments.certified import certify
    from gan_rec.experiments.compare import Comparison, compare
    from gan_rec.experiments.detecting import detect
    from gan_rec.experiments.evasion import Evasion, evade
    from gan_rec.experiments.explaining import explain
    from gan_rec.experiments.fitting import (
        Fitted,
        evaluate,
        evaluate_attacked,
        evaluate_popularity,
        fit,
        probe,
        recommend,
    )
    from gan_rec.experiments.label_models import TextModel, open_texts
    from gan_rec.experiments.models import Goal
    from gan_rec.experiments.run import open_run
    from gan_rec.experiments.search import Search
    from gan_rec.experiments.settings import DataOptions, Settings
    from gan_rec.experiments.tune import tune
    from gan_rec.experiments.watching import watch
    from gan_rec.language.encode import load_encoder

_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [*_HOME, "plot", "__version__"]


def __getattr__(name: str) -> Any:
    # On demand, so that `import gan_rec` and `--help` need not wait for JAX.
    if name == "plot":
        return importlib.import_module("gan_rec.plot")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'gan_rec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
