"""The run folder: everything that one training leaves behind.

    config.json         what was trained on what, with which options and versions: for people
    metrics.csv         a row for each epoch
    last.safetensors    the newest checkpoint: all that is needed to go on
    best.safetensors    the weights of the best epoch
    result.json, *.png  how the best weights do on the test images, and pictures

A checkpoint is one file (see minicnn.interop): tensors, options, progress and history of one
moment, so two moments can never be mixed. It is written beside the old one and then takes its name.
Of the three files written after an epoch (best, last, a row of metrics.csv), `last` decides: a
resume begins there, writes metrics.csv anew from the history in it, and an epoch that was cut off
after `best` is simply repeated.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..interop import load, save
from ..interop.files import remove_leftovers, write_bytes

LAST, BEST, CONFIG, METRICS = "last.safetensors", "best.safetensors", "config.json", "metrics.csv"
RESULT, CURVES, CONFUSION, MISTAKES = "result.json", "curves.png", "confusion.png", "mistakes.png"
_ALL = (LAST, BEST, CONFIG, METRICS, RESULT, CURVES, CONFUSION, MISTAKES)
_KIND, _VERSION = "minicnn.checkpoint", 1
_NEEDED = {"config": dict, "model": dict, "epoch": int, "history": list}


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, read, or used for what it was meant for."""


class RunFolder:
    """The files of the run in the folder `path`."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def file(self, name: str) -> Path:
        """The path of one of the run's files."""
        return self.path / name

    def holds_run(self) -> bool:
        """True if there is any file that a run would write over."""
        return any(self.file(name).exists() for name in _ALL)

    def can_resume(self) -> bool:
        """True if there is a checkpoint to go on from."""
        return self.file(LAST).is_file()

    def claim(self) -> None:
        """Makes the folder for a new run.

        Raises FileExistsError if a run has been here, NotADirectoryError if `path` is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"run folder: {self} is a file")
        if self.holds_run():
            raise FileExistsError(
                f"run folder: {self} holds another run; resume it, or choose another folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.tidy()

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.json. CheckpointError if the disk refuses."""
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        self._write(CONFIG, text.encode())

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_bytes(self.file(name), content)
        except OSError as error:
            reason = error.strerror or error
            raise CheckpointError(f"cannot write {self.file(name)}: {reason}") from error

    # ------------------------------------------------------------------ checkpoints

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Writes `state` as the checkpoint LAST or BEST. CheckpointError if the disk refuses."""
        path = self.file(name)
        try:
            save({"kind": _KIND, "version": _VERSION, **state}, path)
        except OSError as error:
            kept = "the checkpoint before it is unharmed" if path.exists() else "there is none yet"
            reason = error.strerror or error
            raise CheckpointError(f"cannot save {path}: {reason}; {kept}") from error

    def load(self, name: str) -> dict[str, Any]:
        """The checkpoint LAST or BEST, checked to be one.

        Raises FileNotFoundError if there is none, CheckpointError if it is damaged.
        """
        path = self.file(name)
        if not path.is_file():
            raise FileNotFoundError(f"no checkpoint: {self._lacks(name)}")
        try:
            state = load(path)
        except (ValueError, OSError) as error:
            other = self.file(BEST if name == LAST else LAST)
            hint = f"; {other} is there as well" if other.exists() else ""
            raise CheckpointError(
                f"damaged checkpoint: {str(error).removeprefix('load: ')}{hint}"
            ) from None
        _check(state, path)
        return state

    def _lacks(self, name: str) -> str:
        if self.path.is_dir():
            return f"{self} has no {name}"
        return f"{self} is no folder" if self.path.exists() else f"there is no folder {self}"

    def tidy(self) -> None:
        """Removes the temporary files of a process that was killed here."""
        remove_leftovers(self.path)

    # ------------------------------------------------------------------ metrics.csv

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds a row; the first one brings the heading. If the disk refuses, no half row stays."""
        path = self.file(METRICS)
        size = path.stat().st_size if path.exists() else 0
        try:
            with open(path, "ab") as file:
                file.write(_csv([row], heading=size == 0))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if path.exists():
                os.truncate(path, size)
            raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error

    def rewrite_metrics(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replaces metrics.csv by `rows`. CheckpointError if the disk refuses."""
        self._write(METRICS, _csv(rows, heading=True) if rows else b"")


def _csv(rows: Sequence[dict[str, Any]], heading: bool) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    if heading:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _check(state: Any, path: Path) -> None:
    if not isinstance(state, dict) or state.get("kind") != _KIND:
        raise CheckpointError(f"{path} is a safetensors file, but no checkpoint of a run")
    if state.get("version") != _VERSION:
        raise CheckpointError(
            f"{path} is a checkpoint of version {state.get('version')}, "
            f"this minicnn reads {_VERSION}"
        )
    for key, kind in _NEEDED.items():
        if not isinstance(state.get(key), kind):
            raise CheckpointError(
                f"damaged checkpoint: {path} has no {key} that is a {kind.__name__}"
            )
