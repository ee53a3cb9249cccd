"""Reporting: the nodes' numbers against scikit-learn, and what the figures are made from."""

from __future__ import annotations

import json
import re
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.evaluation.report import write_report
from cnns_spectrograms.parameters import (
    BalancingParameters,
    ModelParameters,
    ReportingParameters,
    SpectrogramParameters,
    SplitParameters,
    SubsetParameters,
)
from cnns_spectrograms.pipelines.reporting import (
    EXAMPLES_PER_CLASS,
    check_predictions,
    choose_operating_points,
    compare,
    compare_ec57,
    compare_pairs,
    draw_class_distribution,
    draw_contact_sheet,
    draw_examples,
    evaluate,
    evaluate_calibration,
    find_intervals,
)
from cnns_spectrograms.provenance import StampedSignals, settings, stamp_table
from kedro_project import ROOT

CLASSES = [*"NSVFQ"]
SPLIT = SplitParameters(
    protocol="demo", records={"mitdb": {"train": ["0"], "val": ["1"], "test": ["2", "3"]}}
)
MODEL = ModelParameters(timm_name="resnet50", pretrained=False)
REPORTING = ReportingParameters(synthetic_data=True)
HISTORY = pd.DataFrame(
    {
        "epoch": [0],
        "train_loss": [1.0],
        "val_loss": [1.0],
        "val_macro_f1": [0.3],
        "val_accuracy": [0.4],
        "learning_rate": [1e-3],
        "bad_batches": [0],
        "seconds": [1.0],
    }
)


def make_predictions(seed: int, classes: str = "NSVFQ") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(5), size=60)
    table = pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(60)],
            "split": ["val"] * 20 + ["test"] * 40,
            "db": "mitdb",
            "record_id": ["1"] * 20 + ["2"] * 20 + ["3"] * 20,
            "patient_id": ["1"] * 20 + ["2"] * 20 + ["3"] * 20,
            "beat_idx": [*range(20)] * 3,
            "lead_idx": 0,
            "sample": range(60),
            "aami_class": [*(np.tile([*classes], 60)[:60])],
            "predicted": np.array(CLASSES)[probabilities.argmax(axis=1)],
            **{f"prob_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)},
        }
    )
    return stamp_table(table, {"weights": f"{seed}" * 64})


