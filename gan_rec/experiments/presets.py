"""Scenarios by name: data, players and a size that two CPU cores train in minutes."""

from dataclasses import dataclass, field
from typing import Any

from gan_rec.errors import UserError
from gan_rec.experiments import choices
from gan_rec.experiments.config import Config
from gan_rec.experiments.settings import DEFAULT_KS, DataOptions, Settings, TextOptions


@dataclass(frozen=True)
class Preset:
    """A scenario.

    Args:
        about: what it is, in a line.
        data, settings, text: options that are not at their defaults.
        task: see `gan_rec.experiments.config.TASKS`.
    """

    about: str
    data: dict[str, Any]
    settings: dict[str, Any]
    text: dict[str, Any] = field(default_factory=dict)
    task: str = "ranking"

    @property
    def config(self) -> Config:
        """The configuration that the command train begins with."""
        settings = Settings(**{"seeds": 1} | self.settings)
        return Config(self.task, DataOptions(**self.data), settings, DEFAULT_KS, TextOptions(**self.text))


PRESETS = {
    "shop": Preset(
        "would a customer recommend what a review is about? A language model's vectors, against moved word vectors",
        {"dataset": "womens-clothing"},
        {"game": "text", "adversary": "fgm", "epsilon": 0.1},
        task="labels",
    ),
    "content": Preset(
        "films by their plots: what a user liked, tested on later months",
        {"dataset": "collm-ml-1m", "item_text": "ml-1m-text"},
        {"recommender": "hybrid", "adversary": "fgm", "epochs": 40, "patience": 15},
    ),
    "social": Preset(
        "ratings of films and who trusts whom: one graph of both",
        {"dataset": "filmtrust"},
        {"recommender": "social-lightgcn", "adversary": "fgm", "epochs": 20, "patience": 10},
    ),
    "friends": Preset(
        "whom to follow: friendships of Last.fm users, a perturbation of both rows of each pair",
        {"dataset": "hetrec-lastfm-friends"},
        {"recommender": "autoencoder", "adversary": "fgm", "epochs": 40, "patience": 15},
    ),
    "sequence": Preset(
        "what comes next: SASRec over purchases in the order of time, its states perturbed",
        {"dataset": "s3rec-beauty"},
        {"recommender": "sasrec", "adversary": "fgm", "epochs": 8, "refit": False},
    ),
    "cross-domain": Preset(
        "clothes and sports goods of the same users: a critic that must not tell where a row comes from",
        {"dataset": "disencdr-cloth-sport"},
        {"recommender": "cross-domain", "game": "domain", "adversary": "domain-critic", "epochs": 4, "refit": False},
    ),
    "multimodal": Preset(
        "artists by sound and description (AMR): an adversary that moves features, not ids",
        {"dataset": "lfm2k"},
        {
            "recommender": "multimodal", "fusion": "early", "weight_decay": 1.0, "adversary": "fgm",
            "under_attack": "features", "epsilon": 0.5, "epochs": 60, "patience": 15,
        },
    ),
    "shift": Preset(
        "trained on coats that users chose, tested on coats shown at random: negatives reweighted by the worst case",
        {"dataset": "coat-unbiased"},
        {"recommender": "autoencoder", "adversary": "kl-dro", "seeds": 10},
    ),
}  # fmt: skip


def preset(name: str) -> Config:
    """The configuration of a scenario.

    Raises:
        UserError: there is none of that name.
    """
    choices.one_of("preset", name, PRESETS)
    return PRESETS[name].config


def play(name: str, *, progress: bool = True, **options: Any) -> dict:
    """Train both models of a scenario that ranks items.

    Args:
        name: of the scenario.
        progress: show it.
        options: of `gan_rec.Settings`, in the place of the scenario's own.

    Returns:
        "adversarial" and "twin", each a `gan_rec.experiments.fitting.Fitted`.

    Raises:
        UserError: there is none of that name, it ranks no items, its data are not here, or an option is not allowed.
    """
    from gan_rec.experiments.fitting import fit
    from gan_rec.experiments.reading import load, split_of

    config = preset(name)
    if config.task != "ranking":
        raise UserError(f"the preset {name!r} has the task {config.task!r}; train --preset {name} plays it")
    settings = PRESETS[name].settings | {"seeds": config.settings.seeds} | options
    resolved = Settings(**settings).resolved()
    split = split_of(config.data, load(config.data, (resolved,)))
    return {
        model: fit(split, progress=progress, **settings | own)
        for model, own in {"adversarial": {}, "twin": {"alpha": 1.0}}.items()
    }
