"""Colours and symbols of the beat classes, and the ECG paper, in a light and a dark theme.

Colours are of Okabe and Ito's Color Universal Design palette (2008), as in the figures of the
reports; each class has a symbol and its letter too, so that no colour has to be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from cnns_spectrograms.app.findings import UNSURE


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
    classes={
        "N": "#0072B2",
        "S": "#B87700",  # the palette's orange, darker: 3:1 against white and against the paper
        "V": "#D55E00",
        "F": "#B85C93",  # likewise
        "Q": "#007A5A",  # likewise
        UNSURE: "#666666",
    },
    trace="#111111",
    text="#31333F",
    faint="#D9D9DE",
    paper="#FFFAF8",
    minor_grid="#FBE3DE",
    major_grid="#F0B8AD",
    highlight="rgba(86, 180, 233, 0.28)",
)

DARK = Theme(
    classes={
        "N": "#56B4E9",
        "S": "#E69F00",
        "V": "#FF7F2A",
        "F": "#E39BC4",
        "Q": "#2FC59B",
        UNSURE: "#B0B0B0",
    },
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
