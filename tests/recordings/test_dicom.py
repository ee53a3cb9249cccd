"""DICOM waveforms: their scales, their groups, how they are stored, and damage to them."""

from __future__ import annotations

import sys

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from cnns_spectrograms.recordings import dicom
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import find_recordings, open_recording
from written_formats import dicom_channel, write_dicom

FS = 250
II, V1, V5 = (dicom_channel(code, name) for code, name in (
    ("2:2", "Lead II"), ("2:3", "Lead V1"), ("2:7", "Lead V5")))  # fmt: skip
SYNTAXES = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "big": "1.2.840.10008.1.2.2",
}


@pytest.fixture
def samples():
    return np.random.default_rng(0).integers(-30000, 30000, (2500, 2)).astype(np.int16)


def test_a_file_of_an_electrocardiograph(caplog):
    """It comes with pydicom, which reads it by other code."""
    path = get_testdata_file("waveform_ecg.dcm")
    with caplog.at_level("INFO"):
        found = open_recording(path)
    assert (found.name, found.fs, found.n_samples) == ("waveform_ecg", 1000, 10_000)
    assert found.lead_names == (
        *("I", "II", "III", "aVR", "aVL", "aVF"), *(f"V{i}" for i in range(1, 7)),
    )  # fmt: skip
    expected = pydicom.dcmread(path).waveform_array(0) / 1000
    for i in range(12):
        np.testing.assert_allclose(found.read(i), expected[:, i], atol=1e-6)
        np.testing.assert_array_equal(found.read(i, 5, 777), found.read(i)[5:777])
    assert "RHYTHM (10 s at 1000 Hz) is read; left out: MEDIAN BEAT (1.2 s" in caplog.text
    assert "WARNING" not in caplog.text


