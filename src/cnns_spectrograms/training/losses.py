"""The class-balanced focal loss with label smoothing.

Shapes: B a batch, C the classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# The base of (1 - p) ** gamma: with gamma below 1 its gradient is infinite at a base of 0.
_SMALLEST_BASE = 1e-6


class ClassBalancedFocalLoss(nn.Module):
    r"""Focal loss (Lin et al. 2017, ICCV, eq. 4 and 5) with class-balanced weights as its alpha.

    The weights are those of Cui et al. (2019, CVPR, eq. 2 to 4); see `balancing.class_weights`.
    For a row with true class t, softmax probabilities p and weight w_t it is

        l = w_t * (1 - p_t) ** gamma * sum_k -q_k * log(p_k),
        q_k = (1 - label_smoothing) * [k = t] + label_smoothing / C,

    so smoothing changes the cross-entropy alone, and not the two factors before it. A batch's
    loss is the weighted mean, sum(l) / sum(w_t), as in ``torch.nn.CrossEntropyLoss(weight)``,
    which it equals at gamma 0 without smoothing. All is computed in float32, under autocast too.

    Args:
        class_weights: (C,) positive weights; only their ratios matter.
        gamma: focusing parameter, 0 or more; 0 gives the cross-entropy.
        label_smoothing: from 0 to below 1.
    """

    class_weights: Tensor

    def __init__(self, class_weights: Tensor, gamma: float, label_smoothing: float) -> None:
        super().__init__()
        weights = torch.as_tensor(class_weights, dtype=torch.float32).clone()
        assert ((weights > 0) & (weights < math.inf)).all(), f"class_weights is {weights.tolist()}"
        self.gamma = gamma
        self.label_smoothing = label_smoothing
        # Not persistent: the weights belong to the run, not to the trained network.
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted mean loss of a batch.

        Args:
            logits: (B, C) float, any precision.
            targets: (B,) int64 class indices.
        """
        terms, weights = self.compute_terms(logits, targets)
        return terms.sum() / weights.sum()

    def compute_terms(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each row's l and w_t, float32 (B,) each; their sums' ratio is the loss.

        Summed over many batches they give the loss of a whole split, whatever the batch size.
        """
        with torch.autocast(logits.device.type, enabled=False):
            log_p_BC = functional.log_softmax(logits.float(), dim=1)
            log_p_B = log_p_BC.gather(1, targets[:, None]).squeeze(1)
            smooth = self.label_smoothing
            terms_B = -(1 - smooth) * log_p_B - smooth * log_p_BC.mean(dim=1)
            if self.gamma > 0:
                base_B = (-torch.expm1(log_p_B)).clamp_min(_SMALLEST_BASE)
                terms_B = base_B.pow(self.gamma) * terms_B
            weights_B = self.class_weights[targets]
            return weights_B * terms_B, weights_B
