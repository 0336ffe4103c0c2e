"""What a stage notes while it runs. Every note goes to a file at once: a crash loses nothing."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LINES = 8  # of an error, the last ones


class Unavailable(Exception):
    """Something that a measurement needs is not here. It is skipped, with this as the reason."""


class Run:
    """A stage's time, options and notes.

    Args:
        device: "cuda" or "emulator".
        seconds: how long the stage may take.
        file: where the notes go, as JSON.
        quick: fewer sizes and repetitions.
        data_dir: a folder with data sets, or None.
    """

    def __init__(
        self,
        device: str,
        seconds: float,
        file: Path,
        quick: bool = False,
        data_dir: str | None = None,
    ) -> None:
        self.device, self.quick, self.data_dir = device, quick, data_dir
        self._deadline, self._file = time.monotonic() + seconds, file
        self.results: dict[str, Any] = {}
        self.skipped: list[dict[str, str]] = []
        self.failed: list[dict[str, str]] = []
        self._write(finished=False)

    def left(self) -> float:
        """Seconds until the stage should have ended."""
        return self._deadline - time.monotonic()

    def note(self, name: str, value: Any) -> None:
        """Sets a result."""
        self.results[name] = value
        self._write(finished=False)

    def add(self, name: str, entry: Any) -> None:
        """Appends to a result that is a list."""
        self.note(name, [*self.results.get(name, []), entry])

    def skip(self, what: str, why: str) -> None:
        """Says that something is not measured, and why."""
        self.skipped.append({"what": what, "why": why})
        print(f"    skipped: {what}: {why}", flush=True)
        self._write(finished=False)

    def fail(self, what: str, error: str) -> None:
        """Says that something went wrong."""
        self.failed.append({"what": what, "error": error})
        print(f"    FAILED: {what}: {error}", flush=True)
        self._write(finished=False)

    def attempt(self, what: str, action: Callable[[], Any], seconds: float = 1) -> Any:
        """What `action` gives, or None: without `seconds` left it is skipped; errors are noted."""
        if self.left() < seconds:
            self.skip(what, f"no time left ({self.left():.0f} s, and it needs {seconds:.0f})")
            return None
        try:
            return action()
        except Unavailable as reason:
            self.skip(what, str(reason))
        except Exception as error:
            self.fail(what, last_lines(error))
        return None

    def finish(self) -> None:
        """Marks the notes as whole."""
        self._write(finished=True)

    def _write(self, finished: bool) -> None:
        notes = {
            "finished": finished,
            "results": self.results,
            "skipped": self.skipped,
            "failed": self.failed,
        }
        scratch = self._file.with_suffix(".part")
        scratch.write_text(json.dumps(notes), encoding="utf-8")
        os.replace(scratch, self._file)


def last_lines(error: BaseException) -> str:
    """The end of an exception's traceback."""
    text = "".join(traceback.format_exception(error))
    return "\n".join(text.rstrip().splitlines()[-LINES:])
