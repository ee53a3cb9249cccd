"""The model as MLflow serves it: MLflow copies this file beside the model, and runs it there.

It is code and not a pickle, so that loading a model runs nothing but what can be read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlflow
import mlflow.pyfunc
import numpy as np

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel


class BeatClassifierModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Takes raw windows of signal, gives a row of class probabilities for each."""

    def load_context(self, context: Any) -> None:
        """Read the model."""
        from cnns_spectrograms.inference.model import BeatModel

        self._model: BeatModel = BeatModel.load(context.artifacts["model"])

    # Without types: MLflow would take them for the signature.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Return the probabilities.

        Args:
            context: MLflow's.
            model_input: ``windows`` -> (n, `BeatModel.width`) mV, and ``rr_s`` -> (n, 4) s where
                the network takes the rhythm; null or NaN where an interval is not known.
            params: none.

        Returns:
            Columns prob_N to prob_Q.
        """
        from cnns_spectrograms.inference.model import tabulate_probabilities

        windows = np.asarray(model_input["windows"], dtype=np.float32)
        rr_s = model_input.get("rr_s")
        return tabulate_probabilities(self._model.predict(windows, rr_s))


mlflow.models.set_model(BeatClassifierModel())
