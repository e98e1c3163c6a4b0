"""What a training of large tables would take: from its compiled step, whose arrays are never there."""

import re
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_rec.errors import UserError
from gan_rec.experiments import players, scale
from gan_rec.experiments.choices import OF_ROWS, one_of
from gan_rec.experiments.settings import Settings
from gan_rec.games.batches import Batch
from gan_rec.train.epoch import init, step_on
from gan_rec.train.sharding import Layout

_LARGEST = 2**31 - 1  # ids are int32
_COPIES = 6  # of the recommender at most at once, beside the one that plays: see Plan.kept
_BETWEEN_CHIPS = re.compile(r" = (.+?) (?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\(")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_BITS = {"pred": 8, "s8": 8, "u8": 8, "bf16": 16, "f16": 16, "s32": 32, "u32": 32, "f32": 32, "s64": 64, "u64": 64}


@dataclass(frozen=True)
class Chip:
    """Public peak numbers of one chip."""

    memory: float  # bytes
    flops: float  # a second, of float32 products as JAX makes them by default there (bfloat16 passes, TF32)
    bandwidth: float  # bytes a second, of its memory
    links: float  # bytes a second, to other chips


# From the vendors' data sheets and documentation.
CHIPS = {
    "tpu-v4": Chip(32e9, 275e12, 1.228e12, 300e9),
    "tpu-v5e": Chip(16e9, 197e12, 0.819e12, 200e9),
    "tpu-v5p": Chip(95e9, 459e12, 2.765e12, 600e9),
    "tpu-v6e": Chip(32e9, 918e12, 1.64e12, 448e9),
    "a100": Chip(80e9, 156e12, 2.039e12, 600e9),
    "h100": Chip(80e9, 494e12, 3.35e12, 900e9),
    "h200": Chip(141e9, 494e12, 4.8e12, 900e9),
}


@dataclass(frozen=True)
class Plan:
    """What one chip of the mesh holds and does; without the pairs and what is made of them (4 to 16 bytes for each).

    Args:
        chips: in the mesh.
        updates: of tables, see `Settings.table_updates`.
        tables: bytes of the recommender.
        optimizer: bytes of its optimiser's state.
        kept: bytes of other copies of the recommender: the moving average, the best weights so far and those that take
            their place, in the refit those of the selection, and both of the model that the command train trained
            first.
        temporary: bytes that a step needs beside them, of which the compiler knows.
        flops: of a step.
        moved: bytes that a step reads and writes.
        sent: bytes that a step exchanges with other chips.
        batch_size: pairs of a step, of all chips together.
    """

    chips: int
    updates: str
    tables: int
    optimizer: int
    kept: int
    temporary: int
    flops: float
    moved: float
    sent: float
    batch_size: int

    @property
    def memory(self) -> int:
        """Bytes, all together."""
        return self.tables + self.optimizer + self.kept + self.temporary

    def seconds(self, chip: Chip) -> float:
        """An estimate: the step at the chip's peak, of whatever takes longest (Williams et al., CACM 2009)."""
        return max(self.flops / chip.flops, self.moved / chip.bandwidth, self.sent / chip.links)


