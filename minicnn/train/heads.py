"""Losses and accuracies of networks with more than one output.

    outputs                          targets   loss                             a sample is right if
    Tensor (N, K, ...)               (N, ...)  cross-entropy                    its largest is
    a tuple of H Tensors (N, K)      (N, H)    the sum over the heads, each     all of them are
                                               against its column
    a named tuple with `logits` and  (N,)      that of logits, plus a share of  `logits` is
    auxiliary heads `aux_...`                  each auxiliary head's

The second is Goodfellow's network for house numbers (arXiv:1312.6082, section 3), the third is
GoogLeNet, whose two auxiliary heads count 0.3 (C. Szegedy et al., CVPR 2015, section 5), and
Inception v3, whose single one counts 0.4 as in torchvision's tutorials.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from ..functional import cross_entropy

_SHARES = {"aux_logits": 0.4, "aux_logits1": 0.3, "aux_logits2": 0.3}


def heads_loss(outputs: Any, targets: Tensor) -> Tensor:
    """The loss of the table above, a mean over the batch.

    ValueError for as many outputs as the targets have no columns.
    """
    if hasattr(outputs, "logits"):
        loss = cross_entropy(outputs.logits, targets)
        for name, share in _SHARES.items():
            auxiliary = getattr(outputs, name, None)
            if auxiliary is not None:
                loss = loss + share * cross_entropy(auxiliary, targets)
        return loss
    if not isinstance(outputs, (tuple, list)):
        return cross_entropy(outputs, targets)
    _check(outputs, targets)
    losses = [cross_entropy(head, targets[:, k]) for k, head in enumerate(outputs)]
    return sum(losses[1:], losses[0])


def heads_accuracies(outputs: Any, targets: Tensor) -> dict[str, Any]:
    """{"accuracy": the share of samples that are right}; of several heads also "digit_accuracy",
    the share of heads that are. Empty if the targets are no class numbers.

    The shares are arrays without dimensions on the device of the outputs.
    """
    if hasattr(outputs, "logits"):
        outputs = outputs.logits
    if targets.dtype.kind not in "iu":
        return {}
    if not isinstance(outputs, (tuple, list)):
        if outputs.ndim != targets.ndim + 1:
            return {}
        return {"accuracy": hit_rate(outputs, targets)}
    _check(outputs, targets)
    with backend.on_device_of(targets.array):
        guesses = np.stack([head.array.argmax(1) for head in outputs], axis=1)
        right = guesses == targets.array
        return {"accuracy": right.all(1).mean(), "digit_accuracy": right.mean()}


def hit_rate(outputs: Tensor, targets: Tensor) -> Any:
    """The share of samples whose largest output, of (N, K, ...), is at index `targets` (N, ...).

    An array without dimensions on the device of the outputs; NaN for no samples.
    """
    if not targets.numel():
        return math.nan
    with backend.on_device_of(outputs.array):
        return (outputs.array.argmax(1) == targets.array).mean()


def _check(outputs: Any, targets: Tensor) -> None:
    if targets.ndim != 2 or targets.shape[1] != len(outputs):
        raise ValueError(
            f"a network with {len(outputs)} outputs needs targets (N, {len(outputs)}), got "
            f"{tuple(targets.shape)}"
        )
