"""Typed parameters: every value a pipeline reads, with its unit, bounds and default.

Kedro builds these models from the nodes' annotations before any node runs, so a wrong
type, range or key fails at once. Defaults follow the system this project starts from where
that states a value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

CORRECTED = "corrected"
"""Database of recordings that a person has corrected, see `corrections.database`."""

UPLOADED = "upload"
"""Stands for the database of a recording of none, in names of corrected records and patients."""

# YAML reads `100` as a number; a record's name is text.
RecordId = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)]


class Parameters(BaseModel):
    """Base of all parameter models: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def _require_below(self, low: str, high: str) -> None:
        values = getattr(self, low), getattr(self, high)
        if values[0] >= values[1]:
            raise ValueError(f"{low} ({values[0]}) must be below {high} ({values[1]})")


def _require_each_once(where: str, names: list[str], reason: str) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{where} {repeated} more than once; {reason}")


def _check_database(name: str) -> str:
    if re.search(r"[/\\\s]", name) or name in (CORRECTED, UPLOADED, "AUG"):
        raise ValueError(
            f"found the database {name!r}; expected the name of a folder without slashes and "
            f"blanks, and none of {CORRECTED}, {UPLOADED} and AUG, which stand for other "
            f"recordings; rename the folder"
        )
    return name


DatabaseName = Annotated[str, AfterValidator(_check_database)]


class ExecutionParameters(Parameters):
    """How work fans out over machines; no fingerprint depends on it.

    Images come out the same for any ``n_jobs``. Processes that train together share each batch,
    but draw their own random numbers and normalise over their own rows: another number of them
    is like another seed.
    """

    n_jobs: int = Field(-1, description="joblib workers; -1 takes every core")
    backend: Literal["loky", "dask", "ray"] = Field(
        "loky", description="loky: processes of this machine; dask, ray: a cluster (extras)"
    )
    address: str | None = Field(
        None, description="of a running Dask or Ray cluster; null starts one on this machine"
    )
    check_files: bool = Field(
        False, description="look at every image of a finished cache, and draw damaged ones again"
    )
    training_processes: int = Field(
        1, ge=1, description="processes that train one network, on each host; one a GPU"
    )
    training_hosts: int = Field(1, ge=1, description="hosts that train one network")
    training_endpoint: str | None = Field(
        None,
        pattern=r"^[^:\s]+:\d+$",
        description="host:port of this host as the others reach it; null: its name, port 29400",
    )

    @model_validator(mode="after")
    def _check_address(self) -> ExecutionParameters:
        if self.address is not None and self.backend == "loky":
            raise ValueError(
                f"address is {self.address!r}, but backend is loky, which knows no cluster; set "
                f"backend to dask or ray, or address to null"
            )
        return self


class SimulationParameters(Parameters):
    """The synthetic databases of the `demo` environment."""

    seed: int = Field(0, ge=0)
    n_mitdb_records: int = Field(12, ge=3, le=99)
    n_svdb_records: int = Field(8, ge=3, le=99)
    duration_s: float = Field(90.0, ge=30, le=1800)


class RecordParameters(Parameters):
    """What is known of a record beyond its files."""

    patient: RecordId | None = Field(
        None, min_length=1, description="same for all records of a patient; null: the record's own"
    )
    lead: str | None = Field(
        None, min_length=1, description="first lead read; null: ingestion.preferred_lead"
    )


def _expand_patient(value: Any) -> Any:
    if isinstance(value, (str, int)):
        return {"patient": value}
    if value is None or isinstance(value, (dict, RecordParameters)):
        return value or {}
    raise ValueError(f"found {value!r}; expected a patient, or {{patient: ..., lead: ...}}")


def _kind_of_records(value: Any) -> str | None:
    if isinstance(value, dict):
        return "map"
    return "list" if isinstance(value, (list, tuple)) else None


# Tagged, so that an error is about the form that was given, and not about both.
Records = Annotated[
    Annotated[list[RecordId], Tag("list")]
    | Annotated[
        dict[RecordId, Annotated[RecordParameters, BeforeValidator(_expand_patient)]], Tag("map")
    ],
    Discriminator(
        _kind_of_records,
        custom_error_type="records",
        custom_error_message="expected null, a list of records, or a map record -> patient or "
        "record -> {patient: ..., lead: ...}",
    ),
]


