"""Ingestion: what is read from the real databases, and what bad input gets."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.download import DownloadError
from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.evaluation.bootstrap import bootstrap_scores
from cnns_spectrograms.parameters import (
    ExecutionParameters,
    IngestionParameters,
    SplitParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.feature_engineering import make_windows
from cnns_spectrograms.pipelines.ingestion import (
    check_databases,
    check_downloads,
    ingest_records,
)
from cnns_spectrograms.recordings.errors import RecordError

# Counted by hand from the annotation files, with the symbols of AAMI EC57.
COUNTS = {
    "mitdb": {"N": 90631, "S": 2781, "V": 7236, "F": 803, "Q": 8043},
    "svdb": {"N": 162340, "S": 12198, "V": 9943, "F": 23, "Q": 79},
}
EXECUTION = ExecutionParameters(n_jobs=1)


def make_parameters(**changes) -> IngestionParameters:
    return IngestionParameters(**{"databases": {"mitdb": None}, "download": False, **changes})


@pytest.fixture
def folder(tmp_path: Path, physionet: Path) -> Path:
    """Two real records in a database of their own."""
    (tmp_path / "mitdb").mkdir()
    for record_id in ("100", "114"):
        for suffix in (".hea", ".dat", ".atr"):
            shutil.copy(physionet / "mitdb" / (record_id + suffix), tmp_path / "mitdb")
    (tmp_path / "mitdb" / "RECORDS").write_text("100\n114\n")
    return tmp_path


# Two records of one patient; the second names its lead.
RECORDS = {"r1": "p", "r2": {"patient": "p", "lead": "V5"}, "r3": None, "r4": None}


class TestPatients:
    """What is known of a database's records reaches every table."""

    @pytest.fixture
    def tables(self, tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        (tmp_path / "own").mkdir()
        for i, name in enumerate(RECORDS):
            wfdb.wrsamp(
                name,
                fs=360,
                units=["mV", "mV"],
                sig_name=["II", "V5"],
                d_signal=np.random.default_rng(i).integers(-500, 500, (3600, 2)),
                fmt=["16", "16"],
                adc_gain=[200.0, 200.0],
                baseline=[0, 0],
                write_dir=str(tmp_path / "own"),
            )
            at = np.arange(1, 10) * 360
            wfdb.wrann(name, "atr", at, [*"NNVNNNVNN"], write_dir=str(tmp_path / "own"))
        parameters = make_parameters(databases={"own": RECORDS})
        listed = check_databases(tmp_path, parameters)
        _, beats, records, report = ingest_records(tmp_path, listed, parameters, EXECUTION)
        assert report["leads"] == {"II": 3, "V5": 1}
        return beats, records

    @staticmethod
    def make_windows(tables, **splits: list[str]) -> pd.DataFrame:
        split = SplitParameters(protocol="p", records={"own": splits})
        return make_windows(*tables, WindowParameters(), split)

    def test_every_lead_gives_windows_and_a_missing_one_a_warning(
        self, tables, tmp_path: Path, caplog
    ) -> None:
        parameters = make_parameters(databases={"own": RECORDS}, n_leads=3)
        listed = check_databases(tmp_path, parameters)
        signals, beats, records, report = ingest_records(tmp_path, listed, parameters, EXECUTION)
        assert "4 records have fewer than 3 leads" in caplog.text
        assert "own/r1, own/r2, own/r3, own/r4" in caplog.text
        assert [*signals] == [f"own/r{i}{lead}" for i in range(1, 5) for lead in ("", ".2")]
        assert report["n_signals"] == 8
        splits = {"train": ["r1", "r2"], "val": ["r3"], "test": ["r4"]}
        windows = self.make_windows((beats, records), **splits)
        one = self.make_windows(tables, **splits)
        assert windows["lead_idx"].value_counts().to_dict() == {0: len(one), 1: len(one)}

    def test_they_are_in_every_table(self, tables) -> None:
        beats, records = tables
        assert records["patient_id"].tolist() == ["own/p", "own/p", "own/r3", "own/r4"]
        windows = self.make_windows(tables, train=["r1", "r2"], val=["r3"], test=["r4"])
        for table in (beats, windows):
            patients = table.groupby("record_id")["patient_id"].unique().to_dict()
            assert {name: [*each] for name, each in patients.items()} == {
                "r1": ["own/p"],
                "r2": ["own/p"],
                "r3": ["own/r3"],
                "r4": ["own/r4"],
            }

    def test_one_in_two_splits_stops_the_run(self, tables) -> None:
        with pytest.raises(LeakError, match=r"own/p in train \(own/r1\), test \(own/r2\)"):
            self.make_windows(tables, train=["r1"], val=["r3"], test=["r2", "r4"])

    def test_intervals_are_over_patients(self, tables) -> None:
        beats, _ = tables
        predictions = beats.assign(
            row_id=beats.index,
            split="test",
            predicted="N",
            **{f"prob_{name}": 0.2 for name in AAMI_CLASSES},
        )
        assert bootstrap_scores(predictions, n_resamples=9)["n_patients"] == 3


class TestIngestRecords:
    @pytest.mark.slow
    def test_counts_of_the_whole_databases(self, physionet: Path) -> None:
        parameters = make_parameters(databases={"mitdb": None, "svdb": None})
        listed = check_databases(physionet, parameters)
        signals, beats, records, report = ingest_records(
            physionet, listed, parameters, ExecutionParameters(n_jobs=2)
        )
        assert report["beats_by_class"] == COUNTS
        assert report["n_records"] == 126
        assert report["skipped"] == []
        assert len(records) == len(signals) == 126
        assert len(beats) == sum(sum(counts.values()) for counts in COUNTS.values())
        # The first lead is MLII in 45 records; 114 has it second; 102 and 104 have none.
        assert report["leads"] == {"ECG1": 78, "MLII": 46, "V5": 2}

    def test_order_and_form_do_not_depend_on_workers(self, folder: Path) -> None:
        listed = check_databases(folder, make_parameters())
        one = ingest_records(folder, listed, make_parameters(), EXECUTION)
        two = ingest_records(folder, listed, make_parameters(), ExecutionParameters(n_jobs=2))
        pd.testing.assert_frame_equal(one[1], two[1])
        pd.testing.assert_frame_equal(one[2], two[2])
        assert list(one[0]) == list(two[0]) == ["mitdb/100", "mitdb/114"]
        for key, signal in one[0].items():
            assert signal.dtype == np.float32
            np.testing.assert_array_equal(signal, two[0][key])

    def test_a_bad_record_stops_the_run_by_name(self, folder: Path) -> None:
        path = folder / "mitdb" / "100.dat"
        path.write_bytes(path.read_bytes()[:-3000])
        listed = check_databases(folder, make_parameters())
        with pytest.raises(RecordError, match=r"(?s)mitdb/100.*on_bad_record to skip"):
            ingest_records(folder, listed, make_parameters(), EXECUTION)

    def test_or_is_skipped_and_named_in_the_report(self, folder: Path) -> None:
        path = folder / "mitdb" / "100.dat"
        path.write_bytes(path.read_bytes()[:-3000])
        parameters = make_parameters(on_bad_record="skip")
        signals, beats, records, report = ingest_records(
            folder, check_databases(folder, parameters), parameters, EXECUTION
        )
        assert list(signals) == ["mitdb/114"]
        assert set(beats["record_id"]) == {"114"}
        assert records.set_index("record_id")["status"].to_dict() == {
            "100": "skipped",
            "114": "ok",
        }
        (skipped,) = report["skipped"]
        assert (skipped["db"], skipped["record_id"]) == ("mitdb", "100")
        assert "100" in skipped["reason"]

    def test_nothing_left_to_read_is_an_error_even_when_skipping(self, folder: Path) -> None:
        for record_id in ("100", "114"):
            (folder / "mitdb" / f"{record_id}.atr").write_bytes(b"")
        parameters = make_parameters(on_bad_record="skip")
        with pytest.raises(RecordError, match="none of 2 records"):
            ingest_records(folder, check_databases(folder, parameters), parameters, EXECUTION)

    @pytest.mark.parametrize("suffix", [".dat", ".atr"])
    def test_a_missing_file_is_skipped_by_name_too(self, folder: Path, suffix: str) -> None:
        (folder / "mitdb" / f"100{suffix}").unlink()
        parameters = make_parameters(on_bad_record="skip")
        *_, report = ingest_records(
            folder, check_databases(folder, parameters), parameters, EXECUTION
        )
        (skipped,) = report["skipped"]
        assert skipped["reason"] == f"mitdb/100: 100{suffix} is missing"

    def test_a_lead_that_some_records_lack_is_read_where_it_is(self, folder: Path) -> None:
        parameters = make_parameters(preferred_lead="V5")
        _, beats, records, _ = ingest_records(
            folder, check_databases(folder, parameters), parameters, EXECUTION
        )
        assert records.set_index("record_id")["lead"].to_dict() == {"100": "V5", "114": "V5"}
        parameters = make_parameters(preferred_lead=None)
        _, beats, records, _ = ingest_records(
            folder, check_databases(folder, parameters), parameters, EXECUTION
        )
        assert records.set_index("record_id")["lead"].to_dict() == {"100": "MLII", "114": "V5"}
        assert set(beats.loc[beats["record_id"] == "114", "lead"]) == {"V5"}

    def test_a_lead_that_no_record_has_is_refused(self, folder: Path) -> None:
        parameters = make_parameters(preferred_lead="aVL")
        with pytest.raises(RecordError, match=r"'aVL'; found MLII, V5\. Set ingestion"):
            ingest_records(folder, check_databases(folder, parameters), parameters, EXECUTION)

    def test_a_database_without_the_default_lead_is_read_on_another(
        self, physionet: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        parameters = make_parameters(databases={"svdb": ["800"]})
        listed = check_databases(physionet, parameters)
        _, _, records, _ = ingest_records(physionet, listed, parameters, EXECUTION)
        assert records["lead"].tolist() == ["ECG1"]
        assert "No record has the lead MLII (ingestion.preferred_lead): read is ECG1" in caplog.text

    def test_a_database_whose_annotations_mark_no_beat_is_refused(self, folder: Path) -> None:
        """As those of afdb do, which has its beats in .qrs."""
        shutil.copytree(folder / "mitdb", folder / "rhythm")
        for record_id in ("100", "114"):
            (folder / "rhythm" / f"{record_id}.atr").rename(folder / "rhythm" / f"{record_id}.qrs")
            write = {"write_dir": str(folder / "rhythm"), "aux_note": ["(AFIB"]}
            wfdb.wrann(record_id, "atr", np.array([50]), ["+"], fs=360, **write)
        (folder / "rhythm" / "ANNOTATORS").write_text("atr\trhythm\nqrs\tbeats\n")
        parameters = make_parameters(databases={"mitdb": None, "rhythm": None})
        with pytest.raises(RecordError, match=r"database rhythm mark no beat; in a file ANNOTATOR"):
            ingest_records(folder, check_databases(folder, parameters), parameters, EXECUTION)
        (folder / "rhythm" / "ANNOTATORS").write_text("qrs\tbeats\n")  # as the error advises
        listed = check_databases(folder, parameters)
        _, beats, *_ = ingest_records(folder, listed, parameters, EXECUTION)
        assert beats["db"].value_counts().nunique() == 1


class TestCheckDatabases:
    def test_lists_the_records_of_the_index(self, folder: Path) -> None:
        listed = check_databases(folder, make_parameters())
        assert listed.to_dict("list") == {
            "db": ["mitdb"] * 2,
            "record_id": ["100", "114"],
            "fault": ["", ""],
        }

    def test_or_those_wanted(self, folder: Path) -> None:
        listed = check_databases(folder, make_parameters(databases={"mitdb": ["114"]}))
        assert listed["record_id"].tolist() == ["114"]

    @pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
    def test_missing_or_empty_folder(self, tmp_path: Path, make) -> None:
        make(tmp_path / "mitdb")
        with pytest.raises(FileNotFoundError, match=r"(?s)'mitdb'.*parameter 'physionet'"):
            check_databases(tmp_path, make_parameters())

    @pytest.mark.parametrize("suffix", [".hea", ".dat", ".atr"])
    def test_a_missing_file_is_named(self, folder: Path, suffix: str) -> None:
        (folder / "mitdb" / f"114{suffix}").unlink()
        with pytest.raises(FileNotFoundError, match=f"114{suffix}"):
            check_databases(folder, make_parameters())

    def test_a_changed_file_is_found_by_its_checksum(self, folder: Path, physionet: Path) -> None:
        (sums,) = (physionet / "mitdb").glob("SHA256SUMS*")
        shutil.copy(sums, folder / "mitdb")
        check_databases(folder, make_parameters())
        with (folder / "mitdb" / "114.dat").open("r+b") as file:
            file.seek(5000)
            file.write(b"\x00\x01")
        with pytest.raises(RecordError, match=r"114\.dat differs from SHA256SUMS"):
            check_databases(folder, make_parameters())
        listed = check_databases(folder, make_parameters(on_bad_record="skip"))
        assert listed["fault"].str.startswith("114.dat differs").tolist() == [False, True]

    def test_a_whole_missing_database_is_never_skipped(self, folder: Path) -> None:
        for databases in ({"mitdb": None, "svdb": None}, {"mitdb": None, "svdb": ["800"]}):
            parameters = make_parameters(databases=databases, on_bad_record="skip")
            with pytest.raises(FileNotFoundError, match="'svdb'"):
                check_databases(folder, parameters)

    def test_no_network_says_how_to_do_without(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("wfdb.io.download.PN_CONTENT_URL", "http://127.0.0.1:9/")
        parameters = make_parameters(download=True)
        for check in (check_databases, check_downloads):
            with pytest.raises(
                DownloadError, match=r"mitdb lacks RECORDS, and cannot .*--params=physionet="
            ):
                check(tmp_path, parameters)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    def test_no_network_skips_single_records_if_asked_to(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("wfdb.io.download.PN_CONTENT_URL", "http://127.0.0.1:9/")
        (folder / "mitdb" / "114.dat").unlink()
        with pytest.raises(DownloadError, match=r"set ingestion\.download to false"):
            check_databases(folder, make_parameters(download=True))
        listed = check_databases(folder, make_parameters(download=True, on_bad_record="skip"))
        assert listed["fault"].tolist() == ["", "114.dat is missing"]

    def test_no_network_is_needed_where_nothing_is_to_be_downloaded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("wfdb.io.download.PN_CONTENT_URL", "http://127.0.0.1:9/")
        check_downloads(tmp_path, make_parameters())
        for suffix in (".hea", ".dat", ".atr"):
            (tmp_path / "mitdb").mkdir(exist_ok=True)
            (tmp_path / "mitdb" / f"100{suffix}").touch()
        check_downloads(tmp_path, make_parameters(download=True))
