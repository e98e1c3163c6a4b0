"""Cells and lines of Markdown tables."""

import re
from collections.abc import Iterable


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """The lines of a table."""
    header = list(header)
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]


def decimals(value: float, digits: int = 4, sign: str = "") -> str:
    """Of a number below 1, without the zero before the point."""
    return re.sub(r"(?<!\d)0\.", ".", f"{value:{sign}.{digits}f}")


def with_interval(found: dict, digits: int = 4) -> str:
    """Mean ± half of the 95% interval, which what has no randomness lacks."""
    if found["ci95"] is None:
        return decimals(found["mean"], digits)
    half = decimals(found["ci95"][1] - found["mean"], digits)
    return f"{decimals(found['mean'], digits)} ± {half}"


def paired(test: dict) -> str:
    """Difference ± half of its 95% interval over users, and Holm's p."""
    half = decimals(test["ci95"][1] - test["difference"])
    p = f"{test['p_holm']:.0e}".replace("e-0", "e-") if test["p_holm"] < 0.001 else f"{test['p_holm']:.2g}"
    return f"{decimals(test['difference'], sign='+')} ± {half} ({p})"


def percent(found: dict) -> str:
    """The same of a part, in percent."""
    return f"{found['mean']:.1%} ± {100 * (found['ci95'][1] - found['mean']):.1f}"
