"""R peaks that the user has: WFDB annotations, or a CSV file of samples."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError, check, naming
from cnns_spectrograms.recordings.opening import is_csv
from cnns_spectrograms.recordings.recording import Recording


def names_a_file(peaks: str) -> bool:
    """Return whether this is a file with R peaks, not the extension of annotation files."""
    path = Path(peaks)
    return is_csv(path) or (path.is_file() and path.suffix != "")


def read_peaks(peaks: str, recording: Recording) -> NDArray[np.int64]:
    """Return the R peaks in a file, samples at the recording's rate, ascending, each once.

    Args:
        peaks: extension or name of a WFDB annotation file beside the recording, the path of such a
            file, or of a CSV file with a column ``sample``.
        recording: whose beats they are.

    Raises:
        RecordError: there is no such file, or it is damaged or of another recording; or the column
            holds what is no whole number; or a row has more cells than the header.
    """
    from cnns_spectrograms.recordings.wfdb_annotations import read_annotations, select_beats

    path = Path(peaks)
    if is_csv(path):
        return _read_samples(path)
    if names_a_file(peaks):
        record, extension = path.with_suffix(""), path.suffix[1:]
    elif recording.path is not None:
        record = recording.path.with_name(recording.name)
        extension = peaks.removeprefix(f"{recording.name}.").lstrip(".")
    else:
        raise RecordError(f"found no annotation file {peaks}; correct its path")
    with naming(record.name):
        annotations = read_annotations(record, extension, recording.fs, recording.n_samples)
    return select_beats(annotations)


def _read_samples(path: Path) -> NDArray[np.int64]:
    """Return the column ``sample`` of a CSV file, without the beats marked as deleted."""
    if not path.is_file():
        raise RecordError(f"found no file {path} with R peaks; correct its path")
    with naming(str(path), "text in UTF-8, with a column called sample"):
        names, rows = _read_rows(path)
        columns = f"the columns {', '.join(names[:20])}"
        check(names.count("sample") == 1, columns, "one called sample", "correct the header")
        kept = (  # the table of corrected beats holds the deleted ones too
            (i, row.get("sample", ""))
            for i, row in enumerate(rows, 1)
            if row.get("origin") != "deleted"
        )
        cells = pd.Series(dict(kept), dtype=object)
        samples = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
        is_wrong = ~(np.isfinite(samples) & (samples == np.rint(samples)))
        if is_wrong.any():
            row = cells.index[is_wrong.argmax()]
            found = repr(cells[row]) if cells[row] else "an empty cell"
            raise RecordError(
                f"found {found} in row {row} below the header of column sample, and "
                f"{is_wrong.sum()} of {len(samples)} that are no whole number; expected the "
                f"samples of the R peaks, counted from 0: multiply seconds by the sampling rate "
                f"and round them, and take empty rows out"
            )
    return np.unique(samples.astype(np.int64))


def _read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the names in the header of a CSV file, in lower case, and the cells of each row."""
    with open(path, encoding="utf-8-sig") as text:
        lines = [line for line in text if line.strip(" \n")]
    check(lines, "an empty file", "a header, then one row per beat", "write them")
    # One delimiter alone: beside it, a comma is a decimal mark.
    delimiter = next((each for each in ";\t" if each in lines[0]), ",")
    # Line by line, so that a quotation mark without its pair hides no row.
    header, *rows = (
        [cell.strip(" \"'\n") for cell in next(csv.reader([line], delimiter=delimiter))]
        for line in lines
    )
    width = max((i for i, name in enumerate(header, 1) if name), default=0)
    for i, row in enumerate(rows, 1):
        check(
            not any(row[width:]),
            f"{len(row)} cells in row {i} below the header",
            f"{width}, as in the header",
            "correct it; numbers with a decimal comma need semicolons or tabs between the cells",
        )
    names = [name.lower() for name in header[:width]]
    return names, [dict(zip(names, row, strict=False)) for row in rows]
