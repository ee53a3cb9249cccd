"""The HTML report of an analysis: one page that needs nothing else, with strips on ECG paper."""

from __future__ import annotations

from cnns_spectrograms.ecg.recordings import Recording
from cnns_spectrograms.inference.analysis import Analysis


def render_report(analysis: Analysis, recording: Recording) -> str:
    """Return the page."""
    raise NotImplementedError
