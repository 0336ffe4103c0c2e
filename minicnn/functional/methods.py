"""What hangs on Tensor: operators, methods and in-place forms, each of them a public function.

`Tensor.sum` is `functional.sum`, and so on: the table METHODS lists all that PyTorch's Tensor has
under the same name. What is more than a table entry is written out below it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Size, Tensor, dtypes, inplace
from ..autograd import device as Device
from ..autograd.arraylike import UFUNC_OPS
from ..autograd.mode import mode
from ..autograd.tensor import recorded
from ..backend import why_not
from . import arithmetic, choice, compare, creation, diagonals, index, rounding, shape
from .linear import matmul
from .operands import on_its_device, raw

# ---------------------------------------------------------------------- operators


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """An operator. NumPy scalars count as Python numbers; what is no number may know tensors."""

    def operator(self: Any, other: Any) -> Any:
        if isinstance(other, np.generic):
            other = other.item()
        elif not isinstance(other, _OPERANDS) and not backend.is_array(other):
            return NotImplemented
        return function(self, other)

    return operator


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return _binary(lambda self, other: function(other, self))


_OPERANDS = (Tensor, int, float, complex, np.ndarray)

_BINARY = {
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "mul": arithmetic.mul,
    "truediv": arithmetic.div,
    "floordiv": rounding.floor_divide,
    "mod": rounding.remainder,
    "pow": arithmetic.pow,
    "matmul": matmul,
}
_COMPARE = {"eq": compare.eq, "ne": compare.ne, "lt": compare.lt, "le": compare.le,
            "gt": compare.gt, "ge": compare.ge}  # fmt: skip


_BITWISE = {"and": compare.bitwise_and, "or": compare.bitwise_or, "xor": compare.bitwise_xor}

# NumPy's operators, when an ndarray stands on the left: `array * tensor` is a Tensor.
_UFUNCS = {
    "add": arithmetic.add, "subtract": arithmetic.sub, "multiply": arithmetic.mul,
    "divide": arithmetic.div, "floor_divide": rounding.floor_divide,
    "remainder": rounding.remainder, "power": arithmetic.pow, "matmul": matmul,
    "equal": compare.eq, "not_equal": compare.ne, "less": compare.lt,
    "less_equal": compare.le, "greater": compare.gt, "greater_equal": compare.ge,
    "bitwise_and": _BITWISE["and"], "bitwise_or": _BITWISE["or"], "bitwise_xor": _BITWISE["xor"],
}  # fmt: skip

# ---------------------------------------------------------------------- methods: the table

METHODS = {
    "arithmetic": """
        abs absolute add addcdiv addcmul div divide lerp mul multiply neg negative positive
        pow reciprocal square sub subtract true_divide""",
    "choice": "clamp clamp_max clamp_min clip heaviside maximum minimum nan_to_num",
    "compare": """
        allclose bitwise_and bitwise_not bitwise_or bitwise_xor eq equal ge greater
        greater_equal gt isclose isfinite isinf isnan le less less_equal logical_and
        logical_not logical_or logical_xor lt ne not_equal""",
    "exponential": "exp exp2 expm1 log log10 log1p log2 logaddexp logit rsqrt sqrt xlogy",
    "rounding": "ceil fix floor floor_divide fmod frac remainder round sgn sign trunc",
    "trigonometry": """
        acos acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan
        atan2 atanh cos cosh deg2rad hypot rad2deg sin sinh tan""",
    "reduce": """
        all amax amin aminmax any argmax argmin count_nonzero dist logsumexp max mean min
        nanmean nansum norm prod renorm std sum var""",
    "cumulative": "cummax cummin cumprod cumsum diff",
    "order": """
        argsort bincount histc kthvalue median mode msort nanmedian quantile sort topk unique""",
    "shape": """
        broadcast_to chunk clone contiguous expand expand_as flatten moveaxis movedim narrow
        permute ravel reshape reshape_as select split squeeze swapaxes swapdims t transpose
        unbind unflatten unsqueeze view view_as""",
    "arrange": """
        dsplit flip fliplr flipud hsplit repeat repeat_interleave roll rot90 tensor_split tile
        vsplit""",
    "diagonals": "diag diag_embed diagflat diagonal trace tril triu",
    "index": """
        argwhere gather index_add index_copy index_fill index_put index_select masked_fill
        masked_scatter masked_select nonzero scatter scatter_add take take_along_dim""",
    "linear": """
        addbmm addmm addmv addr baddbmm bmm dot ger inner kron matmul mm mv outer vdot""",
    "creation": "bernoulli is_complex is_nonzero multinomial",
    "activation": "log_softmax prelu relu relu_ sigmoid softmax tanh",
    "shrink": "hardshrink",
    "inverse_erf": "erfinv",
    "special": "erf erfc",
}

# t.f_(...) is t = t.f(...) in the memory of t.
IN_PLACE = {
    "arithmetic": """
        abs absolute add addcdiv addcmul div divide lerp mul multiply neg negative pow
        reciprocal square sub subtract true_divide""",
    "choice": "clamp clamp_max clamp_min clip heaviside nan_to_num",
    "compare": """
        bitwise_and bitwise_not bitwise_or bitwise_xor eq ge greater greater_equal gt le less
        less_equal logical_and logical_not logical_or logical_xor lt ne not_equal""",
    "exponential": "exp exp2 expm1 log log10 log1p log2 logit rsqrt sqrt xlogy",
    "rounding": "ceil fix floor floor_divide fmod frac remainder round sgn sign trunc",
    "trigonometry": """
        acos acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan
        atan2 atanh cos cosh deg2rad hypot rad2deg sin sinh tan""",
    "cumulative": "cumprod cumsum",
    "reduce": "renorm",
    "diagonals": "tril triu",
    "index": """
        index_add index_copy index_fill index_put masked_fill masked_scatter scatter
        scatter_add""",
    "linear": "addbmm addmm addmv addr baddbmm",
    "activation": "sigmoid tanh",
    "inverse_erf": "erfinv",
    "special": "erf erfc",
}


def in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """The form of `function` that writes its result into its first argument: `name` is its name."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return inplace(name, self, function, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{name[:-1]}` in place; see autograd/inplace.py for what cannot be changed."
    return method


