"""Every numbered formula of a derivation has a test that evaluates it and compares with the code.

Formula (4) in the docstring of functional/conv.py is tested in tests/formulas/test_conv.py, by a
function whose name begins with test_4. So a formula that is added, or numbered anew, is missed here
until somebody checks it.
"""

import ast
import re
from pathlib import Path

import pytest

import minicnn

HERE = Path(__file__).parent
FUNCTIONAL = Path(minicnn.__file__).parent / "functional"


def formulas(path):
    """The numbers of the formulas displayed in a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return {int(n) for n in re.findall(r"^\((\d+)\) ", text, re.MULTILINE)}


def carried(path):
    """The numbers that the names of a test file's functions carry: test_3_and_4 carries 3 and 4."""
    if not path.exists():
        return set()
    names = re.findall(r"^def test((?:_(?:and_)?\d+)+)", path.read_text(encoding="utf-8"), re.M)
    return {int(n) for name in names for n in re.findall(r"\d+", name)}


FAMILIES = [path.stem for path in sorted(FUNCTIONAL.glob("*.py")) if formulas(path)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_formula_is_evaluated(family):
    shown = formulas(FUNCTIONAL / f"{family}.py")
    missing = shown - carried(HERE / f"test_{family}.py")
    assert not missing, f"formulas of functional/{family}.py without a test: {sorted(missing)}"
