"""CSV files opened as recordings: their leads, copied into a temporary file of numbers."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.recordings.csv_names import SECONDS_PER, Column, split_words
from cnns_spectrograms.recordings.csv_table import (
    TIME,
    Table,
    read_table,
)
from cnns_spectrograms.recordings.csv_times import MIN_RATE_HZ, Times, find_places, measure_times
from cnns_spectrograms.recordings.errors import RecordError, check
from cnns_spectrograms.recordings.leads import KNOWN_VOLTAGES, mv_per_unit
from cnns_spectrograms.recordings.recording import Recording, check_shape, insert_gaps
from cnns_spectrograms.recordings.signals import Signal, make_recording

logger = logging.getLogger(__name__)

_MOST_LEADS = 40  # unasked: a file of more has its beats or leads in rows
_LEAST_STEPS = 9  # from which a column that rises is told from an ECG

_TIME_NAMES = {
    *("time", "elapsed", "seconds", "timestamp", "sec", "t", "ms", "milliseconds"),
    *("tiempo", "temps", "zeit"),
}
_INDEX_NAMES = {
    *("sample", "samples", "index", "n", "no", "nr", "number", "row", "line", "unnamed"),
    *("seq", "sequence", "counter", "packet"),
}
_RISES = "its numbers rise steadily, as an index or times do"

_MOST_APART = 0.02  # of the rate by the times and the one in the header

# The unit of numbers without one is guessed from what they span within a piece. The leads of mitdb
# and svdb span 0.16 to 5.3 mV.
_PIECE_S = 2.0  # holds a beat even at 30 per minute
_MOST_PIECES = 2000
_FLAT_STEPS = 5  # of the converter, which the noise of an electrode that is off may span
_LEAST_MV, _MOST_MV = 0.02, 20.0


def open_csv(
    path: Path, fs: float | None = None, columns: Sequence[str] | None = None
) -> Recording:
    """Open a CSV file: one row per sample, one column per lead, with a header or without.

    What is not given is guessed from the file, and logged: the delimiter, the decimal mark, the
    rate from a column of times, the leads, and the unit where the header states none. Samples are
    missing where a cell is empty, ``nan`` or ``-``, and in gaps of the times. Holes in row numbers
    are only warned of.

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
    leads, time, left_out = _choose_columns(table, columns)
    times = _find_times(table, time, fs)
    table.check_width()
    if not len(times.gap_rows):
        _warn_of_holes(table, [each for each in table.columns if each not in [*leads, time]])
    numbers = _copy_numbers(table, leads)
    units = [_find_unit(each, numbers[:, i], times.fs) for i, each in enumerate(leads)]
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
        *(", ".join(recording.lead_names), table.dialect["decimal"], table.delimiter),
    )
    return replace(recording, assumed=assumed, left_out=left_out)


def _read(numbers: NDArray[np.float32], column: int, start: int, stop: int) -> NDArray[np.float32]:
    return numbers[start:stop, column]


def _choose_columns(
    table: Table, wanted: Sequence[str] | None
) -> tuple[list[Column], Column | None, dict[str, str]]:
    """Return the columns that are leads, that of the times, or None, and why others are no leads.

    Args:
        table: in the file.
        wanted: names or numbers, from 1, of the leads; None takes the columns that are nothing
            else.

    Raises:
        RecordError: a column is not there or in no voltage, or none is a lead.
    """
    time = _find_named_time(table.columns)
    chosen = [] if wanted is None else _find_wanted(table, wanted)
    others = [column for column in table.columns if column != time and column not in chosen]
    left_out = {column: why for column in others if (why := _judge_header(column))}
    n_leads = len(others) - len(left_out)
    check(
        wanted is not None or n_leads <= _MOST_LEADS,
        f"{n_leads} columns that may be leads",
        f"{_MOST_LEADS} at most, one row per sample and one column per lead",
        "if each row is a beat or a lead, rewrite the table, or name the columns that are leads "
        "(--columns)",
    )
    for column in others:
        is_named = re.search("[a-z]", column.name.lower()) is not None
        if is_named and (chosen or column in left_out):
            continue
        is_time, why = _judge_cells(table.read_first(column))
        if is_time and time is None and not is_named:
            time = column
            logger.info("%s: column %r is taken for times", table.path.name, column.label)
        if why:
            left_out[column] = why
    if wanted is not None:
        return chosen, time, {}
    chosen = [column for column in others if column not in left_out]
    reasons = ", ".join(f"{column.label!r} ({why})" for column, why in [*left_out.items()][:10])
    check(
        chosen,
        f"no column of a lead{'; left out are ' if reasons else ''}{reasons}",
        f"one in {KNOWN_VOLTAGES}",
        "correct the header, or name the column (--columns)",
    )
    if reasons:
        logger.info("%s: these columns are no leads: %s", table.path.name, reasons)
    return chosen, time, {column.label: why for column, why in left_out.items()}


def _find_wanted(table: Table, wanted: Sequence[str]) -> list[Column]:
    """Return the columns of some names, headers or numbers, from 1."""
    known: dict[str, Column] = {}
    for key in (lambda c: str(c.index + 1), lambda c: c.header, lambda c: c.name):
        known |= {key(column): column for column in reversed(table.columns)}  # the first remains
    missing = [each for each in wanted if each not in known]
    if missing or not wanted:
        raise RecordError(
            f"found no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(repr(column.name) for column in table.columns[:50])}"
        )
    chosen = [known[each] for each in wanted]
    for column in chosen:
        check(
            not column.unit or mv_per_unit(column.unit) is not None,
            f"column {column.name!r} in {column.unit!r}",
            KNOWN_VOLTAGES,
            "convert it to one of these, or delete the unit from the header to have it guessed",
        )
    return chosen


