"""The report of a run: one HTML file with its figures inside, which needs no network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.scores import (
    CLASS_SCORES,
    HEADLINE_SCORES,
    OVERALL_SCORES,
    label_score,
    list_headline,
)
from cnns_spectrograms.parameters import (
    SPLITS,
    ReportingParameters,
    SplitParameters,
    SubsetParameters,
)
from cnns_spectrograms.presentation import EN, render_page
from cnns_spectrograms.provenance import name_command

N_WORST_RECORDS = 10
LITERATURE_SUBSET = "ds2"
"""The subset whose protocol is that of most published results, where it holds all of DS2."""

DS2_RECORDS = frozenset((
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
    "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234",
))  # fmt: skip
"""Records of mitdb that most published results test on (de Chazal 2004)."""

_DATABASES = {
    "mitdb": "MIT-BIH Arrhythmia Database (doi:10.13026/C2F305; Moody and Mark 2001), 48 half "
    "hours of 47 people, Boston, 1975 to 1979",
    "svdb": "MIT-BIH Supraventricular Arrhythmia Database (doi:10.13026/C2V30W; Greenwald 1990), "
    "78 half hours",
}


def write_report(
    windows: pd.DataFrame,
    split: SplitParameters,
    reporting: ReportingParameters,
    comparison: pd.DataFrame,
    paired_differences: pd.DataFrame,
    **items: Any,
) -> str:
    """Return the report as HTML.

    Args:
        windows: the `windows` table: who is in which split.
        split: the protocol.
        reporting: subsets, intervals, and whether the data are synthetic.
        comparison: what `compare_models` returns; models are shown in its order.
        paired_differences: first, second, score, difference, low, high, share_above_zero.
        items: as ``<item>.<model>`` of each model metrics, intervals, ec57_summary, calibration,
            errors_by_record, the PNGs confusion_matrix, learning_curves, rank_curves, reliability
            and examples, and robustness (a table) where it was run; and as ``<figure>.`` the PNGs
            of all models: comparison, class_distribution, contact_sheet, and robustness likewise.
    """
    by_model: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in items.items():
        item, model = key.split(".", 1)
        by_model[model][item] = value
    models = {model: by_model[model] for model in comparison["model"].astype(str)}
    splits = _describe_splits(windows)
    sliding = next(iter(models.values()))["metrics"]["windows"] == "sliding"
    tested = set(splits[-1]["records"].get("mitdb", []))
    databases = sorted(windows["db"].astype(str).unique())
    return render_page(
        Path(__file__).with_name("report.html.j2"),
        EN,
        protocol=split.protocol,
        synthetic=reporting.synthetic_data,
        classes=AAMI_CLASSES,
        overall_scores=OVERALL_SCORES,
        class_scores=CLASS_SCORES,
        headline=list_headline(),
        label=label_score,
        splits=splits,
        databases=databases,
        described_databases={name: _DATABASES[name] for name in databases if name in _DATABASES},
        unused={db: parts.get("unused", []) for db, parts in split.records.items()},
        n_resamples=reporting.n_resamples,
        subsets={name: _describe(part) for name, part in reporting.subsets.items() if part},
        comparison=comparison.to_dict("records"),
        paired=paired_differences[paired_differences["score"].isin(HEADLINE_SCORES)]
        .rename(columns={"difference": "estimate"})
        .to_dict("records"),
        figures=by_model[""],
        models=models,
        n_worst=N_WORST_RECORDS,
        worst={
            model: items["errors_by_record"].head(N_WORST_RECORDS).to_dict("records")
            for model, items in models.items()
        },
        robustness={
            model: items["robustness"].to_dict("records")
            for model, items in models.items()
            if "robustness" in items
        },
        robustness_command=name_command("--pipelines=robustness"),
        stressed_records=_list_records(reporting.robustness.records or {}),
        published=read_literature().to_dict("records"),
        sliding=sliding,
        literature_subset=None if sliding else _find_literature_subset(reporting, tested),
    )


def read_literature() -> pd.DataFrame:
    """Return published results, one per row, to compare ours with; NaN where one was not given.

    Scores under different protocols cannot be compared, so no entry goes without its own.

    Returns:
        source (authors and year, and what the method uses beyond one beat's shape), protocol (what
        was trained and tested on), accuracy over all beats, the F1 of N, S, V, F and Q, macro_f1
        (mean of the F1 of the classes named in protocol or note) and note (how to read it).
    """
    table = pd.read_csv(Path(__file__).with_name("literature.csv"))
    return table.fillna({"note": ""})


def _find_literature_subset(reporting: ReportingParameters, tested: set[str]) -> str | None:
    """Return the name of the subset that is DS2; None where this run does not test on all of it."""
    subset = reporting.subsets.get(LITERATURE_SUBSET)
    if subset is None or subset.databases != ["mitdb"]:
        return None
    is_ds2 = tested - set(subset.without.get("mitdb", [])) == DS2_RECORDS
    return LITERATURE_SUBSET if is_ds2 else None


def _describe_splits(windows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each split its records by database, patients and beats by class."""
    described = []
    for name in SPLITS:
        once = (windows["split"] == name) & (windows["lead_idx"] == 0)  # each lead repeats them
        rows = windows[once].astype({"db": str, "record_id": str})
        records = {db: sorted(each.unique()) for db, each in rows.groupby("db")["record_id"]}
        counts = rows["aami_class"].value_counts()
        described.append(
            {
                "name": name,
                "records": records,
                "n_records": sum(map(len, records.values())),
                "n_patients": int(rows["patient_id"].nunique()),
                "n_beats": len(rows),
                "beats": {each: int(counts.get(each, 0)) for each in AAMI_CLASSES},
            }
        )
    return described


def _describe(subset: SubsetParameters) -> str:
    """Return in words what a part of test holds."""
    text = "the test records of " + " and ".join(subset.databases)
    if left := _list_records(subset.without):
        text += " without " + left
    if subset.classes is not None:
        text += ", beats of " + ", ".join(subset.classes) + " called one of these"
    return text


def _list_records(records: Mapping[str, Sequence[str]]) -> str:
    """Return `mitdb 103, 213 and svdb 806`."""
    return " and ".join(f"{db} {', '.join(ids)}" for db, ids in records.items() if ids)
