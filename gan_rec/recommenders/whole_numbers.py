"""Tables of whole numbers of one byte, with a scale for each 64 columns."""

import numpy as np
from jaxtyping import Float, Int8

_GROUP = 64  # columns that share a scale


def quantise(table: Float[np.ndarray, "n D"]) -> tuple[Int8[np.ndarray, "n D"], Float[np.ndarray, "n groups"]]:
    """Whole numbers from -127 to 127 and, for each row and 64 columns, what one is worth."""
    groups = _grouped(table)
    scales = np.abs(groups).max(axis=2) / 127
    whole = np.rint(groups / np.where(scales > 0, scales, 1)[:, :, None]).astype(np.int8)
    return whole.reshape(len(table), -1)[:, : table.shape[1]], scales.astype(np.float32)


def dequantise(whole: Int8[np.ndarray, "n D"], scales: Float[np.ndarray, "n groups"]) -> Float[np.ndarray, "n D"]:
    """The table again, each entry to within half of what one is worth."""
    table = _grouped(whole.astype(np.float32)) * scales[:, :, None]
    return table.reshape(len(whole), -1)[:, : whole.shape[1]]


def _grouped(table: np.ndarray) -> np.ndarray:
    padded = np.pad(table, ((0, 0), (0, -table.shape[1] % _GROUP)))
    return padded.reshape(len(table), -1, _GROUP)
