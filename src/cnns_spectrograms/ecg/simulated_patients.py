"""Simulated patients: the waves of their beats, as Gaussians of the heart dipole seen by two leads.

Arrays of waves have the shapes `(n_waves,)` and `(n_waves, 3)`; the three columns are the heart
dipole's axes: x to the left, y to the feet, z to the front, in mV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_LEAD_VECTORS: dict[str, tuple[float, float, float]] = {
    "MLII": (0.45, 0.85, 0.05),
    "V1": (-0.45, 0.05, 0.95),
    "V5": (0.95, 0.15, 0.20),
    "ECG1": (0.70, 0.65, 0.10),
    "ECG2": (-0.35, 0.10, 0.90),
}


@dataclass(frozen=True)
class Waves:
    """Waves of one beat: Gaussians of the heart dipole around the main QRS deflection at 0 s."""

    times: FloatArray  # s
    widths: FloatArray  # s, standard deviation
    dipoles: FloatArray  # mV, (n_waves, 3)
    kinds: NDArray[np.str_]  # 'P', 'QRS' or 'T'

    def evaluate(self, t: FloatArray) -> FloatArray:
        """Return the dipole at times `t` (s), shape (n, 3), mV."""
        gauss = np.exp(-0.5 * ((t[:, None] - self.times) / self.widths) ** 2)
        dipole: FloatArray = gauss @ self.dipoles
        return dipole

    def only(self, *kinds: str) -> Waves:
        """Return the waves of these kinds alone."""
        keep = np.isin(self.kinds, kinds)
        return Waves(*(each[keep] for each in vars(self).values()))

    def plus(self, other: Waves) -> Waves:
        """Return both sets of waves as one beat."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Waves(*(np.concatenate(pair) for pair in pairs))

    def scaled(self, factor: float | FloatArray) -> Waves:
        """Return the waves with their dipoles times a factor, or one factor per wave."""
        return replace(self, dipoles=self.dipoles * np.reshape(factor, (-1, 1)))

    def centred(self, lead: FloatArray) -> Waves:
        """Return the waves shifted so that the largest QRS deflection in `lead` is at 0 s."""
        grid, qrs = self._qrs_in(lead)
        shift = grid[np.argmax(np.abs(qrs))]
        return replace(self, times=self.times - shift)

    def peak(self, lead: FloatArray) -> float:
        """Return the size of the largest QRS deflection in `lead`, mV, always positive."""
        return float(np.abs(self._qrs_in(lead)[1]).max())

    def _qrs_in(self, lead: FloatArray) -> tuple[FloatArray, FloatArray]:
        grid = np.arange(-0.15, 0.15, 0.0005)
        return grid, self.only("QRS").evaluate(grid) @ lead


@dataclass(frozen=True)
class Patient:
    """Everything that stays the same through one record."""

    leads: tuple[str, str]
    vectors: FloatArray  # (2, 3), from dipole to lead
    lead: FloatArray  # (3,), the one of `vectors` in which beats are annotated
    rr_s: float  # mean RR interval, or the escape interval of the pacemaker
    rr_sd: float  # relative standard deviation of sinus RR intervals
    breath_hz: float
    normal: Waves
    ectopic: Waves
    paced: Waves
    early_p: Waves  # P wave of a supraventricular ectopic beat; no waves where it is absent
    spike_mv: FloatArray  # (2,)
    spike_s: float
    spike_lead_s: float  # from spike to main QRS deflection
    wander_mv: FloatArray  # (2,)
    hum_mv: FloatArray  # (2,)
    muscle_mv: FloatArray  # (2,)
    offset_mv: FloatArray  # (2,)


def draw_patient(
    rng: np.random.Generator,
    leads: tuple[str, str],
    reference: int,
    *,
    paced: bool,
    has_fusion: bool,
) -> Patient:
    """Return a patient.

    Args:
        rng: random numbers of the patient.
        leads: names of the two leads.
        reference: index of the lead in which beats are annotated.
        paced: whether a pacemaker sets the rhythm.
        has_fusion: whether F beats occur.
    """
    vectors = np.array([_LEAD_VECTORS[lead] for lead in leads]) + _spread(rng, 0.06, (2, 3))
    lead = vectors[reference]
    rate_bpm = rng.uniform(60, 75) if paced else rng.uniform(55, 100)
    rr_s = 60 / rate_bpm
    root_rr = np.sqrt(rr_s)

    normal, ectopic, stimulated = _draw_beats(rng, root_rr, lead, upright=paced or has_fusion)
    p_wave = normal.only("P")
    early_p = replace(
        p_wave,
        times=p_wave.times * rng.uniform(0.70, 0.85),
        widths=p_wave.widths * rng.uniform(0.7, 0.9),
        dipoles=p_wave.dipoles * -rng.uniform(0.6, 1.2),
    )
    if rng.random() < 0.4:
        early_p = early_p.only()
    return Patient(
        leads=leads,
        vectors=vectors,
        lead=lead,
        rr_s=rr_s,
        rr_sd=rng.uniform(0.015, 0.035),
        breath_hz=rng.uniform(0.2, 0.32),
        normal=normal,
        ectopic=ectopic,
        paced=stimulated,
        early_p=early_p,
        spike_mv=rng.uniform(1.5, 3.0, 2) * rng.choice([-1.0, 1.0], 2),
        spike_s=rng.uniform(0.001, 0.002),
        spike_lead_s=root_rr * rng.uniform(0.085, 0.10),
        wander_mv=rng.uniform(0.03, 0.12, 2),
        hum_mv=rng.uniform(0.002, 0.010, 2),
        muscle_mv=rng.uniform(0.008, 0.025, 2),
        offset_mv=rng.uniform(-0.3, 0.1, 2),
    )


