"""The report says the same in both languages, and every word of it is in both."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnns_spectrograms.inference import report
from cnns_spectrograms.inference.analysis import analyse
from cnns_spectrograms.inference.report import (
    CONTEXT_S,
    STRIP_S,
    _plan_strips,
    draw_strips,
    render_report,
)
from cnns_spectrograms.presentation import CLASS_COLORS, EN, Translator, read_texts
from cnns_spectrograms.recordings.recording import Recording


@pytest.fixture(scope="module")
def analysis(recording, views_model):
    return analyse(recording, views_model)


def test_only_the_words_differ_between_the_languages(analysis, recording):
    pages = {each: render_report(analysis, recording, each) for each in ("en", "es")}
    assert EN("disclaimer") in pages["en"]
    assert EN("disclaimer") not in pages["es"]
    assert '<html lang="es">' in pages["es"]
    strips, _ = draw_strips(analysis, recording)
    drawn = {each: re.findall(r'points="(.*?)"', page) for each, page in pages.items()}
    assert drawn["en"] == drawn["es"] == [line for strip in strips for line in strip.lines]
    rest = {
        each: re.sub(r"(?s)<style>.*?</style>|<figure>.*?</figure>", "", page)
        for each, page in pages.items()
    }
    rest["en"] = re.sub(r"(\d),(\d{3})", r"\1\2", rest["en"])
    rest["es"] = re.sub(r"(\d),(\d)", r"\1.\2", rest["es"].replace("\u202f", ""))
    numbers = {each: re.findall(r"\d+(?:\.\d+)?", page) for each, page in rest.items()}
    assert numbers["en"] == numbers["es"]
    english = {each.en for each in read_texts().values()} - {
        each.es for each in read_texts().values()
    }
    text = {line.strip() for line in re.sub(r"<[^>]+>", "\n", pages["es"]).splitlines()}
    assert not text & english


def test_a_model_of_simulated_recordings_says_so_in_both_languages(analysis, recording):
    assert "simulated" not in render_report(analysis, recording)
    model = {**analysis.summary["model"], "synthetic_data": True}
    simulated = replace(analysis, summary={**analysis.summary, "model": model})
    for language in ("en", "es"):
        assert Translator(language)("synthetic_model") in render_report(
            simulated, recording, language
        )


def test_classes_have_the_colours_of_every_figure(analysis, recording):
    page = render_report(analysis, recording)
    labels = re.findall(r'<text class="(\w)" x="[\d.]+" y="4">(\w)</text>', page)
    assert labels
    for css_class, name in labels:
        assert css_class == name
        assert f".{name} {{ fill: {CLASS_COLORS[name]};" in page


@given(st.lists(st.floats(0, 300), min_size=1, max_size=40))
def test_strips_show_every_abnormal_beat_once_and_none_is_a_scrap(times):
    times = sorted(times)
    duration_s = 300.0
    beats = pd.DataFrame({"time_s": times, "aami_class": "V"})
    strips, n_more = _plan_strips(beats, duration_s)
    assert n_more == 0
    for (start, stop), (following, _) in itertools.pairwise([*strips, (duration_s, duration_s)]):
        assert 0 <= start < stop <= following + 1e-9
        assert 2.0 - 1e-9 <= stop - start <= STRIP_S + 1e-9  # 2 s: a beat at an end of the lead
    for time in times:
        shown = [start <= time <= stop for start, stop in strips]
        assert any(shown)
        around = max(0, time - CONTEXT_S), min(duration_s, time + CONTEXT_S)
        covered = sum(
            max(0, min(stop, around[1]) - max(start, around[0])) for start, stop in strips
        )
        assert covered == pytest.approx(around[1] - around[0])


def draw(lead_mv, fs=100.0):
    """Return the only strip of a lead, and its line in mV about 0."""
    lead_mv = np.asarray(lead_mv)
    made = Recording(
        "r", fs, ("II",), len(lead_mv), None, lambda lead, start, stop: lead_mv[start:stop]
    )
    beats = pd.DataFrame({"sample": [], "time_s": [], "aami_class": []})
    found = SimpleNamespace(beats=beats, lead="II", counted=np.empty(0, bool), unusable_s=[])
    (strip,), _ = draw_strips(found, made)
    points = [point.split(",") for line in strip.lines for point in line.split()]
    y = np.array([float(y) for _, y in points])
    np.testing.assert_allclose([float(x) for x, _ in points], np.arange(len(y)) / fs * 25, atol=0.1)
    return strip, ((np.median(y) - y) / 10 if len(y) else y)


@pytest.mark.parametrize(
    ("up", "down", "height"),
    [
        (1.0, 0.5, 45),  # as high as what most need
        (2.5, 1.5, 45),
        (2.6, 1.5, 50),
        (4.3, 1.6, 5 + 45 + 20),
        (0.2, 3.9, 5 + 25 + 40),
        (5.0, 5.0, 105),
    ],
)
def test_a_strip_has_room_for_its_signal(up, down, height):
    lead_mv = np.full(500, 0.25)
    lead_mv[100] += up
    lead_mv[300] -= down
    strip, drawn = draw(lead_mv)
    assert strip.height_mm == height
    np.testing.assert_allclose(drawn, lead_mv - 0.25, atol=0.01)
    assert not strip.is_cut


def test_a_millimetre_is_one_on_the_page(analysis, recording):
    page = render_report(analysis, recording)
    sizes = re.findall(r'width="([\d.]+)mm" height="([\d.]+)mm" viewBox="0 0 (.+?) (.+?)"', page)
    assert len(sizes) > 1
    for width, height, drawn_width, drawn_height in sizes:
        assert (width, height) == (drawn_width, drawn_height)


def test_a_strip_that_cuts_states_it_in_both_languages(analysis, recording, monkeypatch):
    lead_mv = np.full(500, -1.0)
    lead_mv[100], lead_mv[300] = 8, -4
    strip, drawn = draw(lead_mv)
    assert strip.height_mm == 5 + 50 + 30
    assert drawn[[100, 300]].tolist() == [5, -3]
    for language, words in (("en", "cut off at 5 mV from"), ("es", "cortada a 5 mV de")):
        assert "5 mV" not in render_report(analysis, recording, language)
        with monkeypatch.context() as patch:
            patch.setattr(report, "draw_strips", lambda *_: ([strip], 0))
            assert words in render_report(analysis, recording, language)


def test_a_strip_without_a_sample():
    strip, drawn = draw(np.full(500, np.nan))
    assert strip.height_mm == 45
    assert not len(drawn)
    assert strip.caption == "0:00.0 – 0:05.0: –"


@pytest.mark.parametrize(
    ("language", "told"),
    [
        (
            "en",
            [
                "at 1,000.5 Hz",
                "95.1\xa0% usable, 3.0\xa0% flat, 1,234,567.003 s missing",
                "2,955, R peaks detected",
                "mean 98.3/min, lowest 50, highest 110.5 (",
                "<td>2,900</td><td>98.14\xa0%</td>",
                "<td>1,001</td> <td> 1,500 at 20:34.5, 120.5/min </td>",
            ],
        ),
        (
            "es",
            [
                "a 1\u202f000,5 Hz",
                "95,1\xa0% utilizable, 3,0\xa0% plana, faltan 1\u202f234\u202f567,003 s",
                "2\u202f955, picos R detectados",
                "media 98,3/min, mínima 50, máxima 110,5 (",
                "<td>2\u202f900</td><td>98,14\xa0%</td>",
                "<td>1\u202f001</td> <td> 1\u202f500 en 20:34.5, 120,5/min </td>",
            ],
        ),
    ],
)
def test_numbers_are_written_as_the_language_writes_them(analysis, recording, language, told):
    of, none = analysis.summary, dict.fromkeys("SVFQ")
    longest = {"n_beats": 1500, "start_s": 1234.5, "duration_s": 1.0, "rate_bpm": 120.5}
    summary = {
        **of,
        "recording": {**of["recording"], "fs": 1000.5},
        "n_beats": 2955,
        "counts": dict.fromkeys("NSVFQ", 0) | {"N": 2900},
        "burden": dict.fromkeys("NSVFQ", 0.0) | {"N": 2900 / 2955},
        "heart_rate": {"mean_bpm": 98.3, "lowest_bpm": 50.0, "highest_bpm": 110.5},
        "longest_runs": none | {"V": longest},
        "runs": dict.fromkeys("SVFQ", 0) | {"V": 1001},
        "signal_quality": {"usable_share": 0.951, "flat_share": 0.03, "missing_s": 1234567.003},
    }
    page = render_report(replace(analysis, summary=summary), recording, language)
    page = re.sub(r"\s*\n\s*", " ", page)
    for each in told:
        assert each in page
    assert ("0,5 s</text>" in page) == (language == "es")


def test_what_was_assumed_of_a_file_is_on_the_page(analysis, recording):
    assert "Assumed" not in render_report(analysis, recording)
    assumed = ["column 'x' is taken for microvolts (range 2e+03)"]
    of = {**analysis.summary["recording"], "assumed": assumed}
    page = render_report(
        replace(analysis, summary={**analysis.summary, "recording": of}), recording
    )
    assert "<td>column &#39;x&#39; is taken for microvolts (range 2e+03)</td>" in page


def test_a_recording_without_signal_quality_has_a_report(analysis, recording):
    """At less than 50 Hz, with the peaks given, no quality is measured."""
    quality = {**analysis.summary["signal_quality"], "usable_share": None}
    summary = {**analysis.summary, "signal_quality": quality}
    page = render_report(replace(analysis, summary=summary), recording)
    assert re.search(r"– usable, 0\.0\xa0% flat, 0 s missing", page)
