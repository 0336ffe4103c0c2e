"""Convolutions, with random geometries."""

from __future__ import annotations

from .case import Case, Draw, op


@op(section="Backward, from the definition", count=40)
def conv2d(draw: Draw) -> Case:
    """Any stride, padding, dilation and groups that fit."""
    G, C, F = draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 2)
    KH, KW = draw.integer(1, 3), draw.integer(1, 3)
    D, P = draw.integer(1, 2), draw.integer(0, 2)
    H, W = D * (KH - 1) + draw.integer(1, 4), D * (KW - 1) + draw.integer(1, 4)
    x = draw.normal(draw.integer(1, 2), G * C, H, W)
    b = draw.choice(None, draw.normal(G * F))
    return Case(
        "nn.functional.conv2d",
        x,
        draw.normal(G * F, C, KH, KW),
        b,
        stride=(draw.integer(1, 3), draw.integer(1, 3)),
        padding=P,
        dilation=D,
        groups=G,
    )
