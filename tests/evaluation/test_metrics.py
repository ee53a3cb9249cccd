"""Metrics against numbers worked by hand, scikit-learn, and what must not change."""

from __future__ import annotations

import json
import math
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from cnns_spectrograms.ecg.schemas import PredictionsSchema
from cnns_spectrograms.evaluation.metrics import (
    average_leads,
    compare_models,
    evaluate_predictions,
    format_classification_report,
    per_record_table,
    select_subset,
)
from cnns_spectrograms.parameters import SubsetParameters

CLASSES = ("N", "S", "V", "F", "Q")


def make_predictions(
    truth: str | list[str], predicted: str | list[str], records: list[str] | None = None
) -> pd.DataFrame:
    """A valid table with one beat a letter: the predicted class has 0.6, the others 0.1."""
    n = len(truth)
    records = records or ["100"] * n
    table = pd.DataFrame(
        {
            "row_id": [f"{record}_{i:06d}" for i, record in enumerate(records)],
            "split": "test",
            "db": "mitdb",
            "record_id": records,
            "patient_id": records,
            "beat_idx": np.arange(n),
            "lead_idx": 0,
            "sample": 300 * np.arange(n),
            "aami_class": list(truth),
            "intermediate": False,
            "predicted": list(predicted),
        }
    )
    for name in CLASSES:
        table[f"prob_{name}"] = np.where(table["predicted"] == name, 0.6, 0.1).astype(np.float32)
    return table


def test_the_probabilities_of_a_beat_are_the_mean_over_its_leads() -> None:
    first = make_predictions("NVS", "NVV", ["100", "100", "101"])
    second = first.assign(lead_idx=1, row_id="2" + first["row_id"])[:2]
    second[["prob_N", "prob_S", "prob_V", "prob_F", "prob_Q"]] = [
        [0.0, 0.0, 0.9, 0.1, 0.0],  # with 0.6, 0.1, 0.1, 0.1, 0.1: 0.3 and 0.5
        [0.2, 0.2, 0.2, 0.2, 0.2],
    ]
    table = pd.concat([first, second], ignore_index=True)
    found = average_leads(table)
    assert found["row_id"].tolist() == first["row_id"].tolist()
    assert found["predicted"].tolist() == ["V", "V", "V"]
    np.testing.assert_allclose(found["prob_N"], [0.3, 0.15, 0.1], atol=1e-6)
    np.testing.assert_allclose(found["prob_V"], [0.5, 0.4, 0.6], atol=1e-6)
    pd.testing.assert_frame_equal(average_leads(first), first)
    # Beats of an intermediate form are given to F, after the mean.
    given = average_leads(table.assign(intermediate=table["beat_idx"] == 0))
    assert given["predicted"].tolist() == ["F", "V", "V"]
    np.testing.assert_allclose(given["prob_F"], [0.1 + 2 * 0.3, 0.15, 0.1], atol=1e-6)
    np.testing.assert_allclose(given["prob_N"], [0.0, 0.15, 0.1], atol=1e-6)
    alone = average_leads(first.assign(intermediate=True))
    np.testing.assert_allclose(alone["prob_F"], first["prob_F"] + 0.2, atol=1e-6)
    # The order of rows does not matter.
    shuffled = average_leads(table.sample(frac=1, random_state=0).reset_index(drop=True))
    pd.testing.assert_frame_equal(
        shuffled.sort_values("row_id", ignore_index=True),
        found.sort_values("row_id", ignore_index=True),
    )


# Worked by hand. Truth: 5 N, 2 S, 2 V, 1 F, 0 Q.
#   N: 4 right, 1 called Q.  S: 1 right, 1 called N.  V: both right.  F: called V.  Q: absent.
#   precision N 4/5, S 1/1, V 2/3;  recall N 4/5, S 1/2, V 1, F 0.
#   F1 = 2 TP / (2 TP + FP + FN): N 8/10, S 2/3, V 4/5, F 0.
HAND = make_predictions("NNNNNSSVVF", "NNNNQSNVVV", ["100"] * 5 + ["101"] * 2 + ["102"] * 3)


