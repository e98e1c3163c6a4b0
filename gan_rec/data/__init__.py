"""Data: reading interactions, named data sets, splits, and positives on the device. Knows nothing of models."""

from gan_rec.data.interactions import Dataset, Interactions, Split
from gan_rec.data.named import NamedDataset
from gan_rec.data.sources import load, locate, named_datasets
from gan_rec.data.splits import folds, split
from gan_rec.data.streamed import StreamedDataset, StreamedInteractions, refuse_streamed
from gan_rec.data.synthetic import synthetic

__all__ = [
    "Dataset", "Interactions", "NamedDataset", "Split", "StreamedDataset", "StreamedInteractions", "folds", "load",
    "locate", "named_datasets", "refuse_streamed", "split", "synthetic",
]  # fmt: skip
