"""Feature engineering: beats become windows with a split, windows become spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from kedro.pipeline import Pipeline

from cnns_spectrograms.parameters import (
    SPLITS,
    ExecutionParameters,
    SpectrogramParameters,
    SplitParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.namespaces import join_nodes, make_node
from cnns_spectrograms.provenance import (
    StampedSignals,
    require_fresh,
    settings,
    stamp_table,
    view_settings,
)

if TYPE_CHECKING:
    from cnns_spectrograms.imaging.plan import CachePlan
else:  # Kedro resolves annotations at its start, which must not import torch
    CachePlan = Any


def create_pipeline(cached: bool = True) -> Pipeline:
    """Return the pipeline from `beats` and `signals` to `windows` and `spec_cache`.

    Args:
        cached: whether there is a spectrogram cache; none is made where images are drawn from
            the signals as training asks for them.
    """
    nodes = [make_node(make_windows, "windows"), make_node(make_typical_beats, "typical_beats")]
    if cached:
        nodes.append(make_node(plan_spectrograms, "spec_cache", "render_spectrograms"))
    return join_nodes("feature_engineering", nodes)


def make_windows(
    beats: pd.DataFrame,
    records: pd.DataFrame,
    windows: WindowParameters,
    split: SplitParameters,
) -> pd.DataFrame:
    """Return the windows table, each row with its split; none may be left without a window."""
    from cnns_spectrograms.ecg.splits import assign_splits, check_signals
    from cnns_spectrograms.ecg.windows import (
        make_beat_windows,
        make_sliding_windows,
        record_keys,
        repeat_for_leads,
    )

    make = make_beat_windows if windows.mode == "beat" else make_sliding_windows
    skipped = records.loc[records["status"] == "skipped"]
    unread = set(record_keys(skipped))
    table = repeat_for_leads(make(beats, records, windows), records)
    table = assign_splits(table, split, skipped=unread)
    check_signals(table, records)
    empty = [name for name in SPLITS if not (table["split"] == name).any()]
    if empty:
        raise ValueError(
            f"protocol '{split.protocol}' leaves {' and '.join(empty)} without a window: all their "
            f"records were skipped or hold no beat; list others in split.records"
        )
    shaped = settings(windows=windows, split=split)
    return stamp_table(table, require_fresh(shaped, records=records, beats=beats))


def make_typical_beats(
    beats: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
) -> StampedSignals:
    """Return what makes each record's typical beats, see `ecg.windows.plan_typical_beats`."""
    from cnns_spectrograms.ecg.windows import plan_typical_beats

    made_of = require_fresh(
        view_settings(spectrogram), records=records, beats=beats, signals=signals
    )
    fs = int(records["fs"].iloc[0])
    return StampedSignals(plan_typical_beats(beats, signals, fs, spectrogram), made_of)


def plan_spectrograms(
    windows: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
    execution: ExecutionParameters,
) -> CachePlan:
    """Return what the spectrogram cache must hold; saving it renders what is missing."""
    from cnns_spectrograms.ecg.records import hash_signal
    from cnns_spectrograms.ecg.windows import WindowReader, record_keys, signal_keys
    from cnns_spectrograms.imaging.plan import CachePlan, describe_drawing

    names = record_keys(records)
    skipped = records["status"] == "skipped"
    known = dict(zip(names, records["signal_sha256"], strict=True))
    first = windows.drop_duplicates(["db", "record_id", "lead_idx"])
    digests = {
        # Of all leads of a record, or of the synthetic windows.
        key: known.get(record) or hash_signal(signals[key])
        for key, record in zip(signal_keys(first), record_keys(first), strict=True)
    }
    for key in set(digests) & set(typical_beats):  # made of the signal, but of its beats too
        digests[key] += hash_signal(typical_beats[key])
    fs = int(records["fs"].iloc[0])
    return CachePlan(
        rows=windows,
        read_windows=WindowReader(signals, spectrogram, fs, typical_beats),
        digests=digests,
        fs=fs,
        parameters=spectrogram,
        execution=execution,
        skipped=dict(zip(names[skipped], records.loc[skipped, "reason"], strict=True)),
        made_of=require_fresh(
            {**settings(spectrogram=spectrogram), **describe_drawing(spectrogram)},
            records=records,
            signals=signals,
            typical_beats=typical_beats,
            windows=windows,
        ),
    )
