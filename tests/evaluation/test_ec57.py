"""EC57 comparison: cases worked by hand, WFDB's own matcher, output of `bxb`, real records."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.evaluation.ec57 import (
    EC57_LABELS,
    annotate_predictions,
    annotations_from_symbols,
    compare_annotations,
    ec57_counts,
    ec57_statistics,
    make_annotations,
    match_beats,
    read_annotations,
    summarise_ec57,
    tabulate_ec57,
)

FS = 100  # the match window is 15 samples


def cells(matrix: np.ndarray) -> dict[str, int]:
    """The cells that are not 0, named as in EC57: Vn is a V of the reference called N."""
    return {
        f"{EC57_LABELS[r]}{EC57_LABELS[c].lower()}": int(matrix[r, c])
        for r, c in zip(*np.nonzero(matrix), strict=True)
    }


def matrix_of(**counts: int) -> np.ndarray:
    matrix = np.zeros((7, 7), dtype=int)
    for name, count in counts.items():
        matrix[EC57_LABELS.index(name[0]), EC57_LABELS.index(name[1].upper())] = count
    return matrix


def compare(reference, test, **kwargs) -> dict[str, int]:
    kwargs = {"fs": FS, "learning_period_s": 0, **kwargs}
    return cells(compare_annotations(reference, test, **kwargs))


class TestByHand:
    # Fibrillation from 650 to 750. The N at 615 is 15 samples late, which is inside the window;
    # the V at 816 is 16 late, which is not.
    REFERENCE = annotations_from_symbols(
        [100, 200, 300, 400, 500, 600, 650, 700, 750, 800, 900],
        ["N", "V", "A", "F", "/", "L", "[", "!", "]", "R", "E"],
        fs=FS,
    )
    TEST = make_annotations([105, 190, 410, 500, 615, 700, 816, 900], [*"NNVVNVVV"])

    def test_every_pair_is_where_it_belongs(self) -> None:
        assert compare(self.REFERENCE, self.TEST) == {
            "Nn": 2, "Vn": 1, "So": 1, "Fv": 1, "Qv": 1, "No": 1, "Ov": 1, "Vv": 1,
        }  # fmt: skip

    def test_statistics(self) -> None:
        matrix = compare_annotations(self.REFERENCE, self.TEST, fs=FS, learning_period_s=0)
        assert ec57_counts(matrix) == {
            "QRS Se": (6, 8),
            "QRS +P": (6, 7),
            "VEB Se": (1, 2),
            "VEB +P": (1, 2),
            "VEB FPR": (1, 3),
            "SVEB Se": (0, 1),
            "SVEB +P": (0, 0),
            "SVEB FPR": (0, 7),
        }
        assert np.isnan(ec57_statistics(matrix)["SVEB +P"])

    @pytest.mark.parametrize(
        ("cell", "event", "expected"),
        [
            # A fusion or unclassifiable beat called V is not a false VEB; any other is.
            ("Fv", "VEB", (10, 10)), ("Qv", "VEB", (10, 10)), ("Nv", "VEB", (10, 11)),
            ("Sv", "VEB", (10, 11)), ("Ov", "VEB", (10, 11)), ("Xv", "VEB", (10, 11)),
            # An unclassifiable beat called S is not a false SVEB; any other is.
            ("Qs", "SVEB", (10, 10)), ("Fs", "SVEB", (10, 11)), ("Ns", "SVEB", (10, 11)),
            ("Vs", "SVEB", (10, 11)), ("Os", "SVEB", (10, 11)), ("Xs", "SVEB", (10, 11)),
        ],
    )  # fmt: skip
    def test_what_is_a_false_positive(self, cell, event, expected) -> None:
        matrix = matrix_of(Vv=10, Ss=10, Nn=10, **{cell: 1})
        counts = ec57_counts(matrix)
        assert counts[f"{event} +P"] == expected
        false, of = counts[f"{event} FPR"]
        assert false == expected[1] - 10
        assert of == 20 + false  # 10 N and 10 of the other ectopic class, rightly not called it

    @pytest.mark.parametrize("cell", ["Vn", "Vs", "Vf", "Vq", "Vo", "Vx"])
    def test_every_other_call_misses_a_veb(self, cell: str) -> None:
        assert ec57_counts(matrix_of(Vv=3, **{cell: 1}))["VEB Se"] == (3, 4)

    def test_two_pairs_inside_one_window(self) -> None:
        # The case in bxb's source of November 2002: a window of 37 samples.
        assert match_beats([96, 160], [128, 185], 37).tolist() == [[0, 0], [1, 1]]

    def test_a_beat_pairs_with_the_nearer_of_two(self) -> None:
        reference = make_annotations([100], ["N"])
        assert compare(reference, make_annotations([90, 103], [*"VN"])) == {"Nn": 1, "Ov": 1}
        assert compare(make_annotations([90, 103], [*"VN"]), reference) == {"Nn": 1, "Vo": 1}

    def test_nothing_to_compare(self) -> None:
        empty = make_annotations([], [])
        assert compare(empty, empty) == {}
        assert compare(make_annotations([5], ["S"]), empty) == {"So": 1}
        assert compare(empty, make_annotations([5], ["S"])) == {"Os": 1}


class TestLearningPeriod:
    def test_beats_before_its_end_are_not_counted(self) -> None:
        beats = make_annotations([100, 400, 600, 700], [*"VVNN"])
        assert compare(beats, beats, learning_period_s=5) == {"Nn": 2}

    def test_the_last_test_beat_before_may_pair_with_the_first_after(self) -> None:
        reference = make_annotations([502, 700], [*"NN"])
        test = make_annotations([498, 700], [*"VN"])
        assert compare(reference, test, learning_period_s=5) == {"Nv": 1, "Nn": 1}

    def test_a_test_beat_just_after_whose_partner_stands_before_is_dropped(self) -> None:
        reference = make_annotations([498, 700], [*"NN"])
        test = make_annotations([502, 700], [*"VN"])
        assert compare(reference, test, learning_period_s=5) == {"Nn": 1}

    def test_an_extra_beat_later_is_counted(self) -> None:
        reference = make_annotations([498, 700], [*"NN"])
        test = make_annotations([520, 700], [*"VN"])
        assert compare(reference, test, learning_period_s=5) == {"Ov": 1, "Nn": 1}


class TestShutdown:
    def test_missed_beats_are_x_while_the_test_annotator_is_shut_down(self) -> None:
        reference = make_annotations([100, 200, 300], [*"NVN"])
        test = annotations_from_symbols(
            [100, 150, 250, 300], ["N", "~", "~", "N"], [0, 0x30, 0, 0], fs=FS
        )
        assert compare(reference, test) == {"Nn": 2, "Vx": 1}

    def test_extra_beats_are_x_while_the_reference_is_shut_down(self) -> None:
        reference = annotations_from_symbols(
            [100, 150, 250, 300], ["N", "~", "~", "N"], [0, -1, 1, 0], fs=FS
        )
        assert compare(reference, make_annotations([100, 200, 300], [*"NVN"])) == {
            "Nn": 2,
            "Xv": 1,
        }

    def test_a_lone_mark_stands_for_the_gap_around_it(self) -> None:
        found = annotations_from_symbols([100, 200, 300], ["N", "~", "N"], [0, 0x30, 0], fs=FS)
        assert found.shutdown == [(115, 285)]

    def test_a_noise_mark_of_one_signal_is_no_shutdown(self) -> None:
        found = annotations_from_symbols([100, 200, 300], ["N", "~", "N"], [0, 0x10, 0], fs=FS)
        assert found.shutdown == []


class TestEpisodes:
    def test_beats_of_the_reference_inside_are_left_out(self) -> None:
        found = annotations_from_symbols([1, 5, 6, 9, 20], ["N", "[", "V", "]", "N"], fs=FS)
        assert found.sample.tolist() == [1, 20]
        assert found.vf == [(5, 9)]

    def test_one_that_never_ends_reaches_to_the_end(self) -> None:
        reference = annotations_from_symbols([10, 100], ["N", "["], fs=FS)
        assert compare(reference, make_annotations([10, 500], [*"NV"])) == {"Nn": 1}


class TestAgainstWfdb:
    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def test_detection_counts_are_those_of_its_matcher(self, data: st.DataObject) -> None:
        from wfdb.processing import compare_annotations as wfdb_compare

        n = data.draw(st.integers(1, 40))
        # More than two windows apart, so that no pair is ambiguous.
        steps = data.draw(st.lists(st.integers(70, 120), min_size=n, max_size=n))
        reference = np.cumsum(steps)
        shifts = data.draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n))
        keep = data.draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any))
        test = (reference + shifts)[np.array(keep)]
        expected = wfdb_compare(reference, test, 16)  # its window leaves out its own end
        matrix = compare_annotations(
            make_annotations(reference, ["N"] * n),
            make_annotations(test, ["N"] * len(test)),
            fs=FS,
            learning_period_s=0,
        )
        assert cells(matrix).get("Nn", 0) == expected.tp
        assert cells(matrix).get("On", 0) == expected.fp
        assert cells(matrix).get("No", 0) == expected.fn

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(st.tuples(st.integers(0, 500), st.sampled_from("NSVFQ")), max_size=30),
        st.lists(st.tuples(st.integers(0, 500), st.sampled_from("NSVFQ")), max_size=30),
    )
    def test_every_beat_is_counted_once(self, reference, test) -> None:
        pairs = [
            make_annotations([at for at, _ in beats], [name for _, name in beats])
            for beats in (reference, test)
        ]
        matrix = compare_annotations(*pairs, fs=FS, learning_period_s=0)
        for side, sums in zip((reference, test), (matrix.sum(1), matrix.sum(0)), strict=True):
            for position, name in enumerate("NSVFQ"):
                assert sums[position] == sum(label == name for _, label in side)
        swapped = compare_annotations(*pairs[::-1], fs=FS, learning_period_s=0)
        assert swapped.sum() >= max(len(reference), len(test))


class TestSeveralRecords:
    MATRICES: ClassVar = {"a": matrix_of(Nn=90, Vv=9, Vn=1), "b": matrix_of(Nn=10, Vn=1, Vv=1)}

    def test_gross_counts_beats_and_average_counts_records(self) -> None:
        found = summarise_ec57(self.MATRICES)
        assert found["gross"]["VEB"]["Se"] == pytest.approx(10 / 12)
        assert found["average"]["VEB"]["Se"] == pytest.approx((0.9 + 0.5) / 2)

    def test_a_record_without_svebs_leaves_their_average_alone(self) -> None:
        found = summarise_ec57({**self.MATRICES, "c": matrix_of(Ss=3, Sn=1)})
        assert found["average"]["SVEB"]["Se"] == 0.75
        assert found["n_records_averaged"]["SVEB"]["Se"] == 1
        assert found["average"]["SVEB"]["+P"] == 1
        alone = summarise_ec57({"a": self.MATRICES["a"]})
        assert alone["gross"]["SVEB"]["Se"] is None
        assert alone["average"]["SVEB"]["Se"] is None

    def test_table_has_a_row_a_record(self) -> None:
        table = tabulate_ec57(self.MATRICES)
        assert table["record"].tolist() == ["a", "b", "gross", "average"]
        assert table["Vn"].tolist()[:3] == [1, 1, 2]
        assert table["VEB Se"].tolist() == pytest.approx([0.9, 0.5, 10 / 12, 0.7])
        assert table["SVEB Se"].isna().all()
        assert "Oo" not in table.columns
        assert len([name for name in table.columns if len(name) == 2]) == 45


class TestInput:
    def test_a_record_without_a_prediction_misses_every_beat(self) -> None:
        predictions = pd.DataFrame(
            {"db": ["x"], "record_id": ["1"], "sample": [400], "predicted": ["V"]}
        )
        beats = make_annotations([400, 500], [*"VN"])
        found = annotate_predictions(predictions, ["x/1", "x/2"])
        assert compare(beats, found["x/1"], learning_period_s=0) == {"Vv": 1, "No": 1}
        assert compare(beats, found["x/2"], learning_period_s=0) == {"Vo": 1, "No": 1}

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"100\.atr"):
            read_annotations(tmp_path / "100", "atr", fs=360)


class TestRealRecords:
    def test_published_output_of_bxb_for_the_first_minute_of_record_100(self, physionet) -> None:
        """WFDB's checkpkg/expected/bxb.out: `bxb -r 100s -a atr ann -f 0`, 74 N called N."""
        whole = read_annotations(physionet / "mitdb/100", "atr", fs=360)
        minute = whole.sample < 60 * 360
        beats = make_annotations(whole.sample[minute], whole.label[minute])
        counts = compare(beats, beats, fs=360)
        # That report is one without SVEBs (-s), which counts S with N.
        assert counts.pop("Nn") + counts.pop("Ss") == 74
        assert counts == {}

    @pytest.mark.parametrize("record", ["mitdb/207", "mitdb/213", "svdb/860"])
    def test_a_record_agrees_with_itself(self, physionet, record: str) -> None:
        beats = read_annotations(physionet / record, "atr", fs=360)
        matrix = compare_annotations(beats, beats, fs=360)
        after = beats.sample >= 300 * 360
        assert matrix.sum() == np.trace(matrix) == after.sum()

    def test_the_flutter_of_207_is_left_out(self, physionet) -> None:
        reference = read_annotations(physionet / "mitdb/207", "atr", fs=360)
        assert len(reference.vf) == 6
        first, last = reference.vf[0]
        inside = make_annotations([*reference.sample, (first + last) // 2], [*reference.label, "V"])
        matrix = compare_annotations(reference, inside, fs=360, learning_period_s=0)
        assert cells(matrix).get("Ov", 0) == 0
        assert matrix.sum() == len(reference.sample)

    def test_times_of_another_rate_are_brought_to_one(self, physionet) -> None:
        at_128 = read_annotations(physionet / "svdb/800", "atr", fs=128)
        at_360 = read_annotations(physionet / "svdb/800", "atr", fs=360)
        np.testing.assert_allclose(at_360.sample / 360, at_128.sample / 128, atol=0.5 / 360)
