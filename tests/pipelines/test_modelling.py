"""Modelling: what decides whether two trainings are the same, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import shutil
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
from cnns_spectrograms.ecg import fusion
from cnns_spectrograms.ecg.records import hash_signal
from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.imaging.build import build_cache
from cnns_spectrograms.imaging.read import SpectrogramCache
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
from cnns_spectrograms.pipelines.balancing import make_train_index, synthesise_windows
from cnns_spectrograms.pipelines.feature_engineering import (
    make_typical_beats,
    make_windows,
    plan_spectrograms,
)
from cnns_spectrograms.pipelines.ingestion import ingest_records
from cnns_spectrograms.pipelines.modelling import (
    draw_images,
    log_epoch,
    open_images,
    predict,
    train,
)
from cnns_spectrograms.provenance import StampedSignals, read_stamp, settings, stamp_table
from cnns_spectrograms.training.checkpoints import clear_checkpoints
from empty_store import make_store

SPECTROGRAM = SpectrogramParameters(image_size=32)
TRAINING = TrainingParameters(
    max_epochs=2, batch_size=8, samples_per_epoch=16, num_workers=0, precision="32-true"
)
MODEL = ModelParameters(timm_name="test_efficientnet", pretrained=False)
INGESTION = IngestionParameters(databases={}, preferred_lead="V1")
SPLIT = SplitParameters(
    protocol="p", records={"mitdb": {"train": ["1"], "val": ["2"], "test": ["3"]}}
)
READ = {**settings(ingestion=INGESTION), "data": {"records": "a" * 64, "beats": "b" * 64}}
CUT = {**READ, **settings(windows=WindowParameters(), split=SPLIT)}


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
            "lead_idx": 0,
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
    splits = (make_rows("train", "1", 20), make_rows("val", "2", 10), make_rows("test", "3", 10))
    windows = stamp_table(pd.concat(splits, ignore_index=True), CUT)
    rng = np.random.default_rng(0)
    signals = StampedSignals(
        {f"mitdb/{k}": rng.normal(size=9000).astype(np.float32) for k in "123"}, READ
    )
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
    stamp_table(records, READ)
    # One process: to start workers takes longer than to draw these images.
    shapes = {"spectrogram": SPECTROGRAM, "execution": ExecutionParameters(n_jobs=1)}

    typical_beats = make_typical_beats(windows, signals, records, SPECTROGRAM)

    def build(rows: pd.DataFrame, name: str):
        plan = plan_spectrograms(rows, signals, typical_beats, records, **shapes)
        return build_cache(plan, tmp_path / "cache", name)

    balancing = BalancingParameters(smote_factor=1)
    smote_windows, smote_signals = synthesise_windows(
        windows, signals, typical_beats, records, SPECTROGRAM, balancing
    )
    sources = {
        "windows": windows,
        "smote_windows": smote_windows,
        "spec_cache": build(windows, "manifest"),
        "spec_cache_aug": build(smote_windows, "manifest_aug"),
        "spectrogram": SPECTROGRAM,
    }
    return {
        "train_index": make_train_index(windows, smote_windows, balancing),
        "windows": windows,
        "records": records,
        "signals": signals,
        "images": open_images(**sources),
        "drawn": draw_images(signals, smote_signals, typical_beats, records, SPECTROGRAM),
        "sources": sources,
        "model": MODEL,
        "training": TRAINING,
        "spectrogram": SPECTROGRAM,
        "execution": ExecutionParameters(),
        "ingestion": INGESTION,
        "window": WindowParameters(),
        "split": SPLIT,
        "balancing": balancing,
        "reporting": ReportingParameters(synthetic_data=True),
        "checkpoints": tmp_path / "checkpoints",
    }


def fit(data: dict, **changes: Any) -> tuple[Any, pd.DataFrame]:
    apart = ("sources", "drawn", "signals")
    return train(**{key: value for key, value in (data | changes).items() if key not in apart})


def score(model: Any, data: dict) -> pd.DataFrame:
    read = (data["signals"], data["windows"], data["images"])
    return predict(model, *read, TRAINING, SPECTROGRAM)


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
    assert not predictions["intermediate"].any()  # of noise
    # A file of them still tells which weights they are of.
    predictions.to_parquet(tmp_path / "predictions.parquet")
    kept = read_stamp(pd.read_parquet(tmp_path / "predictions.parquet"))
    assert kept == {**read_stamp(model), "tta_views": 0}
    assert len(kept["weights"]) == 64


def test_beats_of_an_intermediate_form_are_marked(data: dict, monkeypatch) -> None:
    asked = []

    def mark(predictions, windows, signals, fs):
        assert windows is data["windows"]
        asked.append((signals, fs))
        return (predictions["beat_idx"] == 3).to_numpy()

    monkeypatch.setattr(fusion, "mark_intermediate", mark)
    model, _ = fit(data)
    predictions = score(model, data)
    assert predictions.loc[predictions["intermediate"], "row_id"].tolist() == [
        "2_000003",
        "3_000003",
    ]
    ((signals, fs),) = asked
    assert signals is data["signals"]
    assert fs == 360


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
    boosted = data["balancing"].model_copy(update={"minority_boost": 2.0})
    index = make_train_index(data["windows"], data["windows"].iloc[:0], boosted)
    # The synthetic images are of the other balance, so they are left out.
    images = dataclasses.replace(data["images"], made_of=read_stamp(data["sources"]["spec_cache"]))
    assert fingerprint(train_index=index, images=images, balancing=boosted) != one
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
    changes = {"model": model, "training": training}
    with pytest.raises(ValueError, match="unfinished training") as refusal:
        fit(data, **changes)
    said = str(refusal.value)
    assert "model.dropout is 0.3 in the checkpoint and 0.1 in this training" in said
    assert "learning_rate is 0.0003 in the checkpoint and 0.001 in this training" in said
    assert said.count(" in the checkpoint and ") == 2
    clear_checkpoints(data["checkpoints"])
    fit(data, **changes)


def test_a_cache_made_otherwise_is_refused_before_training(data: dict) -> None:
    other = SPECTROGRAM.model_copy(update={"nperseg": 64, "noverlap": 32})
    with pytest.raises(ValueError, match=r"spectrogram.nperseg is 128 in spec_cache and 64 in "):
        open_images(**data["sources"] | {"spectrogram": other})
    views = data["sources"]["spec_cache"]
    old = SpectrogramCache(views.root, "manifest_aug")
    old.__dict__["_metadata"] = {"made_of": "{}"}
    with pytest.raises(ValueError, match="spec_cache_aug is stale: it carries no stamp"):
        open_images(**data["sources"] | {"spec_cache_aug": old})


class TestTablesOfDifferentRuns:
    def test_a_patient_of_the_train_index_in_test(self, data: dict) -> None:
        windows = data["windows"].copy()
        windows.loc[windows["record_id"] == "3", "patient_id"] = "1"
        with pytest.raises(LeakError, match="1"):
            fit(data, windows=windows)

    @pytest.mark.parametrize("name", ["records", "windows", "train_index", "images"])
    def test_what_says_nothing_of_its_making(self, data: dict, name: str) -> None:
        bare = data[name]
        if isinstance(bare, pd.DataFrame):
            bare = stamp_table(bare.copy(), {})
        else:
            bare = dataclasses.replace(bare, made_of={})
        with pytest.raises(ValueError, match=rf"{name} is stale: it carries no stamp .*`kedro run"):
            fit(data, **{name: bare})

    @pytest.mark.parametrize(
        ("group", "change", "found"),
        [
            ("windows", {"window_s": 3.0}, "windows.window_s is 3.0 in windows and 2.5 in the"),
            (
                "split",
                {"records": {"mitdb": {"train": ["1"]}}},
                "split.records.mitdb.val is absent",
            ),
            ("data", {"beats": "c" * 64}, "data.beats is cccccccccccc... in windows and bbbbbbbb"),
        ],
    )
    def test_windows_of_other_settings(
        self, data: dict, group: str, change: dict, found: str
    ) -> None:
        made_of = {**CUT, group: {**CUT[group], **change}}
        windows = stamp_table(data["windows"].copy(), made_of)
        with pytest.raises(ValueError, match="--pipelines=feature_engineering,balancing`") as said:
            fit(data, windows=windows)
        assert found in str(said.value)

    def test_a_train_index_of_other_windows(self, data: dict) -> None:
        made_of = {**read_stamp(data["train_index"]), "data": {**CUT["data"], "beats": "c" * 64}}
        index = stamp_table(data["train_index"].copy(), made_of)
        with pytest.raises(ValueError, match=r"train_index is stale.* --pipelines=balancing`"):
            fit(data, train_index=index)

    def test_a_cache_of_other_windows(self, data: dict) -> None:
        other = stamp_table(data["windows"].copy(), {**CUT, "data": {"beats": "c" * 64}})
        found = r"spec_cache is stale: .*=feature_engineering,balancing`"
        with pytest.raises(ValueError, match=found):
            open_images(**data["sources"] | {"windows": other})

    def test_a_cache_of_other_synthetic_windows(self, data: dict) -> None:
        synthetic = data["sources"]["smote_windows"].copy()
        balancing = {**data["balancing"].model_dump(mode="json"), "seed": 1}
        stamp_table(synthetic, {**read_stamp(synthetic), "balancing": balancing})
        found = "balancing.seed is 0 in spec_cache_aug and 1 in smote_windows.*=balancing`"
        with pytest.raises(ValueError, match=found):
            open_images(**data["sources"] | {"smote_windows": synthetic})

    def test_a_network_of_other_spectrograms_or_windows(self, data: dict) -> None:
        model, _ = fit(data)
        images = dataclasses.replace(data["images"], made_of=CUT)
        other = SPECTROGRAM.model_copy(update={"nperseg": 64})
        found = "model is stale: spectrogram.nperseg is 128 in model and 64 .*modelling`"
        with pytest.raises(ValueError, match=found):
            predict(model, data["signals"], data["windows"], images, TRAINING, other)
        lists = {"mitdb": {"train": ["1"], "val": ["3"], "test": ["2"]}}
        made_of = {**CUT, **settings(split=SPLIT.model_copy(update={"records": lists}))}
        swapped = stamp_table(data["windows"].copy(), made_of)
        images = dataclasses.replace(data["images"], made_of=made_of)
        with pytest.raises(ValueError, match=r"val is \['2'\] in model and \['3'\] in windows"):
            predict(model, data["signals"], swapped, images, TRAINING, SPECTROGRAM)


def test_epochs_are_logged_to_the_active_run_alone(tmp_path: Path) -> None:
    log_epoch({"val_macro_f1": 0.1}, 0)  # no run: nothing happens
    make_store(tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with mlflow.start_run() as run:
        for step, value in enumerate((0.2, 0.4)):
            log_epoch({"val_macro_f1": value}, step)
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_macro_f1")
    assert [(point.step, point.value) for point in points] == [(0, 0.2), (1, 0.4)]


def test_a_store_that_takes_no_epoch_ends_no_training(monkeypatch, caplog, tmp_path: Path) -> None:
    def refuse(*_, **__) -> None:
        raise mlflow.MlflowException("no answer")

    make_store(tmp_path / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(mlflow, "log_metrics", refuse)
    with mlflow.start_run():
        log_epoch({"val_macro_f1": 0.2}, 3)
    assert "MLflow has not taken the metrics of epoch 4: no answer" in caplog.text


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
    def read(folder: Path, preferred_lead: str = "MLII") -> dict:
        names = sorted(path.stem for path in (folder / "mitdb").glob("*.hea"))
        listed = pd.DataFrame({"db": "mitdb", "record_id": names, "fault": ""})
        ingestion = IngestionParameters(databases={"mitdb": names}, preferred_lead=preferred_lead)
        execution = ExecutionParameters(n_jobs=1)
        made, beats, records, _ = ingest_records(folder, listed, ingestion, execution)
        signals = {key: signal() if callable(signal) else signal for key, signal in made.items()}
        return {
            "signals": StampedSignals(signals, made.made_of),
            "beats": beats,
            "records": records,
            "ingestion": ingestion,
        }

    @staticmethod
    def make(read: dict) -> dict:
        """Return all that a training reads, as the pipelines before it make it."""
        names = read["records"]["record_id"].tolist()
        view = {"window_s": 1.0, "nperseg": 64, "noverlap": 32, "max_frequency_hz": 60}
        given = {
            **read,
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
        }
        windows = make_windows(given["beats"], given["records"], given["window"], given["split"])
        typical = make_typical_beats(
            given["beats"], given["signals"], given["records"], given["spectrogram"]
        )
        beats_of = {key: each() for key, each in typical.items()}
        typical_beats = StampedSignals(beats_of, typical.made_of)
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

    @staticmethod
    def check(made: dict, tmp_path: Path) -> None:
        """Begin to train, up to what the training is kept with: all checks have passed by then."""
        given = {key: value for key, value in made.items() if key in TestInputs.READ_BY_TRAIN}
        images = draw_images(
            made["signals"],
            made["smote_signals"],
            made["typical_beats"],
            made["records"],
            made["spectrogram"],
        )
        with FileLock(f"{tmp_path}/c.lock"), pytest.raises(ValueError) as refusal:  # noqa: PT011
            train(
                **given,
                images=images,
                model=MODEL,
                training=TRAINING,
                execution=ExecutionParameters(),
                reporting=ReportingParameters(),
                checkpoints=tmp_path / "c",
            )
        if "another run is training" not in str(refusal.value):
            raise refusal.value

    READ_BY_TRAIN = (
        "train_index",
        "windows",
        "records",
        "ingestion",
        "window",
        "split",
        "spectrogram",
        "balancing",
    )

    def test_what_is_of_one_making_passes(self, made: dict, tmp_path: Path) -> None:
        assert len(made["smote_windows"]) > 0
        self.check(made, tmp_path)
        kept = dict(made)
        for name in ("windows", "records", "train_index"):
            made[name].to_parquet(tmp_path / "t.parquet")
            kept[name] = pd.read_parquet(tmp_path / "t.parquet")
        for name in ("signals", "typical_beats", "smote_signals"):
            dataset = SignalsDataset(filepath=tmp_path / name)
            dataset.save(made[name])
            kept[name] = dataset.load()
        self.check(kept, tmp_path)

    @pytest.mark.parametrize(
        ("name", "change", "found", "again"),
        [
            ("ingestion", {"preferred_lead": "V5"}, "preferred_lead is MLII in rec", "ingestion,"),
            ("ingestion", {"fs": 250}, "fs is 360 in records and 250", "=ingestion,feature_"),
            ("ingestion", know(lead="V5"), "databases.mitdb.100.lead is absent", "ingestion,"),
            ("ingestion", know(patient="p"), "mitdb.100.patient is absent", "=ingestion,"),
            ("ingestion", {"download": False, "on_bad_record": "skip"}, None, ""),
            ("window", {"window_s": 3.0}, "window_s is 2.5 in windows", "=feature_engineering,"),
            ("window", {"step_s": 1.0, "label_rule": "majority"}, None, ""),  # of sliding ones
            ("split", {"protocol": "q"}, None, ""),
            ("balancing", {"smote_factor": 3.0}, "smote_factor is 2.0 in train_", "=balancing`"),
            ("balancing", {"minority_boost": 2.0}, "minority_boost is 6.0 in", "=balancing`"),
            ("spectrogram", {"extra_views": ()}, "extra_views is ", "=feature_engineering,"),
            ("spectrogram", {"image_size": 64}, None, ""),
        ],
    )
    def test_other_parameters(
        self, made: dict, tmp_path: Path, name: str, change: dict, found: str | None, again: str
    ) -> None:
        changed = made | {name: made[name].model_copy(update=change)}
        if found is None:  # shapes nothing that is compared here
            self.check(changed, tmp_path)
            return
        with pytest.raises(ValueError, match=found) as refusal:
            self.check(changed, tmp_path)
        assert again in str(refusal.value)

    def test_another_split(self, made: dict, tmp_path: Path) -> None:
        lists = made["split"].records["mitdb"]
        swapped = {"train": lists["train"], "val": lists["test"], "test": lists["val"]}
        split = made["split"].model_copy(update={"records": {"mitdb": swapped}})
        with pytest.raises(ValueError, match=r"split\.records\.mitdb\.val is"):
            self.check(made | {"split": split}, tmp_path)

    def test_synthetic_windows_and_typical_beats_of_another_lead(
        self, made: dict, folder: Path, tmp_path: Path
    ) -> None:
        other = self.make(self.read(folder, "V1"))
        assert set(other["records"]["lead"]) != {"MLII"}
        old = {name: made[name] for name in ("typical_beats", "smote_signals")}
        self.check(other, tmp_path)
        with pytest.raises(ValueError, match="typical_beats is stale: "):
            self.check(other | old, tmp_path)
        del old["typical_beats"]
        with pytest.raises(ValueError, match=r"smote_signals is stale: .*--pipelines=balancing`"):
            self.check(other | old, tmp_path)

    def test_a_view_of_something_else(self, made: dict, tmp_path: Path) -> None:
        first, second = made["spectrogram"].extra_views
        views = (first.model_copy(update={"of": "difference"}), second)
        spectrogram = made["spectrogram"].model_copy(update={"extra_views": views})
        with pytest.raises(ValueError, match=r"typical_beats is stale: spectrogram\.extra_views"):
            self.check(made | {"spectrogram": spectrogram}, tmp_path)

    def test_moved_beats_and_another_signal(self, made: dict, folder: Path, tmp_path: Path) -> None:
        copy = tmp_path / "databases"
        shutil.copytree(folder, copy)
        shutil.copy(copy / "mitdb" / "100.atr", copy / "mitdb" / "101.atr")
        moved = self.read(copy)
        with pytest.raises(ValueError, match=r"beats is stale: data.*=ingestion,"):
            make_windows(made["beats"], moved["records"], made["window"], made["split"])
        remade = self.make(moved)
        for name in ("windows", "signals", "train_index", "typical_beats", "smote_signals"):
            with pytest.raises(ValueError, match=rf"{name} is stale: .*data\.beats is"):
                self.check(remade | {name: made[name]}, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files as Linux does")
def test_images_in_memory_hold_no_file_open(tmp_path: Path) -> None:
    import resource

    keys = [f"db/{number}" for number in range(100)]
    saved = {}
    for name in ("signals", "typical_beats"):
        dataset = SignalsDataset(filepath=tmp_path / name)
        signals = {key: np.full(2000, i, np.float32) for i, key in enumerate(keys)}
        dataset.save(StampedSignals(signals, READ))
        saved[name] = dataset.load()
    rows = pd.DataFrame(
        {
            "db": "db",
            "record_id": [key.removeprefix("db/") for key in keys],
            "lead_idx": 0,
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
            saved["signals"],
            StampedSignals({}, READ),
            saved["typical_beats"],
            stamp_table(pd.DataFrame({"fs": [360]}), READ),
            spectrogram,
        )
        bank = images.open(rows)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(bank, SignalBank)
    assert bank.read_windows(torch.tensor([7]))[0, 0] == 7
