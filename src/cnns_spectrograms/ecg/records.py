"""Annotated WFDB records for training: leads at one sampling rate; damaged ones are refused."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, map_symbols
from cnns_spectrograms.ecg.baseline import HIGHPASS_HZ, remove_baseline
from cnns_spectrograms.ecg.databases import find_annotator, read_patients
from cnns_spectrograms.ecg.gaps import find_flat_stretches, number_stretches
from cnns_spectrograms.ecg.resampling import resample
from cnns_spectrograms.ecg.windows import record_keys, signal_key
from cnns_spectrograms.parameters import CORRECTED, IngestionParameters, RecordParameters
from cnns_spectrograms.recordings.errors import RecordError, naming
from cnns_spectrograms.recordings.leads import (
    KNOWN_VOLTAGES,
    choose_lead,
    choose_others,
    is_same_lead,
    mv_per_unit,
)
from cnns_spectrograms.recordings.wfdb_annotations import move_to_rate, read_annotation_file
from cnns_spectrograms.recordings.wfdb_header import (
    check_signal_files,
    read_header,
    read_samples,
)

logger = logging.getLogger(__name__)

MIN_DURATION_S = 5.0
"""Shortest recording that is read, s: some five beats, twice the default window."""

# Moody and Mark 2001 (doi:10.1109/51.932724): 201 and 202 come from one subject.
_SAME_PATIENT = {"mitdb/202": "mitdb/201"}
_NOTHING_KNOWN = RecordParameters()


@dataclass(frozen=True, eq=False)
class Record:
    """Leads of a recording at the target rate, with its reference beats.

    Attributes:
        row: its row of the `records` table, see `describe_record`.
        signals: of each lead, `(n_samples,)` float32, mV, without its baseline (`ecg.baseline`).
        beats: one row per reference beat, in time order: db, record_id, patient_id, beat_idx,
            time_s, sample, stretch (see `ecg.gaps.number_stretches`), symbol, aami_class, lead, fs.
    """

    row: dict[str, Any]
    signals: list[NDArray[np.float32]]
    beats: pd.DataFrame

    @property
    def signal(self) -> NDArray[np.float32]:
        """The preferred lead."""
        return self.signals[0]


def patient_of(db: str, record_id: str, known: Mapping[str, RecordParameters] | None = None) -> str:
    """Return the patient of a record, as `db/patient`.

    That is the one in `known`, what is known of records by `db/record_id`, with a slash that of
    another database; any other record is a patient of its own. mitdb/201 and mitdb/202 are one
    patient.
    """
    given = (known or {}).get(f"{db}/{record_id}", _NOTHING_KNOWN).patient or record_id
    patient = given if "/" in given else f"{db}/{given}"
    return _SAME_PATIENT.get(patient, patient)


def read_records(
    physionet: Path,
    record_list: pd.DataFrame,
    ingestion: IngestionParameters,
    n_jobs: int,
) -> tuple[dict[str, NDArray[np.float32]], pd.DataFrame, pd.DataFrame]:
    """Read many records on several cores, with a progress bar.

    Args:
        physionet: folder that holds one folder per database.
        record_list: columns db, record_id and fault (what is wrong with its files, or '').
        ingestion: how a record is read, and whether one that cannot be used is left out, with its
            reason in `records`.
        n_jobs: joblib workers, -1 for every core.

    Returns:
        The signals by `ecg.windows.signal_key`, the `beats` table and the `records` table.

    Raises:
        RecordError: a record cannot be used and is not to be skipped, none can be used, or none
            has the preferred lead.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    listed = list(record_list[["db", "record_id", "fault"]].itertuples(index=False, name=None))
    known, folder_of = ingestion.known_records(), {db: physionet / db for db, _, _ in listed}
    if ingestion.corrections is not None:
        folder_of[CORRECTED] = Path(ingestion.corrections)
        for record_id, patient in read_patients(ingestion.corrections).items():
            known[f"{CORRECTED}/{record_id}"] = RecordParameters(patient=patient, lead=None)
    tasks = (
        delayed(_read_or_explain)(
            *(folder_of[db], db, record_id, fault),
            fs=ingestion.fs,
            preferred_lead=ingestion.preferred_lead,
            n_leads=ingestion.n_leads,
            other_class=ingestion.other_annotations,
            known=known,
        )
        for db, record_id, fault in listed
    )
    signals: dict[str, NDArray[np.float32]] = {}
    beats: list[pd.DataFrame] = []
    rows: list[dict[str, Any]] = []
    with Parallel(n_jobs=n_jobs, return_as="generator") as parallel:
        # disable=None: no bar where the output is not a terminal.
        results = tqdm(parallel(tasks), "Reading", len(listed), unit="record", disable=None)
        for (db, record_id, _), result in zip(listed, results, strict=True):
            if isinstance(result, Record):
                for i, signal in enumerate(result.signals):
                    signals[signal_key(f"{db}/{record_id}", i)] = signal
                beats.append(result.beats)
                rows.append(result.row)
                continue
            if ingestion.on_bad_record == "raise":
                raise RecordError(
                    f"{result}; to go on without such records, set ingestion.on_bad_record to skip"
                ) from result
            rows.append(describe_record(db, record_id, ingestion.fs, known, reason=str(result)))
    records = pd.DataFrame(rows)
    if fault := _find_fault(records, ingestion.preferred_lead, known):
        raise RecordError(fault)
    return signals, pd.concat(beats, ignore_index=True), records


