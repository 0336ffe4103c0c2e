"""One graph with changing sizes, out of two that were traced with inputs of different sizes.

A trace holds numbers: Reshape to (2, 400). Whether 2 is the batch, and 400 is not, cannot be seen
in one trace. So the network is traced twice, with 2 and with 5 samples (and other values), and what
the traces write is laid side by side:

    2, 400  and  5, 400     the first follows the batch, the second stays
    pads (1, 1) both times  an attribute, which has to be the same

A number that differs is read from the shapes of tensors by the graph itself. Whatever else differs
depends on the input in a way that the trace has not recorded, and is an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import Graph, Node, Sizes, label

Pair = tuple[int, int]


class Merged:
    """The graph. `nodes` have names alone as inputs; `constants` are arrays by name.

    Raises ValueError for what differs and does not follow from sizes.
    """

    def __init__(self, first: Graph, second: Graph, inputs: list[str]) -> None:
        self.first, self.second, self.inputs = first, second, inputs
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._small: dict[Any, str] = {}  # constants of a few bytes, by content
        self._renamed: dict[str, str] = {}
        self._count = 0
        self._take_constants()
        for number, node in enumerate(first.nodes):
            other = second.nodes[number] if number < len(second.nodes) else None
            self._take(node, other)
        if len(second.nodes) > len(first.nodes):
            self._take(second.nodes[len(first.nodes)], None)
        self.outputs = [self._renamed.get(name, name) for name in first.outputs]

    # ------------------------------------------------------------------ constants

    def _take_constants(self) -> None:
        for name, array in self.first.constants.items():
            other = self.second.constants.get(name)
            if other is None or _same(array, other):
                self._keep(name, array)
            elif (
                array.dtype == other.dtype and array.shape != other.shape and _uniform(array, other)
            ):
                sizes = self._read(Sizes(array.shape, ""), Sizes(other.shape, ""), None)
                value = self._constant(array.ravel()[:1].reshape(()))
                self.nodes.append(Node("Expand", name, (value, sizes), (name,), {}, None))
            else:
                self._refuse_constant(name, array, other)

    def _keep(self, name: str, array: np.ndarray) -> None:
        if array.nbytes <= 64 and name not in self.first.parameters:
            key = (array.dtype.str, array.shape, array.tobytes())
            if (same := self._small.setdefault(key, name)) != name:
                self._renamed[name] = same
                return
        self.constants[name] = array

    def _refuse_constant(self, name: str, array: np.ndarray, other: np.ndarray) -> None:
        user = next((node for node in self.first.nodes if name in node.inputs), None)
        what = f"shapes {array.shape} and {other.shape}"
        raise ValueError(
            f"onnx.export: {label(user.call if user else None)} uses a tensor that differs between "
            f"two inputs ({what if array.shape != other.shape else f'shape {array.shape}'}) in a "
            "way that was not recorded: it was computed from the input by NumPy, .item(), .array, "
            "argmax, a comparison or a random number, or from a size that is dynamic"
        )

    def _constant(self, array: np.ndarray) -> str:
        self._count += 1
        name = self.first.fresh(f"size_{self._count}")
        self._keep(name, array)
        return self._renamed.get(name, name)

    # ------------------------------------------------------------------ nodes

    def _take(self, node: Node, other: Node | None) -> None:
        if other is None or (node.op, len(node.inputs)) != (other.op, len(other.inputs)):
            raise ValueError(
                f"onnx.export: for another input the network goes another way: {label(node.call)}; "
                "a graph cannot hold an `if` that looks at the input, nor a loop over a size that "
                "is dynamic"
            )
        for key, value in node.attributes.items():
            if value != other.attributes.get(key):
                raise ValueError(
                    f"onnx.export: {label(node.call)}: its {key} is {value} for one size of the "
                    f"input and {other.attributes.get(key)} for another, so that size cannot be "
                    "dynamic; leave it out of dynamic_axes"
                )
        names = []
        for mine, theirs in zip(node.inputs, other.inputs, strict=True):
            if isinstance(mine, Sizes) and isinstance(theirs, Sizes):
                names.append(self._sizes(node, mine, theirs))
            elif mine == theirs:
                names.append(self._renamed.get(mine, mine))
            else:
                raise ValueError(
                    f"onnx.export: {label(node.call)} works on other tensors when the input is "
                    "another one; a graph cannot hold an `if` that looks at the input"
                )
        self.nodes.append(node._replace(inputs=tuple(names)))

    # ------------------------------------------------------------------ sizes

    def _sizes(self, node: Node, mine: Sizes, theirs: Sizes) -> str:
        """The name of a vector of sizes for Reshape or Expand."""
        if len(mine.values) == len(theirs.values):
            simple = self._simple(node, list(zip(mine.values, theirs.values, strict=True)))
            if simple is not None:
                return self._constant(np.array(simple, np.int64))
        return self._read(mine, theirs, node)

    def _simple(self, node: Node, pairs: list[Pair]) -> list[int] | None:
        """Sizes that are constants, with 0 or 1 (keep the input's) and -1 (what is left)."""
        keep = {"Reshape": 0, "Expand": 1}[node.op]
        own = self._shape(node.inputs[0])
        own = own if node.op == "Reshape" else own[max(len(own) - len(pairs), 0) :]
        shift = 0 if node.op == "Reshape" else len(pairs) - len(own)
        sizes: list[int | None] = []
        for i, (a, b) in enumerate(pairs):
            kept = 0 <= i - shift < len(own) and own[i - shift] == (a, b)
            sizes.append(a if a == b else keep if kept else None)
        if sizes.count(None) == 1 and node.op == "Reshape" and 0 not in [a for a, _ in pairs]:
            sizes[sizes.index(None)] = -1
        return None if None in sizes else [size for size in sizes if size is not None]

    def _shape(self, name: str) -> list[Pair]:
        """The tensor's sizes in both traces; [] for one between the nodes of a mapping."""
        a, b = self.first.shapes.get(name, ()), self.second.shapes.get(name, ())
        return list(zip(a, b, strict=True)) if len(a) == len(b) else []

    def _read(self, mine: Sizes, theirs: Sizes, node: Node | None) -> str:
        """Sizes read from the shapes of tensors while the graph runs."""
        if len(mine.values) != len(theirs.values):
            raise ValueError(
                f"onnx.export: {label(node.call if node else None)} gives {len(mine.values)} axes "
                f"for one input and {len(theirs.values)} for another"
            )
        parts = []
        for pair in zip(mine.values, theirs.values, strict=True):
            if pair[0] == pair[1]:
                parts.append(self._constant(np.array(pair[:1], np.int64)))
                continue
            found = self._find(pair, [mine.of, *self.inputs])
            if found is None:
                raise ValueError(
                    f"onnx.export: {label(node.call if node else None)}: a size is {pair[0]} for "
                    f"one input and {pair[1]} for another, and follows from no size that the graph "
                    "can read; leave that axis out of dynamic_axes"
                )
            parts.append(self._size(*found))
        return parts[0] if len(parts) == 1 else self._add("Concat", *parts, axis=0)

    def _find(self, pair: Pair, names: list[str]) -> tuple[str, int, int] | None:
        """(tensor, axis, factor) such that factor * its size there is the pair."""
        for whole in (True, False):
            for name in names:
                for axis, (a, b) in enumerate(self._shape(name)):
                    factor, rest = divmod(pair[0], a) if a else (0, 1)
                    fits = a != b and not rest and factor * b == pair[1]
                    if fits and (factor == 1 or not whole):
                        return name, axis, factor
        return None

    def _size(self, tensor: str, axis: int, factor: int) -> str:
        shape = self._add("Shape", tensor)
        size = self._add("Gather", shape, self._constant(np.array([axis], np.int64)), axis=0)
        if factor == 1:
            return size
        return self._add("Mul", size, self._constant(np.array([factor], np.int64)))

    def _add(self, op: str, *inputs: str, **attributes: Any) -> str:
        self._count += 1
        name = self.first.fresh(f"size_{self._count}")
        self.nodes.append(Node(op, name, inputs, (name,), attributes, None))
        return name


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a is b:
        return True
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _uniform(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether both consist of one number, the same one."""
    if not a.size or not b.size or a.dtype != b.dtype:
        return False
    return bool((a == a.ravel()[0]).all() and (b == a.ravel()[0]).all())
