"""Schemas of the tables: their columns, types and rules, checked at every save and load."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from cnns_spectrograms.ecg.aami import (
    AAMI_CLASS_OF_SYMBOL,
    AAMI_CLASSES,
    BEAT_SYMBOLS,
    NON_BEAT_SYMBOLS,
)
from cnns_spectrograms.ecg.baseline import HIGHPASS_HZ

# The columns of text are coerced: pandas 2 holds text as object, pandas 3 as str, and a record's
# name may come back from a file as a number. Numbers are not: a cast would hide a fraction.
# `dataframe_check` makes class methods.


class _Table(pa.DataFrameModel):
    """What all tables share: whose a row is, exactly the declared columns, rows numbered from 0."""

    db: Series[str] = pa.Field(coerce=True, str_length={"min_value": 1})
    record_id: Series[str] = pa.Field(coerce=True, str_length={"min_value": 1})
    patient_id: Series[str] = pa.Field(coerce=True, str_length={"min_value": 1})

    class Config:
        """No column is missing, none is extra."""

        strict = True

    @pa.dataframe_check(error="the index is not 0, 1, 2, ...: call reset_index(drop=True)")
    def _check_index(cls, table: pd.DataFrame) -> bool:
        return table.index.equals(pd.RangeIndex(len(table)))


class RecordsSchema(_Table):
    """One row per recording, read or skipped."""

    lead: Series[str] = pa.Field(coerce=True)
    leads: Series[str] = pa.Field(coerce=True, description="names joined by '|'")
    n_leads: Series[int] = pa.Field(ge=0, description="how many were read")
    source_fs: Series[float] = pa.Field(coerce=True, gt=0, nullable=True, description="Hz")
    fs: Series[int] = pa.Field(gt=0, description="Hz")
    n_samples: Series[int] = pa.Field(ge=0, description="at fs")
    duration_s: Series[float] = pa.Field(coerce=True, ge=0)
    n_beats: Series[int] = pa.Field(ge=0)
    highpass_hz: Series[float] = pa.Field(
        coerce=True, eq=HIGHPASS_HZ, description="corner of the filter that took the baseline out"
    )
    signal_sha256: Series[str] = pa.Field(coerce=True, str_matches=r"^([0-9a-f]{64})?$")
    status: Series[str] = pa.Field(coerce=True, isin=("ok", "skipped"))
    reason: Series[str] = pa.Field(coerce=True, description="why it was skipped, else empty")

    @pa.dataframe_check(error="a record is listed twice")
    def _check_unique(cls, records: pd.DataFrame) -> pd.Series[bool]:
        return ~records.duplicated(["db", "record_id"])


class BeatsSchema(_Table):
    """One row per reference beat, or other annotation that has been given a class."""

    beat_idx: Series[int] = pa.Field(ge=0, description="0, 1, ... in time order")
    time_s: Series[float] = pa.Field(coerce=True, ge=0, lt=np.inf, description="in the source")
    sample: Series[int] = pa.Field(ge=0, description="at fs")
    stretch: Series[int] = pa.Field(ge=0, description="edges of gaps of the lead before it")
    symbol: Series[str] = pa.Field(coerce=True, isin=(*BEAT_SYMBOLS, *NON_BEAT_SYMBOLS))
    aami_class: Series[str] = pa.Field(coerce=True, isin=AAMI_CLASSES)
    lead: Series[str] = pa.Field(coerce=True, str_length={"min_value": 1})
    fs: Series[int] = pa.Field(gt=0, description="Hz")

    @pa.dataframe_check(error="a class is not that of its symbol")
    def _check_class(cls, beats: pd.DataFrame) -> pd.Series[bool]:
        expected = beats["symbol"].map(AAMI_CLASS_OF_SYMBOL)
        return expected.isna() | (expected == beats["aami_class"])

    @pa.dataframe_check(error="the beats of a record are not numbered 0, 1, ... in time order")
    def _check_order(cls, beats: pd.DataFrame) -> pd.Series[bool]:
        of_record = beats.groupby(["db", "record_id"], sort=False)
        numbered = beats["beat_idx"] == of_record.cumcount()
        return numbered & ~(of_record["time_s"].diff() < 0)


class WindowsSchema(_Table):
    """One row per window; the splits are checked for leaks."""

    row_id: Series[str] = pa.Field(coerce=True, unique=True, str_length={"min_value": 1})
    split: Series[str] = pa.Field(coerce=True, isin=("train", "val", "test"))
    beat_idx: Series[int] = pa.Field(ge=-1, description="-1: no beat of its own")
    sample: Series[int] = pa.Field(description="centre, at fs")
    lead_idx: Series[int] = pa.Field(ge=0, description="of the leads read, 0 the preferred one")
    start: Series[int] = pa.Field(description="may be negative")
    n_samples: Series[int] = pa.Field(gt=0)
    aami_class: Series[str] = pa.Field(coerce=True, isin=AAMI_CLASSES)
    synthetic: Series[bool]
    rr_previous_s: Series[float] = pa.Field(coerce=True, ge=0, nullable=True)
    rr_next_s: Series[float] = pa.Field(coerce=True, ge=0, nullable=True)
    rr_local_s: Series[float] = pa.Field(coerce=True, ge=0, nullable=True)
    rr_record_s: Series[float] = pa.Field(coerce=True, ge=0, nullable=True)
    path: Series[str] = pa.Field(coerce=True, description="of the image in the cache")

    @pa.dataframe_check(error="a path is not {split}/{db}/{row_id}.png")
    def _check_path(cls, windows: pd.DataFrame) -> pd.Series[bool]:
        return windows["path"] == (
            windows["split"] + "/" + windows["db"] + "/" + windows["row_id"] + ".png"
        )

    @classmethod
    def validate(cls, check_obj: pd.DataFrame, *args: Any, **kwargs: Any) -> Any:
        """Check the columns, then that no patient and no synthetic row leaks between splits.

        The leak check stands outside the schema's own checks so that its message is not cut.

        Raises:
            pandera.errors.SchemaError: a column breaks its rule (SchemaErrors with `lazy`).
            LeakError: a patient is in two splits, or a synthetic row is outside train.
        """
        from cnns_spectrograms.ecg.splits import check_no_leak

        windows = super().validate(check_obj, *args, **kwargs)
        check_no_leak(windows)
        return windows


class TrainIndexSchema(WindowsSchema):
    """The windows a model is trained on, real then synthetic, with their weights."""

    class_weight: Series[float] = pa.Field(coerce=True, ge=0, lt=np.inf, description="in the loss")
    sampling_weight: Series[float] = pa.Field(
        coerce=True, gt=0, lt=np.inf, description="in the sampler"
    )

    @pa.dataframe_check(error="a row is outside the train split")
    def _check_train(cls, rows: pd.DataFrame) -> pd.Series[bool]:
        return rows["split"] == "train"

    @pa.dataframe_check(error="a synthetic row stands before a real one")
    def _check_synthetic_last(cls, rows: pd.DataFrame) -> bool:
        return rows["synthetic"].is_monotonic_increasing


def _probability() -> Any:
    # A float32 softmax, or a mean of several, may leave [0, 1] by a rounding error.
    return pa.Field(coerce=True, ge=-1e-6, le=1 + 1e-6)


class PredictionsSchema(_Table):
    """One row per scored window: its truth, the class predicted, and all probabilities."""

    row_id: Series[str] = pa.Field(coerce=True, unique=True)
    split: Series[str] = pa.Field(coerce=True, isin=("train", "val", "test"))
    beat_idx: Series[int] = pa.Field(ge=-1)
    sample: Series[int]
    lead_idx: Series[int] = pa.Field(ge=0)
    aami_class: Series[str] = pa.Field(coerce=True, isin=AAMI_CLASSES)
    intermediate: Series[bool] = pa.Field(description="see ecg.fusion.find_intermediate")
    predicted: Series[str] = pa.Field(coerce=True, isin=AAMI_CLASSES)
    prob_N: Series[float] = _probability()
    prob_S: Series[float] = _probability()
    prob_V: Series[float] = _probability()
    prob_F: Series[float] = _probability()
    prob_Q: Series[float] = _probability()

    @pa.dataframe_check(error="the probabilities of a row do not sum to 1: are they logits?")
    def _check_sum(cls, predictions: pd.DataFrame) -> pd.Series[bool]:
        return (predictions.filter(like="prob_").sum(axis=1) - 1).abs() < 1e-3

    @pa.dataframe_check(error="'predicted' is not a class of the greatest probability")
    def _check_predicted(cls, predictions: pd.DataFrame) -> pd.Series[bool]:
        probability = predictions.filter(like="prob_")
        named = pd.Index(AAMI_CLASSES).get_indexer(pd.Index(predictions["predicted"]))
        own = probability.to_numpy()[np.arange(len(predictions)), named]
        return probability.max(axis=1) <= own
