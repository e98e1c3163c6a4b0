"""Texts in, sentence vectors out: batched, compiled once for each length, kept on disk."""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from gan_rec.errors import UserError
from gan_rec.files import cache_folder, write_array
from gan_rec.language import files, models
from gan_rec.language.cache import VectorCache
from gan_rec.language.files import Loaded
from gan_rec.language.tokens import Tokens, batches, bucket, tokenise
from gan_rec.language.transformer import POOLING, pool
from gan_rec.progress import Progress

_TOKENS_IN_BATCH = 2048  # larger batches are no faster on a CPU
_STATES_KEPT = 2


@dataclass(frozen=True)
class Encoder(Loaded):
    """A pretrained language model that makes a vector of length D of every text.

    Args:
        cache: folder of vectors that have been made before; None keeps none.
    """

    cache: Path | None = None

    @property
    def dim(self) -> int:
        """D."""
        return self.model.word_embedding[...].shape[-1]

    def tokens(self, texts: Sequence[str], longest: int | None = None) -> Tokens:
        """Token ids of every text, at most `longest`, or what the model can read.

        Raises:
            UserError: something that is no text, or no token but the special ones has room.
        """
        check_texts(texts)
        return tokenise(self.tokenizer, texts, min(longest or self.longest, self.longest))

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> Float[np.ndarray, "N D"]:
        """A vector for each text; an empty one has a vector too: of its special tokens alone, zeros if it has none.

        Args:
            texts: N of them.
            progress: show it, on stderr.

        Raises:
            UserError: something that is no text.
        """
        check_texts(texts)
        different = list(dict.fromkeys(texts))
        cache = self._cache()
        known = cache.get(different) if cache else {}
        new = [text for text in different if text not in known]
        with Progress(enabled=progress and bool(new)) as shown:
            self._encode_new(new, known, cache, shown)
        return np.stack([known[text] for text in texts]) if texts else np.zeros((0, self.dim), np.float32)

    def _encode_new(self, new: list[str], known: dict, cache: VectorCache | None, shown: Progress) -> None:
        tokens = self.tokens(new)
        bar, done = shown.add("encoding texts", 0, len(new)), 0
        for which, length in batches(tokens.lengths(), _TOKENS_IN_BATCH, self.longest):
            ids, mask = tokens.padded(which, length)
            vectors = np.asarray(_vectors(self.model, ids, mask, self.pooling, self.normalised))
            real = which >= 0
            check_finite(vectors[real])
            own = [new[n] for n in which[real]]
            known.update(zip(own, vectors[real], strict=True))
            if cache:
                cache.put(own, vectors[real])
            done += len(own)
            shown.advance(bar, done, len(new), f"encoding texts {done:,}/{len(new):,}", "")

    def states(
        self, texts: Sequence[str], below: int, longest: int, *, progress: bool = True
    ) -> tuple[Shaped[np.ndarray, "N T D"], Int[np.ndarray, " N"]]:
        """What layer `below` (counted from 0) reads of every text, in half precision, and the numbers of tokens.

        Args:
            texts: N of them.
            below: how many layers come before.
            longest: the most tokens; T is the least of `tokens.LENGTHS` that all texts fit into, or all that the model
                reads.
            progress: show it, on stderr.
        """
        ids, lengths = self.padded(texts, longest)
        keep = self._states_file(ids, below)
        if keep is not None and keep.exists():
            try:
                found = np.load(keep)
                keep.touch()  # used last, forgotten last
                return found, lengths
            except (ValueError, OSError, EOFError):  # it can be made again
                keep.unlink(missing_ok=True)
        made = np.zeros((*ids.shape, self.dim), np.float16)
        with Progress(enabled=progress) as shown:
            bar, done = shown.add("reading texts", 0, len(texts)), 0
            for which, length in batches(lengths, _TOKENS_IN_BATCH, self.longest):
                own = which[which >= 0]
                mask = (np.arange(length) < np.where(which >= 0, lengths[which], 0)[:, None]).astype(np.float32)
                # Padding rows are text -1, the last one, without tokens.
                found = np.asarray(_lower_states(self.model, ids[which][:, :length], mask, below))
                check_finite(found[: len(own)])
                made[own, :length] = found[: len(own)]
                done += len(own)
                shown.advance(bar, done, len(texts), f"reading texts {done:,}/{len(texts):,}", "")
        if keep is not None:
            with contextlib.suppress(OSError):  # a full disk only means that they are made again next time
                keep.parent.mkdir(parents=True, exist_ok=True)
                write_array(keep, made)
                _forget(keep.parent)
        return made, lengths

    def padded(self, texts: Sequence[str], longest: int) -> tuple[Int[np.ndarray, "N T"], Int[np.ndarray, " N"]]:
        """Token ids of every text, at most `longest`, and how many they are."""
        tokens = self.tokens(texts, longest)
        lengths = tokens.lengths()
        width = bucket(int(lengths.max(initial=1)), self.longest)
        return tokens.padded(np.arange(len(texts)), width)[0], lengths

    def _states_file(self, ids: np.ndarray, below: int) -> Path | None:
        if self.cache is None:
            return None
        key = hashlib.sha256(f"{self.sha256} {below} {ids.shape}".encode() + ids.tobytes()).hexdigest()
        return self.cache / f"states-{key[:24]}.npy"

    def _cache(self) -> VectorCache | None:
        if self.cache is None:
            return None
        kind = f"{self.sha256[:16]}-{self.pooling}-{self.longest}{'-unit' if self.normalised else ''}"
        return VectorCache(self.cache / f"{kind}.sqlite", self.dim)


