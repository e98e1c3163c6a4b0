"""Natural shifts beside adversarial ones: what becomes of both models of a run when the data change by themselves."""

import numpy as np
import pandas as pd

from gan_rec import data
from gan_rec.data import Dataset, Interactions
from gan_rec.data.sampling import to_device
from gan_rec.errors import UserError
from gan_rec.evaluation.evaluate import Evaluation, evaluate_ranking
from gan_rec.experiments.cells import MODELS, Cell, Compared, compare_cells
from gan_rec.experiments.fitting import Fitted, evaluate, moved_rows, training
from gan_rec.experiments.reading import load
from gan_rec.robustness import shifts
from gan_rec.robustness.explanations import reads_history

STRENGTHS = {
    "drops": (0.1, 0.3, 0.5),
    "misclicks": (0.1, 0.3, 0.5),
    "new users": (10, 5, 2),
    "popularity": (10, 3, 1),
}
_SECONDS = (1e8, 1e10)  # since 1970, of what can be times of interactions
_CHANGES = {"drops": shifts.drop, "misclicks": shifts.misclick, "new users": shifts.only}


def natural_shifts(
    run,
    *,
    k: int = 20,
    strengths: dict[str, tuple] | None = None,
    attacks: dict[str, float] | None = None,
    times: Dataset | None = None,
    seed: int = 0,
) -> Compared:
    """Measure both models on test as it is, and under shifts.

    * drops: a share of each history is missing when the model is asked. Left out, as misclicks are, for models that do
      not read histories: they would look immune only because nothing is asked of them.
    * misclicks: as many random items as a share of each history are in it.
    * new users: only so many random items of each history are known, and no id. Models that know users by ids alone
      have no such row; of a mix the parts that read histories answer.
    * popularity: at most so many held-out pairs of each item count.
    * tail: only held-out pairs of the least popular 80% of the catalogue count.
    * time: both models are trained anew on the earlier part of the data and tested on the later one; "time, known
      users" counts users with a history alone. Only if the data have times.

    What is left out of the ranking is the real history all the same, so every cell ranks the same items.

    Args:
        run: a `gan_rec.experiments.run.Run`, or what else has `models` "adversarial" and "twin".
        k: cut-off of NDCG.
        strengths: of each shift, see `STRENGTHS`, which is the default; without a shift's name it is left out.
        attacks: name of an attack without parameters -> radius, to stand beside the shifts; it aims at the own lists.
        times: the data set before it was split, for the shift in time, which trains; None: without it.
        seed: of what is drawn; all models see the same.

    Returns:
        A row for each shift, strength, model and seed; and the differences with their tests. The unshifted cell is the
        first.

    Raises:
        UserError: an unknown shift or attack, or `times` without times.
    """
    models, strengths = run.models, STRENGTHS if strengths is None else strengths
    for name in strengths:
        if name not in STRENGTHS:
            raise UserError(f"unknown shift {name!r}; allowed: {', '.join(STRENGTHS)}")
    metric, settings = f"NDCG@{k}", models["adversarial"].settings
    cells = [Cell(_about("none", 0), {name: evaluate(models[name], ks=(k,)) for name in MODELS})]
    cells += [
        Cell(_about(name, strength), found)
        for name, each in strengths.items()
        for strength in each
        if (found := _shifted(models, name, strength, k, seed)) is not None
    ]
    cells.append(Cell(_about("tail", 0.8), {name: _tail(models[name], k) for name in MODELS}))
    for attack, radius in (attacks or {}).items():
        found = {name: _attacked(models[name], attack, radius, k) for name in MODELS}
        cells.append(Cell(_about(attack, radius), found))
    if times is not None:
        cells += _in_time(models, times, k)
    return compare_cells(cells, metric, settings.seed_list)


def with_times(run) -> Dataset | None:
    """The data set of a run as `natural_shifts` takes it for the shift in time; None if it cannot be cut there."""
    dataset = load(run.options, (run.settings,))
    try:
        data.split(dataset, "temporal")
    except UserError:
        return None
    return dataset


def _about(shift: str, strength: float) -> dict:
    return {"shift": shift, "strength": float(strength)}


