"""Windows of a recording: which samples the network sees, and their AAMI class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count, takewhile
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import BEAT_SYMBOLS
from cnns_spectrograms.ecg.gaps import follow_gap
from cnns_spectrograms.ecg.rhythm import (
    REFERENCE_S,
    RR_COLUMNS,
    measure_rr_intervals,
    place_reference,
)
from cnns_spectrograms.parameters import SpectrogramParameters, WindowParameters


def signal_key(record: str, lead_idx: int) -> str:
    """Return the name of a lead's signal: ``db/record_id``, and of a further lead ``....2``.

    The name of a WFDB record holds no dot, so that no other record has that name.

    Args:
        record: ``db/record_id``.
        lead_idx: which of the leads that are read, from 0.
    """
    return f"{record}.{lead_idx + 1}" if lead_idx else record


def record_keys(rows: pd.DataFrame) -> pd.Series[str]:
    """Return the ``db/record_id`` of each row of a table."""
    return rows["db"].astype(str) + "/" + rows["record_id"].astype(str)


def signal_keys(rows: pd.DataFrame) -> pd.Series[str]:
    """Return the `signal_key` of each row of a table with db, record_id and lead_idx."""
    records = record_keys(rows)
    further = rows["lead_idx"] > 0
    return records.mask(further, records + "." + (rows["lead_idx"] + 1).astype(str))


def repeat_for_leads(windows: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Return windows of the first leads, then the same of the second leads, and so on.

    Args:
        windows: the `windows` table without ``split`` and ``path``, of the first leads.
        records: the `records` table; ``n_leads`` is how many leads of a record were read.
    """
    read = records.set_index(record_keys(records))["n_leads"]
    n_leads = record_keys(windows).map(read)
    parts = [windows]
    for lead_idx in range(1, int(n_leads.max()) if len(windows) else 1):
        more = windows[n_leads > lead_idx]
        row_ids = [
            signal_key(record, lead_idx) + row_id.removeprefix(record)
            for record, row_id in zip(more["record_id"], more["row_id"], strict=True)
        ]
        parts.append(more.assign(lead_idx=lead_idx, row_id=row_ids))
    return pd.concat(parts, ignore_index=True)


def make_beat_windows(
    beats: pd.DataFrame, records: pd.DataFrame, params: WindowParameters
) -> pd.DataFrame:
    """Return one window per beat, its R peak at index ``n_samples // 2`` of the window.

    Args:
        beats: the `beats` table; ``sample`` counts from the start of the record, at ``fs``. An
            annotation that is no beat has the RR intervals of the beat nearest to it.
        records: the `records` table; only rows with status ``ok`` are used.
        params: ``window_s`` gives the length, ``round(window_s * fs)`` samples.

    Returns:
        The `windows` table without ``split`` and ``path``, in the order of `beats`. ``start``
        is negative, or ``start + n_samples`` past the end, where the window reaches over an
        edge of the record; `cut_windows` reflects the signal there.
    """
    usable = records[records["status"] == "ok"]
    fs = float(usable["fs"].iloc[0])
    n_samples = round(params.window_s * fs)
    of_record = usable.set_index(record_keys(usable))
    keys = record_keys(beats)
    lengths = keys.map(of_record["n_samples"])
    assert lengths.notna().all(), f"records does not hold {set(keys[lengths.isna()])} as 'ok'"
    assert (beats["sample"] < lengths).all(), "a beat lies after the end of its record"
    sample = beats["sample"].to_numpy(np.int64)
    stretch = beats["stretch"].to_numpy()
    is_beat = beats["symbol"].isin(BEAT_SYMBOLS).to_numpy()
    rr_s = np.full((len(beats), len(RR_COLUMNS)), np.nan)
    for found in beats.groupby(["db", "record_id"], sort=False).indices.values():
        rows = np.asarray(found)
        rows = rows[np.argsort(sample[rows], kind="stable")]
        of_beats = rows[is_beat[rows]]
        peaks = sample[of_beats]
        if len(peaks):
            intervals = measure_rr_intervals(peaks, fs, follow_gap(stretch[of_beats]))
            nearest = np.searchsorted((peaks[1:] + peaks[:-1]) / 2, sample[rows])
            nearest[is_beat[rows]] = np.arange(len(peaks))  # beats may share a sample
            rr_s[rows] = intervals.to_numpy()[nearest]
    return tabulate_windows(
        beats.assign(patient_id=keys.map(of_record["patient_id"])),
        row_id=[
            f"{name}_{i:06d}" for name, i in zip(beats["record_id"], beats["beat_idx"], strict=True)
        ],
        start=sample - n_samples // 2,
        n_samples=n_samples,
        rr_s=rr_s,
    )


