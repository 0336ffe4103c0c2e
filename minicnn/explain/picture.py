"""What every look into a network shares: results with a picture, layers by name, inputs."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from ..functional import zeros
from ..interop.files import write_bytes
from ..nn.trace import tensors_in
from ..train.modes import evaluating
from .pictures import figure_class

__all__ = ["Picture"]

_MOST_NAMES = 60


class Picture:
    """Numbers with a drawing of them: `values`, `figure()`, `save(path)`. Notebooks show it."""

    def __init__(self, values: np.ndarray):
        self.values = values

    def figure(self) -> Any:
        """A Matplotlib Figure of its own; no window opens. ImportError without Matplotlib."""
        raise NotImplementedError(f"{type(self).__name__}.figure")

    def png(self) -> bytes:
        """The figure as a PNG; the same numbers give the same bytes."""
        return png_of(self.figure())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figure as a PNG; a file of that name is replaced only when it is whole."""
        write_bytes(path, self.png())

    def _repr_png_(self) -> bytes:
        return self.png()


# ---------------------------------------------------------------------- drawing


def drawing(width: float, height: float) -> Any:
    """An empty figure, so many inches wide and high, at 120 dots an inch."""
    return figure_class()(figsize=(width, height), dpi=120, layout="constrained")


def png_of(figure: Any) -> bytes:
    """A figure as a PNG, without a date or a version in it."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def show_image(axes: Any, image: np.ndarray, **options: Any) -> Any:
    """An image in axes without ticks, its pixels as squares unless it is large."""
    large = max(image.shape[:2]) > 256
    how = "antialiased" if large else "nearest"
    # Row 0 is the top, whatever the user's own rcParams say of images.
    shown = axes.imshow(image, interpolation=how, origin="upper", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    return shown


def title_of(layer: str) -> str:
    """A layer's path as titles have it; "the output" for the network itself."""
    return layer or "the output"


def visible(image: Any) -> np.ndarray:
    """An image of any range as (H, W, 3) or (H, W) in [0, 1], for imshow.

    It may be (H, W), (C, H, W), a batch of one, or (H, W, 3) as Pillow and Matplotlib have it.
    uint8 is divided by 255; floats in [0, 1] stay as they are; others are stretched to it. Of
    channels that are neither one nor three, the mean is shown.
    """
    planes = on_cpu(image)
    if planes.ndim == 3 and planes.shape[2] == 3 and len(planes) not in (1, 3):
        planes = np.moveaxis(planes, 2, 0)
    planes = planes[0] if planes.ndim == 4 else planes
    planes = planes[None] if planes.ndim == 2 else planes
    shown = planes.astype(np.float64)
    if planes.dtype == np.uint8:
        shown /= 255
    elif shown.min() < 0 or shown.max() > 1:
        shown = (shown - shown.min()) / max(float(np.ptp(shown)), 1e-12)
    return np.moveaxis(shown, 0, -1) if len(shown) == 3 else shown.mean(0)


def on_cpu(value: Any) -> np.ndarray:
    """A Tensor or an array of any device as an array of the CPU."""
    return backend.to_numpy(getattr(value, "array", value))


# ---------------------------------------------------------------------- layers


def resolved(function: str, model: Any, layer: Any) -> str:
    """The path of `layer`, a path or a module of `model`. ValueError with all names otherwise.

    A module that has several paths is known by the first of them.
    """
    paths = dict(model.named_modules())
    if isinstance(layer, str):
        if layer in paths:
            return layer
        shared = dict(model.named_modules(remove_duplicate=False)).get(layer)
        if shared is not None:
            return resolved(function, model, shared)
        close = difflib.get_close_matches(layer, paths, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{function}: no layer {layer!r}, there are {_names(paths)}{hint}")
    found = next((path for path, module in paths.items() if module is layer), None)
    if found is None:
        raise ValueError(
            f"{function}: layer expects a module of this network, or one of {_names(paths)}; got "
            f"{type(layer).__name__}"
        )
    return found


def at_least_one(function: str, argument: str, value: int) -> None:
    """ValueError for a count below 1, or one that is no integer."""
    if not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{function}: {argument} expects an integer of at least 1, got {value!r}")


def _names(paths: Any) -> str:
    names = [path for path in paths if path]
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    top = [path for path in names if path.count(".") < 2][:_MOST_NAMES]
    return f"{', '.join(top)} and {len(names) - len(top)} more (summary() shows all)"


@contextlib.contextmanager
def listening(function: str, model: Any, name: str) -> Iterator[list[Any]]:
    """In the block, what the layer returns is added to the list; its first tensor, of each call.

    The network goes on with a copy, so that a later change in place does not reach what was kept.
    ValueError at the end of the block if the layer was not called, or returned no tensor.
    """
    heard: list[Any] = []

    def keep(module: Any, inputs: Any, output: Any) -> Any:
        heard.extend([*tensors_in(output)][:1])
        return output.clone() if isinstance(output, Tensor) else None

    handle = dict(model.named_modules())[name].register_forward_hook(keep)
    try:
        yield heard
    finally:
        handle.remove()
    if not heard:
        raise ValueError(f"{function}: the layer {name!r} gave no tensor for this input")


def evaluated(function: str, model: Any, x: Any, name: str) -> Any:
    """What the layer returns for x, at its last call, and what the network returns: no graph."""
    with evaluating(model), listening(function, model, name) as heard:
        result = model(x)
    return heard[-1], result


# ---------------------------------------------------------------------- inputs


def batch_of(
    function: str,
    model: Any,
    input_size: Sequence[int] | None,
    images: Any = None,
    samples: int = 0,
    seed: int = 0,
) -> Tensor:
    """Images for `model`, of its type and on its device.

    The ones given, (N, C, H, W) or one (C, H, W); else of input_size (C, H, W) `samples` random
    ones with values from N(0, 1), or a single one of zeros where samples is 0.
    """
    first = next(iter(model.parameters()), None)
    like = {} if first is None else {"dtype": first.dtype, "device": first.device}
    if images is not None:
        x = images if isinstance(images, Tensor) else Tensor(np.asarray(images))
        x = x.detach()
        x = x[None] if x.ndim == 3 else x
        if x.ndim < 2 or not len(x):
            raise ValueError(f"{function}: expects images (N, C, H, W), got {tuple(x.shape)}")
        return x.to(**like) if like else x.float()
    if input_size is None:
        raise ValueError(f"{function}: needs images, or input_size, such as (3, 224, 224)")
    size = tuple(input_size)
    if not size or any(type(n) is not int or n < 1 for n in size):
        raise ValueError(f"{function}: input_size expects positive integers, got {size}")
    shape = (max(samples, 1), *size)
    if not samples:
        return zeros(shape, **like)
    drawn = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return Tensor(drawn).to(**like) if like else Tensor(drawn)


def one_image(function: str, model: Any, image: Any) -> Tensor:
    """A single image (C, H, W) or (1, C, H, W) as a batch. ValueError for anything else."""
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] != 1):
        raise ValueError(
            f"{function}: image expects one, (C, H, W) or (1, C, H, W), got shape {shape}"
        )
    return batch_of(function, model, None, image)
