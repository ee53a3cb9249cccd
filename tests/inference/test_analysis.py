"""An analysis: the beats of training, whatever the file format or the length of its pieces."""

from __future__ import annotations

import dataclasses

import edfio
import numpy as np
import pandas as pd
import pytest
import scipy.special
import wfdb

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.detection import detect_r_peaks
from cnns_spectrograms.ecg.fusion import give_to_fusion
from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.ecg.windows import WindowReader, make_beat_windows, plan_typical_beats
from cnns_spectrograms.evaluation.ec57 import match_beats
from cnns_spectrograms.imaging.signal_bank import SignalBank
from cnns_spectrograms.inference import analysis, lead_analysis, signals
from cnns_spectrograms.inference.analysis import analyse, check_slides
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.inference.outputs import write_outputs
from cnns_spectrograms.inference.summary import find_runs
from cnns_spectrograms.parameters import TrainingParameters, WindowParameters
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.recording import Recording
from cnns_spectrograms.recordings.wfdb_annotations import select_beats
from cnns_spectrograms.training.networks import load_classifier
from cnns_spectrograms.training.prediction import predict_table
from inference.models import N_SAMPLES, VIEWS, save_model
from written_formats import write_lead_ii

EXACT = TrainingParameters(batch_size=64, num_workers=0, precision="32-true")
PROBABILITIES = [f"prob_{name}" for name in AAMI_CLASSES]


def predict_as_training(folder, record_id, model):
    """Return the predictions of the training pipeline's own functions for a record."""
    record = read_record(folder, "db", record_id)
    records = pd.DataFrame([record.row])
    windows = make_beat_windows(record.beats, records, WindowParameters(window_s=2.5))
    windows["path"] = "none"
    signals = {f"db/{record_id}": record.signal}
    plan = plan_typical_beats(record.beats, signals, model.fs, model.spectrogram)
    typical = {key: make() for key, make in plan.items()}
    images = SignalBank(windows, WindowReader(signals, model.spectrogram, model.fs, typical))
    classifier, _ = load_classifier(model.path)
    return predict_table(classifier, windows, images, EXACT)


def test_beats_are_those_of_training(simulated, model):
    """The whole way, from the file to the probabilities, against the training's own."""
    recording = open_recording(simulated / "101")
    found = analyse(recording, model, peaks=select_beats(recording.reference)).beats
    expected = predict_as_training(simulated, "101", model)
    np.testing.assert_array_equal(found["sample"], expected["sample"])
    np.testing.assert_allclose(found[PROBABILITIES], expected[PROBABILITIES], atol=1e-5)
    assert found[PROBABILITIES].to_numpy().std() > 0.01


def test_beats_beside_a_flat_stretch_are_those_of_training(physionet, views_model, tmp_path):
    """An electrode is off for 25 s of two minutes: no RR interval goes across."""
    signal = wfdb.rdrecord(str(physionet / "mitdb" / "100"), sampto=120 * 360).p_signal[:, :1]
    signal[50 * 360 : 75 * 360] = signal[50 * 360]
    beats = wfdb.rdann(str(physionet / "mitdb" / "100"), "atr", sampto=120 * 360)
    kept = (beats.sample < 50 * 360) | (beats.sample > 75 * 360)
    write = {"write_dir": str(tmp_path)}
    wfdb.wrsamp("a", 360, ["mV"], ["MLII"], signal, fmt=["16"], **write)
    wfdb.wrann("a", "atr", beats.sample[kept], np.array(beats.symbol)[kept], **write)
    recording = open_recording(tmp_path / "a")
    found = analyse(recording, views_model, peaks=select_beats(recording.reference)).beats
    expected = predict_as_training(tmp_path, "a", views_model)
    assert found["rr_s"].isna().sum() == 2
    np.testing.assert_array_equal(found["sample"], expected["sample"])
    np.testing.assert_allclose(found[PROBABILITIES], expected[PROBABILITIES], atol=1e-5)


def test_beats_of_another_rate_are_those_of_training(physionet, views_model):
    """svdb is at 128 Hz: signal, beats and intervals are brought to 360 Hz as in ingestion."""
    recording = open_recording(physionet / "svdb" / "800")
    found = analyse(recording, views_model, peaks=select_beats(recording.reference)).beats
    expected = predict_as_training(physionet / "svdb", "800", views_model)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found["time_s"] * 360, expected["sample"], atol=0.51)
    np.testing.assert_allclose(found[PROBABILITIES], expected[PROBABILITIES], atol=1e-4)


