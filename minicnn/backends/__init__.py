"""Switches that tutorials set, under PyTorch's names: `backends.cudnn.benchmark = True`.

They are accepted so that such code runs, and have no effect: minicnn does not use cuDNN, and its
convolutions are deterministic already.
"""

from . import cuda, cudnn

__all__ = ["cuda", "cudnn"]
