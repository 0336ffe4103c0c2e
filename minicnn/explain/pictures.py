"""Pictures of windows, of im2col and of where gradients land: small arrays, drawn cell by cell.

Every function returns a Matplotlib Figure of its own. pyplot is not used and no window opens; a
notebook shows the figure that a cell ends with, and `figure.savefig("a.png")` writes it anywhere.
The drawings are for sizes that one can count by eye, a dozen rows and columns, not for photographs.

What the colours of cells mean, in all of them:

    white           a pixel of the input (numbers in it are its value)
    grey, hatched   padding
    pale orange     a pixel that no window reads: its gradient is zero
    a strong colour a tap of the window that is shown
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..backend import arrays as backend
from ..backend.geometry import ConvGeometry, PoolGeometry

__all__ = [
    "draw_arrays",
    "draw_axis",
    "draw_holes",
    "draw_im2col",
    "draw_readers",
    "draw_windows",
]

Geometry = ConvGeometry | PoolGeometry

_WHITE, _PADDING, _UNREAD, _HOLE = "#ffffff", "#ececec", "#fde3c8", "#f7f7f7"
_LINE, _STRIPE = "#9a9a9a", "#d4d4d4"
_TAPS = ("#7fb2e5", "#f2a65a", "#8cc98c", "#d991c9", "#e57f7f", "#b5a3e0", "#c9b458", "#6cc5c1")
_CELL = 0.4  # the side of a cell, in inches
_MARGINS = (0.65, 0.65, 0.35, 0.45)  # left of the first panel, right of, above and below each


# ---------------------------------------------------------------------- numbers in cells


def draw_arrays(arrays: Mapping[str, Any] | None = None, /, **named: Any) -> Any:
    """Small arrays side by side with their numbers in the cells, blue below zero and red above.

    Args:
        arrays, named: title and array, `draw_arrays(x=x, w=w)` or `draw_arrays({"x * w": y})`.
            An array, Tensor or nested list of one or two axes, or of more if all but the last two
            are of size 1.

    Raises ValueError for an array of more axes, for an empty one, and without any array.
    """
    planes = {
        title: _plane("draw_arrays", title, value)
        for title, value in [*(arrays or {}).items(), *named.items()]
    }
    if not planes:
        raise ValueError("draw_arrays: expects at least one array")
    panels = _panels([plane.shape for plane in planes.values()])
    for axes, (title, plane) in zip(panels.axes, planes.items(), strict=True):
        _paint_numbers(axes, plane, "RdBu_r", title)
    return panels


def _on_cpu(value: Any) -> np.ndarray:
    """A Tensor, an array of any device or a nested list as an array of the CPU."""
    return backend.to_numpy(getattr(value, "array", value))


def _plane(function: str, name: str, value: Any) -> np.ndarray:
    array = _on_cpu(value)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim < 2:
        array = array.reshape(1, -1)
    if array.ndim > 2 or not array.size:
        raise ValueError(
            f"{function}: {name} expects one or two axes with something in them, got shape "
            f"{_on_cpu(value).shape}"
        )
    return array


def _paint_numbers(axes: Any, plane: np.ndarray, colours: str, title: str) -> None:
    import matplotlib

    numbers = np.nan_to_num(plane.astype(np.float64), posinf=0, neginf=0)
    # Pale, so that black digits read well on every cell.
    most = 2.0 * max(float(np.abs(numbers).max()), 1e-12)
    if colours == "RdBu_r":
        shade = matplotlib.colormaps[colours](0.5 + numbers / (2 * most))
    else:
        shade = matplotlib.colormaps[colours](numbers / most)
    for h, k in np.ndindex(*plane.shape):
        _cell(axes, h, k, tuple(shade[h, k]), _number(plane[h, k]))
    _finish(axes, range(plane.shape[0]), range(plane.shape[1]), title)


def _number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)) or not np.isfinite(value) or value == int(value):
        return str(int(value)) if np.isfinite(value) else f"{value}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


# ---------------------------------------------------------------------- windows


class _Axis(NamedTuple):
    """One spatial axis of a geometry: which of its places each window reads."""

    size: int
    first: int  # the first place drawn: -P
    last: int  # the last one
    reads: tuple[tuple[int, ...], ...]  # reads[i][p] = i*S + p*D - P

    @property
    def places(self) -> range:
        return range(self.first, self.last + 1)

    def inside(self, h: int) -> bool:
        return 0 <= h < self.size

    def readers(self) -> list[int]:
        """How many windows read each place of the input."""
        taps = [h for window in self.reads for h in window]
        return [taps.count(h) for h in range(self.size)]


def _axis(size: int, kernel: int, stride: int, padding: Any, dilation: int, windows: int) -> _Axis:
    low, high = (padding, padding) if isinstance(padding, int) else padding
    reads = tuple(
        [tuple([i * stride + p * dilation - low for p in range(kernel)]) for i in range(windows)]
    )
    return _Axis(size, -low, max(size + high - 1, reads[-1][-1]), reads)


def _axes_of(function: str, geometry: Geometry, dims: int | None = 2) -> list[_Axis]:
    if not isinstance(geometry, (ConvGeometry, PoolGeometry)):
        raise TypeError(
            f"{function}: geometry expects a ConvGeometry or PoolGeometry, got "
            f"{type(geometry).__name__}"
        )
    if dims is not None and len(geometry.size) != dims:
        raise ValueError(
            f"{function}: geometry expects {dims} spatial axes, has {len(geometry.size)}"
        )
    parts = zip(
        geometry.size,
        geometry.kernel,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.out_size,
        strict=True,
    )
    return [_axis(*part) for part in parts]


def draw_windows(
    geometry: Geometry, windows: Sequence[tuple[int, int]] | None = None, x: Any = None
) -> Any:
    """The padded input once for each window, with the pixels under its taps coloured.

    Args:
        geometry: a ConvGeometry or PoolGeometry with two spatial axes.
        windows: the (i, j) to show; all of them, in reading order, unless given.
        x: (H, W), whose numbers are written into the pixels. Without it each tap carries its p,q.

    Raises ValueError for a window that the geometry does not have, or an x of another size.
    """
    rows, columns = _axes_of("draw_windows", geometry)
    chosen = list(np.ndindex(*geometry.out_size)) if windows is None else list(windows)
    for i, j in chosen:
        _check_window("draw_windows", (i, j), geometry)
    values = None if x is None else _values("draw_windows", x, geometry)
    # As many in a line as fit; of all windows, if possible, as many as stand in a line of y.
    fit = max(1, 27 // (len(columns.places) + 1))
    across = min(fit, len(chosen) if windows is not None else geometry.out_size[1])
    panels = _panels([(len(rows.places), len(columns.places))] * len(chosen), across)
    for axes, (i, j) in zip(panels.axes, chosen, strict=True):
        _paint_input(axes, rows, columns, values)
        colour = _TAPS[(i * geometry.out_size[1] + j) % len(_TAPS)]
        for (p, h), (q, k) in _pairs(rows.reads[i], columns.reads[j]):
            padding = not (rows.inside(h) and columns.inside(k))
            text = f"{p},{q}" if values is None else "0" if padding else ""
            _cell(axes, h, k, colour, text, padding)
        _finish(axes, rows.places, columns.places, f"window ({i}, {j})")
    return panels


def _pairs(first: Sequence[int], second: Sequence[int]) -> list[tuple[Any, Any]]:
    return [(a, b) for a in enumerate(first) for b in enumerate(second)]


def _check_window(function: str, window: tuple[int, int], geometry: Geometry) -> None:
    if len(window) != 2 or not all(
        0 <= i < n for i, n in zip(window, geometry.out_size, strict=True)
    ):
        raise ValueError(
            f"{function}: window expects (i, j) below {geometry.out_size}, got {tuple(window)}"
        )


def _values(function: str, x: Any, geometry: Geometry) -> np.ndarray:
    values = _plane(function, "x", x)
    if values.shape != geometry.size:
        raise ValueError(f"{function}: x expects size {geometry.size}, got {values.shape}")
    return values


def _paint_input(axes: Any, rows: _Axis, columns: _Axis, values: np.ndarray | None) -> None:
    """Pixels, padding, and pixels that nobody reads."""
    counts = np.multiply.outer(rows.readers(), columns.readers())
    for h in rows.places:
        for k in columns.places:
            if rows.inside(h) and columns.inside(k):
                text = "" if values is None else _number(values[h, k])
                _cell(axes, h, k, _WHITE if counts[h, k] else _UNREAD, text)
            else:
                _cell(axes, h, k, _PADDING, "", padding=True)


def draw_axis(geometry: Geometry | Sequence[tuple[int, int]], axis: int = 0) -> Any:
    """One axis alone: a line for each window i, with its taps p above the places h they read.

    Args:
        geometry: a ConvGeometry or PoolGeometry; or the windows as (start, stop) pairs, as
            `adaptive_windows` gives them.
        axis: 0 for rows, 1 for columns.
    """
    if isinstance(geometry, (ConvGeometry, PoolGeometry)):
        line = _axes_of("draw_axis", geometry, None)[axis]
    else:
        reads = tuple([tuple(range(start, stop)) for start, stop in geometry])
        size = max(stop for _, stop in geometry)
        line = _Axis(size, 0, size - 1, reads)
    panels = _panels([(len(line.reads), len(line.places))])
    [axes] = panels.axes
    counts = line.readers()
    for i, window in enumerate(line.reads):
        for h in line.places:
            inside = line.inside(h)
            colour = _PADDING if not inside else _WHITE if counts[h] else _UNREAD
            _cell(axes, i, h, colour, "", padding=not inside)
        for p, h in enumerate(window):
            _cell(axes, i, h, _TAPS[i % len(_TAPS)], str(p), padding=not line.inside(h))
    _finish(axes, range(len(line.reads)), line.places, "")
    axes.set_ylabel("window")
    axes.set_xlabel("place; the number in a cell is the tap")
    return panels


# ---------------------------------------------------------------------- im2col


def draw_im2col(x: Any, geometry: ConvGeometry, window: tuple[int, int] | None = None) -> Any:
    """The input beside its matrix of columns, where each entry has the colour of its pixel.

    Args:
        x: (C, H, W) or (1, C, H, W) or (H, W): one image. A channel is a panel of its own.
        geometry: of the convolution; groups play no part.
        window: (i, j) whose taps are framed in the input, and whose column in the matrix.

    Raises ValueError for an x that does not fit the geometry, or a window that it does not have.
    """
    rows, columns = _axes_of("draw_im2col", geometry)
    image = _on_cpu(x)
    if image.ndim == 2:
        image = image[None]
    elif image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.shape != geometry.x_shape[1:]:
        raise ValueError(f"draw_im2col: x expects shape {geometry.x_shape[1:]}, got {image.shape}")
    if window is not None:
        _check_window("draw_im2col", window, geometry)
    C, (KH, KW), (OH, OW) = len(image), geometry.kernel, geometry.out_size
    plane = (len(rows.places), len(columns.places))
    panels = _panels([plane] * C + [(C * KH * KW, OH * OW)])
    for c, axes in enumerate(panels.axes[:-1]):
        _paint_colours(axes, image, c, rows, columns)
        if window is not None:
            for (_, h), (_, k) in _pairs(rows.reads[window[0]], columns.reads[window[1]]):
                _frame(axes, h, k, 1, 1)
    _paint_columns(panels.axes[-1], image, geometry, window)
    return panels


def _colour(image: np.ndarray, c: int, h: int, k: int) -> tuple[float, float, float]:
    """One colour for each pixel: the hue runs in reading order, channels differ in lightness."""
    C, H, W = image.shape
    return colorsys.hls_to_rgb(0.85 * (h * W + k) / (H * W), 0.84 - 0.24 * c / C, 0.75)


def _paint_colours(axes: Any, image: np.ndarray, c: int, rows: _Axis, columns: _Axis) -> None:
    for h in rows.places:
        for k in columns.places:
            if rows.inside(h) and columns.inside(k):
                _cell(axes, h, k, _colour(image, c, h, k), _number(image[c, h, k]))
            else:
                _cell(axes, h, k, _PADDING, "0", padding=True)
    _finish(axes, rows.places, columns.places, f"x, channel {c}" if len(image) > 1 else "x")


def _paint_columns(
    axes: Any, image: np.ndarray, geometry: ConvGeometry, window: tuple[int, int] | None
) -> None:
    rows, columns = _axes_of("draw_im2col", geometry)
    (KH, KW), (OH, OW) = geometry.kernel, geometry.out_size
    taps, windows = list(np.ndindex(len(image), KH, KW)), list(np.ndindex(OH, OW))
    for row, (c, p, q) in enumerate(taps):
        for column, (i, j) in enumerate(windows):
            h, k = rows.reads[i][p], columns.reads[j][q]
            if rows.inside(h) and columns.inside(k):
                _cell(axes, row, column, _colour(image, c, h, k), _number(image[c, h, k]))
            else:
                _cell(axes, row, column, _PADDING, "0", padding=True)
    if window is not None:
        _frame(axes, 0, window[0] * OW + window[1], len(taps), 1)
    _finish(axes, range(len(taps)), range(len(windows)), "cols")
    names = [f"{c},{p},{q}" if len(image) > 1 else f"{p},{q}" for c, p, q in taps]
    axes.set_yticks(range(len(taps)), names)
    axes.set_xticks(range(len(windows)), [f"{i},{j}" for i, j in windows])
    axes.set_ylabel("tap c,p,q" if len(image) > 1 else "tap p,q", fontsize=8)
    axes.set_xlabel("window i,j", fontsize=8)


# ---------------------------------------------------------------------- where gradients land


def draw_readers(
    geometry: Geometry | Sequence[Sequence[tuple[int, int]]], grad_x: Any = None
) -> Any:
    """How many windows read each pixel, and beside it the gradient that arrived there.

    Args:
        geometry: a ConvGeometry or PoolGeometry with two spatial axes; or the windows along rows
            and along columns as (start, stop) pairs, as `adaptive_windows` gives them.
        grad_x: (H, W); left out unless given.

    Raises ValueError for a grad_x of another size.
    """
    if isinstance(geometry, (ConvGeometry, PoolGeometry)):
        counts = [axis.readers() for axis in _axes_of("draw_readers", geometry)]
    else:
        counts = [
            [sum(a <= h < b for a, b in pairs) for h in range(pairs[-1][1])] for pairs in geometry
        ]
    readers = np.multiply.outer(*counts)
    panels = _panels([readers.shape] * (1 if grad_x is None else 2))
    _paint_numbers(panels.axes[0], readers, "Blues", "windows that read the pixel")
    for patch in np.array(panels.axes[0].patches)[readers.ravel() == 0]:
        patch.set_facecolor(_UNREAD)
    if grad_x is not None:
        plane = _plane("draw_readers", "grad_x", grad_x)
        if plane.shape != readers.shape:
            raise ValueError(
                f"draw_readers: grad_x expects size {readers.shape}, got {plane.shape}"
            )
        _paint_numbers(panels.axes[1], plane, "RdBu_r", "grad_x")
    return panels


def draw_holes(
    geometry: ConvGeometry, grad_y: Any = None, pixel: tuple[int, int] | None = None
) -> Any:
    """The input gradient as a convolution of stride 1: grad_y with holes, padded, and the kernel.

    Between the entries of grad_y stand S - 1 zeros, around them D*(K-1) - P of padding (so much is
    cut off where that is negative), and behind all, in pale orange, the R rows left over. The
    flipped kernel slides over this: its tap p carries the weight KH-1-p.

    Args:
        geometry: of the convolution in the forward, with two spatial axes.
        grad_y: (OH, OW), whose numbers are written in.
        pixel: (h, k) of grad_x, whose taps are framed.

    Raises ValueError for a grad_y of another size or a pixel outside the input.
    """
    rows, columns = _axes_of("draw_holes", geometry)
    values = None if grad_y is None else _plane("draw_holes", "grad_y", grad_y)
    if values is not None and values.shape != geometry.out_size:
        raise ValueError(f"draw_holes: grad_y expects size {geometry.out_size}, got {values.shape}")
    if pixel is not None and not (rows.inside(pixel[0]) and columns.inside(pixel[1])):
        raise ValueError(f"draw_holes: pixel expects (h, k) in {geometry.size}, got {pixel}")
    places = [_spread_places(geometry, axis) for axis in (0, 1)]
    left_over = [
        place[len(place) - _rows_left_over(geometry, a) :] for a, place in enumerate(places)
    ]
    panels = _panels([(len(places[0]), len(places[1]))])
    [axes] = panels.axes
    (SH, SW), (OH, OW) = geometry.stride, geometry.out_size
    for u in places[0]:
        for v in places[1]:
            (i, across), (j, along) = divmod(u, SH), divmod(v, SW)
            if u in left_over[0] or v in left_over[1]:
                _cell(axes, u, v, _UNREAD, "0", padding=True)
            elif not (0 <= u <= (OH - 1) * SH and 0 <= v <= (OW - 1) * SW):
                _cell(axes, u, v, _PADDING, "0", padding=True)
            elif across or along:
                _cell(axes, u, v, _HOLE, "0")
            else:
                _cell(axes, u, v, _TAPS[0], "" if values is None else _number(values[i, j]))
    if pixel is not None:
        starts = [place[0] + at for place, at in zip(places, pixel, strict=True)]
        for p, q in np.ndindex(*geometry.kernel):
            u, v = (a + d * t for a, d, t in zip(starts, geometry.dilation, (p, q), strict=True))
            _frame(axes, u, v, 1, 1)
    _finish(axes, places[0], places[1], "grad_y with holes")
    return panels


def _spread_places(geometry: ConvGeometry, axis: int) -> range:
    """The places of the padded, spread gradient along one axis: H + D*(K-1) of them."""
    reach = geometry.dilation[axis] * (geometry.kernel[axis] - 1)
    first = geometry.padding[axis][0] - reach
    return range(first, first + geometry.size[axis] + reach)


def _rows_left_over(geometry: ConvGeometry, axis: int) -> int:
    """R: places of the padded input behind the last window."""
    room = geometry.padded_size[axis] - geometry.span[axis]
    return room - (geometry.out_size[axis] - 1) * geometry.stride[axis]


# ---------------------------------------------------------------------- cells and figures


@cache
def figure_class() -> Any:
    """The class of all figures here. ImportError without Matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"pictures need Matplotlib: pip install matplotlib ({error})") from None

    class Picture(Figure):
        """A Figure that notebooks show, though pyplot has no hand in it."""

        def __init__(self, **options: Any):
            super().__init__(**options)
            FigureCanvasAgg(self)

        def _repr_png_(self) -> bytes:
            import io

            content = io.BytesIO()
            self.savefig(content, format="png", metadata={"Software": None})
            return content.getvalue()

    return Picture


