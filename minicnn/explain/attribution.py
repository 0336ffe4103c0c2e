"""Which pixels speak for a class: Grad-CAM, saliency, integrated gradients, occlusion.

In all of them s is the score of one class c: the network's output before the softmax.


Grad-CAM
--------
Let A[k,i,j] be the maps of a layer, the last ones that still have height and width. How much map k
speaks for the class is the mean of its gradient, and the maps are added up with these weights:

(1)  a[k] = mean over i,j of ds / dA[k,i,j]
(2)  L[i,j] = max(0, sum over k of a[k] * A[k,i,j])

What is below zero speaks for other classes, and is cut off. If a global mean and one dense layer
follow the maps, s = sum over k of w[k] * mean of A[k] + b, so that a[k] = w[k] / (OH*OW): the map
of that class exactly, known as CAM. L is enlarged to the image by bilinear interpolation: (R. R.
Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based
localization", ICCV 2017, arXiv:1610.02391, equations 1 and 2).


Saliency
--------
To first order s(x + d) = s(x) + sum of g * d with g = ds/dx, so |g| says which pixels need to
change least to change s most:

(3)  M[h,k] = max over c of |ds / dx[c,h,k]|

(K. Simonyan, A. Vedaldi, A. Zisserman, "Deep inside convolutional networks", 2014,
arXiv:1312.6034, section 3.) The map flickers from one image to the next that looks alike.
SmoothGrad is the mean of the maps of images with noise added (D. Smilkov et al., 2017,
arXiv:1706.03825).


Integrated gradients
--------------------
Along a path from a baseline x0 to x, s grows by the integral of its gradient. On the straight one

(4)  I[c,h,k] = (x - x0)[c,h,k] * integral over t from 0 to 1 of ds/dx[c,h,k] at x0 + t*(x - x0)

and the I of all pixels add up to s(x) - s(x0): nothing is lost. The integral is a sum over the
middles of `steps` equal parts. (M. Sundararajan, A. Taly, Q. Yan, "Axiomatic attribution for deep
networks", ICML 2017, arXiv:1703.01365.)


Occlusion
---------
No gradient at all: a patch is covered, and the fall of the class's probability is noted. A pixel's
number is the mean fall over all patches that covered it (M. Zeiler, R. Fergus, "Visualizing and
understanding convolutional networks", ECCV 2014, arXiv:1311.2901, section 4.2).


All of them run the network in evaluation mode and leave it as it was: modes, gradients, hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import index
from typing import Any

import numpy as np

from .. import functional
from ..autograd import Tensor, enable_grad, grad, no_grad
from ..functional.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool
from ..nn.trace import tensors_in, trace
from ..train.modes import evaluating
from .features import scale_of
from .picture import (
    Picture,
    at_least_one,
    drawing,
    listening,
    on_cpu,
    one_image,
    resolved,
    show_image,
    title_of,
    visible,
)

__all__ = [
    "Attribution",
    "cam_layer",
    "grad_cam",
    "integrated_gradients",
    "occlusion",
    "saliency",
    "smooth_grad",
]

Target = int | Callable[[Any], Any] | None


class Attribution(Picture):
    """How much each pixel speaks for a class: `values` (H, W), in the method's own units.

    `target` is the class (None where a function chose the score), `chance` its probability, and
    `method` what made the map.
    """

    def __init__(
        self,
        values: np.ndarray,
        method: str,
        image: np.ndarray,
        target: int | None = None,
        chance: float | None = None,
        classes: Sequence[str] | None = None,
    ):
        super().__init__(values)
        self.method, self.image = method, image
        self.target, self.chance, self.classes = target, chance, classes

    @property
    def name(self) -> str:
        """The class in words, with its probability."""
        if self.target is None:
            return "the score"
        known = self.classes is not None and self.target < len(self.classes)
        name = self.classes[self.target] if self.classes and known else f"class {self.target}"
        return name if self.chance is None else f"{name}, {self.chance:.0%}"

    def figure(self) -> Any:
        """The image, and the map laid over its grey copy."""
        H, W = self.values.shape
        figure = drawing(6.6, min(max(2.9 * H / W, 1.5), 5) + 0.5)
        left, right = figure.subplots(1, 2)
        show_image(left, self.image, cmap="gray", vmin=0, vmax=1)
        left.set_title(self.name, fontsize=10)
        drawn = draw_over(right, self.image, self.values)
        right.set_title(self.method, fontsize=10)
        bar = figure.colorbar(drawn, ax=right, fraction=0.046)
        bar.ax.tick_params(labelsize=8)
        return figure


def draw_over(axes: Any, image: np.ndarray, values: np.ndarray) -> Any:
    """A map (H, W) laid over the grey copy of an image in [0, 1]; what imshow returns for it.

    An image of another size is what the map is stretched over.
    """
    height, width = image.shape[:2]
    grey = image if image.ndim == 2 else image @ [0.299, 0.587, 0.114]
    show_image(axes, grey, cmap="gray", vmin=0, vmax=1)
    scale = scale_of(values)
    if scale["cmap"] == "viridis":
        scale["cmap"] = "inferno"
    # The more a pixel says, the less of the image shows through it.
    sizes = np.nan_to_num(np.abs(values), posinf=0)  # a network that diverged gives NaN
    strength = sizes / max(float(sizes.max()), 1e-12)
    frame = (-0.5, width - 0.5, height - 0.5, -0.5)
    return show_image(axes, values, alpha=0.2 + 0.6 * strength, extent=frame, **scale)


# ---------------------------------------------------------------------- Grad-CAM


def grad_cam(
    model: Any,
    image: Any,
    layer: Any = None,
    target: Target = None,
    *,
    picture: Any = None,
    classes: Sequence[str] | None = None,
) -> Attribution:
    """Where a layer's maps speak for a class: formulas (1) and (2), enlarged to the image.

    Args:
        image: (C, H, W) or (1, C, H, W), as the network takes it.
        layer: the path of a module, or the module; `cam_layer(model, image)` unless given.
        target: the class; the one with the largest score unless given; or a function of the
            network's output that gives the score, where that is no (1, classes).
        picture: what to show as the image, (H, W), (C, H, W) or (H, W, 3), of any size: uint8, or
            floats in [0, 1].
        classes: their names.

    Raises ValueError for a layer that the network does not have, with the names of those it has,
    for one without height and width, and for a class that does not exist.
    """
    x = one_image("grad_cam", model, image)
    name = cam_layer(model, x) if layer is None else resolved("grad_cam", model, layer)
    with evaluating(model), enable_grad(), listening("grad_cam", model, name) as heard:
        # The input asks for a gradient, so that layers without trainable parameters have one too.
        output = model(x.clone().requires_grad_())
        score, chosen, chance = _score("grad_cam", output, target)
    maps = heard[-1]
    if maps.ndim != 4:
        raise ValueError(
            f"grad_cam: {name!r} gives the shape {tuple(maps.shape)}, which has no height and width"
        )
    (slope,) = grad(score, maps, materialize_grads=True)
    with no_grad():
        weights = slope.mean((2, 3), keepdim=True)
        raw = functional.relu((weights * maps).sum(1, keepdim=True)).float()
        sized = functional.interpolate(raw, tuple(x.shape[2:]), mode="bilinear")
    method = f"Grad-CAM at {title_of(name)} ({maps.shape[2]}x{maps.shape[3]})"
    shown = visible(x if picture is None else picture)
    return Attribution(on_cpu(sized)[0, 0], method, shown, chosen, chance, classes)


def cam_layer(model: Any, image: Any) -> str:
    """The path of the module whose output are the last maps with height and width.

    Maps that are larger than one place, and were not made by adaptive pooling; of several modules
    that returned them, the outermost. ValueError if there is none.
    """
    x = one_image("cam_layer", model, image)
    with evaluating(model):
        record = trace(model, x)
    best, found = 0, None
    for call in record.module_calls:
        value = call.outputs[0] if call.path and call.outputs else None
        if value is None or value.call is None or len(value.shape) != 4:
            continue
        pooled = value.call.function in (AdaptiveAvgPool, AdaptiveMaxPool)
        if max(value.shape[2:]) > 1 and not pooled and value.number > best:
            best, found = value.number, call.path
    if found is None:
        raise ValueError(
            "grad_cam: no layer of this network gives maps (N, F, OH, OW) of more than one place "
            f"for an image of {x.shape[2]}x{x.shape[3]}"
        )
    return found


def _score(function: str, output: Any, target: Target) -> tuple[Any, int | None, float | None]:
    """The number to explain, the class that it is the score of, and the class's probability."""
    if callable(target):
        return target(output), None, None
    scores = next(tensors_in(output), None)
    if scores is None:
        raise ValueError(f"{function}: the network returned no tensor")
    if scores.ndim != 2 or len(scores) != 1:
        raise ValueError(
            f"{function}: the network gives the shape {tuple(scores.shape)}, not (1, classes): "
            "target expects a function of it that gives a score"
        )
    count = scores.shape[1]
    try:
        chosen = int(on_cpu(scores)[0].argmax()) if target is None else index(target)
    except TypeError:
        raise TypeError(
            f"{function}: target expects the number of a class, a function of the output or None, "
            f"got {target!r}"
        ) from None
    if not 0 <= chosen < count:
        raise ValueError(f"{function}: target expects a class below {count}, got {target}")
    chance = functional.softmax(scores.detach().float(), 1)[0, chosen].item()
    return scores[0, chosen], chosen, chance


