"""Every row of a CSV file is read, to the last cell, or refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording

FS = 250
VALUES = np.round(np.sin(np.arange(2000) / 9) * 0.9, 3)
CELLS = [f"{value:.3f}" for value in VALUES]


def read(path, text, encoding="utf-8", fs=FS):
    path.write_bytes(text.encode(encoding))
    return open_recording(path, fs=fs).read(0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.csv"


def test_commas_between_thousands_after_the_first_rows_are_refused(path):
    rows = [f"{i / FS:.3f},{1055 if i == 1000 else 500:,}" for i in range(2000)]
    with pytest.raises(RecordError, match=r"found 3 numbers in row 1,001 below.*expected 2, as in"):
        read(path, "\n".join(["time,ecg (uV)", *rows]), fs=None)


def test_blanks_between_thousands_after_the_first_rows_are_refused(path):
    rows = [f"{i} {'1 055' if i == 1000 else 500}" for i in range(2000)]
    with pytest.raises(RecordError, match="found 3 numbers in row 1,001 below"):
        read(path, "\n".join(["sample ecg", *rows]))


def test_a_decimal_comma_after_the_first_rows_is_refused(path):
    rows = [str(i * 7 % 40) if i < 300 else "0,123" for i in range(2000)]
    with pytest.raises(RecordError, match=r"found 2 numbers in row 301 below.*decimal comma"):
        read(path, "\n".join(["ecg", *rows]))


@pytest.mark.parametrize("delimiter", ["\t", ",", " "])
def test_a_note_at_the_end_of_a_row_is_accepted(path, delimiter):
    rows = [f"{i / FS:.3f}{delimiter}{cell}" for i, cell in enumerate(CELLS)]
    rows[1500] += f"{delimiter}#1 start"
    np.testing.assert_allclose(read(path, "\n".join(rows), fs=None), VALUES, atol=1e-6)


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n \r\n", "\n \n  "])
def test_blank_lines_of_one_column_are_missing_samples_but_at_the_end(path, end):
    cells = [*CELLS[:1000], *[""] * 10 * FS, *CELLS[1000:]]
    expected = np.array([float(cell or "nan") for cell in cells], np.float32)
    np.testing.assert_array_equal(read(path, "ecg (mV)\n" + "\n".join(cells) + end), expected)


def test_missing_samples_at_the_end_of_one_column_stay(path):
    found = read(path, "ecg (mV)\n" + "\n".join([*CELLS, "", "nan"]) + "\n\n")
    assert len(found) == 2002
    assert np.isnan(found[2000:]).all()


def test_double_spaced_lines_of_one_column_are_no_missing_samples(path):
    found = read(path, "ecg (mV)\n\n" + "\n\n".join(CELLS) + "\n\n")
    np.testing.assert_allclose(found, VALUES, atol=1e-6)


@pytest.mark.parametrize("notes", ["Notes\fmore", "Notes\x85more", "Notes\x85more\f"])
def test_what_other_readers_end_a_line_at_loses_no_sample(path, notes):
    found = read(path, "\n".join([notes, "ecg (mV)", *CELLS]), encoding="latin-1")
    np.testing.assert_allclose(found, VALUES, atol=1e-6)


@pytest.mark.parametrize("cell", ["nan", "NAN", "NaN", "na", "NA", "none", "None", "-", "n/a"])
def test_words_for_missing_samples_after_a_blank(path, cell):
    rows = [f"0.1, {cell}" if i in (3, 1500) else f"0.1, {CELLS[i]}" for i in range(2000)]
    path.write_text("\n".join(["V1 (mV), V2 (mV)", *rows]))
    found = open_recording(path, fs=FS).read("V2")
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 1500]


@pytest.mark.parametrize("delimiter", ["", ",", "\t"])
@pytest.mark.parametrize(
    "note", ['"Comment: supine\nafter exercise\nroom 2"', 'A 12" strip', '"one\n\n""two""\nthree"']
)
def test_notes_in_quotes_lose_no_sample(path, note, delimiter):
    """Whatever pandas counts as one line: quotes may go over several, or never end."""
    rows = [f"{i / FS:.3f}{delimiter}{cell}" if delimiter else cell for i, cell in enumerate(CELLS)]
    header = f"time (s){delimiter}II (mV)" if delimiter else "II (mV)"
    found = read(path, "\n".join([note, header, *rows]), fs=None if delimiter else FS)
    np.testing.assert_allclose(found, VALUES, atol=1e-6)


MISSING = ["nan", "NaN", "-", "N/A", ""]


@settings(max_examples=60, deadline=None)
@given(
    first=st.lists(st.tuples(*[st.sampled_from(MISSING)] * 2), max_size=90),
    delimiter=st.sampled_from(",;\t"),
    header=st.sampled_from([[("II (mV)", "V1 (mV)")], [("II", "V1"), ("mV", "mV")], []]),
    n_blank=st.integers(0, 3),
)
def test_missing_samples_before_all_others(tmp_path_factory, first, delimiter, header, n_blank):
    rows = [*header, *[[""]] * n_blank, *first, *zip(CELLS, CELLS, strict=True)]
    path = tmp_path_factory.mktemp("first") / "a.csv"
    path.write_text("\n".join(map(delimiter.join, rows)))
    found = open_recording(path, fs=FS)
    assert found.lead_names == (("II", "V1") if header else ("1", "2"))
    expected = [np.nan] * len(first) + VALUES.tolist()
    for lead in (0, 1):
        np.testing.assert_allclose(found.read(lead), expected, atol=1e-6)


@pytest.mark.parametrize("header", ["ECG (uV)\n", "ECG (uV)\n\n\n", "# by hand\n\nECG\nuV\n", ""])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(
    "first", [["nan"] * 50, ["nan", "-", "N/A"], ["nan", "", "", "nan"], ["0.5", *["nan"] * 50]]
)
def test_missing_samples_before_all_others_of_one_column(path, header, decimal, first):
    cells = [*first, *(f"{1000 * value:.0f}.5" for value in VALUES)]
    path.write_text(header + "\n".join(cells).replace(".", decimal))
    found = open_recording(path, fs=FS)
    assert found.lead_names == (("ECG",) if header else ("1",))
    expected = [float(cell) / 1000 if cell[-2:] == ".5" else np.nan for cell in cells]
    np.testing.assert_allclose(found.read(0), expected, atol=1e-6)


def test_missing_samples_at_clock_times(path):
    rows = [f"0:{i / FS:06.3f},{'' if i < 50 else cell}" for i, cell in enumerate(CELLS)]
    path.write_text("\n".join(["time,ECG (mV)", *rows]))
    found = open_recording(path)
    assert (found.fs, found.lead_names, found.n_samples) == (FS, ("ECG",), len(VALUES))
    assert np.flatnonzero(np.isnan(found.read(0))).tolist() == list(range(50))


def numbered(numbers, name):
    return "\n".join([f"{name},ecg (mV)", *(f"{n},0.1" for n in numbers)])


@pytest.mark.parametrize(("name", "factor"), [("index", 1), ("Sample", -1), ("seq", 4), ("", 1)])
def test_holes_in_row_numbers_are_warned_of(path, caplog, name, factor):
    numbers = np.delete(np.arange(2000), [*range(700, 710), 1500]) * factor
    with caplog.at_level(logging.WARNING):
        assert len(read(path, numbered(numbers, name))) == 1989
    (warning,) = caplog.messages
    assert warning == (
        f"a.csv: the numbers in column {name or 'column 1'!r} skip in 2 places, which leaves out "
        f"11 samples; the rows are taken as consecutive"
    )


@pytest.mark.parametrize(
    "numbers", [np.arange(2000), np.arange(2000) % 256, np.zeros(2000), np.arange(2000) // 10]
)
def test_row_numbers_that_skip_none_are_not_warned_of(path, caplog, numbers):
    with caplog.at_level(logging.WARNING):
        read(path, numbered(numbers, "sample"))
    assert not caplog.messages


def test_row_numbers_that_are_no_numbers_do_no_harm(path):
    assert len(read(path, numbered([f"r{i}" for i in range(2000)], "row"))) == 2000
