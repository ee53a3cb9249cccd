"""The app in a real Chromium: what a person does with it, from choosing a record to a download."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

pytest.importorskip("selenium")

from chromium import Browser, analyse, find_chromium, served, upload
from cnns_spectrograms.app.launch import MAX_UPLOAD_MB
from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.presentation import DARK, LIGHT, Translator, read_texts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None,
        reason="no Chromium with its driver (Debian: apt-get install chromium chromium-driver)",
    ),
]

T = Translator("en")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def records(folder: Path) -> Path:
    """Simulated records of half a minute, to upload."""
    simulate_database(folder / "records", "mitdb", 3, 30.0, seed=5)
    return folder / "records"


@pytest.fixture(scope="module")
def url(weights: Path, folder: Path) -> Iterator[str]:
    # No recordings of whoever runs the tests: the samples are the simulated ones.
    options = ["--model", str(weights), "--data", str(folder / "data")]
    options += ["--physionet", str(folder / "none"), "--corrections", str(folder / "corrections")]
    for name in ("data", "none/mitdb", "tmp"):
        (folder / name).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder / "tmp"))
        with served(options, folder / "log.txt") as address:
            yield address


@pytest.fixture(scope="module")
def chromium(folder: Path) -> Iterator[Browser]:
    (folder / "downloads").mkdir()
    browser = Browser(folder / "downloads")
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Browser, url: str) -> Browser:
    """The clinical report, in a session of its own."""
    chromium.driver.get(f"{url}/?lang=en")
    chromium.one(".st-key-analyse button")
    return chromium


def _beat(page: Browser) -> str:
    """Return the heading of the chosen beat."""
    headings = [e.text for e in page.all("h5") if e.text.startswith("Beat ")]
    return headings[0] if headings else ""


def test_a_sample_is_analysed_and_looked_into(page: Browser) -> None:
    analyse(page)
    assert T("disclaimer") in page.text()
    assert T("synthetic_recording") in page.text()
    assert "mm/s, 10 mm/mV" in page.text()

    first = page.wait(lambda: _beat(page))
    page.click(".st-key-next_abnormal button")
    second = page.wait(lambda: _beat(page) != first and _beat(page))
    page.driver.switch_to.active_element.send_keys("k")  # the key of the same button
    third = page.wait(lambda: _beat(page) not in (first, second) and _beat(page))
    assert int(third.split()[1].rstrip(",").replace(",", "")) > int(
        second.split()[1].rstrip(",").replace(",", "")
    )

    plots = "return document.querySelector('.st-key-beat .js-plotly-plot').data.map(d => d.name)"
    assert "gradcam" not in page.driver.execute_script(plots)
    page.click(".st-key-gradcam label")
    page.wait(lambda: "gradcam" in page.driver.execute_script(plots), "Grad-CAM")
    captions = (T("gradcam_caption")[:40], T("gradcam_empty"))
    page.wait(lambda: any(each in page.text() for each in captions), "the caption")
    axes = page.driver.execute_script(
        "const l = document.querySelector('.st-key-beat .js-plotly-plot')._fullLayout;"
        "return Object.keys(l).filter(key => /^xaxis/.test(key))"
    )
    assert axes == ["xaxis"]


def test_the_strip_has_true_scale_and_follows_the_mouse(page: Browser) -> None:
    analyse(page)
    scale = (
        "const l = document.querySelector('.st-key-strip .js-plotly-plot')._fullLayout;"
        "return [l.xaxis._length / (l.xaxis.range[1] - l.xaxis.range[0]),"
        "l.yaxis._length / (l.yaxis.range[1] - l.yaxis.range[0]), ...l.xaxis.range]"
    )
    px_per_mm = 96 / 25.4

    def true_to_scale() -> bool:
        found = page.driver.execute_script(scale)
        return bool(np.allclose(found[:2], [25 * px_per_mm, 10 * px_per_mm], rtol=0.02))

    page.wait(true_to_scale, "25 mm/s and 10 mm/mV")
    page.click(".st-key-forward button")
    page.settle()
    before = page.driver.execute_script(scale)[2:]
    from selenium.webdriver import ActionChains

    plot = page.one(".st-key-strip .nsewdrag")
    ActionChains(page.driver).move_to_element(plot).click_and_hold().move_by_offset(
        -200, 0
    ).release().perform()
    shift_s = 200 / (25 * px_per_mm)
    page.wait(
        lambda: abs(page.driver.execute_script(scale)[2] - before[0] - shift_s) < 0.1,
        "the strip to be dragged",
    )
    # The server has taken it over: its own words say where the strip stands.
    start = page.driver.execute_script(scale)[2]
    page.wait(lambda: f"0:{start:04.1f} to" in page.text(), "the server to follow")
    page.settle()
    # A beat's symbol chooses it, where it stands.
    before = page.driver.execute_script(scale)
    beats = (
        "const chart = document.querySelector('.st-key-strip .js-plotly-plot');"
        "const axis = chart._fullLayout.xaxis;"
        "return chart.data.filter(each => each.customdata).flatMap(each => each.x.map((x, i) => "
        "[each.customdata[i], axis._offset + axis.l2p(x), axis._length, each.y[i]]))"
    )
    inside = [each for each in page.driver.execute_script(beats) if 0.6 < each[1] / each[2] < 0.9]
    beat, x, width, _ = inside[0]
    strip = page.one(".st-key-strip .js-plotly-plot")
    # Not under the bar at the top of the page.
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", strip)
    top = round(26 + 0.12 * 10 * px_per_mm)  # where the symbols stand
    ActionChains(page.driver).move_to_element_with_offset(
        strip, round(x - width / 2), top - strip.size["height"] // 2
    ).pause(0.2).click().perform()
    page.wait(lambda: f"Beat {beat + 1}," in _beat(page), "the beat that was clicked")
    assert page.driver.execute_script(scale) == before


def test_every_turn_of_the_wheel_counts_and_a_click_loses_no_drag(page: Browser) -> None:
    analyse(page)
    chart = "const chart = document.querySelector('.st-key-strip .js-plotly-plot');"
    read = chart + "return chart._fullLayout.xaxis.range"
    picked = ".st-key-scale_input button[aria-checked=true]"
    assert [each.text for each in page.all(picked)] == ["25 mm/s"]
    first, last = page.driver.execute_script(read)
    page.driver.execute_script(
        chart
        + """
        const { left, width } = chart.getBoundingClientRect();
        for (let turn = 0; turn < 6; turn++) {
          setTimeout(() => chart.dispatchEvent(
            new WheelEvent('wheel', { deltaY: 10, ctrlKey: true, clientX: left + width / 2 })
          ), 50 * turn);
        }
        """
    )

    def grown() -> float:
        start, stop = page.driver.execute_script(read)
        return float((stop - start) / (last - first))

    page.wait(lambda: abs(grown() - 1.5**6) < 1e-3, "six turns")
    page.settle()
    assert not page.all(picked)  # 25 mm/s no longer
    page.driver.execute_script(
        chart
        + """
        chart.emit('plotly_relayout', { 'xaxis.range[0]': 300, 'xaxis.range[1]': 310 });
        setTimeout(() => chart.emit('plotly_click', { points: [{ customdata: 7 }] }), 60);
        """
    )
    page.wait(lambda: _beat(page).startswith("Beat 8,"), "the beat that was clicked")
    page.wait(lambda: page.driver.execute_script(read) == [300, 310], "the strip to be dragged")
    page.wait(lambda: "5:00.0 to 5:10.0" in page.text(), "the server to follow")


def test_figures_follow_the_theme_by_themselves(page: Browser) -> None:
    analyse(page)
    paper = (
        "return document.querySelector('.st-key-strip .js-plotly-plot')._fullLayout.plot_bgcolor"
    )
    assert page.driver.execute_script(paper) == LIGHT.paper
    for dark, theme in ((True, DARK), (False, LIGHT)):
        page.resize(1280, 720, dark)
        page.wait(
            lambda theme=theme: page.driver.execute_script(paper) == theme.paper, "another paper"
        )


def test_a_wfdb_archive_is_uploaded_and_its_annotations_are_downloaded(
    page: Browser, records: Path, folder: Path
) -> None:
    archive = folder / "mine.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in records.glob("100.*"):
            packed.write(path, path.name)
    upload(page, archive)
    page.wait(lambda: "100 · 0:30 · 360 Hz" in page.text(), "what the archive holds")
    analyse(page)
    page.click(".st-key-download_annotations button")
    got = folder / "downloads" / "100.cnn"
    page.wait(lambda: got.is_file() and got.stat().st_size > 0, "the download")
    read = wfdb.rdann(str(got.with_suffix("")), "cnn")
    reference = wfdb.rdann(str(records / "100"), "atr")
    assert set(read.symbol) <= set("NSVFQ")
    distance = np.abs(reference.sample[:, None] - read.sample).min(axis=1)
    assert (distance < 0.15 * 360).mean() > 0.9
    assert [path.name for path in (folder / "tmp").iterdir() if "upload" in path.name] == []


def test_a_csv_is_uploaded(page: Browser, records: Path, folder: Path) -> None:
    record = wfdb.rdrecord(str(records / "101"))
    table = pd.DataFrame(record.p_signal, columns=record.sig_name)
    table.insert(0, "time", np.arange(len(table)) / record.fs)
    table.to_csv(folder / "heart.csv", index=False, float_format="%.5f")
    upload(page, folder / "heart.csv")
    page.wait(lambda: "heart · 0:30 · 360 Hz" in page.text(), "what the table holds")
    analyse(page)
    assert "heart" in page.one("h1").text


def test_names_that_are_markdown_are_shown_as_they_are(
    page: Browser, records: Path, folder: Path
) -> None:
    lead = "![x](http://evil.example/b.png) $a$ :red[b] <b>c</b>"
    signal = wfdb.rdrecord(str(records / "101")).p_signal[:, 0]
    table = pd.DataFrame({"time": np.arange(len(signal)) / 360, lead: signal})
    path = folder / "$x$ `y` _z_ ~~w~~.csv"
    table.to_csv(path, index=False, float_format="%.5f")
    upload(page, path)
    page.wait(lambda: f"{path.stem} · 0:30 · 360 Hz · leads: {lead}" in page.text(), "the facts")
    analyse(page)
    assert page.one("h1").text == f"Record {path.stem}, lead {lead}, 0:30"
    sources = "return [...document.querySelectorAll('img')].map(each => each.src)"
    assert not [each for each in page.driver.execute_script(sources) if "evil" in each]


def test_a_broken_archive_is_refused_in_a_sentence(page: Browser, folder: Path) -> None:
    broken = folder / "broken.zip"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("100.hea", "100 1 360 1000\n")
    broken.write_bytes(packed.getvalue()[:-20])
    upload(page, broken)
    page.wait(lambda: T("bad_recording") in page.text(), "the error")
    assert "Traceback" not in page.text()
    assert not page.all(".st-key-analyse button")


def test_a_flat_signal_is_refused_in_a_sentence(page: Browser, folder: Path) -> None:
    (folder / "flat.csv").write_text("MLII\n" + "0\n" * 36_000)
    upload(page, folder / "flat.csv")
    page.one(".st-key-csv_fs input").send_keys("360\n")
    page.wait(lambda: "flat · 1:40 · 360 Hz" in page.text(), "what the table holds")
    page.click(".st-key-analyse button")
    page.wait(lambda: T("bad_recording") in page.text(), "the error")
    page.settle()
    assert T("stage_read") not in page.text()
    assert [path.name for path in (folder / "tmp").iterdir() if "upload" in path.name] == []


def test_another_kind_of_file_is_refused_in_the_language_of_the_page(
    page: Browser, url: str, folder: Path
) -> None:
    spanish = Translator("es")
    page.driver.get(f"{url}/?lang=es")
    (folder / "letter.pdf").write_bytes(b"%PDF")
    page.wait(lambda: page.all(".st-key-source button"), "the sources")[1].click()
    page.wait(
        lambda: page.driver.find_elements("css selector", ".st-key-upload input[type=file]"),
        "the uploader",
    )[0].send_keys(str(folder / "letter.pdf"))
    page.one(".stFileChip")
    said = page.driver.execute_script(
        "return getComputedStyle(document.querySelector('.stFileChip'), '::after').content"
    )
    assert said.strip('"') == spanish("upload_refused", limit=MAX_UPLOAD_MB)
    assert "not allowed" not in page.text()  # Streamlit's own words


def test_the_language_is_switched_and_nothing_stays_behind(page: Browser) -> None:

    analyse(page)
    page.click(".st-key-gradcam label")
    page.one("[class*=st-key-target] input")
    page.click("summary")  # the choice of a recording
    page.one(".st-key-group_en input")
    page.settle()
    for button in page.all(".st-key-language button"):
        if button.text == "Español":
            button.click()
    spanish = Translator("es")
    page.wait(lambda: spanish("burden") in page.text(), "Spanish")
    page.settle()
    fields = page.driver.execute_script(
        "return [...document.querySelectorAll('input')].map(each => each.value)"
    )
    assert any(spanish("group_synthetic") in each for each in fields)
    lines = {line.strip() for line in [*page.text().splitlines(), *fields]}
    lines |= {line[2:] for line in lines}  # without a class's letter
    own = {text.es for text in read_texts().values()}
    assert sorted(lines & ({text.en for text in read_texts().values()} - own)) == []
    assert "lang=es" in page.driver.current_url
    page.driver.get(page.driver.current_url.replace("/?", "/technical?"))
    page.wait(lambda: spanish("limits_title") in page.text(), "the technical report")
    assert spanish("no_results").split("`")[0] in page.text()


def test_moving_about_is_quick_and_sessions_are_apart(
    page: Browser, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    analyse(page)
    seconds = []
    for _ in range(5):
        before = _beat(page)
        start = time.perf_counter()
        page.click(".st-key-next_abnormal button")
        page.wait(lambda before=before: _beat(page) not in ("", before))
        seconds.append(time.perf_counter() - start)
    with capsys.disabled():
        print(f" [next abnormal beat: median {1000 * float(np.median(seconds)):.0f} ms]", end="")
    # A new session knows nothing of the other's recording.
    page.driver.switch_to.new_window("tab")
    page.driver.get(f"{url}/?lang=en")
    page.wait(lambda: T("nothing_chosen") in page.text(), "a fresh session")
    page.driver.close()
    page.driver.switch_to.window(page.driver.window_handles[0])
