"""Leads: how they are chosen, and their units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnns_spectrograms.inference.api import make_recording
from cnns_spectrograms.recordings.leads import choose_lead, choose_others, mv_per_unit

MU = "\N{GREEK SMALL LETTER MU}"


@pytest.mark.parametrize(
    ("leads", "preferred", "expected"),
    [
        (["V5", "MLII"], "MLII", 1),
        (["MLII", "V5"], "MLII", 0),
        (["V5", "V2"], "MLII", 0),
        (["ECG1", "ECG2"], "MLII", 0),  # svdb: no lead II
        (["I", "II", "V1"], "MLII", 1),
        (["ecg", "ECG II"], "MLII", 1),
        (["V5", "lead DII"], "MLII", 1),
        (["MLI", "MLIII", "D2"], "MLII", 2),
        (["I", "ECG V5"], "V5", 1),
        (["V1", "MLII"], "II", 1),
        (["EEG Fpz", "EOG", "EKG"], "MLII", 2),
        (["PLETH", "ECG"], None, 1),
        (["V5", "MLII"], None, 0),
        (["V1", "MLII"], "MLII", 1),
        (["EEG Fpz", "EOG", "ECG II"], "MLII", 2),
        (["EEG Fpz", "ECG", "resp"], "MLII", 1),
        (["A", "B"], "MLII", 0),
        (["EMG", "V5"], "MLII", 1),
        (["EEG C3-A2", "V1"], "MLII", 1),
        (["EMG", "aVR", "V5"], None, 1),
        (["V5", "ECG"], "MLII", 1),
        (["Derivación I", "Derivación II"], "MLII", 1),
        (["Dérivation I", "Dérivation II"], "MLII", 1),
        (["Lead I ECG", "Lead II ECG"], "MLII", 1),
        (["ECG I-Ref", "ECG II-Ref"], "MLII", 1),
        (["Ableitung I", "Ableitung II"], "MLII", 1),
        (["Channel I", "Channel II"], "MLII", 1),
        (["LI", "LII"], "MLII", 1),
        (["ECG 1", "ECG 2"], "MLII", 0),
        (["lead", "V5"], "MLII", 1),
        (["RR", "Elead", "L2"], "MLII", 0),
    ],
)
def test_choose_lead(leads, preferred, expected):
    assert choose_lead(leads, preferred) == expected


@pytest.mark.parametrize(
    ("leads", "first", "n", "expected"),
    [
        (["MLII", "V5"], 0, 1, [1]),
        (["V5", "MLII"], 1, 1, [0]),
        (["ECG1", "ECG2", "ECG3"], 0, 1, [1]),
        (["ECG1", "ECG2", "ECG3"], 1, 5, [0, 2]),
        (["II", "PLETH", "ABP", "resp"], 0, 3, []),
        (["II", "V1"], 0, 0, []),
        (["Derivación I", "LII", "Channel III", "Ableitung aVR", "V1-Ref"], 1, 9, [0, 2, 3, 4]),
        (["II", "RR", "Elead", "lead", "Ref", "Channel 1"], 0, 9, []),
    ],
)
def test_choose_others(leads, first, n, expected):
    assert choose_others(leads, first, n) == expected


@pytest.mark.parametrize(
    ("names", "lead", "expected"),
    [
        (("V1", "MLII"), "v1", 0),
        (("V1", "MLII"), "0", 0),
        (("V1", "MLII"), 1, 1),
    ],
)
def test_the_lead_that_is_asked_for(names, lead, expected):
    recording = make_recording(np.zeros((9, len(names))), 100)
    assert replace(recording, lead_names=names).find_lead(lead) == expected


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("V", 1e3),
        ("mV", 1.0),
        ("uV", 1e-3),
        ("µV", 1e-3),
        ("mV.", 1.0),
        ("v", 1e3),
        ("Volt", 1e3),
        (" mV ", 1.0),
        ("MV", 1.0),
        ("millivolts", 1.0),
        (f"{MU}V", 1e-3),
        ("Microvolt", 1e-3),
        ("NV", 1e-6),
        ("nanovolts", 1e-6),
        ("", None),
        ("kV", None),
        ("m", None),
        ("adu", None),
        ("mV/s", None),
        ("volt s", None),
    ],
)
def test_millivolts_of_a_unit(text, factor):
    assert mv_per_unit(text) == factor
