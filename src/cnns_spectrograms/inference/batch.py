"""Many recordings at once, each analysed and written by a process of its own."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.databases import list_records
from cnns_spectrograms.inference.api import analyse, load_model
from cnns_spectrograms.inference.outputs import EXTENSIONS, check_replaceable, is_table
from cnns_spectrograms.inference.peaks import names_a_file
from cnns_spectrograms.parameters import InferenceParameters
from cnns_spectrograms.recordings.archives import unpack_recording
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import (
    CSV_SUFFIXES,
    FILE_SUFFIXES,
    find_recordings,
    is_csv,
    is_recording_file,
    is_there,
    name_recording,
)

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """A recording that is to be analysed.

    Attributes:
        path: where it is opened; of an archive, where it was unpacked.
        label: how the user knows it: the path, or ARCHIVE/NAME.
        error: why there is none, of an archive that cannot be unpacked.
    """

    path: Path
    label: str
    error: str = ""


def expand_recordings(paths: Sequence[Path], scratch: Path) -> list[Source]:
    """Return the recordings that paths name, those of a folder or archive in place of it.

    Args:
        paths: recordings, ZIP archives, or folders of both. Several files of one WFDB record, as a
            shell makes of ``100.*``, are one, with what else has its name, such as annotations.
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
    named: dict[str, Source] = {}
    kept = []
    for source in _leave_out_companions(found):
        name = name_recording(source.path)
        first = source if source.error else named.setdefault(name, source)
        if first is source:
            kept.append(source)
        elif _is_same_record(first.path, source.path):
            logger.info("%s is left out: it is of the record of %s", source.label, first.label)
        else:
            raise ValueError(
                f"{first.label} and {source.label} would both be written as {name}; give them in "
                f"separate commands with an output folder each"
            )
    return kept


def _is_same_record(path: Path, other: Path) -> bool:
    """Return whether two paths of one name are of one WFDB record."""
    if {path.suffix.lower(), other.suffix.lower()} & {*FILE_SUFFIXES}:
        return False
    headers = [each.with_name(f"{name_recording(each)}.hea") for each in (path, other)]
    return all(each.is_file() for each in headers) and headers[0].samefile(headers[1])


def _leave_out_companions(sources: Sequence[Source]) -> list[Source]:
    """Leave out annotations, results and notes that have the name of a WFDB record given too."""

    def find_header(path: Path) -> Path | None:
        header = path.with_name(f"{name_recording(path)}.hea")
        is_part = path.suffix.lower() not in FILE_SUFFIXES
        return header if is_part and header.is_file() else None

    headers = {find_header(source.path) for source in sources}
    kept = []
    for source in sources:
        path = source.path
        if (
            path.with_suffix(".hea") in headers
            and find_header(path) is None
            and path.is_file()
            and not source.error
            and (is_table(path) or not is_recording_file(path))
        ):
            logger.info("%s is left out: it has the name of a record that is given", source.label)
        else:
            kept.append(source)
    return kept


def _look_into(folder: Path) -> list[Path]:
    """Return the recordings and archives of a folder; the log names what is left out."""
    inside = []
    if (folder / "RECORDS").is_file():  # a database's own order
        for name in list_records(folder, nested=True):
            deeper = folder / name
            if not name.endswith("/"):
                inside.append(folder / f"{name}.hea")
            elif deeper.is_dir() and folder.resolve() in deeper.resolve().parents:
                inside += _look_into(deeper)
            else:  # opening it raises an error
                inside.append(deeper)
    inside += [each for each in _leave_out_tables(find_recordings(folder)) if each not in inside]
    others = [each for each in sorted(folder.iterdir()) if each not in inside]
    inside += [each for each in others if each.suffix.lower() == ".zip" and not each.is_dir()]
    if not inside:
        raise ValueError(
            f"folder {folder} holds no recording ({', '.join(('.hea', *FILE_SUFFIXES, '.zip'))})"
        )
    read = {parent for each in inside for parent in each.parents}
    if folders := [each.name for each in others if each.is_dir() and each not in read]:
        logger.info("%s: its folders are left out: %s", folder, ", ".join(folders))
    return inside


def _leave_out_tables(paths: Sequence[Path]) -> list[Path]:
    """Leave out tables of beats: results may lie beside the recordings."""
    tables = [each for each in paths if is_table(each)]
    if tables:
        names = ", ".join(each.name for each in tables)
        logger.info(
            "tables of beats are left out, since they are results of an analysis: %s", names
        )
    return [each for each in paths if each not in tables]


def _unpack(archive: Path, folder: Path) -> list[Source]:
    """Return the recordings of an archive, or one source with the reason why it has none."""
    try:
        inside = _leave_out_tables(unpack_recording(archive, folder))
    except RecordError as error:
        return [Source(archive, str(archive), str(error))]
    if not inside:
        return [Source(archive, str(archive), "found tables of beats alone; expected a recording")]
    return [Source(each, str(archive / each.name)) for each in inside]


