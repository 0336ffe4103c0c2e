"""Runs launches of kernels in every order of threads, checks them, and says what was found.

    launches = record(lambda device: primitive(device.asarray(x)))
    outcome = study(launches[0], file=Path("my/pool.cu"), checked=True)
    outcome.findings

A launch is recorded with its arguments as they were before it and after it, so that it can be run
again, with the kernel of that name in another file too: an edited copy must give the same results.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import kernel_source
from .arrays import emulated, pointers
from .build import runtime
from .device import ORDERS, Device, Kernel, running_on
from .report import KernelError

_REPEATS = 3  # of a launch whose time is taken
SECONDS = 60.0  # for a launch
# After these a kernel is not run again: memory may be damaged, or the time would be used up again.
_FATAL = {"out of bounds", "out of index", "misaligned", "failure", "endless"}
_RESULT = "result"
_FALLOW = 0xFF


@dataclass
class Launch:
    """One launch of a kernel, and what its arguments are after it where that is known."""

    file: Path
    kernel: str
    constants: Mapping[str, Any]
    grid: tuple[int, ...]
    block: tuple[int, ...]
    args: tuple[Any, ...]
    shared_mem: int = 0
    after: tuple[Any, ...] | None = None
    word: str = ""

    @property
    def bytes(self) -> int:
        """The size of all arrays that the launch can reach."""
        return sum(array.nbytes for arg in self.args for array in _arrays(arg))


@dataclass(frozen=True)
class Finding:
    """A mistake: its kind (one of report.KINDS, or "result"), its place and a sentence."""

    kind: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass
class Outcome:
    """What came of a launch: seconds, unchecked and checked (None: not run), and the mistakes."""

    launch: Launch
    seconds: float | None = None
    checked_seconds: float | None = None
    findings: list[Finding] = field(default_factory=list)


class _RecordedKernel(Kernel):
    def __init__(self, recorder: _Recorder, *what: Any) -> None:
        super().__init__(recorder, *what)
        self._launches = recorder.launches

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int = 0
    ) -> None:
        before = copied(args)
        super().__call__(grid, block, args, shared_mem)
        constants = dict(self.constants)
        launch = Launch(self.file, self.name, constants, tuple(grid), tuple(block), before)
        launch.shared_mem, launch.after = shared_mem, copied(args)
        self._launches.append(launch)


class _Recorder(Device):
    def __init__(self) -> None:
        super().__init__()
        self.launches: list[Launch] = []

    def kernel(
        self, file: str | Path, name: str, constants: Mapping[str, Any] | None = None
    ) -> Kernel:
        return _RecordedKernel(self, kernel_source.find(file), name, constants or {})


def record(calls: Callable[[Device], Any], word: str = "") -> list[Launch]:
    """The launches that `calls` makes, which gets a device to make its arrays on."""
    recorder = _Recorder()
    with running_on(recorder):
        calls(recorder)
    for launch in recorder.launches:
        launch.word = word
    return recorder.launches


def copied(args: Sequence[Any]) -> tuple[Any, ...]:
    """Arguments of a kernel with arrays of their own; a table's arrays are copied too."""
    return tuple([_copy(arg) for arg in args])


def _copy(arg: Any) -> Any:
    if getattr(arg, "targets", ()):
        return pointers([_in_a_field(target) for target in arg.targets])
    return emulated(_in_a_field(arg)) if isinstance(arg, np.ndarray) else arg


