"""Builds a .cu file, as it is, with the C++ compiler of this machine.

A small file of our own includes the .cu file and adds, for each kernel, a function that takes its
arguments from an array of pointers. `host/cuda.h` is included before everything: it gives CUDA's
words a meaning. The result, a shared library, stays in the user's cache folder under a name made of
a hash of everything it depends on: sources, headers beside them, options, compiler.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from .. import kernel_source
from . import cache

HOST = Path(__file__).parent / "host"
DYNAMIC_BYTES = 227 << 10  # what a block may ask for on the largest of NVIDIA's processors

_ALWAYS = ["-std=c++17", "-fPIC", "-fno-semantic-interposition", "-pthread"]
_KERNEL = [
    "-fvisibility=hidden",
    "-fno-strict-aliasing",  # kernels read four floats as a float4
    "-ffp-contract=off",  # the same results on every processor
    "-fstack-clash-protection",  # a local array that does not fit touches the page below the stack
    "-fno-plt",  # no code but the kernel's, so that wherever it is stopped is on some line
    "-Wno-unknown-pragmas",
    "-g1",
    "-gdwarf-4",  # of version 5, binutils of the time of g++ 12 take the first file for another
]
# Two builds of one kernel share nothing; __shared__ variables have no constructors.
_GCC_ONLY = ["-fno-gnu-unique", "-fno-extern-tls-init", "-fmax-errors=8"]
# Calls before every access to memory, and checks of indices, alignment and integer arithmetic:
# host/check.cpp answers them.
_CHECKED = [
    "-fsanitize=thread",
    "-fsanitize=bounds,alignment,signed-integer-overflow,integer-divide-by-zero",
]
# What is not emulated, by words of the compiler's complaint.
_HINTS = {
    r"<<<|\bcuda(Malloc|Memcpy|Free|DeviceSynchronize)": "host code is not emulated, only kernels: "
    "keep main, cudaMalloc and <<<...>>> in a file of their own, or between #ifdef __CUDACC__ and "
    "#endif",
    r"cooperative_groups": "cooperative groups are not emulated: use __syncthreads and __syncwarp",
    r"cuda_(fp16|bf16|fp8)|__half|__nv_bfloat": "half precision is not emulated: use float",
    r"__activemask": "__activemask is not emulated: pass the mask of the lanes that are meant",
    r"\bmma\.h|wmma|nvcuda": "tensor cores are not emulated",
    r"Assembler messages|asm operand|in .asm": "inline PTX is not emulated",
}


class CompileError(RuntimeError):
    """A kernel does not compile; the text is the compiler's."""


@lru_cache
def compiler() -> str | None:
    """The path of the C++ compiler: the environment's CXX, else g++ or clang++; None if none.

    None too on other systems than Linux: what is built wants its loader and its signals.
    """
    if sys.platform != "linux":
        return None
    asked = os.environ.get("CXX")
    return next(filter(None, map(shutil.which, [asked] if asked else ["g++", "clang++"])), None)


def unavailable() -> str | None:
    """Why kernels cannot be emulated on this machine; None if they can."""
    if compiler() is not None:
        return None
    if sys.platform != "linux":
        return f"the emulator needs Linux (WSL on Windows, or a container); this is {sys.platform}"
    asked = os.environ.get("CXX")
    if asked:
        return f"the emulator needs a C++ compiler, and CXX={asked} is none"
    return "the emulator needs a C++ compiler: install g++ or clang++, or set CXX"


@lru_cache
def version(command: str) -> str:
    """What the compiler says of itself."""
    return subprocess.run([command, "--version"], capture_output=True, text=True).stdout


def headers(folder: Path) -> list[Path]:
    """The headers in a folder."""
    return sorted(p for p in folder.iterdir() if p.suffix in (".cuh", ".h"))


def _sources(file: Path) -> list[Path]:
    """The .cu file and all headers that may stand in it: those beside it, and the project's own."""
    folders = dict.fromkeys([file.parent, kernel_source.folder()])
    return [file, *[header for folder in folders for header in headers(folder)]]


def _borrowed(folder: Path) -> dict[str, str]:
    """Copies of the project's headers that the folder does not have: {name: text}.

    An edited header in the folder is so found by those too that are included from elsewhere.
    """
    return {
        header.name: f'#line 1 "{header}"\n{header.read_text(encoding="utf-8")}'
        for header in headers(kernel_source.folder())
        if not (folder / header.name).exists()
    }


def _wrapper(
    file: Path, names: Sequence[str], constants: Mapping[str, object], dynamic: Sequence[str]
) -> str:
    """The file that includes the .cu file: a way in for each kernel, and to shared memory."""
    lines = [f"#define {name} {_literal(value)}" for name, value in sorted(constants.items())]
    lines += [f'#include "{file}"', '#define WAY_IN __attribute__((visibility("default")))']
    lines += ['extern "C" {']
    for i, name in enumerate(names):
        lines += [f"WAY_IN void emu_call_{i}(void** args) {{ EmuKernel<&{name}>::call(args); }}"]
        lines += [
            f"WAY_IN void emu_describe_{i}(char* out) {{ EmuKernel<&{name}>::describe(out); }}"
        ]
    # As large as any alignment that counts: an array of bytes in shared memory begins at one.
    anchor = "alignas(16) static __thread char anchor[16]"
    lines += [f"WAY_IN char* emu_anchor() {{ {anchor}; return anchor; }}"]
    if dynamic:
        lines += [f'extern __thread char emu_dynamic_memory[] __asm__("{dynamic[0]}");']
        lines += ["WAY_IN char* emu_dynamic() { return emu_dynamic_memory; }"]
    return "\n".join([*lines, "}", ""])


