"""Contradictions between parameters: each is named, and all are told at once."""

from __future__ import annotations

import re

import pytest

from cnns_spectrograms.hooks.preflight import find_contradictions
from cnns_spectrograms.parameters import (
    ExecutionParameters,
    IngestionParameters,
    ModelParameters,
    SpectrogramParameters,
    SplitParameters,
    TrainingParameters,
    ViewParameters,
    WindowParameters,
)

VIEW = {"of": "beat", "window_s": 1, "nperseg": 64, "noverlap": 32, "max_frequency_hz": 60}


def make_views(**changes):
    views = (ViewParameters(**VIEW), ViewParameters(**{**VIEW, **changes}))
    return SpectrogramParameters(extra_views=views)


def make_split(**splits):
    return SplitParameters(protocol="x", records={"mitdb": splits})


def _together(**changes) -> str:
    parameters = {
        "ingestion": IngestionParameters(databases={"mitdb": ["100", "101", "103"]}),
        "split": make_split(train=["100"], val=["103"], test=["101"]),
        "windows": WindowParameters(),
        "spectrogram": SpectrogramParameters(),
    }
    return "\n".join(find_contradictions({**parameters, **changes}))


def test_parameters_that_fit_together_pass():
    assert not _together()
    assert not _together(ingestion=IngestionParameters(databases={"mitdb": None}))
    assert not _together(spectrogram=make_views(), training=TrainingParameters())
    assert not _together(models=ModelParameters(timm_name="resnet50", rr_intervals=True))
    assert not find_contradictions({})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"ingestion": IngestionParameters(databases={"mitdb": ["100", "103"]})},
            r"lists \['101'\]",
        ),
        (
            {"ingestion": IngestionParameters(databases={"mitdb": ["100", "101", "103", "105"]})},
            r"reads \['105'\], which no list",
        ),
        (
            {"ingestion": IngestionParameters(databases={"mitdb": None, "svdb": None})},
            "'svdb', which split.records does not list",
        ),
        (
            {
                "ingestion": IngestionParameters(databases={"mitdb": None}),
                "split": make_split(train=["201"], val=["100"], test=["202"]),
            },
            "one patient into two splits: mitdb/201 into train, mitdb/202 into test",
        ),
        (
            {
                "ingestion": IngestionParameters(
                    databases={"mitdb": {"100": "p", "101": {"patient": "p"}, "103": "q"}}
                ),
            },
            "one patient into two splits: mitdb/100 into train, mitdb/101 into test",
        ),
        ({"spectrogram": SpectrogramParameters(max_frequency_hz=200)}, "up to 180 Hz; lower"),
        (
            {"spectrogram": make_views(max_frequency_hz=300)},
            r"spectrogram\.extra_views\[1\]: max_frequency_hz is 300.*up to 180 Hz; lower",
        ),
        (
            {"spectrogram": make_views(nperseg=400, noverlap=0)},
            r"spectrogram\.extra_views\[1\]: windows have 360 samples, .* nperseg \(400\)",
        ),
        (
            {
                "windows": WindowParameters(mode="sliding"),
                "models.a": ModelParameters(timm_name="resnet50", rr_intervals=True),
            },
            r"models\.a\.rr_intervals is true, but sliding windows",
        ),
        (
            {
                "windows": WindowParameters(mode="sliding"),
                "spectrogram": make_views(of="difference"),
            },
            r"spectrogram\.extra_views\[1\] is the difference .*, but sliding windows",
        ),
        (
            {
                "training": TrainingParameters(batch_size=64),
                "execution": ExecutionParameters(training_processes=3),
            },
            r"training\.batch_size is 64, which 3 processes .* cannot share evenly",
        ),
        ({"spectrogram": SpectrogramParameters(kind="x")}, r"kind is 'x'; expected .*\['stft'\]"),
        ({"spectrogram": SpectrogramParameters(max_frequency_hz=1)}, r"bins are 2\.8125 Hz apart"),
        (
            {
                "windows": WindowParameters(window_s=0.5),
                "spectrogram": SpectrogramParameters(nperseg=200),
            },
            r"spectrogram: windows have 180 samples, fewer than nperseg \(200\)",
        ),
    ],
)
def test_contradictions_are_named(changes, words):
    assert re.search(words, _together(**changes))


def test_all_contradictions_are_told_at_once():
    found = _together(
        spectrogram=SpectrogramParameters(max_frequency_hz=200),
        training=TrainingParameters(batch_size=64),
        execution=ExecutionParameters(training_processes=3),
    )
    assert re.search(r"(?s)up to 180 Hz.*cannot share evenly", found)
