"""Receptive fields: which pixels of the input a unit sees, by theory and by its gradient.

    field = receptive_field(model, (3, 224, 224), "features.30")
    field.size                  (212, 212)    pixels that a unit sees, had the image no borders
    field.jump                  (32, 32)      from one unit's pixels to its neighbour's
    field.start                 (-90, -90)    the first pixel of unit (0, 0)
    field.region(3, 4)          ((6, 218), (38, 224))          rows and columns inside the image

The network runs once, on zeros, and every operation that it ran is followed through branches and
joins: how, see rules.py; the arithmetic, spans.py.

The *effective* receptive field is the part of it that matters. Near the centre many paths lead from
a pixel to the unit, at the edge one: for random weights the influence of a pixel, averaged, has the
shape of a Gaussian, which fills a vanishing share of the square as networks get deeper (W. Luo, Y.
Li, R. Urtasun, R. Zemel, "Understanding the effective receptive field in deep convolutional neural
networks", NeurIPS 2016, arXiv:1701.04128). A pixel's influence on the unit at (i, j) is measured by

    E[h,k] = mean over images of sum over c of |d y / d x[n,c,h,k]|

where y is the unit, the sum over all channels with random signs (without them positive and negative
channels would cancel, or add up, by chance).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..autograd import enable_grad, grad
from ..functional import zeros
from ..nn.trace import ModuleTrace, trace
from ..train.modes import evaluating
from .picture import (
    Picture,
    at_least_one,
    batch_of,
    drawing,
    listening,
    resolved,
    show_image,
    title_of,
)
from .rules import Blind, Sight, sight_of
from .spans import Span

__all__ = [
    "EffectiveField",
    "ReceptiveField",
    "effective_receptive_field",
    "receptive_field",
    "receptive_fields",
]

Number = int | Fraction
Box = tuple[tuple[int, int], ...]


class ReceptiveField:
    """What the units of a layer see of the network's input; a number for each spatial axis of it.

    A unit is a place of a map: all its channels together. Unit (i, j) sees `size` pixels, of which
    the first is `start + (i, j) * jump`, where the image is large enough. The jump is 0 where all
    units see the same, and a fraction behind an upsampling; size is then the most that a unit sees.
    """

    def __init__(self, spans: tuple[Span, ...]):
        self._spans = spans

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels that a unit sees, borders apart."""
        return tuple(span.size for span in self._spans)

    @property
    def jump(self) -> tuple[Number, ...]:
        """Pixels from what a unit sees to what its neighbour sees."""
        return tuple(_plain(span.jump) for span in self._spans)

    @property
    def start(self) -> tuple[Number, ...]:
        """The first pixel of unit (0, 0); below 0: it would see so much of the padding."""
        return tuple(_plain(span.low) for span in self._spans)

    @property
    def units(self) -> tuple[int, ...]:
        """How many units there are; 1 along an axis where all see the same."""
        return tuple(span.units for span in self._spans)

    @property
    def sees_all(self) -> bool:
        """True if every unit sees the whole image, as behind a global pooling."""
        return all(span.sees_all for span in self._spans)

    def region(self, *unit: int, clipped: bool = True) -> Box:
        """The pixels that a unit sees: (first, one past the last) along each axis.

        clipped: what it sees of this image, padding apart; (0, 0) for nothing but padding.
        Otherwise what it would see in an image without borders, which may begin below 0; pixels
        that padding mirrors or repeats are in the clipped region alone.

        Raises ValueError for a unit that the layer does not have.
        """
        if len(unit) != len(self.units) or not all(
            0 <= i < n or s.axis is None
            for i, n, s in zip(unit, self.units, self._spans, strict=True)
        ):
            raise ValueError(f"region: unit expects places below {self.units}, got {unit}")
        box = tuple(_range(s, i, clipped) for s, i in zip(self._spans, unit, strict=True))
        return tuple((0, 0) for _ in box) if any(low == high for low, high in box) else box

    def describe(self) -> tuple[str, str, str]:
        """Size, jump and start as a table has them: "43x43", "8", "-17"; "all" for all."""
        if self.sees_all:
            return "all", "-", "-"
        jump = "-" if not any(self.jump) else _both(self.jump)
        return "x".join(map(str, self.size)), jump, _both(self.start) if any(self.jump) else "-"

    def __repr__(self) -> str:
        return f"ReceptiveField(size={self.size}, jump={self.jump}, start={self.start})"