def _find_fault(
    records: pd.DataFrame, preferred_lead: str | None, known: Mapping[str, RecordParameters]
) -> str:
    """Return why records, or those of a database, are of no use; or that the lead is a typo.

    The default lead is not asked for: a database without it is read on another, with a warning.
    """
    if records.empty:
        return "no record is listed; name databases and records in ingestion.databases"
    n_beats = records[records["status"] == "ok"].groupby("db")["n_beats"].sum()
    for db in n_beats.index[n_beats == 0]:
        return (
            f"the annotations of database {db} mark no beat; in a file ANNOTATORS in its folder, "
            f"name the annotator that does, such as qrs, alone"
        )
    if not (records["status"] == "ok").any():
        return f"none of {len(records)} records can be used; the first: {records['reason'].iloc[0]}"
    # Records whose lead is given do not need the preferred one.
    given = {key for key, record in known.items() if record.lead is not None}
    free = records[~record_keys(records).isin(given)]
    leads = sorted({lead for row in free["leads"] for lead in row.split("|") if lead})
    if not leads or any(is_same_lead(lead, preferred_lead or lead) for lead in leads):
        return ""
    if preferred_lead == IngestionParameters.model_fields["preferred_lead"].default:
        logger.warning(
            "No record has the lead %s (ingestion.preferred_lead): read is %s",
            preferred_lead,
            ", ".join(sorted(set(free["lead"]) - {""})),
        )
        return ""
    return (
        f"no record has the lead {preferred_lead!r}; found {', '.join(leads)}. Set "
        f"ingestion.preferred_lead to one of them, or to null to prefer none"
    )


def _read_or_explain(
    folder: Path, db: str, record_id: str, fault: str, **options: Any
) -> Record | RecordError:
    """Return the record, or why it cannot be used: a worker's error would stop the others."""
    if fault:
        return RecordError(f"{db}/{record_id}: {fault}")
    try:
        return read_record(folder, db, record_id, **options)
    except RecordError as error:
        return error


def describe_record(
    db: str,
    record_id: str,
    fs: int,
    known: Mapping[str, RecordParameters] | None = None,
    **found: Any,
) -> dict[str, Any]:
    """Return the row of the `records` table for a record.

    Args:
        db: database name.
        record_id: record name.
        fs: target sampling rate, Hz.
        known: see `patient_of`.
        found: columns of the table: why a record is left out, or what was read. Others hold what
            stands for a record that is left out.
    """
    return {
        "db": db,
        "record_id": record_id,
        "patient_id": patient_of(db, record_id, known),
        "lead": "",
        "leads": "",
        "n_leads": 0,
        "source_fs": np.nan,
        "fs": fs,
        "n_samples": 0,
        "duration_s": 0.0,
        "n_beats": 0,
        "highpass_hz": HIGHPASS_HZ,
        "signal_sha256": "",
        "status": "skipped",
        "reason": "",
        **found,
    }


