"""What the columns of a CSV file are: delimiter, header, units, times, leads."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnns_spectrograms.ecg.records import KNOWN_VOLTAGES, RecordError, mv_per_unit

logger = logging.getLogger(__name__)

_PROBE_BYTES = 1 << 16
_PROBE_LINES = 200
_LEAST_STEPS = 9  # that tell a column that rises from an ECG
PROBE_ROWS = 5000
"""Rows that tell what a column is."""

_TIME_NAMES = (
    *("time", "elapsed", "seconds", "timestamp", "sec", "t", "ms", "milliseconds"),
    *("tiempo", "temps", "zeit"),
)
_INDEX_NAMES = ("sample", "index", "n", "no", "row", "unnamed")

_TIME_UNITS = (
    ("ns nsec nanosecond nanoseconds", 1e-9),
    ("us \N{MICRO SIGN}s usec microsecond microseconds", 1e-6),
    ("ms msec millisec millisecond milliseconds", 1e-3),
    ("s sec secs second seconds", 1.0),
    ("min mins minute minutes", 60.0),
    ("h hr hrs hour hours", 3600.0),
)
_SECONDS = {word: seconds for words, seconds in _TIME_UNITS for word in words.split()}
KNOWN_TIME_UNITS = "ns, us, ms, s, min or h"

_UNIT_AT_END = re.compile(
    r"(?:(.*?)[\s_,./-]+)?([mun\N{MICRO SIGN}]v|(?:milli|micro|nano)?volts?)", re.IGNORECASE
)
_IN_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]")
# What may stand in the brackets of a name and is no unit: `ECG (II)`.
_LEAD = re.compile(
    r"m?l?i{1,3}|m?v\d+r?|cm\d|d[123]|av[rlf]|[xyz]|e[ck]g.*|lead.*|ch(annel)?\W*\d+", re.IGNORECASE
)
_CLOCK_OR_DATE = re.compile(r"[\d:. T/+Z-]+")


@dataclass(frozen=True)
class Layout:
    """What the first lines of a file say.

    Attributes:
        delimiter: between cells.
        decimal: mark.
        encoding: of the text.
        n_header: lines before the first row of numbers.
        width: cells of a row; those beyond the names are empty.
        headers: a column: what its header says, or its number, from 1, where there is no header.
        names: the same without units.
        units: a column: the unit that its header states; empty where it states none.
        has_header: whether the names come from the file.
    """

    delimiter: str
    decimal: str
    encoding: str
    n_header: int
    width: int
    headers: list[str]
    names: list[str]
    units: list[str]
    has_header: bool


def read_layout(path: Path) -> Layout:
    """Read the header and the first rows.

    Raises:
        RecordError: there is no row of numbers, or the header has other columns than the rows.
    """
    lines, encoding = _read_lines(path)
    if not any(line.strip() for line in lines):
        raise RecordError(f"{path.name}: found no row; expected one a sample")
    delimiter, decimal = _guess_marks(lines)
    rows = _split(lines, delimiter)
    n_header = next((i for i, row in enumerate(rows) if row and _is_data(row, decimal)), None)
    if n_header is None or n_header > 3:
        raise RecordError(
            f"{path.name}: found no row of numbers in its first lines; expected at most 3 lines of "
            f"header, then one row a sample"
        )
    if n_header == 0 and _numbers_are_names(rows, decimal):
        n_header = 1
    if delimiter == "," and _has_decimal_comma(rows, n_header):
        delimiter, decimal = ";", ","
        rows = _split(lines, delimiter)
    data = [row for row in rows[n_header:] if row]
    width = max(map(len, data))
    header = _fit_header(path.name, lines[:n_header], rows[:n_header], data, delimiter)
    headers, units = header or ([str(i + 1) for i in range(width)], [""] * width)
    names = list(headers)
    for i, each in enumerate(headers):
        name, unit = split_unit(each)
        if unit and not units[i]:
            names[i], units[i] = name, unit
    return Layout(
        delimiter, decimal, encoding, n_header, width, headers, names, units, header is not None
    )


def _read_lines(path: Path) -> tuple[list[str], str]:
    """Return the first whole lines, and their encoding."""
    with open(path, "rb") as file:
        head = file.read(_PROBE_BYTES)
    encoding = "utf-8-sig"
    try:
        text = head.decode(encoding, errors="strict" if len(head) < _PROBE_BYTES else "ignore")
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = head.decode(encoding)
    lines = text.splitlines()
    if len(head) == _PROBE_BYTES:  # the last is cut
        lines = lines[:-1]
    return lines[:_PROBE_LINES], encoding


def _guess_marks(lines: Sequence[str]) -> tuple[str, str]:
    """Return delimiter and decimal mark of the rows."""
    last = next(line for line in reversed(lines) if line.strip())
    for delimiter in (";", "\t"):
        if delimiter in last:
            # One row may hold whole numbers only, and the header commas of its own.
            return delimiter, "," if any("," in line for line in [*lines[3:], last]) else "."
    if "," in last:
        return ",", "."
    return (" ", ".") if " " in last.strip() else (",", ".")


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    stripped = [line.strip(" ") for line in lines] if delimiter == " " else lines
    return [
        [cell.strip().strip("'\"") for cell in row]
        for row in csv.reader(stripped, delimiter=delimiter, skipinitialspace=True)
    ]


def _is_data(row: Sequence[str], decimal: str) -> bool:
    """Tell whether a row holds numbers, and nothing else but times, gaps and empty cells."""
    numbers = [_to_number(cell, decimal) for cell in row]
    others = [cell for cell, number in zip(row, numbers, strict=True) if number is None]
    return any(number is not None for number in numbers) and all(
        cell.lower() in ("", "nan", "-", "na") or _CLOCK_OR_DATE.fullmatch(cell) is not None
        for cell in others
    )


def _to_number(cell: str, decimal: str) -> float | None:
    try:
        return float(cell.replace(decimal, "."))
    except ValueError:
        return None


def _numbers_are_names(rows: Sequence[Sequence[str]], decimal: str) -> bool:
    """Tell whether the first row names columns by number, as pandas does: `,0,1` or `0,1`."""
    first = _trim(rows[0])
    data = [row for row in rows[1:] if row]
    over_index = bool(first) and first[0] == ""
    numbers = first[1:] if over_index else first
    if not data or not numbers or not all(cell.isdecimal() and len(cell) < 5 for cell in numbers):
        return False
    if [int(cell) - int(numbers[0]) for cell in numbers] != list(range(len(numbers))):
        return False
    if int(numbers[0]) > 1:
        return False
    if over_index:
        return all(row[0] for row in data)
    # Samples that begin with 0 and 1 would be written with decimals, as the others are.
    cells = [cell for row in data for cell in row if _to_number(cell, decimal) is not None]
    return len(numbers) > 1 and all(decimal in cell for cell in cells)


def _has_decimal_comma(rows: Sequence[Sequence[str]], n_header: int) -> bool:
    """Tell whether the comma between two numbers is a decimal mark: `0,123` under one name."""
    header = [row for row in rows[:n_header] if row]
    data = [row for row in rows[n_header:] if row]
    pairs = [row for row in data if len(row) == 2]
    if not pairs or not all(
        len(row) <= 2 and re.fullmatch(r"[+-]?\d+", row[0]) and all(map(str.isdecimal, row[1:]))
        for row in data
    ):
        return False
    if header:
        return all(len(row) == 1 for row in header)
    return any(row[0] == "-0" or re.fullmatch(r"0\d+", row[1]) for row in pairs)


def _trim(row: Sequence[str]) -> list[str]:
    """Return a row without the empty cells at its end."""
    n = max((i + 1 for i, cell in enumerate(row) if cell), default=0)
    return list(row[:n])


def _fit_header(
    name: str,
    lines: Sequence[str],
    rows: Sequence[Sequence[str]],
    data: Sequence[Sequence[str]],
    delimiter: str,
) -> tuple[list[str], list[str]] | None:
    """Return names and units, one a column that has a name or numbers; None without a header.

    Raises:
        RecordError: no line has as many cells as the rows.
    """
    width = max(map(len, data))
    used = max(len(_trim(row)) for row in data)
    names: list[str] | None = None
    texts = [i for i, row in enumerate(rows) if row and not re.match("[#%].", row[0])]
    for i in texts or range(len(rows)):  # NumPy's header is a comment, others are none
        line, row = lines[i], list(rows[i])
        if delimiter == " " and len(row) != width:  # names of more than one word
            row = re.split(r"\s{2,}|\t", line.strip())
        if names is None and used <= len(row) and len(_trim(row)) <= width:
            n_columns = max(used, len(_trim(row)))
            names = [*row, *[""] * width][:n_columns]
            names[0] = names[0].lstrip("#% ")  # as NumPy writes headers
        elif names is not None and len(_trim(row)) <= len(names):
            cells = [cell.strip(" ()[]") for cell in row]
            units = ["" if cell == "-" else cell for cell in [*cells, *[""] * width][: len(names)]]
            return names, ["" if _LEAD.fullmatch(unit) else unit for unit in units]
    if names is not None:
        return names, [""] * len(names)
    if texts:
        unfit = rows[texts[-1]]
        raise RecordError(
            f"{name}: found a header of {len(unfit)} cells ({', '.join(unfit)[:100]}) over "
            f"rows of {used}; expected a name a column; correct the header. Numbers with a decimal "
            f"comma need another delimiter than the comma"
        )
    return None


def split_unit(header: str) -> tuple[str, str]:
    """Return name and unit of a header such as `MLII (mV)`, `time [s]`, `ECG_uV`; or no unit."""
    header = header.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    match = _IN_BRACKETS.fullmatch(header)
    if match and not _LEAD.fullmatch(match[2]):
        return match[1], "" if match[2] == "-" else match[2]
    match = _UNIT_AT_END.fullmatch(header)
    return (match[1] or header, match[2]) if match else (header, "")


def find_seconds_per(layout: Layout, column: int) -> float | None:
    """Return how many seconds the unit of a column of times is; None if its header states none.

    Raises:
        ValueError: the header states one that is not known.
    """
    unit = layout.units[column]
    if not unit:
        known = [word for word in _words(layout.headers[column]) if word in _SECONDS]
        return _SECONDS[known[-1]] if known else None
    known = [word for word in _words(unit) if word in _SECONDS]
    if len(set(known)) != 1 or re.search(r"\d", unit):  # `min:sec`, `1/360 s`
        raise ValueError(unit)
    return _SECONDS[known[0]]


def _words(text: str) -> list[str]:
    """Return the words of a name, in lower case; `TimeMs` has two."""
    text = text.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [word for word in re.split(r"[^a-z\N{MICRO SIGN}]+", text.lower()) if word]


def choose_columns(
    path: Path, layout: Layout, columns: Sequence[str] | None
) -> tuple[list[int], int | None]:
    """Return the columns that are leads, and that of the times, or None.

    Args:
        path: of the file.
        layout: of the file.
        columns: names of the leads; None takes the columns that are nothing else.

    Raises:
        RecordError: a column is not there or in no voltage, or none is a lead.
    """
    n_columns = len(layout.names)
    time = _find_named_time(layout)
    chosen = None if columns is None else _find_columns(path.name, layout, columns)
    others = [i for i in range(n_columns) if i != time and i not in (chosen or ())]
    unnamed = {
        i
        for i in others
        if not layout.has_header or not re.search("[a-z]", layout.names[i].lower())
    }
    no_leads = {i: reason for i in others if (reason := _tell_no_lead(layout, i))}
    probed = [i for i in others if i in unnamed or (chosen is None and i not in no_leads)]
    for i, kind in _find_rising(path, layout, probed):
        if kind == "times" and time is None and i in unnamed:
            time = i
            logger.info("%s: column %r is taken for times", path.name, _label(layout, i))
        no_leads[i] = "its numbers rise steadily, as an index or times do"
    if chosen is None:
        chosen = [i for i in others if i not in no_leads]
        left_out = ", ".join(
            f"{_label(layout, i)!r} ({reason})" for i, reason in list(no_leads.items())[:10]
        )
        if not chosen:
            raise RecordError(
                f"{path.name}: found no column of a lead"
                f"{'; left out are ' + left_out if left_out else ''}; expected one in "
                f"{KNOWN_VOLTAGES}; correct the header, or name it (--columns)"
            )
        if left_out:
            logger.info("%s: no leads, and left out: %s", path.name, left_out)
    return chosen, time


def _find_columns(name: str, layout: Layout, columns: Sequence[str]) -> list[int]:
    missing = [each for each in columns if each not in layout.names + layout.headers]
    if missing or not columns:
        raise RecordError(
            f"{name}: found no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, layout.names[:50]))}"
        )
    chosen = [
        (layout.names if each in layout.names else layout.headers).index(each) for each in columns
    ]
    for i in chosen:
        unit = layout.units[i]
        if unit and mv_per_unit(unit) is None:
            raise RecordError(
                f"{name}: found column {layout.names[i]!r} in {unit!r}; expected {KNOWN_VOLTAGES}; "
                f"write it in one of these, or take the unit out of the header to have it guessed"
            )
    return chosen


def _label(layout: Layout, column: int) -> str:
    return layout.names[column] or layout.headers[column] or f"column {column + 1}"


def _find_named_time(layout: Layout) -> int | None:
    """Return the first column that is called a time, else the first in a unit of time."""
    for i, header in enumerate(layout.headers):
        words = _words(header)
        is_time = any(word in _TIME_NAMES for word in words) or header.lower() in _SECONDS
        if is_time and "sample" not in words:
            return i
    units = [unit.strip(" .").lower() for unit in layout.units]
    return next((i for i, unit in enumerate(units) if unit in _SECONDS), None)


def _tell_no_lead(layout: Layout, column: int) -> str | None:
    """Return why the header says that a column is no lead; None if it does not say so."""
    unit = layout.units[column]
    if unit:
        return f"in {unit!r}, no voltage" if mv_per_unit(unit) is None else None
    letters = re.sub(r"[^a-z]", "", layout.names[column].lower())
    if letters in _INDEX_NAMES:
        return "a row number by its name"
    if not re.search(r"\w", layout.names[column]):
        return "without a name"
    return None


def _find_rising(path: Path, layout: Layout, columns: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield the columns that rise as no ECG does: an index in steps of 1, or times."""
    if not columns:
        return
    options = read_options(layout, columns, dtype=str, nrows=PROBE_ROWS)
    table = pd.read_csv(path, **options)
    for column in columns:
        cells = clean_cells(table[column], layout.decimal).dropna()
        values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
        if len(cells) and np.isnan(values).all():
            if cells.map(_CLOCK_OR_DATE.fullmatch).notna().all():
                yield column, "times"
            continue
        steps = np.diff(values[np.isfinite(values)])
        rises = steps[steps > 0]
        if len(steps) < _LEAST_STEPS or len(rises) < 3 or (steps < 0).any():
            continue
        usual = np.median(rises)
        alike = np.abs(rises - usual) <= 1.01 * find_resolution(cells) + 1e-6 * usual
        # Whole seconds rise at few rows; what rises at each of many need not be regular.
        if alike.mean() >= 0.9 or len(rises) == len(steps) >= 100:
            yield column, "index" if np.median(steps) == 1 else "times"