def _plain(number: Fraction) -> Number:
    return int(number) if number.denominator == 1 else number


def _both(numbers: Sequence[Number]) -> str:
    same = len(set(numbers)) == 1
    return str(numbers[0]) if same else ",".join(map(str, numbers))


def _range(span: Span, i: int, clipped: bool) -> tuple[int, int]:
    i = 0 if span.axis is None else i
    if clipped:
        first, last = int(span.first[i]), int(span.last[i])
        return (first, last + 1) if first <= last else (0, 0)
    shift = span.jump * i
    return math.ceil(span.low + shift), math.floor(span.high + shift) + 1


# ---------------------------------------------------------------------- by theory


def receptive_field(model: Any, input_size: Sequence[int], layer: Any) -> ReceptiveField:
    """What the units of a layer see.

    Args:
        input_size: (C, H, W) of one image; (C, L) and (C, D, H, W) for other dimensions.
        layer: the path of a module ("features.3"), or the module itself; its first output, of its
            last call, is what is looked at.

    The model is run in evaluation mode without a graph, and is left as it was.

    Raises ValueError for a layer that the network does not have or does not call (with the names of
    those it has), and RuntimeError if there is an operation before it that is not understood.
    """
    name = resolved("receptive_field", model, layer)
    x = batch_of("receptive_field", model, input_size)
    with evaluating(model):
        record = trace(model, x)
    found = fields(record, x.ndim - 2).get(name)
    if found is None:
        raise ValueError(f"receptive_field: the network does not call {name!r}")
    if isinstance(found, Blind):
        raise RuntimeError(
            f"receptive_field: nothing is known of what {found.function} sees, which ran in "
            f"{found.module or 'the network'!r} before {name!r}"
        )
    return found


def receptive_fields(model: Any, input_size: Sequence[int]) -> dict[str, ReceptiveField | None]:
    """What the units of every module that was called see, by its path, in the order of their calls.

    None stands where nothing is known. Arguments and errors as in receptive_field.
    """
    x = batch_of("receptive_fields", model, input_size)
    with evaluating(model):
        record = trace(model, x)
    found = fields(record, x.ndim - 2)
    return {name: None if isinstance(f, Blind) else f for name, f in found.items()}


def fields(record: ModuleTrace, dims: int) -> dict[str, ReceptiveField | Blind]:
    """The same from a trace, whose first input has `dims` spatial axes behind two others.

    A module that returns no tensor, or one that does not depend on the input, is left out.
    """
    if dims < 1:
        return {}
    image = record.inputs[0]
    sights: dict[Any, Sight] = {
        image: tuple(Span.of_image(image.shape[k], k) for k in range(2, 2 + dims))
    }
    for call in record.calls:
        seen = sight_of(call, [_of(sights, value) for value in call.inputs])
        sights.update(dict.fromkeys(call.outputs, seen))
    result: dict[str, ReceptiveField | Blind] = {}
    for module in record.module_calls:
        seen = sights.get(module.outputs[0]) if module.outputs else None
        if seen is not None:
            result[module.path] = seen if isinstance(seen, Blind) else ReceptiveField(seen)
    return result


def _of(sights: dict[Any, Sight], value: Any) -> Sight:
    return sights.get(value) if hasattr(value, "call") else None


# ---------------------------------------------------------------------- by the gradient


