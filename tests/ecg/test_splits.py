"""Tests of the splits: leaks are caught, and the written-out lists can be made again."""

from __future__ import annotations

import logging
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, map_symbols
from cnns_spectrograms.ecg.records import patient_of
from cnns_spectrograms.ecg.splits import (
    LeakError,
    assign_splits,
    check_no_leak,
    name_corrected,
    stratified_record_split,
)
from cnns_spectrograms.parameters import CORRECTED, SplitParameters

CONF = Path(__file__).resolve().parents[2] / "conf"

# de Chazal et al. 2004
DS1 = """101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223
230"""
DS2 = """100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233
234"""
MITDB_TEST = {*DS2.split(), "107", "217"}
MITDB_TRAIN_AND_VAL = {*DS1.split(), "102", "104"} - {"201"}
SOURCE_TEST = {
    "mitdb": "108 113 117 123 124",
    "svdb": "821 822 851 852 854 855 859 860 863 866 868 869 870 879 881 884 885 891 892",
}


def make_windows(records: dict[str, int], db: str = "mitdb") -> pd.DataFrame:
    """Return a windows table without split and path: record -> number of windows."""
    rows = [
        {
            "row_id": f"{record_id}_{i:06d}",
            "db": db,
            "record_id": record_id,
            "patient_id": patient_of(db, record_id),
            "beat_idx": i,
            "aami_class": "N",
            "synthetic": False,
        }
        for record_id, n in records.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def make_protocol(**lists: list[str]) -> SplitParameters:
    return SplitParameters(protocol="p", records={"mitdb": lists})


class TestAssignSplits:
    def test_a_corrected_record_takes_the_place_of_its_original(self) -> None:
        corrected = make_windows({name_corrected("mitdb", "r-4"): 1}, db=CORRECTED)
        corrected["patient_id"] = "mitdb/r-4"
        windows = pd.concat([make_windows({"r-4": 1, "101": 1, "102": 1}), corrected])
        protocol = make_protocol(train=["r-4"], val=["101"], test=["102"])
        table = assign_splits(windows, protocol)
        train = table[table["split"] == "train"]
        assert train["db"].tolist() == [CORRECTED]

    @pytest.mark.parametrize("split", ["train", "unused"])
    def test_a_corrected_record_is_of_the_patient_of_its_original(self, split: str) -> None:
        original = make_windows({"100": 1}).assign(patient_id="mitdb/p")
        corrected = make_windows({name_corrected("mitdb", "100"): 1}, db=CORRECTED)
        others = make_windows({"101": 1, "102": 1, "103": 1})
        lists = {"train": ["103"], "val": ["101"], "test": ["102"]}
        lists[split] = [*lists.get(split, []), "100"]
        protocol = make_protocol(**lists)
        windows = pd.concat([original, others, corrected.assign(patient_id="mitdb/100")])
        with pytest.raises(LeakError, match=r"mitdb-100 is of patient mitdb/100, .* of mitdb/p"):
            assign_splits(windows, protocol)
        windows = pd.concat([original, others, corrected.assign(patient_id="mitdb/p")])
        train = assign_splits(windows, protocol).query("split == 'train'")
        assert set(train["patient_id"]) == {"mitdb/p", "mitdb/103"}

    def test_split_and_path(self) -> None:
        table = assign_splits(
            make_windows({"100": 2, "101": 1, "102": 1}),
            make_protocol(train=["102"], val=["101"], test=["100"]),
        )
        assert table["split"].tolist() == ["test", "test", "val", "train"]
        assert table["path"].tolist() == [
            "test/mitdb/100_000000.png",
            "test/mitdb/100_000001.png",
            "val/mitdb/101_000000.png",
            "train/mitdb/102_000000.png",
        ]

    def test_unused_records_are_dropped_and_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        windows = make_windows({"201": 3, "100": 2, "101": 1, "202": 1})
        table = assign_splits(
            windows, make_protocol(train=["101"], val=["100"], test=["202"], unused=["201", "999"])
        )
        assert table["record_id"].tolist() == ["100", "100", "101", "202"]
        assert table.index.equals(pd.RangeIndex(4))
        assert "Dropped 3 windows of unused records: mitdb/201 (3)" in caplog.messages
        assert len(windows) == 7
        assert "split" not in windows

    def test_empty_split_warns(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        assign_splits(make_windows({"100": 1, "101": 1}), make_protocol(train=["100", "101"]))
        assert caplog.messages == [
            "Protocol p: 0 windows in val",
            "Protocol p: 0 windows in test",
        ]

    def test_unlisted_record_is_named(self) -> None:
        windows = pd.concat([make_windows({"100": 1, "101": 1}), make_windows({"800": 1}, "svdb")])
        with pytest.raises(ValueError, match=r"^2 records .* 'p': mitdb/101, svdb/800; list each"):
            assign_splits(windows, make_protocol(train=["100"]))

    def test_listed_record_without_windows_is_named(self) -> None:
        protocol = make_protocol(train=["100", "101"], test=["102"])
        with pytest.raises(ValueError, match=r"^2 records .* mitdb/101, mitdb/102; ingest them"):
            assign_splits(make_windows({"100": 1}), protocol)
        with pytest.raises(ValueError, match=r"^1 records .* mitdb/102; ingest them"):
            assign_splits(make_windows({"100": 1}), protocol, skipped=["mitdb/101"])
        table = assign_splits(
            make_windows({"100": 1}), protocol, skipped={"mitdb/101", "mitdb/102"}
        )
        assert len(table) == 1

    def test_one_patient_trained_and_tested(self) -> None:
        with pytest.raises(LeakError, match=r"train \(mitdb/201\), test \(mitdb/202\)"):
            assign_splits(
                make_windows({"201": 2, "202": 2, "100": 1}),
                make_protocol(train=["201"], val=["100"], test=["202"]),
            )


@pytest.fixture
def sound() -> pd.DataFrame:
    """Return a sound windows table of three splits."""
    return assign_splits(
        make_windows({"100": 2, "101": 2, "201": 2, "202": 2}),
        make_protocol(train=["201", "202"], val=["101"], test=["100"]),
    )


class TestCheckNoLeak:
    def test_sound_table_passes(self, sound: pd.DataFrame) -> None:
        check_no_leak(sound)
        sound.loc[4, "synthetic"] = True  # of train
        check_no_leak(sound)

    def test_patient_in_two_splits(self, sound: pd.DataFrame) -> None:
        sound.loc[sound["record_id"] == "202", "split"] = "val"
        with pytest.raises(LeakError) as error:
            check_no_leak(sound)
        text = str(error.value)
        assert "1 patient(s)" in text
        assert f"{patient_of('mitdb', '201')} in train (mitdb/201), val (mitdb/202)" in text

    def test_one_row_is_enough(self, sound: pd.DataFrame) -> None:
        sound.loc[0, "split"] = "val"
        with pytest.raises(LeakError, match=r"val \(mitdb/100\), test \(mitdb/100\)"):
            check_no_leak(sound)

    def test_record_in_two_splits_under_two_patient_names(self, sound: pd.DataFrame) -> None:
        sound.loc[0, ["split", "patient_id"]] = ["train", "someone else"]
        with pytest.raises(LeakError, match=r"1 record\(s\) .* train \(mitdb/100\), test"):
            check_no_leak(sound)

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_synthetic_row_outside_train(self, sound: pd.DataFrame, split: str) -> None:
        row = {"row_id": "smote_F_000000", "db": "AUG", "record_id": "smote", "synthetic": True}
        row |= {"patient_id": "synthetic", "split": split, "path": "x.png"}
        leaky = pd.concat([sound, pd.DataFrame([row])], ignore_index=True)
        with pytest.raises(LeakError, match=rf"1 synthetic row.*smote_F_000000 \({split}\)"):
            check_no_leak(leaky)

    @pytest.mark.parametrize("column", ["row_id", "path"])
    def test_repeated_names(self, sound: pd.DataFrame, column: str) -> None:
        sound.loc[1, column] = sound.loc[0, column]
        with pytest.raises(LeakError, match=rf"1 value\(s\) of {column} .*100_000000"):
            check_no_leak(sound)

    def test_split_by_window_names_five_patients_and_counts_the_rest(self) -> None:
        windows = make_windows({str(record): 2 for record in range(100, 107)})
        windows["split"] = ["train", "test"] * 7
        windows["path"] = windows["row_id"]
        with pytest.raises(LeakError, match=r"^7 patient\(s\).* and 2 more"):
            check_no_leak(windows)


count_tables = st.integers(3, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0, 0, 0, 1, 5, 30, 400]), min_size=5, max_size=5),
        min_size=n,
        max_size=n,
    )
)


