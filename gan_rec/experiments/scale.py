"""What goes by the size of the data and the number of devices: updates of tables, chunks, streams, where arrays lie."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gan_rec.data import StreamedInteractions
from gan_rec.errors import UserError
from gan_rec.experiments import choices
from gan_rec.experiments.settings import Settings
from gan_rec.recommenders import RECOMMENDERS
from gan_rec.train import sparse
from gan_rec.train.epoch import Schedule
from gan_rec.train.sharding import Layout, make_mesh
from gan_rec.train.streaming import StreamedRanking, StreamedTraining


def make_layout(mesh: str, settings: Settings, n_users: int, n_items: int) -> Layout:
    """How devices share the work.

    Raises:
        UserError: the mesh is none of these devices, the recommender has no tables to be split, or the batch is odd.
    """
    made = make_mesh(mesh)
    tables = getattr(RECOMMENDERS[settings.recommender], "tables", {})
    if made.shape["model"] > 1 and not tables:
        raise UserError(f"mesh {mesh!r}: recommender {settings.recommender!r} has no tables to be split over model")
    if settings.batch_size % made.shape["data"]:
        raise UserError(f"mesh {mesh!r}: batch_size {settings.batch_size} is no multiple of data")
    return Layout(made, tuple(tables.items()), (("users", n_users), ("items", n_items)))


def with_table_updates(schedule: Schedule, settings: Settings, game: Any, make_recommender: Callable) -> Schedule:
    """The schedule with the updates of embedding tables that are asked for, or for "auto" those that go by their size.

    Raises:
        UserError: updates of rows where more than the rows of a batch is needed.
    """
    asked = settings.table_updates
    if asked != "auto":
        sparse.check(game, make_recommender, asked)
        return replace(schedule, table_updates=asked)
    many = sparse.n_rows(make_recommender) > choices.MANY_ROWS
    fits = many and sparse.fits(game, make_recommender) and settings.accumulate == 1 and settings.balance == "fixed"
    return replace(schedule, table_updates="lazy-adam" if fits else "dense")


def with_score_chunks(game: Any, settings: Settings, n_users: int, n_items: int) -> Any:
    """The game, with the catalogue in chunks if they are asked for, or for "auto" if scores of all of it are large.

    Raises:
        UserError: chunks with an adversary that reads histories, which are as large as the scores.
    """
    asked, fits = settings.softmax_scores, getattr(game, "fits_chunks", False) and settings.balance == "fixed"
    if asked == "chunks" and not fits:
        raise UserError(
            f"softmax_scores 'chunks' needs an adversary that reads no histories, which {settings.adversary!r} does; "
            "allowed here: auto, dense"
        )
    of_item = 4 * settings.seeds * settings.batch_size  # bytes
    large = of_item * (n_users if settings.side == "item" else n_items) > choices.LARGEST_SCORES * 2**20
    if asked == "dense" or not fits or (asked == "auto" and not large):
        return game
    return replace(game, chunk=max(choices.CHUNK_SCORES * 2**20 // of_item, 1))


def streamed(settings: Settings, train: StreamedInteractions, parts: dict[str, Any]) -> StreamedTraining:
    """The training on streamed interactions that has these parts, see `gan_rec.train.fit.Training`.

    Raises:
        UserError: it would need more of the data at once than a buffer.
    """
    game = parts["game"]
    for fails, need, got in (
        (settings.recommender != "mf", "recommender 'mf'", settings.recommender),
        (settings.side == "item", "side 'user'", settings.side),
        (getattr(game, "of_users", False), "a loss over pairs", settings.loss),
        (not sparse.fits(game, parts["make_recommender"]), "an adversary that needs no other rows than those of the "
         "batch", settings.adversary),
        (settings.balance != "fixed", "balance 'fixed'", settings.balance),
    ):  # fmt: skip
        if fails:
            raise UserError(f"streamed interactions need {need}, got {got!r}")
    task = StreamedRanking(seed=settings.seed)
    rounds = task.on_device(train).n
    # In a pass the average moves as often as there are buffers, and in all as far as in an epoch.
    schedule = replace(parts["schedule"], average=parts["schedule"].average ** (1 / rounds))
    return StreamedTraining(**parts | {"schedule": schedule}, task=task, rounds=rounds)
