"""Titles of items, for people to read."""

import contextlib
from dataclasses import replace

import numpy as np

from gan_rec.errors import UserError
from gan_rec.experiments.reading import load


def titles_of(run, split) -> tuple[str, ...] | None:
    """Texts of a run's items: those that it has read, or that its named data set brings and that can be had."""
    if split.item_texts is not None:
        return split.item_texts
    with contextlib.suppress(UserError, OSError):
        dataset = load(replace(run.options, item_text=True))
        if np.array_equal(next(iter(dataset.parts.values())).item_ids, split.train.item_ids):
            return dataset.item_texts
    return None
