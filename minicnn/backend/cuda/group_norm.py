"""Group, layer and instance normalisation: kernels/groupnorm.cu."""

from __future__ import annotations

from math import prod
from typing import Any

from .launcher import Constants, device_of, launch, prepared, scalar
from .norm import statistics_dtype
from .parts import cut, total

_FILE = "groupnorm.cu"
_THREADS = 256  # in the kernels' file
_LONG = 1024  # values from which a whole block works on a set, not a warp
_NARROW = 8  # places of a channel below which neighbouring threads take neighbouring channels

# The values of a block's channels are cut into chunks of at least so many, one block each, until
# there are about so many blocks.
_CHUNK = 8192
_BLOCKS = 1024


def _constants(x: Any, groups: int) -> dict[str, int | str]:
    C, places = x.shape[1], prod(x.shape[2:])
    return {
        **scalar(x.dtype),
        "PLACES": places,
        "GROUPS": groups,
        "GROUP_C": C // groups,
        "PER_SET": 32 if C // groups * places < _LONG else _THREADS,
        "COLUMNS": 32 if places < _NARROW else 1,
    }


def _grid(sets: int, constants: Constants) -> tuple[int]:
    return (-(-sets * int(constants["PER_SET"]) // _THREADS),)


def group_norm_forward(
    x: Any, weight: Any | None, bias: Any | None, groups: int, eps: float
) -> tuple[Any, Any, Any]:
    """Normalises each group of each sample, then scales and shifts each channel.

        mean[n,g] = (sum over the set of x) / M
        var[n,g]  = (sum over the set of (x - mean[n,g])^2) / M        (biased)
        y = (x - mean[n,g]) / sqrt(var[n,g] + eps) * weight[c] + bias[c]

    x (N,C,*), weight and bias (C,) or None for 1 and 0; results y like x, mean and var (N,G).
    """
    N, C = x.shape[:2]
    device, dtype = device_of(x), x.dtype
    options = {"weight": (weight, (C,)), "bias": (bias, (C,))}
    x, weight, bias = prepared("group_norm_forward", x=(x, None), **options)
    y = device.empty(x.shape, x.dtype)
    mean, var = [device.zeros((N, groups), x.dtype) for _ in range(2)]
    if x.size:
        constants, sets = _constants(x, groups), N * groups
        launch(
            device,
            _FILE,
            "group_norm_forward",
            constants,
            grid=_grid(sets, constants),
            x=x,
            weight=weight,
            bias=bias,
            eps=eps,
            y=y,
            mean=mean,
            var=var,
            sets=sets,
        )
    statistics = [a.astype(statistics_dtype(dtype), copy=False) for a in (mean, var)]
    return y.astype(dtype, copy=False), *statistics


def group_norm_grad_input(grad_y: Any, x: Any, weight: Any | None, mean: Any, inv_std: Any) -> Any:
    """The gradient by x, with x_hat = (x - mean[n,g]) * inv_std[n,g] and u = weight[c] * grad_y:

        grad_x = inv_std[n,g] * (u - (sum over the set of u) / M
                                   - x_hat * (sum over the set of u * x_hat) / M)

    grad_y and x (N,C,*), mean and inv_std = 1 / sqrt(var + eps) (N,G); result like x.
    """
    device, dtype = device_of(x), x.dtype
    grad_y, x, weight, mean, inv_std = prepared(
        "group_norm_grad_input",
        grad_y=(grad_y, x.shape),
        x=(x, None),
        weight=(weight, (x.shape[1],)),
        mean=(mean, None),
        inv_std=(inv_std, mean.shape),
    )
    grad_x = device.empty(x.shape, x.dtype)
    if x.size:
        constants, sets = _constants(x, mean.shape[1]), mean.size
        arrays = {"grad_y": grad_y, "x": x, "weight": weight, "mean": mean, "inv_std": inv_std}
        kernel, grid = "group_norm_grad_input", _grid(sets, constants)
        launch(device, _FILE, kernel, constants, grid=grid, **arrays, grad_x=grad_x, sets=sets)
    return grad_x.astype(dtype, copy=False)


def group_norm_grad_affine(grad_y: Any, x: Any, mean: Any, inv_std: Any) -> tuple[Any, Any]:
    """grad_w[c] = sum over n,h,k of grad_y * x_hat, grad_b[c] = sum over n,h,k of grad_y.

    x_hat = (x - mean[n,g]) * inv_std[n,g]. Arguments as in `group_norm_grad_input`; results (C,).
    """
    device, dtype, (N, C) = device_of(x), x.dtype, x.shape[:2]
    grad_y, x, mean, inv_std = prepared(
        "group_norm_grad_affine",
        grad_y=(grad_y, x.shape),
        x=(x, None),
        mean=(mean, None),
        inv_std=(inv_std, mean.shape),
    )
    if x.size == 0:
        zeros = device.zeros((2, C), statistics_dtype(dtype))
        return zeros[0], zeros[1]
    constants = _constants(x, mean.shape[1])
    columns, values = int(constants["COLUMNS"]), N * prod(x.shape[2:])
    blocks = -(-C // columns)
    splits, chunk = cut(values, _CHUNK // columns, _BLOCKS // blocks)
    parts = device.empty((splits, 2, C), x.dtype)
    launch(
        device,
        _FILE,
        "group_norm_grad_affine",
        constants,
        grid=(blocks, splits),
        grad_y=grad_y,
        x=x,
        mean=mean,
        inv_std=inv_std,
        parts=parts,
        values=values,
        chunk=chunk,
    )
    sums = total(device, parts).astype(statistics_dtype(dtype), copy=False)
    return sums[0], sums[1]