def _functions(table: dict[str, str]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """(name, function) for every name in a table. By import_module, because the package's own
    attribute `linear` is the function of that name."""
    for file, names in table.items():
        module = importlib.import_module(f"{__package__}.{file}")
        for name in names.split():
            yield name, getattr(module, name)


# ---------------------------------------------------------------------- types and devices


def to(self: Tensor, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False,
       copy: bool = False, memory_format: Any = None) -> Tensor:  # fmt: skip
    """This tensor in another type or on another device: to(dtype), to(device[, dtype]), to(other).

    Itself if nothing changes and `copy` is False. non_blocking: a copy between a GPU and pinned
    memory of the CPU need not have ended. RuntimeError for a device that cannot be used.
    """
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, bool):  # non_blocking and copy may come by position
            continue
        elif isinstance(arg, (str, int, Device)) and not _is_dtype_name(arg):
            device = arg
        elif arg is not None:
            dtype = arg
    dtype = _dtype(dtype)
    out = self
    if device is not None:
        out = arithmetic.move(out, Device(device), non_blocking)
    if dtype is not None and dtype != out.array.dtype:
        return arithmetic.Cast.apply(out, dtype=dtype)
    return shape.clone(out) if copy and out is self else out


def _dtype(given: Any) -> np.dtype | None:
    try:
        return None if given is None else np.dtype(given)
    except TypeError as error:
        kinds = ", ".join(Device._TYPES)
        raise TypeError(f"to: expects a type, or a device ({kinds}): {error}") from None


def _is_dtype_name(arg: Any) -> bool:
    return isinstance(arg, str) and arg.partition(":")[0] not in Device._TYPES


def cpu(self: Tensor) -> Tensor:
    """This tensor in the CPU's memory: itself if it is there."""
    return to(self, Device("cpu"))


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """This tensor in a GPU's memory. RuntimeError where no GPU can be used, or none is named."""
    gpu = Device("cuda" if device is None else device)
    if gpu.type != "cuda":
        raise RuntimeError(f"cuda: device expects a GPU, got {str(gpu)!r}")
    return to(self, gpu, non_blocking=non_blocking)


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """This tensor in page-locked memory of the CPU, from where a GPU fetches by itself: see
    non_blocking in `to`. Itself if it is there. RuntimeError where no GPU can be used, for a tensor
    that is on one, and for one whose gradient would be lost."""
    if self.device.type != "cpu":
        raise RuntimeError(f"pin_memory: expects a tensor of the CPU, got one on {self.device}")
    if (reason := why_not("cuda")) is not None:
        raise RuntimeError(f"pin_memory: no GPU can be used: {reason}")
    if recorded(self):
        raise RuntimeError("pin_memory: this tensor requires a gradient; use .detach() first")
    from ..backend.cuda import gpu

    return self if gpu.is_pinned(self.array) else Tensor._wrap(gpu.pinned(self.array))


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """True if this tensor is in page-locked memory."""
    on_cpu = type(self.array) is np.ndarray
    if not on_cpu or "cupy" not in sys.modules or why_not("cuda") is not None:
        return False
    from ..backend.cuda import gpu

    return gpu.is_pinned(self.array)


