"""Batch norm taken into the layer in front of it, beside the two of them and beside PyTorch."""

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.nn.utils import (
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)


def used(norm):
    """Batch norm in evaluation, with statistics and parameters as after some training."""
    with minicnn.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        if norm.affine:
            norm.weight.normal_()
            norm.bias.normal_()
    return norm.eval()


LAYERS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), nn.BatchNorm1d, (2, 4, 8), False),
    "conv2d": (
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d,
        (2, 4, 7, 6),
        False,
    ),
    "without bias": (lambda: nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d, (2, 4, 3, 3), False),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d, (2, 4, 5, 5), False),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2), nn.BatchNorm3d, (2, 4, 3, 3, 3), False),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d, (2, 4, 3, 3), True),
    "transposed in groups": (
        lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),
        nn.BatchNorm2d,
        (2, 4, 3, 3),
        True,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("affine", [True, False])
def test_a_convolution_with_its_batch_norm(name, affine):
    make, norm, shape, transpose = LAYERS[name]
    minicnn.manual_seed(0)
    conv, bn = make().double().eval(), used(norm(6, affine=affine).double())
    before = {k: v.array.copy() for k, v in conv.state_dict().items()}
    fused = fuse_conv_bn_eval(conv, bn, transpose)
    x = minicnn.randn(*shape, dtype=minicnn.float64)
    np.testing.assert_allclose(fused(x).array, bn(conv(x)).array, rtol=1e-12, atol=1e-12)
    assert type(fused) is type(conv) and fused.weight.requires_grad and fused.bias.requires_grad
    for key, value in conv.state_dict().items():
        np.testing.assert_array_equal(value.array, before[key])


def test_a_linear_layer_with_its_batch_norm():
    minicnn.manual_seed(0)
    linear, bn = nn.Linear(5, 3).eval(), used(nn.BatchNorm1d(3))
    linear.weight.requires_grad_(False)
    fused = fuse_linear_bn_eval(linear, bn)
    x = minicnn.randn(4, 5)
    np.testing.assert_allclose(fused(x).array, bn(linear(x)).array, rtol=1e-5, atol=1e-6)
    assert fused.weight.dtype == np.float32
    assert not fused.weight.requires_grad and fused.bias.requires_grad


def test_what_cannot_be_fused():
    conv, bn = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)
    with pytest.raises(RuntimeError, match=r"fuse_conv_bn_eval: the layer is in training mode"):
        fuse_conv_bn_eval(conv, bn)
    with pytest.raises(RuntimeError, match="bn is in training mode"):
        fuse_conv_bn_eval(conv.eval(), bn)
    with pytest.raises(ValueError, match="bn expects 3 channels, has 4"):
        fuse_conv_bn_eval(conv, nn.BatchNorm2d(4).eval())
    with pytest.raises(ValueError, match="running statistics"):
        fuse_conv_bn_eval(conv, nn.BatchNorm2d(3, track_running_stats=False).eval())
    with pytest.raises(RuntimeError, match="fuse_linear_bn_eval: the layer is in training"):
        fuse_linear_bn_eval(nn.Linear(2, 3), bn)


@pytest.mark.parametrize("linear", [False, True])
def test_parity(linear):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 4) if linear else (3, 4, 2, 2)).astype("f")
    b, mean, weight, bias = rng.normal(size=(4, 3)).astype("f")
    var = rng.uniform(0.5, 2, 3).astype("f")

    def call(lib, fuse):
        arrays = [lib.from_numpy(a.copy()) for a in (w, b, mean, var, weight, bias)]
        return fuse(*arrays[:4], 1e-3, *arrays[4:])

    ours, theirs = (
        (fuse_linear_bn_weights, torch.nn.utils.fusion.fuse_linear_bn_weights)
        if linear
        else (fuse_conv_bn_weights, torch.nn.utils.fusion.fuse_conv_bn_weights)
    )
    for found, wanted in zip(call(minicnn, ours), call(torch, theirs), strict=True):
        np.testing.assert_allclose(found.array, wanted.numpy(), rtol=1e-5, atol=1e-6)
        assert isinstance(found, nn.Parameter) and not found.requires_grad
        assert not wanted.requires_grad