@pytest.mark.parametrize("is_undefined_length", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4"])
def test_however_it_is_stored(tmp_path, monkeypatch, dtype, syntax, is_undefined_length):
    info = np.iinfo(dtype)
    samples = np.random.default_rng(0).integers(info.min, info.max, (501, 3), dtype, True)
    group = {"samples": samples, "fs": FS, "channels": [II, V1, V5]}
    path = write_dicom(
        *(tmp_path / "a.dcm", group, {**group, "samples": samples[:20]}),
        syntax=SYNTAXES[syntax],
        is_undefined_length=is_undefined_length,
    )
    for n_bytes in (1 << 20, 1400):  # the samples are read with the header, and stay in the file
        monkeypatch.setattr(dicom, "_MAX_VALUE_BYTES", n_bytes)
        found = open_recording(path)
        assert (found.lead_names, found.n_samples) == (("II", "V1", "V5"), 501)
        for i in range(3):
            np.testing.assert_allclose(found.read(i), samples[:, i] / 1000, rtol=1e-6)


@pytest.mark.parametrize(
    ("unit", "mv"), [("uV", 1e-3), ("mV", 1), ("V", 1e3), ("nV", 1e-6), ("µV", 1e-3)]
)
def test_scales(tmp_path, samples, unit, mv):
    channels = [
        dicom_channel("2:2", "x", unit, 2.5, ChannelBaseline=-12.5),
        dicom_channel("2:3", "x", unit, 0.4, ChannelSensitivityCorrectionFactor=1.25),
    ]
    write_dicom(tmp_path / "a.dcm", {"samples": samples, "fs": FS, "channels": channels})
    found = open_recording(tmp_path / "a.dcm")
    for i, expected in enumerate((samples[:, 0] * 2.5 - 12.5, samples[:, 1] * 0.4 * 1.25)):
        np.testing.assert_allclose(found.read(i), expected * mv, rtol=1e-6, atol=1e-6 * mv)


def test_a_unit_in_words(tmp_path, samples):
    unit = [{"CodeValue": "109055", "CodingSchemeDesignator": "99X", "CodeMeaning": "microvolt"}]
    channel = {**II, "ChannelSensitivityUnitsSequence": unit}
    write_dicom(tmp_path / "a.dcm", {"samples": samples[:, :1], "fs": FS, "channels": [channel]})
    found = open_recording(tmp_path / "a.dcm").read(0)
    np.testing.assert_allclose(found, samples[:, 0] / 1000, rtol=1e-6)


def test_skew_is_undone(tmp_path, samples):
    """A channel that begins later has its first sample later."""
    by_time = {key: value for key, value in V1.items() if key != "ChannelSampleSkew"}
    late = {**II, "ChannelSampleSkew": 3}
    early = {**by_time, "ChannelTimeSkew": -2 / FS}
    group = {"samples": samples, "fs": FS, "channels": [late, early]}
    write_dicom(tmp_path / "a.dcm", group)
    found = open_recording(tmp_path / "a.dcm")
    first, second = found.read(0), found.read(1)
    assert np.isnan(first[:3]).all()
    np.testing.assert_allclose(first[3:], samples[:-3, 0] / 1000, rtol=1e-6)
    np.testing.assert_allclose(second[:-2], samples[2:, 1] / 1000, rtol=1e-6)
    assert np.isnan(second[-2:]).all()
    for start, stop in ((0, 2), (1, 5), (2490, 2500), (2499, 2500)):
        np.testing.assert_array_equal(found.read(0, start, stop), first[start:stop])
        np.testing.assert_array_equal(found.read(1, start, stop), second[start:stop])


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_padding_is_no_sample(tmp_path, samples, syntax):
    samples[100:120] = -12345
    group = {"samples": samples, "fs": FS, "channels": [II, V1], "WaveformPaddingValue": -12345}
    write_dicom(tmp_path / "a.dcm", group, syntax=SYNTAXES[syntax])
    found = open_recording(tmp_path / "a.dcm").read(1)
    assert np.flatnonzero(np.isnan(found)).tolist() == [*range(100, 120)]
    np.testing.assert_allclose(found[120:], samples[120:, 1] / 1000, rtol=1e-6)


def test_of_several_groups_the_longest_recorded_one_is_read(tmp_path, samples, caplog):
    def group(n, label, originality="ORIGINAL", channel=II):
        return {
            "samples": samples[:n, :1],
            "fs": FS,
            "channels": [channel],
            "MultiplexGroupLabel": label,
            "WaveformOriginality": originality,
        }

    breath = dicom_channel("x", "Respiration", "Ohm")
    write_dicom(
        *(
            tmp_path / "a.dcm",
            group(600, "STRIP"),
            group(625, "RHYTHM"),
            group(900, "BEAT", "DERIVED"),
        ),
        group(2500, "BREATH", channel=breath),
    )
    found = open_recording(tmp_path / "a.dcm")
    assert (found.n_samples, found.lead_names) == (625, ("II",))
    assert (
        "of 4 stretches of signal RHYTHM (2.5 s at 250 Hz) is read; left out: STRIP (2.4 s at 250 "
        "Hz), BEAT (3.6 s at 250 Hz), BREATH (10 s at 250 Hz)"
    ) in caplog.text
    assert caplog.records[0].levelname == "WARNING"


def test_groups_of_one_time_are_one_recording(tmp_path, samples):
    """Where an electrocardiograph stores each lead as a group, all of them can be chosen."""
    groups = [
        {"samples": samples[:, i : i + 1], "fs": FS, "channels": [channel]}
        for i, channel in enumerate((II, V5))
    ]
    write_dicom(tmp_path / "a.dcm", *groups)
    found = open_recording(tmp_path / "a.dcm")
    assert found.lead_names == ("II", "V5")
    np.testing.assert_allclose(found.read("V5"), samples[:, 1] / 1000, rtol=1e-6)


@pytest.mark.parametrize(
    ("code", "meaning", "label", "name"),
    [
        ("2:1", "Lead I (Einthoven)", None, "I"),
        ("5.6.3-9-2", "Lead II", "chan 7", "II"),
        ("2:61", "Lead III", None, "III"),
        ("2:62", "Lead aVR", None, "aVR"),
        ("2:8", "Lead V6", None, "V6"),
        ("2:99", "Lead A4", None, "Lead A4"),
        ("X1", "Lead A4", "CM5", "CM5"),
    ],
)
def test_names_of_leads(tmp_path, samples, code, meaning, label, name):
    more = {} if label is None else {"ChannelLabel": label}
    channel = dicom_channel(code, meaning, **more)
    write_dicom(tmp_path / "a.dcm", {"samples": samples[:, :1], "fs": FS, "channels": [channel]})
    assert open_recording(tmp_path / "a.dcm").lead_names == (name,)


def test_channels_that_cannot_be_read_are_left_out(tmp_path, samples):
    channels = [
        dicom_channel("2:1", "I", "mV", 0),
        dicom_channel("2:2", "II", ChannelSampleSkew=2500),
        dicom_channel("2:61", "III", None),
        dicom_channel("2:3", "V1", "mmHg"),
        V5,
    ]
    group = {"samples": np.repeat(samples[:, :1], 5, axis=1), "fs": FS, "channels": channels}
    found = open_recording(write_dicom(tmp_path / "a.dcm", group))
    assert found.lead_names == ("V5",)
    assert found.left_out == {
        "I": "its sensitivity is 0, its correction 1, its baseline 0",
        "II": "its skew is 2500 samples, of 2500",
        "III": "its unit is '', which is no voltage",
        "V1": "its unit is 'mmHg', which is no voltage",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fs": 0}, "found a sampling rate of 0 Hz"),
        ({"fs": 1e9}, r"found a sampling rate of 1e\+09 Hz"),
        ({"NumberOfWaveformChannels": 0}, "found 0 leads"),
        (
            {"NumberOfWaveformChannels": 3},
            "found 2 channels and 10000 bytes .* expected 3 and 15000",
        ),
        ({"NumberOfWaveformSamples": 2501}, ".* 10000 bytes .* expected 2 and 10004.*truncated"),
        ({"NumberOfWaveformSamples": 0}, "found 0 samples"),
        ({"WaveformSampleInterpretation": "MB"}, "found samples of 16 bits of the kind 'MB'"),
        ({"WaveformBitsAllocated": 8}, "found samples of 8 bits of the kind 'SS'"),
        (
            {"channels": [dicom_channel("2:2", "II", "mmHg")] * 2},
            r"found signals in \['mmHg'\]; expected a voltage",
        ),
        ({"channels": [dicom_channel("2:2", "II", "mV", 0)] * 2}, "found no sound signal"),
    ],
)
def test_absurd_headers(tmp_path, samples, changes, message):
    group = {"samples": samples, "fs": FS, "channels": [II, V1]} | changes
    write_dicom(tmp_path / "a.dcm", group)
    with pytest.raises(RecordError, match=rf"a\.dcm: {message}"):
        open_recording(tmp_path / "a.dcm")


