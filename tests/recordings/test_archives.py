"""Unpacking: what comes out of an archive stays in its folder, and within its bounds."""

from __future__ import annotations

import io
import stat
import zipfile

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.recordings.archives import unpack_recording
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording
from written_formats import write_lead_ii

CSV = b"time,ECG\n0,0.1\n0.1,0.2\n0.2,0.3\n"


def pack(path, entries):
    """Write a ZIP archive of (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_a_record_in_a_folder_of_the_archive(tmp_path):
    signal = np.round(np.random.default_rng(0).normal(size=(500, 1)), 2)
    wfdb.wrsamp("r", 100, ["mV"], ["II"], signal, fmt=["16"], write_dir=str(tmp_path))
    files = [(f"db/{p.name}", p.read_bytes()) for p in (tmp_path / "r.hea", tmp_path / "r.dat")]
    archive = pack(tmp_path / "a.zip", [*files, ("__MACOSX/db/._r.hea", b"x"), ("db/", b"")])
    (found,) = unpack_recording(archive, tmp_path / "out")
    np.testing.assert_allclose(open_recording(found).read(0), signal[:, 0], atol=1e-3)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["r.dat", "r.hea"]


def test_what_a_clinic_hands_over(tmp_path):
    """Files of DICOM may have no ending; other XML and the index of a medium are left out."""
    steps = np.random.default_rng(0).integers(-500, 500, 500)
    paths = [write_lead_ii(tmp_path / name, steps, 100) for name in ("IM00001", "b.ECG", "c.xml")]
    files = [(f"patient/{path.name}", path.read_bytes()) for path in paths]
    others = [("notes.xml", b"<notes/>"), ("DICOMDIR", files[0][1])]
    archive = pack(tmp_path / "a.zip", [*files, *others])
    found = unpack_recording(archive, tmp_path / "out")
    assert [path.name for path in found] == ["IM00001", "b.ECG", "c.xml"]
    for path in found:
        np.testing.assert_allclose(open_recording(path).read("II"), steps / 200, atol=1e-6)


def test_files_and_an_archive_together(tmp_path):
    archive = pack(tmp_path / "a.zip", [("x.csv", CSV)])
    found = unpack_recording(
        {"y.csv": CSV, "more.ZIP": io.BytesIO(archive.read_bytes())}, tmp_path / "out"
    )
    assert [path.name for path in found] == ["x.csv", "y.csv"]


@pytest.mark.parametrize(
    "name",
    [
        "../a.csv",
        "x/../../a.csv",
        "/tmp/a.csv",
        "..\\a.csv",
        "C:\\a.csv",
        "C:a.csv",
        "\\\\host\\share\\a.csv",
        "a\n.csv",
        "a" * 300 + ".csv",
    ],
)
def test_a_name_that_leads_elsewhere(tmp_path, name):
    for source in (pack(tmp_path / "a.zip", [("b.csv", CSV), (name, CSV)]), {name: CSV}):
        out = tmp_path / "deep" / "out"
        with pytest.raises(RecordError, match="file name"):
            unpack_recording(source, out)
        assert list(out.iterdir()) == []
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "deep"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("r/2020-01-01 10:00.csv", "with ':'; expected"),
        ("what?*.csv", r"with '\*', '\?'; expected"),
        ("a\n.csv", r"with '\\n'; expected"),
        ("r/" + "a" * 300 + ".csv", "with 304 characters; expected .* at most 200"),
        ("r/../a:b.csv", "leads outside"),
        ("C:a.csv", "leads outside"),
    ],
)
def test_why_a_name_is_refused(tmp_path, name, words):
    with pytest.raises(RecordError, match=words):
        unpack_recording({name: CSV}, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_systems_add_is_left_out(tmp_path):
    added = [
        "__MACOSX/r/._a.csv",
        "r/__MACOSX/b.csv",
        "r\\__MACOSX\\c.csv",
        "r/._a.csv",
        "._100.hea",
        "r/.DS_Store",
        "Thumbs.db",
    ]
    kept = ["r/a.csv", "r/x__MACOSX.csv", "r/_.csv"]
    archive = pack(tmp_path / "a.zip", [(name, b"\0\5\x16\7") for name in added])
    with pytest.raises(RecordError, match="no recording among nothing"):
        unpack_recording(archive, tmp_path / "none")
    archive = pack(tmp_path / "b.zip", [*((n, b"\0") for n in added), *((n, CSV) for n in kept)])
    found = unpack_recording(archive, tmp_path / "out")
    assert {path.name for path in found} == {"a.csv", "x__MACOSX.csv", "_.csv"}
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_link_becomes_a_file(tmp_path):
    link = zipfile.ZipInfo("a.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = pack(tmp_path / "a.zip", [(link, b"/etc/passwd")])
    (found,) = unpack_recording(archive, tmp_path / "out")
    assert not found.is_symlink()
    assert found.read_bytes() == b"/etc/passwd"


def test_a_password(tmp_path):
    path = pack(tmp_path / "a.zip", [("a.csv", CSV)])
    content = bytearray(path.read_bytes())
    for header, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + at] |= 1
    path.write_bytes(content)
    with pytest.raises(RecordError, match="is encrypted, password required"):
        unpack_recording(path, tmp_path / "out")


def test_a_bomb(tmp_path):
    archive = pack(tmp_path / "a.zip", [("a.csv", bytes(50_000_000))])
    assert archive.stat().st_size < 60_000
    with pytest.raises(RecordError, match="200 times"):
        unpack_recording(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bomb_that_states_another_size(tmp_path):
    """The sizes in the directory are the packer's word: what counts is what comes out."""
    path = pack(tmp_path / "a.zip", [("a.csv", bytes(5_000_000))])
    content = path.read_bytes().replace((5_000_000).to_bytes(4, "little"), b"\x0a\0\0\0")
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"cannot be read|times"):
        unpack_recording(path, tmp_path / "out")


