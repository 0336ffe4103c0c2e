"""Arranging: parts repeated, turned, put side by side, and cut again.

All but flip is made of the operations of shape.py, cat, expand, transpose and slices; and so its
gradient is theirs, the numbers carried back to where they came from, and those of several copies
added.

By hand: x = (1, 2, 3) flipped is (3, 2, 1), and grad_y = (10, 20, 30) comes back as (30, 20, 10).
Repeated twice it is (1, 2, 3, 1, 2, 3), and grad_y = (1, 2, 3, 10, 20, 30) comes back as
(11, 22, 33).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .operands import raw, wrapped
from .shape import (
    Expand,
    Reshape,
    axes_of,
    axis_of,
    broadcast_to,
    cat,
    check_tensors,
    clone,
    expand,
    flatten,
    narrow,
    part_of,
    reshape,
    sizes_of,
    split,
    stack,
    transpose,
    unsqueeze,
)

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "cartesian_prod",
    "column_stack",
    "dsplit",
    "dstack",
    "flip",
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "meshgrid",
    "repeat",
    "repeat_interleave",
    "roll",
    "rot90",
    "row_stack",
    "tensor_split",
    "tile",
    "vsplit",
    "vstack",
]

# ---------------------------------------------------------------------- repeated


def repeat(input: Any, *repeats: Any) -> Any:
    """Copies of the whole tensor side by side: size i of the result is repeats[i] * size i.

    `repeats` may be longer than the shape (new dimensions in front), not shorter: RuntimeError.
    """
    counts = sizes_of("repeat", repeats)
    lead = len(counts) - input.ndim
    if lead < 0:
        raise RuntimeError(
            f"repeat: repeats expects at least {input.ndim} numbers for a tensor of shape "
            f"{tuple(input.shape)}, got {counts}"
        )
    shape = (1,) * lead + tuple(input.shape)
    pairs = list(zip(counts, shape, strict=True))
    split_up = Reshape.apply(input, shape=tuple([m for n in shape for m in (1, n)]))
    grown = Expand.apply(split_up, shape=tuple([m for pair in pairs for m in pair]))
    return clone(Reshape.apply(grown, shape=tuple([r * n for r, n in pairs])))


def tile(input: Any, *counts: Any, dims: Any = None) -> Any:
    """As `repeat`, but fewer counts than dimensions are filled with ones in front."""
    counts = sizes_of("tile", counts, dims)
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Each element `repeats` times in a row, along `dim` or over all elements in one dimension.

    repeats: a number, or a vector with one for each element. Of a vector of repeats alone: each
    place as often as it says. `output_size` saves PyTorch a step and is accepted. RuntimeError for
    a negative number, or a vector of another length.
    """
    if repeats is None:
        places = backend.array_module(raw(input)).arange(input.shape[0])
        return repeat_interleave(wrapped(places, input), input)
    if dim is None:
        input, dim = flatten(input), 0
    axis = axis_of("repeat_interleave", dim, input.ndim)
    shape = tuple(input.shape)
    # On the CPU: the shape of the result depends on them.
    counts = np.atleast_1d(backend.to_numpy(raw(repeats)))
    if counts.ndim > 1 or len(counts) not in (1, shape[axis]) or (counts < 0).any():
        raise RuntimeError(
            f"repeat_interleave: repeats expects a number, or {shape[axis]} of them, none "
            f"negative, got {counts.tolist()}"
        )
    if len(counts) != 1:
        from .index import index_select

        return index_select(input, axis, np.repeat(np.arange(shape[axis]), counts))
    n = int(counts[0])
    y = Expand.apply(unsqueeze(input, axis + 1), shape=(*shape[: axis + 1], n, *shape[axis + 1 :]))
    return clone(Reshape.apply(y, shape=(*shape[:axis], shape[axis] * n, *shape[axis + 1 :])))


# ---------------------------------------------------------------------- side by side


