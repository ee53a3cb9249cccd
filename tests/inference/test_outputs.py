"""What an analysis writes can be read back, and is whole or not there."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import wfdb

from cnns_spectrograms.inference import outputs
from cnns_spectrograms.inference.analysis import analyse
from cnns_spectrograms.inference.outputs import is_result, is_table, write_outputs


@pytest.fixture(scope="module")
def analysis(recording, views_model):
    return analyse(recording, views_model)


def test_annotations_are_read_by_wfdb(analysis, recording, tmp_path):
    written = write_outputs(analysis, recording, tmp_path / "out")
    assert written["annotations"].name == "101.cnn"
    found = wfdb.rdann(str(tmp_path / "out" / "101"), "cnn")
    np.testing.assert_array_equal(found.sample, analysis.beats["sample"])
    assert found.symbol == analysis.beats["aami_class"].tolist()
    assert found.fs == recording.fs


def test_table_and_summary(analysis, recording, tmp_path):
    written = write_outputs(analysis, recording, tmp_path)
    table = pd.read_csv(written["csv"])
    assert table.columns.tolist() == analysis.beats.columns.tolist()
    np.testing.assert_array_equal(table["sample"], analysis.beats["sample"])
    np.testing.assert_allclose(table["time_s"], analysis.beats["time_s"], atol=1e-6)
    np.testing.assert_allclose(table["prob_V"], analysis.beats["prob_V"], atol=1e-6)
    assert is_table(written["csv"])
    assert json.loads(written["json"].read_text()) == analysis.summary
    assert sorted(p.name for p in tmp_path.iterdir()) == ["101.cnn", "101.csv", "101.json"]


class Page(HTMLParser):
    """Collects what a page draws, and what it would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.labels, self.lines, self.fetched = [], [], 0, []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.fetched += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        self.lines += tag == "polyline"
        if tag == "svg" and "aria-label" in values:
            self.labels.append(values["aria-label"])


def test_report_shows_every_abnormal_beat(analysis, recording, tmp_path):
    written = write_outputs(analysis, recording, tmp_path, report=True)
    page = Page()
    page.feed(written["html"].read_text())
    assert page.fetched == []
    strips = [label for label in page.labels if " – " in label]
    told = sum(
        int(part.split()[0])
        for label in strips
        for part in label.split(": ")[-1].split(", ")
        if part[-1] in "SVFQ" and part[0].isdigit()
    )
    abnormal = int((analysis.beats["aami_class"] != "N").sum())
    assert told == abnormal > 0
    assert page.lines >= len(strips)
    assert "Not a medical device" in written["html"].read_text()


def test_a_name_is_text_in_the_page(analysis, recording, tmp_path):
    from dataclasses import replace

    from cnns_spectrograms.inference.report import render_report

    summary = {**analysis.summary, "recording": {**analysis.summary["recording"], "name": "<b>x"}}
    text = render_report(replace(analysis, summary=summary), recording)
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text


def test_sliding_windows_are_no_beats(recording, grey_model, tmp_path):
    found = analyse(recording, grey_model, sliding=True)
    written = write_outputs(found, recording, tmp_path, report=True)
    assert set(written) == {"csv", "json", "html"}


def test_no_beat(recording, views_model, tmp_path):
    written = write_outputs(analyse(recording, views_model, peaks=[]), recording, tmp_path, True)
    assert set(written) == {"csv", "json", "html"}


def test_an_error_leaves_what_was_there(analysis, recording, tmp_path, monkeypatch):
    before = write_outputs(analysis, recording, tmp_path, report=True)["json"].read_bytes()

    def fail(*args, **options):
        raise OSError("disk full")

    monkeypatch.setattr(outputs.json, "dumps", fail)
    with pytest.raises(OSError, match="disk full"):
        write_outputs(analysis, recording, tmp_path)
    assert (tmp_path / "101.json").read_bytes() == before
    names = {"101.cnn", "101.csv", "101.json", "101.html"}
    assert {p.name for p in tmp_path.iterdir()} == names


def test_nothing_of_an_earlier_analysis_stays(analysis, recording, views_model, tmp_path):
    (tmp_path / "1010.html").touch()  # of another recording
    write_outputs(analysis, recording, tmp_path, report=True)
    assert {p.name for p in tmp_path.glob("101.*")} == {
        "101.cnn",
        "101.csv",
        "101.json",
        "101.html",
    }
    write_outputs(analyse(recording, views_model, peaks=[]), recording, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"101.csv", "101.json", "1010.html"}
    assert json.loads((tmp_path / "101.json").read_text())["n_beats"] == 0
    write_outputs(analysis, recording, tmp_path, report=True)
    write_outputs(analysis, recording, tmp_path)
    assert {p.name for p in tmp_path.glob("101.*")} == {"101.cnn", "101.csv", "101.json"}


@pytest.mark.parametrize("ending", ["cnn", "csv", "json", "html"])
def test_no_file_of_the_user_is_replaced_or_removed(analysis, recording, tmp_path, ending):
    (tmp_path / f"101.{ending}").write_text('{"software": "another 1.0"}')
    with pytest.raises(ValueError, match=rf"101\.{ending} would replace a file that no analysis"):
        write_outputs(analysis, recording, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [f"101.{ending}"]
    (tmp_path / f"101.{ending}").rename(tmp_path / f"100.{ending}")
    assert "json" in write_outputs(analysis, recording, tmp_path)


def test_what_tells_a_result(analysis, recording, tmp_path):
    written = write_outputs(analysis, recording, tmp_path, report=True)
    assert {is_result(path) for path in written.values()} == {True}
    page = written["html"].read_text()
    written["html"].write_text(page.replace("generator", "author"))  # as version 0.2.0 wrote it
    assert is_result(written["html"])
    written["json"].unlink()
    assert not is_result(written["html"])
    assert not is_result(written["annotations"])
    written["html"].write_text(page)
    assert is_result(written["html"])
    assert is_result(written["csv"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sample,II\n0,0.1\n",
        "sample,time_s,rr_s,aami_class,prob_N,prob_S,prob_V,prob_F,prob_Q,lead,more\n",
        "sample,time_s,rr_s,aami_class,prob_N,prob_S,prob_V,prob_F,prob_Q\n",
    ],
)
def test_what_is_no_table_of_beats(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    assert not is_table(tmp_path / "x.csv")
    assert not is_table(tmp_path / "none.csv")
