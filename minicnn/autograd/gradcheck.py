"""Is a backward right? Compared with finite differences, in float64.

For y = fn(x), a random direction v and a random cotangent u there is one number that both the
backward and two forwards can compute:

    analytic   <J^T u, v>                          from the backward, with gradient u
    numeric    <u, fn(x + h v) - fn(x - h v)> / 2h     error: c h^2 (formula) + e / h (rounding)

The cotangent is random because a sum over y (u = 1) cannot see a softmax whose gradient is zero,
nor a convolution with its kernel transposed. The step h is swept downwards: the differences between
neighbouring steps fall as h^2 and then rise as 1/h, and the best numeric value is where they turn.
Where they still fall at the end of the sweep (fn bends sharply), it goes on; where x is tiny, or
its elements span decades, steps are taken in proportion to x. At a kink, or where fn rounds to
float32, they do not settle, and that is what is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import arrays as backend
from . import dtypes
from .device import CPU
from .engine import grad
from .mode import enable_grad, no_grad
from .tensor import Tensor

_STEPS = [2.0**-k for k in range(6, 27, 2)]  # 1.6e-2 ... 1.5e-8, relative to the size of x
_FINER = [2.0**-k for k in range(28, 47, 2)]  # where those end before the differences settle
_SMALL = 2.0**-20  # for one-sided slopes: a smooth function's differ by O(h), a kink's do not


class GradcheckError(RuntimeError):
    """A gradient did not pass. The message says which, where, by how much, and why.

    `error` is that of the slope, relative to the gradient; NaN where it was no slope that failed.
    """

    error = float("nan")


class Slope(NamedTuple):
    """One comparison: numeric is uncertain by `doubt` and differs from the analytic by `error`.

    Steps were multiples of `unit`.
    """

    right: bool
    numeric: float
    error: float
    doubt: float
    kink: float
    unit: float

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
            gradient a million times smaller than others' want a check of their own. Where all are
            small, atol alone lets nothing pass: a thousandth of the slope must be right.
        raise_exception: False returns False where the check fails.
        directions: how many random directions and cotangents to try for each input.
    Inputs on a device are checked there: the numbers are kept on the CPU, and moved for each call.
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
    """As gradcheck; returns the largest error of a slope, relative to it or to |gradient * v|."""
    from .consistency import consistent, deterministic

    fn, given = from_the_cpu(fn, (inputs,) if isinstance(inputs, Tensor) else tuple(inputs))
    check = _Check(fn, given, [eps] if eps else _STEPS, atol, rtol, seed)
    with np.errstate(all="ignore"):  # steps may leave where fn is finite
        deterministic(check)
        for k in range(directions):
            check.new_cotangent()
            gradients = check.gradients(check.checked)
            for i in check.checked:
                check.along_a_direction(i, gradients[i])
            if k == 0:
                consistent(check)
        check.single_precision()
    return check.worst


def from_the_cpu(fn: Any, given: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """fn of inputs on a device as a function of inputs on the CPU, and these inputs."""
    places = [x.device if isinstance(x, Tensor) and x.requires_grad else None for x in given]
    if all(place in (None, CPU) for place in places):
        return fn, given

    def there_and_back(*args: Any) -> Any:
        moved = [x.to(p) if p else x for x, p in zip(args, places, strict=True)]
        values = fn(*moved)
        ys = values if isinstance(values, (tuple, list)) else [values]
        return tuple([y.to(CPU) if isinstance(y, Tensor) else y for y in ys])

    here = [
        Tensor(backend.to_numpy(x.array), requires_grad=True) if p else x
        for x, p in zip(given, places, strict=True)
    ]
    return there_and_back, tuple(here)


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

    def call(
        self, changed: Any = None, need: Any = (), form: Callable[..., Any] = np.array
    ) -> tuple[list[Tensor], list[Any]]:
        """Outputs and inputs of fn at x, some replaced, those in `need` requiring a gradient.

        form: makes the copies that fn is given.
        """
        arrays = {**self.x, **(changed or {})}
        args = [
            Tensor(form(arrays[i]), requires_grad=i in need) if i in arrays else x
            for i, x in enumerate(self.given)
        ]
        with enable_grad() if need else no_grad():
            return outputs_of(self.fn(*args)), args

    def new_cotangent(self) -> None:
        self.u = [np.asarray(self.rng.standard_normal(y.shape)) for y in self.call()[0]]

    def terms(self, changed: Any = None) -> np.ndarray:
        """The products whose sum is <u, fn(x)>. Differences are taken one by one: 0 where fn does
        not depend on what has changed, however large it is there.
        """
        ys, _ = self.call(changed)
        products = [(u * y.array).reshape(-1) for u, y in zip(self.u, ys, strict=True)]
        return np.concatenate(products)

    def gradients(self, need: list[int]) -> dict[int, np.ndarray]:
        """J^T u for the inputs in `need`, from the backward."""
        ys, args = self.call(need=need)
        found, guarded = gradients_of(ys, [args[i] for i in need], self.u)
        for array, before in [*guarded, *((args[i].array, self.x[i]) for i in need)]:
            if not np.array_equal(array, before, equal_nan=True):
                raise GradcheckError(
                    "gradcheck: wrong backward: it changes an input, output or gradient in place"
                )
        return {i: g.array for i, g in zip(need, found, strict=True)}

    def compare(self, i: int, g: np.ndarray, v: np.ndarray) -> Slope:
        """Is g right along v?

        Steps are multiples of 1 + |x|, which suits x of any size but tiny ones: then of |x|.
        """
        size = float(np.abs(self.x[i][v != 0]).max())
        slope = self.by_steps(i, g, v, 1.0 + size)
        if not slope.right and size > 0 and len(self.steps) > 1:
            finer = self.by_steps(i, g, v, size)
            return finer if finer.right or not finer.doubt >= slope.doubt else slope
        return slope

    def by_steps(self, i: int, g: np.ndarray, v: np.ndarray, unit: float) -> Slope:
        """Is g right along v, by steps that are multiples of `unit`?"""
        moved = v != 0  # an infinite gradient of another element says nothing here
        parts = g[moved] * v[moved]
        analytic, length = float(parts.sum()), _length(parts)
        allowed = self.atol + self.rtol * length
        numeric, doubt, settled = self.central(i, v, self.steps, unit)
        if not settled or not max(abs(analytic - numeric), doubt / 10) <= allowed:
            numeric, doubt, _ = self.central(i, v, [*self.steps, *_FINER], unit)
        error, kink = abs(analytic - numeric), self.kink(i, v, unit)
        # A numeric value that does not settle proves nothing, so it cannot let a gradient pass.
        right = error <= allowed < np.inf and doubt <= 10 * allowed and not kink
        if len(self.steps) > 1:  # atol forgives rounding, not a gradient of another size
            right = right and error <= 10 * doubt + 1e-3 * max(length, abs(numeric))
        return Slope(right, numeric, error, doubt, kink, unit)

    def central(
        self, i: int, v: np.ndarray, steps: list[float], unit: float
    ) -> tuple[float, float, bool]:
        """(slope along v by central differences, its uncertainty, did it settle before the end?)"""
        x, terms = self.x[i], self.terms()
        h, slopes = np.array(steps) * unit / np.abs(v).max(), []
        concerned = np.zeros(terms.shape, bool)
        for step in h:
            there, back = self.terms({i: x + step * v}), self.terms({i: x - step * v})
            concerned |= there != back
            slopes.append(float(_difference(there, back)) / (2 * step))
        if len(slopes) == 1:
            return slopes[0], 0.0, True
        # What the next step changed, and what rounding alone could: equal values may be chance.
        rounding = np.finfo(np.float64).eps * _length(
            terms[concerned] if concerned.any() else terms
        )
        doubts = np.abs(np.diff(slopes)) + rounding / h[1:]
        if not np.isfinite(doubts).any():
            return slopes[-1], np.inf, False
        best = int(np.nanargmin(doubts))
        # Where fn swings to and fro within a step, coarse steps agree on a slope near 0; then there
        # are finer ones that agree to more digits.
        shares = doubts / (np.abs(slopes[1:]) + np.abs(slopes[:-1]))
        if np.nanmin(shares[best:], initial=np.inf) < shares[best] / 100:
            best += int(np.nanargmin(shares[best:]))
        return slopes[best + 1], float(doubts[best]), best < len(doubts) - 1

    def slopes(
        self, i: int, v: np.ndarray, unit: float, step: float = _SMALL
    ) -> tuple[float, float]:
        """The slopes on either side of x along v."""
        x, h = self.x[i], step * unit / np.abs(v).max()
        middle = self.terms()
        left = _difference(middle, self.terms({i: x - h * v})) / h
        return left, _difference(self.terms({i: x + h * v}), middle) / h

    def kink(self, i: int, v: np.ndarray, unit: float) -> float:
        """How far the slopes differ, if they do. Central differences cannot see |x| at 0.

        At a kink they differ by as much however near one looks; where fn bends, by less and less;
        where only rounding parts them, by more and more.
        """
        left, right = self.slopes(i, v, unit)
        gap = abs(right - left)
        if gap <= 1e-2 * (abs(left) + abs(right)) + 1e-3:
            return 0.0
        left, right = self.slopes(i, v, unit, _SMALL / 16)
        return 0.0 if abs(right - left) < gap / 2 or abs(right - left) > 2 * gap else gap

    def along_a_direction(self, i: int, g: np.ndarray) -> None:
        """A random direction for input i; if it fails, the worst element is named and judged.

        But where x spans decades no one step suits all: elements of like size are checked together.
        """
        if g.size == 0:
            return
        v = self.rng.standard_normal(g.shape)
        slopes = [self.compare(i, g, v)]
        if not slopes[0].right and len(self.steps) > 1:
            decades = np.floor(np.log10(np.abs(self.x[i])))
            if np.unique(decades).size > 1:
                parts = [np.where(decades == d, v, 0) for d in np.unique(decades)]
                slopes = [self.compare(i, g, part) for part in parts]
        size = max(_length(g * v), self.atol)
        errors = [float(s.error) / max(size, abs(s.numeric)) for s in slopes]
        if not all(slope.right for slope in slopes):
            from .diagnosis import diagnose

            failure = GradcheckError(f"gradcheck: input {i}, {diagnose(self, i, g, v)}")
            failure.error = max(errors)
            raise failure
        self.worst = max(self.worst, *errors)

    def single_precision(self) -> None:
        """Where inputs came as float32: is the gradient still right in that precision?"""
        if all(self.given[i].dtype == np.float64 for i in self.checked):
            return
        args = [x.detach().requires_grad_(i in self.x) if isinstance(x, Tensor) else x
                for i, x in enumerate(self.given)]  # fmt: skip
        with enable_grad():
            ys = outputs_of(self.fn(*args))
        found, _ = gradients_of(ys, [args[i] for i in self.checked], self.u)
        for (i, exact), g in zip(self.gradients(self.checked).items(), found, strict=True):
            error = np.abs(g.array - exact)
            if error.size and not error.max() <= 1e-3 * (np.abs(exact).max() + 1e-3):
                index = tuple(int(k) for k in np.unravel_index(int(error.argmax()), error.shape))
                raise GradcheckError(
                    f"gradcheck: input {i}, index {index}: the gradient is {g.array[index]:.7g} in "
                    f"{g.dtype}, {exact[index]:.7g} in float64. Judgement: float32 rounding: the "
                    "formula is right but loses its digits in this precision"
                )


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """The sum of a - b; infinities that are equal do not count."""
    return float(np.where(a == b, 0.0, a - b).sum())


def _length(a: np.ndarray) -> float:
    """The Euclidean length, also where squares would overflow."""
    largest = float(np.abs(a).max(initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.sum(np.square(a / largest))))


def gradients_of(
    ys: list[Tensor], xs: list[Tensor], us: list[np.ndarray], **options: Any
) -> tuple[Any, Any]:
    """Gradients of <u, y>, and (array, copy before) of everything the backward must not change."""
    pairs = [
        (y, Tensor(np.asarray(u, y.dtype))) for y, u in zip(ys, us, strict=True) if y.requires_grad
    ]
    guarded = [(t.array, backend.copy(t.array)) for pair in pairs for t in pair]
    if not pairs:
        return [Tensor(np.zeros(x.shape)) for x in xs], guarded
    outputs, cotangents = zip(*pairs, strict=True)
    return grad(outputs, xs, cotangents, materialize_grads=True, **options), guarded
