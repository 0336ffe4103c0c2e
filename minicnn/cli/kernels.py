"""`minicnn emulate`: launches for a kernel file, and a table of what came of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import kernel_source
from ..backend.cuda.samples import SAMPLES, Numbers
from ..backend.emulator import Device
from ..backend.emulator.study import Launch, Outcome, prepare, record, study

# By the codes of the emulator's host/cuda.h.
_DTYPES = {"?": "bool", "b": "int8", "B": "uint8", "h": "int16", "H": "uint16", "i": "int32"}
_DTYPES |= {"I": "uint32", "q": "int64", "Q": "uint64", "f": "float32", "d": "float64"}
_ARRAY = re.compile(r"(?P<dtype>\w+)\[(?P<shape>\d+(?:,\d+)*)\](?::(?P<value>-?\d[\d.]*))?")


@dataclass
class Wishes:
    """What the command line says about launches of a learner's own kernels."""

    kernels: Sequence[str] = ()
    defines: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    grid: tuple[int, ...] | None = None
    block: tuple[int, ...] = (256,)
    shared: int = 0
    size: int = 1000


def settings(option: str, texts: Sequence[str]) -> dict[str, str]:
    """{name: value} from texts NAME=VALUE."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise ValueError(f"{option} expects NAME=VALUE, got {text!r}")
        pairs[name.strip()] = value.strip()
    return pairs


def sizes(option: str, text: str) -> tuple[int, ...]:
    """One to three sizes: 8, 8x4 or 8,4,2."""
    parts = re.split("[x,]", text)
    if len(parts) > 3 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"{option} expects one to three sizes, such as 8x4, got {text!r}")
    return tuple([int(part) for part in parts])


def path_of(file: str) -> Path:
    """The file of that name here, or else the project's own."""
    return Path(file).resolve() if Path(file).is_file() else kernel_source.find(file)


def launches(path: Path, wishes: Wishes) -> list[Launch]:
    """What to run of a file: samples of the project's own kernels, in a copy too, or as wished.

    Raises:
        ValueError: a kernel that the file does not have, or arguments that nobody gave.
    """
    source = kernel_source.parse(path.read_text(encoding="utf-8"))
    for name in wishes.kernels:
        if name not in source.kernels and ("<" not in name or not source.parameters(name)):
            known = [*source.kernels, *[f"{name}<...>" for name in source.instances]]
            raise ValueError(f"{path.name} has no kernel {name!r}; it has {', '.join(known)}")
    names = wishes.kernels or [*source.kernels]
    if not names:
        instances = ", ".join(source.instances)
        hint = f": name an instance, --kernel '{instances}<...>'" if instances else ""
        raise ValueError(f"{path.name} has no kernel that is not a template{hint}")
    found = [] if wishes.arguments or wishes.grid else _samples(path, names, wishes.defines)
    return found or _own(path, names, wishes)


def _samples(path: Path, names: Sequence[str], defines: dict[str, str]) -> list[Launch]:
    found: list[Launch] = []
    for word, calls in SAMPLES.get(path.name, {}).items():

        def run(device: Device, calls: Any = calls) -> None:
            calls(Numbers(device))

        found += [launch for launch in record(run, word) if launch.file.name == path.name]
    wanted = [launch for launch in found if launch.kernel in names]
    return [replace(launch, constants={**launch.constants, **defines}) for launch in wanted]


