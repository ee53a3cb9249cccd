"""What is said of the chosen beat."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.app import viewer_panel
from cnns_spectrograms.ecg.aami import PROBABILITIES
from cnns_spectrograms.presentation import EN


@pytest.mark.parametrize("usable", [True, False])
@pytest.mark.parametrize("counted", [True, False])
def test_why_a_beat_has_no_class(
    monkeypatch: pytest.MonkeyPatch, usable: bool, counted: bool
) -> None:
    said: list[str] = []
    streamlit = SimpleNamespace(markdown=said.append, caption=said.append)
    monkeypatch.setattr(viewer_panel, "st", streamlit)
    monkeypatch.setattr(viewer_panel, "show_figure", lambda *args: None)
    given = {"usable": usable, "origin": "model", "aami_class": "N", "rr_s": 0.8}
    beat = pd.Series(given | dict.fromkeys(PROBABILITIES, 0.2))
    reading = SimpleNamespace(called=["?"], counted=np.array([counted]), threshold=0.5)
    of_first = SimpleNamespace(selected=0)
    viewer_panel._show_call(cast(Any, reading), cast(Any, of_first), beat, EN)
    why = EN("unsure_beat") if counted else EN("unusable_beat")
    assert said[0].split("  \n")[1:] == [why]
