"""How many texts and tokens a second a pretrained language model reads.

python benchmarks/encoder.py                        # minilm, 2,000 texts of each length
python benchmarks/encoder.py --encoder smollm2 --texts 100
python benchmarks/encoder.py --smoke
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from lines import made_with, tell

_WORDS = ("a", "dress", "that", "fits", "well", "and", "looks", "good", "in", "summer", "but", "not", "too", "long")


@dataclass(frozen=True)
class Options:
    """What to measure."""

    encoder: str = "minilm"
    """minilm, smollm2, or a path."""
    texts: int = 2000
    """Of each length."""
    words: tuple[int, ...] = (8, 32, 128)
    """In a text."""
    smoke: bool = False
    """A few short texts."""
    output: Path | None = None
    """A file to add the JSON line to."""


def main(options: Options) -> None:
    """Measure."""
    if options.smoke:
        options = replace(options, texts=8, words=(4,))
    tell(measure(options), options.output)


def measure(options: Options) -> dict:
    """Texts and tokens a second, by words in a text, once all is compiled; nothing is taken from the cache."""
    import numpy as np

    from gan_rec.language import load_encoder

    encoder, rng, found = load_encoder(options.encoder, cache=False), np.random.default_rng(0), {}
    for n in options.words:
        texts = [" ".join(rng.choice(_WORDS, n)) for _ in range(options.texts)]
        tokens = int(encoder.tokens(texts).lengths().sum())
        for _ in range(2):
            start = time.perf_counter()
            encoder.encode(texts, progress=False)
            seconds = time.perf_counter() - start
        found[str(n)] = {"texts_a_second": options.texts / seconds, "tokens_a_second": tokens / seconds}
    return {
        "benchmark": "encoder", "encoder": options.encoder, "texts": options.texts, "by_words": found,
        **made_with(),
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options))
