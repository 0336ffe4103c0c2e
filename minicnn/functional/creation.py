"""New tensors: from data, from a rule, from random numbers.

Types are PyTorch's: floating functions give the default floating type (float32), `arange` of
integers int64, and `tensor` keeps what an ndarray has. Sizes come as numbers or as one tuple:
zeros(2, 3), zeros((2, 3)), zeros(size=(2, 3)). Random functions draw from `generator`, or from the
default generator, which `minicnn.manual_seed` seeds.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Size, Tensor, dtypes
from ..autograd import device as Device
from ..backend.random import default_generator
from .operands import on_its_device
from .shape import sizes_of

__all__ = [
    "BoolTensor",
    "ByteTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "arange",
    "as_tensor",
    "asarray",
    "bernoulli",
    "can_cast",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "is_complex",
    "is_floating_point",
    "is_nonzero",
    "is_tensor",
    "linspace",
    "logspace",
    "multinomial",
    "normal",
    "numel",
    "ones",
    "ones_like",
    "promote_types",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
    "zeros_like",
]


def _finish(function: str, array: Any, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The array as a tensor on that device, or where it is. RuntimeError if it cannot be used."""
    if device is not None and device != "cpu":
        wanted = Device(device)
        try:
            array = backend.move(array, wanted.type, wanted.index)
        except RuntimeError as error:
            raise RuntimeError(f"{function}: device {str(wanted)!r}: {error}") from None
    elif device is not None:
        array = backend.move(array, "cpu")
    out = Tensor._wrap(array)
    if requires_grad:
        out.requires_grad = True
    return out


def _dtype_or_default(dtype: Any) -> np.dtype:
    return dtypes.get_default_dtype() if dtype is None else np.dtype(dtype)


def _checked_sizes(function: str, sizes: Any, size: Any = None) -> tuple[int, ...]:
    shape = sizes_of(function, sizes, size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"{function}: sizes expect 0 or more, got {shape}")
    return shape


# ---------------------------------------------------------------------- from data


def _array_from(function: str, data: Any, dtype: Any) -> np.ndarray:
    """`data` as an array of PyTorch's type for it; a copy unless it is an array of that type."""
    if isinstance(data, Tensor):
        data = data.array
    elif isinstance(data, (list, tuple)):
        data = _plain(data)
    try:
        array = backend.as_array(data)
    except ValueError:
        raise ValueError(f"{function}: the nested lists differ in length") from None
    if dtype is None and not hasattr(data, "dtype"):
        dtype = {"f": dtypes.get_default_dtype(), "i": np.int64, "u": np.int64}.get(
            array.dtype.kind
        )
        if array.size == 0:
            dtype = dtypes.get_default_dtype()
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{function}: cannot hold values of type {array.dtype}: {data!r:.60}")
    return array if dtype is None else array.astype(dtype, copy=False)


def _plain(data: Any) -> Any:
    """Nested lists with the tensors in them as plain values; a list of arrays as one array."""
    if isinstance(data, Tensor):
        return data.array.item() if data.array.ndim == 0 else backend.to_numpy(data.array)
    if isinstance(data, (list, tuple)):
        parts = [_plain(x) for x in data] if _holds_tensors(data) else data
        arrays = len(parts) > 0 and all(isinstance(x, (np.ndarray, np.generic)) for x in parts)
        return np.asarray(parts) if arrays else parts
    return data


def _holds_tensors(data: Any) -> bool:
    """Looks at the first element only: nested lists of numbers, the usual case, stay cheap."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, Tensor)


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of `data`: a number, nested lists, an ndarray or a tensor.

    An ndarray keeps its type; Python floats get the default floating type, integers int64, bools
    bool. Raises ValueError for ragged lists, TypeError for what is no number, RuntimeError for a
    device that is not there.
    """
    array = _array_from("tensor", data, dtype)
    return _finish("tensor", backend.copy(array), device, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """As `tensor`, but shares the memory of a tensor or an ndarray that has the right type."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    return _finish("as_tensor", _array_from("as_tensor", data, dtype).view(), device)


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None,
                  requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A tensor without dimensions that holds one number, in the default floating type."""
    array = _held("scalar_tensor", s, _dtype_or_default(dtype))
    return _finish("scalar_tensor", array, device, requires_grad)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over the memory of `ndarray`: a change of one is a change of the other."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: expects an ndarray, got {type(ndarray).__name__}")
    return Tensor._wrap(_array_from("from_numpy", ndarray, None).view())


