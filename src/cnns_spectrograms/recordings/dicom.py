"""ECG waveforms of DICOM files: 12-lead, general and ambulatory, opened as recordings."""

from __future__ import annotations

import re
import struct
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from cnns_spectrograms.recordings.errors import RecordError, check
from cnns_spectrograms.recordings.leads import mv_per_unit
from cnns_spectrograms.recordings.recording import Recording, check_shape
from cnns_spectrograms.recordings.signals import (
    Signal,
    StoredSamples,
    Stretch,
    choose_stretch,
    make_recording,
)

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")

# Of DICOM PS3.10, section 7.1: a preamble, then the prefix of every file.
_PREFIX_AT, _PREFIX = 128, b"DICM"

# Of PS3.5 and PS3.6: tags, and the length of what ends with a delimiter.
_WAVEFORM_SEQUENCE, _WAVEFORM_DATA = 0x54000100, 0x54001010
_ITEM, _END_OF_SEQUENCE = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF

# Longer values, such as the samples of a day, stay in the file.
_MAX_VALUE_BYTES = 1 << 20

_MAX_GROUPS = 256

# PS3.3, section C.10.9.1.5; the companded kinds (MB, AB) are of sound.
_DTYPES = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}

# PS3.16, context group 3001, as ISO/IEEE 11073-10102 (MDC) and SCP-ECG number the leads.
_LEAD_CODE = re.compile(r"(?:2:|5\.6\.3-9-)(\d+)")
_LEADS = {
    1: "I", 2: "II", **{2 + i: f"V{i}" for i in range(1, 7)}, 16: "X", 17: "Y", 18: "Z",
    61: "III", 62: "aVR", 63: "aVL", 64: "aVF",
}  # fmt: skip

_AGAIN = "export or copy it again"


def is_dicom(path: Path) -> bool:
    """Return whether a file is one of DICOM, by the prefix at its head."""
    with open(path, "rb") as file:
        return file.read(_PREFIX_AT + len(_PREFIX)).endswith(_PREFIX)


def open_dicom(path: Path) -> Recording:
    """Open the ECG of a DICOM file: of several multiplex groups, the longest that was recorded.

    Raises:
        RecordError: pydicom is not installed; or the file is absent, truncated, damaged, or holds
            no waveform in a voltage.
    """
    try:
        import pydicom  # noqa: F401
    except ModuleNotFoundError:
        raise RecordError(
            "DICOM files are read by pydicom, which is not installed; run `pip "
            "install 'cnns_spectrograms[formats]'`"
        ) from None
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that break a rule, of a name or a date
        groups, order = _read_groups(path, file)
        found = [
            _list_signals(path, group, f"group {i}", order) for i, group in enumerate(groups, 1)
        ]
    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return make_recording(path, choose_stretch(path, found), name)


def _read_groups(path: Path, file: BinaryIO) -> tuple[list[Dataset], str]:
    """Return the multiplex groups of a file without their samples, and the order of bytes."""
    from pydicom.filereader import read_dataset, read_file_meta_info, read_partial

    check(
        not read_file_meta_info(path).TransferSyntaxUID.is_deflated,
        "a deflated file",
        "an uncompressed one",
        "export it as Explicit VR Little Endian",
    )
    # The elements of a file are in the order of their tags.
    head = read_partial(file, lambda tag, *_: tag >= _WAVEFORM_SEQUENCE, _MAX_VALUE_BYTES)
    is_implicit, is_little = map(bool, head.original_encoding)
    order = "<" if is_little else ">"
    tag, n_bytes = _read_tag(file, f"{order}HHL" if is_implicit else f"{order}HH4xL")
    check(
        tag == _WAVEFORM_SEQUENCE,
        f"a DICOM {getattr(head.get('SOPClassUID'), 'name', 'file')} without waveforms",
        "an ECG waveform (12-lead, general or ambulatory)",
        "export that",
    )
    end = path.stat().st_size if n_bytes == _UNDEFINED else file.tell() + n_bytes
    groups: list[Dataset] = []
    while file.tell() < min(end, path.stat().st_size):
        tag, n_bytes = _read_tag(file, f"{order}HHL")
        if tag == _END_OF_SEQUENCE:
            break
        check(
            tag == _ITEM and len(groups) < _MAX_GROUPS,
            f"a corrupt DICOM file after {len(groups)} groups of waveforms",
            f"their end, and {_MAX_GROUPS} at most",
            _AGAIN,
        )
        at, length = file.tell(), None if n_bytes == _UNDEFINED else n_bytes
        options: dict[str, Any] = {"defer_size": _MAX_VALUE_BYTES, "at_top_level": False}
        groups.append(read_dataset(file, is_implicit, is_little, length, **options))
        if length is not None:
            file.seek(at + length)
    return groups, order


