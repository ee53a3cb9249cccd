"""Folders of databases: their records, files and checksums."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

import pytest

from cnns_spectrograms.ecg.databases import (
    find_missing_files,
    hash_file,
    list_records,
    parse_checksums,
    verify_checksums,
)
from cnns_spectrograms.ecg.records import read_record
from written_records import (
    damage_flipped_bit,
    damage_no_signal_file,
    damage_truncated_annotations,
    replace_in_header,
    write_record,
)


def test_the_files_of_a_record_are_those_of_its_header(tmp_path: Path):
    path = write_record(tmp_path)
    path.with_name("100.dat").rename(path.with_name("100.mat"))
    assert find_missing_files(tmp_path) == ["100.dat"]
    replace_in_header(path, "100.dat", "100.mat")
    assert find_missing_files(tmp_path) == []
    assert len(read_record(tmp_path, "mitdb", "100").beats) == 2
    (tmp_path / "m.hea").write_text("m/2 2 360 7200\n100 3600\n100 3600\n")
    assert find_missing_files(tmp_path, ["m"]) == ["m.atr"]
    path.with_name("100.mat").unlink()
    assert find_missing_files(tmp_path, ["100", "101"]) == [
        "100.mat", "101.hea", "101.dat", "101.atr"
    ]  # fmt: skip


def test_the_annotations_of_a_database_are_those_that_it_names(tmp_path: Path):
    path = write_record(tmp_path)
    path.with_name("100.atr").rename(path.with_name("100.ecg"))
    (tmp_path / "ANNOTATORS").write_text("ecg\treference beats\n")
    assert find_missing_files(tmp_path) == []
    assert len(read_record(tmp_path, "mitdb", "100").beats) == 2
    (tmp_path / "SHA256SUMS.txt").write_text(f"{'0' * 64} 100.ecg\n")
    assert "100.ecg differs" in verify_checksums(tmp_path, ["100"])["100"]
    path.with_name("100.ecg").unlink()
    assert find_missing_files(tmp_path) == ["100.ecg"]


def test_list_records(tmp_path: Path):
    (tmp_path / "b.hea").touch()
    (tmp_path / "a.hea").touch()
    (tmp_path / "c.dat").touch()
    assert list_records(tmp_path) == ["a", "b"]
    (tmp_path / "RECORDS").write_text("b\n")
    assert list_records(tmp_path) == ["b"]
    (tmp_path / "RECORDS").write_text("sub/b\n")
    with pytest.raises(ValueError, match="subfolders"):
        list_records(tmp_path)
    (tmp_path / "RECORDS").write_text("")
    with pytest.raises(ValueError, match="holds no record"):
        list_records(tmp_path)
    with pytest.raises(ValueError, match="holds no record"):
        list_records(tmp_path / "absent")


def write_sums(folder: Path, separator: str = " ", to: str = "SHA256SUMS.txt") -> None:
    names = sorted(p.name for p in folder.iterdir() if p.suffix in (".hea", ".dat", ".atr"))
    text = "".join(
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}{separator}{name}\n"
        for name in names
    )
    (folder / to).write_text(text)


@pytest.mark.parametrize("name", ["SHA256SUMS.txt", "SHA256SUMS"])
@pytest.mark.parametrize("separator", [" ", "  ", " *"])
def test_verify_checksums(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, separator: str, name: str
):
    caplog.set_level(logging.INFO)
    path = write_record(tmp_path)
    assert verify_checksums(tmp_path, ["100"]) == {}
    assert "has no SHA256SUMS.txt: its files are not compared" in caplog.text
    write_sums(tmp_path, separator, name)
    caplog.clear()
    assert verify_checksums(tmp_path, ["100"]) == {}
    assert not caplog.records

    replace_in_header(path, "MLII", "ECG1")
    assert verify_checksums(tmp_path, ["100"]) == {}
    assert f"1 header(s) differ from {name}" in caplog.text
    assert "the first is 100.hea" in caplog.text

    damage_flipped_bit(path)
    damage_truncated_annotations(path)
    faults = verify_checksums(tmp_path, ["100"])
    assert list(faults) == ["100"]
    assert re.search(
        rf"100\.dat differs from {re.escape(name)} .*again, .*; 100\.atr differs.*again",
        faults["100"],
    )


def test_verify_checksums_of_the_signal_files_that_the_header_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write_record(tmp_path)
    replace_in_header(path, "100.dat", "100.mat")
    write_sums(tmp_path)
    sums = tmp_path / "SHA256SUMS.txt"
    sums.write_text(sums.read_text().replace("100.dat", "100.mat"))
    path.with_name("100.dat").rename(path.with_name("100.mat"))
    assert verify_checksums(tmp_path, ["100"]) == {}
    path.with_name("100.mat").write_bytes(b"other")
    assert "100.mat differs" in verify_checksums(tmp_path, ["100"])["100"]
    assert not caplog.records


def test_verify_checksums_takes_physionets_list_where_there_are_two(tmp_path: Path):
    write_record(tmp_path)
    write_sums(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64} 100.dat\n")
    assert verify_checksums(tmp_path, ["100"]) == {}


def test_verify_checksums_tells_unlisted_files_and_leaves_missing_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write_record(tmp_path)
    write_sums(tmp_path)
    write_record(tmp_path, "101")
    assert verify_checksums(tmp_path, ["100", "101"]) == {}
    assert re.search(r"3 file\(s\) that .* does not list; .*; the first is 101\.hea", caplog.text)
    damage_no_signal_file(path)
    assert verify_checksums(tmp_path, ["100"]) == {}  # what is missing, others say


def test_parse_checksums_and_hash_file(tmp_path: Path):
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc"
    (tmp_path / "abc").write_text("abc")
    assert hash_file(tmp_path / "abc") == digest
    assert parse_checksums(f"{digest.upper()} *a b\n\n{digest}  ./c\n", "sums") == {
        "a b": digest,
        "c": digest,
    }
    with pytest.raises(ValueError, match="sums: found the line '<html>'"):
        parse_checksums("<html>", "sums")


def test_every_real_record_is_whole(physionet: Path, caplog: pytest.LogCaptureFixture):
    for db, n_records in (("mitdb", 48), ("svdb", 78)):
        record_ids = list_records(physionet / db)
        assert len(record_ids) == n_records
        assert verify_checksums(physionet / db, record_ids) == {}
    # The copy's svdb headers differ in text, and only in text.
    assert "78 header(s) differ" in caplog.text
