"""A study keeps what the pages need, and shows a beat as the model saw it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wfdb

from cnns_spectrograms.app.study import Study, make_study, read_reference, show_beat
from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.inference.outputs import write_outputs
from cnns_spectrograms.recordings.opening import open_recording


@pytest.fixture(scope="module")
def model(weights: Path) -> BeatModel:
    return BeatModel.load(weights)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    simulate_database(folder, "mitdb", 2, 60.0, seed=0)
    return folder


@pytest.fixture(scope="module")
def study(folder: Path, model: BeatModel) -> Study:
    told: list[tuple[str, float]] = []
    made = make_study(
        open_recording(folder / "100"),
        model,
        0,
        progress=lambda stage, share: told.append((stage, share)),
    )
    assert [stage for stage, _ in told] == sorted(
        (stage for stage, _ in told), key=["keep", "read", "detect", "classify"].index
    )
    assert told[-1] == ("classify", 1.0)
    return made


def test_what_is_kept_is_the_recording(folder: Path, study: Study) -> None:
    recording = open_recording(folder / "100")
    assert (study.leads.name, study.leads.fs, study.leads.duration_s) == ("100", 360, 60)
    assert study.leads.lead_names == recording.lead_names
    np.testing.assert_array_equal(study.leads.read("V1", 700), recording.read("V1", 700))
    assert study.reference is not None
    symbols = wfdb.rdann(str(folder / "100"), "atr").symbol
    assert len(study.reference) == sum(symbol in "NSAVF/Q" for symbol in symbols) > 50


def test_the_reference_is_taken_where_it_is_asked_for(folder: Path, model: BeatModel) -> None:
    recording = open_recording(folder / "101")
    reference = read_reference(recording)
    assert reference is not None
    assert recording.reference is not None
    twice = recording.reference.loc[recording.reference.index.repeat(2)]
    made = make_study(replace(recording, reference=twice), model, 0, at_reference=True)
    assert made.analysis.summary["peaks"] == "given"
    np.testing.assert_array_equal(made.beats["sample"], reference["sample"])


def test_the_annotations_to_download_are_the_beats(study: Study, tmp_path: Path) -> None:
    write_outputs(study.analysis, study.leads, tmp_path)
    read = wfdb.rdann(str(tmp_path / "100"), "cnn")
    np.testing.assert_array_equal(read.sample, study.beats["sample"])
    assert read.symbol == study.beats["aami_class"].tolist()
    assert read.fs == 360


@pytest.mark.parametrize("beat", [0, 17, -1])
def test_a_beat_is_shown_as_the_model_saw_it(study: Study, model: BeatModel, beat: int) -> None:
    position = range(len(study.beats))[beat]
    seen = show_beat(study, position)
    again = model.predict(seen.views[None])[0]
    kept = study.beats.iloc[position][[f"prob_{name}" for name in "NSVFQ"]].to_numpy(float)
    np.testing.assert_allclose(again, kept, atol=1e-5)
    np.testing.assert_array_equal(seen.image, model.draw(seen.views[None])[0, 0])


def test_a_gap_is_told(folder: Path, model: BeatModel) -> None:
    recording = open_recording(folder / "100")
    signal = recording.read(0)
    signal[9000:10800] = np.nan
    broken = replace(recording, read_lead=lambda lead, start, stop: signal[start:stop])
    made = make_study(broken, model, 0)
    assert made.analysis.gaps_s == [(25.0, 30.0)]
    at = int(np.searchsorted(made.beats["time_s"], 30))
    assert np.flatnonzero(made.beats["rr_s"].isna()).tolist() == [0, at]


def test_every_beat_is_shown_as_the_model_saw_it_at_another_rate(
    tmp_path: Path, model: BeatModel
) -> None:
    """At 128 Hz a beat's sample is rounded from where the model looked, at 360 Hz."""
    simulate_database(tmp_path, "svdb", 1, 30.0, seed=0)
    recording = open_recording(next(tmp_path.glob("*.hea")))
    assert recording.fs == 128
    made = make_study(recording, model, 0)
    windows = [show_beat(made, i).views for i in range(len(made.beats))]
    again = model.predict(np.stack(windows))
    kept = made.beats[[f"prob_{name}" for name in "NSVFQ"]].to_numpy(float)
    assert len(kept) > 20
    np.testing.assert_allclose(again, kept, atol=1e-5)