def make_sliding_windows(
    beats: pd.DataFrame, records: pd.DataFrame, params: WindowParameters
) -> pd.DataFrame:
    """Return windows every ``step_s`` that lie wholly inside their record, labelled from beats.

    A beat is in a window if its R peak is. A window without a beat is left out. The rules:

    - ``nearest``: class of the beat nearest the centre; of two as near, the earlier;
    - ``majority``: the most frequent class; of tied classes, that of the beat nearest the centre;
    - ``any_abnormal``: class of the beat nearest the centre that is not N; N if all are N.

    Args:
        beats: the `beats` table.
        records: the `records` table; only rows with status ``ok`` are used.
        params: window length and step in s, and the label rule.

    Returns:
        The `windows` table without ``split`` and ``path``, by record, then in time order.
        ``sample`` is the centre ``start + n_samples // 2``; ``beat_idx`` is -1.
    """
    usable = records[records["status"] == "ok"]
    fs = float(usable["fs"].iloc[0])
    step, n_samples = max(1, round(params.step_s * fs)), round(params.window_s * fs)
    beats_of = dict(iter(beats.groupby(["db", "record_id"], sort=False)))
    found = []  # of each window: the position of its record, its start and its class
    for i, record in enumerate(usable.to_dict("records")):
        mine = beats_of.get((record["db"], record["record_id"]), beats[:0])
        mine = mine.sort_values("sample", kind="stable")
        peaks, classes = mine["sample"].to_numpy(), mine["aami_class"].tolist()
        starts = np.arange(0, record["n_samples"] - n_samples + 1, step)
        inside = np.searchsorted(peaks, [starts, starts + n_samples]).T
        for start, (first, last) in zip(starts.tolist(), inside.tolist(), strict=True):
            distance = np.abs(peaks[first:last] - (start + n_samples // 2))
            nearest_first = (first + np.argsort(distance, kind="stable")).tolist()
            if nearest_first:
                label = _choose_class([classes[k] for k in nearest_first], params.label_rule)
                found.append((i, start, label))
    rows = usable.iloc[[i for i, _, _ in found]].reset_index(drop=True)
    start = np.array([start for _, start, _ in found], dtype=np.int64)
    rows = rows.assign(
        beat_idx=np.int64(-1),
        sample=start + n_samples // 2,
        aami_class=[label for _, _, label in found],
    )
    return tabulate_windows(
        rows,
        row_id=[f"{name}_s{at:07d}" for name, at in zip(rows["record_id"], start, strict=True)],
        start=start,
        n_samples=n_samples,
    )


def _choose_class(classes: list[str], rule: str) -> str:
    """Return the class of a window by those of its beats, the nearest to its centre first."""
    if rule == "any_abnormal":
        return next((each for each in classes if each != "N"), "N")
    if rule == "majority":
        return max(classes, key=classes.count)  # of several as frequent, the first
    return classes[0]


def reflect(signal: NDArray[np.floating], first: int, stop: int) -> NDArray[np.floating]:
    """Return a stretch of a signal, which is reflected beyond its ends.

    The reflection does not repeat the edge sample: ``x[-i]`` is ``x[i]``, as in
    ``numpy.pad(mode="reflect")``, and goes on back and forth however far.

    Returns:
        Samples `first` to `stop` of the signal, (stop - first,): a view, where these lie within it.
    """
    n = len(signal)
    if first >= 0 and stop <= n:
        return signal[first:stop]
    period = max(2 * (n - 1), 1)  # there and back, each edge sample once
    index = np.arange(first, stop) % period
    return signal[np.minimum(index, period - index)]


def cut_windows(
    signal: NDArray[np.floating], starts: ArrayLike, n_samples: int
) -> NDArray[np.float32]:
    """Cut windows out of a signal, reflected at its edges as in `reflect`.

    Args:
        signal: shape (n,), any unit; may be a read-only memory map.
        starts: shape (n_windows,), integers, index of each window's first sample; may be
            negative or reach past the end.
        n_samples: length of a window, samples.

    Returns:
        float32 array of shape (n_windows, n_samples), a copy.
    """
    firsts = np.asarray(starts)
    if firsts.size == 0:
        return np.empty((0, n_samples), dtype=np.float32)
    assert signal.ndim == firsts.ndim == 1, (signal.shape, firsts.shape)
    assert np.issubdtype(firsts.dtype, np.integer), firsts.dtype
    assert n_samples > 0, n_samples
    inside = (firsts >= 0) & (firsts <= len(signal) - n_samples)
    windows = np.empty((len(firsts), n_samples), dtype=np.float32)
    if inside.any():
        views = np.lib.stride_tricks.sliding_window_view(signal, n_samples)
        windows[inside] = views[firsts[inside]]
    # One by one: a piece that holds all of them may be as long as the recording.
    for i in np.flatnonzero(~inside):
        windows[i] = reflect(signal, int(firsts[i]), int(firsts[i]) + n_samples)
    return windows


TYPICAL_STEP_S = 300.0
"""Stretch of a recording whose beats share one typical beat, s, where it is longer than a record
of training."""


def make_typical_beats(
    signal: NDArray[np.floating],
    samples: ArrayLike,
    fs: float,
    n_samples: int,
    after_gap: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return the typical beats of a record: medians, sample by sample, of windows of its beats.

    They are of the beats that `select_typical` takes, most of which are normal: a median passes
    over the others. There is one for each stretch of `place_typical_beats`.

    Args:
        signal: the whole record, (n,), mV.
        samples: R peaks, ascending, (n_beats,).
        fs: sampling rate, Hz.
        n_samples: length of the window, samples, its R peak at index ``n_samples // 2``.
        after_gap: see `select_typical`.

    Returns:
        float32 (n_steps * n_samples,), mV, one after another; see `find_typical_beat`. Zeros where
        there is no beat.
    """
    peaks = np.asarray(samples, dtype=np.int64)
    begin, end = place_typical_beats(len(signal), fs)
    typical = np.zeros((len(begin), n_samples), dtype=np.float32)
    for row, (first, stop) in enumerate(zip(begin, end, strict=True)):
        inside = (peaks >= first) & (peaks < stop)
        chosen = select_typical(peaks[inside], None if after_gap is None else after_gap[inside])
        if len(chosen):
            windows = cut_windows(signal, chosen - n_samples // 2, n_samples)
            typical[row] = np.median(windows, axis=0)
    return typical.ravel()


def place_typical_beats(
    n_samples: int, fs: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return begin and end of the stretches whose beats make the typical beats of a record.

    A record no longer than `rhythm.REFERENCE_S` is one stretch. A longer one has a stretch for each
    `TYPICAL_STEP_S` of it, the `REFERENCE_S` around; `find_typical_beat` tells whose a beat is.

    Args:
        n_samples: length of the record, samples.
        fs: sampling rate, Hz.

    Returns:
        Samples, (n_steps,) each.
    """
    step = round(TYPICAL_STEP_S * fs)
    steps = np.arange(0, n_samples, step) if n_samples > REFERENCE_S * fs else np.zeros(1)
    return place_reference(steps + step / 2, 0, n_samples, REFERENCE_S * fs)


def plan_typical_beats(
    beats: pd.DataFrame,
    signals: Mapping[str, NDArray[np.float32]],
    fs: float,
    spectrogram: SpectrogramParameters,
) -> dict[str, Callable[[], NDArray[np.float32]]]:
    """Return what makes the typical beats of each signal, by its name; none if no view shows them.

    A signal is opened when its turn comes, so that of many records one file is open at a time.

    Args:
        beats: the `beats` table; annotations that are no beats do not count.
        signals: by `signal_key`, mV.
        fs: sampling rate, Hz.
        spectrogram: determines which stretch is needed.
    """
    n_samples = spectrogram.typical_beat_length(fs)
    if not n_samples:
        return {}

    def make(key: str, rows: pd.DataFrame) -> NDArray[np.float32]:
        after_gap = follow_gap(rows["stretch"])
        return make_typical_beats(signals[key], rows["sample"], fs, n_samples, after_gap)

    makers: dict[str, Callable[[], NDArray[np.float32]]] = {}
    for record, rows in beats.groupby(record_keys(beats), sort=False):
        rows = rows[rows["symbol"].isin(BEAT_SYMBOLS)]
        keys = (signal_key(str(record), lead_idx) for lead_idx in count())
        makers |= {key: partial(make, key, rows) for key in takewhile(signals.__contains__, keys)}
    return makers


def find_typical_beat(samples: ArrayLike, fs: float, n_steps: int) -> NDArray[np.int64]:
    """Return which of a record's `n_steps` typical beats belongs to each beat, (n_beats,)."""
    step = np.asarray(samples, dtype=np.int64) // round(TYPICAL_STEP_S * fs)
    return np.clip(step, 0, n_steps - 1)


def select_typical(
    samples: ArrayLike, after_gap: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Return the quarter of a record's beats that the longest RR intervals precede.

    A premature beat is not among them, even where premature beats are the rule; nor is one after a
    gap, whose interval is not known. All beats where fewer than seven intervals are known.

    Args:
        samples: R peaks, ascending, (n_beats,).
        after_gap: whether signal is missing between a beat and the one before it, (n_beats,); None
            for an unbroken record.

    Returns:
        int64 (n,), R peaks, ascending; more than a quarter where intervals are equal.
    """
    peaks = np.asarray(samples, dtype=np.int64)
    before, following = np.diff(peaks), peaks[1:]
    if after_gap is not None:
        before, following = before[~after_gap[1:]], following[~after_gap[1:]]
    if len(before) < 7:
        return peaks
    return following[before >= np.quantile(before, 0.75)]


class WindowPlan(NamedTuple):
    """Which samples the windows of one record's rows hold: P stretches each, one after another.

    Attributes:
        lengths: int64 (P,), of the stretches, samples.
        signal: float32 (n_samples,), mV; beyond its ends it is reflected (`reflect`).
        starts: int64 (n, P), first sample of each stretch.
        typical: float32, mV, see `make_typical_beats`; empty where nothing is subtracted.
        taken_off: int64 (n, P), first sample of `typical` that is subtracted; -1: nothing is.
    """

    lengths: NDArray[np.int64]
    signal: NDArray[np.float32]
    starts: NDArray[np.int64]
    typical: NDArray[np.float32]
    taken_off: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WindowReader:
    """Cuts the windows of a table's rows from signals; can be sent to worker processes.

    Args:
        signals: by `signal_key`, `(n_samples,)` float32, mV; of synthetic rows the windows
            themselves, one after another.
        spectrogram: its ``extra_views`` are read around each beat too.
        fs: sampling rate, Hz, needed for these.
        typical_beats: by `signal_key`, float32, mV, see `make_typical_beats`; needed where a
            view shows the difference from the typical beat.
    """

    signals: Mapping[str, NDArray[np.float32]]
    spectrogram: SpectrogramParameters = field(default_factory=SpectrogramParameters)
    fs: float = 0
    typical_beats: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __call__(self, rows: pd.DataFrame) -> NDArray[np.float32]:
        """Return the windows of one lead's rows, `(n, width)` float32, mV.

        The window itself, `n_samples` long, comes first; the stretches of the further views
        follow, each with the R peak in its middle (`SpectrogramParameters.view_lengths`).
        """
        plan, stretches = self.plan(rows), []
        for n, starts, taken_off in zip(plan.lengths, plan.starts.T, plan.taken_off.T, strict=True):
            stretches.append(cut_windows(plan.signal, starts, n))
            if taken_off[0] >= 0:
                stretches[-1] -= cut_windows(plan.typical, taken_off, n)
        return np.concatenate(stretches, axis=1) if len(stretches) > 1 else stretches[0]

    def plan(self, rows: pd.DataFrame) -> WindowPlan:
        """Return which samples the windows of one lead's rows hold.

        Raises:
            ValueError: the record is shorter than a stretch that is read.
        """
        first = rows.iloc[0]
        key, n_samples = signal_keys(rows.iloc[:1]).iloc[0], int(first["n_samples"])
        assert key in self.signals, f"there is no signal of record {key}"
        signal = self.signals[key]
        parts = self.spectrogram.view_lengths(self.fs, n_samples)
        lengths = np.array([n for _, n in parts])
        starts = rows["start"].to_numpy(np.int64)
        typical, taken_off = np.empty(0, np.float32), np.full((len(rows), len(parts)), -1)
        if first["synthetic"]:  # made whole
            assert not (starts % lengths.sum()).any(), f"{key} was made for other views"
            begins = np.cumsum([0, *lengths[:-1]])
            return WindowPlan(lengths, signal, starts[:, None] + begins, typical, taken_off)
        if len(signal) < lengths.max():
            raise ValueError(
                f"record {key} has {len(signal)} samples, and a stretch of {lengths.max()} around "
                f"its beats is read; choose shorter windows or views, or leave the record out"
            )
        centres = starts + n_samples // 2
        if length := self.spectrogram.typical_beat_length(self.fs):
            typical = self.typical_beats[key]
            of_row = find_typical_beat(centres, self.fs, len(typical) // length)
            middles = of_row * length + length // 2
            differs = [of == "difference" for of, _ in parts]
            taken_off = np.where(differs, middles[:, None] - lengths // 2, -1)
        return WindowPlan(lengths, signal, centres[:, None] - lengths // 2, typical, taken_off)


def tabulate_windows(
    rows: pd.DataFrame,
    *,
    row_id: ArrayLike,
    start: ArrayLike,
    n_samples: int,
    rr_s: NDArray[np.floating] | float = np.nan,
    synthetic: bool = False,
) -> pd.DataFrame:
    """Return a `windows` table of first leads without ``split`` and ``path``.

    Args:
        rows: n rows with db, record_id, patient_id, beat_idx, sample and aami_class.
        row_id: (n,), name of each window.
        start: (n,), first sample of each.
        n_samples: length of every window.
        rr_s: (n, 4), s, in the order of ``RR_COLUMNS``; NaN for windows of no beat.
        synthetic: whether the windows are.
    """
    table = rows[["db", "record_id", "patient_id", "beat_idx", "sample"]].reset_index(drop=True)
    table.attrs = {}  # the stamp of the rows
    table.insert(0, "row_id", np.asarray(row_id))
    table["lead_idx"] = 0
    table["start"] = np.asarray(start)
    table["n_samples"] = n_samples
    table["aami_class"] = rows["aami_class"].to_numpy()
    table["synthetic"] = synthetic
    table[list(RR_COLUMNS)] = np.broadcast_to(rr_s, (len(table), len(RR_COLUMNS)))
    types = dict.fromkeys(("row_id", "db", "record_id", "patient_id", "aami_class"), str)
    return table.astype({**types, "beat_idx": np.int64, "sample": np.int64})
