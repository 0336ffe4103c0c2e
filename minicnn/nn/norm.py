"""Normalisation layers.

The maths is in functional/norm.py (batch), sample_norm.py (layer, group, instance), rms.py and
response_norm.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from operator import index
from typing import Any

from .. import functional as F
from ..autograd import Tensor
from ..autograd.dtypes import int64
from . import init
from .lazy import LazyModule
from .module import Module
from .parameter import Parameter, UninitializedBuffer, UninitializedParameter, is_lazy


class _ChannelNorm(Module):
    """What batch and instance norm hold: parameters and running statistics of each channel.

    Subclasses say how many dimensions the input may have.
    """

    _version = 2  # since 2 the state_dict holds num_batches_tracked
    ndims: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._make_members(affine and bias, device, dtype)
        self.reset_parameters()

    def _make_members(self, bias: bool, device: Any, dtype: Any) -> None:
        def values() -> Any:
            return F.empty(self.num_features, device=device, dtype=dtype)

        self.register_parameter("weight", Parameter(values()) if self.affine else None)
        self.register_parameter("bias", Parameter(values()) if bias else None)
        tracked = self.track_running_stats
        self.register_buffer("running_mean", values() if tracked else None)
        self.register_buffer("running_var", values() if tracked else None)
        count = F.zeros((), dtype=int64, device=device) if tracked else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches seen."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and the running statistics anew."""
        if is_lazy(self.weight) or is_lazy(self.running_mean):
            return
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_ndims(self, input: Any) -> None:
        if len(input.shape) not in self.ndims:
            raise ValueError(
                f"{type(self).__name__}: expects {' or '.join(map(str, self.ndims))} dimensions, "
                f"got shape {tuple(input.shape)}"
            )

    def _channel_axis(self, input: Any) -> int:
        return 1

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        key = f"{prefix}num_batches_tracked"
        old = (local_metadata.get("version") or 1) < 2
        if self.track_running_stats and old and key not in state_dict:
            # Absent from old files, and from those (safetensors, npz) that hold no version.
            state_dict[key] = Tensor(self.num_batches_tracked.array.copy())
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    """Batch normalisation of channels."""

    def forward(self, input: Any) -> Any:
        return self.normalise(input, F.batch_norm)

    def normalise(self, input: Any, batch_norm: Any) -> Any:
        """batch_norm, or a function of the same arguments, with what this layer holds."""
        self._check_ndims(input)
        remember = self.training and self.track_running_stats
        own_statistics = self.training or self.running_mean is None
        momentum = self.momentum
        if momentum is None:  # the running statistics are the plain mean over all batches
            momentum = 1 / (int(self.num_batches_tracked.array) + 1) if remember else 0.0
        y = batch_norm(
            input,
            self.running_mean if remember or not self.training else None,
            self.running_var if remember or not self.training else None,
            self.weight,
            self.bias,
            own_statistics,
            momentum,
            self.eps,
        )
        if remember:
            self.num_batches_tracked.array[...] += 1
        return y


class BatchNorm1d(_BatchNorm):
    """Normalises each channel of x (N, C) or (N, C, L) over N and L."""

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalises each channel of x (N, C, H, W) over N, H and W, then y = weight * x_hat + bias.

    In training by the batch's own mean and biased variance, which are remembered (with weight
    momentum; None: the plain mean over all batches) in running_mean and running_var, the variance
    unbiased; in evaluation by what was remembered.
    """

    ndims = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalises each channel of x (N, C, D, H, W) over all but C."""

    ndims = (5,)


class _LazyNorm(LazyModule, _ChannelNorm):
    """Parameters and running statistics that take their size from the first input."""

    def _make_members(self, bias: bool, device: Any, dtype: Any) -> None:
        super()._make_members(bias, device, dtype)
        for name, param in self._parameters.items():
            if param is not None:
                self._parameters[name] = UninitializedParameter(param)
        for name in ("running_mean", "running_var"):
            if self._buffers[name] is not None:
                self._buffers[name] = UninitializedBuffer(self._buffers[name])

    def has_uninitialized_params(self) -> bool:
        """True until the first call, or until a state_dict was loaded that tells the size."""
        nothing = self.weight is None and self.running_mean is None
        return nothing or super().has_uninitialized_params()

    def infer_shapes(self, input: Any) -> None:
        self._check_ndims(input)
        self.num_features = input.shape[self._channel_axis(input)]
        for tensor in (*self._parameters.values(), *self._buffers.values()):
            if is_lazy(tensor):
                tensor.materialize((self.num_features,))

    def loaded(self) -> None:
        known = self.weight if self.weight is not None else self.running_mean
        self.num_features = 0 if known is None else known.shape[0]


