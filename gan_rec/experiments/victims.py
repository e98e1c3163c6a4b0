"""Recommenders under attack: each can be trained again, alone or as a defence has it, on data that hold fakes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gan_rec.data import Split
from gan_rec.errors import UserError
from gan_rec.experiments import choices, fitting
from gan_rec.experiments.models import Goal, Refitted, Trained, model
from gan_rec.experiments.players import side_of
from gan_rec.experiments.settings import Settings
from gan_rec.robustness.defences import ADVERSARIAL, PLAIN, VULNERABLE

_ATTACK = "fgm"  # of adversarial training, where no run says which


@dataclass(frozen=True)
class Victim:
    """A recommender to be attacked.

    Args:
        name: of it.
        fits: by the trainings that it can have, see `gan_rec.robustness.defences.Defence`: split, seed -> the model,
            whose epoch is chosen on validation, fitted on train + validation.
        about: its settings, in words that differ where these do.
    """

    name: str
    fits: dict[str, Callable[[Split, int], Refitted]]
    about: str = ""

    def fit(self, training: str, split: Split, seed: int) -> Refitted:
        """Train it; `training` is one of `fits`."""
        return self.fits[training](split, seed)


def victim_of_name(name: str, epochs: int | None = None) -> Victim:
    """A baseline, or a recommender with its default settings; RECOMMENDER+ADVERSARY plays that one as its defence.

    Args:
        name: see `gan_rec.experiments.models.model`.
        epochs: the most epochs of a training; None: what the recommender has by default.

    Raises:
        UserError: there is none of that name.
    """
    named, goal = model(name), Goal(epochs=epochs)
    if named.closed:
        return Victim(name, {PLAIN: lambda split, seed: named.fit(split, named.defaults(split), (seed,), goal)})
    adversary = named.adversary or _ATTACK
    against = Trained(named.recommender, adversary)
    radii = {"radii": "by-loss"} if takes_radii(adversary) else {"adversary": _ATTACK, "radii": "by-loss"}
    fits = {
        PLAIN: lambda split, seed: Trained(named.recommender).fit(split, {}, (seed,), goal),
        ADVERSARIAL: lambda split, seed: against.fit(split, {}, (seed,), goal),
        VULNERABLE: lambda split, seed: against.fit(split, radii, (seed,), goal),
    }
    return Victim(named.recommender, fits, f"against {adversary}, epochs {epochs}")


def victim_of_run(settings: Settings, name: str = "run") -> Victim:
    """The recommender of a run, with its settings: alone it is the twin, and the run's adversary is its defence.

    Args:
        settings: of the run, resolved.
        name: of it in tables.
    """
    own = replace(settings, seeds=1, refit=True)
    fits = {PLAIN: _training(own.twin()), ADVERSARIAL: _training(own)}
    if own.game in ("embedding", "apr"):
        fits[VULNERABLE] = _training(_by_loss(own))
    return Victim(name, fits, repr(replace(own, seed=0)))


def takes_radii(adversary: str) -> bool:
    """Whether an adversary moves rows within a ball for each of them."""
    return choices.is_own(adversary) or adversary != "kl-dro"


def _by_loss(settings: Settings) -> Settings:
    if takes_radii(settings.adversary):
        return replace(settings, radii="by-loss")
    epsilon = choices.GAMES["embedding"].options["epsilon"]
    return replace(settings, adversary=_ATTACK, epsilon=epsilon, norm="l2", radii="by-loss")


def _training(settings: Settings) -> Callable[[Split, int], Refitted]:
    def fit(split: Split, seed: int) -> Refitted:
        seeded = replace(settings, seed=seed)
        found = fitting.training(seeded, split, ()).fit(split.train, split.valid)
        epochs = tuple(int(epoch) for epoch in found.selected.epoch)
        return Refitted(found.final.recommender, side_of(seeded), epochs)

    return fit


def check_victims(victims: dict[str, Victim]) -> None:
    """Raise UserError unless there is one."""
    if not victims:
        raise UserError("no recommender is named; at least one is needed, for example ease")
