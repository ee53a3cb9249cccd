"""Recordings of the user's own: what is read, and that no file from a stranger does harm."""

from __future__ import annotations

import struct
from pathlib import Path

import edfio
import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import (
    find_recordings,
    is_there,
    name_recording,
    open_recording,
)
from cnns_spectrograms.recordings.recording import MAX_DURATION_S, MAX_LEADS
from cnns_spectrograms.recordings.wfdb_annotations import read_annotations, select_beats
from written_formats import (
    aecg_lead,
    aecg_series,
    aecg_times,
    crc_ccitt,
    dicom_channel,
    write_aecg,
    write_dicom,
    write_ishne,
)

FS = 100
N = 1500


@pytest.fixture
def record(tmp_path, signal):
    """A WFDB record of one segment, with annotations."""
    write_wfdb(tmp_path, "r1", signal)
    wfdb.wrann("r1", "atr", np.array([50, 150, 250]), ["N", "+", "V"], write_dir=str(tmp_path))
    return tmp_path / "r1"


def write_wfdb(folder, name, signal, names=("MLII", "V1"), **options):
    wfdb.wrsamp(
        name,
        fs=FS,
        units=["mV"] * signal.shape[1],
        sig_name=list(names),
        p_signal=signal,
        fmt=["16"] * signal.shape[1],
        adc_gain=[200.0] * signal.shape[1],
        baseline=[0] * signal.shape[1],
        write_dir=str(folder),
        **options,
    )


# --------------------------------------------------------------------------------------
# WFDB
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat", ".atr", ".mat"])
def test_wfdb_record_by_any_of_its_names(record, signal, suffix):
    if suffix == ".mat":  # as in the challenges of PhysioNet
        record.with_name("r1.dat").rename(record.with_name("r1.mat"))
        header = record.with_name("r1.hea")
        header.write_text(header.read_text().replace("r1.dat", "r1.mat"))
    found = open_recording(f"{record}{suffix}")
    assert (found.name, found.fs, found.lead_names) == ("r1", FS, ("MLII", "V1"))
    assert (found.n_samples, found.duration_s) == (N, 15)
    assert found.reference["sample"].tolist() == [50, 150, 250]
    np.testing.assert_allclose(found.read("V1"), signal[:, 1], atol=1e-6)
    np.testing.assert_array_equal(found.read("mlii", 100, 300), found.read(0)[100:300])
    assert found.read(0).dtype == np.float32
    assert found.read(1, 7, 7).shape == (0,)


def test_beats_alone_are_peaks(record):
    found = open_recording(record)
    assert select_beats(found.reference).tolist() == [50, 250]


def test_annotations_at_another_rate_than_the_signal(record, tmp_path):
    wfdb.wrann("r1", "own", np.array([100, 500]), ["N", "N"], fs=200, write_dir=str(tmp_path))
    found = read_annotations(record, "own", FS, N)
    assert found["sample"].tolist() == [50, 250]


def test_a_damaged_reference_is_left_out(record, caplog):
    record.with_name("r1.atr").write_bytes(b"\xff" * 101)
    assert open_recording(record).reference is None
    assert "reference is not used" in caplog.text


def test_segments_are_read_across_their_borders(tmp_path, signal):
    write_wfdb(tmp_path, "s1", signal[:600])
    write_wfdb(tmp_path, "s2", signal[600:])
    (tmp_path / "m.hea").write_text(f"m/3 2 {FS} {N + 200}\ns1 600\n~ 200\ns2 900\n")
    found = open_recording(tmp_path / "m")
    assert found.n_samples == N + 200
    whole = found.read(0)
    np.testing.assert_allclose(whole[:600], signal[:600, 0], atol=1e-6)
    assert np.isnan(whole[600:800]).all()
    np.testing.assert_allclose(whole[800:], signal[600:, 0], atol=1e-6)
    np.testing.assert_array_equal(found.read(0, 550, 850), whole[550:850])
    assert [path.stem for path in find_recordings(tmp_path)] == ["m"]


def test_segments_of_a_variable_layout(tmp_path, signal):
    write_wfdb(tmp_path, "s1", signal[:600, :1], names=["MLII"])
    write_wfdb(tmp_path, "s2", signal[600:, ::-1], names=["V1", "MLII"])
    (tmp_path / "lay.hea").write_text(
        f"lay 2 {FS} 0\n~ 0 200/mV 16 0 0 0 0 MLII\n~ 0 200/mV 16 0 0 0 0 V1\n"
    )
    (tmp_path / "v.hea").write_text(f"v/3 2 {FS} {N}\nlay 0\ns1 600\ns2 900\n")
    found = open_recording(tmp_path / "v")
    assert found.lead_names == ("MLII", "V1")
    np.testing.assert_allclose(found.read("MLII"), signal[:, 0], atol=1e-6)
    assert np.isnan(found.read("V1", 0, 600)).all()
    np.testing.assert_allclose(found.read("V1", 600, N), signal[600:, 1], atol=1e-6)


