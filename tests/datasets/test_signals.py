"""The dataset of signals: lazy, atomic, and honest about a half-written save."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kedro.io import DataCatalog, DatasetError
from numpy.typing import NDArray

from cnns_spectrograms.datasets.signals import Signals, SignalsDataset
from cnns_spectrograms.provenance import StampedSignals


def make_signal(seed: int, length: int = 500) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(length).astype(np.float32)


SIGNALS = {"mitdb/100": make_signal(0), "mitdb/101": make_signal(1), "svdb/800": make_signal(2, 90)}


def as_callables(signals: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    return {key: partial(np.array, signal) for key, signal in signals.items()}


@pytest.mark.parametrize("form", [dict, as_callables])
def test_saved_signals_come_back(tmp_path: Path, form: Callable[[Any], Any]) -> None:
    dataset = SignalsDataset(filepath=tmp_path / "signals")
    assert not dataset.exists()
    dataset.save(form(SIGNALS))
    assert dataset.exists()
    loaded = dataset.load()
    assert list(loaded) == list(SIGNALS)
    assert len(loaded) == 3
    assert "svdb/800" in loaded
    assert "svdb/801" not in loaded
    for key, signal in SIGNALS.items():
        np.testing.assert_array_equal(loaded[key], signal)
        assert loaded[key].dtype == np.float32


def test_loaded_signals_are_readonly_maps_and_cheap_to_send(tmp_path: Path) -> None:
    dataset = SignalsDataset(filepath=tmp_path)
    dataset.save({"mitdb/100": make_signal(0, 100_000)})
    loaded = dataset.load()
    signal = loaded["mitdb/100"]
    assert isinstance(signal, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        signal[0] = 1
    copy = pickle.dumps(loaded)
    assert len(copy) < 500 + len(str(tmp_path))
    np.testing.assert_array_equal(pickle.loads(copy)["mitdb/100"], signal)
    with pytest.raises(KeyError):
        loaded["mitdb/999"]


def test_works_from_a_catalog(tmp_path: Path) -> None:
    catalog = DataCatalog.from_config(
        {
            "signals": {
                "type": "cnns_spectrograms.datasets.signals.SignalsDataset",
                "filepath": str(tmp_path),
                "metadata": {"layer": "intermediate"},
            }
        }
    )
    catalog.save("signals", StampedSignals(SIGNALS, {"ingestion": {"fs": 360}}))
    assert catalog.exists("signals")
    assert set(catalog.load("signals")) == set(SIGNALS)
    assert catalog.load("signals").made_of == {"ingestion": {"fs": 360}}
    catalog.save("signals", SIGNALS)
    assert catalog.load("signals").made_of == {}
    assert str(tmp_path) in repr(catalog["signals"])


def test_signals_are_made_one_at_a_time_and_written_as_they_come(tmp_path: Path) -> None:
    log: list[str] = []

    def make(key: str, before: str | None) -> NDArray[np.float32]:
        log.append(key)
        assert before is None or (tmp_path / f"{before}.npy").is_file()
        return SIGNALS[key]

    keys = list(SIGNALS)
    befores = [None, *keys[:-1]]
    pairs = zip(keys, befores, strict=True)
    SignalsDataset(filepath=tmp_path).save({k: partial(make, k, before) for k, before in pairs})
    assert log == keys


def test_half_written_save_does_not_exist(tmp_path: Path) -> None:
    dataset = SignalsDataset(filepath=tmp_path)
    dataset.save(SIGNALS)
    opened = dataset.load()

    def fail() -> NDArray[np.float32]:
        raise RuntimeError("the power went")

    with pytest.raises(DatasetError, match="the power went"):
        dataset.save({"mitdb/100": make_signal(9), "mitdb/101": fail})
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"no complete set of signals .*--pipelines=ingestion"):
        dataset.load()
    assert len(opened) == 3
    dataset.save(SIGNALS)
    np.testing.assert_array_equal(dataset.load()["mitdb/100"], SIGNALS["mitdb/100"])


def test_open_map_outlives_its_replacement(tmp_path: Path) -> None:
    dataset = SignalsDataset(filepath=tmp_path)
    dataset.save(SIGNALS)
    old = dataset.load()["mitdb/100"]
    dataset.save({"mitdb/100": make_signal(7)})
    np.testing.assert_array_equal(old, SIGNALS["mitdb/100"])
    np.testing.assert_array_equal(dataset.load()["mitdb/100"], make_signal(7))


def test_records_no_longer_given_are_removed(tmp_path: Path) -> None:
    dataset = SignalsDataset(filepath=tmp_path)
    dataset.save(SIGNALS)
    for left_by_a_killed_run in ("mitdb/.102.npy.99.tmp", "._index.json.99.tmp"):
        (tmp_path / left_by_a_killed_run).write_bytes(b"half")
    (tmp_path / "README.txt").write_text("kept")
    dataset.save({"mitdb/101": SIGNALS["mitdb/101"]})
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert files == ["README.txt", "_index.json", "mitdb", "mitdb/101.npy"]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    dataset = SignalsDataset(filepath=tmp_path)
    dataset.save(SIGNALS)
    loaded = dataset.load()
    path = tmp_path / "mitdb" / "100.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"100\.npy is damaged .*--pipelines=ingestion"):
        loaded["mitdb/100"]
    np.save(path, make_signal(0, 3))
    with pytest.raises(ValueError, match=r"holds float32 \(3,\), but float32 \(500,\) was saved"):
        loaded["mitdb/100"]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"100\.npy is gone"):
        loaded["mitdb/100"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"mitdb/100": np.zeros(5)}, "'mitdb/100', .*float64"),
        ({"mitdb/100": np.zeros((5, 2), np.float32)}, r"'mitdb/100', \(5, 2\)"),
        ({"mitdb/100": np.zeros(0, np.float32)}, "mitdb/100 is empty"),
        ({"100": make_signal(0)}, "signal key is '100'"),
        ({"../100": make_signal(0)}, "signal key"),
        ({"a/b/c": make_signal(0)}, "signal key"),
    ],
)
def test_bad_signals_are_refused(tmp_path: Path, data: Any, words: str) -> None:
    dataset = SignalsDataset(filepath=tmp_path)
    with pytest.raises(DatasetError, match=words):
        dataset.save(data)
    assert not dataset.exists()


def test_no_signals_is_a_complete_save(tmp_path: Path) -> None:
    dataset = SignalsDataset(filepath=tmp_path / "new")
    dataset.save({})
    assert dataset.exists()
    assert len(dataset.load()) == 0


def test_import_is_light() -> None:
    code = (
        "import sys, cnns_spectrograms.datasets.signals, "
        "cnns_spectrograms.datasets.spectrogram_cache as c\n"
        "c.SpectrogramCacheDataset(filepath='nowhere').exists()\n"
        "heavy = {'torch', 'wfdb', 'matplotlib', 'mlflow', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    source = str(Path(sys.modules[Signals.__module__].__file__ or "").parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "pipeline"),
    [
        ("signals", "ingestion"),
        ("typical_beats", "feature_engineering"),
        ("smote_signals", "balancing"),
    ],
)
def test_what_is_missing_is_made_by_its_pipeline(tmp_path: Path, name: str, pipeline: str) -> None:
    with pytest.raises(DatasetError, match=f"run `kedro run --pipelines={pipeline}`"):
        SignalsDataset(filepath=tmp_path / name).load()
