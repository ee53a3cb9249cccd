"""The Lightning module: loss, optimiser, validation scores, and the guard against NaN.

Shapes: images_BCHW, float in [0, 1]; labels_B, int64; rr_BR, RR features where the network
takes them. A batch is (images, labels) or (images, labels, rr).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics.aggregation import SumMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from cnns_spectrograms.parameters import TrainingParameters
from cnns_spectrograms.training.augmentation import augment_images, mix_up
from cnns_spectrograms.training.data import epoch_seed
from cnns_spectrograms.training.losses import ClassBalancedFocalLoss

logger = logging.getLogger(__name__)


class TrainingDivergedError(ValueError):
    """Training gave no finite numbers, too often to go on."""


class BeatClassifierModule(LightningModule):
    """Trains a network that takes images_BCHW, and rr_BR if batches hold them, and returns logits.

    AdamW; cosine annealing with warm restarts, stepped after every batch, so that a cycle of
    ``restart_epochs`` epochs falls smoothly (Loshchilov and Hutter 2017, ICLR, eq. 5).

    A batch whose loss, or the norm of whose gradients, is not finite changes nothing: neither
    weights nor optimiser, nor the statistics of batch normalisation (which one forward pass with
    NaN would spoil for good), nor the average of the weights. It is counted, and
    ``max_bad_batches`` in a row end the run. With float16, gradients that overflow under a finite
    loss are not counted while the scaler still lowers its scale.

    Args:
        network: the network, trained in place.
        class_weights: (C,) of the loss.
        params: the recipe.
        steps_per_epoch: batches per epoch, on this rank.
        description: everything that shapes the result; goes into the checkpoints.
        val_weights: (C,) number of val rows that each judged row of a class stands for; None: one.
    """

    val_weights: Tensor

    def __init__(
        self,
        network: nn.Module,
        class_weights: Tensor,
        params: TrainingParameters,
        steps_per_epoch: int,
        description: Mapping[str, Any] | None = None,
        val_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.loss = ClassBalancedFocalLoss(
            class_weights, params.focal_gamma, params.label_smoothing
        )
        self.params = params
        self.steps_per_epoch = steps_per_epoch
        self.description = json.dumps(dict(description or {}))
        # Two sums: a MeanMetric that lets NaN pass ignores its weights (torchmetrics 1.9).
        self.val_loss = SumMetric(nan_strategy="disable")
        self.val_loss_weight = SumMetric(nan_strategy="disable")
        self.val_confusion = MulticlassConfusionMatrix(num_classes=len(class_weights))
        weights = torch.ones(len(class_weights)) if val_weights is None else val_weights
        self.register_buffer("val_weights", weights, persistent=False)
        self.skipped_step = False
        """Whether the batch just trained was left out."""
        self.bad_in_row = 0
        self._batch_loss = torch.zeros(())
        self._loss_sum = torch.zeros((), dtype=torch.float64)
        self._n_good, self._n_bad = 0, 0
        self._learning_rate = params.learning_rate
        self._val_row: dict[str, float] = {}
        self._buffers_kept: list[tuple[list[Tensor], list[Tensor]]] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW, and the cosine schedule counted in batches."""
        # Scaled gradients must be unscaled before they are clipped, which a fused step does not do.
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.params.learning_rate,
            weight_decay=self.params.weight_decay,
            fused=not scaled,
        )
        scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer,
            T_0=self.params.restart_epochs * self.steps_per_epoch,
            T_mult=self.params.restart_factor,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_fit_start(self) -> None:
        """Allocate a copy of the network's buffers."""
        by_dtype: dict[torch.dtype, list[Tensor]] = {}  # those of one dtype are copied at once
        for buffer in self.network.buffers():
            by_dtype.setdefault(buffer.dtype, []).append(buffer)
        self._buffers_kept = [
            (buffers, [each.detach().clone() for each in buffers]) for buffers in by_dtype.values()
        ]

    def on_train_epoch_start(self) -> None:
        """Fix the random numbers of dropout and augmentation for this epoch."""
        # A function of the epoch: a resumed run equals an uninterrupted one. Every rank
        # has its own rows, so also its own numbers.
        torch.manual_seed(epoch_seed(self.params.seed, self.current_epoch, self.global_rank))
        # On the device: a step need not wait until its loss is known.
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self._n_good, self._n_bad = 0, 0
        self._learning_rate = self.trainer.optimizers[0].param_groups[0]["lr"]

    def prepare_images(self, images: Tensor) -> Tensor:
        """Scale images to [0, 1], and augment those of training."""
        if not images.is_floating_point():
            images = images.float().div_(255)
        if not self.trainer.training:
            return images
        return augment_images(images, self.params.augmentation)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        images, labels, *rr = batch
        images = self.prepare_images(images)
        with torch.no_grad():
            for buffers, copies in self._buffers_kept:
                torch._foreach_copy_(copies, buffers)
        if self.params.augmentation.mixup_alpha > 0:
            alpha = self.params.augmentation.mixup_alpha
            images, rr, partner, share = mix_up(images, rr, alpha)
            logits = self.network(images, *rr)
            other = self._compute_loss(logits, labels[partner])
            loss = torch.lerp(other, self._compute_loss(logits, labels), share)
        else:
            loss = self._compute_loss(self.network(images, *rr), labels)
        self._batch_loss = loss.detach()
        # A loss that is not finite gives gradients that are not, here and, once DDP has summed
        # them, on every rank: so all ranks leave the batch out together.
        return loss * torch.where(torch.isfinite(self._batch_loss), 1.0, torch.nan)

    def _compute_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return this rank's part of the batch's loss; the mean over all ranks is the loss."""
        terms, weights = self.loss.compute_terms(logits, labels)
        total = weights.sum()
        if self.trainer.world_size > 1:
            # Weights differ between ranks, so the mean of their weighted means is another.
            torch.distributed.all_reduce(total)
            total = total / self.trainer.world_size
        return terms.sum() / total

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients by their norm, or leave the batch out if that is not finite."""
        max_norm = math.inf if gradient_clip_val is None else float(gradient_clip_val)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), max_norm)
        self.skipped_step = not bool(torch.isfinite(norm))
        if not self.skipped_step:
            self.bad_in_row = 0
            self._n_good += 1
            self._loss_sum += self._batch_loss
            return
        optimizer.zero_grad(set_to_none=True)  # the step that follows finds nothing to do
        with torch.no_grad():
            for buffers, copies in self._buffers_kept:
                torch._foreach_copy_(buffers, copies)
        if not self._is_scale_search():
            self._count_bad_batch()

    def _is_scale_search(self) -> bool:
        """Return whether float16 overflowed in the gradients alone: the scaler lowers its scale."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is None or scaler.get_scale() <= 1:
            return False
        bad_loss = not bool(torch.isfinite(self._batch_loss))
        return not self.trainer.strategy.reduce_boolean_decision(bad_loss, all=False)

    def _count_bad_batch(self) -> None:
        self._n_bad += 1
        self.bad_in_row += 1
        logger.warning(
            "Epoch %d: a batch gave no finite loss or gradient and is left out (%d in a row)",
            self.current_epoch,
            self.bad_in_row,
        )
        if self.bad_in_row >= self.params.max_bad_batches:
            raise TrainingDivergedError(
                f"{self.bad_in_row} batches in a row gave no finite loss or gradient in epoch "
                f"{self.current_epoch} (max_bad_batches); lower learning_rate, set precision to "
                f"32-true, or look for images or weights that are not finite"
            )

    def on_validation_epoch_start(self) -> None:
        """Under DDP, give all ranks the normalisation statistics of the first, which are saved."""
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Add a batch to the loss and the scores."""
        images, labels, *rr = batch
        logits = self.network(self.prepare_images(images), *rr)
        terms, weights = self.loss.compute_terms(logits, labels)
        stands_for = self.val_weights[labels]
        self.val_loss.update(terms * stands_for)
        self.val_loss_weight.update(weights * stands_for)
        self.val_confusion.update(logits.float(), labels)

    def on_validation_epoch_end(self) -> None:
        """Reduce the scores; without a finite loss there is no F1 (early stopping sees that)."""
        loss = float(self.val_loss.compute() / self.val_loss_weight.compute())
        macro_f1, accuracy = reduce_scores(self.val_confusion.compute() * self.val_weights[:, None])
        for metric in (self.val_loss, self.val_loss_weight, self.val_confusion):
            metric.reset()
        if not math.isfinite(loss):
            macro_f1 = math.nan
        self._val_row = {"val_loss": loss, "val_macro_f1": macro_f1, "val_accuracy": accuracy}
        self.log_dict(self._val_row, prog_bar=True, logger=False, sync_dist=True)

    def make_history_row(self, seconds: float) -> dict[str, float]:
        """Return the history row of the epoch that has just ended.

        ``train_loss`` is the mean over good batches, ``learning_rate`` that of the first batch.
        """
        mean = (self._loss_sum / (self._n_good or math.nan)).float()
        train_loss = self.trainer.strategy.reduce(mean.to(self.device), reduce_op="mean")
        return {
            "epoch": self.current_epoch,
            "train_loss": float(train_loss),
            **self._val_row,
            "learning_rate": self._learning_rate,
            "bad_batches": self._n_bad,
            "seconds": seconds,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what shapes the result, as JSON, and the count of bad batches."""
        checkpoint["description"] = self.description
        checkpoint["bad_in_row"] = self.bad_in_row

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the count of bad batches."""
        self.bad_in_row = checkpoint["bad_in_row"]


def reduce_scores(confusion: Tensor) -> tuple[float, float]:
    """Return macro F1 over the classes present in the truth, and accuracy.

    A class without a true row has no sensitivity, so it is left out of the mean; rows taken
    for it count against their own classes.

    Args:
        confusion: (C, C) rows by true class, then by chosen class, each counted by its weight.
    """
    confusion = confusion.double()
    hits, n_true, n_chosen = confusion.diagonal(), confusion.sum(dim=1), confusion.sum(dim=0)
    present = n_true > 0
    f1 = 2 * hits[present] / (n_true + n_chosen)[present]
    return float(f1.mean()), float(hits.sum() / n_true.sum())
