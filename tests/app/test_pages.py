"""The pages' logic, run by Streamlit's own test harness, in both languages."""

from __future__ import annotations

import dataclasses
import io
import json
import statistics
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from cnns_spectrograms.app.findings import call_beats, find_disagreements, find_ectopic_runs
from cnns_spectrograms.app.launch import MAIN, AppSettings
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.ecg.aami import PROBABILITIES
from cnns_spectrograms.ecg.simulation import simulate_database, simulate_record
from cnns_spectrograms.presentation import EN, LANGUAGES, Language, Translator, read_texts
from inference.models import rewrite_description

pytestmark = pytest.mark.usefixtures("app_settings")


def _start(language: Language) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    app.query_params["lang"] = language
    return app.run()


def _texts(app: AppTest) -> list[str]:
    kinds = ("title", "header", "subheader", "caption", "markdown", "info", "warning", "error")
    texts = [str(each.value) for kind in kinds for each in getattr(app, kind)]
    widgets = [*app.button, *app.selectbox, *app.toggle, *app.slider]
    return texts + [each.label for each in widgets]


def _foreign(app: AppTest, language: Language) -> list[str]:
    """Return what the page shows of the other language's catalogue."""
    other = {"es": "en", "en": "es"}[language]
    own = {getattr(text, language) for text in read_texts().values()}
    theirs = {getattr(text, other) for text in read_texts().values()} - own
    return [each for each in _texts(app) if each in theirs]


def _charts(app: AppTest) -> list[dict[str, Any]]:
    """Return what the page's charts are given besides their figures."""
    return [
        json.loads(each.proto.bytes.split(b', "figure": ')[0] + b"}")
        for each in app.get("bidi_component")
        if b'"alt"' in each.proto.bytes
    ]


def _csv(seconds: float, lead: str = "II") -> bytes:
    """Return a recording as a CSV file."""
    signal = simulate_record("mitdb", 2, seconds, seed=1).signal[:, 0]
    rows = [f"{i / 360:.6f},{value:.4f}" for i, value in enumerate(signal)]
    return "\n".join([f"time (s),{lead} (mV)", *rows]).encode()


def _upload(
    monkeypatch: pytest.MonkeyPatch, files: Mapping[str, bytes], language: Language = "en"
) -> AppTest:
    """Start the app with files uploaded, which Streamlit's harness cannot do."""
    uploads = []
    for name, content in files.items():
        upload = io.BytesIO(content)
        upload.name, upload.file_id = name, name  # type: ignore[attr-defined]
        uploads.append(upload)
    monkeypatch.setattr(st, "file_uploader", lambda *args, **options: uploads)
    return _start(language).segmented_control(key="source").set_value("upload").run()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sample_is_analysed_and_its_abnormal_beats_are_stepped_through(
    language: Language,
) -> None:
    t = Translator(language)
    app = _start(language)
    assert not app.exception
    assert app.title[0].value == t("page_clinical")
    assert app.selectbox(key=f"group_{language}").options == [t("group_synthetic")]
    app.button(key="analyse").click().run()
    assert not app.exception
    assert _foreign(app, language) == []
    assert t("disclaimer") in _texts(app)
    assert t("synthetic_recording") in _texts(app)
    study = app.session_state["study"]
    classes = study.beats["aami_class"].tolist()
    first = app.session_state["selected"]
    assert classes[first] != "N"
    app.button(key="next_abnormal").click().run()
    second = app.session_state["selected"]
    assert second > first
    assert classes[second] != "N"
    start, span = app.session_state["cursor"]
    assert start <= study.beats["time_s"][second] <= start + span
    app.button(key="previous_abnormal").click().run()
    assert app.session_state["selected"] == first
    assert not app.exception


def test_what_failed_in_one_recording_is_not_told_of_the_next() -> None:
    def status() -> str:
        (told,) = (each["editor"]["status"] for each in _charts(app) if each["editor"])
        return str(told)

    app = _start("en")
    app.button(key="analyse").click().run()
    app.session_state["correction_failed"] = "No space left on device"
    app.run()
    assert status() == EN("correction_failed", why="No space left on device")
    app.session_state["correction_refused"], app.session_state["at_end"] = "add_refused", True
    app.button(key="analyse").click().run()
    assert "No space left" not in status()
    assert [each.value for each in app.toast] == []
    assert not app.exception


