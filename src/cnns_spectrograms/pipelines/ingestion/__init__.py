"""Ingestion: WFDB databases become one table of beats and one signal per record."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
