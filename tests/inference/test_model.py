"""A model gives the images and probabilities of its network in PyTorch."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx
import pytest
import torch

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS, make_rr_features, measure_rr_intervals
from cnns_spectrograms.ecg.windows import WindowReader, make_typical_beats
from cnns_spectrograms.files import MODEL_SUFFIXES, find_shipped_models
from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
from cnns_spectrograms.inference.api import load_model
from cnns_spectrograms.inference.model import BeatModel, count_threads, read_description
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.training.networks import load_classifier
from inference.models import N_SAMPLES, save_model


def cut(model, signal, samples):
    """Cut windows and intervals as training does."""
    import pandas as pd

    intervals = measure_rr_intervals(samples, model.fs)
    rows = pd.DataFrame(
        {
            "db": "d",
            "record_id": "r",
            "lead_idx": 0,
            "start": samples - N_SAMPLES // 2,
            "n_samples": N_SAMPLES,
            "synthetic": False,
        }
    )
    n_typical = model.spectrogram.typical_beat_length(model.fs)
    typical = {"d/r": make_typical_beats(signal, samples, 360, n_typical)} if n_typical else {}
    reader = WindowReader({"d/r": signal}, model.spectrogram, model.fs, typical)
    return reader(rows), intervals


@pytest.fixture
def beats(model, recording):
    signal = recording.read(0)
    return cut(model, signal, recording.reference["sample"].to_numpy()[:40])


def test_images_and_probabilities_are_those_of_the_network(model, beats):
    windows, intervals = beats
    images = compute_spectrograms(windows, model.fs, model.spectrogram)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    np.testing.assert_array_equal(model.draw(windows), images.numpy())
    classifier, _ = load_classifier(model.path)
    rr = (torch.from_numpy(make_rr_features(intervals)),) if model.rr_intervals else ()
    with torch.inference_mode():
        expected = classifier(images, *rr).softmax(1).numpy()
    rr_s = intervals[list(RR_COLUMNS)]
    assert rr_s.isna().any(axis=None)  # the first beat has none before it
    found = model.predict(windows, rr_s)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 0.05  # or this test would see nothing


def test_more_threads_give_the_same(model, beats, monkeypatch):
    windows, intervals = beats
    found = []
    for n in (1, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(n))
        assert count_threads() == n
        found.append(model.predict(windows, intervals[list(RR_COLUMNS)]))
    np.testing.assert_array_equal(*found)


def test_the_operating_point_shifts_and_divides_the_logits(tmp_path, recording):
    offsets = {"N": -0.5, "V": 1.0}
    plain, moved = (
        BeatModel.load(save_model(tmp_path / f"{name}.safetensors", operating_point=point))
        for name, point in (("plain", None), ("moved", {"temperature": 2, "offsets": offsets}))
    )
    windows, rr_s = cut(plain, recording.read(0), recording.reference["sample"].to_numpy()[:9])
    expected = np.sqrt(plain.predict(windows, rr_s) * np.exp([-0.5, 0, 1, 0, 0]))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(moved.predict(windows, rr_s), expected, atol=1e-5)


def test_no_window(model):
    empty = np.empty((0, model.width), np.float32)
    assert model.predict(empty, np.empty((0, 4))).shape == (0, 5)
    size = model.spectrogram.image_size
    assert model.draw(empty).shape == (0, model.spectrogram.n_channels, size, size)


def test_what_does_not_fit(views_model):
    windows = np.zeros((2, views_model.width))
    with pytest.raises(ValueError, match=f"{views_model.width}"):
        views_model.predict(windows[:, :-1], np.ones((2, 4)))
    with pytest.raises(ValueError, match="RR intervals"):
        views_model.predict(windows)
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        views_model.predict(windows, np.ones((2, 3)))
    windows[1, 3] = np.nan
    with pytest.raises(ValueError, match="1 of 2 windows"):
        views_model.draw(windows)


def test_a_model_of_other_signals_is_refused(tmp_path):
    path = save_model(tmp_path / "a.onnx", highpass_hz=None)
    with pytest.raises(ValueError, match="with their baseline"):
        BeatModel.load(path)


@pytest.mark.parametrize("suffix", MODEL_SUFFIXES)
def test_a_pickle_is_refused(tmp_path, suffix):
    path = tmp_path / f"evil{suffix}"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=f"{path.name} (is no ONNX file|holds no description)"):
        BeatModel.load(path)


def test_an_onnx_file_of_others_is_refused(tmp_path):
    path = save_model(tmp_path / "a.onnx")
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, path)
    with pytest.raises(ValueError, match="no description"):
        BeatModel.load(path)


def test_no_model_there(tmp_path):
    with pytest.raises(ValueError, match="no model at"):
        BeatModel.load(tmp_path / "none.onnx")


def test_a_file_is_the_same_as_the_weights_it_was_made_from(tmp_path, beats, model):
    kind = "views" if model.rr_intervals else "grey"
    again = BeatModel.load(save_model(tmp_path / "m.onnx", kind))
    windows, intervals = beats
    rr_s = intervals[list(RR_COLUMNS)]
    np.testing.assert_array_equal(again.predict(windows, rr_s), model.predict(windows, rr_s))
    assert again.description == model.description
    assert again.sha256 != model.sha256


# --------------------------------------------------------------------------------------
# The weights that come with the package
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[path.stem for path in find_shipped_models()])
def shipped(request):
    (path,) = (each for each in find_shipped_models() if each.stem == request.param)
    return BeatModel.load(path)


def test_the_shipped_model_is_the_best_on_val():
    scores = [read_description(path)["best_val_macro_f1"] for path in find_shipped_models()]
    assert scores == sorted(scores, reverse=True)
    assert BeatModel.load().description["best_val_macro_f1"] == scores[0]
    shipped = find_shipped_models()
    assert {path for path in shipped[0].parent.iterdir() if path.suffix == ".onnx"} == {*shipped}


def test_shipped_models_are_small_and_say_what_they_are(shipped):
    assert sum(path.stat().st_size for path in shipped.path.parent.iterdir()) < 25e6
    assert shipped.fingerprint
    assert list(shipped.description["classes"]) == list(AAMI_CLASSES)
    assert shipped.card.startswith(f"# Heartbeat classifier {shipped.name}")
    assert shipped.fingerprint in shipped.card


def test_shipped_models_store_their_weights_in_half_precision(shipped):
    proto = onnx.load_model_from_string(shipped.content)
    sizes = Counter()
    for each in proto.graph.initializer:
        sizes[each.data_type] += math.prod(each.dims)
    assert sizes[onnx.TensorProto.FLOAT16] > 0.98 * shipped.description["n_parameters"]
    assert sizes[onnx.TensorProto.FLOAT] < 0.02 * shipped.description["n_parameters"]


@pytest.mark.slow
def test_shipped_models_on_real_windows(shipped, physionet):
    """They tell normal from ventricular beats of a test record, and draw what the cache holds."""
    recording = open_recording(physionet / "mitdb" / "200")
    beats = recording.reference[recording.reference["symbol"].isin(["N", "V"])]
    windows, intervals = cut(shipped, recording.read(0), beats["sample"].to_numpy())
    some = slice(0, 300)
    found = shipped.predict(windows[some], intervals[list(RR_COLUMNS)][some])
    chosen = np.array(AAMI_CLASSES)[found.argmax(axis=1)]
    assert (chosen == beats["symbol"].to_numpy()[some]).mean() > 0.8
    cached = compute_spectrograms(windows[some], shipped.fs, shipped.spectrogram)
    differing = shipped.draw(windows[some]) != cached.permute(0, 3, 1, 2).numpy()
    assert differing.mean() < 1e-4


def test_the_mean_of_the_shipped_models(shipped, recording):
    mean = load_model(None, accurate=True)
    windows, intervals = cut(shipped, recording.read(0), recording.reference["sample"][:5])
    rr_s = intervals[list(RR_COLUMNS)]
    each = [BeatModel.load(path).predict(windows, rr_s) for path in find_shipped_models()]
    assert len(each) == 2
    np.testing.assert_allclose(mean.predict(windows, rr_s), np.mean(each, axis=0), atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3  # or this test would see nothing
    assert mean.path == BeatModel.load().path
