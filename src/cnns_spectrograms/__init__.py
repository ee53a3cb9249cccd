"""Classify heartbeats from ECG spectrograms with convolutional networks."""

import os

__version__ = "0.1.0"

# MLflow and Ray would report over the network how they are used.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# OpenMP's threads wait asleep. Awake, they take the cores from each other wherever other programs
# run, and classifying takes several times as long (`benchmarks/busy_machine.py`). OpenMP reads
# this once, when torch loads it; every entry point and every worker imports this package first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
