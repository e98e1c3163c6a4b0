"""Tuning a model on validation: Optuna proposes, trials of one shape run as one program, a study on disk remembers."""

import contextlib
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import jax
import numpy as np

from gan_rec.data import Split
from gan_rec.errors import UserError
from gan_rec.experiments.checks import check_types
from gan_rec.experiments.models import Goal, Model, Scored, Values
from gan_rec.files import lives
from gan_rec.progress import Progress
from gan_rec.space import Real, Whole
from gan_rec.train.fit import TrainingDivergedError

_LEARNED_FROM = 5  # trials that a median needs before it ends others
_SILENT = 30 * 60  # seconds without a sign of life, after which a trial on another machine is taken for dead
_BEAT = 60  # seconds between two signs of life


@dataclass(frozen=True)
class Found:
    """What a search has found."""

    model: str
    values: Values
    score: float  # on validation
    epochs: int | None  # chosen by the best trial; None of closed forms
    trials: dict[str, int]  # how many were finished, were given up early, have diverged
    seconds: float  # of all trials together

    def record(self) -> dict:
        """As plain types."""
        return asdict(self)


@dataclass(frozen=True)
class Search:
    """How to search.

    Args:
        trials: how many, the model's defaults first; of a model without options one.
        parallel: trials that are proposed at a time; those of one shape then run as one program.
        goal: what is measured.
    """

    trials: int = 20
    parallel: int = 1
    goal: Goal = Goal()

    def check(self) -> None:
        """Raise UserError unless both numbers are at least 1 and the goal is a possible one."""
        check_types(self)
        self.goal.check()
        for name in ("trials", "parallel"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")


class StudyError(UserError):
    """The file of a study cannot be used, or not yet."""


def search(model: Model, split: Split, how: Search, file: Path, progress: Progress, *, shared: bool = False) -> Found:
    """Go through the trials that the study in `file` does not have yet.

    Proposals depend on the goal's seed and on the trials before: a search that was killed goes on as it would have.

    Args:
        model: what is tuned.
        split: its test part is not read.
        how: how to search.
        file: of the study: SQLite if it ends with .db, else Optuna's journal, which network drives can share.
        progress: shows it.
        shared: other processes and machines may work on this study at the same time. Else whatever trial seems to run
            when it is opened was left by a process that is no more.

    Raises:
        StudyError: the file cannot be used or holds another search, or no trial is finished, but some run elsewhere.
        UserError: Optuna is not installed, or all trials diverge.
    """
    how.check()
    optuna = need_optuna()
    n = how.trials if model.space(split) else 1
    with _quiet(optuna), _storage_errors(optuna, file):
        study = _open(optuna, model, split, how.goal, file, shared)
        bar = progress.add(f"tuning {model.name}", 0, n)

        def show(doing: str) -> None:
            done = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.get_trials(deepcopy=False))
            line = f"tuning {model.name}, {done} of {n} trials{doing}: "
            progress.advance(bar, done, n, line, _best(study, how.goal))

        rounds = _Rounds(optuna, study, model, split, how.goal, show)
        while (left := n - _begun(study)) > 0:
            rounds.play(min(how.parallel, left))
            show("")
        return _found(study, model)


def try_study(model: Model, split: Split, goal: Goal, file: Path) -> None:
    """Raise StudyError if `search` cannot share this file."""
    optuna = need_optuna()
    with _quiet(optuna), _storage_errors(optuna, file):
        _open(optuna, model, split, goal, file, True)


def usual_parallel() -> int:
    """Trials at a time where nobody says: on a CPU side by side they take as long as one after the other."""
    return 1 if jax.default_backend() == "cpu" else 8


