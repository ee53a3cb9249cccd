"""The times in a CSV file: the sampling rate, and where samples are missing."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.recordings.csv_names import SECONDS_PER, Column, split_words
from cnns_spectrograms.recordings.csv_table import (
    Table,
    clean_cells,
)
from cnns_spectrograms.recordings.errors import RecordError, check, naming
from cnns_spectrograms.recordings.recording import MAX_DURATION_S, MAX_FS_HZ

logger = logging.getLogger(__name__)

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

# Of a number, or of the seconds in a time, but not of the date `02.03.2024`.
_DECIMALS = r"(?::\d+|^[+-]?\d*)\.(\d+)(?![.\d])"

_ASK = "give the sampling rate (--fs), which replaces the times"
_EXPECTED = (
    "; expected numbers, h:mm:ss.mmm, or dates as 2024-01-31 10:11:12.004; rewrite them, or "
) + _ASK


class Times(NamedTuple):
    """What a column of times states.

    Attributes:
        fs: sampling rate, Hz.
        gap_rows: rows, from 0, before which samples are missing.
        n_missing: how many are missing before each of them.
    """

    fs: float
    gap_rows: NDArray[np.int64] = np.empty(0, np.int64)
    n_missing: NDArray[np.int64] = np.empty(0, np.int64)


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
    found: list[Times] = []
    errors: list[RecordError] = []
    with naming(f"column {column.header!r}"):
        for form in _find_forms(table, column):
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    found.append(_measure(table, column, form))
            except RecordError as error:
                errors.append(error)
        if not found:
            raise errors[0]
    times = min(found, key=lambda each: int(each.n_missing.sum()))
    n_missing = times.n_missing.sum()
    logger.info(
        "%s: the times in column %r give %g Hz, and leave out %d samples (%.1f s) in %d places",
        *(table.path.name, column.header, times.fs),
        *(n_missing, n_missing / times.fs, len(times.gap_rows)),
    )
    return times


def _find_forms(table: Table, column: Column) -> list[_Form]:
    """Return the forms that the first times may have: one, or two of dates."""
    cells = table.probe[column.index].dropna()
    if not len(cells):
        raise RecordError(f"found no time; {_ASK}")
    places = find_places(cells)

    def reads(kind: str) -> bool:
        # Most of the cells, so that one that is none is named when it is read.
        return bool(np.isfinite(_parse(cells, _Form(kind, *places))).mean() > 0.5)

    if reads("numbers"):
        unit = _find_seconds_per(column)
        written, rounded = (place * (unit or 1.0) for place in places)
        return [_Form("numbers", written, rounded, unit)]
    kinds = [kind for kind in ("clock", "ISO8601") if reads(kind)][:1]
    hint = f"{column.unit} {column.header}".lower()
    kinds = kinds or [kind for kind in _guess_formats(cells, hint) if reads(kind)]
    if not kinds:
        raise RecordError(f"found no time ({cells.iloc[0][:50]!r}){_EXPECTED}")
    return [_Form(kind, *places) for kind in kinds]


def find_places(cells: pd.Series) -> tuple[float, float]:
    """Return the last decimal place of numbers or times, as text, and the last that is not zero.

    They are 0.001 and 0.01 for `0.5` and `1.120`.
    """
    digits = cells.str.extract(_DECIMALS, expand=False).fillna("")
    exponents = cells.str.extract(r"[eE]([+-]?\d+)$", expand=False).fillna("0").astype(int)
    written, rounded = (
        int((each.str.len().to_numpy(dtype=int) - exponents.to_numpy(dtype=int)).max())
        for each in (digits, digits.str.rstrip("0"))
    )
    return 10.0 ** -min(max(written, -15), 15), 10.0 ** -min(max(rounded, -15), 15)


def _find_seconds_per(column: Column) -> float | None:
    """Return the unit of a column of times, s; None if its header states none."""
    known = [word for word in split_words(column.unit or column.header) if word in SECONDS_PER]
    check(  # `min:sec` and `1/360 s` are none
        not column.unit or (len(set(known)) == 1 and not re.search(r"\d", column.unit)),
        f"times in {column.unit!r}",
        "ns, us, ms, s, min or h",
        f"correct the header, or {_ASK}",
    )
    return SECONDS_PER[known[-1]] if known else None


def _guess_formats(cells: pd.Series, hint: str) -> list[str]:
    """Return the formats that dates may have, without decimals: one, or day and month first."""
    from pandas.tseries.api import guess_datetime_format

    dates = _spell_alike(cells.str.replace(_FRACTION, "", regex=True)).unique()
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
    return [guess for guess in dict.fromkeys(guesses) if guess]


def _spell_alike(cells: pd.Series) -> pd.Series:
    """Return times of whole seconds as pandas reads them: date, time, AM or PM."""
    cells = cells.str.replace(_HALF_OF_DAY, lambda half: f" {half[1].upper()}M", regex=True)
    return cells.str.replace(_TIME_FIRST, r"\2 \1", regex=True)


def _measure(table: Table, column: Column, form: _Form) -> Times:
    meter: _Meter | None = None
    for changes, n_rows in _read_changes(table, column, form):
        if meter is None and len(changes) < 5:  # two are there twice
            raise RecordError(f"the times do not rise, or only once, in {n_rows:,} rows; {_ASK}")
        meter = meter or _Meter(changes, form)
        meter.take(changes)
    assert meter is not None
    return meter.conclude(n_rows)


def _read_changes(
    table: Table, column: Column, form: _Form
) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Yield the rows where the time changes, by pieces, and the number of rows so far.

    A change is a row, from 0, and the time there, s: `(n, 2)`. Rows without a time, or with that
    of the row before, are none. Pieces overlap by three changes, and the first and the last change
    of all stand there twice: so each step of time lies once between two others of its piece.
    """
    changes = np.empty((0, 2))
    last, days, n_rows = np.nan, 0, 0
    dtype = None if form.kind == "numbers" else str
    for chunk in table.read([column], dtype=dtype, low_memory=False):
        cells = chunk[column.index]
        times = _parse(cells, form)
        missing = np.flatnonzero(np.isnan(times))
        if len(wrong := missing[cells.iloc[missing].notna()]):
            row = f"in row {n_rows + wrong[0] + 1:,} below the header"
            raise RecordError(f"found no time ({cells.iloc[wrong[0]]!r:.50} {row}){_EXPECTED}")
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
                f"the times do not rise: row {n_rows + known[at] + 1:,} below the header has "
                f"{now[at]:.10g} s after {before[at]:.10g} s; correct it, or {_ASK}"
            )
        changed = steps != 0
        new = np.stack([n_rows + known[changed], now[changed]], axis=1)
        changes = np.concatenate([changes if len(changes) else new[:1], new])
        last = before[-1]
        n_rows += len(times)
        if len(changes) > _LEAST_CHANGES + 1:
            yield changes, n_rows
            changes = changes[-3:]
    yield np.concatenate([changes, changes[-1:]]), n_rows


