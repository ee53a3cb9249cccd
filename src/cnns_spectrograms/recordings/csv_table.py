"""The table in a CSV file: its encoding, delimiter, decimal mark, header and units."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import mv_per_unit

Rows = Sequence[Sequence[str]]

PROBE_ROWS = 5000
"""Rows from which the content of a column is judged."""

_PROBE_BYTES = 1 << 16
_PROBE_LINES = 200
_LONGEST_LINE = 1 << 20

SECONDS_PER = {
    word: seconds
    for words, seconds in (
        ("ns nsec nanosecond nanoseconds", 1e-9),
        ("us \N{MICRO SIGN}s usec microsecond microseconds", 1e-6),
        ("ms msec millisec millisecond milliseconds", 1e-3),
        ("s sec secs second seconds", 1.0),
        ("min mins minute minutes", 60.0),
        ("h hr hrs hour hours", 3600.0),
    )
    for word in words.split()
}
_OTHER_UNITS = {
    *("-", "adc", "adu", "au", "a.u.", "bpm", "counts", "count", "digits", "g", "lsb", "mmhg"),
    *("none", "raw", "units"),
}
_MISSING = {"", "-", "nan", "-nan", "na", "n/a", "null", "none", "inf", "-inf"}

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
TIME = re.compile(
    r"(?=.*\d)([][\d:.,/\sTZ+-]|[ap]\.?\s?m\b\.?|utc|gmt|days?"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?)+",
    re.IGNORECASE,
)
_COMMENT = re.compile("[#%].")
_IN_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]")
_UNIT_AT_END = re.compile(
    r"(?:(.*?)[\s_,./-]+)?([mun\N{MICRO SIGN}]v|(?:milli|micro|nano)?volts?)", re.IGNORECASE
)
# In the brackets of a name these are no units: `ECG (II)`.
_LEAD = re.compile(
    r"m?l?i{1,3}|m?v\d+r?|cm\d|d[123]|av[rlf]|[xyz]|e[ck]g.*|lead.*|ch(annel)?\W*\d+", re.IGNORECASE
)

# What lines above the table state.
_RATE = re.compile(
    r"\b(?:sampl|muestreo|abtast|amostra|campion|.chantillon)[^\d=:,;]*[\s=:,;\"(]+(?:hz\)?\W+)?"
    r"(\d+(?:[.,]\d+)?)[\s\"]*(?:(k?)(?:hz|her[tc]\w*)|sps|samples.*)?[\s\",;]*$",
    re.IGNORECASE,
)
_UNIT_NOTE = re.compile(r"(?:unit|unidad|einheit)\w*\W+(\w+)\W*", re.IGNORECASE)
_LEAD_NOTE = re.compile(r"(?:lead|channel|derivaci.n)[,;:=\t]+\s*([^,;]+?)[\s,;]*", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        index: place in the table, from 0.
        header: text in the header; without a header, the place from 1.
        name: header without the unit.
        unit: unit that the file states; empty where it states none.
        no_ecg: why the file itself states that this is no ECG; empty where it does not.
    """

    index: int
    header: str
    name: str
    unit: str = ""
    no_ecg: str = ""

    @property
    def label(self) -> str:
        """What errors and the log call the column."""
        return self.name or self.header or f"column {self.index + 1}"


@dataclass(frozen=True)
class Table:
    """How to read the numbers of a CSV file.

    Attributes:
        path: of the file.
        encoding: of the text.
        delimiter: between cells; a blank stands for any number of them.
        decimal: mark.
        n_header: lines before the first row of numbers.
        width: cells per row; those beyond the columns are empty.
        columns: the columns.
        fs: sampling rate that the lines above the table state, Hz.
    """

    path: Path
    encoding: str
    delimiter: str
    decimal: str
    n_header: int
    width: int
    columns: list[Column]
    fs: float | None

    def read(self, columns: Sequence[Column], **options: Any) -> Any:
        """Return what `pandas.read_csv` makes of some columns, named by their index."""
        return pd.read_csv(
            self.path,
            sep=r"\s+" if self.delimiter == " " else self.delimiter,
            decimal=self.decimal,
            encoding=self.encoding,
            encoding_errors="replace",
            header=None,
            skiprows=self.n_header,
            usecols=[column.index for column in columns],
            names=list(range(self.width)),
            na_values=["-"],
            **options,
        )

    @cached_property
    def probe(self) -> pd.DataFrame:
        """The first rows, str, cleaned by `clean_cells`; columns are named by their index."""
        return self.read(self.columns, dtype=str, nrows=PROBE_ROWS).apply(clean_cells)


