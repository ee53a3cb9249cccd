"""The technical report: data, method, and what the runs of this project measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from cnns_spectrograms.app import resources
from cnns_spectrograms.app.figure_parts import CONFIG, Figure
from cnns_spectrograms.app.launch import read_settings
from cnns_spectrograms.app.run_results import (
    ENVIRONMENTS,
    ModelResults,
    RunResults,
    find_project,
    find_results,
    find_tracking_of,
    list_tracked_runs,
)
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.app.technical_figures import (
    draw_class_counts,
    draw_confusion,
    draw_intervals,
    draw_reliability,
    draw_robustness,
)
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.scores import CLASS_SCORES, label_score
from cnns_spectrograms.parameters import TransformParameters
from cnns_spectrograms.presentation import Translator


def _plot(
    draw: Callable[[Any, Translator], Figure],
    data: Any,
    key: str,
    alt: str,
    t: Translator,
    caption: str = "",
) -> None:
    st.plotly_chart(draw(data, t), key=key, config=CONFIG, theme=None, alt=alt)
    st.caption(caption or alt)


def show(t: Translator) -> None:
    """Show the page."""
    st.title(t("page_technical"), anchor=False)
    st.caption(t("disclaimer"))
    runs = find_results(read_settings().data)
    run = _choose_run(runs, t)
    _show_model(t)
    _show_data(run, t)
    st.header(t("method_title"), anchor=False)
    st.markdown(t("method"))
    _show_results(run, t)
    _show_tracked(t)
    _show_experiments(t)
    st.header(t("limits_title"), anchor=False)
    st.markdown(t("limits"))


def _choose_run(runs: list[RunResults], t: Translator) -> RunResults | None:
    if not runs:
        return None
    run = runs[0]
    if len(runs) > 1:
        by_folder = {str(each.folder): each for each in runs}
        folder = st.segmented_control(
            t("environment"),
            list(by_folder),
            default=str(run.folder),
            required=True,
            key="environment",
            format_func=lambda each: _name_run(by_folder[each], t),
        )
        run = by_folder[str(folder)]
    if run.synthetic:
        st.warning(t("synthetic_run"), icon=":material/science:")
    return run


def _name_run(run: RunResults, t: Translator) -> str:
    """Return what a run is called: by its environment or protocol, and its folder if another."""
    known = run.environment in ENVIRONMENTS
    name = t("environment_" + run.environment) if known else escape_markdown(run.environment)
    folder = run.folder.name
    own = folder == run.environment or run.folder == read_settings().data
    return name if own else f"{name} ({escape_markdown(folder)})"


def _show_model(t: Translator) -> None:
    st.header(t("model_in_use"), anchor=False)
    model = resources.find_model(t)
    if model is None:
        return
    image, window_s = model.spectrogram, t.number(model.n_samples / model.fs, 1)
    channels = t("channels", n=image.n_channels)
    transform, value = describe_transform(image, t)
    facts = {
        t("fact_network"): escape_markdown(model.name),
        t("fact_parameters"): t.number(model.description["n_parameters"]),
        t("fact_image"): f"{image.image_size} × {image.image_size} px, {channels}",
        t("fact_window"): t("window_value", s=window_s, fs=t.number(model.fs)),
        transform: escape_markdown(value),
        t("fact_rr"): t("yes" if model.rr_intervals else "no"),
        t("fact_val"): t.number(model.description.get("best_val_macro_f1"), 3),
        t("fact_fingerprint"): escape_markdown(model.fingerprint[:16]) or "–",
        t("fact_sha256"): model.sha256[:16],
    }
    _tabulate([{t("fact"): fact, t("value"): value} for fact, value in facts.items()])
    if model.card:
        with st.expander(t("model_card")):
            st.markdown(model.card.replace("# ", "#### ", 1))


def describe_transform(image: TransformParameters, t: Translator) -> tuple[str, str]:
    """Return the name of a transform, and its settings, in words."""
    limit = t.number(image.max_frequency_hz)
    if image.kind == "stft":
        value = t("stft_value", nperseg=image.nperseg, noverlap=image.noverlap, limit=limit)
        return t("fact_stft"), value
    # Whatever it makes of nperseg and noverlap.
    return t("fact_transform"), f"{image.kind}, {t('up_to_hz', limit=limit)}"


def _tabulate(rows: list[dict[str, Any]]) -> None:
    """Show a table, whose first column names the rows."""
    table = pd.DataFrame(rows)
    st.table(table.set_index(table.columns[0]))


def _show_data(run: RunResults | None, t: Translator) -> None:
    st.header(t("data_title"), anchor=False)
    st.markdown(t("data_text"))
    if run is None:
        st.info(t("no_results"))
        return
    if run.beats is not None:
        _plot(draw_class_counts, run.beats, "class_counts", t("class_counts"), t)
    rows = []
    for split in ("val", "test"):
        scores = run.models[0].metrics[split]
        of_class = scores["per_class"]
        supports = {
            name: t.number(of_class[name]["support"]) for name in AAMI_CLASSES if name in of_class
        }
        records, beats = t.number(scores["n_records"]), t.number(scores["n_beats"])
        rows.append({t("split"): split, t("records"): records, t("beats"): beats, **supports})
    _tabulate(rows)
    caption = t("split_caption", protocol=escape_markdown(run.protocol))
    st.caption(f"{caption} {t('split_of_base')}" if run.protocol == "base" else caption)


def _show_results(run: RunResults | None, t: Translator) -> None:
    st.header(t("results_title"), anchor=False)
    if run is None:
        st.info(t("no_results"))
        return
    version = escape_markdown(run.version)
    st.caption(t("results_caption", environment=_name_run(run, t), version=version))
    _compare(run.models, t)
    _plot(draw_intervals, run.models, "intervals", t("intervals_caption"), t)
    by_name = {model.name: model for model in run.models}
    name = st.segmented_control(
        t("model"),
        list(by_name),
        default=run.models[0].name,
        required=True,
        key=f"model_{run.folder}",
        format_func=escape_markdown,
    )
    model = by_name[str(name)]
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(t("confusion_title"), anchor=False)
        scores = model.metrics["test"]
        _plot(draw_confusion, scores, "confusion", t("confusion_caption"), t)
    with right:
        st.subheader(t("by_class_title"), anchor=False)
        _show_classes(model, t)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(t("calibration_title"), anchor=False)
        _show_calibration(model, t)
    with right:
        st.subheader(t("robustness_title"), anchor=False)
        _show_robustness(run.models, t)


def _compare(models: list[ModelResults], t: Translator) -> None:
    """Show the headline scores of each model, and of several runs when each was measured."""
    several_runs = len({model.version for model in models}) > 1
    rows = []
    for model in models:
        row = {t("model"): escape_markdown(model.name)}
        for name, value in model.scores.items():
            row[_label(name, t)] = t.interval(value, *model.intervals.get(name, (None, None)))
        if several_runs:
            row[t("measured")] = escape_markdown(model.version)
        rows.append(row)
    _tabulate(rows)


def _label(score: str, t: Translator) -> str:
    label = label_score(score, t.language)
    return label[0].upper() + label[1:]


def _show_classes(model: ModelResults, t: Translator) -> None:
    rows = []
    for name, of_class in model.metrics["test"]["per_class"].items():
        scores = {_label(score, t): t.number(of_class.get(score), 3) for score in CLASS_SCORES}
        beats = t.number(of_class["support"])
        rows.append({t("class"): escape_markdown(name), **scores, t("beats"): beats})
    _tabulate(rows)


def _show_calibration(model: ModelResults, t: Translator) -> None:
    found = model.calibration
    if found is None:
        st.info(t("no_calibration"))
        return
    caption = t(
        "calibration_caption",
        temperature=t.number(found["temperature"], 2),
        before=t.number(found["before_temperature"]["ece"], 3),
        after=t.number(found["after_temperature"]["ece"], 3),
    )
    _plot(draw_reliability, found, "reliability", t("calibration_title"), t, caption)


def _show_robustness(models: list[ModelResults], t: Translator) -> None:
    tables = {each.name: each.robustness for each in models if each.robustness is not None}
    if not tables:
        st.info(t("no_robustness"))
        return
    alt, caption = t("robustness_title"), t("robustness_caption")
    _plot(draw_robustness, tables, "robustness", alt, t, caption)


@st.cache_data(ttl=60, show_spinner=False)
def _list_tracked(data: str) -> tuple[pd.DataFrame, str]:
    tracking = find_tracking_of(find_project(Path(data)))
    return list_tracked_runs(tracking), tracking.shown


def _show_tracked(t: Translator) -> None:
    st.header(t("tracked_title"), anchor=False)
    try:
        runs, uri = _list_tracked(str(read_settings().data))
    except ModuleNotFoundError:  # the app runs without Kedro and MLflow
        st.info(t("tracked_needs_extra"))
        return
    if runs.empty:
        st.info(t("no_tracked", uri=escape_markdown(uri)))
        return
    shown = {
        t("started"): runs["started"].dt.strftime("%Y-%m-%d %H:%M"),
        t("environment"): runs["environment"],
        t("model"): runs["model"],
        t("status"): [t("status_" + each) for each in runs["status"]],
    }
    for name in runs.columns[len(shown) :]:
        split, score = name.split(".", 1)
        shown[f"{_label(score, t)}, {split}"] = [t.number(value, 3) for value in runs[name]]
    st.dataframe(pd.DataFrame(shown), hide_index=True, key="tracked", alt=t("tracked_title"))
    st.caption(t("tracked_caption", uri=uri))


def _show_experiments(t: Translator) -> None:
    path = find_project(read_settings().data) / "docs" / "experiments.md"
    if not path.is_file():
        return
    with st.expander(t("experiments_title")):
        st.markdown(path.read_text(encoding="utf-8").replace("# Experiments", "", 1))
