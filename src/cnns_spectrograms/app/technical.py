"""The technical report: data, method, and what the runs of this project measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from cnns_spectrograms.app import resources
from cnns_spectrograms.app.figure_parts import Figure
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
from cnns_spectrograms.presentation import Theme, Translator, choose_theme

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

_STATIC = {"displayModeBar": False, "staticPlot": False, "scrollZoom": False}


def _theme() -> Theme:
    return choose_theme(st.context.theme.type)


def _plot(figure: Figure, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, config=_STATIC, theme=None, alt=alt)


def show(t: Translator) -> None:
    """Show the page."""
    st.title(t("page_technical"), anchor=False)
    st.caption(t("disclaimer"))
    runs = find_results(read_settings().data)
    run = _choose_run(runs, t)
    _show_model(t)
    _show_data(run, t)
    _show_method(t)
    _show_results(run, t)
    _show_tracked(t)
    _show_experiments(t)
    st.header(t("limits_title"), anchor=False)
    st.markdown(t("limits"))


def _choose_run(runs: list[RunResults], t: Translator) -> RunResults | None:
    if not runs:
        return None
    if len(runs) == 1:
        run = runs[0]
    else:
        by_folder = {str(each.folder): each for each in runs}
        folder = st.segmented_control(
            t("environment"),
            list(by_folder),
            default=next(iter(by_folder)),
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
    st.table(_describe_model(model, t))
    if model.card:
        with st.expander(t("model_card")):
            st.markdown(model.card.replace("# ", "#### ", 1))


def _describe_model(model: BeatModel, t: Translator) -> pd.DataFrame:
    spectrogram = model.spectrogram
    facts = {
        t("fact_network"): escape_markdown(model.name),
        t("fact_parameters"): t.number(model.description["n_parameters"]),
        t("fact_image"): f"{spectrogram.image_size} × {spectrogram.image_size} px, "
        + t("channels", n=spectrogram.n_channels),
        t("fact_window"): t(
            "window_value", s=t.number(model.n_samples / model.fs, 1), fs=t.number(model.fs)
        ),
        t("fact_stft"): t(
            "stft_value",
            nperseg=spectrogram.nperseg,
            noverlap=spectrogram.noverlap,
            limit=t.number(spectrogram.max_frequency_hz),
        ),
        t("fact_rr"): t("yes") if model.rr_intervals else t("no"),
        t("fact_val"): t.number(model.description.get("best_val_macro_f1"), 3),
        t("fact_fingerprint"): escape_markdown(model.fingerprint[:16]) or "–",
        t("fact_sha256"): model.sha256[:16],
    }
    return pd.DataFrame({t("fact"): list(facts), t("value"): list(facts.values())}).set_index(
        t("fact")
    )


def _show_data(run: RunResults | None, t: Translator) -> None:
    st.header(t("data_title"), anchor=False)
    st.markdown(t("data_text"))
    if run is None:
        st.info(t("no_results"))
        return
    if run.beats is not None:
        _plot(draw_class_counts(run.beats, _theme(), t), "class_counts", t("class_counts"))
        st.caption(t("class_counts"))
    rows = []
    for split in ("val", "test"):
        scores = run.models[0].metrics[split]
        rows.append(
            {
                t("split"): split,
                t("records"): t.number(scores["n_records"]),
                t("beats"): t.number(scores["n_beats"]),
                **{
                    name: t.number(scores["per_class"][name]["support"])
                    for name in AAMI_CLASSES
                    if name in scores["per_class"]
                },
            }
        )
    st.table(pd.DataFrame(rows).set_index(t("split")))
    st.caption(t("split_caption", protocol=escape_markdown(run.models[0].metrics["protocol"])))


def _show_method(t: Translator) -> None:
    st.header(t("method_title"), anchor=False)
    st.markdown(t("method"))


def _show_results(run: RunResults | None, t: Translator) -> None:
    st.header(t("results_title"), anchor=False)
    if run is None:
        st.info(t("no_results"))
        return
    st.caption(
        t(
            "results_caption",
            environment=_name_run(run, t),
            version=escape_markdown(run.version),
        )
    )
    st.table(_compare(run.models, t))
    theme = _theme()
    _plot(draw_intervals(run.models, theme, t), "intervals", t("intervals_caption"))
    st.caption(t("intervals_caption"))
    names = [model.name for model in run.models]
    name = st.segmented_control(
        t("model"),
        names,
        default=names[0],
        required=True,
        key=f"model_{run.folder}",
        format_func=escape_markdown,
    )
    model = run.models[names.index(str(name))]
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(t("confusion_title"), anchor=False)
        _plot(draw_confusion(model.metrics["test"], theme, t), "confusion", t("confusion_caption"))
        st.caption(t("confusion_caption"))
    with right:
        st.subheader(t("by_class_title"), anchor=False)
        st.table(_by_class(model, t))
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(t("calibration_title"), anchor=False)
        _show_calibration(model, t)
    with right:
        st.subheader(t("robustness_title"), anchor=False)
        _show_robustness(run.models, t)


def _compare(models: list[ModelResults], t: Translator) -> pd.DataFrame:
    """Return the headline scores of each model, and of several runs when each was measured."""
    several_runs = len({model.version for model in models}) > 1
    rows = [
        {
            t("model"): escape_markdown(model.name),
            **{
                _label(name, t): t.interval(value, *model.intervals.get(name, (None, None)))
                for name, value in model.scores.items()
            },
            **({t("measured"): escape_markdown(model.version)} if several_runs else {}),
        }
        for model in models
    ]
    return pd.DataFrame(rows).set_index(t("model"))


def _label(score: str, t: Translator) -> str:
    label = label_score(score, t.language)
    return label[0].upper() + label[1:]


def _by_class(model: ModelResults, t: Translator) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            t("class"): escape_markdown(name),
            **{_label(score, t): t.number(of_class.get(score), 3) for score in CLASS_SCORES},
            t("beats"): t.number(of_class["support"]),
        }
        for name, of_class in model.metrics["test"]["per_class"].items()
    ]
    return pd.DataFrame(rows).set_index(t("class"))


def _show_calibration(model: ModelResults, t: Translator) -> None:
    if model.calibration is None:
        st.info(t("no_calibration"))
        return
    _plot(draw_reliability(model.calibration, _theme(), t), "reliability", t("calibration_title"))
    before, after = model.calibration["before_temperature"], model.calibration["after_temperature"]
    st.caption(
        t(
            "calibration_caption",
            temperature=t.number(model.calibration["temperature"], 2),
            before=t.number(before["ece"], 3),
            after=t.number(after["ece"], 3),
        )
    )


def _show_robustness(models: list[ModelResults], t: Translator) -> None:
    tables = {each.name: each.robustness for each in models if each.robustness is not None}
    if not tables:
        st.info(t("no_robustness"))
        return
    _plot(draw_robustness(tables, _theme(), t), "robustness", t("robustness_title"))
    st.caption(t("robustness_caption"))


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
    scores = {name: name.split(".", 1) for name in runs.columns if "." in name}
    st.dataframe(
        pd.DataFrame(
            {
                t("started"): runs["started"].dt.strftime("%Y-%m-%d %H:%M"),
                t("environment"): runs["environment"],
                t("model"): runs["model"],
                t("status"): [t("status_" + each) for each in runs["status"]],
                **{
                    f"{_label(score, t)}, {split}": [t.number(value, 3) for value in runs[name]]
                    for name, (split, score) in scores.items()
                },
            }
        ),
        hide_index=True,
        key="tracked",
        alt=t("tracked_title"),
    )
    st.caption(t("tracked_caption", uri=uri))


def _show_experiments(t: Translator) -> None:
    path = find_project(read_settings().data) / "docs" / "experiments.md"
    if not path.is_file():
        return
    with st.expander(t("experiments_title")):
        st.markdown(path.read_text(encoding="utf-8").replace("# Experiments", "", 1))