def read_table(path: Path) -> Table:
    """Read the header and the first rows of a CSV file.

    Raises:
        RecordError: the file is no text, has no row of numbers, or its header does not fit its
            rows.
    """
    lines, encoding = _read_head(path)
    delimiter = _guess_delimiter(lines)
    rows = _split(lines, delimiter)
    begin = _find_first_row(rows)
    if begin == 0 and _holds_numbered_names(rows):
        begin = 1
    if delimiter == "," and _is_decimal_comma(rows[:begin], rows[begin:]):
        delimiter = ";"
        rows = _split(lines, delimiter)
    data = [row for row in rows[begin:] if any(row)]
    commas = ("," in cell and _NUMBER.fullmatch(cell) for row in data for cell in row)
    decimal = "," if any(commas) else "."
    width = max(map(len, data))
    used = max(len(_trim(row)) for row in data)
    header = _find_header(lines[:begin], rows[:begin], (used, width), delimiter)
    notes = lines[:begin]
    if header is None:
        columns = [Column(i, str(i + 1), str(i + 1)) for i in range(used)]
    else:
        at, names, units = header
        notes = notes[:at]
        columns = [
            Column(i, name, name, unit) if unit else Column(i, name, *split_unit(name))
            for i, (name, unit) in enumerate(zip(names, [*units, *[""] * width], strict=False))
        ]
    rates = {
        float(found[1].replace(",", ".")) * (1000 if found[2] else 1)
        for found in map(_RATE.search, notes)
        if found
    }
    fs = rates.pop() if len(rates) == 1 else None
    table = Table(path, encoding, delimiter, decimal, begin, width, columns, fs)
    return _apply_notes(table, notes, has_header=header is not None)


def _read_head(path: Path) -> tuple[list[str], str]:
    """Return the first whole lines, and their encoding; no line may fill the memory."""
    with open(path, "rb") as file:
        head = file.read(_PROBE_BYTES)
    encoding = _find_encoding(head)
    with open(path, encoding=encoding, errors="replace") as text:
        while chunk := text.read(_LONGEST_LINE):
            is_text = "\0" not in chunk
            if not is_text or (len(chunk) == _LONGEST_LINE and "\n" not in chunk):
                line = f"a line of more than {_LONGEST_LINE:,} characters"
                raise RecordError(
                    f"found {line if is_text else 'bytes that are no text'}; expected "
                    f"one row per sample, as UTF-8 or UTF-16 text; export it as CSV"
                )
    lines = head.decode(encoding, errors="replace").splitlines()
    if len(head) == _PROBE_BYTES:  # the last line is cut
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
    """Return the first delimiter that most of the last lines hold."""
    filled = [line.strip(" \r") for line in lines if line.strip()]
    tail = filled[len(filled) // 2 :]
    found = [each for each in ";\t|, " if sum(each in line for line in tail) > len(tail) / 2]
    if found[:1] == [","]:
        # `0,5 0,25` is two numbers.
        rows = [line.split() for line in tail]
        if all(len(row) > 1 and all(map(_NUMBER.fullmatch, row)) for row in rows) and not any(
            cell.endswith(",") for row in rows for cell in row
        ):
            return " "
    return found[0] if found else ","


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == " ":
        lines = [line.strip(" ") for line in lines]
    rows = (
        next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []) for line in lines
    )
    return [[cell.strip().strip("'\"") for cell in row] for row in rows]


def _trim(row: Sequence[str]) -> list[str]:
    """Return a row without the empty cells at its end."""
    n = max((i + 1 for i, cell in enumerate(row) if cell), default=0)
    return list(row[:n])


