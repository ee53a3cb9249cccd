"""EDF files: the units that they are written in."""

from __future__ import annotations

import edfio
import numpy as np
import pytest
import wfdb

from cnns_spectrograms.ecg.recordings import open_recording
from cnns_spectrograms.ecg.records import RecordError

FS = 360
# Of one signal: its label (16 bytes) and transducer (80) stand before the physical dimension (8).
DIMENSION = slice(256 + 16 + 80, 256 + 16 + 80 + 8)


@pytest.fixture(scope="module")
def ecg(physionet):
    """10 s of mitdb 100, mV."""
    return wfdb.rdrecord(str(physionet / "mitdb" / "100"), channels=[0], sampto=3600).p_signal[:, 0]


def write_edf(path, ecg, dimension: bytes, per_mv: float) -> None:
    edfio.Edf([edfio.EdfSignal(ecg * per_mv, FS, label="ECG", physical_dimension="?")]).write(path)
    content = bytearray(path.read_bytes())
    content[DIMENSION] = dimension.ljust(8)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("dimension", "per_mv"),
    [
        (b"mV", 1),
        (b"mv", 1),
        (b"MV", 1),
        (b"uV", 1e3),
        (b"UV", 1e3),
        ("µV".encode(), 1e3),
        ("µV".encode("latin-1"), 1e3),
        ("\N{GREEK SMALL LETTER MU}V".encode(), 1e3),
        (b"nV", 1e6),
        (b"V", 1e-3),
        (b"volts", 1e-3),
    ],
)
def test_voltages(tmp_path, ecg, dimension, per_mv):
    write_edf(tmp_path / "a.edf", ecg, dimension, per_mv)
    found = open_recording(tmp_path / "a.edf").read(0)
    # The range is written in 8 characters: of volts three digits are left.
    np.testing.assert_allclose(found, ecg, atol=5e-3 if per_mv < 1 else 1e-3)


@pytest.mark.parametrize("dimension", [b"mmHg", b"", b"%", b"kV", "ΩV".encode()])
def test_what_is_no_voltage(tmp_path, ecg, dimension):
    write_edf(tmp_path / "a.edf", ecg, dimension, 1)
    with pytest.raises(RecordError, match=r"a\.edf: found signals in .*expected a voltage"):
        open_recording(tmp_path / "a.edf")
