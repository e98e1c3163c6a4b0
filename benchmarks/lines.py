"""Lines of JSON for what was measured: to stdout and, if one is given, to the end of a file, and back."""

import json
from pathlib import Path
from typing import Any


def tell(line: dict[str, Any], output: Path | None) -> None:
    """Print it, and add it to `output`."""
    text = json.dumps(line)
    print(text, flush=True)
    if output is not None:
        with open(output, "a", encoding="utf-8") as file:
            file.write(text + "\n")


def kept(path: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def made_with() -> dict[str, Any]:
    """Device, versions and revision."""
    from gan_rec.experiments.environment import environment

    found = environment(None)
    return {name: found[name] for name in ("device", "packages", "git_revision")}
