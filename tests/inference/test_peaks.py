"""CSV files of R peaks: whatever stands beside them, every sample is read from its own column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.inference.peaks import read_peaks
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.recording import Recording

RECORDING = Recording("a", 100.0, ("I",), 9, None, lambda lead, start, stop: np.zeros(9))


@pytest.fixture
def read(tmp_path):
    def read(text, encoding="utf-8"):
        path = tmp_path / "p.csv"
        path.write_bytes(text.encode(encoding))
        return read_peaks(str(path), RECORDING).tolist()

    return read


@settings(deadline=None)
@given(
    samples=st.lists(st.integers(0, 10**9), min_size=1).map(sorted),
    others=st.lists(st.sampled_from(["0,81", "-1,5", "N", "", "3"]), min_size=1, max_size=4),
    place=st.integers(0, 4),
    delimiter=st.sampled_from(";\t"),
    end=st.sampled_from(["", "{}"]),
    header_end=st.sampled_from(["", "{}"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
)
def test_decimal_commas_beside_the_samples(
    tmp_path_factory, samples, others, place, delimiter, end, header_end, encoding
):
    names = [f"other{i}" for i in range(len(others))]
    names.insert(place, "Sample")
    lines = [delimiter.join(names) + header_end.format(delimiter)]
    for sample in samples:
        row = list(others)
        row.insert(place, str(sample))
        lines.append(delimiter.join(row) + end.format(delimiter))
    path = tmp_path_factory.mktemp("peaks") / "p.csv"
    path.write_text("\n".join(lines), encoding)
    assert read_peaks(str(path), RECORDING).tolist() == sorted(set(samples))


@pytest.mark.parametrize(
    "text",
    [
        "sample,rr\n77,100,\n370,293,\n",
        "sample,rr,\n77,100\n370,293,\n",
        ",sample\n0,77\n1,370\n",
        "sample,rr\n77\n\n370,293\n",
        '"sample","rr"\n"77","0,81"\n370,"0,79"\n',
        'sample,note\n77,"two\n370,beats"\n',
    ],
)
def test_commas_between_the_cells(read, text):
    assert read(text) == [77, 370]


@pytest.mark.parametrize("header", ["sample,rr_s", "rr_s,sample,", "rr_s,sample"])
def test_a_decimal_comma_that_is_a_delimiter_too_is_refused(read, header):
    with pytest.raises(
        RecordError, match=r"p\.csv: found 3 cells in row 2 below the header; expected 2,.*decimal"
    ):
        read(f"{header}\n1,1\n0,81,77\n")


def test_a_repeated_sample_is_one_peak(read):
    assert read("sample\n370\n77\n77\n370\n") == [77, 370]


def test_deleted_beats_are_not_read(read):
    rows = "77,N,N,model\n200,N,,deleted\n,,,deleted\n370,,V,added\n662,N,V,corrected\n"
    assert read("sample,aami_class,corrected_class,origin\n" + rows) == [77, 370, 662]
    assert read("sample,origin\n77,deleted\n") == []
    with pytest.raises(RecordError, match=r"'R' in row 3 below .* 1 of 2 "):
        read("sample,origin\n77,deleted\n370,model\nR,model\n")


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("", "utf-8", "found an empty file; expected a header"),
        ("\n \n", "utf-8", "found an empty file"),
        ("at;rr\n77;0,8\n", "utf-8", "found the columns at, rr; expected one called sample;"),
        ("sample,Sample\n77,370\n", "utf-8", "the columns sample, sample; expected one called"),
        ("sample;Qualität\n77;1\n", "latin-1", "UnicodeDecodeError.*expected text in UTF-8"),
        ("sample\n0.5\n", "utf-8", r"found '0\.5' in row 1"),
    ],
)
def test_errors_name_the_file(read, text, encoding, words):
    with pytest.raises(RecordError, match=rf"^/.*p\.csv: .*{words}"):
        read(text, encoding)