class TestEvaluatePredictions:
    def test_gives_the_numbers_worked_by_hand(self) -> None:
        metrics = evaluate_predictions(HAND)

        assert metrics["split"] == "test"
        assert metrics["n_beats"] == 10
        assert metrics["n_records"] == 3
        assert metrics["accuracy"] == pytest.approx(0.7)
        assert metrics["macro_f1"] == pytest.approx((0.8 + 2 / 3 + 0.8 + 0) / 4)
        assert metrics["macro_f1_classes"] == ["N", "S", "V", "F"]
        assert metrics["confusion_matrix"] == [
            [4, 0, 0, 0, 1],
            [1, 1, 0, 0, 0],
            [0, 0, 2, 0, 0],
            [0, 0, 1, 0, 0],
            [0, 0, 0, 0, 0],
        ]
        assert metrics["confusion_matrix_normalized"] == [
            [0.8, 0, 0, 0, 0.2],
            [0.5, 0.5, 0, 0, 0],
            [0, 0, 1, 0, 0],
            [0, 0, 1, 0, 0],
            [None] * 5,
        ]

    @pytest.mark.parametrize(
        ("name", "precision", "recall", "f1", "support", "n_predicted", "status"),
        [
            ("N", 4 / 5, 4 / 5, 4 / 5, 5, 5, "scored"),
            ("S", 1.0, 1 / 2, 2 / 3, 2, 1, "scored"),
            ("V", 2 / 3, 1.0, 4 / 5, 2, 3, "scored"),
            ("F", None, 0.0, 0.0, 1, 0, "missed"),
            ("Q", None, None, None, 0, 1, "absent"),
        ],
    )
    def test_tells_scored_missed_and_absent_classes_apart(
        self,
        name: str,
        precision: float | None,
        recall: float | None,
        f1: float | None,
        support: int,
        n_predicted: int,
        status: str,
    ) -> None:
        row = evaluate_predictions(HAND)["per_class"][name]

        expected = {
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "support": support,
            "n_predicted": n_predicted,
            "status": status,
        }
        for key, value in expected.items():
            assert row[key] == (pytest.approx(value) if isinstance(value, float) else value), key

    def test_a_predicted_class_that_is_never_right_is_scored_zero_not_missed(self) -> None:
        row = evaluate_predictions(make_predictions("NF", "FN"))["per_class"]["F"]

        assert (row["status"], row["precision"], row["recall"], row["f1"]) == ("scored", 0, 0, 0)

    def test_an_absent_class_costs_recall_but_is_not_averaged(self) -> None:
        metrics = evaluate_predictions(make_predictions("NNNN", "NNNQ"))

        # N: TP 3, FN 1, FP 0.
        assert metrics["macro_f1"] == pytest.approx(6 / 7)
        assert metrics["macro_f1_classes"] == ["N"]

    def test_reads_categorical_columns_with_unused_categories(self) -> None:
        table = HAND.astype({"aami_class": "category", "split": "category"})
        table["split"] = table["split"].cat.add_categories(["train", "val"])

        assert evaluate_predictions(table) == evaluate_predictions(HAND)

    def test_counts_records_of_two_databases_apart(self) -> None:
        table = make_predictions("NN", "NN")
        table["db"] = ["mitdb", "svdb"]

        assert evaluate_predictions(table)["n_records"] == 2

    def test_refuses_two_splits(self) -> None:
        table = HAND.assign(split=["test"] * 9 + ["val"])

        with pytest.raises(ValueError, match="splits test, val"):
            evaluate_predictions(table)

    def test_names_an_unknown_class(self) -> None:
        with pytest.raises(ValueError, match=r"1 of 2 predictions .*'predicted'.*\['X'\]"):
            evaluate_predictions(make_predictions("NN", "XN"))

    def test_refuses_an_empty_table(self) -> None:
        with pytest.raises(ValueError, match="no row"):
            evaluate_predictions(HAND.iloc[:0])


