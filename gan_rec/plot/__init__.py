"""Pictures of games and results, with matplotlib: what `gan_rec.plot` offers.

Every function returns a matplotlib `Figure`, which Jupyter shows and `gan_rec.plot.save` writes. All axes have names
and units, legends stand below the panels, and lines differ in style and marker, so that they can be told apart without
colours.

    gan_rec.plot.losses({"adversarial": model, "twin": twin})
    gan_rec.plot.validation({"adversarial": model, "twin": twin})
    gan_rec.plot.embeddings(model)
"""

from gan_rec.plot.canvas import if_possible, is_possible, png, save
from gan_rec.plot.comparisons import leaderboard, popularity
from gan_rec.plot.embeddings import embeddings, moves, projection
from gan_rec.plot.explanations import deletion, explanation
from gan_rec.plot.robustness import certified, damage, hardening, poisoning
from gan_rec.plot.training import losses, validation, watched

__all__ = [
    "certified", "damage", "deletion", "embeddings", "explanation", "hardening", "if_possible", "is_possible",
    "leaderboard", "losses", "moves", "png", "poisoning", "popularity", "projection", "save", "validation", "watched",
]  # fmt: skip
