"""The course runs: every cell, with the outputs that stand in the files."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip(
    "nbformat", reason="pip install -e '.[test]' brings what runs notebooks"
)
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "notebooks.py"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def script():
    spec = importlib.util.spec_from_file_location("notebooks_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda p: p.stem)


@pytest.mark.slow
@named(NOTEBOOKS)
def test_every_cell_runs_and_gives_what_the_file_shows(path):
    found = run("--check", path)
    assert found.returncode == 0, found.stderr


def texts(notebook):
    """All words of a notebook: sources, and outputs without the pictures."""
    for cell in notebook.cells:
        yield cell.source
        yield from script().described(cell)
        yield from (line for o in cell.get("outputs", []) for line in o.get("traceback", []))


# Folders of a machine, addresses of objects, temporary cells' names.
LOCAL = re.compile(
    r"(?<![\w.])/(?:home|root|tmp|usr|opt|work|Users)/|[A-Z]:\\\\|0x[0-9a-f]{6,}|ipykernel_\d"
)


@named(NOTEBOOKS)
def test_no_trace_of_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for text in texts(notebook):
        assert not LOCAL.search(text), text
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "jupyter", "collapsed"}
        assert not any(output.get("metadata") for output in cell.get("outputs", []))
    assert notebook.metadata.language_info == {"name": "python", "pygments_lexer": "ipython3"}


@named(NOTEBOOKS)
def test_is_committed_executed_and_small(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert path.stat().st_size < 700_000
    for cell in code:
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert failed == ("raises-exception" in cell.metadata.get("tags", [])), cell.source


@named(NOTEBOOKS)
def test_the_readme_leads_to_it(path):
    link = f"[`{path.name}`](notebooks/{path.name})"
    assert link in (ROOT / "README.md").read_text(encoding="utf-8")


@named(NOTEBOOKS)
def test_its_links_lead_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    words = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", words)
    assert links
    for link in links:
        assert (path.parent / link).exists(), link


# ---------------------------------------------------------------------- the script itself


def written(path, *sources, tags=()):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[-1].metadata["tags"] = list(tags)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


PICTURE = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots(figsize=(2, 1), dpi=50)"


@pytest.mark.slow
def test_running_twice_writes_the_same_file_and_a_change_is_found(tmp_path):
    path = written(tmp_path / "01_a.ipynb", "print('one')", "print('two')\n1 + 1", PICTURE)
    assert run(path).returncode == 0
    first = path.read_bytes()
    assert run(path).returncode == 0 and path.read_bytes() == first
    notebook = json.loads(first)
    assert [cell["id"] for cell in notebook["cells"]] == ["01-001", "01-002", "01-003"]
    [picture] = notebook["cells"][2]["outputs"]
    assert script()._size(picture["data"]["image/png"]) == "100 x 50 pixels"

    for old, new, word in [
        ("'two", "'too", "-two"),
        ("figsize=(2", "figsize=(3", "150 x 50 pixels"),
    ]:
        path.write_text(first.decode().replace(old, new))
        found = run("--check", path)
        assert found.returncode == 1 and word in found.stderr
        assert path.read_bytes() != first  # --check wrote nothing


@pytest.mark.parametrize(
    "before, after, same",
    [
        ("analytic -0.126196451, at (0, 3)", "analytic -0.126196452, at (0, 3)", True),
        ("numeric 4.7945462. Judgement", "numeric 4.7945463. Judgement", True),
        ("1.0000001e-09 [2.5 3.]", "1.0000002e-09 [2.5 3.]", True),
        ("0.0 and -0.0", "-0.0 and 0.0", True),
        ("grad 0.1262", "grad 0.1263", False),
        ("0.5", "-0.5", False),
        ("16 windows", "17 windows", False),
        ("100000000", "100000001", False),  # whole numbers are exact
        ("3", "3.0", False),
        ("1.5 right", "1.5 wrong", False),
        ("x1.5", "x1.50000001", False),  # part of a word
        ("version 1.2.3", "version 1.2.4", False),
    ],
)
def test_floating_point_numbers_may_differ_in_the_last_digits(before, after, same):
    assert script().alike(["stdout:", before], ["stdout:", after]) == same
    assert not script().alike([before], [before, after])


@pytest.mark.slow
def test_a_cell_that_must_fail_must_fail(tmp_path):
    fails = written(tmp_path / "02_b.ipynb", "assert 1 == 2, 'not so'", tags=["raises-exception"])
    assert run(fails).returncode == 0 and run("--check", fails).returncode == 0
    [output] = json.loads(fails.read_text())["cells"][0]["outputs"]
    assert output["traceback"] == ["AssertionError: not so"]

    mended = written(tmp_path / "02_c.ipynb", "assert 1 == 1", tags=["raises-exception"])
    found = run("--check", mended)
    assert found.returncode == 1
    assert "did not fail. If you have mended it, take the tag away" in found.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "source, said",
    [("1 / 0", "ZeroDivisionError"), ("import warnings; warnings.warn('hm')", "writes to stderr")],
)
def test_errors_and_warnings_are_wrong(tmp_path, source, said):
    path = written(tmp_path / "03_d.ipynb", source)
    before = path.read_bytes()
    found = run(path)
    assert found.returncode == 1 and said in found.stderr
    assert path.read_bytes() == before