@st.composite
def labels(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Truth and predictions, each over its own subset of the classes."""
    subsets = st.sets(st.sampled_from(CLASSES), min_size=1)
    n = draw(st.integers(1, 30))
    truth, predicted = (
        draw(st.lists(st.sampled_from(sorted(draw(subsets))), min_size=n, max_size=n))
        for _ in range(2)
    )
    return truth, predicted


@settings(deadline=None, max_examples=60)
@given(labels())
def test_agrees_with_scikit_learn_and_is_strict_json(pair: tuple[list[str], list[str]]) -> None:
    truth, predicted = pair
    metrics = evaluate_predictions(make_predictions(truth, predicted))

    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    present = [name for name in CLASSES if name in truth]
    assert metrics["macro_f1_classes"] == present
    assert metrics["macro_f1"] == pytest.approx(
        f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    )
    assert metrics["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert metrics["confusion_matrix"] == (
        confusion_matrix(truth, predicted, labels=CLASSES).tolist()
    )
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=present, average=None, zero_division=0
    )
    for k, name in enumerate(present):
        row = metrics["per_class"][name]
        assert row["recall"] == pytest.approx(recall[k])
        assert row["f1"] == pytest.approx(f1[k])
        assert row["support"] == support[k]
        assert row["n_predicted"] == predicted.count(name)
        if name in predicted:
            assert row["status"] == "scored"
            assert row["precision"] == pytest.approx(precision[k])
        else:
            assert row["status"] == "missed"
            assert row["precision"] is None
    for name in set(CLASSES) - set(present):
        row = metrics["per_class"][name]
        assert (row["status"], row["precision"], row["recall"], row["f1"]) == (
            "absent", None, None, None,
        )  # fmt: skip
        assert metrics["confusion_matrix_normalized"][CLASSES.index(name)] == [None] * 5
    for name in present:
        row_shares = metrics["confusion_matrix_normalized"][CLASSES.index(name)]
        assert sum(row_shares) == pytest.approx(1)
        assert row_shares[CLASSES.index(name)] == pytest.approx(
            metrics["per_class"][name]["recall"]
        )


@settings(deadline=None, max_examples=30)
@given(labels(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(
    pair: tuple[list[str], list[str]], random: Random
) -> None:
    table = make_predictions(*pair, records=[str(100 + i % 3) for i in range(len(pair[0]))])
    order = list(range(len(table)))
    random.shuffle(order)
    shuffled = table.iloc[order]

    assert evaluate_predictions(shuffled) == evaluate_predictions(table)
    pd.testing.assert_frame_equal(per_record_table(shuffled), per_record_table(table))


def test_classification_report_is_the_aligned_text() -> None:
    assert format_classification_report(evaluate_predictions(HAND)) == (
        "class   precision   recall       F1   support  predicted  status\n"
        "N           0.800    0.800    0.800         5          5  scored\n"
        "S           1.000    0.500    0.667         2          1  scored\n"
        "V           0.667    1.000    0.800         2          3  scored\n"
        "F               –    0.000    0.000         1          0  missed (never predicted)\n"
        "Q               –        –        –         0          1  absent (no beat in the truth)\n"
        "\n"
        "macro F1 0.567  mean over the classes present in the truth (N, S, V, F)\n"
        "accuracy 0.700  10 beats, 3 records, split test\n"
        "kappa 0.552\n"
    )


class TestPerRecordTable:
    def test_counts_errors_record_by_record_most_first(self) -> None:
        table = per_record_table(HAND)

        # 100: an N called Q.  101: an S called N.  102: the F called V.
        assert table["record_id"].tolist() == ["100", "101", "102"]
        assert table["n_beats"].tolist() == [5, 2, 3]
        assert table["errors"].tolist() == [1, 1, 1]
        np.testing.assert_allclose(table["accuracy"], [4 / 5, 1 / 2, 2 / 3])
        assert table["tp_N"].tolist() == [4, 0, 0]
        assert table["fn_N"].tolist() == [1, 0, 0]
        assert table["fp_N"].tolist() == [0, 1, 0]
        assert table["fp_Q"].tolist() == [1, 0, 0]
        assert table["fn_F"].tolist() == [0, 0, 1]
        assert table["fp_V"].tolist() == [0, 0, 1]
        assert table.columns.tolist()[:6] == [
            "db", "record_id", "n_beats", "errors", "accuracy", "tp_N",
        ]  # fmt: skip

    def test_puts_the_record_with_most_errors_first(self) -> None:
        table = per_record_table(make_predictions("NNNN", "NSVN", ["100", "101", "101", "102"]))

        assert table["record_id"].tolist() == ["101", "100", "102"]
        assert table["errors"].tolist() == [2, 0, 0]

    @settings(deadline=None, max_examples=30)
    @given(labels())
    def test_adds_up_to_the_confusion_matrix(self, pair: tuple[list[str], list[str]]) -> None:
        table = make_predictions(*pair, records=[str(100 + i % 4) for i in range(len(pair[0]))])
        sums = per_record_table(table).sum(numeric_only=True)
        matrix = np.array(evaluate_predictions(table)["confusion_matrix"])

        assert sums["errors"] == matrix.sum() - np.trace(matrix)
        for k, name in enumerate(CLASSES):
            assert sums[f"tp_{name}"] == matrix[k, k]
            assert sums[f"fn_{name}"] == matrix[k].sum() - matrix[k, k]
            assert sums[f"fp_{name}"] == matrix[:, k].sum() - matrix[k, k]

    def test_ignores_categories_without_a_row(self) -> None:
        table = HAND.astype({"record_id": "category"})

        pd.testing.assert_frame_equal(
            per_record_table(table[table["record_id"] != "101"]),
            per_record_table(HAND[HAND["record_id"] != "101"]),
        )


class TestCompareModels:
    def test_puts_the_best_macro_f1_first(self) -> None:
        truth = HAND["aami_class"].tolist()
        table = compare_models(
            {
                "majority": evaluate_predictions(make_predictions(truth, "N" * 10)),
                "perfect": evaluate_predictions(make_predictions(truth, truth)),
                "hand": evaluate_predictions(HAND),
            }
        )

        assert table.columns.tolist() == [
            "model", "macro_f1", "accuracy", "kappa", "f1_N", "f1_S", "f1_V", "f1_F", "f1_Q",
        ]  # fmt: skip
        assert table["model"].tolist() == ["perfect", "hand", "majority"]
        # All called N: TP 5, FP 5, so F1 of N is 10/15, that of the three others 0.
        np.testing.assert_allclose(table["macro_f1"], [1, (0.8 + 2 / 3 + 0.8) / 4, 2 / 3 / 4])
        np.testing.assert_allclose(table["accuracy"], [1, 0.7, 0.5])
        np.testing.assert_allclose(table["f1_F"], [1, 0, 0])
        assert table["f1_Q"].isna().all()

    def test_breaks_ties_by_accuracy_then_name(self) -> None:
        metrics = evaluate_predictions(HAND)
        table = compare_models({"b": metrics, "a": metrics, "c": {**metrics, "accuracy": 0.9}})

        assert table["model"].tolist() == ["c", "a", "b"]

    def test_reads_metrics_that_went_through_json(self) -> None:
        metrics = json.loads(json.dumps(evaluate_predictions(HAND)))

        assert math.isnan(compare_models({"hand": metrics})["f1_Q"][0])

    def test_refuses_no_model(self) -> None:
        with pytest.raises(ValueError, match="no model"):
            compare_models({})


def test_kappa_worked_by_hand() -> None:
    # Agreement 7/10; by chance (5*5 + 2*1 + 2*3 + 1*0 + 0*1) / 100 = 0.33: (0.7 - 0.33) / 0.67.
    assert evaluate_predictions(HAND)["kappa"] == pytest.approx(0.37 / 0.67)
    assert evaluate_predictions(make_predictions("NNN", "NNN"))["kappa"] is None


def test_areas_are_those_of_one_class_against_the_others() -> None:
    rng = np.random.default_rng(0)
    table = make_predictions("NSVF" * 20, "NNNN" * 20)
    probabilities = rng.dirichlet(np.ones(5), len(table))
    table[[f"prob_{name}" for name in CLASSES]] = probabilities
    table["predicted"] = np.array(CLASSES)[probabilities.argmax(axis=1)]
    metrics = evaluate_predictions(table)
    for k, name in enumerate("NSVF"):
        is_k = table["aami_class"] == name
        found = metrics["per_class"][name]
        assert found["roc_auc"] == pytest.approx(roc_auc_score(is_k, probabilities[:, k]))
        expected = average_precision_score(is_k, probabilities[:, k])
        assert found["average_precision"] == pytest.approx(expected)
    assert metrics["per_class"]["Q"]["roc_auc"] is None  # absent
    alone = evaluate_predictions(make_predictions("VV", "VN"))
    assert alone["per_class"]["V"]["roc_auc"] is None  # nothing to tell it from
    bare = evaluate_predictions(table.drop(columns="prob_N"))
    assert "roc_auc" not in bare["per_class"]["N"]


class TestSubsets:
    def test_records_and_classes(self) -> None:
        table = make_predictions("NSQV", "QSQV", ["100", "107", "100", "232"])
        table.loc[0, ["prob_S", "prob_V"]] = [0.05, 0.15]
        subset = SubsetParameters(
            databases=["mitdb"], without={"mitdb": ["107"]}, classes=["N", "S", "V", "F"]
        )
        rows = select_subset(table, subset)
        assert rows["record_id"].tolist() == ["100", "232"]  # no 107, no beat of class Q
        # The first was called Q; of the classes that count, V is the most probable.
        assert rows["predicted"].tolist() == ["V", "V"]
        whole = select_subset(table, SubsetParameters(databases=["mitdb"]))
        pd.testing.assert_frame_equal(whole, table)

    def test_probabilities_are_those_given_the_classes(self) -> None:
        table = make_predictions("NSVN", "NQQQ")
        prob = [f"prob_{name}" for name in CLASSES]
        table[prob] = [
            [0.5, 0.2, 0.2, 0.0, 0.1],
            [0.05, 0.12, 0.02, 0.01, 0.8],  # 0.25, 0.6, 0.1, 0.05 of N, S, V, F
            [0.0, 0.0, 0.25, 0.0, 0.75],
            [0.0, 0.0, 0.0, 0.0, 1.0],
        ]
        rows = select_subset(
            table, SubsetParameters(databases=["mitdb"], classes=["N", "S", "V", "F"])
        )
        expected = [
            [5 / 9, 2 / 9, 2 / 9, 0, 0],
            [0.25, 0.6, 0.1, 0.05, 0],
            [0, 0, 1, 0, 0],
            [0.25, 0.25, 0.25, 0.25, 0],
        ]
        np.testing.assert_allclose(rows[prob].to_numpy(float), expected)
        PredictionsSchema.validate(rows)
        per_class = evaluate_predictions(rows, ("N", "S", "V", "F"))["per_class"]
        # S has 0.6, above all others; of the probabilities as they were it had 0.12 below 0.2.
        assert per_class["S"]["roc_auc"] == 1
        assert per_class["V"]["roc_auc"] == 1

    @settings(deadline=None)
    @given(st.integers(0, 2**32 - 1), st.sampled_from(["NSVF", "NSV", "SV", "NSVFQ"]))
    def test_a_subset_is_a_table_of_predictions(self, seed: int, classes: str) -> None:
        rng = np.random.default_rng(seed)
        table = make_predictions("NSVFQ" * 8, "N" * 40)
        probabilities = rng.dirichlet(np.full(5, 0.3), len(table)).astype(np.float32)
        table[[f"prob_{name}" for name in CLASSES]] = probabilities
        table["predicted"] = np.array(CLASSES)[probabilities.argmax(axis=1)]
        subset = SubsetParameters(databases=["mitdb"], classes=list(classes))
        rows = select_subset(table, subset)
        PredictionsSchema.validate(rows)
        assert set(rows["predicted"]) <= set(classes)
        again = select_subset(rows, subset)
        assert again["predicted"].equals(rows["predicted"])

    def test_none_is_empty(self) -> None:
        subset = SubsetParameters(databases=["svdb"], classes=["N", "S"])
        assert select_subset(HAND, subset).empty