class TestStratifiedRecordSplit:
    def test_hand_worked(self) -> None:
        # Shares (N, S): a (.1, .8), b (.5, .1), c (.2, .1), d (.2, 0). Richest first: a, b, c, d.
        # a: half of it fills .85 of train's half as of val's: train has .6, so train.
        # b: train (.1+.25)*.5 + (.8+.05)*.1 = .26, /.6 = .433; val .25*.5 + .05*.1 = .13, /.4 =
        # .325: val.
        # c: train (.1+.1)*.2 + (.8+.05)*.1 = .125, /.6 = .208; val (.5+.1)*.2 + (.1+.05)*.1 =
        # .135, /.4 = .3375: train.
        # d: train (.3+.1)*.2 = .08, /.6 = .133; val (.5+.1)*.2 = .12, /.4 = .3: train.
        counts = pd.DataFrame(
            {"N": [10, 50, 20, 20], "S": [8, 1, 1, 0]}, index=["a", "b", "c", "d"]
        )
        found = stratified_record_split(counts, {"train": 0.6, "val": 0.4}, seed=0)
        assert found == {"train": ["a", "c", "d"], "val": ["b"]}

    @given(table=count_tables, seed=st.integers(0, 5))
    @settings(deadline=None, max_examples=150)
    def test_properties(self, table: list[list[int]], seed: int) -> None:
        names = [f"r{i}" for i in range(len(table))]
        counts = pd.DataFrame(table, index=names, columns=list(AAMI_CLASSES))
        fractions = {"train": 0.6, "val": 0.15, "test": 0.25}
        holders = {c: counts.index[counts[c] > 0].tolist() for c in counts}
        alone = {held[0] for held in holders.values() if len(held) == 1}
        if len(names) - len(alone) < 2:
            with pytest.raises(ValueError, match="no record is left for"):
                stratified_record_split(counts, fractions, seed)
            return
        found = stratified_record_split(counts, fractions, seed)
        assert sorted(chain.from_iterable(found.values())) == sorted(names)
        assert all(found.values())
        assert alone <= set(found["train"])
        assert stratified_record_split(counts, fractions, seed) == found

    @given(table=count_tables, seed=st.integers(0, 5))
    @settings(deadline=None, max_examples=100)
    def test_train_has_every_class_when_there_are_records_to_spare(
        self, table: list[list[int]], seed: int
    ) -> None:
        # Nine plain records, so that no split depends on a rare one to be filled.
        table = [*table, *[[100, 0, 0, 0, 0]] * 9]
        counts = pd.DataFrame(table, index=[f"r{i}" for i in range(len(table))])
        found = stratified_record_split(counts, {"train": 0.3, "val": 0.3, "test": 0.4}, seed)
        has = counts.loc[found["train"]].sum() > 0
        assert has[counts.sum() > 0].all()

    def test_like_records_are_shared_by_the_fractions_and_the_seed(self) -> None:
        counts = pd.DataFrame({"N": 100, "V": 7}, index=[f"{i:03d}" for i in range(100)])
        fractions = {"train": 0.6, "val": 0.15, "test": 0.25}
        first, second = (stratified_record_split(counts, fractions, seed) for seed in (0, 1))
        for found in (first, second):
            assert {name: len(ids) for name, ids in found.items()} == {
                "train": 60,
                "val": 15,
                "test": 25,
            }
        assert first != second

    def test_pins_and_patients(self) -> None:
        rng = np.random.default_rng(3)
        counts = pd.DataFrame(rng.integers(0, 50, (12, 5)), index=list("abcdefghijkl"))
        fractions = {"train": 0.7, "val": 0.3}
        patients = {"a": "x", "f": "x", "l": "x"}
        for pin in fractions:
            found = stratified_record_split(
                counts, fractions, 0, pinned={"b": pin, "f": pin}, patients=patients
            )
            assert {"a", "b", "f", "l"} <= set(found[pin])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"fractions": {"train": 0.5, "val": 0.4}}, "0.4"),
            ({"fractions": {"val": 0.5, "test": 0.5}}, "0.5"),
            ({"fractions": {"train": 0.5, "dev": 0.5}}, "dev"),
            ({"fractions": {"train": 1.0, "val": 0.0}}, "0.0"),
            ({"pinned": {"z": "train"}}, "pinned is .*z"),
            ({"pinned": {"a": "test"}}, "one of the splits train, val"),
            (
                {"pinned": {"a": "train", "b": "val"}, "patients": {"a": "x", "b": "x"}},
                r"patient x into train and into val \(record b\)",
            ),
            ({"pinned": {"a": "train", "b": "train", "c": "train"}}, "no record is left for val"),
            ({"counts": pd.DataFrame({"N": [1, 2]}, index=["a", "a"])}, "several rows"),
        ],
    )
    def test_wrong_arguments(self, change: dict, message: str) -> None:
        arguments = {
            "counts": pd.DataFrame({"N": [1, 2, 3]}, index=["a", "b", "c"]),
            "fractions": {"train": 0.5, "val": 0.5},
            "seed": 0,
        }
        with pytest.raises(ValueError, match=message):
            stratified_record_split(**(arguments | change))


