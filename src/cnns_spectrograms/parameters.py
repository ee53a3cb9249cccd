"""Typed parameters: every value a pipeline reads, with its unit, bounds and default.

Kedro builds these models from the nodes' annotations before any node runs, so a wrong
type, range or key fails at once. Defaults follow the system this project starts from where
that states a value.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

# YAML reads `100` as a number; a record's name is text.
RecordId = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)]


class Parameters(BaseModel):
    """Base of all parameter models: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def fingerprint(value: Any) -> str:
    """Return the SHA-256 hex digest of a JSON-serialisable value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class ExecutionParameters(Parameters):
    """How work fans out over this machine; never changes a result."""

    n_jobs: int = Field(-1, description="joblib workers; -1 takes every core")

    @model_validator(mode="after")
    def _check_n_jobs(self) -> ExecutionParameters:
        if self.n_jobs == 0:
            raise ValueError("n_jobs is 0; give a number of workers, or -1 for every core")
        return self


class SimulationParameters(Parameters):
    """The synthetic databases of the `demo` environment."""

    seed: int = Field(0, ge=0)
    n_mitdb_records: int = Field(12, ge=3, le=99)
    n_svdb_records: int = Field(8, ge=3, le=99)
    duration_s: float = Field(90.0, ge=30, le=1800)


class IngestionParameters(Parameters):
    """Which recordings are read, and how they are brought to one form."""

    databases: dict[str, list[RecordId] | None] = Field(
        description="database name -> its records; null takes every record in RECORDS"
    )
    download: bool = Field(True, description="fetch a missing database from PhysioNet")
    fs: int = Field(360, ge=50, le=2000, description="target sampling rate, Hz")
    preferred_lead: str | None = Field(
        "MLII", description="read where a record has it, else its first lead; null: the first"
    )
    on_bad_record: Literal["raise", "skip"] = "raise"


class WindowParameters(Parameters):
    """How beats become windows."""

    mode: Literal["beat", "sliding"] = "beat"
    window_s: float = Field(2.5, ge=0.5, le=30, description="window length, s")
    step_s: float = Field(0.5, gt=0, le=30, description="step of sliding windows, s")
    label_rule: Literal["nearest", "majority", "any_abnormal"] = Field(
        "nearest", description="class of a sliding window from the beats in it"
    )


class SplitParameters(Parameters):
    """Who is in which split: written out, record by record."""

    protocol: str
    records: dict[str, dict[Literal["train", "val", "test", "unused"], list[RecordId]]]

    @model_validator(mode="after")
    def _check_records_once(self) -> SplitParameters:
        for db, splits in self.records.items():
            seen: dict[str, str] = {}
            for split, record_ids in splits.items():
                for record_id in record_ids:
                    if record_id in seen:
                        raise ValueError(
                            f"record {db}/{record_id} is listed in '{seen[record_id]}' and in "
                            f"'{split}'; a record belongs to one split, remove it from the other"
                        )
                    seen[record_id] = split
        return self


class SpectrogramParameters(Parameters):
    """Everything that shapes the pixels of a spectrogram, given its window."""

    image_size: int = Field(224, ge=16, le=1024, description="height and width, pixels")
    nperseg: int = Field(128, ge=8, description="STFT segment, samples")
    noverlap: int = Field(64, ge=0, description="overlap of segments, samples")
    max_frequency_hz: float = Field(60.0, gt=0)
    low_percentile: float = Field(1.0, ge=0, le=100)
    high_percentile: float = Field(99.0, ge=0, le=100)

    @model_validator(mode="after")
    def _check_order(self) -> SpectrogramParameters:
        if self.noverlap >= self.nperseg:
            raise ValueError(f"noverlap ({self.noverlap}) must be below nperseg ({self.nperseg})")
        if self.low_percentile >= self.high_percentile:
            raise ValueError(
                f"low_percentile ({self.low_percentile}) must be below "
                f"high_percentile ({self.high_percentile})"
            )
        return self


class BalancingParameters(Parameters):
    """How the train split is balanced; no other split is touched."""

    smote_factor: float = Field(
        5.0, ge=1, le=100, description="size of class F after SMOTE, in multiples of its real size"
    )
    smote_k_neighbors: int = Field(5, ge=1)
    minority_boost: float = Field(
        6.0,
        ge=1,
        description="draws of a beat of any other class for one of a beat of the most frequent",
    )
    class_weight_beta: float = Field(
        1.0,
        ge=0,
        le=1,
        description="beta of the effective number of samples (Cui 2019): 0 gives equal "
        "weights, 1 inverse-frequency weights",
    )
    seed: int = Field(0, ge=0)


class AugmentationParameters(Parameters):
    """Light augmentation of training images in [0, 1]; 0 switches a part off."""

    brightness: float = Field(0.1, ge=0, lt=1, description="pixels times 1 ± this")
    contrast: float = Field(0.1, ge=0, lt=1, description="spread about the mean, times 1 ± this")
    gain: float = Field(0.1, ge=0, lt=1, description="pixels plus ± this")
    noise_std: float = Field(0.02, ge=0, lt=1, description="Gaussian noise, pixel units")
    crop_scale: float = Field(
        0.9, gt=0, le=1, description="smallest area kept by random resized crop"
    )


class TrainingParameters(Parameters):
    """The recipe shared by all models."""

    seed: int = Field(0, ge=0)
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    batch_size: int = Field(64, ge=2)
    max_epochs: int = Field(15, ge=1)
    samples_per_epoch: int | None = Field(
        None, ge=1, description="draws an epoch; null draws as many as train has rows"
    )
    early_stopping_patience: int = Field(5, ge=1, description="epochs without a better val F1")
    restart_epochs: int = Field(5, ge=1, description="T_0 of cosine annealing, epochs")
    restart_factor: int = Field(2, ge=1, description="T_mult of cosine annealing")
    focal_gamma: float = Field(2.0, ge=0)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    gradient_clip_norm: float = Field(1.0, gt=0)
    max_bad_batches: int = Field(10, ge=1, description="non-finite losses in a row that stop a run")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="per step; 0 switches EMA off")
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field(
        "auto", description="auto: 16-mixed on CUDA, bf16-mixed elsewhere"
    )
    num_workers: int = Field(2, ge=0, description="processes that read the cache")
    tta_views: int = Field(0, ge=0, description="augmented views averaged at prediction")
    augmentation: AugmentationParameters = AugmentationParameters()


class ModelParameters(Parameters):
    """One network: any timm model name."""

    timm_name: str
    pretrained: bool | Path = Field(
        True, description="true: ImageNet weights from the hub; a path: a local weights file"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="before the linear head")


class SubsetParameters(Parameters):
    """Test records that are scored on their own, to stand beside published figures."""

    description: str
    records: dict[str, list[RecordId]] = Field(description="database -> records")
    classes: list[Literal["N", "S", "V", "F", "Q"]] = Field(
        ["N", "S", "V", "F", "Q"], min_length=1, description="classes of the truth that count"
    )


class BootstrapParameters(Parameters):
    """Intervals over patients."""

    n_resamples: int = Field(2000, ge=100)
    level: float = Field(0.95, gt=0, lt=1)
    seed: int = Field(0, ge=0)


class RobustnessParameters(Parameters):
    """What `kedro run --pipelines=robustness` does to the test signals."""

    records: dict[str, list[RecordId]] | None = Field(
        None, description="database -> test records; null takes every record of test"
    )
    noises: list[str] = Field(["bw", "ma"], description="noise records of nstdb")
    snr_db: list[float] = Field([24, 18, 12, 6, 0, -6], description="of the noisy minutes, dB")
    clean_s: float = Field(300, ge=0, description="clean beginning of each record, s")
    alternate_s: float = Field(120, gt=0, description="length of each noisy or clean part, s")
    resample_hz: int | None = Field(128, ge=50, description="there and back; null leaves it out")


class ReportingParameters(Parameters):
    """What the reports hold."""

    synthetic_data: bool = Field(False, description="say on every figure that data are simulated")
    examples_per_class: int = Field(6, ge=1, le=20, description="columns of the contact sheet")
    seed: int = Field(0, ge=0)
    learning_period_s: float = Field(
        300, ge=0, description="beginning of each record that EC57 does not score, s"
    )
    test_annotator: str | None = Field(
        None,
        description="annotation files beside the reference that EC57 scores; null: predictions",
    )
    subsets: dict[str, SubsetParameters] = Field(default_factory=dict)
    bootstrap: BootstrapParameters = BootstrapParameters()
    robustness: RobustnessParameters = RobustnessParameters()