def test_several_samples_a_frame(tmp_path, signal):
    fast = np.round(signal[:, 0] * 200).astype(int)
    wfdb.wrsamp(
        "f",
        fs=FS / 2,
        units=["mV", "mV"],
        sig_name=["ECG", "resp"],
        e_d_signal=[fast, fast[::2]],
        samps_per_frame=[2, 1],
        fmt=["16", "16"],
        adc_gain=[200.0, 200.0],
        baseline=[0, 0],
        write_dir=str(tmp_path),
    )
    found = open_recording(tmp_path / "f")
    assert (found.fs, found.n_samples, found.lead_names) == (FS, N, ("ECG",))
    np.testing.assert_allclose(found.read(0, 3, 801), signal[3:801, 0], atol=1e-6)


def test_microvolts(record, signal):
    header = record.with_name("r1.hea")
    header.write_text(header.read_text().replace("200.0(0)/mV", "0.2(0)/uV"))
    np.testing.assert_allclose(open_recording(record).read(0), signal[:, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r1 2 -360 1500", "sampling rate"),
        ("r1 2 0 1500", "sampling rate"),
        ("r1 2 nan 1500", "sampling rate"),
        ("r1 2 1e300 1500", "sampling rate"),
        (f"r1 2 100 {10**12}", "days"),
        (f"r1 2 100 {10**30}", "days"),
        ("r1 2 100 -5", "samples"),
        ("r1 5000 100 1500", "leads"),
        ("r1 0 100 1500", "number of signals"),
        ("r1 -1 100 1500", "number of signals"),
        ("r1 x 100 1500", "at the head"),
        ("", "at the head"),
        ("r1 3 100 1500", "signal lines"),
        ("r1 2 100 1600", "truncated"),
    ],
)
def test_absurd_headers_are_refused(record, line, message):
    header = record.with_name("r1.hea")
    header.write_text("\n".join([line, *header.read_text().splitlines()[1:]]))
    with pytest.raises(RecordError, match=message):
        open_recording(record)


@pytest.mark.parametrize(
    "name", ["../secret.dat", "/etc/passwd", "a/b.dat", "http://x/y.dat", "..", "\\\\h\\s.dat"]
)
def test_a_header_names_no_file_elsewhere(record, name):
    header = record.with_name("r1.hea")
    header.write_text(header.read_text().replace("r1.dat", name))
    with pytest.raises(RecordError, match="without a folder"):
        open_recording(record)


def test_a_header_of_no_end_is_refused(record):
    header = record.with_name("r1.hea")
    header.write_text(header.read_text() + "# x\n" * 300_000)
    with pytest.raises(RecordError, match="bytes"):
        open_recording(record)


def test_a_record_that_is_its_own_segment_is_refused(tmp_path):
    (tmp_path / "m.hea").write_text(f"m/1 2 {FS} {N}\nm {N}\n")
    with pytest.raises(RecordError, match="segments of its own"):
        open_recording(tmp_path / "m")


def test_a_signal_that_is_no_lead_is_told_by_name(record):
    header = record.with_name("r1.hea")
    header.write_text(header.read_text().replace("/mV", "/mmHg", 1))
    found = open_recording(record)
    assert found.lead_names == ("V1",)
    with pytest.raises(ValueError, match=r"signal mlii cannot be used: its unit is 'mmHg'.*0: V1"):
        found.find_lead("mlii")


def test_segments_may_differ_in_a_signal_that_is_not_read(tmp_path, signal):
    write_wfdb(tmp_path, "s1", signal[:600])
    write_wfdb(tmp_path, "s2", signal[600:])
    header = tmp_path / "s2.hea"
    first, second = header.read_text().split("/mV", 1)
    header.write_text(f"{first}/uV{second}")
    (tmp_path / "m.hea").write_text(f"m/2 2 {FS} {N}\ns1 600\ns2 900\n")
    found = open_recording(tmp_path / "m")
    assert found.lead_names == ("V1",)
    np.testing.assert_allclose(found.read(0), signal[:, 1], atol=1e-6)
    with pytest.raises(ValueError, match=r"MLII cannot be used: its units .* differ between seg"):
        found.read("MLII")


