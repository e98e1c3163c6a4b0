"""From files to a language model: Hugging Face folders (safetensors) and GGUF files."""

import json
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gan_rec.errors import UserError
from gan_rec.files import sha256
from gan_rec.language.bert import ACTIVATIONS, BertConfig, zeros
from gan_rec.language.tokens import truncate

LONGEST = 512


@dataclass(frozen=True)
class Loaded:
    """A language model as its files describe it.

    Args:
        model: words and states, see `gan_rec.language.bert.Bert`.
        tokenizer: a `tokenizers.Tokenizer`, truncating at `longest`.
        longest: the most tokens of a text.
        pooling: how its authors made one vector of the states, if they did.
        normalised: whether that vector has length 1.
        sha256: of the weights, the tokenizer and the configuration.
    """

    model: nnx.Module
    tokenizer: object
    longest: int
    pooling: str
    normalised: bool
    sha256: str


def read(path: Path) -> Loaded:
    """The model in a folder or GGUF file.

    Raises:
        UserError: files that are missing, cut short, of another architecture, or a library that is not installed.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".gguf":
        from gan_rec.language.gguf import read_gguf

        return read_gguf(path)
    raise UserError(f"{path} is no language model: give a folder in Hugging Face layout or a .gguf file")


def _read_folder(folder: Path) -> Loaded:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / name).exists():
            hint = "; convert pytorch_model.bin to safetensors" if (folder / "pytorch_model.bin").exists() else ""
            raise UserError(f"{folder} has no {name}, which a language model in Hugging Face layout needs{hint}")
    config = _bert_config(folder / "config.json")
    arrays = _read_safetensors(folder / "model.safetensors")
    model = fill(zeros(config), _bert_arrays(arrays, config, folder), folder)
    told = _json(folder / "sentence_bert_config.json").get("max_seq_length", LONGEST)
    if type(told) is not int or told < 1:
        raise UserError(
            f"{folder / 'sentence_bert_config.json'}: max_seq_length must be a number above 0, got {told!r}"
        )
    longest = min(told, config.positions)
    tokenizer = _tokenizer(folder / "tokenizer.json", longest)
    if (size := tokenizer.get_vocab_size()) > config.vocabulary:
        raise UserError(f"{folder}: the tokenizer has {size:,} tokens, the model {config.vocabulary:,}")
    steps = _steps(folder)
    return Loaded(
        model, tokenizer, longest, "mean", "Normalize" in steps,
        sha256(*(folder / name for name in ("model.safetensors", "tokenizer.json", "config.json"))),
    )  # fmt: skip


_STEPS = ("Transformer", "Pooling", "Normalize")


def _steps(folder: Path) -> list[str]:
    """What its authors did to make one vector of a text, by the names of sentence-transformers; [] if they do not say.

    Raises:
        UserError: something else than the mean over tokens, perhaps scaled to length 1.
    """
    modes = _json(folder / "1_Pooling" / "config.json")
    wanted = {name for name, value in modes.items() if name.startswith("pooling_mode_") and value is True}
    if not wanted <= {"pooling_mode_mean_tokens"} or modes.get("pooling_mode_mean_tokens", True) is not True:
        found = ", ".join(sorted(wanted)) or "no mean"
        raise UserError(
            f"{folder} was made for another pooling ({found}) than the mean over tokens; only BERTs of mean pooling "
            "are read"
        )
    steps = [
        str(step.get("type", "")).rpartition(".")[2] if isinstance(step, dict) else str(step)
        for step in _json(folder / "modules.json", list)
    ]
    unknown = [step for step in steps if step not in _STEPS]
    if unknown:
        raise UserError(
            f"{folder} has steps that are not known here ({', '.join(unknown)}); known: {', '.join(_STEPS)}"
        )
    return steps


def _json(path: Path, kind: type = dict):
    """What a file holds, a JSON object or list; an empty one where there is no file."""
    if not path.exists():
        return kind()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(found, kind):
        raise UserError(f"{path} must hold a JSON {'object' if kind is dict else 'list'}")
    return found


def _bert_config(path: Path) -> BertConfig:
    found = _json(path)
    kind = found.get("model_type")
    if kind != "bert":
        raise UserError(f"{path} describes a model of type {kind!r}; allowed: bert (or a GGUF file of a llama decoder)")
    for name, default, allowed in (
        ("hidden_act", "gelu", tuple(ACTIVATIONS)), ("position_embedding_type", "absolute", ("absolute",)),
    ):  # fmt: skip
        if (value := found.get(name, default)) not in allowed:
            raise UserError(f"{path}: unknown {name} {value!r}; allowed: {', '.join(allowed)}")
    names = {
        "vocabulary": "vocab_size", "dim": "hidden_size", "depth": "num_hidden_layers", "heads": "num_attention_heads",
        "inner": "intermediate_size", "positions": "max_position_embeddings",
    }  # fmt: skip
    missing = [name for name in names.values() if type(found.get(name)) is not int or found[name] < 1]
    if missing:
        raise UserError(f"{path} must give {', '.join(missing)} as whole numbers above 0")
    if found["hidden_size"] % found["num_attention_heads"]:
        raise UserError(f"{path}: hidden_size {found['hidden_size']} is no multiple of num_attention_heads")
    if type(found.get("layer_norm_eps", 1e-12)) not in (int, float):
        raise UserError(f"{path}: layer_norm_eps must be a number, got {found['layer_norm_eps']!r}")
    return BertConfig(
        **{own: found[name] for own, name in names.items()},
        epsilon=found.get("layer_norm_eps", 1e-12), activation=found.get("hidden_act", "gelu"),
    )  # fmt: skip


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    safetensors = need("safetensors.numpy")
    try:
        arrays = safetensors.load_file(path)
    except Exception as error:  # its own error type is no public name
        raise UserError(f"{path} is damaged or cut short: {error}") from error
    return {name.removeprefix("bert."): array for name, array in arrays.items()}


# Name of the layer's part here -> in the file.
_PARTS = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "output": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense", "outer": "output.dense", "output_norm": "output.LayerNorm",
}  # fmt: skip


def _bert_arrays(arrays: dict[str, np.ndarray], config: BertConfig, folder: Path) -> dict:
    """The file's arrays by path in the module; layers are stacked, and dense layers map rows (PyTorch's, columns)."""

    def get(name: str) -> np.ndarray:
        if name not in arrays:
            raise UserError(f"{folder / 'model.safetensors'} is of another architecture: it has no {name}")
        return arrays[name].astype(np.float32)

    def both(part: str) -> tuple[np.ndarray, np.ndarray]:
        weight = get(f"{part}.weight")
        return (weight.T if weight.ndim == 2 else weight), get(f"{part}.bias")

    scale, bias = both("embeddings.LayerNorm")
    made = {
        ("word_embedding",): get("embeddings.word_embeddings.weight"),
        ("position_embedding",): get("embeddings.position_embeddings.weight"),
        ("type_embedding",): get("embeddings.token_type_embeddings.weight")[:1],
        ("embedding_norm", "scale"): scale,
        ("embedding_norm", "bias"): bias,
    }
    for own, part in _PARTS.items():
        layers = [both(f"encoder.layer.{i}.{part}") for i in range(config.depth)]
        kind = "scale" if own.endswith("norm") else "kernel"
        for name, values in zip((kind, "bias"), zip(*layers, strict=True), strict=True):
            made["stack", "layers", own, name] = np.stack(values)
    more = f"encoder.layer.{config.depth}."
    if any(name.startswith(more) for name in arrays):
        raise UserError(f"{folder / 'model.safetensors'} has more layers than config.json says: {config.depth}")
    return made


def fill(model: nnx.Module, arrays: dict[tuple, np.ndarray], path: Path) -> nnx.Module:
    """The model with the arrays in their places; every place must get one of its shape, and is all that keeps it."""

    def put(place, blank):
        names = tuple(key.name for key in place[:-1])  # the last is the parameter's own "value"
        if names not in arrays or arrays[names].shape != blank.shape:
            found = arrays[names].shape if names in arrays else None
            raise UserError(f"{path}: {'.'.join(names)} must be {blank.shape}, found {found}")
        return jnp.asarray(arrays.pop(names))  # or a large model would be in memory twice

    return jax.tree_util.tree_map_with_path(put, model)


def _tokenizer(path: Path, longest: int):
    tokenizers = need("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # its errors are plain Exception
        raise UserError(f"{path} is damaged or of another kind: {error}") from error
    tokenizer.no_padding()
    truncate(tokenizer, longest, f"{path.parent / 'sentence_bert_config.json'}: max_seq_length")
    return tokenizer


def need(module: str):
    """Import a library of the extra "language".

    Raises:
        UserError: it is not installed; the message has the command that does it.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(f"{package} is not installed; to install it run: pip install 'gan_rec[language]'") from error
