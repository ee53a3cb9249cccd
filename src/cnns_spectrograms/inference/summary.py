"""What classified beats amount to: counts, burden, rates, runs and signal quality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.quality import LEAST_QUALITY, STRETCH_S

_N_RATE = 8  # intervals in the mean that the lowest and highest heart rate are of


def find_runs(beats: pd.DataFrame) -> pd.DataFrame:
    """Return the stretches of beats of one class, one after another.

    Args:
        beats: columns time_s, rr_s and aami_class, in time order. Where rr_s is NaN, what lies
            between a beat and the one before it is not known, and a stretch begins.

    Returns:
        One row a run: aami_class, first and last (positions of its beats), n_beats, start_s,
        duration_s (first to last beat) and rate_bpm (NaN for one beat).
    """
    classes = beats["aami_class"].to_numpy(dtype=object)
    time_s = beats["time_s"].to_numpy(dtype=np.float64)
    unknown = beats["rr_s"].isna().to_numpy()
    changes = np.flatnonzero((classes[1:] != classes[:-1]) | unknown[1:]) + 1
    first = np.concatenate([[0], changes]).astype(np.int64)[: len(classes)]
    last = np.concatenate([changes, [len(classes)]]).astype(np.int64)[: len(first)] - 1
    duration_s = time_s[last] - time_s[first]
    n_beats = last - first + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(duration_s > 0, 60 * (n_beats - 1) / duration_s, np.nan)
    return pd.DataFrame(
        {
            "aami_class": classes[first],
            "first": first,
            "last": last,
            "n_beats": n_beats,
            "start_s": time_s[first],
            "duration_s": duration_s,
            "rate_bpm": rate,
        }
    )


def summarise(
    beats: pd.DataFrame, counted: NDArray[np.bool_], sliding: bool = False
) -> dict[str, Any]:
    """Return what the beats of a recording amount to, ready for JSON.

    Args:
        beats: aami_class, time_s, rr_s and usable.
        counted: which of them count. The others end a run as a gap does.
        sliding: whether rows are sliding windows.

    Returns:
        n_beats (all that were found), n_unusable (those of them in unusable stretches), counts and
        burden (share of the counted beats) by class, heart_rate (mean, and lowest and highest of
        the means of 8 intervals or of all, 1/min; None where unknown), longest_runs by abnormal
        class, and runs (how many of 3 beats and more, by abnormal class). Of sliding windows,
        n_windows in place of what counts beats.
    """
    names = beats["aami_class"].to_numpy(dtype=object)
    counts = {name: int((names[counted] == name).sum()) for name in AAMI_CLASSES}
    n = int(counted.sum())
    summary: dict[str, Any] = {
        "n_windows" if sliding else "n_beats": len(beats),
        "n_unusable": int((~beats["usable"]).sum()),
        "counts": counts,
        "burden": {name: count / n if n else None for name, count in counts.items()},
    }
    if sliding:
        return summary
    runs = find_runs(beats.assign(aami_class=np.where(counted, names, "")))
    summary["heart_rate"] = _measure_rates(select_intervals(beats, counted))
    summary["longest_runs"] = {
        name: _tell_longest(runs[runs["aami_class"] == name]) for name in AAMI_CLASSES[1:]
    }
    summary["runs"] = {
        name: int(((runs["aami_class"] == name) & (runs["n_beats"] >= 3)).sum())
        for name in AAMI_CLASSES[1:]
    }
    return summary


def select_intervals(beats: pd.DataFrame, counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the intervals of which a heart rate is made: those known, between counted beats.

    Args:
        beats: column rr_s, in time order.
        counted: which of them count, (n_beats,).

    Returns:
        (n,), s, above 0.
    """
    known = counted & np.concatenate([[False], counted[:-1]])[: len(counted)]
    rr_s = beats["rr_s"].to_numpy(np.float64)[known]
    return rr_s[rr_s > 0]  # no NaN is


def describe_quality(
    quality: NDArray[np.float64] | None, unusable_s: list[tuple[float, float]]
) -> dict[str, Any]:
    """Return the index of each stretch and what it amounts to; None where it is not known."""
    if quality is None:
        return dict.fromkeys(("usable_share", "unusable_s", "stretch_s", "stretches"))
    return {
        "usable_share": round(float((quality >= LEAST_QUALITY).mean()), 4),
        "unusable_s": [[a, round(b, 3)] for a, b in unusable_s],
        "stretch_s": STRETCH_S,
        "stretches": quality.round(3).tolist(),
    }


def _measure_rates(rr_s: NDArray[np.float64]) -> dict[str, float | None]:
    if not len(rr_s):
        return {"mean_bpm": None, "lowest_bpm": None, "highest_bpm": None}
    mean_s = float(rr_s.mean())
    means_s = pd.Series(rr_s).rolling(_N_RATE).mean()  # all NaN where there are fewer
    return {
        "mean_bpm": round(60 / mean_s, 1),
        # Long intervals at both ends are in no window together, but are in the mean of all.
        "lowest_bpm": round(60 / float(np.fmax(means_s.max(), mean_s)), 1),
        "highest_bpm": round(60 / float(np.fmin(means_s.min(), mean_s)), 1),
    }


def _tell_longest(runs: pd.DataFrame) -> dict[str, float | int | None] | None:
    if runs.empty:
        return None
    longest = runs.iloc[int(runs["n_beats"].to_numpy().argmax())]
    rate = float(longest["rate_bpm"])
    return {
        "n_beats": int(longest["n_beats"]),
        "start_s": round(float(longest["start_s"]), 3),
        "duration_s": round(float(longest["duration_s"]), 3),
        "rate_bpm": round(rate, 1) if np.isfinite(rate) else None,
    }
