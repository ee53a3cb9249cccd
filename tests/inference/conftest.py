"""Recordings and models that the tests of inference share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.recording import Recording
from inference.models import KINDS, save_model


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and lose much where tests share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three simulated records of 60 s at 360 Hz."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_database(folder, "mitdb", 3, 60, 0)
    return folder


@pytest.fixture(scope="session")
def recording(simulated: Path) -> Recording:
    """One of these."""
    return open_recording(simulated / "101")


@pytest.fixture(scope="session", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BeatModel:
    """A grey model without RR intervals, and one of three views with them."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return BeatModel.load(save_model(path, request.param))


@pytest.fixture(scope="session")
def views_model(tmp_path_factory: pytest.TempPathFactory) -> BeatModel:
    """The model of three views."""
    return BeatModel.load(save_model(tmp_path_factory.mktemp("model") / "model.safetensors"))


@pytest.fixture(scope="session")
def grey_model(tmp_path_factory: pytest.TempPathFactory) -> BeatModel:
    """The grey model without RR intervals, which windows may slide under."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return BeatModel.load(save_model(path, "grey"))
