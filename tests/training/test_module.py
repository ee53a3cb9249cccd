"""The Lightning module: the guard against NaN with planted faults, schedule and scores."""

from __future__ import annotations

import copy
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnns_spectrograms.parameters import AugmentationParameters, TrainingParameters
from cnns_spectrograms.training.callbacks import EmaWeights
from cnns_spectrograms.training.module import (
    BeatClassifierModule,
    TrainingDivergedError,
    reduce_scores,
)

# Warnings of Lightning on normal use, which `fit_classifier` keeps back with the same reasons.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated"),
]

STEADY = AugmentationParameters(brightness=0, contrast=0, gain=0, noise_std=0, crop_scale=1)


class BadGradient(torch.autograd.Function):
    """Identity whose gradient is infinite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.full_like(gradients[0], math.inf)


class ToyNetwork(nn.Module):
    """A network with normalisation whose n-th training batches go wrong, in one of three ways."""

    def __init__(self, bad_steps: tuple[int, ...] = (), fault: str = "loss") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 5),
        )
        self.bad_steps, self.fault = bad_steps, fault
        self.step = -1

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.step += 1
            if self.step in self.bad_steps and self.fault == "loss":
                images = images * torch.nan  # spoils the statistics of normalisation too
            if self.step in self.bad_steps and self.fault == "gradient":
                images = images.requires_grad_()
                return BadGradient.apply(self.body(images))  # type: ignore[no-any-return]
            if self.step in self.bad_steps and self.fault == "infinite loss":
                # As float16 overflows: without a focal factor the gradients are still finite.
                return self.body(images) - torch.tensor([math.inf, math.inf, 0, 0, 0])
        return self.body(images)  # type: ignore[no-any-return]


def make_batches(n: int, rows: int = 8, image_size: int = 8) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, rows, 1, image_size, image_size, generator=generator)
    labels = torch.randint(5, (n, rows), generator=generator)
    return DataLoader(list(zip(images, labels, strict=True)), batch_size=None)


class Watch(Callback):
    """Keeps all state around every step, and the learning rates."""

    def __init__(self, ema: EmaWeights | None = None) -> None:
        self.ema = ema
        self.before: list[dict[str, Any]] = []
        self.after: list[dict[str, Any]] = []
        self.rates: list[float] = []
        self.rows: list[dict[str, float]] = []

    def take(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        state: dict[str, Any] = {f"weights.{k}": v for k, v in module.state_dict().items()}
        for index, each in trainer.optimizers[0].state_dict()["state"].items():
            state.update({f"optimizer.{index}.{k}": v for k, v in each.items()})
        if self.ema is not None:
            assert self.ema._average_model is not None
            state.update({f"ema.{k}": v for k, v in self.ema._average_model.state_dict().items()})
        return copy.deepcopy(state)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.before.append(self.take(trainer, pl_module))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.after.append(self.take(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.rows.append(pl_module.make_history_row(0.0))


def fit(
    network: nn.Module,
    n_batches: int = 6,
    epochs: int = 1,
    plugins: Any = None,
    image_size: int = 8,
    class_weights: tuple[float, ...] = (1.0,) * 5,
    val_weights: Tensor | None = None,
    **changes: Any,
) -> tuple[Watch, BeatClassifierModule]:
    params = TrainingParameters(**{"augmentation": STEADY, **changes})
    module = BeatClassifierModule(
        network, torch.tensor(class_weights), params, n_batches, val_weights=val_weights
    )
    ema = EmaWeights(0.9)
    watch = Watch(ema)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[ema, watch],
        gradient_clip_val=params.gradient_clip_norm,
        plugins=plugins,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    train, val = (make_batches(n, image_size=image_size) for n in (n_batches, 2))
    trainer.fit(module, train, val)
    return watch, module


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(torch.as_tensor(first[key]), torch.as_tensor(second[key])) for key in first
    )


@pytest.mark.parametrize("fault", ["loss", "gradient", "infinite loss"])
def test_a_bad_batch_changes_nothing(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    focal = {"focal_gamma": 0, "label_smoothing": 0} if fault == "infinite loss" else {}
    watch, module = fit(ToyNetwork((2, 4), fault), max_bad_batches=2, **focal)
    for step in range(6):
        bad = step in (2, 4)
        assert same(watch.before[step], watch.after[step]) == bad, step
        assert all(
            torch.isfinite(torch.as_tensor(value)).all() for value in watch.after[step].values()
        )
    assert any(key.startswith("ema.") for key in watch.after[0])
    assert any("running_mean" in key for key in watch.after[0])
    (row,) = watch.rows
    assert row["bad_batches"] == 2
    assert math.isfinite(row["train_loss"])
    assert math.isfinite(row["val_loss"])
    assert module.bad_in_row == 0
    assert caplog.text.count("is left out") == 2


def test_the_train_loss_is_the_mean_over_good_batches() -> None:
    # Without gradient steps worth the name every batch has the initial loss.
    rate = 1e-12
    clean, _ = fit(ToyNetwork(), n_batches=3, learning_rate=rate)
    # The middle batch is left out: the mean of the first and the last.
    bad, module = fit(ToyNetwork((1,)), n_batches=3, learning_rate=rate)
    losses = []
    for images, labels in make_batches(3):
        losses.append(module.loss(module.network.train()(images), labels).item())
    assert clean.rows[0]["train_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert bad.rows[0]["train_loss"] == pytest.approx(np.mean([losses[0], losses[2]]), rel=1e-4)


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_too_many_bad_batches_in_a_row_end_the_run(fault: str) -> None:
    with pytest.raises(TrainingDivergedError, match=r"3 batches in a row.*epoch 0.*learning_rate"):
        fit(ToyNetwork((2, 3, 4), fault), max_bad_batches=3)


def test_the_row_of_bad_batches_goes_on_into_the_next_epoch() -> None:
    with pytest.raises(TrainingDivergedError, match="3 batches in a row"):
        fit(ToyNetwork((4, 5, 6)), n_batches=6, epochs=2, max_bad_batches=3)


def test_the_row_of_bad_batches_goes_on_after_a_resume() -> None:
    first, second = (
        BeatClassifierModule(ToyNetwork(), torch.ones(5), TrainingParameters(), 1, {"data": "abc"})
        for _ in range(2)
    )
    first.bad_in_row = 2
    checkpoint: dict[str, Any] = {}
    first.on_save_checkpoint(checkpoint)
    assert json.loads(checkpoint["description"]) == {"data": "abc"}
    second.on_load_checkpoint(checkpoint)
    assert second.bad_in_row == 2


def test_an_epoch_without_a_good_batch_has_no_train_loss() -> None:
    watch, _ = fit(ToyNetwork((0, 1)), n_batches=2, max_bad_batches=3)
    assert math.isnan(watch.rows[0]["train_loss"])
    assert watch.rows[0]["bad_batches"] == 2


def test_float16_overflow_lowers_the_scale_and_is_no_bad_batch() -> None:
    # The first steps overflow at this scale; a batch whose loss is NaN is counted even so.
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    with warnings.catch_warnings():
        # The scaler skips the first step, so the schedule moves before the optimiser does.
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        watch, _ = fit(ToyNetwork((20,)), n_batches=30, plugins=[plugin], max_bad_batches=1 + 1)
    unchanged = [same(a, b) for a, b in zip(watch.before, watch.after, strict=True)]
    assert unchanged[0]
    assert unchanged[20]
    assert not unchanged[19]
    assert not unchanged[-1]
    assert scaler.get_scale() < 2.0**24
    assert watch.rows[0]["bad_batches"] == 1


def test_gradients_are_clipped_by_their_norm() -> None:
    module = BeatClassifierModule(ToyNetwork(), torch.ones(5), TrainingParameters(), 1)
    parameters = list(module.network.parameters())
    for each in parameters:
        each.grad = torch.full_like(each, 3.0)
    norm = 3 * math.sqrt(sum(each.numel() for each in parameters))
    optimizer = torch.optim.SGD(parameters)
    module.configure_gradient_clipping(optimizer, 2 * norm)
    assert parameters[0].grad is not None
    assert parameters[0].grad.flatten()[0].item() == 3.0
    module.configure_gradient_clipping(optimizer, norm / 6)
    assert parameters[0].grad.flatten()[0].item() == pytest.approx(0.5, rel=1e-4)
    assert not module.skipped_step


def test_the_learning_rate_follows_cosine_annealing_with_restarts() -> None:
    watch, _ = fit(
        ToyNetwork(), n_batches=4, epochs=7, learning_rate=0.01, restart_epochs=2, restart_factor=2
    )
    # Cycles of 2, then 4 epochs: Loshchilov and Hutter (2017), eq. 5, with eta_min 0.
    expected = [
        0.005 * (1 + math.cos(math.pi * step / (4 * length)))
        for length in (2, 4)
        for step in range(4 * length)
    ]
    expected += [0.005 * (1 + math.cos(math.pi * step / 32)) for step in range(4)]
    assert watch.rates == pytest.approx(expected)
    assert [row["learning_rate"] for row in watch.rows] == pytest.approx(expected[::4])
    assert [row["epoch"] for row in watch.rows] == list(range(7))


@pytest.mark.parametrize("val_weights", [None, (16.0, 1.0, 1.0, 2.5, 1.0)])
def test_validation_scores_are_those_of_the_averaged_weights(
    val_weights: tuple[float, ...] | None,
) -> None:
    given = None if val_weights is None else torch.tensor(val_weights)
    class_weights = (0.3, 1.0, 0.5, 2.0, 1.2)
    watch, module = fit(
        ToyNetwork(), learning_rate=0.01, class_weights=class_weights, val_weights=given
    )
    network = ToyNetwork().eval()
    prefix = "ema.module.network."
    state = {k.removeprefix(prefix): v for k, v in watch.after[-1].items() if k.startswith(prefix)}
    network.load_state_dict(state)
    images, labels = (torch.cat(each) for each in zip(*make_batches(2), strict=True))
    with torch.inference_mode():
        logits = network(images)
        terms = module.loss.compute_terms(logits, labels)[0].numpy()
    truth, chosen = labels.numpy(), logits.argmax(dim=1).numpy()
    weights = np.ones(len(truth)) if val_weights is None else np.array(val_weights)[truth]
    row = watch.rows[0]
    loss = (weights * terms).sum() / (weights * np.array(class_weights)[truth]).sum()
    assert row["val_loss"] == pytest.approx(loss, rel=1e-5)
    if val_weights is None:
        assert loss == pytest.approx(module.loss(logits, labels).item(), rel=1e-5)
    assert row["val_accuracy"] == pytest.approx(
        accuracy_score(truth, chosen, sample_weight=weights)
    )
    present = np.unique(truth)
    expected = f1_score(
        truth, chosen, labels=present, average="macro", zero_division=0, sample_weight=weights
    )
    assert row["val_macro_f1"] == pytest.approx(expected)


@pytest.mark.parametrize("present", [(0, 1, 2, 3, 4), (0, 2, 4), (3,)])
def test_macro_f1_is_over_the_classes_in_the_truth(present: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    truth, chosen = rng.choice(present, 200), rng.integers(0, 5, 200)
    counts = confusion_matrix(truth, chosen, labels=range(5))
    macro_f1, accuracy = reduce_scores(torch.from_numpy(counts))
    expected = f1_score(truth, chosen, labels=list(present), average="macro")
    assert macro_f1 == pytest.approx(expected)
    assert accuracy == pytest.approx(accuracy_score(truth, chosen))


def test_a_validation_loss_that_is_not_finite_gives_no_f1() -> None:
    class Diverging(ToyNetwork):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return logits if self.training else logits * torch.nan

    watch, _ = fit(Diverging())
    assert math.isnan(watch.rows[0]["val_loss"])
    assert math.isnan(watch.rows[0]["val_macro_f1"])


def test_only_training_images_are_augmented() -> None:
    seen: dict[bool, list[Tensor]] = {True: [], False: []}

    class Recorder(ToyNetwork):
        def forward(self, images: Tensor) -> Tensor:
            seen[self.training].append(images)
            return super().forward(images)

    fit(Recorder(), n_batches=2, augmentation=AugmentationParameters(noise_std=0.1))
    given = [images for images, _ in make_batches(2)]
    assert all(torch.equal(a, b) for a, b in zip(seen[False], given, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(seen[True], given, strict=True))


def test_bytes_are_scaled_to_one() -> None:
    module = BeatClassifierModule(ToyNetwork(), torch.ones(5), TrainingParameters(), 1)
    module.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    images = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    scaled = module.prepare_images(images)
    torch.testing.assert_close(scaled.flatten(), torch.tensor([0, 0.2, 1]))
