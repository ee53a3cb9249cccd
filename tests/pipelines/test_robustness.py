"""Robustness nodes: what is added where, which beats are scored, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.ecg.download import DownloadError
from cnns_spectrograms.evaluation.robustness import read_other_leads
from cnns_spectrograms.parameters import (
    ModelParameters,
    ReportingParameters,
    RobustnessParameters,
    SpectrogramParameters,
    TrainingParameters,
)
from cnns_spectrograms.pipelines.robustness import stress_model
from cnns_spectrograms.provenance import StampedSignals, stamp_table
from cnns_spectrograms.training import prediction
from cnns_spectrograms.training.prediction import predict_signals

FS = 360
SPECTROGRAM = SpectrogramParameters(image_size=32)
TRAINING = TrainingParameters(precision="32-true", batch_size=16)


def make_windows(n_beats: int = 40, records: tuple[str, ...] = ("100", "101")) -> pd.DataFrame:
    """Beats a second apart, of which every fourth is V."""
    rows = []
    for record in records:
        for beat in range(n_beats):
            sample = (beat + 2) * FS
            rows.append(
                {
                    "row_id": f"{record}_{beat:06d}",
                    "split": "test",
                    "db": "mitdb",
                    "record_id": record,
                    "patient_id": f"mitdb/{record}",
                    "beat_idx": beat,
                    "sample": sample,
                    "stretch": 0,
                    "lead_idx": 0,
                    "start": sample - 450,
                    "n_samples": 900,
                    "symbol": "V" if beat % 4 == 3 else "N",
                    "aami_class": "V" if beat % 4 == 3 else "N",
                    "synthetic": False,
                    "path": f"test/mitdb/{record}_{beat:06d}.png",
                    **dict.fromkeys(
                        ("rr_previous_s", "rr_next_s", "rr_local_s", "rr_record_s"), 1.0
                    ),
                }
            )
    return pd.DataFrame(rows)


def make_signals(windows: pd.DataFrame) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    signals = {}
    for record, rows in windows.groupby("record_id"):
        signal = rng.normal(0, 0.01, 50 * FS)
        signal[rows["sample"]] += 1.5
        signals[f"mitdb/{record}"] = signal.astype(np.float32)
    return signals


@pytest.fixture(scope="module")
def model():
    from cnns_spectrograms.training.networks import build_network

    network = build_network(ModelParameters(timm_name="resnet10t", pretrained=False), seed=0)
    return network, {"spectrogram": SPECTROGRAM.model_dump(mode="json"), "fs": FS}


def reporting(**changes) -> ReportingParameters:
    values = {"noises": [], "clean_s": 10, "alternate_s": 10, "snr_db": [6], **changes}
    return ReportingParameters(robustness=RobustnessParameters(**values))


def test_predictions_of_signals_are_those_of_their_images(model) -> None:
    """The images that a cache would hold, drawn by hand, give the same probabilities."""
    from cnns_spectrograms.ecg.windows import cut_windows
    from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
    from cnns_spectrograms.training.prediction import predict_table

    windows = make_windows(8)
    signals = make_signals(windows)
    found = predict_signals(model, windows, signals, windows, TRAINING)
    cut = np.concatenate(
        [
            cut_windows(signals[f"mitdb/{record}"], rows["start"].to_numpy(), 900)
            for record, rows in windows.groupby("record_id")
        ]
    )
    images = compute_spectrograms(cut, FS, SPECTROGRAM).numpy()
    image_of = dict(zip(windows["path"], images, strict=True))
    exact = TrainingParameters(batch_size=16, num_workers=0, precision="32-true")
    expected = predict_table(model[0], windows, image_of.__getitem__, exact)
    assert found["row_id"].tolist() == windows["row_id"].tolist()
    columns = [f"prob_{name}" for name in "NSVFQ"]
    np.testing.assert_allclose(found[columns], expected[columns], atol=1e-5)


def test_a_typical_beat_is_that_of_the_whole_record(model) -> None:
    """Which windows are predicted does not change what a colour image shows of its record."""
    from cnns_spectrograms.training.networks import build_network

    views = [
        {"of": of, "window_s": 1, "nperseg": 64, "noverlap": 32, "max_frequency_hz": 60}
        for of in ("beat", "difference")
    ]
    spectrogram = SpectrogramParameters(image_size=32, extra_views=views)
    network = build_network(ModelParameters(timm_name="resnet10t", pretrained=False), seed=0)
    colour = (network, {"spectrogram": spectrogram.model_dump(mode="json"), "fs": FS})
    windows = make_windows(8)
    signals = make_signals(windows)
    columns = [f"prob_{name}" for name in "NSVFQ"]
    whole = predict_signals(colour, windows, signals, windows, TRAINING)[columns]
    some = predict_signals(colour, windows.iloc[8:10], signals, windows, TRAINING)[columns]
    np.testing.assert_allclose(some, whole.iloc[8:10], atol=1e-5)
    fewer = predict_signals(colour, windows.iloc[8:10], signals, windows.iloc[8:10], TRAINING)
    assert not np.allclose(fewer[columns], some, atol=1e-5)


class TestStress:
    @pytest.fixture
    def seen(self, monkeypatch):
        """The signals of each condition, in place of a network's predictions on them."""
        calls: list[tuple[pd.DataFrame, dict[str, np.ndarray]]] = []

        def remember(model, windows, signals, beats, training):
            calls.append((windows, {key: np.asarray(x) for key, x in signals.items()}))
            probabilities = {f"prob_{name}": float(name == "N") for name in "NSVFQ"}
            return windows.assign(predicted="N", **probabilities)

        monkeypatch.setattr(prediction, "predict_signals", remember)
        return calls

    RECORDS = pd.DataFrame(
        {"db": "mitdb", "record_id": ["100", "101"], "lead": "MLII", "leads": "MLII"}
    )

    def stress(
        self,
        windows,
        params,
        physionet=Path("/nowhere"),
        beats: pd.DataFrame | None = None,
        download: bool = False,
        signals: dict | None = None,
    ) -> pd.DataFrame:
        stamp = {"data": {"beats": "a" * 64}}
        model = (SimpleNamespace(), {"fs": FS, "made_of": stamp | {"weights": "b" * 64}})
        beats = windows if beats is None else beats
        return stress_model(
            model,
            stamp_table(windows, stamp),
            StampedSignals(make_signals(beats), signals or stamp),
            stamp_table(beats, stamp),
            stamp_table(self.RECORDS, stamp),
            physionet,
            TRAINING,
            params,
            download,
        )

    def test_every_condition_scores_the_beats_of_the_noisy_parts(self, seen) -> None:
        table = self.stress(make_windows(), reporting())
        assert table["condition"].tolist() == ["clean", "flat lead", "128 Hz"]
        times_s = seen[0][0]["sample"] / FS
        # Noisy from 10 to 20 s and from 30 to 40 s.
        assert set(times_s) == {*range(10, 20), *range(30, 40)}
        assert table["n_beats"].tolist() == [40] * 3
        assert table["accuracy"].nunique() == 1
        assert table["snr_db"].isna().all()

    def test_signals_that_were_read_since_are_refused(self, seen) -> None:
        since = {"data": {"beats": "d" * 64}}
        with pytest.raises(ValueError, match="signals is stale: data"):
            self.stress(make_windows(), reporting(), signals=since)
        assert seen == []

    def test_changes_are_what_they_say(self, seen) -> None:
        windows = make_windows()
        self.stress(windows, reporting())
        (_, clean), (_, flat), (_, limited) = seen
        assert not any(signal.any() for signal in flat.values())
        for key, signal in limited.items():
            assert len(signal) == len(clean[key])
            spectrum = np.abs(np.fft.rfft(signal))
            hz = np.fft.rfftfreq(len(signal), 1 / FS)
            assert spectrum[hz > 80].max() < 0.05 * spectrum[hz < 50].max()

    def test_noise_is_where_the_protocol_puts_it(self, seen, physionet) -> None:
        windows = make_windows()
        table = self.stress(windows, reporting(noises=["ma"], snr_db=[24, -6]), physionet)
        assert table["condition"].tolist() == ["clean", "ma", "ma", "flat lead", "128 Hz"]
        clean, weak, strong = (signals["mitdb/100"] for _, signals in seen[:3])
        noisy = np.zeros(len(clean), bool)
        noisy[10 * FS : 20 * FS] = noisy[30 * FS : 40 * FS] = True
        added = [np.diff(x - clean) for x in (weak, strong)]
        inside = noisy[1:] & noisy[:-1]
        # What the high-pass leaves of the noise's edges is slow, and outside all there is.
        assert np.abs(added[0][~inside]).max() < 0.02 * np.abs(added[0][inside]).max()
        ratio_db = 20 * np.log10(added[1][inside].std() / added[0][inside].std())
        assert ratio_db == pytest.approx(30, abs=0.1)

    def test_sliding_windows_get_the_noise_that_their_beats_ask_for(self, seen, physionet) -> None:
        beats = make_windows()
        between = beats.assign(sample=beats["sample"] + FS // 2, beat_idx=-1)
        params = reporting(noises=["ma"], snr_db=[6])
        self.stress(beats, params, physionet)
        self.stress(between, params, physionet, beats)
        clean, of_beats, of_windows = (seen[call][1]["mitdb/100"] for call in (0, 1, 5))
        assert not np.array_equal(of_beats, clean)
        np.testing.assert_array_equal(of_windows, of_beats)

    def test_no_file_of_a_signal_is_held_open(self, seen, tmp_path, monkeypatch) -> None:
        """There may be more records than a system lets files be open."""
        mapped = {}
        for key, signal in make_signals(make_windows()).items():
            np.save(tmp_path / "signal.npy", signal)
            mapped[key] = np.load(tmp_path / "signal.npy", mmap_mode="r")
        kinds = set()
        remember = prediction.predict_signals

        def note(model, windows, signals, *others):
            kinds.update(type(signal) for signal in signals.values())
            return remember(model, windows, signals, *others)

        monkeypatch.setattr(prediction, "predict_signals", note)
        monkeypatch.setitem(globals(), "make_signals", lambda windows: mapped)
        self.stress(make_windows(), reporting())
        assert kinds == {np.ndarray}

    def test_a_missing_noise_is_told_before_anything_is_predicted(self, seen, tmp_path) -> None:
        with pytest.raises(FileNotFoundError, match="lacks the noise records ma"):
            self.stress(make_windows(), reporting(noises=["ma"]), tmp_path)
        assert seen == []

    def test_a_missing_noise_is_downloaded(self, seen, tmp_path, monkeypatch) -> None:
        import wfdb

        folder = tmp_path / "nstdb"
        folder.mkdir()
        noise = np.random.default_rng(0).integers(-500, 500, size=(60 * FS, 1))

        def write(name: str) -> None:
            form = {"fs": FS, "units": ["mV"], "sig_name": ["noise1"], "fmt": ["16"]}
            gain = {"adc_gain": [1.0], "baseline": [0]}
            wfdb.wrsamp(name, d_signal=noise, write_dir=str(folder), **form, **gain)

        asked = []

        def download(db: str, to: Path, names: list[str], suffixes: tuple[str, ...]) -> None:
            asked.append((db, to, names, suffixes))
            for name in names:
                write(name)

        write("bw")
        monkeypatch.setattr("cnns_spectrograms.ecg.download.download_database", download)
        params = reporting(noises=["bw", "em"])
        table = self.stress(make_windows(), params, tmp_path, download=True)
        assert asked == [("nstdb", folder, ["em"], (".hea", ".dat"))]
        assert table["condition"].tolist() == ["clean", "bw", "em", "flat lead", "128 Hz"]
        self.stress(make_windows(), params, tmp_path, download=True)
        assert len(asked) == 1

    def test_without_network_a_missing_noise_says_what_to_do(
        self, seen, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr("wfdb.io.download.PN_CONTENT_URL", "http://127.0.0.1:9/")
        with pytest.raises(
            DownloadError,
            match=r"nstdb lacks the noise records em, ma, and cannot download nstdb .*or name "
            r"fewer in reporting\.robustness\.noises, without em, ma",
        ):
            self.stress(make_windows(), reporting(noises=["em", "ma"]), tmp_path, download=True)
        assert seen == []
        assert not list(tmp_path.iterdir())

    def test_records_can_be_chosen(self, seen) -> None:
        table = self.stress(make_windows(), reporting(records={"mitdb": ["101"]}))
        assert set(seen[0][0]["record_id"]) == {"101"}
        assert table["n_records"].tolist() == [1] * 3
        with pytest.raises(ValueError, match=r"mitdb/999.*not in test"):
            self.stress(make_windows(), reporting(records={"mitdb": ["999"]}))

    def test_a_record_without_a_normal_beat_is_left_out(self, seen, caplog) -> None:
        windows = make_windows()
        windows.loc[windows["record_id"] == "100", "aami_class"] = "Q"
        self.stress(windows, reporting())
        assert set(seen[0][0]["record_id"]) == {"101"}
        assert "mitdb/100 has no normal beat" in caplog.text

    def test_records_too_short_to_have_a_noisy_part_are_refused(self, seen) -> None:
        with pytest.raises(ValueError, match=r"shorten reporting\.robustness\.clean_s"):
            self.stress(make_windows(), reporting(clean_s=300))

    def test_another_lead_is_read_from_the_recording(self, seen, physionet) -> None:
        from cnns_spectrograms.ecg.records import read_record

        record = read_record(physionet / "mitdb", "mitdb", "100")
        other = read_record(physionet / "mitdb", "mitdb", "100", preferred_lead="V5")
        found = read_other_leads(
            {"mitdb/100": record.signal},
            pd.DataFrame(
                {"db": ["mitdb"], "record_id": ["100"], "lead": ["MLII"], "leads": ["MLII|V5"]}
            ),
            physionet,
            FS,
        )
        np.testing.assert_array_equal(found["mitdb/100"], other.signal)
        assert not np.array_equal(found["mitdb/100"], record.signal)

    def test_the_other_lead_is_an_ecg_and_whole(self, tmp_path, caplog) -> None:
        import wfdb

        rng = np.random.default_rng(0)
        signals = rng.normal(size=(10 * FS, 3))
        flat = np.concatenate([signals[:, :2], np.zeros((10 * FS, 1))], axis=1)
        names = ["II", "RESP", "V5"]
        (tmp_path / "own").mkdir()
        for name, written in (("whole", signals), ("flat", flat)):
            wfdb.wrsamp(
                name,
                FS,
                ["mV"] * 3,
                names,
                written,
                fmt=["16"] * 3,
                write_dir=str(tmp_path / "own"),
            )
            beats = np.arange(FS, 9 * FS, FS)
            wfdb.wrann(name, "atr", beats, ["N"] * len(beats), write_dir=str(tmp_path / "own"))
        records = pd.DataFrame({"db": "own", "record_id": ["whole", "flat"], "lead": "II"})
        clean = {f"own/{name}": np.zeros(10 * FS, np.float32) for name in ("whole", "flat")}
        found = read_other_leads(clean, records.assign(leads="II|RESP|V5"), tmp_path, FS)
        assert list(found) == ["own/whole"]
        assert np.corrcoef(found["own/whole"], signals[:, 2])[0, 1] > 0.99
        assert "The other lead leaves out own/flat: " in caplog.text
