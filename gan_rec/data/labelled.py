"""Texts with a 0/1 label: a table with a text column, a label column and perhaps others."""

import os
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from gan_rec.errors import UserError
from gan_rec.files import cache_folder, sha256

_LABELS = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}
TEXT_COLUMN, LABEL_COLUMN = "item_description", "is_recommended"
# Text and label column of tables that are known by the names that their authors gave these, for want of the usual ones.
_KNOWN = (("Review Text", "Recommended IND"),)
NAMED_TABLES = ("womens-clothing",)  # folders below $GAN_REC_DATA or the cache
_MOST_CATEGORIES = 100
_LARGEST = 1e100  # of a number in a feature column, whose square is still one
_MISSING = ("", "na", "n/a", "nan", "null")
_PACKED = (".zip", ".xz", ".zst", ".bz2", ".tar", ".tgz", ".tar.gz", ".7z")  # what pandas would unpack, and the like


@dataclass(frozen=True)
class LabelledTexts:
    """N texts with their labels.

    Args:
        name: for people.
        texts: `[N]` str; a missing one is empty.
        labels: `[N]`, 0 or 1.
        known: `[N]`, whether training may see the label.
        columns: `[N]` rows of further columns: numbers, NaN where missing, or categories, empty where missing.
        notes: what was noticed while reading.
        sha256: of the file.
    """

    name: str
    texts: np.ndarray
    labels: Int[np.ndarray, " N"]
    known: np.ndarray
    columns: pd.DataFrame
    notes: tuple[str, ...] = ()
    sha256: str = ""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Int[np.ndarray, " n"]) -> "LabelledTexts":
        """Some of them."""
        return replace(
            self, texts=self.texts[rows], labels=self.labels[rows], known=self.known[rows],
            columns=self.columns.iloc[rows],
        )  # fmt: skip

    def concat(self, other: "LabelledTexts") -> "LabelledTexts":
        """These, then the others."""
        return replace(
            self, texts=np.concatenate([self.texts, other.texts]), labels=np.concatenate([self.labels, other.labels]),
            known=np.concatenate([self.known, other.known]), columns=pd.concat([self.columns, other.columns]),
        )  # fmt: skip


def read_labelled(
    path: str | Path,
    text_columns: Sequence[str] = (),
    label_column: str | None = None,
    feature_columns: Sequence[str] = (),
) -> LabelledTexts:
    """Read a CSV file (also gzipped), or the only one in a folder.

    Args:
        path: of the file or folder, or the name of a table (NAMED_TABLES).
        text_columns: columns whose texts are joined, by default `item_description`; in a table that lacks it but has
            both columns of a pair in _KNOWN, the text column of that pair.
        label_column: by default `is_recommended`, else as above; 0/1, true/false or yes/no.
        feature_columns: further columns: numbers if all values are, else categories. Empty, NA, N/A, NaN and null
            are missing.

    Raises:
        UserError: no such file or column, a packed file other than .gz or one not separated by commas, a column given
            twice, a text column of numbers, labels of another kind or all alike, infinite numbers, or more than 100
            categories.
    """
    file = _file(_locate(path))
    table = _read(file)
    text_columns, label_column = _columns(table, file, tuple(text_columns), label_column, tuple(feature_columns))
    texts, empty = _texts(table, text_columns)
    labels = _labels(table[label_column], label_column)
    notes = [f"text: {', '.join(map(repr, text_columns))}; label: {label_column!r}"]
    if empty:
        notes.append(f"{empty:,} of {len(texts):,} texts are empty; they are kept")
    repeated = int((pd.DataFrame({"text": texts, "label": labels}).duplicated() & (texts != "")).sum())
    if repeated:
        notes.append(f"{repeated:,} rows repeat the text and label of another")
    notes.append(f"{labels.mean():.1%} of the labels are 1")
    columns = pd.DataFrame({name: _feature(table[name]) for name in feature_columns}, index=table.index)
    notes += [_feature_note(columns[name]) for name in columns]
    known = np.ones(len(labels), bool)
    return LabelledTexts(file.name.split(".")[0], texts, labels, known, columns, tuple(notes), sha256(file))