@pytest.fixture
def two_leads(views_model, monkeypatch):
    """The model of three views as if it was trained on two leads, which asks about every beat."""
    monkeypatch.setattr(lead_analysis, "_DOUBT", 1.0)
    return dataclasses.replace(views_model, description={**views_model.description, "n_leads": 2})


def test_probabilities_are_the_mean_over_leads(recording, views_model, two_leads):
    """Each lead by itself, at the beats of the first one."""
    found = analyse(recording, two_leads, lead="V1")
    assert found.summary["recording"]["averaged_leads"] == ["MLII"]
    assert found.lead == "V1"
    peaks = found.beats["sample"].to_numpy()
    one, other = (
        analyse(recording, views_model, lead=lead, peaks=peaks).beats[PROBABILITIES]
        for lead in ("V1", "MLII")
    )
    np.testing.assert_allclose(found.beats[PROBABILITIES], (one + other) / 2, atol=1e-5)
    assert (one - other).abs().to_numpy().max() > 0.01


def test_another_lead_is_asked_about_doubtful_beats(recording, views_model, two_leads, monkeypatch):
    every = analyse(recording, two_leads, lead=0).beats[PROBABILITIES].to_numpy()
    alone = analyse(recording, views_model, lead=0).beats[PROBABILITIES].to_numpy()
    ranked = np.sort(alone, axis=1)
    margin = ranked[:, -1] - ranked[:, -2]
    limit = float(np.median(margin))
    monkeypatch.setattr(lead_analysis, "_DOUBT", limit)
    found = analyse(recording, two_leads, lead=0).beats[PROBABILITIES].to_numpy()
    asked = margin <= limit
    assert 10 < asked.sum() < len(asked) - 10
    np.testing.assert_allclose(found[asked], every[asked], atol=1e-6)
    np.testing.assert_array_equal(found[~asked], alone[~asked])


def test_a_lead_has_no_say_where_it_is_off(recording, views_model, two_leads):
    def read(lead, start, stop):
        signal = recording.read(lead, start, stop).copy()
        if lead == 1:  # silent from 20 s to 40 s
            at = np.arange(start, stop) / recording.fs
            signal[(at >= 20) & (at < 40)] = 0
        return signal

    off = dataclasses.replace(recording, read_lead=read)
    first, found = (analyse(off, each, lead=0).beats for each in (views_model, two_leads))
    differs = (first[PROBABILITIES] - found[PROBABILITIES]).abs().max(axis=1) > 1e-6
    silent = found["time_s"].between(19, 41)
    assert silent.sum() > 10
    assert not differs[silent].any()
    assert differs[found["time_s"] < 14].all()


def test_a_flat_lead_is_not_averaged(recording, views_model, two_leads):
    def read(lead, start, stop):
        return recording.read(lead, start, stop) * (lead == 0)

    found = analyse(dataclasses.replace(recording, read_lead=read), two_leads, lead=0)
    pd.testing.assert_frame_equal(found.beats, analyse(recording, views_model, lead=0).beats)
    assert found.summary["recording"]["averaged_leads"] == []


@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_the_next_lead_is_asked_for_one_without_a_say(recording, views_model, two_leads, kind):
    noise = np.random.default_rng(0).normal(0, 0.3 * (kind == "noise"), recording.n_samples)

    def read(lead, start, stop):
        return noise[start:stop] if lead == 1 else recording.read(min(lead, 1), start, stop)

    three = dataclasses.replace(recording, lead_names=("MLII", "III", "V1"), read_lead=read)
    found, expected = analyse(three, two_leads, lead=0), analyse(recording, two_leads, lead=0)
    assert found.summary["recording"]["averaged_leads"] == ["V1"]
    pd.testing.assert_frame_equal(found.beats, expected.beats)
    two = dataclasses.replace(three, lead_names=("MLII", "III"))
    found, expected = analyse(two, two_leads, lead=0), analyse(recording, views_model, lead=0)
    assert found.summary["recording"]["averaged_leads"] == []
    pd.testing.assert_frame_equal(found.beats, expected.beats)


