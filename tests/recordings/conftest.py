"""The signal that the tests of file formats write and read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session")
def signal() -> NDArray[np.float64]:
    """Two leads of 15 s at 100 Hz, mV, (n, 2), on the steps of a 200 per mV converter."""
    time_s = np.arange(1500) / 100
    leads = np.stack([np.sin(2 * np.pi * time_s), 0.5 * np.cos(2 * np.pi * 3 * time_s)], axis=1)
    return np.round(leads * 200) / 200