@pytest.mark.parametrize("is_undefined_length", [False, True])
def test_files_that_are_cut_short(tmp_path, samples, monkeypatch, is_undefined_length):
    group = {"samples": samples, "fs": FS, "channels": [II, V1]}
    path = write_dicom(tmp_path / "a.dcm", group, is_undefined_length=is_undefined_length)
    whole = path.read_bytes()
    data_at = whole.index(samples.tobytes())
    for n_kept, message in (
        (data_at + 9_999, "found 2499 samples per channel; expected 2500, .* is truncated"),
        (data_at + 4, "found 1 samples per channel; expected 2500, .* is truncated"),
        (data_at - 100, "cannot be read .*; expected a whole file of its kind; correct it"),
        (140, "cannot be read "),
    ):
        path.write_bytes(whole[:n_kept])
        for n_bytes in (1 << 20, 2000):
            monkeypatch.setattr(dicom, "_MAX_VALUE_BYTES", n_bytes)
            with pytest.raises(RecordError, match=rf"a\.dcm: {message}"):
                open_recording(path)


def test_what_is_no_waveform(tmp_path):
    write_dicom(tmp_path / "a.dcm", kind="1.2.840.10008.5.1.4.1.1.104.1")
    with pytest.raises(
        RecordError, match="found a DICOM Encapsulated PDF Storage without waveforms; expected an E"
    ):
        open_recording(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(b"no DICOM")
    with pytest.raises(RecordError, match=r"b\.dcm: cannot be read .*'DICM' prefix is missing"):
        open_recording(tmp_path / "b.dcm")


def test_groups_that_are_none(tmp_path, samples):
    group = {"samples": samples, "fs": FS, "channels": [II, V1]}
    path = write_dicom(tmp_path / "a.dcm", group)
    whole = path.read_bytes()
    at = whole.index(b"\xfe\xff\x00\xe0")  # the tag of the group, its length, what is in it
    path.write_bytes(whole[: at - 4] + bytes(4))
    with pytest.raises(RecordError, match=r"a\.dcm: found no waveform; expected one"):
        open_recording(path)
    path.write_bytes(whole[:at] + b"\xfe\xff\x01\xe0" + whole[at + 4 :])
    with pytest.raises(RecordError, match="found a corrupt DICOM file after 0 groups of waveforms"):
        open_recording(path)


def test_a_deflated_file_is_not_inflated(tmp_path, samples):
    group = {"samples": samples, "fs": FS, "channels": [II, V1]}
    write_dicom(tmp_path / "a.dcm", group, syntax="1.2.840.10008.1.2.1.99")
    with pytest.raises(RecordError, match="found a deflated file; expected an uncompressed one"):
        open_recording(tmp_path / "a.dcm")


def test_pydicom_is_not_installed(tmp_path, samples, monkeypatch):
    write_dicom(tmp_path / "a.dcm", {"samples": samples, "fs": FS, "channels": [II, V1]})
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(RecordError, match=r"pip install 'cnns_spectrograms\[formats\]'"):
        open_recording(tmp_path / "a.dcm")


def test_files_without_an_ending(tmp_path, samples):
    """As archives of images write them, beside the index of the medium."""
    group = {"samples": samples, "fs": FS, "channels": [II, V1]}
    for name in ("IM00001", "1.2.840.1", "DICOMDIR", "b.DCM"):
        write_dicom(tmp_path / name, group)
    (tmp_path / "LOCKFILE").write_bytes(b"")
    found = find_recordings(tmp_path)
    assert [each.name for each in found] == ["1.2.840.1", "IM00001", "b.DCM"]
    assert [open_recording(each).name for each in found] == ["1.2.840.1", "IM00001", "b"]
