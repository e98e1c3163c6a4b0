"""What some recommenders read beside pairs: features and domains of items, links between users."""

from typing import Any

import numpy as np

from gan_rec.data.side import SideInformation
from gan_rec.errors import UserError
from gan_rec.experiments import choices
from gan_rec.experiments.settings import Settings
from gan_rec.recommenders.fixed import FixedArray
from gan_rec.recommenders.multimodal import Modalities


def reads_features(settings: Settings) -> bool:
    """Whether the recommender reads features of items."""
    return "fusion" in choices.RECOMMENDERS[settings.recommender].options


def reads_links(settings: Settings) -> bool:
    """Whether the recommender reads links between users."""
    return "link_weight" in choices.RECOMMENDERS[settings.recommender].options


def reads_domains(settings: Settings) -> bool:
    """Whether the recommender reads domains of items."""
    return "own_dim" in choices.RECOMMENDERS[settings.recommender].options


def beside_pairs(settings: Settings, known: SideInformation | None) -> dict[str, Any]:
    """Features, links and domains for the recommender that reads them, as options of its class.

    Raises:
        UserError: the data has none.
    """
    known = known or SideInformation()
    if reads_links(settings):
        return {"links": links_of("recommender", settings.recommender, known)}
    if reads_features(settings):
        if not known.item_features:
            raise UserError(
                f"recommender {settings.recommender!r} reads features of items, but the data has none; give files as "
                "item_features (--item-features), or True for a named data set that has features"
            )
        return {"modalities": Modalities.of(known.item_features)}
    if reads_domains(settings):
        if known.item_domains is None:
            raise UserError(
                f"recommender {settings.recommender!r} reads domains of items, but the data has none; load a folder of "
                "folders, each with train.* and test.*, or the named data set disencdr-cloth-sport"
            )
        if settings.game == "domain" and len(known.item_domains.names) != 2:
            raise UserError(f"game 'domain' is of two domains, got {', '.join(known.item_domains.names)}")
        return {"domains": FixedArray(known.item_domains.of_items, np.int32)}
    return {}


def links_of(kind: str, name: str, known: SideInformation | None) -> FixedArray:
    """Links for what reads them.

    Raises:
        UserError: the data has none.
    """
    if known is None or known.user_links is None:
        raise UserError(
            f"{kind} {name!r} reads links between users, but the data has none; give a file as links (--links), or "
            "True for a named data set that has links"
        )
    return FixedArray(known.user_links, np.int32)
