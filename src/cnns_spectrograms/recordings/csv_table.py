"""The table in a CSV file: its encoding, delimiter, decimal mark, header and units."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, repeat, zip_longest
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from cnns_spectrograms.recordings.csv_names import LEAD, SECONDS_PER, Column, split_unit
from cnns_spectrograms.recordings.csv_notes import (
    read_channels,
    read_devices,
    read_interval,
    read_rate,
)
from cnns_spectrograms.recordings.errors import RecordError, check
from cnns_spectrograms.recordings.leads import mv_per_unit

Rows = Sequence[Sequence[str]]

CHUNK_ROWS = 200_000
"""Rows that are read at once."""

_PROBE_ROWS = 5000  # from which the content of a column is judged
_PROBE_BYTES = 1 << 16
_PROBE_LINES = 200  # more where samples are missing at the beginning
_HEAD_BYTES = 1 << 20
_LONGEST_LINE = 1 << 20

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
# What lines above the table state.
_UNIT_NOTE = re.compile(r"^(?:unit|unidad|einheit)\w*\W+(\w+)\W*$", re.IGNORECASE)
_LEAD_NOTE = re.compile(r"^(?:lead|channel|derivaci.n)[,;:=\t]+\s*([^,;]+?)[\s,;]*$", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """How to read the numbers of a CSV file.

    Attributes:
        path: of the file.
        delimiter: between cells; a blank stands for any number of them.
        encoding: of the text.
        begin: line of the first row, from 0.
        dialect: options of `pandas.read_csv`, which name columns by their index.
        columns: the columns.
        fs: sampling rate that the lines above the table state, Hz.
    """

    path: Path
    delimiter: str
    encoding: str
    begin: int
    dialect: dict[str, Any]
    columns: list[Column]
    fs: float | None

    def read(self, columns: Sequence[Column], **options: Any) -> Iterator[pd.DataFrame]:
        """Yield CHUNK_ROWS rows at a time of some columns, named by their index.

        Args:
            columns: which are read.
            **options: further options of `pandas.read_csv`.
        """
        used = [column.index for column in columns]
        options = {"usecols": used, "chunksize": CHUNK_ROWS, **self.dialect, **options}
        with _open(self.path, self.encoding) as text:
            for _ in range(self.begin):  # pandas counts a quoted note of several lines as one
                text.readline()
            with pd.read_csv(text, **options) as chunks:
                yield from chunks

    def check_width(self) -> None:
        """Check that no row has more numbers than the first ones have cells: pandas ignores them.

        They come of a decimal comma, or of commas or blanks between thousands. Notes at the end of
        a row are none.

        Raises:
            RecordError: a row has more.
        """
        width = len(self.dialect["names"])
        if self.delimiter not in ", ":
            return  # no number holds it
        n_rows = -self.begin
        with _open(self.path, self.encoding) as text:
            for lines in iter(lambda: text.readlines(_PROBE_BYTES), []):
                if self.delimiter == ",":
                    most = max(map(str.count, lines, repeat(","))) + 1
                else:
                    most = max(map(len, map(str.split, lines)))
                rows = _split(lines, self.delimiter) if most > width else []
                for row, cells in enumerate(rows, n_rows + 1):
                    check(
                        row <= 0 or not any(map(_NUMBER.fullmatch, cells[width:])),
                        f"{len(cells)} numbers in row {row:,} below the header",
                        f"{width}, as in the first rows",
                        "correct it; numbers with a decimal comma, or with separators between "
                        "thousands, need another delimiter",
                    )
                n_rows += len(lines)

    def count_empty_end(self) -> int:
        """Return how many rows `read` gives for blank lines at the very end of the file."""
        n_blank = 0
        if not self.dialect["skip_blank_lines"]:
            with _open(self.path, self.encoding) as text:
                for line in text:
                    n_blank = n_blank + 1 if line.isspace() else 0
        return n_blank

    @cached_property
    def probe(self) -> pd.DataFrame:
        """The first rows, str, cleaned by `clean_cells`; columns are named by their index."""
        chunks = self.read(self.columns, dtype=str, nrows=_PROBE_ROWS)
        return pd.concat(chunks).apply(clean_cells)

    def read_first(self, column: Column) -> pd.Series:
        """Return the cells of `probe` that are filled; where there are none, the first such ones.

        An electrode may be put on long after the recorder began.
        """
        cells = self.probe[column.index].dropna()
        if len(cells):
            return cells
        chunks = self.read([column], dtype=str)
        found = (chunk[column.index].dropna().iloc[:_PROBE_ROWS] for chunk in chunks)
        return clean_cells(next((each for each in found if len(each)), cells))


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
        begin = _find_first_row(rows)  # again: missing samples have one cell, as all rows now have
    header, header_rows = lines[:begin], rows[:begin]
    if _holds_counts(path, encoding, rows, begin):
        begin += 1
    data = [row for row in rows[begin:] if any(row)]
    commas = ("," in cell and _NUMBER.fullmatch(cell) for row in data for cell in row)
    width = max(map(len, data))
    dialect = {
        "sep": r"\s+" if delimiter == " " else delimiter,
        "decimal": "," if any(commas) else ".",
        "header": None,
        "names": list(range(width)),
        "skipinitialspace": True,
        # In a row of one cell an empty one is a blank line, unless all lines are double-spaced.
        "skip_blank_lines": width > 1 or not any(map(any, rows[begin + 1 :: 2])),
        "na_values": [form(each) for each in _MISSING for form in (str, str.upper, str.title)],
    }
    columns, fs = _read_header(header, header_rows, data, delimiter)
    return Table(path, delimiter, encoding, begin, dialect, columns, fs)


def _open(path: Path, encoding: str) -> TextIO:
    return open(path, encoding=encoding, errors="replace")


def _read_head(path: Path) -> tuple[list[str], str]:
    """Return the first whole lines, and their encoding; no line may fill the memory."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    encoding = _find_encoding(head)
    with _open(path, encoding) as text:
        while chunk := text.read(_LONGEST_LINE):
            line = f"a line of more than {_LONGEST_LINE:,} characters"
            is_binary = "\0" in chunk
            check(
                not is_binary and (len(chunk) < _LONGEST_LINE or "\n" in chunk),
                "bytes that are no text" if is_binary else line,
                "one row per sample, as UTF-8 or UTF-16 text",
                "export it as CSV",
            )
    # Not `splitlines`, which also ends a line at a form feed, where pandas does not.
    lines = io.StringIO(head.decode(encoding, errors="replace"), newline=None).read().split("\n")
    if len(head) == _HEAD_BYTES:  # the last line is cut
        lines = lines[:-1]
    n_lines = _PROBE_LINES
    while n_lines < len(lines):
        tail = lines[n_lines // 2 : n_lines]
        if 2 * sum(map(_is_missing, tail)) <= len(tail):
            break
        n_lines *= 2
    return lines[:n_lines], encoding


def _is_missing(line: str) -> bool:
    """Return whether a line holds no sample, whatever its delimiter is."""
    return all(cell.strip("'\"").lower() in _MISSING for cell in re.split(r"[;|,\s]", line))


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
    # `0,5 0,25` is two numbers.
    if found == [",", " "] and all(
        " " in line and all(map(_NUMBER.fullmatch, line.split())) and ", " not in f"{line} "
        for line in tail
    ):
        return " "
    return (found or [","])[0]


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == " ":
        lines = [line.strip(" ") for line in lines]
    rows = (
        next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []) for line in lines
    )
    return [[cell.strip().strip("'\"") for cell in row] for row in rows]


