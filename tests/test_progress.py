"""When a log is told how far work is."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from cnns_spectrograms import progress
from cnns_spectrograms.progress import LoggedProgress


def test_lines_grow_sparse(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1000.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    caplog.set_level(logging.INFO)
    work = LoggedProgress("Epoch 3", 400, "batches")
    for n_done in range(1, 401):
        clock.now += 2
        work.update(n_done)
    assert caplog.messages == [
        "Epoch 3: 30 of 400 batches in 60 s",
        "Epoch 3: 60 of 400 batches in 120 s",
        "Epoch 3: 120 of 400 batches in 240 s",
        "Epoch 3: 240 of 400 batches in 480 s",
    ]


def test_a_slow_part_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    caplog.set_level(logging.INFO)
    work = LoggedProgress("Predicting", 3, "images")
    clock.now = 500
    work.update(1)
    clock.now = 900
    work.update(2)
    clock.now = 1000
    work.update(3)
    assert caplog.messages == [
        "Predicting: 1 of 3 images in 500 s",
        "Predicting: 3 of 3 images in 1000 s",
    ]
