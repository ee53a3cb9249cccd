"""The typed parameters: bounds, unknown keys, and contradictions between them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cnns_spectrograms.parameters import (
    BalancingParameters,
    ExecutionParameters,
    IngestionParameters,
    RecordParameters,
    ReportingParameters,
    SpectrogramParameters,
    SplitParameters,
    SubsetParameters,
    TrainingParameters,
    WindowParameters,
)


@pytest.mark.parametrize(
    ("model", "values", "key"),
    [
        (TrainingParameters, {"learning_rate": "fast"}, "learning_rate"),
        (TrainingParameters, {"learning_rate": -1}, "learning_rate"),
        (TrainingParameters, {"learning_rate": float("inf")}, "learning_rate"),
        (TrainingParameters, {"learning_rte": 1e-3}, "learning_rte"),
        (TrainingParameters, {"precision": "8-bit"}, "precision"),
        (TrainingParameters, {"augmentation": {"noise_std": 2}}, "noise_std"),
        (SpectrogramParameters, {"nperseg": 64, "noverlap": 64}, "noverlap"),
        (SpectrogramParameters, {"low_percentile": 99, "high_percentile": 1}, "low_percentile"),
        (BalancingParameters, {"class_weight_beta": 1.1}, "class_weight_beta"),
        (WindowParameters, {"label_rule": "median"}, "label_rule"),
        (ExecutionParameters, {"address": "tcp://a:1"}, "address"),
        (
            SubsetParameters,
            {"databases": ["mitdb"], "classes": ["N", "V", "N"]},
            r"\['N'\] more than once",
        ),
        (IngestionParameters, {"databases": {"corrected": None}}, "the database 'corrected'"),
        (IngestionParameters, {"databases": {"upload": ["a"]}}, "the database 'upload'"),
        (IngestionParameters, {"databases": {"a/1.0.0": None}}, "the database 'a/1.0.0'"),
        (IngestionParameters, {"databases": {"a": ["1", 2, "1"]}}, r"\['1'\] more than once"),
        (SplitParameters, {"protocol": "p", "records": {"corrected": {}}}, "'corrected'"),
        (ReportingParameters, {"subsets": {"test": None}}, "the whole test split"),
        (ReportingParameters, {"subsets": {"DS2 (no paced)": None}}, r"DS2 \(no paced\)"),
    ],
)
def test_wrong_value_is_refused_by_key(model, values, key):
    with pytest.raises(ValidationError, match=key):
        model.model_validate(values)


def test_a_subset_may_have_a_name_of_several_words():
    subset = SubsetParameters(databases=["mitdb"])
    assert ReportingParameters(subsets={"DS2 ohne 202": subset}).subsets == {"DS2 ohne 202": subset}


def test_record_names_may_be_written_as_numbers():
    parameters = IngestionParameters(databases={"mitdb": [100, "101"]})
    assert parameters.databases == {"mitdb": ["100", "101"]}


def test_what_is_known_of_records():
    databases = {
        "a": {1: "p", "r2": {"patient": 7, "lead": "V5"}, "r3": None},
        "b": ["4"],
        "c": None,
    }
    known = IngestionParameters(databases=databases).known_records()
    assert known == {
        "a/1": RecordParameters(patient="p"),
        "a/r2": RecordParameters(patient="7", lead="V5"),
        "a/r3": RecordParameters(),
    }


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ("r1", r"(?s)databases\.a\n.*expected null, a list of records, or a map record -> patient"),
        ({"r1": {"patiant": "p"}}, r"databases\.a\.map\.r1\.patiant"),
        (
            {"r1": ["p"]},
            r"(?s)databases\.a\.map\.r1\n.*expected a patient, or {patient: \.\.\., lead",
        ),
        ({"r1": ""}, r"databases\.a\.map\.r1\.patient"),
        ([1.5], r"databases\.a\.list\.0"),
    ],
)
def test_records_in_a_form_that_is_not_known_are_refused_by_key(records, message):
    with pytest.raises(ValidationError, match=message):
        IngestionParameters(databases={"a": records})


def make_split(**splits):
    return SplitParameters(protocol="x", records={"mitdb": splits})


def test_record_in_two_splits_is_refused():
    with pytest.raises(ValidationError, match=r"mitdb lists \['100'\] more than once"):
        make_split(train=["100"], val=["101"], test=[100])
