"""Certificates: radii within which no perturbation at all changes what a user is recommended.

They hold for scores that are inner products of rows, whatever network made the rows, and are exact: a perturbation a
hair longer than the radius changes the list.
"""

import numpy as np
from jaxtyping import Bool, Float

from gan_rec.errors import UserError
from gan_rec.robustness.damage import ROWS

_HALVINGS = 60  # of an interval of length 1: below the precision of a double


def certified_radii(
    users: Float[np.ndarray, "n D"],
    items: Float[np.ndarray, "I D"],
    ranked: Bool[np.ndarray, "n I"],
    k: int = 1,
    rows: str = "users",
) -> Float[np.ndarray, " n"]:
    """The largest radius within which the set of each user's K best items cannot change.

    Rows move by at most the radius times their length (L2). For each pair of a listed item a and another one b the
    smallest radius at which b can reach a is known, and the smallest of these counts. With d = v_a - v_b, u the user's
    row and s = (|v_a| + |v_b|) / |d| it is

    * u d / (|u| |d|), the sine of the angle between u and the hyperplane of ties, where user rows move;
    * u d / (|u| (|v_a| + |v_b|)), where item rows move: all of them, each along u;
    * the r with arcsin(r) + arcsin(r s) = arcsin(u d / (|u| |d|)), where both do: u turns towards the hyperplane by at
      most arcsin(r), and items turn the hyperplane towards u by at most arcsin(r s).

    The first is the distance to a linear boundary, as Hein and Andriushchenko, NeurIPS 2017, have it for classes.

    Args:
        users: rows of n users.
        items: rows of the catalogue.
        ranked: what may be in the user's list; at least K + 1 items of each user, or there is nothing to change.
        k: list length.
        rows: which may move, "users", "items" or "both".

    Returns:
        Radii relative to the length of the rows, from 0 (a tie) to 1 (more than that, or nothing can change at all).

    Raises:
        UserError: `rows` or `k` is not possible.
    """
    if rows not in ROWS:
        raise UserError(f"unknown rows {rows!r}; allowed: {', '.join(ROWS)}")
    if not 1 <= k <= items.shape[0]:
        raise UserError(f"k = {k} is not possible: the catalogue has {items.shape[0]} items")
    users, items = np.asarray(users, np.float64), np.asarray(items, np.float64)
    lengths = np.linalg.norm(items, axis=1)
    radii = [_radius(user, items, lengths, own, k, rows) for user, own in zip(users, ranked, strict=True)]
    return np.array(radii)


def _radius(user, items, lengths, ranked, k: int, rows: str) -> float:
    """Of one user."""
    can = np.flatnonzero(ranked)
    if len(can) <= k or not user.any():
        return 1.0 if len(can) <= k else 0.0
    order = np.argsort(-(items[can] @ user), kind="stable")
    listed, others = can[order[:k]], can[order[k:]]
    gaps, distances = np.empty((2, k, len(others)))
    for n, item in enumerate(listed):
        # Of items that are alike, differences of products and of squares would be nothing but rounding.
        apart = items[item] - items[others]
        gaps[n], distances[n] = apart @ user, np.linalg.norm(apart, axis=1)
    lengths = lengths[listed, None] + lengths[None, others]
    size = np.linalg.norm(user)
    with np.errstate(divide="ignore", invalid="ignore"):
        angles = np.where(gaps > 0, gaps / (size * distances), 0.0)  # equal rows are a tie
        slopes = np.where(distances > 0, lengths / distances, np.inf)
        of_items = np.where(gaps > 0, gaps / (size * lengths), 0.0)
    if rows == "users":
        return float(min(angles.min(), 1.0))
    if rows == "items":
        return float(min(of_items.min(), 1.0))
    return _both(angles.ravel(), slopes.ravel())


def _both(sines: Float[np.ndarray, " p"], slopes: Float[np.ndarray, " p"]) -> float:
    """The smallest r of any pair with arcsin(r) + arcsin(r slope) = arcsin(sine), 1 at the most."""
    finite = np.isfinite(slopes)
    if not finite.all():
        return 0.0
    sines = np.minimum(sines, 1.0)
    least = sines / (1.0 + slopes)  # arcsin is convex, so that no pair meets before
    first = int(np.argmin(least))
    bound = _meeting(sines[first : first + 1], slopes[first : first + 1])[0]
    near = least <= bound
    return float(_meeting(sines[near], slopes[near]).min())


def _meeting(sines: Float[np.ndarray, " p"], slopes: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """By bisection, for each pair."""
    low, high = np.zeros_like(sines), 1.0 / slopes  # a pair is met at the latest where the items alone reach it
    goal = np.arcsin(sines)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        met = np.arcsin(middle) + np.arcsin(np.minimum(middle * slopes, 1.0)) >= goal
        low, high = np.where(met, low, middle), np.where(met, middle, high)
    return high
