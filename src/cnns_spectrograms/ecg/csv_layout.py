"""What the columns of a CSV file are: its encoding, delimiter, header, units, times and leads."""

from __future__ import annotations

import codecs
import csv
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnns_spectrograms.ecg.records import KNOWN_VOLTAGES, RecordError, mv_per_unit

logger = logging.getLogger(__name__)

_PROBE_BYTES = 1 << 16
_PROBE_LINES = 200
_LONGEST_LINE = 1 << 20
_MOST_LEADS = 40  # unasked: a file of more has its beats or leads in rows
_LEAST_STEPS = 9  # that tell a column that rises from an ECG
PROBE_ROWS = 5000
"""Rows that tell what a column is."""

_TIME_NAMES = (
    *("time", "elapsed", "seconds", "timestamp", "sec", "t", "ms", "milliseconds"),
    *("tiempo", "temps", "zeit"),
)
_INDEX_NAMES = {
    *("sample", "samples", "index", "n", "no", "nr", "number", "row", "line", "unnamed"),
    *("seq", "sequence", "counter", "packet"),
}

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
_OTHER_UNITS = {
    *("-", "adc", "adu", "au", "a.u.", "bpm", "counts", "count", "digits", "g", "lsb", "mmhg"),
    *("none", "raw", "units"),
}

_UNIT_AT_END = re.compile(
    r"(?:(.*?)[\s_,./-]+)?([mun\N{MICRO SIGN}]v|(?:milli|micro|nano)?volts?)", re.IGNORECASE
)
_IN_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]")
# What may stand in the brackets of a name and is no unit: `ECG (II)`.
_LEAD = re.compile(
    r"m?l?i{1,3}|m?v\d+r?|cm\d|d[123]|av[rlf]|[xyz]|e[ck]g.*|lead.*|ch(annel)?\W*\d+", re.IGNORECASE
)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
_MISSING = {"", "-", "nan", "-nan", "na", "n/a", "null", "none", "inf", "-inf"}
_TIME = re.compile(
    r"(?=.*\d)([][\d:.,/\sTZ+-]|[ap]\.?\s?m\b\.?|utc|gmt|days?"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?)+",
    re.IGNORECASE,
)
# Of a number, or of the seconds in a time, but none of the date `02.03.2024`.
_DECIMALS = r"(?::\d+|^[+-]?\d*)\.(\d+)(?![.\d])"
_COMMENT = re.compile("[#%].")
_RATE = re.compile(
    r"\b(?:sampl|muestreo|abtast|amostra|campion|.chantillon)[^\d=:,;]*[\s=:,;\"(]+(?:hz\)?\W+)?"
    r"(\d+(?:[.,]\d+)?)[\s\"]*(?:(k?)(?:hz|her[tc]\w*)|sps|samples.*)?[\s\",;]*$",
    re.IGNORECASE,
)
_STATED_UNIT = re.compile(r"(?:unit|unidad|einheit)\w*\W+(\w+)\W*", re.IGNORECASE)
_STATED_LEAD = re.compile(r"(?:lead|channel|derivaci.n)[,;:=\t]+\s*([^,;]+?)[\s,;]*", re.IGNORECASE)

_RISES = "its numbers rise steadily, as an index or times do"


@dataclass(frozen=True)
class Layout:
    """What the first lines of a file say.

    Attributes:
        path: of the file.
        delimiter: between cells.
        decimal: mark.
        encoding: of the text.
        n_header: lines before the first row of numbers.
        width: cells of a row; those beyond the names are empty.
        headers: a column: what its header says, or its number, from 1, where there is no header.
        names: the same without units.
        units: a column: the unit that its header states; empty where it states none.
        has_header: whether the names come from the file.
        no_leads: columns of which the file itself says that they are no ECG, and what it says.
        fs: the sampling rate that lines above the header state, Hz.
    """

    path: Path
    delimiter: str
    decimal: str
    encoding: str
    n_header: int
    width: int
    headers: list[str]
    names: list[str]
    units: list[str]
    has_header: bool
    no_leads: dict[int, str] = field(default_factory=dict)
    fs: float | None = None

    def read(self, columns: Sequence[int], **options: Any) -> Any:
        """Return what `pandas.read_csv` makes of some columns of the rows, named by number."""
        return pd.read_csv(
            self.path,
            sep=r"\s+" if self.delimiter == " " else self.delimiter,
            decimal=self.decimal,
            encoding=self.encoding,
            encoding_errors="replace",
            header=None,
            skiprows=self.n_header,
            usecols=list(columns),
            names=list(range(self.width)),
            na_values=["-"],
            **options,
        )

    @cached_property
    def probe(self) -> pd.DataFrame:
        """The first rows, str, with decimal points and without quotes, by number of the column."""
        table = self.read(range(len(self.names)), dtype=str, nrows=PROBE_ROWS)
        return table.apply(clean_cells)

    def label(self, column: int) -> str:
        """Return how the user finds a column."""
        return self.names[column] or self.headers[column] or f"column {column + 1}"


