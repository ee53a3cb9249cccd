"""Colours and symbols of the beat classes, and the ECG paper, in a light and a dark theme.

Each class has a symbol and its letter too, so that no colour has to be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from cnns_spectrograms.app.findings import UNSURE
from cnns_spectrograms.palette import CLASS_COLORS, CLASS_COLORS_ON_DARK


@dataclass(frozen=True)
class Theme:
    """Colours of the figures on a light or a dark page."""

    classes: dict[str, str]
    trace: str
    text: str
    faint: str
    paper: str
    minor_grid: str
    major_grid: str
    highlight: str


LIGHT = Theme(
    classes={**CLASS_COLORS, UNSURE: "#666666"},
    trace="#111111",
    text="#31333F",
    faint="#D9D9DE",
    paper="#FFFAF8",
    minor_grid="#FBE3DE",
    major_grid="#F0B8AD",
    highlight="rgba(86, 180, 233, 0.28)",
)

DARK = Theme(
    classes={**CLASS_COLORS_ON_DARK, UNSURE: "#B0B0B0"},
    trace="#F2F2F2",
    text="#E6E6EA",
    faint="#3A3D46",
    paper="#15171D",
    minor_grid="#26211F",
    major_grid="#4A3530",
    highlight="rgba(86, 180, 233, 0.20)",
)

SYMBOLS: dict[str, str] = {
    "N": "circle",
    "S": "triangle-up",
    "V": "square",
    "F": "diamond",
    "Q": "star",
    UNSURE: "circle-open",
}
"""Plotly's marker symbol of each call."""


def choose_theme(kind: str | None) -> Theme:
    """Return the colours for Streamlit's theme type, "light" or "dark" (None: not known yet)."""
    return DARK if kind == "dark" else LIGHT
