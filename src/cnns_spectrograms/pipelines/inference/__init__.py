"""Inference: a trained model on recordings of one's own."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