def make_windows(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the windows that predictions are of, and one of train."""
    windows = predictions.drop(columns=["predicted", *(f"prob_{name}" for name in CLASSES)])
    train = windows.head(1).assign(row_id="t", split="train", record_id="0", patient_id="0")
    return pd.concat([train, windows], ignore_index=True).assign(n_samples=900)


def test_metrics_of_each_split_are_those_of_scikit_learn() -> None:
    predictions = make_predictions(0)
    metrics, text, errors, confusion, _, curves = evaluate(
        predictions, HISTORY, MODEL, SPLIT, REPORTING
    )
    for split in ("val", "test"):
        rows = predictions[predictions["split"] == split]
        truth, predicted = rows["aami_class"], rows["predicted"]
        assert metrics[split]["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
        assert metrics[split]["macro_f1"] == pytest.approx(
            f1_score(truth, predicted, average="macro", labels=CLASSES)
        )
    assert errors["n_beats"].sum() == 40
    assert "macro" in text
    assert text.startswith("Synthetic data")
    assert metrics["synthetic_data"] is True
    for figure in (confusion, curves):
        title = figure.get_suptitle() or figure.axes[0].get_title()
        assert title.startswith("synthetic data")
        assert "resnet50" in title


def test_sliding_windows_are_told_from_beats() -> None:
    predictions = make_predictions(0)
    sliding = predictions.assign(beat_idx=-1)
    for table, expected in ((predictions, "beat"), (sliding, "sliding")):
        metrics, *_ = evaluate(table, HISTORY, MODEL, SPLIT, REPORTING)
        assert metrics["windows"] == expected


@pytest.mark.parametrize(
    ("beat_idx", "place", "middle"),
    [([*range(20)] * 3, "beat ", "R peak"), (-1, "at 7.0 s", "middle of the window")],
)
def test_examples_say_where_their_windows_are(beat_idx, place: str, middle: str) -> None:
    predictions = make_predictions(0).assign(beat_idx=beat_idx, sample=7 * 360)
    windows = make_windows(predictions).assign(start=7 * 360 - 450, synthetic=False)
    signals = {f"mitdb/{record}": np.zeros(20 * 360, np.float32) for record in "0123"}
    spectrogram = SpectrogramParameters(image_size=32)
    records = pd.DataFrame({"fs": [360]})
    shared = (signals, {}, records, spectrogram)
    figure = draw_examples(predictions, windows, *shared, MODEL, SPLIT, REPORTING)
    assert figure.get_supxlabel() == f"time from the {middle}, s"
    captions = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert all(re.match(rf"mitdb [23] lead 1 {place}", caption) for caption in captions)
    smote = windows.head(1).assign(synthetic=True, db="AUG", record_id="smote", aami_class="F")
    smote["start"] = 0
    every = (windows, smote, signals, {"AUG/smote": np.zeros(900, np.float32)}, {})
    sheet = draw_contact_sheet(*every, records, spectrogram, REPORTING)
    titles = [axes.get_title() for axes in sheet.axes if axes.images]
    assert len(titles) == 2
    assert titles[0].startswith(f"N: mitdb 0 lead 1 {place}")
    assert titles[1] == "F: SMOTE (synthetic)"


def test_a_contact_sheet_opens_no_more_files_than_it_shows() -> None:
    """However many records there are: a system allows 256 open files, or 1,024."""

    class Opened(dict):
        def __getitem__(self, key):
            opened.add(key)
            return super().__getitem__(key)

    opened: set[str] = set()
    n = 50
    windows = make_windows(make_predictions(0)).head(1)
    windows = pd.concat([windows] * n, ignore_index=True).assign(start=0, synthetic=False)
    windows["record_id"] = [str(i) for i in range(n)]
    signals = Opened({f"mitdb/{i}": np.zeros(900, np.float32) for i in range(n)})
    shown = (pd.DataFrame({"fs": [360]}), SpectrogramParameters(image_size=32), REPORTING)
    draw_contact_sheet(windows, windows.head(0), {}, signals, {}, *shown)
    assert len(opened) == EXAMPLES_PER_CLASS


def test_a_missing_class_is_absent_not_failed() -> None:
    metrics, text, *_ = evaluate(make_predictions(1, "NSV"), HISTORY, MODEL, SPLIT, REPORTING)
    assert metrics["test"]["per_class"]["F"]["status"] == "absent"
    assert metrics["test"]["per_class"]["F"]["f1"] is None
    assert metrics["test"]["macro_f1_classes"] == [*"NSV"]
    assert "absent" in text


class TestCheck:
    """Predictions are scored beside the weights, windows and protocol that gave them."""

    SPECTROGRAM = SpectrogramParameters(image_size=32)
    READ: ClassVar = {"data": {"beats": "a" * 64}}
    CUT = READ | settings(split=SPLIT)
    MADE = CUT | settings(balancing=BalancingParameters())
    TRAINED = MADE | settings(spectrogram=SPECTROGRAM, model=MODEL) | {"weights": "b" * 64}

    def check(
        self,
        predictions,
        *,
        read=READ,
        signals=READ,
        cut=CUT,
        made=MADE,
        trained=TRAINED,
        predicted=TRAINED,
        **now,
    ):
        now = {"network": MODEL, "split": SPLIT, "spectrogram": self.SPECTROGRAM, **now}
        records, beats, smote = (stamp_table(pd.DataFrame(), each) for each in (read, read, made))
        return check_predictions(
            stamp_table(predictions, predicted),
            (None, {"made_of": trained}),
            records,
            beats,
            StampedSignals({}, signals),
            stamp_table(make_windows(predictions), cut),
            StampedSignals({}, signals),
            smote,
            **now,
        )

    def test_those_of_the_weights_and_windows_pass(self) -> None:
        predictions = make_predictions(2)
        by_lead, by_beat = self.check(predictions)
        assert by_lead is predictions
        assert by_beat is predictions  # of one lead
        tried = {**self.TRAINED, "tta_views": 4}
        assert self.check(predictions, predicted=tried)[0] is predictions

    def test_beats_have_the_mean_of_their_leads(self) -> None:
        first = make_predictions(2)
        second = first.assign(lead_idx=1, row_id="2" + first["row_id"].astype(str))
        second["prob_N"], second["prob_V"] = first["prob_V"], first["prob_N"]
        by_lead, by_beat = self.check(pd.concat([first, second], ignore_index=True))
        assert len(by_lead) == 2 * len(by_beat) == 2 * len(first)
        mean = (first["prob_N"] + first["prob_V"]) / 2
        np.testing.assert_allclose(by_beat["prob_N"], mean)
        np.testing.assert_allclose(by_beat["prob_V"], mean)

    def test_another_protocol_is_refused(self) -> None:
        lists = {"train": ["0"], "val": ["2"], "test": ["1", "3"]}
        swapped = SplitParameters(protocol="swapped", records={"mitdb": lists})
        found = r"windows is stale: split.records.mitdb.val is \['1'\] .* \['2'\] in the parameters"
        with pytest.raises(ValueError, match=found):
            self.check(make_predictions(2), split=swapped)
        now = {"cut": self.CUT | settings(split=swapped), "split": swapped}
        now["made"] = self.MADE | settings(split=swapped)
        with pytest.raises(ValueError, match=r"model is stale: .*engineering,balancing,modelling`"):
            self.check(make_predictions(2), **now)
        now["trained"] = self.TRAINED | settings(split=swapped)
        with pytest.raises(ValueError, match=r"predictions is stale: split.*Delete predictions"):
            self.check(make_predictions(2), **now)

    def test_other_weights_are_refused(self) -> None:
        found = r"weights is b+\.\.\. in predictions and c+\.\.\. in model"
        with pytest.raises(ValueError, match=found):
            self.check(make_predictions(2), trained=self.TRAINED | {"weights": "c" * 64})

    def test_what_was_made_since_is_refused(self) -> None:
        since = {"data": {"beats": "d" * 64}}
        now = {"read": since, "signals": since}
        with pytest.raises(ValueError, match=r"windows is stale: data.beats .* in records"):
            self.check(make_predictions(2), **now)
        with pytest.raises(ValueError, match=r"signals is stale: data.beats"):
            self.check(make_predictions(2), signals=since)
        now["cut"], now["made"] = self.CUT | since, self.MADE | since
        with pytest.raises(ValueError, match=r"model is stale: data.beats .*=modelling`"):
            self.check(make_predictions(2), **now)
        now["trained"] = self.TRAINED | since
        with pytest.raises(ValueError, match=r"predictions is stale: data.beats .*missing-outputs"):
            self.check(make_predictions(2), **now)

    def test_other_synthetic_windows_than_the_network_learnt_are_refused(self) -> None:
        made = self.CUT | settings(balancing=BalancingParameters(smote_factor=9))
        found = "model is stale: balancing.smote_factor is 5.0 in model and 9.0 in smote_windows"
        with pytest.raises(ValueError, match=re.escape(found)):
            self.check(make_predictions(2), made=made)

    def test_another_network_than_the_parameters_name_is_refused(self) -> None:
        """A report takes the network's name and inputs from its parameters."""
        renamed = MODEL.model_copy(update={"timm_name": "resnet18"})
        with pytest.raises(ValueError, match="timm_name is resnet50 in model and resnet18 in the"):
            self.check(make_predictions(2), network=renamed)
        pretrained = MODEL.model_copy(update={"pretrained": None})
        self.check(make_predictions(2), network=pretrained)  # which no report shows

    def test_other_spectrograms_than_the_network_saw_are_refused(self) -> None:
        larger = SpectrogramParameters(image_size=64)
        found = "spectrogram.image_size is 32 in model and 64 in the parameters"
        with pytest.raises(ValueError, match=re.escape(found)):
            self.check(make_predictions(2), spectrogram=larger)

    @pytest.mark.parametrize("name", ["read", "signals", "cut", "made", "trained", "predicted"])
    def test_what_says_nothing_of_its_making_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="carries no stamp"):
            self.check(make_predictions(2), **{name: {}})


