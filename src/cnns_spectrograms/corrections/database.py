"""Corrected recordings as a WFDB database that a training can read.

The folder holds, besides the records, what PhysioNet's databases hold too: RECORDS, and
ANNOTATORS, which names the annotator. PATIENTS holds whose each record is, so that no patient can
train a network that another of their recordings tests. ORIGINS holds what recording each was made
from, so that none takes the place of another's.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from cnns_spectrograms.corrections.outputs import ANNOTATOR, write_corrected_annotations
from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.ecg.databases import PATIENTS_FILE, read_patients
from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.ecg.splits import name_corrected
from cnns_spectrograms.files import replacing
from cnns_spectrograms.parameters import CORRECTED
from cnns_spectrograms.recordings.recording import Recording

logger = logging.getLogger(__name__)

ORIGINS_FILE = "ORIGINS"
"""File that names what each record was made from, in lines of record,digest,database/recording."""

_GAIN = 1000.0  # per mV: 1 uV, finer than any recorder
_MOST = 32767  # of format 16, whose least number stands for a missing sample
_MANY = 0.001  # share of a lead's samples that are cut, of which a warning tells


def add_record(folder: Path, session: Session, recording: Recording, db: str, patient: str) -> str:
    """Write a corrected recording into a database, in place of an earlier version of itself.

    It is read as a training would read it before any file of the database changes. Signals and
    annotations are there before RECORDS names them. Signals are stored in steps of 1 uV
    and limited to 32.767 mV either way of the median, beyond which only artefacts lie.

    Args:
        folder: of the database; is made where it is not.
        session: the corrections.
        recording: gives the leads, the analysed one first.
        db: database that the recording is of, or `parameters.UPLOADED`.
        patient: whose it is, as `ecg.records.patient_of` names patients: "db/patient".

    Returns:
        The name of the record.

    Raises:
        ValueError: the patient is not named in that form, no beat stands, or the name is that of a
            record made from another recording.
        RecordError: no training could read the recording.
    """
    if not re.fullmatch(r"[^/\s,]+/[^/\s,]+", patient):
        raise ValueError(
            f"found the patient {patient!r}; expected database/patient, such as mitdb/201 or "
            f"own/anna, without spaces and commas"
        )
    if not len(session.order()):
        raise ValueError(f"no beat of {session.source.recording} stands; nothing can be learnt")
    name = name_corrected(db, recording.name)
    leads = sorted(recording.lead_names, key=lambda lead: lead != session.source.lead)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        _write_signals(scratch, name, recording, leads)
        write_corrected_annotations(scratch / f"{name}.{ANNOTATOR}", session)
        (scratch / "ANNOTATORS").write_text(f"{ANNOTATOR}\tcorrected beats\n")
        read_record(scratch, CORRECTED, name)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # of windows that add recordings at the same time
            patients = read_patients(folder) if (folder / PATIENTS_FILE).is_file() else {}
            origins = _read_origins(folder)
            if name in patients and name in origins:
                _check_origin(folder, name, origins[name], session, recording, db)
            for file in scratch.iterdir():
                with replacing(folder / file.name) as partial:
                    shutil.copyfile(file, partial)
            patients[name] = patient
            origins[name] = f"{session.source.digest},{_spell(db, recording)}"
            lines = [f"{each},{patient}\n" for each, patient in sorted(patients.items())]
            _write(folder / PATIENTS_FILE, "".join(lines))
            lines = [f"{a},{b}\n" for a, b in sorted(origins.items()) if a in patients]
            _write(folder / ORIGINS_FILE, "".join(lines))
            _write(folder / "RECORDS", "".join(f"{each}\n" for each in sorted(patients)))
    return name


def _read_origins(folder: Path) -> dict[str, str]:
    """Return "digest,database/recording" of each record, of those that ORIGINS names."""
    path = folder / ORIGINS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: origin for name, _, origin in (line.partition(",") for line in lines)}


def _check_origin(
    folder: Path, name: str, origin: str, session: Session, recording: Recording, db: str
) -> None:
    """Refuse to replace the record of another recording, whose name is only written the same."""
    digest, _, before = origin.partition(",")
    if digest == session.source.digest:
        return
    for lead in recording.lead_names:  # the earlier version may be of another lead
        if digest == hashlib.sha256(recording.read(lead).astype("<f4").tobytes()).hexdigest():
            return
    raise ValueError(
        f"found the record {name} in {folder}, made from {before}; expected an earlier version of "
        f"{_spell(db, recording)}, whose signals are others; take that record out of RECORDS and "
        f"PATIENTS in the folder, or rename this recording's file, and correct it under that name"
    )


def _spell(db: str, recording: Recording) -> str:
    return " ".join(f"{db}/{recording.name}".split())


def _write_signals(folder: Path, name: str, recording: Recording, leads: Sequence[str]) -> None:
    """Write leads as a WFDB record."""
    import wfdb

    digital = np.empty((recording.n_samples, len(leads)), np.int16)
    baselines = []
    for i, lead in enumerate(leads):
        digital[:, i], baseline = _digitise(recording, lead)
        baselines.append(baseline)
    wfdb.wrsamp(
        name,
        fs=recording.fs,
        units=["mV"] * len(leads),
        sig_name=list(leads),
        d_signal=digital,
        fmt=["16"] * len(leads),
        adc_gain=[_GAIN] * len(leads),
        baseline=baselines,
        write_dir=str(folder),
    )


def _digitise(recording: Recording, lead: str) -> tuple[NDArray[np.int16], int]:
    """Return a lead in steps of 1 uV about its median, and the baseline: what stands for 0 mV.

    An electrode's offset is up to 300 mV, and the integers reach a ninth of that.
    """
    steps = (recording.read(lead) * _GAIN).round()
    known = np.isfinite(steps)
    offset = round(float(np.median(steps[known]))) if known.any() else 0
    steps -= offset
    share = float((np.abs(steps[known]) > _MOST).sum()) / len(steps)
    if share > _MANY:
        logger.warning(
            "%s: %.1f %% of lead %s are more than %g mV from its median, and are cut there",
            *(recording.name, 100 * share, lead, _MOST / _GAIN),
        )
    steps = np.clip(steps, -_MOST, _MOST)
    return np.where(known, steps, -_MOST - 1).astype(np.int16), -offset


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
