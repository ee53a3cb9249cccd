"""The times in a CSV file: the sampling rate, and where samples are missing."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.recordings.csv_columns import find_places
from cnns_spectrograms.recordings.csv_table import (
    SECONDS_PER,
    Column,
    Table,
    clean_cells,
    split_words,
)
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.recording import MAX_DURATION_S, MAX_FS_HZ

logger = logging.getLogger(__name__)

CHUNK_ROWS = 200_000
"""Rows that are read at once."""

MIN_RATE_HZ = 20.0
"""Lowest rate that times may give: milliseconds taken for seconds give 10 Hz at most."""

MAX_UNNAMED_RATE_HZ = 10_000.0
"""Highest rate that times without a unit may give: minutes taken for seconds give more, from
170 Hz on."""

_MOST_UNCERTAIN = 0.005
_DAY_S = 86_400.0
_JITTERS = 6  # times the third quartile of the jitter that no step without a gap reaches
_LEAST_CHANGES = 20  # whose median is the usual step

_CLOCK = re.compile(
    r"(?:(?:(\d+) days?[.]? )?(\d+):)?(\d+):(\d+(?:\.\d+)?)(?: ([ap])m)?", re.IGNORECASE
)
_FRACTION = re.compile(r"(?:(?<=:\d\d)\.|(?<=:\d\d:\d\d):)(\d+)")
_HALF_OF_DAY = re.compile(r"\s*\b([ap])\.?\s?m\b\.?", re.IGNORECASE)
_TIME_FIRST = re.compile(r"^(\d+:[\d:.]+(?: [AP]M)?)\s+(\d+[/.-]\d+[/.-]\d+)$")

_ASK = "give the sampling rate (--fs), which replaces the times"


@dataclass(frozen=True)
class Times:
    """What a column of times states.

    Attributes:
        fs: sampling rate, Hz.
        gap_rows: rows, from 0, before which samples are missing.
        n_missing: how many are missing before each of them.
    """

    fs: float
    gap_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    n_missing: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True)
class _Form:
    """How times are written."""

    kind: str  # `numbers`, `clock`, or a format of dates
    written_s: float  # last decimal place
    rounded_s: float  # last decimal place that is not always zero
    seconds_per: float | None = 1.0  # unit of numbers; None where nothing names it


def measure_times(table: Table, column: Column) -> Times:
    """Return the rate between the gaps of a column of times, and the gaps.

    Times are rounded, and rows may share one, so the steps between the rows where the time changes
    are compared with the number of rows. The file is read in pieces. Of dates that can be read in
    two ways, 02/03/2024, the way that leaves out fewer samples is taken.

    Raises:
        RecordError: the times have an unknown unit or form, do not rise, are too coarse, or give a
            rate or a length that no ECG has.
    """
    name = f"the times in column {column.header!r}"
    found: list[Times] = []
    errors: list[RecordError] = []
    for form in _find_forms(table, column):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                found.append(_measure(table, column, name, form))
        except RecordError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    times = min(found, key=lambda each: int(each.n_missing.sum()))
    logger.info("%s: %s give %g Hz", table.path.name, name, times.fs)
    if n_missing := times.n_missing.sum():
        logger.info(
            "%s: %s leave out %d samples (%.1f s) in %d places",
            *(table.path.name, name, n_missing, n_missing / times.fs, len(times.gap_rows)),
        )
    return times


def _measure(table: Table, column: Column, name: str, form: _Form) -> Times:
    meter: _Meter | None = None
    changes = np.empty((0, 2))
    n_rows = 0
    for piece, n_new in _read_changes(table, column, name, form):
        n_rows += n_new
        changes = np.concatenate([changes, piece])
        if meter is None and len(changes) > _LEAST_CHANGES:
            meter = _Meter(changes, form)
        if meter is not None:
            changes = meter.take(changes, is_last=False)
    if len(changes) < 3:
        raise RecordError(f"{name} do not rise at {n_rows:,} rows, or twice at most; {_ASK}")
    meter = meter or _Meter(changes, form)
    meter.take(changes, is_last=True)
    return _conclude(name, form, meter, n_rows)


def _find_forms(table: Table, column: Column) -> list[_Form]:
    """Return the forms that the first times may have: one, or two of dates."""
    cells = table.probe[column.index].dropna()
    if not len(cells):
        raise RecordError(f"found no time in column {column.header!r}; {_ASK}")
    places = find_places(cells)
    # By most of the cells, so that one that is none is named when it is read.
    if pd.to_numeric(cells, errors="coerce").notna().mean() > 0.5:
        unit = _find_seconds_per(column)
        written, rounded = (place * (unit or 1.0) for place in places)
        return [_Form("numbers", written, rounded, unit)]
    texts = _spell_alike(cells.str.replace(_FRACTION, "", regex=True))
    if texts.str.fullmatch(_CLOCK).mean() > 0.5:
        return [_Form("clock", *places)]
    formats = _guess_formats(list(texts.unique()), f"{column.unit} {column.header}".lower())
    if not formats:
        raise RecordError(
            f"found no time in column {column.header!r} ({cells.iloc[0][:50]!r}); expected "
            f"numbers, h:mm:ss.mmm, or dates as 2024-01-31 10:11:12.004; rewrite them, or {_ASK}"
        )
    return [_Form(each, *places) for each in formats]


def _find_seconds_per(column: Column) -> float | None:
    """Return the unit of a column of times, s; None if its header states none."""
    known = [word for word in split_words(column.unit or column.header) if word in SECONDS_PER]
    if not column.unit:
        return SECONDS_PER[known[-1]] if known else None
    if len(set(known)) != 1 or re.search(r"\d", column.unit):  # `min:sec`, `1/360 s`
        raise RecordError(
            f"found times in {column.unit!r}, in column {column.header!r}; expected ns, "
            f"us, ms, s, min or h; correct the header, or {_ASK}"
        )
    return SECONDS_PER[known[0]]


def _guess_formats(dates: Sequence[str], hint: str) -> list[str]:
    """Return the formats in which pandas reads most of some dates of whole seconds."""
    from pandas.tseries.api import guess_datetime_format

    def reads(form: str | None) -> bool:
        read = pd.to_datetime(pd.Series(dates), format=form, errors="coerce", utc=True)
        return form is not None and bool(read.notna().mean() > 0.5)

    if reads("ISO8601"):
        return ["ISO8601"]
    if re.search(r"\d\.\d", dates[0]):  # no language has the month first there
        hint = "d.m"
    # pandas guesses no format from most hours with PM.
    example = re.sub(r"\d+(:\d\d:\d\d) [AP]M", r"01\1 AM", dates[len(dates) // 2])
    with warnings.catch_warnings():  # of a day above 12
        warnings.simplefilter("ignore")
        guesses = [
            guess_datetime_format(example, dayfirst=dayfirst)
            for dayfirst, other in ((True, "m[/.-]d"), (False, "d[/.-]m"))
            if not re.search(other, hint)
        ]
    return [guess for guess in dict.fromkeys(guesses) if guess and reads(guess)]


def _spell_alike(cells: pd.Series) -> pd.Series:
    """Return times of whole seconds as pandas reads them: date, time, AM or PM."""
    cells = cells.str.replace(_HALF_OF_DAY, lambda half: f" {half[1].upper()}M", regex=True)
    return cells.str.replace(_TIME_FIRST, r"\2 \1", regex=True)


def _read_changes(
    table: Table, column: Column, name: str, form: _Form
) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Yield the rows where the time changes, by pieces, and the number of rows of each piece.

    A change is a row, from 0, and the time there, s: `(n, 2)`. Rows without a time, or with that
    of the row before, are none.
    """
    last, days, n_rows = np.nan, 0, 0
    dtype = None if form.kind == "numbers" else str
    with table.read([column], dtype=dtype, chunksize=CHUNK_ROWS, low_memory=False) as chunks:
        for chunk in chunks:
            try:
                times = _parse(chunk[column.index], form)
            except ValueError as error:
                raise RecordError(
                    f"found no time in column {column.header!r} "
                    f"({' '.join(str(error).split())[:100]}); expected numbers, h:mm:ss or dates "
                    f"as 2024-01-31; correct it, or {_ASK}"
                ) from error
            known = np.flatnonzero(np.isfinite(times))
            now = times[known]
            if form.kind == "clock":  # past midnight
                falls = np.diff(now, prepend=last - _DAY_S * days) < -_DAY_S / 2
                now = now + _DAY_S * (days + np.cumsum(falls))
                days += int(falls.sum())
            before = np.append(last, now)
            steps = np.diff(before)
            if (steps < 0).any():
                at = int(np.argmax(steps < 0))
                raise RecordError(
                    f"{name} do not rise: row {n_rows + known[at] + 1:,} below the header has "
                    f"{now[at]:.10g} s after {before[at]:.10g} s; correct it, or {_ASK}"
                )
            changed = steps != 0
            yield np.stack([n_rows + known[changed], now[changed]], axis=1), len(times)
            last = before[-1]
            n_rows += len(times)


