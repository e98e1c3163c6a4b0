"""Data: reading interactions, named data sets, splits, and positives on the device. Knows nothing of models."""

from gan_rec.data.domains import towards
from gan_rec.data.interactions import Dataset, Interactions, Split
from gan_rec.data.named import NamedDataset
from gan_rec.data.sources import is_streamed, load, locate, named_datasets
from gan_rec.data.splits import folds, split
from gan_rec.data.streamed import StreamedDataset, StreamedInteractions, needs_all_at_hand, refuse_streamed
from gan_rec.data.synthetic import synthetic

__all__ = [
    "Dataset", "Interactions", "NamedDataset", "Split", "StreamedDataset", "StreamedInteractions", "folds",
    "is_streamed", "load", "locate", "named_datasets", "needs_all_at_hand", "refuse_streamed", "split", "synthetic",
    "towards",
]  # fmt: skip