def hash_signal(signal: NDArray[np.float32]) -> str:
    """Return the SHA-256 hex digest of a signal's bytes, little-endian."""
    return hashlib.sha256(signal.astype("<f4").tobytes()).hexdigest()


def summarise_records(records: pd.DataFrame, beats: pd.DataFrame) -> dict[str, Any]:
    """Return what was read, ready for JSON.

    Returns:
        n_records, n_signals, hours, beats_by_class (by database and class), leads (records by first
        lead) and skipped (db, record_id and reason of each record left out).
    """
    read = records[records["status"] == "ok"]
    counts = pd.crosstab(beats["db"], beats["aami_class"])
    skipped = records.loc[records["status"] == "skipped", ["db", "record_id", "reason"]]
    return {
        "n_records": len(read),
        "n_signals": int(read["n_leads"].sum()),
        "hours": round(float(read["duration_s"].sum()) / 3600, 3),
        "beats_by_class": {
            str(db): {name: int(row.get(name, 0)) for name in AAMI_CLASSES}
            for db, row in counts.iterrows()
        },
        "leads": {lead: int(n) for lead, n in read["lead"].value_counts().sort_index().items()},
        "skipped": skipped.to_dict("records"),
    }


def read_record(
    folder: Path | str,
    db: str,
    record_id: str,
    *,
    fs: int = 360,
    preferred_lead: str | None = "MLII",
    n_leads: int = 1,
    other_class: str | None = None,
    known: Mapping[str, RecordParameters] | None = None,
) -> Record:
    """Read a WFDB record and its reference annotations, and check that they are whole.

    The annotations are those of `ecg.databases.find_annotator`, in most databases ``.atr``.

    A beat stands at `round(source_sample * fs / source_fs)`; `time_s` is its exact time in the
    source. An annotation at the very end of the recording is moved to the last sample (svdb 860
    has one).

    Args:
        folder: folder of the database.
        db: database name.
        record_id: record name, without extension.
        fs: target sampling rate, Hz.
        preferred_lead: lead that is read where the record has it, see `choose_lead`; of a corrected
            recording it is the first.
        n_leads: most leads that are read, see `choose_others`; in place of one after the first that
            is flat, has invalid samples, or differs from it in length, the next is read.
        other_class: class of the annotations that are not beats, which are then in `beats` too;
            None leaves them out.
        known: patient and lead of records, by `db/record_id`, see `patient_of`. A lead that is
            given here is read in place of the preferred one.

    Raises:
        RecordError: a file is missing, truncated, corrupt or at odds with its header, the lead is
            flat or has invalid samples, or an annotation is unknown or outside the recording.
    """
    path, key = Path(folder) / record_id, f"{db}/{record_id}"
    with naming(key):
        header = _read_whole_header(path)
        source = read_samples(path, header, range(header.n_sig))
        _check_sample_checksums(header, source)
        leads = [name or f"signal {i}" for i, name in enumerate(source.sig_name, start=1)]
        given = (known or {}).get(key, _NOTHING_KNOWN).lead
        if given not in (None, *leads):
            raise RecordError(
                f"found the leads {', '.join(leads)}; expected {given!r} as in "
                f"ingestion.databases.{db}.{record_id}.lead; correct it there"
            )
        # Of a corrected recording the lead that was corrected comes first.
        first = 0 if db == CORRECTED else choose_lead(leads, given or preferred_lead)
        signal, source_fs, flat_s = _read_lead(header, source, first, leads[first], fs)
        others = choose_others(leads, first, len(leads))
        further = _read_others(header, source, others, leads, fs, signal.size)
        signals = [signal, *islice(further, n_leads - 1)]
        samples, symbols, _, ann_fs = read_annotation_file(
            path, find_annotator(folder), fs=float(header.fs), n_samples=int(header.sig_len)
        )
    classes = map_symbols(symbols)
    classes[[each is None for each in classes]] = other_class
    kept = np.array([each is not None for each in classes], dtype=bool)
    row = describe_record(
        *(db, record_id, int(fs), known),
        lead=leads[first],
        leads="|".join(leads),
        n_leads=len(signals),
        source_fs=source_fs,
        n_samples=signal.size,
        duration_s=signal.size / fs,
        n_beats=int(kept.sum()),
        signal_sha256=hash_signal(np.concatenate(signals)),
        status="ok",
    )
    sample = move_to_rate(samples[kept], ann_fs, fs, signal.size)
    beats = pd.DataFrame(
        {
            "db": db,
            "record_id": record_id,
            "patient_id": row["patient_id"],
            "beat_idx": np.arange(kept.sum(), dtype=np.int64),
            "time_s": samples[kept] / ann_fs,
            "sample": sample,
            "stretch": number_stretches(sample / fs, flat_s),
            "symbol": np.array(symbols, dtype=object)[kept],
            "aami_class": classes[kept],
            "lead": leads[first],
            "fs": np.int64(fs),
        }
    )
    return Record(row, signals, beats)


