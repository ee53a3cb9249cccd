"""A model gives the probabilities of its network, and is the same as an ONNX file."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS, make_rr_features, measure_rr_intervals
from cnns_spectrograms.ecg.windows import WindowReader, make_typical_beats
from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
from cnns_spectrograms.inference.model import BeatModel, find_shipped_weights
from cnns_spectrograms.inference.onnx_graphs import export_onnx
from inference.models import N_SAMPLES, save_model


def cut(model, signal, samples):
    """Cut windows and intervals as training does."""
    import pandas as pd

    intervals = measure_rr_intervals(samples, model.fs)
    rows = pd.DataFrame(
        {
            "db": "d",
            "record_id": "r",
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


def test_probabilities_are_those_of_the_network(model, beats):
    windows, intervals = beats
    images = compute_spectrograms(windows, model.fs, model.spectrogram)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    rr = (torch.from_numpy(make_rr_features(intervals)),) if model.rr_intervals else ()
    with torch.inference_mode():
        expected = model.classifier(images, *rr).softmax(1).numpy()
    found = model.predict(windows, intervals[list(RR_COLUMNS)])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 0.05  # or this test would see nothing


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
    found = model.predict(np.empty((0, model.width), np.float32), np.empty((0, 4)))
    assert found.shape == (0, 5)


def test_what_does_not_fit(views_model):
    windows = np.zeros((2, views_model.width))
    with pytest.raises(ValueError, match=f"{views_model.width}"):
        views_model.predict(windows[:, :-1], np.ones((2, 4)))
    with pytest.raises(ValueError, match="RR intervals"):
        views_model.predict(windows)
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        views_model.predict(windows, np.ones((2, 3)))


def test_weights_that_say_too_little(tmp_path):
    from cnns_spectrograms.training.networks import load_classifier, save_classifier

    path = save_model(tmp_path / "a.safetensors")
    classifier, description = load_classifier(path)
    del description["fs"]
    save_classifier(classifier, path, description)
    with pytest.raises(ValueError, match="fs"):
        BeatModel.load(path)


def test_a_pickle_is_refused(tmp_path):
    path = tmp_path / "evil.safetensors"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="safetensors"):
        BeatModel.load(path)


def test_threads_of_the_network_wait_asleep(model):
    options = model._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == torch.get_num_threads()


@pytest.mark.slow
def test_onnx_takes_raw_windows(model, beats, tmp_path):
    windows, intervals = beats
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rr_s = intervals[list(RR_COLUMNS)].to_numpy(np.float32)
    assert np.isnan(rr_s).any()  # the first beat has none before it
    inputs = {"windows": windows, **({"rr_s": rr_s} if model.rr_intervals else {})}
    assert {each.name for each in session.get_inputs()} == set(inputs)
    for n in (1, 40):  # another number of windows than it was exported with
        (found,) = session.run(None, {name: value[:n] for name, value in inputs.items()})
        np.testing.assert_allclose(found, model.predict(windows[:n], rr_s[:n]), atol=1e-4)
    props = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(props["cnns_spectrograms"]) == model.description


# --------------------------------------------------------------------------------------
# The weights that come with the package
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    try:
        path = find_shipped_weights()
    except ValueError:
        pytest.skip("no weights are shipped yet")
    return BeatModel.load(path)


def test_shipped_weights_need_no_pickle_and_are_small(shipped):
    assert shipped.path.suffix == ".safetensors"
    assert sum(path.stat().st_size for path in shipped.path.parent.iterdir()) < 25e6
    assert shipped.fingerprint
    assert list(shipped.description["classes"]) == list(AAMI_CLASSES)


@pytest.mark.slow
def test_shipped_weights_on_real_windows(shipped, physionet, tmp_path):
    """They tell normal from ventricular beats of a test record; and ONNX agrees to 5e-4."""
    from cnns_spectrograms.recordings.opening import open_recording

    recording = open_recording(physionet / "mitdb" / "200")
    beats = recording.reference[recording.reference["symbol"].isin(["N", "V"])]
    windows, intervals = cut(shipped, recording.read(0), beats["sample"].to_numpy())
    some = slice(0, 300)
    found = shipped.predict(windows[some], intervals[list(RR_COLUMNS)][some])
    chosen = np.array(AAMI_CLASSES)[found.argmax(axis=1)]
    assert (chosen == beats["symbol"].to_numpy()[some]).mean() > 0.8
    export_onnx(shipped, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    inputs = {"windows": windows[:50]}
    if shipped.rr_intervals:
        inputs["rr_s"] = intervals[list(RR_COLUMNS)].to_numpy(np.float32)[:50]
    # A pixel at the edge of a grey level may fall to its other side: 1e-7 without, 1e-4 with.
    np.testing.assert_allclose(session.run(None, inputs)[0], found[:50], atol=5e-4)
