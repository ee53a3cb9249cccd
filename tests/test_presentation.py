"""Texts are complete and used, numbers idiomatic, colours told apart by any eye."""

from __future__ import annotations

import ast
import itertools
import re
import string
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import cnns_spectrograms.app
from cnns_spectrograms.app.buttons import BUTTONS
from cnns_spectrograms.app.correcting import EDITOR_TEXTS
from cnns_spectrograms.app.run_results import ENVIRONMENTS
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.presentation import (
    CALLS,
    DARK,
    LANGUAGES,
    LIGHT,
    SYMBOLS,
    Theme,
    Translator,
    choose_language,
    format_clock,
    read_texts,
)

TEXTS = read_texts()
# The command line speaks English, as all commands of the project do.
SOURCES = [
    path
    for path in sorted(Path(cnns_spectrograms.app.__file__).parent.glob("*.py"))
    if path.name != "launch.py"
]
TEMPLATES = sorted(Path(cnns_spectrograms.__file__).parent.rglob("*.j2"))
# Keys that are put together from a beginning and a value.
COMPOSED = {
    "class_": CALLS,
    "environment_": ENVIRONMENTS,
    "page_": ("clinical", "technical"),
    "group_": ("synthetic", "mitdb", "svdb"),
    "source_": ("sample", "upload"),
    "stage_": ("keep", "read", "detect", "classify"),
    "download_": ("annotations", "csv", "json", "html"),
    "download_c": ("nr", "orrected_csv", "orrected_html"),
    "trail_": ("relabel", "delete", "add", "undo", "redo"),
    "corrections_": ("in_use", "failed", "elsewhere"),
    "calibration_": ("before", "after"),
    "report_beats_": ("detected", "given"),
    "report_unusable_": ("counted", "in_part", "left_out"),
    "status_": ("FINISHED", "FAILED", "RUNNING", "KILLED", "SCHEDULED"),
}
TABLES = {*BUTTONS, *EDITOR_TEXTS, "add_refused", "late_refused"}
TABLES |= {"added_to_training", "added_to_training_file"}
# The same word in both languages.
SAME = {
    "class_N", "report_per_minute", "report_software", "scale_minutes", "scale_speed", "no",
    "axis_gradcam",
}  # fmt: skip


def _asked_for() -> set[str]:
    """Return the keys that the sources ask a translator for."""
    keys = {beginning + end for beginning, ends in COMPOSED.items() for end in ends}
    keys |= TABLES | {f"{name}_label" for name in TABLES if f"{name}_label" in TEXTS}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "t":
                for each in ast.walk(node.args[0]):
                    if isinstance(each, ast.Constant) and each.value in TEXTS:
                        keys.add(each.value)
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    keys.add(first.value)
    for path in TEMPLATES:
        for first in re.findall(r"\bt\(([^,)]*)", path.read_text(encoding="utf-8")):
            keys.update(re.findall(r'"(\w+)"(?! ~)', first))
    return keys


def test_every_key_that_is_asked_for_is_there_and_none_is_left_over() -> None:
    assert _asked_for() == set(TEXTS)


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_it_with_the_same_values(key: str) -> None:
    fields = []
    for language in LANGUAGES:
        text = getattr(TEXTS[key], language)
        assert text.strip(), f"{key} is empty in {language}"
        fields.append(sorted(name for _, name, _, _ in string.Formatter().parse(text) if name))
    assert fields[0] == fields[1]
    if key not in SAME:
        assert TEXTS[key].en != TEXTS[key].es, f"{key} is not translated"


def test_no_page_writes_words_of_its_own() -> None:
    """A literal that reads like words must not reach Streamlit or a figure."""
    shown = re.compile(
        "^(markdown|write|caption|title|header|subheader|info|warning|error|success|toast|button|"
        "toggle|slider|selectbox|metric|text|Page|segmented_control|file_uploader|number_input|"
        "download_button)$"
    )
    faults = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", "")
            if getattr(getattr(node.func, "value", None), "id", "") == "logger":
                continue
            literals = list(node.args[:1]) if shown.match(name) else []
            literals += [
                each.value
                for each in node.keywords
                if each.arg in ("help", "alt", "title", "label", "placeholder", "page_title")
            ]
            faults += [
                f"{path.name}:{each.lineno} {each.value!r}"
                for each in literals
                if isinstance(each, ast.Constant)
                and isinstance(each.value, str)
                and re.search(r"[A-Za-zÁ-ú]{2}", each.value)
            ]
    assert faults == []


def test_numbers_are_written_as_each_language_does() -> None:
    english, spanish = Translator("en"), Translator("es")
    assert english.number(1234.5, 1) == "1,234.5"
    assert spanish.number(1234.5, 1) == "1\u202f234,5"
    assert spanish.percent(0.1234, 1) == "12,3\xa0%"
    assert english.number(None) == english.percent(float("nan")) == "–"
    assert english.number(1000.5004, 3, trim=True) == "1,000.5"
    assert spanish.number(50.0, 3, trim=True) == "50"
    assert english("scale_minutes", n=1.5) == "1.5 min"
    assert spanish("scale_minutes", n=1.5) == "1,5 min"
    assert english.interval(0.8124, 0.701, 0.9) == "0.812 [0.70,\xa00.90]"
    assert spanish.interval(0.8124, 0.701, 0.9) == "0,812 [0,70;\xa00,90]"
    assert english.interval(0.8124, None, None) == "0.812"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("MLII", "MLII"),
        ("II – señal 2", "II – señal 2"),
        ("aVR_2", "aVR\\_2"),
        ("a\n# b\tc", "a \\# b c"),
        ("a\\", "a\\\\"),
        (
            "![x](http://evil.example/b.png) $a$ :red[b]",
            "\\!\\[x\\]\\(http\\:\\/\\/evil\\.example\\/b\\.png\\) \\$a\\$ \\:red\\[b\\]",
        ),
    ],
)
def test_a_name_is_no_markdown(name: str, escaped: str) -> None:
    assert escape_markdown(name) == escaped


@pytest.mark.parametrize(
    ("locale", "language"), [("es-CL", "es"), ("ES", "es"), ("en-GB", "en"), (None, "en")]
)
def test_the_browser_says_which_language_comes_first(locale: str | None, language: str) -> None:
    assert choose_language(locale) == language


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [(0, 0, "0:00"), (59.96, 1, "1:00.0"), (61.25, 2, "1:01.25"), (3661, 0, "1:01:01")],
)
def test_clock(seconds: float, decimals: int, text: str) -> None:
    assert format_clock(seconds, decimals) == text


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
