"""The rules of the house: who imports whom, what an import may load, and what explains itself."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import minicnn

PACKAGE = Path(minicnn.__file__).parent
FUNCTIONAL = PACKAGE / "functional"

# A room may import those to the left of it in its own row, and itself.
MAY_IMPORT = {
    "version": set(),
    "backend": set(),
    "autograd": {"backend"},
    "functional": {"backend", "autograd"},
    "nn": {"backend", "autograd", "functional"},
    "optim": {"backend", "autograd"},
    "models": {"backend", "autograd", "functional", "nn", "interop", "transforms", "datasets"},
    "interop": {"backend", "autograd"},
    "data": {"backend", "autograd", "functional"},
    "datasets": {"backend", "autograd", "functional", "data", "transforms", "interop"},
    "transforms": {"backend", "autograd", "functional"},
    "utils": {"data", "autograd", "functional", "transforms", "interop"},
    "cuda": {"backend", "autograd"},
    "backends": {"backend"},
    "accelerator": {"autograd", "cuda"},
    "linalg": {"functional"},
}
ON_TOP = {"train", "onnx", "explain", "catalog", "cli", "__main__", "__init__"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that the file imports, absolute, wherever in the file the import stands."""
    package = ["minicnn", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = [*base, *(node.module.split(".") if node.module else [])]
            yield ".".join(start)
            yield from (".".join([*start, alias.name]) for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_arrow_climbs(path):
    here = room(path)
    if here in ON_TOP:
        return
    assert here in MAY_IMPORT, f"{here} is a new room: say here what it may import"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "minicnn" or len(parts) < 2 or parts[1] == here:
            continue
        if parts[1] in MAY_IMPORT or parts[1] in ON_TOP:
            assert parts[1] in MAY_IMPORT[here], f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_other_frameworks_are_never_imported(path):
    heads = {name.split(".")[0] for name in imports(path)}
    assert not heads & {"torch", "torchvision", "tensorflow", "jax", "sklearn"}


def test_reference_needs_numpy_and_what_describes_windows_alone():
    allowed = {"numpy", "__future__", "math", "typing", "itertools", "collections"}
    for name in imports(PACKAGE / "backend" / "reference.py"):
        parts = name.split(".")
        described = {"geometry", "taps"} & set(parts)
        assert parts[0] in allowed or described or name == "minicnn.backend", name


def test_import_loads_numpy_and_nothing_else_of_others():
    code = (
        "import sys, numpy; before = set(sys.modules); import minicnn; "
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split()) - set(sys.stdlib_module_names)
    assert loaded == {"minicnn"}, loaded


def test_what_few_programs_use_is_loaded_late():
    code = "import sys, minicnn; print(*[m for m in sys.modules if m.startswith('minicnn.')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    late = {"backend.cuda", "backend.emulator", "backend.reference", "nn", "optim"}
    assert not set(out.stdout.split()) & {f"minicnn.{name}" for name in late}


def public_objects():
    """(where, object) for every public class, function and method in minicnn."""
    for info in pkgutil.walk_packages([str(PACKAGE)], "minicnn."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != info.name:
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{info.name}.{name}", value


def test_every_module_and_every_public_name_has_a_docstring():
    missing = [where for where, value in public_objects() if not inspect.getdoc(value)]
    missing += [
        str(path.relative_to(PACKAGE))
        for path in modules()
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not missing


def private_names_of_neighbours(path):
    """Names with an underscore that the file takes from another file of its folder."""
    tree, neighbours = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            if node.module is None:
                neighbours |= {alias.asname or alias.name for alias in node.names}
            else:
                yield from (alias.name for alias in node.names if alias.name.startswith("_"))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr):
                if name in neighbours and attr.startswith("_"):
                    yield f"{name}.{attr}"


def test_families_of_operations_share_public_names_alone():
    found = {path.name: [*private_names_of_neighbours(path)] for path in FUNCTIONAL.glob("*.py")}
    assert not {name: private for name, private in found.items() if private}


def test_a_private_helper_has_one_name_in_one_file():
    """`_check` may stand in two files; two helpers of one name and another purpose mislead."""
    where = {}
    for path in FUNCTIONAL.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_"):
                where.setdefault(node.name, []).append(path.name)
    twice = {name: files for name, files in where.items() if len(files) > 1}
    assert not twice.keys() - {"_check"}, twice


def test_lazy_names_resolve():
    for name in dir(minicnn):
        assert getattr(minicnn, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        minicnn.no_such_name  # noqa: B018


def test_functions_fit_on_a_screen():
    long = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                doc = ast.get_docstring(node, clean=False) or ""
                lines = node.end_lineno - node.lineno + 1 - len(doc.splitlines())
                if lines > 60:
                    long.append((str(path), node.name, lines))
    assert not long