def test_disagreements_with_the_reference_are_stepped_through() -> None:
    app = _start("en")
    app.button(key="analyse").click().run()
    study = app.session_state["study"]
    called = call_beats(study.beats, 0.5)
    found = find_disagreements(study.beats, called, study.reference, study.leads.fs)
    now = study.beats["time_s"][app.session_state["selected"]]
    later = found[found > now + 1e-3][0]
    app.button(key="next_disagreement").click().run()
    start, span = app.session_state["cursor"]
    assert start <= later <= start + span
    nearest = (study.beats["time_s"] - later).abs().idxmin()
    assert app.session_state["selected"] == nearest
    assert not app.exception


def test_recordings_of_one_name_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    simulate_database(tmp_path, "mitdb", 2, 20.0, seed=0)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in tmp_path.glob("10?.*"):
            archive.write(path, path.name)
        archive.writestr("100.csv", _csv(33))
    app = _upload(monkeypatch, {"three.zip": packed.getvalue()})
    assert not app.error
    which = app.selectbox(key="which")
    assert sorted(which.options) == ["100 (100.csv)", "100 (100.hea)", "101"]
    csv, hea = which.options.index("100 (100.csv)"), which.options.index("100 (100.hea)")
    for chosen, duration in [(csv, "0:33"), (hea, "0:20"), (csv, "0:33"), (hea, "0:20")]:
        app.selectbox(key="which").select_index(chosen).run()
        assert app.session_state["which"] == chosen
        facts = [each.value for each in app.markdown if "360 Hz" in each.value]
        assert [f"**100** · {duration} ·" in each for each in facts] == [True]
    app.button(key="analyse").click().run()
    assert app.title[0].value == "Record 100, lead MLII, 0:20"
    assert not app.exception


def test_the_rate_of_a_csv_in_a_zip_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mine.txt", "II\n" + "0.1\n0.2\n" * 2500)
    app = _upload(monkeypatch, {"mine.zip": packed.getvalue()})
    assert "give the sampling rate" in app.code[0].value
    app.number_input(key="csv_fs").set_value(250.0).run()
    assert not app.error
    assert any("**mine** · 0:20 ·" in each.value for each in app.markdown)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("n_views", [1, 3])
def test_grad_cam_says_for_which_view_its_times_hold(
    language: Language,
    n_views: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    app_settings: AppSettings,
) -> None:
    t = Translator(language)
    if n_views == 3:
        weights = _save_network_of_three_views(tmp_path / "three.safetensors")
        other = app_settings.model_copy(update={"model": weights})
        monkeypatch.setenv("CNNS_SPECTROGRAMS_APP", other.model_dump_json())
    app = _upload(monkeypatch, {"mine.csv": _csv(15)}, language)
    app.button(key="analyse").click().run()
    assert (t("synthetic_model") in _texts(app)) == (n_views == 3)
    app.session_state["selected"] = 3
    app.run()
    app.toggle(key="gradcam").set_value(True).run()
    views = t("gradcam_views", n=n_views)
    for target in range(5):
        app.selectbox(key=f"target_3_{language}").select_index(target).run()
        assert not app.exception
        shown = [each.value for each in app.caption]
        if t("gradcam_empty") not in shown:
            break
    assert (t("gradcam_caption") in shown, f"{t('gradcam_caption')} {views}" in shown) == (
        n_views == 1,
        n_views == 3,
    )
    alts = [each["alt"] for each in _charts(app)]
    assert (t("beat_alt") in alts, t("beat_alt_views") in alts) == (n_views == 1, n_views == 3)


def _save_network_of_three_views(path: Path) -> Path:
    """Write weights of a random network that looks at two further views."""
    from cnns_spectrograms.parameters import (
        ModelParameters,
        SpectrogramParameters,
        ViewParameters,
    )
    from cnns_spectrograms.training.networks import build_network, save_classifier

    short = ViewParameters(of="beat", window_s=1.25, nperseg=64, noverlap=32, max_frequency_hz=60.0)
    difference = short.model_copy(update={"of": "difference"})
    params = SpectrogramParameters(image_size=64, extra_views=(short, difference))
    network = build_network(ModelParameters(timm_name="mobilenetv3_small_050", pretrained=False))
    network.eval()
    save_classifier(
        network,
        path,
        {
            "spectrogram": params.model_dump(mode="json"),
            "fs": 360,
            "n_samples": 900,
            "highpass_hz": 0.5,
            "fingerprint": "e" * 64,
            "synthetic_data": True,
        },
    )
    return path


