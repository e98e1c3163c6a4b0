"""The command report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gan_rec.errors import UserError

# The heavy imports stand inside the command, as in gan_rec.commands.


@dataclass(frozen=True)
class Report:
    """Write one HTML page about a run, or several side by side: options, data, curves, results, recommendations."""

    run_directories: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """The runs, of any task."""
    output: Path | None = None
    """The page (default: report.html in the run directory, or here if there are several runs)."""
    users: tuple[str, ...] | None = None
    """Whose recommendations are shown (default: three users with long, middling and short histories)."""

    def run(self) -> None:
        """Write the page."""
        from gan_rec.experiments.card import write_card
        from gan_rec.experiments.report import report
        from gan_rec.files import check_writable

        if not self.run_directories:
            raise UserError("report needs the directory of a run, or of several")
        output = self.output
        if output is None:
            output = Path("report.html") if len(self.run_directories) > 1 else self.run_directories[0] / "report.html"
        if output.is_dir():
            raise UserError(f"the output {output} is a folder; give a file, for example {output / 'report.html'}")
        if self.output is not None:
            check_writable(output)
        write_card(output, report(self.run_directories, self.users))
        print(f"written: {output}")
