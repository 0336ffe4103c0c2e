"""Module: what layers and networks are made of.

A module finds the parameters, buffers and modules that are assigned to its attributes:
`self.fc = Linear(10, 2)` puts the layer into `_modules["fc"]`, from where `parameters()`, `to()`,
`train()` and `state_dict()` reach it. A subclass calls `super().__init__()` first and writes
`forward`; the module is then called like a function.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from ..autograd import Tensor, device, dtypes
from ..autograd.function import RemovableHandle
from . import state
from .hooks import add_hook, call_hooked
from .parameter import Buffer, Parameter, is_lazy

Self = TypeVar("Self", bound="Module")


class Module:
    """Base class of all layers and networks.

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(1, 6, 5)
                self.fc = nn.Linear(6 * 24 * 24, 10)

            def forward(self, x):                        # (N, 1, 28, 28)
                return self.fc(F.relu(self.conv(x)).flatten(1))

    Attributes: training, which `train()` and `eval()` switch.
    """

    training: bool
    _version = 1  # of the layout of this module's part of a state_dict

    def __init__(self) -> None:
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _non_persistent_buffers_set=set(),
            _forward_hooks={},
            _forward_pre_hooks={},
            _backward_hooks={},
            _backward_pre_hooks={},
            _load_state_dict_pre_hooks={},
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. Every subclass writes its own.

        Raises NotImplementedError where it did not.
        """
        raise NotImplementedError(f"{type(self).__name__}: the module has no forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        hooked = self._forward_hooks or self._forward_pre_hooks
        if hooked or self._backward_hooks or self._backward_pre_hooks:
            return call_hooked(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # ------------------------------------------------------------------ attributes

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, "_modules")
            self._modules[name] = value
        elif isinstance(value, Buffer):
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        else:
            self._set_other(name, value)

    def _set_other(self, name: str, value: Any) -> None:
        """None, or another tensor for a buffer, replaces a member; else a plain attribute."""
        for registry, kind, text in (
            ("_parameters", Parameter, "parameter"),
            ("_buffers", Tensor, "buffer"),
            ("_modules", Module, "child module"),
        ):
            members = self.__dict__.get(registry)
            if not members or name not in members:
                continue
            if value is not None and not isinstance(value, kind):
                raise TypeError(
                    f"cannot assign a {type(value).__name__} as {text} {name!r}: "
                    f"expects a {kind.__name__} or None"
                )
            members[name] = value
            return
        object.__setattr__(self, name, value)

    def _forget(self, name: str, registry: str) -> None:
        """`name` will be a member of `registry`: it is nothing else any more."""
        if registry not in self.__dict__:
            text = registry[1:-1]
            raise AttributeError(
                f"{type(self).__name__}: cannot assign {text} {name!r} before Module.__init__(); "
                "call super().__init__() first"
            )
        for other in ("_parameters", "_buffers", "_modules"):
            if other != registry:
                self.__dict__[other].pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        # Only called for names that are no plain attributes.
        attributes = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules"):
            members = attributes.get(registry)
            if members is not None and name in members:
                return members[name]
        hint = ""
        if "_modules" not in attributes:
            hint = "; was super().__init__() called?"
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __delattr__(self, name: str) -> None:
        for registry in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(registry, ()):
                del self.__dict__[registry][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        members = [*self._parameters, *self._buffers, *self._modules]
        names = {*object.__dir__(self), *members}
        return sorted(name for name in names if not name[0].isdigit())

    def _check_name(self, function: str, name: Any, registry: str) -> None:
        if registry not in self.__dict__:
            raise AttributeError(
                f"{function}: call super().__init__() of {type(self).__name__} before"
            )
        if not isinstance(name, str):
            raise TypeError(f"{function}: name expects a string, got {type(name).__name__}")
        if not name or "." in name:
            raise KeyError(f"{function}: name must not be empty nor contain a dot, got {name!r}")
        if hasattr(self, name) and name not in self.__dict__[registry]:
            raise KeyError(f"{function}: attribute {name!r} already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under `name`; None marks one that the module does without.

        Raises KeyError (name empty, dotted or taken), TypeError (not a Parameter), ValueError (a
        result of ops), AttributeError (before Module.__init__).
        """
        self._check_name("register_parameter", name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter: {name!r} expects a Parameter or None, "
                f"got {type(param).__name__}"
            )
        if param is not None and not param.is_leaf:
            raise ValueError(
                f"register_parameter: {name!r} is the result of an op; compute it in forward"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is moved and saved with the module but not learnt.

        With persistent=False state_dict leaves it out. Raises as register_parameter.
        """
        self._check_name("register_buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"register_buffer: {name!r} expects a Tensor or None, got {type(tensor).__name__}"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule under `name`. Raises as register_parameter."""
        self._check_name("add_module", name, "_modules")
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"add_module: {name!r} expects a Module or None, got {type(module).__name__}"
            )
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as add_module."""
        self.add_module(name, module)

    # ------------------------------------------------------------------ looking around

    def _named_members(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in modules if recurse else [(prefix, self)]:
            for name, member in getattr(module, registry).items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) of this module and those in it; a shared one only once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, for an optimizer; a shared one only once."""
        return (param for _, param in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer) of this module and those in it; a shared one only once."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers; a shared one only once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly in this one; a shared one only once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly in this one."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module, whose path is `prefix`, and of all in it."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all in it; a shared one only once."""
        return (module for _, module in self.named_modules())

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "features.0". AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else []:
            found = getattr(module, name, None)
            if not isinstance(found, Module):
                raise AttributeError(
                    f"get_submodule: {type(module).__name__} has no module {name!r} "
                    f"(looking for {target!r})"
                )
            module = found
        return module

    def set_submodule(self, target: str, module: Module) -> None:
        """Replaces the module at a path. AttributeError if there is none, ValueError if "" is."""
        if not target:
            raise ValueError("set_submodule: target expects the path of a module inside, got ''")
        self.get_submodule(target)
        path, _, name = target.rpartition(".")
        setattr(self.get_submodule(path), name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as "fc.weight". AttributeError if there is none."""
        return self._get_member("get_parameter", target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path. AttributeError if there is none."""
        return self._get_member("get_buffer", target, "_buffers", "buffer")

    def _get_member(self, function: str, target: str, registry: str, text: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if getattr(module, registry).get(name) is None:
            raise AttributeError(
                f"{function}: {module._get_name()} has no {text} {name!r} (looking for {target!r})"
            )
        return getattr(module, registry)[name]

    # ------------------------------------------------------------------ switching and moving

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Calls `fn(module)` for every module inside, innermost first, then for this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Training mode (dropout drops, batch norm uses the batch) for all modules, or not."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode expects True or False, got {mode!r}")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Whether the parameters are learnt; False freezes them."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or fills them with zeros."""
        for param in self.parameters():
            if set_to_none or param.grad is None:
                param.grad = None
            else:
                param.grad = state.clear(param.grad, "zero_grad")

    def _apply(self: Self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Replaces the memory of every parameter, its gradient and every buffer by `fn` of it."""
        for module in self.children():
            module._apply(fn)
        for param in self._parameters.values():
            if param is not None:
                param.data = fn(param.data)
                if param.grad is not None:
                    param.grad = fn(param.grad.detach())
        for name, buffer in self._buffers.items():
            if is_lazy(buffer):  # it must stay what it is
                buffer.data = fn(buffer.data)
            elif buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Moves and casts in place: to(device), to(dtype), to(device, dtype), to(tensor).

        Parameters stay the same objects: an optimizer that was made before goes on with them.
        Integer buffers keep their type. non_blocking: as for Tensor.to. Raises TypeError for a
        dtype that is not floating or an argument that is neither, RuntimeError for a device that
        cannot be used.
        """
        place, dtype, non_blocking = _parse_to(args, kwargs)

        def convert(t: Tensor) -> Tensor:
            cast = dtype if dtype is not None and dtypes.is_floating(t.dtype) else t.dtype
            if place is None:
                return t.to(dtype=cast)
            return t.to(device=place, dtype=cast, non_blocking=non_blocking)

        return self._apply(convert)

    def cpu(self: Self) -> Self:
        """Moves everything to the CPU."""
        return self.to("cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Moves everything to a GPU. RuntimeError where there is none."""
        return self.to("cuda" if device is None else device)

    def float(self: Self) -> Self:
        """Casts floating parameters and buffers to float32."""
        return self.to(dtypes.float32)

    def double(self: Self) -> Self:
        """Casts floating parameters and buffers to float64."""
        return self.to(dtypes.float64)

    def half(self: Self) -> Self:
        """Casts floating parameters and buffers to float16."""
        return self.to(dtypes.float16)

    def type(self: Self, dst_type: Any) -> Self:
        """Casts all parameters and buffers, integer ones too."""
        dtype = np.dtype(dst_type)
        return self._apply(lambda t: t.to(dtype=dtype))

    # ------------------------------------------------------------------ saving and loading

    def state_dict(
        self, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Any]:
        """{name: tensor} of all parameters and persistent buffers, sharing their memory.

        A shared parameter appears under each of its names. With keep_vars=True the parameters
        themselves are in it rather than tensors detached from the graph.
        """
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = {"version": self._version}
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination, f"{prefix}{name}.", keep_vars)
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Adds the module's own parameters and buffers; subclasses may add to it."""
        for name, tensor in state.own_state(self).items():
            lazy = is_lazy(tensor)
            destination[prefix + name] = tensor if keep_vars or lazy else tensor.detach()

    def load_state_dict(
        self, state_dict: Any, strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copies the values of a state_dict (Tensors or arrays) into parameters and buffers.

        With strict, its keys must be exactly those of `self.state_dict()`; otherwise those that
        differ are only returned, as (missing_keys, unexpected_keys). assign=True makes the given
        tensors the parameters instead of copying, with their types.
        Raises TypeError (no dict) and RuntimeError, which lists every missing, unexpected and
        mis-shaped key. After an error nothing has changed.
        """
        return state.load(self, state_dict, strict, assign)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Loads the module's own keys, those under `prefix`, but not its children's.

        A subclass that once had other keys renames them in `state_dict`, which is a copy, and calls
        this method. What it should look at is `local_metadata.get("version")`: the `_version` of
        the class that saved, None where it is not known. Nothing is written until all modules have
        been asked.
        """
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                self, state_dict, prefix, local_metadata, strict,
                missing_keys, unexpected_keys, error_msgs,
            )  # fmt: skip
        assign = local_metadata.get("assign_to_params_buffers", False)
        state.load_own(self, state_dict, prefix, assign, missing_keys, error_msgs)
        own = state.own_state(self)
        for key in state_dict:
            name, dot, _ = key[len(prefix) :].partition(".")
            if key.startswith(prefix) and name not in (self._modules if dot else own):
                unexpected_keys.append(key)

    # ------------------------------------------------------------------ hooks

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, args, output)` after forward; what it returns replaces the output.

        with_kwargs: `hook(module, args, kwargs, output)`. Returns a handle with `.remove()`.
        """
        return add_hook(self._forward_hooks, (hook, with_kwargs), prepend)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, args)` before forward; what it returns replaces the arguments.

        with_kwargs: `hook(module, args, kwargs)`, which returns None or a pair (args, kwargs).
        """
        return add_hook(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, grad_input, grad_output)` when backward has passed the module.

        Both are tuples, grad_input one entry for each positional argument, None where no gradient
        flows. What the hook returns replaces grad_input. Arguments and results of a module with
        such a hook cannot be changed in place.
        """
        return add_hook(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, grad_output)` before backward enters the module.

        What it returns replaces grad_output.
        """
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)` before the module is loaded; it may rename keys in the
        state_dict, which is a copy."""
        return add_hook(self._load_state_dict_pre_hooks, hook)

    # ------------------------------------------------------------------ text

    def extra_repr(self) -> str:
        """The settings that `repr` shows in the brackets; layers write their own."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({n}): {indent(repr(module))}" for n, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({extra})"
        inside = "\n  ".join([*lines, *children])
        return f"{self._get_name()}(\n  {inside}\n)" if inside else f"{self._get_name()}()"


def indent(text: str) -> str:
    """`text` with all lines but the first two spaces further in."""
    return text.replace("\n", "\n  ")


def _parse_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, bool]:
    """The device and dtype that `Module.to` was asked for, None for what was not named; and
    non_blocking."""
    place, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    other = kwargs.pop("tensor", None)
    non_blocking = bool(kwargs.pop("non_blocking", False))
    kwargs.pop("memory_format", None)  # layout is the backend's choice
    if kwargs:
        raise TypeError(f"Module.to: unexpected arguments {sorted(kwargs)}")
    for arg in (*args, *([] if other is None else [other])):
        if isinstance(arg, Tensor):
            place, dtype = arg.device, arg.dtype
        elif isinstance(arg, (str, device)):
            place = device(arg)
        elif isinstance(arg, bool):  # it may come by position
            non_blocking = arg
        elif isinstance(arg, int):
            place = device("cuda", arg)
        elif isinstance(arg, (np.dtype, type)):
            dtype = arg
        elif arg is not None:
            raise TypeError(f"Module.to: expects a device, a dtype or a Tensor, got {arg!r}")
    dtype = None if dtype is None else np.dtype(dtype)
    if dtype is not None and not dtypes.is_floating(dtype):
        raise TypeError(f"Module.to: only floating types are possible, got {dtype}")
    return place, dtype, non_blocking