def _parse(cells: pd.Series, form: _Form) -> NDArray[np.float64]:
    """Return times, s; NaN where a cell holds none."""
    if form.kind == "numbers":
        if not pd.api.types.is_numeric_dtype(cells):  # quotes
            cells = pd.to_numeric(clean_cells(cells), errors="coerce")
        return np.asarray(cells.to_numpy(np.float64, na_value=np.nan) * (form.seconds_per or 1.0))
    # The times of whole seconds are few, and rows differ in whether they have decimals.
    cells = clean_cells(cells)
    decimals = ("0." + cells.str.extract(_FRACTION, expand=False)).astype(np.float64).fillna(0.0)
    codes, uniques = pd.factorize(cells.str.replace(_FRACTION, "", regex=True))
    texts = _spell_alike(pd.Series(uniques, dtype=str))
    if form.kind == "clock":
        whole = np.array([_read_clock(text) for text in texts])
    else:
        dates = pd.to_datetime(texts, format=form.kind, errors="coerce", utc=True)
        since = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        whole = since.to_numpy(np.float64)
    return np.asarray(np.append(whole, np.nan)[codes] + decimals.to_numpy(np.float64))


def _read_clock(text: str) -> float:
    """Return the seconds in `3:59`, `23:03:59`, `11:03:59 PM` or `1 day. 23:03:59`, else NaN."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return np.nan
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
        counts, steps = np.diff(changes[np.diff(changes[:, 1], prepend=-np.inf) > 0], axis=0).T
        # Numbers as large as the seconds since 1970 have decimals that no float64 holds.
        spacing_s = float(4 * np.spacing(np.abs(changes[-1, 1])))
        self.form = form
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
        self.n_rows, self.duration_s = 0, 0.0  # between the gaps
        self.gaps: list[NDArray[np.float64]] = []  # (n, 3): row after the gap, step in s, rows

    def take(self, changes: NDArray[np.float64]) -> None:
        """Judge all steps but the first and the last, which others have judged or will."""
        counts, steps = np.diff(changes, axis=0).T
        excess = steps * self.fs - counts
        if self.is_clock:
            is_gap = excess > self.few
        else:
            # A time that is only late is followed by a shorter step.
            lasting = excess + np.minimum(np.append(excess[1:], 0.0), 0.0)
            sizes = np.concatenate([[0], counts, [0]])
            largest = np.maximum(np.maximum(sizes[:-2], sizes[2:]), counts)
            is_long = steps - self.typical_s > self.rounding_s * (1 + 1e-6)
            is_gap = (steps > self.longest_s) & is_long & (lasting > 0.5 * largest)
        counted = ~is_gap
        if self.is_shared and not self.gaps:
            counted[1] = False  # the first may be cut, and is none the less no gap
            is_gap[1] &= steps[1] > self.longest_s
        begins = changes[1:, 0].copy()
        if self.is_clock:
            # Rows after a gap that begins in the time before end with their own time.
            after = np.flatnonzero(is_gap[1:] & is_gap[:-1]) + 1
            begins[after] = changes[after, 0]
        counted[[0, -1]] = is_gap[[0, -1]] = False
        self.n_rows += int(counts[counted].sum())
        self.duration_s += float(steps[counted].sum())
        self.gaps.append(np.stack([begins, steps, counts], axis=1)[is_gap])

    def conclude(self, n_rows: int) -> Times:
        """Return rate and gaps, if an ECG may have them and the times are fine and regular."""
        fs = self.n_rows / self.duration_s if self.duration_s else self.fs
        is_named = self.form.seconds_per is not None
        highest = MAX_FS_HZ if is_named else MAX_UNNAMED_RATE_HZ
        gaps = np.concatenate(self.gaps)
        spread = (self.rounding_s + self.jitter_s) * np.sqrt(len(gaps) + 1)
        fault = ""
        if not MIN_RATE_HZ <= fs <= highest:
            guessed = "" if is_named else ", taken for seconds as nothing names their unit,"
            fault = (
                f"the times{guessed} give a sampling rate of {fs:.4g} Hz; expected {MIN_RATE_HZ:g} "
                f"to {highest:,.0f}; name their unit in the header, as in 'time (ms)', or {_ASK}"
            )
        elif self.jitter_s > self.typical_s:
            fault = (
                f"the times rise irregularly, in steps of {self.typical_s:.4g} ± "
                f"{self.jitter_s:.4g} s; expected samples at one rate, with gaps or without; {_ASK}"
            )
        elif not spread <= _MOST_UNCERTAIN * self.duration_s:
            fault = (
                f"the times give the rate too roughly, as {fs:.3g} Hz, at {n_rows:,} rows with "
                f"steps of {self.resolution_s:g} s; expected it within {_MOST_UNCERTAIN:.1%}; "
                f"write them with more decimals, or {_ASK}"
            )
        if fault:
            raise RecordError(fault)
        # No recorder's clock is truer than ten in a million.
        if abs(fs - round(fs)) <= fs * (spread / self.duration_s + 1e-5):
            fs = float(round(fs))
        missing = np.maximum(np.rint(gaps[:, 1] * fs - gaps[:, 2]), 0.0)
        if n_rows + missing.sum() > fs * MAX_DURATION_S:
            worst = int(missing.argmax())
            raise RecordError(
                f"the times last {(n_rows + missing.sum()) / fs / _DAY_S:,.1f} days, "
                f"{missing[worst] / fs / _DAY_S:,.1f} of them missing before row "
                f"{int(gaps[worst, 0]) + 1:,} below the header; expected at most "
                f"{MAX_DURATION_S / _DAY_S:g}; correct the clock there, or cut the recording"
            )
        kept = missing > 0
        return Times(fs, gaps[kept, 0].astype(np.int64), missing[kept].astype(np.int64))
