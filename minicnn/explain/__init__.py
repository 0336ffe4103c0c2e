"""A look inside networks: what their layers are, and pictures of what their operations do."""

from .pictures import (
    draw_arrays,
    draw_axis,
    draw_holes,
    draw_im2col,
    draw_readers,
    draw_windows,
)
from .summary import LayerSummary, Summary, summary

__all__ = [
    "LayerSummary",
    "Summary",
    "draw_arrays",
    "draw_axis",
    "draw_holes",
    "draw_im2col",
    "draw_readers",
    "draw_windows",
    "summary",
]
