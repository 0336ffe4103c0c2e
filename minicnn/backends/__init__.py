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
    "mps",
    "use_deterministic_algorithms",
]

_asked = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: the algorithms are deterministic already, but for the exception named above."""
    global _asked
    _asked = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What was last asked for."""
    return _asked