def read_layout(path: Path) -> Layout:
    """Read the header and the first rows.

    Raises:
        RecordError: there is no row of numbers, or the header has other columns than the rows.
    """
    lines, encoding = _read_lines(path)
    if not any(line.strip() for line in lines):
        raise RecordError(f"{path.name}: found no row; expected one a sample")
    delimiter = _guess_delimiter(lines)
    rows = _split(lines, delimiter)
    begin = _find_body(path.name, rows)
    if begin == 0 and _numbers_are_names(rows):
        begin = 1
    if delimiter == "," and _has_decimal_comma(rows, begin):
        delimiter = ";"
        rows = _split(lines, delimiter)
    data = [row for row in rows[begin:] if any(row)]
    decimal = "," if any(_has_comma(cell) for row in data for cell in row) else "."
    width = max(map(len, data))
    used = max(len(_trim(row)) for row in data)
    found = _find_header(path.name, lines[:begin], rows[:begin], (used, width), delimiter)
    n_columns = max(used, len(found[0]) if found else 0)
    headers, units, others = found or ([], [], lines[:begin])
    headers = headers or [str(i + 1) for i in range(n_columns)]
    units = units or [""] * n_columns
    names = list(headers)
    for i, each in enumerate(headers):
        name, unit = split_unit(each)
        if unit and not units[i]:
            names[i], units[i] = name, unit
    layout = Layout(
        *(path, delimiter, decimal, encoding, begin, width, headers, names, units),
        has_header=found is not None,
        fs=_find_rate(others),
    )
    return _heed_notes(layout, others)


def _read_lines(path: Path) -> tuple[list[str], str]:
    """Return the first whole lines, and their encoding.

    Raises:
        RecordError: the file is no text, or has a line so long that it would fill the memory.
    """
    with open(path, "rb") as file:
        head = file.read(_PROBE_BYTES)
    encoding = _find_encoding(head)
    with open(path, encoding=encoding, errors="replace") as text:
        while chunk := text.read(_LONGEST_LINE):
            if "\0" in chunk:
                raise RecordError(
                    f"{path.name}: found bytes that are no text; expected a CSV file, as UTF-8 or "
                    f"UTF-16 text; export it as CSV"
                )
            if len(chunk) == _LONGEST_LINE and "\n" not in chunk:
                raise RecordError(
                    f"{path.name}: found a line of more than {_LONGEST_LINE:,} signs; expected one "
                    f"row a sample"
                )
    lines = head.decode(encoding, errors="replace").splitlines()
    if len(head) == _PROBE_BYTES:  # the last is cut
        lines = lines[:-1]
    return lines[:_PROBE_LINES], encoding