def _own(path: Path, names: Sequence[str], wishes: Wishes) -> list[Launch]:
    unknown = set(wishes.arguments)
    found = []
    for name in names:
        kernel = Device().kernel(path, name, wishes.defines)
        unknown -= {*kernel.parameters}
        args = _arguments(name, kernel.parameters, kernel.codes, wishes)
        grid = wishes.grid or (-(-wishes.size // prod(wishes.block)),)
        found.append(
            Launch(path, name, wishes.defines, grid, wishes.block, tuple(args), wishes.shared)
        )
    if unknown:
        raise ValueError(f"no kernel takes {', '.join(sorted(unknown))}: {', '.join(names)}")
    return found


def _arguments(
    kernel: str, parameters: Sequence[str], codes: Sequence[str], wishes: Wishes
) -> list[Any]:
    """The arguments that were given; and where there is but one way to guess, the others."""
    integers = [
        name
        for name, code in zip(parameters, codes, strict=True)
        if code in tuple("hHiIqQ") and name not in wishes.arguments
    ]
    rng = np.random.default_rng(0)
    args, missing = [], []
    for name, code in zip(parameters, codes, strict=True):
        letter = code.lstrip("*")
        dtype = _DTYPES.get(letter) if code.count("*") < 2 else None
        text = wishes.arguments.get(name)
        if text is None and dtype and code.startswith("*"):
            text = f"{dtype}[{wishes.size}]"
        elif text is None and integers == [name]:
            text = str(wishes.size)
        if text is None:
            missing.append(f"--arg {name}={f'NUMBER ({dtype})' if dtype else '...'}")
        else:
            args.append(_argument(f"{kernel}: --arg {name}", text, code, dtype, rng))
    if missing:
        raise ValueError(f"{kernel}: cannot guess an argument; give {' '.join(missing)}")
    return args


def _argument(where: str, text: str, code: str, dtype: str | None, rng: np.random.Generator) -> Any:
    if not code.startswith("*"):
        try:
            number = float(text) if dtype in ("float32", "float64") else int(text, 0)
            return np.dtype(dtype).type(number)
        except (ValueError, OverflowError):
            raise ValueError(f"{where} expects a number ({dtype}), got {text!r}") from None
    if text == "none":
        return None
    values = _array(text, rng)
    if values is None:
        message = f"{where} expects an array such as float32[1000] or float32[50,20]:0, or none"
        raise ValueError(f"{message}; got {text!r}")
    return Device().asarray(values)


def _array(text: str, rng: np.random.Generator) -> np.ndarray | None:
    """The array that a text such as float32[50,20]:0 describes; None where it describes none."""
    match = _ARRAY.fullmatch(text)
    if match is None or match["dtype"] not in _DTYPES.values():
        return None
    dtype = np.dtype(match["dtype"])
    shape = tuple([int(n) for n in match["shape"].split(",")])
    if match["value"] is not None:
        return np.full(shape, float(match["value"])).astype(dtype)
    random = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 10, shape)
    return random.astype(dtype)


def run_all(
    path: Path, found: Sequence[Launch], check: bool, seconds: float, console: Any
) -> list[Outcome]:
    """Studies one launch after the other, with a bar where there is a terminal."""
    from rich.progress import Progress

    outcomes = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("compiling", total=len(found))
        prepare(found, path, check)
        for launch in found:
            progress.update(task, description=launch.kernel)
            try:
                outcomes.append(study(launch, path, check, seconds))
            except TypeError as error:
                raise ValueError(f"{error}; give the launch: --kernel, --grid, --arg") from None
            progress.advance(task)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> Any:
    """The outcomes as a Rich table: kernel, grid, block, bytes, times, findings."""
    from rich.table import Table

    out = Table(box=None, pad_edge=False)
    out.add_column("kernel", overflow="fold")
    for name in ("grid", "block", "bytes", "ms", "MB/s", "checked ms", "found"):
        out.add_column(name, justify="right", overflow="fold")
    word = ""
    for outcome in outcomes:
        launch = outcome.launch
        if launch.word != word:
            word = launch.word
            out.add_row(f"{word}:", style="italic")
        out.add_row(
            launch.kernel,
            "x".join(map(str, launch.grid)),
            "x".join(map(str, launch.block)),
            f"{launch.bytes:,}",
            _milliseconds(outcome.seconds),
            f"{launch.bytes / outcome.seconds / 1e6:.0f}" if outcome.seconds else "-",
            _milliseconds(outcome.checked_seconds),
            str(len(outcome.findings) or "-"),
            style="bold red" if outcome.findings else None,
        )
    return out


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.2f}"


def mistakes(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """{kernel: what was found in it}; a mistake that several launches show stands there once."""
    found: dict[str, list[str]] = {}
    seen = set()
    for outcome in outcomes:
        kernel, word = outcome.launch.kernel, outcome.launch.word
        for finding in outcome.findings:
            place = (kernel, finding.kind, finding.file, finding.line or finding.text)
            if place not in seen:
                seen.add(place)
                title = f"{kernel}, {word}" if word else kernel
                found.setdefault(title, []).append(str(finding))
    return found
