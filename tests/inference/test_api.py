"""`from cnns_spectrograms import analyse`: a path or an array in, a table of beats out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import cnns_spectrograms
from cnns_spectrograms import analyse
from cnns_spectrograms.inference.api import load_model
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording
from inference.models import save_model


def test_a_path_and_its_signal_give_the_same_beats(simulated, tmp_path):
    path = simulated / "101"
    model = save_model(tmp_path / "two_leads.safetensors", n_leads=2)
    recording = open_recording(path)
    signal = np.column_stack([recording.read(0), recording.read(1)])
    of_path = analyse(path, model=model)
    of_array = analyse(signal, recording.fs, lead=0, model=model, name="mine")
    assert len(of_path.beats) > 40
    found = [each.summary["recording"] for each in (of_path, of_array)]
    assert [each["averaged_leads"] for each in found] == [["V1"], ["ECG 2"]]
    pd.testing.assert_frame_equal(
        of_path.beats.drop(columns="lead"), of_array.beats.drop(columns="lead")
    )
    assert of_array.summary["counts"] == of_path.summary["counts"]
    written = of_array.write(tmp_path, report=True)
    names = {each.name for each in written.values()}
    assert names == {"mine.cnn", "mine.csv", "mine.json", "mine.html"}
    table = pd.read_csv(tmp_path / "mine.csv")
    assert table["sample"].tolist() == of_array.beats["sample"].tolist()


def test_peaks_are_samples_or_an_annotator(simulated, views_model):
    recording = open_recording(simulated / "101")
    by_name = analyse(simulated / "101", peaks="atr", model=views_model.path)
    of_file = analyse(simulated / "101", peaks="101.atr", model=views_model.path)
    assert of_file.beats["sample"].tolist() == by_name.beats["sample"].tolist()
    samples = by_name.beats["sample"].to_numpy()
    by_samples = analyse(recording.read(0), recording.fs, peaks=samples, model=views_model.path)
    assert by_samples.beats["sample"].tolist() == samples.tolist()
    assert by_samples.beats["aami_class"].tolist() == by_name.beats["aami_class"].tolist()


def test_one_column_needs_no_list(simulated, views_model, tmp_path):
    signal = open_recording(simulated / "101").read(0)
    pd.DataFrame({"ecg": signal, "resp": 0.0}).to_csv(tmp_path / "a.csv", index=False)
    given = dict(fs=360, peaks=[1800, 2160], model=views_model.path)
    one, several = (analyse(tmp_path / "a.csv", columns=c, **given) for c in ("ecg", ["ecg"]))
    assert one.summary["recording"]["leads"] == ["ecg"]
    pd.testing.assert_frame_equal(one.beats, several.beats)


@pytest.mark.parametrize(
    ("signal", "fs", "words"),
    [
        (np.zeros(3600), None, "give fs, in Hz"),
        (np.zeros((2, 3600, 1)), 360, r"shape \(2, 3600, 1\)"),
        (np.array(["a", "b"]), 360, "expected numbers in mV"),
        (np.zeros((100, 3600)), 360, "found 3600 leads"),
        (np.zeros(3600), -1, "sampling rate of -1"),
    ],
)
def test_arrays_that_are_no_recording(signal, fs, words, views_model):
    with pytest.raises(ValueError, match=words):
        analyse(signal, fs, model=views_model.path)


def test_missing_samples_are_a_gap(simulated, views_model):
    recording = open_recording(simulated / "101")
    signal = np.array(recording.read(0))
    signal[7200:10800] = np.inf
    beats = analyse(signal, recording.fs, model=views_model.path).beats
    assert not beats["sample"].between(7200, 10799).any()
    assert beats.loc[beats["sample"] >= 10800, "rr_s"].isna().iloc[0]


def test_a_model_is_kept_until_its_file_changes(tmp_path):
    path = save_model(tmp_path / "model.onnx", fingerprint="a")
    first = load_model(path)
    assert load_model(path) is first
    save_model(path, fingerprint="b")
    assert (first.fingerprint, load_model(path).fingerprint) == ("a", "b")


def test_a_file_that_is_not_there(views_model, tmp_path):
    with pytest.raises(RecordError, match="no WFDB header"):
        analyse(tmp_path / "nix", model=views_model.path)


def test_the_package_offers_nothing_else():
    with pytest.raises(AttributeError, match="nix"):
        _ = cnns_spectrograms.nix
