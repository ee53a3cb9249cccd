"""CSV files: what their headers, units and times say, and what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.recordings import csv_table
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.recording import MAX_DURATION_S, suggest_lead

FS = 100
N = 1500


def rows(signal, form, delimiter=",", decimal=".", time=None):
    lines = []
    for i, pair in enumerate(signal):
        cells = ([] if time is None else [time(i)]) + [form.format(value) for value in pair]
        lines.append(delimiter.join(cells).replace(".", decimal))
    return "\n".join(lines) + "\n"


CSV_FORMS = {
    "plain": ("time_s,MLII,V1\n", {"form": "{:.4f}", "time": lambda i: f"{i / FS:.3f}"}, 1),
    "semicolons": (
        "Zeit [s];MLII [mV];V1 [mV]\n",
        {"form": "{:.4f}", "delimiter": ";", "decimal": ",", "time": lambda i: f"{i / FS:.3f}"},
        1,
    ),
    "tabs": (
        "ms\tMLII\tV1\n",
        {"form": "{:.4f}", "delimiter": "\t", "time": lambda i: f"{i * 10}"},
        1,
    ),
    "rdsamp": (
        "'Elapsed time','MLII','V1'\n'seconds','mV','mV'\n",
        {"form": "{:.4f}", "time": lambda i: f"{i / FS:.3f}"},
        1,
    ),
    "clock": (
        "'Elapsed time','MLII','V1'\n'hh:mm:ss.mmm','mV','mV'\n",
        {"form": "{:.4f}", "time": lambda i: f"'0:{i // FS:02d}.{i % FS * 10:03d}'"},
        1,
    ),
    "microvolts": (
        "time,MLII (uV),V1 (uV)\n",
        {"form": "{:.1f}", "time": lambda i: f"{i / FS:.3f}"},
        1000,
    ),
    "microvolts that nothing names": (
        "time,MLII,V1\n",
        {"form": "{:.1f}", "time": lambda i: f"{i / FS:.3f}"},
        1000,
    ),
    "dates": (
        "timestamp,MLII,V1\n",
        {
            "form": "{:.4f}",
            "time": lambda i: str(pd.Timestamp("2024-05-01") + pd.Timedelta(milliseconds=10 * i)),
        },
        1,
    ),
}


@pytest.mark.parametrize("name", CSV_FORMS)
def test_csv(tmp_path, signal, name, caplog):
    header, options, scale = CSV_FORMS[name]
    path = tmp_path / "a.csv"
    path.write_text(header + rows(signal * scale, **options))
    with caplog.at_level("INFO"):
        found = open_recording(path)
    assert (found.fs, found.lead_names, found.n_samples) == (FS, ("MLII", "V1"), N)
    np.testing.assert_allclose(found.read("V1"), signal[:, 1], atol=2e-4)
    np.testing.assert_array_equal(found.read(0, 10, 20), found.read(0)[10:20])
    assert "MLII, V1" in caplog.text
    states_unit = "(uV)" in header or "mV" in header
    unit = "microvolts" if scale == 1000 else "millivolts"
    assert [each.split(" (")[0] for each in found.assumed] == (
        [] if states_unit else [f"column {name!r} is taken for {unit}" for name in ("MLII", "V1")]
    )


def test_csv_without_a_header_needs_its_rate(tmp_path, signal):
    path = tmp_path / "a.csv"
    path.write_text(rows(signal, "{:.4f}"))
    with pytest.raises(RecordError, match="--fs"):
        open_recording(path)
    found = open_recording(path, fs=FS, columns=["2"])
    assert found.lead_names == ("2",)
    np.testing.assert_allclose(found.read(0), signal[:, 1], atol=1e-4)
    assert open_recording(path, fs=FS).lead_names == ("1", "2")


def test_csv_cells_that_are_missing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sample,ECG\n0,0.1\n1,-\n2,\n3,nan\n4,0.5\n5,0.25\n")
    found = open_recording(path, fs=FS)
    assert found.lead_names == ("ECG",)
    np.testing.assert_array_equal(
        found.read(0), np.array([0.1, np.nan, np.nan, np.nan, 0.5, 0.25], np.float32)
    )


@pytest.mark.parametrize(
    ("header", "empty"),
    [("MLII (mV),V5 (mV)", ""), ("MLII (mV),V5 (mV)", "nan"), ("", "nan"), ("", "-")],
)
@pytest.mark.parametrize("n_missing", [300, 30_000])
def test_electrodes_that_are_put_on_late(tmp_path, real, monkeypatch, header, empty, n_missing):
    """One lead from that sample on, the other 7,000 samples later still."""
    monkeypatch.setattr(csv_table, "CHUNK_ROWS", 5000)
    signal = np.full((n_missing + 14_000, 2), np.nan)
    signal[n_missing : n_missing + len(real), 0] = real[:, 0]
    signal[n_missing + 7_000 :, 1] = real[:7_000, 1]
    columns = [[empty if cell == "nan" else cell for cell in cells(lead)] for lead in signal.T]
    found = open_recording(write(tmp_path / "a.csv", header, columns), fs=REAL_FS)
    assert found.lead_names == (("MLII", "V5") if header else ("1", "2"))
    for lead in range(2):
        np.testing.assert_allclose(found.read(lead), signal[:, lead], atol=1e-6)


def test_csv_rate_from_rounded_times(tmp_path):
    """PhysioNet's own tool writes 360 Hz as 0.000, 0.003, 0.006, ..."""
    path = tmp_path / "a.csv"
    lines = [f"{i / 360:.3f},{np.sin(i / 9):.3f}" for i in range(5000)]
    path.write_text("time,ECG\n" + "\n".join(lines))
    assert open_recording(path).fs == 360


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no row"),
        ("a,b\nc,d\n", "no row of numbers"),
        ("time,x\n0,1\n0,2\n0,3\n", "do not rise"),
        ("time,x\n2,1\n1,2\n0,3\n", "do not rise"),
        ("a,x\n0,1\n1,abc\n2,4\n", "one row per sample"),
        ("x" * 3_000_000, "line of more"),
        ("time,x\n0,1\n\0\0\0", "no text"),
        ("sample,index\n0,1\n1,2\n", "no column of a lead"),
        (
            ",".join("abcdefgh"[i % 8] + str(i) for i in range(600)) + "\n" + "1," * 599 + "1\n1,",
            "leads",
        ),
    ],
)
def test_what_is_no_table_of_samples(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    fs = None if "time" in text else 100
    with pytest.raises(RecordError, match=message):
        open_recording(path, fs=fs)


def test_csv_columns_that_are_not_there(tmp_path, signal):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + rows(signal, "{:.4f}"))
    with pytest.raises(RecordError, match="'a', 'b'"):
        open_recording(path, fs=FS, columns=["c"])


