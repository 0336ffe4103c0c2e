"""minicnn: a deep-learning framework for convolutional networks, written to be read.

The names are PyTorch's: code typed from a tutorial runs with `import minicnn as torch`. Rooms, from
the bottom up: `backend` (arrays and inner loops), `autograd` (Tensor, Function, gradcheck),
`functional` (the maths of every operation), `nn`, `optim`, `data`, `datasets`, `transforms`,
`models`, `train`. Those that a program does not use are not loaded.
"""

# ruff: noqa: F401  (imported to be seen as minicnn's)

import importlib as _importlib
from typing import Any as _Any

from numpy import e, finfo, iinfo, inf, nan, pi

from . import autograd, backend, functional
from .autograd import (
    Function,
    Size,
    Tensor,
    device,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .autograd.dtypes import (
    bool,
    double,
    dtype,
    float,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    result_type,
    set_default_dtype,
    short,
    uint8,
)
from .autograd.layouts import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    memory_format,
    preserve_format,
)
from .autograd.printing import set_printoptions
from .backend import use_backend
from .backend.cpu.memory import empty_cache
from .backend.cpu.threads import get_num_threads, set_num_threads
from .backend.random import (
    Generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from .functional import *  # noqa: F403
from .version import __version__

_LAZY_MODULES = {
    "accelerator", "backends", "catalog", "cli", "cuda", "data", "datasets", "explain", "interop",
    "linalg", "models", "nn", "onnx", "optim", "train", "transforms", "utils",
}  # fmt: skip
_LAZY_NAMES = {
    "are_deterministic_algorithms_enabled": "backends", "get_float32_matmul_precision": "backends",
    "load": "interop", "save": "interop", "set_float32_matmul_precision": "backends",
    "Trainer": "train", "use_deterministic_algorithms": "backends",
}  # fmt: skip


def __getattr__(name: str) -> _Any:
    if name in _LAZY_MODULES:
        return _importlib.import_module(f"{__name__}.{name}")
    if name in _LAZY_NAMES:
        return getattr(_importlib.import_module(f"{__name__}.{_LAZY_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES, *_LAZY_NAMES})
