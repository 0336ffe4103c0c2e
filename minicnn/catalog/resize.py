"""Resizing, in every mode."""

from __future__ import annotations

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
