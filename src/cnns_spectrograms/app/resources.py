"""What all windows share: the model, and the recordings that the app offers."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from cnns_spectrograms.app.launch import read_settings
from cnns_spectrograms.ecg.databases import list_databases
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS
from cnns_spectrograms.presentation import Translator

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

SYNTHETIC = "synthetic"
"""Database of simulated recordings."""

TITLED = ("mitdb", "svdb", SYNTHETIC)
"""Databases whose names the texts spell out."""


@st.cache_resource(show_spinner=False)
def load_model() -> BeatModel:
    """Return the model that the app was started with.

    Raises:
        ValueError: the file is missing, or this project did not write it.
    """
    from cnns_spectrograms.inference.model import BeatModel

    model = BeatModel.load(read_settings().model)
    threading.Thread(target=_warm_up, args=(model,), name="warm-up", daemon=True).start()
    return model


def find_model(t: Translator) -> BeatModel | None:
    """Return the model; without one show what to do, and return None."""
    try:
        return load_model()
    except ValueError as error:
        st.error(t("no_weights"))
        st.code(str(error), language=None, wrap_lines=True)
        return None


def _warm_up(model: BeatModel) -> None:
    """Do what the first analysis would wait for, while a recording is being chosen."""
    from cnns_spectrograms.ecg.detection import detect_r_peaks

    detect_r_peaks(np.sin(np.arange(10 * model.fs) / 20), model.fs)
    model.predict(np.zeros((1, model.width)), np.ones((1, len(RR_COLUMNS))))


@st.cache_resource(show_spinner=False)
def _simulate() -> tempfile.TemporaryDirectory[str]:
    from cnns_spectrograms.ecg.simulation import simulate_database

    folder = tempfile.TemporaryDirectory(prefix="ecg-samples-")  # goes when the process ends
    # Any three neighbours hold all five classes.
    simulate_database(Path(folder.name), "mitdb", 3, 600.0, seed=0)
    return folder


def find_databases() -> dict[str, Path]:
    """Return the folders of the recordings that the app offers, by database, real ones first."""
    physionet = read_settings().physionet
    real = list_databases(physionet) if physionet else {}
    return {**real, SYNTHETIC: Path(_simulate().name)}
