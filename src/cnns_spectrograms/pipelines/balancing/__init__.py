"""Balancing: SMOTE for class F, class weights and sampling weights, in train alone."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
