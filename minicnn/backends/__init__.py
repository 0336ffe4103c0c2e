"""Switches that tutorials set, under PyTorch's names: `backends.cudnn.benchmark = True`.

They are accepted so that such code runs, and have no effect: minicnn does not use cuDNN, and its
convolutions are deterministic already.
"""

from . import cuda, cudnn, mps

__all__ = [
    "are_deterministic_algorithms_enabled",
    "cuda",
    "cudnn",
    "mps",
    "use_deterministic_algorithms",
]

_asked = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: every algorithm here is deterministic already."""
    global _asked
    _asked = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What was last asked for."""
    return _asked
