"""Inference: a trained model on your own recordings."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
