"""Corrected recordings as a WFDB database that a training can read.

The folder holds, besides the records, what PhysioNet's databases hold too: RECORDS, and
ANNOTATORS, which names the annotator. PATIENTS holds whose each record is, so that no patient can
train a network that another of their recordings tests.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import numpy as np

from cnns_spectrograms.corrections.outputs import ANNOTATOR, write_corrected_annotations
from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.ecg.databases import PATIENTS_FILE, read_patients
from cnns_spectrograms.ecg.splits import name_corrected
from cnns_spectrograms.files import replacing
from cnns_spectrograms.recordings.recording import Recording

OWN = "own"
"""Database of recordings that are of none, in the names of records and patients."""

_GAIN = 1000.0  # per mV: 1 uV, finer than any recorder
_MOST = 32767  # of format 16, whose least number stands for a missing sample


def add_record(folder: Path, session: Session, recording: Recording, db: str, patient: str) -> str:
    """Write a corrected recording into a database, in place of an earlier version of itself.

    Signals and annotations are there before RECORDS names them. Signals are stored in steps of 1 uV
    and limited to 32.767 mV either way, beyond which only artefacts lie.

    Args:
        folder: of the database; is made where it is not.
        session: the corrections.
        recording: gives the leads, the analysed one first.
        db: database that the recording is of, or `OWN`.
        patient: whose it is, as `ecg.records.patient_of` names patients: "db/patient".

    Returns:
        The name of the record.

    Raises:
        ValueError: the patient is not named in that form, or no beat stands.
    """
    import wfdb

    if not re.fullmatch(r"[^/\s,]+/[^/\s,]+", patient):
        raise ValueError(
            f"found the patient {patient!r}; expected database/patient, such as mitdb/201 or "
            f"own/anna, without spaces and commas"
        )
    if not len(session.order()):
        raise ValueError(f"no beat of {session.source.recording} stands; nothing can be learnt")
    name = name_corrected(db, recording.name)
    folder.mkdir(parents=True, exist_ok=True)
    leads = sorted(recording.lead_names, key=lambda lead: lead != session.source.lead)
    digital = np.empty((recording.n_samples, len(leads)), np.int16)
    for i, lead in enumerate(leads):
        scaled = np.clip(recording.read(lead) * _GAIN, -_MOST, _MOST).round()
        digital[:, i] = np.where(np.isfinite(scaled), scaled, -_MOST - 1)
    with tempfile.TemporaryDirectory() as scratch:
        wfdb.wrsamp(
            name,
            fs=recording.fs,
            units=["mV"] * len(leads),
            sig_name=leads,
            d_signal=digital,
            fmt=["16"] * len(leads),
            adc_gain=[_GAIN] * len(leads),
            baseline=[0] * len(leads),
            write_dir=scratch,
        )
        for extension in ("dat", "hea"):
            with replacing(folder / f"{name}.{extension}") as partial:
                shutil.copyfile(Path(scratch) / f"{name}.{extension}", partial)
    write_corrected_annotations(folder / f"{name}.{ANNOTATOR}", session)
    patients = read_patients(folder) if (folder / PATIENTS_FILE).is_file() else {}
    patients[name] = patient
    _write(folder / PATIENTS_FILE, "".join(f"{a},{b}\n" for a, b in sorted(patients.items())))
    _write(folder / "ANNOTATORS", f"{ANNOTATOR}\tcorrected beats\n")
    _write(folder / "RECORDS", "".join(f"{each}\n" for each in sorted(patients)))
    return name


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
