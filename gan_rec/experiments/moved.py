"""How well rows that attacks have moved are found by what clean rows are like."""

from collections.abc import Sequence

import jax
import numpy as np
import pandas as pd

from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments import choices
from gan_rec.experiments.fitting import Fitted, attacked_how
from gan_rec.robustness.attackers import WITHOUT_PARAMETERS
from gan_rec.robustness.damage import move_rows
from gan_rec.robustness.moved_rows import detect_moved_rows

RADII = (0.1, 0.3, 0.5, 1.0)


def measure_moved(
    fitted: Fitted, attacks: Sequence[str] = ("noise", "fgm", "pgd"), radii: Sequence[float] = RADII
) -> pd.DataFrame:
    """Attack the user rows of a trained model, and tell them from clean ones.

    Everything is fitted on clean rows, so no kind of attack is known before. See
    `gan_rec.robustness.moved_rows.detect_moved_rows`.

    Args:
        fitted: a trained model.
        attacks: names of attacks without parameters.
        radii: relative to the length of each row.

    Returns:
        A row for each attack, radius, seed and score: `attack, radius, seed, detector, AUC, false alarms, found`.

    Raises:
        UserError: an attack is unknown, or a radius negative.
    """
    for name in attacks:
        choices.one_of("attack", name, WITHOUT_PARAMETERS)
    if min(radii, default=0) < 0:
        raise UserError(f"a radius must be at least 0, got {min(radii)}")
    settings, known = fitted.settings, to_device(fitted.split.train_and_valid())
    how = attacked_how(fitted)

    def rows_at(attack: str, radius: float):
        key = jax.random.key(settings.seed)
        adversary = WITHOUT_PARAMETERS[attack]()
        moved = move_rows(fitted.weights.final.recommender, adversary, known, key, radius=radius, **how).moved
        return np.asarray(moved.user_rows[...]), np.asarray(moved.item_rows[...])

    clean, items = rows_at("noise", 0.0)
    found = []
    for attack in attacks:
        for radius in radii:
            moved, _ = rows_at(attack, radius)
            for number, seed in enumerate(settings.seed_list):
                scores = detect_moved_rows(clean[number], moved[number], items[number], seed)
                where = {"attack": attack, "radius": radius, "seed": seed}
                found += [where | {"detector": name} | own for name, own in scores.items()]
    return pd.DataFrame(found)
