"""Read annotated ECG recordings in WFDB format, at one sampling rate, and refuse damaged ones."""

from __future__ import annotations

import copy
import hashlib
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, map_symbols
from cnns_spectrograms.ecg.baseline import HIGHPASS_HZ, remove_baseline
from cnns_spectrograms.parameters import RecordParameters

logger = logging.getLogger(__name__)

MIN_DURATION_S = 5.0
"""Shortest recording that is read, s: some five beats, twice the default window."""

# Moody and Mark 2001 (doi:10.1109/51.932724): 201 and 202 come from one subject.
_PATIENT_OF_RECORD = {("mitdb", "202"): "mitdb/201"}

KNOWN_VOLTAGES = "V, mV, uV or nV"
"""What `mv_per_unit` knows, for errors."""

_MV_PER_PREFIX = {
    "": 1e3, "m": 1.0, "milli": 1.0, "u": 1e-3, "micro": 1e-3, "n": 1e-6, "nano": 1e-6,
}  # fmt: skip

# The micro sign and the Greek letter, each also as it looks where UTF-8 is read as Latin-1.
_MICRO = ("\u00c2\u00b5", "\u00ce\u00bc", "\u00b5", "\u03bc")

MAX_HEADER_BYTES = 1 << 20
MAX_SEGMENTS = 20_000

# A file beside the header: wfdb would open any path that stands there, and understands one dot.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+)?")

# FORMATxSAMPLES:SKEW+OFFSET and GAIN(BASELINE)/UNIT: what wfdb does not take for a number it reads
# as the next field.
_FORMAT_FIELD = re.compile(r"\d+(x\d+)?(:\d+)?(\+\d+)?")
_GAIN_FIELD = re.compile(r"-?\d*\.?\d*(e[+-]?\d+)?(\(-?\d+\))?(/.*)?")

# WFDB signal formats with a fixed size: bytes a sample, as a fraction.
BYTES_PER_SAMPLE = {
    "8": Fraction(1),
    "16": Fraction(2),
    "24": Fraction(3),
    "32": Fraction(4),
    "61": Fraction(2),
    "80": Fraction(1),
    "160": Fraction(2),
    "212": Fraction(3, 2),
    "310": Fraction(4, 3),
    "311": Fraction(4, 3),
}


CHECKSUM_FILES = ("SHA256SUMS.txt", "SHA256SUMS")
"""A database's list of checksums: PhysioNet's name for it, then one that old copies have."""

# Of the standard 12, as `_plain_lead` writes them.
_LEADS = {"i", "ii", "iii", "avr", "avl", "avf", *(f"v{i}" for i in range(1, 7))}


class RecordError(ValueError):
    """A recording cannot be used: what was found, what was expected, and what to do."""


@dataclass(frozen=True, eq=False)
class Record:
    """One lead of a recording at the target rate, with its reference beats.

    Attributes:
        db: database name.
        record_id: name of the record in its database.
        patient_id: equal for the records of one patient.
        lead: name of the lead read.
        leads: names of all leads of the recording.
        source_fs: sampling rate of the recording, Hz.
        fs: sampling rate of `signal`, Hz.
        signal: `(n_samples,)` float32, mV, without its baseline (`ecg.baseline`).
        beats: one row per reference beat, in time order: db, record_id, patient_id, beat_idx,
            time_s, sample, symbol, aami_class, lead, fs.
    """

    db: str
    record_id: str
    patient_id: str
    lead: str
    leads: tuple[str, ...]
    source_fs: float
    fs: int
    signal: NDArray[np.float32]
    beats: pd.DataFrame


def mv_per_unit(text: str) -> float | None:
    """Return how many millivolts a unit is; None for one that is no voltage.

    Case does not matter (no ECG is in megavolts), nor how the micro sign is written: `uV`, `µV`,
    `UV`, `microvolts`.
    """
    match = re.fullmatch(r"([a-z]*?)(?:v|volts?)", _spell_micro(text).strip(" .").lower())
    return None if match is None else _MV_PER_PREFIX.get(match[1])


def _spell_micro(text: str) -> str:
    for sign in _MICRO:
        text = text.replace(sign, "u")
    return text


