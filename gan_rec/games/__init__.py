"""Games: what each player minimises, and how a batch is drawn. No game knows an optimiser or the loop."""

from gan_rec.games.embedding import EmbeddingGame

__all__ = ["EmbeddingGame"]