def test_models_are_ranked_by_macro_f1_on_test() -> None:
    by_model = {
        name: evaluate(make_predictions(seed), HISTORY, MODEL, SPLIT, REPORTING)[0]
        for name, seed in (("a", 0), ("b", 1), ("c", 2))
    }
    comparison, _ = compare(SPLIT, REPORTING, **by_model)
    ranked = sorted(by_model, key=lambda name: -by_model[name]["test"]["macro_f1"])
    assert comparison["model"].tolist() == ranked


def test_class_distribution_counts_synthetic_windows_apart() -> None:
    windows = pd.DataFrame({"split": ["train", "train", "test"], "aami_class": ["F", "N", "N"]})
    synthetic = pd.DataFrame({"aami_class": ["F"] * 7})
    figure = draw_class_distribution(windows, synthetic, SPLIT, REPORTING)
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert written.count("7") == 1


def test_parts_of_test_are_scored_with_intervals() -> None:
    predictions = make_predictions(3)
    reporting = ReportingParameters(
        n_resamples=100,
        subsets={
            "without_3": SubsetParameters(databases=["mitdb"], without={"mitdb": ["3"]}),
            "nsv": SubsetParameters(databases=["mitdb"], classes=["N", "S", "V"]),
            "svdb": SubsetParameters(databases=["svdb"]),
            "off": None,
        },
    )
    metrics, *_ = evaluate(predictions, HISTORY, MODEL, SPLIT, reporting)
    subsets = metrics["subsets"]
    assert list(subsets) == ["without_3", "nsv", "svdb"]
    assert subsets["without_3"]["n_beats"] == 20
    intervals = find_intervals(predictions, reporting)
    assert list(intervals) == ["test", "without_3", "nsv"]
    assert intervals["without_3"]["scores"]["macro_f1"]["low"] is None  # one patient
    assert subsets["nsv"]["classes"] == ["N", "S", "V"]
    assert subsets["nsv"]["n_beats"] == 24
    score = intervals["nsv"]["scores"]["macro_f1"]
    assert score["estimate"] == pytest.approx(subsets["nsv"]["macro_f1"])
    assert score["low"] <= score["estimate"] <= score["high"]
    assert "no beat" in subsets["svdb"]["left_out"]
    assert intervals["test"]["n_patients"] == 2