def test_a_network_without_stages_offers_no_grad_cam(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, app_settings: AppSettings
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(weights.read_bytes())
    rewrite_description(path, lambda description: description["graph"].update(stage_map=None))
    other = app_settings.model_copy(update={"model": path})
    monkeypatch.setenv("CNNS_SPECTROGRAMS_APP", other.model_dump_json())
    app = _upload(monkeypatch, {"mine.csv": _csv(15)})
    app.button(key="analyse").click().run()
    app.session_state["selected"] = 3
    app.session_state["gradcam"] = True  # left from another model
    app.run()
    assert not app.exception
    assert app.toggle(key="gradcam").disabled
    assert app.toggle(key="gradcam").help == Translator("en")("gradcam_absent")


def test_a_run_is_gone_to_whenever_its_row_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    # Streamlit's harness chooses no rows of a table. As in a browser, a choice is of one key.
    chosen: dict[str, int] = {}
    keys: list[str] = []

    def show_table(
        data: object, key: str, on_select: Callable[[], None], **options: object
    ) -> None:
        keys.append(key)
        if key in chosen:
            st.session_state[key] = {"selection": {"rows": [chosen.pop(key)]}}
            on_select()

    monkeypatch.setattr(st, "dataframe", show_table)
    app = _start("en")
    app.button(key="analyse").click().run()
    study = app.session_state["study"]

    def first_of(row: int, threshold: float) -> int:
        return int(find_ectopic_runs(study.beats, call_beats(study.beats, threshold))["first"][row])

    for _ in range(2):
        chosen[keys[-1]] = 0
        app.run()
        assert app.session_state["selected"] == first_of(0, 0.5)
        app.button(key="next_abnormal").click().run()
        assert app.session_state["selected"] != first_of(0, 0.5)  # and is not taken back
    here = app.session_state["selected"]
    app.slider(key="threshold").set_value(0).run()
    assert app.session_state["selected"] == here
    chosen[keys[-1]] = 0
    app.run()
    assert app.session_state["selected"] == first_of(0, 0.0)
    before = keys[-1]
    app.button(key="analyse").click().run()
    assert keys[-1] != before
    study = app.session_state["study"]
    chosen[keys[-1]] = 0
    app.run()
    assert app.session_state["selected"] == first_of(0, 0.0)
    assert not app.exception


def test_names_that_are_markdown_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    lead = "![x](http://evil.example/b.png) $a$ :red[b]"
    app = _upload(monkeypatch, {"$b$ _c_ `d`.csv": _csv(20, lead)})
    assert not app.error
    name, lead = escape_markdown("$b$ _c_ `d`"), escape_markdown(lead)
    facts = [each.value for each in app.markdown if "360 Hz" in each.value]
    assert facts == [f"**{name}** · 0:20 · 360 Hz · leads: {lead}"]
    app.button(key="analyse").click().run()
    assert not app.exception
    assert app.title[0].value == f"Record {name}, lead {lead}, 0:20"
    assert [each for each in _texts(app) if "![" in each or "$b$" in each] == []


def test_above_the_threshold_of_certainty_beats_are_not_called() -> None:
    app = _start("en")
    app.button(key="analyse").click().run()
    called = [app.metric[4].value]
    app.slider(key="threshold").set_value(95).run()
    called.append(app.metric[4].value)
    app.slider(key="threshold").set_value(0).run()
    assert app.metric[4].value == "0.0\xa0%"
    assert float(called[1].split()[0]) > float(called[0].split()[0])
    assert not app.exception


def test_the_position_of_a_short_recording_is_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app = _upload(monkeypatch, {"short.csv": _csv(11)})
    app.button(key="analyse").click().run()
    assert not app.exception
    start, span = app.session_state["cursor"]
    assert (start, round(span, 1)) == (0, 12.7)  # 25 mm/s on 1200 px
    bars = [each.proto.body for each in app.get("html") if 'class="position"' in each.proto.body]
    assert len(bars) == 1
    assert "margin-left:0.000%;width:100.000%" in bars[0]
    assert any("25 mm/s" in each.value for each in app.caption)


def test_zooming_and_moving_stay_within_the_recording() -> None:
    app = _start("en")
    app.button(key="analyse").click().run()
    duration = app.session_state["study"].leads.duration_s
    for key in ["zoom_out"] * 9 + ["forward", "zoom_in", "forward", "back", "back"]:
        app.button(key=key).click().run()
        start, span = app.session_state["cursor"]
        assert 0 <= start <= start + span <= duration + 1e-9
    assert span == pytest.approx(duration / 2)
    assert not app.exception


def test_scale_and_leads_are_as_they_were_after_a_visit_to_the_other_page() -> None:
    app = _start("en")
    app.button(key="analyse").click().run()
    app.segmented_control(key="scale_input").set_value("all").run()
    app.pills(key="lanes_1").set_value([]).run()
    for page in ("technical", "clinical"):  # Streamlit's harness follows no links of a navigation
        app._page_hash = calc_hash(page)
        app.run()
    duration_s = app.session_state["study"].leads.duration_s
    assert app.session_state["cursor"] == (0.0, duration_s)
    assert app.segmented_control(key="scale_input").value == "all"
    assert app.pills(key="lanes_1").value == []
    app.button(key="zoom_in").click().run()
    assert app.segmented_control(key="scale_input").value is None
    assert not app.exception


def test_without_weights_the_page_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, app_settings: AppSettings
) -> None:
    missing = app_settings.model_copy(update={"model": app_settings.data / "none.onnx"})
    monkeypatch.setenv("CNNS_SPECTROGRAMS_APP", missing.model_dump_json())
    app = _start("es")
    assert not app.exception
    assert Translator("es")("no_weights") in [each.value for each in app.error]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_technical_report_says_how_to_make_what_is_absent(
    language: Language, app_settings: AppSettings
) -> None:
    t = Translator(language)
    app = AppTest.from_function(_show_technical, args=(language,), default_timeout=120).run()
    assert not app.exception
    shown = [each.value for each in app.info]
    store = (app_settings.data.parent / "mlflow.db").resolve().as_posix()
    no_tracked = t("no_tracked", uri=escape_markdown(f"sqlite:///{store}"))
    assert shown == [t("no_results"), t("no_results"), no_tracked]
    assert _foreign(app, language) == []


