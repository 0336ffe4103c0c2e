"""Padding, in every mode."""

from __future__ import annotations

from .case import Case, Draw, op


@op(section="Borders made of x", count=60)
def pad(draw: Draw) -> Case:
    """1 to 3 dimensions, with batch or without, widths up to the largest, and negative ones."""
    mode = draw.turn("constant", "reflect", "replicate", "circular")
    dims = draw.integer(1, 3)
    sizes = draw.shape(dims, 1, 5)
    widths: list[int] = []
    for n in sizes:
        largest = {"reflect": n - 1, "circular": n // 2}.get(mode, 4)
        lo, hi = (draw.integer(-((n - 1) // 2), largest) for _ in range(2))
        widths = [lo, hi, *widths]
    x = draw.normal(*draw.shape(draw.integer(1, 2), 1, 2), *sizes)
    value = draw.choice(None, draw.uniform(-2, 2)) if mode == "constant" else None
    return Case("nn.functional.pad", x, tuple(widths), mode, value)
