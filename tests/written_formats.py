"""Files of the formats that clinics hand over, which tests write, and damage.

DICOM by pydicom's writer; ISHNE and aECG by hand, from their specifications.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np


def write_dicom(
    path: Path,
    *groups: dict[str, Any],
    syntax: str = "1.2.840.10008.1.2.1",
    kind: str = "1.2.840.10008.5.1.4.1.1.9.1.1",
    is_undefined_length: bool = False,
) -> Path:
    """Write a DICOM file, as a 12-lead ECG unless another kind (SOP class) is given.

    A group is `samples`, int (n, n_channels), `fs`, `channels`, one dict of elements per channel,
    and other elements of its own. Elements have their DICOM keywords.
    """
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import UID, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(kind), generate_uid()
    meta.TransferSyntaxUID = UID(syntax)
    file = Dataset()
    file.file_meta, file.preamble = meta, bytes(128)
    file.SOPClassUID, file.SOPInstanceUID = UID(kind), meta.MediaStorageSOPInstanceUID
    file.PatientName, file.Modality = "A^B", "ECG"
    if groups:
        file.WaveformSequence = Sequence([_make_group(file, **each) for each in groups])
        file["WaveformSequence"].is_undefined_length = is_undefined_length
        for each in file.WaveformSequence:
            each.is_undefined_length_sequence_item = is_undefined_length
    dcmwrite(path, file, enforce_file_format=True)
    return path


def _make_group(file: Any, samples: Any, fs: float, channels: list[dict], **others: Any) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    group, samples = Dataset(), np.asarray(samples)
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformSamples, group.NumberOfWaveformChannels = samples.shape
    group.SamplingFrequency = fs
    group.ChannelDefinitionSequence = Sequence(
        [_make_dataset({"WaveformBitsStored": 16, **each}) for each in channels]
    )
    group.WaveformBitsAllocated = 8 * samples.dtype.itemsize
    group.WaveformSampleInterpretation = {
        "i1": "SB", "u1": "UB", "i2": "SS", "u2": "US", "i4": "SL", "u4": "UL",
    }[samples.dtype.str[1:]]  # fmt: skip
    order = "<" if file.file_meta.TransferSyntaxUID.is_little_endian else ">"
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    group.add_new("WaveformData", "OW", data + b"\0" * (len(data) % 2))
    for keyword, value in others.items():
        if keyword == "WaveformPaddingValue":
            group.add_new(
                keyword, "OW", np.array(value, samples.dtype.newbyteorder(order)).tobytes()
            )
        else:
            setattr(group, keyword, value)
    return group


def _make_dataset(elements: dict[str, Any]) -> Any:
    """Return a data set; lists of dicts are sequences."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    made = Dataset()
    for keyword, value in elements.items():
        is_sequence = isinstance(value, list)
        setattr(made, keyword, Sequence(map(_make_dataset, value)) if is_sequence else value)
    return made


def dicom_channel(
    code: str, meaning: str, unit: str | None = "uV", sensitivity: float = 1, **others: Any
) -> dict[str, Any]:
    """Return the elements that define a channel."""
    channel: dict[str, Any] = {
        "ChannelSourceSequence": [
            {"CodeValue": code, "CodingSchemeDesignator": "MDC", "CodeMeaning": meaning}
        ],
        "ChannelSampleSkew": 0,
    }
    if unit is not None:
        channel |= {
            "ChannelSensitivity": sensitivity,
            "ChannelSensitivityUnitsSequence": [
                {"CodeValue": unit, "CodingSchemeDesignator": "UCUM", "CodeMeaning": "x"}
            ],
            "ChannelSensitivityCorrectionFactor": 1,
            "ChannelBaseline": 0,
        }
    return channel | others


def write_lead_ii(path: Path, steps: np.ndarray, fs: int) -> Path:
    """Write lead II, (n,) steps of 5 uV, in the format of the ending; DICOM for any other."""
    steps = steps.astype(np.int16)
    if path.suffix.lower() == ".ecg":
        return write_ishne(path, steps[:, np.newaxis], fs, [5000], [6])
    if path.suffix.lower() == ".xml":
        lead = aecg_lead("MDC_ECG_LEAD_II", steps, "5")
        return write_aecg(path, aecg_series(aecg_times(f"{1 / fs:.16f}"), lead))
    channels = [dicom_channel("2:2", "Lead II", "uV", 5)]
    return write_dicom(path, {"samples": steps[:, np.newaxis], "fs": fs, "channels": channels})


