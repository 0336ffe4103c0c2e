"""Batch normalisation in evaluation, taken into the layer in front of it.

In evaluation batch norm is y = a * z + c for each channel f of z, with given numbers

    a[f] = weight[f] / sqrt(var[f] + eps)            c[f] = bias[f] - a[f] * mean[f]

A convolution or a linear layer is linear in its weight and bias, z = w x + b, and w[f] and b[f]
serve channel f alone. So y = (a w) x + (a b + c): the same layer with other numbers, and no batch
norm. The two agree up to rounding.
"""

from __future__ import annotations

import copy
from typing import Any

from ...autograd import no_grad
from ..parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of `conv` that gives what bn(conv(x)) gives in evaluation.

    Args:
        conv: a convolution with F output channels; a transposed one with `transpose`.
        bn: batch norm of F channels, with running statistics.

    RuntimeError if one of them is in training mode, ValueError if bn has no running statistics or
    another number of channels. The two modules stay as they are.
    """
    channels = conv.out_channels
    return _fused("fuse_conv_bn_eval", conv, bn, channels, fuse_conv_bn_weights, transpose)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of `linear` that gives what bn(linear(x)) gives in evaluation. Errors as above."""
    channels = linear.out_features
    return _fused("fuse_linear_bn_eval", linear, bn, channels, fuse_linear_bn_weights)


def _fused(function: str, layer: Any, bn: Any, channels: int, fuse: Any, *options: Any) -> Any:
    for name, module in (("the layer", layer), ("bn", bn)):
        if module.training:
            raise RuntimeError(f"{function}: {name} is in training mode; call .eval() first")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError(f"{function}: bn expects running statistics to evaluate with, has none")
    if bn.num_features != channels:
        raise ValueError(f"{function}: bn expects {channels} channels, has {bn.num_features}")
    statistics = bn.running_mean, bn.running_var, bn.eps
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = fuse(
        fused.weight, fused.bias, *statistics, bn.weight, bn.bias, *options
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Any,
    conv_b: Any,
    bn_rm: Any,
    bn_rv: Any,
    bn_eps: float,
    bn_w: Any,
    bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution and the batch norm behind it, as those of one convolution.

    Args:
        conv_w: (F, C/groups, *kernel); with `transpose` (C, F/groups, *kernel).
        conv_b: (F,) or None.
        bn_rm, bn_rv, bn_eps: running mean and variance (F,), and what is added to the variance.
        bn_w, bn_b: (F,), or None for 1 and 0.
    """
    with no_grad():
        a = _scale(bn_rv, bn_eps, bn_w)
        if transpose:  # output channels of group g belong to the rows of the inputs of group g
            rows, per_group = conv_w.shape[:2]
            groups = a.shape[0] // per_group
            grouped = conv_w.reshape(groups, rows // groups, per_group, -1)
            weight = (grouped * a.reshape(groups, 1, per_group, 1)).reshape(conv_w.shape)
        else:
            weight = conv_w * a.reshape(-1, *[1] * (conv_w.ndim - 1))
        return _parameters(weight, conv_w, conv_b, a, bn_rm, bn_b)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight (F, C) and bias (F,) of a linear layer and the batch norm behind it, as those of one
    linear layer. Arguments as in fuse_conv_bn_weights."""
    with no_grad():
        a = _scale(bn_rv, bn_eps, bn_w)
        return _parameters(linear_w * a.reshape(-1, 1), linear_w, linear_b, a, bn_rm, bn_b)


def _scale(bn_rv: Any, bn_eps: float, bn_w: Any) -> Any:
    r = (bn_rv + bn_eps) ** -0.5
    return r if bn_w is None else bn_w * r


def _parameters(
    weight: Any, old_w: Any, old_b: Any, a: Any, bn_rm: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """In the type of the old ones, and with a gradient where those had one."""
    bias = -bn_rm * a if old_b is None else (old_b - bn_rm) * a
    if bn_b is not None:
        bias = bias + bn_b
    learned = (old_w if old_b is None else old_b).requires_grad
    return (
        Parameter(weight.to(old_w.dtype), old_w.requires_grad),
        Parameter(bias.to(old_w.dtype), learned),
    )
