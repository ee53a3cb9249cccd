"""The report: whole, alone, readable by a parser, and right about what is absent."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.evaluation.bootstrap import bootstrap_scores
from cnns_spectrograms.evaluation.calibration import (
    OPERATING_POINTS,
    apply_operating_point,
    calibration_by_record,
    fit_operating_points,
    measure_calibration,
)
from cnns_spectrograms.evaluation.ec57 import (
    annotate_predictions,
    compare_annotations,
    make_annotations,
    summarise_ec57,
)
from cnns_spectrograms.evaluation.metrics import evaluate_predictions, per_record_table
from cnns_spectrograms.evaluation.report import DS2_RECORDS, read_literature, write_report
from cnns_spectrograms.evaluation.scores import CLASS_SCORES, pick_headline
from cnns_spectrograms.parameters import (
    ReportingParameters,
    RobustnessParameters,
    SplitParameters,
    SubsetParameters,
)

CLASSES = [*"NSVFQ"]
PNG = b"\x89PNG not a real one"
SPLIT = SplitParameters(
    protocol="of the test",
    records={
        "mitdb": {"train": ["100"], "val": ["101"], "test": ["102", "103"], "unused": ["104"]}
    },
)
SUBSETS = {
    "ds2": SubsetParameters(
        databases=["mitdb"], without={"mitdb": ["103"]}, classes=["N", "S", "V", "F"]
    ),
    "svdb": SubsetParameters(databases=["svdb"]),
}
EMPTY_TAGS = {"meta", "img", "br", "link"}


class Checker(HTMLParser):
    """Collects what is opened and never closed, what is loaded, and where links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        values = dict(attributes)
        self.sources += [values[key] for key in ("src",) if key in values]
        self.links += [values["href"]] if "href" in values else []
        self.ids += [values["id"]] if "id" in values else []
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)


def make_predictions(seed: int, classes: str = "NSVFQ") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = 120
    truth = np.resize([*classes], n)
    logits = rng.normal(size=(n, 5)) + 1.5 * np.eye(5)[[CLASSES.index(k) for k in truth]]
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    records = np.repeat(["101", "102", "103"], 40)
    return pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(n)],
            "split": np.where(records == "101", "val", "test"),
            "db": "mitdb",
            "record_id": records,
            "patient_id": records,
            "beat_idx": np.tile(np.arange(40), 3),
            "lead_idx": 0,
            "sample": np.tile(np.arange(40) * 300, 3),
            "aami_class": truth,
            "predicted": np.array(CLASSES)[probability.argmax(1)],
            **{f"prob_{name}": probability[:, k] for k, name in enumerate(CLASSES)},
        }
    )


def make_items(predictions: pd.DataFrame) -> dict:
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    first = test[test["record_id"] == "102"].reset_index(drop=True)
    locked = fit_operating_points(predictions[predictions["split"] == "val"])
    references = {
        f"mitdb/{record}": make_annotations(rows["sample"], rows["aami_class"].to_numpy(str))
        for record, rows in test.groupby("record_id")
    }
    matrices = {
        key: compare_annotations(references[key], found, fs=360, learning_period_s=0)
        for key, found in annotate_predictions(test, references).items()
    }
    points = {}
    for name in OPERATING_POINTS:
        scores = evaluate_predictions(apply_operating_point(test, locked, name))
        points[name] = {
            "macro_f1_val": locked["points"][name]["macro_f1"],
            **pick_headline(scores),
            "f1": {k: row["f1"] for k, row in scores["per_class"].items()},
        }
    return {
        "metrics": {
            "windows": "beat",
            "inputs": "spectrograms of one lead, RR intervals",
            "test": evaluate_predictions(test),
            "subsets": {
                "ds2": evaluate_predictions(first),
                "svdb": {"left_out": "the test split holds no beat of it"},
            },
        },
        "intervals": {
            "test": bootstrap_scores(test, n_resamples=50),
            "ds2": bootstrap_scores(first, n_resamples=50),
        },
        "ec57_summary": {
            "test_annotations": "predictions",
            "learning_period_s": 0,
            **summarise_ec57(matrices),
        },
        "calibration": {
            "temperature": locked["temperature"],
            "before_temperature": measure_calibration(test),
            "after_temperature": measure_calibration(test),
            "by_record": calibration_by_record(test).to_dict("records"),
            "operating_points": points,
        },
        "errors_by_record": per_record_table(test),
        **dict.fromkeys(
            ("confusion_matrix", "learning_curves", "rank_curves", "reliability", "examples"), PNG
        ),
    }


