"""What the technical report says of the model in use."""

from __future__ import annotations

import pytest

from cnns_spectrograms.app.technical import describe_transform
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.presentation import Language, Translator


@pytest.mark.parametrize(
    ("kind", "language", "expected"),
    [
        (
            "stft",
            "en",
            (
                "Short-time Fourier transform",
                "segments of 64 samples with an overlap of 32, up to 60 Hz",
            ),
        ),
        ("scalogram", "en", ("Time-frequency transform", "scalogram, up to 60 Hz")),
        ("scalogram", "es", ("Transformada de tiempo y frecuencia", "scalogram, hasta 60 Hz")),
    ],
)
def test_the_transform_of_any_kind_is_named(
    kind: str, language: Language, expected: tuple[str, str]
) -> None:
    image = SpectrogramParameters(kind=kind, nperseg=64, noverlap=32, max_frequency_hz=60)
    assert describe_transform(image, Translator(language)) == expected
