"""Tests of reading records: real ones, exact timing, and every kind of damage."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.records import (
    describe_record,
    patient_of,
    read_record,
)
from cnns_spectrograms.evaluation import ec57
from cnns_spectrograms.parameters import RecordParameters
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording
from written_records import (
    damage_flipped_bit,
    damage_no_signal_file,
    damage_truncated_annotations,
    replace_in_header,
    write_record,
)

BEAT_COLUMNS = [
    "db", "record_id", "patient_id", "beat_idx", "time_s",
    "sample", "stretch", "symbol", "aami_class", "lead", "fs",
]  # fmt: skip


# ---- several leads


def test_further_leads_stand_beside_the_preferred_one(physionet: Path) -> None:
    """Of 114 MLII is the second lead; the other is read as if it were the only one."""
    both = read_record(physionet / "mitdb", "mitdb", "114", n_leads=2)
    assert (both.row["lead"], both.row["n_leads"]) == ("MLII", 2)
    for signal, lead in zip(both.signals, ("MLII", "V5"), strict=True):
        alone = read_record(physionet / "mitdb", "mitdb", "114", preferred_lead=lead)
        np.testing.assert_array_equal(signal, alone.signal)
    bytes_of_both = b"".join(signal.tobytes() for signal in both.signals)
    assert both.row["signal_sha256"] == hashlib.sha256(bytes_of_both).hexdigest()


@pytest.mark.parametrize(
    ("leads", "units", "flat"),
    [
        (("MLII", "V5"), ("mV", "mV"), True),
        (("MLII", "V5"), ("mV", "mmHg"), False),
        (("MLII", "PLETH"), ("mV", "mV"), False),
    ],
)
def test_a_further_lead_that_is_no_ecg_is_left_out(tmp_path: Path, leads, units, flat) -> None:
    signals = np.random.default_rng(0).integers(-500, 500, size=(3600, 2))
    if flat:
        signals[:, 1] = 3
    write_record(tmp_path, signals=signals, leads=leads, units=units)
    record = read_record(tmp_path, "mitdb", "100", n_leads=2)
    assert (len(record.signals), record.row["n_leads"]) == (1, 1)


def test_the_next_lead_is_read_where_one_cannot_be(tmp_path: Path) -> None:
    signals = np.random.default_rng(0).integers(-500, 500, size=(3600, 3))
    signals[:, 1] = 3
    write_record(tmp_path, signals=signals, leads=("MLII", "III", "V1"), units=("mV",) * 3)
    record = read_record(tmp_path, "mitdb", "100", n_leads=2)
    alone = read_record(tmp_path, "mitdb", "100", preferred_lead="V1")
    np.testing.assert_array_equal(record.signals[1], alone.signal)
    assert record.row["n_leads"] == 2


# ---- real records


@pytest.mark.parametrize(
    ("db", "record_id", "lead", "leads", "source_fs", "counts"),
    [
        # Counts by symbol as on the database's pages: 100 has 2239 N, 33 A, 1 V.
        ("mitdb", "100", "MLII", ("MLII", "V5"), 360, {"N": 2239, "S": 33, "V": 1}),
        # 2028 paced, 56 fused with a paced beat, 99 N, 4 V; it has no MLII.
        ("mitdb", "102", "V5", ("V5", "V2"), 360, {"N": 99, "V": 4, "Q": 2084}),
        # 1820 N, 10 A and 2 J, 43 V, 4 F; MLII is its second lead.
        ("mitdb", "114", "MLII", ("V5", "MLII"), 360, {"N": 1820, "S": 12, "V": 43, "F": 4}),
        ("svdb", "800", "ECG1", ("ECG1", "ECG2"), 128, None),
    ],
)
def test_read_real_record(physionet: Path, db, record_id, lead, leads, source_fs, counts):
    import wfdb

    record = read_record(physionet / db, db, record_id)
    row = record.row
    assert (row["db"], row["record_id"], row["lead"]) == (db, record_id, lead)
    assert row["leads"] == "|".join(leads)
    assert (row["source_fs"], row["fs"]) == (source_fs, 360)
    assert record.signal.dtype == np.float32
    assert record.signal.shape == (650_000 if db == "mitdb" else 230_400 * 360 // 128,)
    beats = record.beats
    assert list(beats.columns) == BEAT_COLUMNS
    assert list(beats["beat_idx"]) == list(range(len(beats)))
    if counts is not None:
        assert beats["aami_class"].value_counts().to_dict() == counts
    annotation = wfdb.rdann(str(physionet / db / record_id), "atr")
    is_beat = np.isin(annotation.symbol, list("NLRejAaJSVEF/fQ"))
    assert np.array_equal(beats["time_s"], annotation.sample[is_beat] / source_fs)
    assert np.array_equal(beats["symbol"], np.array(annotation.symbol)[is_beat])
    source, _ = wfdb.rdsamp(str(physionet / db / record_id), channel_names=[lead])
    if source_fs == 360:
        assert np.array_equal(record.signal, remove_baseline(source[:, 0].astype(np.float32), 360))
        assert np.array_equal(beats["sample"], annotation.sample[is_beat])
    else:
        # A target sample is 45/16 of a source sample, to the nearest: in integers, within 8/16.
        assert np.abs(16 * beats["sample"] - 45 * annotation.sample[is_beat]).max() <= 8
        # 8 source samples are 22.5 target samples: every 16th falls on a target sample.
        difference = record.signal[::45] - remove_baseline(source[:, 0], 128)[::16]
        assert np.abs(difference[1:-1]).max() < 0.02 * np.ptp(source)


def test_r_peaks_of_resampled_record_stay_on_their_beats(physionet: Path):
    import wfdb

    record = read_record(physionet / "svdb", "svdb", "800")
    source, _ = wfdb.rdsamp(str(physionet / "svdb" / "800"), channels=[0])
    slope = np.abs(np.gradient(source[:, 0]))
    slope_resampled = np.abs(np.gradient(record.signal))
    inner = record.beats.iloc[2:-2]
    at_source = np.rint(inner["time_s"] * 128).astype(int)
    # The steepest point within 125 ms of each beat, in s from the beat, before and after.
    before = np.array([np.argmax(slope[i - 16 : i + 17]) - 16 for i in at_source]) / 128
    after = np.array([np.argmax(slope_resampled[i - 45 : i + 46]) - 45 for i in inner["sample"]])
    assert abs(np.median(after / 360 - before)) < 1 / 360


def test_the_end_beat_of_svdb_860_is_kept_on_the_last_sample(physionet: Path):
    # Its last N is annotated at sample 230400 of 230400.
    record = read_record(physionet / "svdb", "svdb", "860")
    assert record.beats["time_s"].iloc[-1] == 1800.0
    assert record.beats["sample"].iloc[-1] == record.signal.size - 1


def test_every_beat_symbol_is_a_beat(tmp_path: Path):
    write_record(tmp_path, samples=(500, 1000, 1500, 2000), symbols=("N", "B", "?", "r"))
    record = read_record(tmp_path, "db", "100")
    assert list(record.beats["aami_class"]) == ["N", "N", "Q", "V"]


def test_other_annotations_can_have_a_class(tmp_path: Path):
    write_record(tmp_path, samples=(10, 500, 700, 1500), symbols=("+", "N", "~", "V"))
    record = read_record(tmp_path, "db", "100", other_class="Q")
    assert list(record.beats["symbol"]) == ["+", "N", "~", "V"]
    assert list(record.beats["aami_class"]) == ["Q", "N", "Q", "V"]
    assert list(record.beats["beat_idx"]) == [0, 1, 2, 3]
    assert list(read_record(tmp_path, "db", "100").beats["symbol"]) == ["N", "V"]


def test_labels_of_the_source_system_on_its_test_records(physionet: Path):
    # Counted for the design: 24 Q, 481 ~, 896 |, 11 x and 18 +; its B is N by EC57.
    mitdb, svdb = (108, 113, 117, 123, 124), (
        821, 822, 851, 852, 854, 855, 859, 860, 863, 866, 868, 869, 870, 879, 881, 884, 885, 891,
        892,
    )  # fmt: skip
    records = [("mitdb", name) for name in mitdb] + [("svdb", name) for name in svdb]
    beats = pd.concat(
        read_record(physionet / db, db, str(name), other_class="Q").beats for db, name in records
    )
    unclassified = beats.loc[beats["aami_class"] == "Q", "symbol"].value_counts().to_dict()
    assert unclassified == {"Q": 24, "~": 481, "|": 896, "x": 11, "+": 18}


# ---- leads, patients, lists


def test_preferred_lead_is_read_and_named(tmp_path: Path):
    teeth = np.arange(3600) % 360
    write_record(tmp_path, signals=np.column_stack([teeth, -teeth]), leads=("V5", "MLII"))
    expected = remove_baseline(teeth / 200, 360)
    np.testing.assert_allclose(read_record(tmp_path, "db", "100").signal, -expected, atol=1e-6)
    fallback = read_record(tmp_path, "db", "100", preferred_lead="aVR")
    assert fallback.row["lead"] == "V5"
    assert set(fallback.beats["lead"]) == {"V5"}
    np.testing.assert_allclose(fallback.signal, expected, atol=1e-6)


def test_microvolts_become_millivolts(tmp_path: Path):
    write_record(tmp_path, units=("uV", "uV"))
    record = read_record(tmp_path, "db", "100")
    write_record(tmp_path)
    in_mv = read_record(tmp_path, "db", "100")
    np.testing.assert_allclose(record.signal, in_mv.signal / 1000, rtol=1e-5, atol=1e-9)


def test_lead_with_more_samples_a_frame_keeps_its_rate(tmp_path: Path):
    path = write_record(
        tmp_path,
        signals=np.arange(3600)[:, None] % 777,
        samples=(100, 200, 300),
        leads=("MLII",),
    )
    # The same samples, told as 1800 frames of two at 180 frames/s.
    replace_in_header(path, "100 1 360 3600", "100 1 180 1800")
    replace_in_header(path, "100.dat 16 ", "100.dat 16x2 ")
    record = read_record(tmp_path, "db", "100", fs=360)
    assert record.row["source_fs"] == 360
    expected = remove_baseline((np.arange(3600) % 777) / 200, 360)
    np.testing.assert_allclose(record.signal, expected, atol=1e-6)
    # Annotations count frames.
    assert list(record.beats["sample"]) == [200, 600]


def test_annotations_with_a_clock_of_their_own(tmp_path: Path):
    import wfdb

    write_record(tmp_path, samples=())
    wfdb.wrann("100", "atr", np.array([1000]), symbol=["N"], fs=1000, write_dir=str(tmp_path))
    beats = read_record(tmp_path, "db", "100").beats
    assert list(beats["time_s"]) == [1.0]
    assert list(beats["sample"]) == [360]


def test_patient_of():
    assert patient_of("mitdb", "201") == patient_of("mitdb", "202") == "mitdb/201"
    assert patient_of("mitdb", "200") == "mitdb/200"
    assert patient_of("svdb", "802") == "svdb/802"
    assert patient_of("other", "202") == "other/202"


def test_patient_and_lead_of_a_record_that_are_given(tmp_path: Path):
    write_record(tmp_path)
    known = {
        "mitdb/100": RecordParameters(patient="p1", lead="V5"),
        "mitdb/202": RecordParameters(lead="V5"),
    }
    record = read_record(tmp_path, "mitdb", "100", known=known)
    assert (record.row["patient_id"], record.row["lead"]) == ("mitdb/p1", "V5")
    assert set(record.beats["patient_id"]) == {"mitdb/p1"}
    assert describe_record("mitdb", "100", 360, known)["patient_id"] == "mitdb/p1"
    assert patient_of("mitdb", "202", known) == "mitdb/201"
    assert patient_of("other", "100", known) == "other/100"
    # However the patient of 201 and 202 is named.
    of_202 = RecordParameters(patient="mitdb/202")
    assert patient_of("own", "r1", {"own/r1": of_202}) == "mitdb/201"
    assert patient_of("mitdb", "x", {"mitdb/x": RecordParameters(patient="202")}) == "mitdb/201"
    wrong = {"mitdb/100": RecordParameters(lead="V6")}
    with pytest.raises(
        RecordError, match=r"leads MLII, V5; expected 'V6' as in ingestion\.databases\.mitdb\.100"
    ):
        read_record(tmp_path, "mitdb", "100", known=wrong)


@pytest.mark.parametrize(
    "date",
    [
        "2014-05-08 05:05:15",  # of the PhysioNet/CinC challenge 2017
        "2006",
        "05:05:15 2014-05-08",
        "24:61:00",
        "12:00:00 31/02/2020",
        "1.5.2020 noon",
    ],
)
def test_a_date_that_cannot_be_read_does_not_matter(tmp_path: Path, date):
    """wfdb refuses such a record, and takes the rate of its annotations from the header too."""
    path = write_record(tmp_path, fs=200, samples=(1000, 1500, 1800))
    plain = read_record(tmp_path, "mitdb", "100")
    replace_in_header(path, "100 2 200 2000", f"100 2 200 2000 {date}")
    dated = read_record(tmp_path, "mitdb", "100")
    np.testing.assert_array_equal(dated.signal, plain.signal)
    assert dated.beats.equals(plain.beats)
    opened = open_recording(path)
    np.testing.assert_array_equal(opened.read("V5"), open_recording(path).read(1))
    assert opened.reference["sample"].tolist() == [1000, 1500, 1800]
    assert ec57.read_annotations(path, "atr", fs=100).sample.tolist() == [500, 900]


def test_a_decimal_comma_in_a_gain_is_told(tmp_path: Path):
    """wfdb would read 200, and the rest of the line as what comes later in it."""
    path = write_record(tmp_path)
    replace_in_header(path, "100.dat 16 200.0(0)/mV", "100.dat 16 200,5(0)/mV")
    for read in (lambda: read_record(tmp_path, "mitdb", "100"), lambda: open_recording(path)):
        with pytest.raises(RecordError, match=r"the gain '200,5\(0\)/mV'; .*decimal point"):
            read()


# ---- resampling and timing


@pytest.mark.parametrize("peak", [320, 640, 1000, 1003, 1272])
def test_pulse_in_a_record_stays_on_its_beat(tmp_path: Path, peak: int):
    t = (np.arange(1280) - peak) / 128
    pulse = np.rint(1000 * np.exp(-0.5 * (t / 0.02) ** 2)).astype(int)
    write_record(
        tmp_path,
        fs=128,
        signals=pulse[:, None],
        samples=(peak,),
        symbols=("N",),
        leads=("MLII",),
    )
    record = read_record(tmp_path, "svdb", "100")
    assert record.signal.size == 3600
    assert list(record.beats["time_s"]) == [peak / 128]
    # 45/16 of the source sample, rounded: worked out in integers.
    assert abs(record.beats["sample"][0] * 16 - peak * 45) <= 8
    assert abs(int(np.argmax(record.signal)) - record.beats["sample"][0]) <= 1


def test_beats_written_out_of_order_are_sorted(tmp_path: Path):
    # N at 900, then WFDB's code 59: skip by a signed 32-bit interval, high word first; V at 500.
    path = write_record(tmp_path)
    words = [1 << 10 | 900, 59 << 10, 0xFFFF, 0x10000 - 400, 5 << 10, 0]
    path.with_name("100.atr").write_bytes(np.array(words, dtype="<u2").tobytes())
    beats = read_record(tmp_path, "db", "100").beats
    assert list(beats["sample"]) == [500, 900]
    assert list(beats["symbol"]) == ["V", "N"]


def test_beats_come_in_time_order_and_keep_equal_times(tmp_path: Path):
    write_record(tmp_path, samples=(500, 500, 900), symbols=("|", "N", "V"))
    beats = read_record(tmp_path, "db", "100").beats
    assert list(beats["symbol"]) == ["N", "V"]
    assert list(beats["beat_idx"]) == [0, 1]


def test_annotation_that_rounding_puts_on_the_end_is_moved_in(tmp_path: Path):
    # 3599 at 360 Hz is 1279.64 at 128 Hz, where the signal has samples 0 to 1279.
    write_record(tmp_path, samples=(3599,), symbols=("N",))
    record = read_record(tmp_path, "db", "100", fs=128)
    assert record.signal.size == 1280
    assert list(record.beats["sample"]) == [1279]


def test_record_without_beats_has_an_empty_table(tmp_path: Path):
    write_record(tmp_path, samples=(10,), symbols=("+",))
    beats = read_record(tmp_path, "db", "100").beats
    assert len(beats) == 0
    assert list(beats.columns) == BEAT_COLUMNS


# ---- what is refused


def damage_no_header(path: Path) -> None:
    path.with_name("100.hea").unlink()


def damage_no_annotation_file(path: Path) -> None:
    path.with_name("100.atr").unlink()


def damage_truncated_signal_file(path: Path) -> None:
    dat = path.with_name("100.dat")
    dat.write_bytes(dat.read_bytes()[:-4])


def damage_odd_annotation_bytes(path: Path) -> None:
    atr = path.with_name("100.atr")
    atr.write_bytes(b"\x01" + atr.read_bytes())


def damage_annotation_code(path: Path) -> None:
    path.with_name("100.atr").write_bytes(np.array([10 | 42 << 10, 0], dtype="<u2").tobytes())


def damage_symbol(path: Path) -> None:
    write_record(path.parent, symbols=("N", "Z", "V"))


def damage_late_annotation(path: Path) -> None:
    write_record(path.parent, samples=(1000, 2000, 3601))


def damage_flat_lead(path: Path) -> None:
    signals = np.column_stack([np.full(3600, 7), np.arange(3600)])
    write_record(path.parent, signals=signals)


def damage_invalid_samples(path: Path) -> None:
    signals = np.random.default_rng(0).integers(-500, 500, size=(3600, 2))
    signals[720:725, 0] = -32768  # WFDB's mark of an invalid sample in format 16
    write_record(path.parent, signals=signals)


def damage_no_signals(path: Path) -> None:
    path.with_name("100.hea").write_text("100 0 360 3600\n")


def damage_zero_rate(path: Path) -> None:
    replace_in_header(path, "100 2 360", "100 2 0")


def damage_negative_rate(path: Path) -> None:
    replace_in_header(path, "100 2 360", "100 2 -360")


def damage_absent_rate(path: Path) -> None:
    replace_in_header(path, "100 2 360 3600", "100 2")


def damage_short(path: Path) -> None:
    write_record(
        path.parent, signals=np.arange(3000).reshape(1500, 2), samples=(700,), symbols=("N",)
    )


def damage_unit(path: Path) -> None:
    write_record(path.parent, units=("mmHg", "mV"))


def damage_signal_line(path: Path) -> None:
    path.with_name("100.hea").write_text("100 2 360 3600\n100.dat 16 200\n")


def damage_first_line(path: Path) -> None:
    path.with_name("100.hea").write_text("100 two 360 3600\n")


def damage_format(path: Path) -> None:
    replace_in_header(path, "100.dat 16 ", "100.dat 99 ")


def damage_segments(path: Path) -> None:
    shutil.copy(path.with_name("100.hea"), path.with_name("101.hea"))
    path.with_name("100.hea").write_text("100/2 2 360 7200\n101 3600\n101 3600\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_no_header, r"the file .*100\.hea is missing; correct"),
        (damage_no_signal_file, r"the file .*100\.dat is missing; .*download"),
        (damage_no_annotation_file, r"the file .*100\.atr is missing; .*download"),
        (damage_truncated_signal_file, "found 14396 bytes.*truncated.*expected 14400.*again"),
        (damage_flipped_bit, r"sample checksum .*\(MLII\).*expected .*corrupt.*again"),
        (damage_truncated_annotations, "no end mark .*truncated.*expected.*again"),
        (damage_odd_annotation_bytes, r"100\.atr: cannot be read .*expected.*again"),
        (damage_annotation_code, "unknown annotation symbol.*'code 42'.*expected.*correct"),
        (damage_symbol, "unknown annotation symbol.*'Z'.*expected.*correct"),
        (damage_late_annotation, "outside the signal.*3601.*expected samples 0 to 3600.*again"),
        (damage_flat_lead, r"flat lead MLII.*0\.035 mV.*expected an ECG.*choose"),
        (damage_invalid_samples, r"5 invalid \(NaN\) samples in lead MLII.*2\.000 s.*choose"),
        (
            damage_no_signals,
            r"found '100 0 360 3600' at the head; expected .*number of signals.*correct",
        ),
        (damage_zero_rate, "found '100 2 0 .*sampling rate.*positive.*correct"),
        (damage_negative_rate, "found '100 2 -360 .*sampling rate.*positive.*correct"),
        (damage_absent_rate, "found '100 2' .*sampling rate.*positive.*correct"),
        (damage_short, r"1500 samples \(4\.17 s\).*expected at least 5 s.*remove"),
        (damage_unit, "unit 'mmHg' for lead MLII.*expected a voltage.*choose"),
        (damage_signal_line, r"100\.hea: found 1 signal line\(s\).*expected 2.*again"),
        (damage_first_line, r"100\.hea: found '100 two.*expected.*again"),
        (damage_format, r"100\.dat: cannot be read .*expected.*again"),
        (damage_segments, "2 segments.*expected one.*convert"),
    ],
)
def test_damage_is_told(tmp_path: Path, damage, message):
    path = write_record(tmp_path)
    assert len(read_record(tmp_path, "mitdb", "100").beats) == 2
    damage(path)
    with pytest.raises(RecordError, match=message) as caught:
        read_record(tmp_path, "mitdb", "100")
    assert str(caught.value).startswith("mitdb/100: ")


def test_errors_of_the_reader_are_chained_and_travel_between_processes(tmp_path: Path):
    damage_odd_annotation_bytes(write_record(tmp_path))
    with pytest.raises(RecordError) as caught:
        read_record(tmp_path, "mitdb", "100")
    assert isinstance(caught.value.__cause__, ValueError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, RecordError)
    assert str(again) == str(caught.value)


def test_flat_or_invalid_lead_that_is_not_read_does_not_matter(tmp_path: Path):
    teeth = np.arange(3600) % 360
    write_record(tmp_path, signals=np.column_stack([teeth, np.full(3600, -32768)]))
    expected = remove_baseline(teeth / 200, 360)
    np.testing.assert_allclose(read_record(tmp_path, "mitdb", "100").signal, expected, atol=1e-6)


def test_target_rate_must_be_positive(tmp_path: Path):
    write_record(tmp_path)
    with pytest.raises(ValueError, match="fs is 0"):
        read_record(tmp_path, "mitdb", "100", fs=0)


# ---- descriptions


def test_describe_record(tmp_path: Path):
    write_record(tmp_path)
    record = read_record(tmp_path, "mitdb", "100")
    row = record.row
    assert row == {
        "db": "mitdb",
        "record_id": "100",
        "patient_id": "mitdb/100",
        "lead": "MLII",
        "leads": "MLII|V5",
        "n_leads": 1,
        "source_fs": 360.0,
        "fs": 360,
        "n_samples": 3600,
        "duration_s": 10.0,
        "n_beats": 2,
        "highpass_hz": 0.5,
        "signal_sha256": hashlib.sha256(record.signal.tobytes()).hexdigest(),
        "status": "ok",
        "reason": "",
    }
    skipped = describe_record("mitdb", "202", 360, reason="truncated")
    assert skipped.keys() == row.keys()
    assert (skipped["patient_id"], skipped["status"], skipped["reason"]) == (
        "mitdb/201",
        "skipped",
        "truncated",
    )


def test_format_61_is_told(tmp_path: Path) -> None:
    write_record(tmp_path, "r")
    header = tmp_path / "r.hea"
    header.write_text(header.read_text().replace(" 16 ", " 61 "))
    with pytest.raises(RecordError, match="r: found samples in format 61"):
        read_record(tmp_path, "mitdb", "r")
