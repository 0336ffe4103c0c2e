"""Resizing, in every mode, and reading at places that are computed."""

from __future__ import annotations

import numpy as np

from .case import Case, Draw, op

_FACTORS = (0.3, 1 / 3, 0.5, 0.7, 1.3, 1.5, 2.0, 2.5, 3.0)


@op(section="A sparse matrix along each axis", count=120)
def interpolate(draw: Draw) -> Case:
    """Every mode, to larger and smaller sizes and to size 1, by size and by scale_factor."""
    modes = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}
    dims = draw.integer(1, 3)
    mode = draw.choice("nearest", "nearest-exact", "area", *2 * modes[dims])
    sizes = draw.shape(dims, 1, 9 - 2 * dims)
    options: dict[str, object] = {"mode": mode}
    if mode in ("linear", "bilinear", "trilinear", "bicubic"):
        options["align_corners"] = draw.choice(None, False, True)
    if draw.boolean():
        size = options["size"] = draw.choice(draw.integer(1, 9), draw.shape(dims, 1, 9))
        width = size if isinstance(size, int) else size[-1]
    else:
        factors = options["scale_factor"] = _factors(draw, sizes)
        options["recompute_scale_factor"] = draw.choice(None, False, True)
        width = int(sizes[-1] * factors[-1])
    # With antialias and a new width of 1, PyTorch 2.13 repeats the first row for all others.
    if mode in ("bilinear", "bicubic") and width > 1:
        options["antialias"] = draw.boolean()
        if options["antialias"] and not options["align_corners"]:
            options["mode"] = draw.choice(mode, "lanczos")
    x = draw.normal(draw.integer(1, 2), draw.integer(1, 2), *sizes)
    return Case("nn.functional.interpolate", x, **options)


def _factors(draw: Draw, sizes: tuple[int, ...]) -> tuple[float, ...]:
    """Factors that leave something, and change the size or are 1.

    Where a factor such as 1.2 leaves a size as it is, PyTorch's backward is not that of its
    forward.
    """
    chosen = []
    for n in sizes:
        factors = [f for f in (*_FACTORS, draw.uniform(1, 3)) if int(n * f) not in (0, n)]
        chosen.append(draw.choice(1.0, *[f for f in factors if f == 2 or int(n * f) != 2 * n]))
    return tuple(chosen)


@op(section="Between pixels", count=72)
def grid_sample(draw: Draw) -> Case:
    """Every mode on images and volumes, at places within and far beyond, away from kinks."""
    mode = draw.turn("bilinear", "nearest", "bicubic")
    padding = draw.turn("zeros", "border", "reflection")
    align = draw.turn(False, True)
    dims = 2 if mode == "bicubic" else draw.turn(2, 3)
    # Far from the pixels all four that bicubic reads may be one, and the slope but rounding errors.
    near = mode == "bicubic"
    N, C, sizes = draw.integer(1, 2), draw.integer(1, 2), draw.shape(dims, 1 + near, 4)
    # Places u between whole numbers and halves, where the slopes jump, and from them g.
    shape = (N, *draw.shape(dims, 1, 3))
    axes = []
    for S in reversed(sizes):
        shares = draw.rng.uniform(0.1, 0.4, shape) + 0.5 * draw.rng.integers(0, 2, shape)
        u = draw.integers(-1, S - 1, *shape) if near else draw.integers(-S - 1, 2 * S, *shape)
        u = u + shares
        axes.append(2 * u / (S - 1) - 1 if align and S > 1 else (2 * u + 1) / S - 1)
    options = {"mode": mode, "padding_mode": padding, "align_corners": align}
    x = draw.normal(N, C, *sizes)
    return Case("nn.functional.grid_sample", x, np.stack(axes, axis=-1), **options)


@op(section="An affine grid", count=40)
def affine_grid(draw: Draw) -> Case:
    """Images and volumes, with and without align_corners."""
    dims, align = draw.turn(2, 3), draw.turn(False, True)
    # PyTorch warns of align_corners with a size of 1, where it once did something else.
    size = (draw.integer(1, 3), draw.integer(1, 3), *draw.shape(dims, 2 if align else 1, 4))
    theta = draw.normal(size[0], dims, dims + 1)
    return Case("nn.functional.affine_grid", theta, size, align_corners=align)
