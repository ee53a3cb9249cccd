"""What the times in a CSV file say: the sampling rate, and where samples are missing."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.csv_layout import (
    KNOWN_TIME_UNITS,
    PROBE_ROWS,
    Layout,
    clean_cells,
    find_resolution,
    find_seconds_per,
)
from cnns_spectrograms.ecg.recordings import MAX_DURATION_S, MAX_FS_HZ
from cnns_spectrograms.ecg.records import RecordError

logger = logging.getLogger(__name__)

CHUNK_ROWS = 200_000
"""Rows that are read at once."""

MIN_RATE_HZ = 20.0
"""Least rate that times may say, Hz: milliseconds taken for seconds say 10 Hz at most."""

MAX_UNNAMED_RATE_HZ = 10_000.0
"""Highest rate that times without a unit may say, Hz: minutes taken for seconds say more, from
170 Hz on."""

_MOST_UNCERTAIN = 0.005
_DAY_S = 86_400.0
_JITTERS = 6  # times the third quartile of the jitter that no step without a gap reaches
_LEAST_CHANGES = 20  # from which a median tells the usual step

_CLOCK = re.compile(
    r"(?:(?:(\d+) days?[.]? )?(\d+):)?(\d+):(\d+(?:\.\d+)?)(?: ([ap])m)?", re.IGNORECASE
)
_FRACTION = re.compile(r"(?<=:\d\d)(\.\d+)")
_HALF_OF_DAY = re.compile(r"\s*\b([ap])\.?\s?m\b\.?", re.IGNORECASE)
_TIME_FIRST = re.compile(r"^(\d+:[\d:.]+(?: [AP]M)?)\s+(\d+[/.-]\d+[/.-]\d+)$")
_COLON_BEFORE_MS = re.compile(r"(:\d\d:\d\d):(\d)")

_ASK = "give the sampling rate (--fs), which goes before the times"


@dataclass(frozen=True)
class Times:
    """What a column of times says.

    Attributes:
        fs: sampling rate, Hz.
        gap_rows: rows, from 0, before which samples are missing.
        n_missing: how many are missing before each of them.
    """

    fs: float
    gap_rows: NDArray[np.int64]
    n_missing: NDArray[np.int64]


@dataclass(frozen=True)
class _Form:
    """How times are written: `numbers` of `seconds_per` each, a `clock`, or a format of dates.

    `written_s` is what their last decimal says, s, and `rounded_s` the last that is no zero.
    """

    kind: str
    is_plain: bool
    seconds_per: float | None
    written_s: float
    rounded_s: float


def measure_times(layout: Layout, column: int) -> Times:
    """Return the rate between the gaps of a column of times, and the gaps.

    Times are rounded, and rows may share one, so the steps between the rows where the time changes
    are compared with the number of rows. The file is gone through by pieces. Of dates that can be
    read in two ways, 02/03/2024, the way is taken that leaves out fewer samples.

    Raises:
        RecordError: the times have an unknown unit or form, do not rise, are too coarse, or say a
            rate or a length that no ECG has.
    """
    name = f"{layout.path.name}: the times in column {layout.headers[column]!r}"
    found: list[Times] = []
    errors: list[RecordError] = []
    for form in _find_forms(layout, column):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                found.append(_measure(layout, column, name, form))
        except RecordError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    times = min(found, key=lambda each: int(each.n_missing.sum()))
    logger.info("%s say %g Hz", name, times.fs)
    if len(times.gap_rows):
        logger.info(
            "%s leave out %d samples (%.1f s) in %d places: they are taken for missing",
            name,
            times.n_missing.sum(),
            times.n_missing.sum() / times.fs,
            len(times.gap_rows),
        )
    return times


def _measure(layout: Layout, column: int, name: str, form: _Form) -> Times:
    meter: _Meter | None = None
    changes = _Changes.empty()
    n_rows = 0
    for piece, n_new in _read_changes(layout, column, form):
        n_rows += n_new
        changes = changes.join(piece)
        if meter is None and len(changes.rows) > _LEAST_CHANGES:
            meter = _Meter(changes, form)
        if meter is not None:
            changes = meter.take(changes, is_last=False)
    if len(changes.rows) < 3:
        raise RecordError(f"{name} do not rise at {n_rows:,} rows, or twice at most; {_ASK}")
    meter = meter or _Meter(changes, form)
    meter.take(changes, is_last=True)
    return _conclude(name, form, meter, n_rows)


def _find_forms(layout: Layout, column: int) -> list[_Form]:
    """Return the forms that the first times may have: one, or two of dates."""
    name, header = layout.path.name, layout.headers[column]
    cells = layout.probe[column].dropna()
    if not len(cells):
        raise RecordError(f"{name}: found no time in column {header!r}; {_ASK}")
    written = find_resolution(cells)
    rounded = find_resolution(cells, trailing_zeros=False)
    # By most of the cells, so that one that is none is named when it is read.
    numbers = pd.to_numeric(cells, errors="coerce").notna()
    if numbers.mean() > 0.5:
        try:
            seconds_per = find_seconds_per(layout, column)
        except ValueError as error:
            raise RecordError(
                f"{name}: found times in {str(error)!r}, in column {header!r}; expected "
                f"{KNOWN_TIME_UNITS}; correct the header, or {_ASK}"
            ) from error
        try:
            layout.read([column], dtype=np.float64, nrows=PROBE_ROWS)
            is_plain = True
        except ValueError:  # quotes
            is_plain = False
        factor = seconds_per or 1.0
        return [_Form("numbers", is_plain, seconds_per, written * factor, rounded * factor)]
    cells = _spell_alike(cells)
    if cells.str.fullmatch(_CLOCK).mean() > 0.5:
        return [_Form("clock", False, None, written, rounded)]
    formats = _guess_formats(cells, f"{layout.units[column]} {header}".lower())
    if not formats:
        raise RecordError(
            f"{name}: found what is no time in column {header!r} ({cells.iloc[0][:50]!r}); "
            f"expected numbers, h:mm:ss.mmm, or dates as 2024-01-31 10:11:12.004; write them so, "
            f"or {_ASK}"
        )
    return [_Form(each, False, None, written, rounded) for each in formats]


def _guess_formats(cells: pd.Series, hint: str) -> list[str]:
    """Return the formats in which pandas reads most of some dates, `_spell_alike`."""
    from pandas.tseries.api import guess_datetime_format

    dates = pd.Series(cells.str.replace(_FRACTION, "", regex=True).unique())
    guesses: list[str | None] = ["ISO8601"]
    with warnings.catch_warnings():  # of a day above 12
        warnings.simplefilter("ignore")
        if re.search(r"m[/.-]d", hint) is None:
            guesses.append(guess_datetime_format(dates[len(dates) // 2], dayfirst=True))
        if re.search(r"d[/.-]m", hint) is None and not re.search(r"\d\.\d", dates.iloc[0]):
            guesses.append(guess_datetime_format(dates[len(dates) // 2], dayfirst=False))
    read = [
        each
        for each in dict.fromkeys(guesses)
        if each
        and pd.to_datetime(dates, format=each, errors="coerce", utc=True).notna().mean() > 0.5
    ]
    return read[:1] if "ISO8601" in read else read


def _spell_alike(cells: pd.Series) -> pd.Series:
    """Return times as pandas reads them: date, time with a point before the milliseconds, AM."""
    if cells.str.contains("m", case=False).any():
        cells = cells.str.replace(_HALF_OF_DAY, lambda half: f" {half[1].upper()}M", regex=True)
    cells = cells.str.replace(_TIME_FIRST, r"\2 \1", regex=True)
    return cells.str.replace(_COLON_BEFORE_MS, r"\1.\2", regex=True)


def _read_times(layout: Layout, column: int, form: _Form) -> Iterator[NDArray[np.float64]]:
    """Yield the times, s, by pieces; NaN where a row has none."""
    last, days = 0.0, 0
    with layout.read(
        [column], dtype=np.float64 if form.is_plain else str, chunksize=CHUNK_ROWS
    ) as chunks:
        while True:
            try:
                times = _parse(next(chunks)[column], form)
            except StopIteration:
                return
            except pd.errors.ParserError:  # what is wrong is not the times
                raise
            except ValueError as error:
                raise RecordError(
                    f"{layout.path.name}: found what is no time in column "
                    f"{layout.headers[column]!r} ({' '.join(str(error).split())[:100]}); expected "
                    f"numbers, h:mm:ss or dates as 2024-01-31; correct it, or {_ASK}"
                ) from error
            times = np.where(np.isfinite(times), times, np.nan)
            if form.kind == "clock":  # past midnight
                known = np.flatnonzero(~np.isnan(times))
                if len(known):
                    falls = np.diff(times[known], prepend=last) < -_DAY_S / 2
                    last = times[known[-1]]
                    times[known] += _DAY_S * (days + np.cumsum(falls))
                    days += int(falls.sum())
            yield times


def _parse(cells: pd.Series, form: _Form) -> NDArray[np.float64]:
    if form.kind == "numbers":
        if cells.dtype != np.float64:
            cells = pd.to_numeric(clean_cells(cells))
        numbers = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.asarray(numbers * (form.seconds_per or 1.0))
    cells = _spell_alike(clean_cells(cells))
    if form.kind == "clock":
        parts = cells.str.extract(_CLOCK)
        unread = cells[parts[3].isna()].dropna()
        if len(unread):
            raise ValueError(f"{unread.iloc[0]!r} is no time")
        days, hours, minutes, seconds = (parts[i].astype(np.float64) for i in range(4))
        half = parts[4].str.lower()
        hours = hours.fillna(0.0).where(half.isna(), hours % 12 + 12.0 * (half == "p"))
        times = ((days.fillna(0.0) * 24 + hours) * 60 + minutes) * 60 + seconds
        return np.asarray(times.to_numpy(dtype=np.float64))
    # The dates of whole seconds are few, and rows differ in whether they have decimals.
    decimals = cells.str.extract(_FRACTION, expand=False).astype(np.float64).fillna(0.0)
    codes, dates = pd.factorize(cells.str.replace(_FRACTION, "", regex=True))
    read = pd.to_datetime(pd.Series(dates), format=form.kind, utc=True)
    since = ((read - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
    return np.asarray(np.append(since, np.nan)[codes] + decimals.to_numpy(np.float64))


@dataclass(frozen=True)
class _Changes:
    """The rows where the time is another than in the row before, and these times, s."""

    rows: NDArray[np.int64]
    times: NDArray[np.float64]

    @classmethod
    def empty(cls) -> _Changes:
        return cls(np.empty(0, np.int64), np.empty(0))

    def join(self, other: _Changes) -> _Changes:
        return _Changes(
            np.concatenate([self.rows, other.rows]), np.concatenate([self.times, other.times])
        )


def _read_changes(layout: Layout, column: int, form: _Form) -> Iterator[tuple[_Changes, int]]:
    """Yield the changes by pieces, and the rows of each piece."""
    n_rows = 0
    last = np.nan
    for times in _read_times(layout, column, form):
        known = np.flatnonzero(~np.isnan(times))
        before = np.concatenate([[last], times[known]])
        steps = np.diff(before)
        if (steps < 0).any():
            at = int(np.flatnonzero(steps < 0)[0])
            raise RecordError(
                f"{layout.path.name}: the times in column {layout.headers[column]!r} do not rise: "
                f"row {n_rows + known[at] + 1:,} below the header has {before[at + 1]:.10g} s "
                f"after {before[at]:.10g} s; correct it, or {_ASK}"
            )
        changed = known[steps != 0]
        last = before[-1]
        yield _Changes(n_rows + changed, times[changed]), len(times)
        n_rows += len(times)


class _Meter:
    """Tells gaps from steps, and adds up the steps between the gaps.

    Rows that share a time of a clock, such as its whole seconds, are told by their number: where
    there are fewer of them than usual, some are missing. Else a gap is a step longer than usual.
    """

    def __init__(self, changes: _Changes, form: _Form) -> None:
        """Judge the first changes by their median step."""
        counts, steps = np.diff(changes.rows), np.diff(changes.times)
        # Numbers as large as the seconds since 1970 have decimals that no float64 holds.
        spacing_s = float(4 * np.spacing(np.abs(changes.times[-1])))
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
        self.n_judged = 0  # of the steps that `take` returned
        self.n_stretches = 1
        self.n_rows = 0
        self.duration_s = 0.0
        self.gaps: list[NDArray[np.float64]] = []

    @property
    def rounding_s(self) -> float:
        """How much of the time of a change is rounding: one that rows share is known to a row."""
        return min(self.resolution_s, 1 / self.fs)

    def take(self, changes: _Changes, is_last: bool) -> _Changes:
        """Judge all steps whose next is known, and return the changes that later ones need."""
        rows, times = changes.rows, changes.times
        counts, steps = np.diff(rows), np.diff(times)
        judged = slice(self.n_judged, len(steps) if is_last else len(steps) - 1)
        if judged.stop <= judged.start:
            return changes
        is_gap = self._find_gaps(counts, steps)
        counted = ~is_gap
        begins = rows[1:].copy()
        if self.is_shared and self.n_judged == 0:
            counted[0] = False  # the first may be cut, and is none the less no gap
            is_gap[0] &= steps[0] > self.longest_s
        if self.is_clock:
            # Rows after a gap that begins in the time before end with their own time.
            after = np.flatnonzero(is_gap[1:] & is_gap[:-1]) + 1
            begins[after] = rows[after]
        self.n_rows += int(counts[judged][counted[judged]].sum())
        self.duration_s += float(steps[judged][counted[judged]].sum())
        found = np.flatnonzero(is_gap[judged]) + judged.start
        self.n_stretches += len(found)
        self.gaps.append(np.stack([begins[found], steps[found], counts[found]], axis=1))
        self.n_judged = min(judged.stop, 2)
        return _Changes(rows[judged.stop - self.n_judged :], times[judged.stop - self.n_judged :])

    def _find_gaps(self, counts: NDArray[np.int64], steps: NDArray[np.float64]) -> NDArray[np.bool]:
        excess = steps * self.fs - counts
        if self.is_clock:
            return np.asarray(excess > self.few)
        # A time that is only late is followed by a shorter step.
        lasting = excess + np.minimum(np.append(excess[1:], 0.0), 0.0)
        sizes = np.concatenate([[0], counts, [0]])
        largest = np.maximum(np.maximum(sizes[:-2], sizes[2:]), counts)
        return np.asarray(
            (steps > self.longest_s)
            & (steps - self.typical_s > self.rounding_s * (1 + 1e-6))
            & (lasting > 0.5 * largest)
        )


def _conclude(name: str, form: _Form, meter: _Meter, n_rows: int) -> Times:
    fs = meter.n_rows / meter.duration_s if meter.duration_s else meter.fs
    _check_rate(name, form, fs)
    if meter.jitter_s > meter.typical_s:
        raise RecordError(
            f"{name} rise irregularly, in steps that differ from {meter.typical_s:.4g} s by "
            f"{meter.jitter_s:.4g} s; expected samples at one rate, with gaps or without; {_ASK}"
        )
    spread = (meter.rounding_s + meter.jitter_s) * np.sqrt(meter.n_stretches)
    if not spread <= _MOST_UNCERTAIN * meter.duration_s:
        raise RecordError(
            f"{name} tell the sampling rate too roughly, as about {fs:.3g} Hz, at {n_rows:,} rows "
            f"with steps of {meter.resolution_s:g} s; expected it to within "
            f"{_MOST_UNCERTAIN:.1%}; write them with more decimals, or {_ASK}"
        )
    # No recorder's clock is truer than ten in a million.
    if abs(fs - round(fs)) <= fs * (spread / meter.duration_s + 1e-5):
        fs = float(round(fs))
    gaps = np.concatenate(meter.gaps)
    missing = np.maximum(np.rint(gaps[:, 1] * fs - gaps[:, 2]), 0.0)
    if n_rows + missing.sum() > fs * MAX_DURATION_S:
        worst = int(missing.argmax())
        raise RecordError(
            f"{name} say that the recording takes {(n_rows + missing.sum()) / fs / _DAY_S:,.1f} "
            f"days, {missing[worst] / fs / _DAY_S:,.1f} of them missing before row "
            f"{int(gaps[worst, 0]) + 1:,} below the header; expected at most "
            f"{MAX_DURATION_S / _DAY_S:g}; correct the clock there, or cut the recording"
        )
    kept = missing > 0
    return Times(fs, gaps[kept, 0].astype(np.int64), missing[kept].astype(np.int64))


def _check_rate(name: str, form: _Form, fs: float) -> None:
    """Refuse a rate that no ECG has: the times are in another unit."""
    is_unnamed = form.kind == "numbers" and form.seconds_per is None
    highest = MAX_UNNAMED_RATE_HZ if is_unnamed else MAX_FS_HZ
    if not MIN_RATE_HZ <= fs <= highest:
        what = ", taken for seconds as nothing names their unit," if is_unnamed else ""
        raise RecordError(
            f"{name}{what} say a sampling rate of {fs:.4g} Hz; expected {MIN_RATE_HZ:g} to "
            f"{highest:,.0f}; name their unit in the header, as in 'time (ms)', or {_ASK}"
        )
