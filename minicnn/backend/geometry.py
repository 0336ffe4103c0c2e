"""Window arithmetic: where each output of a convolution or a pooling looks.

Along one axis with input size H, kernel KH, stride S, dilation D and padding P_lo in front and P_hi
behind, output i reads the inputs

    h = i*S + p*D - P_lo        for p = 0 .. KH-1

and those of them outside 0 .. H-1 are padding. A window spans D*(KH-1) + 1 inputs, so

    OH = floor((H + P_lo + P_hi - D*(KH-1) - 1) / S) + 1

windows fit, and the last H + P_lo + P_hi - (D*(KH-1) + 1) - (OH-1)*S inputs are *left over*: no
window reads them, and their gradient is zero.

Everything that can be wrong with a window is refused here, once, for every backend. A geometry is
immutable and hashable, and `of` keeps the ones it made, so that a layer pays for its checks once.
The spatial axes are tuples of any length: (L,), (H, W) or (D, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from math import prod
from operator import index
from typing import Any, dataclass_transform

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


def window_span(kernel: int, dilation: int) -> int:
    """How many inputs a window reaches over, from its first tap to its last: D*(K-1) + 1."""
    return dilation * (kernel - 1) + 1


# Options: from what a caller may write to plain tuples of int


def _integer(function: str, name: str, value: Any, wanted: str) -> int:
    """`value` as an int. Booleans and floats are refused although Python would convert them."""
    if type(value) is int:
        return value
    # A bool passes operator.index, in its NumPy form too, but stride=True is a slip, not a 1.
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        try:
            return index(value)
        except TypeError:
            pass
    raise TypeError(f"{function}: {name} expects {wanted}, got {value!r}")


def _per_axis(function: str, name: str, value: Any, dims: int) -> Ints:
    """One int for each spatial axis, from an int, a sequence of one, or a sequence of `dims`."""
    if type(value) is int:
        return (value,) * dims
    wanted = "an integer" if dims == 1 else f"an integer or a tuple of {dims} integers"
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            value = tuple(value) * dims
        if len(value) != dims:
            raise ValueError(f"{function}: {name} expects {wanted}, got {value!r}")
        return tuple([_integer(function, name, entry, wanted) for entry in value])
    return (_integer(function, name, value, wanted),) * dims


def _padding_option(function: str, value: Any, dims: int) -> str | Pairs:
    """'same' or 'valid' as they are; anything else as a (low, high) pair for each axis."""
    if type(value) is int:
        return ((value, value),) * dims
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise ValueError(
                f"{function}: padding expects 'same', 'valid', an integer or a tuple of {dims}, "
                f"got {value!r}"
            )
        return value
    if isinstance(value, (tuple, list)) and any(isinstance(e, (tuple, list)) for e in value):
        wanted = f"a (low, high) pair of integers for each of {dims} axes"
        if len(value) != dims or any(
            not isinstance(e, (tuple, list)) or len(e) != 2 for e in value
        ):
            raise ValueError(f"{function}: padding expects {wanted}, got {value!r}")
        pairs = [[_integer(function, "padding", e, wanted) for e in pair] for pair in value]
        return tuple([(low, high) for low, high in pairs])
    return tuple([(p, p) for p in _per_axis(function, "padding", value, dims)])


def _at_least(function: str, name: str, values: Ints, minimum: int) -> None:
    if min(values) < minimum:
        kind = "positive" if minimum == 1 else "non-negative"
        got = values[0] if len(set(values)) == 1 else values
        raise ValueError(f"{function}: {name} expects {kind} integers, got {got}")


def _spatial_dims(function: str, shape: Sequence[int]) -> int:
    """2 for conv2d, as the name says; the rank of `shape` less two where it says nothing."""
    if function[-2:] in ("1d", "2d", "3d"):
        return int(function[-2])
    return max(len(shape) - 2, 1)


def _check_rank(function: str, name: str, shape: Ints, lead: Ints | tuple[str, ...], dims: int):
    if len(shape) != dims + len(lead):
        prefix = "K" if name == "weight" else ""
        axes = [*lead, *(prefix + axis for axis in AXES.get(dims, ("...",)))]
        raise ValueError(
            f"{function}: {name} expects {len(axes)} axes ({', '.join(map(str, axes))}), "
            f"got {len(shape)}: {name} {shape}"
        )


# Convolution


@dataclass_transform(frozen_default=True)
class _Frozen:
    """A frozen dataclass: annotated fields, equal and hashed by value, never changed.

    Written out, because the module `dataclasses` and the code that it generates would take a
    twentieth of the time that `import numpy` takes.
    """

    def __init__(self, *values: Any, **named: Any):
        names = tuple(type(self).__annotations__)
        if len(values) + len(named) != len(names) or set(names[: len(values)]) & set(named):
            raise TypeError(f"{type(self).__name__}: expects {', '.join(names)}")
        self.__dict__.update(zip(names, values, strict=False))
        for name, value in named.items():
            if name not in names:
                raise TypeError(f"{type(self).__name__}: has no field {name!r}")
            self.__dict__[name] = value

    def _values(self) -> tuple[Any, ...]:
        return tuple([self.__dict__[name] for name in type(self).__annotations__])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        known: int | None = self.__dict__.get("_hash")
        if known is None:
            known = self.__dict__["_hash"] = hash(self._values())
        return known

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __repr__(self) -> str:
        pairs = zip(type(self).__annotations__, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in pairs)})"


class ConvGeometry(_Frozen):
    """The geometry of y[n,f,i,j] = b[f] + sum_cpq w[f,c,p,q] x[n,c,i*S+p*D-P,j*S+q*D-P].

    Made by `of`, `of_transposed`, `of_windows` or `of_columns`, which check it. `padding` holds a
    (low, high) pair for each spatial axis; a negative high one keeps windows off the last inputs.
    """

    batch: int
    in_channels: int
    out_channels: int
    size: Ints
    kernel: Ints
    stride: Ints
    padding: Pairs
    dilation: Ints
    groups: int

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        b_shape: Sequence[int] | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
        function: str = "conv2d",
    ) -> ConvGeometry:
        """The checked geometry of a convolution of x (N, C, *size) with w (F, C/groups, *kernel).

        Args:
            stride, dilation: a positive integer, or one for each spatial axis.
            padding: 'valid' (none); 'same' (output as large as the input, stride 1 only, an odd
                rest on the high side); an integer; one for each axis; or a (low, high) pair for
                each axis.
            groups: a divisor of C and F; output channels of group g see its C/groups inputs only.
            function: the name that error messages begin with.

        Raises:
            ValueError: shapes or options that no convolution has.
            TypeError: an option that is not an integer (a bool or a float, say).
        """
        dims = _spatial_dims(function, w_shape)
        return _conv_geometry(
            tuple(x_shape),
            tuple(w_shape),
            None if b_shape is None else tuple(b_shape),
            _per_axis(function, "stride", stride, dims),
            _padding_option(function, padding, dims),
            _per_axis(function, "dilation", dilation, dims),
            _integer(function, "groups", groups, "an integer"),
            function,
        )

    @classmethod
    def of_transposed(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        b_shape: Sequence[int] | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: Any = 1,
        dilation: Any = 1,
        function: str = "conv_transpose2d",
    ) -> ConvGeometry:
        """The convolution whose input gradient is the transposed convolution of x with w.

        x (N, C, *size) is its output and w (C, F/groups, *kernel) its weight; its `x_shape` is
        the shape of the result, (N, F, *out). The derivation stands in functional/conv_transpose.

        Args:
            stride, dilation: a positive integer, or one for each spatial axis.
            padding: an integer or one for each axis: so much is cut off on either side.
            output_padding: an integer or one for each axis, less than stride or dilation there:
                so much is added behind.
            groups: a divisor of C.
            function: the name that error messages begin with.

        Raises:
            ValueError: shapes or options that no transposed convolution has.
            TypeError: an option that is not an integer (a bool or a float, say).
        """
        dims = _spatial_dims(function, w_shape)
        return _transposed_geometry(
            tuple(x_shape),
            tuple(w_shape),
            None if b_shape is None else tuple(b_shape),
            _per_axis(function, "stride", stride, dims),
            _per_axis(function, "padding", padding, dims),
            _per_axis(function, "output_padding", output_padding, dims),
            _integer(function, "groups", groups, "an integer"),
            _per_axis(function, "dilation", dilation, dims),
            function,
        )

    @classmethod
    def of_windows(
        cls,
        x_shape: Sequence[int],
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
        function: str = "unfold",
    ) -> ConvGeometry:
        """The windows of x (N, C, *size) alone, without a weight (one channel stands in its place).

        Args: integers, or one for each spatial axis. Raises ValueError for windows that do not fit
        the padded input, TypeError for an option that is not an integer.
        """
        dims = len(x_shape) - 2
        return _windows_geometry(
            tuple(map(int, x_shape)),
            _per_axis(function, "kernel_size", kernel_size, dims),
            _per_axis(function, "dilation", dilation, dims),
            _per_axis(function, "padding", padding, dims),
            _per_axis(function, "stride", stride, dims),
            function,
        )

    @classmethod
    def of_columns(
        cls,
        cols_shape: Sequence[int],
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
        function: str = "fold",
    ) -> ConvGeometry:
        """The windows of images (N, C, *output_size) that were written out as columns.

        `cols_shape` is (N, C*KH*KW, OH*OW). Args and errors as of_windows; ValueError also for rows
        that KH*KW does not divide and for columns that are not one for each window.
        """
        N, rows, columns = cols_shape
        kernel = _per_axis(function, "kernel_size", kernel_size, 2)
        _at_least(function, "kernel_size", kernel, 1)
        size = _per_axis(function, "output_size", output_size, 2)
        _at_least(function, "output_size", size, 1)
        channels, rest = divmod(rows, prod(kernel))
        if rest:
            raise ValueError(
                f"{function}: x expects a multiple of {prod(kernel)} rows for kernel_size "
                f"{kernel}, got {rows}: x {tuple(cols_shape)}"
            )
        images = (N, channels, *size)
        geometry = cls.of_windows(images, kernel, dilation, padding, stride, function)
        if prod(geometry.out_size) != columns:
            raise ValueError(
                f"{function}: x expects {prod(geometry.out_size)} columns, one for each of "
                f"{geometry.out_size} windows of an image of output_size {size}, got {columns}: "
                f"x {tuple(cols_shape)}"
            )
        return geometry

    @cached_property
    def span(self) -> Ints:
        """Inputs from the first tap of a window to its last, along each axis: D*(K-1) + 1."""
        return tuple(map(window_span, self.kernel, self.dilation))

    @cached_property
    def padded_size(self) -> Ints:
        """The spatial size with its padding."""
        return tuple(
            [h + low + high for h, (low, high) in zip(self.size, self.padding, strict=True)]
        )

    @cached_property
    def out_size(self) -> Ints:
        """(OH, OW): how many windows fit along each axis."""
        sizes = zip(self.padded_size, self.span, self.stride, strict=True)
        return tuple([(padded - span) // s + 1 for padded, span, s in sizes])

    @cached_property
    def x_shape(self) -> Ints:
        """(N, C, H, W)."""
        return (self.batch, self.in_channels, *self.size)

    @cached_property
    def w_shape(self) -> Ints:
        """(F, C/groups, KH, KW)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @cached_property
    def y_shape(self) -> Ints:
        """(N, F, OH, OW)."""
        return (self.batch, self.out_channels, *self.out_size)