def _parse(cells: pd.Series, form: _Form) -> NDArray[np.float64]:
    """Return times, s; NaN where a row has none."""
    if form.kind == "numbers":
        if not pd.api.types.is_numeric_dtype(cells):  # quotes
            cells = pd.to_numeric(clean_cells(cells))
        numbers = cells.to_numpy(np.float64, na_value=np.nan)
        return np.asarray(numbers * (form.seconds_per or 1.0))
    # The times of whole seconds are few, and rows differ in whether they have decimals.
    cells = clean_cells(cells)
    decimals = ("0." + cells.str.extract(_FRACTION, expand=False)).astype(np.float64).fillna(0.0)
    codes, uniques = pd.factorize(cells.str.replace(_FRACTION, "", regex=True))
    texts = _spell_alike(pd.Series(uniques, dtype=str))
    if form.kind == "clock":
        whole = np.array([_read_clock(text) for text in texts])
    else:
        dates = pd.to_datetime(texts, format=form.kind, utc=True)
        since = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        whole = since.to_numpy(np.float64)
    return np.asarray(np.append(whole, np.nan)[codes] + decimals.to_numpy(np.float64))


def _read_clock(text: str) -> float:
    """Return the seconds in `3:59`, `23:03:59`, `11:03:59 PM` or `1 day. 23:03:59`."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups()[:4])
    if found[5]:
        hours = hours % 12 + 12 * (found[5].lower() == "p")
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class _Meter:
    """Finds the gaps among the steps of time, and adds up the steps between them.

    Rows that share a time of a clock, such as its whole seconds, are counted: where there are
    fewer of them than usual, some are missing. Else a gap is a step longer than usual.
    """

    def __init__(self, changes: NDArray[np.float64], form: _Form) -> None:
        """Judge the first changes by their median step."""
        counts, steps = np.diff(changes, axis=0).T
        # Numbers as large as the seconds since 1970 have decimals that no float64 holds.
        spacing_s = float(4 * np.spacing(np.abs(changes[-1, 1])))
        self.typical_s = float(np.median(steps))
        is_equal = np.abs(steps - self.typical_s) <= 0.5 * form.written_s + spacing_s
        self.is_shared = bool(np.median(counts) > 1)
        self.is_clock = self.is_shared and bool(is_equal.mean() > 0.75)
        # Steps that all are the same are not rounded, whatever zeros they end in.
        is_exact = is_equal.mean() > 0.95
        self.resolution_s = max(form.written_s if is_exact else form.rounded_s, spacing_s)
        self.few = max(2.0, 0.02 * float(np.median(counts)))
        deviation_s = float(np.quantile(np.abs(steps - self.typical_s), 0.75))
        self.jitter_s = max(0.0, deviation_s - self.resolution_s)
        self.longest_s = 1.5 * self.typical_s + _JITTERS * self.jitter_s
        usual = steps <= self.longest_s
        usual[0] &= not self.is_shared or len(usual) == 1
        self.fs = float(counts[usual].sum() / steps[usual].sum())
        for _ in range(5 if self.is_clock else 0):
            full = usual & (steps * self.fs - counts <= self.few)
            if full.any():
                self.fs = float(counts[full].sum() / steps[full].sum())
        # Of the time of a change: which row of those that share a time it belongs to is known.
        self.rounding_s = min(self.resolution_s, 1 / self.fs)
        self.n_judged = 0  # of the steps that `take` returned
        self.n_rows, self.duration_s = 0, 0.0  # between the gaps
        self.gaps: list[NDArray[np.float64]] = []  # (n, 3): row after the gap, step in s, rows

    def take(self, changes: NDArray[np.float64], is_last: bool) -> NDArray[np.float64]:
        """Judge all steps whose next is known, and return the changes that later ones need."""
        counts, steps = np.diff(changes, axis=0).T
        judged = slice(self.n_judged, len(steps) if is_last else len(steps) - 1)
        if judged.stop <= judged.start:
            return changes
        is_gap = self._find_gaps(counts, steps)
        counted = ~is_gap
        begins = changes[1:, 0].copy()
        if self.is_shared and self.n_judged == 0:
            counted[0] = False  # the first may be cut, and is none the less no gap
            is_gap[0] &= steps[0] > self.longest_s
        if self.is_clock:
            # Rows after a gap that begins in the time before end with their own time.
            after = np.flatnonzero(is_gap[1:] & is_gap[:-1]) + 1
            begins[after] = changes[after, 0]
        self.n_rows += int(counts[judged][counted[judged]].sum())
        self.duration_s += float(steps[judged][counted[judged]].sum())
        self.gaps.append(np.stack([begins, steps, counts], axis=1)[judged][is_gap[judged]])
        self.n_judged = min(judged.stop, 2)
        return changes[judged.stop - self.n_judged :]

    def _find_gaps(
        self, counts: NDArray[np.float64], steps: NDArray[np.float64]
    ) -> NDArray[np.bool]:
        excess = steps * self.fs - counts
        if self.is_clock:
            return np.asarray(excess > self.few)
        # A time that is only late is followed by a shorter step.
        lasting = excess + np.minimum(np.append(excess[1:], 0.0), 0.0)
        sizes = np.concatenate([[0], counts, [0]])
        largest = np.maximum(np.maximum(sizes[:-2], sizes[2:]), counts)
        is_long = steps - self.typical_s > self.rounding_s * (1 + 1e-6)
        return np.asarray((steps > self.longest_s) & is_long & (lasting > 0.5 * largest))


def _conclude(name: str, form: _Form, meter: _Meter, n_rows: int) -> Times:
    """Return rate and gaps, if an ECG may have them and the times are fine and regular enough."""
    fs = meter.n_rows / meter.duration_s if meter.duration_s else meter.fs
    highest = MAX_UNNAMED_RATE_HZ if form.seconds_per is None else MAX_FS_HZ
    if not MIN_RATE_HZ <= fs <= highest:
        guessed = ", taken for seconds as nothing names their unit," * (form.seconds_per is None)
        raise RecordError(
            f"{name}{guessed} give a sampling rate of {fs:.4g} Hz; expected {MIN_RATE_HZ:g} to "
            f"{highest:,.0f}; name their unit in the header, as in 'time (ms)', or {_ASK}"
        )
    if meter.jitter_s > meter.typical_s:
        raise RecordError(
            f"{name} rise irregularly, in steps of {meter.typical_s:.4g} ± {meter.jitter_s:.4g} s; "
            f"expected samples at one rate, with gaps or without; {_ASK}"
        )
    gaps = np.concatenate(meter.gaps)
    spread = (meter.rounding_s + meter.jitter_s) * np.sqrt(len(gaps) + 1)
    if not spread <= _MOST_UNCERTAIN * meter.duration_s:
        raise RecordError(
            f"{name} give the rate too roughly, as {fs:.3g} Hz, at {n_rows:,} rows with steps of "
            f"{meter.resolution_s:g} s; expected it within {_MOST_UNCERTAIN:.1%}; write them with "
            f"more decimals, or {_ASK}"
        )
    # No recorder's clock is truer than ten in a million.
    if abs(fs - round(fs)) <= fs * (spread / meter.duration_s + 1e-5):
        fs = float(round(fs))
    missing = np.maximum(np.rint(gaps[:, 1] * fs - gaps[:, 2]), 0.0)
    if n_rows + missing.sum() > fs * MAX_DURATION_S:
        worst = int(missing.argmax())
        raise RecordError(
            f"{name} last {(n_rows + missing.sum()) / fs / _DAY_S:,.1f} days, "
            f"{missing[worst] / fs / _DAY_S:,.1f} of them missing before row "
            f"{int(gaps[worst, 0]) + 1:,} below the header; expected at most "
            f"{MAX_DURATION_S / _DAY_S:g}; correct the clock there, or cut the recording"
        )
    kept = missing > 0
    return Times(fs, gaps[kept, 0].astype(np.int64), missing[kept].astype(np.int64))
