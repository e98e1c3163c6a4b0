"""Which operation of an epoch is the first whose result is not a number."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import checkify

import gan_rec
from gan_rec.train.epoch import Schedule, State, play

_PACKAGE = str(Path(gan_rec.__file__).parent)
_PLAYERS = {"_move_adversary": "adversary", "_move_recommender": "recommender", "_move_both": "recommender, adversary"}


def first_nan(state: State, positives: Any, game: Any, schedule: Schedule, keys: Any, seed: int) -> str:
    """Play an epoch again, with a check behind every operation, and say in a line what the first NaN is of.

    Takes some times as long as the epoch, and a compilation.

    Args:
        state: as it was before the epoch, of S seeds.
        positives, game, schedule, keys: see `gan_rec.train.epoch.epoch`.
        seed: the place of the one seed that is looked at.
    """

    def one(tree: Any) -> Any:
        return jax.tree.map(lambda x: x[seed] if jnp.ndim(x) else x, tree)

    checked = jax.jit(checkify.checkify(play, errors=checkify.nan_checks))
    error, _ = checked(jax.tree.map(lambda x: x[seed], state), positives, one(game), one(schedule), keys[seed])
    found = error.get_exception()
    if found is None:
        return "no operation gives NaN: one gives a number that is too large"
    frames = getattr(found.traceback_info, "frames", [])
    own = [frame for frame in frames if frame.file_name.startswith(_PACKAGE)]
    player = next((_PLAYERS[f.function_name] for f in own if f.function_name in _PLAYERS), "neither player")
    # The innermost line that is not a library's: of a class of the user's own it is the user's.
    place = next((f for f in frames if "site-packages" not in f.file_name), None)
    where = f" at {Path(place.file_name).name}:{place.line_num}, {place.function_name}" if place else ""
    loss = next((f.function_name for f in own if f.function_name.endswith("_loss")), None)
    return f"the first NaN is of {found.prim}{where}" + (f", in {loss}" if loss else "") + f", a step of {player}"
