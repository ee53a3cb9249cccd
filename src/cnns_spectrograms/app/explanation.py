"""Grad-CAM: which pixels of a beat's spectrogram are evidence for a class.

Selvaraju et al. (2017, doi:10.1109/ICCV.2017.74). It shows roughly where in the image the network
found evidence, not whether the evidence is good.

Its weight of a channel, the mean of the logit's derivatives by the pixels of the channel's map, is,
but for their number, the derivative by a constant that is added to the map. So differences of the
part of the ONNX graph that follows the map give it, and no automatic differentiation is needed.

Shapes: K channels of the map, h x w pixels.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.imaging.resizing import make_bilinear_weights

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

# Of the map's standard deviation. From 0.003 to 0.03 the maps of real beats correlate with those
# of automatic differentiation by more than 0.998; below, rounding shows, and above, curvature.
_STEP = 0.01
_CHANNELS = 16  # changed at once in one batch


def explain(
    model: BeatModel,
    window: NDArray[np.float32],
    target: int,
    rr_s: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return Grad-CAM of one beat for one class.

    The map is that of the deepest stage of the network that is at least 4 pixels wide. Grad-CAM is
    interpolated to the image (bilinear) and scaled to its greatest value.

    Args:
        model: that classified the beat, of a network whose stages timm lists.
        window: (width,), mV, see `BeatModel.view_lengths`.
        target: position of the class in AAMI_CLASSES.
        rr_s: (4,), s, NaN where not known, for a network that takes the rhythm.

    Returns:
        float32 (H, W), 0 to 1; zeros where nothing is evidence for the class.
    """
    before, after = _cut(model)
    inputs = model.prepare(window[None], None if rr_s is None else np.asarray(rr_s)[None])
    (map_1Khw,) = before.run(None, {"windows": inputs.pop("windows")})
    weights_K = _differentiate(after, map_1Khw, inputs, target)
    coarse_hw = np.maximum(np.tensordot(weights_K, map_1Khw[0].astype(np.float64), axes=1), 0)
    size = model.spectrogram.image_size
    rows_Hh, columns_Ww = (make_bilinear_weights(n, size) for n in coarse_hw.shape)
    cam: NDArray[np.float32] = (rows_Hh @ coarse_hw @ columns_Ww.T).astype(np.float32)
    greatest = float(cam.max())
    return cam / greatest if greatest > 0 else cam


@functools.lru_cache(maxsize=2)
def _cut(model: BeatModel) -> tuple[Any, Any]:
    """Return sessions of the graph up to the map, and from there to the logits."""
    from onnx import load_model_from_string
    from onnx.utils import Extractor

    from cnns_spectrograms.inference.model import start_session

    graph = model.description["graph"]
    assert graph["stage_map"] is not None
    extractor = Extractor(load_model_from_string(model.content))
    rhythm = ["rr_s"] if model.rr_intervals else []
    before = extractor.extract_model(["windows"], [graph["stage_map"]])
    after = extractor.extract_model([graph["stage_map"], *rhythm], [graph["logits"]])
    return start_session(before.SerializeToString()), start_session(after.SerializeToString())


def _differentiate(
    session: Any, map_1Khw: NDArray[np.float32], inputs: dict[str, NDArray[np.float32]], target: int
) -> NDArray[np.float64]:
    """Return the derivatives of a logit by constants added to each channel of the map, (K,)."""
    from cnns_spectrograms.inference.model import count_threads

    name = next(each.name for each in session.get_inputs() if each.name not in inputs)
    n_channels = map_1Khw.shape[1]
    step = np.float32(_STEP * (map_1Khw.std() or 1))

    def measure(first: int) -> NDArray[np.float64]:
        nudges_kK11 = step * np.eye(n_channels, dtype=np.float32)[first:][:_CHANNELS, :, None, None]
        changed = np.concatenate([map_1Khw + nudges_kK11, map_1Khw - nudges_kK11])
        repeated = {key: np.repeat(each, len(changed), axis=0) for key, each in inputs.items()}
        (logits,) = session.run(None, {name: changed, **repeated})
        more, less = np.split(logits[:, target].astype(np.float64), 2)
        derivatives: NDArray[np.float64] = (more - less) / (2 * float(step))
        return derivatives

    with ThreadPoolExecutor(count_threads()) as pool:
        return np.concatenate(list(pool.map(measure, range(0, n_channels, _CHANNELS))))
