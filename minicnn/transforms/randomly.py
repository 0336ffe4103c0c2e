"""Transforms that do something else with every image, by torchvision's names and arguments.

All of them draw from minicnn's default generator (`minicnn.manual_seed`), or from the one that is
given as `generator` (whose state a Trainer's checkpoints do not hold). Each takes a fixed count of
uniform numbers for an image, whatever comes of them: so the images of a batch can be drawn for at
once, and are the ones that would come one by one. Number u in [0, 1) stands for one of n equally
likely things, floor(u n), or for a point between a and b, a + u (b - a).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend.random import Generator, default_generator
from . import functional as F
from .functional import InterpolationMode
from .kinds import get_image_size, is_pil, to_planes

_ATTEMPTS = 10  # at a rectangle that fits


class _Random:
    """What random transforms share: where their numbers come from."""

    _count = 1  # numbers for each image

    def __init__(self, generator: Any = None):
        if generator is not None and not isinstance(generator, Generator):
            raise TypeError(
                f"{type(self).__name__}: generator expects a minicnn.Generator, got {generator!r}"
            )
        self.generator = generator

    def __call__(self, img: Any) -> Any:
        return self._apply(img, draw(self._count, self.generator))

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        raise NotImplementedError


def draw(shape: int | tuple[int, ...], generator: Any = None) -> np.ndarray:
    """Uniform numbers in [0, 1), float64, from `generator` or the default one."""
    return (default_generator() if generator is None else generator).numpy.random(shape)


def _given(u: np.ndarray | None, count: int) -> np.ndarray:
    return draw(count) if u is None else u


def _check_share(name: str, p: float) -> None:
    if not isinstance(p, numbers.Real):
        raise TypeError(f"{name}: p expects a number, got {p!r}")
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p expects a probability, 0 to 1, got {p}")


class RandomCrop(_Random):
    """A part of the image of the size (H, W), or a square, at random.

    Args: padding, what `functional.pad` puts around the image first; pad_if_needed, also pad an
    image that is too small; fill and padding_mode as for `pad`.
    Raises ValueError for an image that is smaller than the part.
    """

    _count = 2

    def __init__(
        self,
        size: Any,
        padding: Any = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
        *,
        generator: Any = None,
    ):
        super().__init__(generator)
        values = F.sizes(size, "RandomCrop")
        self.size = (values[0], values[-1])
        if padding is not None:
            F.sides(padding)
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(
        img: Any, output_size: tuple[int, int], u: np.ndarray | None = None
    ) -> tuple[int, int, int, int]:
        """Top, left, height and width of a part; u: 2 numbers, drawn if None."""
        h, w = get_image_size(img, "RandomCrop")
        height, width = output_size
        _check_fits(height, width, h, w)
        u = _given(u, 2)
        return int(u[0] * (h - height + 1)), int(u[1] * (w - width + 1)), height, width

    def _padded(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        h, w = get_image_size(img, "RandomCrop")
        height, width = self.size
        if self.pad_if_needed and w < width:
            img = F.pad(img, [width - w, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and h < height:
            img = F.pad(img, [0, height - h], self.fill, self.padding_mode)
        return img

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        img = self._padded(img)
        return F.crop(img, *self.get_params(img, self.size, u))

    def _planar(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        x = self._padded(Tensor(x)).array
        (h, w), (height, width) = x.shape[-2:], self.size
        _check_fits(height, width, h, w)
        places = (u * (h - height + 1, w - width + 1)).astype(np.int64)
        return F.crop_each(x, places[:, 0], places[:, 1], height, width)

    def __repr__(self) -> str:
        return f"RandomCrop(size={self.size}, padding={self.padding})"


def _check_fits(height: int, width: int, h: int, w: int) -> None:
    if h < height or w < width:
        raise ValueError(
            f"RandomCrop: crop size {(height, width)} is larger than the image, {(h, w)}; "
            "pad_if_needed=True pads it"
        )


class RandomHorizontalFlip(_Random):
    """The image, mirrored left to right with probability p."""

    def __init__(self, p: float = 0.5, *, generator: Any = None):
        super().__init__(generator)
        _check_share("RandomHorizontalFlip", p)
        self.p = p

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        return F.hflip(img) if u[0] < self.p else img

    def _planar(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.where((u < self.p)[:, :, None, None], x[..., ::-1], x)

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip(p={self.p})"


class RandomVerticalFlip(_Random):
    """The image, mirrored top to bottom with probability p."""

    def __init__(self, p: float = 0.5, *, generator: Any = None):
        super().__init__(generator)
        _check_share("RandomVerticalFlip", p)
        self.p = p

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        return F.vflip(img) if u[0] < self.p else img

    def _planar(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.where((u < self.p)[:, :, None, None], x[..., ::-1, :], x)

    def __repr__(self) -> str:
        return f"RandomVerticalFlip(p={self.p})"


def _rectangle(
    area: float, scale: Sequence[float], ratio: Sequence[float], u: np.ndarray
) -> tuple[float, float]:
    """Sides a and b: a b is a share in `scale` of the area, log(a / b) uniform in ratio."""
    target = area * (scale[0] + u[0] * (scale[1] - scale[0]))
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = math.exp(low + u[1] * (high - low))
    return math.sqrt(target * aspect), math.sqrt(target / aspect)


class RandomResizedCrop(_Random):
    """A part of the image at random, resized to `size`: (H, W), or an int for a square.

    Args: scale, least and largest share of the image's area that the part has; ratio, least and
    largest width by height. If ten attempts give no part that fits, the largest one in the middle
    is taken whose ratio is allowed. interpolation and antialias as for Resize.
    (C. Szegedy et al., Going deeper with convolutions, CVPR 2015, section 6.)
    """

    _count = 4 * _ATTEMPTS

    def __init__(
        self,
        size: Any,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
        *,
        generator: Any = None,
    ):
        super().__init__(generator)
        values = F.sizes(size, "RandomResizedCrop")
        self.size = (values[0], values[-1])
        for name, pair in (("scale", scale), ("ratio", ratio)):
            if np.shape(pair) != (2,) or not 0 < pair[0] <= pair[1]:
                raise ValueError(
                    f"RandomResizedCrop: {name} expects two numbers above 0, the smaller first, "
                    f"got {pair!r}"
                )
        self.scale = scale
        self.ratio = ratio
        self.interpolation = F.interpolation_mode(interpolation)
        self.antialias = antialias

    @staticmethod
    def get_params(
        img: Any, scale: Sequence[float], ratio: Sequence[float], u: np.ndarray | None = None
    ) -> tuple[int, int, int, int]:
        """Top, left, height and width of a part; u: 40 numbers, drawn if None."""
        height, width = get_image_size(img, "RandomResizedCrop")
        for v in _given(u, 4 * _ATTEMPTS).reshape(_ATTEMPTS, 4):
            sides = _rectangle(height * width, scale, ratio, v)
            w, h = round(sides[0]), round(sides[1])
            if 0 < w <= width and 0 < h <= height:
                return int(v[2] * (height - h + 1)), int(v[3] * (width - w + 1)), h, w
        w, h = width, height
        if width / height < min(ratio):
            h = round(w / min(ratio))
        elif width / height > max(ratio):
            w = round(h * max(ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        part = self.get_params(img, self.scale, self.ratio, u)
        return F.resized_crop(img, *part, self.size, self.interpolation, self.antialias)

    def _planar(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        out = np.empty((*x.shape[:2], *self.size), x.dtype)
        for image, place, v in zip(x, out, u, strict=True):
            i, j, h, w = self.get_params(Tensor(image), self.scale, self.ratio, v)
            part = image[:, i : i + h, j : j + w]
            place[...] = F.resize_bilinear(part, self.size, bool(self.antialias))
        return out

    def __repr__(self) -> str:
        scale, ratio = (tuple(round(v, 4) for v in pair) for pair in (self.scale, self.ratio))
        return (
            f"RandomResizedCrop(size={self.size}, scale={scale}, ratio={ratio}, "
            f"interpolation={self.interpolation.value}, antialias={self.antialias})"
        )


class ColorJitter(_Random):
    """Brightness, contrast, saturation and hue changed at random, in random order.

    Args: each a number v >= 0 or a pair. Of brightness, contrast and saturation the factor is drawn
    from [max(0, 1 - v), 1 + v] or between the pair; of hue, where v is at most 0.5, from [-v, v].
    A range that leaves nothing but the image as it is, is passed over.
    Raises ValueError for what lies outside, TypeError for anything but a number or a pair.
    """

    _count = 8

    def __init__(
        self,
        brightness: Any = 0,
        contrast: Any = 0,
        saturation: Any = 0,
        hue: Any = 0,
        *,
        generator: Any = None,
    ):
        super().__init__(generator)
        self.brightness = _range("brightness", brightness)
        self.contrast = _range("contrast", contrast)
        self.saturation = _range("saturation", saturation)
        self.hue = _range("hue", hue, centre=0, least=-0.5, most=0.5)

    @staticmethod
    def get_params(
        brightness: Sequence[float] | None,
        contrast: Sequence[float] | None,
        saturation: Sequence[float] | None,
        hue: Sequence[float] | None,
        u: np.ndarray | None = None,
    ) -> tuple[Tensor, float | None, float | None, float | None, float | None]:
        """The order of the four, an int64 Tensor, and their factors (None where the range is None).

        u: 8 numbers, drawn if None.
        """
        u = _given(u, 8)
        pairs = zip((brightness, contrast, saturation, hue), u[4:].tolist(), strict=True)
        b, c, s, h = (None if p is None else p[0] + v * (p[1] - p[0]) for p, v in pairs)
        return Tensor(np.argsort(u[:4], kind="stable")), b, c, s, h

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        order, *factors = self.get_params(*ranges, u)
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for k in order.tolist():
            if factors[k] is not None:
                img = adjust[k](img, factors[k])
        return img

    def __repr__(self) -> str:
        return (
            f"ColorJitter(brightness={self.brightness}, contrast={self.contrast}, "
            f"saturation={self.saturation}, hue={self.hue})"
        )


def _range(
    name: str, value: Any, centre: float = 1, least: float = 0, most: float = math.inf
) -> tuple[float, float] | None:
    if isinstance(value, numbers.Number):
        if value < 0:  # type: ignore[operator]
            raise ValueError(f"ColorJitter: {name} as one number should not be negative: {value}")
        low, high = centre - value, centre + value  # type: ignore[operator]
        pair = (float(max(low, least) if centre else low), float(high))
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        pair = (float(value[0]), float(value[1]))
    else:
        raise TypeError(f"ColorJitter: {name} should be a number or a pair, got {value!r}")
    if not least <= pair[0] <= pair[1] <= most:
        raise ValueError(f"ColorJitter: {name} should lie in [{least}, {most}], got {pair}")
    return None if pair == (centre, centre) else pair


class RandomGrayscale(_Random):
    """The image, or with probability p its grey in as many equal channels."""

    def __init__(self, p: float = 0.1, *, generator: Any = None):
        super().__init__(generator)
        _check_share("RandomGrayscale", p)
        self.p = p

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        if u[0] >= self.p:
            return img
        if is_pil(img):
            return F.to_grayscale(img, len(img.getbands()))
        x, _ = to_planes(img, "RandomGrayscale")
        return F.to_grayscale(img, 1 if x.ndim == 2 else x.shape[-3])

    def __repr__(self) -> str:
        return f"RandomGrayscale(p={self.p})"


class RandomErasing(_Random):
    """With probability p a rectangle of the image is overwritten.

    (Z. Zhong et al., Random erasing data augmentation, AAAI 2020, arXiv:1708.04896.)

    Args: scale, least and largest share of the image's area; ratio, least and largest height by
    width; value, a number, one for each channel, or "random" for a standard normal number in every
    place; inplace, change the Tensor itself. If ten attempts give no rectangle that is smaller than
    the image, nothing is erased. Takes Tensors (..., C, H, W) and arrays.
    """

    _count = 1 + 4 * _ATTEMPTS

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
        *,
        generator: Any = None,
    ):
        super().__init__(generator)
        _check_share("RandomErasing", p)
        if not isinstance(value, (numbers.Number, str, tuple, list)):
            raise TypeError(
                f"RandomErasing: value should be a number, a sequence or 'random', got {value!r}"
            )
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: value as a text should be 'random', got {value!r}")
        if np.shape(scale) != (2,) or not 0 <= scale[0] <= scale[1] <= 1:
            raise ValueError(f"RandomErasing: scale expects two shares, got {scale!r}")
        if np.shape(ratio) != (2,) or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"RandomErasing: ratio expects two numbers above 0, got {ratio!r}")
        self.p = p
        self.scale = scale
        self.ratio = ratio
        self.value = value
        self.inplace = inplace

    @staticmethod
    def get_params(
        img: Any,
        scale: Sequence[float],
        ratio: Sequence[float],
        value: Sequence[float] | None = None,
        u: np.ndarray | None = None,
    ) -> tuple[int, int, int, int, Any]:
        """Top, left, height, width and value of the rectangle; u: 40 numbers, drawn if None.

        value: for all channels or for each; None gives normal numbers. The whole image, and the
        image itself as its value, stand for no rectangle.
        """
        x, _ = to_planes(img, "RandomErasing")
        place = _erased(x.shape[-2:], scale, ratio, _given(u, 4 * _ATTEMPTS))
        if place is None:
            return 0, 0, *x.shape[-2:], img
        if value is None:
            channels = x.shape[:-2]
            noise = default_generator().numpy.standard_normal((*channels, *place[2:]))
            return *place, noise.astype(x.dtype)
        return *place, np.asarray(value, x.dtype).reshape(-1, 1, 1)

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        if is_pil(img):
            raise TypeError("RandomErasing: img should be a Tensor or an ndarray, got a PIL image")
        if u[0] >= self.p:
            return img
        x, _ = to_planes(img, "RandomErasing")
        place = _erased(x.shape[-2:], self.scale, self.ratio, u[1:])
        if place is None:
            return img
        return F.erase(img, *place, self._value(x, place), self.inplace)

    def _value(self, x: np.ndarray, place: tuple[int, int, int, int]) -> np.ndarray:
        if self.value == "random":
            stream = default_generator() if self.generator is None else self.generator
            return stream.numpy.standard_normal((*x.shape[:-2], *place[2:])).astype(x.dtype)
        value = np.asarray(self.value, x.dtype).reshape(-1)
        if value.size not in (1, x.shape[-3] if x.ndim > 2 else 1):
            raise ValueError(
                f"RandomErasing: value should have one number or {x.shape[-3]}, one for each "
                f"channel, got {self.value!r}"
            )
        return value.reshape(-1, 1, 1) if x.ndim > 2 else value

    def _planar(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        out = x.copy()
        for image, v in zip(out, u, strict=True):
            place = _erased(x.shape[-2:], self.scale, self.ratio, v[1:]) if v[0] < self.p else None
            if place is not None:
                i, j, h, w = place
                image[:, i : i + h, j : j + w] = self._value(image, place)
        return out

    def __repr__(self) -> str:
        return (
            f"RandomErasing(p={self.p}, scale={self.scale}, ratio={self.ratio}, "
            f"value={self.value}, inplace={self.inplace})"
        )


def _erased(
    size: Sequence[int], scale: Sequence[float], ratio: Sequence[float], u: np.ndarray
) -> tuple[int, int, int, int] | None:
    """Top, left, height, width of a rectangle that is smaller than the image; None: none is."""
    height, width = size
    for v in u.reshape(_ATTEMPTS, 4):
        sides = _rectangle(height * width, scale, ratio, v)
        h, w = round(sides[0]), round(sides[1])
        if 0 < h < height and 0 < w < width:
            return int(v[2] * (height - h + 1)), int(v[3] * (width - w + 1)), h, w
    return None


class Cutout(_Random):
    """Squares of the image are overwritten.

    (T. DeVries, G. W. Taylor, Improved regularization of convolutional neural networks with cutout,
    arXiv:1708.04552.) Their middles may be any pixel, so that they may reach over the edge.

    Args: length, the side of a square in pixels; n_holes, how many; fill, what they are overwritten
    by: 0 after Normalize, as in the paper, is the mean colour. Not in torchvision.
    """

    def __init__(self, length: int, n_holes: int = 1, fill: float = 0, *, generator: Any = None):
        super().__init__(generator)
        for name, value in (("length", length), ("n_holes", n_holes)):
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise ValueError(f"Cutout: {name} expects an integer of at least 1, got {value!r}")
        self.length = length
        self.n_holes = n_holes
        self.fill = fill
        self._count = 2 * n_holes

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        x, back = to_planes(img, "Cutout")
        out = x.copy()
        self._cut(out, u)
        return back(out)

    def _cut(self, image: np.ndarray, u: np.ndarray) -> None:
        h, w = image.shape[-2:]
        for v in u.reshape(-1, 2):
            top, left = int(v[0] * h) - self.length // 2, int(v[1] * w) - self.length // 2
            bottom, right = max(top + self.length, 0), max(left + self.length, 0)
            image[..., max(top, 0) : bottom, max(left, 0) : right] = self.fill

    def of_each(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The images (N, C, H, W) cut by the numbers u, (N, 2 n_holes), as a new array."""
        out = x.copy()
        for image, v in zip(out, u, strict=True):
            self._cut(image, v)
        return out

    _planar = of_each

    def __repr__(self) -> str:
        return f"Cutout(length={self.length}, n_holes={self.n_holes}, fill={self.fill})"


