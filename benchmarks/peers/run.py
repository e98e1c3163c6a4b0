"""The same epoch by gan_rec and by others, in turn, on one thread: so that anybody can repeat the ratio.

    python benchmarks/peers/run.py --install peers-env     # once: an environment of their own, some 5 GB
    python benchmarks/peers/run.py --python peers-env/bin/python --elliot CHECKOUT --cfgan CHECKOUT --output peers.jsonl

Pairs are those of the train part (CFGAN's ML-100K if it is on this disk, else synthetic ones), D = 64, batches of 1024,
LightGCN with two layers, Mult-VAE with 600 hidden units. In every round each program trains anew in a process of its
own, held to one core; the ratio is the median over rounds of their medians over epochs.

Elliot (sisinflab/elliot, 0.3.1) and CFGAN by its authors (Bigdasgit/CFGAN) are in no registry: give a checkout of each.
CFGAN has its authors' sizes for ML-100K, with batches of 32 for both players, and is measured by the update, a step of
either player's optimiser.
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
    "pyyaml", "tensorboard", "kmeans-pytorch", "tensorflow-cpu==2.15.1", "matplotlib",
)  # fmt: skip
# Their program and model -> ours, by its case in epoch_speed.py.
PAIRS = {
    ("recbole_epochs.py", "BPR"): "mf",
    ("recbole_epochs.py", "MultiVAE"): "mult-vae",
    ("recbole_epochs.py", "LightGCN"): "lightgcn",
    ("implicit_epochs.py", "bpr"): "mf",
    ("elliot_epochs.py", "AMF"): "apr",
    ("cfgan_epochs.py", "CFGAN"): "cfgan-item",
}
CHECKOUTS = "elliot", "cfgan"  # the peers that no registry has; also the names of their options


@dataclass(frozen=True)
class Options:
    """What to measure."""

    install: Path | None = None
    """Make an environment with the others here, and end."""
    python: Path | None = None
    """The Python of that environment."""
    peers: tuple[str, ...] = ("recbole", "implicit", *CHECKOUTS)
    """Which of recbole, implicit, elliot, cfgan."""
    elliot: Path | None = None
    """A checkout of Elliot; without it elliot is left out."""
    cfgan: Path | None = None
    """A checkout of CFGAN; without it cfgan is left out."""
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
    if hasattr(os, "sched_setaffinity"):  # the programs inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    with tempfile.TemporaryDirectory() as folder:
        name = write_pairs(Path(folder), options.dataset)
        for (script, model), case in PAIRS.items():
            whose = peer_of(script)
            if whose not in options.peers:
                continue
            if whose in CHECKOUTS and getattr(options, whose) is None:
                print(f"left out {whose} {model}: give --{whose}, a checkout of its repository", file=sys.stderr)
                continue
            line = measure(options, folder, script, model, case)
            tell({"benchmark": "peers", "dataset": name} | line, options.output)


def peer_of(script: str) -> str:
    """Whose program it is."""
    return script.partition("_")[0]


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
    """Seconds of an epoch, or of an update if theirs counts them, by program, and ours over theirs."""
    whose = peer_of(script)
    ours_command = [
        sys.executable, str(HERE.parent / "epoch_speed.py"), "--cases", case, "--seeds", "1", "--threads", "1",
        "--repeats", str(options.epochs), *(["--dataset", options.dataset] if options.dataset else []),
    ]  # fmt: skip
    checkout = [str(getattr(options, whose))] if whose in CHECKOUTS else []
    theirs_command = [str(options.python), str(HERE / script), folder, model, str(options.epochs), *checkout]
    rounds = []
    for _ in range(options.rounds):
        theirs, ours = told(theirs_command), told(ours_command)
        each = {"theirs": statistics.median(theirs["seconds"])} | ours["seconds_median"]
        updates = {"theirs": theirs["updates"]} | ours["updates"] if "updates" in theirs else dict.fromkeys(each, 1)
        rounds.append({name: seconds / updates[name] for name, seconds in each.items()})
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    ratios = {
        name: statistics.median(each[name] / each["theirs"] for each in rounds) for name in ("twin", "adversarial")
    }
    about = {name: ours[name] for name in ("device", "packages", "git_revision", "batch_size", "dim")}
    counted = {"of": "update", "updates": updates} if "updates" in theirs else {"of": "epoch"}
    return {"peer": f"{whose} {model}", "case": case, **counted, "seconds": median, "over_theirs": ratios, **about}


def told(command: list[str]) -> dict:
    """The last line that a program prints, which is JSON; it is held to one thread."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    one |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | one)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main(tyro.cli(Options))