def test_too_much(tmp_path):
    with pytest.raises(RecordError, match="more than 100 bytes"):
        unpack_recording({f"{i}.csv": b"x" * 60 for i in range(2)}, tmp_path / "a", max_bytes=100)
    with pytest.raises(RecordError, match="more than 2 files"):
        unpack_recording({f"{i}.csv": b"x" for i in range(3)}, tmp_path / "b", max_files=2)


def test_two_files_of_one_name(tmp_path):
    archive = pack(tmp_path / "a.zip", [("x/a.csv", CSV), ("y/a.csv", CSV)])
    with pytest.raises(RecordError, match="two files"):
        unpack_recording(archive, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no archive", "ZIP archive: cannot be read"), (b"", "ZIP archive: cannot be read")],
)
def test_no_archive(tmp_path, content, message):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RecordError, match=message):
        unpack_recording(tmp_path / "a.zip", tmp_path / "out")


def test_no_recording(tmp_path):
    with pytest.raises(RecordError, match=r"no recording among a\.pdf"):
        unpack_recording({"a.pdf": b"x"}, tmp_path / "out")
    # An archive in an archive stays packed.
    inner = pack(tmp_path / "b.zip", [("a.csv", CSV)]).read_bytes()
    with pytest.raises(RecordError, match="no recording among"):
        unpack_recording(pack(tmp_path / "a.zip", [("b.zip", inner)]), tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 400), text=st.binary(min_size=1, max_size=6), keep=st.floats(0.3, 1))
def test_damaged_archives(tmp_path_factory, at, text, keep):
    folder = tmp_path_factory.mktemp("fuzz")
    path = pack(folder / "a.zip", [("x/a.csv", CSV * 20), ("b.csv", CSV)])
    content = bytearray(path.read_bytes())
    content = content[: int(len(content) * keep)]
    at %= len(content)
    content[at : at + len(text)] = text
    path.write_bytes(content)
    try:
        found = unpack_recording(path, folder / "out")
    except RecordError:
        assert list((folder / "out").iterdir()) == []
        return
    assert {p.parent for p in found} == {folder / "out"}


def test_tables_and_notes_in_an_archive(tmp_path, caplog):
    entries = [("x.tsv", CSV), ("y.TXT", CSV), ("LICENSE.txt", b"Free.\n"), ("in.zip", b"PK")]
    with caplog.at_level("INFO"):
        found = unpack_recording(pack(tmp_path / "a.zip", entries), tmp_path / "out")
    assert [path.name for path in found] == ["x.tsv", "y.TXT"]
    assert "LICENSE.txt is left out" in caplog.text
    assert "archives in the archive are left out: in.zip" in caplog.text
