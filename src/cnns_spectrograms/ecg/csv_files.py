"""CSV files opened as recordings: read once into a temporary file of numbers, then by pieces."""

from __future__ import annotations

import csv
import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.recordings import Recording, check_shape, name_leads
from cnns_spectrograms.ecg.records import MV_PER_UNIT, RecordError

logger = logging.getLogger(__name__)

_PROBE_BYTES = 1 << 16
_CHUNK_ROWS = 200_000
_CHUNK_BYTES = 1 << 20

# A range between two percentiles, in unit-less numbers, above which they are taken for uV: no ECG
# reaches so many millivolts.
_MOST_MV = 20.0

_TIME_NAMES = (
    *("time", "elapsed", "seconds", "timestamp", "sec", "t", "ms", "milliseconds"),
    *("tiempo", "temps", "zeit"),
)
_INDEX_NAMES = ("sample", "index", "", "n", "no", "row")
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3}


@dataclass(frozen=True)
class _Layout:
    """What the first lines of a file say."""

    delimiter: str
    decimal: str
    encoding: str
    n_header: int
    names: list[str]
    units: list[str]


def open_csv(
    path: Path, fs: float | None = None, columns: Sequence[str] | None = None
) -> Recording:
    """Open a CSV file: one row a sample, one column a lead, with a header or without.

    What is not given is guessed from the file, and said in the log: the delimiter, the decimal
    mark, the rate from a column of times, the leads, and the unit. Empty cells, and those that say
    ``nan`` or ``-``, are samples that are missing.

    Args:
        path: of the file.
        fs: sampling rate, Hz; None takes that of the column of times.
        columns: names (or, without a header, numbers from 1) of the columns that are leads; None
            takes those that are no time and no row number.

    Raises:
        RecordError: the file is absent or no table of numbers, a column is not there, or the rate
            is neither given nor found.
    """
    if not path.is_file():
        raise RecordError(f"found no file {path}; expected a CSV file; correct the path")
    try:
        return _open(path, fs, columns)
    except RecordError:
        raise
    except Exception as error:  # whatever pandas raises on what is no table
        raise RecordError(
            f"{path.name}: cannot be read as a table of numbers ({type(error).__name__}: "
            f"{str(error)[:200]}); expected one row a sample and one column a lead"
        ) from error


def _open(path: Path, fs: float | None, columns: Sequence[str] | None) -> Recording:
    _check_lines(path)
    layout = _read_layout(path)
    time = _find_time(layout)
    if fs is None:
        fs = _measure_rate(path, layout, time)
    check_shape(path.name, fs, 2, len(layout.names))
    chosen = _choose_columns(path, layout, columns)
    table, n_samples = _copy_numbers(path, layout, chosen)
    check_shape(path.name, fs, n_samples, len(chosen))
    factors = [
        _find_factor(path.name, layout.names[i], layout.units[i], table[:, column])
        for column, i in enumerate(chosen)
    ]
    leads = name_leads([layout.names[i] for i in chosen])
    logger.info(
        "%s: read as %d samples at %g Hz (%.1f s) of %s; decimal mark %r, delimiter %r",
        path.name,
        n_samples,
        fs,
        n_samples / fs,
        ", ".join(leads),
        layout.decimal,
        layout.delimiter,
    )
    return Recording(
        name=path.stem,
        fs=fs,
        lead_names=leads,
        n_samples=n_samples,
        reference=None,
        read_lead=partial(_read, table, factors),
        path=path,
    )


def _read(
    table: NDArray[np.float32], factors: list[float], lead: int, start: int, stop: int
) -> NDArray[np.floating]:
    return np.asarray(table[start:stop, lead]) * np.float32(factors[lead])


def _check_lines(path: Path) -> None:
    """Refuse a file with a line so long that reading it would fill the memory."""
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if b"\0" in chunk:
                raise RecordError(f"{path.name}: found bytes that are no text; expected a CSV file")
            if len(chunk) == _CHUNK_BYTES and b"\n" not in chunk and b"\r" not in chunk:
                raise RecordError(
                    f"{path.name}: found a line of more than {_CHUNK_BYTES:,} bytes; expected one "
                    f"row a sample"
                )


