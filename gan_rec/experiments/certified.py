"""Certified radii of trained models: how far each user's list is from changing, beside the twin's."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.experiments.fitting import Fitted, attacked_how, part_of
from gan_rec.recommenders.baselines.tables import matrix
from gan_rec.robustness.attackers import FGM
from gan_rec.robustness.certificates import certified_radii
from gan_rec.robustness.damage import move_rows
from gan_rec.robustness.smoothing import smoothed_radii

SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # of the length of rows: where curves are read


def certify(
    models: dict[str, Fitted],
    ks: Sequence[int] = (1, 20),
    rows: Sequence[str] = ("users", "items", "both"),
    *,
    on: str = "test",
    users: int | None = 200,
    smoothing: float | None = None,
) -> pd.DataFrame:
    """The radius within which no attack can change a user's first item, or the set of the K best, exact.

    With `smoothing` also the radius of the smoothed recommender's first item as "smoothed", see
    `gan_rec.robustness.smoothing.smoothed_radii`; that is another recommender, so the two do not compare.

    Args:
        models: by name; of the same split.
        ks: list lengths.
        rows: which may move: "users", "items", "both".
        on: "test" or "validation".
        users: how many, drawn once for all models among those with a held-out item; None: all.
        smoothing: sigma, length of the noise relative to a row; None: no smoothing.

    Returns:
        A row for each model, seed, kind of rows, K and user: `model, seed, rows, k, user, radius, correct`; "correct"
        says whether one of the user's K best is held out.

    Raises:
        UserError: norms other than l2, or a value that is not allowed.
    """
    if not models:
        raise UserError("there is no model to certify; give at least one")
    check_norms(models)
    frames = []
    for name, fitted in models.items():
        how = attacked_how(fitted)
        part = part_of(fitted, on)
        chosen = _users(np.unique(part.truth.users), users)
        known = to_device(part.known)
        attacked = move_rows(part.recommenders, FGM(), known, jax.random.key(0), radius=0.0, **how)
        user_rows, item_rows = (np.asarray(x) for x in attacked.clean_rows)
        ranked = _ranked(part, chosen)
        held = _held(part.truth, chosen)
        for i, seed in enumerate(fitted.settings.seed_list):
            own, catalogue = user_rows[i, chosen], item_rows[i]
            for k in ks:
                hits = _hits(own @ catalogue.T, ranked, held, k)
                for which in rows:
                    radii = certified_radii(own, catalogue, ranked, k, which)
                    frames.append(_frame(name, seed, which, k, part, chosen, radii, hits))
            if smoothing is not None:
                one = jax.tree.map(lambda x, i=i: x[i], attacked.moved)
                key = jax.random.fold_in(jax.random.key(fitted.settings.seed), i)
                found = smoothed_radii(one, jnp.asarray(own), jnp.asarray(ranked), key, sigma=smoothing)
                hits = held[np.arange(len(chosen)), found.items]
                frames.append(_frame(name, seed, "smoothed", 1, part, chosen, found.radii, hits))
    return pd.concat(frames, ignore_index=True)


def check_norms(models: dict[str, Fitted]) -> None:
    """Raise UserError if a model has a norm that nothing is certified for."""
    for name, fitted in models.items():
        if (norm := attacked_how(fitted)["norm"]) != "l2":
            raise UserError(f"certificates need norm 'l2', the model {name} has {norm!r}; --certify 0 leaves them out")


def certified_accuracy(radii: pd.DataFrame, at: Sequence[float] = SHARES) -> pd.DataFrame:
    """The share of users with a hit that no attack of a radius can take away, for several radii.

    Args:
        radii: what `certify` returned.
        at: radii.

    Returns:
        `rows, k, radius, model, seed, unchanged, accuracy`: "unchanged" the share of users whose list cannot change,
        "accuracy" the share of those who have a hit besides.
    """
    found = []
    for (which, k, model, seed), own in radii.groupby(["rows", "k", "model", "seed"], sort=False):
        for radius in at:
            safe = own["radius"] > radius
            found.append((which, k, radius, model, seed, safe.mean(), (safe & own["correct"]).mean()))
    columns = ["rows", "k", "radius", "model", "seed", "unchanged", "accuracy"]
    return pd.DataFrame(found, columns=columns)


def _users(everybody: np.ndarray, n: int | None) -> np.ndarray:
    if n is None or n >= len(everybody):
        return everybody
    return np.sort(np.random.default_rng(0).choice(everybody, n, replace=False))


def _ranked(part, users: np.ndarray) -> np.ndarray:
    """What may be in their lists, `[n, I]`."""
    ranked = ~_held(part.known, users)
    return ranked if part.truth.candidates is None else ranked & part.truth.candidates


def _held(pairs, users: np.ndarray) -> np.ndarray:
    """Which items they have, bool `[n, I]`."""
    return matrix(pairs)[users].toarray() > 0


def _hits(scores: np.ndarray, ranked: np.ndarray, held: np.ndarray, k: int) -> np.ndarray:
    best = np.argsort(np.where(ranked, -scores, np.inf), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(held & ranked, best, axis=1).any(axis=1)


def _frame(name, seed, which, k, part, users, radii, hits) -> pd.DataFrame:
    about = {"model": name, "seed": seed, "rows": which, "k": k, "user": part.known.user_ids[users]}
    return pd.DataFrame(about | {"radius": radii, "correct": hits})