def _count_used(row: Sequence[str]) -> int:
    """Return the number of cells without the empty ones at the end."""
    return max((i for i, cell in enumerate(row, 1) if cell), default=0)


def _find_first_row(rows: Rows) -> int:
    """Return the first row that is like the last ones: numbers, times and texts in places.

    Rows of missing samples right above it belong to it.
    """
    filled = [i for i, row in enumerate(rows) if any(row)]
    tail = [rows[i] for i in filled[len(filled) // 2 :]]
    kinds = [_kind_of(cells) for cells in zip_longest(*tail, fillvalue="")]

    def pair(row: Sequence[str]) -> list[tuple[str, str]]:
        return [(_kind_of([cell]), kind) for cell, kind in zip(row, kinds, strict=False)]

    def fits(row: Sequence[str]) -> bool:
        return all(
            found in ("", kind) or kind in ("", "text") or (found, kind) == ("number", "time")
            for found, kind in pair(row)
        )

    has_numbers = [fits(rows[i]) and ("number", "number") in pair(rows[i]) for i in filled]
    for at, first in enumerate(filled):
        following = has_numbers[at + 1 : at + 11]
        if has_numbers[at] and 2 * sum(following) >= len(following):
            # Missing samples may come first. A blank line is one only between others.
            for above in reversed(range(first)):
                is_blank = len(rows[above]) <= 1 and not any(rows[above])
                if not is_blank and (len(rows[above]) != len(rows[first]) or not fits(rows[above])):
                    break
                first = first if is_blank else above
            return first
    cells = [cell for row in tail for cell in row]
    found = next((cell for cell in cells if _kind_of([cell]) not in ("", "number")), "")
    raise RecordError(
        f"found no row of numbers in its first lines, but {found[:50]!r}; expected a "
        f"header, then one row per sample and one column per lead, without separators between "
        f"thousands; correct the file, or export it again in this form"
    )


def _holds_counts(path: Path, encoding: str, rows: Rows, begin: int) -> bool:
    """Return whether a first row has no samples but their number, as AcqKnowledge writes it.

    It stands in every column but that of the times. Where the notes state an interval, samples may
    have been cut off. Else there are as many as it says, and they have decimals, or times.
    """
    cells = [cell for cell in rows[begin] if cell]
    if not (begin and cells and all(re.fullmatch(r"\d{1,10}", cell) for cell in cells)):
        return False
    counts = list(map(int, cells))
    most = max(counts)
    if most < 2 or min(counts) < 0.99 * most:
        return False
    with _open(path, encoding) as text:
        below = filter(str.strip, islice(text, begin + 1, None))
        n_rows = sum(1 for _ in islice(below, most + 2))
    if any(read_interval(" ".join(row)) for row in rows[:begin]):
        return n_rows <= most + 1
    has_times = not rows[begin][0] and any(row[0] for row in rows[begin + 1 :] if row)
    has_decimals = any(re.search("[.,]", cell) for row in rows[begin + 1 :] for cell in row)
    return abs(n_rows - most) <= 1 and (has_times or has_decimals)


def _kind_of(cells: Sequence[str]) -> str:
    """Return what most cells are: a number, a time, a text, or nothing."""
    filled = [cell for cell in cells if cell.lower() not in _MISSING]
    for kind, form in (("number", _NUMBER), ("time", TIME)):
        if 2 * sum(form.fullmatch(cell) is not None for cell in filled) >= len(filled) > 0:
            return kind
    return "text" if filled else ""


def _holds_numbered_names(rows: Rows) -> bool:
    """Return whether the first row names columns by number, as pandas does: `,0,1` or `0,1`."""
    data = [row for row in rows[1:] if row]
    over_index = rows[0][0] == ""
    names = list(rows[0][over_index : _count_used(rows[0])])
    counted = range(len(names))
    if not (data and names) or names not in ([str(i + n) for i in counted] for n in (0, 1)):
        return False
    if over_index:
        return all(row[0] for row in data)
    # Samples that begin with 0 and 1 would be written with decimals, as the others are.
    numbers = [cell for row in data for cell in row if _NUMBER.fullmatch(cell)]
    return len(names) > 1 and all(re.search("[.,]", cell) for cell in numbers)


def _is_decimal_comma(above: Rows, rows: Rows) -> bool:
    """Return whether the comma between two numbers is a decimal mark: `0,123` under one name."""
    texts = [",".join(row) for row in rows if row]
    is_pair = max(map(len, rows)) == 2
    if not is_pair or not all(re.fullmatch(r"[+-]?\d+(,\d+)?", text) for text in texts):
        return False
    if above and above[-1]:  # the header
        return len(above[-1]) == 1
    return any(re.search(r"^-0,|,0\d", text) for text in texts)


def _read_header(
    lines: Sequence[str], rows: Rows, data: Rows, delimiter: str
) -> tuple[list[Column], float | None]:
    """Return what the lines above the rows, `data`, state: the columns, and the rate or None."""
    used, width = max(map(_count_used, data)), max(map(len, data))
    unnamed = [(str(i + 1), "") for i in range(used)]
    at, names = _find_header(lines, rows, used, width, delimiter) or (len(lines), unnamed)
    leads, units = (
        [found for found in map(form.search, lines[:at]) if found]
        for form in (_LEAD_NOTE, _UNIT_NOTE)
    )
    if names == unnamed and used == 1:  # the Apple Watch exports lead and unit as notes
        unit = next((each[1] for each in units if mv_per_unit(each[1]) is not None), "")
        names = [(leads[0][1] if leads else "1", unit)]
    columns = [
        Column(i, name, *((name, unit) if unit else split_unit(name)))
        for i, (name, unit) in enumerate(names)
    ]
    channels = read_channels(lines[:at])
    if channels and len(columns) - len(channels) in (0, 1):  # with times, or without
        named = zip(columns[-len(channels) :], channels, strict=True)
        columns[-len(channels) :] = [
            replace(column, name=name or column.name, unit=unit) for column, (name, unit) in named
        ]
    for devices in map(read_devices, lines[:at]):
        if devices and len(devices[0]) == len(columns):
            return devices
    rates = {rate for rate in map(read_rate, lines[:at]) if rate is not None}
    return columns, rates.pop() if len(rates) == 1 else None


def _find_header(
    lines: Sequence[str], rows: Rows, used: int, width: int, delimiter: str
) -> tuple[int, list[tuple[str, str]]] | None:
    """Return the line of the header, with names and units of the columns; None without one.

    The header is the last line that is no comment, or the one before where the last holds units.
    Of comments, as NumPy writes headers, it is the last one with as many cells as the rows, which
    have `used` cells of `width` at most.
    """
    fitting: dict[int, list[str]] = {}  # line -> its cells, as many as there are columns
    texts, comments = [], []
    for i, cells in enumerate(rows):
        if not any(cells):
            continue
        row = list(cells)
        if delimiter == " " and len(row) != width:  # names of more than one word
            row = re.split(r"\s{2,}|\t", lines[i].strip())
        if re.match("[#%].", row[0]):
            row[0] = row[0].lstrip("#% ")
        elif not cells[0].endswith(("=", ":")):  # as LabChart's notes do
            texts.append(i)
        if not re.search("[:={]", lines[i]):
            comments.append(i)
        n_named = _count_used(row)
        if used <= len(row) and n_named <= width:
            fitting[i] = row[: max(used, n_named)]
    if used == 1 and len(texts) > 1 and re.search("[,;:=\t]", lines[texts[-1]]):
        return None  # a note over one column, such as `Unit,uV`
    at = next((i for i in texts[-1:] or reversed(comments) if i in fitting), None)
    if at is None:
        unfit = rows[texts[-1]] if texts else []
        check(
            # The last of many lines over the rows, such as `Unit,uV`, is a note.
            len(unfit) == 0 or (len(texts) > 3 and len(unfit) <= 2),
            f"a header of {len(unfit)} cells ({', '.join(unfit)[:100]}) over rows of {used}",
            "one name per column",
            "correct the header. Numbers with a decimal comma need another delimiter than the "
            "comma",
        )
        return None
    units: list[str] = []
    if at - 1 in fitting and _are_units(fitting[at]):
        cells = [cell.strip(" ()[]") for cell in fitting[at]]
        units = ["" if cell == "-" or LEAD.fullmatch(cell) else cell for cell in cells]
        at -= 1
    return at, list(zip(fitting[at], [*units, *[""] * width], strict=False))


def _are_units(row: Sequence[str]) -> bool:
    """Return whether a row holds units rather than names."""
    cells = [cell.strip().lower() for cell in row if cell]
    return bool(cells) and all(
        cell[0] in "([" or re.search("[:/%]|^[0-9]", cell) is not None
        or cell in SECONDS_PER or cell in _OTHER_UNITS or mv_per_unit(cell) is not None
        for cell in cells
    )  # fmt: skip


def clean_cells(cells: pd.Series) -> pd.Series:
    """Return cells without quotes, brackets and blanks, with a decimal point."""
    return cells.str.strip().str.strip("'\"[]").str.replace(",", ".", regex=False)
