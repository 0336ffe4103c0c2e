"""Loading a state_dict: everything is checked before anything is written.

A module's `_load_from_state_dict` looks up its own keys in a `Loading`, reports what is wrong, and
plans the writes; `load` carries them out only if no module reported anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from .parameter import Parameter, is_lazy


class IncompatibleKeys(NamedTuple):
    """What load_state_dict returns: keys that the dict lacks, and keys that the model lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __str__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )

    def __repr__(self) -> str:
        return str(self)


class Loading(OrderedDict):
    """A copy of the caller's state_dict, which hooks may change, and the writes it leads to."""

    writes: list[tuple[Any, str, Any, bool]]

    @classmethod
    def of(cls, items: Any, writes: list[Any]) -> Loading:
        self = cls(items)
        self.writes = writes
        return self

    def under(self, prefix: str) -> Loading:
        """The part whose keys begin with `prefix`; its writes are added to the same list."""
        return Loading.of([i for i in self.items() if i[0].startswith(prefix)], self.writes)

    def plan(self, module: Any, name: str, value: Any, assign: bool) -> None:
        """Once all is checked, the parameter or buffer `name` of `module` gets `value`."""
        self.writes.append((module, name, value, assign))


def load(root: Any, state_dict: Any, strict: bool, assign: bool) -> IncompatibleKeys:
    """See Module.load_state_dict."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"load_state_dict: state_dict expects a dict, got {type(state_dict).__name__}"
        )
    for key in state_dict:
        if not isinstance(key, str):
            raise TypeError(f"load_state_dict: state_dict expects names as keys, got {key!r}")
    metadata = getattr(state_dict, "_metadata", None) or {}
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    loading = Loading.of(state_dict, [])

    def visit(module: Any, part: Loading, prefix: str) -> None:
        local = {**metadata.get(prefix[:-1], {}), "assign_to_params_buffers": assign}
        module._load_from_state_dict(part, prefix, local, True, missing, unexpected, errors)
        for name, child in module._modules.items():
            if child is not None:
                visit(child, part.under(f"{prefix}{name}."), f"{prefix}{name}.")

    visit(root, loading, "")
    if strict:
        errors = _key_errors("Unexpected", unexpected) + errors
        errors = _key_errors("Missing", missing) + errors
    if errors:
        lines = "\n\t".join(errors)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(root).__name__}:\n\t{lines}")
    for module, name, value, assigned in loading.writes:
        _write(module, name, value, assigned)
    return IncompatibleKeys(missing, unexpected)


def _key_errors(kind: str, keys: list[str]) -> list[str]:
    quoted = ", ".join(f'"{key}"' for key in keys)
    return [f"{kind} key(s) in state_dict: {quoted}. "] if keys else []


def load_own(
    module: Any, loading: Loading, prefix: str, assign: bool, missing: list[str], errors: list[str]
) -> None:
    """Checks the values for the module's own parameters and buffers and plans their writes."""
    for name, target in own_state(module).items():
        key = prefix + name
        if key not in loading:
            missing.append(key)
            continue
        value = _as_array(loading[key])
        problem = _problem(key, loading[key], value, target)
        if problem is None:
            if not is_lazy(target) and target.shape == () and value.shape == (1,):
                value = value[0:1].reshape(())  # PyTorch 0.3 knew no 0-dimensional tensors
            loading.plan(module, name, loading[key] if assign else value, assign)
        else:
            errors.append(problem)


def own_state(module: Any) -> dict[str, Any]:
    """The parameters and persistent buffers of the module itself."""
    buffers = {
        name: buffer
        for name, buffer in module._buffers.items()
        if name not in module._non_persistent_buffers_set
    }
    return {k: v for k, v in {**module._parameters, **buffers}.items() if v is not None}


def _as_array(value: Any) -> Any:
    """The raw array of a Tensor, an array, or another library's tensor; None for anything else."""
    if isinstance(value, Tensor):
        return value.array
    if backend.is_array(value):
        return value
    return np.asarray(value) if hasattr(value, "__array__") else None


def _problem(key: str, value: Any, array: Any, target: Any) -> str | None:
    """What keeps `array` from being loaded into `target`, or None."""
    if array is None:
        return (
            f'While copying the parameter named "{key}", expected a Tensor or an array from '
            f"checkpoint but received {type(value).__name__}"
        )
    if is_lazy(target):
        return _no_number(key, array)
    same = array.shape == target.shape or (array.shape == (1,) and target.shape == ())
    if not same:
        return (
            f"size mismatch for {key}: copying a param with shape {array.shape} from checkpoint, "
            f"the shape in current model is {target.shape}."
        )
    if not getattr(target.array.flags, "writeable", True):
        return f'While copying the parameter named "{key}", its memory in the model is read-only'
    return _no_number(key, array)


def _no_number(key: str, array: Any) -> str | None:
    if array.dtype.kind in "biuf":
        return None
    return f'While copying the parameter named "{key}", cannot convert values of type {array.dtype}'


def _write(module: Any, name: str, value: Any, assign: bool) -> None:
    target = module._parameters.get(name)
    learnt = target is not None
    if target is None:
        target = module._buffers[name]
    if assign:
        tensor = value if isinstance(value, Tensor) else Tensor(_as_array(value))
        if learnt:
            tensor = Parameter(tensor, requires_grad=target.requires_grad)
        setattr(module, name, tensor)
        return
    if is_lazy(target):
        target.materialize(value.shape)
    copy_into(target, value, "load_state_dict")


def copy_into(target: Any, value: Any, name: str) -> None:
    """Overwrites the memory of `target`; a graph that saved the old values will notice."""
    with backend.on_device_of(target.array):
        target.array[...] = backend.like(target.array, value)
    target._version[0] += 1
    target._version[1] = name


def clear(grad: Any, name: str) -> Any:
    """The gradient `grad`, its memory filled with zeros; without its graph if it has one."""
    grad = grad.detach() if grad.requires_grad else grad
    with backend.on_device_of(grad.array):
        grad.array[...] = 0
    grad._version[0] += 1
    grad._version[1] = name
    return grad