def write_reference(folder, predictions: pd.DataFrame) -> None:
    """Write the test beats as the annotation files of a database at 360 Hz."""
    import wfdb

    symbol_of = {"N": "N", "S": "A", "V": "V", "F": "F", "Q": "Q"}
    (folder / "mitdb").mkdir(exist_ok=True)
    test = predictions[predictions["split"] == "test"]
    for record_id, rows in test.groupby("record_id"):
        wfdb.wrann(
            str(record_id),
            "atr",
            rows["sample"].to_numpy(),
            [symbol_of[name] for name in rows["aami_class"]],
            fs=360,
            write_dir=str(folder / "mitdb"),
        )


def make_beats(predictions: pd.DataFrame, symbol: str = "N") -> pd.DataFrame:
    return predictions[["db", "record_id", "beat_idx"]].assign(symbol=symbol)


class TestEc57:
    RECORDS = pd.DataFrame({"fs": [360]})

    @pytest.fixture
    def predictions(self) -> pd.DataFrame:
        table = make_predictions(0)
        table["sample"] = 500 + table["beat_idx"] * 300
        return table

    def test_a_beat_without_a_window_is_missed(self, predictions, tmp_path) -> None:
        write_reference(tmp_path, predictions)
        lost = predictions.index[predictions["split"] == "test"][5]
        reporting = ReportingParameters(learning_period_s=0)
        summary, table = compare_ec57(
            predictions.drop(index=lost), make_beats(predictions), self.RECORDS, tmp_path, reporting
        )
        assert table["record"].tolist() == ["mitdb/2", "mitdb/3", "gross", "average"]
        assert summary["gross"]["QRS"] == {"Se": 39 / 40, "+P": 1.0}
        kept = predictions.drop(index=lost)
        kept = kept[kept["split"] == "test"]
        called = kept["predicted"] == "V"
        right = (called & (kept["aami_class"] == "V")).sum()
        # A fusion or unclassifiable beat called V is no false positive.
        wrong = (called & kept["aami_class"].isin(["N", "S"])).sum()
        assert summary["gross"]["VEB"]["+P"] == pytest.approx(right / (right + wrong))

    def test_annotations_that_are_no_beats_are_no_false_beats(self, predictions, tmp_path) -> None:
        write_reference(tmp_path, predictions)
        noise = predictions.assign(
            beat_idx=predictions["beat_idx"] + 1000, sample=predictions["sample"] + 150
        )
        beats = pd.concat([make_beats(predictions), make_beats(noise, "~")])
        reporting = ReportingParameters(learning_period_s=0)
        both = pd.concat([predictions, noise], ignore_index=True)
        summary, _ = compare_ec57(both, beats, self.RECORDS, tmp_path, reporting)
        assert summary["gross"]["QRS"] == {"Se": 1.0, "+P": 1.0}

    def test_the_learning_period_leaves_out_what_comes_before(self, predictions, tmp_path) -> None:
        write_reference(tmp_path, predictions)
        reporting = ReportingParameters(learning_period_s=(500 + 10 * 300 - 100) / 360)
        summary, _ = compare_ec57(
            predictions, make_beats(predictions), self.RECORDS, tmp_path, reporting
        )
        assert np.sum(summary["matrix"]) == 20  # the last 10 of 20 beats, twice

    def test_an_annotation_file_takes_the_place_of_predictions(self, predictions, tmp_path) -> None:
        write_reference(tmp_path, predictions)
        for path in (tmp_path / "mitdb").glob("*.atr"):
            path.with_suffix(".qrs").write_bytes(path.read_bytes())
        reporting = ReportingParameters(learning_period_s=0, test_annotator="qrs")
        summary, _ = compare_ec57(
            predictions, make_beats(predictions), self.RECORDS, tmp_path, reporting
        )
        assert np.trace(summary["matrix"]) == np.sum(summary["matrix"]) == 40

    def test_the_reference_is_the_annotator_that_the_database_lists(
        self, predictions, tmp_path
    ) -> None:
        write_reference(tmp_path, predictions)
        for path in (tmp_path / "mitdb").glob("*.atr"):
            path.rename(path.with_suffix(".ari"))
        (tmp_path / "mitdb" / "ANNOTATORS").write_text("ari\treference beats\n")
        reporting = ReportingParameters(learning_period_s=0)
        summary, _ = compare_ec57(
            predictions, make_beats(predictions), self.RECORDS, tmp_path, reporting
        )
        assert summary["gross"]["QRS"] == {"Se": 1.0, "+P": 1.0}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            (
                {"test_annotator": "qrs"},
                r"no annotation file .*2\.qrs; .*reporting\.test_annotator",
            ),
            ({"learning_period_s": 1e4}, r"no beat after their first 10000 s"),
        ],
    )
    def test_nothing_to_compare_leaves_it_out_with_a_reason(
        self, predictions, tmp_path, changes, reason
    ) -> None:
        write_reference(tmp_path, predictions)
        reporting = ReportingParameters(**changes)
        summary, table = compare_ec57(
            predictions, make_beats(predictions), self.RECORDS, tmp_path, reporting
        )
        assert re.search(reason, summary["left_out"])
        assert table.empty

    def test_missing_recordings_leave_it_out_with_a_reason(self, predictions, tmp_path) -> None:
        summary, table = compare_ec57(
            predictions, make_beats(predictions), self.RECORDS, tmp_path, REPORTING
        )
        assert "no annotation file" in summary["left_out"]
        assert table.empty

    def test_sliding_windows_leave_it_out(self, predictions, tmp_path) -> None:
        sliding = predictions.assign(beat_idx=-1)
        summary, _ = compare_ec57(
            sliding, make_beats(predictions), self.RECORDS, tmp_path, REPORTING
        )
        assert "windows slide" in summary["left_out"]


