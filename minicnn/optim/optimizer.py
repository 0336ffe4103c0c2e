"""Optimizer: which parameters are updated, with which settings, and what is remembered of each.

    param_groups    [{"params": [tensors], "lr": ..., ...}, ...]: each group has its own settings
    state           {tensor: {"momentum_buffer": ..., ...}}: what is remembered of each

A method is written as `_update`, which says by `_change` how the elements of one parameter change
in place. In the CPU's memory that is done for all of them in one pass at the end of the step, by
several threads (passes.py), with scratch arrays that are kept: in the steady state no step
allocates. On a GPU, where launches cost more than passes over memory, SGD and Adam change all
parameters at once: `_update_together`.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from ..autograd import Tensor, dtypes, enable_grad
from ..backend import arrays as backend
from ..backend.cpu import scratch
from .fused import Tables
from .passes import Pass

_SLOTS = ("step 0", "step 1", "step 2")  # the names of scratch arrays


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()  # the default of a setting that every group must name


class Optimizer:
    """Base class of all optimizers.

    Args:
        params: tensors to learn; or (name, tensor) pairs; or dicts, one a group, with the tensors
            under "params" and settings of their own.
        defaults: the settings of groups that do not name them.

    Raises:
        TypeError: a tensor in place of a list, an element that is no tensor, a set.
        ValueError: no parameters, a result of ops, a parameter in two groups, a bad setting.
    """

    _arrays: tuple[str, ...] = ()  # what in the state has the parameter's shape
    _not_negative: tuple[str, ...] = ()  # the settings that are numbers from 0 on
    _below_one: tuple[str, ...] = ()  # and those that are pairs of numbers from 0 to below 1
    _stepped = False  # a scheduler warns if it is called before the first step

    def __init__(self, params: Any, defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                f"{type(self).__name__}: params expects several tensors or dicts, got one Tensor; "
                "write [tensor]"
            )
        self.defaults = defaults
        self.state: Any = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._scratch_arrays: dict[Any, Any] = {}
        self._tables, self._pass = Tables(), Pass()
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # ------------------------------------------------------------------ groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; settings that it does not name are the optimizer's defaults.

        Raises as the constructor; nothing is added then.
        """
        name = type(self).__name__
        if not isinstance(param_group, dict):
            raise TypeError(f"{name}: param_group must be a dict, got {type(param_group).__name__}")
        group = {**self.defaults, **param_group, **self._listed(param_group)}
        for key, value in group.items():
            if value is required:
                raise ValueError(f"{name}: a parameter group did not specify the required {key!r}")
        for other in self.param_groups:
            if ("param_names" in group) != ("param_names" in other):
                raise ValueError(f"{name}: all parameter groups have names, or none has")
        self._check_new(group["params"])
        self._check_settings(group)
        param_group.update(group)  # the caller's dict becomes the group, as in PyTorch
        self.param_groups.append(param_group)

    def _listed(self, group: dict[str, Any]) -> dict[str, Any]:
        """The group's "params" as a list of tensors, and their "param_names" if they have any."""
        name = type(self).__name__
        if "params" not in group:
            raise ValueError(f"{name}: a parameter group expects the key 'params'")
        params = group["params"]
        if isinstance(params, set):
            raise TypeError(f"{name}: params must be in an order; a set has none, use a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]
        if names and len(names) != len(params):
            raise ValueError(f"{name}: all parameters of a group have names, or none has")
        listed = {"params": [p[1] for p in params] if names else params}
        return {**listed, "param_names": names} if names else listed

    def _check_new(self, params: list[Any]) -> None:
        name = type(self).__name__
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{name}: optimizer can only optimize Tensors, got {type(p).__name__}"
                )
            if not (p.is_leaf or p.retains_grad):
                raise ValueError(
                    f"{name}: can't optimize a non-leaf Tensor, one that ops made: shape {p.shape}"
                )
        ids = {id(p) for p in params}
        if len(ids) != len(params):
            warnings.warn(
                f"{name}: a group with duplicate parameters: each step changes them twice",
                stacklevel=4,
            )
        if any(id(p) in ids for group in self.param_groups for p in group["params"]):
            raise ValueError(f"{name}: some parameters appear in more than one parameter group")

    def _check_settings(self, group: dict[str, Any]) -> None:
        """Raises ValueError for settings out of range. Subclasses name theirs, or add their own."""
        name = type(self).__name__
        if group.get("differentiable"):
            raise ValueError(f"{name}: differentiable=True: steps cannot be differentiated")
        if group.get("fused") and group.get("foreach"):
            raise RuntimeError(f"{name}: fused=True and foreach=True exclude each other")
        if isinstance(group.get("lr"), Tensor) and group["lr"].numel() != 1:
            raise ValueError(f"{name}: Tensor lr must be 1-element, got shape {group['lr'].shape}")
        texts = {"lr": "learning rate", "eps": "epsilon value"}
        for key in self._not_negative:
            self._check(group[key] >= 0, texts.get(key, f"{key} value"), group[key])
        for key in self._below_one:
            self._check(len(group[key]) == 2, f"{key}, a pair", group[key])
            for i, beta in enumerate(group[key]):
                self._check(0 <= beta < 1, f"beta parameter at index {i}", beta)

    def _check(self, good: bool, text: str, value: Any) -> None:
        if not good:
            raise ValueError(f"{type(self).__name__}: Invalid {text}: {value}")

    # ------------------------------------------------------------------ steps

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient.

        closure, if given, computes the loss anew, with its gradients; its value is returned. Raises
        RuntimeError for a gradient of another shape than its parameter; nothing is changed then.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        todo = [
            (group, [p for p in group["params"] if p.grad is not None])
            for group in self.param_groups
        ]
        for p in chain.from_iterable(params for _, params in todo):
            self._check_gradient(p)
        self._tables.begin()
        name = f"{type(self).__name__}.step"
        try:
            for group, params in todo:
                for p in self._update_together(params, group):
                    self._update_alone(p, group)
                for p in params:
                    version = p._version
                    version[0] += 1
                    version[1] = name
        finally:
            self._pass.run()
        self._stepped = True
        return loss

    def _check_gradient(self, p: Any) -> None:
        x, grad = p.array, p.grad.array
        if grad.shape != x.shape:
            raise RuntimeError(
                f"{type(self).__name__}.step: a parameter of shape {x.shape} has a gradient of "
                f"shape {grad.shape}"
            )
        if type(x) is type(grad) is np.ndarray or backend.place(x) == backend.place(grad):
            return
        raise RuntimeError(
            f"{type(self).__name__}.step: a parameter of shape {x.shape} is on {p.device}, its "
            f"gradient on {p.grad.device}"
        )

    def _update_together(self, params: list[Any], group: dict[str, Any]) -> list[Any]:
        """Changes those of the group's parameters that a kernel can change at once; the others."""
        return params

    def _update_alone(self, p: Any, group: dict[str, Any]) -> None:
        state = self.state.get(p, {})
        try:
            if type(p.array) is np.ndarray:
                self._update(p, p.grad.array, state, group)
            else:
                with backend.on_device_of(p.array):
                    self._update(p, p.grad.array, state, group)
        except (TypeError, ValueError):
            self._check_state(p, state)  # raises if that is what is wrong
            raise
        if state:
            self.state[p] = state

    def _check_state(self, p: Any, state: dict[str, Any], names: tuple[str, ...] = ()) -> None:
        """RuntimeError if something of the state (default: `_arrays`) is not where p is."""
        for name in names or self._arrays:
            tensor = state.get(name)
            if isinstance(tensor, Tensor) and tensor.device != p.device:
                raise RuntimeError(
                    f"{type(self).__name__}.step: a parameter of shape {p.shape} is on {p.device}, "
                    f"its {name} on {tensor.device}; move a model before its optimizer's first "
                    "step, or load the optimizer's own state_dict after moving it"
                )

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Changes p.array by the array `grad`: at once, or by `_change`."""
        raise NotImplementedError(f"{type(self).__name__}: the optimizer has no _update method")

    def _change(self, change: Callable[..., None], *arrays: Any) -> None:
        """`change(*arrays)`: at the end of the step and in runs if all are in the CPU's memory.

        The arrays are of one shape, and each element of the results depends on its own place alone.
        """
        if all(type(a) is np.ndarray for a in arrays):
            self._pass.add(change, *arrays)
        else:
            change(*arrays)

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """What the state of a parameter in this group must hold, once there is one."""
        return ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:  # a user's own method, written as PyTorch's are
            cls.step = _noted(cls.step)  # type: ignore[method-assign]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or fills them with zeros."""
        for p in chain.from_iterable(group["params"] for group in self.param_groups):
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                if p.grad.requires_grad:  # made under create_graph
                    p.grad = p.grad.detach()
                with backend.on_device_of(p.grad.array):
                    p.grad.array[...] = 0
                p.grad._version[0] += 1
                p.grad._version[1] = "zero_grad"

    def _counted(
        self, p: Tensor, state: dict[str, Any], names: tuple[str, ...]
    ) -> tuple[float, list[Any]]:
        """Counts this step in the state; the count, and the state's arrays, zeros at first."""
        self._begin(p, state, names)
        return self._count(state), [state[name].array for name in names]

    def _begin(self, p: Tensor, state: dict[str, Any], names: tuple[str, ...]) -> None:
        """A count, in the CPU's memory, and arrays of zeros, where the state has none yet."""
        if "step" not in state:
            state["step"] = Tensor._wrap(np.zeros((), scalar_type()))
        for name in names:
            if name not in state:
                state[name] = Tensor._wrap(np.zeros_like(p.array))

    def _count(self, state: dict[str, Any]) -> float:
        state["step"].array += 1
        return float(state["step"].array)

    def _scratch(self, like: Any, slot: int, dtype: Any = None) -> Any:
        """Scratch number `slot`, of the shape of `like`; of its type too, if no dtype is given.

        In the CPU's memory every thread has its own.
        """
        dtype = like.dtype if dtype is None else dtype
        if type(like) is np.ndarray:
            return scratch.take(_SLOTS[slot], like.shape, dtype)
        key = (slot, dtype, backend.place(like))
        array = self._scratch_arrays.get(key)
        if array is None or array.size < like.size:
            array = np.empty_like(like, dtype=dtype, shape=(like.size,))
            self._scratch_arrays[key] = array
        return array[: like.size].reshape(like.shape)

    # ------------------------------------------------------------------ saving and loading

    def state_dict(self) -> dict[str, Any]:
        """{"state": {0: {...}, ...}, "param_groups": [{..., "params": [0, ...]}, ...]}.

        Parameters are numbered in the order of the groups. Arrays are shared, not copied.
        """
        numbers: dict[int, int] = {}
        for p in chain.from_iterable(group["params"] for group in self.param_groups):
            numbers.setdefault(id(p), len(numbers))
        groups = []
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            groups.append({**packed, "params": [numbers[id(p)] for p in group["params"]]})
        state = {numbers[id(p)]: dict(values) for p, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Any) -> None:
        """Takes over the settings and the state of a state_dict, whose arrays are copied.

        Arrays get the type and the device of their parameters, except `step`; what has no
        dimensions and counts for the whole parameter stays in the CPU's memory.
        Raises ValueError, naming what does not fit: keys, groups, numbers or shapes. After an error
        nothing has changed.
        """
        name = f"{type(self).__name__}.load_state_dict"
        groups, params = self._loaded_groups(name, state_dict)
        state: Any = defaultdict(dict)
        for number, values in state_dict["state"].items():
            if number not in params or not isinstance(values, Mapping):
                raise ValueError(
                    f"{name}: state expects a dict for each of the parameters {list(params)}, "
                    f"got {number!r}: {type(values).__name__}"
                )
            p, group = params[number]
            missing = [key for key in self._state_names(group) if values and key not in values]
            if missing:
                raise ValueError(f"{name}: the state of parameter {number} lacks {missing}")
            state[p] = {key: self._loaded_value(name, p, key, v) for key, v in values.items()}
        self.param_groups, self.state = groups, state

    def _loaded_groups(self, name: str, state_dict: Any) -> tuple[list[Any], dict[Any, Any]]:
        """The groups with the loaded settings; {number: (parameter, its group)}."""
        saved = state_dict.get("param_groups") if isinstance(state_dict, Mapping) else None
        if not isinstance(saved, (list, tuple)) or not isinstance(state_dict.get("state"), Mapping):
            raise ValueError(
                f"{name}: expects a dict with 'state' (a dict) and 'param_groups' (a list)"
            )
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"{name}: loaded state dict has a different number of parameter groups: "
                f"{len(saved)}, the optimizer has {len(self.param_groups)}"
            )
        groups: list[Any] = []
        params: dict[Any, Any] = {}
        for i, (new, old) in enumerate(zip(saved, self.param_groups, strict=True)):
            numbers = new.get("params") if isinstance(new, Mapping) else None
            if not isinstance(numbers, (list, tuple)) or len(numbers) != len(old["params"]):
                raise ValueError(
                    f"{name}: loaded state dict contains a parameter group that doesn't match the "
                    f"size of optimizer's group {i}, which has {len(old['params'])} parameters"
                )
            names = {"param_names": old["param_names"]} if "param_names" in old else {}
            group = {**self.defaults, **names, **copy.deepcopy({**new, "params": None})}
            group["params"] = old["params"]
            # Schedules may go below 0: by a rounding error at their end, or several at once.
            rate = {"lr": abs(group["lr"])} if isinstance(group.get("lr"), (int, float)) else {}
            try:
                self._check_settings({**group, **rate})
            except TypeError as error:
                raise ValueError(
                    f"{name}: group {i} has a setting of a wrong type: {error}"
                ) from None
            groups.append(group)
            pairs = zip(numbers, old["params"], strict=True)
            params.update({number: (p, group) for number, p in pairs})
        return groups, params

    def _loaded_value(self, name: str, p: Tensor, key: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._loaded_value(name, p, key, part) for part in value]
        if not isinstance(value, Tensor) and not backend.is_array(value):
            if hasattr(value, "__array__"):  # another library's tensor
                value = np.asarray(value)
            elif key == "step" and isinstance(value, (int, float)):  # as PyTorch 1.11 wrote it
                value = np.asarray(value, np.float32)
            elif key in self._arrays and value is not None:
                raise ValueError(f"{name}: {key} expects an array, got {type(value).__name__}")
            else:
                return value
        array = value.array if isinstance(value, Tensor) else value
        if key in self._arrays and array.shape != p.shape:
            raise ValueError(
                f"{name}: {key} has shape {array.shape}, its parameter has shape {p.shape}"
            )
        cast = key != "step" and dtypes.is_floating(p.dtype)
        dtype = p.dtype if cast else array.dtype
        if array.ndim == 0 and key not in self._arrays:
            return Tensor._wrap(np.array(backend.to_numpy(array), dtype))
        with backend.on_device_of(p.array):
            return Tensor._wrap(backend.like(p.array, array).astype(dtype))

    def __getstate__(self) -> dict[str, Any]:
        passing = ("_scratch_arrays", "_tables", "_pass")
        return {name: v for name, v in self.__dict__.items() if name not in passing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._scratch_arrays, self._tables, self._pass = {}, Tables(), Pass()

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return f"{text})"


def _noted(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def noted(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        result = step(self, *args, **kwargs)
        self._stepped = True
        return result

    return noted


def scalar_type() -> Any:
    """The type of counts, and of other numbers in a state that are not of a parameter's type."""
    return dtypes.float64 if dtypes.get_default_dtype() == dtypes.float64 else dtypes.float32


def with_decay(x: Any, g: Any, t: Any, maximize: bool, decay: float) -> Any:
    """g + decay * x, or -g + decay * x, in t; g itself where there is nothing to do."""
    if decay:
        np.multiply(x, decay, out=t)
        return (np.subtract if maximize else np.add)(t, g, out=t)
    return np.negative(g, out=t) if maximize else g


def average(m: Any, g: Any, beta: float, t: Any) -> None:
    """m <- beta * m + (1 - beta) * g, written m + (1 - beta) * (g - m); t is scratch."""
    np.add(m, np.multiply(np.subtract(g, m, out=t), 1 - beta, out=t), out=m)


def average_square(v: Any, g: Any, beta: float, t: Any) -> None:
    """v <- beta * v + (1 - beta) * g^2; t is scratch."""
    np.multiply(v, beta, out=v)
    np.add(v, np.multiply(np.multiply(g, g, out=t), 1 - beta, out=t), out=v)
