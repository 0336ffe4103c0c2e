"""Switches that tutorials set, under PyTorch's names: `backends.cudnn.benchmark = True`.

`backends.cpu` chooses how convolutions are computed on the CPU. The others are accepted so that
such code runs, and have no effect: minicnn does not use cuDNN, and its kernels are deterministic
already. Each of their threads gathers what belongs to its own element of the result, in a fixed
order; none adds to memory that others add to. So a training on a GPU that is repeated with the same
seed, on a GPU of the same kind, gives the same bits. The one exception is bincount with weights,
which is CuPy's: its atomic additions come in any order, so that the last bits of the sums vary.
"""

from . import cpu, cuda, cudnn, mps

__all__ = [
    "are_deterministic_algorithms_enabled",
    "cpu",
    "cuda",
    "cudnn",
    "get_float32_matmul_precision",
    "mps",
    "set_float32_matmul_precision",
    "use_deterministic_algorithms",
]

_asked = False
_PRECISIONS = ("highest", "high", "medium")
_precision = "highest"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: the algorithms are deterministic already, but for the exception named above."""
    global _asked
    _asked = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What was last asked for."""
    return _asked


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted: products of float32 are always computed in float32. ValueError for another word."""
    global _precision
    if precision not in list(_PRECISIONS):
        names = ", ".join(map(repr, _PRECISIONS))
        raise ValueError(
            f"set_float32_matmul_precision: precision expects one of {names}, got {precision!r}"
        )
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What was last asked for."""
    return _precision
