"""What holds for every network of the registry, whatever family it is of.

That each of them learns is in tests/cli/test_every_network_trains.py.
"""

from __future__ import annotations

import inspect
import sys

import pytest

import minicnn
from minicnn import models

NAMES = models.list_models()
SIZES = (28, 32, 96)


def made(name, **options):
    return models.create(name, num_classes=3, in_channels=2, **options)


def outputs(result):
    return [y for y in result if y is not None] if isinstance(result, tuple) else [result]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_parameters_is_the_registered_one(name, unfilled):
    options = {"aux_logits": False} if name == "googlenet" else {}  # as its paper counts
    net = models.create(name, **options)
    assert sum(p.numel() for p in net.parameters()) == models.info(name).parameters


@pytest.mark.parametrize("name", NAMES)
def test_the_file_names_its_paper_and_the_number_of_parameters(name):
    info = models.info(name)
    text = sys.modules[info.make.__module__].__doc__
    assert f"{info.parameters:,}" in text, f"{info.parameters:,}"
    assert any(word in text for word in ("arXiv", "Proceedings", "ICLR", "CVPR", "tutorial"))
    assert any(word in text for word in ("sees", "receptive field"))
    assert inspect.getdoc(info.make)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_takes_small_images(name, unfilled):
    sizes = [s for s in SIZES if s >= models.info(name).image_sizes[0]]
    for side in sizes:
        net = made(name, image_size=side).eval()
        for value in net.state_dict().values():
            value.array.fill(0)
        kept = []
        cam = net.get_submodule(models.info(name).cam)
        handle = cam.register_forward_hook(lambda m, x, y, kept=kept: kept.append(y))
        ys = outputs(net(minicnn.zeros(1, 2, side, side)))
        handle.remove()
        assert all(y.shape[0] == 1 and y.ndim == 2 for y in ys)
        assert kept[0].ndim == 4  # what Grad-CAM looks at has height and width


@pytest.mark.parametrize("name", NAMES)
def test_options_that_it_has_not(name):
    with pytest.raises(TypeError):
        models.create(name, no_such_option=1)
