"""CSV files opened as recordings: read once into a temporary file of numbers, then by pieces."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.csv_layout import Layout, choose_columns, read_layout
from cnns_spectrograms.ecg.csv_times import CHUNK_ROWS, MIN_RATE_HZ, Times, measure_times
from cnns_spectrograms.ecg.recordings import Recording, check_shape, name_leads
from cnns_spectrograms.ecg.records import RecordError, mv_per_unit

logger = logging.getLogger(__name__)

_MOST_APART = 0.02  # of the rate by the times and the one in the header

# A range between two percentiles, in unit-less numbers, above which they are taken for uV: no ECG
# reaches so many millivolts.
_MOST_MV = 20.0


def open_csv(
    path: Path, fs: float | None = None, columns: Sequence[str] | None = None
) -> Recording:
    """Open a CSV file: one row a sample, one column a lead, with a header or without.

    What is not given is guessed from the file, and said in the log: the delimiter, the decimal
    mark, the rate from a column of times, the leads, and the unit where the header states none.
    Empty cells, those that say ``nan`` or ``-``, and what a gap in the times leaves out, are
    samples that are missing.

    Args:
        path: of the file.
        fs: sampling rate, Hz, which goes before the times: they are not read, nor are their gaps.
            None takes rate and gaps from the column of times.
        columns: names (or, without a header, numbers from 1) of the columns that are leads; None
            takes those that are no time and no row number, and in no other unit than a voltage.

    Raises:
        RecordError: the file is absent or no table of numbers, a column is not there or in no
            voltage, or the rate is neither given nor found.
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
    layout = read_layout(path)
    check_shape(path.name, MIN_RATE_HZ if fs is None else fs, 2, len(layout.names))
    chosen, time = choose_columns(layout, columns)
    times = _find_times(layout, time, fs)
    table, n_rows = _copy_numbers(layout, chosen)
    shifts = np.concatenate([[0], np.cumsum(times.n_missing)])
    n_samples = n_rows + int(shifts[-1])
    check_shape(path.name, times.fs, n_samples, len(chosen))
    factors = [
        _find_factor(path.name, layout.names[i], layout.units[i], table[:, column])
        for column, i in enumerate(chosen)
    ]
    leads = name_leads([layout.names[i] for i in chosen])
    logger.info(
        "%s: read as %d samples at %g Hz (%.1f s) of %s; decimal mark %r, delimiter %r",
        path.name,
        n_samples,
        times.fs,
        n_samples / times.fs,
        ", ".join(leads),
        layout.decimal,
        layout.delimiter,
    )
    bounds = np.concatenate([[0], times.gap_rows, [n_rows]])
    return Recording(
        name=path.stem,
        fs=times.fs,
        lead_names=leads,
        n_samples=n_samples,
        reference=None,
        read_lead=partial(_read, table, factors, bounds, shifts),
        path=path,
    )


def _find_times(layout: Layout, time: int | None, fs: float | None) -> Times:
    """Return what is given, else what the times say, else what the lines above the header do."""
    name, stated = layout.path.name, layout.fs
    if fs is not None:
        if time is not None:
            logger.info(
                "%s: the rate is given, so that the times in column %r, and gaps in them, are not "
                "heeded",
                name,
                layout.headers[time],
            )
        return Times(fs, np.empty(0, np.int64), np.empty(0, np.int64))
    if time is None and stated is None:
        raise RecordError(
            f"{name}: its columns {', '.join(map(repr, layout.names[:10]))} tell no time; "
            f"give the sampling rate (--fs)"
        )
    if time is not None:
        try:
            times = measure_times(layout, time)
        except RecordError as error:
            if stated is None:
                raise
            logger.info("%s; its header states the rate", error)
        else:
            if stated is not None and abs(times.fs - stated) > _MOST_APART * stated:
                raise RecordError(
                    f"{name}: found {times.fs:g} Hz by the times in column "
                    f"{layout.headers[time]!r}, and {stated:g} Hz in the lines above; give the "
                    f"right sampling rate (--fs)"
                )
            return times
    assert stated is not None
    logger.info("%s: its header states %g Hz", name, stated)
    return Times(stated, np.empty(0, np.int64), np.empty(0, np.int64))


def _read(
    table: NDArray[np.float32],
    factors: list[float],
    bounds: NDArray[np.int64],
    shifts: NDArray[np.int64],
    lead: int,
    start: int,
    stop: int,
) -> NDArray[np.floating]:
    """Return samples: rows `bounds[i]` to `bounds[i + 1]` lie `shifts[i]` samples later."""
    signal = np.full(stop - start, np.nan, np.float32)
    begins, ends = bounds[:-1] + shifts, bounds[1:] + shifts
    first, last = np.searchsorted(ends, start, "right"), np.searchsorted(begins, stop)
    for i in range(first, last):
        begin, end = max(start, begins[i]), min(stop, ends[i])
        signal[begin - start : end - start] = table[begin - shifts[i] : end - shifts[i], lead]
    return signal * np.float32(factors[lead])


def _copy_numbers(layout: Layout, chosen: Sequence[int]) -> tuple[NDArray[np.float32], int]:
    """Copy the columns into a temporary file, which goes when nothing reads it any more."""
    n_rows = 0
    with tempfile.TemporaryFile() as file:
        with layout.read(chosen, dtype=np.float64, chunksize=CHUNK_ROWS) as chunks:
            for chunk in chunks:
                with np.errstate(over="ignore"):
                    numbers = np.array(chunk[list(chosen)], dtype=np.float32)
                numbers[~np.isfinite(numbers)] = np.nan
                file.write(np.ascontiguousarray(numbers).tobytes())
                n_rows += len(numbers)
        file.flush()
        if n_rows < 2:
            raise RecordError(f"{layout.path.name}: found {n_rows} rows; expected one a sample")
        table = np.memmap(file, np.float32, "r", shape=(n_rows, len(chosen)))
    return table, n_rows


def _find_factor(name: str, column: str, unit: str, numbers: NDArray[np.float32]) -> float:
    """Return what makes a column millivolts."""
    stated = mv_per_unit(unit)
    if stated is not None:
        return stated
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
