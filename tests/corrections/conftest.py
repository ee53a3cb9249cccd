"""A simulated recording with an analysis of it, to correct."""

from __future__ import annotations

import pytest

from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.inference.analysis import Analysis, analyse
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.recording import Recording
from inference.models import save_model


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("simulated")
    simulate_database(folder, "mitdb", 1, 60, 0)
    return open_recording(folder / "100")


@pytest.fixture(scope="session")
def analysis(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    path = save_model(tmp_path_factory.mktemp("model") / "model.safetensors")
    return analyse(recording, BeatModel.load(path))
