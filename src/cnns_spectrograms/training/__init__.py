"""Balancing, networks, loss, sampling and the Lightning trainer (no Kedro, no MLflow)."""
