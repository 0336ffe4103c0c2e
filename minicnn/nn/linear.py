"""Fully connected layers, and the layer that does nothing."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from . import init
from .lazy import LazyModule
from .module import Module
from .parameter import Parameter, UninitializedParameter, is_lazy


class Identity(Module):
    """y = x. Arguments are accepted and ignored, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """y = x w^T + b.  x (..., in_features), weight (out_features, in_features).

    Weight and bias start uniform on [-1/sqrt(in_features), 1/sqrt(in_features)].
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(F.empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(F.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        if not is_lazy(self.weight):
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
            uniform_bias(self.bias, self.in_features)

    def forward(self, input: Any) -> Any:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class LazyLinear(LazyModule, Linear):
    """Linear whose in_features is the last size of the first input; then it is a Linear."""

    becomes = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(0, 0, False, device, dtype)
        self.out_features = out_features
        self.weight = UninitializedParameter(F.empty(0, device=device, dtype=dtype))
        if bias:
            self.bias = UninitializedParameter(F.empty(0, device=device, dtype=dtype))

    def infer_shapes(self, input: Any) -> None:
        self.in_features = input.shape[-1]
        self.weight.materialize((self.out_features, self.in_features))
        if self.bias is not None:
            self.bias.materialize((self.out_features,))

    def loaded(self) -> None:
        self.in_features = self.weight.shape[1]


def uniform_bias(bias: Any, fan_in: int) -> None:
    """The bias starts uniform on [-1/sqrt(fan_in), 1/sqrt(fan_in)]."""
    if bias is not None:
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
        init.uniform_(bias, -bound, bound)