def _in_a_field(array: np.ndarray) -> np.ndarray:
    """A copy in the midst of memory that is nobody's: who leaves the array does no harm there."""
    margin = _margin(array)
    field = np.full(2 * margin + array.nbytes, _FALLOW, np.uint8)
    copy = field[margin : margin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array.view(np.ndarray)
    return copy


def _margin(array: np.ndarray) -> int:
    return -(-max(4096, array.nbytes) // 512) * 512


def _is_trodden(copy: np.ndarray) -> bool:
    """Whether something was written beside a copy."""
    field: Any = copy
    while field.base is not None:
        field = field.base
    margin = _margin(copy)
    beside = np.concatenate([field[:margin], field[margin + copy.nbytes :]])
    return bool((beside != _FALLOW).any())


def _arrays(arg: Any) -> list[np.ndarray]:
    """The arrays of an argument: those of a table, itself, or none."""
    targets = getattr(arg, "targets", ())
    found = targets or ([arg] if isinstance(arg, np.ndarray) else [])
    return [array.view(np.ndarray) for array in found]


def prepare(launches: Sequence[Launch], file: Path, checked: bool) -> None:
    """Builds what `study` will run, several libraries at a time.

    Raises:
        CompileError: the file does not compile.
    """
    wanted: dict[Any, Kernel] = {}
    for launch in launches:
        for mode in {False, checked}:
            kernel = Device(checked=mode).kernel(file, launch.kernel, launch.constants)
            wanted.setdefault((kernel.constants, mode), kernel)
    runtime()  # once, before all of them want it
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for future in [pool.submit(kernel.build) for kernel in wanted.values()]:
            future.result()


def check(launch: Launch, file: Path | None = None, seconds: float = SECONDS) -> Outcome:
    """Runs a launch in the checked mode; for the rest see `study`."""
    file, outcome = file or launch.file, Outcome(launch)
    outcome.checked_seconds, args = _run(outcome, file, Device(checked=True, seconds=seconds))
    _compare_with_recorded(outcome, file, args)
    return outcome


def study(
    launch: Launch, file: Path | None = None, checked: bool = False, seconds: float = SECONDS
) -> Outcome:
    """Runs a launch in every order, and with `checked` in the checked mode before that.

    file: where to take the kernel from, if not from the file that was recorded. Its results are
    then compared with the recorded ones, which must be the same but for rounding.
    seconds: after which a run is given up.

    Raises:
        CompileError: the file does not compile.
        TypeError: the kernel takes other arguments than the launch has.
    """
    file = file or launch.file
    outcome = check(launch, file, seconds) if checked else Outcome(launch)
    results = {}
    for order in [ORDERS[0]] * _REPEATS + [*ORDERS[1:]]:
        if {finding.kind for finding in outcome.findings} & _FATAL:
            return outcome
        took, results[order] = _run(outcome, file, Device(order, seed=1, seconds=seconds))
        if order == ORDERS[0] and took is not None:
            outcome.seconds = min(took, outcome.seconds or took)
    first = results.pop(ORDERS[0])
    if not checked:
        _compare_with_recorded(outcome, file, first)
    for order, result in results.items():
        what = f"run {order}, the threads give another result"
        _compare(outcome, file, result, first, what, exact=True)
    return outcome


def _run(outcome: Outcome, file: Path, device: Device) -> tuple[float | None, Any]:
    """(seconds, the arguments afterwards), or (None, None) after a mistake, which is noted."""
    launch = outcome.launch
    kernel = device.kernel(file, launch.kernel, launch.constants)
    kernel.build()
    args = copied(launch.args)
    start = time.perf_counter()
    try:
        kernel(launch.grid, launch.block, args, launch.shared_mem)
    except KernelError as error:
        for report in error.reports:
            _note(outcome, Finding(report.kind, report.file, report.line, str(report)))
        return None, None
    seconds = time.perf_counter() - start
    for name, arg in zip(kernel.parameters, args, strict=True):
        if any(map(_is_trodden, _arrays(arg))):
            sentence = f"{file.name}: out of bounds: {kernel.name} writes beside {name}"
            _note(outcome, Finding("out of bounds", str(file), 0, sentence))
    return seconds, args


def _note(outcome: Outcome, found: Finding) -> None:
    """One finding for each kind of mistake and line: the other orders find the same."""
    places = {(finding.kind, finding.file, finding.line) for finding in outcome.findings}
    if found.kind == _RESULT or (found.kind, found.file, found.line) not in places:
        outcome.findings.append(found)


def _compare_with_recorded(outcome: Outcome, file: Path, args: Any) -> None:
    if outcome.launch.after is not None:
        what = "the result is not that of the project's own file"
        _compare(outcome, file, args, outcome.launch.after, what, exact=False)


def _compare(
    outcome: Outcome, file: Path, args: Any, wanted: Any, what: str, *, exact: bool
) -> None:
    """Notes the first argument that differs; nothing where a run has failed."""
    if args is None or wanted is None:
        return
    device = Device()
    kernel = device.kernel(file, outcome.launch.kernel, outcome.launch.constants)
    for name, arg, want in zip(kernel.parameters, args, wanted, strict=True):
        for x, y in zip(_arrays(arg), _arrays(want), strict=True):
            text = _difference(x.ravel(), y.ravel(), exact)
            if text:
                sentence = f"{file.name}: {outcome.launch.kernel}: {what}: {name}{text}"
                _note(outcome, Finding(_RESULT, str(file), 0, sentence))
                return


def _difference(x: np.ndarray, y: np.ndarray, exact: bool) -> str:
    """How many elements differ, and the first of them; nothing if none does."""
    if exact:
        same = (x == y) | ((x != x) & (y != y))
    elif x.dtype.kind == "f":
        scale = np.abs(y[np.isfinite(y)]).max(initial=0)
        same = np.isclose(x, y, rtol=0, atol=256 * np.finfo(x.dtype).eps * scale, equal_nan=True)
    else:
        same = x == y
    if same.all():
        return ""
    i = int(np.argmin(same))
    return f"[{i}] is {x[i]!s}, not {y[i]!s} ({x.size - int(same.sum())} of {x.size} differ)"
