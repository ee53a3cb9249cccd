"""The report says the same in both languages, and every word of it is in both."""

from __future__ import annotations

import re
import string

import pytest

from cnns_spectrograms.inference.analysis import DISCLAIMER, analyse
from cnns_spectrograms.inference.report import _WORDS, draw_strips, render_report


@pytest.fixture(scope="module")
def analysis(recording, views_model):
    return analyse(recording, views_model)


def test_only_the_words_differ_between_the_languages(analysis, recording):
    pages = {each: render_report(analysis, recording, each) for each in ("en", "es")}
    assert DISCLAIMER in pages["en"]
    assert DISCLAIMER not in pages["es"]
    assert "<html lang=es>" in pages["es"]
    strips = draw_strips(analysis, recording)
    assert strips in pages["en"]
    assert strips in pages["es"]
    assert render_report(analysis, recording, "es", strips) == pages["es"]
    numbers = {each: re.findall(r"\d+(?:\.\d+)?", page) for each, page in pages.items()}
    assert numbers["en"] == numbers["es"]
    english = {words["en"] for words in _WORDS.values()} - {
        words["es"] for words in _WORDS.values()
    }
    text = {line.strip() for line in re.sub(r"<[^>]+>", "\n", pages["es"]).splitlines()}
    assert not text & english


@pytest.mark.parametrize("key", _WORDS)
def test_every_word_is_in_both_languages_with_the_same_values(key):
    fields = [
        sorted(str(name) for _, name, _, _ in string.Formatter().parse(text) if name is not None)
        for text in (_WORDS[key]["en"], _WORDS[key]["es"])
    ]
    assert fields[0] == fields[1]
