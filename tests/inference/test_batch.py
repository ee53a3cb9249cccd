"""Many recordings: what is taken for one, and that one that is broken stops no other."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import wfdb

from cnns_spectrograms.inference import batch
from cnns_spectrograms.inference.analysis import analyse
from cnns_spectrograms.inference.batch import expand_recordings, predict_recordings
from cnns_spectrograms.inference.peaks import read_peaks
from cnns_spectrograms.parameters import InferenceParameters
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.wfdb_annotations import select_beats
from inference.models import save_model


@pytest.fixture
def folder(simulated, tmp_path):
    """A copy of the simulated records, one of them broken."""
    copy = tmp_path / "records"
    shutil.copytree(simulated, copy)
    (copy / "102.dat").write_bytes(b"x")
    return copy


def predict(paths, out, n_jobs=1, *, model=None, **options):
    """Analyse recordings, without a page each unless asked for."""
    recordings = [str(path) for path in paths]
    inference = InferenceParameters(recordings=recordings, **{"report": False} | options)
    return predict_recordings(inference, out, model, n_jobs)


@pytest.mark.slow
def test_a_folder_fans_out_and_a_broken_record_is_named(folder, tmp_path, views_model):
    options = dict(model=views_model.path)
    table = predict([folder], tmp_path / "out", n_jobs=2, **options)
    assert [p.rsplit("/", 1)[-1] for p in table["recording"]] == ["100.hea", "101.hea", "102.hea"]
    assert table["error"].str.contains("truncated").tolist() == [False, False, True]
    assert sorted(p.stem for p in (tmp_path / "out").glob("*.cnn")) == ["100", "101"]
    # As in this process.
    expected = analyse(open_recording(folder / "101"), views_model).beats
    found = pd.read_csv(tmp_path / "out" / "101.csv")
    np.testing.assert_array_equal(found["sample"], expected["sample"])
    assert found["aami_class"].tolist() == expected["aami_class"].tolist()
    counted = table.set_index("recording").loc[str(folder / "101.hea")]
    assert counted["n_beats"] == len(expected)
    assert counted["V"] == (expected["aami_class"] == "V").sum()


def pack(path, files):
    """Write a ZIP archive of files."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, f"inside/{file.name}")
    return path


@pytest.mark.slow
def test_archives_and_broken_ones(folder, tmp_path, views_model):
    """Each is named, also where it lies in a folder, and stops no other."""
    options = dict(model=views_model.path, peaks="atr")
    good = pack(tmp_path / "good.zip", folder.glob("101.*"))
    zips = tmp_path / "zips"
    zips.mkdir()
    pack(zips / "cut.zip", folder.glob("102.*"))
    (zips / "no.ZIP").write_bytes(b"PK\3\4nonsense")
    pack(zips / "two.zip", []).write_bytes(good.read_bytes()[:-50])
    (zips / "folder.zip").mkdir()
    given = [folder / "100.hea", tmp_path / "none.zip", good, zips]
    table = predict(given, tmp_path / "out", n_jobs=2, **options)
    expected = {
        str(folder / "100.hea"): "",
        str(tmp_path / "none.zip"): "is missing; correct the path",
        str(good / "101.hea"): "",
        str(zips / "cut.zip" / "102.hea"): "truncated",
        str(zips / "no.ZIP"): "ZIP archive: cannot be read",
        str(zips / "two.zip"): "ZIP archive: cannot be read",
    }
    assert table["recording"].tolist() == list(expected)
    for error, words in zip(table["error"], expected.values(), strict=True):
        assert words in error
        assert bool(words) == bool(error)
    names = {each.name for each in (tmp_path / "out").iterdir()}
    assert names == {f"{name}.{end}" for name in (100, 101) for end in ("cnn", "csv", "json")}
    found = wfdb.rdann(str(tmp_path / "out" / "101"), "cnn")
    reference = select_beats(open_recording(folder / "101").reference)
    np.testing.assert_array_equal(found.sample, reference)
    # Alone, and what is said names no file that is gone.
    missing = pack(tmp_path / "missing.zip", [folder / "100.hea"])
    (row,) = predict([missing], tmp_path / "out", **options).to_dict("records")
    assert row["recording"] == str(missing / "100.hea")
    assert f"{missing}/" in row["error"] or "/" not in row["error"]


