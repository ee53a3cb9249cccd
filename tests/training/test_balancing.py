"""Tests of balancing: SMOTE stays within class F of train, and the weights are the papers'."""

from __future__ import annotations

import logging
from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.ecg.splits import LeakError, check_no_leak
from cnns_spectrograms.ecg.windows import cut_windows
from cnns_spectrograms.parameters import BalancingParameters
from cnns_spectrograms.training.balancing import (
    class_weights,
    count_classes,
    make_smote_table,
    make_train_index,
    sampling_weights,
    select_smote_rows,
    smote_windows,
)

N_SAMPLES = 30


def make_x(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, N_SAMPLES)).astype(np.float32)


def find_segments(synthetic: np.ndarray, real: np.ndarray) -> list[tuple[int, int]]:
    """Return, for each synthetic row, the real pair whose segment it is nearest and lies on."""
    found = []
    for row in synthetic.astype(float):
        best = (np.inf, 0, 0)
        for i, a in enumerate(real.astype(float)):
            for j, b in enumerate(real.astype(float)[:i]):
                t = np.clip((row - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
                best = min(best, (float(np.abs(a + t * (b - a) - row).max()), i, j))
        assert best[0] < 1e-5
        found.append(best[1:])
    return found


class TestSmoteWindows:
    def test_every_row_lies_between_two_neighbours(self) -> None:
        real = make_x(12)
        synthetic = smote_windows(real, factor=4, k_neighbors=2, seed=0)
        assert synthetic.shape == (36, N_SAMPLES)
        assert synthetic.dtype == np.float32
        distance = np.linalg.norm(real[:, None] - real[None], axis=2)
        neighbours = np.argsort(distance, axis=1)[:, 1:3]
        pairs = find_segments(synthetic, real)
        assert all(j in neighbours[i] or i in neighbours[j] for i, j in pairs)
        assert len(set(pairs)) > 5

    def test_the_segment_check_can_fail(self) -> None:
        real = make_x(12)
        with pytest.raises(AssertionError):
            find_segments(real[:1] + np.float32(0.01), real)
        with pytest.raises(AssertionError):
            find_segments((2 * real[0] - real[1])[None], real)

    @pytest.mark.parametrize(
        ("n", "factor", "expected"), [(10, 5, 40), (7, 1.5, 4), (6, 1, 0), (10, 1.04, 0)]
    )
    def test_size(self, n: int, factor: float, expected: int) -> None:
        assert smote_windows(make_x(n), factor, 5, 0).shape == (expected, N_SAMPLES)

    def test_seed(self) -> None:
        real = make_x(10)
        first = smote_windows(real, 3, 5, 0)
        np.testing.assert_array_equal(first, smote_windows(real, 3, 5, 0))
        assert not np.array_equal(first, smote_windows(real, 3, 5, 1))

    def test_leaves_its_input_alone(self) -> None:
        real = make_x(10)
        smote_windows(real, 3, 5, 0)
        np.testing.assert_array_equal(real, make_x(10))

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_windows_give_none(self, n: int, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        synthetic = smote_windows(make_x(n), 5, 5, 0)
        assert synthetic.shape == (0, N_SAMPLES)
        assert synthetic.dtype == np.float32
        assert caplog.messages == [
            f"SMOTE needs 2 windows of class F and train has {n}: no synthetic window is made"
        ]

    @pytest.mark.parametrize("n", [2, 5])
    def test_few_windows_use_the_neighbours_there_are(
        self, n: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        real = make_x(n)
        synthetic = smote_windows(real, 3, 5, 0)
        assert len(synthetic) == 2 * n
        find_segments(synthetic, real)
        assert [f"so {n - 1} neighbours are used, not 5" in text for text in caplog.messages] == [
            True
        ]

    def test_enough_windows_log_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        smote_windows(make_x(6), 3, 5, 0)
        assert caplog.messages == []

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (np.zeros(30, np.float32), r"\(30,\)"),
            (np.where(make_x(6) > 2, np.nan, make_x(6)), "NaN or infinite"),
        ],
    )
    def test_wrong_arguments(self, x: np.ndarray, message: str) -> None:
        with pytest.raises(AssertionError, match=message):
            smote_windows(x, 5, 5, 0)


@pytest.fixture
def windows() -> pd.DataFrame:
    """Return windows of 12 records, 4 a split, each class twice a record, shuffled."""
    rows = [
        {
            "row_id": f"{record}_{i:06d}",
            "split": split,
            "db": "mitdb",
            "record_id": str(record),
            "patient_id": f"mitdb/{record}",
            "beat_idx": i,
            "sample": i * N_SAMPLES + N_SAMPLES // 2,
            "lead_idx": 0,
            "start": i * N_SAMPLES,
            "n_samples": N_SAMPLES,
            "aami_class": "NNNNSVFFQ"[i],
            "synthetic": False,
            "rr_previous_s": 0.8,
            "rr_next_s": 0.8,
            "rr_local_s": 0.8,
            "rr_record_s": 0.8,
            "path": f"{split}/mitdb/{record}_{i:06d}.png",
        }
        for record, split in enumerate(["train", "val", "test"] * 4)
        for i in range(9)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0, ignore_index=True)


class TestSmoteTouchesOnlyTheFOfTrain:
    def test_rows(self, windows: pd.DataFrame) -> None:
        rows = select_smote_rows(windows)
        assert len(rows) == 8
        assert set(rows["aami_class"]) == {"F"}
        assert set(rows["split"]) == {"train"}
        windows.loc[windows["row_id"] == rows["row_id"][0], "synthetic"] = True
        assert select_smote_rows(windows)["row_id"].tolist() == rows["row_id"].tolist()[1:]

    def test_no_other_window_reaches_a_synthetic_one(self, windows: pd.DataFrame) -> None:
        # Windows of F in train hold their record and beat number, all others the background.
        def run(background: float) -> np.ndarray:
            signals = {
                record_id: np.full(9 * N_SAMPLES, background, np.float32)
                for record_id in windows["record_id"].unique()
            }
            for row in windows.itertuples():
                if row.split == "train" and row.aami_class == "F":
                    number = int(row.record_id) + row.beat_idx
                    signals[row.record_id][row.start : row.start + N_SAMPLES] = number
            rows = select_smote_rows(windows)
            real = [
                cut_windows(signals[record_id], [start], N_SAMPLES)
                for record_id, start in zip(rows["record_id"], rows["start"], strict=True)
            ]
            return smote_windows(np.concatenate(real), 5, 3, 0)

        quiet = run(0)
        # Train has records 0, 3, 6, 9, whose F beats are 6 and 7.
        assert quiet.min() >= 6
        assert quiet.max() <= 16
        np.testing.assert_array_equal(quiet, run(1000))


class TestClassWeights:
    def test_counts_in_aami_order(self) -> None:
        counts = count_classes(pd.Series(["V", "N", "F", "N", "V", "N"]))
        assert counts.to_dict() == {"N": 3, "S": 0, "V": 2, "F": 1, "Q": 0}
        assert counts.index.tolist() == ["N", "S", "V", "F", "Q"]
        assert count_classes([]).tolist() == [0] * 5

    @pytest.mark.parametrize("bad", ["X", None])
    def test_unknown_class(self, bad: str | None) -> None:
        with pytest.raises(AssertionError, match="unknown AAMI class"):
            count_classes(["N", bad])

    @pytest.mark.parametrize(
        ("beta", "raw"),
        [
            # (1 - b) / (1 - b**n) for n = 8, 4, 2, 1
            (0.5, [128 / 255, 8 / 15, 2 / 3, 1]),
            (0.0, [1, 1, 1, 1]),
            (1.0, [1 / 8, 1 / 4, 1 / 2, 1]),
        ],
    )
    def test_hand_worked(self, beta: float, raw: list[float]) -> None:
        weights = class_weights(count_classes(list("NNNNNNNNSSSSVVF")), beta)
        expected = [4 * value / sum(raw) for value in raw]
        assert weights.tolist() == pytest.approx([*expected, 0])
        assert weights.index.tolist() == ["N", "S", "V", "F", "Q"]

    def test_inverse_frequency(self) -> None:
        weights = class_weights(pd.Series([8, 4, 2, 1, 0], index=list("NSVFQ")), 1)
        assert weights.tolist() == pytest.approx([4 / 15, 8 / 15, 16 / 15, 32 / 15, 0])

    @pytest.mark.parametrize("beta", ["0.9", "0.9999", "0.9999999999999"])
    def test_against_60_digits(self, beta: str) -> None:
        n = [132_357, 8_120, 8_989, 2_015, 2_139]
        with localcontext() as context:
            context.prec = 60
            b = Decimal(float(beta))
            raw = [(1 - b) / (1 - b**count) for count in n]
            expected = [float(5 * value / sum(raw)) for value in raw]
        weights = class_weights(pd.Series(n, index=list("NSVFQ")), float(beta))
        np.testing.assert_allclose(weights, expected, rtol=1e-12)

    def test_limit_is_inverse_frequency(self) -> None:
        counts = pd.Series([132_357, 8_120, 8_989, 2_015, 0], index=list("NSVFQ"))
        limit = class_weights(counts, 1)
        np.testing.assert_allclose(class_weights(counts, 1 - 1e-12), limit, rtol=1e-6)
        assert not np.allclose(class_weights(counts, 1 - 1e-4), limit, rtol=1e-2)


class TestSamplingWeights:
    def test_all_but_the_most_frequent_class_are_boosted(self) -> None:
        weights = sampling_weights(pd.Series(list("NVNFNN")), 6)
        assert weights.tolist() == [1, 6, 1, 6, 1, 1]

    def test_most_frequent_need_not_be_n(self) -> None:
        assert sampling_weights(list("QNQ"), 5).tolist() == [1, 5, 1]
        assert sampling_weights(list("VNVN"), 5).tolist() == [5, 1, 5, 1]  # of two, the first

    def test_boost_of_one_draws_all_alike(self) -> None:
        assert sampling_weights(list("NVNFNN"), 1).tolist() == [1] * 6


def smote_table(n: int) -> pd.DataFrame:
    return make_smote_table(np.full((n, 4), 0.8), N_SAMPLES)


class TestTrainIndex:
    def test_smote_table(self) -> None:
        table = make_smote_table(np.full((3, 4), [0.5, 0.9, 0.8, 0.7]), 900)
        assert table.to_dict("records")[2] == {
            "row_id": "smote_F_000002",
            "split": "train",
            "db": "AUG",
            "record_id": "smote",
            "patient_id": "synthetic",
            "beat_idx": -1,
            "sample": -1,
            "lead_idx": 0,
            "start": 1800,
            "n_samples": 900,
            "aami_class": "F",
            "synthetic": True,
            "rr_previous_s": 0.5,
            "rr_next_s": 0.9,
            "rr_local_s": 0.8,
            "rr_record_s": 0.7,
            "path": "train/AUG/smote_F_000002.png",
        }
        assert make_smote_table(np.empty((0, 4)), 900).dtypes.equals(table.dtypes)

    def test_starts_find_the_windows_laid_end_to_end(self) -> None:
        synthetic = make_x(4)
        starts = smote_table(4)["start"].to_numpy()
        np.testing.assert_array_equal(
            cut_windows(synthetic.reshape(-1), starts, N_SAMPLES), synthetic
        )

    def test_real_rows_of_train_then_synthetic(self, windows: pd.DataFrame) -> None:
        params = BalancingParameters(class_weight_beta=1, minority_boost=5)
        synthetic = smote_table(32)
        index = make_train_index(windows, synthetic, params)
        assert list(index.columns) == [*windows.columns, "class_weight", "sampling_weight"]
        assert index.index.equals(pd.RangeIndex(36 + 32))
        real = windows[windows["split"] == "train"].reset_index(drop=True)
        pd.testing.assert_frame_equal(index.loc[:35, list(windows.columns)], real)
        assert index["row_id"].tolist()[36:] == synthetic["row_id"].tolist()
        assert index["synthetic"].tolist() == [False] * 36 + [True] * 32
        # Train has N 16, S 4, V 4, F 8 + 32, Q 4: F is the most frequent, and
        # 1/n sums to 1/16 + 3/4 + 1/40 = .8375, .1675 on average.
        for name, n in {"N": 16, "S": 4, "V": 4, "F": 40, "Q": 4}.items():
            rows = index[index["aami_class"] == name]
            assert rows["class_weight"].tolist() == pytest.approx([1 / n / 0.1675] * n)
            assert rows["sampling_weight"].tolist() == [1.0 if name == "F" else 5.0] * n

    def test_val_and_test_do_not_count(self, windows: pd.DataFrame) -> None:
        params = BalancingParameters()
        alone = make_train_index(
            windows[windows["split"] == "train"],
            smote_table(8),
            params,
        )
        pd.testing.assert_frame_equal(
            make_train_index(windows, smote_table(8), params),
            alone,
        )

    def test_without_synthetic_rows(self, windows: pd.DataFrame) -> None:
        index = make_train_index(windows, smote_table(0), BalancingParameters())
        assert len(index) == 36
        assert index.dtypes[list(windows.columns)].equals(windows.dtypes)

    def test_passes_the_leak_check(self, windows: pd.DataFrame) -> None:
        check_no_leak(make_train_index(windows, smote_table(8), BalancingParameters()))

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_synthetic_row_outside_train_leaks(self, windows: pd.DataFrame, split: str) -> None:
        synthetic = smote_table(2)
        synthetic.loc[1, "split"] = split
        with pytest.raises(LeakError, match=rf"smote_F_000001 \({split}\)|synthetic in train"):
            make_train_index(windows, synthetic, BalancingParameters())

    def test_patient_in_two_splits_leaks(self, windows: pd.DataFrame) -> None:
        windows.loc[windows["record_id"] == "1", "patient_id"] = "mitdb/0"
        with pytest.raises(LeakError, match=r"mitdb/0 in train \(mitdb/0\), val \(mitdb/1\)"):
            make_train_index(windows, smote_table(2), BalancingParameters())

    @pytest.mark.parametrize(("column", "value"), [("aami_class", "V"), ("synthetic", False)])
    def test_only_synthetic_f_may_be_added(
        self, windows: pd.DataFrame, column: str, value: object
    ) -> None:
        synthetic = smote_table(2)
        synthetic.loc[1, column] = value
        with pytest.raises(AssertionError, match=r"real rows|class F alone"):
            make_train_index(windows, synthetic, BalancingParameters())

    def test_synthetic_rows_among_the_real(self, windows: pd.DataFrame) -> None:
        synthetic = smote_table(2)
        with pytest.raises(AssertionError, match="windows holds synthetic rows"):
            make_train_index(pd.concat([windows, synthetic]), synthetic, BalancingParameters())

    def test_no_train_row(self, windows: pd.DataFrame) -> None:
        with pytest.raises(AssertionError, match="no row in train"):
            make_train_index(
                windows[windows["split"] != "train"],
                smote_table(2),
                BalancingParameters(),
            )
