"""A robustness card: one HTML page, without anything from elsewhere, with what is known of a run's robustness."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gan_rec.files import write_text, writing
from gan_rec.plot import png

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-top: 1px solid #ddd;
  padding-top: 1rem; }
p.about { color: #555; margin-top: .2rem; } p.note { background: #fff6e0; padding: .4rem .7rem; }
p.broken { background: #fde4e1; padding: .4rem .7rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; } .left { text-align: left; }
thead th { border-bottom: 1px solid #999; }
img { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; } dt { color: #555; } dd { margin: 0; }
"""


@dataclass(frozen=True)
class Section:
    """A part of a card.

    Args:
        title: its heading.
        about: what was measured, in a sentence or two.
        tables: caption -> table.
        figures: alternative text -> matplotlib figure; None where there is no matplotlib.
        notes: what was left out, and why.
        broken: what says that something here cannot be trusted.
    """

    title: str
    about: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    broken: Sequence[str] = ()


def card(title: str, facts: dict[str, str], sections: Sequence[Section]) -> str:
    """The page as text.

    Args:
        title: of the page.
        facts: what the run is, by name.
        sections: in their order.
    """
    said = "".join(f"<dt>{_safe(name)}</dt><dd>{_safe(value)}</dd>" for name, value in facts.items())
    parts = "".join(map(_section, sections))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head>\n<body><h1>{_safe(title)}</h1><dl>{said}</dl>{parts}</body></html>\n"
    )


def write_card(path: Path, text: str) -> None:
    """Write the page.

    Raises:
        UserError: it cannot be written there.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def _section(section: Section) -> str:
    tables = "".join(_table(caption, frame) for caption, frame in section.tables.items())
    figures = "".join(_figure(text, figure) for text, figure in section.figures.items() if figure is not None)
    broken = "".join(f'<p class="broken">This evaluation is broken: {_safe(line)}</p>' for line in section.broken)
    notes = "".join(f'<p class="note">{_safe(line)}</p>' for line in section.notes)
    about = f'<p class="about">{_safe(section.about)}</p>'
    return f"\n<section><h2>{_safe(section.title)}</h2>{about}{broken}{figures}{tables}{notes}</section>"


def _table(caption: str, frame: pd.DataFrame) -> str:
    first = frame.iloc[0] if len(frame) else [""] * frame.shape[1]
    head = "".join(f"<th{_left(v)}>{_safe(name)}</th>" for name, v in zip(frame.columns, first, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{_left(value)}>{_safe(_cell(value))}</td>" for value in row) + "</tr>"
        for row in frame.itertuples(index=False)
    )
    return (
        f'<div class="wide"><table><caption>{_safe(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _left(value: Any) -> str:
    """Words are aligned at the left; numbers, with an interval or without, at the right."""
    words = isinstance(value, str) and not value[:1].isdigit() and value[:1] not in ("+", "-")
    return ' class="left"' if words else ""


def _figure(text: str, figure: Any) -> str:
    encoded = base64.b64encode(png(figure, 110)).decode()
    return f'<p><img alt="{_safe(text)}" src="data:image/png;base64,{encoded}"></p>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4f}" if abs(value) >= 5e-5 or value == 0 else f"{value:.1e}"
    return "" if value is None else str(value)


def _safe(text: Any) -> str:
    return html.escape(str(text))