def _shifted(models: dict[str, Fitted], name: str, strength: float, k: int, seed: int) -> dict[str, Evaluation] | None:
    found = {}
    for model in MODELS:
        fitted, known = models[model], models[model].split.train_and_valid()
        truth, recommenders = fitted.split.open_test(), fitted.weights.final.recommender
        if name == "popularity":
            truth = shifts.cap(truth, int(strength), seed)
        if name in ("drops", "misclicks") and fitted.side == "user" and not reads_history(recommenders):
            return None
        if name == "new users":
            recommenders = shifts.without_ids(recommenders) if fitted.side == "user" else None
            if recommenders is None:
                return None
        found[model] = shifted(fitted, recommenders, known, truth, _CHANGES.get(name), strength, k, seed)
    return found


def shifted(fitted, recommenders, known: Interactions, truth: Interactions, change, strength, k, seed) -> Evaluation:
    """NDCG@k of recommenders that read `change(known, strength, seed)`, or with None what is known."""
    mask = to_device(known)
    if change is None:
        return evaluate_ranking(recommenders, mask, truth, (k,), side=fitted.side)
    histories = to_device(change(known, strength, seed))
    return evaluate_ranking(shifts.reading(recommenders, histories, fitted.side), mask, truth, (k,))


def _attacked(fitted: Fitted, attack: str, radius: float, k: int) -> Evaluation:
    moved = moved_rows(fitted, attack, radius, goal="list", k=k)
    return evaluate_ranking(moved, to_device(fitted.split.train_and_valid()), fitted.split.open_test(), (k,))


def _tail(fitted: Fitted, k: int) -> Evaluation:
    known = fitted.split.train_and_valid()
    truth = shifts.tail(fitted.split.open_test(), known)
    return shifted(fitted, fitted.weights.final.recommender, known, truth, None, 0, k, 0)


def _in_time(models: dict[str, Fitted], dataset: Dataset, k: int) -> list[Cell]:
    """Both models trained on the earlier part; tested on the later one, and on its users with a history."""
    cut = data.split(dataset, "temporal")
    known = cut.train_and_valid()
    mask, has = to_device(known), known.transposed().item_counts() > 0
    truths = {"time": cut.open_test(), "time, known users": shifts.of_users(cut.open_test(), has)}
    found: dict[str, dict[str, Evaluation]] = {name: {} for name in truths}
    for model in MODELS:
        fitted = models[model]
        weights = training(fitted.settings, cut, ()).fit(cut.train, cut.valid).final.recommender
        for name, truth in truths.items():
            found[name][model] = evaluate_ranking(weights, mask, truth, (k,), side=fitted.side)
    return [Cell(_about(name, 0.2), each) for name, each in found.items()]


def by_month(run, *, k: int = 20, least: int = 20) -> Compared:
    """Measure both models on the test part of a split in time, month by month: how they age, and whether alike.

    Users without a history are left out, as all models can only guess for them.

    Args:
        run: as for `natural_shifts`, trained on a split in time.
        k: cut-off of NDCG.
        least: users that a month must have to count.

    Returns:
        A row for each calendar month (UTC; "month" is YYYY-MM, "age" counts months since training data end), model and
        seed; and the differences with their tests.

    Raises:
        UserError: the test part has no times in seconds since 1970, or no month has as many users.
    """
    some = run.models["adversarial"]
    known, truth = some.split.train_and_valid(), some.split.open_test()
    if truth.times is None or not (_SECONDS[0] < truth.times.min() and truth.times.max() < _SECONDS[1]):
        raise UserError("months need the times of test pairs in seconds since 1970, which this split has not")
    has = known.transposed().item_counts() > 0
    month = truth.times.astype("datetime64[s]").astype("datetime64[M]")
    last = known.times.max().astype("datetime64[s]").astype("datetime64[M]") if known.times is not None else month.min()
    mask, cells = to_device(known), []
    for each in np.unique(month):
        part = shifts.of_users(truth.select(month == each), has)
        if len(np.unique(part.users)) >= least:
            found = {
                name: evaluate_ranking(run.models[name].weights.final.recommender, mask, part, (k,), side=some.side)
                for name in MODELS
            }
            cells.append(Cell({"month": str(each), "age": int((each - last).astype(int))}, found))
    if not cells:
        raise UserError(f"no month of the test part has {least} users with a history")
    return compare_cells(cells, f"NDCG@{k}", some.settings.seed_list)


def shifts_text(found: Compared) -> str:
    """The differences, for people."""
    frame: pd.DataFrame = found.differences
    return frame.to_string(index=False, float_format=lambda x: f"{x:.4f}")
