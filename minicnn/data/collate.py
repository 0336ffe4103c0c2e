"""Collation: a list of samples becomes one batch, with a new dimension 0."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..autograd.dtypes import get_default_dtype
from ..backend import arrays as backend


def default_collate(batch: Sequence[Any]) -> Any:
    """Stacks samples into a batch, going into tuples, lists and dicts. As in PyTorch:

    - Tensors and arrays of shape S become a Tensor (N, *S) of their dtype, NumPy scalars (N,);
    - Python floats become float64 (N,), ints int64, bools bool;
    - strings and bytes stay a list;
    - a tuple becomes a list of batches, a namedtuple a namedtuple, a list a list, a dict a dict.

    The result shares no memory with the samples and carries no gradient.

    Raises IndexError for an empty batch, RuntimeError for samples of unequal shape or length,
    TypeError for what cannot be collated (None, other objects, arrays of strings).
    """
    if len(batch) == 0:
        raise IndexError("default_collate: the batch is empty")
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack([x.array for x in batch])
    if isinstance(first, np.ndarray):
        return _stack(batch)
    if isinstance(first, (np.number, np.bool_)):
        return Tensor(np.asarray(batch))
    if isinstance(first, (int, float)):
        return Tensor(np.array(batch, dtype=_number_type(batch)))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like_mapping(first, {k: default_collate([x[k] for x in batch]) for k in first})
    if isinstance(first, Sequence):
        return _like_sequence(first, [default_collate(part) for part in _transposed(batch)])
    raise TypeError(_message(type(first)))


def default_convert(data: Any) -> Any:
    """Arrays and NumPy scalars in `data` as Tensors; the rest stays. For batch_size=None."""
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if isinstance(data, (np.ndarray, np.number, np.bool_)):
        array = np.asarray(data)
        return data if array.dtype.kind in "SUO" else Tensor(array)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, Sequence):
        return _like_sequence(data, [default_convert(x) for x in data])
    return data


def pinned(data: Any) -> Any:
    """`data`, a batch of any structure, with its tensors in page-locked memory: DataLoader's
    pin_memory. What has a method `pin_memory` of its own is asked for it."""
    if isinstance(data, (str, bytes)):
        return data
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: pinned(data[key]) for key in data})
    if isinstance(data, tuple) and not hasattr(data, "_fields"):
        return type(data)([pinned(x) for x in data])
    if isinstance(data, Sequence):
        return _like_sequence(data, [pinned(x) for x in data])
    return data


def _stack(arrays: Sequence[Any]) -> Tensor:
    shape = arrays[0].shape
    for k, x in enumerate(arrays):
        if x.shape != shape:
            raise RuntimeError(
                f"default_collate: the samples of a batch should have equal shapes, got {shape} at "
                f"sample 0 and {x.shape} at sample {k}; a collate_fn of your own can pad them"
            )
        if x.dtype.kind in "SUO":
            raise TypeError(_message(f"an array of {x.dtype}"))
    with backend.on_device_of(arrays[0]):
        return Tensor(np.stack(arrays))


def _number_type(batch: Sequence[Any]) -> np.dtype:
    """PyTorch's choice: a first float makes float64; among ints a float makes the default type."""
    if isinstance(batch[0], float):
        return np.dtype(np.float64)
    kinds: set[type] = set()
    for x in batch:
        if not isinstance(x, (int, float)):
            raise TypeError(_message(f"{type(batch[0])} and {type(x)} in one batch"))
        kinds.add(bool if isinstance(x, bool) else int if isinstance(x, int) else float)
    if float in kinds:
        return get_default_dtype()
    return np.dtype(np.bool_ if kinds == {bool} else np.int64)


def _transposed(batch: Sequence[Any]) -> list[tuple]:
    sizes = [len(sample) for sample in batch]
    if len(set(sizes)) > 1:
        k = next(k for k, size in enumerate(sizes) if size != sizes[0])
        raise RuntimeError(
            "default_collate: each element in list of batch should be of equal size, got "
            f"{sizes[0]} at sample 0 and {sizes[k]} at sample {k}"
        )
    return list(zip(*batch, strict=True))


def _like_mapping(model: Mapping, content: dict) -> Any:
    def same_kind() -> Any:
        if isinstance(model, MutableMapping):
            clone = copy.copy(model)  # keeps what the mapping holds besides its items
            clone.update(content)
            return clone
        return type(model)(content)  # type: ignore[call-arg]

    return _or_plain(same_kind, content)


def _like_sequence(model: Sequence, content: list) -> Any:
    def same_kind() -> Any:
        if hasattr(model, "_fields"):  # namedtuple
            return type(model)(*content)
        if isinstance(model, MutableSequence):
            clone = copy.copy(model)
            clone[:] = content
            return clone
        return type(model)(content)  # type: ignore[call-arg]

    plain_tuple = isinstance(model, tuple) and not hasattr(model, "_fields")
    return content if plain_tuple else _or_plain(same_kind, content)


def _or_plain(same_kind: Callable[[], Any], content: Any) -> Any:
    """The samples' own container type where it can be built like a dict or list."""
    try:
        return same_kind()
    except TypeError:
        return content


def _message(found: Any) -> str:
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {found}"
    )
