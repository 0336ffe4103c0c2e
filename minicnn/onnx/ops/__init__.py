"""What each Function is in ONNX: one small mapping for each, one family a file.

The operators and their attributes: https://onnx.ai/onnx/operators/
"""

from . import activation, arithmetic, conv, linear, norm, pool, reduce, resize, shape

__all__ = [
    "activation",
    "arithmetic",
    "conv",
    "linear",
    "norm",
    "pool",
    "reduce",
    "resize",
    "shape",
]
