"""ISHNE Holter files (`.ecg`), opened as recordings."""

from __future__ import annotations

import binascii
import logging
from functools import partial
from pathlib import Path

import numpy as np

from cnns_spectrograms.recordings.errors import RecordError, check
from cnns_spectrograms.recordings.recording import Recording, check_shape
from cnns_spectrograms.recordings.signals import Signal, StoredSamples, make_recording

logger = logging.getLogger(__name__)

_MAGIC = b"ISHNE1.0"

_MAX_LEADS = 12

# Badilini 1998, "The ISHNE Holter standard output file format", doi:10.1111/j.1542-474X.1998
# .tb00353.x: the fields of its header that decide how samples are read. All are little-endian.
_HEADER = np.dtype(
    {
        "names": ["checksum", "n_samples", "samples_at", "n_leads", "leads", "nv_per_step", "fs"],
        "formats": ["<u2", "<i4", "<i4", "<i2", ("<i2", _MAX_LEADS), ("<i2", _MAX_LEADS), "<i2"],
        "offsets": [8, 14, 22, 156, 158, 206, 272],
        "itemsize": 522,
    }
)

# What the checksum covers begins after itself.
_CHECKED_FROM = 10

_MAX_HEADER_BYTES = 1 << 20

_LEADS = {
    2: "X", 3: "Y", 4: "Z", 5: "I", 6: "II", 7: "III", 8: "aVR", 9: "aVL", 10: "aVF",
    **{10 + i: f"V{i}" for i in range(1, 7)}, 17: "ES", 18: "AS", 19: "AI",
}  # fmt: skip

_AGAIN = "copy it from the recorder or download it again"


def is_ishne(path: Path) -> bool:
    """Return whether a file is an ISHNE Holter file, by what it begins with."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def open_ishne(path: Path) -> Recording:
    """Open an ISHNE Holter file.

    Raises:
        RecordError: the file is absent, of another format, truncated or damaged.
    """
    header = _read_header(path)
    fs, n_leads = float(header["fs"]), int(header["n_leads"])
    advice = f"correct the header, or {_AGAIN}"
    check(1 <= n_leads <= _MAX_LEADS, f"{n_leads} leads", f"1 to {_MAX_LEADS}", advice)
    n_samples = _count_samples(path, header)
    check_shape(fs, n_samples, n_leads)
    samples = StoredSamples(path, int(header["samples_at"]), "<i2", (n_samples, n_leads))
    steps = [int(step) for step in header["nv_per_step"][:n_leads]]
    signals = [
        Signal(
            label=_LEADS.get(int(header["leads"][i]), ""),
            unit="nV",
            fs=fs,
            n_samples=n_samples,
            read=partial(samples.read, i, steps[i]),
            fault="" if steps[i] > 0 else f"its resolution is {steps[i]} nV, expected more than 0",
        )
        for i in range(n_leads)
    ]
    return make_recording(path, signals)


def _read_header(path: Path) -> np.void:
    """Return the fields of a header whose kind, length and checksum are right."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(_HEADER.itemsize)
        check(
            head.startswith(_MAGIC) and len(head) == _HEADER.itemsize,
            f"{head[: len(_MAGIC)]!r} at the head of {len(head)} bytes",
            f"{_MAGIC!r}, an ISHNE Holter file, and a header of {_HEADER.itemsize}",
            f"convert it to that, EDF or CSV, correct its ending, or {_AGAIN}",
        )
        header = np.frombuffer(head, _HEADER)[0]
        samples_at, stated = int(header["samples_at"]), int(header["checksum"])
        if not _HEADER.itemsize <= samples_at <= min(size, _MAX_HEADER_BYTES):
            raise RecordError(
                f"its samples begin at byte {samples_at} of {size}; expected {_HEADER.itemsize} or "
                f"more, below {_MAX_HEADER_BYTES}; the header is corrupt: {_AGAIN}"
            )
        checked = head[_CHECKED_FROM:] + file.read(samples_at - _HEADER.itemsize)
    found = binascii.crc_hqx(checked, 0xFFFF)  # CRC-CCITT, as the specification has it
    if stated == 0 != found:
        logger.warning("%s: states no checksum; its header is not checked", path.name)
        return header
    check(
        found == stated,
        f"the checksum {found:04X} of its header",
        f"{stated:04X}, as it states",
        f"the header is corrupt: {_AGAIN}",
    )
    return header


def _count_samples(path: Path, header: np.void) -> int:
    """Return the samples per lead that a header states.

    Some programs state those of all leads together, as the length of the file tells.
    """
    stated, n_leads = int(header["n_samples"]), int(header["n_leads"])
    n_found, rest = divmod(path.stat().st_size - int(header["samples_at"]), 2 * n_leads)
    if n_leads > 1 and stated // n_leads == n_found != stated:
        return n_found
    if stated < n_found or (stated == n_found and rest):
        logger.warning(
            "%s: found more bytes than %d samples of %d leads, which are left out",
            *(path.name, stated, n_leads),
        )
    return stated