def check_part(part: float) -> None:
    """Raise UserError unless it is a part of the labels that can be known."""
    if not 0 < part <= 1:
        raise UserError(f"labelled must be above 0 and at most 1, got {part}")


def hide_labels(data: LabelledTexts, part: float, seed: int) -> LabelledTexts:
    """All but a part of the labels hidden from training, as many of each class as the part asks for, at least one.

    Raises:
        UserError: `part` is not in (0, 1].
    """
    check_part(part)
    known = np.zeros(len(data), bool)
    rng = np.random.default_rng(seed)
    for label in (0, 1):
        own = np.flatnonzero(data.labels == label)
        known[rng.permutation(own)[: max(1, round(part * len(own)))]] = True
    return replace(data, known=known)


def _locate(dataset: str | Path) -> Path:
    path = Path(dataset).expanduser()
    if os.path.exists(path):
        return path
    named = f"a CSV file with a text and a label column, its folder, or {', '.join(NAMED_TABLES)}"
    if str(dataset) not in NAMED_TABLES:
        raise UserError(f"there is no labelled data set {str(dataset)!r}; allowed: {named}")
    for root in filter(None, (os.environ.get("GAN_REC_DATA"), cache_folder())):
        if (Path(root) / dataset).exists():
            return Path(root) / dataset
    now = os.environ.get("GAN_REC_DATA") or "not set"
    raise UserError(f"{dataset} is not on this disk; set GAN_REC_DATA to the folder that contains it (it is {now})")


def _file(path: Path) -> Path:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.endswith((".csv", ".csv.gz")))
        if len(files) != 1:
            found = ", ".join(p.name for p in files[:5]) or "none"
            raise UserError(f"{path} must hold one .csv or .csv.gz file, found {found}; name the file itself")
        return files[0]
    return path


def _read(file: Path) -> pd.DataFrame:
    packed = next((suffix for suffix in _PACKED if file.name.lower().endswith(suffix)), None)
    if packed:
        raise UserError(f"{file} is packed as {packed}; allowed: plain CSV, or packed as .gz")
    try:
        # As text, so that a label "yes" and an id "007" stay what they are; only an empty field is missing.
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header loses its end
            how = {"dtype": str, "keep_default_na": False, "encoding": "utf-8", "index_col": False}
            _check_header(pd.read_csv(file, nrows=1, header=None, **how), file)
            return pd.read_csv(file, on_bad_lines="error", **how)
    except pd.errors.ParserWarning as error:
        raise UserError(f"{file} has rows longer than its header; put texts with commas in quotes") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8: {error}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"cannot read {file} as CSV: {str(error).strip()}") from error


def _check_header(first: pd.DataFrame, file: Path) -> None:
    header = first.iloc[0]
    twice = header[header.duplicated() & (header != "")]
    if len(twice):
        raise UserError(f"{file} has more than one column {twice.iloc[0]!r}")
    found = {"\t": "tabs", ";": "semicolons"}
    for separator, name in found.items():
        if len(header) == 1 and separator in header[0]:
            raise UserError(f"{file} is separated by {name}; it must be separated by commas")


def _columns(table: pd.DataFrame, file: Path, texts: tuple, label: str | None, features: tuple) -> tuple[tuple, str]:
    usual = TEXT_COLUMN, LABEL_COLUMN
    known = next((names for names in _KNOWN if set(names) <= set(table.columns)), usual)
    default = [own if own in table.columns else other for own, other in zip(usual, known, strict=True)]
    texts, label = texts or (default[0],), label or default[1]
    for kind, names in (("text", texts), ("feature", features)):
        if len(set(names)) < len(names):
            twice = next(name for n, name in enumerate(names) if name in names[:n])
            raise UserError(f"the {kind} column {twice!r} is given twice")
    for kind, name in [*(("text", t) for t in texts), ("label", label), *(("feature", f) for f in features)]:
        if name not in table.columns:
            raise UserError(
                f"{file.name} has no {kind} column {name!r}; it has {', '.join(repr(c) for c in table.columns)}"
            )
    if label in texts or label in features:
        raise UserError(f"the label column {label!r} cannot be a text or feature column too")
    return texts, label


