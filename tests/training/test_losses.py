"""The focal loss against hand-worked numbers and torch's cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cnns_spectrograms.training.losses import ClassBalancedFocalLoss

# Softmax of (ln 4, 0) is (0.8, 0.2).
LOGITS = torch.tensor([[math.log(4), 0.0], [math.log(4), 0.0]])
TARGETS = torch.tensor([0, 1])


def draw_batch(n: int = 64, n_classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(n, n_classes, generator=generator)
    return logits, torch.randint(n_classes, (n,), generator=generator)


def test_hand_worked_focal_loss() -> None:
    # Row 0: 1 * 0.2**2 * -ln 0.8 = 0.0089257; row 1: 3 * 0.8**2 * -ln 0.2 = 3.0901208.
    # Their sum over the weights' sum, 1 + 3, is 0.7747616.
    loss = ClassBalancedFocalLoss(torch.tensor([1.0, 3.0]), gamma=2, label_smoothing=0)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(0.7747616, abs=1e-6)


def test_hand_worked_smoothing() -> None:
    # q = (0.95, 0.05): cross-entropy 0.95 * 0.2231436 + 0.05 * 1.6094379 = 0.2924583,
    # times 0.2**2 is 0.0116983; without the focal factor it stays.
    weights = torch.ones(2)
    focal = ClassBalancedFocalLoss(weights, gamma=2, label_smoothing=0.1)
    plain = ClassBalancedFocalLoss(weights, gamma=0, label_smoothing=0.1)
    assert focal(LOGITS[:1], TARGETS[:1]).item() == pytest.approx(0.0116983, abs=1e-6)
    assert plain(LOGITS[:1], TARGETS[:1]).item() == pytest.approx(0.2924583, abs=1e-6)


@pytest.mark.parametrize("weights", [[1, 1, 1, 1, 1], [0.2, 1.0, 3.0, 0.7, 9.0]])
def test_gamma_zero_is_torch_cross_entropy(weights: list[float]) -> None:
    logits, targets = draw_batch()
    ours = ClassBalancedFocalLoss(torch.tensor(weights), gamma=0, label_smoothing=0)
    theirs = nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float32))
    torch.testing.assert_close(ours(logits, targets), theirs(logits, targets))


def test_smoothing_with_equal_weights_is_that_of_torch() -> None:
    logits, targets = draw_batch()
    ours = ClassBalancedFocalLoss(torch.full((5,), 2.0), gamma=0, label_smoothing=0.2)
    theirs = nn.CrossEntropyLoss(label_smoothing=0.2)
    torch.testing.assert_close(ours(logits, targets), theirs(logits, targets))


@given(st.floats(0, 5), st.floats(0, 0.5), st.floats(0.1, 10), st.integers(1, 63))
def test_only_ratios_of_weights_matter_and_terms_add_up(
    gamma: float, smoothing: float, scale: float, cut: int
) -> None:
    logits, targets = draw_batch()
    weights = torch.tensor([0.2, 1.0, 3.0, 0.7, 9.0])
    loss = ClassBalancedFocalLoss(weights, gamma, smoothing)
    whole = loss(logits, targets)
    scaled = ClassBalancedFocalLoss(weights * scale, gamma, smoothing)(logits + 7, targets)
    torch.testing.assert_close(scaled, whole, rtol=1e-4, atol=1e-6)
    parts = [
        loss.compute_terms(logits[part], targets[part]) for part in (slice(cut), slice(cut, None))
    ]
    joined = sum(t.sum() for t, _ in parts) / sum(w.sum() for _, w in parts)
    torch.testing.assert_close(joined, whole, rtol=1e-4, atol=1e-6)


def test_easy_rows_count_less_the_higher_gamma_is() -> None:
    easy = torch.tensor([[4.0, 0.0]])
    hard = torch.tensor([[-1.0, 0.0]])
    target = torch.tensor([0])
    ratios = []
    for gamma in (0.0, 1.0, 2.0):
        loss = ClassBalancedFocalLoss(torch.ones(2), gamma, 0)
        ratios.append((loss(hard, target) / loss(easy, target)).item())
    assert ratios[0] < ratios[1] < ratios[2]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits_give_finite_loss_and_gradient(gamma: float) -> None:
    logits = torch.tensor([[300.0, -300.0], [-300.0, 300.0]], requires_grad=True)
    loss = ClassBalancedFocalLoss(torch.ones(2), gamma, 0.05)(logits, torch.tensor([0, 0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_it_is_computed_in_float32_under_autocast() -> None:
    logits, targets = draw_batch()
    low = logits.bfloat16()
    loss = ClassBalancedFocalLoss(torch.ones(5), 2, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(low, targets)
    assert result.dtype == torch.float32
    assert result.item() == loss(low.float(), targets).item()


def test_the_weights_stay_out_of_the_state_dict() -> None:
    assert not ClassBalancedFocalLoss(torch.ones(5), 2, 0).state_dict()


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, math.nan]])
def test_bad_weights_are_errors(weights: list[float]) -> None:
    with pytest.raises(AssertionError, match="class_weights"):
        ClassBalancedFocalLoss(torch.tensor(weights), 2, 0)
