"""What detection found, as text."""

import io
import json

import pandas as pd

from gan_rec.experiments.tables import new_table, print_table


def detection_text(found: pd.DataFrame, style: str) -> str:
    """Suspicious users, or measured detectors, as "table", "csv" or "json" (a list of objects)."""
    if style == "csv":
        return found.to_csv(index=False)
    if style == "json":
        rows = json.loads(found.to_json(orient="records"))  # of NumPy's types, and NaN as null
        return json.dumps(rows, indent=1) + "\n"
    table = _users(found) if "user" in found.columns else _measured(found)
    text = io.StringIO()
    print_table(table, text)
    return text.getvalue()


def _users(found: pd.DataFrame):
    table = new_table(f"suspicious users: {int(found['flagged'].sum())} of these are flagged", "user", "suspicion", "")
    table.add_column("reasons, and items that other suspicious users have", justify="left", overflow="fold")
    for row in found.to_dict("records"):
        reasons = "\n".join(row["reasons"].split("; ")) + (f"\nitems {row['items']}" if row["items"] else "")
        flagged = "flagged" if row["flagged"] else ""
        table.add_row(str(row["user"]), f"{row['suspicion']:.3f}", flagged, reasons)
    return table


def _measured(found: pd.DataFrame):
    values = [name for name in found.columns if f"{name} ±" in found.columns]
    named = [name for name in found.columns if name not in values and not name.endswith(" ±")]
    table = new_table("attacks of kinds that no detector has learned from: mean over seeds ± 95% interval", *named)
    for name in values:
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.to_dict("records"):
        table.add_row(*(str(row[name]) for name in named), *(_cell(row[name], row[f"{name} ±"]) for name in values))
    table.caption = "precision: of as many users as there are fakes; found: fakes above the threshold;\nfalse alarms: \
real users above it; attack none: clean data"
    table.caption_justify = "left"
    return table


def _cell(mean: float | None, half: float | None) -> str:
    if pd.isna(mean):
        return ""
    return f"{mean:.3f}" if pd.isna(half) else f"{mean:.3f} ± {half:.3f}"
