"""Every primitive of every backend against PyTorch, where PyTorch is installed."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend.geometry import ConvGeometry, PoolGeometry, adaptive_out_size

torch = pytest.importorskip("torch")
F = torch.nn.functional

INF, NAN = float("inf"), float("nan")


def close(result, wanted):
    """float64 to 1e-12, relative to the largest entry."""
    wanted = wanted.detach().numpy()
    assert result.shape == wanted.shape
    assert result.dtype == wanted.dtype
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1)
    assert np.allclose(result, wanted, rtol=1e-12, atol=1e-12 * scale, equal_nan=True)


def tensors(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]


def arrays(*tensors):
    return [t.detach().numpy() for t in tensors]


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "groups"),
    [
        ((8, 7), (3, 3), 1, 0, 1, 1),
        ((8, 7), (3, 2), (2, 3), (2, 1), 1, 1),
        ((9, 9), (3, 3), 1, 2, 2, 2),
        ((9, 9), (3, 3), (3, 2), (1, 3), (2, 3), 4),  # depthwise
        ((6, 7), (4, 3), 1, "same", 1, 1),  # an odd rest on one side
        ((6, 7), (2, 4), 1, "same", (3, 2), 2),
        ((6, 7), (2, 4), 2, "valid", 1, 1),
        ((5, 5), (1, 1), 1, 0, 1, 1),
        ((5, 5), (1, 1), 2, 1, 1, 2),
        ((5, 4), (5, 4), 1, 0, 1, 1),
        ((4, 4), (3, 3), 1, 3, 1, 1),  # windows in the padding alone
    ],
)
def test_convolution(primitives, size, kernel, stride, padding, dilation, groups):
    x, w, b = tensors((3, 4, *size), (8, 4 // groups, *kernel), (8,))
    options = (stride, padding, dilation, groups)
    y = F.conv2d(x, w, b, *options)
    [grad_y] = tensors(y.shape, seed=1)
    grad_x, grad_w = torch.autograd.grad(y, (x, w), grad_y)
    x, w, b, grad_y = arrays(x, w, b, grad_y)
    geometry = ConvGeometry.of(x.shape, w.shape, b.shape, *options)
    close(primitives.conv_forward(x, w, b, geometry), y)
    close(primitives.conv_grad_input(grad_y, w, geometry), grad_x)
    close(primitives.conv_grad_weight(x, grad_y, geometry), grad_w)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(3, 1, 0, 1), ((2, 3), (2, 1), (1, 2), (2, 1)), (1, 3, 0, 1)],
)
def test_im2col_is_unfold_and_col2im_fold(primitives, kernel, stride, padding, dilation):
    [x] = tensors((2, 3, 7, 8))
    cols = F.unfold(x, kernel, dilation, padding, stride)
    [x] = arrays(x)
    kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
    geometry = ConvGeometry.of(x.shape, (1, 3, *kernels), None, stride, padding, dilation)
    close(primitives.im2col(x, geometry), cols)
    wanted = F.fold(cols, (7, 8), kernel, dilation, padding, stride)
    close(primitives.col2im(cols.detach().numpy(), geometry), wanted)


MAX_POOLS = [
    # size, kernel, stride, padding, dilation, ceil_mode
    ((8, 8), 2, None, 0, 1, False),
    ((7, 9), 2, None, 0, 1, True),
    ((7, 9), 3, 2, 1, 1, False),
    ((7, 9), 3, 2, 1, 1, True),
    ((9, 8), (3, 2), (1, 2), 1, (2, 3), True),
    ((6, 6), 3, 1, 1, 1, False),
    ((5, 5), 2, 4, 1, 1, True),  # a window in the padding behind is dropped
    ((2, 3), 3, 2, 0, 1, True),  # a kernel larger than the input
]


@pytest.mark.parametrize("special", [None, NAN, INF, -INF, "ties"])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation", "ceil"), MAX_POOLS)
def test_max_pool(primitives, size, kernel, stride, padding, dilation, ceil, special):
    rng = np.random.default_rng(2)
    values = rng.standard_normal((2, 3, *size))
    if special == "ties":
        values = rng.integers(0, 2, values.shape).astype(float)
    elif special is not None:
        values[rng.random(values.shape) < 0.4] = special
    x = torch.tensor(values, requires_grad=True)
    y, indices = F.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True)
    [grad_y] = tensors(y.shape, seed=1)
    [grad_x] = torch.autograd.grad(y, x, grad_y)
    geometry = PoolGeometry.of(x.shape, kernel, stride, padding, dilation, ceil)
    result, winners = primitives.max_pool_forward(values, geometry)
    close(result, y)
    assert winners.dtype == np.int64
    assert np.array_equal(winners, indices.numpy())
    close(primitives.max_pool_backward(grad_y.detach().numpy(), winners, values.shape), grad_x)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("divisor", [None, 5, -2])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "ceil"),
    [
        ((8, 8), 2, None, 0, False),
        ((7, 9), 3, 2, 1, False),
        ((7, 9), 3, 2, 1, True),
        ((8, 7), (4, 3), (3, 1), (2, 1), True),
        ((5, 5), 2, 4, 1, True),
        ((6, 5), 2, 3, 0, False),
    ],
)
def test_avg_pool(primitives, size, kernel, stride, padding, ceil, count_include_pad, divisor):
    [x] = tensors((2, 3, *size))
    y = F.avg_pool2d(x, kernel, stride, padding, ceil, count_include_pad, divisor)
    [grad_y] = tensors(y.shape, seed=1)
    [grad_x] = torch.autograd.grad(y, x, grad_y)
    x, grad_y = arrays(x, grad_y)
    geometry = PoolGeometry.of(x.shape, kernel, stride, padding, 1, ceil, "avg_pool2d")
    options = (geometry, count_include_pad, divisor)
    close(primitives.avg_pool_forward(x, *options), y)
    close(primitives.avg_pool_backward(grad_y, x.shape, *options), grad_x)


@pytest.mark.parametrize("out_size", [1, 3, (2, 5), (None, 4), (9, 11), (7, 8)])
def test_adaptive_pools(primitives, out_size):
    [x] = tensors((2, 3, 7, 8))
    sizes = adaptive_out_size(x.shape, out_size)
    y = F.adaptive_avg_pool2d(x, out_size)
    [grad_y] = tensors(y.shape, seed=1)
    [grad_x] = torch.autograd.grad(y, x, grad_y)
    top, indices = F.adaptive_max_pool2d(x, out_size, return_indices=True)
    [grad_top] = torch.autograd.grad(top, x, grad_y)
    x, grad_y = arrays(x, grad_y)
    close(primitives.adaptive_avg_pool_forward(x, sizes), y)
    close(primitives.adaptive_avg_pool_backward(grad_y, x.shape), grad_x)
    result, winners = primitives.adaptive_max_pool_forward(x, sizes)
    close(result, top)
    assert np.array_equal(winners, indices.numpy())
    close(primitives.max_pool_backward(grad_y, winners, x.shape), grad_top)


def test_adaptive_max_pool_with_nan(primitives):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 7, 8))
    x[rng.random(x.shape) < 0.3] = NAN
    y, indices = F.adaptive_max_pool2d(torch.tensor(x), (3, 5), return_indices=True)
    result, winners = primitives.adaptive_max_pool_forward(x, (3, 5))
    close(result, y)
    assert np.array_equal(winners, indices.numpy())


@pytest.mark.parametrize("shape", [(6, 4), (5, 4, 7), (3, 4, 5, 6), (2, 4, 3, 2, 3)], ids=str)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(primitives, shape, affine):
    x, w, b = tensors(shape, (4,), (4,))
    weight, bias = (w, b) if affine else (None, None)
    y = F.batch_norm(x, None, None, weight, bias, True, eps=1e-3)
    [grad_y] = tensors(shape, seed=1)
    wanted = torch.autograd.grad(y, (x, w, b) if affine else (x,), grad_y)
    given_var = torch.rand(4, dtype=torch.float64)
    inference = F.batch_norm(x, b.detach(), given_var, weight, bias, False, eps=1e-3)
    x, w, b, grad_y, given_var = arrays(x, w, b, grad_y, given_var)
    weight, bias = (w, b) if affine else (None, None)
    result, mean, var = primitives.batch_norm_forward(x, weight, bias, 1e-3)
    close(result, y)
    close(primitives.batch_norm_inference(x, weight, bias, b, given_var, 1e-3), inference)
    inv_std = 1 / np.sqrt(var + 1e-3)
    gradients = primitives.batch_norm_backward(grad_y, x, weight, mean, inv_std)
    for gradient, want in zip(gradients, wanted, strict=False):  # x alone without affine
        close(gradient, want)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(primitives, name, axis):
    [x] = tensors((3, 4, 5))
    x = (30 * x).detach().requires_grad_()
    y = getattr(F, name)(x, axis)
    [grad_y] = tensors(y.shape, seed=1)
    [grad_x] = torch.autograd.grad(y, x, grad_y)
    result = getattr(primitives, f"{name}_forward")(*arrays(x), axis)
    close(result, y)
    close(getattr(primitives, f"{name}_backward")(*arrays(grad_y), result, axis), grad_x)