def test_what_one_archive_and_another_hold(folder, tmp_path):
    first = pack(tmp_path / "a.zip", folder.glob("100.*"))
    second = pack(tmp_path / "b.zip", folder.glob("100.*"))
    words = rf"{first}/100\.hea and {second}/100\.hea would both be written as 100"
    with pytest.raises(ValueError, match=words):
        expand_recordings([first, second], tmp_path / "scratch")


def test_results_in_an_archive_are_no_recordings(folder, tmp_path, views_model):
    predict([folder / "100.hea"], tmp_path / "out", model=views_model.path)
    results = list((tmp_path / "out").iterdir())
    both = pack(tmp_path / "a.zip", [*folder.glob("100.*"), *results])
    only = pack(tmp_path / "b.zip", results)
    found = expand_recordings([both, only], tmp_path / "scratch")
    assert [each.label for each in found] == [f"{both}/100.hea", str(only)]
    assert "tables of beats alone" in found[1].error


def test_a_header_that_leads_nowhere(folder, tmp_path, views_model):
    (folder / "RECORDS").unlink()
    (folder / "zz.hea").symlink_to("/nowhere/zz.hea")
    options = dict(model=views_model.path)
    table = predict([folder], tmp_path / "out", **options)
    assert table["error"].str.contains("no WFDB header").tolist() == [False] * 3 + [True]
    assert {each.stem for each in (tmp_path / "out").iterdir()} == {"100", "101"}


def test_results_that_cannot_be_written(folder, tmp_path, views_model):
    out = tmp_path / "out"
    (out / "100.csv").mkdir(parents=True)
    options = dict(model=views_model.path)
    table = predict([folder / "100.hea", folder / "101"], out, **options)
    assert table["error"].str.contains("directory").tolist() == [True, False]


def test_reference_beats_by_extension(folder, tmp_path, views_model):
    options = dict(model=views_model.path, peaks="atr")
    predict([folder / "100.hea"], tmp_path / "out", **options)
    found = wfdb.rdann(str(tmp_path / "out" / "100"), "cnn")
    expected = select_beats(open_recording(folder / "100").reference)
    np.testing.assert_array_equal(found.sample, expected)


def test_peaks_from_files(folder, tmp_path):
    recording = open_recording(folder / "100")
    expected = select_beats(recording.reference)
    np.testing.assert_array_equal(read_peaks(str(folder / "100.atr"), recording), expected)
    pd.DataFrame({"sample": expected[::-1]}).to_csv(tmp_path / "p.csv")
    np.testing.assert_array_equal(read_peaks(str(tmp_path / "p.csv"), recording), expected)
    pd.DataFrame({"at": expected}).to_csv(tmp_path / "q.csv")
    for name in ("nix", str(tmp_path / "none.csv"), str(tmp_path / "q.csv")):
        with pytest.raises(RecordError, match=r"found|is missing"):
            read_peaks(name, recording)


def test_a_file_of_peaks_is_that_of_one_recording(folder, tmp_path, views_model):
    pd.DataFrame({"sample": [500, 900]}).to_csv(tmp_path / "p.csv")
    out = tmp_path / "out"
    for peaks in (str(folder / "100.atr"), str(tmp_path / "p.csv"), str(tmp_path / "none.csv")):
        options = dict(model=views_model.path, peaks=peaks)
        for paths in ([folder], [folder / "100.hea", folder / "101"]):
            with pytest.raises(
                ValueError, match=r"of one recording, but [23] recordings are given"
            ):
                predict(paths, out, **options)
    assert not out.exists()
    options = dict(model=views_model.path, peaks=str(tmp_path / "p.csv"))
    assert predict([folder / "100.hea"], out, **options)["n_beats"].tolist() == [2]
    options = dict(model=views_model.path, peaks=".atr")
    table = predict([folder / "100.hea", folder / "101"], out, **options)
    expected = [
        len(select_beats(open_recording(folder / each).reference)) for each in ("100", "101")
    ]
    assert table["n_beats"].tolist() == expected