def is_tensor(obj: Any) -> bool:
    """True if `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None,
            requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A tensor of `obj`, over its memory where that can be (copy=None), or in new memory."""
    out = tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype, device)
    return out.requires_grad_() if requires_grad else out


def promote_types(type1: Any, type2: Any) -> np.dtype:
    """The type in which tensors of these two types meet."""
    return dtypes.result_type(np.empty(1, type1), np.empty(1, type2))


def can_cast(from_: Any, to: Any) -> bool:
    """True if numbers of the one type may become the other: bool to integer to floating."""
    rank = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    return rank[np.dtype(from_).kind] <= rank[np.dtype(to).kind]


def is_complex(input: Any) -> bool:
    """True for complex types."""
    return input.dtype.kind == "c"


def is_nonzero(input: Any) -> bool:
    """True if the only element is not zero. RuntimeError for more elements, or none."""
    if math.prod(input.shape) != 1:
        raise RuntimeError(f"is_nonzero: expects one element, got shape {tuple(input.shape)}")
    return bool(input.item())


def is_floating_point(input: Any) -> bool:
    """True for float16, float32 and float64."""
    return input.dtype.kind == "f"


def numel(input: Any) -> int:
    """The number of elements."""
    return math.prod(input.shape)


def _legacy(name: str, dtype: Any) -> Any:
    def make(*data: Any) -> Tensor:
        if data and all(isinstance(n, (int, Size)) for n in data):
            return empty(*data, dtype=dtype)
        return tensor(data[0] if data else [], dtype=dtype)

    make.__name__ = make.__qualname__ = name
    make.dtype = dtype  # type: ignore[attr-defined]  # np.dtype(LongTensor): x.type(LongTensor)
    make.__doc__ = f"A tensor of type {dtype}: of data, or of these sizes and without values."
    return make


FloatTensor = _legacy("FloatTensor", dtypes.float32)
DoubleTensor = _legacy("DoubleTensor", dtypes.float64)
HalfTensor = _legacy("HalfTensor", dtypes.float16)
LongTensor = _legacy("LongTensor", dtypes.int64)
IntTensor = _legacy("IntTensor", dtypes.int32)
ByteTensor = _legacy("ByteTensor", dtypes.uint8)
BoolTensor = _legacy("BoolTensor", dtypes.bool)


# ---------------------------------------------------------------------- constant


def _held(function: str, number: Any, dtype: Any) -> np.ndarray:
    """A number in a type; below zero unsigned ones count from their end, so that -1 is 255.

    RuntimeError for a number that is too large for the type.
    """
    if getattr(number, "requires_grad", False):
        raise TypeError(f"{function}: expects a number, not a tensor whose gradient would be lost")
    value, dtype = backend.to_numpy(getattr(number, "array", number)), np.dtype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not min(limits.min, -limits.max) <= value <= limits.max:
            raise RuntimeError(f"{function}: {dtype} expects at most {limits.max}, got {number}")
    return value.astype(dtype)