def check_texts(texts: Sequence[str]) -> None:
    """Raise UserError unless these are texts, and not one text, whose letters would pass for some."""
    if isinstance(texts, str):
        raise UserError(f"texts must be a list of texts, got one text, {texts[:40]!r}: put it in brackets")
    for n, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"texts must be str, got {text!r} at position {n}")


def check_finite(vectors: np.ndarray) -> None:
    """Raise UserError if a language model gave what is no number."""
    if not np.isfinite(vectors).all():
        raise UserError(
            "the language model gave vectors with NaN or infinity: its weights are damaged; fetch or install it again"
        )


def _forget(folder: Path) -> None:
    """Keep the newest files of states only: of some thousand texts each has gigabytes."""
    for file in sorted(folder.glob("states-*.npy"), key=lambda file: file.stat().st_mtime)[:-_STATES_KEPT]:
        file.unlink(missing_ok=True)


@partial(jax.jit, static_argnames="below")
def _lower_states(model, ids: Int[Array, "B T"], mask: Float[Array, "B T"], below: int):
    states = model.stack.lower(below)(model.enter(model.words(ids)), mask)
    return (states * mask[..., None]).astype(jnp.float16)


@partial(jax.jit, static_argnames=("pooling", "normalised"))
def _vectors(model, ids: Int[Array, "B T"], mask: Float[Array, "B T"], pooling: str, normalised: bool):
    vectors = pool(model(model.words(ids), mask), mask, pooling)
    if not normalised:
        return vectors
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def load_encoder(name: str = "minilm", *, pooling: str | None = None, cache: bool = True) -> Encoder:
    """A pretrained language model by name (`gan_rec.language.KNOWN`) or path.

    Args:
        name: "minilm", "smollm2", a folder in Hugging Face layout, or a GGUF file.
        pooling: "mean" or "last"; None: as its authors did, and the mean for a decoder.
        cache: keep vectors on disk.

    Raises:
        UserError: it is not there, damaged, or of another kind.
    """
    loaded = files.read(models.locate(name))
    encoder = Encoder(**vars(loaded), cache=cache_folder() / "language" if cache else None)
    if pooling is None:
        return encoder
    if pooling not in POOLING:
        raise UserError(f"unknown pooling {pooling!r}; allowed: {', '.join(POOLING)}")
    return replace(encoder, pooling=pooling)
