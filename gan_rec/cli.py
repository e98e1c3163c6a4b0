"""The command line: one command, one line and exit code 2 for a user's mistake."""

import contextlib
import io
import os
import re
import shlex
import sys

import tyro

from gan_rec.commands import COMMANDS, Train
from gan_rec.compiled import keep_compiled
from gan_rec.errors import UserError
from gan_rec.searches import Compare, Tune

_OF_MANY_VALUES = (
    "--text-column", "--feature-column", "--models", "--users", "--k", "--attacks", "--radii",
    "--adversaries", "--epsilons", "--alphas", "--poison", "--budget", "--defences", "--recommenders", "--tracker",
)  # fmt: skip
_SHELLS = ("bash", "zsh")


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exits with 2 after a user's mistake, with 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        keep_compiled()
        command = parse(arguments)
        if command is not None:
            command.run()
    except UserError as error:
        print(f"gan_rec: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader of our output, such as head, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        place = f" {error.filename}" if error.filename else ""
        print(f"gan_rec: error: cannot read or write{place}: {error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        how = [f"{arguments[0]} --resume --out {shlex.quote(out)} goes on from what it has kept" for out in stop.args]
        print("; ".join(["gan_rec: stopped", *how]), file=sys.stderr)
        sys.exit(130)


def parse(arguments: list[str]):
    """The command that the arguments ask for, or None if they ask for the list of commands.

    Raises:
        UserError: an unknown command, option or value.
    """
    if any("\0" in argument for argument in arguments):
        raise UserError("an argument holds a null character, which no file or option can have")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return None
    name, *rest = arguments
    if name == "--version":
        from gan_rec.experiments.environment import version_text

        print(version_text())
        return None
    if name == "--completion":
        _print_completion(*rest)
        return None
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}; allowed: {', '.join(COMMANDS)}")
    for option in _OF_MANY_VALUES:
        if rest.count(option) > 1:
            raise UserError(f"{option} is given twice; all of its values go behind one: {option} A B")
    command = _parse(name, rest)
    if isinstance(command, Train | Tune | Compare):
        configured = command.configured()
        if configured is not None:
            command = _parse(name, rest, configured)
    return command


def _parse(name: str, arguments: list[str], default=None):
    extra = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                COMMANDS[name], prog=f"gan_rec {name}", args=arguments, config=(tyro.conf.OmitArgPrefixes,), **extra
            )
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise UserError(f"{_one_line(said.getvalue())}; see gan_rec {name} --help") from None


def _print_completion(shell: str = "bash", *others: str) -> None:
    """Print what a shell reads to complete commands and options."""
    if shell not in _SHELLS or others:
        raise UserError(f"unknown shell {' '.join((shell, *others))!r}; allowed: {', '.join(_SHELLS)}")
    with contextlib.suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="gan_rec", args=["--tyro-print-completion", shell], config=(tyro.conf.OmitArgPrefixes,)
        )


def _one_line(box: str) -> str:
    """The first message of tyro's box of several lines, with its first suggestion."""
    lines = [re.sub(r"^[\s│|╭╰]+|[\s│|╮╯]+$", "", line) for line in box.splitlines()]
    parts, part = [], []
    for line in lines[1:]:
        if re.fullmatch(r"[-─╌━]*", line):
            parts, part = [*parts, " ".join(part)] if part else parts, []
        else:
            part.append(line)
    message = parts[0] if parts else " ".join(filter(None, lines))
    message = re.sub(r"\. Expected one of \((.*?)\)\.+", _allowed, message)
    suggestion = re.search(r"Perhaps you meant:? *(--[\w-]+)", " ".join(parts[1:2]))
    return message + (f" (did you mean {suggestion[1]}?)" if suggestion else "")


def _allowed(choices: re.Match) -> str:
    """Tyro lists the choices of a set, in another order each time, with the None of an option that may be left out."""
    names = set(re.findall(r"'([^']*)'", choices[1])) - {"None"}
    return f"; allowed: {', '.join(sorted(names))}"


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.__doc__}" for name, command in COMMANDS.items()]
    usage = (
        "usage: gan_rec COMMAND [OPTIONS]      (gan_rec COMMAND --help lists the options)\n"
        "       gan_rec --version              what is installed, for reports of bugs\n"
        "       gan_rec --completion SHELL     what bash or zsh reads to complete commands and options"
    )
    return "\n".join([usage, "", "Adversarial learning for recommendation, measured honestly.", "", *lines])
