"""Classify heartbeats from ECG spectrograms with convolutional networks."""

import os

__version__ = "0.1.0"

# MLflow would report over the network how it is used.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
