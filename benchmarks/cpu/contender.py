"""A contender: a library in a process of its own, which does what it is asked (see worker.py)."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import rivals

_START = 120.0  # seconds that a library may take to be imported: a cold disk is slow

# Variables that keep a library from instructions which the processor has. Every contender computes
# without them.
_NARROWING = (
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
)


class Failed(Exception):
    """A contender could not do what it was asked, for this reason."""


class Contender:
    """A process of worker.py.

    Args:
        worker: its name there.
        label: its name in the report.
        threads: how many it may compute on.
        python: the interpreter that holds the library.
        env: further environment variables; {threads} is filled in.
        cores: the cores that it is kept to, or None.

    Raises:
        Failed: the library cannot be imported.
    """

    def __init__(
        self,
        worker: str,
        label: str,
        threads: int,
        python: Path | str = sys.executable,
        env: dict[str, str] | None = None,
        cores: set[int] | None = None,
    ) -> None:
        self.label = label
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.cpu.worker", worker, str(threads)],
            cwd=rivals.ROOT,
            env=_environment(Path(python), threads, env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        if cores is not None:
            os.sched_setaffinity(self._process.pid, cores)
        try:
            self.facts = self._answer(_START)
        except Failed:
            self.close()
            raise

    def ask(self, do: str, limit: float, **arguments: Any) -> dict[str, Any]:
        """What the worker answers.

        Raises:
            Failed: it reports an error, ends, or takes longer than `limit` seconds.
        """
        line = json.dumps({"do": do, **arguments}) + "\n"
        try:
            self._process.stdin.write(line.encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except (OSError, ValueError):
            raise Failed(self._last_words()) from None
        return self._answer(limit)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):  # what was not flushed to a process that is gone
                pipe.close()  # type: ignore[union-attr]

    def _answer(self, limit: float) -> dict[str, Any]:
        pipe, text, stop = self._process.stdout, b"", time.monotonic() + limit
        assert pipe is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipe, selectors.EVENT_READ)
            while not text.endswith(b"\n"):
                if not waiting.select(max(0.0, stop - time.monotonic())):
                    self._process.kill()
                    raise Failed(f"no answer within {limit:.0f} s")
                read = os.read(pipe.fileno(), 1 << 16)
                if not read:
                    raise Failed(self._last_words())
                text += read
        told = json.loads(text)
        if "error" in told:
            raise Failed(told["error"])
        return told

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"ended with status {status}" + (f": {lines[-1]}" if lines else "")


def _environment(python: Path, threads: int, more: dict[str, str]) -> dict[str, str]:
    """This process's, with so many threads for every library that asks the environment."""
    dropped = {"PYTHONHOME", *_NARROWING}
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    env["PYTHONPATH"] = str(rivals.ROOT)
    env["PATH"] = os.pathsep.join([str(python.parent), env.get("PATH", "")])
    env.update({name: value.format(threads=threads) for name, value in more.items()})
    return env


def set_aside() -> dict[str, str]:
    """Variables of this process's environment that the contenders do not get."""
    return {name: os.environ[name] for name in _NARROWING if name in os.environ}