class _LazyBatchNorm(_LazyNorm, _BatchNorm):
    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)


class LazyBatchNorm1d(_LazyBatchNorm, BatchNorm1d):
    """BatchNorm1d whose num_features is the number of channels of its first input."""

    becomes = BatchNorm1d


class LazyBatchNorm2d(_LazyBatchNorm, BatchNorm2d):
    """BatchNorm2d whose num_features is the number of channels of its first input."""

    becomes = BatchNorm2d


class LazyBatchNorm3d(_LazyBatchNorm, BatchNorm3d):
    """BatchNorm3d whose num_features is the number of channels of its first input."""

    becomes = BatchNorm3d


# ---------------------------------------------------------------------- within each sample


class _InstanceNorm(_ChannelNorm):
    """Instance normalisation. `ndims` are those without and with the batch's axis."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def forward(self, input: Any) -> Any:
        self._check_ndims(input)
        alone = self._channel_axis(input) == 0
        C = input.shape[self._channel_axis(input)]
        if self.num_features != C:
            text = (
                f"{type(self).__name__}: expects {self.num_features} channels (num_features), got "
                f"{C}: shape {tuple(input.shape)}"
            )
            if self.affine or self.track_running_stats:
                raise ValueError(text)
            warnings.warn(f"{text}. They are normalised all the same", stacklevel=2)
        y = F.instance_norm(
            F.unsqueeze(input, 0) if alone else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return F.squeeze(y, 0) if alone else y

    def _channel_axis(self, input: Any) -> int:
        return 0 if len(input.shape) == self.ndims[0] else 1


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each sample of x (N, C, L) or (C, L) over L."""

    ndims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each sample of x (N, C, H, W) or (C, H, W) over H and W.

    Then y = weight * x_hat + bias, if affine. With track_running_stats evaluation normalises by
    the running averages of training; without, by the input's own statistics, as training does.
    """

    ndims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalises each channel of each sample of x (N, C, D, H, W) or (C, D, H, W)."""

    ndims = (4, 5)


class _LazyInstanceNorm(_LazyNorm, _InstanceNorm):
    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)


class LazyInstanceNorm1d(_LazyInstanceNorm, InstanceNorm1d):
    """InstanceNorm1d whose num_features is the number of channels of its first input."""

    becomes = InstanceNorm1d


class LazyInstanceNorm2d(_LazyInstanceNorm, InstanceNorm2d):
    """InstanceNorm2d whose num_features is the number of channels of its first input."""

    becomes = InstanceNorm2d


class LazyInstanceNorm3d(_LazyInstanceNorm, InstanceNorm3d):
    """InstanceNorm3d whose num_features is the number of channels of its first input."""

    becomes = InstanceNorm3d


class _Affine(Module):
    """Holds weight and bias of one shape, each of which may be None."""

    weight: Any
    bias: Any

    def _make_parameters(
        self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any
    ) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            values = Parameter(F.empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class GroupNorm(_Affine):
    """Normalises num_groups groups of neighbouring channels of x (N, C, ...) in each sample.

    Then y = weight * x_hat + bias, with one weight and bias for each channel. Raises ValueError if
    num_groups does not divide num_channels.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_channels ({num_channels}) must be divisible by num_groups "
                f"({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters((num_channels,), affine, affine and bias, device, dtype)

    def forward(self, input: Any) -> Any:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LayerNorm(_Affine):
    """Normalises x (..., *normalized_shape) over its last axes, then y = weight * x_hat + bias.

    normalized_shape is an integer for one axis, or a tuple; weight and bias have that shape.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = _axes("LayerNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = affine = elementwise_affine
        self._make_parameters(self.normalized_shape, affine, affine and bias, device, dtype)

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Scales the last axes of x (..., *normalized_shape) to mean square 1, then by weight.

    eps None is the distance from 1 to the next number of the input's type.
    """

    weight: Any

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = _axes("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        values = F.empty(self.normalized_shape, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(values) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Any:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


def _axes(layer: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    axes: Any = normalized_shape
    try:
        return tuple([index(n) for n in (axes if isinstance(axes, Sequence) else [axes])])
    except TypeError:
        raise TypeError(
            f"{layer}: normalized_shape expects an integer or a tuple of integers, got "
            f"{normalized_shape!r}"
        ) from None


class LocalResponseNorm(Module):
    """y = x / (k + alpha/size * sum of the squares of `size` neighbouring channels)^beta."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
