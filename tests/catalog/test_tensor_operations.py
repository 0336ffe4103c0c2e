"""The catalog's tensor operations are complete: functions, methods, and what tutorials name."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import minicnn
from minicnn import catalog
from minicnn.functional import methods

FAMILIES = (
    "arithmetic", "arrange", "choice", "compare", "creation", "cumulative", "diagonals",
    "embedding", "exponential", "index", "inverse_erf", "linear", "order", "reduce",
    "rounding", "shape", "trigonometry",
)  # fmt: skip

# Every tensor operation that code for convolutional networks is expected to find.
EXPECTED = [
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "exp",
    "log",
    "log1p",
    "expm1",
    "sqrt",
    "rsqrt",
    "square",
    "reciprocal",
    "sin",
    "cos",
    "erf",
    "sign",
    "floor",
    "ceil",
    "round",
    "maximum",
    "minimum",
    "clamp",
    "where",
    "abs",
    "sum",
    "mean",
    "prod",
    "var",
    "std",
    "var_mean",
    "amax",
    "amin",
    "max",
    "min",
    "argmax",
    "argmin",
    "logsumexp",
    "cumsum",
    "topk",
    "sort",
    "norm",
    "matmul",
    "mm",
    "bmm",
    "mv",
    "dot",
    "outer",
    "einsum",
    "addmm",
    "baddbmm",
    "cat",
    "stack",
    "split",
    "chunk",
    "unbind",
    "reshape",
    "view",
    "view_as",
    "flatten",
    "unflatten",
    "permute",
    "transpose",
    "t",
    "squeeze",
    "unsqueeze",
    "expand",
    "expand_as",
    "repeat",
    "tile",
    "roll",
    "flip",
    "narrow",
    "movedim",
    "broadcast_to",
    "gather",
    "scatter_add",
    "index_select",
    "masked_fill",
    "tril",
    "triu",
    "one_hot",
    "embedding",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "isnan",
    "isfinite",
    "allclose",
    "tensor",
    "zeros",
    "ones",
    "full",
    "empty",
    "arange",
    "linspace",
    "eye",
    "rand",
    "randn",
    "randint",
    "randperm",
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "rand_like",
    "randn_like",
    "randint_like",
    "from_numpy",
]


def public(family):
    module = importlib.import_module(f"minicnn.functional.{family}")
    return set(module.__all__)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_function_of_the_family_is_entered(family):
    missing = public(family) - catalog.ops().keys()
    assert not missing, sorted(missing)


def test_every_method_is_entered():
    known = catalog.ops().keys()
    named = {n for family in FAMILIES for n in methods.METHODS.get(family, "").split()}
    own = {name for name in dir(minicnn.Tensor) if name[0] != "_"}
    beside = {
        name
        for name in own - named
        if getattr(getattr(minicnn.Tensor, name), "__module__", "") == methods.__name__
        and not name.endswith("_")
    }
    beside -= {"cuda", "pin_memory", "is_pinned"}  # want a GPU
    missing = {n for n in named | beside if n not in known and f"Tensor.{n}" not in known}
    assert not missing, sorted(missing)


def test_what_writes_in_place_is_entered_or_made_from_a_table():
    made = {f"{n}_" for names in methods.IN_PLACE.values() for n in names.split()}
    views = {"squeeze_", "unsqueeze_", "transpose_", "swapaxes_", "swapdims_", "t_"}
    others = {"detach_", "requires_grad_"}  # of the graph, not of the numbers
    others |= {"relu_"}  # has a Function of its own, which writes over its tensor: test_inplace
    written = {n for n in dir(minicnn.Tensor) if n.endswith("_") and not n.startswith("_")}
    assert not written - made - views - others - catalog.ops().keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_expected_names_exist(name):
    places = (minicnn, minicnn.nn.functional, minicnn.Tensor)
    assert any(callable(getattr(place, name, None)) for place in places)


FUNCTIONS_ALONE = {
    "arange", "cat", "einsum", "embedding", "empty", "empty_like", "eye", "from_numpy", "full",
    "full_like", "linspace", "one_hot", "ones", "ones_like", "rand", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm", "stack", "tensor", "var_mean", "where",
    "zeros", "zeros_like",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - FUNCTIONS_ALONE))
def test_expected_methods_exist(name):
    assert callable(getattr(minicnn.Tensor, name))


def test_no_operation_refuses_as_not_implemented():
    """NotImplementedError stands in the base class's defaults, and nowhere in these families."""
    folder = Path(minicnn.__file__).parent / "functional"
    for family in FAMILIES:
        names = {
            node.id
            for node in ast.walk(ast.parse((folder / f"{family}.py").read_text(encoding="utf-8")))
            if isinstance(node, ast.Name)
        }
        assert "NotImplementedError" not in names, family
