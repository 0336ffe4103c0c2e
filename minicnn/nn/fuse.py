"""Neighbours in a Sequential that are computed as one.

What stands between two modules of a Sequential is seen by nobody else. So where ReLU follows

* batch normalisation, both are one Function (functional/norm.py, "Before a relu"): in training the
  output of the first is never in memory as a whole, forward or backward;
* a convolution, both are one Function too: what is below 0 is cut off chunk by chunk, while the
  sums are still in the cache;
* a convolution, and max pooling follows ReLU, then ReLU comes last: both are monotone, so they may
  change places, max(max over p of x[p], 0) = max over p of max(x[p], 0), and behind the pooling
  there are fewer numbers. Where all of a window is negative the winner is another, but its
  gradient is 0 either way;
* a linear layer, which needs its input for backward and not its output, ReLU writes its result over
  that output.

Results are the same to the bit (but for the sign of a zero, and for the pixel of a window that an
infinite gradient makes NaN). Modules are called one by one where somebody might see the difference:
if one of them has hooks, is of a subclass or has a `forward` that is not its class's as it was
written, and while calls are traced or NaNs are hunted.
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
from .pool import MaxPool2d


def steps(modules: Iterable[Any]) -> Iterator[Callable[[Any], Any]]:
    """What to call one after another: each a module, or a function that does what several do.

    The one behind is looked at in advance only where the call before it runs no user's code: any
    other may still change the modules behind it.
    """
    first = None  # the one before, if it is such a module
    cut = False  # whether ReLU stands between the two
    for module in modules:
        if first is not None:
            if not cut and type(module) is ReLU and _plain(module):
                cut = True
                continue
            if cut and _pools(first, module):
                yield partial(_max_pooled, first, module)
                first, cut = None, False
                continue
            yield partial(_BEFORE_RELU[type(first)], first) if cut else first
            first, cut = None, False
        if type(module) in _BEFORE_RELU and _plain(module):
            first = module
        else:
            yield module
    if first is not None:
        yield partial(_BEFORE_RELU[type(first)], first) if cut else first


def _pools(conv: Any, pool: Any) -> bool:
    """Whether the relu between the convolution and the pooling may come behind both."""
    if type(conv) is not Conv2d or type(pool) is not MaxPool2d or not _plain(pool):
        return False
    return not pool.return_indices  # those of relu's winners


def _plain(module: Any) -> bool:
    """Whether a call of the module is a call of its class's own `forward`, and nobody looks on."""
    kind = type(module)
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
        or (kind.__call__, kind.forward) != _OWN[kind]
        or mode.trace is not None
        or mode.anomaly
    )


def _normalised(norm: Any, input: Any) -> Any:
    return norm.normalise(input, batch_norm_relu)


def _convolved(conv: Any, input: Any) -> Any:
    return conv.before_relu(input)


def _over(layer: Any, input: Any) -> Any:
    return _cut_off(layer.forward(input))


def _max_pooled(conv: Any, pool: Any, input: Any) -> Any:
    return _cut_off(pool.forward(conv.forward(input)))


def _cut_off(y: Any) -> Any:
    """relu(y) of a result that nobody else needs, written over it."""
    if not isinstance(y, Tensor) or y._view is not None:  # a view of what somebody may hold
        return ReLUFunction.apply(y)
    return ReLUFunction.apply(y, over=True)


_BEFORE_RELU: dict[type, Callable[[Any, Any], Any]] = {
    **dict.fromkeys((BatchNorm1d, BatchNorm2d, BatchNorm3d), _normalised),
    **dict.fromkeys((Conv1d, Conv2d, Conv3d), _convolved),
    Linear: _over,
}

# Their methods as they were written: others may be put into their place while a program runs.
_KINDS: tuple[Any, ...] = (ReLU, MaxPool2d, *_BEFORE_RELU)
_OWN = {kind: (kind.__call__, kind.forward) for kind in _KINDS}
