"""The bank draws what the cache holds: real records, their edges, three views, synthetic rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.ecg.windows import WindowReader, make_typical_beats
from cnns_spectrograms.imaging.signal_bank import SignalBank
from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
from cnns_spectrograms.parameters import SpectrogramParameters, ViewParameters

FS = 360
GREY = SpectrogramParameters(image_size=32)
ZOOM = {"nperseg": 64, "noverlap": 56, "max_frequency_hz": 60}
COLOUR = SpectrogramParameters(
    image_size=32,
    extra_views=(
        ViewParameters(of="beat", window_s=10, nperseg=128, noverlap=96, max_frequency_hz=40),
        ViewParameters(of="beat", window_s=1.25, **ZOOM),
    ),
)
DIFFERENCE = COLOUR.model_copy(
    update={
        "extra_views": (
            ViewParameters(of="difference", window_s=1.0, **ZOOM),
            ViewParameters(of="difference", window_s=1.25, **ZOOM),
        )
    }
)


def make_rows(record_id: str, samples: list[int], synthetic: bool = False) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "db": "AUG" if synthetic else "mitdb",
            "record_id": record_id,
            "lead_idx": 0,
            "start": samples,
            "n_samples": 900,
            "synthetic": synthetic,
        }
    )


@pytest.mark.parametrize("parameters", [GREY, COLOUR, DIFFERENCE])
def test_it_draws_what_the_reader_and_the_imaging_give(parameters: SpectrogramParameters) -> None:
    rng = np.random.default_rng(0)
    signals = {f"mitdb/{k}": rng.normal(size=5000).astype(np.float32) for k in "12"}
    typical = {f"mitdb/{k}": rng.normal(size=450).astype(np.float32) for k in "12"}
    width = sum(n for _, n in parameters.view_lengths(FS, 900))
    signals["AUG/smote"] = rng.normal(size=3 * width).astype(np.float32)
    parts = [
        make_rows("1", [-449, 0, 2000, 4549]),  # at both edges too
        make_rows("smote", [0, width, 2 * width], synthetic=True),
        make_rows("2", [7, 1234]),
    ]
    rows = pd.concat(parts, ignore_index=True)
    bank = SignalBank(rows, WindowReader(signals, parameters, FS, typical))
    assert len(bank) == 9
    read = WindowReader(signals, parameters, FS, typical)
    windows = np.concatenate([read(part) for part in parts])
    index = torch.tensor([8, 0, 3, 5, 5, 1])
    np.testing.assert_array_equal(bank.read_windows(index).numpy(), windows[index])
    images = compute_spectrograms(windows[index], FS, parameters)
    if images.ndim == 3:
        images = images[..., None]
    assert bank(index).shape == (6, parameters.n_channels, 32, 32)
    assert torch.equal(bank(index), images.permute(0, 3, 1, 2))


def test_a_difference_is_the_beat_less_the_typical_beat() -> None:
    beat = np.hanning(450).astype(np.float32)
    signal = np.zeros(5000, np.float32)
    for peak in (1000, 2000, 3000):  # R peak at the window's middle
        signal[peak - 225 : peak + 225] += beat
    signal[3040] += 1  # what the third beat has beside
    typical = {"mitdb/1": make_typical_beats(signal, [1000, 2000, 3000], 360, 450)}
    np.testing.assert_array_equal(typical["mitdb/1"], beat)
    rows = make_rows("1", [1000 - 450, 3000 - 450])
    bank = SignalBank(rows, WindowReader({"mitdb/1": signal}, DIFFERENCE, FS, typical))
    difference = bank.read_windows(torch.arange(2)).numpy()[:, 900 : 900 + FS]
    expected = np.zeros((2, FS), np.float32)
    expected[1, FS // 2 + 40] = 1
    np.testing.assert_allclose(difference, expected, atol=1e-6)


def test_checkpoints_do_not_carry_the_signals() -> None:
    bank = SignalBank(
        make_rows("1", [0]), WindowReader({"mitdb/1": np.zeros(2000, np.float32)}, GREY, FS)
    )
    assert bank.state_dict() == {}


def read_by(
    how: str, rows: pd.DataFrame, signals: dict, spectrogram: SpectrogramParameters
) -> None:
    if how == "bank":
        SignalBank(rows, WindowReader(signals, spectrogram, FS))
    else:
        WindowReader(signals, spectrogram, FS)(rows)


@pytest.mark.parametrize("how", ["bank", "reader"])
def test_what_is_missing_is_named(how: str) -> None:
    signals = {"mitdb/1": np.zeros(5000, np.float32)}
    with pytest.raises(AssertionError, match="no signal of record mitdb/2"):
        read_by(how, make_rows("2", [0]), signals, GREY)
    with pytest.raises(KeyError, match="mitdb/1"):
        read_by(how, make_rows("1", [0]), signals, DIFFERENCE)
    for n, spectrogram in ((1700, COLOUR), (3599, COLOUR), (899, GREY)):
        short = {"mitdb/1": np.zeros(n, np.float32)}
        with pytest.raises(ValueError, match=f"mitdb/1 has {n} samples, and a stretch of .*00 ar"):
            read_by(how, make_rows("1", [0]), short, spectrogram)


def test_synthetic_windows_of_other_views_are_refused() -> None:
    made_for = sum(n for _, n in DIFFERENCE.view_lengths(FS, 900))
    signals = {"AUG/smote": np.zeros(3 * made_for, np.float32)}
    rows = make_rows("smote", [0, made_for, 2 * made_for], synthetic=True)
    typical = {"AUG/smote": np.zeros(450, np.float32)}
    SignalBank(rows, WindowReader(signals, DIFFERENCE, FS, typical))
    for other in (COLOUR, GREY):
        for how in ("bank", "reader"):
            with pytest.raises(AssertionError, match="AUG/smote was made for other views"):
                read_by(how, rows, signals, other)


def test_real_record(physionet: Path) -> None:
    record = read_record(physionet / "mitdb", "mitdb", "119", fs=FS)
    peaks = record.beats["sample"].to_numpy()
    typical = {"mitdb/119": make_typical_beats(record.signal, peaks, 360, 450)}
    # Three quarters of the beats of 119 are normal: the others hardly move the median.
    normal = peaks[(record.beats["aami_class"] == "N").to_numpy()]
    of_normal = make_typical_beats(record.signal, normal, 360, 450)
    assert np.corrcoef(typical["mitdb/119"], of_normal)[0, 1] > 0.97
    assert typical["mitdb/119"].argmax() == pytest.approx(225, abs=5)
    rows = make_rows("119", (peaks[:60] - 450).tolist())
    signals = {"mitdb/119": record.signal}
    bank = SignalBank(rows, WindowReader(signals, COLOUR, FS, typical))
    windows = WindowReader(signals, COLOUR, FS, typical)(rows)
    images = compute_spectrograms(windows, FS, COLOUR).permute(0, 3, 1, 2)
    assert torch.equal(bank(torch.arange(60)), images)
    # Each channel is the grey image of its stretch alone.
    first = compute_spectrograms(windows[:, :900], FS, GREY)
    assert torch.equal(images[:, 0], first)
    zoom = SpectrogramParameters(image_size=32, **ZOOM)
    assert torch.equal(images[:, 2], compute_spectrograms(windows[:, 4500:], FS, zoom))