# ---------------------------------------------------------------------- gradients of the image


def _slope(function: str, model: Any, x: Tensor, target: Target) -> tuple[np.ndarray, Any, Any]:
    """ds/dx as an array (C, H, W), the class and its probability."""
    one = x.detach().clone().requires_grad_()
    with evaluating(model), enable_grad():
        score, chosen, chance = _score(function, model(one), target)
    (slope,) = grad(score, one, materialize_grads=True)
    return on_cpu(slope)[0].astype(np.float64), chosen, chance


def saliency(
    model: Any,
    image: Any,
    target: Target = None,
    *,
    picture: Any = None,
    classes: Sequence[str] | None = None,
) -> Attribution:
    """How much each pixel moves the class's score: formula (3). Arguments as in grad_cam."""
    x = one_image("saliency", model, image)
    slope, chosen, chance = _slope("saliency", model, x, target)
    shown = visible(x if picture is None else picture)
    values = np.abs(slope).max(0)
    return Attribution(values, "saliency |ds/dx|", shown, chosen, chance, classes)


def smooth_grad(
    model: Any,
    image: Any,
    target: Target = None,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    picture: Any = None,
    classes: Sequence[str] | None = None,
) -> Attribution:
    """The mean saliency of `samples` copies of the image with noise added.

    noise: its standard deviation, as a share of the image's range. Other arguments as in grad_cam.
    """
    x = one_image("smooth_grad", model, image)
    at_least_one("smooth_grad", "samples", samples)
    slope, chosen, chance = _slope("smooth_grad", model, x, target)
    rng, values = np.random.default_rng(seed), np.zeros(x.shape[2:])
    width = abs(noise) * float((x.max() - x.min()).item())
    for _ in range(samples):
        grain = rng.normal(0, width, x.shape).astype(np.float32)
        goal = chosen if target is None else target
        slope, _, _ = _slope("smooth_grad", model, x + x.new_tensor(grain), goal)
        values += np.abs(slope).max(0) / samples
    shown = visible(x if picture is None else picture)
    method = f"SmoothGrad, {samples} samples"
    return Attribution(values, method, shown, chosen, chance, classes)


