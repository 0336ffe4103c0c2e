"""Is a backward right? Compared with finite differences, in float64.

For y = fn(x), a random direction v and a random cotangent u there is one number that both the
backward and two forwards can compute:

    analytic   <J^T u, v>                          from the backward, with gradient u
    numeric    <u, fn(x + h v) - fn(x - h v)> / 2h     error: c h^2 (formula) + e / h (rounding)

The cotangent is random because a sum over y (u = 1) cannot see a softmax whose gradient is zero,
nor a convolution with its kernel transposed. The step h is swept downwards: the differences between
neighbouring steps fall as h^2 and then rise as 1/h, and the best numeric value is where they turn.
Where they still fall at the end of the sweep (fn bends sharply, or x is tiny), it goes on. At a
kink, or where fn rounds to float32, they do not settle, and that is what is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import dtypes
from .diagnosis import diagnose
from .engine import grad
from .mode import enable_grad, no_grad
from .tensor import Tensor

_STEPS = [2.0**-k for k in range(6, 27, 2)]  # 1.6e-2 ... 1.5e-8, relative to the size of x
_FINER = [2.0**-k for k in range(28, 47, 2)]  # where those end before the differences settle
_SMALL = 2.0**-20  # for one-sided slopes: a smooth function's differ by O(h), a kink's do not


class GradcheckError(RuntimeError):
    """A gradient did not pass. The message says which, where, by how much, and why."""


class Slope(NamedTuple):
    """One comparison: numeric is uncertain by `doubt` and differs from the analytic by `error`."""

    right: bool
    numeric: float
    error: float
    doubt: float
    kink: float

    @property
    def off(self) -> float:
        """How far off the gradient is at worst."""
        return float(np.nan_to_num(max(self.error, self.doubt, self.kink), nan=np.inf))


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float | None = None,
    atol: float = 1e-7,
    rtol: float = 1e-6,
    raise_exception: bool = True,
    *,
    directions: int = 2,
    seed: int = 0,
) -> bool:
    """Checks the gradients of `fn` at `inputs` against central differences.

    Args:
        fn: takes the inputs, returns a Tensor or a tuple of Tensors.
        inputs: a Tensor or a tuple; those that are floating and require a gradient are checked, on
            float64 copies. A float32 input's gradient is also compared with the float64 one.
        eps: one step to use; None sweeps the step, which is both stricter and more forgiving.
        atol, rtol: a slope along v may be off by atol + rtol * |gradient * v|. So elements with a
            gradient a million times smaller than others' want a check of their own.
        raise_exception: False returns False where the check fails.
        directions: how many random directions and cotangents to try for each input.
    Returns True. Raises GradcheckError, whose message names the input, the index, the analytic and
    the numeric value, and the judgement: wrong backward; kink or tie; float32 rounding; not
    deterministic; not finite; not settled (no step gives a slope to compare with). Raises
    ValueError if no input requires a gradient, TypeError if fn returns something else than Tensors.
    """
    try:
        gradcheck_error(fn, inputs, eps, atol, rtol, directions=directions, seed=seed)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradcheck_error(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float | None = None,
    atol: float = 1e-7,
    rtol: float = 1e-6,
    *,
    directions: int = 2,
    seed: int = 0,
) -> float:
    """As gradcheck; returns the largest error of a slope, relative to |gradient * v|."""
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    check = _Check(fn, given, [eps] if eps else _STEPS, atol, rtol, seed)
    check.deterministic()
    for _ in range(directions):
        check.new_cotangent()
        gradients = check.gradients(check.checked)
        for i in check.checked:
            check.along_a_direction(i, gradients[i])
            check.alone(i, gradients[i])
    check.single_precision()
    return check.worst


def outputs_of(value: Any) -> list[Tensor]:
    """The floating ones of what a function returned."""
    values = value if isinstance(value, (tuple, list)) else [value]
    if not all(isinstance(y, Tensor) for y in values):
        got = ", ".join([type(y).__name__ for y in values])
        raise TypeError(f"gradcheck: fn must return a Tensor or a tuple of them, got {got}")
    return [y for y in values if dtypes.is_floating(y.dtype)]


def checked_inputs(given: Any) -> list[int]:
    """Which inputs require a gradient. ValueError if none does."""
    checked = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck: no input requires a gradient: create one with requires_grad=True"
        )
    return checked


class _Check:
    """One gradcheck: the function, float64 copies x of its inputs, a random cotangent u."""

    def __init__(self, fn: Any, given: Any, steps: Any, atol: float, rtol: float, seed: int):
        self.fn, self.given, self.checked = fn, given, checked_inputs(given)
        self.steps, self.atol, self.rtol = steps, atol, rtol
        self.rng = np.random.default_rng(seed)
        self.x = {i: np.array(given[i].array, np.float64) for i in self.checked}
        self.worst = 0.0

    def call(self, changed: Any = None, need: Any = ()) -> tuple[list[Tensor], list[Any]]:
        """Outputs and inputs of fn at x, some replaced, those in `need` requiring a gradient."""
        arrays = {**self.x, **(changed or {})}
        args = [
            Tensor(np.array(arrays[i]), requires_grad=i in need) if i in arrays else x
            for i, x in enumerate(self.given)
        ]
        with enable_grad() if need else no_grad():
            return outputs_of(self.fn(*args)), args

    def new_cotangent(self) -> None:
        self.u = [self.rng.standard_normal(y.shape) for y in self.call()[0]]

    def value(self, changed: Any = None) -> float:
        """<u, fn(x)>."""
        ys, _ = self.call(changed)
        return sum(float(np.vdot(u, y.array)) for u, y in zip(self.u, ys, strict=True))

    def gradients(self, need: list[int]) -> dict[int, np.ndarray]:
        """J^T u for the inputs in `need`, from the backward."""
        ys, args = self.call(need=need)
        found, guarded = _backward(ys, [args[i] for i in need], self.u)
        for array, before in [*guarded, *((args[i].array, self.x[i]) for i in need)]:
            if not np.array_equal(array, before, equal_nan=True):
                raise GradcheckError(
                    "gradcheck: wrong backward: it changes an input, output or gradient in place"
                )
        return {i: g.array for i, g in zip(need, found, strict=True)}

    def deterministic(self) -> None:
        """The same inputs must give the same bits, forward and backward."""
        if not any(y.requires_grad for y in self.call(need=self.checked)[0]):
            raise GradcheckError(
                "gradcheck: no output of fn requires a gradient; is something detached inside?"
            )
        self.new_cotangent()
        twice = [[y.array for y in self.call()[0]] for _ in range(2)]
        grads = [list(self.gradients(self.checked).values()) for _ in range(2)]
        for what, (first, second) in {"output": twice, "gradient of checked input": grads}.items():
            for k, (a, b) in enumerate(zip(first, second, strict=True)):
                if not np.array_equal(a, b, equal_nan=True):
                    raise GradcheckError(
                        f"gradcheck: {what} {k} differs by up to {np.abs(a - b).max():.3g} between "
                        "two calls with the same inputs. Judgement: not deterministic; fix the seed"
                    )

    def alone(self, i: int, together: np.ndarray) -> None:
        """With only input i needing a gradient, a backward may skip work, but not get i wrong."""
        alone = self.gradients([i])[i]
        if not np.allclose(alone, together, rtol=1e-9, atol=1e-12, equal_nan=True):
            raise GradcheckError(
                f"gradcheck: input {i}: its gradient differs when no other input requires one, by "
                f"{np.abs(alone - together).max():.3g}. Judgement: wrong backward"
            )

    def compare(self, i: int, g: np.ndarray, v: np.ndarray) -> Slope:
        """Is g right along v?"""
        moved = v != 0  # an infinite gradient of another element says nothing here
        parts = g[moved] * v[moved]
        analytic = float(parts.sum())
        allowed = self.atol + self.rtol * float(np.linalg.norm(parts))
        numeric, doubt, settled = self.central(i, v, self.steps)
        if not settled:
            numeric, doubt, _ = self.central(i, v, [*self.steps, *_FINER])
        error, kink = abs(analytic - numeric), self.kink(i, v)
        # A numeric value that does not settle proves nothing, so it cannot let a gradient pass.
        right = error <= allowed < np.inf and doubt <= 10 * allowed and not kink
        return Slope(right, numeric, error, doubt, kink)

    def central(self, i: int, v: np.ndarray, steps: list[float]) -> tuple[float, float, bool]:
        """(slope along v by central differences, its uncertainty, did it settle before the end?)"""
        x, slopes = self.x[i], []
        h = np.array(steps) * (1.0 + np.abs(x).max()) / np.abs(v).max()
        for step in h:
            there, back = self.value({i: x + step * v}), self.value({i: x - step * v})
            slopes.append((there - back) / (2 * step))
        if len(slopes) == 1:
            return slopes[0], 0.0, True
        # What the next step changed, and what rounding alone could: equal values may be chance.
        doubts = np.abs(np.diff(slopes)) + np.finfo(np.float64).eps * self.size() / h[1:]
        if not np.isfinite(doubts).any():
            return slopes[-1], np.inf, False
        best = int(np.nanargmin(doubts))
        return slopes[best + 1], float(doubts[best]), best < len(doubts) - 1

    def size(self) -> float:
        """The size of the numbers that `value` adds up."""
        pairs = zip(self.u, self.call()[0], strict=True)
        return float(np.sqrt(sum(np.sum(np.square(u * y.array)) for u, y in pairs)))

    def slopes(self, i: int, v: np.ndarray, step: float = _SMALL) -> tuple[float, float]:
        """The slopes on either side of x along v."""
        x, h = self.x[i], step * (1.0 + np.abs(self.x[i]).max()) / np.abs(v).max()
        middle = self.value()
        return (middle - self.value({i: x - h * v})) / h, (self.value({i: x + h * v}) - middle) / h

    def kink(self, i: int, v: np.ndarray) -> float:
        """How far the slopes differ, if they do. Central differences cannot see |x| at 0.

        At a kink they differ by as much however near one looks; where fn bends, by less and less;
        where only rounding parts them, by more and more.
        """
        left, right = self.slopes(i, v)
        gap = abs(right - left)
        if gap <= 1e-2 * (abs(left) + abs(right)) + 1e-3:
            return 0.0
        left, right = self.slopes(i, v, _SMALL / 16)
        return 0.0 if abs(right - left) < gap / 2 or abs(right - left) > 2 * gap else gap

    def along_a_direction(self, i: int, g: np.ndarray) -> None:
        """A random direction for input i; if it fails, the worst element is named and judged."""
        if g.size == 0:
            return
        v = self.rng.standard_normal(g.shape)
        slope = self.compare(i, g, v)
        if slope.right:
            size = float(np.linalg.norm(g * v))
            self.worst = max(self.worst, float(slope.error) / max(size, self.atol))
            return
        raise GradcheckError(f"gradcheck: input {i}, {diagnose(self, i, g, v)}")

    def single_precision(self) -> None:
        """Where inputs came as float32: is the gradient still right in that precision?"""
        if all(self.given[i].dtype == np.float64 for i in self.checked):
            return
        args = [x.detach().requires_grad_(i in self.x) if isinstance(x, Tensor) else x
                for i, x in enumerate(self.given)]  # fmt: skip
        with enable_grad():
            ys = outputs_of(self.fn(*args))
        found, _ = _backward(ys, [args[i] for i in self.checked], self.u)
        for (i, exact), g in zip(self.gradients(self.checked).items(), found, strict=True):
            error = np.abs(g.array - exact)
            if error.size and not error.max() <= 1e-3 * (np.abs(exact).max() + 1e-3):
                index = tuple(int(k) for k in np.unravel_index(int(error.argmax()), error.shape))
                raise GradcheckError(
                    f"gradcheck: input {i}, index {index}: the gradient is {g.array[index]:.7g} in "
                    f"{g.dtype}, {exact[index]:.7g} in float64. Judgement: float32 rounding: the "
                    "formula is right but loses its digits in this precision"
                )


def _backward(ys: list[Tensor], xs: list[Tensor], us: list[np.ndarray]) -> tuple[Any, Any]:
    """Gradients of <u, y>, and (array, copy before) of everything the backward must not change."""
    pairs = [(y, Tensor(u.astype(y.dtype))) for y, u in zip(ys, us, strict=True) if y.requires_grad]
    guarded = [(t.array, t.array.copy()) for pair in pairs for t in pair]
    if not pairs:
        return [Tensor(np.zeros(x.shape)) for x in xs], guarded
    found = grad([y for y, _ in pairs], xs, [u for _, u in pairs], materialize_grads=True)
    return found, guarded