def _read_others(
    header: Any, source: Any, others: Sequence[int], leads: Sequence[str], fs: int, n_samples: int
) -> Iterator[NDArray[np.float32]]:
    """Yield further leads as `_read_lead` does, those that are whole and of the same length."""
    for i in others:
        with contextlib.suppress(RecordError):
            signal, *_ = _read_lead(header, source, i, leads[i], fs)
            if signal.size == n_samples:
                yield signal


def _read_whole_header(path: Path) -> Any:
    """Return a header of one segment whose signal files are there and whole."""
    import wfdb

    header, fault = read_header(path), ""
    if not isinstance(header, wfdb.Record):
        fault = (
            f"a record of {header.n_seg} segments; expected one segment; convert it to a "
            f"single-segment record (WFDB's xform does) or remove it"
        )
    elif "61" in header.fmt:
        fault = (
            "samples in format 61, whose integers wfdb does not read; expected another format; "
            "write the record again, such as in format 16"
        )
    if fault:
        raise RecordError(f"found {fault}")
    check_signal_files(path, header)
    return header


def _check_sample_checksums(header: Any, source: Any) -> None:
    """Compare the samples with the 16-bit sums in the header, as WFDB defines them."""
    for i, samples in enumerate(source.e_d_signal):
        expected = header.checksum[i]
        found = int(np.sum(samples, dtype=np.int64).astype(np.int16))
        if expected is not None and (found - expected) % 65536:
            raise RecordError(
                f"found sample checksum {found} in signal {i + 1} ({source.sig_name[i]}); expected "
                f"{expected} as in the header; the signal file is corrupt: copy or download it "
                f"again"
            )


def _read_lead(
    header: Any, source: Any, i_lead: int, lead: str, fs: int
) -> tuple[NDArray[np.float32], float, list[tuple[float, float]]]:
    """Return a lead at a rate, mV, without its baseline, if it is whole.

    Its own rate comes with it, and begin and end of its flat stretches, s.
    """
    source_fs = float(header.fs) * (source.samps_per_frame[i_lead] or 1)
    signal: NDArray[np.float64] = source.dac(expanded=True)[i_lead]
    unit, duration_s = header.units[i_lead], signal.size / source_fs
    mv = mv_per_unit(unit)
    invalid = np.flatnonzero(~np.isfinite(signal))
    if duration_s < MIN_DURATION_S:
        fault = (
            f"{signal.size} samples ({duration_s:.3g} s); expected at least {MIN_DURATION_S:g} s"
        )
    elif skew := header.skew[i_lead]:  # to undo it would leave the end without samples
        fault = f"a skew of {skew} frames for lead {lead}; expected none"
    elif mv is None:
        fault = f"unit {unit!r} for lead {lead}; expected a voltage ({KNOWN_VOLTAGES})"
    elif invalid.size:
        first_s = invalid[0] / source_fs
        fault = f"{invalid.size} invalid (NaN) samples in lead {lead}, the first at {first_s:.3f} s"
    elif np.ptp(signal) == 0:
        fault = f"a flat lead {lead} (every sample is {signal[0] * mv:g} mV); expected an ECG"
    else:
        lead_mv = resample(signal if mv == 1 else signal * mv, source_fs, fs)
        return remove_baseline(lead_mv, fs), source_fs, find_flat_stretches(lead_mv, fs)
    raise RecordError(
        f"found {fault}; choose another lead, mend the record, or remove it from the list"
    )