def _check(sources: Sequence[Source], folder: Path, inference: InferenceParameters) -> None:
    """Refuse options that would be ignored, and results that would replace what is none."""
    peaks = inference.peaks
    if peaks is not None and names_a_file(peaks) and len(sources) > 1:
        raise ValueError(
            f"{peaks} holds the R peaks of one recording, but {len(sources)} recordings are given; "
            f"give one recording, or the extension of the annotation file beside each"
        )
    # What an archive that cannot be unpacked would have held is not known.
    csv = any(source.error or is_csv(source.path) for source in sources)
    if not csv and (inference.fs is not None or inference.columns is not None):
        raise ValueError(
            f"fs and columns are those of CSV files ({', '.join(CSV_SUFFIXES)}), and no recording "
            f"is one: other files state their own; leave them out"
        )
    recordings = [source.path for source in sources if not source.error]
    read = [*recordings]
    if peaks is not None:  # a file, or an extension beside each recording
        extension = peaks.lstrip(".")
        read += [Path(peaks), *(p.parent / f"{name_recording(p)}.{extension}" for p in recordings)]
    # By what the files are, not by how they are written: links, and disks that know no case.
    known = {_identify(each) for each in read if each.exists()}
    for path in recordings:
        for extension in EXTENSIONS:
            target = folder / f"{name_recording(path)}.{extension}"  # written, or else removed
            if target.exists() and _identify(target) in known:
                raise ValueError(
                    f"the result {target} would replace a file that is read, or remove it; choose "
                    f"another output folder than that of the recordings"
                )
        check_replaceable(folder, name_recording(path))


def _identify(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


def predict_recordings(
    inference: InferenceParameters,
    folder: Path,
    model: Path | None,
    n_jobs: int = -1,
    backend: str = "loky",
    address: str | None = None,
) -> pd.DataFrame:
    """Analyse recordings and write what is found, on several cores or a cluster.

    A recording that cannot be used is named in the table, and the others go on.

    Args:
        inference: which recordings, and how they are analysed.
        folder: where the files go, see `outputs.write_outputs`.
        model: file of `inference.model`; None is the shipped one.
        n_jobs: processes, -1 for every core; one recording is analysed in this process.
        backend: see `fan_out.joblib_backend`.
        address: of a cluster.

    Returns:
        One row per recording: recording (its path, or ARCHIVE/NAME), lead, n_beats (of sliding
        windows, their number), n_unusable (those in unusable stretches of signal), N, S, V, F, Q
        (counts of the others), duration_s, and error (empty if all went well).

    Raises:
        ValueError: see `expand_recordings`; the model cannot be used; an output would replace a
            file that is read, or that no analysis wrote; the R peaks are those of one file, and
            recordings are several; or options are those of CSV files, and there is none.
    """
    from joblib import Parallel, delayed, parallel_config
    from tqdm import tqdm

    from cnns_spectrograms.fan_out import joblib_backend

    with tempfile.TemporaryDirectory() as scratch:
        sources = expand_recordings([Path(each) for each in inference.recordings], Path(scratch))
        _check(sources, folder, inference)
        if any(not source.error and is_there(source.path) for source in sources):
            _check_model(inference, model)
        folder.mkdir(parents=True, exist_ok=True)
        if len(sources) == 1:
            return pd.DataFrame([_predict(sources[0], folder, inference, model)])
        tasks = (delayed(_predict)(source, folder, inference, model, True) for source in sources)
        rows = []
        with joblib_backend(backend, address, n_jobs), parallel_config(n_jobs=n_jobs):
            results = Parallel(return_as="generator")(tasks)
            for row in tqdm(results, total=len(sources), unit="recording", disable=None):
                if row["error"]:  # logged at once, while others are still to come
                    logger.error("%s: %s", row["recording"], row["error"])
                rows.append(row)
    return pd.DataFrame(rows)


def _predict(
    source: Source,
    folder: Path,
    inference: InferenceParameters,
    model: Path | None,
    in_worker: bool = False,
) -> dict[str, Any]:
    """Analyse and write one recording; return its row of the table."""
    if in_worker:  # recordings are what is shared out, so each has one thread
        os.environ["OMP_NUM_THREADS"] = "1"  # see `model.count_threads`
    row: dict[str, Any] = {
        "recording": source.label,
        "lead": "",
        "n_beats": 0,
        "n_unusable": 0,
        **dict.fromkeys(AAMI_CLASSES, 0),
        "duration_s": 0.0,
        "error": "",
    }
    of_csv = is_csv(source.path)
    try:
        if source.error:
            raise RecordError(source.error)
        result = analyse(
            source.path,
            inference.fs if of_csv else None,
            columns=inference.columns if of_csv else None,
            model=model,
            **inference.model_dump(
                include={"lead", "peaks", "sliding", "accurate", "count_unusable"}
            ),
        )
        result.write(folder, inference.report)
    except (ValueError, OSError) as error:
        # Of an archive, the user knows no other path.
        message = str(error).replace(str(source.path.parent), str(Path(source.label).parent))
        for name in (source.label, Path(source.label).name):  # the table has it already
            message = message.removeprefix(f"{name}: ")
        return {**row, "error": message}
    return {
        **row,
        "lead": result.analysis.lead,
        "n_beats": len(result.beats),
        "n_unusable": result.summary["n_unusable"],
        **result.summary["counts"],
        "duration_s": round(result.recording.duration_s, 3),
    }


def _check_model(inference: InferenceParameters, path: Path | None) -> None:
    """Load the model, so that one that cannot be used ends all work."""
    model = load_model(path, inference.accurate)
    if model.synthetic_data:
        logger.warning(
            "%s was trained on simulated recordings: it says nothing about hearts", model.path
        )
    if inference.sliding:
        from cnns_spectrograms.inference.analysis import check_slides

        check_slides(model)