def need_optuna() -> ModuleType:
    """Optuna.

    Raises:
        UserError: it is not installed; the message has the command that does it.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("optuna is not installed; to install it run: pip install 'gan_rec[tune]'") from None
    return optuna


@contextlib.contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Optuna's own lines would stand between those of the progress."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextlib.contextmanager
def _storage_errors(optuna: ModuleType, file: Path) -> Iterator[None]:
    """What goes wrong with the file of a study, as a `StudyError`."""
    try:
        yield
    except (optuna.exceptions.OptunaError, json.JSONDecodeError) as error:
        raise StudyError(f"cannot use {file} as a study: {' '.join(str(error).split())}") from error


def _open(optuna: ModuleType, model: Model, split: Split, goal: Goal, file: Path, shared: bool):
    """The study, new or as it was left."""
    epochs = 0 if model.closed else model.settings({}, goal).epochs
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        if file.suffix == ".db":
            storage = optuna.storages.RDBStorage(f"sqlite:///{file.absolute()}")
        else:
            _mend(optuna, file)
            storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
        pruner = optuna.pruners.MedianPruner(n_startup_trials=_LEARNED_FROM, n_warmup_steps=epochs // 3)
        study = optuna.create_study(
            storage=storage, study_name=f"{model.name} on {split.name}", direction="maximize", load_if_exists=True,
            pruner=pruner,
        )  # fmt: skip
    except Exception as error:  # of whatever library the storage is made of
        raise StudyError(f"cannot use {file} as a study: {str(error).splitlines()[0]}") from error
    about = asdict(goal) | {"train": split.train.sha256(), "valid": split.valid.sha256()}
    about["space"] = repr(dict(model.space(split)))
    if study.user_attrs.get("about", about) != about:
        before = study.user_attrs["about"]
        differ = ", ".join(name for name in about if about[name] != before.get(name))
        raise StudyError(
            f"{file} holds another search of {model.name} on {split.name} (other {differ}); give a new file"
        )
    study.set_user_attr("about", about)
    _bury(optuna, study, shared)
    if all(trial.state.name == "FAIL" for trial in study.get_trials(deepcopy=False)):
        study.enqueue_trial(model.defaults(split))
    return study


_LINE = b'{"op_code":'  # with which every line of a journal begins


def _mend(optuna: ModuleType, file: Path) -> None:
    """Drop a last line of a journal that a killed process left half-written: the next one would be glued to it."""
    if not _torn(file):
        return
    journal = optuna.storages.journal
    with journal._file.get_lock_file(journal.JournalFileSymlinkLock(str(file))):  # else someone may be writing it
        if torn := _torn(file):
            os.truncate(file, file.stat().st_size - torn)


def _torn(file: Path) -> int:
    """How many bytes of a journal stand behind its last whole line; of what is no journal 0."""
    if not file.exists():
        return 0
    rest = file.read_bytes().rpartition(b"\n")[2]
    return len(rest) if rest[: len(_LINE)] == _LINE[: len(rest)] else 0


def _me() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _bury(optuna: ModuleType, study, shared: bool) -> None:
    """Give up trials of processes that are no more; they do not count."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        if not shared or not _runs(trial):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _runs(trial) -> bool:
    """Whether the process of a trial of a shared study is at work, as far as can be known."""
    host, _, pid = trial.user_attrs.get("owner", _me()).rpartition(" ")
    if host != socket.gethostname():
        return time.time() - trial.user_attrs.get("alive", trial.datetime_start.timestamp()) < _SILENT
    # Of our own number it was another process, before us: we own nothing yet.
    return int(pid) != os.getpid() and lives(int(pid))


def _begun(study) -> int:
    """How many trials are finished or running, here or elsewhere."""
    return sum(trial.state.name not in ("FAIL", "WAITING") for trial in study.get_trials(deepcopy=False))


