"""What goes into service: one recommender without its adversary, as plain arrays in one file."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

import gan_rec
from gan_rec.data import Interactions
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.evaluation.ranking import MEMORY, top_items
from gan_rec.experiments.fitting import Fitted, one_seed
from gan_rec.experiments.lists import lists
from gan_rec.files import write_arrays, writing
from gan_rec.recommenders.baselines.tables import Factors
from gan_rec.recommenders.flipped import flip
from gan_rec.recommenders.graph import on_graph
from gan_rec.recommenders.history import known_of
from gan_rec.recommenders.whole_numbers import dequantise, quantise

_CHUNK = 4096  # users whose rows are made at a time


@dataclass(frozen=True)
class Artefact:
    """A row for each user and item, whose inner products are the scores, and what each user has.

    Args:
        user_rows: `[U, D]`.
        item_rows: `[I, D]`.
        known: pairs that are not recommended again, with the original ids.
        candidates: `[I]` bool, the items that can be recommended; None: all.
    """

    user_rows: Float[np.ndarray, "U D"]
    item_rows: Float[np.ndarray, "I D"]
    known: Interactions
    candidates: np.ndarray | None = None

    @property
    def recommender(self) -> Factors:
        """As the evaluation takes it, with a leading axis of 1."""
        return jax.tree.map(lambda x: x[None], Factors(self.user_rows, self.item_rows))

    def recommend(self, users: Sequence[Any] | None = None, k: int = 10, *, memory: int = MEMORY) -> pd.DataFrame:
        """See `gan_rec.recommend`."""
        return lists(self.recommender, self.known, users, k, candidates=self.candidates, memory=memory)


def export(fitted: Fitted, *, seed_index: int = 0) -> Artefact:
    """What one seed of a trained model makes of all users and items, histories and graph read for the last time.

    Raises:
        UserError: there is no such seed, or scores are no inner products of such rows.
    """
    known = fitted.split.train_and_valid()
    known = known.of_users(np.arange(known.n_users))
    recommender = jax.tree.map(lambda x: x[0], one_seed(fitted, seed_index))
    positives = to_device(known)
    recommender = flip(on_graph(recommender, positives), positives, fitted.side)
    item_rows = np.asarray(recommender.items())
    rows = jax.jit(lambda ids: recommender.users(ids, known_of(recommender, positives, ids)))
    every = np.arange(known.n_users)
    parts = [rows(jnp.asarray(ids)) for ids in np.split(every, range(_CHUNK, len(every), _CHUNK))]
    _check(recommender, parts[0][:8], item_rows)
    return Artefact(np.concatenate(parts), item_rows, known, fitted.split.candidates)


def save(path: Path, artefact: Artefact, *, int8: bool = False) -> None:
    """Write it as .npz: `user_rows`, `item_rows`, `users` and `items` of the known pairs, `user_ids`, `item_ids`.

    With `int8` rows are whole numbers, and `user_scales`, `item_scales` `[n, groups]` what those of each 64 columns are
    to be multiplied by.

    Raises:
        UserError: it cannot be written there.
    """
    known, rows = artefact.known, {}
    for name, table in {"user": artefact.user_rows, "item": artefact.item_rows}.items():
        if int8:
            rows[f"{name}_rows"], rows[f"{name}_scales"] = quantise(table)
        else:
            rows[f"{name}_rows"] = table.astype(np.float32)
    if artefact.candidates is not None:
        rows["candidates"] = artefact.candidates
    about = json.dumps({"gan_rec": gan_rec.__version__, "kind": "rows"})
    ids = {"user_ids": _plain(known.user_ids), "item_ids": _plain(known.item_ids)}
    with writing(path):
        write_arrays(path, **rows, **ids, users=known.users, items=known.items, about=np.array(about))


def load_artefact(path: Path) -> Artefact:
    """Read what `save` wrote.

    Raises:
        UserError: it is not there, or no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        known = Interactions(arrays["users"], arrays["items"], arrays["user_ids"], arrays["item_ids"])
        tables = [_table(arrays, name) for name in ("user", "item")]
        _check_sizes(*tables, known, arrays.get("candidates"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (BadZipFile, ValueError, TypeError, KeyError, EOFError) as error:
        raise UserError(f"{path} is no file that the command export wrote, or is damaged") from error
    return Artefact(*tables, known, arrays.get("candidates"))


def measure(fitted: Fitted, seed_index: int, artefact: Artefact, path: Path) -> dict[str, dict[str, float]]:
    """What a written file is beside the model that it was made of: "float32" and "written" by what is measured.

    NDCG@20 on test and, of equally many users at once, milliseconds a user of the top 20 once compiled.
    """
    written = load_artefact(path)
    k = min(20, artefact.known.n_items if artefact.candidates is None else int(artefact.candidates.sum()))
    tables = artefact.user_rows.nbytes + artefact.item_rows.nbytes
    with np.load(path, allow_pickle=False) as file:
        smaller = sum(file[name].nbytes for name in file.files if name.endswith(("_rows", "_scales")))
    known, test = to_device(artefact.known), fitted.split.open_test()
    own = evaluate_ranking(one_seed(fitted, seed_index), known, test, (k,), side=fitted.side)
    theirs = evaluate_ranking(written.recommender, known, test, (k,))
    return {
        f"NDCG@{k} on test": _pair(*(float(each.per_seed(f"NDCG@{k}")[0]) for each in (own, theirs))),
        "MiB of rows": _pair(tables / 2**20, smaller / 2**20),
        "milliseconds a user": _pair(*(_milliseconds(each, k) for each in (artefact, written))),
    }


def _pair(first: float, second: float) -> dict[str, float]:
    return {"float32": first, "written": second}


def _milliseconds(artefact: Artefact, k: int) -> float:
    every = np.arange(artefact.known.n_users)
    recommender, known = artefact.recommender, to_device(artefact.known)
    for _ in range(2):
        start = time.perf_counter()
        top_items(recommender, known, every, k, candidates=artefact.candidates)
    return 1e3 * (time.perf_counter() - start) / len(every)


def _table(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    rows = arrays[f"{name}_rows"]
    return dequantise(rows, arrays[f"{name}_scales"]) if rows.dtype == np.int8 else rows


def _check_sizes(users: np.ndarray, items: np.ndarray, known: Interactions, candidates: np.ndarray | None) -> None:
    """Raise ValueError unless rows, ids, pairs and candidates are of the same users and items."""
    sizes = known.n_users, known.n_items
    fits = (len(users), len(items)) == sizes and users.shape[1:] == items.shape[1:]
    fits &= candidates is None or candidates.shape == sizes[1:]
    fits &= known.users.shape == known.items.shape
    for ids, size in zip((known.users, known.items), sizes, strict=True):
        fits &= np.issubdtype(ids.dtype, np.integer) and (not len(ids) or 0 <= ids.min() <= ids.max() < size)
    if not fits:
        raise ValueError("arrays that do not belong together")


def _plain(ids: np.ndarray) -> np.ndarray:
    """Ids without Python objects, which a file of arrays could only hold as code."""
    return ids if ids.dtype != object else ids.astype(str)


def _check(recommender: Any, users: Any, item_rows: np.ndarray) -> None:
    items = jnp.asarray(item_rows)
    if not np.allclose(recommender.score(users, items), users @ items.T, rtol=1e-3, atol=1e-4):
        raise UserError("only recommenders whose scores are inner products of rows can be exported")
