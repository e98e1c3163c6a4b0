"""What a data set holds, and what is odd about it: told before anything is trained."""

import time
from dataclasses import dataclass

import numpy as np

from gan_rec.data.interactions import Dataset, Interactions
from gan_rec.data.text import count

_TINY = 3  # interactions, below which a user has no history beside a validation and a test item
_SECONDS = 1e8, 1e11  # times between them can be seconds since 1970; above, milliseconds, up to
_NANOSECONDS = 1e20  # nanoseconds
_MANY = 0.5  # of all users: an item that so many have says little of any of them
_WHOLE = 0.5  # of the catalogue: who has so much of it is hardly a person


@dataclass(frozen=True)
class Description:
    """Facts by name, how the files were understood, and what to look at before training."""

    name: str
    facts: dict[str, str]
    understood: tuple[str, ...]
    warnings: tuple[str, ...]

    def values(self) -> dict:
        """As JSON holds it."""
        return {
            "name": self.name, "facts": self.facts, "understood": list(self.understood),
            "warnings": list(self.warnings),
        }  # fmt: skip

    def text(self) -> str:
        """For people."""
        width = max(map(len, self.facts))
        lines = [self.name, *(f"  {name:<{width}}  {value}" for name, value in self.facts.items())]
        for title, own in (("understood as", self.understood), ("look at", self.warnings)):
            if own:
                lines += ["", title, *(f"  * {line}" for line in own)]
        return "\n".join(lines)


def describe(dataset: Dataset, now: float | None = None) -> Description:
    """Facts of a data set, and warnings.

    Args:
        dataset: as it was loaded; what was guessed, skipped or is in two parts stands in its notes.
        now: seconds since 1970 after which times lie in the future; None: the clock's.
    """
    whole = _together(dataset)
    guesses = [note for note in dataset.notes if _is_guess(note)]
    warnings = [note for note in dataset.notes if not _is_guess(note)]
    warnings += _about_times(dataset, whole, time.time() if now is None else now)
    return Description(
        dataset.name, _facts(dataset, whole), tuple(guesses), tuple(warnings + _about_sizes(whole))
    )  # fmt: skip


def _is_guess(note: str) -> bool:
    return any(word in note for word in ("taken", "read as", "not used"))


def _together(dataset: Dataset) -> Interactions:
    first, *others = dataset.parts.values()
    for part in others:
        first = first.concat(part)
    return first


def _facts(dataset: Dataset, whole: Interactions) -> dict[str, str]:
    users, items = (np.bincount(codes) for codes in (whole.users, whole.items))
    users, items = users[users > 0], items[items > 0]
    facts = {
        "users": f"{len(users):,}", "items": f"{len(items):,}", "interactions": f"{len(whole):,}",
        "density": f"{len(whole) / (len(users) * len(items)):.3%}",
        "a user has": _quantiles(users), "an item has": _quantiles(items),
    }  # fmt: skip
    facts["for example"] = f"user {whole.user_ids[whole.users[0]]}, item {whole.item_ids[whole.items[0]]}"
    if len(dataset.parts) > 1:
        facts["parts"] = ", ".join(f"{name} {len(part):,}" for name, part in dataset.parts.items())
    if whole.ratings is not None:
        facts["ratings"] = f"{np.nanmin(whole.ratings):g} to {np.nanmax(whole.ratings):g}"
    if whole.times is not None and not dataset.times_are_places:
        facts["times"] = f"{_date(whole.times.min())} to {_date(whole.times.max())}"
    side = dataset.side_information
    if side is not None and side.item_features:
        facts["features"] = ", ".join(f"{name} {rows.shape[1]}" for name, rows in side.item_features.items())
    if side is not None and side.user_links is not None:
        facts["links"] = f"{len(side.user_links):,} between users"
    if side is not None and side.item_domains is not None:
        counts = np.bincount(side.item_domains.of_items)
        named = zip(side.item_domains.names, counts, strict=True)
        facts["domains"] = ", ".join(f"{name} ({n:,} items)" for name, n in named)
    if dataset.item_texts is not None:
        facts["texts"] = f"{sum(map(bool, dataset.item_texts)):,} items, for example {dataset.item_texts[0][:60]!r}"
    return facts


def _quantiles(counts: np.ndarray) -> str:
    low, middle, high = np.quantile(counts, (0.1, 0.5, 0.9))
    return f"{counts.min()} to {counts.max():,}, median {middle:g} (80% have {low:g} to {high:g})"


def _seconds(when: float) -> float:
    """A time as seconds: milliseconds, microseconds or nanoseconds by their size."""
    if when < _NANOSECONDS:
        while when >= _SECONDS[1]:
            when /= 1000
    return when


def _date(when: float) -> str:
    when = _seconds(when)
    if not _SECONDS[0] <= when < _SECONDS[1]:
        return f"{when:g}"
    return str(np.datetime64(int(when), "s").astype("datetime64[D]"))


def _about_times(dataset: Dataset, whole: Interactions, now: float) -> list[str]:
    if whole.times is None or dataset.times_are_places:
        return []
    found = []
    latest = float(whole.times.max())
    if latest >= _SECONDS[1]:
        found.append("times are no seconds since 1970 (milliseconds perhaps); splits in time need their order alone")
    unit = latest / _seconds(latest) if latest else 1
    if whole.times.min() >= _SECONDS[0] * unit and (late := whole.times > now * unit).any():
        found.append(f"{count(int(late.sum()), 'interaction')} in the future (latest: {_date(whole.times.max())})")
    if len(np.unique(whole.times)) == 1:
        found.append("all times are the same, so they order nothing")
    return found


def _about_sizes(whole: Interactions) -> list[str]:
    users, items = (np.bincount(codes) for codes in (whole.users, whole.items))
    n_users, n_items = (users > 0).sum(), (items > 0).sum()
    tiny = ((users > 0) & (users < _TINY)).sum()
    found = []
    if tiny:
        found.append(
            f"{count(int(tiny), 'user')} ({tiny / n_users:.0%}) with fewer than {_TINY} interactions, of whom little "
            f"can be learned or measured; --min-user {_TINY} leaves them out"
        )
    if (everywhere := items > _MANY * n_users).any():
        which = whole.item_ids[items.argmax()]
        found.append(
            f"{count(int(everywhere.sum()), 'item')} that more than {_MANY:.0%} of all users have (first: {which}); "
            "popularity will be hard to beat"
        )
    if (greedy := users > _WHOLE * n_items).any():
        which = whole.user_ids[users.argmax()]
        found.append(f"{count(int(greedy.sum()), 'user')} with more than {_WHOLE:.0%} of the catalogue (most: {which})")
    return found
