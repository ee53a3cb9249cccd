"""Recordings of ECG read from files: WFDB, EDF, CSV and archives (no Kedro, MLflow, torch)."""
