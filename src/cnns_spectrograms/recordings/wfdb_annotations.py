"""WFDB annotation files: read, checked, and brought to another sampling rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import BEAT_SYMBOLS, map_symbols
from cnns_spectrograms.recordings.errors import RecordError, check, naming
from cnns_spectrograms.recordings.wfdb_header import read_header


def read_annotation_file(
    path: Path, extension: str, *, fs: float, n_samples: float
) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64], float]:
    """Return the annotations of a WFDB file in time order.

    Args:
        path: of the record, without extension.
        extension: annotator.
        fs: rate of the recording in frames, Hz: that of a file that states none.
        n_samples: length of the recording at `fs`.

    Returns:
        Samples, symbols and subtypes; and the rate of the samples, Hz.

    Raises:
        RecordError: the file is missing, truncated or corrupt, or not of this recording.
    """
    import wfdb

    file = path.with_name(f"{path.name}.{extension}")
    with naming(file.name):
        content = file.read_bytes()
        check(
            content.endswith(b"\0\0"),
            f"no end mark in {len(content)} bytes, which are truncated",
            "two zero bytes at the end",
            "copy or download the file again",
        )
        found = wfdb.rdann(str(path), extension, return_label_elements=["symbol", "label_store"])
        samples = np.asarray(found.sample, dtype=np.int64)
        labels = zip(found.symbol, found.label_store, strict=True)
        symbols = [each if isinstance(each, str) else f"code {code}" for each, code in labels]
        try:
            map_symbols(symbols)
        except ValueError as error:
            raise RecordError(str(error)) from error
        # An annotation file may state a time resolution of its own.
        ann_fs = float(found.fs or fs)
        is_rate = 0 < ann_fs < np.inf
        check(is_rate, f"{ann_fs:g} Hz", "more", "correct the annotation file")
        end = n_samples * ann_fs / fs
        outside = samples[(samples < 0) | (samples > end)]
        first = outside[0] if outside.size else None
        check(
            first is None,
            f"{outside.size} annotation(s) outside the signal, the first at sample {first}",
            f"samples 0 to {end:g}",
            "the file is not of this signal, or one of them is corrupt: copy or download both "
            "again",
        )
    order = np.argsort(samples, kind="stable")
    subtypes = np.asarray(found.subtype, dtype=np.int64)
    return samples[order], [symbols[i] for i in order], subtypes[order], ann_fs


def read_annotations(path: Path, extension: str, fs: float, n_samples: int) -> pd.DataFrame:
    """Return the annotations of a WFDB file at another sampling rate.

    Args:
        path: of the record, without extension; its header, where there is one, gives the rate of
            an annotation file that does not state its own.
        extension: annotator.
        fs: wanted sampling rate, Hz.
        n_samples: length of the recording at `fs`; annotations beyond it are refused.

    Returns:
        Columns sample (at `fs`) and symbol, in time order.

    Raises:
        RecordError: the file is missing or damaged, or not of this recording.
    """
    frame_fs = fs
    if path.with_name(f"{path.name}.hea").is_file():
        frame_fs = float(read_header(path).fs)
    n_frames = round(n_samples * frame_fs / fs)
    samples, symbols, _, source_fs = read_annotation_file(
        path, extension, fs=frame_fs, n_samples=n_frames
    )
    moved = move_to_rate(samples, source_fs, fs, n_samples)
    return pd.DataFrame({"sample": moved, "symbol": np.array(symbols, dtype=object)})


def move_to_rate(
    samples: NDArray[np.int64], source_fs: float, fs: float, n_samples: int
) -> NDArray[np.int64]:
    """Return the nearest samples at another rate, Hz, none after the last of `n_samples`."""
    nearest = np.rint(samples * fs / source_fs).astype(np.int64)
    return np.minimum(nearest, n_samples - 1)


def select_beats(annotations: pd.DataFrame) -> NDArray[np.int64]:
    """Return the samples of the annotations that mark a beat, ascending, each once."""
    is_beat = annotations["symbol"].isin(BEAT_SYMBOLS)
    return np.unique(annotations.loc[is_beat, "sample"].to_numpy(np.int64))