def test_pieces_make_no_difference(recording, model, monkeypatch):
    """Read and classified by small pieces: the same beats."""
    whole = analyse(recording, model)
    for module, name, value in (
        (signals, "CHUNK_SAMPLES", 1000),
        (lead_analysis, "_BLOCK_BEATS", 7),
    ):
        monkeypatch.setattr(module, name, value)
    pieces = analyse(recording, model)
    pd.testing.assert_frame_equal(whole.beats, pieces.beats, check_exact=False, atol=1e-5)
    assert whole.summary == pieces.summary
    assert len(whole.beats) > 50


def begin(recording, seconds):
    """Return the beginning of a recording."""
    n = round(seconds * recording.fs)
    return dataclasses.replace(recording, n_samples=n)


def write_csv(folder, recording):
    time_s = np.arange(recording.n_samples) / recording.fs
    table = pd.DataFrame({"time (s)": time_s.round(4), "MLII (mV)": recording.read(0)})
    table.to_csv(folder / "copy.csv", index=False)
    return folder / "copy.csv"


def write_edf(folder, recording):
    signal = recording.read(0).astype(float)
    n = int(recording.n_samples // recording.fs * recording.fs)
    lead = edfio.EdfSignal(
        signal[:n],
        recording.fs,
        label="MLII",
        physical_dimension="mV",
        physical_range=(-10.24, 10.235),
    )
    edfio.Edf([lead]).write(folder / "copy.edf")
    return folder / "copy.edf"


def write_format(ending):
    def write(folder, recording):
        steps = np.round(recording.read(0) * 200)  # of the converter of mitdb
        return write_lead_ii(folder / f"copy{ending}", steps, 360)

    return write


@pytest.mark.parametrize(
    "write", [write_csv, write_edf, *map(write_format, (".dcm", ".ecg", ".xml"))]
)
def test_a_copy_of_a_real_record_in_another_format(physionet, tmp_path, views_model, write):
    """The first five minutes of 100 of mitdb: the same beats, the same classes."""
    recording = begin(open_recording(physionet / "mitdb" / "100"), 300)
    copy = open_recording(write(tmp_path, recording))
    assert copy.fs == recording.fs
    expected, found = (analyse(each, views_model) for each in (recording, copy))
    assert expected.lead == "MLII"
    assert found.lead in ("MLII", "II")
    whole = expected.beats[expected.beats["sample"] < copy.n_samples]
    assert len(found.beats) == len(whole) > 360
    np.testing.assert_array_equal(found.beats["sample"], whole["sample"])
    # CSV and EDF round the signal, by at most a quarter of the converter's step.
    assert (found.beats["aami_class"] == whole["aami_class"]).mean() > 0.99
    np.testing.assert_allclose(found.beats[PROBABILITIES], whole[PROBABILITIES], atol=0.05)


def test_detected_beats_are_near_the_reference(physionet, views_model):
    recording = open_recording(physionet / "mitdb" / "100")
    found = analyse(recording, views_model).beats["sample"].to_numpy()
    reference = select_beats(recording.reference)
    assert len(reference) == 2273
    pairs = match_beats(reference, found, 0.05 * 360)
    both = (pairs >= 0).all(axis=1)
    assert both.sum() >= 2268
    assert len(pairs) - both.sum() <= 5


def test_beats_of_an_intermediate_form_are_given_to_f(recording, views_model, monkeypatch):
    described = {**views_model.description, "operating_point": {"temperature": 0.7}}
    model = dataclasses.replace(views_model, description=described)
    plain = analyse(recording, model)
    expected = plain.beats[PROBABILITIES].to_numpy()
    asked = []

    def find(signal, samples, probabilities, rr_intervals, fs):
        pd.testing.assert_frame_equal(rr_intervals, plain.rr_intervals)
        raw = scipy.special.softmax(0.7 * np.log(expected), axis=1)
        np.testing.assert_allclose(probabilities, raw, atol=1e-6)
        asked.append((signal[:], samples, fs))
        return np.arange(len(samples)) % 2 == 0

    monkeypatch.setattr(analysis, "find_intermediate", find)
    found = analyse(recording, model).beats
    ((signal, samples, fs),) = asked
    np.testing.assert_array_equal(signal, plain.signal)
    np.testing.assert_array_equal(samples, plain.at_model)
    assert fs == views_model.fs
    is_between = np.arange(len(expected)) % 2 == 0
    np.testing.assert_allclose(found[PROBABILITIES], give_to_fusion(expected, is_between))
    greatest = np.array(AAMI_CLASSES)[found[PROBABILITIES].to_numpy().argmax(axis=1)]
    assert found["aami_class"].tolist() == greatest.tolist()


def test_fusion_beats_of_a_patient_of_test_are_found(physionet):
    """mitdb 213 has 362 of the 388 F beats of DS2: most of the rest that is called F is V."""
    recording = open_recording(physionet / "mitdb" / "213")
    peaks = select_beats(recording.reference)
    symbols = recording.reference.set_index("sample")["symbol"][peaks].to_numpy()
    called = analyse(recording, BeatModel.load(), peaks=peaks).beats["aami_class"].to_numpy()
    assert (called[symbols == "F"] == "F").sum() >= 180
    assert (called[symbols == "N"] == "F").sum() <= 5


def test_sliding_windows(recording, grey_model):
    found = analyse(recording, grey_model, sliding=True)
    assert found.sliding
    assert found.beats["sample"].iloc[0] == N_SAMPLES // 2
    assert set(np.diff(found.beats["sample"])) == {180}
    assert found.beats["sample"].iloc[-1] <= recording.n_samples - N_SAMPLES // 2
    assert found.beats["rr_s"].isna().all()
    assert found.summary["n_windows"] == len(found.beats)
    # A window that stands on a beat is that beat's window.
    peaks = found.beats["sample"].to_numpy()[10:11]
    beat = analyse(recording, grey_model, peaks=peaks)
    np.testing.assert_allclose(
        beat.beats[PROBABILITIES], found.beats[PROBABILITIES].iloc[10:11], atol=1e-5
    )


def test_windows_do_not_slide_under_a_model_that_looks_at_beats(recording, views_model, tmp_path):
    words = "looks at the RR intervals of a beat and at how a beat differs"
    with pytest.raises(ValueError, match=words):
        analyse(recording, views_model, sliding=True)
    views = [{**view, "of": "difference"} for view in VIEWS]
    path = save_model(tmp_path / "m.safetensors", "grey", image_size=32)
    model = BeatModel.load(path)
    spectrogram = {**model.description["spectrogram"], "extra_views": views}
    differing = dataclasses.replace(
        model, description={**model.description, "spectrogram": spectrogram}
    )
    with pytest.raises(ValueError, match="looks at how a beat differs from the typical one, and"):
        check_slides(differing)
    check_slides(model)


@pytest.mark.parametrize(("more", "n_windows"), [(0, 1), (179, 1), (180, 2)])
def test_the_last_window_that_fits_slides_too(recording, grey_model, more, n_windows):
    found = analyse(
        dataclasses.replace(recording, n_samples=N_SAMPLES + more), grey_model, sliding=True
    )
    assert len(found.beats) == n_windows


def test_windows_with_a_gap_do_not_slide(recording, grey_model):
    signal = recording.read(0)
    signal[2000:2300] = np.nan
    gap = dataclasses.replace(recording, read_lead=lambda lead, start, stop: signal[start:stop])
    kept = analyse(gap, grey_model, sliding=True).beats["sample"].to_numpy() - N_SAMPLES // 2
    every = analyse(recording, grey_model, sliding=True).beats["sample"].to_numpy() - N_SAMPLES // 2
    assert kept.tolist() == [i for i in every if i + N_SAMPLES <= 2000 or i >= 2300]


def test_no_beat_at_all(recording, model):
    found = analyse(recording, model, peaks=[])
    assert found.beats.empty
    assert found.summary["n_beats"] == 0
    assert found.summary["burden"] == dict.fromkeys(AAMI_CLASSES)
    assert found.summary["heart_rate"]["mean_bpm"] is None


def with_signal(signal):
    signal = np.asarray(signal, np.float32)
    return Recording("r", 360, ("MLII",), len(signal), None, lambda lead, a, b: signal[a:b])


def test_beats_in_a_gap_are_left_out(recording, model):
    signal = recording.read(0)
    first, stop = 20 * 360, 30 * 360
    signal[first:stop] = np.nan
    found = analyse(with_signal(signal), model).beats["sample"].to_numpy()
    assert not ((found >= first) & (found < stop)).any()
    assert (found < first).sum() > 10
    assert (found >= stop).sum() > 10


def test_no_interval_goes_across_a_gap(recording, model):
    """A minute with ten minutes of nothing in its middle, and the same minute whole."""
    signal = recording.read(0)
    begins, length = 30 * 360, 600 * 360
    apart = np.concatenate([signal[:begins], np.full(length, np.nan), signal[begins:]])
    found, whole = analyse(with_signal(apart), model), analyse(recording, model)
    at = int(np.searchsorted(found.beats["sample"], begins))
    assert np.flatnonzero(found.beats["rr_s"].isna()).tolist() == [0, at]
    intervals = found.rr_intervals
    assert np.flatnonzero(intervals["rr_previous_s"].isna()).tolist() == [0, at]
    assert np.flatnonzero(intervals["rr_next_s"].isna()).tolist() == [at - 1, len(intervals) - 1]
    known = found.beats["rr_s"].dropna()
    assert known.max() < 3
    assert intervals["rr_record_s"].tolist() == pytest.approx(
        [known.median()] * len(intervals), abs=2 / 360
    )
    rate, expected = found.summary["heart_rate"], whole.summary["heart_rate"]
    assert rate["mean_bpm"] == pytest.approx(60 / known.mean(), abs=0.06)
    assert rate["lowest_bpm"] == pytest.approx(expected["lowest_bpm"], rel=0.1)


def test_a_shorter_stretch_than_a_beat_is_no_gap(recording, model):
    signal = recording.read(0)
    peak = int(recording.reference["sample"].iloc[20])
    signal[peak + 20 : peak + 50] = np.nan
    found, whole = analyse(with_signal(signal), model), analyse(recording, model)
    assert found.beats["rr_s"].isna().sum() == 1
    np.testing.assert_allclose(found.beats["sample"], whole.beats["sample"], atol=5)
    assert found.summary["signal_quality"]["missing_s"] == pytest.approx(30 / 360, abs=1e-3)


def test_a_lead_is_chosen_where_the_ecg_cannot_be_used(recording, grey_model):
    left_out = {"ECG": "its unit is '', which is no voltage"}
    found = dataclasses.replace(recording, lead_names=("EEG", "EOG"), left_out=left_out)
    with pytest.raises(RecordError, match="signal ECG cannot be used: its unit is ''"):
        analyse(found, grey_model)
    assert analyse(found, grey_model, lead="EEG").lead == "EEG"


@pytest.mark.parametrize("length_s", [0.2, 2, 30])
def test_gaps_in_a_real_record_lose_and_make_few_beats(physionet, grey_model, length_s):
    """Every 15 s a gap: the beats that are found without, less those in it, but for a few."""
    signal = open_recording(physionet / "mitdb" / "100").read(0)
    truth = detect_r_peaks(signal, 360)
    n = round(length_s * 360)
    starts = np.arange(3600, len(signal) - 2 * n, n + 15 * 360 + 77)
    inside = np.zeros(len(signal), dtype=bool)
    for start in starts:
        inside[start : start + n] = True
    signal[inside] = np.nan
    found = analyse(with_signal(signal), grey_model).beats["sample"].to_numpy()
    truth = truth[~inside[truth]]
    pairs = match_beats(truth, found, 0.1 * 360)
    missed, extra = ((pairs[:, side] < 0).sum() for side in (1, 0))
    assert missed <= len(starts) / 4
    assert extra <= len(starts) / 4


@pytest.mark.parametrize(
    ("peaks", "message"),
    [
        ([5, 3], "sorted by time"),
        (np.uint32([400, 300, 900]), "samples 300 to 900; .* sorted by time"),
        ([300, 300, 900], "hold sample 300 more than once"),
        ([-1, 3], "another recording"),
        ([10**9], "another"),
        ([0.5], "whole"),
    ],
)
def test_peaks_that_are_none(recording, model, peaks, message):
    with pytest.raises(ValueError, match=message):
        analyse(recording, model, peaks=peaks)


def test_too_short_a_recording(recording, views_model):
    short = Recording("r", 360, ("a",), 2000, None, lambda lead, a, b: recording.read(0)[a:b])
    with pytest.raises(RecordError, match="at least the 8 s"):
        analyse(short, views_model)


def test_beats_are_not_detected_at_a_low_rate(recording, model):
    signal = recording.read(0)[::9]  # 40 Hz
    slow = Recording("r", 40, ("MLII",), len(signal), None, lambda lead, a, b: signal[a:b])
    with pytest.raises(RecordError, match=r"found 40 Hz.*expected at least 50 Hz"):
        analyse(slow, model)
    peaks = recording.reference["sample"].to_numpy() // 9
    assert len(analyse(slow, model, peaks=peaks).beats) == len(peaks)


def test_no_beat_is_detected_in_three_seconds(recording, grey_model):
    short = dataclasses.replace(recording, n_samples=3 * 360)
    with pytest.raises(RecordError, match="found 3 s; expected more than the 3 s"):
        analyse(short, grey_model)
    assert len(analyse(short, grey_model, peaks=[500]).beats) == 1


def test_progress_is_told(recording, model):
    told = []
    analyse(recording, model, progress=lambda stage, share: told.append((stage, share)))
    for stage in ("read", "detect", "classify"):
        shares = [share for each, share in told if each == stage]
        assert shares == sorted(shares)
        assert shares[-1] == 1
        assert min(shares) > 0


# --------------------------------------------------------------------------------------
# What beats amount to
# --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_noise_is_marked_and_not_counted(physionet, grey_model, tmp_path):
    """Muscle noise as loud as the beats in the third and fourth minute of a normal record."""
    clean = begin(open_recording(physionet / "mitdb" / "100"), 300)
    rng = np.random.default_rng(0)

    def change(signal):
        noise = rng.normal(0, 0.6, len(signal))
        minute = np.arange(len(signal)) // (60 * 360)
        return signal + noise * np.isin(minute, [2, 3])

    noisy = alter(clean, change)
    found = analyse(noisy, grey_model)
    beats, told = found.beats, found.summary
    noisy_part = beats["time_s"].between(125, 235)
    assert beats["usable"][~beats["time_s"].between(115, 245)].all()
    assert not beats["usable"][noisy_part].any()
    assert noisy_part.sum() > 5
    assert told["n_unusable"] == (~beats["usable"]).sum()
    assert sum(told["counts"].values()) == beats["usable"].sum()
    [[start, stop]] = told["signal_quality"]["unusable_s"]
    assert (start, stop) == (120, 240)
    assert told["signal_quality"]["usable_share"] == 0.6
    assert len(told["signal_quality"]["stretches"]) == 30
    every = analyse(noisy, grey_model, count_unusable=True)
    pd.testing.assert_frame_equal(every.beats, beats)
    assert sum(every.summary["counts"].values()) == len(beats)
    # With the peaks given, too.
    peaks = beats["sample"].to_numpy()
    assert analyse(noisy, grey_model, peaks=peaks).beats["usable"].equals(beats["usable"])
    written = write_outputs(found, noisy, tmp_path, report=True)
    table = pd.read_csv(written["csv"])
    assert table["usable"].tolist() == beats["usable"].astype(int).tolist()
    np.testing.assert_allclose(table["signal_quality"], beats["signal_quality"], atol=5e-4)
    page = written["html"].read_text()
    assert 'class="unusable"' in page
    assert f"{told['n_unusable']}, not counted" in page


def test_summary(recording, model):
    """Every figure of the summary, worked out again from the table of beats."""
    found = analyse(recording, model)
    beats, told = found.beats, found.summary
    assert told["n_beats"] == len(beats)
    assert sum(told["counts"].values()) == len(beats)
    assert told["burden"]["N"] == pytest.approx((beats["aami_class"] == "N").mean())
    gaps = beats["time_s"].diff().dropna()
    assert told["heart_rate"]["mean_bpm"] == pytest.approx(60 / gaps.mean(), abs=0.06)
    assert beats["rr_s"].iloc[1:].tolist() == pytest.approx(gaps.tolist())
    for name in "SVFQ":
        runs = "".join("x" if c == name else " " for c in beats["aami_class"]).split()
        longest = told["longest_runs"][name]
        assert (longest["n_beats"] if longest else 0) == max(map(len, runs), default=0)
        assert told["runs"][name] == sum(len(run) >= 3 for run in runs)
    assert told["model"]["sha256"] == model.sha256
    assert told["recording"]["lead"] == found.lead == "MLII"
    assert "Not a medical device" in told["disclaimer"]


@pytest.mark.slow
def test_hours_in_little_memory(recording, tmp_path):
    """6 h: memory does not grow with length but for the table of beats, which are the same."""
    import tracemalloc

    model = BeatModel.load(save_model(tmp_path / "m.safetensors", "grey", image_size=16))
    minute = recording.read(0)
    minutes = 6 * 60
    n = len(minute) * minutes

    def read(lead, start, stop):  # the same minute over and over
        return minute[np.arange(start, stop) % len(minute)]

    long = Recording("long", 360, ("MLII",), n, None, read)
    tracemalloc.start()
    found = analyse(long, model).beats
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * 8  # the signal in float64, 62 MB
    in_one_piece = detect_r_peaks(np.tile(minute, minutes), 360)
    np.testing.assert_array_equal(found["sample"], in_one_piece)
    assert len(found) > 0.85 * minutes * len(select_beats(recording.reference))


def alter(recording, change):
    """Return a recording whose only lead is what `change` makes of its signal, mV."""
    signal = np.asarray(change(recording.read(0).astype(np.float64)), dtype=np.float32)
    return dataclasses.replace(
        recording,
        lead_names=recording.lead_names[:1],
        n_samples=len(signal),
        reference=None,
        read_lead=lambda lead, start, stop: signal[start:stop],
    )


@pytest.mark.parametrize(
    "drift",
    [lambda n: np.full(n, 0.5), lambda n: np.full(n, -300.0), lambda n: np.linspace(0, 20, n)],
    ids=["0.5 mV", "-300 mV", "a ramp"],
)
def test_a_baseline_changes_no_beat_and_no_class(recording, views_model, drift):
    clean = analyse(alter(recording, lambda x: x), views_model).beats
    found = analyse(alter(recording, lambda x: x + drift(len(x))), views_model).beats
    assert len(clean) > 50
    np.testing.assert_array_equal(found["sample"], clean["sample"])
    np.testing.assert_array_equal(found["aami_class"], clean["aami_class"])
    np.testing.assert_allclose(found[PROBABILITIES], clean[PROBABILITIES], atol=0.03)


def test_a_flat_stretch_is_a_gap_for_intervals_and_rates(recording, views_model):
    fs = int(recording.fs)
    first, stop = 20 * fs, 45 * fs

    def fill(value):
        def change(signal):
            signal[first:stop] = value
            return signal

        return analyse(alter(recording, change), views_model)

    invalid, flat = fill(np.nan), fill(0.1)
    both = [each.beats["sample"].to_numpy() for each in (invalid, flat)]
    assert abs(len(both[0]) - len(both[1])) <= 1
    # Beside the stretch, an edge or a straight line may show or hide half a beat.
    expected, found = (each[(each < first - fs) | (each > stop + fs)] for each in both)
    np.testing.assert_array_equal(found, expected)
    assert flat.summary["heart_rate"] == pytest.approx(invalid.summary["heart_rate"], rel=0.05)
    across = flat.beats["sample"].searchsorted(stop)
    assert np.isnan(flat.beats["rr_s"].iloc[across])
    assert flat.beats["rr_s"].max() < 3
    assert flat.rr_intervals["rr_record_s"].iloc[0] == pytest.approx(
        flat.beats["rr_s"].mean(), rel=0.02
    )


def join(physionet, names):
    """Return records of mitdb one after another, and where each begins."""
    leads, peaks, starts = [], [], [0]
    for name in names:
        record = read_record(physionet / "mitdb", "mitdb", name)
        leads.append(record.signal)
        peaks.append(record.beats["sample"].to_numpy() + starts[-1])
        starts.append(starts[-1] + len(record.signal))
    signal = np.concatenate(leads)
    joined = Recording("r", 360, ("MLII",), len(signal), None, lambda lead, a, b: signal[a:b])
    return joined, np.concatenate(peaks), starts


@pytest.mark.slow
def test_a_record_in_a_long_recording_keeps_its_classes(physionet):
    """Slow 123 (50/min), then fast 112 (85/min): each as if it stood alone."""
    model = BeatModel.load()
    names = ("123", "112")
    long, peaks, starts = join(physionet, names)
    found = analyse(long, model, peaks=peaks).beats
    for part, name in enumerate(names):
        alone, its_peaks, _ = join(physionet, [name])
        expected = analyse(alone, model, peaks=its_peaks).beats["aami_class"].to_numpy()
        inside = found["sample"].between(starts[part], starts[part + 1] - 1)
        changed = found["aami_class"][inside].to_numpy() != expected
        assert changed.mean() <= 0.005, (name, part, int(changed.sum()))


@pytest.mark.slow
def test_a_record_over_and_over_keeps_its_classes(physionet):
    """The half hour around a beat of the second copy of 114 begins in the first."""
    model = BeatModel.load()
    alone, its_peaks, _ = join(physionet, ["114"])
    long, peaks, starts = join(physionet, ["114"] * 2)
    expected = analyse(alone, model, peaks=its_peaks).beats["aami_class"].to_numpy()
    assert len(set(expected)) >= 3
    both = analyse(long, model, peaks=peaks).beats
    found = both["aami_class"][both["sample"] >= starts[1]].to_numpy()
    assert (found != expected).mean() <= 0.005


@pytest.mark.parametrize(
    "make",
    [
        lambda t: np.sin(2 * np.pi * 0.3 * t),  # breathing
        lambda t: np.random.default_rng(0).normal(0, 0.1, len(t)),
    ],
    ids=["breathing", "noise"],
)
def test_a_column_without_qrs_complexes_is_no_ecg(tmp_path, grey_model, caplog, make):
    signal = make(np.arange(60 * 360) / 360)
    table = Recording("t", 360, ("a",), len(signal), None, lambda i, a, b: signal[a:b])
    table = dataclasses.replace(table, path=tmp_path / "t.csv")
    with pytest.raises(RecordError, match=r"nothing like QRS complexes in lead a.*--columns"):
        analyse(table, grey_model)
    analyse(table, grey_model, lead="a")
    assert "may not be an ECG" in caplog.text
    caplog.clear()
    analyse(dataclasses.replace(table, path=tmp_path / "t.edf"), grey_model)
    assert "may not be an ECG" in caplog.text


def test_a_real_ecg_is_not_doubted(recording, physionet, grey_model, caplog):
    analyse(recording, grey_model)
    for name in ("107", "108"):  # paced, and noisy
        analyse(begin(open_recording(physionet / "mitdb" / name), 120), grey_model)
    assert "may not be an ECG" not in caplog.text


def test_no_interval_goes_across_noise_and_hum(recording, views_model, caplog):
    """An electrode is off for a minute; what it picks up spans more than a flat stretch may."""
    fs, n = int(recording.fs), 60 * int(recording.fs)
    noise = np.random.default_rng(0).normal(0, 0.02, n)
    hum = 0.3 * np.sin(2 * np.pi * 50 * np.arange(n) / fs)
    half = recording.n_samples // 2

    def change(signal):
        return np.concatenate([signal[:half], noise, signal[half:], hum, signal])

    found = analyse(alter(recording, change), views_model)
    assert "(stretches: 2)" in caplog.text
    caplog.clear()
    clean = analyse(alter(recording, lambda x: x), views_model)
    assert "no beat" not in caplog.text
    assert abs(len(found.beats) - 2 * len(clean.beats)) <= 6
    intervals = found.beats["rr_s"].to_numpy()
    assert np.isnan(intervals).sum() == 3
    assert np.nanmax(intervals) < 3
    assert found.summary["heart_rate"]["mean_bpm"] == pytest.approx(
        clean.summary["heart_rate"]["mean_bpm"], rel=0.02
    )
    assert find_runs(found.beats)["duration_s"].max() < 62


def test_no_interval_spans_a_short_stretch_without_an_electrode(recording, views_model, caplog):
    """For 5 s, too short to be a gap by itself."""
    half, n = recording.n_samples // 2, 5 * int(recording.fs)
    hum = 0.3 * np.sin(2 * np.pi * 50 * np.arange(n) / recording.fs)
    off = alter(recording, lambda x: np.concatenate([x[:half], hum, x[half:]]))
    found = analyse(off, views_model)
    assert "(stretches: 1)" in caplog.text
    intervals = found.beats["rr_s"].to_numpy()
    assert np.isnan(intervals).sum() == 2
    assert np.nanmax(intervals) < 3
    after = int(np.flatnonzero(np.isnan(intervals))[1])
    assert found.beats["time_s"][after] >= (half + n) / recording.fs - 0.1
    assert np.isnan(found.rr_intervals["rr_previous_s"][after])
