"""Schedules: learning rates that change from epoch to epoch (or step to step).

A schedule is stepped after the optimizer. It writes the new rate into each group's "lr"; the rate
that the group had first is kept there as "initial_lr". Most compute the new rate from the old one,
so that several schedules can act on one optimizer; the value in closed form stands in each
docstring, for epoch t and initial rate lr0.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..autograd import Tensor
from .optimizer import Optimizer


class LRScheduler:
    """Base class: a subclass writes `get_lr`, the new rates of all groups at `self.last_epoch`.

    last_epoch: -1 begins anew; otherwise the number of the last epoch done, for groups that hold an
    "initial_lr" (from an optimizer's state_dict).
    Raises TypeError (no Optimizer) and KeyError (no "initial_lr" although last_epoch >= 0).
    """

    _is_initial = False  # during the step that the constructor makes

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self.optimizer = _checked(type(self).__name__, optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: 'initial_lr' is not in param_groups[{i}]; "
                    f"last_epoch={last_epoch} expects an optimizer whose state_dict was loaded"
                )
        self.base_lrs = [_copied(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        self.step()
        del self._is_initial

    def get_lr(self) -> list[float]:
        """The rate of each group for epoch `self.last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__}: the schedule has no get_lr method")

    def get_last_lr(self) -> list[float]:
        """The rates that the last step has set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Goes on to the next epoch. Call it after `optimizer.step()`.

        epoch: goes to that one (deprecated, as in PyTorch).
        """
        if self._step_count == 1 and not self.optimizer._stepped:
            warnings.warn(
                f"{type(self).__name__}: `lr_scheduler.step()` before `optimizer.step()`; "
                "the other way round, or the first learning rate is skipped",
                stacklevel=2,
            )
        if epoch is not None:
            warnings.warn(
                f"{type(self).__name__}.step: the argument epoch is deprecated; call step()",
                stacklevel=2,
            )
        self._update_lr(epoch)
        self._step_count += 1

    def _update_lr(self, epoch: int | None = None) -> None:
        before = self.last_epoch
        self.last_epoch = before + 1 if epoch is None else epoch
        closed = getattr(self, "_get_closed_form_lr", None)
        try:
            rates = self.get_lr() if epoch is None or closed is None else closed()
        except Exception:
            self.last_epoch = before
            raise
        self._set_lrs(rates)

    def _set_lrs(self, rates: Iterable[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            _set_lr(group, rate)
        self._last_lr = self._lrs()

    def _lrs(self, factor: float = 1.0) -> list[float]:
        """The current rates, times `factor`."""
        rates = [_copied(group["lr"]) for group in self.optimizer.param_groups]
        return rates if factor == 1 else [rate * factor for rate in rates]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Any) -> None:
        """Goes on where the schedule that made the state_dict was. Load the optimizer's as well.

        Raises ValueError for missing keys or another number of groups; nothing has changed then.
        """
        self._load(self._checked_state(state_dict))

    def _checked_state(self, state_dict: Any) -> dict[str, Any]:
        """What `_load` takes, or the errors of load_state_dict; a subclass converts its own."""
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"{name}: expects a dict, got {type(state_dict).__name__}")
        wanted = self.state_dict()
        missing = sorted(wanted.keys() - state_dict.keys())
        if missing:
            raise ValueError(f"{name}: the dict lacks {', '.join(missing)}")
        for key in ("base_lrs", "_last_lr", "min_lrs"):
            if key in wanted and len(state_dict[key]) != len(wanted[key]):
                raise ValueError(
                    f"{name}: {key} expects {len(wanted[key])} rates, one for each group, "
                    f"got {len(state_dict[key])}"
                )
        return {key: state_dict[key] for key in wanted}

    def _load(self, values: dict[str, Any]) -> None:
        """Takes over checked values."""
        self.__dict__.update(values)


_LRScheduler = LRScheduler  # its older name


def _checked(name: str, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer expects an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def _copied(rate: Any) -> Any:
    """A rate that later changes of a group's "lr" leave alone."""
    return rate.clone() if isinstance(rate, Tensor) else rate


def _set_lr(group: dict[str, Any], rate: Any) -> None:
    """A Tensor that was given as the rate stays the one that the user holds: it is filled."""
    if isinstance(group["lr"], Tensor):
        group["lr"].array[...] = float(rate)
    else:
        group["lr"] = rate


def _for_each_group(name: str, text: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """A value for each group, from a list of them or from one for all."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name}: {text} expects {count} values, one for each group, got {len(value)}"
        )
    return list(value)


class _OfFunctions(LRScheduler):
    """A schedule of functions of the epoch, one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        name = type(self).__name__
        _checked(name, optimizer)
        self.lr_lambdas = _for_each_group(name, "lr_lambda", optimizer, lr_lambda)
        for fn in self.lr_lambdas:
            if not callable(fn):
                raise TypeError(f"{name}: lr_lambda expects functions, got {type(fn).__name__}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["lr_lambdas"] = [_attributes(fn) for fn in self.lr_lambdas]
        return state

    def _load(self, values: dict[str, Any]) -> None:
        for fn, attributes in zip(self.lr_lambdas, values.pop("lr_lambdas"), strict=True):
            if attributes is not None:
                fn.__dict__.update(attributes)
        super()._load(values)


def _attributes(fn: Any) -> dict[str, Any] | None:
    """What a state_dict holds of a callable: None for a plain function."""
    return None if hasattr(fn, "__code__") else dict(getattr(fn, "__dict__", {}))


class LambdaLR(_OfFunctions):
    """lr = lr0 * lr_lambda(t); a function, or a list with one for each group.

    state_dict holds the attributes of callable objects, and nothing of plain functions.
    """

    def get_lr(self) -> list[float]:
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [lr * factor(self.last_epoch) for lr, factor in pairs]


class MultiplicativeLR(_OfFunctions):
    """lr = lr0 * lr_lambda(1) * ... * lr_lambda(t); a function, or a list with one for each group.

    state_dict holds the attributes of callable objects, and nothing of plain functions.
    """

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._lrs()
        pairs = zip(self._lrs(), self.lr_lambdas, strict=True)
        return [lr * factor(self.last_epoch) for lr, factor in pairs]


class StepLR(LRScheduler):
    """lr = lr0 * gamma^(t // step_size)."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ):
        if step_size <= 0:
            raise ValueError(f"StepLR: step_size expects a positive integer, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        steps = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return self._lrs(self.gamma if steps else 1.0)

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * self.gamma ** (self.last_epoch // self.step_size) for lr in self.base_lrs]


class MultiStepLR(LRScheduler):
    """lr = lr0 * gamma^(how many of the milestones are <= t)."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ):
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._lrs(self.gamma ** self.milestones[self.last_epoch])

    def _get_closed_form_lr(self) -> list[float]:
        passed = sum(m <= self.last_epoch for m in self.milestones.elements())
        return [lr * self.gamma**passed for lr in self.base_lrs]

    def _checked_state(self, state_dict: Any) -> dict[str, Any]:
        values = super()._checked_state(state_dict)
        # JSON has made strings of the keys.
        counts = {int(epoch): count for epoch, count in values["milestones"].items()}
        return {**values, "milestones": Counter(counts)}


class ConstantLR(LRScheduler):
    """lr = lr0 * factor while t < total_iters, then lr0."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor expects a number from 0 to 1, got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._lrs(self.factor)
        return self._lrs(1.0 / self.factor if self.last_epoch == self.total_iters else 1.0)

    def _get_closed_form_lr(self) -> list[float]:
        factor = self.factor if self.last_epoch < self.total_iters else 1.0
        return [lr * factor for lr in self.base_lrs]


class LinearLR(LRScheduler):
    """lr = lr0 * f, f going linearly from start_factor to end_factor in total_iters epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor expects 0 < f <= 1, got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor expects 0 <= f <= 1, got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, rise = self.last_epoch, self.end_factor - self.start_factor
        if t == 0:
            return self._lrs(self.start_factor)
        if self._is_initial or t > self.total_iters:
            return self._lrs()
        return self._lrs(1.0 + rise / (self.total_iters * self.start_factor + (t - 1) * rise))

    def _get_closed_form_lr(self) -> list[float]:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * done
        return [lr * factor for lr in self.base_lrs]


class ExponentialLR(LRScheduler):
    """lr = lr0 * gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._lrs(1.0 if self._is_initial else self.gamma)

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * self.gamma**self.last_epoch for lr in self.base_lrs]


class PolynomialLR(LRScheduler):
    """lr = lr0 * (1 - t / total_iters)^power, and 0 from total_iters on."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ):
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, total = self.last_epoch, self.total_iters
        if self._is_initial or t > total:
            return self._lrs()
        return self._lrs(((1.0 - t / total) / (1.0 - (t - 1) / total)) ** self.power)

    def _get_closed_form_lr(self) -> list[float]:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [lr * left**self.power for lr in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (lr0 - eta_min) * (1 + cos(pi * t / T_max)) / 2.

    Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017,
    without the restarts.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ):
        if T_max <= 0:
            raise ValueError(f"CosineAnnealingLR: T_max expects a positive integer, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The distance to eta_min shrinks by the quotient of two neighbouring values of 1 + cos.

        Where the old one is zero, at the bottom, the first value after it is taken as it is.
        """
        t, T, low = self.last_epoch, self.T_max, self.eta_min
        rates = self._lrs()
        if self._is_initial:
            return rates
        if (t - 1 - T) % (2 * T) == 0:
            rise = (1 - math.cos(math.pi / T)) / 2
            return [rate + (lr - low) * rise for rate, lr in zip(rates, self.base_lrs, strict=True)]
        now, before = 1 + math.cos(math.pi * t / T), 1 + math.cos(math.pi * (t - 1) / T)
        return [now / before * (rate - low) + low for rate in rates]

    def _get_closed_form_lr(self) -> list[float]:
        t, low = self.last_epoch, self.eta_min
        height = 1 + math.cos(math.pi * t / self.T_max)
        return [low + (lr - low) * height / 2 for lr in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """lr = eta_min + (lr0 - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2, again and again.

    T_cur epochs have passed since the last restart; the periods T_i are T_0, T_0 * T_mult,
    T_0 * T_mult^2 and so on. `step(epoch)` takes fractions too, for steps after each batch:
    step(epoch + batch / batches). Loshchilov and Hutter, "SGDR: Stochastic gradient descent with
    warm restarts", ICLR 2017, equation 5.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ):
        name = "CosineAnnealingWarmRestarts"
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"{name}: T_0 expects a positive integer, got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"{name}: T_mult expects an integer >= 1, got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f"{name}: eta_min expects a number, got {type(eta_min).__name__}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        low, height = self.eta_min, 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [low + (lr - low) * height / 2 for lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Goes on to the next epoch, or to the given one, which may be a fraction.

        Raises ValueError for a negative epoch.
        """
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"{type(self).__name__}.step: epoch expects >= 0, got {epoch}")
        else:
            self.T_cur, self.T_i = self._place(epoch)
        self.last_epoch = math.floor(epoch)
        self._set_lrs(self.get_lr())

    def _place(self, epoch: float) -> tuple[float, int]:
        """T_cur and T_i: n periods before it took T_0 * (1 + T_mult + ... + T_mult^(n-1))."""
        first, factor = self.T_0, self.T_mult
        if epoch < first:
            return epoch, first
        if factor == 1:
            return epoch % first, self.T_i
        n = int(math.log(epoch / first * (factor - 1) + 1, factor))
        return epoch - first * (factor**n - 1) / (factor - 1), first * factor**n


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr in step_size_up steps, down in step_size_down, again and again.

    mode: "triangular", all cycles alike; "triangular2", each half as high as the one before;
    "exp_range", the height falls by gamma each step. scale_fn, if given, is the height instead: a
    function of the number of the cycle, from 1, or of the step (scale_mode "cycle" or
    "iterations"). The momentum (beta1 of Adam) goes the other way, from max_momentum to
    base_momentum and back. Step it after every batch. Smith, "Cyclical learning rates for training
    neural networks", WACV 2017.

    Raises ValueError: an unknown mode, lists that do not fit the groups, an optimizer without
    momentum.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ):
        _checked("CyclicLR", optimizer)
        lows = _for_each_group("CyclicLR", "base_lr", optimizer, base_lr)
        self.max_lrs = _for_each_group("CyclicLR", "max_lr", optimizer, max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up) + float(down)
        self.step_ratio = float(step_size_up) / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                "CyclicLR: mode expects 'triangular', 'triangular2' or 'exp_range', "
                f"got {mode!r}, and there is no scale_fn"
            )
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        if scale_fn is None:
            scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.scale_mode = scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1("CyclicLR", optimizer)
            self.base_momentums = _for_each_group(
                "CyclicLR", "base_momentum", optimizer, base_momentum
            )
            self.max_momentums = _for_each_group(
                "CyclicLR", "max_momentum", optimizer, max_momentum
            )
        if last_epoch == -1:
            self._prepare_groups(optimizer, lows)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def _prepare_groups(self, optimizer: Optimizer, lows: list[float]) -> None:
        for i, group in enumerate(optimizer.param_groups):
            _set_lr(group, lows[i])
            if self.cycle_momentum:
                high = self.max_momentums[i]
                _set_momentum(group, self.use_beta1, high)
                group.update(max_momentum=high, base_momentum=self.base_momentums[i])

    def scale_fn(self, x: float) -> float:
        """The height of the cycle number x, or at step x: see scale_mode."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return 1 / (2.0 ** (x - 1)) if self.mode == "triangular2" else self.gamma**x

    def get_lr(self) -> list[float]:
        """Also sets the momentum of each group."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        up = x <= self.step_ratio
        part = x / self.step_ratio if up else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            momenta = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, momenta, strict=True):
                _set_momentum(group, self.use_beta1, high - (high - low) * part * scale)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * part * scale for low, high in pairs]

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        fn = self._scale_fn_custom
        state["_scale_fn_custom"] = None if fn is None else _attributes(fn)
        return state

    def _load(self, values: dict[str, Any]) -> None:
        attributes = values.pop("_scale_fn_custom")
        super()._load(values)
        if attributes is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(attributes)


def _uses_beta1(name: str, optimizer: Optimizer) -> bool:
    """Whether the momentum that a cycle turns is beta1 of "betas"; ValueError if there is none."""
    if "betas" not in optimizer.defaults and "momentum" not in optimizer.defaults:
        raise ValueError(f"{name}: cycle_momentum=True needs an optimizer with momentum or betas")
    return "betas" in optimizer.defaults


def _set_momentum(group: dict[str, Any], use_beta1: bool, value: float) -> None:
    if use_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to max_lr / div_factor / final_div_factor.

    The rise takes the fraction pct_start of all steps; with three_phase the fall back to the start
    takes as long, and the rest goes on to the end. The momentum (beta1 of Adam) goes the other way,
    from max_momentum to base_momentum and back. Step it after every batch. Smith and Topin,
    "Super-convergence: Very fast training of neural networks using large learning rates", 2017.

    Raises ValueError: neither total_steps nor epochs and steps_per_epoch, settings out of range, an
    optimizer without momentum; and from step(), after the last of total_steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        _checked("OneCycleLR", optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if isinstance(pct_start, bool) or not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start expects a number from 0 to 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy expects 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self._anneal_func_type = anneal_strategy
        self._schedule_phases = _phases(self.total_steps, float(pct_start), three_phase)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1("OneCycleLR", optimizer)
        peaks = _for_each_group("OneCycleLR", "max_lr", optimizer, max_lr)
        highs = _for_each_group("OneCycleLR", "max_momentum", optimizer, max_momentum)
        lows = _for_each_group("OneCycleLR", "base_momentum", optimizer, base_momentum)
        if last_epoch == -1:
            for group, peak, high, low in zip(
                optimizer.param_groups, peaks, highs, lows, strict=True
            ):
                group.update(initial_lr=peak / div_factor, max_lr=peak)
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group.update(max_momentum=high, base_momentum=low)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Also sets the momentum of each group."""
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: step {step} of a schedule of {self.total_steps} steps")
        start = 0.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if step <= end:
                break
            if phase is not self._schedule_phases[-1]:
                start = end
        part = (step - start) / (end - start) if end != start else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                _set_momentum(group, self.use_beta1, self._between(*ends, part))
        return rates

    def _between(self, start: float, end: float, part: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def _total_steps(total_steps: Any, epochs: Any, steps_per_epoch: Any) -> int:
    given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    if total_steps is not None:
        given = {"total_steps": total_steps}
    elif epochs is None or steps_per_epoch is None:
        raise ValueError("OneCycleLR: expects total_steps, or both epochs and steps_per_epoch")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise ValueError(f"OneCycleLR: {name} expects a positive integer, got {value!r}")
    return math.prod(given.values())


def _phases(total_steps: int, pct_start: float, three_phase: bool) -> list[dict[str, Any]]:
    def phase(end: float, lrs: tuple[str, str], momenta: tuple[str, str]) -> dict[str, Any]:
        return {
            "end_step": end,
            "start_lr": lrs[0],
            "end_lr": lrs[1],
            "start_momentum": momenta[0],
            "end_momentum": momenta[1],
        }

    high, low = "max_momentum", "base_momentum"
    up = phase(pct_start * total_steps - 1, ("initial_lr", "max_lr"), (high, low))
    last = total_steps - 1
    if not three_phase:
        return [up, phase(last, ("max_lr", "min_lr"), (low, high))]
    down = phase(2 * pct_start * total_steps - 2, ("max_lr", "initial_lr"), (low, high))
    return [up, down, phase(last, ("initial_lr", "min_lr"), (high, high))]


class ReduceLROnPlateau(LRScheduler):
    """lr <- max(lr * factor, min_lr) after more than `patience` epochs without improvement.

    `step(metrics)` is told what is watched: the loss of the validation, for instance. It has
    improved if it is (mode "min") below best * (1 - threshold), or, threshold_mode "abs", below
    best - threshold; (mode "max") above best * (1 + threshold), or best + threshold. After a
    reduction `cooldown` epochs are not counted. Changes of eps or less are not made.

    min_lr: a number, or a list with one for each group.
    Raises ValueError (factor >= 1, unknown modes, a list that does not fit) and TypeError (no
    Optimizer).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ):
        name = "ReduceLROnPlateau"
        if factor >= 1:
            raise ValueError(f"{name}: factor expects a number below 1, got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode expects 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"{name}: threshold_mode expects 'rel' or 'abs', got {threshold_mode!r}"
            )
        self.optimizer = _checked(name, optimizer)
        self.min_lrs = _for_each_group(name, "min_lr", optimizer, min_lr)
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self.last_epoch = 0
        self._last_lr = self._lrs()

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs are not counted yet after a reduction."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Notes what is watched, a number or a Tensor of one, and reduces the rates if it is time.

        epoch: sets the number of the epoch (deprecated, as in PyTorch). Raises RuntimeError if a
        group was added and min_lr was a list.
        """
        current = float(metrics)
        if epoch is not None:
            warnings.warn(
                f"{type(self).__name__}.step: the argument epoch is deprecated; call step(metrics)",
                stacklevel=2,
            )
        self._fit_min_lrs()
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._lrs()

    def _fit_min_lrs(self) -> None:
        count = len(self.optimizer.param_groups)
        if len(self.min_lrs) == count:
            return
        if self.default_min_lr is None:
            raise RuntimeError(
                f"{type(self).__name__}.step: min_lrs has {len(self.min_lrs)} rates, the optimizer "
                f"has {count} groups now; set min_lrs to one for each"
            )
        self.min_lrs = [self.default_min_lr] * count

    def _reduce_lr(self) -> None:
        for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, lowest)
            if old - new > self.eps:
                _set_lr(group, new)

    def _is_better(self, a: float, best: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        change = sign * self.threshold
        bound = best * (1.0 + change) if self.threshold_mode == "rel" else best + change
        return a < bound if self.mode == "min" else a > bound


class _Composed(LRScheduler):
    """A schedule made of others of the same optimizer, `_schedulers`."""

    def __init__(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]):
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name}: expects at least one scheduler, got none")
        for i, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, "optimizer"):
                raise TypeError(
                    f"{name}: schedulers[{i}] expects a scheduler, got {type(scheduler).__name__}"
                )
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{name}: schedulers[{i}] is a ReduceLROnPlateau, whose step needs a metric; "
                    "step it by itself"
                )
            if scheduler.optimizer is not (optimizer or schedulers[0].optimizer):
                raise ValueError(
                    f"{name}: schedulers[{i}], a {type(scheduler).__name__}, belongs to another "
                    "optimizer"
                )
        self.optimizer = optimizer or schedulers[0].optimizer
        self._schedulers = schedulers

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; the schedulers' own state_dicts under "_schedulers"."""
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def _checked_state(self, state_dict: Any) -> dict[str, Any]:
        values = super()._checked_state(state_dict)
        states = values["_schedulers"]
        if not isinstance(states, (list, tuple)) or len(states) != len(self._schedulers):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: _schedulers expects "
                f"{len(self._schedulers)} state_dicts"
            )
        pairs = zip(self._schedulers, states, strict=True)
        return {**values, "_schedulers": [s._checked_state(state) for s, state in pairs]}

    def _load(self, values: dict[str, Any]) -> None:
        for scheduler, state in zip(self._schedulers, values.pop("_schedulers"), strict=True):
            scheduler._load(state)
        super()._load(values)


class SequentialLR(_Composed):
    """One scheduler after the other: schedulers[i + 1] begins at epoch milestones[i].

    Each begins anew, at its own epoch 0 and the optimizer's first rates.

    Raises ValueError: no schedulers, milestones that are not one fewer, schedulers of another
    optimizer, a ReduceLROnPlateau, a composed one that is not the first; TypeError: no schedulers
    or no Optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ):
        super().__init__(_checked("SequentialLR", optimizer), schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: milestones expects {len(schedulers) - 1} epochs for "
                f"{len(schedulers)} schedulers, got {len(milestones)}"
            )
        for i, scheduler in enumerate(schedulers):
            if i and isinstance(scheduler, _Composed):
                raise ValueError(
                    f"SequentialLR: schedulers[{i}] is a {type(scheduler).__name__}, which cannot "
                    "begin at a milestone; only schedulers[0] can be one"
                )
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        # The constructors of all have made a step, and only one of them should have.
        for group in optimizer.param_groups:
            _set_lr(group, group["initial_lr"])
        _undo(self)
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:  # type: ignore[override]
        """Goes on to the next epoch."""
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[i]
        if i > 0 and self._milestones[i - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _undo(scheduler: LRScheduler) -> None:
    """Takes back the count of the step that a constructor has made."""
    if isinstance(scheduler, _Composed):
        for part in scheduler._schedulers:
            _undo(part)
    else:
        scheduler.last_epoch -= 1


class ChainedScheduler(_Composed):
    """All schedulers at once: each changes the rate that the one before it has left.

    Raises ValueError: no schedulers, schedulers of another optimizer, a ReduceLROnPlateau;
    TypeError: no schedulers.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        super().__init__(optimizer, schedulers)
        self._last_lr = self._lrs()

    def step(self) -> None:  # type: ignore[override]
        """Goes on to the next epoch with all of them."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._lrs()