@lru_cache(maxsize=4096)
def _conv_geometry(
    x_shape: Ints,
    w_shape: Ints,
    b_shape: Ints | None,
    stride: Ints,
    padding: str | Pairs,
    dilation: Ints,
    groups: int,
    function: str,
) -> ConvGeometry:
    dims = len(stride)
    _check_rank(function, "x", x_shape, ("N", "C"), dims)
    _check_rank(function, "weight", w_shape, ("F", "C/groups"), dims)
    x_shape, w_shape = tuple(map(int, x_shape)), tuple(map(int, w_shape))
    shapes = f"x {x_shape}, weight {w_shape}"
    batch, channels, *size = x_shape
    features, group_channels, *kernel = w_shape
    for name, values in (("stride", stride), ("dilation", dilation), ("groups", (groups,))):
        _at_least(function, name, values, 1)
    if min(x_shape[1:]) < 1:
        raise ValueError(f"{function}: x expects no empty axis but the batch, got {x_shape}")
    if min(w_shape) < 1:
        raise ValueError(f"{function}: weight expects no empty axis, got {w_shape}")
    if group_channels * groups != channels:
        raise ValueError(
            f"{function}: weight expects {group_channels * groups} input channels "
            f"(groups={groups}), x has {channels}: {shapes}"
        )
    if features % groups:
        raise ValueError(
            f"{function}: groups={groups} does not divide the {features} output channels: {shapes}"
        )
    if b_shape is not None and b_shape != (features,):
        raise ValueError(f"{function}: bias expects shape ({features},), got {b_shape}: {shapes}")
    pairs = _conv_padding(function, padding, kernel, stride, dilation)
    geometry = ConvGeometry(
        batch,
        channels,
        features,
        tuple(size),
        tuple(kernel),
        stride,
        pairs,
        dilation,
        groups,
    )
    if any(span > padded for span, padded in zip(geometry.span, geometry.padded_size, strict=True)):
        raise ValueError(
            f"{function}: kernel {geometry.kernel} with dilation {dilation} spans {geometry.span}, "
            f"more than the padded input {geometry.padded_size}: {shapes}, padding {padding}"
        )
    return geometry


