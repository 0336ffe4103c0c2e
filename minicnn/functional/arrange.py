"""Arranging: parts put side by side, turned, and cut again, by the operations of shape.py.

Nothing here is a Function of its own: each is made of cat, flip, transpose and slices, and so its
gradient is theirs, the numbers carried back to where they came from.
"""

from __future__ import annotations

from typing import Any

from .shape import (
    axes_of,
    axis_of,
    broadcast_to,
    cat,
    check_tensors,
    expand,
    flatten,
    flip,
    narrow,
    reshape,
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
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "meshgrid",
    "rot90",
    "row_stack",
    "tensor_split",
    "vsplit",
    "vstack",
]

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