def render(
    models: dict,
    *,
    synthetic: bool = False,
    robustness: RobustnessParameters | None = None,
    windows: pd.DataFrame | None = None,
    subsets: dict[str, SubsetParameters] = SUBSETS,
) -> str:
    made = pd.concat(
        [
            make_predictions(0)[["split", "db", "record_id", "patient_id", "aami_class"]],
            pd.DataFrame(
                {
                    "split": "train",
                    "db": "mitdb",
                    "record_id": "100",
                    "patient_id": "100",
                    "aami_class": ["N"] * 1234,
                }
            ),
        ]
    )
    made = pd.concat([made.assign(lead_idx=0), made.assign(lead_idx=1)])
    names = ["comparison", "class_distribution", "contact_sheet"]
    names += ["robustness"] if robustness else []
    return write_report(
        made if windows is None else windows,
        SPLIT,
        ReportingParameters(
            subsets=subsets,
            n_resamples=100,
            synthetic_data=synthetic,
            robustness=robustness or RobustnessParameters(),
        ),
        comparison=pd.DataFrame({"model": list(models)}),
        paired_differences=pd.DataFrame(
            {
                "first": ["a"],
                "second": ["b"],
                "score": ["macro_f1"],
                "difference": [0.125],
                "low": [-0.25],
                "high": [0.5],
                "share_above_zero": [0.75],
            }
        ),
        **{f"{name}.": PNG for name in names},
        **{f"{item}.{model}": value for model in models for item, value in models[model].items()},
    )


