"""Simulated patients: the waves of their beats, as Gaussians of the heart dipole seen by two leads.

The heart dipole has the axes x to the left, y to the feet and z to the front, and is in mV.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

Waves: TypeAlias = np.ndarray[Any, Any]
"""Waves of one beat, (n_waves,), with the fields kind ('P', 'QRS' or 'T'), time (s, from the main
QRS deflection), width (s, standard deviation) and dipole (mV, three axes)."""

_WAVE = np.dtype([("kind", "U3"), ("time", "f8"), ("width", "f8"), ("dipole", "f8", 3)])

_LEAD_VECTORS: dict[str, tuple[float, float, float]] = {
    "MLII": (0.45, 0.85, 0.05),
    "V1": (-0.45, 0.05, 0.95),
    "V5": (0.95, 0.15, 0.20),
    "ECG1": (0.70, 0.65, 0.10),
    "ECG2": (-0.35, 0.10, 0.90),
}

# Kind, angle and width (rad), dipole (mV).
_NORMAL_BEAT = [
    ("P", -1.08, 0.15, (0.08, 0.13, 0.03)),
    ("QRS", -0.21, 0.06, (-0.15, -0.12, 0.25)),
    ("QRS", 0.00, 0.07, (0.75, 0.85, -0.55)),
    ("QRS", 0.21, 0.07, (-0.25, -0.20, -0.35)),
    ("T", 1.40, 0.42, (0.11, 0.11, 0.04)),
    ("T", 1.75, 0.27, (0.14, 0.14, 0.06)),
]
# Of a beat that starts in a ventricle: no P, wide QRS, opposite T; shares of the focus's dipole.
_WIDE_BEAT = [
    ("QRS", -0.23, 0.16, 0.45),
    ("QRS", 0.00, 0.17, 1.00),
    ("QRS", 0.30, 0.15, 0.50),
    ("T", 1.35, 0.45, -0.25),
    ("T", 1.80, 0.35, -0.30),
]


class Patient:
    """Everything that stays the same through one record.

    Args:
        rng: random numbers of the patient.
        leads: names of the two leads.
        reference: index of the lead in which beats are annotated.
        paced: whether a pacemaker sets the rhythm.
        has_fusion: whether F beats occur.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        leads: tuple[str, str],
        reference: int,
        *,
        paced: bool,
        has_fusion: bool,
    ) -> None:
        self.leads, self.is_paced = leads, paced
        # (2, 3), from dipole to lead, and the one in which beats are annotated.
        self.vectors = np.array([_LEAD_VECTORS[lead] for lead in leads]) + _spread(rng, 0.06, 2, 3)
        self.lead: FloatArray = self.vectors[reference]
        # Mean RR interval, or the escape interval of the pacemaker.
        self.rr_s = 60 / (rng.uniform(60, 75) if paced else rng.uniform(55, 100))
        root_rr = np.sqrt(self.rr_s)
        self._draw_typical_beats(rng, root_rr, upright=paced or has_fusion)
        self.early_p = _select(self.normal, "P")  # of a supraventricular ectopic beat
        self.early_p["time"] *= rng.uniform(0.70, 0.85)
        self.early_p["width"] *= rng.uniform(0.7, 0.9)
        self.early_p["dipole"] *= -rng.uniform(0.6, 1.2)
        if rng.random() < 0.4:
            self.early_p = self.early_p[:0]
        self.rr_sd = rng.uniform(0.015, 0.035)  # of sinus RR intervals, relative
        self.breath_hz = rng.uniform(0.2, 0.32)
        # Of the two leads.
        self.spike_mv: FloatArray = rng.uniform(1.5, 3.0, 2) * rng.choice([-1.0, 1.0], 2)
        self.spike_s = rng.uniform(0.001, 0.002)
        self.spike_lead_s = root_rr * rng.uniform(0.085, 0.10)  # to the main QRS deflection
        self.wander_mv = rng.uniform(0.03, 0.12, 2)
        self.hum_mv = rng.uniform(0.002, 0.010, 2)
        self.muscle_mv = rng.uniform(0.008, 0.025, 2)
        self.offset_mv = rng.uniform(-0.3, 0.1, 2)

    def _draw_typical_beats(
        self, rng: np.random.Generator, root_rr: float, *, upright: bool
    ) -> None:
        """Set the normal, ectopic and paced beats.

        Where fusion occurs, ectopic beats are `upright`: opposite ones would cancel the R wave.
        """
        normal = self._centre(_draw_waves(rng, root_rr, _NORMAL_BEAT))
        r_mv = rng.uniform(0.9, 1.7)
        t_factor = np.where(normal["kind"] == "T", rng.uniform(0.7, 1.5), 1.0)
        self.normal = scale_waves(normal, t_factor * r_mv / self._measure_peak(normal))

        upright = upright or rng.random() < 0.5
        focus = np.array([0.40, 0.80, -0.30] if upright else [0.15, -0.80, 0.40])
        ectopic = self._centre(_draw_waves(rng, root_rr, _WIDE_BEAT, focus))
        factor = r_mv * rng.uniform(1.3, 1.8) / self._measure_peak(ectopic)
        self.ectopic = scale_waves(ectopic, factor)
        focus = np.array([0.25, -0.85, -0.35])
        paced = self._centre(_draw_waves(rng, root_rr, _WIDE_BEAT, focus))
        self.paced = scale_waves(paced, rng.uniform(1.1, 1.9) / self._measure_peak(paced))

    def draw_beat(self, rng: np.random.Generator, aami_class: str) -> Waves:
        """Return the waves of one beat of a class, main QRS deflection at 0 s."""
        if aami_class == "N":
            return self.normal
        if aami_class == "S":
            return np.concatenate([self.early_p, _select(self.normal, "QRS", "T")])
        if aami_class == "V":
            return self.ectopic
        if aami_class == "F":
            share = rng.uniform(0.35, 0.65)
            own = scale_waves(_select(self.normal, "QRS", "T"), 1 - share)
            fusion = np.concatenate([own, scale_waves(self.ectopic, share)])
            return np.concatenate([_select(self.normal, "P"), self._centre(fusion)])
        if self.is_paced:
            return self.paced
        share = rng.uniform(0.2, 0.8)
        mixed = np.concatenate(
            [scale_waves(self.normal, 1 - share), scale_waves(self.ectopic, share)]
        )
        n = len(mixed)
        swelling = np.where(mixed["kind"] == "QRS", rng.uniform(0.9, 1.9, n), 1.0)
        mixed["time"] *= rng.uniform(0.9, 1.3, n)
        mixed["width"] *= swelling
        mixed["dipole"] *= rng.lognormal(0, 0.4, (n, 1))
        return self._centre(mixed)

    def _centre(self, waves: Waves) -> Waves:
        """Shift waves in place so that the largest QRS deflection of the lead is at 0 s."""
        waves["time"] -= _QRS_GRID[np.argmax(self._look_at_qrs(waves))]
        return waves

    def _measure_peak(self, waves: Waves) -> float:
        """Return the size of the largest QRS deflection of the lead, mV."""
        return float(self._look_at_qrs(waves).max())

    def _look_at_qrs(self, waves: Waves) -> FloatArray:
        return np.abs(evaluate_waves(_select(waves, "QRS"), _QRS_GRID) @ self.lead)


