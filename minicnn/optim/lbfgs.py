"""L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor, enable_grad
from ..autograd.device import check_one_device
from ..backend import arrays as backend
from ..backend.cpu.matmul import inner
from .optimizer import Optimizer

_VECTORS = ("d", "old_dirs", "old_stps", "prev_flat_grad")  # of all parameters together

Point = tuple[float, float, Any, Any]  # t, the loss there, its gradient, its slope along d


class LBFGS(Optimizer):
    """Newton's method with a Hessian that is guessed from the last gradients.

        d = -H g,   x <- x + t d         H: about the inverse of the Hessian; t: the length

    A step from x to x + s that changes the gradient by y tells that H y = s. H is never written
    down: with rho = 1 / (y . s), each pair (s, y) turns it into
        H <- (1 - rho s y^T) H (1 - rho y s^T) + rho s s^T,     at first H = (y . s) / (y . y),
    and H g comes from two passes over the last history_size pairs. Nocedal and Wright, "Numerical
    optimization", 2006, algorithms 7.4 and 7.5. A pair with y . s <= 1e-10 is left out, for H would
    not stay positive.

    One call of step makes up to max_iter iterations and max_eval evaluations of the closure
    (default: 5 / 4 of max_iter). It ends earlier where no gradient is above tolerance_grad, or
    where a step or the loss changes by tolerance_change or less. The length is lr (shorter in the
    very first iteration); with line_search_fn="strong_wolfe" one that fulfils Wolfe's conditions:
    see `strong_wolfe`. All parameters form one group, and all of the data should stand behind each
    gradient.

    Raises ValueError: settings out of range, several groups.
    """

    _not_negative = ("lr",)

    def __init__(
        self,
        params: Any,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As Optimizer.add_param_group; ValueError for a second group."""
        if self.param_groups:
            raise ValueError("LBFGS: expects one parameter group, for all have one step in common")
        super().add_param_group(param_group)

    def _check_settings(self, group: dict[str, Any]) -> None:
        super()._check_settings(group)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                "LBFGS: line_search_fn expects None or 'strong_wolfe', "
                f"got {group['line_search_fn']!r}"
            )

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("func_evals", "n_iter")

    def _loaded_value(self, name: str, p: Tensor, key: str, value: Any) -> Any:
        loaded = super()._loaded_value(name, p, key, value)
        size = sum(q.array.size for q in self.param_groups[0]["params"])
        is_vector = key in _VECTORS and isinstance(loaded, Tensor)
        if is_vector and loaded.shape != (size,):
            raise ValueError(f"{name}: {key} has shape {loaded.shape}, expects ({size},)")
        return loaded

    # ------------------------------------------------------------------ steps

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Iterates; returns what the closure gave first.

        closure: sets the gradients to zero, computes the loss and its gradients, returns the loss.
        The state is kept under the first parameter.
        """
        group = self.param_groups[0]
        check_one_device("LBFGS.step", *group["params"])
        state = self.state[group["params"][0]]
        self._check_state(group["params"][0], state, ("d", "prev_flat_grad"))
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first, loss, grad = self._evaluate(closure)
        state["func_evals"] += 1
        if _largest(grad) <= group["tolerance_grad"]:
            return first
        if group["max_iter"] < 1:
            return first
        memory = _Memory(state, group["history_size"])
        evals = 1
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            begins = state["n_iter"] == 1
            memory.turn(grad, begins)
            memory.prev_grad, memory.prev_loss = grad, loss
            memory.t = group["lr"]
            if begins:
                memory.t = min(1.0, 1.0 / float(np.abs(grad).sum())) * group["lr"]
            slope = _dot(grad, memory.d)
            if slope > -group["tolerance_change"]:
                break
            last = iteration == group["max_iter"]
            loss, grad, count = self._move(closure, memory, loss, grad, slope, evals, last)
            evals += count
            state["func_evals"] += count
            if last or evals >= group["max_eval"] or _largest(grad) <= group["tolerance_grad"]:
                break
            if _largest(memory.d * memory.t) <= group["tolerance_change"]:
                break
            if abs(loss - memory.prev_loss) < group["tolerance_change"]:
                break
        memory.keep(state)
        return first

    def _move(
        self,
        closure: Callable[[], Any],
        memory: _Memory,
        loss: float,
        grad: Any,
        slope: Any,
        evals: int,
        last: bool,
    ) -> tuple[float, Any, int]:
        """Goes along d; the loss and the gradient there, and how often the closure was called."""
        group = self.param_groups[0]
        if group["line_search_fn"] is None:
            self._add(memory.t, memory.d)
            if last:  # nobody would use the gradient
                return loss, grad, 0
            _, loss, grad = self._evaluate(closure)
            return loss, grad, 1
        start = [backend.copy(p.array) for p in group["params"]]

        def along(t: float) -> Point:
            self._add(t, memory.d)
            _, f, g = self._evaluate(closure)
            for p, array in zip(group["params"], start, strict=True):
                p.array[...] = array
                self._changed(p)
            return t, f, g, _dot(g, memory.d)

        best, count = strong_wolfe(
            along, (0.0, loss, grad, slope), memory.t, _largest(memory.d), group["max_eval"] - evals
        )
        memory.t, loss, grad, _ = best
        self._add(memory.t, memory.d)
        return loss, grad, count

    def _evaluate(self, closure: Callable[[], Any]) -> tuple[Any, float, Any]:
        """What the closure returns, as a number too, and all gradients in one vector."""
        with enable_grad():
            loss = closure()
        parts = []
        for p in self.param_groups[0]["params"]:
            parts.append(np.zeros_like(p.array) if p.grad is None else p.grad.array)
        return loss, float(loss), np.concatenate([part.reshape(-1) for part in parts])

    def _add(self, t: float, d: Any) -> None:
        start = 0
        for p in self.param_groups[0]["params"]:
            part = d[start : start + p.array.size].reshape(p.shape)
            np.add(p.array, part * t, out=p.array)
            self._changed(p)
            start += p.array.size

    def _changed(self, p: Tensor) -> None:
        p._version[0] += 1
        p._version[1] = "LBFGS.step"


def _largest(a: Any) -> float:
    return float(np.abs(a).max())


def _dot(a: Any, b: Any) -> Any:
    """The inner product of two vectors, a number of their type."""
    if type(a) is type(b) is np.ndarray:
        return inner(a, b)
    return backend.to_numpy(a @ b)[()]


class _Memory:
    """The last direction, length, gradient and loss, and the pairs: as they are in the state."""

    def __init__(self, state: dict[str, Any], size: int):
        def array(value: Any) -> Any:
            value = value.array if isinstance(value, Tensor) else value
            return value[()] if isinstance(value, np.ndarray) and not value.ndim else value

        self.size = size
        self.d, self.t = array(state.get("d")), array(state.get("t"))
        self.y = [array(v) for v in state.get("old_dirs") or ()]
        self.s = [array(v) for v in state.get("old_stps") or ()]
        self.rho = [array(v) for v in state.get("ro") or ()]
        self.scale = array(state.get("H_diag", 1))
        self.prev_grad = array(state.get("prev_flat_grad"))
        self.prev_loss = state.get("prev_loss", math.inf)

    def keep(self, state: dict[str, Any]) -> None:
        """Writes all into the state, under PyTorch's names."""

        def tensor(value: Any) -> Tensor:
            return Tensor._wrap(backend.as_array(value))

        state["d"], state["t"] = tensor(self.d), float(self.t)
        state["old_dirs"] = [tensor(v) for v in self.y]
        state["old_stps"] = [tensor(v) for v in self.s]
        state["ro"] = [tensor(v) for v in self.rho]
        state["H_diag"] = tensor(self.scale)
        state["prev_flat_grad"], state["prev_loss"] = tensor(self.prev_grad), self.prev_loss

    def turn(self, grad: Any, begins: bool) -> None:
        """Takes in the pair of the last step and sets d = -H grad."""
        if begins:
            self.y, self.s, self.rho, self.scale = [], [], [], 1
            self.d = -grad
            return
        y, s = grad - self.prev_grad, self.d * self.t
        ys = _dot(y, s)
        if ys > 1e-10:
            if len(self.y) == self.size:
                del self.y[0], self.s[0], self.rho[0]
            self.y.append(y)
            self.s.append(s)
            self.rho.append(1.0 / ys)
            self.scale = ys / _dot(y, y)
        self.d = self._product(-grad)

    def _product(self, q: Any) -> Any:
        """H q, in two passes over the pairs: the newest first, then the oldest first."""
        pairs = list(zip(self.y, self.s, self.rho, strict=True))
        alphas = []
        for y, s, rho in reversed(pairs):
            alphas.append(_dot(s, q) * rho)
            q = q - y * alphas[-1]
        q = q * self.scale
        for (y, s, rho), alpha in zip(pairs, reversed(alphas), strict=True):
            q = q + s * (alpha - _dot(y, q) * rho)
        return q


