"""Kedro pipelines: thin nodes over `ecg`, `imaging`, `training` and `evaluation`."""