def zeros(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None,
          requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Zeros of this size."""
    array = np.zeros(_checked_sizes("zeros", sizes, size), _dtype_or_default(dtype))
    return _finish("zeros", array, device, requires_grad)


def ones(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None,
         requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Ones of this size."""
    array = np.ones(_checked_sizes("ones", sizes, size), _dtype_or_default(dtype))
    return _finish("ones", array, device, requires_grad)


def empty(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None,
          requires_grad: bool = False, memory_format: Any = None) -> Tensor:  # fmt: skip
    """A tensor of this size whose values are whatever the memory held."""
    array = np.empty(_checked_sizes("empty", sizes, size), _dtype_or_default(dtype))
    return _finish("empty", array, device, requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None,
         requires_grad: bool = False) -> Tensor:  # fmt: skip
    """A tensor of this size full of one number, of that number's type (floats: the default)."""
    value = getattr(fill_value, "array", fill_value)
    if dtype is None:
        dtype = dtypes.result_type(value.item() if isinstance(value, np.generic) else value)
    array = np.full(_checked_sizes("full", (size,)), _held("full", fill_value, dtype))
    return _finish("full", array, device, requires_grad)


def _like(
    function: str, make: Any, input: Any, dtype: Any, device: Any, requires_grad: bool
) -> Tensor:
    x = getattr(input, "array", input)
    with backend.on_device_of(x):
        array = make(x, dtype=dtype)
    return _finish(function, array, device, requires_grad)


def zeros_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               memory_format: Any = None) -> Tensor:  # fmt: skip
    """Zeros of the shape and type of `input`."""
    return _like("zeros_like", np.zeros_like, input, dtype, device, requires_grad)


def ones_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
              memory_format: Any = None) -> Tensor:  # fmt: skip
    """Ones of the shape and type of `input`."""
    return _like("ones_like", np.ones_like, input, dtype, device, requires_grad)


def empty_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               memory_format: Any = None) -> Tensor:  # fmt: skip
    """A tensor of the shape and type of `input`, whose values are whatever the memory held."""
    return _like("empty_like", np.empty_like, input, dtype, device, requires_grad)


def full_like(input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None,
              requires_grad: bool = False, memory_format: Any = None) -> Tensor:  # fmt: skip
    """A tensor of the shape and type of `input`, full of one number."""

    def make(x: Any, dtype: Any) -> Any:
        held = _held("full_like", fill_value, x.dtype if dtype is None else dtype)
        return np.full_like(x, held[()], dtype=dtype)

    return _like("full_like", make, input, dtype, device, requires_grad)


# ---------------------------------------------------------------------- by a rule


def arange(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:  # fmt: skip
    """start, start + step, ... below `end`; `arange(n)` begins at 0. int64 if all are integers.

    RuntimeError for step 0, or one that leads away from `end`.
    """
    if end is None:
        start, end = 0, start
    start, end, step = [x.item() if hasattr(x, "item") else x for x in (start, end, step)]
    if not all(math.isfinite(x) for x in (start, end, step)):
        raise RuntimeError(f"arange: expects finite numbers, got {start}, {end} and {step}")
    if dtype is not None and np.dtype(dtype) == np.int64:  # PyTorch counts the others as given
        start, end, step = int(start), int(end), int(step)
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"arange: step {step} does not lead from {start} to {end}")
    if dtype is None:
        whole = all(isinstance(x, int) for x in (start, end, step))
        dtype = np.int64 if whole else dtypes.get_default_dtype()
    n = math.ceil((end - start) / step)
    array = (start + step * np.arange(n)).astype(dtype)
    return _finish("arange", array, device, requires_grad)


def _checked_steps(function: str, steps: Any) -> int:
    if not hasattr(steps, "__index__"):
        raise TypeError(f"{function}: steps expects an integer, got {steps!r}")
    if steps < 0:
        raise RuntimeError(f"{function}: steps expects 0 or more, got {steps}")
    return operator.index(steps)