# ---------------------------------------------------------------------- the line search


def strong_wolfe(
    along: Callable[[float], Point],
    start: Point,
    t: float,
    largest: float,
    max_evals: int,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
) -> tuple[Point, int]:
    """A length t at which the loss f along d has fallen enough and its slope is flat enough:

        f(t) <= f(0) + c1 t f'(0)   and   |f'(t)| <= c2 |f'(0)|         (Wolfe's strong conditions)

    First t grows until such a point lies below it, then the bracket around it is narrowed. Next
    points are minima of cubics through the last two. Nocedal and Wright, algorithms 3.5 and 3.6.

    Args: along, which gives (t, f, gradient, slope) at t; start, the same at 0; t, the first
    guess; largest, the largest element of d: a bracket below `tolerance` / largest is not narrowed.
    Returns the point, the best that was found if max_evals ran out, and the number of evaluations.
    """
    _, f0, _, slope0 = start

    def too_high(point: Point) -> bool:
        return point[1] > f0 + c1 * point[0] * slope0

    def flat(point: Point) -> bool:
        return abs(point[3]) <= -c2 * slope0

    last, new, tries = start, along(t), 0
    while tries < max_evals:
        if too_high(new) or (tries > 1 and new[1] >= last[1]):
            break
        if flat(new):
            return new, tries + 1
        if new[3] >= 0:
            break
        t = new[0]
        bounds = (t + 0.01 * (t - last[0]), t * 10)
        last, new = new, along(cubic_minimum(last, new, bounds))
        tries += 1
    else:
        last = start
    low, high = (last, new) if last[1] <= new[1] else (new, last)
    ends, slow = [last, new], False
    while tries < max_evals and abs(ends[1][0] - ends[0][0]) * largest >= tolerance:
        t, slow = _inside(cubic_minimum(ends[0], ends[1]), ends, slow)
        new = along(t)
        tries += 1
        i = 0 if ends[0] is low else 1
        if too_high(new) or new[1] >= low[1]:
            ends[1 - i] = new
            i = 0 if ends[0][1] <= ends[1][1] else 1
        else:
            if flat(new):
                return new, tries + 1
            if new[3] * (high[0] - low[0]) >= 0:
                ends[1 - i] = low
            ends[i] = new
        low, high = ends[i], ends[1 - i]
    return low, tries + 1


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic with the values and slopes of two points has its minimum, kept in bounds.

    Without bounds: between the points. The middle, where the cubic has no minimum. Nocedal and
    Wright, equation 3.59.
    """
    (x1, f1, _, g1), (x2, f2, _, g2) = (a, b) if a[0] <= b[0] else (b, a)
    low, high = bounds or (x1, x2)
    if x1 == x2:  # with a rate of 0
        return low
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1**2 - g1 * g2
    d2 = math.sqrt(square) if square >= 0 else math.nan
    above, below = g2 + d2 - d1, g2 - g1 + 2 * d2
    if below == 0 != above:  # a straight line falls for ever
        return high if above < 0 else low
    if not abs(below) > 0:  # no minimum, or no numbers to find it by
        return (low + high) / 2
    return min(max(x2 - (x2 - x1) * (above / below), low), high)


def _inside(t: float, ends: list[Point], slow: bool) -> tuple[float, bool]:
    """t, moved off an end of the bracket where it would narrow it too slowly a second time."""
    low, high = sorted(end[0] for end in ends)
    margin = 0.1 * (high - low)
    if min(high - t, t - low) >= margin:
        return t, False
    if slow or t >= high or t <= low:
        return (high - margin if abs(t - high) < abs(t - low) else low + margin), False
    return t, True
