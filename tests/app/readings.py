"""Studies without files and networks, for the tests of viewer and figures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.app.study import Study
from cnns_spectrograms.app.viewer import Reading
from cnns_spectrograms.corrections.session import Source
from cnns_spectrograms.presentation import UNSURE
from cnns_spectrograms.recordings.recording import Recording

FS = 360


def make_study(
    beats: pd.DataFrame,
    signal: NDArray[np.float32],
    fs: float = FS,
    recording_fs: float | None = None,
    **given: Any,
) -> Study:
    """Return a study of these beats in a signal, with what else is given."""
    of_analysis = {name: given.pop(name, []) for name in ("gaps_s", "unusable_s")}
    model = SimpleNamespace(fs=fs, n_samples=round(2.5 * fs))
    summary = {"peaks": "detected"}
    analysis = SimpleNamespace(
        beats=beats, signal=signal, model=model, summary=summary, **of_analysis
    )
    n_samples = round(len(signal) * (recording_fs or fs) / fs)
    rest: dict[str, Any] = {
        "leads": Recording("r", recording_fs or fs, ("II",), n_samples, None, cast(Any, None)),
        "source": Source("r", "II", recording_fs or fs, n_samples, "d" * 64),
        "db": "own",
        "reference": None,
        "range_mv": (-1.0, 1.0),
        "lanes": [],
        "groups": None,
        "queue": np.empty(0, np.int64),
    }
    return Study(analysis=cast(Any, analysis), **{**rest, **given})


def make_reading(study: Study, called: NDArray[np.object_], first_id: int = 0) -> Reading:
    """Return a study whose beats are called this."""
    return Reading(
        study=study,
        beats=study.beats,
        ids=np.arange(len(called)) + first_id,
        threshold=0.5,
        key="",
        called=called,
        counted=np.ones(len(called), np.bool_),
        abnormal=np.flatnonzero(~np.isin(called, ["N", UNSURE])),
        present=frozenset(called),
    )