def _read_tag(file: BinaryIO, layout: str) -> tuple[int, int]:
    """Return the tag and the length at the head of an element; zeros at the end of the file."""
    found = file.read(struct.calcsize(layout))
    if len(found) < struct.calcsize(layout):
        return 0, 0
    group, element, n_bytes = struct.unpack(layout, found)
    return group << 16 | element, n_bytes


def _list_signals(
    path: Path, group: Dataset, label: str, order: str
) -> tuple[Stretch, list[Signal]]:
    """Return when a multiplex group was sampled, and its channels (PS3.3, section C.10.9.1)."""
    label = group.get("MultiplexGroupLabel") or label
    n_channels, n_samples = group.NumberOfWaveformChannels, group.NumberOfWaveformSamples
    fs = float(group.SamplingFrequency)
    check_shape(fs, n_samples, n_channels)
    kind, bits = group.WaveformSampleInterpretation, group.WaveformBitsAllocated
    dtype = _DTYPES.get(kind, "")
    check(
        dtype and bits == 8 * int(dtype[1]),
        f"samples of {bits} bits of the kind {kind!r} in {label}",
        f"one of {', '.join(_DTYPES)}, of 8, 16 or 32 bits",
        _AGAIN,
    )
    channels = list(group.ChannelDefinitionSequence)
    data: Any = group.get_item(_WAVEFORM_DATA, keep_deferred=True)  # raw, where it was not read
    expected = n_channels * n_samples * np.dtype(dtype).itemsize
    check(
        len(channels) == n_channels and expected <= data.length < _UNDEFINED,
        f"{len(channels)} channels and {data.length} bytes of samples in {label}",
        f"{n_channels} and {expected}, as it states",
        f"the file is truncated or corrupt: {_AGAIN}",
    )
    samples = StoredSamples(path, data.value_tell, order + dtype, (n_samples, n_channels))
    stretch = Stretch(
        fs=fs,
        n_samples=n_samples,
        start=str(group.get("MultiplexGroupTimeOffset") or 0.0),
        is_derived=group.get("WaveformOriginality") == "DERIVED",
        label=label,
    )
    padding = group.get_item("WaveformPaddingValue")
    missing = None
    if padding is not None and padding.value:
        missing = int(np.frombuffer(padding.value, order + dtype, 1)[0])
    return stretch, [
        _make_signal(channel, samples, i, fs, missing) for i, channel in enumerate(channels)
    ]


def _make_signal(
    channel: Dataset, samples: StoredSamples, place: int, fs: float, missing: int | None
) -> Signal:
    """Return a channel with its scale.

    Where its sensitivity is S, the correction of that C and its baseline B, a sample n is
    n * S * C + B (PS3.3, section C.10.9.1.4).
    """
    n_samples = samples.shape[0]
    gain, correction, offset = (
        _read_number(channel, f"Channel{keyword}", default)
        for keyword, default in (
            ("Sensitivity", 0.0),
            ("SensitivityCorrectionFactor", 1.0),
            ("Baseline", 0.0),
        )
    )
    # In samples, else in s; one of the two is there.
    skew = _read_number(channel, "ChannelTimeSkew", 0.0) * fs
    skew = _read_number(channel, "ChannelSampleSkew", skew)
    fault = ""
    if not gain * correction or not np.isfinite([gain * correction, offset]).all():
        fault = (
            f"its sensitivity is {gain:g}, its correction {correction:g}, its baseline {offset:g}"
        )
    elif not abs(skew) < n_samples:
        fault = f"its skew is {skew:g} samples, of {n_samples}"
    read = partial(samples.read, place, gain * correction, offset=offset, missing=missing)
    return Signal(
        label=_name_lead(channel),
        unit=_name_unit(channel),
        fs=fs,
        n_samples=n_samples,
        read=read if fault else partial(read, skew=round(skew)),
        fault=fault,
    )


def _read_number(channel: Dataset, keyword: str, default: float) -> float:
    """Return a number of a channel; the default where it is absent or empty."""
    value = channel.get(keyword)
    return default if value is None or value == "" else float(value)


def _name_unit(channel: Dataset) -> str:
    """Return the unit of a channel: its code of UCUM, else the words for it."""
    codes = channel.get("ChannelSensitivityUnitsSequence") or []
    named = [str(code.get(key) or "") for code in codes for key in ("CodeValue", "CodeMeaning")]
    return next((each for each in named if mv_per_unit(each) is not None), (*named, "")[0])


def _name_lead(channel: Dataset) -> str:
    """Return the name of a lead: that of its code, else its label, else the words for it."""
    codes = channel.get("ChannelSourceSequence") or []
    for code in codes:
        match = _LEAD_CODE.fullmatch(str(code.get("CodeValue") or ""))
        if match and int(match[1]) in _LEADS:
            return _LEADS[int(match[1])]
    named = [channel.get("ChannelLabel"), *(code.get("CodeMeaning") for code in codes)]
    return next((str(each) for each in named if each), "")