def clean_cells(cells: pd.Series, decimal: str) -> pd.Series:
    """Return cells without quotes and blanks, with a decimal point."""
    return cells.str.strip().str.strip("'\"").str.replace(decimal, ".", regex=False)


def find_resolution(cells: pd.Series, trailing_zeros: bool = True) -> float:
    """Return the last place that numbers or times are written to: 0.001 for `0.5` and `1.120`.

    Args:
        cells: numbers or times, as text.
        trailing_zeros: whether zeros at the end count as written: without them it is 0.01.
    """
    digits = cells.str.extract(r"\.(\d+)", expand=False).fillna("")
    if not trailing_zeros:
        digits = digits.str.rstrip("0")
    exponents = cells.str.extract(r"[eE]([+-]?\d+)$", expand=False).fillna("0").astype(int)
    most = int((digits.str.len().to_numpy(dtype=int) - exponents.to_numpy(dtype=int)).max())
    return float(10.0 ** -min(max(most, -15), 15))


def read_options(layout: Layout, usecols: Sequence[int], **extra: Any) -> dict[str, Any]:
    """Return how pandas reads some columns of the rows, named by their number."""
    return {
        "sep": r"\s+" if layout.delimiter == " " else layout.delimiter,
        "decimal": layout.decimal,
        "encoding": layout.encoding,
        "encoding_errors": "replace",
        "header": None,
        "skiprows": layout.n_header,
        "usecols": list(usecols),
        "names": list(range(layout.width)),
        "na_values": ["-"],
        "quotechar": '"',
        "skip_blank_lines": True,
        **extra,
    }
