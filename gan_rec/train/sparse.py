"""Row-sparse steps: of the embedding tables only those rows are read, moved and written that a batch names.

A batch is played on a small copy: its rows, each once, make tables of their own, and its ids point into these.
Players, game and optimiser do not notice, so whatever plays on whole tables plays here, and the cost of a step does not
grow with the catalogue. What differs is the optimiser's: rows that a batch does not name stay as they are, with their
moments (lazy Adam), where Adam on whole tables would go on moving and shrinking them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from gan_rec.errors import UserError


class Rows(NamedTuple):
    """Which rows of the tables a batch names: ascending, each once, filled up with a number past the last row."""

    users: Int[Array, " n"]
    items: Int[Array, " m"]


def gather(players: tuple, batch: Any) -> tuple[tuple, Any, Rows]:
    """The small copy of recommender and optimiser, the batch with ids into it, and where its rows come from.

    Args:
        players: recommender and the state of its optimiser; the recommender's class says of each of its `tables`
            whether its rows are "users" or "items".
        batch: of pairs, see `gan_rec.games.batches.Batch`.
    """
    tables = players[0].tables
    sizes = {kind: _size(players[0], kind) for kind in ("users", "items")}
    users, own_users = _distinct(batch.users, sizes["users"])
    items, own_items = _distinct(batch.items, sizes["items"])
    rows = Rows(users, items)

    def take(path, leaf):
        kind = _kind(path, tables)
        # Past the last row nothing is read: such a row is zero, and no id of the batch points to it.
        return leaf if kind is None else leaf.at[getattr(rows, kind)].get(mode="fill", fill_value=0)

    own = batch._replace(users=own_users, items=own_items, whole=players[0])
    return jax.tree_util.tree_map_with_path(take, players), own, rows


def scatter(players: tuple, small: tuple, rows: Rows) -> tuple:
    """The players with the rows of their small copy written back."""
    tables = players[0].tables

    def put(path, leaf, new):
        kind = _kind(path, tables)
        return new if kind is None else leaf.at[getattr(rows, kind)].set(new, mode="drop")

    return jax.tree_util.tree_map_with_path(put, players, small)


def n_rows(make_recommender: Callable) -> int:
    """How many rows the tables of a recommender (key -> module) have; 0 if it has none."""
    recommender = jax.eval_shape(make_recommender, jax.random.key(0))
    return sum(_size(recommender, kind) for kind in ("users", "items")) if hasattr(recommender, "tables") else 0


def fits(game: Any, make_recommender: Callable) -> bool:
    """Whether of a recommender's tables this game needs only the rows that a batch names."""
    return n_rows(make_recommender) > 0 and getattr(game, "needs_named_rows_only", False)


def check(game: Any, make_recommender: Callable, updates: str) -> None:
    """Raise UserError unless a game of this recommender can have these updates."""
    if updates != "dense" and not fits(game, make_recommender):
        raise UserError(
            f"table_updates {updates!r} needs recommender 'mf', a loss over pairs, and an adversary that keeps nothing "
            "of other rows than those of the batch; allowed here: auto, dense"
        )


def row_adagrad(epsilon: float = 1e-10) -> optax.GradientTransformation:
    """Adagrad (Duchi et al., JMLR 2011) with one accumulator for each row: the mean of its squared gradients.

    A table of D columns so costs one number a row rather than Adam's 2 D.
    """

    def init(tables):
        return jax.tree.map(lambda table: jnp.zeros(table.shape[0], table.dtype), tables)

    def update(gradients, sums, tables=None):
        sums = jax.tree.map(lambda s, g: s + jnp.mean(g * g, axis=tuple(range(1, g.ndim))), sums, gradients)
        return jax.tree.map(_scaled(epsilon), gradients, sums), sums

    return optax.GradientTransformation(init, update)


class PackedAdamState(NamedTuple):
    """What `packed_adam` keeps of tables `[n, D]`."""

    count: Int[Array, ""]  # steps
    moments: Any  # [n, 2, D] of each table: means of the gradients and of their squares


def packed_adam(decays: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, ICLR 2015) that keeps both moments of a row side by side, to be found with one look.

    Of rows here and there in a large table the look is what costs.
    """

    def init(tables):
        moments = jax.tree.map(lambda table: jnp.zeros((table.shape[0], 2, *table.shape[1:]), table.dtype), tables)
        return PackedAdamState(jnp.zeros((), jnp.int32), moments)

    def update(gradients, state, tables=None):
        count = state.count + 1
        corrections = [1 - decay**count for decay in decays]

        def moved(moments, gradient):
            means = zip(decays, (moments[:, 0], moments[:, 1]), (gradient, gradient * gradient), strict=True)
            return jnp.stack([decay * mean + (1 - decay) * new for decay, mean, new in means], axis=1)

        def step(moments):
            first, second = (moments[:, place] / corrections[place] for place in (0, 1))
            return first / (jnp.sqrt(second) + epsilon)

        moments = jax.tree.map(moved, state.moments, gradients)
        return jax.tree.map(step, moments), PackedAdamState(count, moments)

    return optax.GradientTransformation(init, update)


def optimizer(updates: str, learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
    """The recommender's optimiser: AdamW, or for its tables row-wise Adagrad or AdamW with packed moments."""
    dense = optax.adamw(learning_rate, weight_decay=weight_decay)
    if updates == "dense":
        return dense
    of_tables = row_adagrad() if updates == "row-adagrad" else packed_adam()
    decay, rate = optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(learning_rate)
    return optax.partition({"table": optax.chain(of_tables, decay, rate), "rest": dense}, _labels)


def _scaled(epsilon: float):
    def scale(gradient, total):
        return gradient * jax.lax.rsqrt(total + epsilon).reshape(-1, *[1] * (gradient.ndim - 1))

    return scale


def _labels(recommender):
    tables = recommender.tables
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: "rest" if _kind(path, tables) is None else "table", recommender
    )


def _kind(path: tuple, tables: dict[str, str]) -> str | None:
    """Whether a leaf, of the recommender or of what an optimiser keeps of it, has rows of users or items."""
    names = (getattr(key, "name", None) for key in path)
    return next((tables[name] for name in names if name in tables), None)


def _size(recommender: Any, kind: str) -> int:
    return next(getattr(recommender, name).shape[0] for name, of in recommender.tables.items() if of == kind)


def _distinct(ids: Int[Array, "*any"], size: int) -> tuple[Int[Array, " n"], Int[Array, "*any"]]:
    """Distinct ids, ascending and filled up with `size`, and for each id its place among them."""
    found, places = jnp.unique(ids, size=ids.size, fill_value=size, return_inverse=True)
    return found, places.reshape(ids.shape)
