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
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str):
    # On demand, so that `import gan_rec` and `--help` need not wait for JAX.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'gan_rec' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
