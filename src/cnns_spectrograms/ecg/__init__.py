"""Heartbeats: records, AAMI classes, beats, windows, splits, simulation (no Kedro, no torch)."""
