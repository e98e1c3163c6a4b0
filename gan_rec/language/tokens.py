"""Texts as rows of token ids, in batches of few shapes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gan_rec.errors import UserError

LENGTHS = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # what texts are padded to: a program for each


class Tokens(NamedTuple):
    """N tokenised texts, one after the other."""

    ids: Int[np.ndarray, " total"]
    starts: Int[np.ndarray, " N_plus_1"]  # text n is ids[starts[n]:starts[n + 1]]

    def lengths(self) -> Int[np.ndarray, " N"]:
        """Tokens of each text."""
        return np.diff(self.starts)

    def padded(
        self, which: Int[np.ndarray, " B"], length: int
    ) -> tuple[Int[np.ndarray, "B T"], Float[np.ndarray, "B T"]]:
        """Ids and mask of some texts, padded with 0 to `length`; an index of -1 is a text without tokens."""
        ids, mask = np.zeros((len(which), length), np.int32), np.zeros((len(which), length), np.float32)
        for row, n in enumerate(which):
            if n >= 0:
                own = self.ids[self.starts[n] : self.starts[n + 1]][:length]
                ids[row, : len(own)], mask[row, : len(own)] = own, 1.0
        return ids, mask


def truncate(tokenizer, longest: int, name: str = "longest") -> None:
    """Let a tokenizer cut texts to `longest` tokens, its special ones among them.

    Raises:
        UserError: no other token has room, and then it would not cut at all; the message calls the number `name`.
    """
    special = tokenizer.num_special_tokens_to_add(False)
    if longest <= special:
        raise UserError(f"{name} must be above {special}, as many special tokens as every text gets, got {longest}")
    tokenizer.enable_truncation(longest)


def tokenise(tokenizer, texts: Sequence[str], longest: int) -> Tokens:
    """Token ids with the tokenizer's special tokens, which stay in texts that are cut to `longest`.

    Raises:
        UserError: as `truncate`.
    """
    truncate(tokenizer, longest)
    # Half a surrogate pair, as a text cut by bytes may end with, is no Unicode.
    whole = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    rows = [np.asarray(encoding.ids, np.int32) for encoding in tokenizer.encode_batch_fast(whole)]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Tokens(np.concatenate(rows) if rows else np.zeros(0, np.int32), starts)


def bucket(length: int, longest: int) -> int:
    """The least of `LENGTHS` that a text of so many tokens fits into, or `longest`, the most that a model reads."""
    return next((size for size in LENGTHS if length <= size < longest), longest)


def batches(
    lengths: Int[np.ndarray, " N"], tokens_in_batch: int, longest: int
) -> Iterator[tuple[Int[np.ndarray, " B"], int]]:
    """Texts of similar length together, the longest first (so that what is left shrinks faster than it seems).

    Args:
        lengths: tokens of each text.
        tokens_in_batch: about how many a batch has, padding among them.
        longest: the most tokens that the model reads.

    Yields:
        The texts of a batch, filled up with -1, and the length to pad them to. All batches of one length have the same
        number of rows, about `tokens_in_batch` / length, or a power of 2 where there are not as many texts.
    """
    order = np.argsort(-lengths, kind="stable")
    buckets = np.array([bucket(int(n), longest) for n in lengths[order]])
    for size in sorted(set(buckets.tolist()), reverse=True):
        own = order[buckets == size]
        rows = max(1, min(tokens_in_batch // size, 1 << (len(own) - 1).bit_length()))
        own = np.concatenate([own, np.full(-len(own) % rows, -1, own.dtype)])
        for batch in own.reshape(-1, rows):
            yield batch, size