@lru_cache(maxsize=4096)
def _transposed_geometry(
    x_shape: Ints,
    w_shape: Ints,
    b_shape: Ints | None,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    groups: int,
    dilation: Ints,
    function: str,
) -> ConvGeometry:
    dims = len(stride)
    _check_rank(function, "x", x_shape, ("N", "C"), dims)
    _check_rank(function, "weight", w_shape, ("C", "F/groups"), dims)
    batch, channels, *size = map(int, x_shape)
    w_channels, group_features, *kernel = map(int, w_shape)
    shapes = f"x {x_shape}, weight {w_shape}"
    for name, values, minimum in (
        ("stride", stride, 1),
        ("dilation", dilation, 1),
        ("groups", (groups,), 1),
        ("padding", padding, 0),
        ("output_padding", output_padding, 0),
    ):
        _at_least(function, name, values, minimum)
    if min(x_shape[1:]) < 1:
        raise ValueError(f"{function}: x expects no empty axis but the batch, got {x_shape}")
    if min(w_shape) < 1:
        raise ValueError(f"{function}: weight expects no empty axis, got {w_shape}")
    if w_channels != channels:
        raise ValueError(
            f"{function}: weight expects {w_channels} input channels, x has {channels}: {shapes}"
        )
    if channels % groups:
        raise ValueError(
            f"{function}: groups={groups} does not divide the {channels} input channels: {shapes}"
        )
    features = group_features * groups
    if b_shape is not None and b_shape != (features,):
        raise ValueError(f"{function}: bias expects shape ({features},), got {b_shape}: {shapes}")
    axes = list(zip(size, kernel, stride, padding, output_padding, dilation, strict=True))
    if any(R >= S and R >= D for _, _, S, _, R, D in axes):
        raise ValueError(
            f"{function}: output_padding expects less than stride {stride} or dilation {dilation}, "
            f"got {output_padding}"
        )
    out_size = tuple(
        [(H - 1) * S - 2 * P + window_span(K, D) + R for H, K, S, P, R, D in axes],
    )
    if min(out_size) < 1:
        raise ValueError(
            f"{function}: padding {padding} leaves an output of size {out_size}: {shapes}"
        )
    # R rows left over are less than S, or one more window would fit: it is kept out from behind.
    pairs = tuple([(P, P - R // S * S) for _, _, S, P, R, _ in axes])
    return ConvGeometry(
        batch, features, channels, out_size, tuple(kernel), stride, pairs, dilation, groups
    )


@lru_cache(maxsize=4096)
def _windows_geometry(
    x_shape: Ints,
    kernel: Ints,
    dilation: Ints,
    padding: Ints,
    stride: Ints,
    function: str,
) -> ConvGeometry:
    for name, values, minimum in (
        ("kernel_size", kernel, 1),
        ("dilation", dilation, 1),
        ("padding", padding, 0),
        ("stride", stride, 1),
    ):
        _at_least(function, name, values, minimum)
    batch, channels, *size = x_shape
    if min(x_shape[1:]) < 1:
        raise ValueError(f"{function}: x expects no empty axis but the batch, got {x_shape}")
    pairs = tuple([(p, p) for p in padding])
    geometry = ConvGeometry(batch, channels, 1, tuple(size), kernel, stride, pairs, dilation, 1)
    if min(geometry.out_size) < 1:
        raise ValueError(
            f"{function}: kernel_size {kernel} with dilation {dilation} spans {geometry.span}, "
            f"more than the padded input {geometry.padded_size}: x {x_shape}, padding {padding}"
        )
    return geometry


def _conv_padding(
    function: str, padding: str | Pairs, kernel: Sequence[int], stride: Ints, dilation: Ints
) -> Pairs:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if max(stride) > 1:
            raise ValueError(f"{function}: padding='same' expects stride 1, got stride {stride}")
        totals = [window_span(k, d) - 1 for k, d in zip(kernel, dilation, strict=True)]
        return tuple([(total // 2, total - total // 2) for total in totals])
    assert not isinstance(padding, str)
    _at_least(function, "padding", tuple([p for pair in padding for p in pair]), 0)
    return padding


# Pooling


class PoolGeometry(_Frozen):
    """Where each output of a pooling looks: h = i*S + p*D - P for p = 0 .. KH-1, inside 0 .. H-1.

    With `ceil_mode` a window may hang over the end of the padded input, but none begins in the
    padding behind it. Made by `of`, which checks it.
    """

    size: Ints
    kernel: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    ceil_mode: bool

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        function: str = "max_pool2d",
    ) -> PoolGeometry:
        """The checked geometry of pooling x (N, C, *size).

        Args:
            kernel_size, stride, dilation: a positive integer, or one for each spatial axis;
                stride None (or empty) means the kernel's size.
            padding: at most half the kernel, on both sides.
            ceil_mode: round the number of windows up instead of down.
            function: the name that error messages begin with.

        Raises:
            ValueError: shapes or options that no pooling has.
            TypeError: an option that is not an integer, a `ceil_mode` that is not a bool.
        """
        dims = _spatial_dims(function, x_shape)
        kernel = _per_axis(function, "kernel_size", kernel_size, dims)
        if stride is None or (isinstance(stride, (tuple, list)) and not stride):
            stride = kernel
        if ceil_mode is not True and ceil_mode is not False:
            raise TypeError(f"{function}: ceil_mode expects True or False, got {ceil_mode!r}")
        return _pool_geometry(
            tuple(x_shape),
            kernel,
            _per_axis(function, "stride", stride, dims),
            _per_axis(function, "padding", padding, dims),
            _per_axis(function, "dilation", dilation, dims),
            ceil_mode,
            function,
        )

    @cached_property
    def span(self) -> Ints:
        """Inputs from the first tap of a window to its last, along each axis: D*(K-1) + 1."""
        return tuple(map(window_span, self.kernel, self.dilation))

    @cached_property
    def out_size(self) -> Ints:
        """(OH, OW): how many windows there are along each axis."""
        return tuple([self._windows(axis) for axis in range(len(self.size))])

    def positions(self, taps: Any, xp: Any) -> Any:
        """h*W + k of the pixel under tap t = p*KW + q of each window: int64 like taps (N,C,OH,OW).

        Taps are integers in an array of the module xp, NumPy or one like it.
        """
        numbers, rest = 0, taps.astype(xp.int64)
        for axis, K in enumerate(self.kernel):
            behind = prod(self.kernel[axis + 1 :])
            begin = xp.arange(self.out_size[axis]) * self.stride[axis] - self.padding[axis]
            begin = begin.reshape(-1, *[1] * (len(self.kernel) - 1 - axis))
            place = begin + rest // behind % K * self.dilation[axis]
            numbers = numbers * self.size[axis] + place
        return numbers

    def _windows(self, axis: int) -> int:
        size, padding, stride = self.size[axis], self.padding[axis], self.stride[axis]
        room = size + 2 * padding - self.span[axis]
        if not self.ceil_mode:
            return room // stride + 1
        windows = -(-room // stride) + 1
        # The last window must begin inside the input or the padding before it: one that begins
        # behind the input would see nothing.
        if (windows - 1) * stride >= size + padding:
            windows -= 1
        return windows


@lru_cache(maxsize=4096)
def _pool_geometry(
    x_shape: Ints,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
    function: str,
) -> PoolGeometry:
    _check_rank(function, "x", x_shape, ("N", "C"), len(kernel))
    x_shape = tuple(map(int, x_shape))
    for name, values in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        _at_least(function, name, values, 1)
    _at_least(function, "padding", padding, 0)
    if min(x_shape[1:]) < 1:
        raise ValueError(f"{function}: x expects no empty axis but the batch, got {x_shape}")
    geometry = PoolGeometry(x_shape[2:], kernel, stride, padding, dilation, ceil_mode)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"{function}: padding expects at most half of kernel_size {kernel}, got {padding}: "
            f"dilation {dilation}"
        )
    if min(geometry.out_size) < 1:
        padded = tuple([h + 2 * p for h, p in zip(geometry.size, padding, strict=True)])
        raise ValueError(
            f"{function}: kernel_size {kernel} with dilation {dilation} spans {geometry.span}, "
            f"more than the padded input {padded}: x {x_shape}, padding {padding}"
        )
    # Dilation can step over the whole input: taps at -1 and 1 around an input of one pixel.
    for axis, size in enumerate(geometry.size):
        taps = range(-padding[axis], geometry.span[axis] - padding[axis], dilation[axis])
        if not any(0 <= tap < size for tap in taps):
            raise ValueError(
                f"{function}: the first window reads nothing but padding: x {x_shape}, "
                f"kernel_size {kernel}, dilation {dilation}, padding {padding}"
            )
    return geometry


# Unpooling


def unpool_out_size(
    x_shape: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    out_size: Any = None,
    function: str = "max_unpool2d",
) -> Ints:
    """The checked output size of unpooling: (OH - 1)*S + KH - 2*P, or `out_size`.

    Args:
        x_shape: of what was pooled, (N, C, OH, OW).
        kernel_size, stride, padding: as in `PoolGeometry.of`.
        out_size: (H, W), or (N, C, H, W), of which the first two are not looked at; less than a
            stride from the formula's.

    Raises:
        ValueError: shapes or options that no pooling has, a size that such a pooling has not.
        TypeError: an option that is not an integer.
    """
    dims = _spatial_dims(function, x_shape)
    _check_rank(function, "x", tuple(x_shape), ("N", "C"), dims)
    if min(x_shape[1:]) < 1:
        raise ValueError(f"{function}: x expects no empty axis but the batch, got {tuple(x_shape)}")
    kernel = _per_axis(function, "kernel_size", kernel_size, dims)
    strides = kernel if stride is None else _per_axis(function, "stride", stride, dims)
    paddings = _per_axis(function, "padding", padding, dims)
    _at_least(function, "kernel_size", kernel, 1)
    _at_least(function, "stride", strides, 1)
    _at_least(function, "padding", paddings, 0)
    axes = zip(x_shape[2:], kernel, strides, paddings, strict=True)
    usual = tuple([(OH - 1) * S + K - 2 * P for OH, K, S, P in axes])
    sizes = usual
    if out_size is not None:
        wanted = f"a tuple of {dims} integers, or of {dims + 2}"
        if not isinstance(out_size, (tuple, list)) or len(out_size) not in (dims, dims + 2):
            raise ValueError(f"{function}: output_size expects {wanted}, got {out_size!r}")
        sizes = _per_axis(function, "output_size", tuple(out_size[-dims:]), dims)
    if any(abs(H - U) >= S for H, U, S in zip(sizes, usual, strides, strict=True)):
        raise ValueError(
            f"{function}: output_size expects less than a stride {strides} from {usual}, got "
            f"{sizes}: x {tuple(x_shape)}, kernel_size {kernel}, padding {paddings}"
        )
    _at_least(function, "output_size", sizes, 1)
    return sizes


# Adaptive pooling


def adaptive_out_size(
    x_shape: Sequence[int], out_size: Any, function: str = "adaptive_avg_pool2d"
) -> Ints:
    """The checked output size of adaptive pooling; None keeps the input's size along that axis.

    Raises:
        ValueError: x has the wrong rank or an empty spatial axis, or a size is not positive.
        TypeError: a size that is neither an integer nor None.
    """
    dims = _spatial_dims(function, x_shape)
    _check_rank(function, "x", tuple(x_shape), ("N", "C"), dims)
    if min(x_shape[1:]) < 1:
        raise ValueError(f"{function}: x expects no empty axis but the batch, got {tuple(x_shape)}")
    if out_size is None:
        out_size = (None,) * dims
    if isinstance(out_size, (tuple, list)) and len(out_size) == dims:
        out_size = [h if o is None else o for o, h in zip(out_size, x_shape[2:], strict=True)]
    sizes = _per_axis(function, "output_size", out_size, dims)
    _at_least(function, "output_size", sizes, 1)
    return sizes


class AdaptiveGeometry(_Frozen):
    """Windows that follow from the two sizes along each axis: see `adaptive_windows`."""

    size: Ints
    out_size: Ints


@lru_cache(maxsize=1024)
def adaptive_windows(size: int, out_size: int) -> Pairs:
    """The (start, stop) of each window along one axis: floor(i*H/OH) to ceil((i+1)*H/OH).

    Neighbours overlap by at most one input where OH does not divide H.
    """
    return tuple([(i * size // out_size, -(-(i + 1) * size // out_size)) for i in range(out_size)])


# Receptive field


class ReceptiveField(_Frozen):
    """What one unit, deep in a network, sees of the network's input, along each spatial axis.

    Unit i of a layer sees the `size` inputs that begin at start + i*jump. The empty network is
    size 1, jump 1, start 0, and a layer with kernel K, stride S, padding P_lo and dilation D behind
    it makes, because its output i reads its inputs i*S + p*D - P_lo:

        size'  = size + D*(K-1) * jump
        start' = start - P_lo * jump
        jump'  = S * jump
    """

    size: Ints
    jump: Ints
    start: Ints

    @classmethod
    def input(cls, dims: int = 2) -> ReceptiveField:
        """The field of the input itself: each pixel sees itself."""
        return cls((1,) * dims, (1,) * dims, (0,) * dims)

    def then(self, geometry: ConvGeometry | PoolGeometry) -> ReceptiveField:
        """The field behind one more layer."""
        lows = [p if isinstance(p, int) else p[0] for p in geometry.padding]
        return ReceptiveField(
            tuple(
                [
                    r + (s - 1) * j
                    for r, s, j in zip(self.size, geometry.span, self.jump, strict=True)
                ]
            ),
            tuple([j * s for j, s in zip(self.jump, geometry.stride, strict=True)]),
            tuple([a - p * j for a, p, j in zip(self.start, lows, self.jump, strict=True)]),
        )
