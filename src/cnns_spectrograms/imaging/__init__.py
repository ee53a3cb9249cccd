"""The STFT spectrogram and its cache, one implementation used everywhere (no Kedro)."""
