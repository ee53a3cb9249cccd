"""EDF and BDF files: units, formats, dead channels and interruptions."""

from __future__ import annotations

import edfio
import numpy as np
import pytest
import wfdb

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import find_recordings, open_recording
from cnns_spectrograms.recordings.recording import suggest_lead

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


# --------------------------------------------------------------------------------------
# Files that other programs write
# --------------------------------------------------------------------------------------

RATE = 50
N_RECORDS = 12
SOUND = ("ECG II", "mV", -5, 5, -32768, 32767, RATE)
WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)


@pytest.fixture
def samples():
    """Data records of noise, as they are stored: (N_RECORDS, RATE)."""
    return np.random.default_rng(0).integers(-9000, 9000, (N_RECORDS, RATE))


def write_by_hand(path, signals, version=b"0", kind="", duration="1"):
    """Write a file whose signals are (fields of the header, bytes of each data record)."""
    fixed = [
        (version, 8), ("X X X X", 80), ("Startdate X X X X", 80), ("02.03.24", 8), ("10.11.12", 8),
        (256 * (len(signals) + 1), 8), (kind, 44), (N_RECORDS, 8), (duration, 8), (len(signals), 4),
    ]  # fmt: skip
    fields = [
        (label, "", unit, low, high, least, most, "", n, "")
        for (label, unit, low, high, least, most, n), _ in signals
    ]
    fixed += [(each[i], width) for i, width in enumerate(WIDTHS) for each in fields]
    head = [
        (text if isinstance(text, bytes) else str(text).encode()).ljust(width)
        for text, width in fixed
    ]
    records = [data for at in range(N_RECORDS) for _, data in ((0, s[1][at]) for s in signals)]
    path.write_bytes(b"".join(head + records))


def as_bytes(samples):
    return [record.astype("<i2").tobytes() for record in samples]


def in_mv(samples):
    return ((samples.ravel() + 32768) / 65535 * 10 - 5).astype(np.float32)


def tell_times(onsets):
    """Return a signal of annotations that says when each data record begins, s."""
    notes = [f"+{onset}\x14\x14\0".encode().ljust(60, b"\0") for onset in onsets]
    return ("EDF Annotations", "", -1, 1, -32768, 32767, 30), notes


@pytest.mark.parametrize(
    ("dead", "message"),
    [
        (("X2", "uV", 0, 0, -32768, 32767), "-32768 to 32767 stand for 0 to 0, which is no scale"),
        (("X2", "uV", 0, 0, 0, 0), "0 to 0 stand for 0 to 0"),
        (("X2", "uV", -5, 5, 100, 100), "100 to 100 stand for -5 to 5"),
        (("X2", "mV", "", "", -1, 1), "found '', expected a number"),
        (("X2", "uV", "-inf", 5, -1, 1), "found '-inf', expected a number"),
    ],
)
def test_a_dead_channel_refuses_nothing_but_itself(tmp_path, samples, caplog, dead, message):
    signals = [((*dead, RATE), as_bytes(0 * samples)), (SOUND, as_bytes(samples))]
    write_by_hand(tmp_path / "a.edf", signals)
    found = open_recording(tmp_path / "a.edf")
    assert found.lead_names == ("ECG II",)
    np.testing.assert_allclose(found.read("ECG II"), in_mv(samples), atol=1e-6)
    assert f"X2: the header states that {message}" in caplog.text or message in caplog.text
    with pytest.raises(ValueError, match=f"signal X2 cannot be used: .*{message}.*0: ECG II"):
        found.find_lead("X2")
    write_by_hand(tmp_path / "b.edf", signals[:1])
    with pytest.raises(RecordError, match=rf"b\.edf: found no sound signal \(X2: .*{message}"):
        open_recording(tmp_path / "b.edf")


def test_a_channel_without_samples_is_left_out(tmp_path, samples):
    empty = (("X2", "mV", -5, 5, -1, 1, 0), [b""] * N_RECORDS)
    write_by_hand(tmp_path / "a.edf", [empty, (SOUND, as_bytes(samples))])
    found = open_recording(tmp_path / "a.edf")
    np.testing.assert_allclose(found.read(0), in_mv(samples), atol=1e-6)
    assert "no samples" in found.left_out["X2"]


def test_decimal_commas(tmp_path, samples):
    comma = ("ECG", "uV", "-5000,0", "5000,0", -32768, 32767, RATE)
    write_by_hand(tmp_path / "a.edf", [(comma, as_bytes(samples))], duration="0,5")
    found = open_recording(tmp_path / "a.edf")
    assert found.fs == 2 * RATE
    np.testing.assert_allclose(found.read(0), in_mv(samples), atol=1e-6)


def test_a_number_that_is_none_is_told(tmp_path, samples):
    write_by_hand(tmp_path / "a.edf", [((*SOUND[:-1], "fifty"), as_bytes(samples))])
    with pytest.raises(RecordError, match=r"samples a data record: found 'fifty', expected a num"):
        open_recording(tmp_path / "a.edf")


def test_an_interruption_has_no_samples(tmp_path, samples, caplog):
    whole = [*range(N_RECORDS)]
    gap = [0, 1, 2, *(at + 2.5 for at in range(3, N_RECORDS))]
    for onsets in (whole, gap):
        signals = [(SOUND, as_bytes(samples)), tell_times(onsets)]
        write_by_hand(tmp_path / "a.edf", signals, kind="EDF+D")
        found = open_recording(tmp_path / "a.edf")
        expected = np.full(found.n_samples, np.nan, np.float32)
        for onset, record in zip(onsets, samples, strict=True):
            expected[round(onset * RATE) :][:RATE] = in_mv(record)
        np.testing.assert_allclose(found.read(0), expected, atol=1e-6)
        for stretch in ((0, 1), (149, 151), (151, 270), (160, 170), (274, 276), (500, 600)):
            np.testing.assert_array_equal(found.read(0, *stretch), found.read(0)[slice(*stretch)])
    assert found.n_samples == RATE * N_RECORDS + 125
    assert "interrupted 1 time(s), for 2.5 s together" in caplog.text


