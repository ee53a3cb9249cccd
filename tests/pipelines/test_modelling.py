"""Modelling: what decides whether two trainings are the same, and what is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from filelock import FileLock
from safetensors.torch import save_file

from cnns_spectrograms.datasets.signals import SignalsDataset
from cnns_spectrograms.ecg.records import hash_signal, read_records
from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.imaging.build import build_cache
from cnns_spectrograms.imaging.signal_bank import SignalBank
from cnns_spectrograms.parameters import (
    BalancingParameters,
    ExecutionParameters,
    IngestionParameters,
    ModelParameters,
    RecordParameters,
    ReportingParameters,
    SpectrogramParameters,
    SplitParameters,
    TrainingParameters,
    ViewParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.balancing.nodes import make_train_index, synthesise_windows
from cnns_spectrograms.pipelines.feature_engineering.nodes import (
    make_typical_beats,
    make_windows,
    plan_spectrograms,
)
from cnns_spectrograms.pipelines.modelling.nodes import (
    ActiveRunLogger,
    check_inputs,
    draw_images,
    hash_table,
    open_images,
    predict,
    train,
)
from cnns_spectrograms.training.checkpoints import clear_checkpoints
from empty_store import make_store

SPECTROGRAM = SpectrogramParameters(image_size=32)
TRAINING = TrainingParameters(
    max_epochs=2, batch_size=8, samples_per_epoch=16, num_workers=0, precision="32-true"
)
MODEL = ModelParameters(timm_name="test_efficientnet", pretrained=False)


def make_rows(split: str, record_id: str, n: int) -> pd.DataFrame:
    row_id = [f"{record_id}_{i:06d}" for i in range(n)]
    return pd.DataFrame(
        {
            "row_id": row_id,
            "split": split,
            "db": "mitdb",
            "record_id": record_id,
            "patient_id": record_id,
            "beat_idx": np.arange(n),
            "sample": np.arange(n) * 200 + 450,
            "start": np.arange(n) * 200,
            "n_samples": 900,
            "aami_class": [*"NSVFQ"] * (n // 5),
            "synthetic": False,
            "rr_previous_s": 0.6 + np.arange(n) / 100,
            "rr_next_s": 0.8,
            "rr_local_s": 0.8,
            "rr_record_s": 0.8,
            "path": [f"{split}/mitdb/{name}.png" for name in row_id],
        }
    )


@pytest.fixture
def data(tmp_path: Path) -> dict:
    """A small cache of noise, with its windows and train index."""
    windows = pd.concat(
        [make_rows("train", "1", 20), make_rows("val", "2", 10), make_rows("test", "3", 10)],
        ignore_index=True,
    )
    rng = np.random.default_rng(0)
    signals = {f"mitdb/{k}": rng.normal(size=9000).astype(np.float32) for k in "123"}

    records = pd.DataFrame(
        {
            "db": "mitdb",
            "record_id": [*"123"],
            "fs": 360,
            "highpass_hz": 0.5,
            "signal_sha256": [hash_signal(signal) for signal in signals.values()],
            "status": "ok",
            "reason": "",
        }
    )
    # One process: to start workers takes longer than to draw these images.
    shapes = {"spectrogram": SPECTROGRAM, "execution": ExecutionParameters(n_jobs=1)}

    def build(rows: pd.DataFrame, name: str):
        plan = plan_spectrograms(rows, signals, {}, records, **shapes)
        return build_cache(plan, tmp_path / "cache", name)

    sources = {
        "smote_windows": windows.iloc[:0],
        "signals": signals,
        "smote_signals": {},
        "typical_beats": {},
        "records": records,
        "spec_cache": build(windows, "manifest"),
        "spec_cache_aug": build(windows.iloc[:0], "manifest_aug"),
        **shapes,
    }
    return {
        "train_index": make_train_index(windows, windows.iloc[:0], BalancingParameters()),
        "windows": windows,
        "records": records,
        "smote_signals": {},
        "images": open_images(windows, **sources),
        "drawn": draw_images(signals, {}, {}, records, SPECTROGRAM),
        "sources": sources,
        "model": MODEL,
        "training": TRAINING,
        "spectrogram": SPECTROGRAM,
        "execution": ExecutionParameters(),
        "ingestion": IngestionParameters(databases={}, preferred_lead="V1"),
        "reporting": ReportingParameters(synthetic_data=True),
        "checkpoints": tmp_path / "checkpoints",
    }


def fit(data: dict, **changes: Any) -> tuple[Any, pd.DataFrame]:
    apart = ("sources", "drawn")
    return train(**{key: value for key, value in (data | changes).items() if key not in apart})


def score(model: Any, data: dict) -> pd.DataFrame:
    return predict(model, data["windows"], data["images"], TRAINING, SPECTROGRAM)


def test_train_then_predict(data: dict, tmp_path: Path) -> None:
    model, history = fit(data)
    _, description = model
    assert history["epoch"].tolist() == [0, 1]
    assert description["best_epoch"] == history["val_macro_f1"].idxmax()
    assert description["n_samples"] == 900
    assert description["preferred_lead"] == "V1"
    assert description["synthetic_data"] is True
    # Until the whole run has ended, the same command can use the checkpoints.
    assert list((tmp_path / "checkpoints").glob("*.ckpt"))
    again, history_again = fit(data)
    pd.testing.assert_frame_equal(history_again, history)  # its seconds too: nothing was trained
    predictions = score(model, data)
    assert predictions["row_id"].tolist() == data["windows"]["row_id"].tolist()[20:]
    pd.testing.assert_frame_equal(score(again, data), predictions)
    # A file of them still tells which training they are of.
    predictions.to_parquet(tmp_path / "predictions.parquet")
    kept = pd.read_parquet(tmp_path / "predictions.parquet")
    assert kept.attrs["trained_by"] == model[1]["fingerprint"]


def test_the_fingerprint_tells_trainings_apart(data: dict, tmp_path: Path) -> None:
    def fingerprint(**changes) -> str:
        clear_checkpoints(data["checkpoints"])
        (_, description), _ = fit(data, **changes)
        return description["fingerprint"]

    one = fingerprint()
    assert fingerprint() == one
    # Random weights are random weights, whoever asks for them.
    inherited = MODEL.model_copy(update={"pretrained": None})
    randomly = TRAINING.model_copy(update={"pretrained": False})
    assert fingerprint(model=inherited, training=randomly) == one
    # How the work is done does not matter; what is learnt from does.
    assert fingerprint(training=TRAINING.model_copy(update={"tta_views": 2})) == one
    assert fingerprint(training=TRAINING.model_copy(update={"learning_rate": 1e-3})) != one
    assert fingerprint(model=MODEL.model_copy(update={"dropout": 0.1})) != one
    index = data["train_index"].copy()
    index.loc[0, "sampling_weight"] = 2.0
    assert fingerprint(train_index=index) != one
    windows = data["windows"].copy()
    val = windows.index[windows["split"] == "val"]
    windows.loc[val[0], "aami_class"] = "V"  # was N
    assert fingerprint(windows=windows) != one
    records = data["records"].assign(signal_sha256=[*"abd"])
    assert fingerprint(records=records) != one
    assert fingerprint(smote_signals={"AUG/smote": np.zeros(9, np.float32)}) != one
    other = SPECTROGRAM.model_copy(update={"low_percentile": 2.0})
    assert fingerprint(spectrogram=other) != one
    weights = tmp_path / "weights.safetensors"
    found = []
    for seed in (1, 2):  # another file of the same name
        backbone = timm.create_model(MODEL.timm_name, num_classes=5)
        torch.nn.init.constant_(backbone.conv_stem.weight, seed)
        save_file(backbone.state_dict(), weights)
        found.append(fingerprint(model=MODEL.model_copy(update={"pretrained": weights})))
    assert len({one, *found}) == 3


def test_a_second_training_at_once_is_refused(data: dict) -> None:
    """Its checkpoints would be taken for those of the first."""
    with FileLock(f"{data['checkpoints']}.lock"), pytest.raises(ValueError, match="another run"):
        fit(data)


def test_an_unfinished_training_with_other_parameters_is_refused(data: dict) -> None:
    fit(data)  # its run has not ended: the checkpoints are there
    model = MODEL.model_copy(update={"dropout": 0.1})
    training = TRAINING.model_copy(update={"learning_rate": 1e-3, "tta_views": 2})
    index = data["train_index"].assign(sampling_weight=1.0)
    changes = {"model": model, "training": training, "train_index": index}
    with pytest.raises(ValueError, match="unfinished training") as refusal:
        fit(data, **changes)
    said = str(refusal.value)
    assert "model.dropout is 0.3 in the checkpoint and 0.1 now" in said
    assert "training.learning_rate is 0.0003 in the checkpoint and 0.001 now" in said
    assert "train_index is " in said
    assert said.count(" in the checkpoint and ") == 3
    clear_checkpoints(data["checkpoints"])
    fit(data, **changes)


def test_a_cache_made_otherwise_is_refused_before_training(data: dict) -> None:
    other = SPECTROGRAM.model_copy(update={"nperseg": 64, "noverlap": 32})
    with pytest.raises(ValueError, match="nperseg is 128 in the cache and 64 in the parameters"):
        open_images(data["windows"], **data["sources"] | {"spectrogram": other})


class TestTablesOfDifferentRuns:
    def test_a_patient_of_the_train_index_in_test(self, data: dict) -> None:
        windows = data["windows"].copy()
        windows.loc[windows["record_id"] == "3", "patient_id"] = "1"
        with pytest.raises(LeakError, match="1"):
            fit(data, windows=windows)

    def test_a_train_index_made_before_the_split_changed(self, data: dict) -> None:
        index = data["train_index"].iloc[:-1]
        with pytest.raises(ValueError, match="kedro run --pipelines=balancing"):
            fit(data, train_index=index)

    @pytest.mark.parametrize("column", ["aami_class", "start", "n_samples", "rr_next_s"])
    def test_a_train_index_made_before_the_windows_changed(self, data: dict, column: str) -> None:
        windows = data["windows"].copy()
        windows.loc[0, column] = "F" if column == "aami_class" else 7
        with pytest.raises(ValueError, match="kedro run --pipelines=balancing"):
            fit(data, windows=windows)

    def test_synthetic_windows_of_another_length(self, data: dict) -> None:
        row = (
            data["train_index"]
            .iloc[[0]]
            .assign(row_id="new", path="train/AUG/new.png", synthetic=True, n_samples=1800)
        )
        index = pd.concat([data["train_index"], row], ignore_index=True)
        with pytest.raises(ValueError, match="kedro run --pipelines=balancing"):
            fit(data, train_index=index)

    def test_a_cache_of_beats_that_have_moved(self, data: dict) -> None:
        windows = data["windows"].assign(start=data["windows"]["start"] + 100)
        with pytest.raises(ValueError, match=r"other windows .*--pipelines=feature_engineering"):
            open_images(windows, **data["sources"])

    def test_a_cache_of_other_signals(self, data: dict) -> None:
        records = data["records"].assign(signal_sha256=["00" * 32] * 3)
        with pytest.raises(ValueError, match=r"or signals .*--pipelines=feature_engineering"):
            open_images(data["windows"], **data["sources"] | {"records": records})

    def test_a_cache_of_other_synthetic_windows(self, data: dict) -> None:
        synthetic = data["windows"].iloc[:1].assign(db="AUG", record_id="smote", start=0)
        changes = {
            "smote_windows": synthetic,
            "smote_signals": {"AUG/smote": np.zeros(900, np.float32)},
        }
        with pytest.raises(ValueError, match=r"other windows .*--pipelines=balancing"):
            open_images(data["windows"], **data["sources"] | changes)

    def test_a_network_of_other_spectrograms(self, data: dict) -> None:
        model, _ = fit(data)
        other = SPECTROGRAM.model_copy(update={"nperseg": 64})
        with pytest.raises(ValueError, match="other spectrograms: nperseg was 128 and is 64"):
            predict(model, data["windows"], data["images"], TRAINING, other)
        longer = data["windows"].assign(n_samples=1800)
        with pytest.raises(ValueError, match="n_samples was 900 and is 1800"):
            predict(model, longer, data["images"], TRAINING, SPECTROGRAM)

    def test_windows_that_the_cache_does_not_hold(self, data: dict) -> None:
        windows = data["windows"].copy()
        windows.loc[39, "path"] = "test/mitdb/other.png"
        with pytest.raises(ValueError, match="kedro run --pipelines=feature_engineering"):
            open_images(windows, **data["sources"])

    def test_windows_of_another_length(self, data: dict) -> None:
        windows = data["windows"].assign(n_samples=1080)
        with pytest.raises(ValueError, match="other windows"):
            open_images(windows, **data["sources"])


def test_hash_of_a_table_depends_on_values_and_order() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert hash_table(table) == hash_table(table.copy())
    assert hash_table(table) != hash_table(table.iloc[::-1])
    assert hash_table(table) != hash_table(table.assign(b=["x", "z"]))


def test_epochs_are_logged_to_the_active_run_alone(tmp_path: Path) -> None:
    logger = ActiveRunLogger()
    logger.log_metrics({"val_macro_f1": 0.1}, step=0)  # no run: nothing happens
    make_store(tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with mlflow.start_run() as run:
        for step, value in enumerate((0.2, 0.4)):
            logger.log_metrics({"val_macro_f1": value}, step=step)
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_macro_f1")
    assert [(point.step, point.value) for point in points] == [(0, 0.2), (1, 0.4)]


def test_images_from_memory_train_the_same_network_as_those_of_the_cache(data: dict) -> None:
    (cached, described), history = fit(data)
    clear_checkpoints(data["checkpoints"])
    memory = TRAINING.model_copy(update={"images": "memory"})
    (drawn, described_again), history_again = fit(data, training=memory, images=data["drawn"])
    assert described_again["fingerprint"] == described["fingerprint"]
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), history_again.drop(columns="seconds")
    )
    for name, tensor in cached.state_dict().items():
        assert torch.equal(tensor, drawn.state_dict()[name]), name
    pd.testing.assert_frame_equal(
        score((cached, described), data),
        score((drawn, described), {**data, "images": data["drawn"]}),
    )


def test_rr_intervals_reach_the_network(data: dict) -> None:
    model = MODEL.model_copy(update={"rr_intervals": True})
    trained, _ = fit(data, model=model)
    before = score(trained, data)
    windows = data["windows"].assign(rr_previous_s=0.3)
    after = score(trained, {**data, "windows": windows})
    assert not np.allclose(before["prob_S"], after["prob_S"])
    clear_checkpoints(data["checkpoints"])
    plain, _ = fit(data)
    pd.testing.assert_frame_equal(score(plain, data), score(plain, {**data, "windows": windows}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve simulated records of a minute."""
    folder = tmp_path_factory.mktemp("databases")
    simulate_database(folder / "mitdb", "mitdb", 12, 60, 0)
    return folder


