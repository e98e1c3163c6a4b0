"""Rows that an attack has moved at inference: found by what clean rows are like, without having seen an attack."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gan_rec.adversaries.ball import direction
from gan_rec.evaluation.labels import auc

SCORES = {
    "residual": "part of the row's length outside of the principal components of clean rows",
    "mahalanobis": "Mahalanobis distance from the clean rows",
    "smoothing": "part of the best items that changes when noise moves the row",
    "combined": "mean rank by these three among the clean rows",
}
_VARIANCE = 0.9  # of clean rows, which the principal components hold
_SHRINKAGE = 0.05  # of the covariance, towards the same variance along all directions
_BEST, _DRAWS, _SIGMA = 10, 16, 0.1  # best items, draws of noise, and its length relative to the row's


@dataclass(frozen=True)
class CleanRows:
    """What clean rows are like.

    Args:
        mean: of the rows.
        directions: the first principal components, as many as hold 90% of the variance.
        precision: inverse of their shrunk covariance.
        items: that rows are scored with; None: rows are not smoothed.
        scores: of the clean rows themselves, sorted, by name.
    """

    mean: Float[np.ndarray, " D"]
    directions: Float[np.ndarray, "P D"]
    precision: Float[np.ndarray, "D D"]
    items: Float[np.ndarray, "I D"] | None
    scores: dict[str, Float[np.ndarray, " n"]]

    def suspicion(self, rows: Float[np.ndarray, "m D"], seed: int = 0) -> dict[str, Float[np.ndarray, " m"]]:
        """By each of `SCORES` (without items neither "smoothing"), higher for rows less like the clean ones."""
        found = _scores(self, np.asarray(rows, np.float64), seed)
        ranks = [np.searchsorted(self.scores[name], own) / len(self.scores[name]) for name, own in found.items()]
        return found | {"combined": np.mean(ranks, axis=0)}


def fit_clean_rows(
    rows: Float[np.ndarray, "n D"], items: Float[np.ndarray, "I D"] | None = None, seed: int = 0
) -> CleanRows:
    """Learn what clean rows are like, from clean rows alone.

    Sources: distance in a space of the model's own, Lee et al., NeurIPS 2018, section 2.1; answers that noise changes,
    Roth, Kilcher, Hofmann, ICML 2019, section 3.

    Args:
        rows: clean user rows, item rows or vectors of texts.
        items: rows of the catalogue, whose inner product with a row is a score.
        seed: of the noise.
    """
    rows = np.asarray(rows, np.float64)
    mean = rows.mean(axis=0)
    _, sizes, directions = np.linalg.svd(rows - mean, full_matrices=False)
    held = np.cumsum(sizes**2) / max(np.sum(sizes**2), 1e-30)
    n = min(int(np.searchsorted(held, _VARIANCE)) + 1, len(sizes))
    covariance = np.cov(rows.T).reshape(len(mean), len(mean))
    usual = max(float(np.trace(covariance)) / len(mean), 1e-12)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * usual * np.eye(len(mean))
    found = CleanRows(mean, directions[:n], np.linalg.inv(shrunk), items, {})
    found.scores.update({name: np.sort(own) for name, own in _scores(found, rows, seed).items()})
    return found


def detect_moved_rows(
    clean: Float[np.ndarray, "U D"],
    moved: Float[np.ndarray, "U D"],
    items: Float[np.ndarray, "I D"] | None = None,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """How well rows moved by an attack are told from clean ones: fitted on a half of the users, measured on the other.

    Args:
        clean: rows as they are.
        moved: the same rows, moved.
        items: rows of the catalogue as the attacked system has them.
        seed: of the halves and the noise.

    Returns:
        score of `SCORES` -> "AUC", and "false alarms" and "found": the parts of clean and of moved rows above the
        score that 1% of the rows that it was fitted on exceed.
    """
    order = np.random.default_rng(seed).permutation(len(clean))
    fitted_on, measured = order[: len(clean) // 2], order[len(clean) // 2 :]
    fitted = fit_clean_rows(clean[fitted_on], items, seed)
    thresholds = {name: np.quantile(own, 0.99) for name, own in fitted.suspicion(clean[fitted_on], seed).items()}
    calm, alarmed = (fitted.suspicion(rows[measured], seed + 1) for rows in (clean, moved))
    labels = np.repeat([0, 1], len(measured))
    return {
        name: {
            "AUC": auc(labels, np.concatenate([calm[name], alarmed[name]])),
            "false alarms": float(np.mean(calm[name] > thresholds[name])),
            "found": float(np.mean(alarmed[name] > thresholds[name])),
        }
        for name in calm
    }


def _scores(clean: CleanRows, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    apart = rows - clean.mean
    inside = apart @ clean.directions.T
    outside = np.maximum(np.sum(apart**2, axis=1) - np.sum(inside**2, axis=1), 0.0)
    found = {
        "residual": np.sqrt(outside) / np.maximum(np.linalg.norm(apart, axis=1), 1e-12),
        "mahalanobis": np.sqrt(np.einsum("nd,de,ne->n", apart, clean.precision, apart)),
    }
    if clean.items is not None:
        items = jnp.asarray(clean.items, jnp.float32)
        k = min(_BEST, len(clean.items))
        changed = _changed(jnp.asarray(rows, jnp.float32), items, jax.random.key(seed), k=k)
        found["smoothing"] = np.asarray(changed, np.float64)
    return found


@partial(jax.jit, static_argnames="k")
def _changed(rows: Float[Array, "m D"], items: Float[Array, "I D"], key, *, k: int) -> Float[Array, " m"]:
    """Part of the k best items that is not among them under noise, averaged over draws."""
    best = _best(rows, items, k)
    sizes = _SIGMA * jnp.linalg.norm(rows, axis=1, keepdims=True)

    def draw(own_key):
        noise = direction(jax.random.normal(own_key, rows.shape)) * sizes
        noisy = _best(rows + noise, items, k)
        return 1 - jnp.mean(jnp.any(best[:, :, None] == noisy[:, None, :], axis=2), axis=1)

    return jnp.mean(jax.lax.map(draw, jax.random.split(key, _DRAWS)), axis=0)


def _best(rows: Float[Array, "m D"], items: Float[Array, "I D"], k: int) -> Int[Array, "m K"]:
    return jax.lax.top_k(rows @ items.T, k)[1]
