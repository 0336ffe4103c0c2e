"""What `export` was given, looked at before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..backend import arrays as backend

OPSETS = (17, 21)  # the oldest and the newest version of ONNX's operators that is written

Axes = Mapping[str, Any]


def need_onnx(function: str) -> None:
    """ImportError, which says what to install, where onnx is not."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError(f"onnx.{function} needs the package onnx: pip install onnx") from None


def opset_of(version: Any) -> int:
    """The version of the operators; None is the oldest, which most programs read."""
    if version is None:
        return OPSETS[0]
    if type(version) is not int or not OPSETS[0] <= version <= OPSETS[1]:
        raise ValueError(
            f"onnx.export: opset_version expects {OPSETS[0]} to {OPSETS[1]}, got {version!r}"
        )
    return version


def target(f: Any) -> Any:
    """The open file, or the Path, that `f` is. OSError for a folder, or a path in none."""
    if hasattr(f, "write"):
        return f
    if not isinstance(f, (str, os.PathLike)):
        raise TypeError(f"onnx.export: f expects a path or a file, got {type(f).__name__}")
    path = Path(f)
    if path.is_dir():
        raise IsADirectoryError(f"onnx.export: {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"onnx.export: there is no folder {path.parent}")
    return path


def metadata_of(metadata: Any) -> dict[str, str]:
    """Strings by name."""
    kept = {} if metadata is None else metadata
    if not isinstance(kept, Mapping) or not all(
        isinstance(x, str) for p in kept.items() for x in p
    ):
        raise TypeError(f"onnx.export: metadata expects strings by name, got {metadata!r}")
    return dict(kept)


def samples_of(args: Any) -> list[Any]:
    """The arrays of the inputs."""
    samples = [_array(x) for x in (args if isinstance(args, (tuple, list)) else (args,))]
    if not samples:
        raise ValueError("onnx.export: args expects an input or more, got none")
    return samples


def _array(x: Any) -> Any:
    array = getattr(x, "array", x)
    if not backend.is_array(array):
        raise TypeError(f"onnx.export: args expects Tensors or arrays, got {type(x).__name__}")
    return array


def names_of(
    option: str, given: Sequence[str] | None, base: str, count: int, taken: Collection[str]
) -> list[str]:
    """`count` names for inputs or outputs, none of which is `taken`."""
    if given is None:
        names = [base] if count == 1 else [f"{base}_{k + 1}" for k in range(count)]
    else:
        names = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"onnx.export: {option} expects names, got {names}")
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"onnx.export: {option} expects {count} different names, got {names}")
    if clashing := [name for name in names if name in taken]:
        raise ValueError(
            f"onnx.export: {option}: {clashing[0]!r} is the name of another input, parameter or "
            "buffer; choose another one"
        )
    return names


class Symbol:
    """A size that may change: its name, and what it is in the two traces and in the last check."""

    def __init__(self, name: str, sizes: tuple[int, int, int]) -> None:
        self.name, self.sizes = name, sizes


Symbols = dict[tuple[int, int], Symbol]  # by number of the input, and axis


def symbols_of(
    names: list[str], samples: list[Any], axes: Axes | None, outputs: Sequence[str] | None
) -> Symbols:
    """The dynamic axes of all inputs. Each size gets two values that no other one has."""
    if axes is None:
        axes = {name: {0: "batch"} for name, x in zip(names, samples, strict=True) if x.ndim}
    if not isinstance(axes, Mapping):
        raise TypeError(
            f"onnx.export: dynamic_axes expects a dict by name, got {type(axes).__name__}"
        )
    known = {*names, *(outputs or ["output"])}
    if strange := [name for name in axes if name not in known and not name.startswith("output")]:
        raise ValueError(f"onnx.export: dynamic_axes names {strange[0]!r}, there are {names}")
    found: Symbols = {}
    made: dict[str, Symbol] = {}
    for number, (name, x) in enumerate(zip(names, samples, strict=True)):
        for axis, symbol in _axes_of(name, x, axes.get(name, ())).items():
            if symbol not in made:
                made[symbol] = Symbol(symbol, _sizes(x.shape[axis], axis, len(made)))
            found[number, axis] = made[symbol]
    return found


def _axes_of(name: str, x: Any, listed: Any) -> dict[int, str]:
    """The names of the sizes of one input that may change, by axis."""
    if not isinstance(listed, Mapping):
        listed = {axis: f"{name}_axis{axis}" for axis in listed}
    for axis, symbol in listed.items():
        if type(axis) is not int or not -x.ndim <= axis < x.ndim:
            raise ValueError(
                f"onnx.export: dynamic_axes of {name!r} expects axes of {tuple(x.shape)}, "
                f"got {axis!r}"
            )
        if not isinstance(symbol, str) or not symbol:
            raise TypeError(
                f"onnx.export: dynamic_axes of {name!r} expects a name for axis {axis}, "
                f"got {symbol!r}"
            )
    return {axis % x.ndim: symbol for axis, symbol in listed.items()}


def _sizes(size: int, axis: int, count: int) -> tuple[int, int, int]:
    """What a dynamic size is: few samples, and a single one; of an image the size, and a multiple.

    2 and 5 samples, not 2 and 3, whose halves are the same number.
    """
    return (2 + count, 5 + 2 * count, 1) if axis == 0 else (size, size * (2 + count), size)