def test_two_recordings_of_one_name(folder, tmp_path):
    (tmp_path / "100.csv").touch()
    with pytest.raises(ValueError, match="written as 100"):
        expand_recordings([folder, tmp_path / "100.csv"], tmp_path)


@pytest.fixture
def dotted(simulated, tmp_path):
    """Two records whose names have a dot, `rec.1` and `rec.2`, and what they are copies of."""
    folder = tmp_path / "dotted"
    folder.mkdir()
    copies = {"rec.1": "100", "rec.2": "101"}
    for name, source in copies.items():
        shutil.copy(simulated / f"{source}.dat", folder)  # as the header calls it
        for suffix in ("hea", "atr"):
            shutil.copy(simulated / f"{source}.{suffix}", folder / f"{name}.{suffix}")
    return folder, copies


@pytest.mark.parametrize("ending", ["", ".hea", ".atr"])
def test_names_with_a_dot(dotted, simulated, tmp_path, views_model, ending):
    folder, copies = dotted
    options = dict(model=views_model.path, peaks="atr")
    paths = [folder / f"{name}{ending}" for name in copies]
    assert [each.path for each in expand_recordings(paths, tmp_path)] == paths
    table = predict(paths, tmp_path / "out", **options)
    assert table["error"].tolist() == ["", ""]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{name}.{end}" for name in copies for end in ("cnn", "csv", "json")}
    for i, (name, source) in enumerate(copies.items()):
        recording = open_recording(folder / f"{name}{ending}")
        assert recording.name == name
        expected = select_beats(open_recording(simulated / source).reference)
        found = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        np.testing.assert_array_equal(found["sample"], expected)
        assert table["n_beats"][i] == len(expected)


def test_of_names_with_a_dot_nothing_read_is_replaced(dotted, tmp_path, views_model):
    folder, _ = dotted
    (folder / "rec.1.atr").rename(folder / "rec.1.cnn")
    for peaks in ("cnn", ".cnn", str(folder / "rec.1.cnn")):
        options = dict(model=views_model.path, peaks=peaks)
        with pytest.raises(ValueError, match=r"rec\.1\.cnn would replace"):
            predict([folder / "rec.1"], folder, **options)
        table = predict([folder / "rec.1"], tmp_path / "out", **options)
        assert table["error"].tolist() == [""]


def test_no_result_replaces_a_file_that_is_read(folder, tmp_path, views_model):
    time_s, lead_mv = np.arange(3600) / 360, np.sin(np.arange(3600) / 40)
    given = tmp_path / "mine.csv"
    pd.DataFrame({"time": time_s, "II": lead_mv}).to_csv(given, index=False)
    before = given.read_bytes()
    options = dict(model=views_model.path)
    (tmp_path / "linked").symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / "linked", folder / ".."):
        with pytest.raises(ValueError, match=r"mine\.csv would replace a file that is read"):
            predict([given], out, **options)
    annotated = dict(model=views_model.path, peaks="cnn")
    shutil.copy(folder / "100.atr", folder / "100.cnn")
    with pytest.raises(ValueError, match=r"100\.cnn would replace"):
        predict([folder / "100.hea"], folder, **annotated)
    assert given.read_bytes() == before
    assert (folder / "100.cnn").read_bytes() == (folder / "100.atr").read_bytes()
    # Results may replace results.
    (folder / "100.cnn").unlink()
    for _ in range(2):
        table = predict([folder / "100.hea"], folder, **options)
        assert table["error"].tolist() == [""]