def crc_ccitt(content: bytes) -> int:
    """Return the CRC-CCITT of ISHNE: bit by bit, polynomial 0x1021, from 0xFFFF on."""
    crc = 0xFFFF
    for byte in content:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
            crc &= 0xFFFF
    return crc


def write_ishne(
    path: Path,
    samples: np.ndarray,
    fs: int,
    nv_per_step: list[int],
    leads: list[int],
    *,
    note: bytes = b"",
    n_stated: int | None = None,
    n_leads: int | None = None,
    checksum: int | None = None,
) -> Path:
    """Write an ISHNE Holter file of int16 samples (n, n_leads), whatever else its header states."""

    def twelve(values: list[int]) -> bytes:
        return struct.pack("<12h", *values, *[-9] * (12 - len(values)))

    n_stated = len(samples) if n_stated is None else n_stated
    header = struct.pack("<iiiih", len(note), n_stated, 522, 522 + len(note), 1)
    header += b"First".ljust(40, b"\0") + b"Last".ljust(40, b"\0") + b"ID".ljust(20, b"\0")
    header += struct.pack("<2h", 1, 0) + struct.pack("<12h", *[1, 1, 1950, 2, 1, 2024] * 2)
    header += struct.pack("<h", samples.shape[1] if n_leads is None else n_leads)
    header += twelve(leads) + twelve([1] * len(leads)) + twelve(nv_per_step)
    header += struct.pack("<h", 0) + b"digital".ljust(40, b"\0") + struct.pack("<h", fs)
    header += bytes(80 + 80 + 88) + note
    checksum = crc_ccitt(header) if checksum is None else checksum
    path.write_bytes(
        b"ISHNE1.0" + struct.pack("<H", checksum) + header + samples.astype("<i2").tobytes()
    )
    return path


def aecg_lead(
    code: str, digits: Any, scale: str = "1", unit: str = "uV", origin: str = "0"
) -> tuple[str, str]:
    """Return a sequence of an annotated ECG: its code and its value."""
    text = digits if isinstance(digits, str) else " ".join(map(str, np.asarray(digits)))
    return code, (
        f'<value xsi:type="SLIST_PQ"><origin value="{origin}" unit="{unit}"/>'
        f'<scale value="{scale}" unit="{unit}"/><digits>{text}</digits></value>'
    )


def aecg_times(increment: str, unit: str = "s", head: str = "0") -> tuple[str, str]:
    """Return the sequence of relative times."""
    return "TIME_RELATIVE", (
        f'<value xsi:type="GLIST_PQ"><head value="{head}" unit="s"/>'
        f'<increment value="{increment}" unit="{unit}"/></value>'
    )


def aecg_series(*sequences: tuple[str, str], kind: str = "RHYTHM", derived: str = "") -> str:
    """Return a series, with a derived one in it."""
    inner = "".join(
        f'<component><sequence><code code="{code}" codeSystem="2.16.840.1.113883.6.24"/>{value}'
        f"</sequence></component>"
        for code, value in sequences
    )
    tag = "series" if kind == "RHYTHM" else "derivedSeries"
    return (
        f'<{tag}><code code="{kind}" codeSystem="2.16.840.1.113883.5.4"/><effectiveTime>'
        f'<low value="20240101101010"/></effectiveTime>{derived}'
        f"<component><sequenceSet>{inner}</sequenceSet></component></{tag}>"
    )


def write_aecg(path: Path, *series: str, head: str = "", prefix: str = "") -> Path:
    """Write an annotated ECG; `prefix` is that of its namespace."""
    body = "".join(f"<component>{each}</component>" for each in series)
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}<AnnotatedECG xmlns="urn:hl7-org:v3" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="1"/><effectiveTime>'
        f'<center value="2024"/></effectiveTime>{body}</AnnotatedECG>'
    )
    if prefix:
        text = re.sub(r"<(/?)(?=[a-zA-Z])", rf"<\1{prefix}:", text)
        text = text.replace("xmlns=", f"xmlns:{prefix}=")
    path.write_text(text, encoding="utf-8")
    return path
