"""Is a backward a function of its arguments alone? What gradcheck asks besides the slopes.

Slopes are compared on one call, with all gradients wanted, in one memory order. A backward can be
right there and wrong elsewhere: when it runs a second time, when fewer gradients are asked for or
given, when an array is not contiguous. None of that needs finite differences: each question here
is answered by another backward, whose gradients must be the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .gradcheck import GradcheckError, gradients_of
from .tensor import Tensor


def deterministic(check: Any) -> None:
    """The same inputs must give the same bits, forward and backward."""
    if not any(y.requires_grad for y in check.call(need=check.checked)[0]):
        raise GradcheckError(
            "gradcheck: no output of fn requires a gradient; is something detached inside?"
        )
    check.new_cotangent()
    twice = [[y.array for y in check.call()[0]] for _ in range(2)]
    grads = [list(check.gradients(check.checked).values()) for _ in range(2)]
    for what, (first, second) in {"output": twice, "gradient of checked input": grads}.items():
        for k, (a, b) in enumerate(zip(first, second, strict=True)):
            if not np.array_equal(a, b, equal_nan=True):
                raise GradcheckError(
                    f"gradcheck: {what} {k} differs by up to {np.abs(a - b).max():.3g} between "
                    "two calls with the same inputs. Judgement: not deterministic; fix the seed"
                )


def consistent(check: Any) -> None:
    """All questions but the first."""
    together = check.gradients(check.checked)
    for i in check.checked:
        alone = check.gradients([i])
        _same(alone, {i: together[i]}, "when no other input requires one")
    _repeated(check)
    _by_outputs(check, together)
    _scattered_too(check, together)
    _double(together)


def _repeated(check: Any) -> None:
    """A second backward through the same graph, with grad_y times -2, must give -2 times as much.

    It does not where the first one has spoilt what was saved, or where a backward is not linear.
    """
    ys, args = check.call(need=check.checked)
    first = _gradients(check, ys, args, check.u, retain_graph=True)
    before = {i: g.copy() for i, g in first.items()}
    second = _gradients(check, ys, args, [np.multiply(-2, u) for u in check.u])
    _same(first, before, "once a second backward has run: it was kept and written over")
    doubled = {i: -2 * g for i, g in before.items()}
    _same(second, doubled, "in a second backward through the same graph, with grad_y times -2")


def _by_outputs(check: Any, together: dict[int, np.ndarray]) -> None:
    """Of several outputs perhaps one is used: the gradients through each must add up to those."""
    found = []
    count = len(check.u)
    for k in range(count if count > 1 else 0):
        ys, args = check.call(need=check.checked)
        if ys[k].requires_grad:
            found.append(_gradients(check, [ys[k]], args, [check.u[k]]))
    if found:
        total = {i: sum(gradients[i] for gradients in found) for i in together}
        _same(total, together, "when each output is used by itself and these are added up")


def _scattered_too(check: Any, together: dict[int, np.ndarray]) -> None:
    """Memory order must not matter, unless fn itself is of another opinion.

    It may refuse such inputs, as view does, or give something else, as after writing into
    `x.reshape(...)`, which is a view of x or a copy.
    """
    try:
        ys, args = check.call(need=check.checked, form=_scattered)
    except (RuntimeError, ValueError):
        return
    for y, usual in zip(ys, check.call()[0], strict=True):
        if not np.allclose(y.array, usual.array, 1e-4, check.atol, equal_nan=True):
            return
    found = _gradients(check, ys, args, [_scattered(u) for u in check.u])
    _same(found, together, "when inputs and grad_y are not contiguous", 1e-4, check.atol)


def _double(gradients: dict[int, np.ndarray]) -> None:
    """With random cotangents no float64 gradient has only the digits that float32 holds.

    But for its whole numbers, and what is left of a 0: few bits, which float32 holds as well.
    """
    for i, g in gradients.items():
        broken = g[(g % 1 != 0) & (np.abs(g) > 1e-9) & np.isfinite(g)]
        if broken.size > 1 and np.all(broken == broken.astype(np.float32)):
            raise GradcheckError(
                f"gradcheck: input {i}: every element of its gradient is a float32. Judgement: "
                "float32 rounding: the backward computes in single precision although its input "
                "is float64"
            )


def _gradients(
    check: Any, ys: list[Tensor], args: list[Any], us: list[np.ndarray], **options: Any
) -> dict[int, np.ndarray]:
    found, _ = gradients_of(ys, [args[i] for i in check.checked], us, **options)
    return {i: g.array for i, g in zip(check.checked, found, strict=True)}


def _same(found: Any, wanted: Any, when: str, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """GradcheckError unless the gradients of all inputs agree, but for their rounding."""
    for i, g in found.items():
        finite = np.where(np.isfinite(wanted[i]), wanted[i], 0.0)
        allowed = atol + rtol * np.abs(finite).max(initial=0.0)
        if not np.allclose(g, wanted[i], rtol, allowed, equal_nan=True):
            raise GradcheckError(
                f"gradcheck: input {i}: its gradient differs {when}, by "
                f"{np.abs(g - wanted[i]).max():.3g}. Judgement: wrong backward"
            )


def _scattered(array: np.ndarray) -> np.ndarray:
    """The same values with the axes' memory in reverse, and a gap behind each element."""
    view = np.zeros((*array.shape[::-1], 2), array.dtype)[..., 0].T
    view[...] = array
    return view
