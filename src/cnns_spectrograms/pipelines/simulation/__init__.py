"""Simulation: synthetic WFDB databases, so that everything runs without a recording."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
