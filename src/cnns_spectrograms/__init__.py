"""Classify heartbeats from ECG spectrograms with convolutional networks."""

import os

__version__ = "0.1.0"

# MLflow and Ray would report over the network how they are used.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