def read_protocol(environment: str) -> SplitParameters:
    named = environment in ("base", "source", "mitdb_to_svdb")
    folder = CONF / ("base" if named else environment) / "feature_engineering"
    values = yaml.safe_load((folder / "parameters_split.yml").read_text())
    return SplitParameters(**(values["_protocols"][environment] if named else values["split"]))


def lists_of(protocol: SplitParameters, db: str, *splits: str) -> dict[str, list[str]]:
    return {split: sorted(protocol.records[db][split]) for split in splits}


@pytest.fixture(scope="module")
def counts(physionet: Path) -> dict[str, pd.DataFrame]:
    """Return database -> beats of each class by record, counted from the annotations."""
    import wfdb

    tables = {}
    for db in ("mitdb", "svdb"):
        rows = {}
        for record_id in (physionet / db / "RECORDS").read_text().split():
            symbols = wfdb.rdann(str(physionet / db / record_id), "atr").symbol
            found = [name for name in map_symbols(symbols) if name is not None]
            rows[record_id] = {name: found.count(name) for name in AAMI_CLASSES}
        tables[db] = pd.DataFrame.from_dict(rows, orient="index")
    return tables


# wfdb 4.3 calls set_index(inplace=True), which pandas 3.1 deprecates.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.set_index")
class TestProtocols:
    def test_counts_are_those_of_the_databases(self, counts: dict[str, pd.DataFrame]) -> None:
        assert counts["mitdb"].sum().tolist() == [90631, 2781, 7236, 803, 8043]
        assert counts["svdb"].sum().tolist() == [162340, 12198, 9943, 23, 79]

    def test_base_tests_ds2_and_the_paced_107_and_217(self) -> None:
        mitdb = read_protocol("base").records["mitdb"]
        assert set(mitdb["test"]) == MITDB_TEST
        assert mitdb["unused"] == ["201"]
        assert {*mitdb["train"], *mitdb["val"]} == MITDB_TRAIN_AND_VAL

    def test_base_mitdb_can_be_made_again(self, counts: dict[str, pd.DataFrame]) -> None:
        found = stratified_record_split(
            counts["mitdb"].loc[sorted(MITDB_TRAIN_AND_VAL)],
            {"train": 0.8, "val": 0.2},
            seed=0,
            pinned={"208": "train", "104": "val"},
        )
        assert lists_of(read_protocol("base"), "mitdb", "train", "val") == found

    def test_base_svdb_can_be_made_again(self, counts: dict[str, pd.DataFrame]) -> None:
        found = stratified_record_split(
            counts["svdb"], {"train": 0.6, "val": 0.15, "test": 0.25}, seed=0
        )
        assert lists_of(read_protocol("base"), "svdb", "train", "val", "test") == found

    @pytest.mark.parametrize("db", ["mitdb", "svdb"])
    def test_source_can_be_made_again(self, counts: dict[str, pd.DataFrame], db: str) -> None:
        found = stratified_record_split(
            counts[db].drop(SOURCE_TEST[db].split()),
            {"train": 0.85, "val": 0.15},
            seed=0,
            patients={"201": "201/202", "202": "201/202"} if db == "mitdb" else None,
        )
        found["test"] = SOURCE_TEST[db].split()
        assert lists_of(read_protocol("source"), db, "train", "val", "test") == found

    def test_mitdb_to_svdb_can_be_made_again(self, counts: dict[str, pd.DataFrame]) -> None:
        found = stratified_record_split(
            counts["mitdb"],
            {"train": 0.8, "val": 0.2},
            seed=0,
            pinned={"208": "train", "213": "val"},
            patients={"201": "201/202", "202": "201/202"},
        )
        protocol = read_protocol("mitdb_to_svdb")
        assert lists_of(protocol, "mitdb", "train", "val") == found
        assert protocol.records["svdb"] == {"test": sorted(counts["svdb"].index)}

    def test_svdb_gets_its_fractions_of_every_class(self, counts: dict[str, pd.DataFrame]) -> None:
        svdb = counts["svdb"]
        for split, wanted in {"train": 0.6, "val": 0.15, "test": 0.25}.items():
            share = svdb.loc[read_protocol("base").records["svdb"][split]].sum() / svdb.sum()
            assert share[["N", "S", "V", "Q"]].tolist() == pytest.approx([wanted] * 4, abs=0.02)

    @pytest.mark.parametrize("environment", ["base", "source", "mitdb_to_svdb"])
    @pytest.mark.parametrize("db", ["mitdb", "svdb"])
    def test_every_record_of_the_databases_is_listed(
        self, counts: dict[str, pd.DataFrame], environment: str, db: str
    ) -> None:
        lists = read_protocol(environment).records[db]
        assert sorted(chain.from_iterable(lists.values())) == sorted(counts[db].index)

    @pytest.mark.parametrize("environment", ["base", "source", "mitdb_to_svdb", "quick"])
    def test_no_patient_stands_in_two_splits(self, environment: str) -> None:
        protocol = read_protocol(environment)
        assert protocol.protocol == environment
        tables = [
            make_windows({record_id: 1 for ids in lists.values() for record_id in ids}, db)
            for db, lists in protocol.records.items()
        ]
        assign_splits(pd.concat(tables, ignore_index=True), protocol)

    def test_base_with_201_in_train_leaks(self) -> None:
        protocol = read_protocol("base").model_dump()
        lists = protocol["records"]["mitdb"]
        lists["train"].append(lists["unused"].pop())
        windows = make_windows({record_id: 1 for ids in lists.values() for record_id in ids})
        protocol["records"] = {"mitdb": lists}
        with pytest.raises(LeakError, match=r"train \(mitdb/201\), test \(mitdb/202\)"):
            assign_splits(windows, SplitParameters(**protocol))

    @pytest.mark.parametrize("environment", ["base", "quick"])
    def test_every_split_has_every_class(
        self, counts: dict[str, pd.DataFrame], environment: str
    ) -> None:
        protocol = read_protocol(environment)
        for split in ("train", "val", "test"):
            total = sum(counts[db].loc[ids[split]].sum() for db, ids in protocol.records.items())
            assert (total >= 20).all(), f"{split}: {total.to_dict()}"

    def test_quick_is_a_part_of_base(self) -> None:
        base, quick = read_protocol("base").records, read_protocol("quick").records
        sizes = {db: sum(len(ids) for ids in lists.values()) for db, lists in quick.items()}
        assert sizes == {"mitdb": 12, "svdb": 8}
        for db, lists in quick.items():
            for split, ids in lists.items():
                assert set(ids) <= set(base[db][split])