def _panels(shapes: Sequence[tuple[int, int]], across: int | None = None) -> Any:
    """A figure with an empty panel for each (rows, columns), `across` of them in a line.

    Every cell is a square of the same size, whatever else the figure holds.
    """
    across = across or len(shapes)
    lines = [shapes[a : a + across] for a in range(0, len(shapes), across)]
    wide = [max(line[k][1] for line in lines if k < len(line)) for k in range(across)]
    high = [max(h for h, _ in line) for line in lines]
    left, gap, top, bottom = _MARGINS
    width = sum(wide) * _CELL + left + across * gap
    height = sum(high) * _CELL + len(high) * (top + bottom)
    figure = figure_class()(figsize=(width, height), dpi=80)
    for index, (rows, columns) in enumerate(shapes):
        line, column = divmod(index, across)
        x = left + sum(wide[:column]) * _CELL + column * gap
        y = height - top - sum(high[:line]) * _CELL - line * (top + bottom) - rows * _CELL
        box = (x / width, y / height, columns * _CELL / width, rows * _CELL / height)
        figure.add_axes(box)
    return figure


def _cell(axes: Any, h: int, k: int, colour: Any, text: str, padding: bool = False) -> None:
    from matplotlib.patches import Rectangle

    options: dict[str, Any] = {"facecolor": colour, "edgecolor": _LINE, "lw": 0.6}
    if padding:
        options |= {"hatch": "////", "hatchcolor": _STRIPE}
    # Not clipped: the outermost lines lie on the panel's edge, and half of them beyond it.
    axes.add_patch(Rectangle((k - 0.5, h - 0.5), 1, 1, clip_on=False, **options))
    if text:
        size = 9 if len(text) < 4 else 7 if len(text) < 6 else 6
        axes.text(k, h, text, ha="center", va="center", fontsize=size, zorder=4)


def _frame(axes: Any, h: int, k: int, rows: int, columns: int) -> None:
    from matplotlib.patches import Rectangle

    options: dict[str, Any] = {"fill": False, "edgecolor": "black", "lw": 2, "zorder": 3}
    axes.add_patch(Rectangle((k - 0.5, h - 0.5), columns, rows, clip_on=False, **options))


def _finish(axes: Any, rows: range, columns: range, title: str) -> None:
    axes.set_xlim(columns[0] - 0.5, columns[-1] + 0.5)
    axes.set_ylim(rows[-1] + 0.5, rows[0] - 0.5)
    axes.set_xticks(columns)
    axes.set_yticks(rows)
    axes.tick_params(length=0, labelsize=7, labelcolor="#555555")
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