def read_header(name: str, path: Path) -> Any:
    """Return a WFDB header as wfdb takes it apart, after checks of its text.

    wfdb guesses where it does not understand a field, and opens any file that is named. A time or
    date that it cannot read is left out: nothing here uses it. Units are those of the file.

    Args:
        name: what the record is called in an error.
        path: of the record, without extension.

    Returns:
        `wfdb.Record`, or `wfdb.MultiRecord` for several segments.

    Raises:
        RecordError: there is no header, or it cannot be understood.
    """
    import wfdb

    file = path.with_name(f"{path.name}.hea")
    if not file.is_file():
        raise RecordError(
            f"{name}: found no header {file}; expected .hea, .dat and .atr files of that name; "
            "correct the record's name or the folder"
        )
    if file.stat().st_size > MAX_HEADER_BYTES:
        raise RecordError(
            f"{name}: found {file.stat().st_size:,} bytes in {file}; expected a header of at most "
            f"{MAX_HEADER_BYTES:,}"
        )
    lines = _read_header_lines(file)
    n_signals, fs = _parse_first_line(name, file, lines)
    for line in lines[1:]:
        text = line.split()[0]
        if text != "~" and not _PLAIN_NAME.fullmatch(text):
            raise RecordError(
                f"{name}: {file} names the file {text[:80]!r}; expected a file beside the header, "
                f"without a folder, of letters, digits, - and _ with one dot at most; put it "
                f"there, or rename it"
            )
    header = _parse_header(name, file, lines)
    if int(header.n_sig) != n_signals or float(header.fs) != fs:
        raise RecordError(
            f"{name}: {file} cannot be understood: found {header.n_sig} signals at a sampling rate "
            f"of {header.fs} Hz after {n_signals} at {fs:g} Hz; correct its first line"
        )
    if isinstance(header, wfdb.Record):
        header.units = _parse_units(name, file, lines[1:])
    return header