def _find_named_time(columns: Sequence[Column]) -> Column | None:
    """Return the first column that is called a time, else the first in a unit of time."""
    for column in columns:
        words = set(split_words(column.header))
        is_time = words & _TIME_NAMES or column.header.lower() in SECONDS_PER
        if is_time and "sample" not in words:
            return column
    return next((each for each in columns if each.unit.strip(" .").lower() in SECONDS_PER), None)


def _judge_header(column: Column) -> str:
    """Return why the header excludes that a column is a lead; empty if it does not."""
    if column.no_ecg:
        return column.no_ecg
    if column.unit:
        return "" if mv_per_unit(column.unit) else f"in {column.unit!r}, no voltage"
    words = split_words(column.name)
    if words and _INDEX_NAMES.issuperset(words):
        return "a row number by its name"
    return "" if re.search(r"\w", column.name) else "without a name"


def _judge_cells(cells: pd.Series) -> tuple[bool, str]:
    """Return whether filled cells are times, and why they are no ECG; empty if they may be one."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    if not len(cells):
        return False, "empty"
    if np.isnan(values).all():
        is_time = bool(cells.map(TIME.fullmatch).notna().all())
        return is_time, _RISES if is_time else "texts"
    if set(cells.unique()) == {"0", "1"}:
        return False, "it holds only 0 and 1, as a marker does"
    values = values[np.isfinite(values)]
    steps = np.diff(values)
    is_falling = bool((steps < 0).sum() > (steps > 0).sum())  # a counter may count down
    steps = -steps if is_falling else steps
    rises, falls = steps[steps > 0], steps[steps < 0]
    if len(steps) < _LEAST_STEPS or len(rises) < 3:
        return False, ""
    usual = np.median(rises)
    is_alike = np.abs(rises - usual) <= 1.01 * find_places(cells)[0] + 1e-6 * usual
    if not len(falls) and not is_falling:
        # Whole seconds rise at few rows; what rises at each of many need not be regular.
        if is_alike.mean() >= 0.9 or len(rises) == len(steps) >= 100:
            return bool(np.median(steps) != 1), _RISES
        return False, ""
    # A counter begins again at its least number: it falls by all that it has risen.
    height = np.ptp(values)
    is_reset = falls <= -max(0.9 * height, height - 2 * usual)
    if is_alike.mean() >= 0.95 and is_reset.all() and len(falls) <= len(rises) / 2:
        return False, "it counts and begins again, as a packet number does"
    return False, ""


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


def _warn_of_holes(table: Table, others: Sequence[Column]) -> None:
    """Warn where row numbers skip some; where they turn back, a counter begins again."""
    for column in others:
        first = pd.to_numeric(table.probe[column.index], errors="coerce").diff()
        usual = first.median()
        is_named = _INDEX_NAMES.issuperset(split_words(column.name))  # or has no name
        if not is_named or usual == 0 or (first == usual).mean() < 0.5:
            continue
        last, skipped = np.nan, np.empty(0)
        for chunk in table.read([column], low_memory=False):
            numbers = pd.to_numeric(chunk[column.index], errors="coerce").to_numpy(np.float64)
            steps = np.diff(numbers, prepend=last) / usual
            skipped = np.append(skipped, np.rint(steps[steps > 1.5]) - 1)
            last = numbers[-1]
        if len(skipped):
            logger.warning(
                "%s: the numbers in column %r skip in %d places, which leaves out %d samples; the "
                "rows are taken as consecutive",
                *(table.path.name, column.label, len(skipped), skipped.sum()),
            )


def _copy_numbers(table: Table, columns: list[Column]) -> NDArray[np.float32]:
    """Return numbers, `(n_rows, n_columns)`, mapped from a file that goes when nothing reads it."""
    n_rows = 0
    with tempfile.TemporaryFile() as file:
        for chunk in table.read(columns, dtype=np.float64):
            with np.errstate(over="ignore"):
                numbers = np.array(chunk[[each.index for each in columns]], dtype=np.float32)
            numbers[~np.isfinite(numbers)] = np.nan
            file.write(np.ascontiguousarray(numbers).tobytes())
            n_rows += len(numbers)
        file.flush()
        n_rows -= table.count_empty_end()
        return np.memmap(file, np.float32, "r", shape=(n_rows, len(columns)))


def _find_unit(column: Column, numbers: NDArray[np.float32], fs: float) -> tuple[str, str]:
    """Return the unit of a column, and why if the column names none."""
    if mv_per_unit(column.unit) is not None:
        return column.unit, ""
    span = _measure_span(numbers, fs)
    unit = "microvolts" if span > _MOST_MV else "volts" if 0 < span < _LEAST_MV else "millivolts"
    return unit, f"column {column.name!r} is taken for {unit} (it spans {span:.3g} in 2 s)"


def _measure_span(numbers: NDArray[np.float32], fs: float) -> float:
    """Return the median span of the pieces of 2 s that are neither flat nor empty; 0 without one.

    The span of the whole recording is a hundred times larger after a drift, or some seconds at the
    rail. It has the unit of the numbers.
    """
    length = max(2, min(round(_PIECE_S * fs), len(numbers)))
    n_pieces = min(len(numbers) // length, _MOST_PIECES)
    spans, steps = [], []
    for start in np.linspace(0, len(numbers) - length, n_pieces).astype(int):
        values = np.unique(numbers[start : start + length])
        values = values[np.isfinite(values)]
        if len(values) > 1:
            spans.append(values[-1] - values[0])
            steps.append(np.diff(values).min())
    if not spans:
        return 0.0
    is_live = np.array(spans) > _FLAT_STEPS * np.median(steps)
    return float(np.median(np.array(spans)[is_live | ~is_live.any()]))
