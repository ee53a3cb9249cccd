"""Reporting: the nodes' numbers against scikit-learn, and what the figures are made from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from cnns_spectrograms.parameters import (
    ModelParameters,
    ReportingParameters,
    SplitParameters,
    SubsetParameters,
)
from cnns_spectrograms.pipelines.reporting.nodes import (
    compare,
    compare_pairs,
    compare_with_reference,
    draw_class_distribution,
    evaluate,
)

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
    return pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(60)],
            "split": ["val"] * 20 + ["test"] * 40,
            "db": "mitdb",
            "record_id": ["1"] * 20 + ["2"] * 20 + ["3"] * 20,
            "patient_id": ["1"] * 20 + ["2"] * 20 + ["3"] * 20,
            "beat_idx": [*range(20)] * 3,
            "sample": range(60),
            "aami_class": [*(np.tile([*classes], 60)[:60])],
            "predicted": np.array(CLASSES)[probabilities.argmax(axis=1)],
            **{f"prob_{name}": probabilities[:, i] for i, name in enumerate(CLASSES)},
        }
    )


def test_metrics_of_each_split_are_those_of_scikit_learn() -> None:
    predictions = make_predictions(0)
    metrics, text, errors, confusion, curves = evaluate(
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


def test_a_missing_class_is_absent_not_failed() -> None:
    metrics, text, *_ = evaluate(make_predictions(1, "NSV"), HISTORY, MODEL, SPLIT, REPORTING)
    assert metrics["test"]["per_class"]["F"]["status"] == "absent"
    assert metrics["test"]["per_class"]["F"]["f1"] is None
    assert metrics["test"]["macro_f1_classes"] == [*"NSV"]
    assert "absent" in text


def test_wrong_predictions_are_refused() -> None:
    predictions = make_predictions(2).assign(prob_N=0.9)
    with pytest.raises(ValueError, match="sum"):
        evaluate(predictions, HISTORY, MODEL, SPLIT, REPORTING)


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
    assert subsets["without_3"]["intervals"]["macro_f1"] is None  # one patient
    assert subsets["nsv"]["classes"] == ["N", "S", "V"]
    assert subsets["nsv"]["n_beats"] == 24
    low, high = subsets["nsv"]["intervals"]["macro_f1"]
    assert low <= subsets["nsv"]["macro_f1"] <= high
    assert "no beat" in subsets["svdb"]["left_out"]
    assert metrics["test"]["intervals"]["n_patients"] == 2


def test_a_beat_without_a_window_is_missed() -> None:
    predictions = make_predictions(0)
    predictions["sample"] = predictions["beat_idx"] * 300
    test = predictions[predictions["split"] == "test"]
    beats = test[["db", "record_id", "sample", "aami_class"]].assign(fs=360)
    lost = beats.index[5]
    table = compare_with_reference(predictions.drop(index=lost), beats).set_index("record")
    assert list(table.index) == ["mitdb/2", "mitdb/3", "gross", "average"]
    assert table.loc["gross", ["qrs_tp", "qrs_fn", "qrs_fp"]].tolist() == [39, 1, 0]
    kept = test.drop(index=lost)
    called = kept["predicted"] == "V"
    assert table.loc["gross", "veb_tp"] == (called & (kept["aami_class"] == "V")).sum()
    # A fusion or unclassifiable beat called V is no false positive.
    wrong = called & kept["aami_class"].isin(["N", "S"])
    assert table.loc["gross", "veb_fp"] == wrong.sum()


def test_every_pair_of_models_is_compared_on_test() -> None:
    by_model = {name: make_predictions(seed) for seed, name in enumerate("abc")}
    reporting = ReportingParameters(n_resamples=100)
    table = compare_pairs(reporting, **by_model)
    assert list(zip(table["first"], table["second"], strict=True))[::2] == [
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