def _read_header_lines(file: Path) -> list[str]:
    """Return the lines of a WFDB header that are no comments, as wfdb takes them apart.

    Where wfdb drops what is not ASCII, so that `µV` becomes `V`, the micro sign is `u` here, and
    anything else a question mark.
    """
    text = _spell_micro(file.read_text(encoding="iso-8859-1"))
    lines = map(str.strip, text.encode("ascii", "replace").decode("ascii").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _parse_first_line(name: str, file: Path, lines: Sequence[str]) -> tuple[int, float]:
    """Return the number of signals and the rate, Hz, which wfdb would take to be 250 if absent."""
    fields = lines[0].split() if lines else []
    try:
        n_signals = int(fields[1])
        n_samples = int(fields[3]) if len(fields) > 3 else 0
    except (ValueError, IndexError):
        n_signals = n_samples = -1
    if n_signals < 0 or n_samples < 0:
        raise RecordError(
            f"{name}: found a corrupt {file}, with {' '.join(fields)[:80]!r} at the head; expected "
            f"name, number of signals (leads), sampling rate and number of samples; correct it, or "
            f"copy or download the record again"
        )
    if n_signals == 0:
        raise RecordError(
            f"{name}: found no signals in {file}; expected at least one of the leads of an ECG; "
            "remove the record from the list"
        )
    rate = re.split(r"[/(]", fields[2])[0] if len(fields) > 2 else ""
    try:
        fs = float(rate)
    except ValueError:
        fs = np.nan
    if not (np.isfinite(fs) and fs > 0):
        raise RecordError(
            f"{name}: found sampling rate {rate!r} in the first line of {file}; expected a "
            "positive number of Hz as its third field; correct the header"
        )
    if "." in fields[0]:
        raise RecordError(
            f"{name}: {file} calls its record {fields[0][:80]!r}; expected letters, digits, - and "
            f"_ alone there (the header itself may be called as it is); correct its first word"
        )
    if len(lines) > MAX_SEGMENTS:
        raise RecordError(f"{name}: found {len(lines)} lines in {file}; expected fewer")
    return n_signals, fs


def _parse_header(name: str, file: Path, lines: Sequence[str]) -> Any:
    import wfdb

    try:
        return wfdb.rdheader(str(file.with_suffix("")))
    except ValueError:
        first = lines[0].split()
        if len(first) < 5:
            raise
    # wfdb refuses the whole record for a time or date that it cannot read.
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join([" ".join(first[:4]), *lines[1:]])
        Path(folder, "header.hea").write_text(text, encoding="ascii")
        header = wfdb.rdheader(str(Path(folder, "header")))
    logger.info("%s: no time and date are read from %r in %s", name, " ".join(first[4:]), file)
    return header


def _parse_units(name: str, file: Path, lines: Sequence[str]) -> list[str]:
    """Return the unit of each signal of a WFDB header, checking the fields before it."""
    units = []
    for line in lines:
        fields = [*line.split(), "", ""]
        for label, field, pattern, form in (
            ("format", fields[1], _FORMAT_FIELD, "xSAMPLES, :SKEW and +OFFSET"),
            ("gain", fields[2], _GAIN_FIELD, "(BASELINE) and /UNIT"),
        ):
            if field and not pattern.fullmatch(field):
                raise RecordError(
                    f"{name}: found the {label} {field[:80]!r} in {file}; expected a number, then "
                    f"maybe {form}, in digits with a decimal point; correct the header"
                )
        units.append(fields[2].partition("/")[2] or "mV")  # the format's default
    return units


def read_samples(
    path: Path, header: Any, channels: Sequence[int], first: int = 0, last: int | None = None
) -> Any:
    """Read samples of some signals of a record, by a header that `read_header` gave.

    Args:
        path: of the record, without extension.
        header: of one segment.
        channels: which signals.
        first: first frame.
        last: frame after the last; None for the end.

    Returns:
        `wfdb.Record` of these signals with `e_d_signal`, a list of integer arrays as they are
        stored: with all samples of a frame, and with their skew.
    """
    from wfdb.io import _signal

    found = copy.copy(header)
    for field in ("fmt", "adc_gain", "baseline"):  # what `dac` needs
        setattr(found, field, [getattr(header, field)[i] for i in channels])
    found.n_sig = len(channels)
    # Not `wfdb.rdrecord`, which would parse the header again, its date too.
    found.e_d_signal = _signal._rd_segment(
        file_name=header.file_name,
        dir_name=str(path.parent.absolute()),
        pn_dir=None,
        fmt=header.fmt,
        n_sig=header.n_sig,
        sig_len=header.sig_len,
        byte_offset=header.byte_offset,
        samps_per_frame=header.samps_per_frame,
        skew=header.skew,
        init_value=header.init_value,
        sampfrom=first,
        sampto=header.sig_len if last is None else last,
        channels=list(channels),
        ignore_skew=True,
    )
    return found


def list_records(folder: Path | str, *, nested: bool = False) -> list[str]:
    """Return the names of a database's records: its RECORDS file, else its header files.

    Args:
        folder: folder of the database.
        nested: names may lead into subfolders, as in PTB-XL.

    Raises:
        ValueError: the folder is absent, holds no record, or, unless `nested`, holds records in
            subfolders.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"no database folder {folder}; expected a folder of .hea, .dat and .atr files; "
            "correct the path or download the database"
        )
    index = folder / "RECORDS"
    if index.is_file():
        record_ids = index.read_text(encoding="utf-8").split()
    else:
        record_ids = sorted(path.stem for path in folder.glob("*.hea"))
    if not record_ids:
        raise ValueError(
            f"{folder} holds no record: found neither names in a RECORDS file nor .hea files; "
            "correct the path or download the database"
        )
    deeper = [record_id for record_id in record_ids if "/" in record_id]
    if deeper and not nested:
        raise ValueError(
            f"{index} lists records in subfolders ({', '.join(deeper[:3])}); expected records in "
            "the folder itself; give each subfolder as a database of its own"
        )
    return record_ids


def find_missing_files(folder: Path | str, record_ids: Iterable[str] | None = None) -> list[str]:
    """Return the names of the files that a database lacks.

    Args:
        folder: folder of the database; may be absent.
        record_ids: records that are wanted; None wants those of the RECORDS file, or of the
            header files where there is none.

    Returns:
        Names such as ``100.dat``; ``RECORDS`` where nothing tells the records.
    """
    folder = Path(folder)
    if record_ids is None:
        if not (folder / "RECORDS").is_file() and not any(folder.glob("*.hea")):
            return ["RECORDS"]
        record_ids = list_records(folder)
    names = [name for record_id in record_ids for name in _list_files(folder, record_id)]
    return [name for name in names if not (folder / name).is_file()]


def _list_files(folder: Path, record_id: str) -> list[str]:
    """Return the files of a record: header, signals, as the header names them, annotations."""
    header = folder / f"{record_id}.hea"
    signals = [f"{record_id}.dat"]
    if header.is_file():
        first, *named = [line.split()[0] for line in _read_header_lines(header)] or [""]
        # Of segments, and of what is no file beside the header, reading it says so.
        named = [] if "/" in first else named
        signals = [name for name in dict.fromkeys(named) if _PLAIN_NAME.fullmatch(name)]
    return [header.name, *signals, f"{record_id}.atr"]


def patient_of(db: str, record_id: str, known: Mapping[str, RecordParameters] | None = None) -> str:
    """Return the patient of a record, as `db/patient`.

    Args:
        db: database name.
        record_id: record name.
        known: what is known of records, by `db/record_id`. Of others, mitdb 201 and 202 are one
            patient, and any record is a patient of its own.
    """
    given = (known or {}).get(f"{db}/{record_id}")
    if given is not None and given.patient is not None:
        return f"{db}/{given.patient}"
    return _PATIENT_OF_RECORD.get((db, record_id), f"{db}/{record_id}")


def choose_lead(leads: Sequence[str], preferred: str | None) -> int:
    """Return the index of the lead that training reads and that prediction suggests.

    It is the preferred lead; else that lead under another name, as `II` or `ECG II` for `MLII`;
    else the first that is called ECG or EKG, which in a sleep recording is not the first of all;
    else the first.

    Raises:
        ValueError: there is no lead at all.
    """
    if not leads:
        raise ValueError("no lead to choose from; expected at least one signal name")
    if preferred in leads:
        return leads.index(preferred)
    same = [i for i, name in enumerate(leads) if preferred and is_same_lead(name, preferred)]
    called = [i for i, name in enumerate(leads) if _says_ecg(name)]
    return (same + called + [0])[0]


def is_same_lead(name: str, other: str) -> bool:
    """Return whether two names are of one lead, such as `MLII`, `II`, `ECG II` and `lead ii`."""
    return _plain_lead(name) == _plain_lead(other)


def is_called_ecg(name: str) -> bool:
    """Return whether a signal's name says that it is an ECG, or is that of an ECG lead."""
    return _says_ecg(name) or _plain_lead(name) in _LEADS


def _says_ecg(name: str) -> bool:
    return re.search("ecg|ekg", name, re.IGNORECASE) is not None


def _plain_lead(name: str) -> str:
    plain = re.sub(r"[\W_]", "", name.lower())
    plain = re.sub(r"^(?:ecg|ekg|lead)+(?=.)", "", plain)
    limb = re.fullmatch(r"(?:ml|d)(i{1,3}|[123])", plain)  # modified; as some languages write it
    return "i" * int(limb[1]) if limb and limb[1].isdecimal() else limb[1] if limb else plain


def resample(signal: ArrayLike, source_fs: float, fs: float) -> NDArray[np.float32]:
    """Bring a signal to another sampling rate with a polyphase filter.

    The filter has zero phase, so sample `i` of the source falls on sample `i * fs / source_fs`.
    Beyond its ends the signal is taken to go on along the line through its first and last sample,
    so that an offset does not ring there. A signal already at the target rate stays as it is.

    Args:
        signal: `(n_samples,)`, mV, two samples or more.
        source_fs: sampling rate of `signal`, Hz.
        fs: wanted sampling rate, Hz.

    Returns:
        `(ceil(n_samples * fs / source_fs),)` float32, mV.

    Raises:
        ValueError: the signal is not one-dimensional or too short, or a rate is not positive.
    """
    from scipy.signal import resample_poly

    signal = np.asarray(signal)
    if signal.ndim != 1 or signal.size < 2:
        raise ValueError(
            f"signal has shape {signal.shape}; expected (n_samples,) with at least 2 samples; "
            "pass one lead at a time"
        )
    ratio = rate_ratio(source_fs, fs)
    if ratio == 1:
        return signal.astype(np.float32, copy=False)
    resampled = resample_poly(
        signal.astype(np.float64, copy=False),
        ratio.numerator,
        ratio.denominator,
        window=make_resampling_filter(ratio),
        padtype="line",
    )
    return np.asarray(resampled, dtype=np.float32)


def make_resampling_filter(ratio: Fraction) -> NDArray[np.float64]:
    """Return the low-pass filter of `resample`, as ``scipy.signal.resample_poly`` takes it.

    It is SciPy's own (Kaiser window, beta 5), but that each of its phases passes a constant as it
    is. SciPy's phases differ by 0.1 %, which turns an electrode's offset into a tone.

    Args:
        ratio: samples after over samples before, as of `rate_ratio`.

    Returns:
        float64 (20 * m + 1,), with m the greater of the ratio's two numbers.
    """
    from scipy.signal import firwin

    up, most = ratio.numerator, max(ratio.numerator, ratio.denominator)
    taps = firwin(20 * most + 1, 1 / most, window=("kaiser", 5.0))
    phases = np.pad(taps, (0, -len(taps) % up)).reshape(-1, up)
    phases /= up * phases.sum(axis=0)
    return phases.ravel()[: len(taps)]


def read_record(
    folder: Path | str,
    db: str,
    record_id: str,
    *,
    fs: int = 360,
    preferred_lead: str | None = "MLII",
    other_class: str | None = None,
    known: Mapping[str, RecordParameters] | None = None,
) -> Record:
    """Read a WFDB record and its reference annotations (`.atr`), and check that they are whole.

    A beat stands at `round(source_sample * fs / source_fs)`; `time_s` is its exact time in the
    source. An annotation at the very end of the recording is moved to the last sample (svdb 860
    has one).

    Args:
        folder: folder of the database.
        db: database name.
        record_id: record name, without extension.
        fs: target sampling rate, Hz.
        preferred_lead: lead that is read where the record has it, see `choose_lead`.
        other_class: class of the annotations that are no beats, which then stand in `beats` too;
            None leaves them out.
        known: patient and lead of records, by `db/record_id`, see `patient_of`. A lead that is
            given here is read and no other.

    Raises:
        RecordError: a file is missing, truncated, corrupt or at odds with its header, the lead is
            flat or has invalid samples, or an annotation is unknown or outside the recording.
        ValueError: `fs` is not positive.
    """
    import wfdb

    if fs <= 0:
        raise ValueError(f"fs is {fs}; expected a positive sampling rate in Hz")
    name = f"{db}/{record_id}"
    path = Path(folder) / record_id
    with _as_record_error(name, path, "hea"):
        header = read_header(name, path)
        if not isinstance(header, wfdb.Record):
            raise RecordError(
                f"{name}: found a record of {header.n_seg} segments; expected one segment; "
                "convert it to a single-segment record (WFDB's xform does) or remove it"
            )
        check_signal_files(name, path, header)
        if "61" in header.fmt:
            raise RecordError(
                f"{name}: found samples in format 61, whose integers wfdb does not read; expected "
                f"another format; write the record again, such as in format 16"
            )
    with _as_record_error(name, path, "dat"):
        source = read_samples(path, header, range(header.n_sig))
        _check_sample_checksums(name, header, source)
        leads = tuple(
            sig_name or f"signal {i}" for i, sig_name in enumerate(source.sig_name, start=1)
        )
        lead = _find_known_lead(name, leads, known)
        i_lead = choose_lead(leads, preferred_lead) if lead is None else lead
        source_fs = float(header.fs) * (source.samps_per_frame[i_lead] or 1)
        _check_skew(name, header.skew[i_lead], leads[i_lead])
        signal = _to_millivolts(name, header.units[i_lead], source, i_lead, leads[i_lead])
        _check_signal(name, leads[i_lead], signal, source_fs)
        resampled = remove_baseline(resample(signal, source_fs, fs), fs)
    samples, symbols, ann_fs = read_annotation_file(
        name, path, "atr", fs=float(header.fs), n_samples=int(header.sig_len)
    )
    classes = map_symbols(symbols)
    classes[[each is None for each in classes]] = other_class
    kept = np.array([each is not None for each in classes], dtype=bool)
    beat_samples = samples[kept]
    patient_id = patient_of(db, record_id, known)
    beats = pd.DataFrame(
        {
            "db": db,
            "record_id": record_id,
            "patient_id": patient_id,
            "beat_idx": np.arange(beat_samples.size, dtype=np.int64),
            "time_s": beat_samples / ann_fs,
            "sample": _to_target_samples(beat_samples, ann_fs, fs, resampled.size),
            "symbol": np.array(symbols, dtype=object)[kept],
            "aami_class": classes[kept],
            "lead": leads[i_lead],
            "fs": np.int64(fs),
        }
    )
    return Record(
        db=db,
        record_id=record_id,
        patient_id=patient_id,
        lead=leads[i_lead],
        leads=leads,
        source_fs=source_fs,
        fs=int(fs),
        signal=resampled,
        beats=beats,
    )


def _find_known_lead(
    name: str, leads: Sequence[str], known: Mapping[str, RecordParameters] | None
) -> int | None:
    """Return the index of the lead that is given for a record; None where none is."""
    lead = known[name].lead if known and name in known else None
    if lead is not None and lead not in leads:
        db, record_id = name.split("/", 1)
        raise RecordError(
            f"{name}: found the leads {', '.join(leads)}; expected {lead!r} as in "
            f"ingestion.databases.{db}.{record_id}.lead; correct it there"
        )
    return None if lead is None else leads.index(lead)


def describe_record(record: Record) -> dict[str, Any]:
    """Return the row of the `records` table for a record that was read."""
    return {
        "db": record.db,
        "record_id": record.record_id,
        "patient_id": record.patient_id,
        "lead": record.lead,
        "leads": "|".join(record.leads),
        "source_fs": record.source_fs,
        "fs": record.fs,
        "n_samples": int(record.signal.size),
        "duration_s": record.signal.size / record.fs,
        "n_beats": len(record.beats),
        "highpass_hz": HIGHPASS_HZ,
        "signal_sha256": hash_signal(record.signal),
        "status": "ok",
        "reason": "",
    }


def hash_signal(signal: NDArray[np.float32]) -> str:
    """Return the SHA-256 hex digest of a signal's bytes, little-endian."""
    return hashlib.sha256(signal.astype("<f4").tobytes()).hexdigest()


def describe_skipped_record(
    db: str,
    record_id: str,
    fs: int,
    reason: str,
    known: Mapping[str, RecordParameters] | None = None,
) -> dict[str, Any]:
    """Return the row of the `records` table for a record that was left out, and why."""
    return {
        "db": db,
        "record_id": record_id,
        "patient_id": patient_of(db, record_id, known),
        "lead": "",
        "leads": "",
        "source_fs": np.nan,
        "fs": fs,
        "n_samples": 0,
        "duration_s": 0.0,
        "n_beats": 0,
        "highpass_hz": HIGHPASS_HZ,
        "signal_sha256": "",
        "status": "skipped",
        "reason": reason,
    }


def read_records(
    physionet: Path,
    record_list: pd.DataFrame,
    *,
    fs: int,
    preferred_lead: str | None,
    skip_bad: bool,
    n_jobs: int,
    other_class: str | None = None,
    known: Mapping[str, RecordParameters] | None = None,
) -> tuple[dict[str, NDArray[np.float32]], pd.DataFrame, pd.DataFrame]:
    """Read many records on several cores, with a progress bar.

    Args:
        physionet: folder that holds one folder a database.
        record_list: columns db, record_id and fault (what is wrong with its files, or '').
        fs: target sampling rate, Hz.
        preferred_lead: see `read_record`.
        other_class: see `read_record`.
        skip_bad: leave out a record that cannot be used, with its reason in `records`.
        n_jobs: joblib workers, -1 for every core.
        known: see `read_record`.

    Returns:
        The signals by ``db/record_id``, the `beats` table and the `records` table.

    Raises:
        RecordError: a record cannot be used and `skip_bad` is off, none can be used, or none has
            the preferred lead.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    listed = list(record_list[["db", "record_id", "fault"]].itertuples(index=False, name=None))
    tasks = (
        delayed(_read_or_explain)(
            physionet / db,
            db,
            record_id,
            fault,
            fs=fs,
            preferred_lead=preferred_lead,
            other_class=other_class,
            known=known,
        )
        for db, record_id, fault in listed
    )
    signals: dict[str, NDArray[np.float32]] = {}
    beats: list[pd.DataFrame] = []
    rows: list[dict[str, Any]] = []
    # disable=None: no bar where the output is not a terminal.
    bar = tqdm(total=len(listed), desc="Reading", unit="record", disable=None)
    with bar, Parallel(n_jobs=n_jobs, return_as="generator") as parallel:
        for (db, record_id, _), result in zip(listed, parallel(tasks), strict=True):
            if isinstance(result, Record):
                signals[f"{db}/{record_id}"] = result.signal
                beats.append(result.beats)
                rows.append(describe_record(result))
            elif skip_bad:
                rows.append(describe_skipped_record(db, record_id, fs, str(result), known))
            else:
                raise RecordError(
                    f"{result}; to go on without such records, set ingestion.on_bad_record to skip"
                ) from result
            bar.update()
    if not signals:
        raise RecordError(
            f"none of {len(rows)} records can be used; the first: {rows[0]['reason']}"
            if rows
            else "no record is listed; name databases and records in ingestion.databases"
        )
    records = pd.DataFrame(rows)
    # Records whose lead is given do not need the preferred one.
    given = {key for key, record in (known or {}).items() if record.lead is not None}
    free = records[~(records["db"] + "/" + records["record_id"]).isin(given)]
    leads = sorted({lead for row in free["leads"] for lead in row.split("|") if lead})
    has_preferred = any(is_same_lead(lead, preferred_lead or lead) for lead in leads)
    if leads and not has_preferred:
        raise RecordError(
            f"no record has the lead {preferred_lead!r}; found {', '.join(leads)}. Set "
            f"ingestion.preferred_lead to one of them, or to null to prefer none"
        )
    return signals, pd.concat(beats, ignore_index=True), records


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


def summarise_records(records: pd.DataFrame, beats: pd.DataFrame) -> dict[str, Any]:
    """Return what was read, ready for JSON.

    Returns:
        n_records, hours, beats_by_class (by database and class), leads (records by lead) and
        skipped (db, record_id and reason of each record left out).
    """
    read = records[records["status"] == "ok"]
    counts = pd.crosstab(beats["db"], beats["aami_class"])
    skipped = records.loc[records["status"] == "skipped", ["db", "record_id", "reason"]]
    return {
        "n_records": len(read),
        "hours": round(float(read["duration_s"].sum()) / 3600, 3),
        "beats_by_class": {
            str(db): {name: int(row.get(name, 0)) for name in AAMI_CLASSES}
            for db, row in counts.iterrows()
        },
        "leads": {lead: int(n) for lead, n in read["lead"].value_counts().sort_index().items()},
        "skipped": skipped.to_dict("records"),
    }


def verify_checksums(folder: Path | str, record_ids: Iterable[str]) -> dict[str, str]:
    """Check the files of some records against the database's own SHA256SUMS.txt, if it has one.

    The name SHA256SUMS is accepted too.

    A differing `.hea` only warns: its text may have been edited while the recording is untouched,
    and `read_record` checks the samples against the header anyway. A file that is not there is
    no concern of this check.

    Returns:
        For each record with a signal or annotation file that differs, what was found and expected.

    Raises:
        ValueError: the list of checksums cannot be understood.
    """
    folder = Path(folder)
    path = next((folder / name for name in CHECKSUM_FILES if (folder / name).is_file()), None)
    if path is None:
        logger.info("%s has no SHA256SUMS.txt: its files are not compared with checksums", folder)
        return {}
    sums = parse_checksums(path.read_text(encoding="utf-8"), path)
    faults: dict[str, list[str]] = {}
    edited_headers: list[str] = []
    unlisted: list[str] = []
    for record_id in record_ids:
        for name in _list_files(folder, record_id):
            if name not in sums:
                unlisted.append(name)
                continue
            if not (folder / name).is_file():
                continue
            found = hash_file(folder / name)
            if found == sums[name]:
                continue
            if name == f"{record_id}.hea":
                edited_headers.append(name)
            else:
                faults.setdefault(record_id, []).append(
                    f"{name} differs from {path.name} (found {found[:12]}, expected "
                    f"{sums[name][:12]}); delete it and download it again"
                )
    if edited_headers:
        logger.warning(
            "%s: %d header(s) differ from %s, the first is %s; this is harmless if only text was "
            "edited",
            folder,
            len(edited_headers),
            path.name,
            edited_headers[0],
        )
    if unlisted := list(dict.fromkeys(unlisted)):  # records may share a file
        logger.warning(
            "%s: %s does not list %d file(s), the first is %s; they are not compared",
            folder,
            path.name,
            len(unlisted),
            unlisted[0],
        )
    return {record_id: "; ".join(found) for record_id, found in faults.items()}


def parse_checksums(text: str, source: Path | str) -> dict[str, str]:
    """Read the lines of a list of checksums into file name -> hex digest.

    Raises:
        ValueError: a line is not a digest and a name; `source` names the file in the message.
    """
    sums: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(?:\./)?(\S.*?)\s*", line)
        if match is None:
            raise ValueError(
                f"{source}: found the line {line[:80]!r}; expected a SHA-256 hex digest and a "
                "file name; download the file again"
            )
        sums[match[2]] = match[1].lower()
    return sums


def hash_file(path: Path | str) -> str:
    """Return the SHA-256 hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _as_record_error(name: str, path: Path, extension: str) -> Iterator[None]:
    """Turn whatever the WFDB reader raises on a corrupt file into a RecordError."""
    try:
        yield
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(
            f"{name}: found a corrupt {path}.{extension} ({type(error).__name__}: {error}); "
            "expected a valid WFDB file; copy or download the record again"
        ) from error


def check_signal_files(name: str, path: Path, header: Any) -> None:
    """Check that the signal files of a record exist and are as long as they should be.

    Args:
        name: what the record is called in an error.
        path: of the record, without extension.
        header: as wfdb reads it, of one segment.

    Raises:
        RecordError: a file is missing or too short, or the header is incomplete.
    """
    n_described = len(header.file_name or ())
    if n_described != header.n_sig:
        raise RecordError(
            f"{name}: found {n_described} signal line(s) in {path}.hea; expected {header.n_sig} "
            f"signal lines as in its first; copy or download the header again"
        )
    if not header.sig_len:
        raise RecordError(
            f"{name}: found no length in the first line of {path.name}.hea; expected it as the "
            f"fourth field; write there how many samples each signal has"
        )
    for file_name in dict.fromkeys(header.file_name):
        dat = path.with_name(file_name)
        if not dat.is_file():
            raise RecordError(
                f"{name}: found no signal file {dat}; expected it beside the header, which names "
                "it; copy or download it"
            )
        signals = [i for i, other in enumerate(header.file_name) if other == file_name]
        bytes_per_sample = BYTES_PER_SAMPLE.get(header.fmt[signals[0]])
        if bytes_per_sample is None:
            continue  # compressed: nothing to compare with
        samples_per_frame = sum(header.samps_per_frame[i] or 1 for i in signals)
        offset = header.byte_offset[signals[0]] or 0
        expected = offset + int(header.sig_len * samples_per_frame * bytes_per_sample)
        found = dat.stat().st_size
        if found < expected:
            raise RecordError(
                f"{name}: found {found} bytes in {dat}, which is truncated; expected {expected} "
                f"bytes for {header.sig_len} samples of {len(signals)} signal(s); "
                "copy or download the file again"
            )


def _check_sample_checksums(name: str, header: Any, source: Any) -> None:
    """Compare the samples with the 16-bit sums in the header, as WFDB defines them."""
    for i, samples in enumerate(source.e_d_signal):
        expected = header.checksum[i]
        found = int(np.sum(samples, dtype=np.int64))
        if expected is not None and (found - expected) % 65536:
            raise RecordError(
                f"{name}: found sample checksum {_to_int16(found)} in signal {i + 1} "
                f"({source.sig_name[i]}); expected {_to_int16(expected)} as in the header; the "
                "signal file is corrupt: copy or download it again"
            )


def _to_int16(value: int) -> int:
    return (value + 32768) % 65536 - 32768


def _check_skew(name: str, skew: int | None, lead: str) -> None:
    if skew:
        raise RecordError(
            f"{name}: found a skew of {skew} frames for lead {lead}; expected none, since undoing "
            f"it leaves the end without samples; choose another lead as the preferred lead, or "
            f"write the record anew without skew"
        )


def _to_millivolts(
    name: str, unit: str, source: Any, i_lead: int, lead: str
) -> NDArray[np.float64]:
    factor = mv_per_unit(unit)
    if factor is None:
        raise RecordError(
            f"{name}: found unit {unit!r} for lead {lead}; expected a voltage "
            f"({KNOWN_VOLTAGES}); choose an ECG lead as the preferred lead"
        )
    signal: NDArray[np.float64] = source.dac(expanded=True)[i_lead]
    return signal if factor == 1 else signal * factor


def _check_signal(name: str, lead: str, signal: NDArray[np.float64], source_fs: float) -> None:
    duration_s = signal.size / source_fs
    if duration_s < MIN_DURATION_S:
        raise RecordError(
            f"{name}: found {signal.size} samples ({duration_s:.3g} s); expected at least "
            f"{MIN_DURATION_S:g} s; remove the record from the list"
        )
    n_invalid = int(np.count_nonzero(~np.isfinite(signal)))
    if n_invalid:
        first = int(np.argmax(~np.isfinite(signal)))
        raise RecordError(
            f"{name}: found {n_invalid} invalid (NaN) samples in lead {lead}, the first at "
            f"{first / source_fs:.3f} s; expected none; choose another lead, cut the record, or "
            "remove it from the list"
        )
    if np.ptp(signal) == 0:
        raise RecordError(
            f"{name}: found a flat lead {lead} (every sample is {signal[0]:g} mV); expected an "
            "ECG; choose another lead, or remove the record from the list"
        )


def read_annotation_file(
    name: str, path: Path, extension: str, *, fs: float, n_samples: int
) -> tuple[NDArray[np.int64], list[str], float]:
    """Return the annotations of a WFDB file in time order: samples, symbols, their rate in Hz.

    Args:
        name: what the record is called in an error.
        path: of the record, without extension.
        extension: annotator.
        fs: rate of the recording in frames, Hz: that of a file that states none.
        n_samples: length of the recording at `fs`.

    Raises:
        RecordError: the file is missing, truncated or corrupt, or not of this recording.
    """
    import wfdb

    file = path.with_name(f"{path.name}.{extension}")
    if not file.is_file():
        raise RecordError(
            f"{name}: found no annotation file {file}; expected beats there; correct its name, or "
            f"copy or download it"
        )
    if file.read_bytes()[-2:] != b"\0\0":
        raise RecordError(
            f"{name}: found no end mark in {file} ({file.stat().st_size} bytes), which is "
            "truncated; expected two zero bytes at its end; copy or download the file again"
        )
    with _as_record_error(name, path, extension):
        annotation = wfdb.rdann(
            str(path), extension, return_label_elements=["symbol", "label_store"]
        )
    samples = np.asarray(annotation.sample, dtype=np.int64)
    codes = zip(annotation.label_store, annotation.symbol, strict=True)
    undefined = [int(code) for code, symbol in codes if not isinstance(symbol, str)]
    if undefined:
        raise RecordError(
            f"{name}: found unknown annotation code {undefined[0]} in {file.name}; expected "
            "codes of the WFDB table; correct the annotation file"
        )
    try:
        map_symbols(annotation.symbol)
    except ValueError as error:
        raise RecordError(f"{name}: {error}") from error
    # An annotation file may state a time resolution of its own.
    ann_fs = float(annotation.fs or fs)
    if not (np.isfinite(ann_fs) and ann_fs > 0):
        raise RecordError(f"{name}: found {ann_fs:g} Hz in {file}; correct the annotation file")
    end = n_samples * ann_fs / fs
    outside = samples[(samples < 0) | (samples > end)]
    if outside.size:
        raise RecordError(
            f"{name}: found {outside.size} annotation(s) outside the signal, the first at sample "
            f"{outside[0]}; expected samples 0 to {end:g}; {file} is not of this signal, "
            "or one of them is corrupt: copy or download both again"
        )
    order = np.argsort(samples, kind="stable")
    return samples[order], [annotation.symbol[i] for i in order], ann_fs


def _to_target_samples(
    samples: NDArray[np.int64], source_fs: float, fs: int, n_samples: int
) -> NDArray[np.int64]:
    """Return the nearest sample at `fs`, no later than the last of `n_samples`."""
    nearest = np.rint(samples * fs / source_fs).astype(np.int64)
    return np.minimum(nearest, n_samples - 1)


_LARGEST_RATIO = 100_000


def rate_ratio(source_fs: float, fs: float) -> Fraction:
    """Return how many samples at `fs` stand for one at `source_fs`.

    Raises:
        ValueError: a rate is not positive, or one is 100,000 times the other or more.
    """
    for label, rate in (("source_fs", source_fs), ("fs", fs)):
        if not (np.isfinite(rate) and rate > 0):
            raise ValueError(f"{label} is {rate}; expected a positive sampling rate in Hz")
    # Through text, so that 102.4 is 512/5. The bound, on the greater of the two numbers, keeps the
    # filter of an odd rate to seconds of work and shifts the end of a day-long signal by less than
    # a sample.
    ratio = Fraction(str(fs)) / Fraction(str(source_fs))
    if not 1 / _LARGEST_RATIO < ratio < _LARGEST_RATIO:
        raise ValueError(
            f"source_fs is {source_fs:g} Hz and fs {fs:g} Hz; expected sampling rates of an ECG, "
            f"which are nearer to each other"
        )
    if ratio > 1:
        return 1 / (1 / ratio).limit_denominator(_LARGEST_RATIO)
    return ratio.limit_denominator(_LARGEST_RATIO)
