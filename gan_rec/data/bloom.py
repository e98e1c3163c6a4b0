"""Which pairs there are, of pairs that come in parts: a bitmap, or where that is too much a Bloom filter."""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt32

from gan_rec.data.membership import LARGEST_BITMAP, Bitmap, no_bits, set_bits

BITS = 16  # of a filter for each pair, at least, where that is below its largest size


@partial(jax.tree_util.register_dataclass, data_fields=["words"], meta_fields=["n_users", "n_items"])
@dataclass(frozen=True)
class BloomFilter:
    """A set of pairs that knows every pair in it, and takes a few others for such (Bloom, CACM 1970).

    The four bits of a pair lie in one word, so that a question is one look (Putze et al., WEA 2007, "blocked").
    """

    words: UInt32[Array, " W"]  # W is a power of two
    n_users: int
    n_items: int

    def contains(self, users: Int[Array, "*any"], items: Int[Array, "*any"]) -> Bool[Array, "*any"]:
        """Whether each user has the item beside it, or seems to."""
        place, bits = _place(users, items, self.words.shape[0], jnp)
        return (self.words[place] & bits) == bits


class BitmapBuilder:
    """Puts pairs into a bitmap."""

    is_of_use = True

    def __init__(self, n_users: int, n_items: int):
        self.bits, self.n_items = no_bits(n_users, n_items), n_items

    def add(self, users: Int[np.ndarray, " n"], items: Int[np.ndarray, " n"]) -> None:
        """Pairs, of which any may stand more than once."""
        set_bits(self.bits, users, items)

    def membership(self) -> Bitmap:
        """On the device."""
        return Bitmap(jnp.asarray(self.bits), self.n_items)

    def note(self) -> str:
        """What it is, in words."""
        return f"negatives are never known pairs: {self.bits.nbytes / 2**20:,.1f} MiB say which these are"


class BloomBuilder:
    """Puts pairs into a filter.

    Args:
        n_pairs: how many there will be.
        n_users, n_items: U and I.
        largest: bytes of the filter at the most.
    """

    def __init__(self, n_pairs: int, n_users: int, n_items: int, largest: int):
        wanted = max(n_pairs * BITS // 32, 1)
        self.words = np.zeros(1 << min((wanted - 1).bit_length(), (largest // 4).bit_length() - 1), np.uint32)
        self.sizes, self.expected = (n_users, n_items), _false_positives(n_pairs / len(self.words))

    @property
    def is_of_use(self) -> bool:
        """Whether it will tell at least half of the other pairs from known ones."""
        return self.expected < 0.5

    def add(self, users: Int[np.ndarray, " n"], items: Int[np.ndarray, " n"]) -> None:
        """Pairs, of which any may stand more than once."""
        np.bitwise_or.at(self.words, *_place(users, items, len(self.words), np))

    def membership(self) -> BloomFilter:
        """On the device."""
        return BloomFilter(jnp.asarray(self.words), *self.sizes)

    def note(self) -> str:
        """What it is, in words."""
        if not self.is_of_use:
            return "negatives may be known pairs: there are too many to be kept in mind"
        size, others = f"{self.words.nbytes / 2**20:,.1f} MiB", f"{self.expected:.2%} of others"
        return f"negatives are never known pairs: {size} say which these are, and take {others} for such"


def _false_positives(load: float) -> float:
    """The part of other pairs that a filter takes for known ones, of so many pairs for each word.

    k pairs leave each bit of their word unset with a chance of (31/32)^4k, and k is nearly of a Poisson distribution.
    """
    unset = (31 / 32) ** 4
    return sum(math.comb(4, j) * (-1) ** j * math.exp(load * (unset**j - 1)) for j in range(5))


def make_builder(n_pairs: int, n_users: int, n_items: int) -> BitmapBuilder | BloomBuilder:
    """What takes these pairs: a bitmap, where a bit for every user and item is not too much, else a filter."""
    if n_users * -(-n_items // 8) <= LARGEST_BITMAP:
        return BitmapBuilder(n_users, n_items)
    return BloomBuilder(n_pairs, n_users, n_items, LARGEST_BITMAP)


def _place(users, items, n_words: int, xp) -> tuple:
    """The word of each pair, and its bits there."""
    users, items = users.astype(xp.uint32), items.astype(xp.uint32)
    word = _mix(users * np.uint32(0x9E3779B1) + _mix(items + np.uint32(0x7F4A7C15)))
    bits = _mix(items * np.uint32(0x85EBCA77) ^ _mix(users + np.uint32(0x165667B1)))
    mask = xp.zeros_like(bits)
    for shift in (0, 5, 10, 15):
        mask = mask | (np.uint32(1) << ((bits >> np.uint32(shift)) & np.uint32(31)))
    return (word & np.uint32(n_words - 1)).astype(xp.int32), mask


def _mix(x):
    """Every bit of the result depends on all bits (the finaliser of MurmurHash3, in the public domain)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))
