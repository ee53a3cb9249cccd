"""The catalogue of words is complete, used, and the only source of words."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

import cnns_spectrograms.app
from cnns_spectrograms.app.findings import CALLS
from cnns_spectrograms.app.reports import ENVIRONMENTS
from cnns_spectrograms.app.texts import (
    LANGUAGES,
    TEXTS,
    Translator,
    choose_language,
    escape_markdown,
)

# The command line speaks English, as all commands of the project do.
SOURCES = [
    path
    for path in sorted(Path(cnns_spectrograms.app.__file__).parent.glob("*.py"))
    if path.name != "launch.py"
]
# Keys that are put together from a beginning and a value.
COMPOSED = {
    "call_": CALLS,
    "environment_": ENVIRONMENTS,
    "group_": ("synthetic", "mitdb", "svdb"),
    "source_": ("sample", "upload"),
    "stage_": ("read", "detect", "classify"),
    "download_": ("annotations", "csv", "json", "html"),
    "calibration_": ("before", "after"),
    "status_": ("FINISHED", "FAILED", "RUNNING", "KILLED", "SCHEDULED"),
}
BUTTONS = {
    "previous_abnormal", "next_abnormal", "next_disagreement", "back", "forward", "zoom_in",
    "zoom_out", "previous_beat", "next_beat",
}  # fmt: skip
# The same word in both languages.
SAME = {"call_N", "scale_minutes", "scale_speed", "no", "axis_gradcam"}


def _asked_for() -> set[str]:
    """Return the keys that the sources ask a translator for."""
    keys = {beginning + end for beginning, ends in COMPOSED.items() for end in ends}
    keys |= BUTTONS | {f"{name}_label" for name in BUTTONS if f"{name}_label" in TEXTS}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "t":
                for each in ast.walk(node.args[0]):
                    if isinstance(each, ast.Constant) and each.value in TEXTS:
                        keys.add(each.value)
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    keys.add(first.value)
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
    assert spanish.percent(0.1234, 1) == "12,3 %"
    assert english.number(None) == english.percent(float("nan")) == "–"


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
