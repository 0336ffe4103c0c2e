"""Questions about GPUs that programs ask first. minicnn computes on the CPU: the answer is no.

`device("cuda" if cuda.is_available() else "cpu")` gives the CPU.
"""

from __future__ import annotations


def is_available() -> bool:
    """True if tensors can be moved to a GPU. This version has no GPU path, so always False."""
    return False


def device_count() -> int:
    """How many GPUs can be used: none."""
    return 0


def synchronize(device: object = None) -> None:
    """Waits for the GPU's work; without one there is none to wait for."""


def empty_cache() -> None:
    """Frees cached GPU memory; without a GPU there is none."""


def manual_seed(seed: int) -> None:
    """Seeds the GPU's generator; ignored without a GPU, as PyTorch does."""


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all GPUs; ignored without a GPU, as PyTorch does."""
