"""Dropout layers: active in training, the identity in evaluation."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..functional.dropout import check_probability
from .module import Module


class _Dropout(Module):
    """What the layers share; `function` is the one of functional that they call."""

    function: Any = None

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Each element is zero with probability p, and otherwise divided by 1 - p."""

    function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """Whole channels of x (N, C, L) are zero with probability p, the others divided by 1 - p."""

    function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Whole channels of x (N, C, H, W) are zero with probability p, the others divided by 1 - p."""

    function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Whole channels of x (N, C, D, H, W), as Dropout2d those of images."""

    function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean 0 and variance 1: between layers with SELU."""

    function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """AlphaDropout of whole channels of x (N, C, ...)."""

    function = staticmethod(F.feature_alpha_dropout)