def _find_encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Text in UTF-16 without a mark: every other byte of what is ASCII is zero.
    for encoding, zeros, others in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if head[zeros::2].count(0) > 0.8 * len(head[zeros::2]) and 0 not in head[others::2]:
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _guess_delimiter(lines: Sequence[str]) -> str:
    """Return what separates the cells of most of the last lines."""
    filled = [line.strip(" \r") for line in lines if line.strip()]
    tail = filled[len(filled) // 2 :]

    def is_in_most(sign: str) -> bool:
        return sum(sign in line for line in tail) > len(tail) / 2

    for delimiter in filter(is_in_most, ";\t|"):
        return delimiter
    if is_in_most(","):  # `0,5 0,25` is two numbers
        cells = [line.split() for line in tail]
        pairs = all(len(row) > 1 and all(map(_NUMBER.fullmatch, row)) for row in cells)
        is_mark = pairs and not any(cell.endswith(",") for row in cells for cell in row)
        return " " if is_mark else ","
    return " " if is_in_most(" ") else ","


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    stripped = [line.strip(" ") for line in lines] if delimiter == " " else lines
    return [
        [cell.strip().strip("'\"") for cell in row]
        for line in stripped
        for row in [next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    ]


def _find_body(name: str, rows: Sequence[Sequence[str]]) -> int:
    """Return the first row that is as the last ones are: numbers, times and texts in places.

    Raises:
        RecordError: the last ones hold no numbers.
    """
    filled = [i for i, row in enumerate(rows) if any(row)]
    tail = [rows[i] for i in filled[len(filled) // 2 :]]
    width = max(map(len, tail))
    kinds = [_judge([row[c] for row in tail if c < len(row)]) for c in range(width)]

    def fits(row: Sequence[str]) -> bool:
        cells = [(_judge([cell]), kind) for cell, kind in zip(row, kinds, strict=False)]
        return ("number", "number") in cells and all(
            found in ("", kind) or kind in ("", "text") or (found, kind) == ("number", "time")
            for found, kind in cells
        )

    is_row = [fits(rows[i]) for i in filled]
    for at, i in enumerate(filled):
        if is_row[at] and np.mean(is_row[at + 1 : at + 11] or [True]) >= 0.5:
            return i
    cells = [cell for row in tail for cell in row]
    found = next((cell for cell in cells if _judge([cell]) not in ("", "number")), "")
    raise RecordError(
        f"{name}: found no row of numbers in its first lines, but {found[:50]!r}; expected lines "
        f"of header, then one row a sample and one column a lead, without marks between thousands; "
        f"correct or export it so"
    )


def _judge(cells: Sequence[str]) -> str:
    """Return what most cells are: a number, a time, a text, or nothing."""
    told = [cell for cell in cells if cell.lower() not in _MISSING]
    if not told:
        return ""
    for kind, form in (("number", _NUMBER), ("time", _TIME)):
        if sum(form.fullmatch(cell) is not None for cell in told) >= len(told) / 2:
            return kind
    return "text"


def _has_comma(cell: str) -> bool:
    return "," in cell and _NUMBER.fullmatch(cell) is not None


def _numbers_are_names(rows: Sequence[Sequence[str]]) -> bool:
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
    cells = [cell for row in data for cell in row if _NUMBER.fullmatch(cell)]
    return len(numbers) > 1 and all(re.search("[.,]", cell) for cell in cells)


def _has_decimal_comma(rows: Sequence[Sequence[str]], begin: int) -> bool:
    """Tell whether the comma between two numbers is a decimal mark: `0,123` under one name."""
    data = [row for row in rows[begin:] if row]
    pairs = [row for row in data if len(row) == 2]
    if not pairs or not all(
        len(row) <= 2 and re.fullmatch(r"[+-]?\d+", row[0]) and all(map(str.isdecimal, row[1:]))
        for row in data
    ):
        return False
    if begin and rows[begin - 1]:  # the header
        return len(rows[begin - 1]) == 1
    return any(row[0] == "-0" or re.fullmatch(r"0\d+", row[1]) for row in pairs)


def _trim(row: Sequence[str]) -> list[str]:
    """Return a row without the empty cells at its end."""
    n = max((i + 1 for i, cell in enumerate(row) if cell), default=0)
    return list(row[:n])


def _find_header(
    name: str,
    lines: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: tuple[int, int],
    delimiter: str,
) -> tuple[list[str], list[str], list[str]] | None:
    """Return names, units, and the lines above; None without a header.

    It is the last line that is no comment, and the one before where the last holds units. Of
    comments, as NumPy writes headers, it is the last one with as many cells as the rows.

    Raises:
        RecordError: it has another number of cells than the rows.
    """
    used, width = widths

    def read(i: int) -> list[str] | None:
        row = list(rows[i])
        if delimiter == " " and len(row) != width:  # names of more than one word
            row = re.split(r"\s{2,}|\t", lines[i].strip())
        if row:
            row[0] = row[0].lstrip("#% ") if _COMMENT.match(row[0]) else row[0]
        return row if used <= len(row) and len(_trim(row)) <= width else None

    filled = [i for i, row in enumerate(rows) if any(row)]
    # LabChart's notes, `Range=`, have a cell a column.
    texts = [i for i in filled if not _COMMENT.match(rows[i][0]) and rows[i][0][-1:] not in "=:"]
    comments = [i for i in filled if not re.search("[:={]", lines[i])]
    if used == 1 and len(texts) > 1 and re.search("[,;:=\t]", lines[texts[-1]]):
        return None  # a note over one column, such as `Unit,uV`
    for at in [*texts[-1:], *([] if texts else reversed(comments))]:
        row, above = read(at), read(at - 1) if at - 1 in filled else None
        if row is None:
            continue
        units: list[str] = []
        if above is not None and _are_units(row):
            cells = [cell.strip(" ()[]") for cell in row]
            units = ["" if cell == "-" or _LEAD.fullmatch(cell) else cell for cell in cells]
            row, at = above, at - 1
        n_columns = max(used, len(_trim(row)))
        return (
            [*row, *[""] * width][:n_columns],
            [*units, *[""] * width][:n_columns],
            list(lines[:at]),
        )
    # One of many lines over the rows, `Unit,uV`, is a note.
    if texts and (len(texts) <= 3 or len(rows[texts[-1]]) > 2):
        unfit = rows[texts[-1]]
        raise RecordError(
            f"{name}: found a header of {len(unfit)} cells ({', '.join(unfit)[:100]}) over "
            f"rows of {used}; expected a name a column; correct the header. Numbers with a decimal "
            f"comma need another delimiter than the comma"
        )
    return None


def _are_units(row: Sequence[str]) -> bool:
    """Tell a row of units from one of names, below which none would stand."""
    cells = [cell.strip().lower() for cell in row if cell]
    return bool(cells) and all(
        cell[0] in "([" or re.search("[:/%]|^[0-9]", cell) is not None
        or cell in _SECONDS or cell in _OTHER_UNITS or mv_per_unit(cell) is not None
        for cell in cells
    )  # fmt: skip


def _find_rate(notes: Sequence[str]) -> float | None:
    """Return the sampling rate that lines state; None where they state none, or several."""
    rates = {
        float(match[1].replace(",", ".")) * (1000 if match[2] else 1)
        for line in notes
        if (match := _RATE.search(line))
    }
    return rates.pop() if len(rates) == 1 else None


def _heed_notes(layout: Layout, notes: Sequence[str]) -> Layout:
    """Return the layout with what lines above the rows say of the columns.

    A device's JSON, as OpenSignals writes it, names columns, sensors and rate; over one column
    alone stand its lead and its unit, as the Apple Watch exports them.
    """
    for line in notes:
        if not line.lstrip("#% ").startswith("{"):
            continue
        try:
            devices = list(json.loads(line.lstrip("#% ")).values())
            headers = [str(column) for device in devices for column in device["column"]]
            sensors = [
                sensor
                for device in devices
                for sensor in [
                    *[""] * (len(device["column"]) - len(device["sensor"])),
                    *map(str, device["sensor"]),
                ]
            ]
            rates = {float(device["sampling rate"]) for device in devices}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if not len(headers) == len(sensors) == len(layout.headers):
            continue
        ecg = [i for i, sensor in enumerate(sensors) if re.search("e[ck]g", sensor.lower())]
        others = {
            i: f"of the sensor {sensor}" if sensor else "of no sensor"
            for i, sensor in enumerate(sensors)
            if i not in ecg and (ecg or not sensor)
        }
        names = [sensors[i] if i in ecg else header for i, header in enumerate(headers)]
        fs = rates.pop() if len(rates) == 1 else None
        return replace(
            layout, headers=headers, names=names, has_header=True, no_leads=others, fs=fs
        )
    if len(layout.names) == 1 and not layout.has_header:
        units = [match[1] for line in notes if (match := _STATED_UNIT.fullmatch(line))]
        leads = [match[1] for line in notes if (match := _STATED_LEAD.fullmatch(line))]
        units = [unit for unit in units if mv_per_unit(unit) is not None]
        return replace(layout, names=leads[:1] or layout.names, units=units[:1] or layout.units)
    return layout


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


def choose_columns(layout: Layout, columns: Sequence[str] | None) -> tuple[list[int], int | None]:
    """Return the columns that are leads, and that of the times, or None.

    Args:
        layout: of the file.
        columns: names or numbers, from 1, of the leads; None takes the columns that are nothing
            else.

    Raises:
        RecordError: a column is not there or in no voltage, or none is a lead.
    """
    name = layout.path.name
    time = _find_named_time(layout)
    chosen = None if columns is None else _find_columns(layout, columns)
    others = [i for i in range(len(layout.names)) if i != time and i not in (chosen or ())]
    no_leads = {i: reason for i in others if (reason := _tell_no_lead(layout, i))}
    if chosen is None and len(others) - len(no_leads) > _MOST_LEADS:
        raise RecordError(
            f"{name}: found {len(others) - len(no_leads)} columns that may be leads; expected "
            f"{_MOST_LEADS} at most, one row a sample and one column a lead; where a row is a beat "
            f"or a lead, write it as a column, or name the columns that are leads (--columns)"
        )
    for i in others:
        is_unnamed = not layout.has_header or not re.search("[a-z]", layout.names[i].lower())
        if not is_unnamed and (chosen is not None or i in no_leads):
            continue
        kind, reason = _judge_column(layout.probe[i])
        if kind == "times" and time is None and is_unnamed:
            time = i
            logger.info("%s: column %r is taken for times", name, layout.label(i))
        if reason:
            no_leads[i] = reason
    if chosen is None:
        chosen = [i for i in others if i not in no_leads]
        left_out = ", ".join(
            f"{layout.label(i)!r} ({reason})" for i, reason in list(no_leads.items())[:10]
        )
        if not chosen:
            raise RecordError(
                f"{name}: found no column of a lead"
                f"{'; left out are ' + left_out if left_out else ''}; expected one in "
                f"{KNOWN_VOLTAGES}; correct the header, or name it (--columns)"
            )
        if left_out:
            logger.info("%s: no leads, and left out: %s", name, left_out)
    return chosen, time


def _find_columns(layout: Layout, columns: Sequence[str]) -> list[int]:
    known = [layout.names, layout.headers, [str(i + 1) for i in range(len(layout.names))]]
    missing = [each for each in columns if not any(each in names for names in known)]
    if missing or not columns:
        raise RecordError(
            f"{layout.path.name}: found no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, layout.names[:50]))}"
        )
    chosen = [next(names for names in known if each in names).index(each) for each in columns]
    for i in chosen:
        unit = layout.units[i]
        if unit and mv_per_unit(unit) is None:
            raise RecordError(
                f"{layout.path.name}: found column {layout.names[i]!r} in {unit!r}; expected "
                f"{KNOWN_VOLTAGES}; write it in one of these, or take the unit out of the header "
                f"to have it guessed"
            )
    return chosen


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
    if column in layout.no_leads:
        return layout.no_leads[column]
    if unit:
        return f"in {unit!r}, no voltage" if mv_per_unit(unit) is None else None
    words = _words(layout.names[column])
    if words and _INDEX_NAMES.issuperset(words):
        return "a row number by its name"
    if not re.search(r"\w", layout.names[column]):
        return "without a name"
    return None


def _judge_column(cells: pd.Series) -> tuple[str, str]:
    """Return what a column is that is no ECG (times, index, other), and why; else empty texts."""
    cells = cells.dropna()
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    if not len(cells):
        return "other", "empty"
    if np.isnan(values).all():
        if cells.map(_TIME.fullmatch).notna().all():
            return "times", _RISES
        return "other", "texts"
    if set(cells.unique()) == {"0", "1"}:
        return "other", "it holds 0 and 1 alone, as a marker does"
    steps = np.diff(values[np.isfinite(values)])
    is_falling = bool((steps < 0).sum() > (steps > 0).sum())  # a counter may count down
    steps = -steps if is_falling else steps
    rises, falls = steps[steps > 0], steps[steps < 0]
    if len(steps) < _LEAST_STEPS or len(rises) < 3:
        return "", ""
    usual = np.median(rises)
    is_alike = np.abs(rises - usual) <= 1.01 * find_resolution(cells) + 1e-6 * usual
    if not len(falls) and not is_falling:
        # Whole seconds rise at few rows; what rises at each of many need not be regular.
        if is_alike.mean() >= 0.9 or len(rises) == len(steps) >= 100:
            return "index" if np.median(steps) == 1 else "times", _RISES
        return "", ""
    # A counter begins again at its least number: it falls by all that it has risen.
    height = np.ptp(values[np.isfinite(values)])
    is_reset = falls <= -max(0.9 * height, height - 2 * usual)
    if is_alike.mean() >= 0.95 and is_reset.all() and len(falls) <= len(rises) / 2:
        return "index", "it counts and begins again, as a packet number does"
    return "", ""


def clean_cells(cells: pd.Series) -> pd.Series:
    """Return cells without quotes, brackets and blanks, with a decimal point."""
    return cells.str.strip().str.strip("'\"[]").str.replace(",", ".", regex=False)


def find_resolution(cells: pd.Series, trailing_zeros: bool = True) -> float:
    """Return the last place that numbers or times are written to: 0.001 for `0.5` and `1.120`.

    Args:
        cells: numbers or times, as text.
        trailing_zeros: whether zeros at the end count as written: without them it is 0.01.
    """
    digits = cells.str.extract(_DECIMALS, expand=False).fillna("")
    if not trailing_zeros:
        digits = digits.str.rstrip("0")
    exponents = cells.str.extract(r"[eE]([+-]?\d+)$", expand=False).fillna("0").astype(int)
    most = int((digits.str.len().to_numpy(dtype=int) - exponents.to_numpy(dtype=int)).max())
    return float(10.0 ** -min(max(most, -15), 15))
