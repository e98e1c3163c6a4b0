"""The same epoch by gan_rec and by others, in turn, on one thread: so that anybody can repeat the ratio.

    python benchmarks/peers/run.py --install peers-env     # once: an environment of their own, some 5 GB
    python benchmarks/peers/run.py --python peers-env/bin/python --output peers.jsonl

Pairs are those of the train part (CFGAN's ML-100K if it is on this disk, else synthetic ones), D = 64, batches of 1024,
LightGCN with two layers, Mult-VAE with 600 hidden units. In every round each program trains anew in a process of its
own, held to one core; the ratio is the median over rounds of their medians over epochs.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).parent.parent))
from lines import tell

HERE = Path(__file__).parent
PACKAGES = (
    "torch==2.2.2", "recbole==1.2.1", "implicit==0.7.2", "numpy<2", "pandas<2.3", "scipy<1.13", "setuptools<70", "ray",
    "thop", "hyperopt", "scikit-learn", "colorlog", "colorama", "tqdm", "tabulate", "plotly", "texttable", "psutil",
    "pyyaml", "tensorboard", "kmeans-pytorch",
)  # fmt: skip
# Their program and model -> ours, by its case in epoch_speed.py.
PAIRS = {
    ("recbole_epochs.py", "BPR"): "mf",
    ("recbole_epochs.py", "MultiVAE"): "mult-vae",
    ("recbole_epochs.py", "LightGCN"): "lightgcn",
    ("implicit_epochs.py", "bpr"): "mf",
}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    install: Path | None = None
    """Make an environment with the others here, and end."""
    python: Path | None = None
    """The Python of that environment."""
    dataset: str | None = None
    """Name or path (default: cfgan-ml100k if it is on this disk, else synthetic)."""
    epochs: int = 3
    """Timed in each round."""
    rounds: int = 3
    """How often each program is started."""
    output: Path | None = None
    """A file to add the JSON lines to."""


def main(options: Options) -> None:
    """Install, or measure."""
    if options.install is not None:
        venv.create(options.install, with_pip=True)
        subprocess.run([options.install / "bin" / "pip", "install", *PACKAGES], check=True)
        return
    if options.python is None:
        sys.exit("give --python, or --install first")
    with tempfile.TemporaryDirectory() as folder:
        name = write_pairs(Path(folder), options.dataset)
        for (script, model), case in PAIRS.items():
            tell(
                {"benchmark": "peers", "dataset": name} | measure(options, folder, script, model, case), options.output
            )


def write_pairs(folder: Path, dataset: str | None) -> str:
    """The train part as RecBole reads it; its name."""
    from gan_rec.data import load, locate

    name = dataset or ("cfgan-ml100k" if locate("cfgan-ml100k") else "synthetic")
    parts = load(name).parts
    train = parts.get("train", parts.get("all"))
    (folder / "pairs").mkdir()
    rows = "\n".join(f"{user}\t{item}" for user, item in zip(train.users, train.items, strict=True))
    (folder / "pairs" / "pairs.inter").write_text(f"user_id:token\titem_id:token\n{rows}\n")
    return name


def measure(options: Options, folder: str, script: str, model: str, case: str) -> dict:
    """Seconds of an epoch by program, and ours over theirs."""
    ours_command = [
        sys.executable, str(HERE.parent / "epoch_speed.py"), "--cases", case, "--seeds", "1", "--threads", "1",
        "--repeats", str(options.epochs), *(["--dataset", options.dataset] if options.dataset else []),
    ]  # fmt: skip
    theirs_command = [str(options.python), str(HERE / script), folder, model, str(options.epochs)]
    rounds = []
    for _ in range(options.rounds):
        theirs = statistics.median(told(theirs_command)["seconds"])
        ours = told(ours_command)
        rounds.append({"theirs": theirs} | ours["seconds_median"])
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    ratios = {
        name: statistics.median(each[name] / each["theirs"] for each in rounds) for name in ("twin", "adversarial")
    }
    about = {name: ours[name] for name in ("device", "packages", "git_revision", "batch_size", "dim")}
    whose = script.partition("_")[0]
    return {"peer": f"{whose} {model}", "case": case, "seconds": median, "over_theirs": ratios, **about}


def told(command: list[str]) -> dict:
    """The last line that a program prints, which is JSON; it is held to one thread."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | one)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main(tyro.cli(Options))
