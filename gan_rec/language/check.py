"""Whether a language model works: it must find texts of the same meaning closer than others."""

import numpy as np

from gan_rec.errors import UserError
from gan_rec.language.encode import load_encoder

_PAIRS = [
    ("The dress fits well and feels soft.", "A comfortable gown, true to size."),
    ("The crew of a spaceship meets a deadly alien.", "Astronauts are hunted by a monster from another planet."),
    ("I want my money back, it broke after a day.", "Terrible quality, it fell apart at once, refund please."),
]


def check(name: str) -> str:
    """One line about a language model that was loaded and tried.

    Args:
        name: of a known model, or a path.

    Raises:
        UserError: it cannot be loaded, or its vectors are no better than chance.
    """
    encoder = load_encoder(name, cache=False)
    firsts, seconds = (encoder.encode([pair[side] for pair in _PAIRS], progress=False) for side in (0, 1))
    firsts, seconds = firsts - np.mean(firsts, axis=0), seconds - np.mean(seconds, axis=0)
    if np.any(np.argmax(firsts @ seconds.T, axis=1) != np.arange(len(_PAIRS))):
        raise UserError(f"the language model {name!r} was read, but it does not tell texts apart: are its files whole?")
    return (
        f"{name}: works; vectors of {encoder.dim}, at most {encoder.longest} tokens, pooling {encoder.pooling}, "
        f"sha256 {encoder.sha256[:12]}"
    )
