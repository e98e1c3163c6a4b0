"""What becomes of rankings when a modality is missing at test."""

import jax
import jax.numpy as jnp
from flax import nnx

from gan_rec.errors import UserError
from gan_rec.recommenders.multimodal import Multimodal
from gan_rec.robustness.damage import Moved


def without(recommenders: nnx.Module, modality: str) -> Moved:
    """Recommenders whose items all have the mean features of a modality, so that it tells none from another.

    Args:
        recommenders: weights of `gan_rec.recommenders.Multimodal` with a leading axis of S.
        modality: its name.

    Raises:
        UserError: there is no such modality, or the recommender reads none.
    """
    if not isinstance(recommenders, Multimodal):
        raise UserError(f"only recommender 'multimodal' can miss a modality, got {type(recommenders).__name__}")
    columns = recommenders.modalities.columns(modality)

    def one(recommender: Multimodal) -> Moved:
        features = recommender.features().at[:, columns].set(0.0)
        return Moved(recommender, recommender.users(None), recommender.read(features))

    return jax.vmap(one)(jax.tree.map(jnp.asarray, recommenders))
