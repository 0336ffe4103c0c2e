"""Draws the README's looks into a trained network, from a run folder, into docs/.

    python scripts/pictures.py runs/resnet20-cifar10 [--data-dir DIR] [--out docs]

    filters.png     the first convolution's weights
    maps.png        what three layers answer to one image
    cam.png         Grad-CAM on images of eight classes
    field.png       what the centre unit of three layers sees, by theory and by gradient
    mistakes.png    the test images that the network is most wrong about

The same run gives the same bytes. A minute on a CPU for a ResNet-20.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import models
from minicnn.cli import runs
from minicnn.explain import (
    effective_receptive_field,
    feature_maps,
    grad_cam,
    receptive_fields,
    show_filters,
    worst_mistakes,
)
from minicnn.explain.attribution import draw_over
from minicnn.explain.features import first_filters, scale_of
from minicnn.explain.picture import drawing, png_of, show_image, visible
from minicnn.interop.files import write_bytes

_CLASSES = 8  # in the picture of Grad-CAM
_MAPS = 8  # of each layer
_FIELD_SIDE = 96  # of the noise that fields are measured with: larger than what most units see


def main() -> None:
    """Reads the command line, draws, and says what was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    given = parser.parse_args()
    run = runs.open_run(given.run, data_dir=given.data_dir)
    result = runs.test(run)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures(run, result):
        path = given.out / f"{name}.png"
        write_bytes(path, png_of(figure))
        print(f"{path}  {path.stat().st_size:,} bytes")


def figures(run: Any, result: Any) -> Any:
    """(name, figure), one after the other."""
    model, images, classes = run.model, result.images, run.data.classes
    info = models.info(run.name)
    right = np.flatnonzero(result.guesses == images.targets)
    layers = _three_layers(model, run, info.cam)
    yield "filters", show_filters(model, first_filters(model)).figure()
    yield "maps", _maps(model, images, int(right[0]), layers)
    chosen = [int(right[images.targets[right] == k][0]) for k in sorted(set(images.targets[right]))]
    yield "cam", _cams(model, images, chosen[:_CLASSES], classes, info.cam)
    yield "field", _fields(model, layers, _largest(model, run.data))
    worst = worst_mistakes(images.data, images.targets, result.logits, classes, 15)
    yield "mistakes", worst.figure()


def _three_layers(model: Any, run: Any, last: str) -> list[str]:
    """Modules at the end of the three last resolutions up to Grad-CAM's layer, by their jumps."""
    size = (run.data.channels, run.data.image_size, run.data.image_size)
    found: dict[Any, str] = {}
    for name, field in receptive_fields(model, size).items():
        if field is not None and name and not field.sees_all and name.count(".") == 0:
            found[field.jump] = name
        if name == last:
            break
    return [*found.values()][-3:] if len(found) >= 3 else _leaves(model, size, last)


def _leaves(model: Any, size: tuple[int, int, int], last: str) -> list[str]:
    """The same among all modules, for networks whose stages are no modules of their own."""
    found: dict[Any, str] = {}
    for name, field in receptive_fields(model, size).items():
        if field is not None and name.startswith(last) and not field.sees_all and name != last:
            found[field.jump] = name
    return [*found.values()][-3:]


def _maps(model: Any, images: Any, n: int, layers: Sequence[str]) -> Any:
    """A line of maps for each layer, the image in front."""
    x = images[n][0][None]
    figure = drawing(9, 1.02 * len(layers) + 0.1)
    grid = figure.subplots(len(layers), _MAPS + 1, squeeze=False)
    for row, layer in zip(grid, layers, strict=True):
        maps = feature_maps(model, x, layer)[0]
        # The strongest ones: some maps of any layer are silent for an image.
        chosen = np.sort(np.argsort(-np.abs(maps).mean((1, 2)), kind="stable")[:_MAPS])
        row[0].axis("off")
        for axes, k in zip(row[1:], chosen, strict=False):
            show_image(axes, maps[k], **scale_of(maps[chosen]))
            axes.set_xlabel(f"map {k}", fontsize=6)
        row[1].set_ylabel(f"{layer}\n{maps.shape[1]}x{maps.shape[2]}", fontsize=8)
        for axes in row[1 + len(chosen) :]:
            axes.axis("off")
    show_image(grid[0, 0], visible(images.data[n]), cmap="gray", vmin=0, vmax=1)
    return figure


def _cams(
    model: Any, images: Any, numbers: Sequence[int], classes: Sequence[str], layer: str
) -> Any:
    """Each image above its Grad-CAM."""
    figure = drawing(9, 2.5)
    grid = figure.subplots(2, len(numbers), squeeze=False)
    for n, (above, below) in zip(numbers, grid.T, strict=True):
        picture = images.data[n]
        found = grad_cam(model, images[n][0], layer, picture=picture, classes=classes)
        show_image(above, found.image, cmap="gray", vmin=0, vmax=1)
        above.set_title(found.name.replace(", ", "\n"), fontsize=8)
        draw_over(below, found.image, found.values)
    return figure


def _largest(model: Any, data: Any) -> tuple[int, int, int]:
    """An image on which fields show whole, if the network takes it; else the run's own size."""
    large = (data.channels, _FIELD_SIDE, _FIELD_SIDE)
    try:
        receptive_fields(model, large)
    except (RuntimeError, ValueError):  # dense layers that were made for one size
        return (data.channels, data.image_size, data.image_size)
    return large


def _fields(model: Any, layers: Sequence[str], size: tuple[int, int, int]) -> Any:
    """What one unit of each layer sees, in dashes by theory."""
    figure = drawing(9, 3.3)
    for axes, layer in zip(figure.subplots(1, len(layers), squeeze=False)[0], layers, strict=True):
        found = effective_receptive_field(model, layer, input_size=size)
        found.draw(axes)
        sees = "?" if found.theory is None else found.theory.describe()[0]
        axes.set_title(f"{layer}: {found.size:.0f} wide, by theory {sees}", fontsize=9)
    return figure


if __name__ == "__main__":
    main()