def plan(settings: Settings, n_users: int, n_items: int, mesh: str | None = None) -> Plan:
    """Compile a step on simulated devices and ask the compiler.

    Of row updates a compiler counts the whole table as read, wherever rows are looked up. So the bytes moved are taken
    from two small tables, as the part that does not grow with them; for updates of whole tables, as the line through
    both.

    Args:
        settings: resolved; a game over pairs, with recommender mf.
        n_users, n_items: rows of the tables.
        mesh: "data=X,model=Y", of as many (simulated) devices as there are; None: one.

    Raises:
        UserError: the settings have no tables, or there are more rows than ids can count.
    """
    if not 1 <= min(n_users, n_items) or max(n_users, n_items) > _LARGEST:
        raise UserError(f"users and items must be 1 to {_LARGEST:,} each, got {n_users:,} and {n_items:,}")
    if settings.recommender != "mf" or settings.loss in (None, "softmax"):
        raise UserError("plan needs recommender 'mf' and a loss over pairs: bpr, sampled-softmax or bce")
    if settings.adversary in ("free", "accumulated"):
        raise UserError(f"adversary {settings.adversary!r} keeps gradients from step to step; plan with 'fgm' instead")
    sized = _Step(settings, n_users, n_items, mesh)
    updates = sized.schedule.table_updates
    compiled = sized.compile()
    few, alike = 4 * settings.batch_size * (1 + settings.negatives), replace(settings, table_updates=updates)
    low, high = (_Step(alike, few * n, few * n, mesh).compile().cost_analysis() for n in (1, 2))
    grows = {name: (high[name] - low[name]) / (2 * few) for name in ("flops", "bytes accessed")}
    fixed = {name: low[name] - 2 * few * grows[name] for name in grows}
    rows = 0 if updates in OF_ROWS else n_users + n_items
    state = sized.state()
    return Plan(
        chips=1 if sized.layout is None else sized.layout.mesh.size,
        updates=updates,
        tables=sized.size_of(state.recommender),
        optimizer=sized.size_of(state.recommender_opt) + sized.size_of((state.adversary, state.adversary_opt)),
        kept=_COPIES * sized.size_of(state.average),
        temporary=compiled.memory_analysis().temp_size_in_bytes,
        flops=fixed["flops"] + rows * grows["flops"],
        moved=fixed["bytes accessed"] + rows * grows["bytes accessed"],
        sent=_between_chips(compiled.as_text()),
        batch_size=settings.batch_size,
    )


def chip_named(name: str) -> Chip:
    """One of CHIPS.

    Raises:
        UserError: it is none.
    """
    one_of("chip", name, tuple(CHIPS))
    return CHIPS[name]


class _Step:
    """A min-max step on tables of a size."""

    def __init__(self, settings: Settings, n_users: int, n_items: int, mesh: str | None):
        self.settings, self.game, self.n_items = settings, players.make_game(settings), n_items
        self.layout: Layout | None = None if mesh is None else scale.make_layout(mesh, settings, n_users, n_items)
        multiple = 1 if self.layout is None else self.layout.multiple
        self.makers = (
            players.make_recommender(settings, n_users, n_items, multiple=multiple),
            players.make_adversary(settings, n_users, n_items),
        )
        schedule = scale.with_table_updates(players.make_schedule(settings), settings, self.game, self.makers[0])
        self.schedule = replace(schedule, layout=self.layout)

    def state(self) -> Any:
        """Shapes of the state of S seeds, and where its arrays would lie."""
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), self.settings.seeds))
        state = jax.eval_shape(lambda keys: init(*self.makers, self.schedule, keys, self.game.alpha), keys)
        if self.layout is None:
            return state
        return jax.tree.map(
            lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), state, self.layout.shardings(state)
        )

    def compile(self) -> Any:
        """The step, compiled."""
        size, lists = self.settings.batch_size, 1 + self.settings.negatives
        ids = jax.ShapeDtypeStruct((size,), jnp.int32), jax.ShapeDtypeStruct((size, lists), jnp.int32)
        profile = jax.ShapeDtypeStruct((size, self.n_items), jnp.float32) if self.game.profiles else None

        def step(state, users, items, profile):
            batch = Batch(users, None, None, items, profile=profile)
            return step_on(state, batch, self.game, self.schedule, jax.random.key(0))

        return jax.jit(step, donate_argnums=0).lower(self.state(), *ids, profile).compile()

    def size_of(self, tree: Any) -> int:
        """Bytes of one chip."""
        shapes = jax.tree.leaves(tree)
        parts = [x.shape if x.sharding is None else x.sharding.shard_shape(x.shape) for x in shapes]
        return int(sum(np.prod(part, dtype=float) * x.dtype.itemsize for part, x in zip(parts, shapes, strict=True)))


def _between_chips(program: str) -> float:
    """Bytes of what the collective operations of a compiled program give."""
    found = [part for line in program.splitlines() for part in _BETWEEN_CHIPS.findall(line)]
    arrays = [array for part in found for array in _ARRAY.findall(part)]
    return float(sum(_BITS[kind] / 8 * np.prod([int(n) for n in shape.split(",") if n]) for kind, shape in arrays))