def _convert(dtype: np.dtype) -> Callable[[Tensor], Tensor]:
    def convert(self: Tensor) -> Tensor:
        return self if self.array.dtype is dtype else to(self, dtype)

    convert.__doc__ = f"This tensor as {dtype}; itself if it is that already."
    return convert


_CONVERSIONS: dict[str, np.dtype] = {
    "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "int": dtypes.int32,
    "long": dtypes.int64, "short": dtypes.int16, "byte": dtypes.uint8, "bool": dtypes.bool,
}  # fmt: skip


def type_(self: Tensor, dtype: Any = None) -> Any:
    """The type's name, as `torch.FloatTensor` has it; with `dtype`, this tensor in that type."""
    if dtype is not None:
        named = str(dtype).rpartition(".")[2].removesuffix("Tensor").lower()
        return to(self, _CONVERSIONS.get(named, dtype) if isinstance(dtype, str) else dtype)
    names = {v: k.capitalize() for k, v in _CONVERSIONS.items()}
    return f"minicnn.{names.get(self.dtype, str(self.dtype))}Tensor"


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor in the type of `other`, and on its device."""
    return to(self, other)


# ---------------------------------------------------------------------- whole tensors in place


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Writes `src`, broadcast and converted, into this tensor. Gradients flow to `src`."""
    src = to(src if isinstance(src, Tensor) else creation.as_tensor(src), self.device)
    return inplace("copy_", self, index.Copy.apply, src)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Writes one number everywhere."""
    if getattr(value, "ndim", 0):
        raise RuntimeError(f"fill_: expects one number, got shape {tuple(value.shape)}")
    value = to(value, self.device) if isinstance(value, Tensor) else value
    return inplace("fill_", self, index.Copy.apply, value)


def zero_(self: Tensor) -> Tensor:
    """Writes zeros everywhere."""
    return inplace("zero_", self, index.Copy.apply, 0)


def _random_in_place(name: str, self: Tensor, values: Any) -> Tensor:
    return inplace(name, self, index.Copy.apply, values)


def normal_(self: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
    """Fills with normal random numbers. RuntimeError for a negative std."""
    values = creation.normal(
        mean, std, self.shape, generator=generator, dtype=self.dtype, device=self.device
    )
    return _random_in_place("normal_", self, values.array)


def uniform_(self: Tensor, from_: float = 0, to: float = 1, *, generator: Any = None) -> Tensor:
    """Fills with uniform random numbers in [from_, to). RuntimeError if from_ > to."""
    if from_ > to:
        raise RuntimeError(f"uniform_: expects from <= to, got {from_} and {to}")
    values = creation.draw("random", generator, self.shape, self.dtype, self.device)
    return _random_in_place("uniform_", self, values * (to - from_) + from_)


def random_(self: Tensor, from_: int | None = None, to: int | None = None, *,
            generator: Any = None) -> Tensor:  # fmt: skip
    """Fills with random integers in from_ ... to - 1; random_(n) in 0 ... n - 1."""
    if to is None:
        from_, to = 0, from_
    if to is None:  # every integer that the type holds exactly
        bits = {"f2": 11, "f4": 24, "f8": 53}.get(self.dtype.str[1:], 8 * self.dtype.itemsize - 1)
        to = 2**bits
    values = creation.randint(from_ or 0, to, self.shape, generator=generator, device=self.device)
    return _random_in_place("random_", self, values.array)


def exponential_(self: Tensor, lambd: float = 1, *, generator: Any = None) -> Tensor:
    """Fills with random numbers of density lambd e^(-lambd x). RuntimeError if lambd <= 0."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_: lambd expects a positive number, got {lambd}")
    values = creation.draw("random", generator, self.shape, self.dtype, self.device)
    values = -np.log1p(-values) / lambd
    return _random_in_place("exponential_", self, values)


