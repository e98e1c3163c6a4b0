"""Items as ids and as what they sound, read or look like: VBPR, for any number of modalities."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gan_rec.errors import UserError
from gan_rec.recommenders.fixed import FixedArray
from gan_rec.recommenders.score import dot


@dataclass(frozen=True)
class Modalities:
    """Features of all items, modality beside modality.

    Each modality is centred and scaled such that its rows have a mean square length of 1: a radius relative to the
    length of a row then means the same for all of them, and 0 is a modality's mean.

    Args:
        names: of the modalities.
        sizes: how many columns each has.
        features: `[I, F]`, F the sum of the sizes.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    features: FixedArray

    @classmethod
    def of(cls, features: dict[str, Float[np.ndarray, "I _"]]) -> "Modalities":
        """Those of a data set, see `gan_rec.data.side.SideInformation`."""
        scaled = [_scaled(rows.astype(np.float64)) for rows in features.values()]
        sizes = tuple(rows.shape[1] for rows in scaled)
        return cls(tuple(features), sizes, FixedArray(np.concatenate(scaled, axis=1)))

    def inputs(self, fusion: str) -> tuple[int, ...]:
        """How many columns each map reads."""
        return self.sizes if fusion == "late" else (sum(self.sizes),)

    def columns(self, name: str) -> slice:
        """Where a modality stands.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.names:
            raise UserError(f"unknown modality {name!r}; allowed: {', '.join(self.names)}")
        place = self.names.index(name)
        start = sum(self.sizes[:place])
        return slice(start, start + self.sizes[place])


class Multimodal(nnx.Module):
    """The score is an inner product of ids, plus one of the user with a linear map of the item's features.

    With late fusion each modality has a map and a row of the user of its own, and so a score of its own; with early
    fusion one map reads all modalities side by side. An adversary may move the rows, or the features before the maps.

    Args:
        n_users: U.
        n_items: I.
        dim: D, of the id embeddings.
        modalities: of the items; they are not learned.
        fusion: "late" or "early".
        modality_dim: size of what features are mapped to: of each modality, or of all.
        rngs: source of the initial values: N(0, 1 / D) for ids, N(0, 1 / modality_dim) for the rest.

    Source: VBPR, He and McAuley, AAAI 2016, equation 4, without the biases; adversarial training on features is AMR,
    Tang et al., TKDE 2019, section 3.
    """

    reads_history = False

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int = 64,
        *,
        modalities: Modalities,
        fusion: str = "late",
        modality_dim: int = 64,
        rngs: nnx.Rngs,
    ):
        def table(n: int, size: int) -> nnx.Param:
            return nnx.Param(jax.random.normal(rngs.params(), (n, size)) * size**-0.5)

        inputs = modalities.inputs(fusion)
        self.user_embedding, self.item_embedding = table(n_users, dim), table(n_items, dim)
        self.user_tastes = nnx.List([table(n_users, modality_dim) for _ in inputs])
        self.maps = nnx.List([table(size, modality_dim) for size in inputs])
        for read in self.maps:  # which takes rows of length 1, however many columns they have
            read[...] = jax.random.normal(rngs.params(), read.shape) * modality_dim**-0.5
        self.modalities, self.inputs = modalities, inputs

    def users(
        self, ids: Int[Array, "*n"] | None, history: Float[Array, "B I"] | None = None, key: PRNGKeyArray | None = None
    ) -> Float[Array, "_ D"]:
        """User representations `[B, D]`, or of all users. `history` and `key` are not used."""
        tables = [table[...] for table in (self.user_embedding, *self.user_tastes)]
        return jnp.concatenate([rows if ids is None else rows[ids] for rows in tables], axis=-1)

    def items(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Item representations of `ids`, or of the whole catalogue."""
        # All features are mapped before ids are looked up: a batch of pairs names most items more than once.
        rows = self.read(self.features())
        return rows if ids is None else rows[ids]

    def features(self, ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any F"]:
        """The items' features, all modalities side by side."""
        features = jnp.asarray(self.modalities.features.values)
        return features if ids is None else features[ids]

    def read(self, features: Float[Array, "*any F"], ids: Int[Array, "*any"] | None = None) -> Float[Array, "*any D"]:
        """Representations of `ids`, or of all items, if these were their features."""
        own = self.item_embedding[...] if ids is None else self.item_embedding[ids]
        parts = jnp.split(features, np.cumsum(self.inputs)[:-1], axis=-1)
        mapped = [part @ read[...] for part, read in zip(parts, self.maps, strict=True)]
        return jnp.concatenate([own, *mapped], axis=-1)

    score = staticmethod(dot)


def _scaled(rows: Float[np.ndarray, "I F"]) -> Float[np.ndarray, "I F"]:
    largest = np.abs(rows).max()
    if largest == 0:
        return rows
    rows = rows / largest  # first, or very small ones would be none when they are squared
    centred = rows - rows.mean(axis=0)
    size = np.sqrt(np.mean(np.sum(centred**2, axis=1)))
    return centred / size if size > 1e-12 else np.zeros_like(rows)  # all alike, but for rounding
