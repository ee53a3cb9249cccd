"""Recordings of ECG read from files of several formats (no Kedro, MLflow, torch)."""
