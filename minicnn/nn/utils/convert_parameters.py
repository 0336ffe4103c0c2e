"""All parameters of a network as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ... import functional as F
from ...autograd import Tensor
from ..state import copy_into


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one behind the other, in a differentiable vector."""
    return F.cat([F.reshape(param, -1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Overwrites the parameters with the elements of a vector.

    Raises TypeError (no Tensor), ValueError (another number of elements); nothing is changed then.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: vec expects a Tensor, got {type(vec).__name__}")
    parameters = list(parameters)
    sizes = [param.numel() for param in parameters]
    if vec.shape != (sum(sizes),):
        raise ValueError(
            f"vector_to_parameters: vec expects shape ({sum(sizes)},), one element for each of the "
            f"parameters', got {vec.shape}"
        )
    start = 0
    for param, size in zip(parameters, sizes, strict=True):
        part = vec.array[start : start + size].reshape(param.shape)
        copy_into(param, part, "vector_to_parameters")
        start += size
