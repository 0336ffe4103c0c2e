"""A look inside networks: what their layers are and see, and pictures of what they do."""

from .attribution import (
    Attribution,
    cam_layer,
    grad_cam,
    integrated_gradients,
    occlusion,
    saliency,
    smooth_grad,
)
from .features import FeatureMaps, Filters, feature_maps, show_feature_maps, show_filters
from .mistakes import Confusion, Mistakes, confusion, worst_mistakes
from .picture import Picture
from .pictures import (
    draw_arrays,
    draw_axis,
    draw_holes,
    draw_im2col,
    draw_readers,
    draw_windows,
)
from .receptive_field import (
    EffectiveField,
    ReceptiveField,
    effective_receptive_field,
    receptive_field,
    receptive_fields,
)
from .summary import LayerSummary, Summary, summary

__all__ = [
    "Attribution",
    "Confusion",
    "EffectiveField",
    "FeatureMaps",
    "Filters",
    "LayerSummary",
    "Mistakes",
    "Picture",
    "ReceptiveField",
    "Summary",
    "cam_layer",
    "confusion",
    "draw_arrays",
    "draw_axis",
    "draw_holes",
    "draw_im2col",
    "draw_readers",
    "draw_windows",
    "effective_receptive_field",
    "feature_maps",
    "grad_cam",
    "integrated_gradients",
    "occlusion",
    "receptive_field",
    "receptive_fields",
    "saliency",
    "show_feature_maps",
    "show_filters",
    "smooth_grad",
    "summary",
    "worst_mistakes",
]
