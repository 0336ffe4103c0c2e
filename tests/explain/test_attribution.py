"""Grad-CAM, saliency, integrated gradients and occlusion, on networks with known answers."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models, nn
from minicnn.explain import (
    cam_layer,
    feature_maps,
    grad_cam,
    integrated_gradients,
    occlusion,
    saliency,
    smooth_grad,
)
from minicnn.functional import interpolate, relu

# The smallest network of every family: its larger ones are more of the same.
SMALLEST = sorted(
    min(infos, key=lambda info: info.parameters).name
    for infos in (
        [info for info in models.available().values() if info.family == family]
        for family in {info.family for info in models.available().values()}
    )
)


class Pooled(nn.Module):
    """A network that ends in a global mean and one dense layer, as CAM needs it."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3, 2), nn.ReLU(True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


def linear_net(weight):
    """s[c] = sum of weight[c] * x: gradients and differences are known exactly."""
    weight = np.asarray(weight)
    net = nn.Sequential(nn.Flatten(), nn.Linear(weight[0].size, len(weight), bias=False)).double()
    net[1].weight.array[...] = weight.reshape(len(weight), -1)
    return net


def test_grad_cam_is_cam_where_that_is_defined():
    net, x = Pooled(), minicnn.rand(1, 2, 12, 15)
    for c in range(3):
        found = grad_cam(net, x, target=c)
        maps = net.features(x)
        weights = net.fc.weight[c].reshape(1, 4, 1, 1) / (maps.shape[2] * maps.shape[3])
        cam = relu((weights * maps).sum(1, keepdim=True))
        wanted = interpolate(cam, (12, 15), mode="bilinear").detach().array[0, 0]
        np.testing.assert_allclose(found.values, wanted, atol=1e-7)
        assert found.target == c and found.values.shape == (12, 15)
    assert grad_cam(net, x).method == "Grad-CAM at features (5x7)"


def test_the_default_layer():
    assert cam_layer(Pooled(), minicnn.rand(2, 12, 12)) == "features"
    assert cam_layer(models.lenet(), minicnn.rand(1, 28, 28)) == "features"
    vgg = models.vgg11(image_size=32)
    assert cam_layer(vgg.eval(), minicnn.rand(3, 64, 64)) == "features"
    with pytest.raises(ValueError, match="no layer of this network gives maps"):
        cam_layer(linear_net(np.ones((2, 1, 4, 4))), minicnn.rand(1, 4, 4))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_the_default_maps_are_as_large_as_the_registrys(name):
    """What is found without the registry: the same maps, or an activation or head behind them."""
    info = models.info(name)
    side = next((s for s in info.image_sizes if s >= 64), info.image_sizes[-1])
    net = models.create(name, in_channels=info.input_size[0], num_classes=3, image_size=side)
    image = minicnn.rand(info.input_size[0], side, side)
    default = cam_layer(net, image)
    sizes = {layer: feature_maps(net, image, layer).shape[2:] for layer in (default, info.cam)}
    assert sizes[default] == sizes[info.cam] and min(sizes[default]) > 1, sizes


def test_saliency_of_a_linear_network_is_its_weight():
    weight = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    net, image = linear_net(weight), minicnn.rand(2, 4, 5)
    for c in range(3):
        np.testing.assert_allclose(saliency(net, image, c).values, np.abs(weight[c]).max(0))
    best = int((weight * image.array).sum((1, 2, 3)).argmax())
    guess = saliency(net, image)
    assert guess.target == best and 1 / 3 <= guess.chance <= 1
    smooth = smooth_grad(net, image, 1, samples=3)
    np.testing.assert_allclose(smooth.values, np.abs(weight[1]).max(0))


def test_smooth_grad_repeats_itself_and_keeps_its_class():
    net, image = models.lenet(), minicnn.rand(1, 28, 28)
    a, b = (smooth_grad(net, image, samples=4, noise=2.0, seed=3) for _ in range(2))
    np.testing.assert_array_equal(a.values, b.values)
    assert a.target == saliency(net, image).target
    assert (smooth_grad(net, image, samples=4, seed=4).values != a.values).any()


def test_integrated_gradients_lose_nothing():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 16, 4)).double()
    image, start = (minicnn.rand(2, 6, 6, dtype=minicnn.float64) for _ in range(2))
    found = integrated_gradients(net, image, 2, baseline=start, steps=200)
    growth = (net(image[None]) - net(start[None]))[0, 2].item()
    assert found.values.sum() == pytest.approx(growth, abs=1e-5) and abs(growth) > 1e-3
    weight = np.random.default_rng(0).normal(size=(3, 2, 6, 6))
    exact = integrated_gradients(linear_net(weight), image, 0, steps=1)
    np.testing.assert_allclose(exact.values, (weight[0] * image.array).sum(0))