def _draw_beats(
    rng: np.random.Generator, root_rr: float, lead: FloatArray, *, upright: bool
) -> tuple[Waves, Waves, Waves]:
    """Return a patient's normal, ventricular and paced beat.

    Where fusion occurs, ventricular beats are `upright`: opposite ones would cancel the R wave.
    """
    # Columns: angle and width (rad), dipole (mV).
    normal = _draw_waves(
        rng,
        root_rr,
        [
            ("P", -1.08, 0.15, (0.08, 0.13, 0.03)),
            ("QRS", -0.21, 0.06, (-0.15, -0.12, 0.25)),
            ("QRS", 0.00, 0.07, (0.75, 0.85, -0.55)),
            ("QRS", 0.21, 0.07, (-0.25, -0.20, -0.35)),
            ("T", 1.40, 0.42, (0.11, 0.11, 0.04)),
            ("T", 1.75, 0.27, (0.14, 0.14, 0.06)),
        ],
    ).centred(lead)
    r_mv = rng.uniform(0.9, 1.7)
    t_factor = np.where(normal.kinds == "T", rng.uniform(0.7, 1.5), 1.0)
    normal = normal.scaled(t_factor * r_mv / normal.peak(lead))

    upright = upright or rng.random() < 0.5
    focus = np.array([0.40, 0.80, -0.30] if upright else [0.15, -0.80, 0.40])
    ectopic = _draw_wide_waves(rng, root_rr, focus).centred(lead)
    ectopic = ectopic.scaled(r_mv * rng.uniform(1.3, 1.8) / ectopic.peak(lead))
    stimulated = _draw_wide_waves(rng, root_rr, np.array([0.25, -0.85, -0.35])).centred(lead)
    stimulated = stimulated.scaled(rng.uniform(1.1, 1.9) / stimulated.peak(lead))
    return normal, ectopic, stimulated


def draw_beat(rng: np.random.Generator, patient: Patient, aami_class: str, *, paced: bool) -> Waves:
    """Return the waves of one beat of a class, main QRS deflection at 0 s."""
    if aami_class == "N":
        return patient.normal
    if aami_class == "S":
        return patient.early_p.plus(patient.normal.only("QRS", "T"))
    if aami_class == "V":
        return patient.ectopic
    if aami_class == "F":
        share = rng.uniform(0.35, 0.65)
        own = patient.normal.only("QRS", "T").scaled(1 - share)
        fusion = own.plus(patient.ectopic.scaled(share)).centred(patient.lead)
        return patient.normal.only("P").plus(fusion)
    if paced:
        return patient.paced
    share = rng.uniform(0.2, 0.8)
    mixed = patient.normal.scaled(1 - share).plus(patient.ectopic.scaled(share))
    n = len(mixed.times)
    swelling = np.where(mixed.kinds == "QRS", rng.uniform(0.9, 1.9, n), 1.0)
    return replace(
        mixed,
        times=mixed.times * rng.uniform(0.9, 1.3, n),
        widths=mixed.widths * swelling,
        dipoles=mixed.dipoles * rng.lognormal(0, 0.4, (n, 1)),
    ).centred(patient.lead)


def _draw_waves(rng: np.random.Generator, root_rr: float, table: list[tuple[Any, ...]]) -> Waves:
    """Turn a table of kind, angle, width and dipole into one patient's waves."""
    n = len(table)
    kinds, angles, widths, dipoles = (np.array(column) for column in zip(*table, strict=True))
    seconds = root_rr / (2 * np.pi)
    length = np.linalg.norm(dipoles, axis=1, keepdims=True)
    return Waves(
        times=angles * seconds * (1 + _spread(rng, 0.04, n)),
        widths=widths * seconds * (1 + _spread(rng, 0.08, n)),
        dipoles=dipoles + length * _spread(rng, 0.10, (n, 3)),
        kinds=kinds,
    )


def _draw_wide_waves(rng: np.random.Generator, root_rr: float, focus: FloatArray) -> Waves:
    """Return waves of a beat that starts in a ventricle: no P, wide QRS, opposite T."""
    return _draw_waves(
        rng,
        root_rr,
        [
            ("QRS", -0.23, 0.16, 0.45 * focus),
            ("QRS", 0.00, 0.17, 1.00 * focus),
            ("QRS", 0.30, 0.15, 0.50 * focus),
            ("T", 1.35, 0.45, -0.25 * focus),
            ("T", 1.80, 0.35, -0.30 * focus),
        ],
    )


def _spread(rng: np.random.Generator, sd: float, shape: int | tuple[int, ...]) -> FloatArray:
    """Return normal draws cut at 2 standard deviations."""
    return sd * np.clip(rng.normal(size=shape), -2, 2)
