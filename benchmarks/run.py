"""Every benchmark of speed, one after the other, with a line of JSON for each case: for whoever has the hardware.

    python benchmarks/run.py --all --output results.jsonl
    python benchmarks/run.py --all --smoke              # some minutes on a laptop: does everything run?
    python benchmarks/run.py epoch-speed top-k

What was measured, on which device, with which versions and at which revision stands in each line; a benchmark that
fails is told of in the end, and the others go on.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = {
    "epoch-speed": (["epoch_speed.py"], "an epoch of every game, with its twin; one seed and four"),
    "seeds": (
        ["epoch_speed.py", "--cases", "autoencoder", "mf", "--seeds", "1", "2", "4", "8", "16"],
        "seeds in parallel",
    ),
    "table-size": (["table_size.py"], "a step on tables of 1e4 to 1e6 rows"),
    "streaming": (["streaming.py"], "training from 100 million interactions in Parquet, and from a tenth in memory"),
    "top-k": (["top_k.py"], "exact top 20 of 100,000 items"),
    "encoder": (["encoder.py"], "texts a second of a pretrained language model"),
    "text-cost": (["text_cost.py"], "a step of an encoder's last layers against each adversary"),
    "devices": (["devices.py"], "an epoch over 1, 2, 4 ... devices"),
}
_KEEPS_ITS_OWN_FILE = ("text-cost",)


def main(arguments: list[str] | None = None) -> None:
    """Run them. Exits with 1 if one has failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--smoke", action="store_true", help="as small as can be")
    parser.add_argument("--output", type=Path, help="a file to add the lines to")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown or options.all == bool(options.names):
        parser.error(f"give --all, or some of {', '.join(BENCHMARKS)}; got {', '.join(options.names) or 'nothing'}")
    names = list(BENCHMARKS) if options.all else options.names
    failed = [name for name in names if not run(name, smoke=options.smoke, output=options.output)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run(name: str, *, smoke: bool, output: Path | None) -> bool:
    """Whether a benchmark ended well; its lines go to stdout and to `output`."""
    (script, *given), about = BENCHMARKS[name]
    print(f"{name}: {about}", file=sys.stderr, flush=True)
    more = ["--smoke"] if smoke else []
    if output is not None and name not in _KEEPS_ITS_OWN_FILE:
        more += ["--output", str(output)]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, str(HERE / script), *given, *more])
    print(f"{name}: {time.perf_counter() - start:.0f} s, exit code {done.returncode}", file=sys.stderr, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