@pytest.mark.parametrize("ending", ["cnn", "csv", "json", "html"])
def test_no_result_replaces_a_file_of_the_user(folder, tmp_path, monkeypatch, ending):
    """Such as the report of a Holter system, of the recording's name and in its folder."""
    monkeypatch.setattr(batch, "load_model", lambda *_: pytest.fail("loaded"))
    mine = folder / f"101.{ending}"
    mine.write_text("mine")
    for report in (False, True):
        with pytest.raises(ValueError, match=rf"101\.{ending} would replace a file that no analys"):
            predict([folder / "100.hea", folder / "101.hea"], folder, report=report)
    assert mine.read_text() == "mine"
    assert not (folder / "100.json").exists()


def test_results_beside_their_recordings(folder, tmp_path, views_model):
    """The second time, what the first has written is not taken for recordings."""
    (folder / "RECORDS").unlink()
    own = folder / "own.csv"
    pd.DataFrame({"sample": range(3600), "II": np.sin(np.arange(3600) / 40)}).to_csv(own)
    options = dict(model=views_model.path)
    names = ["100.hea", "101.hea", "102.hea", "own.csv"]
    assert [each.path.name for each in expand_recordings([folder], tmp_path)] == names
    own.unlink()
    tables = [predict([folder], folder, **options) for _ in range(2)]
    assert (folder / "100.csv").is_file()
    assert len(tables[0]) == 3
    pd.testing.assert_frame_equal(*tables)
    # A recording of one's own is one, whatever it is called.
    pd.DataFrame({"time": np.arange(900) / 360, "II": 0.0}).to_csv(folder / "101.csv", index=False)
    with pytest.raises(ValueError, match=r"101\.hea and .*101\.csv would both be written as 101"):
        predict([folder], folder, **options)


def test_no_result_is_removed_that_is_read(folder, tmp_path, views_model):
    """Sliding windows write no NAME.cnn, and would remove the one that tells the beats."""
    out = tmp_path / "out"
    predict([folder / "100.hea"], out, model=views_model.path)
    before = (out / "100.cnn").read_bytes()
    given = str(out / "100.cnn")
    for sliding in (False, True):
        options = dict(model=views_model.path, peaks=given, sliding=sliding)
        with pytest.raises(ValueError, match=r"100\.cnn would replace .* or remove it"):
            predict([folder / "100.hea"], out, **options)
    assert (out / "100.cnn").read_bytes() == before
    # Of another recording it is not.
    options = dict(model=views_model.path, peaks=given)
    assert predict([folder / "101.hea"], out, **options)["error"].tolist() == [""]


def test_options_of_csv_files(folder, tmp_path, views_model):
    """They say nothing of other recordings; where there are CSV files, these heed them."""
    given = tmp_path / "mine.csv"
    lead_mv = open_recording(folder / "101").read(0)[::2]
    pd.DataFrame({"x": 0 * lead_mv, "II": lead_mv}).to_csv(given, index=False)
    options = dict(model=views_model.path, fs=180.0, columns=["II"])
    for each in ({"fs": 180.0}, {"columns": ["II"]}, options):
        for path in (folder / "100.hea", folder / "100", folder):
            with pytest.raises(ValueError, match="no recording is one"):
                predict([path], tmp_path / "out", **each)
    assert not (tmp_path / "out").exists()
    table = predict([folder / "100.hea", given], tmp_path / "out", **options)
    assert table["error"].tolist() == ["", ""]
    assert table["lead"].tolist() == ["MLII", "II"]
    assert table["duration_s"].tolist() == [60, 60]


def test_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="no recording"):
        expand_recordings([tmp_path], tmp_path)


def test_a_model_that_is_not_there(folder, tmp_path):
    with pytest.raises(ValueError, match="no model at"):
        predict([folder], tmp_path / "out", model=tmp_path / "x")
    assert not (tmp_path / "out").exists()


