"""What the notes above the samples of a CSV file state: rate, leads and units."""

from __future__ import annotations

import numpy as np
import pytest

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording

FS = 250
VALUES = np.round(np.sin(np.arange(2000) / 9) * 0.9, 3)
CELLS = [f"{value:.3f}" for value in VALUES]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.csv"


@pytest.mark.parametrize(
    ("note", "fs"),
    [
        ("Sampling rate: 250 Hz", 250),
        ("# sampling_rate = 250", 250),
        ("SampleRate;250", 250),
        ("sample_rate_hz: 250", 250),
        ("Sampling freq. (Hz): 250", 250),
        ("Sampling (Hz): 250", 250),
        ("Sampled at: 250 sps", 250),
        ("Samples per second: 250", 250),
        ("Samples/s: 250", 250),
        ("Sampling: 250 samples per second", 250),
        ("Frecuencia de muestreo: 250,0 Hz", 250),
        ("Tasa de muestreo: 250", 250),
        ("Abtastrate: 250", 250),
        ("Abtastfrequenz;250,000 Hz", 250),
        ("Sampling rate: 128.000 Hz", 128),
        ("Fréquence d'échantillonnage : 250 Hz", 250),
        ("Frequenza di campionamento: 250", 250),
        ("Taxa de amostragem: 250", 250),
        ("Number of leads: 1; resolution: 12 bits; sampling rate: 250 Hz", 250),
        ("Number of leads: 1 Sampling rate: 250 Hz", 250),
        ("Sampling rate: 1,000 Hz", 1000),
        ("Sampling rate: 1.000 Hz", 1000),
        ('Sampling rate,"10,000 Hz"', 10_000),
        ("Sampling rate: 0.25 kHz", 250),
        ("Sampling rate: 1,000 kHz", 1000),
        ("Sampling rate (kHz): 0,250", 250),
        ("Sampling rate: 2 kilohertz", 2000),
    ],
)
def test_notes_of_the_sampling_rate(path, note, fs):
    path.write_text("\n".join([note, "ECG (mV)", *CELLS]))
    assert open_recording(path).fs == fs


@pytest.mark.parametrize(
    "note",
    [
        "Samples: 5000",
        "Number of samples: 5000",
        "Sample count: 5000",
        "Sampling points: 5000",
        "Muestreo, número: 5000",
        "Anzahl der Abtastwerte: 5000",
        "Number of samples per second: 250",
        "Sample ID: 1234",
        "Sample rate ID: 1234",
        "Sample resolution: 12",
        "Sampling rate, bits: 12",
        "Sampling interval (us): 4000",
        "Sampling interval (ms): 4",
        "Sampling interval at this rate: 4",
        "Sampling period: 4000",
        "Intervalo de muestreo (us): 4000",
        "Samples per session: 5000",
        "Sampled heart rate: 72",
    ],
)
def test_notes_of_other_numbers_are_no_sampling_rate(path, note):
    rows = "\n".join(["ECG (mV)", *CELLS])
    path.write_text(f"{note}\n{rows}")
    with pytest.raises(RecordError, match="no column of times"):
        open_recording(path)
    for notes in (f"{note}\nSampling rate: 250 Hz", f"Sampling rate: 250 Hz\n{note}"):
        path.write_text(f"{notes}\n{rows}")
        assert open_recording(path).fs == 250
    timed = "\n".join(f"{i / FS:.3f},{cell}" for i, cell in enumerate(CELLS))
    path.write_text(f"{note}\ntime (s),ECG (mV)\n{timed}")
    assert open_recording(path).fs == FS


# --------------------------------------------------------------------------------------
# AcqKnowledge: a title, an interval, names and units by line, and the number of samples
# --------------------------------------------------------------------------------------

N = len(VALUES)
RESP_V = np.round(np.cos(np.arange(N) / 90) / 500, 5)
NOTES = "a.acq\n4 msec/sample\n2 channels\nResp - RSP100C\nVolts\nECG, X\nmV\n"


def table(times, counts, delimiter="\t", end="", n=N):
    """Return rows of times and two channels under a header and the number of samples."""
    rows = [counts, *(f"{RESP_V[i]:.5f} {cell}" for i, cell in enumerate(CELLS[:n]))]
    rows = ["CH1 CH2", *rows]
    if times:
        per_s = {"sec": 1, "milliSec": 1e3, "min": 1 / 60}[times]
        cells = [f"{i / FS * per_s:.8g}" for i in range(n)]
        rows = [f"{cell} {row}" for cell, row in zip([times, "", *cells], rows, strict=True)]
    return "".join(row.replace(" ", delimiter) + end + "\n" for row in rows)


