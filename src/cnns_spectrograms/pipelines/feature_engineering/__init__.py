"""Feature engineering: beats become windows with a split, windows become spectrograms."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