def _texts(table: pd.DataFrame, columns: tuple[str, ...]) -> tuple[np.ndarray, int]:
    parts = [table[name].str.strip() for name in columns]
    for name, part in zip(columns, parts, strict=True):
        filled = part[part != ""]
        if len(filled) and pd.to_numeric(filled, errors="coerce").notna().all():
            raise UserError(f"the text column {name!r} holds numbers, for example {filled.iloc[0]!r}; name another")
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.where(part == "", joined + ". " + part).where(joined != "", part)
    return joined.to_numpy(object), int((joined == "").sum())


def _labels(column: pd.Series, name: str) -> Int[np.ndarray, " N"]:
    labels = column.str.strip().str.lower().map(_LABELS)
    if labels.isna().any():
        row = int(np.flatnonzero(labels.isna())[0])
        raise UserError(
            f"label column {name!r}: {int(labels.isna().sum()):,} rows are neither 0/1, true/false nor yes/no, the "
            f"first is {column.iloc[row]!r} in row {row + 1} of the data"
        )
    if len(labels) == 0:
        raise UserError("the table has a header and no row")
    if labels.nunique() < 2:
        raise UserError(f"label column {name!r}: every label is the same, so there is nothing to learn")
    return labels.to_numpy(np.int32)


def _feature(column: pd.Series) -> pd.Series:
    """A further column as numbers, if all of its values are, or as categories; see `LabelledTexts`."""
    values = column.fillna("").str.strip()
    values = values.where(~values.str.lower().isin(_MISSING), "")
    numbers = pd.to_numeric(values, errors="coerce")
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise UserError(
            f"feature column {column.name!r} has infinite numbers, the first is {values.iloc[row]!r} in row {row + 1} "
            "of the data"
        )
    if (numbers.abs() > _LARGEST).any():
        raise UserError(f"feature column {column.name!r} has numbers above {_LARGEST:g}: their mean cannot be computed")
    if (values != "").any() and numbers[values != ""].notna().all():
        return numbers.astype(float)
    if (n := len(_categories(values))) > _MOST_CATEGORIES:
        raise UserError(
            f"feature column {column.name!r} has {n:,} categories; at most {_MOST_CATEGORIES} are allowed, or numbers"
        )
    return values


def _feature_note(column: pd.Series) -> str:
    if column.dtype == float:
        missing = int(column.isna().sum())
        return f"{column.name}: numbers" + (f", {missing:,} missing" if missing else "")
    return f"{column.name}: {len(_categories(column))} categories"


def _categories(column: pd.Series) -> list[str]:
    return sorted(set(column) - {""})


class Features:
    """Further columns as numbers: standardised, or one column for each category; learned from the training part.

    Missing numbers become the mean, and categories that training has not seen become zeros.

    Args:
        columns: of `LabelledTexts`.
    """

    def __init__(self, columns: pd.DataFrame):
        self.means, self.scales, self.categories = {}, {}, {}
        for name in columns:
            if columns[name].dtype != float:
                self.categories[name] = _categories(columns[name])
                continue
            numbers = columns[name].dropna()
            self.means[name] = float(numbers.mean()) if len(numbers) else 0.0
            self.scales[name] = (float(numbers.std(ddof=0)) if len(numbers) else 0.0) or 1.0

    def __call__(self, columns: pd.DataFrame) -> Float[np.ndarray, "N F"]:
        """The columns of any part."""
        made = [np.zeros((len(columns), 0), np.float32)]
        for name, mean in self.means.items():
            numbers = columns[name].fillna(mean)
            made.append(((numbers - mean) / self.scales[name]).to_numpy(np.float32)[:, None])
        for name, values in self.categories.items():
            made.append((columns[name].to_numpy()[:, None] == np.array(values, object)).astype(np.float32))
        return np.concatenate(made, axis=1)
