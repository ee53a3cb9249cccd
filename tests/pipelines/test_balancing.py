"""Balancing: SMOTE learns from class F of train alone, and its rows can be told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.datasets.signals import SignalsDataset
from cnns_spectrograms.ecg.windows import WindowReader
from cnns_spectrograms.parameters import BalancingParameters, SpectrogramParameters, ViewParameters
from cnns_spectrograms.pipelines.balancing import make_train_index, synthesise_windows
from cnns_spectrograms.provenance import StampedSignals, stamp_table

N_SAMPLES = 50
MADE_OF = {"data": {"beats": "b" * 64}}
RECORDS = stamp_table(pd.DataFrame({"fs": [360]}), MADE_OF)


def make_input(seed: int = 0) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return windows of three records, 8 beats of each class, and their signals."""
    rng = np.random.default_rng(seed)
    rows, signals = [], {}
    for record_id, split in (("1", "train"), ("2", "val"), ("3", "test")):
        signals[f"mitdb/{record_id}"] = rng.normal(size=40 * N_SAMPLES).astype(np.float32)
        for i in range(40):
            row_id = f"{record_id}_{i:06d}"
            rows.append(
                {
                    "row_id": row_id,
                    "split": split,
                    "db": "mitdb",
                    "record_id": record_id,
                    "patient_id": record_id,
                    "beat_idx": i,
                    "sample": i * N_SAMPLES + N_SAMPLES // 2,
                    "lead_idx": 0,
                    "start": i * N_SAMPLES,
                    "n_samples": N_SAMPLES,
                    "aami_class": "NSVFQ"[i % 5],
                    "synthetic": False,
                    "rr_previous_s": 0.8 + i / 1000,
                    "rr_next_s": 0.8,
                    "rr_local_s": 0.8,
                    "rr_record_s": 0.8,
                    "path": f"{split}/mitdb/{row_id}.png",
                }
            )
    return stamp_table(pd.DataFrame(rows), MADE_OF), StampedSignals(signals, MADE_OF)


def synthesise(
    windows: pd.DataFrame, signals: dict[str, np.ndarray], parameters: BalancingParameters
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    typical_beats = StampedSignals({}, MADE_OF)
    return synthesise_windows(
        windows, signals, typical_beats, RECORDS, SpectrogramParameters(), parameters
    )


def test_smote_learns_from_class_f_of_train_alone() -> None:
    windows, signals = make_input()
    table, made = synthesise(windows, signals, BalancingParameters(smote_factor=3))
    assert len(table) == 16
    # Everything but the F windows of train is replaced by noise: nothing may change.
    spoilt = StampedSignals(signals, MADE_OF)
    for key, signal in signals.items():
        spoilt[key] = np.random.default_rng(9).normal(size=signal.size).astype(np.float32)
    fusion = windows[(windows["split"] == "train") & (windows["aami_class"] == "F")]
    for start in fusion["start"]:
        cut = slice(start, start + N_SAMPLES)
        spoilt["mitdb/1"][cut] = signals["mitdb/1"][cut]
    again_table, again = synthesise(windows, spoilt, BalancingParameters(smote_factor=3))
    pd.testing.assert_frame_equal(again_table, table)
    np.testing.assert_array_equal(again["AUG/smote"], made["AUG/smote"])


def test_synthetic_windows_lie_between_two_real_ones() -> None:
    windows, signals = make_input()
    table, made = synthesise(windows, signals, BalancingParameters(smote_factor=2))
    synthetic = WindowReader(made)(table).astype(float)
    fusion = windows[(windows["split"] == "train") & (windows["aami_class"] == "F")]
    real = WindowReader(signals)(fusion).astype(float)
    for window in synthetic:
        to_real = np.linalg.norm(real - window, axis=1)
        between = np.linalg.norm(real[:, None] - real[None], axis=-1)
        # On a segment, the distances to its ends add up to its length.
        detour = to_real[:, None] + to_real[None] - between
        assert detour[~np.eye(len(real), dtype=bool)].min() < 1e-4


@pytest.mark.parametrize("n_fusion", [0, 1, 8])
def test_no_synthetic_window_is_no_error(tmp_path: Path, n_fusion: int) -> None:
    windows, signals = make_input()
    fusion = (windows["split"] == "train") & (windows["aami_class"] == "F")
    windows = windows.drop(windows.index[fusion][n_fusion:]).reset_index(drop=True)
    parameters = BalancingParameters(smote_factor=1 if n_fusion == 8 else 5)
    table, made = synthesise(windows, signals, parameters)
    assert len(table) == 0
    dataset = SignalsDataset(filepath=str(tmp_path / "signals"))
    dataset.save(made)
    assert dataset.exists()
    assert dict(dataset.load()) == {}
    assert not make_train_index(windows, table, parameters)["synthetic"].any()


def test_train_index_holds_train_alone_and_tells_synthetic_rows_apart() -> None:
    windows, signals = make_input()
    parameters = BalancingParameters(smote_factor=3)
    table, _ = synthesise(windows, signals, parameters)
    index = make_train_index(windows, table, parameters)
    assert set(index["split"]) == {"train"}
    assert index["synthetic"].sum() == 16
    assert set(index.loc[index["synthetic"], "path"].str.split("/").str[1]) == {"AUG"}
    # By hand: 8 rows of each class but F with 24; inverse frequency with mean 1.
    weights = index.groupby("aami_class")["class_weight"].first()
    assert np.allclose(weights["N"] / weights["F"], 3)
    assert np.isclose(weights.mean(), 1)


def test_smote_interpolates_all_views_and_the_rhythm_together() -> None:
    windows, signals = make_input()
    view = {"nperseg": 8, "noverlap": 4, "max_frequency_hz": 60}
    spectrogram = SpectrogramParameters(
        extra_views=(
            ViewParameters(of="beat", window_s=0.5, **view),
            ViewParameters(of="difference", window_s=0.25, **view),
        )
    )
    typical = StampedSignals({key: np.arange(90, dtype=np.float32) for key in signals}, MADE_OF)
    table, made = synthesise_windows(
        windows,
        signals,
        typical,
        RECORDS,
        spectrogram,
        BalancingParameters(smote_factor=3),
    )
    width = N_SAMPLES + 180 + 90
    synthetic = made["AUG/smote"].reshape(16, width)
    read = WindowReader(made, spectrogram, 360)
    np.testing.assert_array_equal(read(table), synthetic)
    same_stretch = synthetic[:, N_SAMPLES + 45 : N_SAMPLES + 135]
    np.testing.assert_allclose(synthetic[:, -90:], same_stretch - np.arange(90), atol=1e-4)
    fusion = windows[(windows["split"] == "train") & (windows["aami_class"] == "F")]
    real = WindowReader(signals, spectrogram, 360, typical)(fusion)
    seen = np.concatenate([real, fusion[["rr_previous_s"]].to_numpy(np.float32)], axis=1)
    for row, rr_s in zip(synthetic, table["rr_previous_s"], strict=True):
        # One share of one pair gives the signal and the interval alike.
        made_row = np.append(row, np.float32(rr_s)).astype(float)
        fits = [
            np.abs(a + share * (b - a) - made_row).max()
            for a in seen.astype(float)
            for b in seen.astype(float)
            if (spread := ((b - a) ** 2).sum()) > 0
            for share in [((made_row - a) @ (b - a)) / spread]
        ]
        assert min(fits) < 1e-4