def check(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def text_of(html: str) -> str:
    return " ".join(" ".join(check(html).text).split())


@pytest.fixture(scope="module")
def items() -> dict:
    return make_items(make_predictions(0))


def test_it_is_whole_and_needs_nothing_else(items) -> None:
    found = check(render({"a": items, "b": items}))
    assert len(found.sources) == 3 + 2 * 5
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    assert {link for link in found.links if not link.startswith("#")} == set()
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_it_holds_what_the_models_scored(items) -> None:
    text = text_of(render({"a": items}))
    scores = items["intervals"]["test"]["scores"]
    macro = scores["macro_f1"]
    assert f"{macro['estimate']:.3f} [{macro['low']:.2f}, {macro['high']:.2f}]" in text
    gross = items["ec57_summary"]["gross"]["VEB"]["Se"]
    assert f"VEB sensitivity {gross:.4f}" in text
    assert "0.125 [-0.25, 0.50]" in text
    assert "mitdb: 102, 103" in text
    assert "1,234" in text
    assert "mitdb 102" in text
    for word in ("Intended use", "Limits", "Ethics", "Licence", "Not a medical device"):
        assert word in text


def test_parts_of_test_say_what_they_are_or_why_they_are_not(items) -> None:
    text = text_of(render({"a": items}))
    assert "the test records of mitdb without mitdb 103, beats of N, S, V, F" in text
    assert "svdb (the test records of svdb) is left out: the test split holds no beat of it" in text
    # The whole test split has two patients, ds2 one of them.
    assert text.count("one patient: no interval can be given") == 1
    assert "2 patients: percentile intervals from so few" in text


def test_every_published_result_stands_with_its_protocol(items) -> None:
    text = text_of(render({"a": items}))
    for result in read_literature().itertuples():
        assert result.protocol
        assert f"{result.source} {result.protocol}" in text


def test_synthetic_data_are_called_so(items) -> None:
    assert "Synthetic data." not in text_of(render({"a": items}))
    text = text_of(render({"a": items}, synthetic=True))
    assert "Synthetic data." in text
    assert "but simulated recordings" in text


def test_an_absent_class_has_a_dash_and_no_nan() -> None:
    html = render({"a": make_items(make_predictions(1, "NSV"))})
    assert not re.search(r"\bnan\b", html, re.IGNORECASE)
    assert f"F 0 0{' –' * len(CLASS_SCORES)} absent" in text_of(html)


def test_ec57_that_could_not_be_had_says_why(items) -> None:
    left_out = {**items, "ec57_summary": {"left_out": "no annotation file <x>"}}
    html = render({"a": left_out})
    assert "Left out: no annotation file &lt;x&gt;" in html


def test_robustness_is_shown_where_it_was_run(items) -> None:
    assert "kedro run --pipelines=robustness" in text_of(render({"a": items}))
    table = pd.DataFrame(
        {
            "condition": ["clean", "ma"],
            "snr_db": [np.nan, -6.0],
            "n_records": [2, 2],
            "n_beats": [80, 80],
            **{name: [0.5, 0.25] for name in ("macro_f1", "accuracy", "kappa")},
            **{f"f1_{name}": [0.5, np.nan] for name in CLASSES},
        }
    )
    whole = RobustnessParameters()
    text = text_of(render({"a": {**items, "robustness": table}}, robustness=whole))
    assert "ma -6 2 80 0.250 0.250 0.250 – – – – –" in text
    assert "clean – 2 80 0.500" in text
    assert "not of the whole test split" not in text
    some = RobustnessParameters(records={"mitdb": ["103", "213"], "svdb": ["806"]})
    html = render({"a": {**items, "robustness": table}}, robustness=some)
    assert "of mitdb 103, 213 and svdb 806, not of the whole test split" in text_of(html)


def make_windows(records: dict[str, list[str]]) -> pd.DataFrame:
    """A window of test in each of these records."""
    rows = [(db, record) for db, names in records.items() for record in names]
    table = pd.DataFrame(rows, columns=["db", "record_id"])
    return table.assign(split="test", patient_id=table["record_id"], aami_class="N", lead_idx=0)


def test_only_databases_that_were_used_are_described(items) -> None:
    text = text_of(render({"a": items}, windows=make_windows({"svdb": ["800"]})))
    assert "svdb: MIT-BIH Supraventricular Arrhythmia Database" in text
    assert "In svdb it is not known" in text
    assert "Boston" not in text
    text = text_of(render({"a": items}, windows=make_windows({"mitdb": ["100"], "own": ["p1"]})))
    assert "47 people, Boston" in text
    assert "own: not described here; see its own source." in text
    assert "In svdb it is not known" not in text
    assert "The recordings of mitdb are de-identified" in text
    assert "Data: see each database" in text


def test_only_all_of_ds2_is_set_beside_results_on_ds2(items) -> None:
    paced = ["102", "104", "107", "217"]
    subset = SubsetParameters(databases=["mitdb"], without={"mitdb": paced}, classes=[*"NSVF"])
    subsets = {**SUBSETS, "ds2": subset}
    ds2 = sorted(DS2_RECORDS)
    assert len(ds2) == 22
    beside = "this run, a of the test: the test records of mitdb"
    limit = "Of DS2's 1,837 S beats 1,382 are in record 232"
    for records, said in ((ds2, True), ([*ds2, "107", "217"], True), (ds2[1:], False)):
        windows = make_windows({"mitdb": records})
        text = text_of(render({"a": items}, windows=windows, subsets=subsets))
        assert (beside in text) is said
        assert (limit in text) is said
        assert "this run, a of the test: the whole test split" in text


def test_sliding_windows_are_not_called_beats(items) -> None:
    assert "One prediction per reference beat." in text_of(render({"a": items}))
    sliding = {**items, "metrics": {**items["metrics"], "windows": "sliding"}}
    text = text_of(render({"a": sliding}))
    assert "One prediction per reference beat." not in text
    assert "One prediction per window that slides over the recording." in text
    assert "80 windows" in text
    assert "class windows patients" in text
    assert "the whole test split, sliding windows" in text
    assert "Errors of a beat detector" not in text


def test_a_name_cannot_break_the_page(items) -> None:
    check(render({"<b>&": items}))
