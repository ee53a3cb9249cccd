"""R peaks that the user has: WFDB annotations, or a CSV file of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError, naming
from cnns_spectrograms.recordings.opening import is_csv
from cnns_spectrograms.recordings.recording import Recording


def names_a_file(peaks: str) -> bool:
    """Return whether this is a file with R peaks, not the extension of annotation files."""
    path = Path(peaks)
    return is_csv(path) or (path.is_file() and path.suffix != "")


def read_peaks(peaks: str, recording: Recording) -> NDArray[np.int64]:
    """Return the R peaks in a file, samples at the recording's rate.

    Args:
        peaks: extension of a WFDB annotation file beside the recording, the path of such a file,
            or of a CSV file with a column ``sample``.
        recording: whose beats they are.

    Raises:
        RecordError: there is no such file, or it is damaged or of another recording; or the column
            holds what is no whole number.
    """
    from cnns_spectrograms.recordings.wfdb_annotations import read_annotations, select_beats

    path = Path(peaks)
    if is_csv(path):
        return _read_samples(path)
    if names_a_file(peaks):
        record, extension = path.with_suffix(""), path.suffix[1:]
    elif recording.path is not None:
        record, extension = recording.path.with_name(recording.name), peaks.lstrip(".")
    else:
        raise RecordError(f"found no annotation file {peaks}; correct its path")
    with naming(record.name):
        annotations = read_annotations(record, extension, recording.fs, recording.n_samples)
    return select_beats(annotations)


def _read_samples(path: Path) -> NDArray[np.int64]:
    """Return the column ``sample`` of a CSV file, sorted."""
    if not path.is_file():
        raise RecordError(f"found no file {path} with R peaks; correct its path")
    table = pd.read_csv(path, sep="[,;\t]", engine="python", dtype=str)
    table.columns = table.columns.str.strip(" \"'").str.lower()
    if "sample" not in table.columns:
        raise RecordError(
            f"{path}: found the columns {', '.join(map(str, table.columns[:20]))}; expected one "
            f"called sample"
        )
    cells = table["sample"].fillna("").str.strip(" \"'")
    samples = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    is_wrong = ~(np.isfinite(samples) & (samples == np.rint(samples)))
    if is_wrong.any():
        row = int(is_wrong.argmax())
        found = repr(cells.iloc[row]) if cells.iloc[row] else "an empty cell"
        raise RecordError(
            f"{path}: found {found} in row {row + 1} below the header of column sample, and "
            f"{is_wrong.sum()} of {len(samples)} that are no whole number; expected the samples of "
            f"the R peaks, counted from 0: multiply seconds by the sampling rate and round them, "
            f"and take empty rows out"
        )
    return np.sort(samples.astype(np.int64))
