"""Tests of the tables' schemas: each rule where it fires and where it is silent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandera.errors import SchemaErrors

from cnns_spectrograms.ecg.schemas import (
    BeatsSchema,
    PredictionsSchema,
    RecordsSchema,
    TrainIndexSchema,
    WindowsSchema,
)
from cnns_spectrograms.ecg.splits import LeakError


def make_records() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "db": ["mitdb", "mitdb"],
            "record_id": ["100", "101"],
            "patient_id": ["mitdb/100", "mitdb/101"],
            "lead": ["MLII", ""],
            "leads": ["MLII|V5", ""],
            "n_leads": [2, 0],
            "source_fs": [360.0, np.nan],
            "fs": [360, 360],
            "n_samples": [650_000, 0],
            "duration_s": [650_000 / 360, 0.0],
            "n_beats": [2273, 0],
            "signal_sha256": ["a" * 64, ""],
            "highpass_hz": [0.5, 0.5],
            "status": ["ok", "skipped"],
            "reason": ["", "truncated"],
        }
    )


def make_beats() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "db": "mitdb",
            "record_id": ["100", "100", "100", "101"],
            "patient_id": ["mitdb/100", "mitdb/100", "mitdb/100", "mitdb/101"],
            "beat_idx": [0, 1, 2, 0],
            "time_s": [0.5, 1.25, 1.25, 0.25],
            "sample": [180, 450, 450, 90],
            "stretch": [0, 0, 2, 0],
            "symbol": ["N", "A", "/", "V"],
            "aami_class": ["N", "S", "Q", "V"],
            "lead": "MLII",
            "fs": 360,
        }
    )


def make_windows() -> pd.DataFrame:
    windows = pd.DataFrame(
        {
            "row_id": ["100_000000", "100_000001", "201_000000", "233_s0000180"],
            "split": ["train", "train", "val", "test"],
            "db": "mitdb",
            "record_id": ["100", "100", "201", "233"],
            "patient_id": ["mitdb/100", "mitdb/100", "mitdb/201", "mitdb/233"],
            "beat_idx": [0, 1, 0, -1],
            "sample": [180, 720, 900, 630],
            "lead_idx": 0,
            "start": [-270, 270, 450, 180],
            "n_samples": 900,
            "aami_class": ["N", "S", "F", "V"],
            "synthetic": False,
            "rr_previous_s": [np.nan, 0.8, 0.7, np.nan],
            "rr_next_s": [0.8, 0.9, 0.7, np.nan],
            "rr_local_s": [0.8, 0.85, 0.7, np.nan],
            "rr_record_s": [0.8, 0.8, 0.7, np.nan],
        }
    )
    windows["path"] = windows["split"] + "/" + windows["db"] + "/" + windows["row_id"] + ".png"
    return windows


def make_train_index() -> pd.DataFrame:
    train = make_windows().query("split == 'train'")
    synthetic = train.iloc[[0]].assign(
        row_id="smote_F_000000",
        db="AUG",
        aami_class="F",
        synthetic=True,
        path="train/AUG/smote_F_000000.png",
    )
    rows = pd.concat([train, synthetic], ignore_index=True)
    return rows.assign(class_weight=[0.5, 1.0, 2.0], sampling_weight=[1.0, 6.0, 6.0])


def make_predictions() -> pd.DataFrame:
    columns = ["row_id", "split", "db", "record_id", "patient_id", "beat_idx", "sample"]
    return make_windows()[[*columns, "lead_idx", "aami_class"]].assign(
        predicted=["N", "S", "F", "N"],
        intermediate=False,
        # A rounding error of the sum, and a tie, are no faults.
        prob_N=[0.9, 0.1, 0.0, 0.5005],
        prob_S=[0.1, 0.9, 0.0, 0.5],
        prob_V=[0.0, 0.0, 0.3, 0.0],
        prob_F=[0.0, 0.0, 0.7, 0.0],
        prob_Q=0.0,
    )


CASES = {
    RecordsSchema: make_records,
    BeatsSchema: make_beats,
    WindowsSchema: make_windows,
    TrainIndexSchema: make_train_index,
    PredictionsSchema: make_predictions,
}


@pytest.mark.parametrize("schema", CASES)
def test_good_table_passes_unchanged(schema):
    table = CASES[schema]()
    pd.testing.assert_frame_equal(schema.validate(table, lazy=True), table)


@pytest.mark.parametrize("schema", CASES)
def test_text_may_be_object_or_string(schema):
    table = CASES[schema]()
    text = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    assert len(text) >= 6
    # pandas 2 holds text as object; pandas 3 as str.
    for dtype in (object, "string", "category"):
        validated = schema.validate(table.astype(dict.fromkeys(text, dtype)), lazy=True)
        pd.testing.assert_frame_equal(validated, table)


@pytest.mark.parametrize("schema", CASES)
def test_tables_survive_parquet(schema, tmp_path: Path):
    table = CASES[schema]()
    table.to_parquet(tmp_path / "table.parquet")
    loaded = schema.validate(pd.read_parquet(tmp_path / "table.parquet"), lazy=True)
    pd.testing.assert_frame_equal(loaded, table)


def test_names_of_records_may_come_back_as_numbers():
    beats = make_beats()
    beats["record_id"] = beats["record_id"].astype(int)
    assert list(BeatsSchema.validate(beats, lazy=True)["record_id"]) == ["100", "100", "100", "101"]


@pytest.mark.parametrize("schema", CASES)
def test_columns_are_exactly_the_declared(schema):
    table = CASES[schema]()
    with pytest.raises(SchemaErrors, match="extra"):
        schema.validate(table.assign(extra=1), lazy=True)
    for column in table:
        with pytest.raises(SchemaErrors, match=column):
            schema.validate(table.drop(columns=column), lazy=True)


@pytest.mark.parametrize("schema", CASES)
def test_nothing_is_null_and_rows_are_numbered(schema):
    table = CASES[schema]()
    for column in table:
        if column == "source_fs" or column.startswith("rr_"):
            continue
        holed = table.astype({column: object})
        holed.loc[0, column] = None
        with pytest.raises(SchemaErrors, match=column):
            schema.validate(holed, lazy=True)
    with pytest.raises(SchemaErrors, match="reset_index"):
        schema.validate(table.set_axis(range(1, len(table) + 1)), lazy=True)


@pytest.mark.parametrize(
    ("schema", "column", "value", "message"),
    [
        (RecordsSchema, "record_id", "101", "listed twice"),
        (RecordsSchema, "signal_sha256", "xyz", "str_matches"),
        (RecordsSchema, "status", "bad", "isin"),
        (RecordsSchema, "fs", 0, "greater_than"),
        (BeatsSchema, "aami_class", "S", "class is not that of its symbol"),
        (BeatsSchema, "aami_class", "X", "isin"),
        (BeatsSchema, "symbol", "Z", "isin"),
        (BeatsSchema, "beat_idx", 1, "not numbered"),
        (BeatsSchema, "time_s", 1.5, "not numbered"),
        (BeatsSchema, "time_s", np.inf, "less_than"),
        (BeatsSchema, "sample", -1, "greater_than_or_equal_to"),
        (WindowsSchema, "row_id", "100_000001", "field_uniqueness"),
        (WindowsSchema, "path", "train/mitdb/100.png", "path is not"),
        (WindowsSchema, "split", "all", "isin"),
        (WindowsSchema, "beat_idx", -2, "greater_than_or_equal_to"),
        (WindowsSchema, "n_samples", 0, "greater_than"),
        (TrainIndexSchema, "split", "val", "outside the train split"),
        (TrainIndexSchema, "synthetic", True, "before a real one"),
        (TrainIndexSchema, "class_weight", -1.0, "greater_than"),
        (TrainIndexSchema, "class_weight", np.inf, "less_than"),
        (TrainIndexSchema, "sampling_weight", 0.0, "greater_than"),
        (PredictionsSchema, "row_id", "100_000001", "field_uniqueness"),
        (PredictionsSchema, "aami_class", "A", "isin"),
        (PredictionsSchema, "predicted", "A", "isin"),
        (PredictionsSchema, "predicted", "S", "not a class of the greatest"),
        (PredictionsSchema, "prob_N", 1.6, "less_than"),
        (PredictionsSchema, "prob_S", -0.1, "greater_than"),
        (PredictionsSchema, "prob_N", 0.902, "do not sum to 1"),
        (PredictionsSchema, "prob_N", 0.898, "do not sum to 1"),
    ],
)
def test_rule_fires(schema, column, value, message):
    table = CASES[schema]()
    table.loc[0, column] = value
    with pytest.raises(SchemaErrors, match=message):
        schema.validate(table, lazy=True)


def test_numbers_are_not_cut_to_integers():
    beats = make_beats().astype({"sample": float})
    beats["sample"] += 0.5
    with pytest.raises(SchemaErrors, match="sample"):
        BeatsSchema.validate(beats, lazy=True)


def leak_patient(windows: pd.DataFrame) -> None:
    windows.loc[3, "patient_id"] = "mitdb/201"


def leak_synthetic(windows: pd.DataFrame) -> None:
    windows.loc[3, "synthetic"] = True


@pytest.mark.parametrize(
    ("leak", "message"), [(leak_patient, "mitdb/201"), (leak_synthetic, "233_s0000180")]
)
def test_leak_is_told_in_its_own_words(leak, message):
    windows = make_windows()
    leak(windows)
    with pytest.raises(LeakError, match=message):
        WindowsSchema.validate(windows, lazy=True)


def test_leak_stops_the_catalog_at_save_and_load(tmp_path: Path):
    from kedro.io import DataCatalog
    from kedro.validation import DataValidationError

    path = tmp_path / "windows.parquet"
    entry = {
        "type": "pandas.ParquetDataset",
        "filepath": str(path),
        "validator": "cnns_spectrograms.ecg.schemas.WindowsSchema",
    }
    catalog = DataCatalog.from_config({"windows": entry})
    windows = make_windows()
    catalog.save("windows", windows)
    pd.testing.assert_frame_equal(catalog.load("windows"), windows)

    leak_patient(windows)
    with pytest.raises(DataValidationError) as caught:
        catalog.save("windows", windows)
    assert isinstance(caught.value.__cause__, LeakError)
    # The user reads the leak's words whole, not a check's name.
    assert str(caught.value.__cause__) in str(caught.value)
    windows.to_parquet(path)
    with pytest.raises(DataValidationError, match=r"on load(.|\n)*mitdb/201"):
        catalog.load("windows")


def test_tables_of_a_real_record(physionet: Path):
    from cnns_spectrograms.ecg.records import describe_record, read_record

    record = read_record(physionet / "mitdb", "mitdb", "213")
    BeatsSchema.validate(record.beats, lazy=True)
    rows = [record.row, describe_record("mitdb", "214", 360, reason="absent")]
    records = RecordsSchema.validate(pd.DataFrame(rows), lazy=True)
    assert list(records["n_beats"]) == [3251, 0]
