"""Modelling: one namespace per network, all from one template."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
