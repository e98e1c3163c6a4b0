"""Games: what each player minimises, and how a batch is drawn. No game knows an optimiser or the loop."""

from gan_rec.games.cfgan import CFGAN
from gan_rec.games.domain import DomainGame
from gan_rec.games.embedding import APR, EmbeddingGame
from gan_rec.games.irgan import IRGAN
from gan_rec.games.labels import RatingGame, TextGame
from gan_rec.games.negatives import AdvInfoNCE, HardNegatives

GAMES = {
    "embedding": EmbeddingGame, "apr": APR, "irgan": IRGAN, "cfgan": CFGAN, "hard-negative": HardNegatives,
    "advinfonce": AdvInfoNCE, "domain": DomainGame, "text": TextGame, "rating": RatingGame,
}  # fmt: skip

__all__ = [
    "APR", "CFGAN", "GAMES", "IRGAN", "AdvInfoNCE", "DomainGame", "EmbeddingGame", "HardNegatives", "RatingGame",
    "TextGame",
]  # fmt: skip
