"""Every kernel of kernels/*.cu at sizes of LeNet, VGG and ResNet: one line a layer.

A case calls primitives of `minicnn.backend.cuda`; `recorded` catches the launches that they make,
so that each kernel can be launched again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from minicnn.backend import cuda
from minicnn.backend.cuda import sources
from minicnn.backend.cuda.conv import conv_algorithm
from minicnn.backend.cuda.optim import MultiTensor
from minicnn.backend.geometry import ConvGeometry, PoolGeometry
from minicnn.backend.taps import Taps

from .device import normal

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """Primitives at one size.

    Args:
        label: the layer.
        make: from a device of device.py, what calls the primitives; its arrays are made before.
        flops: operations of each kernel of conv.cu and depthwise.cu.
        bytes: what the kernels of that name must move at least, where that is not each of their
            arrays once.
    """

    label: str
    make: Callable[[Any], Callable[[], Any]]
    flops: int = 0
    bytes: Mapping[str, int] = field(default_factory=dict)
    passes: Callable[[Any], dict[str, Callable[[], Any]]] | None = None  # of a convolution


@dataclass(frozen=True)
class Launch:
    """A launch that a primitive made, with its arrays; `again` repeats it."""

    file: str
    kernel: str
    grid: Shape
    block: Shape
    args: tuple[Any, ...]
    again: Callable[[], None]

    def array_bytes(self) -> int:
        """The sizes of all arrays: what is moved if each is read or written once."""
        return sum(int(a.nbytes) for a in self.args if getattr(a, "ndim", 0))


@contextmanager
def recorded(kernels: Any) -> Iterator[list[Launch]]:
    """The launches on the device `kernels` (launcher.py's) until the block ends."""
    launches: list[Launch] = []
    compiled = kernels.kernel

    def kernel(file: str, name: str, constants: Mapping[str, int | str]) -> Callable[..., None]:
        run = compiled(file, name, constants)

        def launch(grid: Shape, block: Shape, args: tuple[Any, ...], shared_mem: int = 0) -> None:
            def again() -> None:
                run(grid, block, args, shared_mem=shared_mem)

            launches.append(Launch(file, name, grid, block, args, again))
            again()

        return launch

    kernels.kernel = kernel
    try:
        yield launches
    finally:
        del kernels.kernel


def every_kernel() -> set[str]:
    """The names of all kernels in kernels/*.cu."""
    files = sources.folder().glob("*.cu")
    return {kernel for file in files for kernel in sources.read(file.name).kernels}


def cases(small: bool) -> list[Case]:
    """The cases; with `small`, the same layers at sizes for a check or the emulator."""
    layers = _convolutions() + _poolings() + _others()
    return [make(*_shrunk(shape) if small else shape) for make, shape in layers]


def _shrunk(shape: Shape) -> Shape:
    """At most 8 samples, 8 channels and 12 pixels a side; or 8 lines of at most 4096."""
    limits = (8, 4096) if len(shape) == 2 else (8, 8, 12, 12)
    return tuple(min(n, limit) for n, limit in zip(shape, limits, strict=False))


Layers = list[tuple[Callable[..., Case], Shape]]


# Convolutions


def _convolutions() -> Layers:
    """(layer, shape of x)."""
    return [
        (_conv("LeNet C1, 5x5 to 6", 6, 5, padding=2), (256, 1, 28, 28)),
        (_conv("LeNet C3, 5x5 to 16", 16, 5), (256, 6, 14, 14)),
        (_conv("VGG, 3x3 to 64", 64, 3, padding=1), (16, 3, 224, 224)),
        (_conv("VGG, 3x3 to 128", 128, 3, padding=1), (16, 64, 112, 112)),
        (_conv("VGG, 3x3 to 256", 256, 3, padding=1), (16, 256, 56, 56)),
        (_conv("VGG, 3x3 to 512", 512, 3, padding=1), (16, 512, 14, 14)),
        (_conv("ResNet, 3x3 to 64", 64, 3, padding=1), (128, 64, 32, 32)),
        (_conv("ResNet, 3x3 to 128, stride 2", 128, 3, stride=2, padding=1), (128, 64, 32, 32)),
        (_conv("ResNet, 1x1 to 256", 256, 1), (64, 1024, 14, 14)),
        (_conv("ResNeXt, 3x3 to 128, 32 groups", 128, 3, padding=1, groups=32), (64, 128, 28, 28)),
        (_conv("MobileNet, 3x3 depthwise", 144, 3, padding=1, groups=0), (64, 144, 56, 56)),
        (_columns("im2col, 3x3 to 128"), (16, 64, 56, 56)),
    ]


def _conv(label: str, out_channels: int, kernel: int, groups: int = 1, **window: Any) -> Any:
    """A convolution and both gradients; groups=0 for one group a channel."""

    def case(N: int, C: int, H: int, W: int) -> Case:
        G = C if groups == 0 else min(groups, max(1, C // 2))
        F = C if groups == 0 else out_channels
        w_shape = (F, C // G, kernel, kernel)
        geometry = ConvGeometry.of((N, C, H, W), w_shape, (F,), groups=G, **window)

        def passes(device: Any) -> dict[str, Callable[[], Any]]:
            x, w = normal(device, N, C, H, W), normal(device, *w_shape)
            b, grad_y = normal(device, F), normal(device, *geometry.y_shape)
            return {
                "forward": lambda: cuda.conv_forward(x, w, b, geometry),
                "grad_input": lambda: cuda.conv_grad_input(grad_y, w, geometry),
                "grad_weight": lambda: cuda.conv_grad_weight(x, grad_y, geometry),
            }

        def make(device: Any) -> Callable[[], Any]:
            calls = passes(device).values()

            def run() -> None:
                with conv_algorithm("implicit"):
                    for call in calls:
                        call()

            return run

        flops = 2 * prod(geometry.y_shape) * prod(w_shape[1:])
        return Case(f"{label}, x {N}x{C}x{H}x{W}", make, flops, passes=passes)

    return case


def _columns(label: str) -> Any:
    def case(N: int, C: int, H: int, W: int) -> Case:
        geometry = ConvGeometry.of((N, C, H, W), (128, C, 3, 3), padding=1)

        def make(device: Any) -> Callable[[], Any]:
            x = normal(device, N, C, H, W)
            return lambda: cuda.col2im(cuda.im2col(x, geometry), geometry)

        return Case(f"{label}, x {N}x{C}x{H}x{W}", make)

    return case


# Poolings


def _poolings() -> Layers:
    return [
        (_max_pool("LeNet S2, max 2x2", 2, 2, 0), (256, 6, 28, 28)),
        (_max_pool("VGG, max 2x2", 2, 2, 0), (16, 64, 224, 224)),
        (_max_pool("ResNet, max 3x3, stride 2", 3, 2, 1), (64, 64, 112, 112)),
        (_layer("LeNet S2, average 2x2", _average), (256, 6, 28, 28)),
        (_layer("average 2x2", _average), (16, 64, 224, 224)),
        (_layer("VGG, adaptive average to 7x7", _adaptive), (64, 512, 14, 14)),
        (_layer("unpooling 2x2", _unpool), (64, 64, 56, 56)),
        (_layer("stochastic 2x2", _stochastic), (64, 64, 56, 56)),
    ]


def _max_pool(label: str, kernel: int, stride: int, padding: int) -> Any:
    def make(device: Any, x: Any) -> Callable[[], Any]:
        geometry = PoolGeometry.of(x.shape, kernel, stride, padding)
        _, indices = cuda.max_pool_forward(x, geometry)
        grad_y = normal(device, *indices.shape)

        def run() -> None:
            cuda.max_pool_forward(x, geometry)
            cuda.max_pool_backward(grad_y, indices, x.shape, geometry)

        return run

    return _layer(label, make)


def _layer(label: str, make: Callable[[Any, Any], Callable[[], Any]]) -> Any:
    """A layer whose one input has the shape that its line gives."""

    def case(*shape: int) -> Case:
        def with_x(device: Any) -> Callable[[], Any]:
            return make(device, normal(device, *shape))

        return Case(f"{label}, x {'x'.join(map(str, shape))}", with_x)

    return case


def _average(device: Any, x: Any) -> Callable[[], Any]:
    geometry = PoolGeometry.of(x.shape, 2, 2)

    def run() -> None:
        y = cuda.avg_pool_forward(x, geometry)
        cuda.avg_pool_backward(y, x.shape, geometry)

    return run


def _adaptive(device: Any, x: Any) -> Callable[[], Any]:
    def run() -> None:
        y = cuda.adaptive_avg_pool_forward(x, (7, 7))
        cuda.adaptive_avg_pool_backward(y, x.shape)
        cuda.adaptive_max_pool_forward(x, (7, 7))

    return run


def _unpool(device: Any, x: Any) -> Callable[[], Any]:
    y, indices = cuda.max_pool_forward(x, PoolGeometry.of(x.shape, 2, 2))

    def run() -> None:
        cuda.max_unpool_forward(y, indices, x.shape[2:])
        cuda.max_unpool_backward(x, indices)
        cuda.max_pool_backward(y, indices, x.shape)

    return run


def _stochastic(device: Any, x: Any) -> Callable[[], Any]:
    geometry = PoolGeometry.of(x.shape, 2, 2)
    x = abs(x)
    u = device.kernels.asarray(np.random.default_rng(1).random((*x.shape[:2], *geometry.out_size)))
    return lambda: cuda.stochastic_pool_forward(x, u, geometry)


# Normalisation, softmax, dropout, optimizers and the rest


def _others() -> Layers:
    return [
        (_layer("VGG-BN, batch norm", _batch_norm), (64, 64, 56, 56)),
        (_layer("ResNet, batch norm", _batch_norm), (128, 512, 4, 4)),
        (_layer("ConvNeXt, layer norm", _layer_norm), (64, 96, 56, 56)),
        (_layer("detection, group norm", _group_norm), (16, 256, 64, 64)),
        (_layer("LeNet, cross-entropy", _cross_entropy), (1024, 10)),
        (_layer("ImageNet, cross-entropy", _cross_entropy), (1024, 1000)),
        (_layer("vocabulary, cross-entropy", _cross_entropy), (1024, 32768)),
        (_layer("segmentation, cross-entropy", _cross_entropy), (16, 21, 256, 256)),
        (_layer("LeNet, softmax", _softmax), (1024, 10)),
        (_layer("ImageNet, softmax", _softmax), (1024, 1000)),
        (_layer("vocabulary, softmax", _softmax), (1024, 32768)),
        (_layer("segmentation, softmax over channels", _softmax), (16, 21, 256, 256)),
        (_layer("dropout", _dropout), (64, 4096)),
        (_layer("feature dropout", _feature_dropout), (64, 256, 56, 56)),
        (_layer("resize to 2H, rows", _resize), (16, 64, 112, 112)),
        (_layer("erf and erfc", _special), (64, 256, 56, 56)),
        (_optimizer("LeNet"), (150, 6, 2400, 16, 48000, 120, 10080, 84, 840, 10)),
        (_optimizer("ResNet-18"), (1728, *[36864] * 4, *[147456] * 4, *[2359296] * 4)),
        (_optimizer("VGG-11"), (1728, 73728, 2359296, 102760448, 16777216, 4096000)),
    ]


def _batch_norm(device: Any, x: Any) -> Callable[[], Any]:
    weight, bias = normal(device, x.shape[1]), normal(device, x.shape[1])
    _, mean, var = cuda.batch_norm_forward(x, weight, bias, 1e-5)
    inv_std = 1 / device.xp.sqrt(var + np.float32(1e-5))

    def run() -> None:
        y, _, _ = cuda.batch_norm_forward(x, weight, bias, 1e-5)
        cuda.batch_norm_backward(y, x, weight, mean, inv_std)
        cuda.batch_norm_inference(x, weight, bias, mean, var, 1e-5)

    return run


def _layer_norm(device: Any, x: Any) -> Callable[[], Any]:
    return _in_groups(device, x, 1)


def _group_norm(device: Any, x: Any) -> Callable[[], Any]:
    return _in_groups(device, x, min(32, x.shape[1] // 2))


def _in_groups(device: Any, x: Any, groups: int) -> Callable[[], Any]:
    weight, bias = normal(device, x.shape[1]), normal(device, x.shape[1])
    y, mean, var = cuda.group_norm_forward(x, weight, bias, groups, 1e-5)
    inv_std = 1 / device.xp.sqrt(var + np.float32(1e-5))

    def run() -> None:
        cuda.group_norm_forward(x, weight, bias, groups, 1e-5)
        cuda.group_norm_grad_input(y, x, weight, mean, inv_std)
        cuda.group_norm_grad_affine(y, x, mean, inv_std)

    return run


def _cross_entropy(device: Any, x: Any) -> Callable[[], Any]:
    places = (x.shape[0], *x.shape[2:])
    target = device.kernels.asarray(np.random.default_rng(1).integers(0, x.shape[1], places))
    g = device.kernels.asarray(np.full((), 1 / x.shape[0], np.float32))

    def run() -> None:
        _, m, total = cuda.cross_entropy_forward(x, target)
        cuda.cross_entropy_backward(g, x, target, None, m, total)

    return run


def _softmax(device: Any, x: Any) -> Callable[[], Any]:
    def run() -> None:
        y = cuda.softmax_forward(x, 1)
        cuda.softmax_backward(x, y, 1)
        y = cuda.log_softmax_forward(x, 1)
        cuda.log_softmax_backward(x, y, 1)

    return run


def _dropout(device: Any, x: Any) -> Callable[[], Any]:
    return lambda: cuda.dropout(x, 0.5, 1234, x.shape)


def _feature_dropout(device: Any, x: Any) -> Callable[[], Any]:
    return lambda: cuda.dropout(x, 0.5, 1234, (*x.shape[:2], 1, 1))


def _resize(device: Any, x: Any) -> Callable[[], Any]:
    H = x.shape[2]
    rows = np.repeat(np.arange(2 * H), 2)
    columns = np.minimum(rows // 2 + np.tile([0, 1], 2 * H), H - 1)
    taps = Taps.of((2 * H, H), rows, columns, np.tile([0.75, 0.25], 2 * H))
    return lambda: cuda.resample(x, taps, 2)


def _special(device: Any, x: Any) -> Callable[[], Any]:
    return lambda: (cuda.erf(x), cuda.erfc(x))


def _optimizer(label: str) -> Any:
    """The optimizers' steps over arrays of the sizes that its line gives, a network's layers."""

    def case(*sizes: int) -> Case:
        total = sum(sizes)

        def make(device: Any) -> Callable[[], Any]:
            columns = [[normal(device, n) for n in sizes] for _ in range(4)]
            params, grads, momenta, squares = columns
            squares = [abs(s) for s in squares]
            sgd = MultiTensor(params, momenta=momenta)
            adam = MultiTensor(params, momenta=momenta, squares=squares)
            scaled, clip = MultiTensor(grads), device.kernels.asarray(np.ones(1, np.float32))

            def run() -> None:
                sgd.sgd(grads, lr=1e-3, momentum=0.9)
                adam.adam(grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, step=1)
                sgd.clip_coefficient(grads, 1.0)
                scaled.scale(clip)

            return run

        arrays = {"sgd": 5, "adam": 7, "gradient_squares": 1, "scaled": 2}
        least = {kernel: 4 * total * n for kernel, n in arrays.items()}
        return Case(f"{label}, {total} parameters", make, bytes=least)

    return case