def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:  # fmt: skip
    """`steps` numbers from start to end, both included, at equal distances."""
    steps = _checked_steps("linspace", steps)
    array = np.linspace(float(start), float(end), steps).astype(_dtype_or_default(dtype))
    return _finish("linspace", array, device, requires_grad)


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None,
             device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """base to the power of `linspace(start, end, steps)`."""
    steps = _checked_steps("logspace", steps)
    array = np.power(float(base), np.linspace(float(start), float(end), steps))
    return _finish("logspace", array.astype(_dtype_or_default(dtype)), device, requires_grad)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = np.int64,
                 device: Any = None) -> Tensor:  # fmt: skip
    """Where a row by col matrix has its lower triangle: rows and columns, shape (2, count)."""
    places = np.stack(np.tril_indices(row, offset, col))
    return _finish("tril_indices", places.astype(dtype), device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = np.int64,
                 device: Any = None) -> Tensor:  # fmt: skip
    """Where a row by col matrix has its upper triangle: rows and columns, shape (2, count)."""
    places = np.stack(np.triu_indices(row, offset, col))
    return _finish("triu_indices", places.astype(dtype), device)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None,
        requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Ones on the diagonal of an n by m matrix (m = n if not given), zeros elsewhere."""
    rows, columns = _checked_sizes("eye", (n, n if m is None else m))
    array = np.eye(rows, columns, dtype=_dtype_or_default(dtype))
    return _finish("eye", array, device, requires_grad)


# ---------------------------------------------------------------------- random


def numpy_generator(generator: Any, device: Any = None) -> np.random.Generator:
    """The NumPy generator of a minicnn.Generator, or of the device's default one (None: the CPU's).

    RuntimeError for the generator of another device; that of the CPU may draw for all.
    """
    device = Device("cpu" if device is None else device)
    if generator is None:
        return default_generator(device).numpy
    own = Device(generator.device)
    if own.type != "cpu" and (own.type, own.index) != (device.type, device.index or 0):
        wanted = "the CPU" if device.type == "cpu" else f"{device} or of the CPU"
        raise RuntimeError(f"random numbers: generator expects one of {wanted}, got one of {own}")
    return generator.numpy


def draw(
    function: str, generator: Any, shape: tuple[int, ...], dtype: Any, device: Any = None
) -> np.ndarray:
    """`function` ("random": uniform in [0, 1), "standard_normal") in a floating type, drawn for a
    device in the CPU's memory."""
    if dtype.kind != "f":
        raise RuntimeError(f"random numbers: expects a floating type, got {dtype}")
    kind = dtype if dtype in (dtypes.float32, dtypes.float64) else dtypes.float32
    values = getattr(numpy_generator(generator, device), function)(shape, dtype=kind)
    return np.asarray(values).astype(dtype, copy=False)


