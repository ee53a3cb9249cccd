"""WFDB records: the units, the skew and the formats that their headers may state."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import wfdb

from cnns_spectrograms.ecg.recordings import open_recording
from cnns_spectrograms.ecg.records import MV_PER_UNIT, RecordError, mv_per_unit, read_record

# --------------------------------------------------------------------------------------
# Units
# --------------------------------------------------------------------------------------

MU = "\N{GREEK SMALL LETTER MU}"


@pytest.fixture(scope="module")
def mitdb_100(physionet):
    """Both leads of mitdb 100, mV, (650000, 2)."""
    return wfdb.rdrecord(str(physionet / "mitdb" / "100")).p_signal


def rewrite_units(physionet, folder, gain_and_unit: bytes):
    """Copy mitdb 100 with another gain and unit of its first signal."""
    for suffix in ("dat", "atr"):
        shutil.copy(physionet / "mitdb" / f"100.{suffix}", folder)
    header = (physionet / "mitdb" / "100.hea").read_bytes()
    assert header.count(b" 212 200 ") == 2
    (folder / "100.hea").write_bytes(header.replace(b" 212 200 ", b" 212 %s " % gain_and_unit, 1))
    return folder / "100"


@pytest.mark.parametrize(
    "gain_and_unit",
    [
        b"200",
        b"200/mV",
        b"200/mv",
        b"0.2/uV",
        b"0.2/UV",
        "0.2/µV".encode(),
        "0.2/µV".encode("latin-1"),
        "0.2(1024)/µV".encode(),
        f"0.2/{MU}V".encode(),
        b"0.2/microvolts",
        b"2e-4/nV",
        b"200000/V",
        b"200000/volts",
    ],
)
def test_units_of_a_real_record(physionet, tmp_path, mitdb_100, gain_and_unit):
    path = rewrite_units(physionet, tmp_path, gain_and_unit)
    found = open_recording(path)
    np.testing.assert_allclose(found.read("MLII"), mitdb_100[:, 0], atol=1e-6)
    np.testing.assert_array_equal(found.read("V5"), mitdb_100[:, 1].astype(np.float32))
    trained = read_record(tmp_path, "mitdb", "100")
    np.testing.assert_allclose(trained.signal, mitdb_100[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    "unit", [b"mmHg", b"%", b"kV", b"nV.s", "ΩV".encode(), "Å/V".encode("latin-1")]
)
def test_a_signal_that_is_no_voltage_is_left_out(physionet, tmp_path, mitdb_100, unit):
    path = rewrite_units(physionet, tmp_path, b"200/" + unit)
    found = open_recording(path)
    assert found.lead_names == ("V5",)
    np.testing.assert_array_equal(found.read(0, 7, 999), mitdb_100[7:999, 1].astype(np.float32))
    with pytest.raises(RecordError, match="expected a voltage"):
        read_record(tmp_path, "mitdb", "100")


def test_a_comment_in_another_alphabet_moves_no_line(physionet, tmp_path, mitdb_100):
    """wfdb drops the letters: some of their bytes, read as Latin-1, would end the line."""
    path = rewrite_units(physionet, tmp_path, "0.2/µV".encode())
    header = path.with_name("100.hea")
    header.write_bytes("# Ångström ÅÅ x.dat\n".encode() + header.read_bytes())
    np.testing.assert_allclose(open_recording(path).read(0), mitdb_100[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        *MV_PER_UNIT.items(),
        ("v", 1e3),
        ("Volt", 1e3),
        (" mV ", 1.0),
        ("MV", 1.0),
        ("millivolts", 1.0),
        (f"{MU}V", 1e-3),
        ("Microvolt", 1e-3),
        ("NV", 1e-6),
        ("nanovolts", 1e-6),
        ("", None),
        ("kV", None),
        ("m", None),
        ("adu", None),
        ("mV/s", None),
        ("volt s", None),
    ],
)
def test_millivolts_of_a_unit(text, factor):
    assert mv_per_unit(text) == factor


@pytest.mark.parametrize("field", [b"212:-5", b"212x-1", b"212+-4", b"212:5x2"])
def test_a_format_that_wfdb_would_misread_is_refused(physionet, tmp_path, field):
    """Of a skew of -5 wfdb makes a gain of -5."""
    path = rewrite_units(physionet, tmp_path, b"200")
    header = path.with_name("100.hea")
    header.write_bytes(header.read_bytes().replace(b" 212 ", b" %s " % field, 1))
    with pytest.raises(RecordError, match=r"found the format .*100\.hea; expected"):
        open_recording(path)
    with pytest.raises(RecordError, match=r"found the format .*100\.hea; expected"):
        read_record(tmp_path, "mitdb", "100")
