"""What all tests share: repeatable Hypothesis, a fresh seed, and data sets too large to ship."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Two libraries that each wait for threads of their own stall each other on a busy machine; the
# arrays here are small. Read when NumPy and PyTorch are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The helpers beside this file are imported by their names.
sys.path.insert(0, str(Path(__file__).parent))

# Before minicnn is imported, so that nothing has looked for CuPy yet.
if os.environ.get("MINICNN_TESTS_CUPY") == "stand-in":
    import cupy_stand_in

    cupy_stand_in.install()

import minicnn
from minicnn.backend.cpu import threads

# The arrays here are small, and the threads shall share the work on them too.
threads.ALONE = 0

# Emulated kernels run on small arrays here: compiling them takes more time than they do.
os.environ.setdefault("MINICNN_EMULATOR_OPTIMIZE", "-O1")

# On a machine that is there for its GPU alone, the tests that need no Hypothesis can run without.
with contextlib.suppress(ImportError):
    import hypothesis

    hypothesis.settings.register_profile(
        "repeatable", derandomize=True, deadline=None, max_examples=25, database=None
    )
    hypothesis.settings.load_profile("repeatable")


# A run in the background (`make test &`, some CI runners) inherits that Ctrl-C is ignored. The
# tests that send themselves one, and the processes that they start, need it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same generator state, in whatever order they run."""
    minicnn.manual_seed(0)


@pytest.fixture
def data_dir() -> Path:
    """The folder that MINICNN_DATA names, with mnist/ in it; skips where it is not set."""
    folder = os.environ.get("MINICNN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip(
            "set MINICNN_DATA to a folder that holds mnist/ (the IDX files) to run this test"
        )
    return Path(folder)


@pytest.fixture
def unfilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks get no initial values: those of millions of weights take seconds to draw."""
    for name in dir(minicnn.nn.init):
        if name.endswith("_") and not name.startswith("_"):
            monkeypatch.setattr(minicnn.nn.init, name, lambda x, *args, **kwargs: x)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Primitives compute in the calling thread: others would begin with scratch of their own."""
    number = minicnn.get_num_threads()
    minicnn.set_num_threads(1)
    yield
    minicnn.set_num_threads(number)


@pytest.fixture
def exact_convolution() -> Iterator[None]:
    """No Winograd, whose rounding a deep network in float32 magnifies."""
    with minicnn.backends.cpu.use_conv_algorithm("im2col"):
        yield