def _dynamic_memory(names: Sequence[str]) -> str:
    """Assembly that gives every `extern __shared__` array the same place: dynamic shared memory."""
    lines = ['.section .tbss.dynamic,"awT",%nobits', ".balign 128"]
    for name in names:
        lines += [f".globl {name}", f".hidden {name}", f".type {name}, %tls_object", f"{name}:"]
    lines += [f".zero {DYNAMIC_BYTES}", '.section .note.GNU-stack,"",%progbits', ""]
    return "\n".join(lines)


def build(
    file: Path, names: Sequence[str], constants: Mapping[str, object] | None, checked: bool
) -> Path:
    """The library with kernels `names` of the .cu file, built now unless the cache has it.

    constants: macros, as with -DNAME=value.

    Raises:
        CompileError: the file does not compile.
        RuntimeError: this machine has no C++ compiler.
    """
    sources = _sources(file)
    text = "\n".join(kernel_source.without_comments(p.read_text(encoding="utf-8")) for p in sources)
    dynamic = sorted(set(re.findall(r"extern\s+__shared__[^;]*?(\w+)\s*\[\s*\]\s*;", text)))
    # Kernels on small arrays take the compiler longer than they run: the tests ask for less.
    effort = os.environ.get("MINICNN_EMULATOR_OPTIMIZE", "-O3")
    options = [*_ALWAYS, *_KERNEL, effort, *(_CHECKED if checked else [])]
    parts = {"kernel.cpp": _wrapper(file, names, constants or {}, dynamic)}
    if dynamic:
        parts["memory.s"] = _dynamic_memory(dynamic)
    objects = [f"{Path(part).stem}.o" for part in parts]
    parts |= _borrowed(file.parent)

    include = ["-include", str(HOST / "cuda.h"), f"-I{file.parent}", "-I.", f"-I{HOST}"]
    link = [*_ALWAYS, "-shared", "-Wl,-Bsymbolic", "-Wl,-rpath,$ORIGIN", "-Wl,--no-undefined"]
    # Some compilers leave out libraries that a kernel itself calls nothing of.
    link += ["-Wl,--no-as-needed"]
    steps = [
        ["-c", *options, *include, "kernel.cpp"],
        *([["-c", "memory.s"]] if dynamic else []),
        [*link, *objects, str(runtime()), "-lm"],
    ]
    return _cached(file.stem, sources, parts, steps)


def _literal(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def runtime() -> Path:
    """The emulator's own library."""
    files = [str(HOST / name) for name in ("fiber.cpp", "block.cpp", "check.cpp", "watch.cpp")]
    extra = ["-DEMU_UCONTEXT"] if os.environ.get("MINICNN_EMULATOR_UCONTEXT") else []
    return _cached(
        "runtime", [], {}, [[*_ALWAYS, "-O2", "-shared", "-Wl,-Bsymbolic", *extra, *files, "-lrt"]]
    )


def _cached(
    stem: str, sources: Sequence[Path], parts: Mapping[str, str], steps: Sequence[Sequence[str]]
) -> Path:
    """The library that these steps of the compiler make; the last is told what file to write."""
    command = compiler()
    if command is None:
        raise RuntimeError(unavailable())
    options = [] if "clang" in version(command) else _GCC_ONLY
    steps = [[command, *options, *step] for step in steps]
    digest = hashlib.sha256(repr((version(command), parts, steps)).encode())
    for path in [*sources, *sorted(HOST.iterdir())]:
        digest.update(path.read_bytes())
    library = cache.folder() / f"{stem}-{digest.hexdigest()[:24]}.so"
    if not cache.has(library):
        with cache.building(library) as folder:
            _run(stem, library, folder, parts, steps)
    return library


def _run(
    stem: str,
    library: Path,
    folder: Path,
    parts: Mapping[str, str],
    steps: Sequence[Sequence[str]],
) -> None:
    """Runs the steps in a folder, which then has library.so."""
    for name, text in parts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for step in [*steps[:-1], [*steps[-1], "-o", "library.so", f"-Wl,-soname,{library.name}"]]:
        run = subprocess.run(step, cwd=folder, capture_output=True, text=True)
        if run.returncode:
            said = run.stderr.rstrip() or f"{step[0]} says nothing, and exits with {run.returncode}"
            hints = [hint for words, hint in _HINTS.items() if re.search(words, run.stderr)]
            raise CompileError("\n".join([f"{stem} does not compile:", said, *hints]))
