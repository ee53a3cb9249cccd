"""ISHNE Holter files: their values, their lengths, and damage to them."""

from __future__ import annotations

import binascii

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import find_recordings, open_recording
from written_formats import crc_ccitt, write_ishne

FS = 200


@pytest.fixture
def samples():
    return np.random.default_rng(0).integers(-32768, 32768, (3000, 3)).astype(np.int16)


def test_values_and_names(tmp_path, samples):
    path = write_ishne(tmp_path / "a.ecg", samples, FS, [2500, 1000, 1], [6, 8, 16], note=b"x" * 77)
    found = open_recording(path)
    assert (found.name, found.fs, found.n_samples) == ("a", FS, 3000)
    assert found.lead_names == ("II", "aVR", "V6")
    for i, nv in enumerate((2500, 1000, 1)):
        np.testing.assert_allclose(found.read(i), samples[:, i] * (nv / 1e6), rtol=1e-6)
        np.testing.assert_array_equal(found.read(i, 17, 1234), found.read(i)[17:1234])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n_leads=st.integers(1, 12),
    n_samples=st.integers(2, 40),
    states_all=st.booleans(),
    note=st.binary(max_size=20),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_number_of_leads(tmp_path, n_leads, n_samples, states_all, note, seed):
    """Some programs state the samples of one lead, some those of all."""
    rng = np.random.default_rng(seed)
    samples = rng.integers(-32768, 32768, (n_samples, n_leads)).astype(np.int16)
    stated = samples.size if states_all else n_samples
    codes, steps = rng.integers(0, 20, n_leads).tolist(), rng.integers(1, 32767, n_leads).tolist()
    path = write_ishne(tmp_path / "a.ecg", samples, 128, steps, codes, note=note, n_stated=stated)
    found = open_recording(path)
    assert (found.n_samples, len(found.lead_names)) == (n_samples, n_leads)
    read = np.stack([found.read(i) for i in range(n_leads)], axis=1)
    np.testing.assert_allclose(read, samples * np.array(steps) / 1e6, rtol=1e-6)


@given(st.binary(max_size=200))
def test_the_checksum_of_the_tests_is_that_of_python(content):
    assert crc_ccitt(content) == binascii.crc_hqx(content, 0xFFFF)


def test_the_checksum_is_that_of_the_catalogue():
    """CRC-16/CCITT-FALSE of these digits is 29B1 in every catalogue of checksums."""
    assert binascii.crc_hqx(b"123456789", 0xFFFF) == 0x29B1


def test_leads_that_are_not_specified(tmp_path, samples):
    path = write_ishne(tmp_path / "a.ecg", samples, FS, [1000] * 3, [0, 1, 6])
    assert open_recording(path).lead_names == ("lead 1", "lead 2", "II")


def test_a_lead_without_resolution_refuses_nothing_but_itself(tmp_path, samples):
    path = write_ishne(tmp_path / "a.ecg", samples, FS, [0, 1000, -9], [5, 6, 7])
    found = open_recording(path)
    assert found.lead_names == ("II",)
    np.testing.assert_allclose(found.read(0), samples[:, 1] / 1000, rtol=1e-6)
    assert found.left_out["III"] == "its resolution is -9 nV, expected more than 0"
    path = write_ishne(tmp_path / "b.ecg", samples, FS, [0, 0, 0], [5, 6, 7])
    with pytest.raises(RecordError, match=r"b\.ecg: found no sound signal \(I: its resolution"):
        open_recording(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fs": 0}, "found a sampling rate of 0 Hz"),
        ({"fs": -200}, "found a sampling rate of -200 Hz"),
        ({"n_leads": 0}, "found 0 leads; expected 1 to 12"),
        ({"n_leads": 13}, "found 13 leads; expected 1 to 12"),
        ({"n_stated": 0}, "found 0 samples"),
        ({"n_stated": -5}, "found -5 samples"),
        ({"n_stated": 3001}, "found 3000 samples per channel; expected 3001.*truncated"),
        ({"n_stated": 2**31 - 1}, "found 2147483647 samples.*at most 31 days"),
        ({"checksum": 0x1234}, "found the checksum [0-9A-F]{4} of its header; expected 1234"),
    ],
)
def test_absurd_headers(tmp_path, samples, options, message):
    fields = {"fs": FS, "nv_per_step": [1000] * 3, "leads": [5, 6, 7]} | options
    path = write_ishne(tmp_path / "a.ecg", samples, **fields)
    with pytest.raises(RecordError, match=rf"a\.ecg: {message}"):
        open_recording(path)


def test_files_that_are_cut_short(tmp_path, samples):
    path = write_ishne(tmp_path / "a.ecg", samples, FS, [1000] * 3, [5, 6, 7])
    whole = path.read_bytes()
    for n_bytes, message in (
        (len(whole) - 1, "found 2999 samples per channel; expected 3000"),
        (522, "found 0 samples per channel; expected 3000"),
        (521, "found b'ISHNE1.0' at the head of 521 bytes; expected .* a header of 522"),
        (5, "found b'ISHNE' at the head of 5 bytes; expected b'ISHNE1.0'"),
        (0, "found b'' at the head"),
    ):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(RecordError, match=rf"a\.ecg: {message}"):
            open_recording(path)


def test_the_header_may_not_be_endless(tmp_path, samples):
    note = bytes(1 << 20)
    path = write_ishne(
        tmp_path / "a.ecg", samples, FS, [1000] * 3, [5, 6, 7], note=note, checksum=1
    )
    with pytest.raises(RecordError, match=r"its samples begin at byte 1049098 of .*below 1048576"):
        open_recording(path)


def test_what_goes_on_after_the_samples_is_left_out(tmp_path, samples, caplog):
    path = write_ishne(tmp_path / "a.ecg", samples, FS, [1000] * 3, [5, 6, 7], n_stated=2990)
    assert open_recording(path).n_samples == 2990
    assert "found more bytes than 2990 samples of 3 leads" in caplog.text


def test_no_checksum_is_stated(tmp_path, samples, caplog):
    path = write_ishne(tmp_path / "a.ecg", samples, FS, [1000] * 3, [5, 6, 7], checksum=0)
    assert open_recording(path).n_samples == 3000
    assert "states no checksum" in caplog.text


def test_a_folder_of_annotations_with_that_ending(tmp_path, samples, caplog):
    """The beats of a record of slpdb are in its .ecg file, which is WFDB's."""
    write_ishne(tmp_path / "a.ecg", samples, FS, [1000] * 3, [5, 6, 7])
    (tmp_path / "slp01a.ecg").write_bytes(b"\x12\x04\x11\x04\0\0")
    with caplog.at_level("INFO"):
        assert [each.name for each in find_recordings(tmp_path)] == ["a.ecg"]
    assert "slp01a.ecg is left out" in caplog.text
    with pytest.raises(RecordError, match=r"expected b'ISHNE1\.0', an ISHNE Holter file"):
        open_recording(tmp_path / "slp01a.ecg")