class TestOperatingPoints:
    def test_val_chooses_and_test_is_scored(self) -> None:
        predictions = make_predictions(0)
        locked = choose_operating_points(predictions)
        assert locked["fitted_on"]["patients"] == ["1"]
        calibration, figure = evaluate_calibration(predictions, locked, MODEL, SPLIT, REPORTING)
        assert calibration["before_temperature"]["n_beats"] == 40
        assert set(calibration["operating_points"]) == set(locked["points"])
        assert figure.get_suptitle().startswith("synthetic data")

    def test_what_test_holds_changes_nothing_that_is_locked(self) -> None:
        predictions = make_predictions(0)
        other = predictions.copy()
        other.loc[other["split"] == "test", "aami_class"] = "V"
        assert choose_operating_points(predictions) == choose_operating_points(other)

    def test_a_patient_of_test_in_val_stops_it(self) -> None:
        predictions = make_predictions(0)
        predictions.loc[predictions["split"] == "val", "patient_id"] = "2"
        locked = choose_operating_points(predictions)
        with pytest.raises(LeakError, match="patients 2"):
            evaluate_calibration(predictions, locked, MODEL, SPLIT, REPORTING)

    def test_points_of_an_earlier_model_stop_it(self) -> None:
        locked = choose_operating_points(make_predictions(0))
        with pytest.raises(ValueError, match=r"operating_points is stale: weights .*=reporting`"):
            evaluate_calibration(make_predictions(1), locked, MODEL, SPLIT, REPORTING)


