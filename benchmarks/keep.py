"""What a finished run or comparison came to, as a line of a file in benchmarks/results, where tables.py finds it.

python benchmarks/keep.py DIRECTORY leaderboard            # of `gan_rec compare --out DIRECTORY`
python benchmarks/keep.py DIRECTORY labels --about "WHAT"  # of `gan_rec train --out DIRECTORY`
python benchmarks/keep.py DIRECTORY evasion --attacked FOLDER  # and of `gan_rec attack DIRECTORY --output FOLDER`
"""

import argparse
import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def line(directory: Path, about: str | None) -> dict:
    """The results, the environment and, if it has one, the configuration of a run.

    Raises:
        SystemExit: the directory has none.
    """
    parts = {}
    for part in ("results", "environment"):
        file = directory / f"{part}.json"
        if not file.exists():
            raise SystemExit(f"{directory} has no {file.name}: it is not the directory of a finished run")
        parts[part] = json.loads(file.read_text(encoding="utf-8"))
    config = directory / "config.json"
    if config.exists():
        asked = json.loads(config.read_text(encoding="utf-8"))
        parts["config"] = {name: _named(value) for name, value in asked.items()}
    return ({} if about is None else {"about": about}) | parts


def _named(value):
    """Of an absolute path, which is one of this machine, the last part."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def main(arguments: list[str] | None = None) -> None:
    """Add the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("file", help="name of the file in benchmarks/results, without .jsonl")
    parser.add_argument("--about", help="what tables.py knows this line by")
    parser.add_argument("--attacked", type=Path, help="folder of `gan_rec attack DIRECTORY`")
    options = parser.parse_args(arguments)
    added = line(options.directory, options.about)
    if options.attacked is not None:
        added["evasion"] = json.loads((options.attacked / "evasion.json").read_text(encoding="utf-8"))
    with open(RESULTS / f"{options.file}.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(added) + "\n")


if __name__ == "__main__":
    main()
