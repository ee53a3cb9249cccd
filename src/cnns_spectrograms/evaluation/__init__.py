"""Metrics, tables and figures (no Kedro, no MLflow)."""