def _read_layout(path: Path) -> _Layout:
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
    lines = lines[:200]
    if not any(line.strip() for line in lines):
        raise RecordError(f"{path.name}: found no row; expected one a sample")
    last = next(line for line in reversed(lines) if line.strip())
    delimiter, decimal = _guess_marks(last)
    rows = [
        [cell.strip().strip("'\"") for cell in row]
        for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    ]
    n_header = next((i for i, row in enumerate(rows) if row and _is_data(row, decimal)), None)
    if n_header is None or n_header > 3:
        raise RecordError(
            f"{path.name}: found no row of numbers in its first lines; expected at most 3 lines of "
            f"header, then one row a sample"
        )
    n_columns = len(rows[n_header])
    header = [row for row in rows[:n_header] if len(row) == n_columns]
    names = header[0] if header else [str(i + 1) for i in range(n_columns)]
    units = header[1] if len(header) > 1 else [""] * n_columns
    for i, name in enumerate(names):
        match = re.fullmatch(r"(.*?)\s*[(\[]\s*([^()\[\]]*)\s*[)\]]", name)
        if match and not units[i]:
            names[i], units[i] = match[1], match[2]
    return _Layout(delimiter, decimal, encoding, n_header, names, units)


def _guess_marks(line: str) -> tuple[str, str]:
    """Return delimiter and decimal mark of a row of numbers."""
    for delimiter in (";", "\t"):
        if delimiter in line:
            return delimiter, "," if "," in line else "."
    if "," in line:
        return ",", "."
    return (" ", ".") if " " in line.strip() else (",", ".")


def _is_data(row: Sequence[str], decimal: str) -> bool:
    """Tell whether a row holds numbers, and nothing else but times, gaps and empty cells."""
    numbers = [_to_number(cell, decimal) for cell in row]
    others = [cell for cell, number in zip(row, numbers, strict=True) if number is None]
    return any(number is not None for number in numbers) and all(
        cell.lower() in ("", "nan", "-", "na") or re.fullmatch(r"[\d:. T/+Z-]+", cell) is not None
        for cell in others
    )


def _to_number(cell: str, decimal: str) -> float | None:
    try:
        return float(cell.replace(decimal, "."))
    except ValueError:
        return None


def _find_time(layout: _Layout) -> int | None:
    """Return the column of times, or None."""
    for i, name in enumerate(layout.names):
        words = re.split(r"[^a-z]+", name.lower())
        if any(word in _TIME_NAMES for word in words if word) and "sample" not in words:
            return i
    return None


def _measure_rate(path: Path, layout: _Layout, time: int | None) -> float:
    """Return the rate that the times of the first rows say, Hz."""
    if time is None:
        raise RecordError(
            f"{path.name}: its columns {', '.join(map(repr, layout.names[:10]))} tell no time; "
            f"give the sampling rate (--fs)"
        )
    rows = pd.read_csv(path, nrows=5000, **_read_options(layout, [time], dtype=str)).iloc[:, 0]
    cells = rows.str.strip().str.strip("'\"").str.replace(layout.decimal, ".", regex=False)
    seconds = pd.to_numeric(cells, errors="coerce")
    if seconds.notna().all():
        unit = layout.units[time].lower() or _unit_in(layout.names[time])
        times = seconds.to_numpy() * _SECONDS.get(unit, 1.0)
    elif cells.str.fullmatch(r"\d+:\d+(:\d+)?(\.\d+)?").all():
        parts = cells.str.split(":", expand=True).astype(float).to_numpy()
        times = parts @ 60.0 ** np.arange(parts.shape[1])[::-1]
    else:
        times = (
            pd.to_datetime(cells, format="ISO8601")
            .to_numpy()
            .astype("datetime64[ns]")
            .astype(np.int64)
            / 1e9
        )
    span = times[-1] - times[0]
    if len(times) < 2 or not (np.isfinite(span) and span > 0) or (np.diff(times) < 0).any():
        raise RecordError(
            f"{path.name}: the times in column {layout.names[time]!r} do not rise; give the "
            f"sampling rate (--fs)"
        )
    fs = (len(times) - 1) / span
    # Times are written with few decimals: 0.003 s for 360 Hz. The whole stretch tells the rate to
    # within one of their steps, and rates are mostly whole numbers.
    tolerance = fs * 1e-3 / span + 1e-6 * fs
    if abs(fs - round(fs)) <= tolerance and round(fs) > 0:
        fs = float(round(fs))
    logger.info("%s: %g Hz, from column %r", path.name, fs, layout.names[time])
    return float(fs)