def _each(function: Any, tensors: Any) -> Any:
    """A function of one tensor, of one, several, or a list of tensors."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tensors[0]
    elif len(tensors) == 1:
        return function(tensors[0])
    return tuple([function(x) for x in tensors])


def atleast_1d(*tensors: Any) -> Any:
    """A number as a vector of one element; others as they are. Of several tensors: a tuple."""
    return _each(lambda x: x if x.ndim else reshape(x, (1,)), tensors)


def atleast_2d(*tensors: Any) -> Any:
    """A vector (n) as (1, n); tensors of two or more dimensions as they are."""
    return _each(lambda x: x if x.ndim > 1 else reshape(x, (1, -1)), tensors)


def atleast_3d(*tensors: Any) -> Any:
    """A vector (n) as (1, n, 1), a matrix (n, m) as (n, m, 1); others as they are."""

    def grow(x: Any) -> Any:
        if x.ndim < 2:
            return reshape(x, (1, -1, 1))
        return x if x.ndim > 2 else unsqueeze(x, -1)

    return _each(grow, tensors)


def _parts(function: str, tensors: Any) -> list[Any]:
    parts = list(tensors)
    check_tensors(function, *parts)
    if not parts:
        raise RuntimeError(f"{function}: expects at least one tensor, got none")
    return parts


def hstack(tensors: Any) -> Any:
    """Tensors side by side: along dimension 1, vectors along 0."""
    parts = [atleast_1d(x) for x in _parts("hstack", tensors)]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Any) -> Any:
    """Tensors on top of each other, along dimension 0; vectors are rows."""
    return cat([atleast_2d(x) for x in _parts("vstack", tensors)], 0)


row_stack = vstack


def dstack(tensors: Any) -> Any:
    """Tensors behind each other, along dimension 2; matrices are (n, m, 1), vectors (1, n, 1)."""
    return cat([atleast_3d(x) for x in _parts("dstack", tensors)], 2)


def column_stack(tensors: Any) -> Any:
    """As `hstack`, but vectors are columns."""
    parts = _parts("column_stack", tensors)
    return hstack([x if x.ndim > 1 else reshape(x, (-1, 1)) for x in parts])


# ---------------------------------------------------------------------- turned


class Flip(Function):
    """y[i] = x[n-1-i] along dims;  grad_x[i] = grad_y[n-1-i]."""

    def forward(self, x: Any, *, dims: tuple[int, ...]) -> Any:
        self.dims = dims
        return np.flip(x, dims).copy()

    def backward(self, grad_y: Any) -> Any:
        return Flip.apply(grad_y, dims=self.dims)


def flip(input: Any, *axes: Any, dims: Any = None) -> Any:
    """The order along `dims` reversed. A copy."""
    chosen = sizes_of("flip", axes, dims)
    axes = axes_of("flip", chosen, input.ndim) if chosen else ()
    return Flip.apply(input, dims=axes)


def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """Elements moved on by `shifts` along `dims`; what leaves at the end comes in at the front.

    Without `dims`, all elements in one row are shifted.
    """
    if dims is None:
        return reshape(roll(flatten(input), shifts, 0), tuple(input.shape))
    shifts = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(shifts) != len(dims):
        raise RuntimeError(f"roll: shifts and dims expect one length, got {shifts} and {dims}")
    for shift, dim in zip(shifts, dims, strict=True):
        if input.ndim == 0:
            raise IndexError(f"roll: a tensor without dimensions has no dimension {dim}")
        axis = axis_of("roll", dim, input.ndim)
        cut = (-shift) % max(input.shape[axis], 1)
        input = cat([part_of(input, axis, cut, None), part_of(input, axis, None, cut)], axis)
    return input


def fliplr(input: Any) -> Any:
    """Dimension 1 reversed: left and right exchanged. RuntimeError for fewer than 2 dimensions."""
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: expects at least 2 dimensions, got shape {input.shape}")
    return flip(input, 1)


def flipud(input: Any) -> Any:
    """Dimension 0 reversed: up and down exchanged. RuntimeError for no dimension."""
    if input.ndim < 1:
        raise RuntimeError("flipud: expects at least one dimension, got shape ()")
    return flip(input, 0)


def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """Turned by k quarters, from the first of two `dims` towards the second. A copy.

    RuntimeError unless dims are two different dimensions.
    """
    if len(dims) != 2 or input.ndim < 2:
        raise RuntimeError(
            f"rot90: expects two dims of a tensor of two or more, got {dims}, shape {input.shape}"
        )
    a, b = axes_of("rot90", tuple(dims), input.ndim)
    if k % 4 == 0:
        return flip(input, ())
    if k % 4 == 2:
        return flip(input, (a, b))
    return transpose(flip(input, b), a, b) if k % 4 == 1 else flip(transpose(input, a, b), b)


# ---------------------------------------------------------------------- cut


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Parts along `dim`: so many (the first ones larger by one if need be), or cut at indices.

    Views. RuntimeError for a number of parts below 1.
    """
    axis = axis_of("tensor_split", dim, input.ndim)
    if input.ndim == 0:
        raise RuntimeError("tensor_split: expects at least one dimension, got shape ()")
    size = input.shape[axis]
    given = indices_or_sections
    given = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(given, int):
        if given < 1:
            raise RuntimeError(f"tensor_split: expects at least 1 part, got {given}")
        least, more = divmod(size, given)
        return split(input, [least + 1] * more + [least] * (given - more), axis)
    cuts = [0, *[slice(0, k).indices(size)[1] for k in given], size]
    return tuple(
        [narrow(input, axis, lo, max(cuts[k + 1] - lo, 0)) for k, lo in enumerate(cuts[:-1])]
    )


