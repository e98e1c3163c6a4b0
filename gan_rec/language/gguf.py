"""Decoders from GGUF files, the format of llama.cpp; the package of the same name reads and dequantises them."""

from pathlib import Path

import numpy as np

from gan_rec.errors import UserError
from gan_rec.files import sha256
from gan_rec.language.decoder import DecoderConfig, blank
from gan_rec.language.files import LONGEST, Loaded, fill, need

_CONTROL = 3  # the type of tokens such as <|endoftext|>

# Name here -> in the file; layers' names follow "blk.N.".
_OUTER = {("word_embedding",): "token_embd", ("stack", "norm", "scale"): "output_norm"}
_PARTS = {
    "query": "attn_q", "key": "attn_k", "value": "attn_v", "output": "attn_output", "attention_norm": "attn_norm",
    "gate": "ffn_gate", "inner": "ffn_up", "outer": "ffn_down", "inner_norm": "ffn_norm",
}  # fmt: skip


def read_gguf(path: Path) -> Loaded:
    """The decoder in a GGUF file, in float32.

    Raises:
        UserError: a file that is cut short, of another architecture, or quantised in an unknown way.
    """
    fields, tensors = _open(path)
    config = _config(fields, path)
    model = fill(blank(config), _arrays(tensors, config, path), path)
    longest = min(LONGEST, _value(fields, "llama.context_length", path))
    # The mean: of SmolLM2's similarities (50 texts) its ranks agree better with MiniLM's, .41 to the last state's .33.
    return Loaded(model, _tokenizer(fields, longest, path), longest, "mean", True, sha256(path))


def _open(path: Path) -> tuple[dict, dict]:
    """The file's metadata and tensors by name."""
    gguf = need("gguf")
    try:
        reader = gguf.GGUFReader(path)
    except Exception as error:  # of a file cut short it says so by whatever numpy raises
        raise UserError(f"{path} is damaged, cut short or no GGUF file: {error}") from error
    return reader.fields, {tensor.name: tensor for tensor in reader.tensors}


def _value(fields: dict, name: str, path: Path):
    if name not in fields:
        raise UserError(f"{path} does not say {name}")
    try:
        return fields[name].contents()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: {name} is no text") from error


def _config(fields: dict, path: Path) -> DecoderConfig:
    kind = _value(fields, "general.architecture", path)
    if kind != "llama":
        raise UserError(f"{path} holds a model of architecture {kind!r}; allowed: llama")
    names = {
        "dim": "embedding_length", "depth": "block_count", "heads": "attention.head_count",
        "groups": "attention.head_count_kv", "inner": "feed_forward_length", "theta": "rope.freq_base",
        "epsilon": "attention.layer_norm_rms_epsilon",
    }  # fmt: skip
    sizes = {own: _value(fields, f"llama.{name}", path) for own, name in names.items()}
    if wrong := [name for own, name in names.items() if not (isinstance(sizes[own], int | float) and sizes[own] > 0)]:
        raise UserError(f"{path}: llama.{wrong[0]} must be one positive number for all layers")
    config = DecoderConfig(len(_value(fields, "tokenizer.ggml.tokens", path)), **sizes)
    width = config.dim // config.heads
    if config.dim % config.heads or config.heads % config.groups or width % 2:
        raise UserError(f"{path}: {config.heads} heads in {config.groups} groups do not divide a width of {config.dim}")
    if _value(fields, "llama.rope.dimension_count", path) != width or "llama.rope.scaling.type" in fields:
        raise UserError(f"{path} rotates in another way: allowed is all of a head's width of {width}, without scaling")
    return config


def _arrays(tensors: dict, config: DecoderConfig, path: Path) -> dict[tuple, np.ndarray]:
    """The file's weights by path in the module; layers are stacked, and dense layers map rows (the file's, columns)."""
    layers = {own: [f"blk.{i}.{part}.weight" for i in range(config.depth)] for own, part in _PARTS.items()}
    known = {f"{part}.weight" for part in _OUTER.values()}.union(*layers.values())
    # Biases, an output of its own, factors of the rotation: without them the states would be others.
    if unknown := sorted(tensors.keys() - known):
        raise UserError(f"{path} is of another architecture: it has {unknown[0]}, which this decoder has no place for")
    made = {own: _dequantised(tensors, f"{part}.weight", path) for own, part in _OUTER.items()}
    for own, names in layers.items():
        kind = "scale" if own.endswith("norm") else "kernel"
        made["stack", "layers", own, kind] = np.stack([_dequantised(tensors, name, path).T for name in names])
    return made


def _dequantised(tensors: dict, name: str, path: Path) -> np.ndarray:
    if name not in tensors:
        raise UserError(f"{path} is of another architecture or cut short: it has no {name}")
    tensor = tensors[name]
    try:
        # A copy: numbers that are no quantised ones would be read from the file later, when they are wanted.
        return np.array(need("gguf").dequantize(tensor.data, tensor.tensor_type), np.float32)
    except NotImplementedError as error:
        kind = tensor.tensor_type.name
        raise UserError(f"{path}: {name} is of type {kind}, which package gguf cannot dequantise") from error


def _tokenizer(fields: dict, longest: int, path: Path):
    """The byte-level BPE that the metadata describe, as llama.cpp applies it."""
    tokenizers = need("tokenizers")
    kind = tuple(_value(fields, f"tokenizer.ggml.{name}", path) for name in ("model", "pre", "add_bos_token"))
    if kind != ("gpt2", "smollm", False):
        raise UserError(f"{path} has a tokenizer of kind {kind}; allowed: gpt2, smollm, no token at the beginning")
    tokens, types, merges = (
        _value(fields, f"tokenizer.ggml.{name}", path) for name in ("tokens", "token_type", "merges")
    )
    try:
        ids, pairs = {token: i for i, token in enumerate(tokens)}, [tuple(merge.split(" ", 1)) for merge in merges]
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(ids, pairs))
        special = [token for token, type_ in zip(tokens, types, strict=True) if type_ == _CONTROL]
    except Exception as error:  # the library's errors are plain Exception
        raise UserError(f"{path}: its tokenizer is damaged: {error}") from error
    split = tokenizers.pre_tokenizers
    tokenizer.pre_tokenizer = split.Sequence(
        [split.Digits(individual_digits=True), split.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.encode_special_tokens = True  # "<|im_end|>" in a text is ten characters, and ends nothing
    tokenizer.enable_truncation(longest)
    return tokenizer