class EffectiveField(Picture):
    """How much each pixel matters to one unit: `values` (H, W), of which the largest is 1.

    `layer` and `unit` say whose; `theory` is the ReceptiveField, None if it is not known.
    """

    def __init__(self, values: np.ndarray, layer: str, unit: tuple[int, ...], theory: Any):
        super().__init__(values)
        self.layer, self.unit, self.theory = layer, unit, theory

    def area(self, share: float = 0.0455) -> int:
        """How many pixels have at least `share` of the largest influence.

        0.0455 is what lies outside two standard deviations of a Gaussian: the paper's bound.
        """
        return int((self.values >= share).sum())

    @property
    def size(self) -> float:
        """The side of a square as large as `area()`: compare it with the theory's size."""
        return math.sqrt(self.area())

    @property
    def deviation(self) -> tuple[float, ...]:
        """The standard deviation of the influence along each axis, in pixels."""
        total, found = self.values.sum(), []
        for axis in range(self.values.ndim):
            others = tuple(k for k in range(self.values.ndim) if k != axis)
            weights = self.values.sum(others) / max(total, 1e-300)
            places = np.arange(len(weights))
            mean = (weights * places).sum()
            found.append(float(np.sqrt((weights * (places - mean) ** 2).sum())))
        return tuple(found)

    def figure(self) -> Any:
        """The influence of each pixel, with the theory's square around it."""
        figure = drawing(5.2, 4.4)
        axes = figure.add_subplot()
        bar = figure.colorbar(self.draw(axes), ax=axes, fraction=0.046)
        bar.set_ticks([0, 0.5, 1], labels=["0", "1/4", "1"])
        bar.set_label("influence, relative to the largest", fontsize=9)
        text = f"{title_of(self.layer)}, unit {self.unit}: {self.size:.0f} pixels wide"
        if self.theory is not None:
            sees = self.theory.describe()[0]
            text += f"\nby theory {sees} (dashed: what of it is in the image)"
        axes.set_title(text, fontsize=10)
        return figure

    def draw(self, axes: Any) -> Any:
        """The figure's picture in axes of your own; returns what imshow returns.

        Raises ValueError for an image of more than two spatial axes.
        """
        from matplotlib.patches import Rectangle

        if self.values.ndim > 2:
            raise ValueError(f"a picture has two axes, this field {self.values.ndim}: see values")
        # The root shows the skirt of the Gaussian, which would be black otherwise.
        shown = np.sqrt(np.atleast_2d(self.values))
        image = show_image(axes, shown, cmap="magma", vmin=0, vmax=1)
        if self.theory is not None and self.values.ndim == 2:
            (top, bottom), (left, right) = self.theory.region(*self.unit)
            options: dict[str, Any] = {"fill": False, "edgecolor": "white", "lw": 1.2, "ls": "--"}
            corner = (left - 0.5, top - 0.5)
            axes.add_patch(Rectangle(corner, right - left, bottom - top, **options))
        return image


def effective_receptive_field(
    model: Any,
    layer: Any,
    images: Any = None,
    *,
    input_size: Sequence[int] | None = None,
    unit: Sequence[int] | None = None,
    samples: int = 16,
    seed: int = 0,
) -> EffectiveField:
    """How much the pixels matter to one unit: the mean of its absolute gradient over images.

    Args:
        layer: the path of a module, or the module: (N, F, OH, OW).
        images: (N, C, H, W), such as the network knows; otherwise `samples` images of `input_size`
            (C, H, W) with values from N(0, 1), from `seed`. One of the two is needed.
        unit: (i, j); the centre unless given.

    The model is run in evaluation mode, and is left as it was. Raises ValueError for a layer that
    the network does not have, one without height and width, and a unit outside of it.
    """
    function = "effective_receptive_field"
    name = resolved(function, model, layer)
    at_least_one(function, "samples", samples)
    x = batch_of(function, model, input_size, images, samples, seed)
    rng = np.random.default_rng(seed)
    total = np.zeros(x.shape[2:])
    place: tuple[int, ...] = ()
    for n in range(len(x)):
        one = x[n : n + 1].detach().clone().requires_grad_()
        with evaluating(model), enable_grad(), listening(function, model, name) as heard:
            model(one)
        y = heard[-1]
        if y.ndim != x.ndim:
            raise ValueError(
                f"{function}: {name!r} has the shape {tuple(y.shape)}, without height and width"
            )
        place = tuple(s // 2 for s in y.shape[2:]) if unit is None else tuple(unit)
        if len(place) != y.ndim - 2 or any(
            not 0 <= i < s for i, s in zip(place, y.shape[2:], strict=True)
        ):
            raise ValueError(f"{function}: unit expects a place in {y.shape[2:]}, got {place}")
        signs = zeros(y.shape, dtype=y.dtype, device=y.device)
        drawn = rng.choice(np.array([-1.0, 1.0]), y.shape[1]).astype(np.float32)
        signs[(0, slice(None), *place)] = signs.new_tensor(drawn)
        (slope,) = grad(y, one, signs, materialize_grads=True)
        total += np.abs(slope.detach().cpu().numpy()[0].astype(np.float64)).sum(0)
    theory = receptive_fields(model, tuple(x.shape[1:])).get(name)
    return EffectiveField(total / max(total.max(), 1e-300), name, place, theory)
