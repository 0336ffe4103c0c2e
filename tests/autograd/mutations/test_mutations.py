"""A checker that never rejects is worth nothing: known-wrong backwards, every one to be caught.

The other files of this folder hold families of Functions, most of them self-contained, so that
they do not move with the code they resemble. In each family the first class is right and must
pass; its subclasses are mutants, each with one mistake, and must not.

A family says what its inputs are: `shapes` are drawn at random, `positive` ones from 0.5 on,
`distinct` ones far from ties; or `inputs` are given. COVERS names the files of minicnn/functional
whose gradients a file of families resembles.
"""

import importlib.util
import inspect
import zlib
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Function, GradcheckError, Tensor, gradcheck, gradgradcheck

HERE = Path(__file__).parent
FUNCTIONAL = Path(minicnn.__file__).parent / "functional"


def loaded(path):
    spec = importlib.util.spec_from_file_location(f"mutations_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULES = {p.stem: loaded(p) for p in sorted(HERE.glob("*.py")) if p.stem[:5] != "test_"}
# {the right form: its mutants}, and the same for second derivatives
FAMILIES = {}
TWICE = {}
for name, module in MODULES.items():
    for cls in vars(module).values():
        if not inspect.isclass(cls) or cls is Function or not issubclass(cls, Function):
            continue
        families = TWICE if name == "second" else FAMILIES
        if cls.__base__ is Function:
            families[cls] = []
        else:
            families[cls.__base__].append(cls)

MUTANTS = [cls for mutants in FAMILIES.values() for cls in mutants]
MUTANTS_TWICE = [cls for mutants in TWICE.values() for cls in mutants]


def arguments(cls):
    """The inputs of a family, always the same, as tensors that require gradients."""
    arrays = getattr(cls, "inputs", None)
    if arrays is None:
        rng = np.random.default_rng(zlib.crc32(cls.__mro__[-3].__name__.encode()))
        arrays = [rng.standard_normal(shape) for shape in cls.shapes]
        if getattr(cls, "distinct", False):
            arrays = [a.argsort(None).argsort().reshape(a.shape) * 0.2 - 1.1 for a in arrays]
        if getattr(cls, "positive", False):
            arrays = [np.abs(a) + 0.5 for a in arrays]
    return tuple([Tensor(a, requires_grad=True) for a in arrays])


def named(cls):
    return f"{cls.__module__.removeprefix('mutations_')}-{cls.__name__}"


@pytest.mark.parametrize("right", [*FAMILIES, *TWICE], ids=named)
def test_the_right_form_passes(right):
    assert gradcheck(right.apply, arguments(right))


@pytest.mark.parametrize("wrong", MUTANTS, ids=named)
@pytest.mark.slow
def test_every_mutant_is_rejected(wrong):
    seed = zlib.crc32(wrong.__name__.encode())  # a draw of its own, and always the same
    with pytest.raises(GradcheckError, match=r"wrong backward|not deterministic|float32"):
        gradcheck(wrong.apply, arguments(wrong), seed=seed)


@pytest.mark.parametrize("right", TWICE, ids=named)
def test_the_right_second_derivative_passes(right):
    assert gradgradcheck(right.apply, arguments(right))


@pytest.mark.parametrize("wrong", MUTANTS_TWICE, ids=named)
@pytest.mark.slow
def test_every_wrong_second_derivative_is_rejected(wrong):
    """They are plausible: the first derivative is right."""
    assert gradcheck(wrong.apply, arguments(wrong))
    with pytest.raises(GradcheckError, match="wrong backward"):
        gradgradcheck(wrong.apply, arguments(wrong))


def test_there_are_enough_of_them():
    assert len(MUTANTS) >= 240
    assert len(MUTANTS_TWICE) >= 15
    for right, mutants in {**FAMILIES, **TWICE}.items():
        assert mutants, f"{right.__name__} has no mutant"


def test_every_family_of_functions_is_resembled():
    covered = {stem for module in MODULES.values() for stem in module.COVERS}
    files = {p.stem for p in FUNCTIONAL.glob("*.py") if "(Function)" in p.read_text("utf-8")}
    assert files <= covered, f"no mutants for {sorted(files - covered)}"
