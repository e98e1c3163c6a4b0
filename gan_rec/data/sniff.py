"""What form a text file has: its separator, whether it has a header, and whether its lines are pairs or lists."""

import csv
import math
import re

import numpy as np

from gan_rec.data.columns import role_of

_SEPARATORS = ("\t", "::", ";", ",", " ")
_MOST_COLUMNS = 4  # user item rating timestamp


def separator_of(lines: list[str]) -> str | None:
    """The separator of a file that begins with these lines, none of them empty; None if no line has one.

    A header with known names decides. Otherwise it is the first of tab, `::`, semicolon, comma and space that more
    than half of the lines have, or else the most frequent one.
    """
    for separator in _SEPARATORS:
        if {"user", "item"} <= {role_of(name) for name in split_line(lines[0], separator)}:
            return separator
    present = {separator: sum(separator in line.strip() for line in lines) for separator in _SEPARATORS}
    frequent = [separator for separator, count in present.items() if count > len(lines) / 2]
    return frequent[0] if frequent else max((s for s in present if present[s]), key=present.get, default=None)


def split_line(line: str, separator: str) -> list[str]:
    """The fields of one line, without the blanks around them."""
    if separator == " ":
        return line.split()
    if separator in ",;" and '"' in line:
        try:
            return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
        except csv.Error:
            pass  # a field of more than 128 KiB
    return [field.strip() for field in line.split(separator)]


def has_header(sample: list[list[str]]) -> bool:
    """Whether the first row names columns: by names that are known, or by words above a column of numbers."""
    first, *below = sample
    roles = {role_of(name) for name in first}
    if {"user", "item"} <= roles:
        return True
    if any(is_number(name) for name in first):
        return False
    if roles & {"user", "item"} or (len(first) > 2 and roles - {None}):
        return True
    if all(re.fullmatch(r"\w+:(token|float)(_seq)?", name) for name in first):
        return True
    below = [fields for fields in below if len(fields) == len(first)]
    return bool(below) and any(all(is_number(fields[i]) for fields in below) for i in range(len(first)))


def is_list(widths: np.ndarray, sample: list[list[str]], separator: str) -> bool:
    """Whether the lines of a file without header are `user item item ...` rather than `user item [rating [time]]`.

    Lists have lines of many widths and one line for each user; a few odd lines among equal ones are mistakes.

    Args:
        widths: [rows] fields in each line.
        sample: the fields of the first lines.
        separator: of the file.
    """
    usual = usual_width(widths)
    share = np.mean(widths == usual)
    if share == 1 and usual <= _MOST_COLUMNS:
        return False
    users = [fields[0] for fields in sample if fields[0]]
    if len(set(users)) < 0.9 * len(users):
        return False
    if separator not in " \t":  # lists are seldom separated by anything else
        return share <= 0.5 and widths.max() > _MOST_COLUMNS
    too_wide = np.unique(widths[widths > _MOST_COLUMNS])
    if len(too_wide) > 1 and share < 0.9:  # a mistake or two would not be of many widths
        return True
    thirds = [is_number(fields[2]) for fields in sample if len(fields) > 2]
    return not (share > 0.5 and 2 < usual <= _MOST_COLUMNS and np.mean(thirds) > 0.5)


def usual_width(widths: np.ndarray) -> int:
    """The number of fields that most lines have: 2 at least."""
    counts = np.bincount(widths, minlength=3)
    return int(np.argmax(counts[2:])) + 2


def is_number(text: str) -> bool:
    """Whether `text` reads as a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