def test_occlusion_finds_the_pixel_that_matters():
    weight = np.zeros((2, 1, 8, 8))
    weight[0, 0, 2, 5] = 3
    image = np.zeros((1, 8, 8))
    image[0, 2, 5] = 1
    net = linear_net(weight)
    found = occlusion(net, image, patch=3, stride=1, fill=0, batch_size=7)
    chance = 1 / (1 + np.exp(-3))
    assert found.target == 0 and found.chance == pytest.approx(chance)
    assert found.values[2, 5] == pytest.approx(chance - 0.5)  # every patch over it takes all
    assert found.values[2, 4] == pytest.approx((chance - 0.5) * 2 / 3)
    assert not found.values[:, :3].any() and not found.values[5:].any()
    once = occlusion(net, image, patch=8, fill=0)
    np.testing.assert_allclose(once.values, chance - 0.5)
    assert np.isfinite(occlusion(net, image, 1, patch=5, stride=4).values).all()


def test_scores_of_other_outputs():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.conv(x)

    image = minicnn.rand(1, 8, 8)
    with pytest.raises(ValueError, match=r"gives the shape \(1, 2, 6, 6\), not \(1, classes\)"):
        saliency(Heads(), image)
    found = saliency(Heads(), image, lambda y: y[0, 1, 2, 3])
    assert np.argwhere(found.values).min(0).tolist() == [2, 3] and found.target is None
    assert found.name == "the score"
    with pytest.raises(TypeError, match="occlusion: target expects a class"):
        occlusion(Heads(), image, lambda y: y)


def test_nothing_is_left_behind():
    net, image = Pooled().train(), minicnn.rand(2, 12, 12)
    net.requires_grad_(False)
    for look in (grad_cam, saliency, smooth_grad, integrated_gradients, occlusion):
        look(net, image)
    assert all(m.training and not m._forward_hooks for m in net.modules())
    assert not image.requires_grad and all(p.grad is None for p in net.parameters())


def test_pictures(tmp_path):
    net, image = models.lenet(), minicnn.rand(1, 28, 28)
    classes = [f"digit {k}" for k in range(10)]
    found = grad_cam(net, image, target=7, classes=classes)
    assert found.name.startswith("digit 7, ") and found.figure().axes[0].get_title() == found.name
    found.save(tmp_path / "cam.png")
    assert (tmp_path / "cam.png").read_bytes() == found.png()


@pytest.mark.parametrize("shape", [(3, 50, 40), (50, 40, 3), (50, 40)])
def test_a_map_lies_over_the_whole_of_a_picture_of_another_size(shape):
    shown = np.zeros(shape, np.uint8)
    found = saliency(models.lenet(), minicnn.rand(1, 28, 28), 1, picture=shown)
    left, right = found.figure().axes[:2]
    grey, laid = right.images
    assert left.images[0].get_array().shape[:2] == grey.get_array().shape == (50, 40)
    assert grey.get_extent() == laid.get_extent() == [-0.5, 39.5, 49.5, -0.5]
    assert found.png().startswith(b"\x89PNG")


def test_errors():
    net, image = models.lenet(), minicnn.rand(1, 28, 28)
    with pytest.raises(ValueError, match=r"grad_cam: no layer 'feature', there are features, "):
        grad_cam(net, image, "feature")
    with pytest.raises(ValueError, match=r"'classifier.0' gives the shape \(1, 120\)"):
        grad_cam(net, image, "classifier.0")
    with pytest.raises(ValueError, match="saliency: target expects a class below 10, got 10"):
        saliency(net, image, 10)
    with pytest.raises(ValueError, match=r"patch expects 1 to 28 and stride 1 to patch, got 29, 7"):
        occlusion(net, image, patch=29)
    with pytest.raises(ValueError, match=r"stride 1 to patch, got 4, 5"):
        occlusion(net, image, patch=4, stride=5)
    with pytest.raises(ValueError, match=r"patch expects an integer of at least 1, got 2\.5"):
        occlusion(net, image, patch=2.5)
    with pytest.raises(ValueError, match="stride expects an integer of at least 1, got 0"):
        occlusion(net, image, stride=0)
    with pytest.raises(TypeError, match=r"saliency: target expects the number .* got 1.5"):
        saliency(net, image, 1.5)
    with pytest.raises(ValueError, match="smooth_grad: samples expects an integer of at least 1"):
        smooth_grad(net, image, samples=0)
    with pytest.raises(ValueError, match="steps expects an integer of at least 1, got 0"):
        integrated_gradients(net, image, steps=0)
    with pytest.raises(ValueError, match="batch_size expects an integer of at least 1, got 0"):
        occlusion(net, image, batch_size=0)

    class Silent(nn.Module):
        def forward(self, x):
            return None

    with pytest.raises(ValueError, match="saliency: the network returned no tensor"):
        saliency(Silent(), image)


def test_a_network_that_diverged_still_has_a_picture():
    net = models.lenet()
    net.classifier[4].bias.array[...] = np.nan
    net.features[3].weight.array[...] = np.nan
    found = grad_cam(net, minicnn.rand(1, 28, 28), target=9, classes=["zero", "one"])
    assert np.isnan(found.values).any() and found.png().startswith(b"\x89PNG")
    assert found.name.startswith("class 9")


def test_a_module_of_two_names_answers_to_both():
    net = nn.Sequential(nn.Conv2d(2, 2, 3))
    net.again = net[0]
    image = minicnn.rand(2, 9, 9)
    np.testing.assert_array_equal(feature_maps(net, image, "again"), feature_maps(net, image, "0"))
