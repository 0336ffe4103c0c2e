"""Are second derivatives right? gradcheck, applied to the function that computes gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import arrays as backend
from .engine import grad
from .gradcheck import (
    GradcheckError,
    checked_inputs,
    from_the_cpu,
    gradcheck,
    gradcheck_error,
    outputs_of,
)
from .mode import enable_grad
from .tensor import Tensor


def gradgradcheck(
    fn: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *args: Any, **options: Any
) -> bool:
    """Checks second derivatives: `gradcheck` of the function that computes the gradients of `fn`.

    Args: as `gradcheck`; grad_outputs, the cotangents of fn's outputs, are random if not given, and
    the gradient with respect to them is checked too. The gradients that create_graph=True computes
    must also equal the ordinary ones. Raises as gradcheck.
    """
    gradients, both = _gradients(fn, inputs, grad_outputs, options.get("seed", 0))
    return gradcheck(gradients, both, *args, **options)


def gradgradcheck_error(fn: Callable[..., Any], inputs: Any, **options: Any) -> float:
    """As gradgradcheck; returns the largest error of a slope, relative to |gradient * v|."""
    return gradcheck_error(*_gradients(fn, inputs, None, options.get("seed", 0)), **options)


def _gradients(fn: Any, inputs: Any, grad_outputs: Any, seed: int) -> tuple[Any, tuple[Any, ...]]:
    """The function that computes the gradients of fn, and its inputs: fn's and the cotangents."""
    fn, given = from_the_cpu(fn, (inputs,) if isinstance(inputs, Tensor) else tuple(inputs))
    checked = checked_inputs(given)
    if grad_outputs is None:
        rng = np.random.default_rng(seed)
        grad_outputs = [
            np.asarray(rng.standard_normal(y.shape), y.dtype) for y in outputs_of(fn(*given))
        ]
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    arrays = [backend.to_numpy(getattr(g, "array", g)) for g in grad_outputs]
    cotangents = [Tensor(backend.copy(g), requires_grad=True) for g in arrays]

    def gradients(*both: Any) -> Any:
        xs, gs = list(both[: len(given)]), both[len(given) :]
        with enable_grad():
            for i in checked:  # finite differences call without gradients, but fn's are wanted here
                xs[i] = xs[i] if xs[i].requires_grad else xs[i].detach().requires_grad_()
            wanted = [xs[i] for i in checked]
            return grad(outputs_of(fn(*xs)), wanted, gs, create_graph=True, materialize_grads=True)

    _check_same_gradients(fn, given, checked, cotangents)
    return gradients, (*given, *cotangents)


def _check_same_gradients(fn: Any, given: Any, checked: Any, cotangents: Any) -> None:
    """A backward may go another way on Tensors than on arrays; both must lead to the same."""
    plain, taped = (
        grad(outputs_of(fn(*given)), [given[i] for i in checked], cotangents, create_graph=create,
             materialize_grads=True) for create in (False, True))  # fmt: skip
    for i, a, b in zip(checked, plain, taped, strict=True):
        tolerance = 1e-10 if a.dtype == np.float64 else 1e-4
        if not np.allclose(a.array, b.array, tolerance, tolerance, equal_nan=True):
            raise GradcheckError(
                f"gradgradcheck: input {i}: the gradient differs by up to "
                f"{np.abs(a.array - b.array).max():.3g} when computed with create_graph=True. "
                "Judgement: wrong backward"
            )
