"""Colours can be told apart from the page and from each other, by any eye."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from cnns_spectrograms.app.findings import CALLS
from cnns_spectrograms.app.palette import DARK, LIGHT, SYMBOLS, Theme

# Machado et al. 2009 (doi:10.1109/TVCG.2009.113), severity 1, linear RGB.
VISION = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def _linear(color: str) -> NDArray[np.float64]:
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _contrast(first: str, second: str) -> float:
    """Return the contrast ratio of WCAG 2.1."""
    light, dark = sorted(
        (float(_linear(each) @ [0.2126, 0.7152, 0.0722]) for each in (first, second)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("theme", "page"), [(LIGHT, "#FFFFFF"), (DARK, "#0E1117")])
def test_marks_stand_out_from_page_and_paper(theme: Theme, page: str) -> None:
    for name in CALLS:
        for ground in (page, theme.paper):
            assert _contrast(theme.classes[name], ground) >= 3, name  # WCAG 1.4.11
    for ground in (page, theme.paper):
        assert _contrast(theme.text, ground) >= 4.5
        assert _contrast(theme.trace, ground) >= 7


def test_every_class_has_its_own_symbol() -> None:
    assert set(SYMBOLS) == set(CALLS) == set(LIGHT.classes) == set(DARK.classes)
    assert len(set(SYMBOLS.values())) == len(CALLS)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("kind", VISION)
def test_the_classes_differ_in_colour_blind_eyes(theme: Theme, kind: str) -> None:
    seen = {
        name: np.clip(np.array(VISION[kind]) @ _linear(color), 0, 1) ** (1 / 2.2)
        for name, color in theme.classes.items()
    }
    for first, second in itertools.combinations("NSVFQ", 2):
        assert np.linalg.norm(seen[first] - seen[second]) > 0.06, (first, second)