class _Rounds:
    """Rounds of trials that are proposed at a time.

    Args:
        optuna, study: what proposes and remembers.
        model, split, goal: what is tuned, on what, for what.
        show: called with what is being done.
    """

    def __init__(self, optuna: ModuleType, study, model: Model, split: Split, goal: Goal, show: Callable[[str], None]):
        self._optuna, self._study, self._states = optuna, study, optuna.trial.TrialState
        self._model, self._split, self._goal, self._show = model, split, goal, show
        self._asked: list = []  # the trials of this round
        self._beaten = 0.0  # when they last gave a sign of life

    def play(self, n: int) -> None:
        """Propose n trials and go through them."""
        self._asked = []
        try:
            for _ in range(n):
                self._asked.append(self._ask())
            fresh = [trial for trial in self._asked if not self._tell_known(trial)]
            for group in self._model.groups(self._split, [dict(trial.params) for trial in fresh], self._goal):
                self._go_through([fresh[number] for number in group])
        except BaseException:
            for trial in self._asked:  # they would seem to run for ever
                self._study.tell(trial, state=self._states.FAIL, skip_if_finished=True)
            raise

    def _ask(self):
        """A trial with values of its own. What is random in them depends on how many trials count before it."""
        trial = self._study.ask()
        trial.set_user_attr("owner", _me())
        earlier = self._study.get_trials(deepcopy=False)[: trial.number]
        place = sum(each.state != self._states.FAIL for each in earlier)
        seed = int(np.random.default_rng([self._goal.seed, place]).integers(2**31))
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=True)
        for name, part in self._model.space(self._split).items():
            if isinstance(part, Real):
                trial.suggest_float(name, part.low, part.high, log=part.log)
            elif isinstance(part, Whole):
                trial.suggest_int(name, part.low, part.high, log=part.log)
            else:
                trial.suggest_categorical(name, part.values)
        return trial

    def _tell_known(self, trial) -> bool:
        """Whether the same values have been tried before; then the trial gets their score."""
        for other in self._study.get_trials(deepcopy=False, states=(self._states.COMPLETE,)):
            if other.params == trial.params:
                self._tell(trial, Scored(other.value, other.user_attrs["epochs"]), 0.0)
                return True
        return False

    def _go_through(self, trials: list) -> None:
        """Run the trials of a group and tell the study what they came to."""
        self._beat("")
        began = time.perf_counter()
        results: Sequence[Scored | None] = [None] * len(trials)
        try:
            watched = _Curves(trials, self._goal.select_on, self._beat, self._model.curved)
            results = self._model.scores(self._split, [dict(t.params) for t in trials], self._goal, (watched,))
        except _HopelessError:
            pass
        except TrainingDivergedError:
            if len(trials) > 1:  # the others shall not go down with it
                for trial in trials:
                    self._go_through([trial])
                return
            trials[0].set_user_attr("diverged", True)
        for trial, result in zip(trials, results, strict=True):
            self._tell(trial, result, (time.perf_counter() - began) / len(trials))

    def _beat(self, doing: str) -> None:
        """Show what is being done, and let other machines know, if it is time, that the round is not dead."""
        self._show(doing)
        if time.time() - self._beaten < _BEAT:
            return
        self._beaten = time.time()
        for trial in self._asked:
            if self._is_ours(trial):
                trial.set_user_attr("alive", self._beaten)

    def _is_ours(self, trial) -> bool:
        """Whether a trial is not told yet, nor taken for dead elsewhere."""
        return self._study.get_trials(deepcopy=False)[trial.number].state == self._states.RUNNING

    def _tell(self, trial, result: Scored | None, seconds: float) -> None:
        if not self._is_ours(trial):
            return
        trial.set_user_attr("seconds", seconds)
        if result is None:
            self._study.tell(trial, state=self._states.PRUNED)
            return
        trial.set_user_attr("epochs", result.epochs)
        self._study.tell(trial, result.score)


class _HopelessError(Exception):
    """No trial of a group is worth going on with."""


class _Curves:
    """Reports the validation curve of every trial of a group; a `gan_rec.train.fit.Observer`.

    Args:
        trials: of the study.
        metric: whose curve.
        show: called with what is being done.
        judges: whether a trial may be given up by its curve.
    """

    def __init__(self, trials: list, metric: str, show: Callable[[str], None], judges: bool):
        self._trials, self._column, self._show, self._judges = trials, f"validation {metric}", show, judges

    def begin(self, phase: str, epoch: int, epochs: int) -> None:
        """Nothing to do."""

    def tell(self, rows: list[dict]) -> None:
        """See `Observer.tell`. A program ends before its time only as a whole."""
        epoch = rows[0]["epoch"]
        self._show(f", {len(rows)} at epoch {epoch}")
        if not self._judges or rows[0]["phase"] != "selection" or self._column not in rows[0]:
            return
        for trial, row in zip(self._trials, rows, strict=True):
            trial.report(row[self._column], epoch)
        if all(trial.should_prune() for trial in self._trials):
            raise _HopelessError


def _best(study, goal: Goal) -> str:
    values = [trial.value for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    return f"best validation {goal.select_on} {max(values):.4f}" if values else "none has come to an end yet"


def _found(study, model: Model) -> Found:
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state.name == "COMPLETE"]
    running = [trial.user_attrs.get("owner", "?") for trial in trials if trial.state.name == "RUNNING"]
    if running and not finished:
        raise StudyError(
            f"no trial of {model.name} has come to an end yet, but {len(running)} of them run in other processes "
            f"({', '.join(running)}): wait for these, or ask for more trials"
        )
    if not finished:
        raise UserError(f"no trial of {model.name} has come to an end: training diverged in all of them")
    best = max(finished, key=lambda trial: (trial.value, -trial.number))
    diverged = sum("diverged" in trial.user_attrs for trial in trials)
    pruned = sum(trial.state.name == "PRUNED" for trial in trials) - diverged
    counts = {"finished": len(finished), "given up": pruned, "diverged": diverged}
    seconds = sum(trial.user_attrs.get("seconds", 0.0) for trial in trials)
    return Found(model.name, dict(best.params), best.value, best.user_attrs["epochs"], counts, seconds)