# ---------------------------------------------------------------- of other transforms


class _OfOthers(_Random):
    """Random transforms that are made of others."""

    def __init__(self, transforms: Sequence[Callable], generator: Any = None):
        super().__init__(generator)
        if not isinstance(transforms, Sequence):
            raise TypeError(
                f"{type(self).__name__}: transforms should be a sequence, got {transforms!r}"
            )
        self.transforms = transforms

    def _lines(self, first: str = "") -> str:
        lines = "".join(f"\n    {transform!r}" for transform in self.transforms)
        return f"{type(self).__name__}({first}{lines}\n)"

    def __repr__(self) -> str:
        return self._lines()


class RandomApply(_OfOthers):
    """All of the transforms, one after the other, with probability p; else none."""

    def __init__(self, transforms: Sequence[Callable], p: float = 0.5, *, generator: Any = None):
        super().__init__(transforms, generator)
        _check_share("RandomApply", p)
        self.p = p

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        if u[0] < self.p:
            for transform in self.transforms:
                img = transform(img)
        return img

    def __repr__(self) -> str:
        return self._lines(f"\n    p={self.p}")


class RandomChoice(_OfOthers):
    """One of the transforms; p: the weight of each, not all zero (default: equal ones)."""

    def __init__(
        self,
        transforms: Sequence[Callable],
        p: Sequence[float] | None = None,
        *,
        generator: Any = None,
    ):
        super().__init__(transforms, generator)
        if not transforms:
            raise ValueError("RandomChoice: transforms should hold one at least")
        if p is not None and (len(p) != len(transforms) or min(p) < 0 or not sum(p) > 0):
            raise ValueError(
                f"RandomChoice: p expects {len(transforms)} weights, not below 0, got {p!r}"
            )
        self.p = p

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        weights = np.ones(len(self.transforms)) if self.p is None else np.asarray(self.p, float)
        bounds = np.cumsum(weights) / weights.sum()
        chosen = min(int(np.searchsorted(bounds, u[0], side="right")), len(bounds) - 1)
        return self.transforms[chosen](img)

    def __repr__(self) -> str:
        return f"{self._lines()}(p={self.p})"


class RandomOrder(_OfOthers):
    """All of the transforms, in random order."""

    def __init__(self, transforms: Sequence[Callable], *, generator: Any = None):
        super().__init__(transforms, generator)
        self._count = len(transforms)

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        for k in np.argsort(u, kind="stable"):
            img = self.transforms[k](img)
        return img
