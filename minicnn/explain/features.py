"""What layers answer, and what their filters look like.

    feature_maps(model, x, "features.3")                  the array, (N, F, OH, OW)
    show_feature_maps(model, image, "features.3")         a picture of it, map by map
    show_filters(model, "conv1")                          a picture of its weights

Maps whose numbers are of both signs are drawn blue below zero and red above, white at it; maps
without negative numbers (behind a ReLU) from dark to bright. All maps of a picture share one scale,
so that a pale one is a weak one. Filters of a first layer with three channels are drawn in their
colours, the sum of all channels where a layer has others; they share one scale around zero, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .picture import (
    Picture,
    at_least_one,
    batch_of,
    drawing,
    evaluated,
    on_cpu,
    one_image,
    resolved,
    show_image,
    title_of,
    visible,
)

__all__ = ["FeatureMaps", "Filters", "feature_maps", "show_feature_maps", "show_filters"]

_ACROSS = 8  # maps in a line


def feature_maps(model: Any, x: Any, layer: Any) -> np.ndarray:
    """What a layer returns for x, as an array of the CPU.

    Args:
        x: (N, C, H, W), or one image (C, H, W): taken as a batch of one.
        layer: the path of a module ("features.3"), or the module. Of several calls, the last one's.

    The model is run in evaluation mode without a graph, and is left as it was. A change in place by
    a later layer does not show. Raises ValueError for a layer that the network does not have, with
    the names of those it has.
    """
    name = resolved("feature_maps", model, layer)
    x = batch_of("feature_maps", model, None, x)
    return on_cpu(evaluated("feature_maps", model, x, name)[0])


class FeatureMaps(Picture):
    """The maps of one layer for one image: `values` (F, OH, OW); `layer` is its path."""

    def __init__(self, values: np.ndarray, layer: str, image: np.ndarray, most: int):
        super().__init__(values)
        self.layer, self.image, self.most = layer, image, most

    def figure(self) -> Any:
        """The image, and the first maps beside it, in reading order."""
        shown = self.values[: self.most]
        rows = math.ceil(len(shown) / _ACROSS)
        across = min(_ACROSS, len(shown))
        cell = 0.92
        H, W = shown.shape[1:]
        high = cell * min(max(H / W, 0.5), 2)
        side = max(2, min(rows, 3)) * cell + 0.3
        figure = drawing(side + across * cell + 0.9, max(rows * high, side) + 0.5)
        left, right = figure.subfigures(1, 2, width_ratios=[side, across * cell + 0.9])
        axes = left.subplots()
        show_image(axes, self.image, cmap="gray", vmin=0, vmax=1)
        axes.set_title("input", fontsize=9)
        grid = np.atleast_1d(right.subplots(rows, across, squeeze=False)).ravel()
        scale = scale_of(shown)
        for k, axes in enumerate(grid):
            axes.axis("off")
            if k < len(shown):
                drawn = show_image(axes, shown[k], **scale)
        bar = right.colorbar(drawn, ax=list(grid), fraction=0.04, aspect=25)
        bar.ax.tick_params(labelsize=8)
        figure.get_layout_engine().set(hspace=0.02, wspace=0.02, h_pad=0.02, w_pad=0.02)
        count = f"{len(self.values)} maps of {H}x{W}"
        some = f", the first {len(shown)}" if len(shown) < len(self.values) else ""
        figure.suptitle(f"{title_of(self.layer)}: {count}{some}", fontsize=10)
        return figure


def show_feature_maps(
    model: Any, image: Any, layer: Any, *, picture: Any = None, most: int = 32
) -> FeatureMaps:
    """The maps of a layer for one image.

    Args:
        image: (C, H, W) or (1, C, H, W), as the network takes it.
        layer: as in feature_maps.
        picture: what to show as the input, (H, W), (C, H, W) or (H, W, 3): uint8, or floats in
            [0, 1]; the image itself, stretched to [0, 1], unless given.
        most: how many maps the figure has at most.

    Raises ValueError as feature_maps, and for a layer whose output has no height and width.
    """
    function = "show_feature_maps"
    name = resolved(function, model, layer)
    at_least_one(function, "most", most)
    x = one_image(function, model, image)
    maps = on_cpu(evaluated(function, model, x, name)[0])
    if maps.ndim != 4:
        raise ValueError(
            f"{function}: {name!r} gives the shape {maps.shape}, which has no height and width"
        )
    return FeatureMaps(maps[0], name, visible(x if picture is None else picture), most)


class Filters(Picture):
    """The weights of one convolution: `values` (F, C/groups, KH, KW); `layer` is its path."""

    def __init__(self, values: np.ndarray, layer: str, most: int):
        super().__init__(values)
        self.layer, self.most = layer, most

    def figure(self) -> Any:
        """The first filters, in reading order: in colours, or summed over channels."""
        F, C, KH, KW = self.values.shape
        shown = self.values[: self.most].astype(np.float64)
        across = min(16 if len(shown) > 32 else _ACROSS, len(shown))
        rows = math.ceil(len(shown) / across)
        cell = 0.55 if across > _ACROSS else 0.8
        figure = drawing(max(across * cell + (0 if C == 3 else 0.8), 3.6), rows * cell + 0.6)
        grid = np.atleast_1d(figure.subplots(rows, across, squeeze=False)).ravel()
        planes = shown if C == 3 else shown.sum(1)
        most = max(float(np.abs(planes).max()), 1e-12)
        for k, axes in enumerate(grid):
            axes.axis("off")
            if k >= len(shown):
                continue
            if C == 3:
                show_image(axes, np.moveaxis(0.5 + planes[k] / (2 * most), 0, -1))
            else:
                drawn = show_image(axes, planes[k], cmap="RdBu_r", vmin=-most, vmax=most)
        if C != 3:
            bar = figure.colorbar(drawn, ax=list(grid), fraction=0.04, aspect=25)
            bar.ax.tick_params(labelsize=8)
        figure.get_layout_engine().set(hspace=0.02, wspace=0.02, h_pad=0.02, w_pad=0.02)
        some = f", the first {len(shown)}" if len(shown) < F else ""
        how = {1: "", 3: ", in colours"}.get(C, f", summed over {C} channels")
        title = f"{title_of(self.layer)}: {F} filters of {KH}x{KW}{some}{how}"
        figure.suptitle(title, fontsize=10)
        return figure


def show_filters(model: Any, layer: Any, *, most: int = 64) -> Filters:
    """The weights of a convolution.

    layer: the path of a module with a `weight` (F, C/groups, KH, KW), or the module; most: how many
    filters the figure has at most. Raises ValueError for a layer that does not exist, or another
    kind of layer, with the names of those that fit.
    """
    name = resolved("show_filters", model, layer)
    at_least_one("show_filters", "most", most)
    weight = getattr(dict(model.named_modules())[name], "weight", None)
    if weight is None or weight.ndim != 4:
        fits = [path for path, m in model.named_modules() if _has_filters(m)]
        raise ValueError(
            f"show_filters: {name!r} has no filters; these have: {', '.join(fits) or 'none'}"
        )
    return Filters(on_cpu(weight.detach()).copy(), name, most)


def first_filters(model: Any) -> str:
    """The path of the first convolution. ValueError if there is none."""
    for path, module in model.named_modules():
        if _has_filters(module):
            return path
    raise ValueError("filters: this network has no convolution")


def _has_filters(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and getattr(weight, "ndim", 0) == 4


def scale_of(values: np.ndarray) -> dict[str, Any]:
    """Colours for numbers of both signs (blue, white, red) or of one (dark to bright)."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low < 0:
        most = max(-low, high, 1e-12)
        return {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
    return {"cmap": "viridis", "vmin": 0.0, "vmax": max(high, 1e-12)}