@pytest.fixture(scope="module")
def made(folder: Path) -> dict:
    """All that a training on them reads."""
    return TestInputs.make(TestInputs.read(folder))


def know(**known: str) -> dict:
    return {"databases": {"mitdb": {"100": RecordParameters(**known)}}}


class TestInputs:
    """Whatever is left from other parameters or data is refused before anything is trained."""

    @staticmethod
    def read(folder: Path, preferred_lead: str = "MLII", fs: int = 360) -> dict:
        names = sorted(path.stem for path in (folder / "mitdb").glob("*.hea"))
        listed = pd.DataFrame({"db": "mitdb", "record_id": names, "fault": ""})
        made, beats, records = read_records(
            folder, listed, fs=fs, preferred_lead=preferred_lead, skip_bad=False, n_jobs=1
        )
        signals = {key: signal() if callable(signal) else signal for key, signal in made.items()}
        return {"signals": signals, "beats": beats, "records": records}

    @staticmethod
    def make(read: dict, **changes: Any) -> dict:
        """Return all that a training reads, as the pipelines before it make it."""
        names = read["records"]["record_id"].tolist()
        view = {"window_s": 1.0, "nperseg": 64, "noverlap": 32, "max_frequency_hz": 60}
        given = {
            **read,
            "ingestion": IngestionParameters(databases={"mitdb": names}, preferred_lead="MLII"),
            "window": WindowParameters(),
            "split": SplitParameters(
                protocol="p",
                records={
                    "mitdb": {"train": names[:-2], "val": [names[-2]], "test": [names[-1]]},
                },
            ),
            "spectrogram": SpectrogramParameters(
                image_size=32,
                extra_views=tuple(ViewParameters(of=of, **view) for of in ("beat", "difference")),
            ),
            "balancing": BalancingParameters(smote_factor=2),
            **changes,
        }
        windows = make_windows(given["beats"], given["records"], given["window"], given["split"])
        typical = make_typical_beats(
            given["beats"], given["signals"], given["records"], given["spectrogram"]
        )
        typical_beats = {key: each() for key, each in typical.items()}
        synthetic = synthesise_windows(
            windows,
            given["signals"],
            typical_beats,
            given["records"],
            given["spectrogram"],
            given["balancing"],
        )
        return given | {
            "windows": windows,
            "typical_beats": typical_beats,
            "smote_windows": synthetic[0],
            "smote_signals": synthetic[1],
            "train_index": make_train_index(windows, synthetic[0], given["balancing"]),
        }

    def test_what_is_of_one_making_passes(self, made: dict, tmp_path: Path) -> None:
        assert len(made["smote_windows"]) > 0
        assert check_inputs(**made) is made["train_index"]
        kept = dict(made)
        for name in ("windows", "beats", "records", "smote_windows", "train_index"):
            made[name].to_parquet(tmp_path / "t.parquet")
            kept[name] = pd.read_parquet(tmp_path / "t.parquet")
        check_inputs(**kept)

    @pytest.mark.parametrize(
        ("name", "change", "found", "again"),
        [
            ("ingestion", {"preferred_lead": "V5"}, "read on lead MLII", "ingestion,"),
            ("ingestion", {"fs": 250}, "brought to 360 Hz", "ingestion,"),
            ("ingestion", know(lead="V5"), "100 was read on lead MLII", "ingestion,"),
            ("ingestion", know(patient="p"), "100 was read as patient mitdb/100's", "ingestion,"),
            ("window", {"window_s": 3.0}, "the windows were", "=feature_engineering,"),
            ("split", {"protocol": "q"}, None, ""),
            ("balancing", {"smote_factor": 3.0}, "the synthetic windows were", "=balancing`"),
            ("balancing", {"minority_boost": 2.0}, "the train index was", "=balancing`"),
            ("spectrogram", {"extra_views": ()}, "the typical beats were", "=feature_engin"),
            ("spectrogram", {"image_size": 64}, None, ""),
        ],
    )
    def test_other_parameters(
        self, made: dict, name: str, change: dict, found: str | None, again: str
    ) -> None:
        changed = made | {name: made[name].model_copy(update=change)}
        if found is None:  # shapes nothing that is compared here
            check_inputs(**changed)
            return
        with pytest.raises(ValueError, match=found) as refusal:
            check_inputs(**changed)
        assert again in str(refusal.value)

    def test_another_split(self, made: dict) -> None:
        lists = made["split"].records["mitdb"]
        swapped = {"train": lists["train"], "val": lists["test"], "test": lists["val"]}
        split = made["split"].model_copy(update={"records": {"mitdb": swapped}})
        with pytest.raises(ValueError, match="the windows were made otherwise"):
            check_inputs(**made | {"split": split})

    def test_synthetic_windows_and_typical_beats_of_another_lead(
        self, made: dict, folder: Path
    ) -> None:
        read = self.read(folder, "V1")
        assert set(read["records"]["lead"]) != {"MLII"}
        other = self.make(read)
        old = {name: made[name] for name in ("typical_beats", "smote_windows", "smote_signals")}
        ingestion = made["ingestion"].model_copy(update={"preferred_lead": "V1"})
        check_inputs(**other | {"ingestion": ingestion})
        with pytest.raises(ValueError, match="the typical beats were made otherwise"):
            check_inputs(**other | old | {"ingestion": ingestion})
        del old["typical_beats"]
        with pytest.raises(ValueError, match="the synthetic windows were made otherwise"):
            check_inputs(**other | old | {"ingestion": ingestion})

    def test_a_view_of_something_else(self, made: dict) -> None:
        first, second = made["spectrogram"].extra_views
        views = (first.model_copy(update={"of": "difference"}), second)
        spectrogram = made["spectrogram"].model_copy(update={"extra_views": views})
        with pytest.raises(ValueError, match="the synthetic windows were made otherwise"):
            check_inputs(**made | {"spectrogram": spectrogram})

    def test_moved_beats_and_another_signal(self, made: dict) -> None:
        moved = made["beats"].assign(sample=made["beats"]["sample"] + 1)
        with pytest.raises(ValueError, match="the windows were made otherwise"):
            check_inputs(**made | {"beats": moved})
        key = next(iter(made["signals"]))
        signals = made["signals"] | {key: made["signals"][key] + np.float32(0.1)}
        with pytest.raises(ValueError, match=f"the signal of record {key} is none of the table"):
            check_inputs(**made | {"signals": signals})


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files as Linux does")
def test_images_in_memory_hold_no_file_open(tmp_path: Path) -> None:
    import resource

    keys = [f"db/{number}" for number in range(100)]
    saved = {}
    for name in ("signals", "typical_beats"):
        dataset = SignalsDataset(filepath=tmp_path / name)
        dataset.save({key: np.full(2000, i, np.float32) for i, key in enumerate(keys)})
        saved[name] = dataset.load()
    rows = pd.DataFrame(
        {
            "db": "db",
            "record_id": [key.removeprefix("db/") for key in keys],
            "start": 500,
            "n_samples": 900,
            "synthetic": False,
        }
    )
    view = {"window_s": 1.25, "nperseg": 64, "noverlap": 56, "max_frequency_hz": 40.0}
    views = [ViewParameters(of=of, **view) for of in ("beat", "difference")]
    spectrogram = SpectrogramParameters(image_size=16, extra_views=tuple(views))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, hard))
    try:
        images = draw_images(
            saved["signals"], {}, saved["typical_beats"], pd.DataFrame({"fs": [360]}), spectrogram
        )
        images.describe(tmp_path, rows)
        bank = images.open(rows)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(bank, SignalBank)
    assert bank.read_windows(torch.tensor([7]))[0, 0] == 7
