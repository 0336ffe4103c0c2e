"""Runs the notebooks, and writes them so that the same content is the same file.

Usage: python scripts/notebooks.py [--check] [NOTEBOOK...]     (all of notebooks/ if none is named)

Without --check each notebook is executed in place, from top to bottom in a fresh kernel, and
written back without what differs from run to run: times, versions, random cell ids, tracebacks'
paths and what Matplotlib notes inside a PNG. With --check nothing is written: the fresh outputs are
compared with those in the file. Texts must agree word for word, and whole numbers to the digit;
numbers with a decimal point or an exponent to a millionth, since processors and libraries round
differently. Pictures are compared by their number and size in pixels.

What a notebook must keep to, so that this holds on every machine:

- it prints integers, booleans and rounded numbers, never the last digits of a float, what is left
  of a zero after rounding errors, a time, an address or a path;
- it writes nothing to stderr: a warning is an error;
- a cell that is meant to fail carries the tag `raises-exception`, and then it must fail. Who has
  mended it takes the tag away, or undoes the change.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import io
import math
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
MUST_FAIL = "raises-exception"
SECONDS_A_CELL = 120
COLOURS = 128


class Wrong(Exception):
    """What is wrong with a notebook, in words for the one who has to mend it."""


def main(arguments: list[str] | None = None) -> int:
    """Runs or checks what the command line names; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description="Run the notebooks and normalise them, or check.")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    parser.add_argument(
        "--check", action="store_true", help="compare with the files, write nothing"
    )
    options = parser.parse_args(arguments)
    failures = 0
    for path in options.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            check(path) if options.check else rewrite(path)
            print(f"{path.name}: ok", flush=True)
        except Wrong as wrong:
            failures += 1
            print(f"{path.name}: {wrong}", file=sys.stderr, flush=True)
    return 1 if failures else 0


def rewrite(path: Path) -> None:
    """Executes the notebook and writes it back, normalised."""
    notebook = normalised(executed(path), path.stem)
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


def check(path: Path) -> None:
    """Raises Wrong unless the notebook's outputs are what executing it gives."""
    committed = nbformat.read(path, as_version=4)
    fresh = normalised(executed(path), path.stem)
    for number, (old, new) in enumerate(zip(committed.cells, fresh.cells, strict=True), 1):
        before, after = described(old), described(new)
        if not alike(before, after):
            difference = difflib.unified_diff(before, after, "in the file", "now", lineterm="", n=1)
            raise Wrong("\n".join([f"cell {number} gives something else", *difference]))


# ---------------------------------------------------------------------- execution


def executed(path: Path) -> Any:
    """The notebook with the outputs of a fresh kernel. Wrong if a cell errs, or fails to as tagged.

    The kernel runs in the notebook's folder, as Jupyter's does.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as scratch:
        environment = _environment(scratch)
        client = NotebookClient(
            notebook,
            timeout=SECONDS_A_CELL,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(path.resolve().parent)}},
            # Figures keep the size they were made with, whatever the fonts.
            extra_arguments=[
                "--InlineBackend.print_figure_kwargs={'bbox_inches': None}",
                "--IPKernelApp.log_level=40",  # no advice on how kernels are reached
            ],
        )
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            raise Wrong(str(error)) from None
    for number, cell in enumerate(notebook.cells, 1):
        _check_cell(cell, number)
    return notebook


def _environment(scratch: str) -> dict[str, str]:
    """The kernel's: this checkout's minicnn, and no file of the user's read or written."""
    import matplotlib.font_manager  # noqa: F401  finds the fonts now, not in a cell, with a warning

    for name in ("CONFIG", "DATA", "RUNTIME"):
        os.environ[f"JUPYTER_{name}_DIR"] = os.path.join(scratch, name.lower())
    found = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    paths = [str(ROOT), *found.get("PYTHONPATH", "").split(os.pathsep)]
    return found | {
        "PYTHONPATH": os.pathsep.join([p for p in paths if p]),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": os.path.join(scratch, "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _check_cell(cell: Any, number: int) -> None:
    outputs = cell.get("outputs", [])
    failed = any(output.output_type == "error" for output in outputs)
    if MUST_FAIL in cell.metadata.get("tags", []) and not failed:
        raise Wrong(
            f"cell {number} is tagged {MUST_FAIL} and did not fail. If you have mended it, take "
            f"the tag away (or undo it: git checkout notebooks):\n{cell.source}"
        )
    for output in outputs:
        if output.get("name") == "stderr":
            raise Wrong(f"cell {number} writes to stderr:\n{output.text}")


# ---------------------------------------------------------------------- normal form


def normalised(notebook: Any, stem: str) -> Any:
    """The notebook with fixed metadata and ids, and outputs without noise."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"{stem.split('_')[0]}-{number:03d}"
        kept = {k: v for k, v in cell.metadata.items() if k in ("tags", "jupyter", "collapsed")}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code":
            cell.outputs = [_output(output) for output in _joined(cell.outputs)]
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """Streams in one piece: where they are cut depends on when the kernel flushed."""
    result: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def _output(output: Any) -> Any:
    if output.output_type == "error":
        # The traceback names this machine's folders and IPython's version; the error says it all.
        output.traceback = [f"{output.ename}: {output.evalue}"]
    if "data" in output:
        output.metadata = nbformat.from_dict({})
        if "image/png" in output.data:
            output.data["image/png"] = _plain_png(output.data["image/png"])
    return output


def _plain_png(encoded: str) -> str:
    """The picture with few colours on white, and no notes of who drew it."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    few = paper.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    content = io.BytesIO()
    few.save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode("ascii")


def described(cell: Any) -> list[str]:
    """The lines that must not change: outputs' texts, and the sizes of pictures."""
    lines = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            lines += [f"{output.name}:", *output.text.splitlines()]
        elif output.output_type == "error":
            lines += ["error:", output.ename, *output.evalue.splitlines()]
        else:
            for kind, content in sorted(output.data.items()):
                text = _size(content) if kind == "image/png" else str(content)
                lines += [f"{kind}:", *text.splitlines()]
    return lines


_NUMBER = re.compile(r"(?<![\w.])([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\w|\.\d)")


def alike(before: list[str], after: list[str]) -> bool:
    """Whether two descriptions say the same, but for the last digits of floating-point numbers."""
    return len(before) == len(after) and all(map(_alike, before, after))


def _alike(before: str, after: str) -> bool:
    old, new = _NUMBER.split(before), _NUMBER.split(after)  # words and numbers by turns
    if old[::2] != new[::2]:
        return False
    pairs = zip(old[1::2], new[1::2], strict=True)
    return all(a == b or (_is_float(a) and _is_float(b) and _close(a, b)) for a, b in pairs)


def _is_float(number: str) -> bool:
    return not number.lstrip("+-").isdigit()


def _close(a: str, b: str) -> bool:
    return math.isclose(float(a), float(b), rel_tol=1e-6)


def _size(encoded: str) -> str:
    from PIL import Image

    width, height = Image.open(io.BytesIO(base64.b64decode(encoded))).size
    return f"{width} x {height} pixels"


if __name__ == "__main__":
    sys.exit(main())
