"""What the command attack can be told of poisoning, as a typed dataclass, and what it then does."""

from dataclasses import dataclass, field
from pathlib import Path

from gan_rec.errors import UserError
from gan_rec.files import check_writable

# The heavy imports stand inside, as in gan_rec.commands.


@dataclass(frozen=True)
class LearningOptions:
    """How learned profiles are learned."""

    surrogate: str = "walks"
    """What is trained in the place of the recommender: factors, autoencoder, linear or walks; unrolled:linear in
    --poison says it for one attack."""
    learning_steps: int = 60
    """Steps of Adam of a learned attack."""
    realism: float = 0.2
    """Attack gan: weight of the critic's word, relative to promotion."""


@dataclass(frozen=True)
class Poison:
    """Fake profiles in the training data: retrain recommenders, with and without defences, and measure."""

    poison: tuple[str, ...] | None = None
    """Kinds of fake profiles: random, average, bandwagon, segment, or learned ones, unrolled and gan."""
    budget: tuple[float, ...] = (0.005, 0.01, 0.03, 0.05)
    """Fake users, as parts of the real ones."""
    targets: int = 5
    """How many items are promoted: drawn from the less popular half, the same for all attacks of a draw."""
    defences: tuple[str, ...] = ("none", "adversarial", "vulnerability-aware", "trimmed", "filter")
    """none, adversarial, vulnerability-aware, trimmed, filter, filter+adversarial; those that a recommender cannot have
    are left out."""
    draws: int = 3
    """Draws of targets, profiles and training seeds; intervals are over these."""
    draw_seed: int = 0
    """The first draw; the others follow it."""
    recommenders: tuple[str, ...] = ("run", "ease")
    """Who is attacked: run (the recommender of the run; its adversary is a defence), names as those of compare."""
    profile_size: int | None = None
    """Items of a fake profile (default: as many as real users have, drawn for each)."""
    learning: LearningOptions = field(default_factory=LearningOptions)
    poison_epochs: int | None = None
    """The most epochs of named recommenders (default: as compare has them)."""

    def plan(self):
        """The same as a `gan_rec.experiments.poisoning.Plan`.

        Raises:
            UserError: a name or number is not possible.
        """
        from gan_rec.experiments.poisoning import Plan
        from gan_rec.robustness.learned_profiles import Learning

        own = self.learning
        learning = Learning(surrogate=own.surrogate, steps=own.learning_steps, realism=own.realism)
        plan = Plan(
            _split(self.poison or ()), self.budget, self.targets, _split(self.defences), self.draws, self.draw_seed,
            self.profile_size, learning,
        )  # fmt: skip
        plan.check()
        return plan

    def run(self, directory: Path, output: Path | None = None, *, quiet: bool = False) -> None:
        """Measure all cells, print the table, and write cells.jsonl, poisoning.csv, .md and .png to a folder.

        Args:
            directory: of a finished run, whose data are poisoned.
            output: the folder (default: poisoning in the run's directory). Cells that are there are not measured again.
            quiet: show no progress.

        Raises:
            UserError: an option, the run or the folder does not allow it.
        """
        plan = self.plan()
        out = directory / "poisoning" if output is None else output
        check_writable(out)

        from gan_rec.experiments.poisoning import poison
        from gan_rec.experiments.poisoning_tables import text, write
        from gan_rec.experiments.run import open_run
        from gan_rec.experiments.victims import victim_of_name, victim_of_run

        run = open_run(directory)
        split = run.models["adversarial"].split
        victims = {}
        for name in dict.fromkeys(_split(self.recommenders)):
            victim = victim_of_run(run.settings) if name == "run" else victim_of_name(name, self.poison_epochs)
            victims[victim.name] = victim
        if not victims:
            raise UserError("no recommender is named; at least one is needed, for example run")
        cells = poison(split, victims, plan, out, quiet=quiet)
        drawn = write(cells, out)
        print(text(cells), end="")
        if not drawn:
            print("no poisoning.png, since matplotlib is not installed: pip install matplotlib")
        print(f"output directory: {out}")


def _split(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names, also with commas between them."""
    return tuple(part for name in names for part in name.split(",") if part)
