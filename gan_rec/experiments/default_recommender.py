"""Who plays where nobody names a recommender."""

import dataclasses

from gan_rec import data
from gan_rec.errors import UserError
from gan_rec.experiments.choices import OF_MIX, OF_TEXTS, is_own
from gan_rec.experiments.settings import DataOptions, Settings

# Users and items that the command train gives to mix where nobody names it: with three seeds it then takes some
# gigabytes, for items x items, and for scores of all users for every item.
MOST_OF_MIX = 8_000


def most_accurate(settings: Settings, options: DataOptions, split: data.Split | None = None) -> Settings:
    """Settings resolved: where no recommender is named, `mix` plays if all that is said allows it.

    Where cold items are to be ranked and a file of their texts is given, it is `two-tower`; where interactions are
    streamed, `mf`.

    Args:
        settings: of the game.
        options: of the data.
        split: the data, as soon as they are there; too many users or items are not for `mix`.

    Raises:
        UserError: as `Settings.resolved`.
    """
    if settings.recommender is not None:
        return settings.resolved()
    if options.split == "cold-items" and options.item_text is not None and settings.game in OF_TEXTS:
        return dataclasses.replace(settings, recommender="two-tower").resolved()
    if data.is_streamed(options.dataset):
        return dataclasses.replace(settings, recommender="mf").resolved()
    if against_mix(settings, options, split) is None:
        return dataclasses.replace(settings, recommender="mix").resolved()
    return settings.resolved()


def against_mix(settings: Settings, options: DataOptions, split: data.Split | None) -> str | None:
    """Why `mix` is not to play where no recommender is named; None if it is."""
    if any(getattr(settings, name) is not None for name in OF_MIX):  # so nothing else is meant
        return None
    if data.is_streamed(options.dataset):
        return "the interactions are streamed"
    if split is not None and max(split.train.n_users, split.train.n_items) > MOST_OF_MIX:
        return f"there are more than {MOST_OF_MIX:,} users or items"
    if options.split == "cold-items":
        return "it cannot rank cold items"
    if settings.adversary is not None and is_own(settings.adversary):
        return "an adversary of your own may be made for one size of rows"
    try:
        dataclasses.replace(settings, recommender="mix").resolved()
    except UserError as error:  # of mix, or of all recommenders: then it comes again
        return str(error)
    return None
