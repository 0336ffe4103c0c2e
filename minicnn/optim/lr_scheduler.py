"""Schedules: learning rates that change from epoch to epoch (or step to step).

A schedule is stepped after the optimizer. It writes the new rate into each group's "lr"; the rate
that the group had first is kept there as "initial_lr". Most compute the new rate from the old one,
so that several schedules can act on one optimizer; the value in closed form stands in each
docstring, for epoch t and initial rate lr0.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

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
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: 'initial_lr' is not in param_groups[{i}]; "
                    f"last_epoch={last_epoch} expects an optimizer whose state_dict was loaded"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._last_lr: list[float] = []
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
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _lrs(self, factor: float = 1.0) -> list[float]:
        """The current rates, times `factor`."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return rates if factor == 1 else [rate * factor for rate in rates]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Any) -> None:
        """Goes on where the schedule that made the state_dict was. Load the optimizer's as well.

        Raises ValueError for missing keys or another number of groups; nothing has changed then.
        """
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"{name}: expects a dict, got {type(state_dict).__name__}")
        wanted = self.state_dict()
        missing = sorted(wanted.keys() - state_dict.keys())
        if missing:
            raise ValueError(f"{name}: the dict lacks {', '.join(missing)}")
        for key in ("base_lrs", "_last_lr"):
            if len(state_dict[key]) != len(wanted[key]):
                raise ValueError(
                    f"{name}: {key} expects {len(wanted[key])} rates, one for each group, "
                    f"got {len(state_dict[key])}"
                )
        self._load({key: state_dict[key] for key in wanted})

    def _load(self, values: dict[str, Any]) -> None:
        """Takes over checked values; a subclass converts its own."""
        self.__dict__.update(values)


_LRScheduler = LRScheduler  # its older name


def _checked(name: str, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer expects an Optimizer, got {type(optimizer).__name__}")
    return optimizer


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


class LambdaLR(LRScheduler):
    """lr = lr0 * lr_lambda(t); a function, or a list with one for each group.

    state_dict holds the attributes of callable objects, and nothing of plain functions.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        _checked("LambdaLR", optimizer)
        self.lr_lambdas = _for_each_group("LambdaLR", "lr_lambda", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [lr * factor(self.last_epoch) for lr, factor in pairs]

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["lr_lambdas"] = [
            None if hasattr(fn, "__code__") else dict(getattr(fn, "__dict__", {}))
            for fn in self.lr_lambdas
        ]
        return state

    def _load(self, values: dict[str, Any]) -> None:
        for fn, attributes in zip(self.lr_lambdas, values.pop("lr_lambdas"), strict=True):
            if attributes is not None:
                fn.__dict__.update(attributes)
        super()._load(values)


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

    def _load(self, values: dict[str, Any]) -> None:
        # JSON has made strings of the keys.
        counts = {int(epoch): count for epoch, count in values["milestones"].items()}
        super()._load({**values, "milestones": Counter(counts)})


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
            self.use_beta1 = "betas" in optimizer.defaults
            if not self.use_beta1 and "momentum" not in optimizer.defaults:
                raise ValueError(
                    "OneCycleLR: cycle_momentum=True needs an optimizer with momentum or betas"
                )
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
                self._set_momentum(group, self._between(*ends, part))
        return rates

    def _between(self, start: float, end: float, part: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)

    def _set_momentum(self, group: dict[str, Any], value: float) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


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