def rand(*sizes: Any, size: Any = None, generator: Any = None, dtype: Any = None,
         device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Uniform random numbers in [0, 1)."""
    shape = _checked_sizes("rand", sizes, size)
    array = draw("random", generator, shape, _dtype_or_default(dtype), device)
    return _finish("rand", array, device, requires_grad)


def randn(*sizes: Any, size: Any = None, generator: Any = None, dtype: Any = None,
          device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Normal random numbers of mean 0 and variance 1."""
    shape = _checked_sizes("randn", sizes, size)
    array = draw("standard_normal", generator, shape, _dtype_or_default(dtype), device)
    return _finish("randn", array, device, requires_grad)


def rand_like(input: Any, *, generator: Any = None, dtype: Any = None, device: Any = None,
              requires_grad: bool = False, memory_format: Any = None) -> Tensor:  # fmt: skip
    """`rand` in the shape and type of `input`."""
    dtype = input.dtype if dtype is None else dtype
    device = input.device if device is None else device
    return rand(tuple(input.shape), generator=generator, dtype=dtype, device=device,
                requires_grad=requires_grad)  # fmt: skip


def randn_like(input: Any, *, generator: Any = None, dtype: Any = None, device: Any = None,
               requires_grad: bool = False, memory_format: Any = None) -> Tensor:  # fmt: skip
    """`randn` in the shape and type of `input`."""
    dtype = input.dtype if dtype is None else dtype
    device = input.device if device is None else device
    return randn(tuple(input.shape), generator=generator, dtype=dtype, device=device,
                 requires_grad=requires_grad)  # fmt: skip


def randint(low: Any = 0, high: Any = None, size: Any = None, *, generator: Any = None,
            dtype: Any = None, device: Any = None,
            requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Random integers in low ... high - 1; `randint(high, size)` begins at 0. int64."""
    if size is None:
        low, high, size = 0, low, high
    if high <= low:
        raise RuntimeError(f"randint: expects low < high, got {low} and {high}")
    shape = _checked_sizes("randint", (size,))
    array = numpy_generator(generator, device).integers(low, high, shape, np.int64)
    array = np.asarray(array).astype(np.int64 if dtype is None else dtype, copy=False)
    return _finish("randint", array, device, requires_grad)


def randint_like(input: Any, low: Any = 0, high: Any = None, *, generator: Any = None,
                 dtype: Any = None, device: Any = None, requires_grad: bool = False,
                 memory_format: Any = None) -> Tensor:  # fmt: skip
    """`randint` in the shape and type of `input`; `randint_like(x, high)` begins at 0."""
    low, high = (0, low) if high is None else (low, high)
    dtype = input.dtype if dtype is None else dtype
    device = input.device if device is None else device
    return randint(low, high, tuple(input.shape), generator=generator, dtype=dtype, device=device,
                   requires_grad=requires_grad)  # fmt: skip


def randperm(n: int, *, generator: Any = None, dtype: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:  # fmt: skip
    """0 ... n - 1 in random order (int64)."""
    if n < 0:
        raise RuntimeError(f"randperm: n expects 0 or more, got {n}")
    array = numpy_generator(generator, device).permutation(n)
    array = array.astype(np.int64 if dtype is None else dtype)
    return _finish("randperm", array, device, requires_grad)


def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None,
           dtype: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Normal random numbers; mean and std are numbers (with a size) or tensors."""
    m, s = getattr(mean, "array", mean), getattr(std, "array", std)
    there = next((x for x in (m, s) if type(x) is not np.ndarray and backend.is_array(x)), None)
    if device is None and there is not None:
        device = Device(*backend.place(there))
    m, s = [backend.to_numpy(x) for x in (m, s)]
    if np.min(s, initial=0.0) < 0:
        raise RuntimeError(f"normal: std expects 0 or more, got {np.min(s)}")
    if size is None:
        shape = np.broadcast_shapes(np.shape(m), np.shape(s))
        dtype = dtype or dtypes.result_type(m, s)
    else:
        shape = _checked_sizes("normal", (size,))
    array = draw("standard_normal", generator, shape, _dtype_or_default(dtype), device)
    return _finish("normal", np.asarray(array * s + m, array.dtype), device, requires_grad)


@on_its_device
def bernoulli(input: Any, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with the probability that each element of `input` says (or `p`), else 0, in its type.

    RuntimeError for probabilities outside 0 to 1.
    """
    x = getattr(input, "array", input)
    chances = x if p is None else np.full_like(x, p, dtype=dtypes.get_default_dtype())
    if chances.size and not (chances.min() >= 0 and chances.max() <= 1):
        raise RuntimeError(
            f"bernoulli: probabilities expect 0 to 1, got {chances.min()} to {chances.max()}"
        )
    u = np.asarray(numpy_generator(generator, Device(*backend.place(x))).random(x.shape))
    return Tensor._wrap(backend.as_array(backend.like(x, u) < chances).astype(x.dtype))


def multinomial(input: Any, num_samples: int, replacement: bool = False, *,
                generator: Any = None) -> Tensor:  # fmt: skip
    """`num_samples` indices (int64) drawn for each row of weights, with or without repetition.

    RuntimeError for weights that are negative or sum to 0, or for too few without replacement.
    """
    x = getattr(input, "array", input)
    w = backend.to_numpy(x).astype(np.float64, copy=False)
    rows = w[None] if w.ndim == 1 else w
    if w.ndim not in (1, 2) or not (rows >= 0).all() or not (rows.sum(axis=1) > 0).all():
        raise RuntimeError("multinomial: expects one or two dimensions of weights >= 0, not all 0")
    if num_samples < 1 or not np.isfinite(rows).all():
        raise RuntimeError(
            f"multinomial: expects at least 1 sample of finite weights, got {num_samples}"
        )
    if not replacement and num_samples > np.count_nonzero(rows, axis=1).min():
        raise RuntimeError(f"multinomial: no {num_samples} different indices have a weight")
    rng = numpy_generator(generator, Device(*backend.place(x)))
    out = np.stack(
        [rng.choice(len(r), num_samples, replacement, r / r.sum()) for r in rows]
    ).astype(np.int64)
    return Tensor._wrap(backend.like(x, out[0] if w.ndim == 1 else out))
