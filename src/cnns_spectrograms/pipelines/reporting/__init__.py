"""Reporting: metrics and figures by model, then across models and data."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