def test_rank_curves_name_what_is_not_defined() -> None:
    *_, figure, _ = evaluate(make_predictions(1, "NSV"), HISTORY, MODEL, SPLIT, REPORTING)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "F: not defined" in labels
    assert any(label.startswith("S: AUC 0.") for label in labels)


def test_every_pair_of_models_is_compared_on_test() -> None:
    by_model = {name: make_predictions(seed) for seed, name in enumerate("abc")}
    reporting = ReportingParameters(n_resamples=100)
    table = compare_pairs(reporting, **by_model)
    assert list(dict.fromkeys(zip(table["first"], table["second"], strict=True))) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    test = {name: rows[rows["split"] == "test"] for name, rows in by_model.items()}
    accuracy = {
        name: accuracy_score(rows["aami_class"], rows["predicted"]) for name, rows in test.items()
    }
    found = table[table["score"] == "accuracy"].set_index(["first", "second"])["difference"]
    assert found["a", "c"] == pytest.approx(accuracy["a"] - accuracy["c"])
    assert compare_pairs(reporting, a=by_model["a"]).empty


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("reporting.{name}.errors_by_record", ["record_id"]),
        ("comparison", ["model"]),
        ("paired_differences", ["first", "second"]),
    ],
)
def test_names_of_digits_are_read_back_as_names(name: str, columns: list[str], tmp_path) -> None:
    """As the report needs them: 04015 is a record of afdb, and a model may be called 01."""
    import yaml
    from kedro_datasets.pandas import CSVDataset

    entry = yaml.safe_load((ROOT / "conf/base/reporting/catalog.yml").read_text())[name]
    arguments = {key: entry[key] for key in ("save_args", "load_args")}
    dataset = CSVDataset(filepath=str(tmp_path / "table.csv"), **arguments)
    dataset.save(pd.DataFrame({column: ["04015", "01"] for column in columns} | {"score": 0.5}))
    for column in columns:
        assert dataset.load()[column].tolist() == ["04015", "01"]


def test_a_test_split_of_one_record_with_two_classes_gives_a_report(tmp_path) -> None:
    """The poorest split there can be: each score is a number, or a dash with its reason."""
    predictions = make_predictions(4, "NV")
    predictions["sample"] = 500 + predictions["beat_idx"] * 300
    predictions = predictions[predictions["record_id"] != "3"].reset_index(drop=True)
    write_reference(tmp_path, predictions)
    reporting = ReportingParameters(n_resamples=100, learning_period_s=0)
    metrics, _, errors, *_ = evaluate(predictions, HISTORY, MODEL, SPLIT, reporting)
    summary, _ = compare_ec57(
        predictions, make_beats(predictions), TestEc57.RECORDS, tmp_path, reporting
    )
    locked = choose_operating_points(predictions)
    calibration, _ = evaluate_calibration(predictions, locked, MODEL, SPLIT, reporting)
    intervals = find_intervals(predictions, reporting)
    comparison, _ = compare(SPLIT, reporting, a=metrics)
    items = {
        "metrics": metrics,
        "intervals": intervals,
        "ec57_summary": summary,
        "calibration": calibration,
        "errors_by_record": errors,
    }
    for value in (metrics, intervals, summary, calibration):
        json.dumps(value, allow_nan=False)
    assert summary["gross"]["SVEB"]["Se"] is None
    assert intervals["test"]["scores"]["f1_S"]["estimate"] is None
    pictures = ("confusion_matrix", "learning_curves", "rank_curves", "reliability", "examples")
    html = write_report(
        predictions,
        SPLIT,
        reporting,
        comparison,
        compare_pairs(reporting, a=predictions),
        **dict.fromkeys(("comparison.", "class_distribution.", "contact_sheet."), b"png"),
        **{f"{name}.a": value for name, value in items.items()},
        **{f"{name}.a": b"png" for name in pictures},
    )
    assert "one patient: no interval can be given" in html
    assert re.search(r"\bnan\b", html, re.IGNORECASE) is None
    assert f"{metrics['test']['macro_f1']:.3f}" in html
