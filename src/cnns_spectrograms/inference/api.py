"""The analysis of one recording in three lines: `from cnns_spectrograms import analyse`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.files import find_model, find_shipped_models
from cnns_spectrograms.recordings.errors import RecordError, naming
from cnns_spectrograms.recordings.opening import is_csv, open_recording
from cnns_spectrograms.recordings.recording import Recording, check_shape

if TYPE_CHECKING:
    from cnns_spectrograms.inference.analysis import Analysis
    from cnns_spectrograms.inference.model import BeatModel


@dataclass(frozen=True, eq=False)
class Result:
    """The classified beats of a recording.

    Attributes:
        analysis: everything that was found.
        recording: what was analysed.
    """

    analysis: Analysis
    recording: Recording

    @property
    def beats(self) -> pd.DataFrame:
        """One row per beat, see `inference.analysis.Analysis`."""
        return self.analysis.beats

    @property
    def summary(self) -> dict[str, Any]:
        """Counts, burden, heart rate, longest runs and signal quality, as in NAME.json."""
        return self.analysis.summary

    def write(self, folder: Path | str, report: bool = False) -> dict[str, Path]:
        """Write annotations, table and summary, see `outputs.write_outputs`.

        Args:
            folder: made if absent.
            report: also write the HTML page.

        Returns:
            The files by kind.
        """
        from cnns_spectrograms.inference.outputs import write_outputs

        return write_outputs(self.analysis, self.recording, folder, report)


def analyse(
    source: Path | str | ArrayLike,
    fs: float | None = None,
    *,
    lead: int | str | None = None,
    columns: Sequence[str] | str | None = None,
    peaks: ArrayLike | str | None = None,
    sliding: bool = False,
    model: Path | str | None = None,
    accurate: bool = False,
    name: str = "recording",
    count_unusable: bool = False,
) -> Result:
    """Find and classify the beats of a recording.

    Args:
        source: path of a WFDB record, or of an EDF, BDF, DICOM, ISHNE Holter, HL7 aECG or CSV file;
            or the signal itself, mV, (n,) or (n, n_leads), NaN where samples are missing; its leads
            are called ECG 1, ECG 2 and so on.
        fs: sampling rate, Hz; needed for a signal. For a CSV file None takes the rate from its
            times or header. Other files name their own.
        lead: name or index of the lead that beats are found in; None takes the one that training
            preferred, else the first.
        columns: columns of a CSV file that are leads; None guesses.
        peaks: R peaks, samples, ascending, each once; or annotations of a file, see
            `peaks.read_peaks`; None detects them.
        sliding: classify windows every 0.5 s instead of beats, with a model trained so.
        model: file or name of a model, see `BeatModel.load`; None takes the default.
        accurate: classify with the mean of the shipped models, which takes longer.
        name: of a signal that is given as an array; files are written under it.
        count_unusable: count the beats of stretches of unusable signal too in the summary.

    Raises:
        RecordError: the recording cannot be used.
        ValueError: an argument does not fit the recording or the model.
    """
    from cnns_spectrograms.inference import analysis
    from cnns_spectrograms.inference.peaks import read_peaks

    if not isinstance(source, (str, Path)):
        recording = make_recording(source, fs, name)
    else:
        path = Path(source)
        recording = open_recording(path, fs, [columns] if isinstance(columns, str) else columns)
        names = recording.lead_names
        # Columns that only have numbers may be anything.
        unnamed = is_csv(path) and len(names) > 1 and all(each.isdecimal() for each in names)
        if unnamed and lead is None:
            raise RecordError(
                f"found the columns {', '.join(names)} without a name, of which any may be the "
                f"ECG; name the one that is (--lead {names[-1]}), or write a header"
            )
    if isinstance(peaks, str):
        peaks = read_peaks(peaks, recording)
    loaded = load_model(None if model is None else Path(model), accurate)
    found = analysis.analyse(recording, loaded, lead, peaks, sliding, count_unusable=count_unusable)
    return Result(found, recording)


def make_recording(signal_mv: ArrayLike, fs: float | None, name: str = "recording") -> Recording:
    """Return a recording of a signal in memory, its leads called ECG 1, ECG 2 and so on.

    Args:
        signal_mv: (n,) or (n, n_leads), mV; NaN where samples are missing.
        fs: sampling rate, Hz.
        name: fit for a file name.

    Raises:
        ValueError: the signal has another shape or type, or there is no rate.
        RecordError: the rate or the number of samples or leads is not that of an ECG.
    """
    signal = np.asarray(signal_mv)
    if signal.ndim == 1:
        signal = signal[:, None]
    if signal.ndim != 2 or not np.issubdtype(signal.dtype, np.number):
        raise ValueError(
            f"the signal has shape {np.shape(signal_mv)} and dtype {signal.dtype}; expected "
            f"numbers in mV, (n_samples,) or (n_samples, n_leads)"
        )
    if fs is None:
        raise ValueError("a signal needs its sampling rate: give fs, in Hz")
    n_samples, n_leads = signal.shape
    with naming(name):
        check_shape(fs, n_samples, n_leads)
    stored = np.array(signal, dtype=np.float32)
    stored[~np.isfinite(stored)] = np.nan

    def read(lead: int, start: int, stop: int) -> NDArray[np.float32]:
        return stored[start:stop, lead]

    # Called so, they are asked about doubtful beats like the leads of a file (`choose_others`).
    leads = tuple(f"ECG {i}" for i in range(1, n_leads + 1))
    return Recording(name, float(fs), leads, n_samples, None, read)


def load_model(path: Path | None, accurate: bool = False) -> BeatModel:
    """Return the model in a file, the shipped one or the mean of these.

    The last one is kept until its file changes.

    Raises:
        ValueError: see `BeatModel.load`; or the mean is wanted of a file.
    """
    if accurate and path is not None:
        raise ValueError(
            f"the accurate way is the mean of the shipped models, and {path} is given; leave out "
            f"one of the two"
        )
    paths = find_shipped_models() if accurate else [find_model(path)]
    stats = [each.stat() if each.is_file() else None for each in paths]
    return _load(tuple(paths), tuple(each and (each.st_mtime_ns, each.st_size) for each in stats))


@functools.lru_cache(maxsize=1)
def _load(paths: tuple[Path, ...], stamps: tuple[tuple[int, int] | None, ...]) -> BeatModel:
    """Return the mean of models; `stamps` change with their files, so that none is out of date."""
    from cnns_spectrograms.inference.model import BeatModel

    first, *others = (BeatModel.load(each) for each in paths)
    windows = {
        (each.fs, each.n_samples, each.n_leads, *each.view_lengths) for each in (first, *others)
    }
    assert len(windows) == 1, "the models take windows of one kind"
    return dataclasses.replace(first, others=tuple(others))
