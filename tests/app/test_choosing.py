"""Samples are offered where they are; uploads lie on the disk only while they are read."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cnns_spectrograms.app.choosing import holds_csv, stored
from cnns_spectrograms.app.launch import AppSettings
from cnns_spectrograms.app.resources import find_databases
from cnns_spectrograms.ecg.databases import list_records
from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording
from written_formats import write_lead_ii


class _Upload(io.BytesIO):
    """A file as Streamlit hands it over."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.name = name


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    simulate_database(folder, "mitdb", 3, 600.0, seed=0)
    return folder


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, so that what is left behind is seen."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _zip(folder: Path, name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.glob(f"{name}.*")):
            archive.write(path, f"some/folder/{path.name}")
    return packed.getvalue()


def test_a_zip_is_read_and_removed(synthetic: Path, scratch: Path) -> None:
    with stored([_Upload("mine.zip", _zip(synthetic, "100"))]) as paths:
        recording = open_recording(paths[0])
        assert (recording.name, recording.fs, recording.n_samples) == ("100", 360, 216_000)
        assert recording.reference is not None
        assert any(scratch.iterdir())
    assert not any(scratch.iterdir())


def test_the_files_of_a_record_are_read_together(synthetic: Path, scratch: Path) -> None:
    files = [_Upload(path.name, path.read_bytes()) for path in sorted(synthetic.glob("101.*"))]
    with stored(files) as paths:
        assert [path.name for path in paths] == ["101.hea"]
        assert open_recording(paths[0]).lead_names == ("MLII", "V1")
    assert not any(scratch.iterdir())


def test_several_recordings_are_all_found(synthetic: Path) -> None:
    files = [_Upload(f"{name}.zip", _zip(synthetic, name)) for name in ("100", "102")]
    with stored(files) as paths:
        assert [path.stem for path in paths] == ["100", "102"]


def test_every_format_that_is_read_can_be_uploaded(tmp_path: Path) -> None:
    paths = [
        write_lead_ii(tmp_path / name, np.zeros(500), 100) for name in ("a.ecg", "b.xml", "c.DCM")
    ]
    files = [_Upload(path.name, path.read_bytes()) for path in paths]
    with stored(files) as paths:
        assert [open_recording(path).lead_names for path in paths] == [("II",)] * 3


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ([_Upload("a.zip", b"no archive")], "ZIP archive: cannot be read"),
        ([_Upload("a.exe", b"MZ")], "no recording"),
        ([_Upload("../../a.csv", b"1,2\n")], "leads outside"),
        ([_Upload("a.dat", b"\0" * 30)], "no recording"),
        ([_Upload("a.csv", b"1\n2\n"), _Upload("a.csv", b"1\n2\n")], "two files"),
    ],
)
def test_a_bad_upload_is_refused_and_leaves_nothing(
    files: list[_Upload], complaint: str, scratch: Path
) -> None:
    with pytest.raises(RecordError, match=complaint), stored(files):
        pass
    assert not any(scratch.iterdir())


def test_an_error_does_not_tell_where_an_upload_lay(synthetic: Path, scratch: Path) -> None:
    header = _Upload("100.hea", (synthetic / "100.hea").read_bytes())
    with (
        pytest.raises(RecordError, match=r"the file 100\.dat is missing") as told,
        stored([header]) as at,
    ):
        open_recording(at[0])
    assert str(scratch) not in str(told.value)
    assert not any(scratch.iterdir())


def test_an_archive_that_leads_outside_is_refused(scratch: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../evil.hea", "evil 1 360 10\n")
    with (
        pytest.raises(RecordError, match="leads outside"),
        stored([_Upload("a.zip", packed.getvalue())]),
    ):
        pass
    assert not list(scratch.rglob("*"))
    assert not (scratch.parent / "evil.hea").exists()


@pytest.mark.usefixtures("app_settings")
def test_real_records_are_offered_where_they_are(
    physionet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered(folder: Path | None) -> dict[str, int]:
        settings = AppSettings(physionet=folder).model_dump_json()
        monkeypatch.setenv("CNNS_SPECTROGRAMS_APP", settings)
        return {name: len(list_records(folder)) for name, folder in find_databases().items()}

    assert offered(physionet) == {"mitdb": 48, "svdb": 78, "synthetic": 3}
    assert offered(tmp_path) == offered(None) == {"synthetic": 3}


def test_an_upload_with_a_csv_is_asked_for_its_rate(synthetic: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("some/mine.TXT", "ECG\n0.1\n0.2\n")
    own = packed.getvalue()
    assert holds_csv([_Upload("mine.zip", own)])
    assert holds_csv([_Upload("mine.tsv", b"")])
    assert not holds_csv([_Upload("mine.zip", _zip(synthetic, "100"))])
    assert not holds_csv([_Upload("mine.zip", own[:-9])])
    with stored([_Upload("mine.zip", own)]) as paths:
        assert open_recording(paths[0], fs=360).n_samples == 2


def _show_sleep_recording() -> None:
    """Show a recording whose ECG has no unit: what AppTest runs, without this module."""
    from dataclasses import replace
    from types import SimpleNamespace

    import numpy as np
    import streamlit as st

    from cnns_spectrograms.app.choosing import _confirm
    from cnns_spectrograms.inference.api import make_recording
    from cnns_spectrograms.presentation import Translator

    recording = replace(
        make_recording(np.zeros((500, 2)), 100),
        lead_names=("EEG", "Chest"),
        left_out={"ECG": "its unit is ''"},
    )
    model = SimpleNamespace(preferred_lead="MLII")
    st.session_state["confirmed"] = _confirm(recording, model, "a", Translator("en"))


def test_where_the_ecg_cannot_be_used_a_lead_is_chosen_by_hand() -> None:
    app = AppTest.from_function(_show_sleep_recording, default_timeout=60).run()
    assert not app.exception
    assert "signal ECG cannot be used: its unit is ''" in app.code[0].value
    assert app.selectbox[0].value is None
    assert app.button("analyse").disabled
    app.selectbox[0].select_index(1).run()
    app.button("analyse").click().run()
    assert app.session_state["confirmed"] == (1, False)