def test_an_interruption_of_a_bdf(tmp_path, samples, caplog):
    """Its samples have three bytes, and so has the signal of annotations."""
    path = tmp_path / "a.bdf"
    bytes_of = samples.astype("<i4").view(np.uint8).reshape(N_RECORDS, RATE, 4)[..., :3]
    (label, *fields), notes = tell_times([0, 1, *(at + 0.5 for at in range(2, N_RECORDS))])
    signals = [
        (("ECG II", "uV", -8388608, 8388607, -8388608, 8388607, RATE), [*map(bytes, bytes_of)]),
        ((label.replace("EDF", "BDF"), *fields[:-1], 20), notes),
    ]
    write_by_hand(path, signals, version=b"\xffBIOSEMI", kind="BDF+D")
    found = open_recording(path).read(0) * 1000
    assert np.flatnonzero(np.isnan(found)).tolist() == [*range(2 * RATE, 2 * RATE + 25)]
    np.testing.assert_allclose(found[~np.isnan(found)], samples.ravel(), rtol=1e-6)
    assert "interrupted 1 time(s), for 0.5 s together" in caplog.text


def test_rounded_times_are_no_interruption(tmp_path, samples):
    onsets = [f"{at * 1.0000001:.4f}" for at in range(N_RECORDS)]
    write_by_hand(tmp_path / "a.edf", [(SOUND, as_bytes(samples)), tell_times(onsets)])
    np.testing.assert_allclose(
        open_recording(tmp_path / "a.edf").read(0), in_mv(samples), atol=1e-6
    )


@pytest.mark.parametrize(
    "onsets",
    [[0, 2, 1, *range(3, N_RECORDS)], ["x"] * N_RECORDS, [0] * N_RECORDS, [0, *[1e12] * 11]],
)
def test_times_that_make_no_sense(tmp_path, samples, caplog, onsets):
    signals = [(SOUND, as_bytes(samples)), tell_times(onsets)]
    write_by_hand(tmp_path / "d.edf", signals, kind="EDF+D")
    with pytest.raises(RecordError, match=r"d\.edf: its times of data records \(EDF\+D\)"):
        open_recording(tmp_path / "d.edf")
    write_by_hand(tmp_path / "c.edf", signals, kind="EDF+C")
    np.testing.assert_allclose(
        open_recording(tmp_path / "c.edf").read(0), in_mv(samples), atol=1e-6
    )
    assert "c.edf: taken to be continuous" in caplog.text
    write_by_hand(tmp_path / "n.edf", signals[:1], kind="EDF+D")
    with pytest.raises(RecordError, match="no annotations that state them"):
        open_recording(tmp_path / "n.edf")


def test_bdf_is_read_as_edfio_reads_it(tmp_path):
    rng = np.random.default_rng(0)
    leads = [
        edfio.BdfSignal(
            rng.uniform(-high, high, 10 * RATE), RATE, label=label, physical_dimension="uV",
            physical_range=(-high, high),
        )
        for label, high in (("EXG1", 262143), ("EXG2", 0.5))
    ]  # fmt: skip
    path = tmp_path / "a.BDF"
    edfio.Bdf(leads, annotations=[edfio.EdfAnnotation(1, None, "x")]).write(path)
    assert find_recordings(tmp_path) == [path]
    found = open_recording(path)
    assert (found.name, found.lead_names, found.n_samples) == ("a", ("EXG1", "EXG2"), 10 * RATE)
    for i, signal in enumerate(edfio.read_bdf(path).signals):
        np.testing.assert_allclose(found.read(i) * 1000, signal.data, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(found.read(i, 33, 212), found.read(i)[33:212])
    path.rename(tmp_path / "a.edf")
    with pytest.raises(RecordError, match=r"found b'\\xffBIOSEMI' .* ending \(\.edf or \.bdf\)"):
        open_recording(tmp_path / "a.edf")


def write_sleep(path, **units) -> None:
    """Write signals of 10 s by label and unit."""
    edfio.Edf(
        [
            edfio.EdfSignal(np.arange(3600) % 50, FS, label=label, physical_dimension=unit)
            for label, unit in units.items()
        ]
    ).write(path)


@pytest.mark.parametrize("unit", ["", "uV/bit?"])
def test_no_other_signal_takes_the_place_of_an_ecg(tmp_path, caplog, unit):
    write_sleep(tmp_path / "a.edf", EEG="uV", ECG=unit)
    found = open_recording(tmp_path / "a.edf")
    assert f"a.edf: not all that is called ECG is read: ECG: its unit is '{unit}'" in caplog.text
    with pytest.raises(RecordError, match=r"a: signal ECG cannot .* lead EEG would .* --lead"):
        suggest_lead(found, "MLII")
    assert suggest_lead(found, "EEG") == 0  # if a network was trained on it
    write_sleep(tmp_path / "b.edf", EEG="uV", ECG=unit, ECG2="uV")
    assert suggest_lead(open_recording(tmp_path / "b.edf"), "MLII") == 1
    assert "b.edf: not all that is called ECG is read" in caplog.text


def test_of_other_signals_that_are_left_out_no_warning_tells(tmp_path, caplog):
    write_sleep(tmp_path / "a.edf", EEG="uV", Flow="")
    assert suggest_lead(open_recording(tmp_path / "a.edf"), "MLII") == 0
    assert not caplog.records
