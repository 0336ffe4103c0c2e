"""Normalisation layers. The maths is in functional/norm.py."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..autograd import Tensor
from ..autograd.dtypes import int64
from . import init
from .lazy import LazyModule
from .module import Module
from .parameter import Parameter, UninitializedBuffer, UninitializedParameter, is_lazy


class _BatchNorm(Module):
    """Batch normalisation of channels. Subclasses say how many dimensions the input may have."""

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

    def forward(self, input: Any) -> Any:
        if len(input.shape) not in self.ndims:
            raise ValueError(
                f"{type(self).__name__}: expects {' or '.join(map(str, self.ndims))} dimensions, "
                f"got shape {tuple(input.shape)}"
            )
        remember = self.training and self.track_running_stats
        own_statistics = self.training or self.running_mean is None
        momentum = self.momentum
        if momentum is None:  # the running statistics are the plain mean over all batches
            momentum = 1 / (int(self.num_batches_tracked.array) + 1) if remember else 0.0
        y = F.batch_norm(
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


class _LazyBatchNorm(LazyModule, _BatchNorm):
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

    def _make_members(self, bias: bool, device: Any, dtype: Any) -> None:
        super()._make_members(bias, device, dtype)
        for name, param in self._parameters.items():
            if param is not None:
                self._parameters[name] = UninitializedParameter(param)
        for name in ("running_mean", "running_var"):
            if self._buffers[name] is not None:
                self._buffers[name] = UninitializedBuffer(self._buffers[name])

    def infer_shapes(self, input: Any) -> None:
        self.num_features = input.shape[1]
        for tensor in (*self._parameters.values(), *self._buffers.values()):
            if is_lazy(tensor):
                tensor.materialize((self.num_features,))

    def loaded(self) -> None:
        known = self.weight if self.weight is not None else self.running_mean
        self.num_features = 0 if known is None else known.shape[0]


class LazyBatchNorm1d(_LazyBatchNorm, BatchNorm1d):
    """BatchNorm1d whose num_features is the number of channels of its first input."""

    becomes = BatchNorm1d


class LazyBatchNorm2d(_LazyBatchNorm, BatchNorm2d):
    """BatchNorm2d whose num_features is the number of channels of its first input."""

    becomes = BatchNorm2d


class LazyBatchNorm3d(_LazyBatchNorm, BatchNorm3d):
    """BatchNorm3d whose num_features is the number of channels of its first input."""

    becomes = BatchNorm3d
