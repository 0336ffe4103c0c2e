"""The autograd engine. Read tensor.py, function.py, engine.py, gradcheck.py, in this order."""

from .device import device
from .engine import backward, grad
from .function import Function
from .gradcheck import GradcheckError, gradcheck
from .gradgradcheck import gradgradcheck
from .inplace import inplace
from .mode import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)
from .size import Size
from .tensor import Tensor

Variable = Tensor  # the name that tutorials of PyTorch 0.3 use

__all__ = [
    "Function",
    "GradcheckError",
    "Size",
    "Tensor",
    "Variable",
    "backward",
    "detect_anomaly",
    "device",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "inplace",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]
