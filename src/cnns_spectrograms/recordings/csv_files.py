"""CSV files opened as recordings: read once into a temporary file of numbers, then in pieces."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.recordings import csv_times
from cnns_spectrograms.recordings.csv_columns import choose_columns
from cnns_spectrograms.recordings.csv_table import Column, Table, read_table
from cnns_spectrograms.recordings.csv_times import MIN_RATE_HZ, Times, measure_times
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import mv_per_unit
from cnns_spectrograms.recordings.recording import Recording, check_shape, insert_gaps
from cnns_spectrograms.recordings.signals import Signal, make_recording

logger = logging.getLogger(__name__)

_MOST_APART = 0.02  # of the rate by the times and the one in the header

# A range between two percentiles, in numbers without a unit, above which they are taken for uV: no
# ECG reaches so many millivolts.
_MOST_MV = 20.0


def open_csv(
    path: Path, fs: float | None = None, columns: Sequence[str] | None = None
) -> Recording:
    """Open a CSV file: one row per sample, one column per lead, with a header or without.

    What is not given is guessed from the file, and logged: the delimiter, the decimal mark, the
    rate from a column of times, the leads, and the unit where the header states none. Samples are
    missing at empty cells, at those with ``nan`` or ``-``, and in gaps of the times.

    Args:
        path: of the file.
        fs: sampling rate, Hz, which replaces the times and their gaps. None takes rate and gaps
            from the column of times.
        columns: names (or, without a header, numbers from 1) of the columns that are leads; None
            takes those that are no time and no row number, and in no other unit than a voltage.

    Raises:
        RecordError: the file is absent or no table of numbers, a column is not there or in no
            voltage, or the rate is neither given nor found.
    """
    table = read_table(path)
    check_shape(MIN_RATE_HZ if fs is None else fs, 2, len(table.columns))
    leads, time = choose_columns(table, columns)
    times = _find_times(table, time, fs)
    numbers = _copy_numbers(table, leads)
    units = [_find_unit(each, numbers[:, i]) for i, each in enumerate(leads)]
    assumed = tuple(why for _, why in units if why)
    for each in assumed:
        logger.info("%s: %s", path.name, each)
    signals = [
        Signal(column.name, unit, times.fs, len(numbers), partial(_read, numbers, i))
        for i, (column, (unit, _)) in enumerate(zip(leads, units, strict=True))
    ]
    recording = insert_gaps(make_recording(path, signals), times.gap_rows, times.n_missing)
    logger.info(
        "%s: read as %d samples at %g Hz (%.1f s) of %s; decimal mark %r, delimiter %r",
        *(path.name, recording.n_samples, recording.fs, recording.duration_s),
        *(", ".join(recording.lead_names), table.decimal, table.delimiter),
    )
    return replace(recording, assumed=assumed)


def _read(numbers: NDArray[np.float32], column: int, start: int, stop: int) -> NDArray[np.float32]:
    return numbers[start:stop, column]


def _find_times(table: Table, time: Column | None, fs: float | None) -> Times:
    """Return the rate that is given, else times, else the rate in the lines above the header."""
    name = table.path.name
    if fs is not None:
        if time is not None:
            logger.info(
                "%s: the rate is given; the times in column %r, and gaps in them, are ignored",
                *(name, time.header),
            )
        return Times(fs)
    if time is not None:
        try:
            times = measure_times(table, time)
        except RecordError as error:
            if table.fs is None:
                raise
            logger.info("%s: %s", name, error)
        else:
            if table.fs is not None and abs(times.fs - table.fs) > _MOST_APART * table.fs:
                raise RecordError(
                    f"found {times.fs:g} Hz by the times in column {time.header!r}, and "
                    f"{table.fs:g} Hz in the lines above; give the right sampling rate (--fs)"
                )
            return times
    if table.fs is None:
        names = ", ".join(repr(column.name) for column in table.columns[:10])
        raise RecordError(f"found no column of times among {names}; give the sampling rate (--fs)")
    logger.info("%s: its header states %g Hz", name, table.fs)
    return Times(table.fs)


def _copy_numbers(table: Table, columns: list[Column]) -> NDArray[np.float32]:
    """Return numbers, `(n_rows, n_columns)`, mapped from a file that goes when nothing reads it."""
    n_rows = 0
    options = {"dtype": np.float64, "chunksize": csv_times.CHUNK_ROWS}
    with tempfile.TemporaryFile() as file:
        with table.read(columns, **options) as chunks:
            for chunk in chunks:
                with np.errstate(over="ignore"):
                    numbers = np.array(chunk[[each.index for each in columns]], dtype=np.float32)
                numbers[~np.isfinite(numbers)] = np.nan
                file.write(np.ascontiguousarray(numbers).tobytes())
                n_rows += len(numbers)
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(n_rows, len(columns)))


def _find_unit(column: Column, numbers: NDArray[np.float32]) -> tuple[str, str]:
    """Return the unit of a column, and why if the column names none."""
    if mv_per_unit(column.unit) is not None:
        return column.unit, ""
    some = np.asarray(numbers[:: max(1, len(numbers) // 100_000)])
    some = some[np.isfinite(some)]
    spread = float(np.subtract(*np.percentile(some, [99.5, 0.5]))) if some.size else 0.0
    unit = "microvolts" if spread > _MOST_MV else "millivolts"
    return unit, f"column {column.name!r} is taken for {unit} (range {spread:.4g})"
