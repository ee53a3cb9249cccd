"""WFDB records: the units, the skew and the formats that their headers may state."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.ecg.resampling import resample
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.wfdb_header import BYTES_PER_SAMPLE

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
    np.testing.assert_allclose(trained.signal, remove_baseline(mitdb_100[:, 0], 360), atol=1e-6)


@pytest.mark.parametrize(
    "unit", [b"mmHg", b"%", b"kV", b"nV.s", "ΩV".encode(), "Å/V".encode("latin-1")]
)
def test_a_signal_that_is_no_voltage_is_left_out(physionet, tmp_path, mitdb_100, unit):
    path = rewrite_units(physionet, tmp_path, b"200/" + unit)
    found = open_recording(path)
    assert (found.lead_names, *found.left_out) == (("V5",), "MLII")
    np.testing.assert_array_equal(found.read(0, 7, 999), mitdb_100[7:999, 1].astype(np.float32))
    with pytest.raises(RecordError, match="for lead MLII; expected a voltage"):
        read_record(tmp_path, "mitdb", "100")


def test_a_comment_in_another_alphabet_moves_no_line(physionet, tmp_path, mitdb_100):
    """wfdb drops the letters: some of their bytes, read as Latin-1, would end the line."""
    path = rewrite_units(physionet, tmp_path, "0.2/µV".encode())
    header = path.with_name("100.hea")
    header.write_bytes("# Ångström ÅÅ x.dat\n".encode() + header.read_bytes())
    np.testing.assert_allclose(open_recording(path).read(0), mitdb_100[:, 0], atol=1e-6)


@pytest.mark.parametrize("field", [b"212:-5", b"212x-1", b"212+-4", b"212:5x2"])
def test_a_format_that_wfdb_would_misread_is_refused(physionet, tmp_path, field):
    """Of a skew of -5 wfdb makes a gain of -5."""
    path = rewrite_units(physionet, tmp_path, b"200")
    header = path.with_name("100.hea")
    header.write_bytes(header.read_bytes().replace(b" 212 ", b" %s " % field, 1))
    with pytest.raises(RecordError, match=r"100\.hea: found the format .*; expected"):
        open_recording(path)
    with pytest.raises(RecordError, match=r"100\.hea: found the format .*; expected"):
        read_record(tmp_path, "mitdb", "100")


# --------------------------------------------------------------------------------------
# Skew and formats, by pieces
# --------------------------------------------------------------------------------------

FS = 100
GAIN, BASELINE = 200, 3


@dataclass(frozen=True)
class Written:
    """What one file holds: samples of each signal, and how its header tells of them."""

    digital: list[NDArray[np.int64]]
    widths: list[int]
    skews: list[int]

    def expect(self, lead: int, n_frames: int) -> NDArray[np.float32]:
        """Return a lead as it was before its samples came late; NaN where none is stored."""
        width = self.widths[lead]
        late = self.digital[lead][self.skews[lead] * width :][: n_frames * width]
        expected = np.full(n_frames * width, np.nan)
        expected[: late.size] = (late - BASELINE) / GAIN
        return expected.astype(np.float32)


def encode(flat: NDArray[np.int64], fmt: str) -> bytes:
    """Pack samples as WFDB's signal(5) says."""
    if fmt == "24":
        return flat.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    if fmt == "212":
        a, b = np.pad(flat, (0, flat.size % 2)).reshape(-1, 2).T & 0xFFF
        packed = np.stack([a & 0xFF, (a >> 8) | (b >> 8) << 4, b & 0xFF], axis=1)
        return packed.astype(np.uint8).tobytes()[: -(-flat.size * 3 // 2)]
    if fmt in ("310", "311"):
        a, b, c = np.pad(flat, (0, -flat.size % 3)).reshape(-1, 3).T & 0x3FF
        if fmt == "311":
            return (a | b << 10 | c << 20).astype("<u4").tobytes()
        pairs = np.stack([a << 1 | (c & 0x1F) << 11, b << 1 | (c >> 5) << 11], axis=1)
        return pairs.astype("<u2").tobytes()
    offset = {"80": 128, "160": 32768}.get(fmt, 0)
    kind = {"8": "i1", "80": "u1", "16": "<i2", "160": "<u2", "61": ">i2", "32": "<i4"}[fmt]
    return (flat + offset).astype(kind).tobytes()


def write_wfdb(
    folder: Path,
    name: str,
    fmt: str,
    n_frames: int,
    widths: list[int],
    skews: list[int],
    prolog: int = 0,
    seed: int = 0,
) -> Written:
    """Write a record of one segment without wfdb, which writes few of the formats it reads."""
    rng = np.random.default_rng(seed)
    most = 100 if fmt in ("8", "80") else 500  # no sample is a format's mark of a missing one
    if fmt == "8":
        steps = [rng.integers(-most, most + 1, n_frames * width) for width in widths]
        starts = [int(rng.integers(-300, 300)) for _ in widths]
        digital = [start + np.cumsum(each) for start, each in zip(starts, steps, strict=True)]
    else:
        digital = steps = [rng.integers(-most, most + 1, n_frames * width) for width in widths]
        starts = [int(each[0]) for each in digital]
    frames = [each.reshape(n_frames, -1) for each in steps]
    packed = encode(np.concatenate(frames, axis=1).ravel(), fmt)
    (folder / f"{name}.dat").write_bytes(b"\xa5" * prolog + packed)
    lines = [f"{name} {len(widths)} {FS} {n_frames}"]
    for i, (width, skew) in enumerate(zip(widths, skews, strict=True)):
        checksum = (int(digital[i].sum()) + 32768) % 65536 - 32768
        lines.append(
            f"{name}.dat {fmt}x{width}:{skew}+{prolog} {GAIN}({BASELINE})/mV 12 0 {starts[i]} "
            f"{checksum} 0 ECG {i}"
        )
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return Written(digital, widths, skews)


MANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SKEWS = st.sampled_from([0, 0, 1, 2, 7, 40, 10**9])


def read_by_pieces(found, lead, cuts):
    """Check that pieces are those of the whole, which is what is returned."""
    whole = found.read(lead)
    at = sorted({0, found.n_samples, *(cut % found.n_samples for cut in cuts)})
    pieces = [found.read(lead, *stretch) for stretch in pairwise(at)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    return whole


@pytest.mark.parametrize("fmt", BYTES_PER_SAMPLE)
@MANY
@given(data=st.data())
def test_every_format_by_pieces(tmp_path_factory, fmt, data):
    folder = tmp_path_factory.mktemp("formats")
    n_signals, n_frames = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 60))
    width = data.draw(st.integers(1, 3))  # signals of other widths would be left out
    skews = data.draw(st.lists(SKEWS, min_size=n_signals, max_size=n_signals))
    written = write_wfdb(
        folder, "r", fmt, n_frames, [width] * n_signals, skews, data.draw(st.sampled_from([0, 5]))
    )
    found = open_recording(folder / "r")
    assert found.n_samples == n_frames * width
    for lead in range(n_signals):
        whole = read_by_pieces(found, lead, data.draw(st.lists(st.integers(0, 200), max_size=4)))
        np.testing.assert_array_equal(whole, written.expect(lead, n_frames))


@MANY
@given(
    lengths=st.lists(st.tuples(st.integers(2, 40), st.integers(0, 9)), min_size=1, max_size=4),
    width=st.integers(1, 2),
    skews=st.lists(SKEWS, min_size=4, max_size=4),
    fmt=st.sampled_from(["8", "16", "212"]),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_skew_in_segments(tmp_path_factory, lengths, width, skews, fmt, cuts):
    """A segment may store more than the record takes of it: what comes late is there, or NaN."""
    folder = tmp_path_factory.mktemp("segments")
    expected = []
    for i, (length, more) in enumerate(lengths):
        written = write_wfdb(folder, f"s{i}", fmt, length + more, [width], [skews[i]], seed=i)
        expected += [written.expect(0, length + more)[: length * width], np.full(3 * width, np.nan)]
    total = sum(length + 3 for length, _ in lengths)
    rows = [f"s{i} {length}\n~ 3" for i, (length, _) in enumerate(lengths)]
    header = f"m/{2 * len(lengths)} 1 {FS} {total}"
    (folder / "m.hea").write_text("\n".join([header, *rows]) + "\n")
    whole = read_by_pieces(open_recording(folder / "m"), 0, cuts)
    np.testing.assert_array_equal(whole, np.concatenate(expected))


@pytest.mark.parametrize("fmt", ["16", "61", "160", "212", "310", "311", "24", "32", "80"])
def test_skew_as_wfdb_undoes_it(tmp_path, fmt):
    """Where it does: of one skew a file, and of one sample a frame up to the end."""
    write_wfdb(tmp_path, "r", fmt, 500, [1, 1], [0, 30])
    write_wfdb(tmp_path, "s", fmt, 400, [1, 1], [0, 20], seed=1)
    (tmp_path / "m.hea").write_text(f"m/2 2 {FS} 900\nr 500\ns 400\n")
    for name in ("r", "m"):
        found = open_recording(tmp_path / name)
        expected = wfdb.rdrecord(str(tmp_path / name)).p_signal.astype(np.float32)
        for lead in (0, 1):
            np.testing.assert_array_equal(found.read(lead), expected[:, lead])
    assert np.isnan(expected[:, 1]).sum() == 50
    write_wfdb(tmp_path, "f", fmt, 500, [2, 2], [0, 30])
    fast = wfdb.rdrecord(str(tmp_path / "f"), smooth_frames=False).e_p_signal[1]
    found = open_recording(tmp_path / "f").read(1)
    np.testing.assert_array_equal(found[:940], fast[:940].astype(np.float32))
    assert np.isnan(found[940:]).all()


def test_skew_of_a_compressed_signal(tmp_path):
    digital = np.random.default_rng(0).integers(-500, 500, (300, 2))
    wfdb.wrsamp(
        "z",
        fs=FS,
        units=["mV", "mV"],
        sig_name=["I", "II"],
        d_signal=digital,
        fmt=["516", "516"],
        adc_gain=[200.0, 200.0],
        baseline=[0, 0],
        write_dir=str(tmp_path),
    )
    header = tmp_path / "z.hea"
    lines = header.read_text().splitlines()
    header.write_text("\n".join([*lines[:2], lines[2].replace(" 516 ", " 516:25 ")]) + "\n")
    found = open_recording(tmp_path / "z")
    expected = np.append(digital[25:, 1] / 200, [np.nan] * 25).astype(np.float32)
    np.testing.assert_array_equal(read_by_pieces(found, 1, [100, 280]), expected)
    np.testing.assert_array_equal(found.read(0), (digital[:, 0] / 200).astype(np.float32))


def test_a_real_record_in_differences(physionet, tmp_path, mitdb_100):
    """mitdb 100 anew in format 8, which holds its steepest slopes: the same in every piece."""
    digital = np.rint(mitdb_100 * 200).astype(np.int64) + 1024
    np.diff(digital, axis=0, prepend=digital[:1]).astype(np.int8).tofile(tmp_path / "d.dat")
    lines = [f"d.dat 8 200(1024)/mV 12 0 {first} 0 0 ECG" for first in digital[0]]
    (tmp_path / "d.hea").write_text("\n".join([f"d 2 360 {len(digital)}", *lines]) + "\n")
    found = open_recording(tmp_path / "d")
    for lead in (0, 1):
        whole = read_by_pieces(found, lead, [100_000, 333_333, 649_000])
        np.testing.assert_array_equal(whole, mitdb_100[:, lead].astype(np.float32))


def test_training_reads_no_lead_with_skew(tmp_path):
    write_wfdb(tmp_path, "r", "16", 2000, [1, 1], [0, 30])
    wfdb.wrann("r", "atr", np.array([50, 150]), ["N", "V"], write_dir=str(tmp_path))
    record = read_record(tmp_path, "own", "r", fs=FS, preferred_lead="ECG 0")
    expected = remove_baseline(open_recording(tmp_path / "r").read(0), FS)
    np.testing.assert_array_equal(record.signal, expected)
    with pytest.raises(RecordError, match="own/r: found a skew of 30 frames for lead ECG 1"):
        read_record(tmp_path, "own", "r", fs=FS, preferred_lead="ECG 1")
    # The samples are compared with their checksums all the same.
    content = bytearray((tmp_path / "r.dat").read_bytes())
    content[1000] ^= 1
    (tmp_path / "r.dat").write_bytes(content)
    with pytest.raises(RecordError, match="sample checksum"):
        read_record(tmp_path, "own", "r", fs=FS, preferred_lead="ECG 0")


@pytest.mark.parametrize(
    ("db", "name", "lead"), [("mitdb", "114", "MLII"), ("svdb", "800", "ECG1")]
)
def test_records_without_skew_are_as_wfdb_reads_them(physionet, db, name, lead):
    expected, fields = wfdb.rdsamp(str(physionet / db / name), channel_names=[lead])
    np.testing.assert_array_equal(
        read_record(physionet / db, db, name).signal,
        remove_baseline(resample(expected[:, 0], fields["fs"], 360), 360),
    )
    np.testing.assert_array_equal(
        open_recording(physionet / db / name).read(lead), expected[:, 0].astype(np.float32)
    )


def test_a_header_without_a_length_is_refused(tmp_path):
    write_wfdb(tmp_path, "r", "16", 100, [1], [0])
    header = tmp_path / "r.hea"
    header.write_text(header.read_text().replace("r 1 100 100", "r 1 100"))
    with pytest.raises(RecordError, match=r"found no length in the first line of r\.hea"):
        open_recording(tmp_path / "r")
