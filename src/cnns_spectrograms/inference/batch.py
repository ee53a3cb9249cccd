"""Many recordings at once, each analysed and written by a process of its own."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.databases import list_records
from cnns_spectrograms.inference.api import analyse, load_model
from cnns_spectrograms.inference.outputs import EXTENSIONS, is_table
from cnns_spectrograms.recordings.archives import unpack_recording
from cnns_spectrograms.recordings.errors import RecordError, naming
from cnns_spectrograms.recordings.opening import (
    CSV_SUFFIXES,
    FILE_SUFFIXES,
    find_recordings,
    is_there,
    name_recording,
)
from cnns_spectrograms.recordings.recording import Recording

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictOptions:
    """How recordings are analysed.

    Attributes:
        model: file of a model, see `BeatModel.load`; None takes that which came with the package.
        accurate: classify with the mean of the shipped models.
        lead: name or index; None takes that of training.
        fs: sampling rate of CSV files, Hz; other recordings say their own.
        columns: columns of CSV files that are leads; other recordings name theirs.
        peaks: annotations that tell the beats: an extension such as ``atr``, beside each
            recording, or a file, WFDB or CSV with a column ``sample``, for one recording alone;
            None detects beats.
        sliding: windows every 0.5 s instead of beats.
        report: also write the HTML page.
        count_unusable: count the beats of stretches of unusable signal too.
    """

    model: Path | None = None
    accurate: bool = False
    lead: str | None = None
    fs: float | None = None
    columns: tuple[str, ...] | None = None
    peaks: str | None = None
    sliding: bool = False
    report: bool = False
    count_unusable: bool = False


@dataclass(frozen=True)
class Source:
    """A recording that is to be analysed.

    Attributes:
        path: where it is opened; of an archive, where it was unpacked.
        told: how the user knows it: the path, or ARCHIVE/NAME.
        error: why there is none, of an archive that cannot be unpacked.
    """

    path: Path
    told: str
    error: str = ""


def expand_recordings(paths: Sequence[Path], scratch: Path) -> list[Source]:
    """Return the recordings that paths name, those of a folder or archive in place of it.

    Args:
        paths: recordings, ZIP archives, or folders of both.
        scratch: an empty folder, into which archives are unpacked.

    Raises:
        ValueError: a folder holds no recording, or two recordings have one name, so that one's
            output would replace the other's.
    """
    found: list[Source] = []
    for path in paths:
        for each in _look_into(path) if path.is_dir() else [path]:
            if each.suffix.lower() == ".zip":
                found += _unpack(each, scratch / f"archive_{len(found)}")
            else:
                found.append(Source(each, str(each)))
    names: dict[str, str] = {}
    for source in found:
        if source.error:
            continue
        name = name_recording(source.path)
        if name in names:
            raise ValueError(
                f"{names[name]} and {source.told} would both be written as {name}; give them in "
                f"separate commands with an output folder each"
            )
        names[name] = source.told
    return found


def _look_into(folder: Path) -> list[Path]:
    """Return the recordings and archives of a folder; the log names what is left out."""
    inside = []
    if (folder / "RECORDS").is_file():  # a database's own order
        inside = [folder / f"{name}.hea" for name in list_records(folder, nested=True)]
    inside += [each for each in _leave_out_tables(find_recordings(folder)) if each not in inside]
    others = [each for each in sorted(folder.iterdir()) if each not in inside]
    inside += [each for each in others if each.suffix.lower() == ".zip" and not each.is_dir()]
    if not inside:
        raise ValueError(
            f"folder {folder} holds no recording ({', '.join(('.hea', *FILE_SUFFIXES, '.zip'))})"
        )
    if folders := [each.name for each in others if each.is_dir()]:
        logger.info("left out of %s are its folders: %s", folder, ", ".join(folders))
    return inside


def _leave_out_tables(paths: Sequence[Path]) -> list[Path]:
    """Leave out tables of beats: results may lie beside the recordings."""
    tables = [each for each in paths if is_table(each)]
    if tables:
        names = ", ".join(each.name for each in tables)
        logger.info("left out are tables of beats, the results of an analysis: %s", names)
    return [each for each in paths if each not in tables]


def _unpack(archive: Path, folder: Path) -> list[Source]:
    """Return the recordings of an archive, or one that says why it has none."""
    try:
        inside = _leave_out_tables(unpack_recording(archive, folder))
    except RecordError as error:
        return [Source(archive, str(archive), str(error))]
    if not inside:
        return [Source(archive, str(archive), "found tables of beats alone; expected a recording")]
    return [Source(each, str(archive / each.name)) for each in inside]


def _check_options_of_csv(sources: Sequence[Source], options: PredictOptions) -> None:
    """Refuse what says how CSV files are read where none is: it would not be heeded."""
    # What an archive that cannot be unpacked would have held is not known.
    csv = any(source.error or source.path.suffix.lower() in CSV_SUFFIXES for source in sources)
    if not csv and (options.fs is not None or options.columns is not None):
        raise ValueError(
            f"fs and columns are those of CSV files ({', '.join(CSV_SUFFIXES)}), and no recording "
            f"is one: others say their own; leave them out"
        )


def _check_nothing_read_is_replaced(
    recordings: Sequence[Path], folder: Path, peaks: str | None
) -> None:
    """Refuse an output folder in which a file that is read has the name of a result.

    Of a result that is not written this time, too: it would be removed.
    """
    read = [*recordings]
    if peaks is not None:  # a file, or an extension beside each recording
        extension = peaks.lstrip(".")
        read += [Path(peaks), *(p.parent / f"{name_recording(p)}.{extension}" for p in recordings)]
    # By what the files are, not by how they are written: links, and disks that know no case.
    known = {(each.stat().st_dev, each.stat().st_ino) for each in read if each.exists()}
    for path in recordings:
        for extension in EXTENSIONS:
            target = folder / f"{name_recording(path)}.{extension}"
            if target.exists() and (target.stat().st_dev, target.stat().st_ino) in known:
                raise ValueError(
                    f"the result {target} would replace a file that is read, or remove it; choose "
                    f"another output folder than that of the recordings"
                )


def predict_recordings(
    paths: Sequence[Path],
    folder: Path,
    options: PredictOptions,
    n_jobs: int = -1,
    backend: str = "loky",
    address: str | None = None,
) -> pd.DataFrame:
    """Analyse recordings and write what is found, on several cores or a cluster.

    A recording that cannot be used is named in the table, and the others go on.

    Args:
        paths: recordings, ZIP archives of them, or folders of both.
        folder: where the files go, see `outputs.write_outputs`.
        options: how.
        n_jobs: processes, -1 for every core; one recording is analysed in this process.
        backend: see `fan_out.joblib_backend`.
        address: of a cluster.

    Returns:
        One row per recording: recording (its path, or ARCHIVE/NAME), lead, n_beats (of sliding
        windows, their number), n_unusable (those in unusable stretches of signal), N, S, V, F, Q
        (counts of the others), duration_s, and error (empty if all went well).

    Raises:
        ValueError: see `expand_recordings`; the model cannot be used; an output would replace a
            file that is read; the R peaks are those of one file, and recordings are several; or
            options are those of CSV files, and there is none.
    """
    from joblib import Parallel, delayed, parallel_config
    from tqdm import tqdm

    from cnns_spectrograms.fan_out import joblib_backend

    with tempfile.TemporaryDirectory() as scratch:
        sources = expand_recordings(paths, Path(scratch))
        if options.peaks is not None and _names_a_file(options.peaks) and len(sources) > 1:
            raise ValueError(
                f"the R peaks of {options.peaks} are those of one recording, and {len(sources)} "
                f"are given; give one, or the extension of annotations that lie beside each"
            )
        _check_options_of_csv(sources, options)
        _check_nothing_read_is_replaced(
            [source.path for source in sources if not source.error], folder, options.peaks
        )
        if options.peaks is not None and Path(options.peaks).suffix.lower() in CSV_SUFFIXES:
            _check_peaks_are_there(Path(options.peaks))
        if any(not source.error and is_there(source.path) for source in sources):
            _check_model(options)
        folder.mkdir(parents=True, exist_ok=True)
        if len(sources) == 1:
            rows = [_predict(sources[0], folder, options)]
        else:
            tasks = (delayed(_predict_alone)(source, folder, options) for source in sources)
            with joblib_backend(backend, address, n_jobs), parallel_config(n_jobs=n_jobs):
                results = Parallel(return_as="generator")(tasks)
                bar = tqdm(results, total=len(sources), unit="recording", disable=None)
                rows = list(bar)
    return pd.DataFrame(rows)


def _predict_alone(source: Source, folder: Path, options: PredictOptions) -> dict[str, Any]:
    """Predict in a worker, on one thread: recordings are what is shared out."""
    os.environ["OMP_NUM_THREADS"] = "1"  # see `model.count_threads`
    row = _predict(source, folder, options)
    if row["error"]:  # said at once, where others are still to come
        logger.error("%s: %s", source.told, row["error"])
    return row


def _predict(source: Source, folder: Path, options: PredictOptions) -> dict[str, Any]:
    row: dict[str, Any] = {
        "recording": source.told,
        "lead": "",
        "n_beats": 0,
        "n_unusable": 0,
        **dict.fromkeys(AAMI_CLASSES, 0),
        "duration_s": 0.0,
        "error": "",
    }
    try:
        if source.error:
            raise RecordError(source.error)
        is_csv = source.path.suffix.lower() in CSV_SUFFIXES
        result = analyse(
            source.path,
            options.fs if is_csv else None,
            columns=options.columns if is_csv else None,
            lead=options.lead,
            peaks=options.peaks,
            sliding=options.sliding,
            model=options.model,
            accurate=options.accurate,
            count_unusable=options.count_unusable,
        )
        result.write(folder, options.report)
    except (ValueError, OSError) as error:
        # Of an archive, the user knows no other path.
        told = str(error).replace(str(source.path.parent), str(Path(source.told).parent))
        for name in (source.told, Path(source.told).name):  # it stands before the error already
            told = told.removeprefix(f"{name}: ")
        return {**row, "error": told}
    return {
        **row,
        "lead": result.analysis.lead,
        "n_beats": len(result.beats),
        "n_unusable": result.summary["n_unusable"],
        **result.summary["counts"],
        "duration_s": round(result.recording.duration_s, 3),
    }


def _check_model(options: PredictOptions) -> None:
    """Load the model, so that one that cannot be used ends all work."""
    model = load_model(options.model, options.accurate)
    if model.synthetic_data:
        logger.warning(
            "%s was trained on simulated recordings: it says nothing about hearts", model.path
        )
    if options.sliding:
        from cnns_spectrograms.inference.analysis import check_slides

        check_slides(model)


def _names_a_file(peaks: str) -> bool:
    """Tell a file with R peaks from the extension of annotations beside each recording."""
    path = Path(peaks)
    return path.suffix.lower() in CSV_SUFFIXES or (path.is_file() and path.suffix != "")


def _check_peaks_are_there(path: Path) -> None:
    if not path.is_file():
        raise RecordError(f"found no file {path} with R peaks; correct its path")


def read_peaks(peaks: str, recording: Recording) -> NDArray[np.int64]:
    """Return R peaks that a file tells, samples at the recording's rate.

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
    if path.suffix.lower() in CSV_SUFFIXES:
        _check_peaks_are_there(path)
        return _read_samples(path)
    if _names_a_file(peaks):
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