def test_signals_that_are_no_voltage(record):
    header = record.with_name("r1.hea")
    header.write_text(header.read_text().replace("/mV", "/mmHg"))
    with pytest.raises(RecordError, match="voltage"):
        open_recording(record)


def test_what_is_no_recording(tmp_path):
    endings = ("", ".edf", ".bdf", ".csv", ".dcm", ".ecg", ".xml")
    for path in (tmp_path, *(tmp_path / f"none{ending}" for ending in endings)):
        with pytest.raises(
            RecordError, match=r"(found .*expected .*|is missing; )correct the path"
        ):
            open_recording(path)


def test_a_rate_given_for_a_format_that_says_its_own(record):
    with pytest.raises(ValueError, match="CSV"):
        open_recording(record, fs=100)


def test_reading_beyond_the_recording(record):
    found = open_recording(record)
    for start, stop in ((-1, 5), (0, N + 1), (6, 5)):
        with pytest.raises(ValueError, match="asked for"):
            found.read(0, start, stop)
    for lead in ("V9", 2, -1):
        with pytest.raises(ValueError, match="0: MLII, 1: V1"):
            found.read(lead)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/rec", "rec"),
        ("a/rec.hea", "rec"),
        ("a/rec.1", "rec.1"),
        ("a/rec.1.hea", "rec.1"),
        ("a/rec.1.ATR", "rec.1"),
        ("a/rec.mat", "rec"),
        ("a/rec.bdf", "rec"),
        ("a/rec.1.edf", "rec.1"),
        ("a.csv/rec.2.CSV", "rec.2"),
        ("rec.dat.txt", "rec.dat"),
        ("rec.1.dcm", "rec.1"),
        ("1.2.840.10008", "1.2.840.10008"),
        ("rec.ecg", "rec"),
        ("rec.XML", "rec"),
    ],
)
def test_the_name_of_a_recording(path, name):
    assert name_recording(Path(path)) == name


def test_names_with_a_dot(tmp_path, signal):
    for i in (1, 2):
        write_wfdb(tmp_path, f"r{i}", i * signal / 2)
        (tmp_path / f"r{i}.hea").rename(tmp_path / f"rec.{i}.hea")
    write_edf(tmp_path / "rec.3.edf", signal)
    (tmp_path / "rec.4.csv").write_text("MLII\n" + "".join(f"{mv[0]:.4f}\n" for mv in signal))
    found = find_recordings(tmp_path)
    assert [path.name for path in found] == ["rec.1.hea", "rec.2.hea", "rec.3.edf", "rec.4.csv"]
    for path in found:
        recording = open_recording(path, fs=FS if path.suffix == ".csv" else None)
        assert recording.name == name_recording(path) == path.stem
    for i in (1, 2):
        lead = open_recording(tmp_path / f"rec.{i}").read(0)
        np.testing.assert_allclose(lead, i * signal[:, 0] / 2, atol=3e-3)


def test_a_dot_in_a_header_is_told(record):
    """wfdb takes no such name in a header, and would say no more than that its syntax is wrong."""
    header = record.with_name("r1.hea")
    text = header.read_text()
    header.write_text(text.replace("r1 2", "r.1 2"))
    with pytest.raises(RecordError, match=r"r1\.hea: found 'r\.1 2 .*; expected name \(letters"):
        open_recording(record)
    header.write_text(text.replace("r1.dat", "r.1.dat"))
    with pytest.raises(RecordError, match=r"found the file 'r\.1\.dat'; .*one dot at most"):
        open_recording(record)


# --------------------------------------------------------------------------------------
# EDF
# --------------------------------------------------------------------------------------


def write_edf(path, signal, dimension="mV", scale=1.0, **others):
    leads = [
        edfio.EdfSignal(
            signal[:, i] * scale,
            FS,
            label=name,
            physical_dimension=dimension,
            physical_range=(-2 * scale, 2 * scale),
        )
        for i, name in enumerate(("ECG I", "ECG II"))
    ]
    edfio.Edf(leads + others.get("more", []), data_record_duration=1).write(path)


def test_edf(tmp_path, signal):
    write_edf(tmp_path / "a.edf", signal)
    found = open_recording(tmp_path / "a.edf")
    assert (found.name, found.fs, found.lead_names) == ("a", FS, ("ECG I", "ECG II"))
    assert found.n_samples == N
    np.testing.assert_allclose(found.read(1), signal[:, 1], atol=4 / 65535)
    for start, stop in ((0, 1), (99, 101), (1234, 1500), (N - 1, N)):
        np.testing.assert_array_equal(found.read(0, start, stop), found.read(0)[start:stop])