def _split_along(function: str, input: Any, parts: Any, axis: int, least: int) -> tuple[Any, ...]:
    if input.ndim < least:
        raise RuntimeError(
            f"{function}: expects at least {least} dimensions, got shape {tuple(input.shape)}"
        )
    if isinstance(parts, int) and (parts < 1 or input.shape[axis] % parts):
        raise RuntimeError(
            f"{function}: dimension {axis}, of size {input.shape[axis]}, does not split into "
            f"{parts} equal parts"
        )
    return tensor_split(input, parts, axis)


def hsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Equal parts, or parts cut at indices, along dimension 1; of a vector along 0."""
    return _split_along("hsplit", input, indices_or_sections, min(max(input.ndim - 1, 0), 1), 1)


def vsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Equal parts, or parts cut at indices, along dimension 0."""
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Equal parts, or parts cut at indices, along dimension 2."""
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


# ---------------------------------------------------------------------- grids


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Coordinates of a grid: one tensor for each vector, of the shape of all their lengths. Views.

    indexing: "ij", the first vector runs along the first dimension, or "xy", along the second.
    RuntimeError for another one, for tensors of more than one dimension or of different types.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing expects 'ij' or 'xy', got {indexing!r}")
    if any(x.ndim > 1 for x in tensors) or len({x.dtype for x in tensors}) > 1:
        got = ", ".join([f"{x.dtype} {tuple(x.shape)}" for x in tensors])
        raise RuntimeError(f"meshgrid: expects vectors of one type, got {got}")
    vectors = [atleast_1d(x) for x in tensors]
    turned = indexing == "xy" and len(vectors) > 1
    if turned:
        vectors[:2] = vectors[1::-1]
    shape = tuple([x.shape[0] for x in vectors])
    grids = [
        broadcast_to(reshape(x, (-1,) + (1,) * (len(shape) - 1 - i)), shape)
        for i, x in enumerate(vectors)
    ]
    if turned:
        grids[:2] = grids[1::-1]
    return tuple(grids)


def cartesian_prod(*tensors: Any) -> Any:
    """Every choice of one element from each vector, a row each; of one vector itself."""
    if len(tensors) == 1:
        return tensors[0]
    grids = meshgrid(*tensors)
    return stack([flatten(expand(g, g.shape)) for g in grids], 1)
