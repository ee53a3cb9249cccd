"""HL7 aECG: scales and times, series, other XML, and damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnns_spectrograms.recordings import aecg
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import find_recordings, open_recording
from written_formats import aecg_lead, aecg_series, aecg_times, write_aecg

LEAD_II = "MDC_ECG_LEAD_II"


@pytest.fixture
def digits():
    return np.random.default_rng(0).integers(-3000, 3000, (2500, 2))


def write(path, *sequences, **options):
    return write_aecg(path, aecg_series(*sequences), **options)


def test_values_names_and_rate(tmp_path, digits):
    path = write(
        tmp_path / "a.xml",
        aecg_times("0.002"),
        aecg_lead(LEAD_II, digits[:, 0], "2.5"),
        aecg_lead("MDC_ECG_LEAD_AVR", digits[:, 1], "0.005", "mV", "-1.25"),
    )
    found = open_recording(path)
    assert (found.name, found.fs, found.n_samples) == ("a", 500, 2500)
    assert found.lead_names == ("II", "aVR")
    np.testing.assert_allclose(found.read("II"), digits[:, 0] * 2.5e-3, rtol=1e-6)
    np.testing.assert_allclose(found.read("aVR"), digits[:, 1] * 0.005 - 1.25, atol=1e-6)
    np.testing.assert_array_equal(found.read(1, 100, 333), found.read(1)[100:333])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    leads=st.integers(2, 50).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(-(2**31), 2**31 - 1), min_size=n, max_size=n),
            min_size=1,
            max_size=3,
        )
    ),
    blank=st.sampled_from([" ", "\n", "\t", "  \r\n "]),
    block=st.integers(1, 60),
)
def test_digits_are_read_across_blocks(tmp_path, leads, blank, block):
    """In whatever pieces the text of a long sequence comes."""
    path = write(
        tmp_path / "a.xml",
        aecg_times("4", "ms"),
        *(aecg_lead(f"X{i}", blank + blank.join(map(str, lead))) for i, lead in enumerate(leads)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aecg, "_BLOCK_BYTES", block)
        found = open_recording(path)
    assert (found.fs, found.n_samples) == (250, len(leads[0]))
    for i, lead in enumerate(leads):
        np.testing.assert_array_equal(found.read(i), np.float32(np.array(lead) * 1e-3))


@pytest.mark.parametrize(
    ("increment", "unit", "fs"),
    [
        ("0.002", "s", 500),
        ("2", "ms", 500),
        ("1000", "us", 1000),
        ("0.0027777778", "s", 359.999997),
        ("0.00277777777777778", "s", 360),
        ("4.0E-3", "s", 250),
    ],
)
def test_rates(tmp_path, digits, increment, unit, fs):
    path = write(tmp_path / "a.xml", aecg_times(increment, unit), aecg_lead(LEAD_II, digits[:, 0]))
    assert open_recording(path).fs == fs


def test_absolute_times(tmp_path, digits):
    times = (
        "TIME_ABSOLUTE",
        '<value xsi:type="GLIST_TS"><head value="20021122091000.000"/>'
        '<increment value="0.004" unit="s"/></value>',
    )
    path = write(tmp_path / "a.xml", times, aecg_lead(LEAD_II, digits[:, 0]))
    assert open_recording(path).fs == 250


@pytest.mark.parametrize(("unit", "mv"), [("uV", 1e-3), ("mV", 1), ("V", 1e3), ("nV", 1e-6)])
def test_units(tmp_path, digits, unit, mv):
    path = write(
        tmp_path / "a.xml", aecg_times("0.002"), aecg_lead(LEAD_II, digits[:, 0], "4.88", unit, "7")
    )
    expected = (digits[:, 0] * 4.88 + 7) * mv
    np.testing.assert_allclose(open_recording(path).read(0), expected, rtol=1e-6)


def test_an_origin_in_another_unit(tmp_path, digits):
    code, value = aecg_lead(LEAD_II, digits[:, 0], "5", "uV", "1.5")
    value = value.replace('"1.5" unit="uV"', '"1.5" unit="mV"')
    path = write(tmp_path / "a.xml", aecg_times("0.002"), (code, value))
    expected = digits[:, 0] * 0.005 + 1.5
    np.testing.assert_allclose(open_recording(path).read(0), expected, rtol=1e-5, atol=1e-6)


def test_decimal_commas(tmp_path, digits):
    lead = aecg_lead(LEAD_II, digits[:, 0], "2,5", "uV", "-1,5")
    found = open_recording(write(tmp_path / "a.xml", aecg_times("0,004"), lead))
    assert found.fs == 250
    np.testing.assert_allclose(found.read(0), (digits[:, 0] * 2.5 - 1.5) / 1e3, rtol=1e-6)


def test_another_encoding_and_comments(tmp_path, digits):
    path = write(tmp_path / "a.xml", aecg_times("0.004"), aecg_lead(LEAD_II, "1 2 3 4", unit="µV"))
    text = path.read_text("utf-8").replace("UTF-8", "UTF-16").replace("3 4", "3 <!-- 9 --> 4")
    path.write_text(text, encoding="utf-16")
    assert find_recordings(tmp_path) == [path]
    np.testing.assert_allclose(open_recording(path).read(0), [0.001, 0.002, 0.003, 0.004])


def test_a_prefix_of_the_namespace(tmp_path, digits):
    lead = aecg_lead(LEAD_II, digits[:, 0])
    path = write(tmp_path / "a.xml", aecg_times("0.002"), lead, prefix="hl7")
    assert path.read_text().count("<hl7:digits>") == 1
    np.testing.assert_allclose(open_recording(path).read(0), digits[:, 0] / 1e3, rtol=1e-6)


def test_the_longest_recorded_series_is_read(tmp_path, digits, caplog):
    times = aecg_times("0.002")
    beat = aecg_series(times, aecg_lead(LEAD_II, digits[:, 1]), kind="REPRESENTATIVE_BEAT")
    series = [
        aecg_series(times, aecg_lead(LEAD_II, digits[:100, 0])),
        aecg_series(
            times, aecg_lead(LEAD_II, digits[:600, 0]), derived=f"<derivation>{beat}</derivation>"
        ),
    ]
    found = open_recording(write_aecg(tmp_path / "a.xml", *series))
    assert found.n_samples == 600
    np.testing.assert_allclose(found.read(0), digits[:600, 0] / 1e3, rtol=1e-6)
    assert (
        "RHYTHM (1.2 s at 500 Hz) is read; left out: RHYTHM (0.2 s at 500 Hz), REP" in caplog.text
    )


def test_annotations_are_left_out(tmp_path, digits):
    """They may hold sequences of their own kind, which are no leads."""
    notes = "<subjectOf><annotationSet><component><digits>a b</digits></component></annotationSet>"
    series = aecg_series(aecg_times("0.002"), aecg_lead(LEAD_II, digits[:, 0]))
    series = series.replace("</series>", f"{notes}</subjectOf></series>")
    found = open_recording(write_aecg(tmp_path / "a.xml", series))
    np.testing.assert_allclose(found.read(0), digits[:, 0] / 1e3, rtol=1e-6)


def test_leads_that_cannot_be_read_are_left_out(tmp_path, digits):
    short = aecg_lead("MDC_ECG_LEAD_V1", digits[:-1, 0])
    flat = aecg_lead("MDC_ECG_LEAD_V2", digits[:, 0], "0")
    wordy = aecg_lead("MDC_ECG_LEAD_V3", digits[:, 0], "five")
    other = aecg_lead("MDC_PRESS_BLD", digits[:, 0], unit="mmHg")
    moved = aecg_lead("MDC_ECG_LEAD_V4", digits[:, 0], "1", "uV", "7")
    moved = (moved[0], moved[1].replace('"7" unit="uV"', '"7" unit="mm"'))
    path = write(
        *(tmp_path / "a.xml", aecg_times("0.002"), short, flat, wordy, other, moved),
        aecg_lead(LEAD_II, digits[:, 1]),
    )
    found = open_recording(path)
    assert found.lead_names == ("II",)
    assert found.left_out == {
        "V1": "it has 2499 samples, where others have 2500",
        "V2": "its scale is 0, expected another than 0",
        "V3": "its scale is nan, expected another than 0",
        "V4": "its origin in 'mm' cannot be added to its scale in 'uV'",
        "MDC_PRESS_BLD": "its unit is 'mmHg', which is no voltage",
    }


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([aecg_times("0", "s"), aecg_lead("I", "1 2 3")], "found a sampling rate of 0 Hz"),
        ([aecg_times("-0.002"), aecg_lead("I", "1 2 3")], "found a sampling rate of -0.002 Hz"),
        ([aecg_times("1e-9"), aecg_lead("I", "1 2 3")], r"found a sampling rate of 1e\+09 Hz"),
        ([aecg_times("nan"), aecg_lead("I", "1 2 3")], "found a sampling rate of nan Hz"),
        (
            [aecg_times("2", "mm"), aecg_lead("I", "1 2 3")],
            "found times with the increment '2' 'mm'; expected a number of s, ms, us",
        ),
        ([aecg_times("x"), aecg_lead("I", "1 2 3")], "found times with the increment 'x' 's'"),
        ([aecg_lead("I", "1 2 3")], "found sequences of samples without their times"),
        ([aecg_times("0.002")], "found no waveform"),
        ([], "found no waveform"),
        ([aecg_times("0.002"), aecg_lead("I", "")], "found 0 samples at 500 Hz"),
        (
            [aecg_times("0.002"), aecg_lead("I", "1 2.5 3")],
            r"cannot be read \(ValueError: invalid literal .* '2\.5'",
        ),
        (
            [aecg_times("0.002"), aecg_lead("I", f"1 {2**31}")],
            r"cannot be read \(OverflowError",
        ),
        ([aecg_times("0.002"), aecg_lead("I", "1 2", unit="mm")], r"found signals in \['mm'\]"),
        ([aecg_times("0.002"), aecg_lead("I", "1 2", "0")], "found no sound signal"),
    ],
)
def test_absurd_files(tmp_path, sequences, message):
    with pytest.raises(RecordError, match=rf"a\.xml: {message}"):
        open_recording(write(tmp_path / "a.xml", *sequences))


def test_a_file_that_is_cut_short(tmp_path, digits):
    path = write(tmp_path / "a.xml", aecg_times("0.002"), aecg_lead(LEAD_II, digits[:, 0]))
    whole = path.read_bytes()
    for kept in (0, 1, 30, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(RecordError, match=r"a\.xml: cannot be read .*expected a whole file"):
            open_recording(path)


def test_other_xml_is_named(tmp_path, digits, caplog):
    """Such as that of electrocardiographs, and of documents beside the recordings."""
    (tmp_path / "muse.xml").write_text("<RestingECG><Waveform/></RestingECG>")
    (tmp_path / "notes.xml").write_text("no XML at all")
    write(tmp_path / "a.XML", aecg_times("0.002"), aecg_lead(LEAD_II, digits[:, 0]))
    damaged = write(tmp_path / "b.xml", aecg_times("0.002"), aecg_lead(LEAD_II, "1 x"))
    with caplog.at_level("INFO"):
        assert find_recordings(tmp_path) == [tmp_path / "a.XML", damaged]
    assert "muse.xml is left out" in caplog.text
    with pytest.raises(
        RecordError, match=r"muse\.xml: found XML of the kind 'RestingECG'; expected A"
    ):
        open_recording(tmp_path / "muse.xml")


def test_entities_are_refused(tmp_path, digits):
    """A file of one kilobyte may define a text of gigabytes; and one on another machine."""
    bomb = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
    head = f'<!DOCTYPE x [<!ENTITY e0 "1 2 3 ">{bomb}]>'
    path = write(tmp_path / "a.xml", aecg_times("0.002"), aecg_lead(LEAD_II, "&e9;"), head=head)
    with pytest.raises(RecordError, match=r"found a document type \(DTD\); expected none"):
        open_recording(path)


def test_deep_nesting_does_no_harm(tmp_path):
    nested = "<a>" * 100_000 + "</a>" * 100_000
    (tmp_path / "a.xml").write_text(f"<AnnotatedECG>{nested}</AnnotatedECG>")
    with pytest.raises(RecordError, match="found no waveform"):
        open_recording(tmp_path / "a.xml")