@on_its_device
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fills with 1 with probability `p`, a number or a tensor, and 0 otherwise."""
    chances = backend.like(self.array, backend.as_array(raw(p)).astype(np.float64, copy=False))
    chances = np.broadcast_to(chances, self.shape)
    return _random_in_place(
        "bernoulli_", self, creation.bernoulli(chances, generator=generator).array
    )


def _reshape_in_place(name: str, function: Callable[..., Any]) -> Callable[..., Tensor]:
    """squeeze_ and its kin change the shape, not the memory: the tensor becomes a view of it."""

    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        if mode.grad and self.is_leaf and self.requires_grad:
            raise RuntimeError(
                f"{name}: a leaf that requires a gradient cannot be changed in place while "
                "gradients are recorded; do it under `with no_grad():`"
            )
        out = function(self, *args, **options)
        self.array, self._edge, self._requires_grad = out.array, out._edge, out._requires_grad
        if self._view is not None:
            self._view = out._view
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{name[:-1]}` of this tensor itself."
    return method


# ---------------------------------------------------------------------- new tensors of a kind


def new_tensor(self: Tensor, data: Any, *, dtype: Any = None, device: Any = None,
               requires_grad: bool = False) -> Tensor:  # fmt: skip
    """`minicnn.tensor(data)` in this tensor's type, on its device."""
    dtype = self.dtype if dtype is None else dtype
    device = self.device if device is None else device
    return creation.tensor(data, dtype=dtype, device=device, requires_grad=requires_grad)


def new(self: Tensor, *data: Any) -> Tensor:
    """Of these sizes and without values, or of this data, in this tensor's type, on its device."""
    if len(data) == 1 and not isinstance(data[0], (int, Size)):
        return new_tensor(self, data[0])
    return creation.empty(*(data or (0,)), dtype=self.dtype, device=self.device)


def _new(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(
        self: Tensor, *args: Any, dtype: Any = None, device: Any = None, **options: Any
    ) -> Tensor:
        dtype = self.dtype if dtype is None else dtype
        device = self.device if device is None else device
        return function(*args, dtype=dtype, device=device, **options)

    method.__doc__ = f"`{function.__name__}` in this tensor's type, on its device."
    return method


# ---------------------------------------------------------------------- putting it on

_REST = {
    "__neg__": arithmetic.neg,
    "__pos__": lambda self: self,
    "__abs__": arithmetic.abs,
    "__invert__": compare.bitwise_not,
    "__getitem__": index.getitem,
    "__setitem__": index.setitem,
    "T": property(lambda self: shape.permute(self, tuple(range(self.ndim))[::-1])),
    "mT": property(lambda self: shape.transpose(self, -2, -1)),
    "fill_diagonal_": diagonals.fill_diagonal_,
    "is_sparse": property(lambda self: False),
    "itemsize": property(lambda self: self.array.itemsize),
    "nbytes": property(lambda self: self.array.nbytes),
    "split_with_sizes": lambda self, split_sizes, dim=0: shape.split(self, list(split_sizes), dim),
    "type": type_,
    "unfold": diagonals.windows,
    "where": lambda self, condition, other: choice.where(condition, self, other),
}


def _install() -> None:
    for name, function in _functions(METHODS):
        setattr(Tensor, name, function)
    for name, function in _functions(IN_PLACE):
        setattr(Tensor, f"{name}_", in_place(function, f"{name}_"))
    for name, function in _BINARY.items():
        setattr(Tensor, f"__{name}__", _binary(function))
        setattr(Tensor, f"__r{name}__", _reflected(function))
        if name != "matmul":  # its result has another shape
            setattr(Tensor, f"__i{name}__", _binary(in_place(function, f"{function.__name__}_")))
    for name, function in _COMPARE.items():
        setattr(Tensor, f"__{name}__", _binary(function))
    for name, function in _BITWISE.items():
        setattr(Tensor, f"__{name}__", _binary(function))
        setattr(Tensor, f"__r{name}__", _reflected(function))
        setattr(Tensor, f"__i{name}__", _binary(in_place(function, f"bitwise_{name}_")))
    for name, dtype in _CONVERSIONS.items():
        setattr(Tensor, name, _convert(dtype))
    for method in (to, cpu, cuda, pin_memory, is_pinned, type_as, copy_, fill_, zero_, normal_,
                   uniform_, random_, bernoulli_, exponential_, new, new_tensor):  # fmt: skip
        setattr(Tensor, method.__name__, method)
    for make in (creation.zeros, creation.ones, creation.empty, creation.full):
        setattr(Tensor, f"new_{make.__name__}", _new(make))
    for given in ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t"):
        name, function = f"{given}_", getattr(shape, given)
        setattr(Tensor, name, _reshape_in_place(name, function))
    for name, value in _REST.items():
        setattr(Tensor, name, value)
    UFUNC_OPS.update(_UFUNCS)


_install()