def integrated_gradients(
    model: Any,
    image: Any,
    target: Target = None,
    *,
    baseline: Any = None,
    steps: int = 32,
    picture: Any = None,
    classes: Sequence[str] | None = None,
) -> Attribution:
    """What each pixel, against a baseline, adds to the score: formula (4), summed over channels.

    baseline: an image, zeros (the mean of normalised data) unless given. Other arguments as in
    grad_cam. The values add up to the difference of the scores, as precisely as `steps` allows.
    """
    x = one_image("integrated_gradients", model, image)
    at_least_one("integrated_gradients", "steps", steps)
    start = x * 0 if baseline is None else one_image("integrated_gradients", model, baseline)
    _, chosen, chance = _slope("integrated_gradients", model, x, target)
    goal = chosen if target is None else target
    total = np.zeros(x.shape[1:])
    for n in range(steps):
        point = start + (x - start) * ((n + 0.5) / steps)
        total += _slope("integrated_gradients", model, point, goal)[0] / steps
    values = (total * on_cpu(x - start)[0]).sum(0)
    shown = visible(x if picture is None else picture)
    return Attribution(values, "integrated gradients", shown, chosen, chance, classes)


# ---------------------------------------------------------------------- occlusion


def occlusion(
    model: Any,
    image: Any,
    target: int | None = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    fill: float | None = None,
    batch_size: int = 64,
    picture: Any = None,
    classes: Sequence[str] | None = None,
) -> Attribution:
    """How far the class's probability falls when pixels are covered.

    Args:
        patch: side of the square that covers; a quarter of the image's shorter side unless given.
        stride: how far it is moved each time; a quarter of the patch unless given.
        fill: the number that covers; the mean of each channel of the image unless given.
        batch_size: covered images that go through the network at a time.

    Other arguments as in grad_cam; target is a class. Raises ValueError for a patch that does not
    fit into the image, or a stride below 1 or so large that pixels are left out.
    """
    x = one_image("occlusion", model, image)
    at_least_one("occlusion", "batch_size", batch_size)
    H, W = x.shape[2:]
    side, step = _patch(min(H, W), patch, stride)
    if callable(target):
        raise TypeError("occlusion: target expects a class, got a function")
    with evaluating(model):
        _, chosen, chance = _score("occlusion", model(x), target)
        cover = x.mean((2, 3), keepdim=True) if fill is None else fill
        places = [(h, k) for h in _starts(H, side, step) for k in _starts(W, side, step)]
        chances: list[float] = []
        for covered in _covered(x, cover, places, side, batch_size):
            found = functional.softmax(next(tensors_in(model(covered))).float(), 1)
            chances += on_cpu(found[:, chosen]).tolist()
    falls, counts = np.zeros((H, W)), np.zeros((H, W))
    for (h, k), left in zip(places, chances, strict=True):
        falls[h : h + side, k : k + side] += chance - left if chance is not None else 0
        counts[h : h + side, k : k + side] += 1
    shown = visible(x if picture is None else picture)
    method = f"occlusion by {side}x{side}: fall of the chance"
    return Attribution(falls / counts, method, shown, chosen, chance, classes)


def _patch(most: int, patch: int | None, stride: int | None) -> tuple[int, int]:
    """A patch's side, at most `most`, and the pixels from one to the next."""
    side = max(1, most // 4) if patch is None else patch
    at_least_one("occlusion", "patch", side)
    step = max(1, side // 4) if stride is None else stride
    at_least_one("occlusion", "stride", step)
    if not step <= side <= most:
        raise ValueError(
            f"occlusion: patch expects 1 to {most} and stride 1 to patch, got {side}, {step}"
        )
    return side, step


def _starts(size: int, side: int, step: int) -> list[int]:
    """Where patches begin: every `step` pixels, and at the end, so that every pixel is covered."""
    return sorted({*range(0, size - side + 1, step), size - side})


def _covered(
    x: Tensor, cover: Any, places: list[tuple[int, int]], side: int, batch_size: int
) -> Iterator[Tensor]:
    for n in range(0, len(places), batch_size):
        some = places[n : n + batch_size]
        batch = x.expand(len(some), *x.shape[1:]).clone()
        for i, (h, k) in enumerate(some):
            batch[i : i + 1, :, h : h + side, k : k + side] = cover
        yield batch