def _find_first_row(rows: Rows) -> int:
    """Return the first row that is like the last ones: numbers, times and texts in places."""
    filled = [i for i, row in enumerate(rows) if any(row)]
    tail = [rows[i] for i in filled[len(filled) // 2 :]]
    kinds = [_kind_of(cells) for cells in zip_longest(*tail, fillvalue="")]

    def fits(row: Sequence[str]) -> bool:
        pairs = [(_kind_of([cell]), kind) for cell, kind in zip(row, kinds, strict=False)]
        return ("number", "number") in pairs and all(
            found in ("", kind) or kind in ("", "text") or (found, kind) == ("number", "time")
            for found, kind in pairs
        )

    is_fit = [fits(rows[i]) for i in filled]
    for at, i in enumerate(filled):
        following = is_fit[at + 1 : at + 11]
        if is_fit[at] and 2 * sum(following) >= len(following):
            return i
    cells = [cell for row in tail for cell in row]
    found = next((cell for cell in cells if _kind_of([cell]) not in ("", "number")), "")
    raise RecordError(
        f"found no row of numbers in its first lines, but {found[:50]!r}; expected a "
        f"header, then one row per sample and one column per lead, without separators between "
        f"thousands; correct or export it so"
    )


def _kind_of(cells: Sequence[str]) -> str:
    """Return what most cells are: a number, a time, a text, or nothing."""
    filled = [cell for cell in cells if cell.lower() not in _MISSING]
    for kind, form in (("number", _NUMBER), ("time", TIME)):
        if 2 * sum(form.fullmatch(cell) is not None for cell in filled) >= len(filled) > 0:
            return kind
    return "text" if filled else ""


def _holds_numbered_names(rows: Rows) -> bool:
    """Return whether the first row names columns by number, as pandas does: `,0,1` or `0,1`."""
    names, data = _trim(rows[0]), [row for row in rows[1:] if row]
    over_index = names[0] == ""
    names = names[over_index:]
    counted = [[str(i + first) for i in range(len(names))] for first in (0, 1)]
    if names not in counted or not data:
        return False
    if over_index:
        return all(row[0] for row in data)
    # Samples that begin with 0 and 1 would be written with decimals, as the others are.
    numbers = [cell for row in data for cell in row if _NUMBER.fullmatch(cell)]
    return len(names) > 1 and all(re.search("[.,]", cell) for cell in numbers)


def _is_decimal_comma(above: Rows, rows: Rows) -> bool:
    """Return whether the comma between two numbers is a decimal mark: `0,123` under one name."""
    data = [row for row in rows if row]
    pairs = [row for row in data if len(row) == 2]
    if not pairs or not all(
        len(row) <= 2 and re.fullmatch(r"[+-]?\d+", row[0]) and all(map(str.isdecimal, row[1:]))
        for row in data
    ):
        return False
    if above and above[-1]:  # the header
        return len(above[-1]) == 1
    return any(row[0] == "-0" or re.fullmatch(r"0\d+", row[1]) for row in pairs)


def _find_header(
    lines: Sequence[str], rows: Rows, widths: tuple[int, int], delimiter: str
) -> tuple[int, list[str], list[str]] | None:
    """Return the line of the header, its names, and units of a row of their own; None without one.

    The header is the last line that is no comment, or the one before where the last holds units.
    Of comments, as NumPy writes headers, it is the last one with as many cells as the rows.
    """
    used, width = widths

    def read(i: int) -> list[str] | None:
        row = list(rows[i])
        if delimiter == " " and len(row) != width:  # names of more than one word
            row = re.split(r"\s{2,}|\t", lines[i].strip())
        if row and _COMMENT.match(row[0]):
            row[0] = row[0].lstrip("#% ")
        n_named = len(_trim(row))
        is_fit = used <= len(row) and n_named <= width
        return [*row, *[""] * width][: max(used, n_named)] if is_fit else None

    filled = [i for i, row in enumerate(rows) if any(row)]
    # LabChart's notes, `Range=`, have one cell per column.
    texts = [i for i in filled if not _COMMENT.match(rows[i][0]) and rows[i][0][-1:] not in "=:"]
    comments = [i for i in filled if not re.search("[:={]", lines[i])]
    if used == 1 and len(texts) > 1 and re.search("[,;:=\t]", lines[texts[-1]]):
        return None  # a note over one column, such as `Unit,uV`
    for at in texts[-1:] or reversed(comments):
        row = read(at)
        if row is None:
            continue
        above = read(at - 1) if at - 1 in filled else None
        if above is None or not _are_units(row):
            return at, row, []
        cells = [cell.strip(" ()[]") for cell in row]
        return at - 1, above, ["" if c == "-" or _LEAD.fullmatch(c) else c for c in cells]
    # The last of many lines over the rows, such as `Unit,uV`, is a note.
    if texts and (len(texts) <= 3 or len(rows[texts[-1]]) > 2):
        unfit = rows[texts[-1]]
        raise RecordError(
            f"found a header of {len(unfit)} cells ({', '.join(unfit)[:100]}) over "
            f"rows of {used}; expected one name per column; correct the header. Numbers with a "
            f"decimal comma need another delimiter than the comma"
        )
    return None


def _are_units(row: Sequence[str]) -> bool:
    """Return whether a row holds units rather than names."""
    cells = [cell.strip().lower() for cell in row if cell]
    return bool(cells) and all(
        cell[0] in "([" or re.search("[:/%]|^[0-9]", cell) is not None
        or cell in SECONDS_PER or cell in _OTHER_UNITS or mv_per_unit(cell) is not None
        for cell in cells
    )  # fmt: skip


def _apply_notes(table: Table, notes: Sequence[str], has_header: bool) -> Table:
    """Return the table with what the lines above it state about its columns.

    OpenSignals writes columns, sensors and rate as JSON. Above a single column without a header
    stand its lead and its unit, as the Apple Watch exports them.
    """
    for line in notes:
        try:
            columns, fs = _read_devices(line.lstrip("#% "))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if len(columns) == len(table.columns):
            return replace(table, columns=columns, fs=fs)
    if len(table.columns) == 1 and not has_header:
        leads = [found[1] for found in map(_LEAD_NOTE.fullmatch, notes) if found]
        units = [found[1] for found in map(_UNIT_NOTE.fullmatch, notes) if found]
        units = [unit for unit in units if mv_per_unit(unit) is not None]
        return replace(table, columns=[Column(0, "1", *(leads or ["1"])[:1], *units[:1])])
    return table


def _read_devices(text: str) -> tuple[list[Column], float | None]:
    """Return columns and rate from the JSON of OpenSignals; sensors belong to the last columns."""
    devices = list(json.loads(text).values())
    pairs: list[tuple[str, str]] = []
    for device in devices:
        headers, sensors = list(map(str, device["column"])), list(map(str, device["sensor"]))
        pairs += zip(headers, [""] * (len(headers) - len(sensors)) + sensors, strict=True)
    ecg = {sensor for _, sensor in pairs if re.search("e[ck]g", sensor.lower())}
    columns = []
    for i, (header, sensor) in enumerate(pairs):
        if sensor in ecg:
            columns.append(Column(i, header, sensor))
        else:
            why = f"of the sensor {sensor}" if sensor else "of no sensor"
            columns.append(Column(i, header, header, no_ecg=why if ecg or not sensor else ""))
    rates = {float(device["sampling rate"]) for device in devices}
    return columns, rates.pop() if len(rates) == 1 else None


def split_unit(header: str) -> tuple[str, str]:
    """Return name and unit of a header such as `MLII (mV)`, `time [s]`, `ECG_uV`; or no unit."""
    header = header.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    found = _IN_BRACKETS.fullmatch(header)
    if found and not _LEAD.fullmatch(found[2]):
        return found[1], "" if found[2] == "-" else found[2]
    found = _UNIT_AT_END.fullmatch(header)
    return (found[1] or header, found[2]) if found else (header, "")


def split_words(text: str) -> list[str]:
    """Return the words of a name, in lower case; `TimeMs` has two."""
    text = text.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [word for word in re.split(r"[^a-z\N{MICRO SIGN}]+", text.lower()) if word]


def clean_cells(cells: pd.Series) -> pd.Series:
    """Return cells without quotes, brackets and blanks, with a decimal point."""
    return cells.str.strip().str.strip("'\"[]").str.replace(",", ".", regex=False)
