"""The data that options name: read, split, and told of."""

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import fields

from gan_rec import data
from gan_rec.errors import UserError
from gan_rec.experiments import beside, players
from gan_rec.experiments.checks import check_folds, check_types
from gan_rec.experiments.settings import DataOptions, Settings
from gan_rec.progress import Progress


def load(options: DataOptions, readers: Sequence[Settings] = ()) -> data.Dataset:
    """Read the data set that the options name, with texts and side information as given, or as recommenders read them.

    Args:
        options: of the data.
        readers: settings of all who are to read them. Links and features that the data set does not bring are left out:
            whoever needs them says so.
    """
    check_types(options)
    named = next((each for each in data.named_datasets() if each.name == options.dataset), None)
    wanted = {
        "item_text": options.item_text or any(map(players.reads_text, readers)),
        "item_features": options.item_features
        or bool(named and named.features and any(map(beside.reads_features, readers))),
        "links": options.links or bool(named and named.links and any(map(beside.reads_links, readers))),
    }
    names = {f.name for f in fields(DataOptions)} & set(inspect.signature(data.load).parameters) - set(wanted)
    return data.load(**wanted, **{name: getattr(options, name) for name in names})


def split_of(options: DataOptions, dataset: data.Dataset) -> data.Split:
    """Split it as the options say.

    Raises:
        UserError: they ask for folds; or as `gan_rec.split`.
    """
    _refuse_folds(options)
    seed = options.split_seed or 0
    cut = data.split(
        dataset, options.split, test_fraction=options.test_fraction, valid_fraction=options.valid_fraction, seed=seed
    )
    if options.target is None:
        for name in ("alone", "newcomers"):
            if getattr(options, name):
                raise UserError(f"{name} {getattr(options, name)} needs a target, the domain that is ranked")
        return cut
    return data.towards(cut, options.target, alone=options.alone, newcomers=options.newcomers, seed=seed)


def _refuse_folds(options: DataOptions) -> None:
    if options.folds:
        raise UserError(f"folds {options.folds} is not possible here, where one split is needed; only train has folds")


def splits_of(options: DataOptions, dataset: data.Dataset) -> dict[int | None, data.Split]:
    """The split by None, or the folds that the options ask for by their number from 1.

    Raises:
        UserError: the options do not go with folds; or as `gan_rec.split` and `gan_rec.folds`.
    """
    if not options.folds:
        return {None: split_of(options, dataset)}
    if options.split not in (None, "random"):
        raise UserError(f"folds need the split random, got {options.split}; --folds 0 has one test part")
    check_folds(options)
    cut = data.folds(dataset, options.folds, options.split_seed or 0, valid_fraction=options.valid_fraction)
    return dict(enumerate(cut, start=1))


def read(options: DataOptions, readers: Sequence[Settings], progress: Progress) -> tuple[data.Dataset, data.Split]:
    """Load the data set, split it, and show what there is to know of both.

    Raises:
        UserError: the options ask for folds, the data are streamed, or as `load` and `split_of`.
    """
    _refuse_folds(options)
    if data.is_streamed(options.dataset):
        raise data.needs_all_at_hand("a search")
    dataset, splits = read_splits(options, readers, progress)
    return dataset, splits[None]


def read_splits(options: DataOptions, readers: Sequence[Settings], progress: Progress) -> tuple[data.Dataset, dict]:
    """As `read`, but with `splits_of`, so that folds are allowed."""
    dataset = load(options, readers)
    splits = splits_of(options, dataset)
    split, method = next(iter(splits.values())), method_of(splits)
    progress.say(f"{dataset.name}: {dataset.n_users:,} users, {dataset.n_items:,} items; {method}")
    for note in (*dataset.notes, *split.notes):
        progress.say(f"  note: {note}")
    if dataset.terms:
        progress.say(f"  terms of use: {dataset.terms}")
    return dataset, splits


def method_of(splits: dict[int | None, data.Split]) -> str:
    """How the data were split, in words."""
    return f"{splits[None].method} split" if None in splits else f"{len(splits)} folds"


def split_sha256(settings: Settings, splits: dict[int | None, data.Split]) -> dict[str, str]:
    """The digest of one split, or of all folds, and of the texts that are read, as environment.json has it."""
    digests = [players.split_sha256(settings, split) for split in splits.values()]
    return {"split_sha256": digests[0] if None in splits else hashlib.sha256("".join(digests).encode()).hexdigest()}