class IngestionParameters(Parameters):
    """Which recordings are read, and how they are brought to one form."""

    databases: dict[DatabaseName, Records | None] = Field(
        description="database name -> its records, as a list or with what is known of each; null "
        "takes every record in RECORDS"
    )
    download: bool = Field(True, description="fetch a missing database from PhysioNet")
    fs: int = Field(
        360, ge=100, le=2000, description="target sampling rate, Hz; the detector needs 100"
    )
    preferred_lead: str | None = Field(
        "MLII",
        description="read where a record has it, by this name or another (II); else the first lead "
        "called ECG, else the first; null: no lead is preferred",
    )
    n_leads: int = Field(
        1,
        ge=1,
        le=12,
        # Data and weights from when one lead was read keep their fingerprints.
        exclude_if=lambda n: n == 1,
        description="leads of a record that are read: the preferred one, then others called ECG; "
        "each gives windows of its own, and a beat has their mean probabilities",
    )
    on_bad_record: Literal["raise", "skip"] = "raise"
    other_annotations: Literal["Q"] | None = Field(
        None,
        description="class of a window around each annotation that is no beat, such as noise or a "
        "change of rhythm; null leaves them out, as EC57 does",
    )
    corrections: str | None = Field(
        None,
        min_length=1,
        # Data from before there were corrections keep their fingerprints.
        exclude_if=lambda folder: folder is None,
        description="folder of recordings corrected in the app, which join as the database "
        "'corrected'; null: none",
    )

    @model_validator(mode="after")
    def _check_records_once(self) -> IngestionParameters:
        for db, records in self.databases.items():
            listed = records if isinstance(records, list) else []
            _require_each_once(f"databases.{db} lists", listed, "list each record once")
        return self

    def known_records(self) -> dict[str, RecordParameters]:
        """Return what is known of records, by `db/record_id`."""
        return {
            f"{db}/{record_id}": known
            for db, records in self.databases.items()
            if isinstance(records, dict)
            for record_id, known in records.items()
        }


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
    records: dict[DatabaseName, dict[Literal["train", "val", "test", "unused"], list[RecordId]]]

    @model_validator(mode="after")
    def _check_records_once(self) -> SplitParameters:
        for db, splits in self.records.items():
            every = [record_id for record_ids in splits.values() for record_id in record_ids]
            _require_each_once(f"{db} lists", every, "a record belongs to one split")
        return self


class TransformParameters(Parameters):
    """How a stretch of signal is drawn over time and frequency."""

    kind: str = Field(
        "stft",
        # Caches and weights from before there were kinds keep their fingerprints.
        exclude_if=lambda kind: kind == "stft",
        description="one of `imaging.kinds.KINDS`",
    )
    nperseg: int = Field(ge=8, description="STFT segment, samples")
    noverlap: int = Field(ge=0, description="overlap of segments, samples")
    max_frequency_hz: float = Field(gt=0)

    @model_validator(mode="after")
    def _check_overlap(self) -> TransformParameters:
        self._require_below("noverlap", "nperseg")
        return self


class ViewParameters(TransformParameters):
    """A further channel of an image: another stretch of signal, at another resolution."""

    of: Literal["beat", "difference"] = Field(
        description="the signal around the beat, or what is left of it without the typical beat "
        "of its record (`ecg.windows.make_typical_beats`)"
    )
    window_s: float = Field(ge=0.25, le=30, description="length, s, centred on the R peak")


class SpectrogramParameters(TransformParameters):
    """Everything that shapes the pixels of a spectrogram, given its window."""

    image_size: int = Field(224, ge=16, le=1024, description="height and width, pixels")
    nperseg: int = Field(128, ge=8, description="STFT segment, samples")
    noverlap: int = Field(64, ge=0, description="overlap of segments, samples")
    max_frequency_hz: float = Field(60.0, gt=0)
    low_percentile: float = Field(1.0, ge=0, le=100)
    high_percentile: float = Field(99.0, ge=0, le=100)
    extra_views: tuple[ViewParameters, ...] = Field(
        (), description="none: a grey image; two: the second and third channel of a colour image"
    )

    @model_validator(mode="after")
    def _check_views(self) -> SpectrogramParameters:
        if len(self.extra_views) not in (0, 2):
            raise ValueError(
                f"extra_views holds {len(self.extra_views)} views; give none (a grey image) or two "
                f"(a colour image of three channels)"
            )
        self._require_below("low_percentile", "high_percentile")
        return self

    @property
    def n_channels(self) -> int:
        """Channels of an image, 1 or 3."""
        return 1 + len(self.extra_views)

    def view_lengths(self, fs: float, n_samples: int) -> list[tuple[str, int]]:
        """Return what each channel is drawn from: (`ViewParameters.of`, samples).

        A window that is drawn holds these stretches of signal one after another.

        Args:
            fs: sampling rate, Hz.
            n_samples: length of the first, the window itself, samples.
        """
        extra = [(view.of, round(view.window_s * fs)) for view in self.extra_views]
        return [("beat", n_samples), *extra]

    def typical_beat_length(self, fs: float) -> int:
        """Return the length of the longest stretch of the typical beat that is used, samples."""
        return max((n for of, n in self.view_lengths(fs, 0) if of == "difference"), default=0)


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
    crop_scale: float = Field(0.9, gt=0, le=1, description="smallest area a resized crop keeps")
    time_mask: float = Field(0.0, ge=0, lt=1, description="widest mask, share of width")
    frequency_mask: float = Field(0.0, ge=0, lt=1, description="highest mask, share of height")
    mixup_alpha: float = Field(0.0, ge=0, description="of the Beta law of mixup; 0: none")


