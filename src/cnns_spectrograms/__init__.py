"""Classify heartbeats from ECG spectrograms with convolutional networks."""

__version__ = "0.1.0"