_QRS_GRID = np.arange(-0.15, 0.15, 0.0005)


def evaluate_waves(waves: Waves, t: FloatArray) -> FloatArray:
    """Return the dipole at times `t` (s), (n, 3), mV."""
    gauss = np.exp(-0.5 * ((t[:, None] - waves["time"]) / waves["width"]) ** 2)
    return np.asarray(gauss @ np.ascontiguousarray(waves["dipole"]))


def scale_waves(waves: Waves, factor: float | FloatArray) -> Waves:
    """Return the waves with their dipoles times a factor, or one factor per wave."""
    scaled = waves.copy()
    scaled["dipole"] *= np.reshape(factor, (-1, 1))
    return scaled


def _select(waves: Waves, *kinds: str) -> Waves:
    return waves[np.isin(waves["kind"], kinds)]


def _draw_waves(
    rng: np.random.Generator, root_rr: float, beat: list[tuple[Any, ...]], focus: Any = 1
) -> Waves:
    """Turn a table of kind, angle, width and dipole into one patient's waves."""
    n = len(beat)
    kinds, angles, widths, dipoles = (np.array(column) for column in zip(*beat, strict=True))
    dipoles = dipoles.reshape(n, -1) * focus
    seconds = root_rr / (2 * np.pi)
    length = np.linalg.norm(dipoles, axis=1, keepdims=True)
    waves = np.empty(n, _WAVE)
    waves["kind"] = kinds
    waves["time"] = angles * seconds * (1 + _spread(rng, 0.04, n))
    waves["width"] = widths * seconds * (1 + _spread(rng, 0.08, n))
    waves["dipole"] = dipoles + length * _spread(rng, 0.10, n, 3)
    return waves


def _spread(rng: np.random.Generator, sd: float, *shape: int) -> FloatArray:
    """Return normal draws cut at 2 standard deviations."""
    return sd * np.clip(rng.normal(size=shape), -2, 2)