# --------------------------------------------------------------------------------------
# A real record, written as CSV
# --------------------------------------------------------------------------------------

REAL_FS = 360


@pytest.fixture(scope="module")
def real(physionet):
    """20 s of record 100, both leads, mV."""
    return wfdb.rdrecord(str(physionet / "mitdb" / "100"), sampto=20 * REAL_FS).p_signal


def write(path, header, columns, delimiter=",", end=""):
    """Write a header, and columns of cells."""
    lines = [delimiter.join(cells) + end for cells in zip(*columns, strict=True)]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path


def cells(values, decimals=3):
    return [f"{value:.{decimals}f}" for value in values]


def seconds(n, fs=REAL_FS):
    return np.arange(n) / fs


@pytest.mark.parametrize(
    ("header", "per_second", "decimals"),
    [
        ("time (us)", 1e6, 0),
        ("time [µs]", 1e6, 0),
        ("Time (\N{GREEK SMALL LETTER MU}s)", 1e6, 1),
        ("time (microseconds)", 1e6, 0),
        ("timestamp_ns", 1e9, 0),
        ("time (msec)", 1e3, 2),
        ("time_ms", 1e3, 2),
        ("TimeMs", 1e3, 2),
        ("milliSec", 1e3, 2),
        ("Time (milli seconds)", 1e3, 2),
        ("time (microSec)", 1e6, 0),
        ("timeMS", 1e3, 2),
        ("t/ms", 1e3, 2),
        ("time (ms since start)", 1e3, 2),
        ("elapsed (s)", 1, 3),
        ("time (Seconds)", 1, 3),
        ("elapsed_seconds", 1, 3),
        ("x [sec.]", 1, 3),
        ("time (min)", 1 / 60, 7),
        ("time_minutes", 1 / 60, 7),
        ("time (h)", 1 / 3600, 9),
    ],
)
def test_times_in_any_unit(tmp_path, real, header, per_second, decimals):
    times = cells(seconds(len(real)) * per_second, decimals)
    path = write(tmp_path / "a.csv", f"{header},MLII (mV)", [times, cells(real[:, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples, found.lead_names) == (REAL_FS, len(real), ("MLII",))
    np.testing.assert_allclose(found.read(0), real[:, 0], atol=1e-6)


@pytest.mark.parametrize("row", ["seconds,mV", "(seconds),(mV)", "ms,mV", "us,mV"])
def test_times_in_the_unit_of_a_row(tmp_path, real, row):
    factor = {"m": 1e3, "u": 1e6}.get(row[0], 1)
    times = cells(seconds(len(real)) * factor, 3)
    path = write(tmp_path / "a.csv", f"Elapsed time,MLII\n{row}", [times, cells(real[:, 0])])
    assert open_recording(path).fs == REAL_FS


@pytest.mark.parametrize(
    "unit", ["ticks", "fortnights", "1/360 s", "min:sec", "hh:mm:ss", "samples"]
)
def test_a_unit_of_time_that_is_not_known_is_refused(tmp_path, real, unit):
    columns = [cells(seconds(len(real))), cells(real[:, 0])]
    path = write(tmp_path / "a.csv", f"time ({unit}),MLII (mV)", columns)
    with pytest.raises(RecordError, match=rf"found times in '{unit}'.*us, ms, s, .*--fs"):
        open_recording(path)
    assert open_recording(path, fs=REAL_FS).fs == REAL_FS


@pytest.mark.parametrize(("per_second", "said"), [(1e3, "0.36 Hz"), (1 / 60, "2.16e+04 Hz")])
def test_times_in_a_unit_that_nothing_names_are_refused(tmp_path, real, per_second, said):
    times = cells(seconds(len(real)) * per_second, 7)
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [times, cells(real[:, 0])])
    with pytest.raises(RecordError, match=r"nothing names their unit.*time \(ms\).*--fs") as told:
        open_recording(path)
    assert said in str(told.value)


@pytest.mark.parametrize(
    "unit_row", ["      (seconds)     (mV)     (mV)", "hh:mm:ss.mmm (mV) (mV)"]
)
def test_the_text_of_rdsamp(tmp_path, real, unit_row):
    """Names of two words stand over columns that blanks separate."""
    is_clock = "mmm" in unit_row
    lines = [
        f"{f'{int(t // 60)}:{t % 60:06.3f}' if is_clock else f'{t:.3f}':>15}  {a:7.3f}  {b:7.3f}"
        for t, (a, b) in zip(seconds(len(real)), real, strict=True)
    ]
    path = tmp_path / "a.txt"
    path.write_text("\n".join(["   Elapsed time     MLII       V5", unit_row, *lines]) + "\n")
    found = open_recording(path)
    assert (found.fs, found.lead_names, found.n_samples) == (REAL_FS, ("MLII", "V5"), len(real))
    np.testing.assert_allclose(found.read("V5"), real[:, 1], atol=1e-6)


@pytest.mark.parametrize("chunk", [500, 200_000])
def test_a_clock_that_passes_the_hour_and_midnight(tmp_path, real, monkeypatch, chunk):
    """As rdsamp does, hours are written from the first on only."""
    monkeypatch.setattr(csv_table, "CHUNK_ROWS", chunk)

    def stamp(t):
        text = f"{int(t) // 60 % 60}:{t % 60:06.3f}"
        return f"{int(t) // 3600}:{text.zfill(9)}" if t >= 3600 else text

    for start in (3590, 86_390):
        times = [stamp(round(t + start, 3) % 86_400) for t in seconds(len(real))]
        times = [each if start < 86_390 or len(each) > 9 else f"0:{each:>09}" for each in times]
        path = write(tmp_path / "a.csv", "time,MLII (mV)", [times, cells(real[:, 0])])
        found = open_recording(path)
        assert (found.fs, found.n_samples) == (REAL_FS, len(real))


# --------------------------------------------------------------------------------------
# Gaps and coarse times
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [3, 6])
@pytest.mark.parametrize("chunk", [700, 200_000])
@pytest.mark.parametrize("gaps", [[(50, 51)], [(1800, 2000), (7000, 7002)], [(699, 1400)]])
def test_missing_samples_are_where_the_times_leave_them_out(
    tmp_path, real, monkeypatch, caplog, decimals, chunk, gaps
):
    monkeypatch.setattr(csv_table, "CHUNK_ROWS", chunk)
    expected = real[:, 0].astype(np.float32)
    for start, stop in gaps:
        expected[start:stop] = np.nan
    kept = np.isfinite(expected)
    columns = [cells(seconds(len(real))[kept], decimals), cells(real[kept, 0])]
    path = write(tmp_path / "a.csv", "time,MLII (mV)", columns)
    with caplog.at_level("INFO"):
        found = open_recording(path)
    assert found.fs == REAL_FS
    np.testing.assert_allclose(found.read(0), expected, atol=1e-6)
    for start, stop in ((0, 1), (1790, 1810), (1850, 1900), (1999, 7001), (6999, 7200)):
        np.testing.assert_array_equal(found.read(0, start, stop), found.read(0)[start:stop])
    assert f"leave out {np.isnan(expected).sum()} samples" in caplog.text
    # The rate that is given goes before the times.
    assert open_recording(path, fs=250).n_samples == kept.sum()


@settings(max_examples=60, deadline=None)
@given(
    fs=st.sampled_from([50, 125, 128, 250, 256, 360, 500, 1000, 500 / 3]),
    start_s=st.sampled_from([0.0, 12.345, 86_399.0, 1.7e9]),
    gaps=st.lists(st.tuples(st.integers(30, 300), st.integers(1, 100_000)), min_size=0, max_size=5),
    form=st.sampled_from(["milliseconds", "seconds", "dates"]),
    chunk=st.sampled_from([64, 500, 10_000]),
)
def test_gaps_anywhere(tmp_path_factory, fs, start_s, gaps, form, chunk):
    """Whatever the rate, and wherever the gaps: every row is back at its sample."""
    steps = np.ones(1500 + sum(rows for rows, _ in gaps), int)
    at = 0
    for rows_between, missing in gaps:
        at += rows_between
        steps[at] += missing
    samples = np.cumsum(steps) - steps[0]
    times = start_s + samples / fs
    header, stamps = {
        "milliseconds": ("time (ms)", lambda: cells(times * 1e3, 0)),
        "seconds": ("time (s)", lambda: cells(times, 4)),
        "dates": ("time", lambda: [str(t) for t in pd.to_datetime(np.round(times, 3), unit="s")]),
    }[form]
    lead = np.sin(np.arange(len(samples)))
    path = tmp_path_factory.mktemp("gaps") / "a.csv"
    write(path, f"{header},ECG (mV)", [stamps(), cells(lead)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_table, "CHUNK_ROWS", chunk)
        found = open_recording(path)
    assert found.fs == pytest.approx(fs, rel=1e-3)
    # The resolution tells a gap's length to within a sample or two, and the rate a long one's.
    tolerance = sum(2 + missing * abs(found.fs / fs - 1) for _, missing in gaps)
    assert abs(found.n_samples - samples[-1] - 1) <= tolerance
    whole = found.read(0)
    present = np.flatnonzero(np.isfinite(whole))
    np.testing.assert_allclose(whole[present], lead, atol=1e-3)
    assert np.abs(present - samples).max() <= tolerance


def test_late_stamps_are_no_gaps(tmp_path, real):
    """A stamp that comes late is followed by a shorter step."""
    times = seconds(len(real))
    times[100::97] += 0.6 / REAL_FS
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [cells(times, 6), cells(real[:, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (pytest.approx(REAL_FS, rel=1e-3), len(real))


@pytest.mark.parametrize(("fs", "decimals"), [(700, 3), (700, 6), (900, 3), (900, 6), (990, 3)])
def test_steps_that_rounding_doubles_are_no_gaps(tmp_path, real, fs, decimals):
    """At 900 Hz every ninth step of whole milliseconds is two of them, whatever zeros follow."""
    times = cells(seconds(len(real), fs).round(3), decimals)
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [times, cells(real[:, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (fs, len(real))


def test_one_sample_lost_where_the_steps_are_exact(tmp_path, real):
    times = cells(np.delete(seconds(len(real) + 1, 100), 300))
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [times, cells(real[:, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (100, len(real) + 1)
    assert np.flatnonzero(np.isnan(found.read(0))).tolist() == [300]


@pytest.mark.parametrize("at", [100, 360, 500])
def test_a_gap_after_the_first_second(tmp_path, real, at):
    samples = np.arange(len(real))
    samples[at:] += 600 * REAL_FS
    times = cells(np.floor(samples / REAL_FS), 0)
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [times, cells(real[:, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (REAL_FS, samples[-1] + 1)
    np.testing.assert_allclose(found.read(0)[samples], real[:, 0], atol=1e-6)


def test_samples_lost_within_whole_seconds(tmp_path, real):
    """Fewer rows than usual have a second, and no step is long."""
    lost = np.r_[1000:1030, 2100:2220, 3960:4300, 6480:6500]
    kept = np.delete(np.arange(len(real)), lost)
    times = cells(np.floor(kept / REAL_FS), 0)
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [times, cells(real[kept, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (REAL_FS, len(real))
    whole = found.read(0)
    seconds_whole = np.setdiff1d(np.arange(20), lost // REAL_FS)
    for second in seconds_whole:
        part = slice(second * REAL_FS, (second + 1) * REAL_FS)
        np.testing.assert_allclose(whole[part], real[part, 0], atol=1e-6)


@pytest.mark.parametrize("jitter", [0.1, 0.3, 0.5, 0.9])
def test_stamps_that_tremble_are_no_gaps(tmp_path, real, jitter):
    """Times of a computer's clock; a gap that is longer than they tremble is still found."""
    noise = np.random.default_rng(0).uniform(-jitter, jitter, len(real)) / REAL_FS
    times = np.sort(seconds(len(real)) + 1 + noise)
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [cells(times, 6), cells(real[:, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (REAL_FS, len(real))
    times[4000:] += 100 / REAL_FS
    path = write(tmp_path / "b.csv", "time,MLII (mV)", [cells(times, 6), cells(real[:, 0])])
    found = open_recording(path)
    assert abs(found.n_samples - len(real) - 100) <= 2
    np.testing.assert_allclose(found.read(0, 0, 4000), real[:4000, 0], atol=1e-6)


def test_packets_of_rows_that_share_a_time(tmp_path, real):
    samples = np.delete(np.arange(len(real)), np.r_[2000:2010, 5000:5500])
    late = np.random.default_rng(0).uniform(0, 0.003, len(real))
    times = samples // 10 * 10 / REAL_FS + late[samples // 10 * 10]
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [cells(times), cells(real[samples, 0])])
    found = open_recording(path)
    assert found.fs == pytest.approx(REAL_FS, rel=1e-3)
    assert abs(found.n_samples - len(real)) <= 3
    whole = found.read(0)
    np.testing.assert_allclose(whole[:2000], real[:2000, 0], atol=1e-6)
    np.testing.assert_allclose(whole[-1500:], real[-1500:, 0], atol=1e-6)


def test_times_without_any_regularity_are_refused(tmp_path, real):
    times = np.cumsum(np.random.default_rng(0).exponential(1 / REAL_FS, len(real)))
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [cells(times, 6), cells(real[:, 0])])
    with pytest.raises(RecordError, match=r"irregularly.*--fs"):
        open_recording(path)


def test_a_clock_that_jumps_by_years_is_refused(tmp_path, real):
    times = seconds(len(real)) + 1e9
    times[5000:] += 3 * 365 * 86_400
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [cells(times), cells(real[:, 0])])
    with pytest.raises(RecordError, match=r"1,095.* days.*before row 5,001.*at most 31;.*clock"):
        open_recording(path)


@pytest.mark.parametrize("chunk", [1000, 200_000])
def test_times_that_fall_are_refused_by_row(tmp_path, real, monkeypatch, chunk):
    monkeypatch.setattr(csv_table, "CHUNK_ROWS", chunk)
    times = seconds(len(real))
    times[6000:] -= 3
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [cells(times), cells(real[:, 0])])
    with pytest.raises(RecordError, match=r"row 6,001 below the header has 13\.667 s after 16\.66"):
        open_recording(path)


@pytest.mark.parametrize("form", ["numbers", "quoted", "clock", "dates"])
@pytest.mark.parametrize("row", [2, 7000])
def test_what_is_no_time_is_refused(tmp_path, real, form, row):
    times = {
        "numbers": cells(seconds(len(real))),
        "quoted": [f"'{cell}'" for cell in cells(seconds(len(real)))],
        "clock": [f"0:{t:06.3f}" for t in seconds(len(real))],
        "dates": [f"2024-05-01 10:00:{t:06.3f}" for t in seconds(len(real))],
    }[form]
    good = write(tmp_path / "a.csv", "time,MLII (mV)", [times, cells(real[:, 0])])
    assert open_recording(good).fs == REAL_FS
    times[row] = "soon"
    path = write(tmp_path / "b.csv", "time,MLII (mV)", [times, cells(real[:, 0])])
    where = rf"\('soon' in row {row + 1:,} below the header\)"
    with pytest.raises(RecordError, match=rf"column 'time': found no time {where}.*--fs"):
        open_recording(path)


def test_rows_without_a_time_are_samples(tmp_path, real):
    times = cells(seconds(len(real)))
    times[0] = times[500] = times[501] = times[-1] = ""
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [times, cells(real[:, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (REAL_FS, len(real))


@pytest.mark.parametrize("decimals", [0, 1, 2])
@pytest.mark.parametrize("start_s", [0, 0.4, 1.7e9 + 0.77])
@pytest.mark.parametrize("missing", [0, 500, 36_003])
@pytest.mark.parametrize("chunk", [900, 200_000])
def test_rows_that_share_a_time(tmp_path, real, monkeypatch, decimals, start_s, missing, chunk):
    monkeypatch.setattr(csv_table, "CHUNK_ROWS", chunk)
    samples = np.arange(len(real))
    samples[3000:] += missing
    times = np.floor((start_s + samples / REAL_FS) * 10**decimals + 1e-6) / 10**decimals
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [cells(times, decimals), cells(real[:, 0])])
    found = open_recording(path)
    assert found.fs == REAL_FS
    assert abs(found.n_samples - samples[-1] - 1) <= 3
    whole = found.read(0)
    np.testing.assert_allclose(whole[:3000], real[:3000, 0], atol=1e-6)
    np.testing.assert_allclose(whole[-4000:], real[-4000:, 0], atol=1e-6)


def test_dates_of_whole_seconds(tmp_path, real):
    """First and last second are cut: rows by time, from the first to the last, are 357 Hz."""
    times = pd.Timestamp("2024-01-01 12:00:00.4") + pd.to_timedelta(seconds(len(real)), unit="s")
    stamps = [f"{each:%Y-%m-%d %H:%M:%S}" for each in times]
    path = write(tmp_path / "a.csv", "timestamp,ecg (mV)", [stamps, cells(real[:, 0])])
    assert open_recording(path).fs == REAL_FS


@pytest.mark.parametrize(("time", "message"), [("", "found no time"), ("5", "do not rise")])
def test_a_column_of_times_that_says_nothing(tmp_path, real, time, message):
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [[time] * len(real), cells(real[:, 0])])
    with pytest.raises(RecordError, match=rf"{message}.*--fs"):
        open_recording(path)
    assert open_recording(path, fs=REAL_FS).lead_names == ("MLII",)


def test_times_too_coarse_for_the_rate(tmp_path, real):
    """Three seconds in whole ones: two whole steps at most, of which one may be cut."""
    columns = [cells(np.floor(seconds(72, 25) + 0.3), 0), cells(real[:72, 0])]
    path = write(tmp_path / "a.csv", "time,MLII (mV)", columns)
    with pytest.raises(RecordError, match=r"too roughly.*within 0\.5%.*--fs"):
        open_recording(path)


def test_dates_across_time_zones(tmp_path, real):
    times = pd.Timestamp("2024-03-31 01:59:55") + pd.to_timedelta(seconds(len(real)), unit="s")
    stamps = [
        f"{each + pd.Timedelta(hours=late):%Y-%m-%dT%H:%M:%S.%f}+0{1 + late}:00"
        for i, each in enumerate(times)
        for late in [int(i > 1800)]
    ]
    path = write(tmp_path / "a.csv", "timestamp,ecg (mV)", [stamps, cells(real[:, 0])])
    found = open_recording(path)
    assert (found.fs, found.n_samples) == (REAL_FS, len(real))


def test_a_long_gap_takes_no_disk(tmp_path, real):
    """The rows are stored as they are, and a gap is made when it is read."""
    times = seconds(len(real))
    times[3600:] += MAX_DURATION_S - 100
    path = write(tmp_path / "a.csv", "time,MLII (mV)", [cells(times), cells(real[:, 0])])
    found = open_recording(path)
    assert found.n_samples == len(real) + (MAX_DURATION_S - 100) * REAL_FS
    assert np.isnan(found.read(0, 10**8, 10**8 + 100)).all()
    np.testing.assert_allclose(found.read(0, found.n_samples - 99), real[-99:, 0], atol=1e-6)


# --------------------------------------------------------------------------------------
# Headers
# --------------------------------------------------------------------------------------


def test_what_pandas_writes_by_default(tmp_path, real):
    """The header is `,0,1`, and the first column the row's number."""
    path = tmp_path / "a.csv"
    pd.DataFrame(real).to_csv(path)
    assert path.read_text().startswith(",0,1\n")
    found = open_recording(path, fs=REAL_FS)
    assert (found.lead_names, found.n_samples) == (("0", "1"), len(real))
    np.testing.assert_allclose(found.read("1"), real[:, 1], atol=1e-6)
    with pytest.raises(RecordError, match=r"no column of times among.*--fs"):
        open_recording(path)


def test_an_index_of_times_without_a_name(tmp_path, real, caplog):
    path = tmp_path / "a.csv"
    pd.DataFrame(real, index=seconds(len(real))).to_csv(path)
    with caplog.at_level("INFO"):
        found = open_recording(path)
    assert (found.fs, found.lead_names, found.n_samples) == (REAL_FS, ("0", "1"), len(real))
    assert "taken for times" in caplog.text
    np.testing.assert_allclose(found.read("0"), real[:, 0], atol=1e-6)


def test_numbers_as_names_without_an_index(tmp_path, real):
    path = tmp_path / "a.csv"
    pd.DataFrame(real).to_csv(path, index=False)
    found = open_recording(path, fs=REAL_FS)
    assert (found.lead_names, found.n_samples) == (("0", "1"), len(real))
    whole = tmp_path / "b.csv"
    pd.DataFrame((real * 200 + 1024).round().astype(int)).to_csv(whole, index=False, header=False)
    assert open_recording(whole, fs=REAL_FS).n_samples == len(real)


def test_leads_called_by_numbers_beside_times(tmp_path, real):
    columns = [cells(seconds(len(real))), cells(real[:, 0]), cells(real[:, 1])]
    path = write(tmp_path / "a.csv", "time,1,2", columns)
    assert open_recording(path).lead_names == ("1", "2")


@pytest.mark.parametrize("header", ["time,MLII", "time,MLII,"])
@pytest.mark.parametrize("end", ["", ","])
def test_a_delimiter_at_the_end_of_rows(tmp_path, real, header, end):
    columns = [cells(seconds(len(real))), cells(real[:, 0])]
    path = write(tmp_path / "a.csv", header, columns, end=end)
    found = open_recording(path)
    assert (found.fs, found.lead_names, found.n_samples) == (REAL_FS, ("MLII",), len(real))
    np.testing.assert_allclose(found.read(0), real[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("header", "counts"),
    [("time,MLII,V5,V1", "4 cells.*rows of 3"), ("time,MLII", "2 cells.*rows of 3")],
)
def test_a_header_of_other_columns_than_the_rows_is_refused(tmp_path, real, header, counts):
    columns = [cells(seconds(len(real))), cells(real[:, 0]), cells(real[:, 1])]
    path = write(tmp_path / "a.csv", header, columns)
    with pytest.raises(RecordError, match=rf"a\.csv: found a header of {counts}.*correct"):
        open_recording(path, fs=REAL_FS)


@pytest.mark.parametrize("first", ["# made by a recorder", "Recording of a patient"])
def test_a_title_over_the_header(tmp_path, real, first):
    columns = [cells(seconds(len(real))), cells(real[:, 0])]
    path = write(tmp_path / "a.csv", f"{first}\ntime,MLII", columns)
    assert open_recording(path).lead_names == ("MLII",)


def test_what_numpy_writes(tmp_path, real):
    table = np.column_stack([seconds(len(real)), real])
    np.savetxt(tmp_path / "a.csv", table, delimiter=",", header="time,MLII,V5")
    found = open_recording(tmp_path / "a.csv")
    assert (found.fs, found.lead_names, found.n_samples) == (REAL_FS, ("MLII", "V5"), len(real))
    np.savetxt(tmp_path / "b.csv", table, delimiter=",", header="made by hand")
    assert open_recording(tmp_path / "b.csv").lead_names == ("2", "3")
    np.savetxt(tmp_path / "d.txt", table, header="made by hand")  # blanks between the cells
    assert open_recording(tmp_path / "d.txt").lead_names == ("2", "3")
    path = write(tmp_path / "c.csv", "# made by hand\nMLII (mV)", [cells(real[:, 0])])
    assert open_recording(path, fs=REAL_FS).lead_names == ("MLII",)


@pytest.mark.parametrize("header", ["ECG", "ECG (mV)", "ECG\nmV", None])
def test_a_single_column_with_a_decimal_comma(tmp_path, real, header):
    column = [cell.replace(".", ",") for cell in cells(real[:, 0])]
    path = write(tmp_path / "a.csv", header, [column])
    found = open_recording(path, fs=REAL_FS)
    assert found.lead_names == (("ECG",) if header else ("1",))
    np.testing.assert_allclose(found.read(0), real[:, 0], atol=1e-6)


def test_two_columns_of_whole_numbers_are_no_decimals(tmp_path):
    numbers = [str(each) for each in 1000 + np.arange(100) ** 2 % 7]
    path = write(tmp_path / "a.csv", None, [numbers, numbers])
    assert open_recording(path, fs=FS).lead_names == ("1", "2")


@pytest.mark.parametrize("column", ["index", "times", "milliseconds", "clock", "dates", "whole"])
def test_a_column_that_rises_is_no_lead(tmp_path, real, column, caplog):
    """Without a header, and with a name that does not tell."""
    times = seconds(len(real))
    dates = pd.Timestamp("2024-05-01") + pd.to_timedelta(times.round(3), unit="s")
    rising = {
        "index": [str(i) for i in range(len(real))],
        "times": cells(times),
        "milliseconds": cells(times * 1e3),
        "clock": [f"0:{t:06.3f}" for t in times],
        "dates": [f"{date:%Y-%m-%d %H:%M:%S.%f}" for date in dates],
        "whole": cells(np.floor(times + 1.7e9), 0),
    }[column]
    path = write(tmp_path / "a.csv", None, [rising, cells(real[:, 0])])
    with caplog.at_level("INFO"):
        found = open_recording(path, fs=REAL_FS)
    assert found.lead_names == ("2",)
    assert "'1' (its numbers rise steadily" in caplog.text
    np.testing.assert_allclose(found.read(0), real[:, 0], atol=1e-6)
    if column in ("index", "milliseconds"):
        with pytest.raises(RecordError, match="--fs"):
            open_recording(path)
    else:
        assert open_recording(path).fs == REAL_FS
    if column != "clock":
        named = write(tmp_path / "b.csv", "counter,MLII", [rising, cells(real[:, 0])])
        assert open_recording(named, fs=REAL_FS).lead_names == ("MLII",)
        with pytest.raises(RecordError, match=r"no column of times among 'counter', 'MLII'.*--fs"):
            open_recording(named)
    alone = write(tmp_path / "c.csv", None, [rising])
    complaint = (
        "no row of numbers"
        if column in ("clock", "dates")
        else r"no column of a lead; left out.*rise steadily.*--columns"
    )
    with pytest.raises(RecordError, match=complaint):
        open_recording(alone, fs=REAL_FS)


def test_a_marker_is_no_lead(tmp_path, real):
    marker = [str(int(i % 400 == 0)) for i in range(len(real))]
    path = write(tmp_path / "a.csv", "MLII,button", [cells(real[:, 0]), marker])
    assert open_recording(path, fs=REAL_FS).lead_names == ("MLII",)
    asked = open_recording(path, fs=REAL_FS, columns=["MLII", "button"])
    assert asked.lead_names == ("MLII", "button")


def test_times_that_tremble_are_no_lead(tmp_path, real):
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, len(real)) / REAL_FS
    columns = [cells(seconds(len(real)) + 1 + noise, 6), cells(real[:, 0])]
    found = open_recording(write(tmp_path / "a.csv", None, columns))
    assert (found.fs, found.lead_names) == (REAL_FS, ("2",))


def test_decimal_commas_where_the_last_row_has_none(tmp_path, real):
    columns = [cells(seconds(len(real))), cells(real[:, 0])]
    columns = [[cell.replace(".", ",") for cell in column] for column in columns]
    columns[0].append("20")
    columns[1].append("0")
    found = open_recording(write(tmp_path / "a.csv", "Zeit;MLII", columns, delimiter=";"))
    assert (found.fs, found.n_samples) == (REAL_FS, len(real) + 1)
    short = write(tmp_path / "b.csv", "Zeit;MLII", [c[-100:] for c in columns], delimiter=";")
    assert open_recording(short, fs=REAL_FS).n_samples == 100


def test_a_flat_lead_is_a_lead(tmp_path):
    path = write(tmp_path / "a.csv", None, [["0"] * 3000 + ["0.5"] * 3000])
    assert open_recording(path, fs=FS).lead_names == ("1",)


# --------------------------------------------------------------------------------------
# Units
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "per_mv", "name"),
    [
        ("MLII (V)", 1e-3, "MLII"),
        ("MLII [volts]", 1e-3, "MLII"),
        ("MLII (mV)", 1, "MLII"),
        ("MLII (MV)", 1, "MLII"),
        ("MLII_mv", 1, "MLII"),
        ("MLII (millivolt)", 1, "MLII"),
        ("MLII (uV)", 1e3, "MLII"),
        ("MLII (UV)", 1e3, "MLII"),
        ("MLII (µV)", 1e3, "MLII"),
        ("MLII (\N{GREEK SMALL LETTER MU}V)", 1e3, "MLII"),
        ("MLII\nmicrovolts", 1e3, "MLII"),
        ("ECG_uV", 1e3, "ECG"),
        ("lead II uV", 1e3, "lead II"),
        ("MLII (nV)", 1e6, "MLII"),
        ("MLII\nnV", 1e6, "MLII"),
        ("ECG-nv", 1e6, "ECG"),
        ("mV", 1, "mV"),
    ],
)
@pytest.mark.parametrize("gain", [0.01, 1])
def test_units_of_leads(tmp_path, real, header, per_mv, name, gain):
    """A unit that is stated goes before what the spread looks like."""
    values = real[:, 0] * gain
    path = tmp_path / "a.csv"
    write(path, header, [cells(values * per_mv, 8)])
    found = open_recording(path, fs=REAL_FS)
    assert found.lead_names == (name,)
    np.testing.assert_allclose(found.read(0), values, atol=1e-5)
    assert open_recording(path, fs=REAL_FS, columns=[header.split("\n")[0]]).lead_names == (name,)


@pytest.mark.parametrize("name", ["ECG (II)", "V"])
def test_names_of_leads_that_look_like_units(tmp_path, real, name):
    found = open_recording(write(tmp_path / "a.csv", name, [cells(real[:, 0])]), fs=REAL_FS)
    assert (found.lead_names, len(found.assumed)) == ((name,), 1)
    np.testing.assert_allclose(found.read(0), real[:, 0], atol=1e-6)


RAIL_MV = 187.5


@pytest.mark.parametrize(
    ("unit", "per_mv", "decimals"),
    [("volts", 1e-3, 7), ("millivolts", 1, 4), ("microvolts", 1e3, 1)],
)
@pytest.mark.parametrize("gain", [0.1, 1])  # a quiet lead of 0.1 mV too
@pytest.mark.parametrize("fault", ["none", "drift", "rail", "glitches", "off", "noise", "missing"])
def test_a_unit_that_nothing_names(tmp_path, real, caplog, unit, per_mv, decimals, gain, fault):
    """Told by what two seconds span, whatever else there is."""
    mv = np.tile(real[:, 0], 3) * gain
    n = len(mv)
    i = np.arange(n)
    if fault == "drift":
        mv = mv + 30 * i / n
    elif fault == "rail":
        mv[i // (n // 100) == 40] = RAIL_MV
        mv[i // (n // 100) == 70] = -RAIL_MV
    elif fault == "glitches":
        mv[:: n // 9] = RAIL_MV
    elif fault == "off":
        mv[: 7 * n // 10] = 0.0
    elif fault == "noise":  # of the last bit
        mv[: 7 * n // 10] = 0.005 * gain * np.random.default_rng(0).integers(-1, 2, 7 * n // 10)
    elif fault == "missing":
        mv[: 9 * n // 10] = np.nan
    path = write(tmp_path / "a.csv", "MLII", [cells(mv * per_mv, decimals)])
    with caplog.at_level("INFO"):
        found = open_recording(path, fs=REAL_FS)
    (assumed,) = found.assumed
    assert assumed.startswith(f"column 'MLII' is taken for {unit} (it spans ")
    assert assumed in caplog.text
    np.testing.assert_allclose(found.read(0), mv, atol=1e-4)


@pytest.mark.parametrize("cell", ["0", "3"])
def test_a_flat_column_is_taken_for_millivolts(tmp_path, cell):
    found = open_recording(write(tmp_path / "a.csv", "MLII", [[cell] * 900]), fs=FS)
    assert found.assumed == ("column 'MLII' is taken for millivolts (it spans 0 in 2 s)",)


def test_microvolts_in_an_old_encoding(tmp_path, real):
    path = write(tmp_path / "a.csv", "MLII (µV)", [cells(real[:, 0])])
    path.write_bytes(path.read_text().encode("latin-1"))
    np.testing.assert_allclose(
        open_recording(path, fs=REAL_FS).read(0), real[:, 0] / 1e3, atol=1e-8
    )


@pytest.mark.parametrize("unit", ["adc", "%", "counts", "mmHg", "mV/s", "10 uV", "bpm"])
@pytest.mark.parametrize("is_row", [False, True])
def test_a_column_in_no_voltage_is_no_lead(tmp_path, real, caplog, unit, is_row):
    header = f"MLII,V5\n{unit},mV" if is_row else f"MLII ({unit}),V5 (mV)"
    columns = [cells(real[:, 0]), cells(real[:, 1])]
    path = write(tmp_path / "a.csv", header, columns)
    with caplog.at_level("INFO"):
        found = open_recording(path, fs=REAL_FS)
    assert found.lead_names == ("V5",)
    np.testing.assert_allclose(found.read(0), real[:, 1], atol=1e-6)
    assert f"'MLII' (in '{unit}', no voltage)" in caplog.text
    with pytest.raises(RecordError, match=rf"'MLII' in '{unit}'; expected V, mV, uV or nV"):
        open_recording(path, fs=REAL_FS, columns=["MLII"])
    alone = write(tmp_path / "b.csv", header.replace("mV", unit), columns)
    with pytest.raises(RecordError, match=r"no column of a lead; left out are 'MLII' \(in"):
        open_recording(alone, fs=REAL_FS)


def test_no_other_column_takes_the_place_of_an_ecg(tmp_path, real):
    columns = [cells(real[:, 0]), cells(real[:, 1])]
    path = write(tmp_path / "a.csv", "MLII (counts),Resp (mV)", columns)
    found = open_recording(path, fs=REAL_FS)
    with pytest.raises(RecordError, match=r"a: signal MLII cannot .* lead Resp would .* --lead"):
        suggest_lead(found, "MLII")
    assert suggest_lead(open_recording(path, fs=REAL_FS, columns=["Resp"]), "MLII") == 0
    also = write(tmp_path / "b.csv", "counter,MLII (counts),V5 (mV)", [["7"] * len(real), *columns])
    assert suggest_lead(open_recording(also, fs=REAL_FS), "MLII") == 0


def test_a_real_record_as_csv_is_the_record(physionet, tmp_path, monkeypatch):
    """Half an hour, by pieces, with the times that PhysioNet's tool writes, and a loss in them."""
    monkeypatch.setattr(csv_table, "CHUNK_ROWS", 50_000)
    record = open_recording(physionet / "mitdb" / "100")
    expected = record.read("MLII")
    expected[123_456:234_567] = np.nan
    kept = np.isfinite(expected)
    columns = [cells(seconds(len(expected))[kept]), cells(expected[kept])]
    found = open_recording(write(tmp_path / "a.csv", "time,MLII (mV)", columns))
    assert (found.fs, found.n_samples) == (record.fs, record.n_samples)
    np.testing.assert_allclose(found.read("MLII"), expected, atol=1e-6)


# --------------------------------------------------------------------------------------
# As programs and devices export it
# --------------------------------------------------------------------------------------


def exported(tmp_path, text, name="a.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_text_as_excel_writes_unicode(tmp_path, signal, encoding):
    text = "time (s)\tII (µV)\n" + "".join(
        f"{i / FS:.3f}\t{1e3 * mv:.2f}\n" for i, mv in enumerate(signal[:, 0])
    )
    found = open_recording(exported(tmp_path, text, "a.txt", encoding))
    assert (found.fs, found.lead_names) == (FS, ("II",))
    np.testing.assert_allclose(found.read(0), signal[:, 0], atol=1e-5)


START = pd.Timestamp("2024-03-02 11:59:55")
DATES = [START + pd.Timedelta(milliseconds=10 * i) for i in range(N)]


@pytest.mark.parametrize(
    "stamp",
    [
        lambda t: f"{t:%m/%d/%Y %I:%M:%S.%f %p}",
        lambda t: f"{t + pd.Timedelta(hours=3):%m/%d/%Y %I:%M:%S.%f %p}",
        lambda t: f"{t:%d/%m/%Y %I:%M:%S.%f} {'a. m.' if t.hour < 12 else 'p. m.'}",
        lambda t: f"{t:%I:%M:%S.%f}\N{NARROW NO-BREAK SPACE}{t:%p}",
        lambda t: f"[{t:%H:%M:%S.%f %d/%m/%Y}]",
        lambda t: f"{t:%d.%m.%Y %H:%M:%S},{t.microsecond // 1000:03d}",
        lambda t: f"{t:%d-%b-%Y %H:%M:%S.%f}",
        lambda t: f"{t:%H:%M:%S}:{t.microsecond // 1000:03d}",
        lambda t: str(t - START),
        lambda t: str(t.to_pydatetime() - START.to_pydatetime()),
        lambda t: str(t.to_pydatetime()),
        lambda t: f"{t:%Y/%m/%d %H:%M:%S.%f}",
    ],
)
def test_forms_of_times(tmp_path, signal, stamp):
    """Noon passes, and where Python writes no decimals of a whole second, none are expected."""
    lines = [f"{stamp(t)};{mv:.4f}" for t, mv in zip(DATES, signal[:, 0], strict=True)]
    found = open_recording(exported(tmp_path, "\n".join(["Timestamp;ECG [mV]", *lines])))
    assert (found.fs, found.lead_names, found.n_samples) == (FS, ("ECG",), N)
    np.testing.assert_allclose(found.read(0), signal[:, 0], atol=1e-4)


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y"])
def test_dates_that_can_be_read_in_two_ways(tmp_path, signal, form):
    """Past midnight one way says a month is missing: it is the other."""
    times = [t + pd.Timedelta(hours=12) for t in DATES]
    lines = [f"{t:{form} %H:%M:%S.%f},{mv:.4f}" for t, mv in zip(times, signal[:, 0], strict=True)]
    found = open_recording(exported(tmp_path, "\n".join(["time,ECG (mV)", *lines])))
    assert (found.fs, found.n_samples) == (FS, N)


def test_times_in_no_known_form_are_named(tmp_path, signal):
    lines = [f"at {i},{mv:.4f}" for i, mv in enumerate(signal[:, 0])]
    path = exported(tmp_path, "\n".join(["time,ECG (mV)", *lines]))
    with pytest.raises(RecordError, match=r"column 'time': found no time \('at 0'\).*--fs"):
        open_recording(path)
    assert open_recording(path, fs=FS).lead_names == ("ECG",)


@pytest.mark.parametrize("decimal", [".", ","])
def test_the_apple_watch(tmp_path, signal, decimal):
    notes = (
        'Name,Ana\nDate of Birth,"Jan 8, 1980"\nRecorded Date,2024-03-02 10:11:12 -0700\n'
        'Symptoms,\nDevice,"Watch6,2"\nSample Rate,100 hertz\n\n\nLead,Lead I\nUnit,µV\n\n'
    )
    column = "".join(f"{10 * mv:.3f}\n".replace(".", decimal) for mv in signal[:, 0])
    found = open_recording(exported(tmp_path, notes + column))
    assert (found.fs, found.lead_names, found.n_samples) == (FS, ("Lead I",), N)
    np.testing.assert_allclose(found.read(0), signal[:, 0] / 100, atol=1e-6)


def test_the_apple_watch_in_spanish(tmp_path, signal):
    notes = 'Nombre,Ana\nFrecuencia de muestreo,"100 hercios"\n\nDerivación,I\nUnidad,µV\n\n'
    column = "".join(f'"{10 * mv:.3f}"\n'.replace(".", ",") for mv in signal[:, 0])
    found = open_recording(exported(tmp_path, notes + column))
    assert (found.fs, found.lead_names) == (FS, ("I",))
    np.testing.assert_allclose(found.read(0), signal[:, 0] / 100, atol=1e-6)


def test_notes_with_a_cell_for_each_column_are_no_header(tmp_path, signal):
    rows = [f"{i / FS:.3f}\t{mv:.4f}" for i, mv in enumerate(signal[:, 0])]
    path = exported(tmp_path, "\n".join(["Interval=\t0.01 s", "Range=\t10 mV", *rows]))
    found = open_recording(path)
    assert (found.fs, found.lead_names, found.n_samples) == (FS, ("2",), N)


def test_numbers_in_no_known_form_are_named(tmp_path):
    path = exported(tmp_path, "ECG (uV)\n" + '"1,234.5"\n' * 9)
    with pytest.raises(RecordError, match=r"no row of numbers .*'1,234\.5'"):
        open_recording(path, fs=FS)


@pytest.mark.parametrize("has_notes", [True, False])
def test_openbci(tmp_path, signal, has_notes):
    notes = "%OpenBCI Raw EXG Data\n%Number of channels = 2\n%Sample Rate = 100 Hz\n"
    header = "Sample Index, EXG Channel 0, EXG Channel 1, Timestamp, Timestamp (Formatted)\n"
    rows = [
        f"{float(i % 256)}, {1e3 * a - 15000:.3f}, {1e3 * b:.3f}, {1.7e9 + i / FS:.4f}, {DATES[i]}"
        for i, (a, b) in enumerate(signal)
    ]
    found = open_recording(exported(tmp_path, notes * has_notes + header + "\n".join(rows)))
    assert (found.fs, found.lead_names) == (FS, ("EXG Channel 0", "EXG Channel 1"))
    np.testing.assert_allclose(found.read(0) + 15, signal[:, 0], atol=1e-3)


def test_open_signals(tmp_path, signal, caplog):
    device = (
        '{"20:16": {"sensor": ["ECG", "EDA"], "column": ["nSeq", "O1", "A1", "A2"], '
        '"sampling rate": 100}}'
    )
    rows = [f"{i % 16}\t1\t{200 * a + 512:.0f}\t{i % 7}\t" for i, a in enumerate(signal[:, 0])]
    notes = ["# OpenSignals Text File Format", f"# {device}", "# EndOfHeader"]
    path = exported(tmp_path, "\n".join([*notes, *rows]), "a.txt")
    with caplog.at_level("INFO"):
        found = open_recording(path)
    assert (found.fs, found.lead_names) == (FS, ("ECG",))
    np.testing.assert_allclose(found.read(0) * 5 - 2.56, signal[:, 0], atol=2.6e-3)
    assert "'A2' (of the sensor EDA)" in caplog.text
    for column in ("A1", "3", "ECG"):
        assert open_recording(path, columns=[column]).n_samples == N


def test_rates_that_differ(tmp_path, signal):
    rows = [f"{i / FS:.3f},{mv:.4f}" for i, mv in enumerate(signal[:, 0])]
    path = exported(tmp_path, "\n".join(["# Sampling rate: 250 Hz", "time,ECG", *rows]))
    with pytest.raises(RecordError, match=r"100 Hz by the times .*, and 250 Hz.*--fs"):
        open_recording(path)
    # Of a column of times that are too rough, the header states the rate.
    rows = [f"{i // FS},{mv:.4f}" for i, mv in enumerate(signal[:150, 0])]
    path = exported(tmp_path, "\n".join(["# Sampling rate (Hz): 100", "time,ECG", *rows]))
    assert open_recording(path).fs == FS


def test_blanks_between_numbers_with_decimal_commas(tmp_path, signal):
    rows = [f"{i / FS:.2f} {mv:.4f}".replace(".", ",") for i, mv in enumerate(signal[:, 0])]
    found = open_recording(exported(tmp_path, "\n".join(["time ECG", *rows])))
    assert (found.fs, found.lead_names) == (FS, ("ECG",))
    np.testing.assert_allclose(found.read(0), signal[:, 0], atol=1e-4)


def test_a_column_of_texts_is_no_lead(tmp_path, signal, caplog):
    rows = [f"{i / FS:.3f},{mv:.4f},{'N' if i % 90 else ''}" for i, mv in enumerate(signal[:, 0])]
    with caplog.at_level("INFO"):
        found = open_recording(exported(tmp_path, "\n".join(["time,ECG,label", *rows])))
    assert found.lead_names == ("ECG",)
    assert "'label' (texts)" in caplog.text


@pytest.mark.parametrize("period", [16, 256])
@pytest.mark.parametrize("header", ["", "what,x\n"])
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_counter_that_begins_again_is_no_lead(tmp_path, signal, period, header, repeats, sign):
    rows = [f"{sign * i // repeats % period},{mv:.4f}" for i, mv in enumerate(signal[:, 0])]
    found = open_recording(exported(tmp_path, header + "\n".join(rows)), fs=FS)
    assert found.lead_names == (("x",) if header else ("2",))


def test_beats_or_leads_in_rows(tmp_path, signal):
    row = ",".join(f"{mv:.4f}" for mv in signal[:187, 0])
    path = exported(tmp_path, "\n".join([row] * 30))
    with pytest.raises(RecordError, match=r"187 columns that may be leads; expected 40.*--columns"):
        open_recording(path, fs=FS)
    assert open_recording(path, fs=FS, columns=["7"]).lead_names == ("7",)
