"""Feature maps and filters: the layer's own numbers, pictures of them, and no trace left."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models, nn
from minicnn.explain import (
    confusion,
    feature_maps,
    show_feature_maps,
    show_filters,
    worst_mistakes,
)
from minicnn.explain.features import first_filters, scale_of
from minicnn.explain.picture import visible

PNG = b"\x89PNG\r\n\x1a\n"


def net():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(4)
    )


def test_maps_are_what_the_layer_returns():
    model, x = models.lenet(), minicnn.rand(3, 1, 28, 28)
    first = feature_maps(model, x, "features.0")
    np.testing.assert_array_equal(first, model.features[0](x).detach().array)
    np.testing.assert_array_equal(feature_maps(model, x, ""), model(x).detach().array)
    alone = feature_maps(model, x[:1], "features.0")
    np.testing.assert_array_equal(feature_maps(model, x[0], model.features[0]), alone)
    np.testing.assert_allclose(alone, first[:1], rtol=0, atol=1e-6)


def test_a_later_change_in_place_does_not_show():
    model, x = net(), minicnn.rand(1, 3, 8, 8)
    before = feature_maps(model, x, "1")
    assert before.min() < 0 and feature_maps(model, x, "2").min() == 0


def test_the_model_is_left_as_it_was():
    model = net()
    model(minicnn.rand(2, 3, 8, 8))
    model[1].eval()
    state = {k: v.array.copy() for k, v in model.state_dict().items()}
    show_feature_maps(model, minicnn.rand(3, 8, 8), "2")
    with pytest.raises(ValueError, match="x has 2"):
        feature_maps(model, minicnn.rand(1, 2, 8, 8), "2")
    assert [m.training for m in model.modules()] == [True, True, False, True, True, True]
    assert not any(m._forward_hooks for m in model.modules())
    assert all((v.array == state[k]).all() for k, v in model.state_dict().items())


def test_row_0_is_the_top_whatever_the_users_style():
    matplotlib = pytest.importorskip("matplotlib")
    model, image = nn.Sequential(nn.Conv2d(1, 2, 3)), minicnn.rand(1, 9, 9)
    wrong = worst_mistakes(image[None], np.array([0]), np.array([[0.0, 1.0]]), ["a", "b"])
    mixed = confusion(np.array([0, 1]), np.array([1, 0]), ["a", "b"])
    maps, filters = show_feature_maps(model, image, "0"), show_filters(model, "0")
    with matplotlib.rc_context({"image.origin": "lower"}):
        for picture in (maps, filters, wrong, mixed):
            shown = [im for axes in picture.figure().axes for im in axes.get_images()]
            assert shown and {im.origin for im in shown} == {"upper"}


def test_pictures(tmp_path):
    model, image = net(), minicnn.rand(3, 9, 12)
    maps = show_feature_maps(model, image, "0", most=5)
    assert maps.values.shape == (6, 7, 10) and maps.image.shape == (9, 12, 3)
    maps.save(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").read_bytes() == maps.png() == maps._repr_png_()
    assert maps.png().startswith(PNG) and "the first 5" in maps.figure().get_suptitle()
    filters = show_filters(model, "0")
    np.testing.assert_array_equal(filters.values, model[0].weight.detach().array)
    assert filters.figure().get_suptitle() == "0: 6 filters of 3x3, in colours"
    second = nn.Sequential(nn.Conv2d(4, 40, 3))
    title = show_filters(second, "0", most=33).figure().get_suptitle()
    assert title == "0: 40 filters of 3x3, the first 33, summed over 4 channels"
    assert first_filters(model) == "0"
    with pytest.raises(ValueError, match="this network has no convolution"):
        first_filters(nn.Linear(1, 1))


def test_errors_name_what_there_is():
    model = net()
    with pytest.raises(ValueError, match=r"feature_maps: no layer 'conv', there are 0, 1, 2, 3, 4"):
        feature_maps(model, minicnn.rand(1, 3, 8, 8), "conv")
    with pytest.raises(ValueError, match=r"'3' gives the shape \(1, 216\), which has no height"):
        show_feature_maps(model, minicnn.rand(3, 8, 8), "3")
    with pytest.raises(ValueError, match=r"image expects one, .* got shape \(2, 3, 8, 8\)"):
        show_feature_maps(model, minicnn.rand(2, 3, 8, 8), "3")
    with pytest.raises(ValueError, match=r"'2' has no filters; these have: 0"):
        show_filters(model, "2")
    many = nn.Sequential(*(nn.Sequential(nn.Sequential(nn.ReLU())) for _ in range(50)))
    with pytest.raises(ValueError, match=r"and 90 more \(summary\(\) shows all\); did you mean"):
        feature_maps(many, minicnn.rand(1, 3, 8, 8), "49.1")
    lenet = models.lenet()
    lenet.spare = nn.ReLU()
    with pytest.raises(ValueError, match="the layer 'spare' gave no tensor for this input"):
        feature_maps(lenet, minicnn.rand(1, 1, 28, 28), "spare")


def test_colours():
    assert scale_of(np.array([-3.0, 1, np.nan])) == {"cmap": "RdBu_r", "vmin": -3.0, "vmax": 3.0}
    assert scale_of(np.array([0.0, 2])) == {"cmap": "viridis", "vmin": 0.0, "vmax": 2.0}
    assert scale_of(np.array([np.nan]))["vmin"] == 0
    assert visible(np.full((1, 3, 4, 5), 255, np.uint8)).shape == (4, 5, 3)
    grey = visible(np.array([[[-1.0, 3.0]]]))
    np.testing.assert_array_equal(grey, [[0, 1]])
    np.testing.assert_array_equal(visible(np.array([[0.25, 0.5]])), [[0.25, 0.5]])


def test_other_dtypes_and_devices_come_along():
    model = nn.Sequential(nn.Conv2d(1, 2, 3)).double()
    assert feature_maps(model, np.ones((1, 1, 4, 4), np.float32), "0").dtype == np.float64
