"""Cross-entropy of scores and labels, a kernel for each pass: kernels/cross_entropy.cu."""

from __future__ import annotations

from typing import Any

from .launcher import Constants, device_of, integers, launch, prepared, scalar
from .softmax import BLOCK, lines_along

_FILE = "cross_entropy.cu"
_NO_LABEL = -(2**63)


def cross_entropy_forward(
    x: Any,
    target: Any,
    weight: Any | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Any, Any, Any]:
    """loss[n] = -sum over c of Q[n,c] * log p[n,c], with m[n] and total[n] for the backward.

    x (N,C,*), target (N,*) of integers, weight (C,) or None, ignore_index a label or None; results
    (N,*). The loss of a label that is no class is NaN.
    """
    device, dtype, C = device_of(x), x.dtype, x.shape[1]
    shape = (x.shape[0], *x.shape[2:])
    target = integers("cross_entropy_forward", "target", target, shape)
    x, weight = prepared("cross_entropy_forward", x=(x, None), weight=(weight, (C,)))
    loss, m, total = [device.empty(shape, x.dtype) for _ in range(3)]
    samples, _, places, per_line = lines_along(x.shape, 1)
    if samples:
        launch(
            device,
            _FILE,
            "cross_entropy_forward",
            _constants(x, label_smoothing, per_line),
            grid=(-(-samples * per_line // BLOCK),),
            x=x,
            target=target,
            weight=weight,
            loss=loss,
            m=m,
            total=total,
            samples=samples,
            classes=C,
            places=places,
            ignore_index=_NO_LABEL if ignore_index is None else ignore_index,
            label_smoothing=label_smoothing,
        )
    return loss.astype(dtype, copy=False), m, total


def cross_entropy_backward(
    g: Any,
    x: Any,
    target: Any,
    weight: Any | None,
    m: Any,
    total: Any,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Any:
    """grad_x[n,c] = g[n] * (p[n,c] * (sum over d of Q[n,d]) - Q[n,c]).

    g (N,*), or () for one number that reaches every sample; the others as in the forward, m and
    total its results; result like x.
    """
    function, device, dtype = "cross_entropy_backward", device_of(x), x.dtype
    C, shape = x.shape[1], (x.shape[0], *x.shape[2:])
    target = integers(function, "target", target, shape)
    g, x, weight, m, total = prepared(
        function,
        g=(g, shape if g.ndim else ()),
        x=(x, None),
        weight=(weight, (C,)),
        m=(m, shape),
        total=(total, shape),
    )
    grad_x = device.empty(x.shape, x.dtype)
    launch(
        device,
        _FILE,
        function,
        _constants(x, label_smoothing, 1),
        threads=x.size,
        g=g,
        x=x,
        target=target,
        weight=weight,
        weight_sum=weight.sum().reshape(1) if label_smoothing and weight is not None else None,
        m=m,
        total=total,
        grad_x=grad_x,
        classes=C,
        places=lines_along(x.shape, 1)[2],
        ignore_index=_NO_LABEL if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
        by_sample=min(g.ndim, 1),
        count=x.size,
    )
    return grad_x.astype(dtype, copy=False)


def _constants(x: Any, label_smoothing: float, per_line: int) -> Constants:
    return {**scalar(x.dtype), "PER_LINE": per_line, "SMOOTHED": int(label_smoothing != 0)}
