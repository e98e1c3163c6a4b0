"""Pretrained language models in Flax: BERT-kind encoders and GPT-kind decoders that turn texts into vectors."""

from gan_rec.language.encode import Encoder, load_encoder
from gan_rec.language.models import KNOWN, install, known_models

__all__ = ["KNOWN", "Encoder", "install", "known_models", "load_encoder"]
