import itertools
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import gan_rec
from gan_rec.data import Dataset, Interactions, split

SMALL_TRAINING = {
    "recommender": "autoencoder", "dim": 12, "batch_size": 32, "seeds": 2, "epochs": 15, "learning_rate": 1e-2,
    "weight_decay": 0.1, "progress": False,
}  # fmt: skip


def pytest_configure(config):
    """XLA reads its flags once, when the first program is compiled: before any fixture, and for other processes too."""
    known = version("jaxlib").startswith("0.10.")  # a flag that XLA does not know ends the process
    if known and config.getoption("markexpr") != "slow" and "XLA_FLAGS" not in os.environ:
        # The emitters of fused loops take most of the time of a compilation, and parts of a program more than a whole.
        os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


@pytest.fixture(scope="session", autouse=True)
def quick_compilation(tmp_path_factory, request):
    """Tests compile hundreds of programs and run each for a moment, some again and again, in other processes too."""
    base = tmp_path_factory.getbasetemp()
    own = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"  # of all workers
    options = {
        # A compiler that tries less hard is right where training is short; the slow lane trains for minutes.
        "jax_disable_most_optimizations": request.config.getoption("markexpr") != "slow",
        "jax_compilation_cache_dir": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(own)),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in options.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.fixture
def optimised():
    """For a test that computes more than it compiles."""
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, False)
    yield
    jax.config.update(name, before)


_FINISHED = itertools.count(1)


def _pieces_of_memory() -> float:
    """How many this process has mapped."""
    try:
        with open("/proc/self/maps", "rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        return np.inf


@pytest.fixture(autouse=True)
def few_programs_at_a_time():
    """A process may map 65,530 pieces of memory (Linux), and the programs of some hundred tests need more: it dies."""
    yield
    if next(_FINISHED) % 5 == 0 and _pieces_of_memory() > 20_000:
        jax.clear_caches()


def later(*values):
    """A set of a test's arguments that the long lane tries."""
    return pytest.param(*values, marks=pytest.mark.long)


def interactions(pairs, n_users=None, n_items=None) -> Interactions:
    users, items = np.asarray(pairs, np.int32).reshape(-1, 2).T
    n_users = n_users or int(users.max()) + 1
    n_items = n_items or int(items.max()) + 1
    return Interactions(users, items, np.arange(n_users), np.arange(n_items))


def checkerboard(n: int = 24):
    """Even users like even items, odd users odd ones; user u's own item u is held out, for test or for validation."""
    board = [(u, i) for u in range(n) for i in range(n) if u % 2 == i % 2]
    train = interactions([(u, i) for u, i in board if u != i and i != (u + 2) % n], n, n)
    valid = interactions([(u, (u + 2) % n) for u in range(n)], n, n)
    test = interactions([(u, u) for u in range(n)], n, n)
    return train, valid, test


@pytest.fixture(scope="session")
def small_split():
    """60 users in 3 groups, each with a liking for a third of 45 items, and 5 random likings."""
    rng = np.random.default_rng(0)
    pairs = set()
    for user in range(60):
        own = np.arange(45)[np.arange(45) % 3 == user % 3]
        pairs |= {(user, int(i)) for i in rng.choice(own, 9, replace=False)}
        pairs |= {(user, int(i)) for i in rng.choice(45, 3, replace=False)}
    whole = interactions(sorted(pairs), 60, 45)
    return split(Dataset("small", {"all": whole}, notes=(), terms=None, sha256="0" * 64), "random", seed=0)


@pytest.fixture(scope="session")
def small_run(small_split):
    """An autoencoder on these users, adversarial and twin, as far as a run is its models."""
    models = {
        name: gan_rec.fit(small_split, **SMALL_TRAINING | options)
        for name, options in {"adversarial": {}, "twin": {"alpha": 1.0}}.items()
    }
    return SimpleNamespace(models=models)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets; where it is missing, CI fails and a laptop skips."""
    folder = os.environ.get("GAN_REC_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder)
    message = "set GAN_REC_DATA to the folder that holds cfgan-ml100k and the other data sets"
    return pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@pytest.fixture
def chromium(tmp_path):
    """Shows an address in a browser, and gives the pixels of a window 1100 wide.

    Its console must stay empty, but for lines with something that is `usual`.
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if browser is None:
        assert not os.environ.get("GAN_REC_CHROMIUM"), "the environment says that there is a Chromium"
        pytest.skip("no Chromium is installed")

    def show(address: str, height: int, *options: str, usual: tuple[str, ...] = ()) -> np.ndarray:
        from matplotlib.image import imread

        shot = tmp_path / "shot.png"
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
             f"--user-data-dir={tmp_path / 'profile'}", f"--window-size=1100,{height}", f"--screenshot={shot}",
             *options, address], capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        said = [line for line in said if not any(part in line for part in usual)]
        assert done.returncode == 0 and not said, said
        return imread(shot)

    return show


def killing(label: str, epoch: int) -> str:
    """A program: the command line, which dies without a word when a model (its name in metrics.jsonl) ends an epoch."""
    return f"""
import os
from gan_rec import cli
from gan_rec.train.tracking import ModelTracker
tell = ModelTracker.tell
def die(self, rows):
    tell(self, rows)
    if self._name == {label!r} and rows[0]["epoch"] == {epoch}:
        os._exit(9)
ModelTracker.tell = die
cli.main()
"""