def _show_technical(language: str) -> None:
    from cnns_spectrograms.app import technical
    from cnns_spectrograms.presentation import Translator

    technical.show(Translator(language))  # type: ignore[arg-type]


def test_the_heart_rate_is_that_of_the_median_interval() -> None:
    app = _start("en")
    app.button(key="analyse").click().run()
    rr_s = app.session_state["study"].beats["rr_s"].dropna().tolist()
    assert app.metric[1].label == "Median heart rate"
    assert app.metric[1].value == f"{60 / statistics.median(rr_s):.0f} bpm"


def test_beats_in_unusable_signal_are_in_no_number_unless_they_are_asked_for() -> None:
    app = _start("en")
    app.button(key="analyse").click().run()
    study = app.session_state["study"]
    beats = study.beats
    usable = np.arange(len(beats)) >= len(beats) // 2
    called = np.where(usable, "N", "V")
    noisy = beats.assign(usable=usable, aami_class=called, rr_s=np.where(usable, 1.0, 0.25))
    noisy[PROBABILITIES] = [
        [float(name == f"prob_{each}") for name in PROBABILITIES] for each in called
    ]
    analysis = dataclasses.replace(study.analysis, beats=noisy, unusable_s=[(0.0, 10.0)])
    app.session_state["study"] = dataclasses.replace(study, analysis=analysis)
    app.run()
    shown = {metric.label: metric.value for metric in app.metric}
    assert (shown["Median heart rate"], shown["V burden"]) == ("60 bpm", "0.0\xa0%")
    assert f"Not counted: {(~usable).sum()} beats in unusable signal." in [
        caption.value for caption in app.caption
    ]
    # None of the beats that the table of counted beats calls unclassified is one of them.
    rows = app.table[0].value.index.tolist()
    assert rows[-1] == f"○ ? – {EN('below_threshold')}"
    assert rows[2] == f"■ V – {EN('class_V')}"
    app.toggle(key="count_unusable").set_value(True).run()
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["V burden"] == f"{100 * (~usable).mean():.1f}\xa0%"
