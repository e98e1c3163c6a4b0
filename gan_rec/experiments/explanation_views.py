"""Explanations as text, and what their pictures show."""

import io

import pandas as pd
from rich.console import Group
from rich.text import Text

from gan_rec.experiments.tables import new_table, print_table, short
from gan_rec.plot import png

__all__ = ["BASELINES", "bars", "deletion_text", "named", "png", "text"]

BASELINES = ("random", "popular first", "rare first")  # orders of a deletion that explain nothing


def text(explanation, n: int = 10) -> str:
    """An `Explanation` as tables, of whose history the `n` items that carried most and least."""
    return _printed(*_tables(explanation, n))


def _tables(explanation, n: int):
    frame = explanation.items
    about = f"user {explanation.user}, item {explanation.name}"
    yield Text(f"{about}: rank {explanation.rank}, {explanation.of} {explanation.value:.4f}", style="bold")
    table = new_table("", "item of the history", explanation.method)
    for item, title, attribution in frame.head(n).itertuples(index=False):
        table.add_row(named(item, title), f"{attribution:+.4f}")
    if len(frame) > n:
        rest = frame["attribution"].iloc[n:]
        table.add_row(f"{len(rest)} others, together", f"{rest.sum():+.4f}")
    yield table
    yield from map(Text, _notes(explanation))
    if explanation.words is not None and len(explanation.words):
        words = new_table("words of the item's text", "word", "leave-one-word-out")
        for word, attribution in _largest(explanation.words, n).itertuples(index=False):
            words.add_row(word, f"{attribution:+.4f}")
        yield words
    if explanation.moved is not None:
        yield from _moved_table(explanation)


def _notes(explanation) -> list[str]:
    lines = [f"the history's {len(explanation.items)} items sum to {explanation.items['attribution'].sum():+.4f}"]
    if explanation.empty is not None:
        lines[0] += f"; with an empty history the {explanation.of} is {explanation.empty:.4f}"
    if explanation.of == "margin":
        lines.append("margin: the score over that of the mean item that the user does not have")
    if explanation.agreement is not None:
        lines.append(f"cosine of the user's row with what the history makes of it: {explanation.agreement:.3f}")
    return lines


def _moved_table(explanation):
    frame = explanation.moved
    changed = frame[frame["change"] != "stayed"]
    yield Text(f"\nunder {explanation.attack}: {int((frame['change'] == 'entered').sum())} items entered the list")
    table = new_table("", "item", "change", "rank", "score", "by user row", "by item row", "row moved")
    for row in changed.to_dict("records"):
        table.add_row(
            named(row["item"], row["title"]), row["change"], f"{row['rank before']} > {row['rank after']}",
            f"{row['score before']:.3f} > {row['score after']:.3f}", f"{row['by user row']:+.3f}",
            f"{row['by item row']:+.3f}", f"{row['item row moved']:.1%}",
        )  # fmt: skip
    yield table
    step = frame["user row moved"].iloc[0] if len(frame) else 0.0
    yield Text(f"the user's row moved by {step:.1%} of its length; {len(frame) - len(changed)} items stayed")


def deletion_text(found) -> str:
    """A `gan_rec.experiments.faithfulness.Deletion` as a table."""
    frame, baselines = found.table, BASELINES
    table = new_table(
        "area under the deletion curve (less is more faithful)", "measure", "order", "area",
        *(f"minus {name} (p)" for name in baselines),
    )  # fmt: skip
    for row in frame.to_dict("records"):
        differences = (
            "" if row["order"] in baselines else f"{row[f'minus {name}']:+.4f} ({row[f'{name} p']:.2g})"
            for name in baselines
        )
        table.add_row(
            row["measure"], row["order"], f"{row['area']:.4f} ± {row['high'] - row['area']:.4f}", *differences
        )
    notes = (
        f"{frame['users'].iloc[0]} users' first recommendations; ±: 95% interval over users; p: paired t-test, Holm",
        "score: standard deviations above the mean item, as part of the first; gain: 1 / log2(1 + rank)",
    )
    return _printed(table, *map(Text, notes))


def _printed(*parts) -> str:
    out = io.StringIO()
    print_table(Group(*parts), out)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _largest(frame: pd.DataFrame, n: int) -> pd.DataFrame:
    """The n rows of the largest attributions, either sign, best first."""
    largest = frame["attribution"].abs().nlargest(n).index
    return frame.loc[largest].sort_values("attribution", ascending=False)


def named(item, title: str) -> str:
    """An item by id and title."""
    return f"{item} {short(title)}".rstrip()


def bars(explanation, n: int = 15) -> list[tuple[str, str, pd.DataFrame]]:
    """What a picture of an `Explanation` shows: title, unit and the n largest attributions by name, for each panel."""
    largest = _largest(explanation.items, n)
    names = [named(item, title) for item, title in zip(largest["item"], largest["title"], strict=True)]
    own = pd.DataFrame({"name": names, "attribution": largest["attribution"].to_numpy()})
    panels = [("items of the history", f"part of the {explanation.of}", own)]
    if explanation.words is not None and len(explanation.words):
        panels.append(("words of the item's text", "part of the score", _largest(explanation.words, n)))
    return panels