def test_a_model_of_simulated_recordings_is_told(tmp_path, caplog):
    (tmp_path / "broken.csv").touch()
    for synthetic in (False, True):
        caplog.clear()
        path = save_model(tmp_path / f"{synthetic}.onnx", synthetic_data=synthetic)
        predict([tmp_path / "broken.csv"], tmp_path / "out", model=path)
        assert ("was trained on simulated recordings" in caplog.text) == synthetic


def test_a_folder_with_records_holds_other_recordings_too(folder, tmp_path, caplog):
    """Its `RECORDS` lists WFDB records; what else lies there is found, or named."""
    lines = [f"{np.sin(i / 40):.4f}" for i in range(3600)]
    (folder / "own.tsv").write_text("\n".join(["II", *lines]))
    (folder / "notes.txt").write_text("None of these is a patient.")
    (folder / "older").mkdir()
    pack(folder / "more.zip", []).write_bytes(b"PK")
    with caplog.at_level("INFO"):
        found = expand_recordings([folder], tmp_path / "scratch")
    names = ["100.hea", "101.hea", "102.hea", "own.tsv", "more.zip"]
    assert [each.path.name for each in found] == names
    assert "notes.txt" in caplog.text
    assert "its folders are left out: older" in caplog.text


def test_records_may_lie_in_folders(folder, tmp_path):
    """As in PTB-XL, whose `RECORDS` names `records500/00000/00001_hr`."""
    shutil.copytree(folder, tmp_path / "all" / "records500")
    (tmp_path / "all" / "RECORDS").write_text("records500/101\nrecords500/100\n")
    found = expand_recordings([tmp_path / "all"], tmp_path / "scratch")
    assert [each.path for each in found] == [
        tmp_path / "all" / "records500" / name for name in ("101.hea", "100.hea")
    ]


def test_records_may_name_folders(folder, tmp_path, caplog):
    """As at the top of PhysioNet's Challenge of 2020, whose folders have `RECORDS` of their own."""
    everything = tmp_path / "all"
    for place, name in (("training/b", "101"), ("training/a", "100"), ("more", "102")):
        (everything / place).mkdir(parents=True)
        for file in folder.glob(f"{name}.*"):
            shutil.copy(file, everything / place)
        (everything / place / "RECORDS").write_text(f"{name}\n")
    (everything / "RECORDS").write_text("training/b/\ntraining/a/\nlost/\n./\n../\n")
    with caplog.at_level("INFO"):
        found = [each.path for each in expand_recordings([everything], tmp_path / "scratch")]
    assert found[:2] == [everything / "training/b/101.hea", everything / "training/a/100.hea"]
    assert found[2:] == [everything / "lost", everything, everything / ".."]
    assert [each.message for each in caplog.records] == [
        f"{everything}: its folders are left out: more"
    ]


def test_files_of_one_record_are_one_recording(folder, tmp_path, caplog):
    """As a shell makes of `100.*`; what is of another record stays an error."""
    files = [folder / f"100{ending}" for ending in (".atr", ".dat", ".hea", "")]
    with caplog.at_level("INFO"):
        found = expand_recordings([*files, folder], tmp_path / "scratch")
    names = ["100.atr", "101.hea", "102.hea"]
    assert [each.path.name for each in found] == names
    assert f"{folder / '100.dat'} is left out: it is of the record of {files[0]}" in caplog.text
    other = shutil.copytree(folder, tmp_path / "other")
    for path in (other / "100.hea", other / "100.dat", other / "100"):
        with pytest.raises(ValueError, match="would both be written as 100"):
            expand_recordings([files[0], path], tmp_path / "scratch")


def test_other_files_with_the_name_of_a_record(folder, tmp_path, views_model, caplog):
    """As a shell makes of `100.*`, after an analysis whose results lie beside the record."""
    predict([folder / "100.hea"], folder, model=views_model.path)
    (folder / "100.txt").write_text("A note.")
    for ending in ("xws", "qrs"):
        shutil.copy(folder / "100.atr", folder / f"100.{ending}")
    files = sorted(folder.glob("100.*"))
    left_out = [f"100.{ending}" for ending in ("cnn", "csv", "json", "qrs", "txt", "xws")]
    assert {each.name for each in files} == {*left_out, "100.atr", "100.dat", "100.hea"}
    for paths in (files, files[::-1], [folder / "100", *files]):
        caplog.clear()
        with caplog.at_level("INFO"):
            (found,) = expand_recordings(paths, tmp_path / "scratch")
        assert open_recording(found.path).name == "100"
        for name in left_out:
            assert f"{folder / name} is left out: it has the name of a record" in caplog.text