def test_edf_in_microvolts(tmp_path, signal):
    write_edf(tmp_path / "a.edf", signal, "uV", 1000)
    found = open_recording(tmp_path / "a.edf").read(0)
    np.testing.assert_allclose(found, signal[:, 0], atol=4 / 65535)


def test_edf_signals_of_other_rates_are_left_out(tmp_path, signal, caplog):
    eeg = [
        edfio.EdfSignal(
            np.zeros(15 * 256),
            256,
            label=f"EEG {i}",
            physical_dimension="uV",
            physical_range=(-1, 1),
        )
        for i in range(5)
    ]
    write_edf(tmp_path / "a.edf", signal, more=eeg)
    with caplog.at_level("INFO"):
        found = open_recording(tmp_path / "a.edf")
    assert found.lead_names == ("ECG I", "ECG II")
    assert "EEG 0 (256 Hz)" in caplog.text


def test_truncated_edf_is_as_long_as_it_is(tmp_path, signal, caplog):
    path = tmp_path / "a.edf"
    write_edf(path, signal)
    path.write_bytes(path.read_bytes()[:-1000])
    found = open_recording(path)
    assert found.n_samples < N
    assert np.isfinite(found.read(0)).all()
    assert "Incomplete" in caplog.text


@pytest.mark.parametrize(
    ("at", "text", "message"),
    [
        (slice(252, 256), b"9999", "signals"),
        (slice(252, 256), b"-1  ", "signals"),
        (slice(252, 256), b"  ab", "signals"),
        (slice(184, 192), b"99999999", "header of"),
        (slice(0, 8), b"\xffBIOSEMI", "version"),
        (slice(244, 252), b"0       ", "corrupt|records"),
    ],
)
def test_absurd_edf_headers(tmp_path, signal, at, text, message):
    path = tmp_path / "a.edf"
    write_edf(path, signal)
    content = bytearray(path.read_bytes())
    content[at] = text
    path.write_bytes(content)
    with pytest.raises(RecordError, match=message):
        open_recording(path)


# --------------------------------------------------------------------------------------
# Files from strangers
# --------------------------------------------------------------------------------------

FUZZ = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4
)


def damage(content: bytes, edits, keep: float) -> bytes:
    """Cut a file, and write over parts of it."""
    damaged = bytearray(content[: max(1, int(len(content) * keep))])
    for at, text in edits:
        at %= len(damaged)
        damaged[at : at + len(text)] = text
    return bytes(damaged)


def open_or_refuse(path, **options):
    """Open a damaged recording: it says so, or is one of sane size that can be read."""
    try:
        found = open_recording(path, **options)
        for lead in range(len(found.lead_names)):
            assert found.read(lead, 0, min(found.n_samples, 5000)).dtype == np.float32
    except RecordError:
        return
    assert 1 <= len(found.lead_names) <= MAX_LEADS
    assert 2 <= found.n_samples <= MAX_DURATION_S * found.fs


@pytest.mark.parametrize("part", ["hea", "atr", "dat"])
@FUZZ
@given(edits=EDITS, keep=st.floats(0.1, 1))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy, on numbers out of bounds
def test_damaged_wfdb(tmp_path_factory, signal, part, edits, keep):
    folder = tmp_path_factory.mktemp("fuzz")
    write_wfdb(folder, "r", signal)
    wfdb.wrann("r", "atr", np.arange(50, N, 80), ["N"] * 19, write_dir=str(folder))
    path = folder / f"r.{part}"
    path.write_bytes(damage(path.read_bytes(), edits, keep))
    open_or_refuse(folder / "r.hea")


@FUZZ
@given(edits=EDITS, keep=st.floats(0.02, 1))
def test_damaged_segments(tmp_path_factory, signal, edits, keep):
    folder = tmp_path_factory.mktemp("fuzz")
    write_wfdb(folder, "s1", signal[:600])
    path = folder / "m.hea"
    header = f"m/3 2 {FS} 1400\ns1 600\n~ 200\ns1 600\n".encode()
    path.write_bytes(damage(header, edits, keep))
    open_or_refuse(path)


