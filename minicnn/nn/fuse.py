"""Neighbours in a Sequential that are computed as one.

What stands between two modules of a Sequential is seen by nobody else. So where ReLU follows

* batch normalisation, both are one Function (functional/norm.py, "Before a relu"): in training the
  output of the first is never in memory as a whole, forward or backward;
* a convolution, both are one Function too: what is below 0 is cut off chunk by chunk, while the
  sums are still in the cache;
* a linear layer, which needs its input for backward and not its output, ReLU writes its result over
  that output.

Results are the same to the bit. Modules are called one by one where somebody might see the
difference: if one of the two has hooks, is of a subclass or has a `forward` of its own, and while
calls are traced or NaNs are hunted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from ..autograd import Tensor
from ..autograd.mode import mode
from ..functional.activation import ReLU as ReLUFunction
from ..functional.norm import batch_norm_relu
from .activation import ReLU
from .conv import Conv1d, Conv2d, Conv3d
from .linear import Linear
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d


def steps(modules: Iterable[Any]) -> Iterator[Callable[[Any], Any]]:
    """What to call one after another: each a module, or a function that does what two of them do.

    Asked for step by step, so that a module may still change those behind it.
    """
    first = None
    for module in modules:
        if first is None:
            first = module
        elif type(module) is ReLU and (both := _pair(first, module)) is not None:
            yield both
            first = None
        else:
            yield first
            first = module
    if first is not None:
        yield first


def _pair(first: Any, relu: Any) -> Callable[[Any], Any] | None:
    """A function that does what the module and the ReLU behind it do; None if there is none."""
    fused = _BEFORE_RELU.get(type(first))
    if fused is None or mode.trace is not None or mode.anomaly:
        return None
    return partial(fused, first) if _plain(first) and _plain(relu) else None


def _plain(module: Any) -> bool:
    """Whether a call of the module is a call of its class's `forward`, and no more."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
    )


def _normalised(norm: Any, input: Any) -> Any:
    return norm.normalise(input, batch_norm_relu)


def _convolved(conv: Any, input: Any) -> Any:
    return conv.before_relu(input)


def _over(layer: Any, input: Any) -> Any:
    y = layer.forward(input)
    if not isinstance(y, Tensor) or y._view is not None:  # a view of what somebody may hold
        return ReLUFunction.apply(y)
    return ReLUFunction.apply(y, over=True)


_BEFORE_RELU: dict[type, Callable[[Any, Any], Any]] = {
    **dict.fromkeys((BatchNorm1d, BatchNorm2d, BatchNorm3d), _normalised),
    **dict.fromkeys((Conv1d, Conv2d, Conv3d), _convolved),
    Linear: _over,
}
