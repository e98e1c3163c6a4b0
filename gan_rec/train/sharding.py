"""Many devices: a batch is split over the axis `data` of a mesh, the rows of embedding tables over the axis `model`.

Nothing else changes: the compiled epoch is the same, and XLA puts in what devices must tell each other. All that is not
a table lies on every device.
"""

import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gan_rec.errors import UserError

AXES = ("data", "model")
_OF_ADVERSARIES = {"adversary", "adversary_opt"}  # fields of a training's state


def read_axes(text: str) -> dict[str, int]:
    """The sizes of the axes in "data=X,model=Y", of which one may be left out.

    Raises:
        UserError: it is not of this form.
    """
    allowed = "allowed: data=X,model=Y with whole numbers above 0"
    found = [re.fullmatch(r"\s*(\w+)\s*=\s*([1-9]\d*)\s*", part) for part in text.split(",")]
    if not all(found) or len({match[1] for match in found}) < len(found):
        raise UserError(f"mesh {text!r} cannot be read; {allowed}")
    sizes = dict.fromkeys(AXES, 1) | {match[1]: int(match[2]) for match in found}
    if set(sizes) != set(AXES):
        raise UserError(f"mesh {text!r} has an unknown axis; {allowed}")
    return sizes


def parse_mesh(text: str, n_devices: int) -> dict[str, int]:
    """The sizes of the axes, see `read_axes`, of a mesh of all devices.

    Raises:
        UserError: it is not of this form, or asks for another number of devices than there are.
    """
    sizes = read_axes(text)
    if sizes["data"] * sizes["model"] != n_devices:
        raise UserError(f"mesh {text!r} needs {sizes['data'] * sizes['model']} devices, and there are {n_devices}")
    return sizes


def make_mesh(text: str) -> Mesh:
    """The mesh that `parse_mesh` reads, of all devices of all processes."""
    sizes = parse_mesh(text, jax.device_count())
    # Not "explicit", which in newer versions of JAX is the default: looking up rows of a split table then fails.
    return jax.make_mesh(tuple(sizes[axis] for axis in AXES), AXES, axis_types=(AxisType.Auto, AxisType.Auto))


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a training lie.

    Args:
        mesh: of axes `data` and `model`.
        tables: names of a recommender's tables, with "users" or "items".
        sizes: of each table the rows that are used; those after them fill the table up, so that it can be split evenly.
    """

    mesh: Mesh
    tables: tuple[tuple[str, str], ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()

    @property
    def multiple(self) -> int:
        """What the number of rows of a table must be a multiple of."""
        return self.mesh.shape["model"]

    def place(self, tree: Any) -> Any:
        """A tree of arrays with a leading axis of S, put where they belong; every process gives the same."""
        return jax.tree.map(_put, tree, self.shardings(tree))

    def everywhere(self, tree: Any) -> Any:
        """A tree of arrays, put on every device whole."""
        whole = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda x: _put(x, whole), tree)

    def shardings(self, tree: Any) -> Any:
        """Where each array of a tree belongs."""
        return jax.tree_util.tree_map_with_path(lambda path, _: self._sharding(path), tree)

    def constrain(self, tree: Any) -> Any:
        """The same within a compiled function."""
        return jax.lax.with_sharding_constraint(tree, self.shardings(tree))

    def split(self, batch: Any, size: int) -> Any:
        """A batch, within a compiled function, each device of the axis `data` with its part of the `size` rows."""
        rows = NamedSharding(self.mesh, PartitionSpec("data"))

        def part(x):
            return jax.lax.with_sharding_constraint(x, rows) if jnp.ndim(x) and x.shape[0] == size else x

        return jax.tree.map(part, batch)

    def trim(self, tree: Any) -> Any:
        """As it would be without a mesh: no rows that fill tables up."""

        def cut(path, x):
            return x[:, : self._rows(path)] if self._rows(path) else x

        return jax.tree_util.tree_map_with_path(cut, tree)

    def collect(self, tree: Any) -> Any:
        """That, in the memory of every process."""
        return jax.device_get(self.trim(self._gather(tree)))

    def fill(self, tree: Any) -> Any:
        """With these rows, zero, put where they belong."""

        def filled(path, x):
            missing = -self._rows(path) % self.multiple if self._rows(path) else 0
            return np.pad(x, [(0, 0), (0, missing), *[(0, 0)] * (x.ndim - 2)]) if missing else x

        return self.place(jax.tree_util.tree_map_with_path(filled, tree))

    def _gather(self, tree: Any) -> Any:
        if jax.process_count() == 1:
            return tree
        return jax.jit(lambda tree: tree, out_shardings=NamedSharding(self.mesh, PartitionSpec()))(tree)

    def _sharding(self, path: tuple) -> NamedSharding:
        spec = PartitionSpec() if self._kind(path) is None else PartitionSpec(None, "model")
        return NamedSharding(self.mesh, spec)

    def _kind(self, path: tuple) -> str | None:
        names, tables = [getattr(key, "name", None) for key in path], dict(self.tables)
        if _OF_ADVERSARIES & set(names):  # which may have tables of the same names
            return None
        return next((tables[name] for name in names if name in tables), None)

    def _rows(self, path: tuple) -> int:
        kind = self._kind(path)
        return 0 if kind is None else dict(self.sizes)[kind]


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
    """An array that every process has, as one that all devices share."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x))
    values = np.asarray(x)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


@dataclass(frozen=True)
class SizedStore:
    """A `gan_rec.train.fit.Store` whose trees know no mesh: what was saved on one is restored on any other.

    Args:
        store: that keeps them.
        layout: of the training that saves and restores.
    """

    store: Any
    layout: Layout

    def save(self, name: str, step: int, tree: Any) -> None:
        """See `Store`; of several processes the first writes."""
        collected = self.layout.collect(tree)
        if jax.process_index() == 0:
            self.store.save(name, step, collected)

    def restore(self, name: str, like: Any) -> Any | None:
        """See `Store`; every process reads the files, so all must see them."""
        found = self.store.restore(name, jax.eval_shape(self.layout.trim, like))
        return None if found is None else self.layout.fill(found)

    def discard(self, name: str) -> None:
        """See `Store`."""
        if jax.process_index() == 0:
            self.store.discard(name)