@pytest.mark.parametrize("times", ["", "sec", "milliSec", "min"])
@pytest.mark.parametrize(("delimiter", "end"), [("\t", ""), ("\t", "\t"), (",", "")])
@pytest.mark.parametrize("counts", ["2000 2000", "1994 2000"])
def test_what_acqknowledge_exports(path, times, delimiter, end, counts):
    path.write_text(NOTES + table(times, counts, delimiter, end))
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (FS, N)
    assert (found.lead_names, found.assumed) == (("Resp - RSP100C", "ECG, X"), ())
    np.testing.assert_allclose(found.read("ECG, X"), VALUES, atol=1e-6)
    np.testing.assert_allclose(found.read(0, 0, 9), 1e3 * RESP_V[:9], atol=1e-6)
    for column in ("CH2", "ECG, X"):
        assert open_recording(path, columns=[column]).lead_names == ("ECG, X",)


def test_a_part_of_what_acqknowledge_exports(path):
    path.write_text(NOTES + table("sec", "90000 90000"))
    np.testing.assert_allclose(open_recording(path).read(1), VALUES, atol=1e-6)


@pytest.mark.parametrize("times", ["", "sec"])
def test_numbers_of_samples_without_notes(path, times):
    path.write_text(table(times, "2000 2000"))
    found = open_recording(path, fs=None if times else FS)
    assert (found.lead_names, found.n_samples) == (("CH1", "CH2"), N)
    np.testing.assert_allclose(found.read(1), VALUES, atol=1e-6)


@pytest.mark.parametrize("decimal", [".", ","])
def test_one_channel_without_times(path, decimal):
    lines = ["4.0000 msec/sample", "1 channels", "ECG", "uV", "CH1", "2000"]
    lines += [f"{1000 * value:.1f}" for value in VALUES]
    path.write_text("a.acq\n" + "\n".join(lines).replace(".", decimal))
    found = open_recording(path)
    assert (found.fs, found.lead_names, found.n_samples) == (FS, ("ECG",), N)
    np.testing.assert_allclose(found.read(0), VALUES, atol=1e-6)


@pytest.mark.parametrize("notes", ["", "4 msec/sample\n"])
@pytest.mark.parametrize("first", ["0", "1", "5", "1000"])
def test_a_whole_number_that_comes_first_is_a_sample(path, notes, first):
    path.write_text("\n".join([f"{notes}ECG (mV)", first, *CELLS]))
    found = open_recording(path, fs=FS)
    assert (found.n_samples, found.read(0)[0]) == (N + 1, float(first))


def test_converter_counts_as_many_as_the_first_one_are_samples(path):
    path.write_text("\n".join(["ECG (uV)", "2000", *(f"{2000 + i * i % 50}" for i in range(N))]))
    assert open_recording(path, fs=FS).n_samples == N + 1


@pytest.mark.parametrize(
    ("note", "fs"),
    [
        ("0.5 msec/sample", 2000),
        ("10.000000 msec/sample", 100),
        ("2.77778 msec/sample", 360),
        ("0.5 msec/sample\tSample rate =\t2000Hz", 2000),
        ("500 usec / sample", 2000),
        ("0.004 sec/sample", 250),
    ],
)
def test_notes_of_the_interval(path, note, fs):
    path.write_text("\n".join([note, "ECG (mV)", *CELLS]))
    assert open_recording(path).fs == fs


@pytest.mark.parametrize("note", ["12 bits/sample", "0 msec/sample", "4 msec", "4 msec/channel"])
def test_notes_that_are_no_interval(path, note):
    path.write_text("\n".join([note, "ECG (mV)", *CELLS]))
    with pytest.raises(RecordError, match="no column of times"):
        open_recording(path)


@pytest.mark.parametrize(
    "notes", ["2 channels\na\nb\nc\nd\n", "4 msec/sample\n2 channels\na\nmV\nb\nmV\ne\n"]
)
def test_lines_that_name_no_channels(path, notes):
    path.write_text(notes + table("sec", "2000 2000"))
    assert open_recording(path).lead_names == ("CH1", "CH2")