def _unit_in(name: str) -> str:
    words = re.split(r"[^a-z]+", name.lower())
    return next((word for word in words if word in _SECONDS), "")


def _choose_columns(path: Path, layout: _Layout, columns: Sequence[str] | None) -> list[int]:
    if columns is not None:
        missing = [name for name in columns if name not in layout.names]
        if missing or not columns:
            raise RecordError(
                f"{path.name}: found no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(map(repr, layout.names[:50]))}"
            )
        return [layout.names.index(name) for name in columns]
    time = _find_time(layout)
    chosen = [
        i
        for i, name in enumerate(layout.names)
        if i != time and re.sub(r"[^a-z]", "", name.lower()) not in _INDEX_NAMES
    ]
    if not any(re.search("[a-z]", name.lower()) for name in layout.names):  # no header: numbers
        chosen = [i for i in range(len(layout.names)) if i != time]
    if not chosen:
        raise RecordError(
            f"{path.name}: found no column of a lead among {', '.join(map(repr, layout.names))}; "
            f"name them (--columns)"
        )
    return chosen


def _read_options(layout: _Layout, usecols: Sequence[int], **extra: Any) -> dict[str, Any]:
    return {
        "sep": r"\s+" if layout.delimiter == " " else layout.delimiter,
        "decimal": layout.decimal,
        "encoding": layout.encoding,
        "encoding_errors": "replace",
        "header": None,
        "skiprows": layout.n_header,
        "usecols": list(usecols),
        "names": list(range(len(layout.names))),
        "na_values": ["-"],
        "quotechar": '"',
        "skip_blank_lines": True,
        **extra,
    }


def _copy_numbers(
    path: Path, layout: _Layout, chosen: Sequence[int]
) -> tuple[NDArray[np.float32], int]:
    """Copy the columns into a temporary file, which goes when nothing reads it any more."""
    options = _read_options(layout, chosen, dtype=np.float64)
    n_rows = 0
    with tempfile.TemporaryFile() as file:
        with pd.read_csv(path, chunksize=_CHUNK_ROWS, **options) as chunks:
            for chunk in chunks:
                numbers = np.array(chunk[list(chosen)], dtype=np.float32)
                numbers[~np.isfinite(numbers)] = np.nan
                file.write(np.ascontiguousarray(numbers).tobytes())
                n_rows += len(numbers)
        file.flush()
        if n_rows < 2:
            raise RecordError(f"{path.name}: found {n_rows} rows; expected one a sample")
        table = np.memmap(file, np.float32, "r", shape=(n_rows, len(chosen)))
    return table, n_rows


def _find_factor(name: str, column: str, unit: str, numbers: NDArray[np.float32]) -> float:
    """Return what makes a column millivolts."""
    plain = unit.strip().replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    for known, factor in MV_PER_UNIT.items():
        if plain == known or (plain.lower() == known.lower() and known != "V"):
            return factor
    some = np.asarray(numbers[:: max(1, len(numbers) // 100_000)])
    some = some[np.isfinite(some)]
    spread = float(np.subtract(*np.percentile(some, [99.5, 0.5]))) if some.size else 0.0
    factor = 1e-3 if spread > _MOST_MV else 1.0
    logger.info(
        "%s: column %r is taken for %s (it spans %.4g)",
        name,
        column,
        "microvolts" if factor < 1 else "millivolts",
        spread,
    )
    return factor
