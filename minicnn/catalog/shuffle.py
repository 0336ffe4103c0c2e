"""Rearrangements of channels and pixels."""

from __future__ import annotations

from .case import Case, Draw, op


@op(section="Channel shuffle", count=10)
def channel_shuffle(draw: Draw) -> Case:
    """Any number of axes from three."""
    G = draw.integer(1, 4)
    x = draw.normal(draw.integer(1, 2), G * draw.integer(1, 3), *draw.shape(draw.integer(1, 3)))
    return Case("nn.functional.channel_shuffle", x, groups=G)


@op(section="Pixel shuffle", count=10)
def pixel_shuffle(draw: Draw) -> Case:
    """Any number of axes in front."""
    r, lead = draw.integer(1, 3), draw.shape(draw.integer(0, 2), 1, 2)
    x = draw.normal(*lead, draw.integer(1, 2) * r * r, draw.integer(1, 3), draw.integer(1, 3))
    return Case("nn.functional.pixel_shuffle", x, upscale_factor=r)


@op(section="Pixel shuffle", count=10)
def pixel_unshuffle(draw: Draw) -> Case:
    """Any number of axes in front."""
    r, lead = draw.integer(1, 3), draw.shape(draw.integer(0, 2), 1, 2)
    x = draw.normal(*lead, draw.integer(1, 2), draw.integer(1, 3) * r, draw.integer(1, 3) * r)
    return Case("nn.functional.pixel_unshuffle", x, downscale_factor=r)
