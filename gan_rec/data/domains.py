"""Several domains with users in common: read as one data set, and cut for one of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32

from gan_rec.data.interactions import Dataset, Interactions, Split
from gan_rec.data.side import Domains, SideInformation
from gan_rec.data.table import Table
from gan_rec.data.text import count
from gan_rec.errors import UserError

SEPARATOR = "/"  # of a domain's name and an item's own id


def join(domains: Mapping[str, Mapping[str, Table]]) -> dict[str, Table]:
    """The tables of all domains as those of one data set: item 7 of cloth is cloth/7, and users of one id are one user.

    Args:
        domains: name -> the tables of its parts, as `gan_rec.data.read.read_interactions` gives them.

    Raises:
        UserError: the domains have not the same parts.
    """
    parts = {name: tuple(tables) for name, tables in domains.items()}
    if len(set(parts.values())) > 1:
        told = "; ".join(f"{name}: {', '.join(own)}" for name, own in parts.items())
        raise UserError(f"all domains must have the same parts, got {told}")
    return {part: _one({name: tables[part] for name, tables in domains.items()}) for part in next(iter(parts.values()))}


def _one(tables: Mapping[str, Table]) -> Table:
    import pandas as pd

    named = []
    for name, table in tables.items():
        items = name + SEPARATOR + table.frame["item"].astype(str)
        named.append(table.frame.assign(user=table.frame["user"].astype(str), item=items))
    shared = [column for column in named[0] if all(column in frame for frame in named)]
    some = next(iter(tables.values()))
    return Table(
        some.file,
        pd.concat([frame[shared] for frame in named], ignore_index=True),
        np.concatenate([table.lines for table in tables.values()]),
        some.unit,
        [f"{name}{SEPARATOR}{note}" for name, table in tables.items() for note in table.notes],
        "".join(table.sha256 for table in tables.values()),
        is_text=True,
        is_list=any(table.is_list for table in tables.values()),
    )


def with_domains(dataset: Dataset) -> Dataset:
    """A data set of `join`, which knows the domain of every item; of items in two domains a note says that they are.

    Raises:
        UserError: as `same_products`.
    """
    some = next(iter(dataset.parts.values()))
    prefixes = [str(item).split(SEPARATOR)[0] for item in some.item_ids]
    names = tuple(dict.fromkeys(prefixes))
    place = {name: number for number, name in enumerate(names)}
    domains = Domains(names, np.array([place[prefix] for prefix in prefixes], np.int32))
    dataset = replace(dataset, side_information=SideInformation(item_domains=domains))
    twice = same_products(dataset)
    if not twice.any():
        return dataset
    note = (
        f"{count(int(twice.sum()), 'item')} had by exactly the users of an item of another domain: they seem to be the "
        "same products, so that a model finds held-out items in the other domain; --distinct leaves them out"
    )
    return replace(dataset, notes=(*dataset.notes, note))


def same_products(dataset: Dataset) -> Bool[np.ndarray, " I"]:
    """Items that exactly the users of an item of another domain had, two users or more, in all parts together.

    Two users agree by chance now and then, but of several thousand items by far not as many.
    """
    domains, parts = dataset.side_information.item_domains, list(dataset.parts.values())
    users, items = (np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items"))
    # A random number for each user: an item's sum says who had it.
    tags = np.random.default_rng(0).random(dataset.n_users)
    sums = np.bincount(items, tags[users], dataset.n_items).round(9)
    counts = np.bincount(items, minlength=dataset.n_items)
    marks = [(int(n), float(total)) for n, total in zip(counts, sums, strict=True)]
    where: dict[tuple[int, float], set[int]] = {}
    for mark, domain in zip(marks, domains.of_items.tolist(), strict=True):
        where.setdefault(mark, set()).add(domain)
    return np.array([mark[0] > 1 and len(where[mark]) > 1 for mark in marks])


def distinct(dataset: Dataset) -> Dataset:
    """The data set without `same_products`: these items have no interaction and are in no part.

    Raises:
        UserError: it has no domains.
    """
    _need_domains(dataset.name, dataset.side_information)
    twice, side = same_products(dataset), dataset.side_information
    new = np.cumsum(~twice) - 1
    parts = {}
    for name, part in dataset.parts.items():
        kept = part.select(~twice[part.items])
        parts[name] = replace(kept, items=new[kept.items].astype(np.int32), item_ids=part.item_ids[~twice])
    domains = replace(side.item_domains, of_items=side.item_domains.of_items[~twice])
    note = f"{count(int(twice.sum()), 'item')} left out that exactly the users of an item of another domain had"
    notes = (*(each for each in dataset.notes if "--distinct" not in each), note)
    return replace(dataset, parts=parts, side_information=replace(side, item_domains=domains), notes=notes)


def towards(split: Split, target: str, *, alone: bool = False, newcomers: float = 0.0, seed: int = 0) -> Split:
    """Cut a split for one domain: of validation and test its pairs are left, and only its items are ranked.

    Args:
        split: of a data set with domains.
        target: the domain.
        alone: train on it alone: the single-domain twin, with users, items and seeds as they are.
        newcomers: part of the users whose pairs of the target domain are taken out of train, so that other domains must
            do for them; they are what is to be found, in validation for one half of these users, in test for the
            other. 0: nobody.
        seed: of the choice of these.

    Raises:
        UserError: there is no such domain, `newcomers` is not in [0, 1), or nothing is left of a part.
    """
    side = split.side_information
    _need_domains(split.name, side)
    names = side.item_domains.names
    if target not in names:
        raise UserError(f"unknown target {target!r}; the domains of {split.name} are {', '.join(names)}")
    if not 0 <= newcomers < 1:
        raise UserError(f"newcomers must be in [0, 1), got {newcomers}")
    ranked = side.item_domains.of_items == names.index(target)
    train, valid, test = split.train, split.valid, split.open_test()
    valid, test = (replace(part.select(ranked[part.items]), candidates=ranked) for part in (valid, test))
    if alone:
        train = train.select(ranked[train.items])
    notes = [f"{target} is ranked" + (", and trained on alone" if alone else "")]
    if newcomers:
        whose = _halves(split.train.n_users, newcomers, seed)
        hidden = (whose[train.users] > 0) & ranked[train.items]
        taken, train = replace(train.select(hidden), candidates=ranked), train.select(~hidden)
        # What such a user had before is as true as what is held out, and stands in the ranking.
        both = valid.concat(taken)
        test, valid = _of(test.concat(both), whose == 2), _of(both, whose == 1)
        notes.append(f"{count(int((whose > 0).sum()), 'user')} without an interaction of {target} in train")
    for name, part in {"train": train, "validation": valid, "test": test}.items():
        if len(part) == 0:
            raise UserError(f"target {target!r} leaves no {name} interaction of {split.name}")
    return replace(split, train=train, valid=valid, _test=test, notes=(*split.notes, *notes))


def _of(pairs: Interactions, whose: Bool[np.ndarray, " U"]) -> Interactions:
    return pairs.select(whose[pairs.users])


def _halves(n_users: int, part: float, seed: int) -> Int32[np.ndarray, " U"]:
    """0 for users who are no newcomers, 1 and 2 for the halves of those who are."""
    place = np.random.default_rng(seed).permutation(n_users)
    n = round(part * n_users)
    return np.where(place < n // 2, 1, np.where(place < n, 2, 0)).astype(np.int32)


def one_of_each(pairs: Interactions, domains: Domains, rng: np.random.Generator) -> Bool[np.ndarray, " N"]:
    """A mask with a random pair of every user and domain, of those who have two or more there."""
    n = len(domains.names)
    group = pairs.users.astype(np.int64) * n + domains.of_items[pairs.items]
    order = np.lexsort((rng.random(len(pairs)), group))
    ordered = group[order]
    first = np.append(True, ordered[1:] != ordered[:-1])
    several = np.append(ordered[1:] == ordered[:-1], False)
    chosen = np.zeros(len(pairs), bool)
    chosen[order[first & several]] = True
    return chosen


def domain_folders(folder: Path) -> dict[str, Path]:
    """The folders within one that hold a fixed split each; none if the folder itself holds one, or only one does."""
    from gan_rec.data.read import part_of

    if not folder.is_dir() or any(part_of(file) for file in folder.iterdir() if file.is_file()):
        return {}
    within = [each for each in sorted(folder.iterdir()) if each.is_dir()]
    found = {each.name: each for each in within if any(part_of(file) for file in each.iterdir() if file.is_file())}
    return found if len(found) > 1 else {}


def _need_domains(name: str, side: SideInformation | None) -> None:
    if side is None or side.item_domains is None:
        raise UserError(
            f"{name} has no domains; those are of a folder of folders, each with train.* and test.*, such as the named "
            "data set disencdr-cloth-sport"
        )