@FUZZ
@given(
    edits=st.lists(st.tuples(st.integers(0, 1100), st.binary(min_size=1, max_size=8)), max_size=4),
    keep=st.floats(0.02, 1),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damaged_edf(tmp_path_factory, signal, edits, keep):
    path = tmp_path_factory.mktemp("fuzz") / "a.edf"
    write_edf(path, signal)
    path.write_bytes(damage(path.read_bytes(), edits, keep))
    open_or_refuse(path)


@FUZZ
@given(edits=EDITS, keep=st.floats(0.02, 1))
def test_damaged_csv(tmp_path_factory, signal, edits, keep):
    path = tmp_path_factory.mktemp("fuzz") / "a.csv"
    rows = [f"{i / FS:.3f},{a:.3f},{b:.3f}" for i, (a, b) in enumerate(signal[:300])]
    path.write_bytes(damage("\n".join(["time,MLII,V1", *rows]).encode(), edits, keep))
    open_or_refuse(path)


def write_holter(path, signal):
    steps = np.round(signal * 200).astype(np.int16)
    write_ishne(path, steps, FS, [5000] * 2, [6, 11])


def write_aecg_leads(path, signal):
    leads = (aecg_lead("MDC_ECG_LEAD_II", np.round(each * 200).astype(int)) for each in signal.T)
    write_aecg(path, aecg_series(aecg_times("0.01"), *leads))


def write_ecg_of_dicom(path, signal):
    steps = np.round(signal * 200).astype(np.int16)
    channels = [dicom_channel("2:2", "Lead II", "uV", 5), dicom_channel("2:3", "Lead V1", "mV")]
    write_dicom(path, {"samples": steps, "fs": FS, "channels": channels})


@pytest.mark.parametrize(
    ("name", "write", "n_head"),
    [
        ("a.ecg", write_holter, 530),
        ("a.xml", write_aecg_leads, 1_000),
        ("a.dcm", write_ecg_of_dicom, 1_600),
    ],
)
@FUZZ
@given(data=st.data(), keep=st.one_of(st.just(1.0), st.floats(0.02, 1)))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy, on scales out of bounds
def test_damaged_files_of_clinics(tmp_path_factory, signal, name, write, n_head, data, keep):
    path = tmp_path_factory.mktemp("fuzz") / name
    write(path, signal[:300])
    edit = st.tuples(st.integers(0, n_head), st.binary(min_size=1, max_size=8))
    content = damage(path.read_bytes(), data.draw(st.lists(edit, max_size=4)), keep)
    if name == "a.ecg" and len(content) > 522:  # what the checksum would refuse at once
        checked = content[:8] + struct.pack("<H", crc_ccitt(content[10:522])) + content[10:]
        content = data.draw(st.sampled_from([content, checked]))
    path.write_bytes(content)
    open_or_refuse(path)


@pytest.mark.parametrize("suffix", [".csv", ".edf", ".hea", ".dcm", ".ecg", ".xml"])
@FUZZ
@given(content=st.binary(min_size=1, max_size=2000))
def test_random_bytes(tmp_path_factory, suffix, content):
    path = (tmp_path_factory.mktemp("fuzz") / "a").with_suffix(suffix)
    path.write_bytes(content)
    open_or_refuse(path)


# --------------------------------------------------------------------------------------
# The lead
# --------------------------------------------------------------------------------------


def test_a_real_record(physionet):
    found = open_recording(physionet / "mitdb" / "100")
    expected = wfdb.rdrecord(str(physionet / "mitdb" / "100"), channels=[1]).p_signal[:, 0]
    np.testing.assert_array_equal(found.read("V5"), expected.astype(np.float32))
    np.testing.assert_array_equal(
        found.read("V5", 123_457, 123_999), expected[123_457:123_999].astype(np.float32)
    )
    assert len(select_beats(found.reference)) == 2273


def test_all_that_opens_alone_is_found(tmp_path, signal, caplog):
    """Notes are none, and the log names them."""
    write_wfdb(tmp_path, "a", signal)
    write_edf(tmp_path / "b.EDF", signal)
    text = "ECG\n" + "".join(f"{mv:.3f}\n" for mv in signal[:, 0])
    for name in ("c.csv", "d.tsv", "e.txt", "f.TXT"):
        (tmp_path / name).write_text(text)
    (tmp_path / "notes.txt").write_text("A man of 53 years.\nSee the others.\n")
    with caplog.at_level("INFO"):
        found = find_recordings(tmp_path)
    assert [each.name for each in found] == ["a.hea", "b.EDF", "c.csv", "d.tsv", "e.txt", "f.TXT"]
    assert "notes.txt is left out, since it is no recording" in caplog.text


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ("a", True),
        ("a.hea", True),
        ("a.dat", True),
        ("a.atr", True),  # not there, but of a record that is
        (".", True),
        ("b.csv", False),
        ("b", False),
        ("nix/a", False),
    ],
)
def test_what_is_there(tmp_path, signal, given, there):
    write_wfdb(tmp_path, "a", signal)
    assert is_there(tmp_path / given) == there