def test_files_that_no_record_given_replaces(folder, tmp_path):
    """They stay, and opening them says what is wrong, or reads them."""
    shutil.copy(folder / "100.atr", folder / "100.xws")
    (folder / "100.ima").write_bytes(b"\0" * 128 + b"DICM")
    kept = [
        [folder / "100.xws"],
        [folder / "100.xws", folder / "101.hea"],
        [folder / "100.hea", folder / "100.nix"],
        [folder / "100.hea", folder / "100.ima"],
    ]
    for paths in kept:
        assert [each.path for each in expand_recordings(paths, tmp_path / "scratch")] == paths
    with pytest.raises(RecordError, match="no WFDB header"):
        open_recording(kept[0][0])


def test_a_record_whose_name_begins_with_that_of_another(dotted, simulated, tmp_path):
    folder, _ = dotted
    for suffix in ("hea", "dat"):
        shutil.copy(simulated / f"100.{suffix}", folder / f"rec.{suffix}")
    paths = [folder / "rec.hea", folder / "rec.1", folder / "rec.2.hea"]
    assert [each.path for each in expand_recordings(paths, tmp_path / "scratch")] == paths


def test_no_network_is_loaded_for_paths_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "load_model", lambda _: pytest.fail("loaded"))
    table = predict([tmp_path / "nix.hea"], tmp_path / "out")
    assert "nix" in table["error"][0]


def test_a_file_of_peaks_that_is_not_there(folder, tmp_path, views_model):
    options = dict(model=views_model.path, peaks="nix.csv")
    table = predict([folder / "100.hea"], tmp_path / "out", **options)
    assert table["error"].tolist() == ["found no file nix.csv with R peaks; correct its path"]


def test_columns_without_names_are_not_chosen_from(folder, tmp_path, views_model):
    given = tmp_path / "mine.csv"
    lead_mv = open_recording(folder / "101").read(0)
    pd.DataFrame([np.sin(np.arange(len(lead_mv))), lead_mv]).T.to_csv(
        given, header=False, index=False
    )
    options = dict(model=views_model.path, fs=360.0)
    table = predict([given], tmp_path / "out", **options)
    assert "columns 1, 2 without a name" in table["error"][0]
    assert "--lead 2" in table["error"][0]
    for chosen in ({"lead": "2"}, {"columns": ["2"]}):
        table = predict([given], tmp_path / "out", **(options | chosen))
        assert table[["lead", "error"]].to_numpy().tolist() == [["2", ""]]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["0.2138889", "1.05"], "'0.2138889' in row 1 below the header .* 2 of 2 .*multiply"),
        (["77.0", '""', "370"], "an empty cell in row 2 .* 1 of 3"),
        (["77", "R"], "'R' in row 2"),
        (["77", "inf"], "'inf' in row 2"),
    ],
)
def test_peaks_that_are_no_samples(folder, tmp_path, cells, words):
    (tmp_path / "p.csv").write_text("\n".join(["sample", *cells]) + "\n")
    with pytest.raises(RecordError, match=words):
        read_peaks(str(tmp_path / "p.csv"), open_recording(folder / "100"))


@pytest.mark.parametrize("text", ["Sample\n77.0\n370\n", "beat;sample\n2;370\n1;77\n"])
def test_tables_of_peaks(folder, tmp_path, text):
    (tmp_path / "p.txt").write_text(text)
    found = read_peaks(str(tmp_path / "p.txt"), open_recording(folder / "100"))
    assert found.tolist() == [77, 370]