class TrainingParameters(Parameters):
    """The recipe shared by all models."""

    seed: int = Field(0, ge=0)
    pretrained: bool = Field(
        True,
        description="ImageNet weights to start from, of models that name none; false: random",
    )
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    batch_size: int = Field(64, ge=2)
    max_epochs: int = Field(15, ge=1)
    samples_per_epoch: int | None = Field(
        None, ge=1, description="draws an epoch; null draws as many as train has rows"
    )
    val_stride: int = Field(
        1,
        ge=1,
        description="every k-th val window of the most frequent class judges an epoch, and counts "
        "for k, and all of the others; 1: all",
    )
    images: Literal["cache", "memory"] = Field(
        "cache", description="read from the cache, or drawn from the signals on the device"
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
        "auto", description="auto: 16-mixed on CUDA, bf16-mixed on CPUs with AMX, else 32-true"
    )
    num_workers: int = Field(2, ge=0, description="processes that read the cache")
    tta_views: int = Field(0, ge=0, description="augmented views averaged at prediction")
    augmentation: AugmentationParameters = AugmentationParameters()


class ModelParameters(Parameters):
    """One network: any timm model name."""

    timm_name: str
    pretrained: bool | Path | None = Field(
        None,
        description="true: ImageNet weights from the hub; false: random weights; a path: a local "
        "weights file; null: as `training.pretrained`",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="before the linear head")
    rr_intervals: bool = Field(
        False, description="join the RR intervals around the beat to the image's features"
    )

    def inherit(self, training: TrainingParameters) -> ModelParameters:
        """Return these, with the weights to start from of `training` where they name none."""
        if self.pretrained is not None:
            return self
        return self.model_copy(update={"pretrained": training.pretrained})


class SubsetParameters(Parameters):
    """A named part of the test split that is scored on its own."""

    databases: list[str] = Field(min_length=1)
    without: dict[str, list[RecordId]] = Field(
        default_factory=dict, description="database name -> records that are left out"
    )
    classes: list[Literal["N", "S", "V", "F", "Q"]] | None = Field(
        None, min_length=2, description="the classes that beats have and are called; null: all"
    )

    @model_validator(mode="after")
    def _check_classes_once(self) -> SubsetParameters:
        _require_each_once("classes names", [*(self.classes or [])], "name each class once")
        return self


class RobustnessParameters(Parameters):
    """What `kedro run --pipelines=robustness` does to the test signals."""

    records: dict[str, list[RecordId]] | None = Field(
        None, description="database -> test records; null takes every record of test"
    )
    noises: list[str] = Field(["bw", "em", "ma"], description="noise records of nstdb")
    snr_db: list[float] = Field([24, 18, 12, 6, 0, -6], description="of the noisy parts, dB")
    clean_s: float = Field(300, ge=0, description="clean beginning of each record, s")
    alternate_s: float = Field(120, gt=0, description="length of each noisy or clean part, s")
    resample_hz: int | None = Field(128, ge=50, description="there and back; null leaves it out")


class ReportingParameters(Parameters):
    """What is scored, and what the figures show."""

    subsets: dict[str, SubsetParameters | None] = Field(
        default_factory=dict,
        description="parts of the test split scored on their own; null leaves one out",
    )
    n_resamples: int = Field(2000, ge=100, description="draws of patients for the intervals")
    learning_period_s: float = Field(
        300, ge=0, description="beginning of each record that EC57 does not score, s"
    )
    test_annotator: str | None = Field(
        None,
        description="annotation files beside the reference that EC57 scores; null: predictions",
    )
    robustness: RobustnessParameters = RobustnessParameters()
    synthetic_data: bool = Field(False, description="mark every figure as one of simulated data")
    seed: int = Field(0, ge=0)

    def entitle(self, title: str) -> str:
        """Return a figure's title, which says where the recordings are simulated."""
        return f"synthetic data: {title}" if self.synthetic_data else title

    @model_validator(mode="after")
    def _check_subset_names(self) -> ReportingParameters:
        # A name becomes part of that of a metric, of which MLflow takes no other signs.
        bad = [name for name in self.subsets if not re.fullmatch(r"(?!test$)[\w .-]+", name)]
        if bad:
            raise ValueError(
                f"subsets are named {bad}; use letters, digits, spaces, '_', '-' and '.', and not "
                f"'test', which is the whole test split"
            )
        return self


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class InferenceParameters(Parameters):
    """Which of your own recordings are analysed, and how."""

    recordings: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        description="WFDB records, files of other formats, ZIP archives or folders of these"
    )
    model: str | None = Field(
        None,
        description="file of a model, name of a shipped one, MLflow URI or run; null: the default",
    )
    accurate: bool = Field(False, description="the mean of the shipped models")
    lead: RecordId | None = Field(None, description="name or index; null: that of training")
    fs: float | None = Field(None, gt=0, description="sampling rate of CSV files, Hz")
    columns: Annotated[tuple[str, ...] | None, BeforeValidator(_as_list)] = Field(
        None, min_length=1, description="columns of CSV files that are leads; null guesses"
    )
    peaks: str | None = Field(
        None, description="annotations of the beats: extension or file; null detects"
    )
    sliding: bool = Field(
        False, description="windows every 0.5 s instead of beats, of a network trained so"
    )
    report: bool = Field(True, description="an HTML page per recording")
    count_unusable: bool = Field(
        False, description="count the beats of stretches of unusable signal too"
    )
